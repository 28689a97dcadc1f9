"""Scores of vectors: products and kernels, written for tiles of queries against keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.scores import KERNELS, Tile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Queries

_PAIRS = 127 << 12
"""How many pairs of vectors are scored at a time: what stays near a core; with half as many 4,096
queries among 100,000 keys take 1.09 of the time (AVX-512). No power of two, since a product is slow
whose rows are all at one place of the cache. Never a matter of the machine, so that answers never
are."""
# Up to this many key columns distances are summed column by column, which is exact; beyond,
# ‖q‖² − 2q·k + ‖k‖² by a matrix product, whose rounding is of the order of ‖q‖² itself.
_NARROW = 8
_CLOSE = 1e4
"""Up to which ‖q‖² + ‖k‖², in units of the width, a product will do for a Gaussian of few columns
in float64 that ranks no keys: its weights are right to 1e-11. A regression of 30,000 rows on two
columns takes 0.46 of the time so (AVX-512)."""
_MANY = 64
"""From how many numbers of the queries on; with fewer the columns are faster."""
_FEW = 32
"""For fewer queries to lengthen the keys takes longer than to add to the products."""
_NEAR = 1e-3
"""What part of ‖q‖² + ‖k‖² is a distance whose rounding shows in its root."""
_SLACK = 1.001
"""By what a bound of scores is widened for what is rounded."""
_SQUARABLE = 1e15
"""Widths below, and above one divided by it, have squares that are no floats of any use."""


@dataclass(frozen=True)
class VectorScore:
    """A score of vectors.

    Parameters
    ----------
    name
        ``dot`` q·k, ``scaled-dot`` q·k/√D, ``cosine``, or the logarithm of a kernel of width h:
        ``gaussian`` −‖q−k‖²/2h², ``laplacian`` −‖q−k‖/h, ``boxcar`` 0 within h,
        ``triangular`` log(1 − ‖q−k‖/h), ``epanechnikov`` log(1 − ‖q−k‖²/h²).
    bandwidth
        h, or one for each column, in the units of the columns.
    scale
        What ``scaled-dot`` multiplies q·k by, if not 1/√D.
    ranked
        Whether keys are ranked, so that keys that are equally far shall have equal scores.
    """

    name: str
    bandwidth: tuple[float, ...] = (1.0,)
    scale: float | None = None
    ranked: bool = True

    @cached_property
    def reference(self) -> float:
        """The largest score where there is one, else 0."""
        return 1.0 if self.name == "cosine" else 0.0

    @cached_property
    def bounded(self) -> bool:
        """Whether this score is −∞ beyond a distance."""
        return self.name in ("boxcar", "triangular", "epanechnikov")

    def tiles(
        self,
        block: Block,
        queries: Queries,
        floor: NDArray[np.floating] | float = -np.inf,
        stop: int | None = None,
    ) -> Iterator[Tile]:
        """Yield the scores of a block, as ``Score.tiles`` says."""
        del floor
        keys: NDArray[np.floating] = block.keys[:stop]
        dtype = np.result_type(keys, queries.keys)
        scorer = self._scorer(queries.keys.astype(dtype, copy=False))
        step = max(1, min(len(keys), _PAIRS // len(queries)))
        out = np.empty(
            step * len(queries), dtype
        )  # kept: memory that is new costs more than its use
        for start in range(0, len(keys), step):
            part = keys[start : start + step].astype(dtype, copy=False)
            scores = out[: len(part) * len(queries)].reshape(len(queries), len(part))
            low, high = scorer(part, scores)
            yield Tile(slice(start, start + len(part)), scores, low, high)

    def matches(self, block: Block, queries: Queries, *, scored: bool) -> Iterator[Tile]:
        """Yield the scores, or 0, of keys that equal a query in every column."""
        for tile in self.tiles(block, queries):
            equal = np.ones(tile.scores.shape, np.bool_)
            for query, key in zip(queries.keys.T, block.keys[tile.rows].T, strict=True):
                equal &= query[:, None] == key
            kept = tile.scores if scored else tile.scores.dtype.type(0)
            yield Tile(tile.rows, np.where(equal, kept, tile.scores.dtype.type(-np.inf)))

    def widened(self, queries: Queries) -> Queries:
        """Return the queries in float64, with which keys are scored in float64 too."""
        return replace(queries, keys=queries.keys.astype(np.float64))

    def scores(
        self, queries: NDArray[np.floating], keys: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """Return the scores (Q, K) of queries (Q, D) and keys (K, D) of one dtype.

        −∞ outside a bounded kernel. The cosine with a vector of length 0 is 0.
        """
        out = np.empty((len(queries), len(keys)), queries.dtype)
        self._scorer(queries)(keys, out)
        return out

    def _scorer(self, queries: NDArray[np.floating]) -> _Products | _Cosine | _Kernel | _Product:
        if self.name in KERNELS:
            return _Kernel(self.name, queries, self.bandwidth, ranked=self.ranked)
        if self.name == "cosine":
            return _Cosine(queries)
        scale = self._factor(queries.shape[1]) if self.name == "scaled-dot" else 1.0
        return _Products(queries * queries.dtype.type(scale))

    def _factor(self, depth: int) -> float:
        return 1 / math.sqrt(depth) if self.scale is None else self.scale

    def gradient(
        self, query: NDArray[np.floating], keys: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∂a/∂q of one query (D,) at every key (K, D), of shape (K, D), in float64.

        Where a kernel has a corner (at the key, or at its edge) the derivative is taken as 0.
        """
        q, k = query.astype(np.float64), keys.astype(np.float64)
        if self.name == "dot":
            return k.copy() if k is keys else k
        if self.name == "scaled-dot":
            return k * self._factor(len(q))
        if self.name == "cosine":
            length = float(np.linalg.norm(q))
            if length == 0:
                return np.zeros_like(k)
            toward, direction = unit(k), q / length
            return (toward - (toward @ direction)[:, None] * direction) / length
        width = np.broadcast_to(np.asarray(self.bandwidth, dtype=np.float64), q.shape)
        step = (k - q) / width
        squares = np.einsum("kd,kd->k", step, step)
        return step / width * _slope(self.name, squares)[:, None]


