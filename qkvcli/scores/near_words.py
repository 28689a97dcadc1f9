"""Which words may be nearly the same, told by what is left of them where letters are left out.

Two words that are d edits apart have a word in common after at most d letters are left out of each
(the neighbourhoods of deletions of Mor and Fraenkel 1982). So words are indexed by hashes of what
is left of them, and what has no hash in common with a query's word is not nearly the same. A hash
that two words share by chance costs a comparison and changes no answer.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DELETIONS = 3
"""How many letters are left out at most; longer words are compared by their lengths alone."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_ROUNDING = 1e-9


class NearWords:
    """An index of words by what is left of them.

    Parameters
    ----------
    words
        The words, U of them, all different.
    least
        The normalised similarity by optimal string alignment that is asked for.
    """

    def __init__(self, words: Sequence[str], least: float) -> None:
        self._share = 1 - least + _ROUNDING
        self._lengths = np.fromiter(map(len, words), np.intp, len(words))
        hashes, owners = self._variants(words)
        order = np.argsort(hashes)
        self._hashes, self._owners = hashes[order], owners[order]

    def pairs(self, words: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which of these words (V,) and of the indexed may be that similar, as pairs."""
        hashes, of = self._variants(words)
        first = self._hashes.searchsorted(hashes, "left")
        counts = self._hashes.searchsorted(hashes, "right") - first
        before = np.repeat(np.cumsum(counts) - counts, counts)
        mine = [np.repeat(of, counts)]
        theirs = [self._owners[np.repeat(first, counts) + np.arange(len(before)) - before]]
        # Of longer words nothing is indexed.
        longest = int((_DELETIONS + 1) / self._share)
        longest += self._edits(longest) <= _DELETIONS
        lengths = np.fromiter(map(len, words), np.intp, len(words))
        for at in np.flatnonzero(lengths >= longest * (1 - self._share)).tolist():
            alike = np.minimum(self._lengths, lengths[at]) >= (1 - self._share) * np.maximum(
                self._lengths, lengths[at]
            )
            alike &= np.maximum(self._lengths, lengths[at]) >= longest
            found = np.flatnonzero(alike)
            mine.append(np.full(len(found), at))
            theirs.append(found)
        keys = np.concatenate(mine) * max(1, len(self._lengths)) + np.concatenate(theirs)
        both: NDArray[np.intp] = np.sort(keys)
        both = both[np.append(True, both[1:] != both[:-1])] if len(both) else both
        return np.divmod(both, max(1, len(self._lengths)))

    def _edits(self, length: int) -> int:
        """Return how many edits two words may be apart, of which the longer has so many letters."""
        return int(length * self._share)

    def _variants(self, words: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """Return hashes of what is left of words, and which word each is of."""
        lengths = np.fromiter(map(len, words), np.intp, len(words))
        hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.intp)]
        for length in sorted(set(lengths.tolist()) - {0}):
            edits = self._edits(length)
            if edits > _DELETIONS:
                continue
            rows = np.flatnonzero(lengths == length)
            text = np.array([words[row] for row in rows.tolist()], f"U{length}")
            letters = text.view(np.uint32).reshape(len(rows), length).astype(np.uint64)
            table = _powers(length, edits)
            hashes.append((letters @ table).ravel())
            owners.append(np.repeat(rows, table.shape[1]))
        return np.concatenate(hashes), np.concatenate(owners)


@cache
def _powers(length: int, edits: int) -> NDArray[np.uint64]:
    """Return by what each letter is multiplied in the hash of each variant, (length, variants).

    A letter that is left out counts 0, and those after it move up.
    """
    columns = []
    for count in range(edits + 1):
        powers = np.cumprod(np.full(length - count, _BASE, np.uint64))
        for kept in combinations(range(length), length - count):
            column = np.zeros(length, np.uint64)
            column[list(kept)] = powers
            columns.append(column)
    return np.array(columns, np.uint64).T.copy()
