"""Millions of films: manifests and object storage in, Parquet shards out, on one machine or many.

Nothing here is imported by the rest of the library. Needs ``pip install 'lungcls[scale]'``.
"""

from __future__ import annotations

from lungcls.errors import MissingExtraError

try:
    import fsspec  # noqa: F401
    import psutil  # noqa: F401
    import pyarrow  # noqa: F401
    import tenacity  # noqa: F401
except ImportError as _error:
    raise MissingExtraError(_error.name or "pyarrow", "scale", "work on millions of films") from _error

from lungcls.scale.results import count_rows, merge, query, read_shard, write_errors
from lungcls.scale.run import Report, run
from lungcls.scale.schema import SCHEMA_VERSION, decode_mask, output_schema

__all__ = [
    "SCHEMA_VERSION",
    "Report",
    "count_rows",
    "decode_mask",
    "merge",
    "output_schema",
    "query",
    "read_shard",
    "run",
    "write_errors",
]
