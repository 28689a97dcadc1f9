"""Pixels: weights are read some rows at a time, reduced over heads, and shrunk to what is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.heatmap.select import Members, Selection
    from qkvcli.heatmap.weights import Weights

AXIS_PIXELS = 2048
"""How many cells along an axis a picture keeps; more are reduced."""
TOTAL_PIXELS = 1 << 24
"""How many cells all panels of a picture keep together."""
BLOCK_BYTES = 2 << 20
"""How much of an array is read at a time; never less than one row."""
COMPUTED_BYTES = 16 << 20
"""How much is computed at a time from queries and keys: each time all keys of a head are gone
through."""
ROW_CAP = 256 << 20
"""How much a row may be: what is computed of it takes up to ten times as much."""


def factors(shape: tuple[int, ...], panels: int, cap: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns a pixel must stand for.

    Parameters
    ----------
    shape, panels
        The rows and columns of a panel, and how many panels there are.
    cap
        The most rows and columns of pixels that a panel can show.
    """
    shared = math.isqrt(TOTAL_PIXELS // panels)
    rows, columns = (
        math.ceil(n / max(1, min(AXIS_PIXELS, shared, most)))
        for n, most in zip(shape, cap, strict=True)
    )
    return rows, columns


def read_pixels(
    selection: Selection, shrink: str, each: tuple[int, int]
) -> Iterator[NDArray[np.floating]]:
    """Yield what the pixels of every panel show.

    Parameters
    ----------
    selection
        What is drawn.
    shrink
        ``"max"`` or ``"mean"``, of the weights that a pixel stands for.
    each
        How many rows and columns of them that is.
    """
    shape = len(selection.queries), len(selection.keys)
    for members in selection.members:
        read = blocks(selection, members, each[0])
        if max(each) == 1:
            found = np.empty(shape, selection.dtype)
            for start, block in read:
                found[start : start + len(block)] = block
            yield found
            continue
        summary = _Summary(shape, selection.dtype, shrink, each, signed=selection.signed)
        for start, block in read:
            summary.add(start, block)
        yield summary.pixels()


class _Summary:
    """What pixels of several cells show, as rows of cells come, however many at a time.

    Parameters
    ----------
    shape, dtype
        Of the cells.
    shrink, each
        As of ``read_pixels``.
    signed
        Whether a pixel shows the largest in magnitude: a loss must not hide behind a gain.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[np.floating],
        shrink: str,
        each: tuple[int, int],
        *,
        signed: bool,
    ) -> None:
        self._each = each
        is_mean = shrink == "mean"
        # How many rows, and how many columns, each pixel is of.
        down, across = (np.diff([*range(0, n, e), n]) for n, e in zip(shape, each, strict=True))
        self._counts = np.multiply.outer(down, across) if is_mean else None
        start, kind = (0.0, np.dtype(np.float64)) if is_mean else (np.nan, dtype)
        self._found: NDArray[np.floating] = np.full((len(down), len(across)), start, kind)
        self._lows = self._found.copy() if signed and not is_mean else None

    def add(self, start: int, cells: NDArray[np.floating]) -> None:
        """Add some rows of cells, of which ``start`` is the first."""
        down = self._each[0]
        here = slice(start // down, math.ceil((start + len(cells)) / down))
        if self._counts is not None:
            self._found[here] += _by_pixel(np.add, cells, self._each, start, dtype=np.float64)
        else:
            highs = _by_pixel(np.fmax, cells, self._each, start)
            np.fmax(self._found[here], highs, out=self._found[here])
            if self._lows is not None:
                lows = _by_pixel(np.fmin, cells, self._each, start)
                np.fmin(self._lows[here], lows, out=self._lows[here])

    def pixels(self) -> NDArray[np.floating]:
        """Return what all pixels show."""
        if self._counts is not None:
            return self._found / self._counts
        if self._lows is not None:
            return np.where(self._found >= -self._lows, self._found, self._lows)
        return self._found


def _by_pixel(
    combine: np.ufunc,
    cells: NDArray[np.floating],
    each: tuple[int, int],
    start: int,
    dtype: type[np.float64] | None = None,
) -> NDArray[np.floating]:
    """Return rows of cells combined to pixels; ``start`` is the first of the panel's rows."""
    down, across = each
    columns = np.arange(0, cells.shape[1], across)
    rows = np.arange(start // down * down, start + len(cells), down) - start
    found: NDArray[np.floating] = combine.reduceat(cells, np.maximum(rows, 0), axis=0, dtype=dtype)
    return combine.reduceat(found, columns, axis=1, dtype=dtype)


def blocks(
    selection: Selection, members: Members, down: int = 1
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Yield the cells of a panel, some rows at a time, each time with the number of the first.

    Rows of one pixel come at once, where they are no more than are read at a time. Each block is
    good until the next is asked for.

    Raises
    ------
    InputError
        One row takes more than ``ROW_CAP``.
    """
    queries, weights, other = selection.queries, selection.weights, selection.other
    spread = math.ceil(len(queries.positions) / len(queries))
    row = weights.shape[4] * max(w.dtype.itemsize for w in (weights, other) if w) * spread
    if row > ROW_CAP:
        raise InputError(
            f"{spread} × {weights.shape[4]} weights are {row >> 20} MiB, over the cap of "
            f"{ROW_CAP >> 20} MiB to be held at once; save a part of the keys",
            weights.file,
        )
    step = max(1, (COMPUTED_BYTES if weights.is_computed else BLOCK_BYTES) // row)
    step = step // down * down or step
    # What overflows is infinite or NaN, drawn grey and said; NumPy need not say it too.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(queries), step):
            stop = min(start + step, len(queries))
            block = _cells(selection, weights, members, start, stop)
            if other is not None:  # which may be the same file, read into the same place
                block = block.copy() - _cells(selection, other, members, start, stop)
            yield start, block


def _cells(
    selection: Selection, weights: Weights, members: Members, start: int, stop: int
) -> NDArray[np.floating]:
    """Return some rows of cells: read, reduced over heads and layers, with subwords merged."""
    queries, keys = selection.queries, selection.keys
    first, last = queries.bounds(start, stop)
    rows, picked = queries.positions[first:last], keys.positions
    block = weights.read(*members[0], rows)
    if len(members) > 1:
        combine = {"mean": np.add, "max": np.maximum, "min": np.minimum}[selection.reduce]
        block = block.astype(np.float64)
        for member in members[1:]:
            combine(block, weights.read(*member, rows), out=block)
        if selection.reduce == "mean":
            block /= len(members)
    block = block[:, picked.start : picked.stop] if isinstance(picked, range) else block[:, picked]
    if keys.starts is not None:
        block = np.add.reduceat(block, keys.starts, axis=1, dtype=np.float64)
    if queries.starts is not None:
        starts = queries.starts[start:stop] - first
        sums = np.add.reduceat(block, starts, axis=0, dtype=np.float64)
        block = sums / np.diff(starts, append=len(block))[:, None]
    return block


def shrunk(
    cells: NDArray[np.floating], each: tuple[int, int], shrink: str, *, signed: bool
) -> NDArray[np.floating]:
    """Return cells shrunk to pixels, each of so many rows and columns.

    A pixel shows their largest, of differences the largest in magnitude (a loss must not hide
    behind a gain), or their mean.
    """
    summary = _Summary(cells.shape, cells.dtype, shrink, each, signed=signed)
    summary.add(0, cells)
    return summary.pixels()
