"""The stages and the whole pipeline as files for other engines."""

from lungcls.export.export import FORMATS, export_pipeline, export_stage, write_graph

__all__ = ["FORMATS", "export_pipeline", "export_stage", "write_graph"]
