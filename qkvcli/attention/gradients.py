"""The Jacobian: d answer / d q = Cov(v, ∂a/∂q) / T under the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qkvcli.attention.labels import LabelSums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Labels

    class Differentiable(Protocol):
        """A score that has a gradient."""

        def gradient(
            self, query: NDArray[np.floating], keys: NDArray[np.floating]
        ) -> NDArray[np.float64]:
            """Return ∂a/∂q of one query (D,) at every key (K, D), of shape (K, D)."""


class Steps:
    """Stands for a score where the steps from a query to the keys are wanted, as a line does."""

    def gradient(
        self, query: NDArray[np.floating], keys: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return x − q of one query (D,) and every key (K, D), of shape (K, D)."""
        return keys.astype(np.float64) - query.astype(np.float64)


STEPS = Steps()
_LOST = 1e-6
"""What part of the mean square about the middle is a variance whose digits are lost in it."""
_CELLS = 1 << 17
"""How many products are formed at a time: what stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """What is known of ∂a/∂q under the weights of the rows seen so far.

    Parameters
    ----------
    mean
        The weighted mean of ∂a/∂q, (Q, D).
    covariance
        The weighted mean of (v − v̄)(∂a/∂q − its mean), (Q, Dv, D).
    labels
        The weighted sums of ∂a/∂q by distinct value of each text column.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    labels: tuple[LabelSums, ...]

    def pick(self, places: NDArray[np.intp]) -> Slopes:
        """Return those of some queries, none of which has labels."""
        return Slopes(self.mean[places], self.covariance[places], ())

    def merge(
        self,
        other: Slopes,
        apart: NDArray[np.float64],
        part: NDArray[np.float64],
        mine: NDArray[np.float64],
        others: NDArray[np.float64],
    ) -> Slopes:
        """Return the slopes over the rows of both (Chan, Golub and LeVeque 1979).

        Parameters
        ----------
        other
            The slopes of later rows.
        apart
            Their mean of the values less this one's, (Q, Dv).
        part
            Their part of the weight, (Q,).
        mine, others
            The factors of sums, (Q,).
        """
        step = other.mean - self.mean
        share = part[:, None, None]
        between = np.einsum("qv,qd->qvd", apart, step) * (share * (1 - share))
        return Slopes(
            self.mean + step * part[:, None],
            self.covariance * (1 - share) + other.covariance * share + between,
            tuple(a.merge(b, mine, others) for a, b in zip(self.labels, other.labels, strict=True)),
        )


def slopes_of(  # noqa: PLR0913, PLR0917 - a tile: its weights, and what they weigh
    score: Differentiable,
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    weights: NDArray[np.floating],
    values: NDArray[np.floating],
    means: NDArray[np.float64],
    texts: Sequence[tuple[Labels, LabelSums]],
) -> Slopes:
    """Return the slopes of some rows.

    Parameters
    ----------
    score, queries, keys
        a, the queries (Q, D), and the keys (K, D) or those of each query (Q, K, D).
    weights
        (Q, K), not normalised.
    values, means
        The rows' values (K, Dv) or (Q, K, Dv), and their weighted means (Q, Dv).
    texts
        Each text column of the rows, and its sums of weights.
    """
    count, depth = queries.shape
    mean = np.zeros((count, depth))
    covariance = np.zeros((count, means.shape[1], depth))
    if score is STEPS and keys.ndim == 2 and not texts:
        return _steps_of(queries, keys, weights, values, means)
    # A column past its cap stays empty: no one asks for its slopes.
    labels = tuple(LabelSums.of(text, count, sums.cap, (depth,)) for text, sums in texts)
    for i, query in enumerate(queries):
        weight = weights[i].astype(np.float64)
        total = weight.sum()
        if not total > 0:
            continue
        gradient = score.gradient(query, keys if keys.ndim == 2 else keys[i])
        gradient[weight == 0] = 0  # where it may be no number: at the edge of a kernel
        weighted = gradient * weight[:, None]
        mean[i] = weighted.sum(axis=0) / total
        apart = (values if values.ndim == 2 else values[i]) - means[i]
        covariance[i] = (apart * weight[:, None]).T @ (gradient - mean[i]) / total
        for share, (text, _) in zip(labels, texts, strict=True):
            if share.labels is not None:
                codes = text.codes if text.codes.ndim == 1 else text.codes[i]
                np.add.at(share.sums[i], codes, weighted)
    return Slopes(mean, covariance, labels)


def _steps_of(
    queries: NDArray[np.floating],
    keys: NDArray[np.floating],
    weights: NDArray[np.floating],
    values: NDArray[np.floating],
    means: NDArray[np.float64],
) -> Slopes:
    """Return the slopes of steps x − q, of values whose last columns are the keys.

    They are moments about the middle of the rows, one matrix product; where these nearly cancel,
    as of a width that is small beside where the rows lie, they are summed anew about the query.
    """
    depth = keys.shape[1]
    weights = weights.astype(np.float64, copy=False)
    total = weights.sum(axis=1)
    middle = values.mean(axis=0, dtype=np.float64)
    apart = values - middle
    products = (apart[:, :, None] * apart[:, None, -depth:]).reshape(len(keys), -1)
    moments = np.dot(weights, np.concatenate([apart, products], axis=1))
    moments /= np.where(total > 0, total, 1)[:, None]
    first, second = np.split(moments, [apart.shape[1]], axis=1)
    second = second.reshape(len(queries), -1, depth)
    mean = first[:, -depth:] + (middle[-depth:] - queries)
    covariance = second - first[:, :, None] * first[:, None, -depth:]
    squares, spread = (np.einsum("qdd->qd", x[:, -depth:]) for x in (second, covariance))
    lost = np.flatnonzero((spread < _LOST * squares).any(axis=1))
    at_once = max(1, _CELLS // max(1, len(keys) * means.shape[1]))
    for start in range(0, len(lost), at_once):
        some = lost[start : start + at_once]
        weight = weights[some] / total[some, None]
        steps = keys.astype(np.float64) - queries[some, None].astype(np.float64)
        mean[some] = np.matmul(weight[:, None], steps)[:, 0]
        around = (values - means[some, None]) * weight[:, :, None]
        covariance[some] = np.matmul(around.transpose(0, 2, 1), steps - mean[some, None])
    mean[total == 0] = 0
    return Slopes(mean, covariance, ())
