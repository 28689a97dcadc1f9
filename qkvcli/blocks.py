"""Blocks: the rows of a database as they travel from a source to the fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

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


@dataclass(frozen=True, eq=False)
class Outline:
    """Text keys as they lie among the bytes of a block: how long they are, and of which letters.

    Parameters
    ----------
    data
        The bytes, in UTF-8.
    starts, lengths
        Where each of the K keys starts, and how many bytes it has, of shape (K,).
    is_odd
        Which keys have letters other than ASCII's, of which this says nothing; None for none.
    """

    data: bytes
    starts: NDArray[np.intp]
    lengths: NDArray[np.intp]
    is_odd: NDArray[np.bool_] | None = None

    @staticmethod
    def of(data: bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Outline:
        """Return the outline of keys that start and end at these bytes."""
        if data.isascii():
            return Outline(data, starts, ends - starts)
        import numpy as np

        high = np.flatnonzero(np.frombuffer(data, np.uint8) > 127)  # noqa: PLR2004
        is_odd = np.searchsorted(high, starts) < np.searchsorted(high, ends)
        return Outline(data, starts, ends - starts, is_odd)

    def keys(self, rows: NDArray[np.intp]) -> list[str]:
        """Return some keys, by their positions."""
        starts, ends = self.starts[rows], self.starts[rows] + self.lengths[rows]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return [self.data[start:end].decode() for start, end in pairs]

    def equal(self, text: str) -> NDArray[np.intp]:
        """Return which keys are this text, by their positions."""
        import numpy as np

        wanted = text.encode()
        data = np.frombuffer(self.data, np.uint8)
        rows = np.flatnonzero(self.lengths == len(wanted))
        for place, byte in enumerate(wanted):
            rows = rows[data[self.starts[rows] + place] == byte]
        return rows

    def begins(self, letters: str) -> NDArray[np.bool_]:
        """Return whether the first letter of each key is among these, of shape (K,)."""
        import numpy as np

        data = np.frombuffer(self.data or b"\0", np.uint8)
        first = data[np.minimum(self.starts, len(data) - 1)]
        alike = np.zeros(len(first), np.bool_)
        for letter in filter(str.isascii, letters):
            alike |= first == ord(letter)
        return alike & (self.lengths > 0)

    def common(self, rows: NDArray[np.intp], letters: str) -> NDArray[np.intp]:
        """Return how many letters of some keys, by their positions, are among these."""
        import numpy as np

        marked = self._marked(letters)
        # Eight marks of 0 or 1 at a time, as one number from any byte on.
        marks = np.ndarray((len(marked) - 7,), "<u8", marked, strides=(1,))
        first = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
        starts, lengths = self.starts[rows], self.lengths[rows]
        count = np.zeros(len(rows), np.uint64)
        for done in range(0, int(lengths.max(initial=0)), 8):
            at, left = starts, np.minimum(lengths - done, 8)
            if done:  # shorter keys may end with the bytes
                at, left = np.minimum(starts + done, len(marks) - 1), np.maximum(left, 0)
            eight = marks[at]
            eight &= first[left]
            eight *= np.uint64(0x0101010101010101)  # whose highest byte is the sum of all
            count += eight >> np.uint64(56)
        return count.astype(np.intp)

    def _marked(self, letters: str) -> bytes:
        """Return 1 for each byte that is one of these letters, else 0; and eight more of 0."""
        table = bytearray(256)
        for letter in filter(str.isascii, letters):
            table[ord(letter)] = 1
        return self.data.translate(table) + bytes(8)


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

    def outline(self) -> Outline | None:
        """Return what can be seen of text keys without making strings, where that is cheap."""

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


class Stretch(Protocol):
    """Neighbouring blocks that can be had without those before them."""

    @property
    def is_counted(self) -> bool:
        """Whether rows are numbered from the database's first; else from the stretch's own."""

    @property
    def first(self) -> int:
        """How many blocks are thought to come before them."""

    @property
    def begin(self) -> int:
        """Where in the source they are thought to begin: where those before them end."""

    @property
    def end(self) -> int:
        """Where they end, once all were yielded."""

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""


@runtime_checkable
class Divisible(Protocol):
    """Blocks in order that may also be had as stretches, all at once."""

    @property
    def holds_lock(self) -> bool:
        """Whether to read them is work that holds the interpreter's lock."""

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""

    def stretches(self, processes: int) -> Sequence[Stretch]:
        """Return all blocks as stretches for so many processes; the first is for this one."""


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

    def blocks(self) -> Iterable[Block]:
        """Return the blocks; only a reopenable source yields them a second time."""


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
