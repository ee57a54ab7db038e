"""The work behind ``lungcls explain``: figures, maps and a table of shares for any number of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.cli.batch import Batch, save_png
from lungcls.cli.tables import printable

if TYPE_CHECKING:
    from lungcls.cli.inputs import Input
    from lungcls.cli.journal import Row

_PARTS = ("lungs", "image_left", "image_right", "upper", "middle", "lower")
_BESIDE = ("", "_chance", "_ceiling", "_matched")
_COLUMNS = (
    *("path", "label", "method", "target", "target_probability", "region", "fallback", "ok", "reasons"),
    *("empty", "peak_x", "peak_y"),
    *(f"{part}{beside}" for beside in _BESIDE for part in _PARTS),
    *("padding", "error"),
)


@dataclass
class Explaining(Batch):
    """One run of explanations over many inputs; parameters besides those of Batch:

    Parameters
    ----------
    method, target, layer
        Of :meth:`lungcls.Pipeline.explain`.
    panels : {0, 2, 4}
        Of the figures; 0 writes none.
    cams, npy : bool
        Whether to write the maps as grey pictures and as arrays.
    """

    method: str = "gradcam"
    target: str | None = None
    layer: str | None = None
    panels: int = 4
    cams: bool = True
    npy: bool = False

    def about(self) -> dict[str, Any]:
        """Return all that the rows depend on."""
        about = super().about()
        options = {key: value for key, value in about["options"].items() if key not in ("masks", "overlays")}
        names = ("method", "target", "layer", "panels", "cams", "npy")
        about["options"] = {**options, **{name: getattr(self, name) for name in names}}
        return about

    def write_csv(self, path: Path, rows: Sequence[Row]) -> None:
        """Write the table of the rows."""
        from lungcls.files import write_rows

        write_rows(path, _COLUMNS, map(_cells, rows))

    def print_table(self, rows: Sequence[Row]) -> None:
        """Print the table of the rows for people."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE)
        table.add_column("path", overflow="fold")
        for title in ("target", "in lungs", "even map", "at most", *_PARTS[1:]):
            table.add_column(title, justify="left" if title == "target" else "right")
        for row in rows:
            cells = [printable(row["path"])]
            if row.get("error"):
                cells += ["failed, see the error below"]
            else:
                shares = row["shares"]
                names = ("lungs", "lungs_chance", "lungs_ceiling", *_PARTS[1:])
                values = [shares[name] for name in names]
                cells += [row["target"]]
                cells += ["empty" if value is None else f"{value:.0%}" for value in values]
            table.add_row(*map(Text, cells))
        console = Console()
        # A file or a pipe has no width to fold lines to.
        (console if console.is_terminal else Console(width=10_000)).print(table)

    def stream(self, paths: Iterator[str]) -> Iterator[Any]:
        """Explain the inputs in order, each with an Explanation or a Failure."""
        return self.pipeline.explain_stream(
            paths,
            method=self.method,
            target=self.target,
            layer=self.layer,
            value_range=self.value_range,
            on_error="return",
        )

    def _wanted(self) -> dict[str, bool]:
        return {"figure": bool(self.panels), "cam": self.cams, "npy": self.npy}

    def _all_pictures(self, item: Input) -> dict[str, str]:
        return {
            "figure": f"figures/{item.picture}",
            "cam": f"cams/{item.picture}",
            "npy": f"cams/{Path(item.picture).with_suffix('.npy').as_posix()}",
        }

    def _save(self, kind: str, result: Any, path: Path) -> None:
        import numpy as np

        from lungcls.files import atomic_write
        from lungcls.render.pictures import grey_picture

        if kind == "figure":
            save_png(result.figure(self.panels), path)
        elif kind == "cam":
            save_png(grey_picture(result.cam), path)
        else:
            with atomic_write(path) as file:
                np.save(file, result.cam)


def _cells(row: Row) -> dict[str, str]:
    if row.get("error"):
        return {"path": printable(row["path"]), "error": printable(row["error"])}
    peak = row["peak"] or ("", "")
    cells = {
        "path": row["path"],
        "label": row["label"] or "",
        "method": row["method"],
        "target": row["target"],
        "target_probability": f"{row['probabilities'][row['target']]:.6f}",
        "region": row["region"],
        "fallback": _flag(row["fallback"]),
        "ok": _flag(row["quality"]["ok"]),
        "reasons": ";".join(reason["name"] for reason in row["quality"]["reasons"]),
        "empty": _flag(row["empty"]),
        "peak_x": peak[0] and f"{peak[0]:.1f}",
        "peak_y": peak[1] and f"{peak[1]:.1f}",
        **{name: f"{value:.6f}" for name, value in row["shares"].items() if value is not None},
    }
    return {name: printable(cell) for name, cell in cells.items()}


def _flag(value: bool) -> str:
    return "true" if value else "false"
