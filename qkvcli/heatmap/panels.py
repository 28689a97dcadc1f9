"""Panels: the weights that are drawn, read tile by tile, combined and shrunk to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.heatmap.tiles import Tile, counts, tiling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.axes import Axis
    from qkvcli.heatmap.stack import Stack
    from qkvcli.heatmap.tiles import Band, Span

    Members = tuple[tuple[int, int], ...]
    Tiling = tuple[list[Span], list[Band]]

AXIS_PIXELS = 2048
"""How many cells along an axis a picture keeps; more are reduced."""
TOTAL_PIXELS = 1 << 24
"""How many cells all panels of a picture keep together."""


@dataclass(frozen=True)
class Choice:
    """What is read from each file.

    Parameters
    ----------
    members
        For each panel the matrices, as (layer, head), that are reduced to it.
    queries, keys
        The rows and columns.
    reduce
        ``"mean"``, ``"max"`` or ``"min"``, over the members of a panel.
    shrink
        ``"max"`` or ``"mean"``: what a pixel shows that stands for several cells.
    factors
        How many rows and columns a pixel stands for.
    """

    members: tuple[Members, ...]
    queries: Axis
    keys: Axis
    reduce: str
    shrink: str
    factors: tuple[int, int]

    @property
    def pixels(self) -> tuple[int, int]:
        """Shape (rows, columns) of a panel."""
        rows, columns = self.factors
        return math.ceil(len(self.queries) / rows), math.ceil(len(self.keys) / columns)


def factors(shape: tuple[int, int], panels: int, cap: tuple[float, float]) -> tuple[int, int]:
    """Return how many rows and columns a pixel must stand for.

    Parameters
    ----------
    shape
        Rows and columns of a panel.
    panels
        How many there are.
    cap
        The most pixels that a panel can show along each axis.

    Examples
    --------
    >>> factors((20_000, 2_048), 1, (2048, 2048))
    (10, 1)
    """
    shared = math.isqrt(TOTAL_PIXELS // panels)
    rows, columns = (
        math.ceil(n / max(1, min(AXIS_PIXELS, shared, int(most))))
        for n, most in zip(shape, cap, strict=True)
    )
    return rows, columns


def read_panels(choice: Choice, weights: Stack, other: Stack | None) -> list[NDArray[np.floating]]:
    """Return the values of every panel, each of shape ``choice.pixels``.

    Parameters
    ----------
    choice
        What is read.
    weights, other
        The weights, and those to subtract from them.
    """
    queries, keys = choice.queries, choice.keys
    itemsize = max(weights.itemsize, other.itemsize if other else 0)
    cut = tiling(queries, keys, choice.factors, weights.shape[4], itemsize)
    # What overflows is infinite or NaN, drawn grey and said; NumPy need not say it too.
    with np.errstate(over="ignore", invalid="ignore"):
        return [_panel(choice, cut, members, weights, other) for members in choice.members]


def _panel(
    choice: Choice, cut: Tiling, members: Members, weights: Stack, other: Stack | None
) -> NDArray[np.floating]:
    pixels = _Pixels(choice, signed=other is not None)
    for span, band in product(*cut):
        block = _cells(choice, members, weights, band, span)
        if other is not None:
            block = block.copy()  # what was read is good until the next read
            block = block - _cells(choice, members, other, band, span)
        if len(span.starts):  # else its keys are looked at alone
            pixels.add(block, band, span)
    return pixels.values()


class _Pixels:
    """The pixels of a panel, merged from those of its tiles."""

    def __init__(self, choice: Choice, *, signed: bool) -> None:
        self._factors, self._shape = choice.factors, choice.pixels
        self._counts = counts(len(choice.keys), choice.factors[1])
        self._mean, self._signed = choice.shrink == "mean", signed
        self._values: NDArray[np.floating] = np.empty(0)

    def add(self, block: NDArray[np.floating], band: Band, span: Span) -> None:
        """Merge the cells of a tile."""
        rows, columns = self._factors
        if rows > 1:
            block = self._shrunk(block, np.arange(0, len(block), rows), 0)
            if self._mean:
                block /= counts(len(band.queries), rows)[:, None]
        if columns > 1:
            block = self._shrunk(block, span.starts, 1)
        if not self._values.size:
            self._values = np.full(self._shape, 0 if self._mean else np.nan, block.dtype)
        at = band.rows, span.pixels
        self._values[at] = block if span.whole else self._merged(self._values[at], block)

    def values(self) -> NDArray[np.floating]:
        """Return what every pixel shows."""
        if self._mean and self._factors[1] > 1:
            self._values /= self._counts
        return self._values

    def _shrunk(
        self, block: NDArray[np.floating], starts: NDArray[np.intp], axis: int
    ) -> NDArray[np.floating]:
        """Return of each run of cells the sum, or what is to be seen of it."""
        if self._mean:
            return np.add.reduceat(block, starts, axis=axis, dtype=np.float64)
        high = np.fmax.reduceat(block, starts, axis=axis)
        return _larger(high, np.fmin.reduceat(block, starts, axis=axis)) if self._signed else high

    def _merged(
        self, one: NDArray[np.floating], other: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """Return the same of two runs of cells as of one."""
        if self._mean:
            return one + other
        high = np.fmax(one, other)
        return _larger(high, np.fmin(one, other)) if self._signed else high


def _larger(high: NDArray[np.floating], low: NDArray[np.floating]) -> NDArray[np.floating]:
    # Of a difference the largest in magnitude is shown: a loss must not hide behind a gain.
    return np.where(high >= -low, high, low)


def _cells(
    choice: Choice, members: Members, weights: Stack, band: Band, span: Span
) -> NDArray[np.floating]:
    """Return the cells of a tile: read, reduced over heads and layers, with subwords merged."""
    queries, keys = band.queries, choice.keys
    tile = Tile(queries.positions, band.before, span.keys)
    block = _reduced(choice, members, weights, tile)[:, span.drawn]
    if keys.starts is not None:
        block = np.add.reduceat(block, keys.starts, axis=1, dtype=np.float64)
    if queries.starts is not None:
        sums = np.add.reduceat(block, queries.starts, axis=0, dtype=np.float64)
        block = sums / queries.counts[:, None]
    return block


def _reduced(choice: Choice, members: Members, weights: Stack, tile: Tile) -> NDArray[np.floating]:
    first = weights.read(*members[0], tile)
    if len(members) == 1:
        return first
    combine = {"mean": np.add, "max": np.maximum, "min": np.minimum}[choice.reduce]
    found = first.astype(np.float64)
    for member in members[1:]:
        combine(found, weights.read(*member, tile), out=found)
    return found / len(members) if choice.reduce == "mean" else found


def names(members: Sequence[Members], weights: Stack, reduce: str) -> list[str]:
    """Return what each panel is called; nothing where there is only one matrix to tell."""
    return [_name(group, weights, reduce) for group in members]


def short_names(
    members: Sequence[Members], weights: Stack
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return two shorter forms, ``L3 H0`` and ``3.0``, of what tells panels apart.

    Where each panel is all heads of a layer, or there is but one layer, one number does that.
    """
    parts = []
    for (layer, head), *others in members:
        layers = [("L", layer)] if weights.layers > 1 else []
        parts.append(layers + ([("H", head)] if weights.heads > 1 and not others else []))
    return (
        tuple(" ".join(f"{letter}{number}" for letter, number in part) for part in parts),
        tuple(".".join(str(number) for _, number in part) for part in parts),
    )


def _name(group: Members, weights: Stack, reduce: str) -> str:
    layers, heads = {layer for layer, _ in group}, {head for _, head in group}
    parts = []
    if weights.layers > 1:
        parts.append(f"layer {min(layers)}" if len(layers) == 1 else f"{len(layers)} layers")
    if weights.heads > 1:
        parts.append(f"head {min(heads)}" if len(heads) == 1 else f"{reduce} of {len(heads)} heads")
    elif len(layers) > 1:
        parts[-1] = f"{reduce} of {parts[-1]}"
    return ", ".join(parts)
