"""A stored array as layers × heads of matrices, read tile by tile; and attention rollout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import InputError, UsageError
from qkvcli.heatmap.checks import Watch
from qkvcli.heatmap.ranges import check, every
from qkvcli.heatmap.tiles import Tile
from qkvcli.sources.arrays import working_dtype
from qkvcli.sources.matrices import in_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.ranges import Positions
    from qkvcli.sources.arrays import StoredArray

ROLLOUT_CAP = 4096
"""How many tokens a rollout may have: its matrices are held whole, 128 MiB each at the cap."""


@dataclass(frozen=True)
class Stack:
    """Weights as (layers, batch, heads, Q, K), of which one batch entry is used.

    Parameters
    ----------
    file
        What errors call the file.
    array
        The stored array.
    shape
        Its five axes, those that it lacks being 1.
    entry
        The entry of the batch.
    watch
        Sees every tile that is read, or None where all were seen before.
    """

    file: str
    array: StoredArray
    shape: tuple[int, int, int, int, int]
    entry: int
    watch: Watch | None

    @property
    def layers(self) -> int:
        """The number of layers."""
        return self.shape[0]

    @property
    def heads(self) -> int:
        """The number of heads a layer."""
        return self.shape[2]

    @property
    def itemsize(self) -> int:
        """The bytes of a weight as it is read, or as it is computed with where these are more."""
        return max(self.array.dtype.itemsize, working_dtype(self.array.dtype).itemsize)

    def place(self, layer: int, head: int) -> str:
        """Return what messages call a matrix; nothing where there is only one."""
        layers = f"layer {layer}, " if self.layers > 1 else ""
        return layers + (f"head {head}, " if self.heads > 1 else "")

    def read(self, layer: int, head: int, tile: Tile) -> NDArray[np.floating]:
        """Return a tile of one matrix, good until the next call."""
        batch, heads, queries = self.shape[1:4]
        base = ((layer * batch + self.entry) * heads + head) * queries
        runs = tile.queries.runs
        buffer = self.file if len(runs) == 1 else ""
        parts = [
            self.array.rows(base + start, base + stop, columns=tile.keys, buffer=buffer)
            for start, stop in runs
        ]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.watch is not None:
            self.watch.look(found, self.place(layer, head), tile)
        return found


def stack(file: str, array: StoredArray, batch: int | None) -> Stack:
    """Read an array's axes as layers, batch, heads, queries and keys.

    Raises
    ------
    InputError
        Fewer than two axes, more than five, or an empty one.
    UsageError
        Five axes without a batch entry, an entry that is not there, or text.
    """
    shape = array.shape
    if array.dtype.kind == "U":
        raise InputError("holds text, not weights", array.name)
    if not 2 <= len(shape) <= 5:  # noqa: PLR2004
        raise InputError(
            f"its shape is {_shown(shape)}; weights are (Q, K), (H, Q, K), "
            "(layers, heads, Q, K) or (layers, batch, heads, Q, K)",
            array.name,
        )
    if 0 in shape:
        raise InputError(f"its shape is {_shown(shape)}; there is nothing to draw", array.name)
    if len(shape) < 5:  # noqa: PLR2004
        if batch is not None:
            raise UsageError(f"--batch: {file} has no batch; its shape is {_shown(shape)}")
        lead = (1,) * (4 - len(shape)) + shape[:-2]
        full = (lead[0], 1, lead[1], shape[-2], shape[-1])
    else:
        full = (shape[0], shape[1], shape[2], shape[3], shape[4])
    entry = _entry(full, batch, file)
    narrow = array.dtype.itemsize <= 2  # noqa: PLR2004
    return Stack(file, array, full, entry, Watch(file, full[3:], narrow=narrow))


def _entry(full: tuple[int, int, int, int, int], batch: int | None, file: str) -> int:
    if batch is None and full[1] > 1:
        raise UsageError(
            f"{file}: its shape is {_shown(full)}, (layers, batch, heads, Q, K); "
            f"choose an entry of the batch with --batch 0 to {full[1] - 1}"
        )
    check(batch or 0, full[1], "batch entry", file)
    return batch or 0


def _shown(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def check_same_shape(one: Stack, other: Stack) -> None:
    """Refuse a difference of arrays of different shapes.

    Raises
    ------
    InputError
        With both shapes.
    """
    a, b = (s.shape[:1] + s.shape[2:] for s in (one, other))
    if a != b:
        shapes = f"{_shown(other.array.shape)} where {one.file} has {_shown(one.array.shape)}"
        raise InputError(f"its shape is {shapes}; a difference needs the same", other.file)


def rollout(weights: Stack, layers: Positions, heads: Positions) -> Stack:
    """Roll attention out from the first of some layers up (Abnar and Zuidema, 2020).

    Each layer's mean over its heads, plus the identity for the residual, halved and with its rows
    normalised to sum to 1, is multiplied onto the rollout of the layers below it.

    Returns
    -------
    Stack
        One matrix (N, N) in memory, whose row i says how far the inputs reach token i.

    Raises
    ------
    InputError
        The matrices are not square, or larger than ``ROLLOUT_CAP``.

    Notes
    -----
    Rows that cancel out, as those of -I do, or that overflow are NaN.
    """
    queries, keys = weights.shape[3:]
    if queries != keys:
        raise InputError(
            f"--rollout multiplies layers, and {queries} queries × {keys} keys are not square",
            weights.file,
        )
    if queries > ROLLOUT_CAP:
        raise InputError(
            f"--rollout holds its matrices whole, up to {ROLLOUT_CAP} tokens, not {queries}",
            weights.file,
        )
    whole = Tile(every(queries), 0, slice(0, keys))
    diagonal = np.arange(queries)
    rolled = np.eye(queries)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for layer in layers:
            mean = np.zeros((queries, keys))
            for head in heads:
                mean += weights.read(layer, head, whole)
            mean /= len(heads)
            mean[diagonal, diagonal] += 1
            mean /= 2
            mean /= mean.sum(axis=1, keepdims=True)
            rolled = mean @ rolled
    array = in_memory(rolled, weights.file)
    return replace(weights, array=array, shape=(1, 1, 1, queries, keys), entry=0, watch=None)
