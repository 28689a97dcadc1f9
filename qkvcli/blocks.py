"""Blocks: the rows of a database as they travel from a source to the fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Keys = list[str] | NDArray[np.floating]


class Record(NamedTuple):
    """One row as a person sees it: its key cells and its value cells, as text."""

    key: tuple[str, ...]
    value: tuple[str, ...]


class Categories(NamedTuple):
    """One text value column of a block: ``labels[codes[i]]`` is the value of row i.

    ``labels`` are distinct, in the order in which they first occur.
    """

    codes: NDArray[np.intp]
    labels: list[str]


@dataclass(frozen=True)
class Columns:
    """What the rows of a database are made of.

    Parameters
    ----------
    key
        The names of the key columns.
    value
        The names of the value columns, in the order in which records show them.
    numeric_key
        Whether keys are vectors; else they are text.
    numbers
        Which value columns are numbers, as positions in ``value``; the others are text.
    """

    key: tuple[str, ...]
    value: tuple[str, ...]
    numeric_key: bool
    numbers: tuple[int, ...]

    @property
    def texts(self) -> tuple[int, ...]:
        """Which value columns are text, as positions in ``value``."""
        return tuple(i for i in range(len(self.value)) if i not in self.numbers)


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries as they were asked, and as the fold meets them.

    Parameters
    ----------
    labels
        What output calls them.
    keys
        Q strings, or vectors of shape (Q, D).
    start
        The row of the first among all queries.
    is_wide
        Whether the vectors were widened to float64 because narrower scores overflowed.
    """

    labels: tuple[str, ...]
    keys: Keys
    start: int = 0
    is_wide: bool = False

    def __len__(self) -> int:
        """Return Q."""
        return len(self.labels)

    def part(self, start: int, stop: int) -> Queries:
        """Return some of the queries."""
        return Queries(self.labels[start:stop], self.keys[start:stop], self.start + start)

    @property
    def vectors(self) -> NDArray[np.floating]:
        """The queries as vectors, (Q, D)."""
        import numpy as np  # text queries get here in no mode

        return np.asarray(self.keys)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The queries' rows, (Q,)."""
        import numpy as np

        return np.arange(self.start, self.start + len(self.labels))

    def widened(self) -> Queries:
        """Return the queries in float64; text stays text."""
        keys = self.keys if isinstance(self.keys, list) else self.vectors.astype("f8")
        return replace(self, keys=keys, is_wide=True)


class Block(Protocol):
    """A run of rows of a database."""

    @property
    def start(self) -> int:
        """The row of the database, from 0, that is the first of these."""

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def load(self) -> Block:
        """Return the block with its rows at hand; a block may travel without them."""

    @property
    def keys(self) -> Keys:
        """Text keys as a list of K strings, or vectors of shape (K, D)."""

    @property
    def folded(self) -> list[str]:
        """Text keys, case-folded."""

    def may_hold(self, keys: Iterable[str]) -> bool:
        """Return False where it is cheap to see that none of these texts is a key."""

    @property
    def numbers(self) -> NDArray[np.floating]:
        """The numeric value columns, of shape (K, Dv)."""

    def pick_numbers(self, rows: Sequence[int]) -> NDArray[np.floating]:
        """Return some rows of ``numbers``."""

    def categories(self, rows: Sequence[int] | None = None) -> list[Categories]:
        """Return the text value columns, of some rows or all."""

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text, by their position in the block."""

    def check(self) -> None:
        """Raise an InputError that names the first number which is NaN or infinite."""


class Source(Protocol):
    """Anything that yields the blocks of one database, in order."""

    @property
    def name(self) -> str:
        """What errors call it."""

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""

    @property
    def reopenable(self) -> bool:
        """Whether the blocks can be had a second time."""

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks; only a reopenable source yields them a second time."""


def categories(column: Sequence[str]) -> Categories:
    """Give each distinct text a code, in the order of first occurrence."""
    import numpy as np  # text lookups that pool nothing never get here

    seen: dict[str, int] = {}
    codes = np.fromiter((seen.setdefault(cell, len(seen)) for cell in column), np.intp, len(column))
    return Categories(codes, list(seen))


def casefold_all(texts: list[str]) -> list[str]:
    """Case-fold many strings in one call where no string holds a line end."""
    folded = "\n".join(texts).casefold().split("\n")
    return folded if len(folded) == len(texts) else [text.casefold() for text in texts]


def number_text(number: float) -> str:
    """Return the shortest text that reads back as the same number, of its own precision.

    Examples
    --------
    >>> number_text(0.1), number_text(3.0), number_text(1e-9)
    ('0.1', '3', '1e-09')
    """
    item = getattr(number, "dtype", None)
    text = str(number) if item is not None and item.kind == "f" else repr(number)
    return text.removesuffix(".0")
