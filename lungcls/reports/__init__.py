"""Reports of trained models: curves, confusion, ROC, galleries, and tables that compare models."""

from lungcls.reports.write import write_report

__all__ = ["write_report"]
