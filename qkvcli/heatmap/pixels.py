"""Pixels: weights are read some rows at a time, reduced over heads, and shrunk to what is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        if max(each) > 1:
            yield _in_pixels(read, shape, selection.dtype, each, shrink, signed=selection.signed)
            continue
        found = np.empty(shape, selection.dtype)
        for start, block in read:
            found[start : start + len(block)] = block
        yield found


def shrunk(
    cells: NDArray[np.floating], each: tuple[int, int], shrink: str, *, signed: bool
) -> NDArray[np.floating]:
    """Return cells shrunk to pixels, each of so many rows and columns.

    A pixel shows their largest, of differences the largest in magnitude (a loss must not hide
    behind a gain), or their mean.
    """
    rows, columns = cells.shape
    return _in_pixels([(0, cells)], (rows, columns), cells.dtype, each, shrink, signed=signed)


def _in_pixels(  # noqa: PLR0913 - as of ``shrunk``, and what comes in parts
    parts: Iterable[tuple[int, NDArray[np.floating]]],
    shape: tuple[int, int],
    dtype: np.dtype[np.floating],
    each: tuple[int, int],
    shrink: str,
    *,
    signed: bool,
) -> NDArray[np.floating]:
    """Return cells shrunk to pixels, however many rows of them come at a time."""
    # How many rows, and how many columns, each pixel is of.
    down, across = (np.diff([*range(0, n, e), n]) for n, e in zip(shape, each, strict=True))
    is_mean = shrink == "mean"
    kind = np.dtype(np.float64) if is_mean else dtype
    ways = (np.add,) if is_mean else (np.fmax, np.fmin) if signed else (np.fmax,)
    found = [np.full((len(down), len(across)), 0.0 if is_mean else np.nan, kind) for _ in ways]
    for start, cells in parts:
        here = slice(start // each[0], math.ceil((start + len(cells)) / each[0]))
        for combine, pixels in zip(ways, found, strict=True):
            combine(pixels[here], _by_pixel(combine, cells, each, start, kind), out=pixels[here])
    if is_mean:
        return found[0] / np.multiply.outer(down, across)
    return np.where(found[0] >= -found[1], *found) if signed else found[0]


def _by_pixel(
    combine: np.ufunc,
    cells: NDArray[np.floating],
    each: tuple[int, int],
    start: int,
    dtype: np.dtype[np.floating],
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
