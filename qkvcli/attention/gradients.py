"""Sums for the Jacobian: d answer / d q = Cov_p(v, ∂a/∂q) / T under the weights p."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.shares import Shares
from qkvcli.scores.vector import gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.attention.sums import Sums
    from qkvcli.blocks import Categories
    from qkvcli.scores import Score


def with_slopes(  # noqa: PLR0913 - a tile: its weights, and what they weigh
    sums: Sums,
    weights: NDArray[np.floating],
    *,
    score: Score,
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    values: NDArray[np.floating],
    texts: list[Categories],
) -> Sums:
    """Return the sums of one tile together with those of ∂a/∂q and v ∂a/∂q.

    Parameters
    ----------
    sums, weights
        Of the tile; the weights (K, Q) relative to ``sums.peak``.
    score, queries, keys
        a, (Q, D) and (K, D).
    values, texts
        The tile's values, (K, Dv) and text columns.
    """
    count, depth = queries.shape
    values = values.astype(np.float64)
    slope = np.zeros((count, depth))
    products = np.zeros((count, values.shape[1], depth))
    # A column past its cap stays empty: no one asks for its slopes.
    shares = tuple(
        Shares.of(text, count, share.cap, (depth,))
        for text, share in zip(texts, sums.shares, strict=True)
    )
    for i, query in enumerate(queries):
        weighted = weights[:, i, None] * gradient(score.name, query, keys, score.bandwidth)
        slope[i] = weighted.sum(axis=0)
        products[i] = values.T @ weighted
        for share, text in zip(shares, texts, strict=True):
            if share.labels is not None:
                np.add.at(share.sums[i], text.codes, weighted)
    return replace(sums, slope=slope, products=products, share_products=shares)


def covariance(
    mean: NDArray[np.float64],
    products: NDArray[np.float64],
    slope: NDArray[np.float64],
    mass: NDArray[np.float64],
    divisor: float,
) -> NDArray[np.float64]:
    """Return Cov_p(v, ∂a/∂q) / T, of shape (Q, Dv, D).

    Parameters
    ----------
    mean
        E_p[v], (Q, Dv).
    products, slope, mass
        The sums of v ∂a/∂q (Q, Dv, D), of ∂a/∂q (Q, D) and of the weights (Q,).
    divisor
        T.
    """
    expected = products / mass[:, None, None]
    gradients = slope / mass[:, None]
    return (expected - mean[:, :, None] * gradients[:, None, :]) / divisor
