"""Scores of vectors: products and kernels, written for tiles of keys against queries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Up to this many key columns distances are summed column by column, which is exact; beyond,
# ‖q‖² − 2q·k + ‖k‖² by a matrix product, whose rounding is of the order of ‖q‖² itself.
NARROW = 8
_NEAR = 1e-3
"""What part of ‖q‖² + ‖k‖² is a distance whose rounding shows in its root."""
_LEAST = 1e-15
_SLACK = 1.001
"""By what a limit of scores is widened for what is rounded."""
_PAIRS = 1 << 20
"""How many numbers are held at a time to work such distances out anew."""


class Scorer:
    """The scores of any keys against some queries, made ready once for many tiles of keys.

    Parameters
    ----------
    name
        ``dot`` q·k, ``scaled-dot`` q·k/√D, ``cosine``, or the logarithm of a kernel of width h:
        ``gaussian`` −‖q−k‖²/2h², ``laplacian`` −‖q−k‖/h, ``boxcar`` 0 within h,
        ``triangular`` log(1 − ‖q−k‖/h), ``epanechnikov`` log(1 − ‖q−k‖²/h²).
    queries
        Vectors of shape (Q, D), of the keys' dtype.
    bandwidth
        h, or one per column, in the units of the columns.
    mend
        Whether to work out anew the products whose terms overflow and cancel.
    """

    def __init__(
        self,
        name: str,
        queries: NDArray[np.floating],
        bandwidth: Sequence[float] = (1.0,),
        *,
        mend: bool = False,
    ) -> None:
        self._count, self._dtype = len(queries), queries.dtype
        self._largest = float(np.finfo(queries.dtype).max) / 8  # with room for what adds up to it
        self._way: _Products | _Cosine | _Kernel
        if name in ("dot", "scaled-dot"):
            self._way = _Products(queries, scaled=name == "scaled-dot", mend=mend)
        elif name == "cosine":
            self._way = _Cosine(queries)
        else:
            self._way = _Kernel(name, queries, bandwidth)

        self.scores = self._way.scores

    def __call__(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        """Score keys (K, D) against every query.

        Returns
        -------
        ndarray
            The scores, of shape (K, Q); −∞ outside a bounded kernel. The cosine with a vector of
            length 0 is 0.
        """
        ready = self.ready(keys)
        return self.scores(ready, np.empty((len(keys), self._count), ready.dtype))

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return keys (K, D) as ``scores`` takes them, which writes (K, Q) to what it is given."""
        keys = keys.astype(self._dtype, copy=False)
        return self._way.ready(keys)

    def limits(self, keys: NDArray[np.floating]) -> tuple[float, float] | None:
        """Return two numbers between which all scores of these keys lie, seen from the keys alone.

        None where some key is not finite, or its scores might not be.
        """
        found = self._way.limits(keys)
        return found if max(-found[0], found[1]) < self._largest else None


