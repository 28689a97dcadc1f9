"""Text keys as they lie among the bytes of a block, for those who look before they make strings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Places = NDArray[np.intp]

_LETTERS = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False)
class KeyBytes:
    """Text keys as they lie among the bytes of a block, in UTF-8.

    Parameters
    ----------
    data
        The bytes.
    ends
        The bytes that follow a key, and are in none.
    find
        Finds where each of the K keys starts and ends, or returns None where that takes more than
        a look; called once.
    """

    data: bytes
    ends: bytes
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
        high = np.flatnonzero(np.frombuffer(self.data, np.uint8) > 127)
        starts, ends = self._starts, self._starts + self.lengths
        return np.searchsorted(high, starts) < np.searchsorted(high, ends)

    @cached_property
    def has_several_words(self) -> bool:
        """Whether some key may have more than ASCII letters and digits."""
        return not self.data.isascii() or self.several_words is not None

    @cached_property
    def several_words(self) -> NDArray[np.bool_] | None:
        """Which keys have other ASCII signs than letters and digits; None for none."""
        table = np.ones(256, np.bool_)
        table[128:] = False
        table[list(_LETTERS + self.ends)] = False
        if not self.data.translate(None, bytes(range(128, 256)) + _LETTERS + self.ends):
            return None
        odd = np.flatnonzero(table[np.frombuffer(self.data, np.uint8)])
        starts, ends = self._starts, self._starts + self.lengths
        found: NDArray[np.bool_] = np.searchsorted(odd, starts) < np.searchsorted(odd, ends)
        return found if found.any() else None

    def texts(self, rows: Places) -> list[str]:
        """Return some keys as strings, by their positions."""
        starts, ends = self._starts[rows], self._starts[rows] + self.lengths[rows]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return [self.data[start:end].decode() for start, end in pairs]

    def may_hold(self, text: str) -> bool:
        """Return whether a text is among the bytes; three times as fast as ``in``."""
        wanted = text.encode()
        if len(wanted) < 2:  # which has no two ends
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
