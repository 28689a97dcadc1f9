"""The weights: a stored array as layers × heads of matrices, and what is odd about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import InputError, UsageError
from qkvcli.sources.matrices import in_memory
from qkvcli.sources.npy import working_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.sources.matrices import Matrices
    from qkvcli.sources.npy import StoredArray

TOLERANCE = 1e-3
"""How far from 1 a row of float32 or float64 weights may sum."""
HALF_TOLERANCE = 2e-2
"""The same for float16 and bfloat16, whose every weight is rounded to 3 or 2 digits."""
ROLLOUT_CAP = 4096
"""How many tokens a rollout may have: its matrices are held whole, 128 MiB each at the cap."""


@dataclass
class Watch:
    """Counts of what is odd in the weights of one file, with the first place of each.

    Parameters
    ----------
    name
        What warnings call the file.
    shape
        Layers, heads, and the queries of each.
    tolerance
        How far from 1 a row may sum.
    """

    name: str
    shape: tuple[int, int, int]
    tolerance: float
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[tuple[int, int, int], str]] = field(default_factory=dict)
    # Of each matrix that is being read: how many rows were, and the sums of its columns.
    _columns: dict[tuple[int, int], tuple[int, NDArray[np.float64] | None]] = field(
        default_factory=dict
    )
    _columns_fit: bool = True

    def look(
        self,
        block: NDArray[np.floating],
        matrix: tuple[int, int],
        queries: range | NDArray[np.intp],
    ) -> None:
        """Look at some rows of the matrix of a layer and head."""
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and counted
            sums = block.sum(axis=1, dtype=np.float64)
            finite = bool(np.isfinite(sums).all())
            odd = np.isfinite(sums) & (np.abs(sums - 1) > self.tolerance)
            kinds = {"sum": odd[:, None]}
            if not finite:
                kinds["missing"] = ~np.isfinite(block)
            if not finite or block.min() < 0:
                kinds["negative"] = block < 0
            if self._columns_fit:
                self._sum_columns(block, matrix)
        self.rows += len(sums)
        for kind, found in kinds.items():
            rows = np.flatnonzero(found.any(axis=1))
            if not len(rows):
                continue
            self.counts[kind] += int(np.count_nonzero(found))
            row = rows[np.argmin(np.asarray(queries)[rows])]
            rank = (*matrix, int(queries[row]))
            if kind not in self._first or rank < self._first[kind][0]:
                value = f": {sums[row]:.4g}" if kind == "sum" else f", key {found[row].argmax()}"
                place = f"{self._place(*matrix)}query {queries[row]}{value}"
                self._first[kind] = rank, place

    def _place(self, layer: int, head: int) -> str:
        """Return what messages call a matrix; nothing where there is only one."""
        layers = f"layer {layer}, " if self.shape[0] > 1 else ""
        return layers + (f"head {head}, " if self.shape[1] > 1 else "")

    def _sum_columns(self, block: NDArray[np.floating], matrix: tuple[int, int]) -> None:
        """Sum columns until some do not sum to 1: the hint is of them all."""
        sums = block.sum(axis=0, dtype=np.float64)
        read, above = self._columns.pop(matrix, (0, None))
        read += len(block)
        if above is not None:
            sums += above
        if read < self.shape[2]:
            self._columns[matrix] = read, sums
        else:
            self._columns_fit = bool(max(sums.max() - 1, 1 - sums.min()) <= self.tolerance)

    def warnings(self) -> Iterator[str]:
        """Yield one line for each kind of oddity, with the first place of it in the file."""
        missing, negative, odd = (self.counts[kind] for kind in ("missing", "negative", "sum"))
        if missing:
            yield self._line(f"{count(missing, 'weight')} NaN or infinite, drawn grey", "missing")
        if negative:
            yield self._line(f"{count(negative, 'weight')} negative", "negative")
        if odd and self._columns_fit and not self._columns:
            yield (
                f"{self.name}: its columns sum to 1 and its rows do not; is it transposed? "
                "Rows are queries"
            )
        elif odd:
            rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
            verb = "does" if odd == 1 else "do"
            yield self._line(f"{odd} of {rows} {verb} not sum to 1", "sum")

    def _line(self, what: str, kind: str) -> str:
        return f"{self.name}: {what}; the first at {self._first[kind][1]}"


def count(number: int, noun: str) -> str:
    """Return ``1 weight is`` or ``2 weights are``."""
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"


@dataclass(frozen=True)
class Weights:
    """Weights as (layers, batch, heads, Q, K), of which one entry of the batch is used.

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
        Sees every row that is read.
    layers, heads
        What layers and heads are called: their numbers in the model.
    is_computed
        Whether no file holds them: they are computed from queries and keys.
    note
        What its axes were taken for, where that may be wrong, or else is to be known of the file.
    """

    file: str
    array: StoredArray
    shape: tuple[int, int, int, int, int]
    entry: int
    watch: Watch
    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    is_computed: bool = False
    note: str = ""

    def read(
        self, layer: int, head: int, queries: range | NDArray[np.intp]
    ) -> NDArray[np.floating]:
        """Return rows of one matrix, shape (n, K), good until the next call."""
        _, batch, heads, length, _ = self.shape
        base = (((layer * batch) + self.entry) * heads + head) * length
        runs = [queries] if isinstance(queries, range) else _runs(queries)
        buffer = self.file if len(runs) == 1 else ""
        parts = [self.array.rows(base + r[0], base + r[-1] + 1, buffer=buffer) for r in runs]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not self.is_computed:  # rows of a softmax sum to 1
            self.watch.look(found, (layer, head), queries)
        return found

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of what is read; bfloat16, which has none in NumPy, is read as float32."""
        return working_dtype(self.array.dtype)


