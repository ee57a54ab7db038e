"""What people call the parts of a split."""

from __future__ import annotations

from typing import Final

PART_NAMES: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in lower case, and the parts that they mean."""
