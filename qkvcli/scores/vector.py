"""Scores of vectors: products and kernels, written for tiles of keys against queries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Up to this many key columns distances are summed column by column, which is exact; beyond,
# ‖q‖² − 2q·k + ‖k‖² by a matrix product, whose rounding is of the order of ‖q‖² itself.
_COLUMNS = 8
_NEAR = 1e-3
"""What part of ‖q‖² + ‖k‖² is a distance whose rounding shows in its root."""
_LEAST = 1e-15
_PAIRS = 1 << 20
"""How many numbers are held at a time to work such distances out anew."""


def vector_scores(
    name: str,
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    bandwidth: Sequence[float] = (1.0,),
    out: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Score every key against every query.

    Parameters
    ----------
    name
        ``dot`` q·k, ``scaled-dot`` q·k/√D, ``cosine``, or the logarithm of a kernel of width h:
        ``gaussian`` −‖q−k‖²/2h², ``laplacian`` −‖q−k‖/h, ``boxcar`` 0 within h,
        ``triangular`` log(1 − ‖q−k‖/h), ``epanechnikov`` log(1 − ‖q−k‖²/h²).
    queries, keys
        Vectors of shapes (Q, D) and (K, D), of one dtype.
    bandwidth
        h, or one per column, in the units of the columns.
    out
        Where to write, of shape (K, Q).

    Returns
    -------
    ndarray
        The scores, of shape (K, Q); −∞ outside a bounded kernel. The cosine with a vector of
        length 0 is 0.
    """
    if name in ("dot", "scaled-dot"):
        if name == "scaled-dot":
            queries = queries * queries.dtype.type(1 / math.sqrt(queries.shape[1]))
        return np.matmul(keys, queries.T, out=out)
    if name == "cosine":
        return _cosine(queries, keys, out)
    if name == "gaussian" and len(set(bandwidth)) == 1 and _LEAST < bandwidth[0] < 1 / _LEAST:
        # One width, whose square is a float: one multiplication of the tile in place of three.
        squares = squared_distances(queries, keys, (), out)
        squares *= -0.5 / bandwidth[0] ** 2
        return squares
    squares = squared_distances(queries, keys, bandwidth, out)
    if keys.shape[1] > _COLUMNS and name in ("laplacian", "triangular"):
        _mend_near(squares, queries, keys, bandwidth)
    with np.errstate(divide="ignore"):
        return _KERNELS[name](squares)


def mend_products(
    name: str,
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    scores: NDArray[np.floating],
) -> None:
    """Work out anew the ``dot`` and ``scaled-dot`` scores (K, Q) that are not finite.

    Of finite vectors a product may overflow where the sum of all does not: 1e400 − 1e400 is 0.
    """
    rows, columns = np.nonzero(~np.isfinite(scores))
    if not len(rows):
        return
    scale = 1 / math.sqrt(queries.shape[1]) if name == "scaled-dot" else 1.0
    largest_key, largest_query = np.abs(keys).max(axis=1), np.abs(queries).max(axis=1)
    step = max(1, _PAIRS // keys.shape[1])
    for start in range(0, len(rows), step):
        at = rows[start : start + step], columns[start : start + step]
        sizes = np.sort([largest_key[at[0]], largest_query[at[1]]], axis=0)
        small = keys[at[0]] / largest_key[at[0], None]
        products = np.einsum("nd,nd->n", small, queries[at[1]] / largest_query[at[1], None])
        # The smaller first: what overflows now is a score that no double holds.
        scores[at] = products * scale * sizes[0] * sizes[1]


def _cosine(
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    out: NDArray[np.floating] | None,
) -> NDArray[np.floating]:
    scores = np.matmul(unit(keys), unit(queries).T, out=out)
    return np.clip(scores, -1, 1, out=scores)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return vectors (N, D) scaled to length 1; those of length 0 stay."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    safe = np.where(largest > 0, largest, 1)
    scaled = vectors / safe  # so that squares neither overflow nor vanish
    length = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]
    return scaled / np.where(length > 0, length, 1)


def squared_distances(
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    bandwidth: Sequence[float],
    out: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Return ‖(q − k) / h‖² for every key and query, of shape (K, Q); without widths h is 1."""
    width = np.broadcast_to(np.asarray(bandwidth or 1, dtype=keys.dtype), keys.shape[1])
    if out is None:
        out = np.empty((len(keys), len(queries)), dtype=keys.dtype)
    if keys.shape[1] > _COLUMNS:
        return _squares_by_product(queries / width, keys / width, out)
    part = out
    for column, h in enumerate(width):
        _differences(queries[:, column], keys[:, column], part)
        if h != 1:
            part /= h
        part *= part
        if column == 0:
            part = np.empty_like(out) if len(width) > 1 else out
        else:
            out += part
    return out


def _differences(
    query: NDArray[np.floating], key: NDArray[np.floating], out: NDArray[np.floating]
) -> None:
    """Write k − q (K, Q) of one column; as [k 1]·[1; −q] it is as exact, and far faster."""
    left, right = np.ones((len(key), 2), key.dtype), np.ones((2, len(query)), key.dtype)
    left[:, 0] = key
    np.negative(query, out=right[1])
    np.matmul(left, right, out=out)


def _squares_by_product(
    queries: NDArray[np.floating], keys: NDArray[np.floating], out: NDArray[np.floating]
) -> NDArray[np.floating]:
    centre = queries.mean(axis=0)  # distances do not change, and their terms become small
    queries, keys = queries - centre, keys - centre
    np.matmul(keys, -2 * queries.T, out=out)
    out += np.einsum("kd,kd->k", keys, keys)[:, None]
    out += np.einsum("qd,qd->q", queries, queries)
    np.maximum(out, 0, out=out)
    return out


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