def _runs(positions: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return positions in parts that each run on by one."""
    return np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)


def open_weights(found: Matrices, batch: int | None, *, is_said: bool = True) -> Weights:
    """Return a file's array as layers, batch, heads, queries and keys.

    Parameters
    ----------
    found
        The file.
    batch
        The entry of the batch that is used; of four axes the first is then the batch.
    is_said
        Whether it is said which axis are the layers, so that nothing need be noted of it.

    Raises
    ------
    InputError
        Fewer than two axes, more than five, or an empty one.
    UsageError
        A batch without an entry chosen, an entry that is not there, or text.
    """
    array, file = found.array, found.file
    if found.captured:
        from qkvcli.heatmap.computed import computed  # of which weights in a file need nothing

        array = computed(found.captured)
    if array.dtype.kind == "U":
        raise InputError("holds text, not weights", array.name)
    shape = array.shape
    if not 2 + bool(found.stacked) <= len(shape) <= 5:
        raise InputError(
            f"its shape is {_shown(shape)}; weights are (Q, K), (H, Q, K), "
            "(layers, heads, Q, K) or (layers, batch, heads, Q, K)",
            array.name,
        )
    if 0 in shape:
        raise InputError(f"its shape is {_shown(shape)}; there is nothing to draw", array.name)
    (layers, entries, heads), note = _leading(found, shape, batch, is_said=is_said)
    tolerance = HALF_TOLERANCE if array.dtype.itemsize <= 2 else TOLERANCE
    if array.name.endswith("[distances]"):  # those of ``qkv heads``, which sum to nothing
        tolerance = np.inf
    said = found.settings
    return Weights(
        file,
        array,
        (layers, entries, heads, shape[-2], shape[-1]),
        batch or 0,
        Watch(file, (layers, heads, shape[-2]), tolerance),
        (said and said.layers) or tuple(range(layers)),
        (said and said.heads) or tuple(range(heads)),
        found.captured is not None,
        note,
    )


def _leading(
    found: Matrices, shape: tuple[int, ...], batch: int | None, *, is_said: bool
) -> tuple[Sequence[int], str]:
    """Return how many layers, entries of a batch and heads there are, and a note on them."""
    file, stacked, note = found.file, found.stacked, found.note
    is_known = bool(found.captured or (found.settings and found.settings.attention))
    if batch is not None and is_known:
        raise UsageError(f"--batch: {file} holds the layers of one text; choose with --layers")
    leading = list(shape[:-2])
    if stacked:
        note = f"{file}: {stacked[0]} to {stacked[-1]} are layers 0 to {len(stacked) - 1}"
        leading = leading if len(leading) > 1 else [*leading, 1]  # layers of one matrix
    elif len(leading) == 2 and batch is not None:
        leading = [1, *leading]
    elif len(leading) == 2 and leading[0] > 1 and not (is_said or is_known):
        note = (
            f"{file}: {_shown(shape)} is read as (layers, heads, Q, K); "
            "if its first axis is a batch, pass --batch"
        )
    if len(leading) == 3:
        if batch is None and leading[1] > 1:
            raise UsageError(
                f"{file}: its shape is {_shown(shape)}, (layers, batch, heads, Q, K); "
                f"choose an entry of the batch with --batch 0 to {leading[1] - 1}"
            )
        if batch is not None:
            check(batch, leading[1], "batch entry", file)
        return leading, note
    if batch is not None:
        raise UsageError(f"--batch: {file} has no batch; its shape is {_shown(shape)}")
    layers, heads = [*[1] * (2 - len(leading)), *leading]
    return (layers, 1, heads), note


def check(number: int, length: int, what: str, file: str) -> None:
    """Refuse the number of a layer, head, query or key that is not there.

    Raises
    ------
    UsageError
        With how many there are.
    """
    if number >= length:
        there = "0" if length == 1 else f"0-{length - 1}"
        raise UsageError(f"{file}: there is no {what} {number}; it has {length} ({there})")


def _shown(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def check_same_shape(one: Weights, other: Weights) -> None:
    """Refuse a difference of arrays of different shapes.

    Raises
    ------
    InputError
        With both shapes.
    """
    a, b = (w.shape[:1] + w.shape[2:] for w in (one, other))
    if a != b:
        shapes = f"{_shown(other.array.shape)} where {one.file} has {_shown(one.array.shape)}"
        raise InputError(f"its shape is {shapes}; a difference needs the same", other.file)


def rollout(weights: Weights, layers: Sequence[int], heads: Sequence[int]) -> Weights:
    """Return attention rolled out from the first of some layers up (Abnar and Zuidema, 2020).

    Each layer's mean over its heads, plus the identity for the residual, halved and with its rows
    normalised to sum to 1, is multiplied onto the rollout of the layers below it.

    Returns
    -------
    Weights
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
    diagonal = np.arange(queries)
    rolled = np.eye(queries)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for layer in layers:
            mean = np.zeros((queries, keys))
            for head in heads:
                mean += weights.read(layer, head, range(queries))
            mean /= len(heads)
            mean[diagonal, diagonal] += 1
            mean /= 2
            mean /= mean.sum(axis=1, keepdims=True)
            rolled = mean @ rolled
    array, watch = in_memory(rolled, weights.file), Watch(weights.file, (1, 1, queries), np.inf)
    return replace(
        weights,
        array=array,
        shape=(1, 1, 1, queries, keys),
        entry=0,
        watch=watch,
        layers=(0,),
        heads=(0,),
    )
