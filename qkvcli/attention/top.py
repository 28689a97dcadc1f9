"""The running top-K: per query the best-scoring keys so far, ties broken by row order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Record

    Floor = NDArray[np.float64] | float
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
    numbers, vectors
        Their numeric values (Q, n, Dv) and keys (Q, n, D), where these are pooled at the end.
    """

    count: int
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    records: dict[int, Record]
    numbers: NDArray[np.floating] | None = None
    vectors: NDArray[np.floating] | None = None

    @staticmethod
    def empty(queries: int, count: int) -> Top:
        """Return the identity of ``merge``."""
        return Top(count, np.empty((queries, 0)), np.empty((queries, 0), np.int64), {})

    @property
    def floor(self) -> NDArray[np.float64]:
        """The score that a later row must exceed to enter, of shape (Q,)."""
        full = 0 < self.count == self.scores.shape[1]
        return self.scores[:, -1] if full else np.full(len(self.scores), -np.inf)

    @property
    def trimmed(self) -> Top:
        """The list without columns of padding alone, which blocks may leave."""
        width = int((self.rows >= 0).sum(axis=1).max(initial=0))
        return replace(
            self,
            scores=self.scores[:, :width],
            rows=self.rows[:, :width],
            numbers=None if self.numbers is None else self.numbers[:, :width],
            vectors=None if self.vectors is None else self.vectors[:, :width],
        )

    def offer(
        self, scores: NDArray[np.floating], numbers: NDArray[np.int64], least: Floor = -np.inf
    ) -> Top:
        """Return the best of these rows and of later ones (K,), whose scores are (K, Q).

        Scores below ``least``, of each query (Q,) or of all, are not looked at.
        """
        better = (scores >= least) if np.max(least) > -np.inf else (scores > self.floor)
        few = max(4 * self.count * len(self.scores), scores.size // _DENSE)
        if np.count_nonzero(better) > few:
            # The N-th best of this tile is a floor too, and leaves few rows to sort.
            cut = len(scores) - self.count
            better &= scores >= np.partition(scores, cut, axis=0)[cut]
        rows, queries = _true_cells(better)
        if not len(rows):
            return self
        found = scores[rows, queries].astype(np.float64)
        width = min(self.count, len(scores))
        ranked = _ranked(found, numbers[rows], queries, (len(self.scores), width))
        return self._merged(replace(self, scores=ranked[0], rows=ranked[1]))

    def merge(self, other: Top) -> Top:
        """Return the best rows of both; associative, with ``empty`` as its identity."""
        merged = self._merged(other)
        kept = set(merged.rows.ravel().tolist())
        both = self.records | other.records
        records = {row: record for row, record in both.items() if row in kept}
        return replace(merged, records=records)

    def shifted(self, rows: int) -> Top:
        """Return the list as it is where so many more rows come before its own."""
        return replace(
            self,
            rows=np.where(self.rows >= 0, self.rows + rows, self.rows),
            records={row + rows: record for row, record in self.records.items()},
        )

    def _merged(self, other: Top) -> Top:
        scores = np.concatenate([self.scores, other.scores], axis=1)
        rows = np.concatenate([self.rows, other.rows], axis=1)
        order = np.lexsort((np.where(rows < 0, np.iinfo(np.int64).max, rows), -scores), axis=1)
        order = order[:, : self.count]
        return Top(
            self.count,
            np.take_along_axis(scores, order, 1),
            np.take_along_axis(rows, order, 1),
            self.records,
            _taken(self.numbers, other.numbers, order),
            _taken(self.vectors, other.vectors, order),
        )

    def gathered(self, block: Block, *, records: bool, numbers: bool, vectors: bool) -> Top:
        """Return the list with what its rows hold, all of them rows of this block."""
        wanted = sorted(set(self.rows[self.rows >= 0].tolist()))
        local = [row - block.start for row in wanted]
        at = np.searchsorted(wanted, self.rows) if wanted else np.zeros_like(self.rows)
        at = np.where(self.rows < 0, 0, at)
        return replace(
            self,
            records=dict(zip(wanted, block.records(local), strict=True)) if records else {},
            numbers=_padded_take(block.pick_numbers(local), at) if numbers else None,
            vectors=_padded_take(np.asarray(block.keys)[local], at) if vectors else None,
        )


def _true_cells(cells: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return what ``np.nonzero`` does, in any order; it is ten times as fast in one dimension."""
    if cells.flags.f_contiguous:
        columns, rows = np.divmod(np.flatnonzero(cells.T), len(cells))
        return rows, columns
    rows, columns = np.divmod(np.flatnonzero(cells), cells.shape[1])
    return rows, columns


def _padded_take(values: NDArray[np.floating], at: NDArray[np.intp]) -> NDArray[np.floating]:
    return values[at] if len(values) else np.zeros((*at.shape, values.shape[1]))


def _ranked(
    scores: NDArray[np.float64],
    rows: NDArray[np.intp],
    queries: NDArray[np.intp],
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Lay (score, row, query) triples out as the best ``shape[1]`` of each query."""
    order = np.lexsort((rows, -scores, queries))
    queries = queries[order]
    starts = np.searchsorted(queries, np.arange(shape[0]))
    rank = np.arange(len(order)) - starts[queries]
    kept = rank < shape[1]
    at = queries[kept], rank[kept]
    ranked = np.full(shape, -np.inf), np.full(shape, NOWHERE, np.int64)
    ranked[0][at] = scores[order][kept]
    ranked[1][at] = rows[order][kept]
    return ranked


def _taken(
    mine: NDArray[np.floating] | None,
    others: NDArray[np.floating] | None,
    order: NDArray[np.intp],
) -> NDArray[np.floating] | None:
    if mine is None or others is None:
        return None
    return np.take_along_axis(np.concatenate([mine, others], axis=1), order[:, :, None], 1)
