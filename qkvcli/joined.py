"""Joins: for each row of a table of queries the rows of a database that it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from qkvcli.answer import Tabular, distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.answer import About
    from qkvcli.blocks import Record

AMBIGUOUS = 0.05
"""Under which margin a match is ambiguous."""


class Candidate(NamedTuple):
    """A row of the database that a query may stand for.

    Parameters
    ----------
    row, record
        Its number in the database, and the row as text.
    score
        a(q, k).
    margin
        By how much it scores more than the next key, or than the null key; None beside no other.
    weight
        Its weight under a softmax; None under ``approximate`` and ``exact``.
    """

    row: int
    record: Record
    score: float
    margin: float | None
    weight: float | None


class JoinedRow(NamedTuple):
    """A row of the queries, and what it may stand for, best first.

    Parameters
    ----------
    cells
        The row as text.
    candidates
        None of them where nothing matches.
    no_match
        The weight of the null key, where there is one under a softmax.
    """

    cells: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    no_match: float | None = None


class Measures(NamedTuple):
    """How well a join finds what is known to be right.

    Parameters
    ----------
    queries, answerable
        How many there are, and how many of them have a right answer.
    top_1
        Of those the share whose first candidate is right.
    recall
        The share with the right answer among the ``listed`` candidates.
    listed
        How many candidates are listed.
    reciprocal_rank
        The mean of 1 / rank of the right answer; 0 where it is not listed.
    average_precision
        The area under precision over recall as a threshold on the score falls.
    threshold, threshold_recall
        The least score from which on nine in ten answers are right, and the recall there; None and
        0 where there is none.
    calibration_error
        The mean distance of the first candidate's weight and the share that is right, over ten
        classes of weight.
    """

    queries: int
    answerable: int
    top_1: float
    recall: float
    listed: int
    reciprocal_rank: float
    average_precision: float
    threshold: float | None
    threshold_recall: float
    calibration_error: float


@dataclass(frozen=True, eq=False)
class Join(Tabular):
    """A table of queries joined to a database.

    Parameters
    ----------
    names
        What the columns of the queries are called.
    rows
        A row for each query, in their order.
    top
        How many candidates a query has at most.
    inner
        Whether queries without a match are left out of what is shown.
    about
        The question.
    measures
        How well it did, where the right answers were given.
    skipped
        How many rows of the database were left out, as a number was missing in them.
    """

    names: tuple[str, ...]
    rows: tuple[JoinedRow, ...]
    top: int
    inner: bool
    about: About
    measures: Measures | None = None
    skipped: int = 0

    @property
    def matched(self) -> list[JoinedRow]:
        """The rows that something matches."""
        return [row for row in self.rows if row.candidates]

    @property
    def ambiguous(self) -> list[JoinedRow]:
        """The rows whose best candidate scores hardly more than the next."""
        margins = [(row, row.candidates[0].margin) for row in self.matched]
        return [row for row, margin in margins if margin is not None and margin < AMBIGUOUS]

    @cached_property
    def weighted(self) -> bool:
        """Whether candidates have weights."""
        return any(row.candidates[0].weight is not None for row in self.matched)

    def unweighted(self) -> Join:
        """Return the join without the weights of its candidates."""
        rows = [
            row._replace(
                candidates=tuple(one._replace(weight=None) for one in row.candidates), no_match=None
            )
            for row in self.rows
        ]
        return replace(self, rows=tuple(rows))

    def header(self) -> list[str]:
        """Return the names of the columns; of those beside the queries' a clash ends in _match."""
        columns = self.about.columns
        found = ["rank"] if self.top > 1 else []
        found += [*columns.key, *(columns.value[i] for i in self.about.shown)]
        found += ["score", "margin", *(["weight"] if self.weighted else [])]
        found += ["no_match"] if any(row.no_match is not None for row in self.rows) else []
        found = [f"{name}_match" if name in self.names else name for name in found]
        return distinct([*self.names, *found])

    def lines(self) -> Iterator[list[Any]]:
        """Yield the rows of the table: text, and numbers; None where nothing matches."""
        header = self.header()
        count = len(header) - len(self.names)
        for row in self.rows:
            if not row.candidates and not self.inner:
                nothing: list[Any] = [None] * count
                if row.no_match is not None:
                    nothing[-1] = row.no_match
                yield [*row.cells, *nothing]
            for rank, one in enumerate(row.candidates, 1):
                yield [*row.cells, *self._cells(row, rank, one)]

    def _cells(self, row: JoinedRow, rank: int, one: Candidate) -> list[Any]:
        found: list[Any] = [rank] if self.top > 1 else []
        found += [*one.record.key, *(one.record.value[i] for i in self.about.shown)]
        found += [one.score, one.margin]
        found += [one.weight] if self.weighted else []
        return found + ([row.no_match] if row.no_match is not None else [])

    def __repr__(self) -> str:
        return f"Join({len(self.rows)} queries, {len(self.matched)} matched)"


@dataclass(frozen=True, eq=False)
class Groups(Tabular):
    """A table whose rows are put together where they stand for the same.

    Parameters
    ----------
    records
        The rows, in their order.
    groups
        The number of each row's group, from 1 in the order of their first rows.
    about
        The question.
    skipped
        How many rows were left out, as a number was missing in them.
    """

    records: tuple[Record, ...]
    groups: tuple[int, ...]
    about: About
    skipped: int = 0

    @property
    def several(self) -> list[int]:
        """The groups that have more than one row."""
        counts: dict[int, int] = {}
        for group in self.groups:
            counts[group] = counts.get(group, 0) + 1
        return [group for group, count in counts.items() if count > 1]

    def header(self) -> list[str]:
        """Return the names of the columns."""
        columns = self.about.columns
        return distinct([*columns.key, *(columns.value[i] for i in self.about.shown), "group"])

    def lines(self) -> Iterator[list[Any]]:
        """Yield the rows of the table: text, and the number of the group."""
        for record, group in zip(self.records, self.groups, strict=True):
            yield [*record.key, *(record.value[i] for i in self.about.shown), group]

    def __repr__(self) -> str:
        return f"Groups({len(self.records)} rows, {len(set(self.groups))} groups)"
