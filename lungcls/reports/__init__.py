"""Reports of trained models: curves, confusion, ROC, galleries, and tables that compare models."""

from lungcls.reports.answers import Answers, ensemble
from lungcls.reports.compare import Comparison, compare
from lungcls.reports.report import write_report

__all__ = ["Answers", "Comparison", "compare", "ensemble", "write_report"]
