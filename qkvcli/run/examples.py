"""Examples of the right answer: what a learned score of text costs on them, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.run.join import calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PAIRS = 1 << 16
"""How many pairs are scored at a time."""


class Outcome(NamedTuple):
    """What a score makes of some examples.

    Parameters
    ----------
    loss
        −log α of the right keys of each, or of the null key where none is right, (Q,).
    rank
        Of the right key among the keys, from 1; 0 where it is no candidate, (Q,).
    best
        α of the best key, (Q,).
    answerable
        Whether a key is right at all, (Q,).
    """

    loss: Floats
    rank: NDArray[np.int64]
    best: Floats
    answerable: NDArray[np.bool_]

    def measures(self) -> dict[str, float]:
        """Return top-1, mean reciprocal rank, log-loss and expected calibration error."""
        known = self.rank[self.answerable]
        count = max(1, len(known))
        return {
            "top-1": float((known == 1).sum() / count),
            "mean reciprocal rank": float(np.sum(1 / known[known > 0]) / count),
            "log-loss": float(self.loss.mean()),
            "expected calibration error": calibration_error(
                self.best, (self.rank == 1).astype(np.float64)
            ),
        }


@dataclass(frozen=True, eq=False)
class Examples:
    """Queries with their candidates, whose features are known, and which of them are right.

    Parameters
    ----------
    features
        (N, F), of every pair of a query and a candidate, query after query.
    counts
        How many candidates each query has, from 1, (Q,).
    right
        Whether a pair is right, (N,).
    answerable
        Whether a key is right at all, be it a candidate or not, (Q,).
    weight
        How much each query counts, (Q,).
    skipped
        How many rows of the database were left out, as a number was missing in them.
    """

    features: NDArray[np.floating]
    counts: NDArray[np.intp]
    right: NDArray[np.bool_]
    answerable: NDArray[np.bool_]
    weight: Floats
    skipped: int = 0

    def __len__(self) -> int:
        """Return Q."""
        return len(self.counts)

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """Where the pairs of each query begin, (Q,)."""
        return np.cumsum(self.counts) - self.counts

    def pick(self, queries: NDArray[np.intp]) -> Examples:
        """Return some of the queries."""
        counts = self.counts[queries]
        first = np.repeat(self.starts[queries] - np.cumsum(counts) + counts, counts)
        rows = first + np.arange(len(first))
        return Examples(
            self.features[rows],
            counts,
            self.right[rows],
            self.answerable[queries],
            self.weight[queries],
        )

    @staticmethod
    def joined(parts: Sequence[Examples]) -> Examples:
        """Return the examples of several databases as one."""
        names = ("features", "counts", "right", "answerable", "weight")
        arrays: Any = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        return Examples(**arrays, skipped=sum(p.skipped for p in parts))

    def scored(self, weights: Floats) -> Floats:
        """Return the score of every pair, (N,)."""
        found = np.empty(len(self.features))
        for start in range(0, len(found), _PAIRS):
            some = slice(start, start + _PAIRS)
            found[some] = self.features[some].astype(np.float64) @ weights
        return found

    def loss(self, point: Floats, hidden: float = 0.0) -> tuple[float, Floats]:
        """Return the mean loss of weights in units of T, and its gradient.

        Parameters
        ----------
        point
            The weights (F,) and the null score, all divided by T.
        hidden
            How much every query counts that is asked a second time with its right keys hidden, so
            that nothing is right: without, scores of different queries could not be compared.

        Notes
        -----
        ∂(−log α)/∂a of a key is its α, less its share of α among the right ones.
        """
        logits, null = self.scored(point[:-1]), point[-1]
        slope, slope_null = np.zeros(len(logits)), 0.0
        share = self.weight / self.weight.sum()
        total, slopes = self._softmax(logits, null, self.right, share)
        slope += slopes[0]
        slope_null += slopes[1]
        if hidden:
            others = np.where(self.right, -np.inf, logits)
            more = hidden * share * self._has_right
            cost, slopes = self._softmax(others, null, np.zeros(len(logits), np.bool_), more)
            total += cost
            slope += slopes[0]
            slope_null += slopes[1]
        gradient = np.zeros(len(point))
        for start in range(0, len(slope), _PAIRS):
            some = slice(start, start + _PAIRS)
            gradient[:-1] += slope[some] @ self.features[some].astype(np.float64)
        gradient[-1] = slope_null
        return total, gradient

    @cached_property
    def _has_right(self) -> NDArray[np.bool_]:
        """Whether a candidate of each query is right, (Q,)."""
        return np.logical_or.reduceat(self.right, self.starts)

    def _softmax(
        self, logits: Floats, null: float, right: NDArray[np.bool_], share: Floats
    ) -> tuple[float, tuple[Floats, float]]:
        """Return Σ share · −log α(right), and its slope at every score and at the null score."""
        top = np.maximum(np.maximum.reduceat(logits, self.starts), null)
        weights = np.exp(logits - np.repeat(top, self.counts))
        of_null = np.exp(null - top)
        total = np.add.reduceat(weights, self.starts) + of_null
        of_right = np.add.reduceat(np.where(right, weights, 0.0), self.starts)
        answered = np.logical_or.reduceat(right, self.starts)
        wanted = np.where(answered, of_right, of_null)
        # Where a weight is no double its logarithm is still known: that of the best right score.
        best = np.maximum.reduceat(np.where(right, logits, -np.inf), self.starts)
        low = np.where(answered, best, null) - top
        tiny = np.finfo(np.float64).tiny
        logs = np.where(wanted > tiny, np.log(np.maximum(wanted, tiny)), low)
        cost = float(share @ (np.log(total) - logs))
        slope = weights * np.repeat(share / total, self.counts)
        among = np.repeat(
            np.where(wanted > tiny, share / np.maximum(wanted, tiny), 0.0), self.counts
        )
        slope -= np.where(right, weights * among, 0.0)
        slope_null = float(share @ (of_null / total) - share[~answered].sum())
        return cost, (slope, slope_null)

    def outcome(self, point: Floats) -> Outcome:
        """Return what weights and a null score, in units of T, make of the examples."""
        logits, null = self.scored(point[:-1]), point[-1]
        top = np.maximum.reduceat(logits, self.starts)
        shift = np.maximum(top, null)
        weights = np.exp(logits - np.repeat(shift, self.counts))
        total = np.add.reduceat(weights, self.starts) + np.exp(null - shift)
        of_right = np.maximum.reduceat(np.where(self.right, logits, -np.inf), self.starts)
        above = logits > np.repeat(of_right, self.counts)
        rank = np.where(
            self._has_right, np.add.reduceat(above.astype(np.int64), self.starts) + 1, 0
        )
        sum_right = np.add.reduceat(np.where(self.right, weights, 0.0), self.starts)
        wanted = np.where(self._has_right, sum_right, np.exp(null - shift))
        loss = np.log(total) - np.log(np.maximum(wanted, np.finfo(np.float64).tiny))
        return Outcome(loss, rank, np.exp(top - shift) / total, self.answerable)
