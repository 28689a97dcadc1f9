"""Panels: the weights that are drawn, read block by block, combined and shrunk to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.heatmap.stack import BLOCK_BYTES, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.axes import Axis

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

    members: tuple[tuple[tuple[int, int], ...], ...]
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
    # What overflows is infinite or NaN, drawn grey and said; NumPy need not say it too.
    with np.errstate(over="ignore", invalid="ignore"):
        return [_panel(choice, members, weights, other) for members in choice.members]


def _panel(
    choice: Choice, members: tuple[tuple[int, int], ...], weights: Stack, other: Stack | None
) -> NDArray[np.floating]:
    parts = []
    for rows in _blocks(choice, weights):
        block = _cells(choice, members, weights, rows)
        if other is not None:
            block = block - _cells(choice, members, other, rows)
        parts.append(_shrunk(block, choice, signed=other is not None))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _blocks(choice: Choice, weights: Stack) -> Iterator[slice]:
    """Yield runs of cells along the queries, each of whole pixels."""
    width = weights.array.dtype.itemsize * weights.shape[4]
    spread = math.ceil(len(choice.queries.positions) / len(choice.queries))
    factor = choice.factors[0]
    step = max(1, BLOCK_BYTES // (width * spread) // factor) * factor
    for start in range(0, len(choice.queries), step):
        yield slice(start, min(start + step, len(choice.queries)))


def _cells(
    choice: Choice, members: tuple[tuple[int, int], ...], weights: Stack, rows: slice
) -> NDArray[np.floating]:
    """Return some rows of cells: read, reduced over heads and layers, with subwords merged."""
    queries, keys = choice.queries, choice.keys
    starts = queries.starts[rows]
    stop = queries.starts[rows.stop] if rows.stop < len(queries) else len(queries.positions)
    block = _reduced(choice, members, weights, queries.positions[starts[0] : stop])
    if len(keys.positions) != block.shape[1] or (np.diff(keys.positions) != 1).any():
        block = block[:, keys.positions]
    if keys.merged:
        block = np.add.reduceat(block, keys.starts, axis=1, dtype=np.float64)
    if queries.merged:
        sums = np.add.reduceat(block, starts - starts[0], axis=0, dtype=np.float64)
        block = sums / queries.counts[rows, None]
    return block.copy()  # what was read is good until the next read


def _reduced(
    choice: Choice,
    members: tuple[tuple[int, int], ...],
    weights: Stack,
    positions: NDArray[np.intp],
) -> NDArray[np.floating]:
    first = weights.read(*members[0], positions)
    if len(members) == 1:
        return first
    combine = {"mean": np.add, "max": np.maximum, "min": np.minimum}[choice.reduce]
    found = first.astype(np.float64)
    for member in members[1:]:
        combine(found, weights.read(*member, positions), out=found)
    return found / len(members) if choice.reduce == "mean" else found


def _shrunk(block: NDArray[np.floating], choice: Choice, *, signed: bool) -> NDArray[np.floating]:
    for axis, factor in enumerate(choice.factors):
        if factor > 1:
            block = _shrink_axis(block, factor, axis, choice.shrink, signed=signed)
    return block


def _shrink_axis(
    block: NDArray[np.floating], factor: int, axis: int, shrink: str, *, signed: bool
) -> NDArray[np.floating]:
    starts = np.arange(0, block.shape[axis], factor)
    if shrink == "mean":
        counts = np.diff(starts, append=block.shape[axis])
        sums = np.add.reduceat(block, starts, axis=axis, dtype=np.float64)
        return sums / (counts[:, None] if axis == 0 else counts)
    high = np.fmax.reduceat(block, starts, axis=axis)
    if not signed:
        return high
    low = np.fmin.reduceat(block, starts, axis=axis)
    # Of a difference the largest in magnitude is shown: a loss must not hide behind a gain.
    return np.where(high >= -low, high, low)


def names(members: Sequence[tuple[tuple[int, int], ...]], weights: Stack, reduce: str) -> list[str]:
    """Return what each panel is called; nothing where there is only one matrix to tell."""
    return [_name(group, weights, reduce) for group in members]


def short_names(
    members: Sequence[tuple[tuple[int, int], ...]], weights: Stack
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


def _name(group: tuple[tuple[int, int], ...], weights: Stack, reduce: str) -> str:
    layers, heads = {layer for layer, _ in group}, {head for _, head in group}
    parts = []
    if weights.layers > 1:
        parts.append(f"layer {min(layers)}" if len(layers) == 1 else f"{len(layers)} layers")
    if weights.heads > 1:
        parts.append(f"head {min(heads)}" if len(heads) == 1 else f"{reduce} of {len(heads)} heads")
    elif len(layers) > 1:
        parts[-1] = f"{reduce} of {parts[-1]}"
    return ", ".join(parts)
