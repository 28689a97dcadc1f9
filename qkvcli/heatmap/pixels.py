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
"""How much of an array is read at a time; never less than the rows of one pixel."""
ROWS_CAP = 256 << 20
"""How much these may be: what is computed of them takes up to ten times as much."""


def factors(selection: Selection, cap: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns a pixel must stand for.

    Parameters
    ----------
    selection
        What is drawn.
    cap
        The most rows and columns of pixels that a panel can show.
    """
    shared = math.isqrt(TOTAL_PIXELS // len(selection.members))
    rows, columns = (
        math.ceil(n / max(1, min(AXIS_PIXELS, shared, most)))
        for n, most in zip((len(selection.queries), len(selection.keys)), cap, strict=True)
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
    shape = [
        math.ceil(len(a) / n)
        for a, n in zip((selection.queries, selection.keys), each, strict=True)
    ]
    for members in selection.members:
        pixels = np.empty(
            shape, np.float64 if shrink == "mean" and max(each) > 1 else selection.dtype
        )
        at = 0
        for block in blocks(selection, members, each[0]):
            part = shrunk(block, each, shrink, signed=selection.signed)
            pixels[at : at + len(part)] = part
            at += len(part)
        yield pixels


def blocks(selection: Selection, members: Members, down: int = 1) -> Iterator[NDArray[np.floating]]:
    """Yield the cells of a panel, some rows at a time, in multiples of ``down``.

    Each block is good until the next is asked for.

    Raises
    ------
    InputError
        So many rows take more than ``ROWS_CAP``.
    """
    queries, weights, other = selection.queries, selection.weights, selection.other
    spread = math.ceil(len(queries.positions) / len(queries))
    row = weights.shape[4] * max(w.dtype.itemsize for w in (weights, other) if w) * spread
    if row * down > ROWS_CAP:
        raise InputError(
            f"{down * spread} × {weights.shape[4]} weights are {row * down >> 20} MiB, over "
            f"the cap of {ROWS_CAP >> 20} MiB to be held at once; choose fewer --queries, "
            "or save a part",
            weights.file,
        )
    step = max(1, BLOCK_BYTES // row // down) * down
    # What overflows is infinite or NaN, drawn grey and said; NumPy need not say it too.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(queries), step):
            stop = min(start + step, len(queries))
            block = _cells(selection, weights, members, start, stop)
            if other is not None:  # which may be the same file, read into the same place
                block = block.copy() - _cells(selection, other, members, start, stop)
            yield block


def _cells(
    selection: Selection, weights: Weights, members: Members, start: int, stop: int
) -> NDArray[np.floating]:
    """Return some rows of cells: read, reduced over heads and layers, with subwords merged."""
    queries, keys = selection.queries, selection.keys
    first, last = queries.bounds(start, stop)
    block = _reduced(selection, weights, members, queries.positions[first:last])
    picked = keys.positions
    block = block[:, picked.start : picked.stop] if isinstance(picked, range) else block[:, picked]
    if keys.starts is not None:
        block = np.add.reduceat(block, keys.starts, axis=1, dtype=np.float64)
    if queries.starts is not None:
        starts = queries.starts[start:stop] - first
        sums = np.add.reduceat(block, starts, axis=0, dtype=np.float64)
        block = sums / np.diff(starts, append=len(block))[:, None]
    return block


def _reduced(
    selection: Selection, weights: Weights, members: Members, queries: range | NDArray[np.intp]
) -> NDArray[np.floating]:
    first = weights.read(*members[0], queries)
    if len(members) == 1:
        return first
    combine = {"mean": np.add, "max": np.maximum, "min": np.minimum}[selection.reduce]
    found = first.astype(np.float64)
    for member in members[1:]:
        combine(found, weights.read(*member, queries), out=found)
    return found / len(members) if selection.reduce == "mean" else found


def shrunk(
    cells: NDArray[np.floating], each: tuple[int, int], shrink: str, *, signed: bool
) -> NDArray[np.floating]:
    """Return cells shrunk to pixels, each of so many rows and columns.

    A pixel shows their largest, of differences the largest in magnitude (a loss must not hide
    behind a gain), or their mean.
    """
    for axis, count in enumerate(each):
        if count == 1:
            continue
        starts = np.arange(0, cells.shape[axis], count)
        if shrink == "mean":
            counts = np.diff(starts, append=cells.shape[axis])
            sums = np.add.reduceat(cells, starts, axis=axis, dtype=np.float64)
            cells = sums / (counts[:, None] if axis == 0 else counts)
            continue
        high = np.fmax.reduceat(cells, starts, axis=axis)
        if signed:
            low = np.fmin.reduceat(cells, starts, axis=axis)
            high = np.where(high >= -low, high, low)
        cells = high
    return cells
