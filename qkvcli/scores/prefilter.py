"""How a block of text keys is looked at before it is split: letters counted, bytes found.

A score says what it cannot pass, given how many letters a query and a key have in common. Keys that
cannot reach the best ones known so far are never made strings. One approximate lookup among five
million names takes a third of the time so (AVX-512 and AVX2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Places = NDArray[np.intp]

_ROUNDING = 1e-9
"""How far a score may be from what its formula says."""
_LARGEST_TABLE = 1 << 20
"""Of how many counts of letters the bounds are worked out at once, at most."""
BONUS, LETTERS = 0.1, 4
"""Winkler's bonus: this much of what is missing, for each of at most four common first letters."""


@dataclass(frozen=True, eq=False)
class KeyBytes:
    """Text keys as they lie among the bytes of a block, in UTF-8.

    Parameters
    ----------
    data
        The bytes.
    find
        Finds where each of the K keys starts and ends, or returns None where that takes more than
        a look; called once.
    """

    data: bytes
    find: Callable[[], tuple[Places, Places] | None]

    @cached_property
    def places(self) -> tuple[Places, Places] | None:
        """Where each of the K keys starts, and how many bytes it has, each of shape (K,)."""
        found = self.find()
        return None if found is None else (found[0], found[1] - found[0])

    @property
    def _starts(self) -> Places:
        return self.places[0] if self.places else np.empty(0, np.intp)

    @property
    def lengths(self) -> Places:
        """How many bytes each key has, of shape (K,)."""
        return self.places[1] if self.places else np.empty(0, np.intp)

    @cached_property
    def non_ascii(self) -> NDArray[np.bool_] | None:
        """Which keys have letters other than ASCII's, of which bytes say nothing; None for none."""
        if self.data.isascii():
            return None
        high = np.flatnonzero(np.frombuffer(self.data, np.uint8) > 127)  # noqa: PLR2004
        starts, ends = self._starts, self._starts + self.lengths
        return np.searchsorted(high, starts) < np.searchsorted(high, ends)

    def texts(self, rows: Places) -> list[str]:
        """Return some keys as strings, by their positions."""
        starts, ends = self._starts[rows], self._starts[rows] + self.lengths[rows]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return [self.data[start:end].decode() for start, end in pairs]

    def may_hold(self, text: str) -> bool:
        """Return whether a text is among the bytes; three times as fast as ``in``."""
        wanted = text.encode()
        if len(wanted) < 2:  # noqa: PLR2004 - which has no two ends
            return wanted in self.data
        array = np.frombuffer(self.data, np.uint8)
        size = len(wanted) - 1
        ends = array[: max(0, len(array) - size)] == wanted[0]
        ends &= array[size:] == wanted[-1]
        places = np.flatnonzero(ends)
        for at, byte in enumerate(wanted[1:-1], 1):
            places = places[array[places + at] == byte]
        return len(places) > 0

    def equal(self, text: str) -> Places:
        """Return which keys are this text, by their positions."""
        wanted = text.encode()
        data = np.frombuffer(self.data, np.uint8)
        rows = np.flatnonzero(self.lengths == len(wanted))
        for place, byte in enumerate(wanted):
            rows = rows[data[self._starts[rows] + place] == byte]
        return rows

    def begins(self, letters: str) -> NDArray[np.bool_]:
        """Return whether the first letter of each key is among these, of shape (K,)."""
        data = np.frombuffer(self.data or b"\0", np.uint8)
        first = data[np.minimum(self._starts, len(data) - 1)]
        alike = np.zeros(len(first), np.bool_)
        for letter in filter(str.isascii, letters):
            alike |= first == ord(letter)
        return alike & (self.lengths > 0)

    def common(self, rows: Places, letters: str) -> Places:
        """Return how many letters of some keys, by their positions, are among these."""
        table = bytearray(256)
        for letter in filter(str.isascii, letters):
            table[ord(letter)] = 1
        marked = self.data.translate(table) + bytes(8)
        # Eight marks of 0 or 1 at a time, as one number from any byte on.
        marks = np.ndarray((len(marked) - 7,), "<u8", marked, strides=(1,))
        first = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
        starts, lengths = self._starts[rows], self.lengths[rows]
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


def upper_bounds(
    name: str,
    query: int,
    alike: NDArray[np.integer],
    common: NDArray[np.integer],
    keys: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return what the scores of a query and keys cannot pass, told by counting letters alone.

    Parameters
    ----------
    name
        A text score.
    query, keys
        How many letters the query has, and each key.
    common
        How many letters of a key are letters of the query, or more.
    alike
        Whether the first letter of a key is the query's.

    Returns
    -------
    ndarray
        Of the shape to which these broadcast.
    """
    common = np.minimum(common, np.minimum(query, keys))
    if name in ("indel", "indel-winkler"):
        most = 2 * common / np.maximum(query + keys, 1)
    elif name == "jaro-winkler":
        matched = common / np.maximum(query, 1) + common / np.maximum(keys, 1) + 1
        most = np.where(common > 0, matched / 3, 0.0)
    else:
        most = common / np.maximum(np.maximum(query, keys), 1)
    bonus = BONUS * LETTERS * alike if name.endswith("winkler") else 0.0 * alike
    return np.where(keys + query > 0, most + bonus * (1 - most), 1.0)  # two empty texts are alike


def may_reach(
    name: str, query: str, keys: KeyBytes, floor: float, *, case_sensitive: bool
) -> NDArray[np.bool_]:
    """Return which keys (K,) may score at least ``floor``, of those that are ASCII.

    Parameters
    ----------
    name
        A text score.
    query
        Case-folded, unless the score is case-sensitive.
    keys, floor
        The keys' bytes, and the least score of interest.
    case_sensitive
        Whether text is scored as it is.
    """
    size, longest = len(query), int(keys.lengths.max(initial=0))
    if (size + 1) * (longest + 1) > _LARGEST_TABLE:
        return np.ones(len(keys.lengths), np.bool_)
    letters, first = (
        part if case_sensitive else part + part.upper() for part in (query, query[:1])
    )
    # By whether the first letter is the query's, how many letters are, and how many there are.
    most = upper_bounds(name, size, *np.ogrid[:2, : size + 1, : longest + 1])
    may_be = most >= floor - _ROUNDING
    begins = keys.begins(first).view(np.uint8)
    every = np.arange(longest + 1)
    by_length = may_be[:, np.minimum(every, size), every]
    near: NDArray[np.bool_] = by_length.ravel()[begins * np.intp(longest + 1) + keys.lengths]
    rows = np.flatnonzero(near)
    common = np.minimum(keys.common(rows, letters), size)
    near[rows] = may_be[begins[rows], common, keys.lengths[rows]]
    return near
