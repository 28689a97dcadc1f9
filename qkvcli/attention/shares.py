"""Text values pooled as one-hot vectors: each distinct value's share of the weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Categories


@dataclass(frozen=True, eq=False)
class Shares:
    """Sums of weights by distinct value, or nothing once there are more values than the cap.

    Parameters
    ----------
    labels
        The distinct values so far, in the order of first occurrence; None past the cap.
    sums
        Of shape (Q, C), or (Q, C, D) where gradients are summed.
    cap
        How many distinct values are kept at most.
    """

    labels: tuple[str, ...] | None
    sums: NDArray[np.float64]
    cap: int

    @staticmethod
    def of(column: Categories, queries: int, cap: int, axes: tuple[int, ...] = ()) -> Shares:
        """Return shares of nothing yet, with the labels of one block."""
        if len(column.labels) > cap:
            return Shares(None, np.zeros((queries, 0, *axes)), cap)
        return Shares(tuple(column.labels), np.zeros((queries, len(column.labels), *axes)), cap)

    def add(self, weights: NDArray[np.floating], codes: NDArray[np.intp]) -> None:
        """Add the weights (K, Q) of rows with these codes."""
        if self.labels is None:
            return
        for query, column in enumerate(weights.T):
            self.sums[query] += np.bincount(codes, column, len(self.labels))

    def merge(
        self, other: Shares, mine: NDArray[np.float64], others: NDArray[np.float64]
    ) -> Shares:
        """Return the sums of both, each scaled per query; the labels' union is checked anew."""
        if self.labels is None or other.labels is None:
            return self if self.labels is None else other
        place = {label: i for i, label in enumerate(self.labels)}
        at = [place.setdefault(label, len(place)) for label in other.labels]
        shape = (len(self.sums), len(place), *self.sums.shape[2:])
        if len(place) > self.cap:
            return Shares(None, np.zeros((shape[0], 0, *shape[2:])), self.cap)
        sums = np.zeros(shape)
        sums[:, : len(self.labels)] = self.sums * _column(mine, self.sums.ndim)
        sums[:, at] += other.sums * _column(others, self.sums.ndim)
        return Shares(tuple(place), sums, self.cap)


def _column(factor: NDArray[np.float64], ndim: int) -> NDArray[np.float64]:
    return factor.reshape(-1, *(1,) * (ndim - 1))


def merge_all(
    mine: Sequence[Shares],
    others: Sequence[Shares],
    scale: NDArray[np.float64],
    other_scale: NDArray[np.float64],
) -> tuple[Shares, ...]:
    """Merge the shares of every text column."""
    pairs = zip(mine, others, strict=True)
    return tuple(a.merge(b, scale, other_scale) for a, b in pairs)
