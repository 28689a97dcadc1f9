"""A stored array as layers × heads of matrices, read in runs of rows; and attention rollout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import InputError, UsageError
from qkvcli.heatmap.checks import Watch
from qkvcli.heatmap.ranges import check
from qkvcli.sources.matrices import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.sources.arrays import StoredArray

ROLLOUT_CAP = 4096
"""How many tokens a rollout may have: its matrices are held whole, 128 MiB each at the cap."""
BLOCK_BYTES = 4 << 20
"""How much of an array is read at a time."""


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
        Sees every row that is read, or None where rows were seen before.
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

    def place(self, layer: int, head: int) -> str:
        """Return what messages call a matrix; nothing where there is only one."""
        layers = f"layer {layer}, " if self.layers > 1 else ""
        return layers + (f"head {head}, " if self.heads > 1 else "")

    def read(self, layer: int, head: int, positions: NDArray[np.intp]) -> NDArray[np.floating]:
        """Return rows of one matrix, shape (n, K), good until the next call."""
        batch, heads, queries = self.shape[1:4]
        base = ((layer * batch + self.entry) * heads + head) * queries
        runs = list(_runs(positions))
        if len(runs) == 1:
            start, stop = runs[0]
            found = self.array.rows(base + start, base + stop, buffer=self.file)
        else:
            found = np.concatenate([self.array.rows(base + a, base + b) for a, b in runs])
        if self.watch is not None:
            self.watch.look(found, self.place(layer, head), positions)
        return found


def _runs(positions: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield the runs (start, stop) of consecutive positions."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    for part in np.split(positions, breaks):
        yield int(part[0]), int(part[-1]) + 1


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


def rollout(weights: Stack, layers: NDArray[np.intp], heads: NDArray[np.intp]) -> Stack:
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
    every = np.arange(queries)
    rolled = np.eye(queries)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for layer in layers.tolist():
            mean = np.zeros((queries, keys))
            for head in heads.tolist():
                mean += weights.read(layer, head, every)
            mean /= len(heads)
            mean[every, every] += 1
            mean /= 2
            mean /= mean.sum(axis=1, keepdims=True)
            rolled = mean @ rolled
    array = in_memory(rolled, weights.file)
    return replace(weights, array=array, shape=(1, 1, 1, queries, keys), entry=0, watch=None)
