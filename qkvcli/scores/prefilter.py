"""How a block of text keys is looked at before it is split: letters counted, bytes found.

A score says what it cannot pass, given how many letters a query and a key have in common. Keys that
cannot reach the best ones known so far are never made strings. One approximate lookup among a
million names takes 0.33 of the time so (AVX-512; 0.38 with AVX2 alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.scores.tokens import JARO_WINKLER, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.key_bytes import KeyBytes

_ROUNDING = 1e-9
"""How far a score may be from what its formula says."""
_BOUNDED = (
    "tokens",
    "indel-winkler",
    "jaro-winkler",
    "osa",
    "indel",
    "levenshtein",
    "damerau-levenshtein",
    "lcs",
    "prefix",
)
"""Scores that ``upper_bounds`` knows; of others the number of letters in common says nothing."""
_LARGEST_TABLE = 1 << 20
"""Of how many counts of letters the bounds are worked out at once, at most."""
BONUS, LETTERS = 0.1, 4
"""Winkler's bonus: this much of what is missing, for each of at most four common first letters."""


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
    if name == "tokens":  # of one word beside one word
        parts = [upper_bounds(one, query, alike, common, keys) for one in ("osa", "jaro-winkler")]
        return (parts[0] + JARO_WINKLER * parts[1]) / (1 + JARO_WINKLER)
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
    words = words_of(query) if name == "tokens" else [query]
    if name not in _BOUNDED or len(words) != 1:
        return np.ones(len(keys.lengths), np.bool_)
    query = words[0]
    # By tokens one word beside one word is bounded, and no other key.
    several = keys.several_words if name == "tokens" else None
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
    return near if several is None else near | several
