"""Key columns whose cells are no plain numbers: dates, and categories with and without an order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from qkvcli.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DATE, CATEGORICAL, ORDERED = "date", "categorical", "ordered"
"""What a column's cells are: days, names that are the same or not, and grades that are numbers."""

_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
_SPELLED = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_SHOWN = 40


@dataclass(frozen=True, eq=False)
class Coding:
    """How the cells of one key column become numbers.

    Parameters
    ----------
    kind
        ``DATE``, days since 1970-01-01; ``CATEGORICAL``, codes of which only equality means
        anything; ``ORDERED``, numbers as they are.
    column
        The column, as it was named.
    levels
        Of a category the code of each distinct cell. They are known once ``learn`` has seen all
        rows.
    """

    kind: str
    column: str
    levels: dict[str, int] = field(default_factory=dict)

    @property
    def is_date(self) -> bool:
        """Whether numbers are days."""
        return self.kind == DATE

    @property
    def is_categorical(self) -> bool:
        """Whether only equality means anything, and the levels must be learned."""
        return self.kind == CATEGORICAL

    def learn(self, cells: Iterable[str]) -> None:
        """Have the distinct cells of a category among the levels, in order of occurrence."""
        for cell in cells if self.is_categorical else ():
            if not self.is_missing(cell):
                self.levels.setdefault(cell, len(self.levels))

    def numbers(self, cells: Sequence[str]) -> list[float]:
        """Return the number of each cell.

        Raises
        ------
        CodeError
            The first cell that has none.
        """
        found = []
        for row, cell in enumerate(cells):
            number = self._number(cell)
            if number is None:
                raise CodeError(row, self._reason(cell))
            found.append(number)
        return found

    def is_missing(self, cell: str) -> bool:
        """Return whether a cell holds nothing; a category may be called NA."""
        return not cell.strip(" \t")

    def _number(self, cell: str) -> float | None:
        if self.kind == DATE:
            return days(cell)
        if self.kind == ORDERED:
            return float(cell) if _NUMBER.fullmatch(cell) else None
        return self.levels.get(cell)

    def _reason(self, cell: str) -> str:
        shown = repr(cell if len(cell) <= _SHOWN else cell[: _SHOWN - 3] + "...")
        named = f"the {self.kind} column {self.column!r}"
        if self.is_missing(cell):
            return f"{shown} in {named}; pass `missing='skip'` to leave such rows out"
        if self.kind == DATE:
            return f"{shown} in {named} is no date; write 2024-12-31, or 2024-12-31T08:30"
        if self.kind == ORDERED:
            return f"{shown} in {named} is no number; write grades as numbers, such as 1, 2, 3"
        hint = did_you_mean(cell, list(self.levels))
        return f"{shown} is none of the {len(self.levels)} values of {named}{hint}"

    def text(self, number: float) -> str:
        """Return what a number of this column stands for, as far as it stands for anything."""
        return date_text(number) if self.kind == DATE else f"{number:.15g}"


class CodeError(ValueError):
    """A cell that is no date, no grade, or a value that is not known: its row, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row, self.reason = row, reason


def days(cell: str) -> float | None:
    """Return a date or a date and time, as in ISO 8601, in days since 1970-01-01; else None.

    What says no offset from UTC is taken as UTC.

    Examples
    --------
    >>> days("1970-01-02"), days("1970-01-01 12:00"), days("1970-01-01T12:00+12:00")
    (1.0, 0.5, 0.0)
    >>> days("2023-02-29"), days("20230228")
    (None, None)
    """
    if not _SPELLED.fullmatch(cell):
        return None
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) / _DAY


def date_text(number: float) -> str:
    """Return a number of days since 1970-01-01 as a date, with the time where it has one.

    Examples
    --------
    >>> date_text(1.0), date_text(0.5), date_text(1e9)
    ('1970-01-02', '1970-01-01T12:00:00', '1e+09')
    """
    try:
        found = _EPOCH + timedelta(seconds=round(number * 86400))
    except OverflowError:
        return f"{number:.6g}"
    text = found.replace(tzinfo=None).isoformat()
    return text.removesuffix("T00:00:00")
