"""What a paper needs of a run: checklists, methods, tables, figures, references, cards; filled from files."""

from lungcls.paper.paper import Paper, write_paper

__all__ = ["Paper", "write_paper"]
