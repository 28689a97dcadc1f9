"""Blocks: the rows of a database as they travel from a source to the fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.coded import Coding
    from qkvcli.key_bytes import KeyBytes

    Keys = list[str] | NDArray[np.floating]


class Record(NamedTuple):
    """One row as a person sees it: its key cells and its value cells, as text."""

    key: tuple[str, ...]
    value: tuple[str, ...]


class Labels(NamedTuple):
    """One text value column of some rows: ``texts[codes[i]]`` is the value of row i.

    ``texts`` are distinct, in the order in which they first occur.
    """

    codes: NDArray[np.intp]
    texts: list[str]


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
    numeric
        Which value columns are numbers, as positions in ``value``; the others are text.
    codings
        How the cells of each key column become numbers, None where they are plain numbers; nothing
        where all are.
    """

    key: tuple[str, ...]
    value: tuple[str, ...]
    numeric_key: bool
    numeric: tuple[int, ...]
    codings: tuple[Coding | None, ...] = ()

    @property
    def categories(self) -> tuple[tuple[int, int], ...]:
        """Which key columns are categories, and how many values each has: 0 of an ordered one."""
        found = ((at, coding) for at, coding in enumerate(self.codings) if coding is not None)
        return tuple((at, len(coding.levels)) for at, coding in found if not coding.is_date)

    @property
    def dates(self) -> tuple[int, ...]:
        """Which key columns are dates, in days."""
        found = ((at, coding) for at, coding in enumerate(self.codings) if coding is not None)
        return tuple(at for at, coding in found if coding.is_date)

    @property
    def along(self) -> tuple[int, ...] | None:
        """Which key columns are no categories, so that lines run along them; None where all are."""
        named = dict(self.categories)
        return tuple(at for at in range(len(self.key)) if at not in named) if named else None

    @cached_property
    def text(self) -> tuple[int, ...]:
        """Which value columns are text, as positions in ``value``."""
        return tuple(i for i in range(len(self.value)) if i not in self.numeric)


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries as they were asked, and as the fold meets them.

    Parameters
    ----------
    labels
        What output calls them.
    keys
        Q strings for text keys, or vectors of shape (Q, D).
    start
        The row of the first among all queries.
    """

    labels: tuple[str, ...]
    keys: Any
    start: int = 0

    def __len__(self) -> int:
        """Return Q."""
        return len(self.labels)

    def part(self, start: int, stop: int) -> Queries:
        """Return neighbouring queries."""
        return Queries(self.labels[start:stop], self.keys[start:stop], self.start + start)

    def pick(self, places: Sequence[int]) -> Queries:
        """Return some of the queries, numbered from 0."""
        keys = self.keys
        picked = [keys[i] for i in places] if isinstance(keys, list) else keys[places]
        return Queries(tuple(self.labels[i] for i in places), picked)

    def labelled(self, labels: tuple[str, ...]) -> Queries:
        """Return the queries under other names."""
        return replace(self, labels=labels)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The queries' rows, (Q,)."""
        import numpy as np

        return np.arange(self.start, self.start + len(self.labels))


class Block(Protocol):
    """A run of rows of a database."""

    @property
    def start(self) -> int:
        """The row of the database, from 0, that is the first of these."""

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""

    @property
    def skipped(self) -> int:
        """How many rows before these, or after the last, were left out: a number was missing."""

    def __len__(self) -> int:
        """Return the number of rows, K."""

    def load(self) -> Block:
        """Return the block with its rows at hand; a block may travel without them."""

    @property
    def keys(self) -> Any:  # noqa: ANN401 - of the kind that the score compares
        """Text keys as a list of K strings, or vectors of shape (K, D)."""

    def key_bytes(self) -> KeyBytes | None:
        """Return text keys as they lie among bytes, where no string need be made for that.

        What a score sees of them may spare taking the block apart.
        """

    def key_texts(self, column: int) -> list[str]:
        """Return the cells of one key column of a table as text."""

    def values(self, rows: Sequence[int] | None = None) -> NDArray[np.floating]:
        """Return the numeric value columns of some rows or all, of shape (K, Dv)."""

    def labels(self, rows: Sequence[int] | None = None) -> list[Labels]:
        """Return the text value columns, of some rows or all."""

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text, by their position in the block."""

    def check(self) -> None:
        """Raise an InputError that names the first number which is NaN or infinite."""

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""


@runtime_checkable
class Partition(Protocol):
    """Neighbouring blocks that can be had without those before them: all, or a process's job."""

    @property
    def holds_lock(self) -> bool:
        """Whether to read them is work that holds the interpreter's lock."""

    @property
    def is_counted(self) -> bool:
        """Whether rows are numbered from the database's first; else from the partition's own."""

    @property
    def first(self) -> int:
        """How many blocks are thought to come before them."""

    @property
    def begin(self) -> int | None:
        """Where in the source they are thought to begin; None where that is read but in order."""

    @property
    def end(self) -> int:
        """Where they end, once all were yielded."""

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""

    def partitions(self, processes: int) -> Sequence[Partition]:
        """Return all blocks as partitions for so many processes, or none."""


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

    @property
    def rows(self) -> int | None:
        """K, where that takes no reading."""

    @property
    def note(self) -> str:
        """What the user should know of how it is read; "" for nothing."""

    @property
    def kind(self) -> str:
        """What keys are: ``"text"``, numeric columns of a ``"table"``, or an ``"array"``."""

    @property
    def depth(self) -> int:
        """D, the width of a key; 0 for text."""

    @property
    def key_dtype(self) -> np.dtype[np.floating]:
        """What keys are scored in: float32 or float64."""

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The wider of what keys and what values are."""

    @property
    def names(self) -> Sequence[str] | None:
        """What vector keys are called, where they have names."""

    def blocks(self) -> Iterable[Block]:
        """Return the blocks; only a reopenable source yields them a second time."""


def labels_of(column: Sequence[str]) -> Labels:
    """Return a text column with a code for each distinct text, in order of first occurrence."""
    import numpy as np  # text lookups that pool nothing never get here

    seen: dict[str, int] = {}
    codes = np.fromiter((seen.setdefault(cell, len(seen)) for cell in column), np.intp, len(column))
    return Labels(codes, list(seen))


class Rows(NamedTuple):
    """All rows of some blocks: keys (K, D) and numeric values (K, Dv) in float64, and text.

    ``skipped`` is how many more were left out, as a number was missing in them.
    """

    keys: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: list[Labels]
    skipped: int


def rows_of(blocks: Iterable[Block], *, checked: bool = False) -> Rows:
    """Return all rows of some blocks whose keys are vectors.

    Parameters
    ----------
    blocks
        One or more of them.
    checked
        Whether NaN and infinity are refused.
    """
    import numpy as np

    held = [block.load() for block in blocks]
    for block in held if checked else ():
        block.check()
    return Rows(
        np.concatenate([np.asarray(block.keys, np.float64) for block in held]),
        np.concatenate([np.asarray(block.values(), np.float64) for block in held]),
        [
            labels_of([part.texts[code] for part in column for code in part.codes])
            for column in zip(*(block.labels() for block in held), strict=True)
        ],
        sum(block.skipped for block in held),
    )


def casefold_all(texts: list[str]) -> list[str]:
    """Return many strings case-folded, in one call where no string holds a line end."""
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
