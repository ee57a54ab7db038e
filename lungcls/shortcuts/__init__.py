"""Does a classifier look at the lungs, or at where the picture comes from? Ten checks and a verdict each."""

from lungcls.shortcuts.subject import ClassifierSubject, ModuleSubject, Subject

__all__ = ["ClassifierSubject", "ModuleSubject", "Subject"]
