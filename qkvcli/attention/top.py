"""The running top-K: per query the best-scoring keys so far, ties broken by row order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Record

    Floor = NDArray[np.floating] | float
    """A score for each query (Q,), or one for all."""

NOWHERE = -1
"""The row that pads a query's list."""
_DENSE = 8
"""Where fewer than one score in so many is left, sorting those beats a partition of all."""


@dataclass(frozen=True, eq=False)
class Top:
    """The best rows of each query, best first; at most ``count`` of them.

    Parameters
    ----------
    count
        N, how many rows to list at most.
    scores
        Of shape (Q, n), n ≤ N, falling along each row; −∞ pads.
    rows
        Their rows in the database, of shape (Q, n); −1 pads.
    records
        Those rows as text.
    values, keys
        Their numeric values (Q, n, Dv) and keys (Q, n, D), where these are pooled at the end.
    """

    count: int
    scores: NDArray[np.floating]
    rows: NDArray[np.int64]
    records: dict[int, Record]
    values: NDArray[np.floating] | None = None
    keys: NDArray[np.floating] | None = None

    @staticmethod
    def empty(queries: int, count: int) -> Top:
        """Return the identity of ``merge``."""
        return Top(count, np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64), {})

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there is a row, and no padding, of shape (Q, n)."""
        present: NDArray[np.bool_] = self.rows != NOWHERE
        return present

    @property
    def floor(self) -> Floor:
        """The score that a later row must exceed to enter, of shape (Q,)."""
        return self.scores[:, -1] if 0 < self.count == self.scores.shape[1] else -np.inf

    @property
    def trimmed(self) -> Top:
        """The list without columns of padding alone, which blocks may leave, nor other records."""
        width = int(self.present.sum(axis=1).max(initial=0))
        return replace(
            self,
            scores=self.scores[:, :width],
            rows=self.rows[:, :width],
            records=self.listed_records,
            values=None if self.values is None else self.values[:, :width],
            keys=None if self.keys is None else self.keys[:, :width],
        )

    def above(self, least: float) -> Top:
        """Return the list without rows that score less."""
        kept = self.scores >= least
        scores = np.where(kept, self.scores, -np.inf)
        return replace(self, scores=scores, rows=np.where(kept, self.rows, NOWHERE))

    def offer(
        self, scores: NDArray[np.floating], rows: NDArray[np.int64], least: Floor = -np.inf
    ) -> Top:
        """Return the best of these rows and of later ones (K,), whose scores are (Q, K).

        Scores below ``least``, of each query (Q,) or of all, are not looked at.
        """
        floor = np.reshape(least if np.max(least) > -np.inf else self.floor, (-1, 1))
        better = scores >= floor if np.max(least) > -np.inf else scores > floor
        few = max(4 * self.count * len(scores), scores.size // _DENSE)
        if np.count_nonzero(better) > few:
            # The N-th best of this tile is a floor too, and leaves few rows to sort.
            cut = scores.shape[1] - self.count
            better &= scores >= np.partition(scores, cut, axis=1)[:, cut, None]
        # In one dimension np.flatnonzero is ten times as fast as np.nonzero in two.
        queries, places = np.divmod(np.flatnonzero(better), scores.shape[1])
        if not len(queries):
            return self
        # The best of each query, laid out as a list.
        found_rows, found_scores = rows[places], scores[queries, places]
        order = np.lexsort((found_rows, -found_scores, queries))
        queries = queries[order]
        rank = np.arange(len(order)) - np.searchsorted(queries, np.arange(len(scores)))[queries]
        shape = len(scores), min(self.count, scores.shape[1])
        kept = rank < shape[1]
        at = queries[kept], rank[kept]
        found = Top(self.count, np.full(shape, -np.inf, scores.dtype), np.full(shape, NOWHERE), {})
        found.scores[at] = found_scores[order][kept]
        found.rows[at] = found_rows[order][kept]
        return self._merged(found) if self.scores.size else found

    def merge(self, other: Top) -> Top:
        """Return the best rows of both; associative, with ``empty`` as its identity."""
        merged = replace(self._merged(other), records=self.records | other.records)
        # Looked through only once in a while, as that takes as long as the list is.
        few = len(merged.records) <= 2 * merged.scores.size
        return merged if few else replace(merged, records=merged.listed_records)

    @property
    def listed_records(self) -> dict[int, Record]:
        """The records of the listed rows, and of no others."""
        rows = self.listed_rows if self.records else []
        return {row: self.records[row] for row in rows}

    @property
    def listed_rows(self) -> list[int]:
        """The listed rows of all queries, in order, each once; np.unique takes 12 ms to import."""
        return sorted(set(self.rows[self.present].tolist()))

    def shifted(self, rows: int) -> Top:
        """Return the list as it is where so many more rows come before its own."""
        return replace(
            self,
            rows=np.where(self.present, self.rows + rows, NOWHERE),
            records={row + rows: record for row, record in self.records.items()},
        )

    def _merged(self, other: Top) -> Top:
        scores = np.concatenate([self.scores, other.scores], axis=1)
        rows = np.concatenate([self.rows, other.rows], axis=1)
        last = np.where(rows == NOWHERE, np.iinfo(np.int64).max, rows)
        order = np.lexsort((last, -scores), axis=1)[:, : self.count]
        return Top(
            self.count,
            np.take_along_axis(scores, order, 1),
            np.take_along_axis(rows, order, 1),
            self.records,
            _taken(self.values, other.values, order),
            _taken(self.keys, other.keys, order),
        )

    def gathered(self, block: Block, *, records: bool, values: bool, keys: bool) -> Top:
        """Return the list with what its rows hold, all of them rows of this block."""
        wanted = self.listed_rows
        local = [row - block.start for row in wanted]
        places = np.searchsorted(np.array(wanted, np.int64), self.rows)
        at = np.minimum(places, max(0, len(wanted) - 1))
        found = self
        if records:
            pairs = zip(wanted, block.records(local), strict=True)
            found = replace(found, records=dict(pairs))
        if values:
            found = replace(found, values=_padded_take(block.values(local), at))
        if keys:
            found = replace(found, keys=_padded_take(block.keys[local], at))
        return found


def _padded_take(values: NDArray[np.floating], at: NDArray[np.intp]) -> NDArray[np.floating]:
    return values[at] if len(values) else np.zeros((*at.shape, values.shape[1]), values.dtype)


def _taken(
    mine: NDArray[np.floating] | None,
    others: NDArray[np.floating] | None,
    order: NDArray[np.intp],
) -> NDArray[np.floating] | None:
    if mine is None or others is None:
        return others if mine is None else mine
    return np.take_along_axis(np.concatenate([mine, others], axis=1), order[:, :, None], 1)