@dataclass(frozen=True)
class ProductScore(VectorScore):
    """A kernel over some columns, times one for each column of categories.

    Relative to that of an equal pair, the kernel of two values of an unordered column with c values
    is λ / ((c − 1)(1 − λ)) (Aitchison and Aitken 1976), and of two that are d apart in an ordered
    column λ^d / 2 (Wang and van Ryzin 1981). λ is the column's part of ``bandwidth``.

    Parameters
    ----------
    categories
        Which columns are categories, and how many values each has: 0 where they are ordered.
    """

    categories: tuple[tuple[int, int], ...] = ()

    @cached_property
    def numbers(self) -> list[int]:
        """Which columns are numbers, along which there is a gradient."""
        named = dict(self.categories)
        return [at for at in range(len(self.bandwidth)) if at not in named]

    def _scorer(self, queries: NDArray[np.floating]) -> _Product:
        widths, kernel = self.bandwidth, None
        if self.numbers:
            own = tuple(widths[at] for at in self.numbers)
            kernel = _Kernel(self.name, queries[:, self.numbers], own, ranked=self.ranked)
        terms = [(at, *_mismatch(widths[at], levels)) for at, levels in self.categories]
        return _Product(kernel, queries, self.numbers, terms)

    def gradient(
        self, query: NDArray[np.floating], keys: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∂a/∂q of one query at every key, both of the columns that are numbers alone."""
        widths = tuple(self.bandwidth[at] for at in self.numbers)
        return VectorScore(self.name, widths).gradient(query, keys)


def _mismatch(width: float, levels: int) -> tuple[float, float]:
    """Return the log-weight of values that differ, and what each unit of a distance adds."""
    if not levels:
        return -math.log(2), math.log(width)
    share = width / (max(levels - 1, 1) * (1 - width)) if width < 1 else math.inf
    return math.log(share), 0.0


# What writes the scores of queries and some keys (K, D) to an array (Q, K), and returns two numbers
# between which they lie.


class _Products:
    def __init__(self, queries: NDArray[np.floating]) -> None:
        self._queries, self._longest = queries, _longest(queries)

    def __call__(
        self, keys: NDArray[np.floating], out: NDArray[np.floating]
    ) -> tuple[float, float]:
        np.matmul(self._queries, keys.T, out=out)
        # |q·k| ≤ ‖q‖ ‖k‖ (Cauchy and Schwarz). Of few queries the scores are looked at instead.
        if len(self._queries) <= keys.shape[1]:
            return -np.inf, np.inf
        most = _SLACK * self._longest * _longest(keys) + 1  # for what underflows
        return (-most, most) if most < np.finfo(out.dtype).max / 8 else (-np.inf, np.inf)


def _longest(vectors: NDArray[np.floating]) -> float:
    return math.sqrt(np.vecdot(vectors, vectors).max(initial=0))


class _Cosine:
    def __init__(self, queries: NDArray[np.floating]) -> None:
        self._queries = unit(queries)

    def __call__(
        self, keys: NDArray[np.floating], out: NDArray[np.floating]
    ) -> tuple[float, float]:
        np.matmul(self._queries, unit(keys).T, out=out)
        np.clip(out, -1, 1, out=out)
        return (-1.0, 1.0) if np.isfinite(keys).all() else (-np.inf, np.inf)


class _Kernel:
    def __init__(
        self,
        name: str,
        queries: NDArray[np.floating],
        bandwidth: tuple[float, ...],
        *,
        ranked: bool,
    ) -> None:
        self._name, self._queries = name, queries
        self._width = np.broadcast_to(np.asarray(bandwidth, queries.dtype), queries.shape[1])
        h = bandwidth[0]
        # One width is a factor of the squares.
        self._is_one = len(set(bandwidth)) == 1 and 1 / _SQUARABLE < h < _SQUARABLE
        self._factor = 1 / h**2 if self._is_one else 1.0
        self._ranked = ranked
        self._limit = 0.0  # beyond which a product will not do
        if queries.shape[1] > _NARROW:
            self._limit = float(np.finfo(queries.dtype).max)
        elif name == "gaussian" and not ranked and queries.itemsize == 8 and queries.size >= _MANY:
            self._limit = _CLOSE
        if self._limit:
            self._centre = queries.mean(axis=0)  # distances stay, and their terms are small
            self._scaled = (queries - self._centre) / self._width
            squares = np.vecdot(self._scaled, self._scaled)
            self._most = squares.max(initial=0)
            terms = np.column_stack([-2 * self._scaled, squares, np.ones_like(squares)])
            self._terms = terms * (-0.5 if name == "gaussian" else 1.0)

    def __call__(
        self, keys: NDArray[np.floating], out: NDArray[np.floating]
    ) -> tuple[float, float]:
        low = self._by_product(keys, out) if self._limit else None
        if low is not None:
            return low, 0.0
        self._by_column(keys, out)
        factor = self._factor * (-0.5 if self._name == "gaussian" else 1)
        if factor != 1:
            out *= out.dtype.type(factor)
        if self._name != "gaussian":
            _of_squares(self._name, out)
        return -np.inf, 0.0 if np.isfinite(keys).all() else np.inf

    def _by_column(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        """Write ‖q − k‖², or with several widths that of the columns divided by them."""
        part = out
        for column, (query, key) in enumerate(zip(self._queries.T, keys.T, strict=True)):
            np.subtract(query[:, None], key, out=part)
            if not self._is_one:
                part /= self._width[column]
            np.square(part, out=part)
            if column:
                out += part
            elif len(self._width) > 1:
                part = np.empty_like(out)

    def _by_product(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> float | None:
        """Write the scores by ‖q‖² − 2 q·k + ‖k‖², one matrix product, if that is close enough.

        Returned is what no score is below, or None.
        """
        scaled = (keys - self._centre) / self._width
        squares = np.vecdot(scaled, scaled)
        most = self._most + squares.max(initial=0)
        if not most <= self._limit:
            return None
        left, own, factor = np.split(self._terms, [-2, -1], axis=1)
        if len(out) < _FEW:
            np.matmul(left, scaled.T, out=out)
            out += own + factor * squares
        else:
            right = np.column_stack([scaled, np.ones_like(squares), squares])
            np.matmul(self._terms, right.T, out=out)
        if self._name == "gaussian":
            if self._ranked:
                np.minimum(out, 0, out=out)
            return -_SLACK * float(most)
        np.maximum(out, 0, out=out)
        if self._name in ("laplacian", "triangular"):
            _mend_near(out, self._scaled, scaled)
        _of_squares(self._name, out)
        return -np.inf


class _Product:
    def __init__(
        self,
        kernel: _Kernel | None,
        queries: NDArray[np.floating],
        numbers: list[int],
        categories: list[tuple[int, float, float]],
    ) -> None:
        self._kernel, self._queries = kernel, queries
        self._numbers, self._categories = numbers, categories

    def __call__(
        self, keys: NDArray[np.floating], out: NDArray[np.floating]
    ) -> tuple[float, float]:
        high = 0.0
        if self._kernel is not None:
            _, high = self._kernel(keys[:, self._numbers], out)
        else:
            out[...] = 0
        for at, differs, further in self._categories:
            apart = np.abs(self._queries[:, at, None] - keys[:, at])
            terms = np.where(apart > 0, out.dtype.type(differs), 0)
            if further:
                terms += apart * out.dtype.type(further)
            out += terms
        return -np.inf, high


def _mend_near(
    squares: NDArray[np.floating], queries: NDArray[np.floating], keys: NDArray[np.floating]
) -> None:
    """Work out anew the distances that are small beside the lengths of their ends.

    Their root is wanted, and of the rounding of ‖q‖² − 2q·k + ‖k‖² it would keep half the digits.
    """
    ends = np.add.outer(np.vecdot(queries, queries), np.vecdot(keys, keys))
    at = np.nonzero(squares <= _NEAR * ends)
    step = max(1, _PAIRS // keys.shape[1])
    for start in range(0, len(at[0]), step):
        rows, columns = at[0][start : start + step], at[1][start : start + step]
        apart = queries[rows] - keys[columns]
        squares[rows, columns] = np.vecdot(apart, apart)


def _of_squares(name: str, squares: NDArray[np.floating]) -> None:
    """Turn squared distances, in units of the width, into the logarithm of a kernel, in place."""
    if name == "boxcar":
        squares[...] = np.where(squares <= 1, 0, -np.inf)
        return
    if name in ("laplacian", "triangular"):
        np.sqrt(squares, out=squares)
    if name == "laplacian":
        np.negative(squares, out=squares)
        return
    np.subtract(1, squares, out=squares)
    np.maximum(squares, 0, out=squares)
    with np.errstate(divide="ignore"):
        np.log(squares, out=squares)


def _slope(name: str, squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return −2 da/d(distance²), by which the scaled difference is multiplied."""
    distance = np.sqrt(squares)
    inside = squares < 1
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = {
            "gaussian": np.ones_like(squares),
            "laplacian": np.where(distance > 0, 1 / distance, 0),
            "boxcar": np.zeros_like(squares),
            "triangular": np.where(inside & (distance > 0), 1 / (distance * (1 - distance)), 0),
            "epanechnikov": np.where(inside, 2 / (1 - squares), 0),
        }
    return slopes[name]


def unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return vectors (N, D) scaled to length 1; those of length 0 stay."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    safe = np.where(largest > 0, largest, 1)
    scaled = vectors / safe  # so that squares neither overflow nor vanish
    length = np.sqrt(np.vecdot(scaled, scaled))[:, None]
    return scaled / np.where(length > 0, length, 1)
