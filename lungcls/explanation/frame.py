"""Where the cells of a map lie on the image: through the letterbox and the crop, back to original pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lungcls.lungs import Lungs
from lungcls.regions import Box, Mask, Pixels, Placement, Region, place, seen_box

Grid = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """The way from a network's square view back to the image that it was cut from.

    A map has its own, usually coarse, grid of cells that divides the view evenly; between the centres of the
    cells it is interpolated bilinearly.

    Attributes
    ----------
    shape : (height, width)
        Of the image.
    box : (x0, y0, x1, y1)
        The part of the image that the network saw, end exclusive.
    placement : Placement
        Where the letterbox put that part in the view.
    """

    shape: tuple[int, int]
    box: Box
    placement: Placement

    @classmethod
    def of(
        cls, shape: tuple[int, int], mask: Mask | None, region: Region, size: int, aspect: float = 1.0
    ) -> Frame:
        """Return the frame of the view that :func:`lungcls.regions.view` makes.

        Parameters
        ----------
        shape : (height, width)
            Of the image.
        mask : bool array [H, W] or None
            The lung mask; may be None for the region ``full`` only.
        region : Region
        size : int
            Side of the view, in pixels.
        aspect : float, default=1
            Height of a pixel over its width.

        Raises
        ------
        ValueError
            As :func:`lungcls.regions.seen_box`.
        """
        box = seen_box(shape, mask, region, aspect)
        return cls(shape, box, place((box[3] - box[1], box[2] - box[0]), size, aspect))

    @classmethod
    def of_lungs(cls, lungs: Lungs, region: Region, size: int) -> Frame:
        """Return the frame of the view that :meth:`lungcls.lungs.Lungs.view` makes."""
        height, width = lungs.mask.shape
        return cls.of((height, width), lungs.mask, lungs.region(region), size, lungs.pixel_aspect)

    def to_image(self, grid: Grid) -> Pixels:
        """Map a grid back onto the image.

        Parameters
        ----------
        grid : float32 array [h, w]

        Returns
        -------
        float32 array [H, W]
            0 where the network saw nothing. What lies on the bars of the letterbox is lost.
        """
        rows, columns = self._weights(grid.shape)
        x0, y0, x1, y1 = self.box
        image = np.zeros(self.shape, np.float32)
        image[y0:y1, x0:x1] = rows.astype(np.float32) @ grid @ columns.astype(np.float32).T
        return image

    def peak(self, grid: Grid) -> tuple[float, float] | None:
        """Return where a map is highest: the centre of its highest cell, in original pixels.

        The centre, since the interpolated map is flat from the outermost centres to the border.

        Returns
        -------
        (x, y) or None
            Pixel (0, 0) has its centre at (0.5, 0.5). The point lies outside the seen box where the highest
            cell is centred on a bar of the letterbox. None where the map is 0 everywhere.
        """
        if not grid.max() > 0:
            return None
        row, column = np.unravel_index(int(grid.argmax()), grid.shape)
        x, y = self.centres((grid.shape[0], grid.shape[1]))
        return float(x[column]), float(y[row])

    def centres(self, cells: tuple[int, int]) -> tuple[Matrix, Matrix]:
        """Return the x of each column's and the y of each row's centre, in original pixels."""
        x0, y0, x1, y1 = self.box
        where, size = self.placement, self.placement.size
        y = ((np.arange(cells[0]) + 0.5) * size / cells[0] - where.y) * (y1 - y0) / where.height + y0
        x = ((np.arange(cells[1]) + 0.5) * size / cells[1] - where.x) * (x1 - x0) / where.width + x0
        return x, y

    def chance(self, part: Mask) -> float:
        """Return the share of an even map inside `part`: its area over that of the seen box."""
        x0, y0, x1, y1 = self.box
        return float(part[y0:y1, x0:x1].mean())

    def limits(self, cells: tuple[int, int], part: Mask) -> tuple[float, float]:
        """Return how large a share inside `part` the resolution of a map allows.

        Parameters
        ----------
        cells : (h, w)
            Of the map's grid.
        part : bool array [H, W]

        Returns
        -------
        ceiling : float
            The largest share that any map on this grid can have: all of it in the best cell.
        matched : float
            The share of the map that marks the whole of `part` as well as the grid allows: each cell as
            high as the fraction of it that is inside.
        """
        x0, y0, x1, y1 = self.box
        rows, columns = self._weights(cells)
        inside = rows.T @ part[y0:y1, x0:x1] @ columns
        total = np.outer(rows.sum(axis=0), columns.sum(axis=0))
        # A cell whose reach has hardly a pixel of the image has no share that means anything.
        fraction = np.divide(inside, total, out=np.zeros_like(total), where=total > 1e-9 * total.max())
        weight = float((fraction * total).sum())
        return float(fraction.max()), float((fraction * inside).sum()) / weight if weight else 0.0

    def padding_share(self, grid: Grid) -> float:
        """Return the share of a map that lies on the bars of the letterbox; nan where the map is empty."""
        height, width = grid.shape
        where, size = self.placement, self.placement.size
        points = np.arange(size, dtype=np.float64) + 0.5
        whole_rows, whole_columns = interpolation(points, size, height), interpolation(points, size, width)
        total = whole_rows.sum(axis=0) @ grid @ whole_columns.sum(axis=0)
        rows = whole_rows[where.y : where.y + where.height].sum(axis=0)
        columns = whole_columns[where.x : where.x + where.width].sum(axis=0)
        return max(0.0, 1 - float(rows @ grid @ columns) / float(total)) if total > 0 else math.nan

    def _weights(self, cells: tuple[int, ...]) -> tuple[Matrix, Matrix]:
        """What each cell gives to each row and to each column of the seen box."""
        x0, y0, x1, y1 = self.box
        where = self.placement
        y = where.y + (np.arange(y1 - y0) + 0.5) * where.height / (y1 - y0)
        x = where.x + (np.arange(x1 - x0) + 0.5) * where.width / (x1 - x0)
        return interpolation(y, where.size, cells[0]), interpolation(x, where.size, cells[1])


def interpolation(points: Matrix, size: int, cells: int) -> Matrix:
    """Return the weights of linear interpolation between cells that divide a line evenly.

    Parameters
    ----------
    points : float array [N]
        Positions in [0, `size`].
    size : int
        Length of the line.
    cells : int

    Returns
    -------
    float64 array [N, cells]
        Each row sums to 1; beyond the outermost centres the outermost cell counts alone.
    """
    position = np.clip(points * cells / size - 0.5, 0, cells - 1)
    below = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    fraction = position - below
    weights = np.zeros((len(points), cells))
    order = np.arange(len(points))
    weights[order, below] = 1 - fraction
    if cells > 1:
        weights[order, below + 1] = fraction
    return weights
