"""Tiles: what is read of a matrix at a time, so that memory grows with neither queries nor keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.heatmap.ranges import every

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.heatmap.axes import Axis
    from qkvcli.heatmap.ranges import Positions

BLOCK_BYTES = 2 << 20
"""How much of an array is held at a time."""
TOGETHER = 8
"""How many rows, at least, are read together where they are too long to be read whole."""


class Tile(NamedTuple):
    """Some rows of a matrix, or some columns of them.

    Parameters
    ----------
    queries
        Which rows of the file.
    before
        How many of the rows that are drawn come before them.
    keys
        Which columns of the file, from ``start`` to before ``stop``.
    """

    queries: Positions
    before: int
    keys: slice


class Band(NamedTuple):
    """The queries of a tile.

    Parameters
    ----------
    rows
        The rows of pixels that they are all of.
    queries
        The cells.
    before
        How many of the rows that are drawn come before them.
    """

    rows: slice
    queries: Axis
    before: int


class Span(NamedTuple):
    """The keys of a tile, and the pixels that those of them which are drawn are part of.

    Parameters
    ----------
    keys
        Which columns of the file.
    drawn
        Which columns of the tile are drawn.
    pixels
        Which columns of pixels they are part of.
    starts
        Where those of each pixel begin among the cells of the tile.
    whole
        Whether no pixel has cells in another span.
    """

    keys: slice
    drawn: slice | NDArray[np.intp]
    pixels: slice | NDArray[np.intp]
    starts: NDArray[np.intp]
    whole: bool


def tiling(
    queries: Axis, keys: Axis, factors: tuple[int, int], length: int, itemsize: int
) -> tuple[list[Span], list[Band]]:
    """Cut matrices into spans and bands: of whole rows, or where these are too long of some keys.

    Parameters
    ----------
    queries, keys
        What is drawn.
    factors
        How many rows and columns of cells a pixel stands for.
    length
        How many keys the file has, drawn or not: all are looked at.
    itemsize
        The bytes of a weight.

    Returns
    -------
    tuple
        The spans and the bands; each band of each span is a tile.
    """
    down, across = factors
    spread = math.ceil(len(queries.positions) / len(queries))
    room = max(1, BLOCK_BYTES // itemsize)
    # The keys of a merged word may lie anywhere in a row.
    width = length if keys.merged else _width(room, spread * down, length, across)
    step = max(1, room // (width * spread) // down) * down
    columns = (slice(at, min(at + width, length)) for at in range(0, length, width))
    rows = ((at, min(at + step, len(queries))) for at in range(0, len(queries), step))
    return [_span(keys, across, one) for one in columns], [
        _band(queries, down, *one) for one in rows
    ]


def _width(room: int, rows: int, length: int, factor: int) -> int:
    """Return how many keys a tile has: all, or those of some whole pixels."""
    if rows * length <= room:
        return length
    width = room // max(rows, TOGETHER)
    return max(width - width % factor, factor)


def _band(queries: Axis, factor: int, start: int, stop: int) -> Band:
    rows = slice(start // factor, math.ceil(stop / factor))
    return Band(rows, queries.part(start, stop), queries.first(start))


def counts(cells: int, factor: int) -> NDArray[np.intp]:
    """Return how many cells each pixel along an axis stands for: ``factor``, or what is left."""
    return np.diff(np.append(np.arange(0, cells, factor), cells))


def _span(keys: Axis, factor: int, columns: slice) -> Span:
    found, places = keys.positions.within(columns.start, columns.stop)
    if keys.merged:
        places = every(len(keys))
    if not len(places):
        return Span(columns, slice(0), slice(0), np.zeros(0, np.intp), whole=True)
    first, last = places[0] // factor, places.highest // factor
    edges = np.minimum(np.arange(first, last + 2) * factor, len(keys))
    bounds = places.below(edges)
    held = np.diff(bounds)
    some = held > 0
    return Span(
        columns,
        found.index(columns.start),
        slice(first, last + 1) if some.all() else first + np.flatnonzero(some),
        bounds[:-1][some],
        whole=bool((held == np.diff(edges))[some].all()),
    )