class _Products:
    def __init__(self, queries: NDArray[np.floating], *, scaled: bool, mend: bool) -> None:
        self._scale = 1 / math.sqrt(queries.shape[1]) if scaled else 1.0
        scaled_queries = queries * queries.dtype.type(self._scale) if scaled else queries
        self._right = np.ascontiguousarray(scaled_queries.T)
        self._longest = _longest(scaled_queries)
        self._mended = queries if mend else None

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        return keys

    def scores(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> NDArray[np.floating]:
        np.matmul(keys, self._right, out=out)
        if self._mended is not None:
            _mend_products(self._mended, keys, self._scale, out)
        return out

    def limits(self, keys: NDArray[np.floating]) -> tuple[float, float]:
        """|q·k| ≤ ‖q‖ ‖k‖ (Cauchy and Schwarz), and something for what is rounded."""
        most = _SLACK * self._longest * _longest(keys) + 1
        return -most, most


def _longest(vectors: NDArray[np.floating]) -> float:
    return math.sqrt(np.vecdot(vectors, vectors).max(initial=0))


class _Cosine:
    def __init__(self, queries: NDArray[np.floating]) -> None:
        self._right = unit(queries).T

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        return keys

    def scores(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> NDArray[np.floating]:
        np.matmul(unit(keys), self._right, out=out)
        return np.clip(out, -1, 1, out=out)

    def limits(self, keys: NDArray[np.floating]) -> tuple[float, float]:
        return (-1.0, 1.0) if math.isfinite(_longest(keys)) else (-math.inf, math.inf)


class _Kernel:
    def __init__(
        self, name: str, queries: NDArray[np.floating], bandwidth: Sequence[float]
    ) -> None:
        self._name, self._bandwidth, self._queries = name, bandwidth, queries
        self._width = np.broadcast_to(np.asarray(bandwidth, queries.dtype), queries.shape[1])
        h = bandwidth[0]
        # One width, whose square is a float: one multiplication of the tile in place of three.
        is_one = len(set(bandwidth)) == 1 and _LEAST < h < 1 / _LEAST
        self._factor = -0.5 / h**2 if name == "gaussian" and is_one else None
        kind = _ByColumn if queries.shape[1] <= NARROW else _ByProduct
        self._distances = kind(queries, np.ones_like(self._width) if self._factor else self._width)
        self._mends = kind is _ByProduct and name in ("laplacian", "triangular")
        self._ends = queries.min(axis=0), queries.max(axis=0)
        self._longest = math.sqrt(np.finfo(queries.dtype).max) / 8

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        return self._distances.ready(keys)

    def scores(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> NDArray[np.floating]:
        self._distances.squares(keys, out)
        if self._factor is not None:
            out *= self._factor
            return out
        if self._mends:
            _mend_near(out, self._queries, keys, self._bandwidth)
        with np.errstate(divide="ignore"):
            return _KERNELS[self._name](out)

    def limits(self, keys: NDArray[np.floating]) -> tuple[float, float]:
        """No key is nearer than 0, nor farther than the boxes of keys and queries reach."""
        if self._name not in _FARTHEST:
            return -math.inf, 0.0
        before, after = self._ends[1] - keys.min(axis=0), keys.max(axis=0) - self._ends[0]
        apart = np.maximum(before, after).astype(np.float64)
        farthest = _SLACK * math.hypot(*(apart / self._width).tolist()) + 1
        # Distances are squared on the way, with or without the widths.
        if not max(farthest, math.hypot(*apart.tolist())) < self._longest:
            return -math.inf, 0.0
        return _FARTHEST[self._name](farthest), 0.0


def _mend_products(
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    scale: float,
    scores: NDArray[np.floating],
) -> None:
    """Work out anew the products (K, Q) that are not finite.

    Of finite vectors a product may overflow where the sum of all does not: 1e400 − 1e400 is 0.
    """
    rows, columns = np.nonzero(~np.isfinite(scores))
    if not len(rows):
        return
    largest_key, largest_query = np.abs(keys).max(axis=1), np.abs(queries).max(axis=1)
    step = max(1, _PAIRS // keys.shape[1])
    for start in range(0, len(rows), step):
        at = rows[start : start + step], columns[start : start + step]
        sizes = np.sort([largest_key[at[0]], largest_query[at[1]]], axis=0)
        small = keys[at[0]] / largest_key[at[0], None]
        products = np.einsum("nd,nd->n", small, queries[at[1]] / largest_query[at[1], None])
        # The smaller first: what overflows now is a score that no double holds.
        scores[at] = products * scale * sizes[0] * sizes[1]


def unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return vectors (N, D) scaled to length 1; those of length 0 stay."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    safe = np.where(largest > 0, largest, 1)
    scaled = vectors / safe  # so that squares neither overflow nor vanish
    length = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]
    return scaled / np.where(length > 0, length, 1)


class _ByColumn:
    """‖(k − q) / h‖² summed column by column, which is exact."""

    def __init__(self, queries: NDArray[np.floating], width: NDArray[np.floating]) -> None:
        self._columns = [
            (column, h, _differences_from(query))
            for column, (h, query) in enumerate(zip(width.tolist(), queries.T, strict=True))
        ]

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (k, 1) for each number of the keys, of shape (K, D, 2)."""
        return np.stack([keys, np.ones_like(keys)], axis=2)

    def squares(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        part = out
        for column, h, right in self._columns:
            np.matmul(keys[:, column], right, out=part)
            if h != 1:
                part /= h
            np.square(part, out=part)
            if column:
                out += part
            elif len(self._columns) > 1:
                part = np.empty_like(out)


class _ByProduct:
    """‖(k − q) / h‖² as ‖k‖² − 2 k·q + ‖q‖², by one matrix product."""

    def __init__(self, queries: NDArray[np.floating], width: NDArray[np.floating]) -> None:
        queries = queries / width
        self._width = width
        self._centre = queries.mean(axis=0)  # distances stay, and their terms are small
        queries -= self._centre
        self._squares = np.einsum("qd,qd->q", queries, queries)
        self._right = np.ascontiguousarray(-2 * queries.T)

    def ready(self, keys: NDArray[np.floating]) -> NDArray[np.floating]:
        return keys

    def squares(self, keys: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        keys = keys / self._width - self._centre
        np.matmul(keys, self._right, out=out)
        out += np.einsum("kd,kd->k", keys, keys)[:, None]
        out += self._squares
        np.maximum(out, 0, out=out)


def _differences_from(query: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what [k 1] is multiplied by for k − q (K, Q), as exact as that and far faster."""
    right = np.ones((2, len(query)), query.dtype)
    np.negative(query, out=right[1])
    return right


def _mend_near(
    squares: NDArray[np.floating],
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    bandwidth: Sequence[float],
) -> None:
    """Work out anew the distances that are small beside the lengths of their ends.

    Their root is wanted, and of the rounding of ‖q‖² − 2q·k + ‖k‖² it would keep half the digits.
    """
    width = np.asarray(bandwidth, dtype=keys.dtype)
    queries, keys = queries / width, keys / width
    ends = np.add.outer(np.einsum("kd,kd->k", keys, keys), np.einsum("qd,qd->q", queries, queries))
    rows, columns = np.nonzero(squares <= _NEAR * ends)
    step = max(1, _PAIRS // keys.shape[1])
    for start in range(0, len(rows), step):
        at = rows[start : start + step], columns[start : start + step]
        apart = keys[at[0]] - queries[at[1]]
        squares[at] = np.einsum("nd,nd->n", apart, apart)


def _gaussian(squares: NDArray[np.floating]) -> NDArray[np.floating]:
    squares *= -0.5
    return squares


def _laplacian(squares: NDArray[np.floating]) -> NDArray[np.floating]:
    np.sqrt(squares, out=squares)
    np.negative(squares, out=squares)
    return squares


def _boxcar(squares: NDArray[np.floating]) -> NDArray[np.floating]:
    squares[...] = np.where(squares <= 1, 0, -np.inf)
    return squares


def _triangular(squares: NDArray[np.floating]) -> NDArray[np.floating]:
    np.sqrt(squares, out=squares)
    return _epanechnikov(squares)


def _epanechnikov(squares: NDArray[np.floating]) -> NDArray[np.floating]:
    np.subtract(1, squares, out=squares)
    np.maximum(squares, 0, out=squares)
    np.log(squares, out=squares)
    return squares


_FARTHEST: dict[str, Callable[[float], float]] = {
    "gaussian": lambda distance: -0.5 * distance * distance,
    "laplacian": lambda distance: -distance,
}
"""The score at a distance, of the kernels that are nowhere −∞."""
_KERNELS = {
    "gaussian": _gaussian,
    "laplacian": _laplacian,
    "boxcar": _boxcar,
    "triangular": _triangular,
    "epanechnikov": _epanechnikov,
}


def gradient(
    name: str,
    query: NDArray[np.floating],
    keys: NDArray[np.floating],
    bandwidth: Sequence[float],
) -> NDArray[np.float64]:
    """Return ∂a/∂q of one query (D,) at every key (K, D), of shape (K, D), in float64.

    Where a kernel has a corner (at the key, or at its edge) the derivative is taken as 0.
    """
    q, k = query.astype(np.float64), keys.astype(np.float64)
    if name == "dot":
        return k
    if name == "scaled-dot":
        return k / math.sqrt(len(q))
    if name == "cosine":
        length = float(np.linalg.norm(q))
        if length == 0:
            return np.zeros_like(k)
        toward, direction = unit(k), q / length
        return (toward - (toward @ direction)[:, None] * direction) / length
    width = np.broadcast_to(np.asarray(bandwidth, dtype=np.float64), q.shape)
    step = (k - q) / width
    squares = np.einsum("kd,kd->k", step, step)
    return step / width * _slope(name, squares)[:, None]


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
