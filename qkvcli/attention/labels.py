"""Text values pooled as one-hot vectors: each distinct value's share of the weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.blocks import Labels


@dataclass(frozen=True, eq=False)
class LabelSums:
    """Sums of weights by distinct value, or nothing once there are more values than the cap.

    Parameters
    ----------
    labels
        The C distinct values so far, in the order of first occurrence; None past the cap.
    sums
        Of shape (Q, C), or (Q, C, D) where gradients are summed.
    cap
        How many distinct values are kept at most.
    """

    labels: tuple[str, ...] | None
    sums: NDArray[np.float64]
    cap: int

    @staticmethod
    def of(column: Labels, queries: int, cap: int, axes: tuple[int, ...] = ()) -> LabelSums:
        """Return sums of nothing yet, with the labels of one block."""
        if len(column.texts) > cap:
            return LabelSums(None, np.zeros((queries, 0, *axes)), cap)
        return LabelSums(tuple(column.texts), np.zeros((queries, len(column.texts), *axes)), cap)

    def add(self, weights: NDArray[np.floating], codes: NDArray[np.intp]) -> None:
        """Add the weights (Q, K) of rows with these codes."""
        if self.labels is None:
            return
        for query, row in enumerate(weights):
            self.sums[query] += np.bincount(codes, row, len(self.labels))

    def times(self, factor: NDArray[np.float64]) -> LabelSums:
        """Return the sums times a factor for each query (Q,)."""
        by_query = (-1, *(1,) * (self.sums.ndim - 1))
        return LabelSums(self.labels, self.sums * factor.reshape(by_query), self.cap)

    def merge(
        self, other: LabelSums, mine: NDArray[np.float64], others: NDArray[np.float64]
    ) -> LabelSums:
        """Return the sums of both, each times a factor for each query (Q,)."""
        if self.labels is None or other.labels is None:
            return self if self.labels is None else other
        place = {label: i for i, label in enumerate(self.labels)}
        at = [place.setdefault(label, len(place)) for label in other.labels]
        shape = (len(self.sums), len(place), *self.sums.shape[2:])
        if len(place) > self.cap:
            return LabelSums(None, np.zeros((shape[0], 0, *shape[2:])), self.cap)
        sums = np.zeros(shape)
        sums[:, : len(self.labels)] = self.times(mine).sums
        sums[:, at] += other.times(others).sums
        return LabelSums(tuple(place), sums, self.cap)
