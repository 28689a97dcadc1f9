"""TF-IDF of character n-grams: the cosine of what short pieces two texts have in common."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.scores.tokens import Frequencies

SIZES = (2, 3, 4)
"""How many letters a piece has."""


def grams_of(text: str) -> list[str]:
    """Return the pieces of two to four letters of a text, with a space at either end.

    Examples
    --------
    >>> grams_of("li")
    [' l', 'li', 'i ', ' li', 'li ', ' li ']
    """
    padded = f" {' '.join(text.split())} "
    return [padded[i : i + n] for n in SIZES for i in range(len(padded) - n + 1)]


def tf_idf(queries: list[str], keys: list[str], frequencies: Frequencies) -> NDArray[np.float64]:
    """Return the cosine (Q, K) of texts as vectors of counts of pieces times their rarity.

    Parameters
    ----------
    queries, keys
        Q and K strings, folded as they are to be.
    frequencies
        Of pieces among the keys.
    """
    from scipy.sparse import csr_array  # 100 ms

    places: dict[str, int] = {}
    parts = []
    for texts in (queries, keys):
        starts, codes = [0], list[int]()
        counts: list[int] = []
        for text in texts:
            pieces = Counter(grams_of(text))
            codes += [places.setdefault(piece, len(places)) for piece in pieces]
            counts += pieces.values()
            starts.append(len(codes))
        parts.append((np.array(counts, np.float64), np.array(codes, np.intp), np.array(starts)))
    rare = frequencies.weights(list(places))
    vectors = []
    for times, where, ends in parts:
        weights = times * rare[where]
        lengths = np.sqrt(np.add.reduceat(weights * weights, ends[:-1]))
        weights /= np.repeat(lengths, np.diff(ends))
        vectors.append(csr_array((weights, where, ends), (len(ends) - 1, len(places))))
    found: NDArray[np.float64] = (vectors[0] @ vectors[1].T).toarray()
    found[found > 1 - 1e-12] = 1.0  # of rounding
    return found
