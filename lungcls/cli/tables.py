"""Rows of results as CSV, as JSON and as a table to read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcls.cli.journal import Row

_QUALITY = ("accepted", "ok", "lungs", "mask_area", "balance", "reasons")
_TRUST = ("confidence", "tier", "second", "conformal_set", "spread", "disagreement", "promised")
_BOX = ("x0", "y0", "x1", "y1")


def columns(classes: Sequence[str] | None) -> list[str]:
    """Return the columns of the CSV; `classes` is None without stage 2."""
    if classes is None:
        return ["path", *_QUALITY, *_BOX, "error"]
    return ["path", *classes, "label", *_TRUST, "region", "fallback", *_QUALITY, "error"]


def write_csv(path: Path, rows: Iterable[Row], classes: Sequence[str] | None) -> None:
    """Write one line a row, and no half of a file."""
    from lungcls.files import atomic_write

    names = columns(classes)
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            cells = _cells(row)
            writer.writerow([printable(cells.get(name, "")) for name in names])


def print_table(rows: Sequence[Row], classes: Sequence[str] | None) -> None:
    """Print a table for people on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("path", overflow="fold")
    if classes is not None:
        for title in ("label", "probability", "tier", "set", *classes):
            table.add_column(title, justify="left" if title in ("label", "tier", "set") else "right")
    else:
        table.add_column("lungs", justify="right")
        table.add_column("mask area", justify="right")
        table.add_column("box")
    table.add_column("quality")
    for row in rows:
        cells = [printable(row["path"])]
        if row.get("error"):
            cells += ["failed", *[""] * (len(table.columns) - 3), "see the error below"]
        elif classes is not None:
            values = row["probabilities"]
            if row["label"]:
                sure = f"{row['confidence']:.3f}"
                cells += [row["label"], sure, row["tier"], ", ".join(row["conformal_set"])]
            else:
                cells += ["none", "", "", ""]
            # Whoever takes the largest of them would have a label all the same.
            cells += [f"{values[name]:.3f}" if row["label"] else "" for name in classes]
            cells.append(_quality(row))
        else:
            quality = row["quality"]
            cells += [
                str(quality["lungs"]),
                f"{quality['mask_area']:.1%}",
                str(row["box"] or ""),
                _quality(row),
            ]
        table.add_row(*map(Text, cells))
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width to fold lines to.
        console = Console(width=10_000)
    console.print(table)


def doubts(rows: Iterable[Row]) -> list[str]:
    """Return a line for each thing that is wrong with an image, with the value that shows it."""
    return [
        printable(
            f"{row['path']}: {reason['name']}: {reason['message']} "
            f"({reason['value']:.3g}, threshold {reason['threshold']:.3g})"
        )
        for row in rows
        if not row.get("error")
        for reason in row["quality"]["reasons"]
    ]


def printable(value: object) -> str:
    """Return text that every encoding of UTF-8 takes: file names may hold bytes that are none."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _quality(row: Row) -> str:
    names = [_reason(reason) for reason in row["quality"]["reasons"]] or ["ok"]
    return ", ".join([*names, *(["whole image used"] if row.get("fallback") else [])])


def _reason(reason: Mapping[str, Any]) -> str:
    return f"{reason['name']} (corrected)" if reason["corrected"] else str(reason["name"])


def _cells(row: Row) -> dict[str, str]:
    if row.get("error"):
        return {"path": row["path"], "error": row["error"]}
    quality = row["quality"]
    cells = {
        "path": row["path"],
        "accepted": _flag(quality["accepted"]),
        "ok": _flag(quality["ok"]),
        "lungs": str(quality["lungs"]),
        "mask_area": f"{quality['mask_area']:.6f}",
        "balance": f"{quality['balance']:.6f}",
        "reasons": ";".join(map(_reason, quality["reasons"])),
        **{name: str(edge) for name, edge in zip(_BOX, row["box"] or ())},
    }
    if "label" in row:
        if row["label"] is not None:
            cells.update({name: f"{value:.6f}" for name, value in row["probabilities"].items()})
        cells.update(region=row["region"], fallback=_flag(row["fallback"]))
        cells.update(_trust(row))
    return cells


def _trust(row: Row) -> dict[str, str]:
    """The answer and how far to believe it; no cells where the label is withheld."""
    if row["label"] is None:
        return {}
    cells = {
        "label": row["label"],
        "confidence": f"{row['confidence']:.6f}",
        "tier": row["tier"],
        "second": row["second"] or "",
        "conformal_set": ";".join(row["conformal_set"]),
        "promised": row.get("promised", ""),
    }
    if row["spread"] is not None:
        cells["spread"] = f"{row['spread'][row['label']]:.6f}"
        cells["disagreement"] = f"{row['disagreement']:.6f}"
    return cells


def _flag(value: bool) -> str:
    return "true" if value else "false"
