"""How the charts of a dataset look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lungcls.render.drawing import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY: Final = "#9A9A9A"
PALE: Final = "#D9D9D9"
HATCHES: Final = ("", "//", "..", "xx")
"""What tells classes apart once the colours are used up."""


def colours(names: tuple[str, ...]) -> dict[str, str]:
    """Return a colour for each class; after eight of them they come again."""
    return {name: COLOURS[position % len(COLOURS)] for position, name in enumerate(names)}


def hatches(names: tuple[str, ...]) -> dict[str, str]:
    """Return a pattern for each class: none for the first eight, then one for each eight more."""
    return {name: HATCHES[position // len(COLOURS) % len(HATCHES)] for position, name in enumerate(names)}


def plain(axes: Axes, *, grid: str = "") -> None:
    """Take away the box, and draw pale lines across `grid` ("x", "y", "both" or none)."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=PALE, linewidth=0.6)  # type: ignore[arg-type]


def short(text: str, length: int = 28) -> str:
    """Return text with its middle left out where it is longer than `length`."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}\u2026{text[-half:]}"


def dot_style(count: int) -> dict[str, Any]:
    """Return size and opacity of the dots of a scatter plot: the more dots, the smaller and paler."""
    return {"s": min(30.0, max(8.0, 8000 / max(count, 1))), "alpha": 0.45 if count > 2000 else 0.75}


def legend_right(axes: Axes, **options: Any) -> None:
    """Put the legend beside the axes, where it hides nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, **options)
