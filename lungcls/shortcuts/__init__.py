"""Does a classifier look at the lungs, or at where the picture comes from? Checks with a verdict each."""

from lungcls.shortcuts.check import Check, register_check
from lungcls.shortcuts.subject import ClassifierSubject, ModuleSubject, Subject

__all__ = ["Check", "ClassifierSubject", "ModuleSubject", "Subject", "register_check"]
