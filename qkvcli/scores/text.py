"""Scores of text in [0, 1], by RapidFuzz's C++ in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz.distance import (
    DamerauLevenshtein,
    Indel,
    JaroWinkler,
    LCSseq,
    Levenshtein,
    Prefix,
)
from rapidfuzz.process import cdist, cpdist

from qkvcli.blocks import casefold_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SCORERS: dict[str, Any] = {
    "jaro-winkler": JaroWinkler.normalized_similarity,
    "indel": Indel.normalized_similarity,
    "levenshtein": Levenshtein.normalized_similarity,
    "damerau-levenshtein": DamerauLevenshtein.normalized_similarity,
    "lcs": LCSseq.normalized_similarity,
    "prefix": Prefix.normalized_similarity,
}
# Winkler's bonus: this much of what is missing, for each of at most four common first letters.
_BONUS, _LETTERS = 0.1, 4


def text_scores(  # noqa: PLR0913 - one argument for each thing that a score depends on
    name: str,
    queries: list[str],
    keys: list[str],
    case_sensitive: bool,  # noqa: FBT001
    cutoff: NDArray[np.float64] | float = 0.0,
    *,
    workers: int = 1,
) -> NDArray[np.float64]:
    """Score every query against every key.

    Parameters
    ----------
    name
        A text score.
    queries, keys
        Q and K strings.
    case_sensitive
        Whether to score them as they are rather than case-folded.
    cutoff
        One for each query (Q,) or for all. Scores surely below it may come out as less than they
        are, which saves work.
    workers
        How many threads may share the queries.

    Returns
    -------
    ndarray
        The scores, float64 of shape (Q, K), each in [0, 1].

    Notes
    -----
    ``indel-winkler`` is the normalised Indel similarity r with the prefix bonus of Winkler (1990):
    r + 0.1 · min(p, 4) · (1 − r) for a common prefix of p letters.
    """
    if not queries or not keys:
        return np.zeros((len(queries), len(keys)))
    if not case_sensitive:
        queries, keys = casefold_all(queries), casefold_all(keys)
    threads = workers if len(queries) > 1 else 1
    if name != "indel-winkler":
        lower = max(0.0, float(np.min(cutoff)) - 1e-5)
        return _matrix(_SCORERS[name], queries, keys, lower, threads)
    # The bonus is at most 0.4 of 1 − r, so a score of c needs r of at least (c − 0.4) / 0.6.
    most = _BONUS * _LETTERS
    needed = np.maximum(0.0, (np.asarray(cutoff) - most) / (1 - most) - 1e-5)
    scores = _matrix(Indel.normalized_similarity, queries, keys, float(needed.min()), threads)
    if needed.any():
        # The others stay below the cut-off, bonus or not; comparing first is ten times as fast.
        at = np.flatnonzero(scores >= needed.reshape(-1, 1))
        if len(at) < scores.size // 8:
            _add_bonus_at(at, scores, queries, keys)
            return scores
    prefix = _matrix(Prefix.similarity, queries, keys, 0, threads)
    _add_bonus(scores, prefix)
    return scores


def ceilings(
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
    bonus = _BONUS * _LETTERS * alike if name.endswith("winkler") else 0.0 * alike
    return np.where(keys + query > 0, most + bonus * (1 - most), 1.0)  # two empty texts are alike


def _add_bonus_at(
    at: NDArray[np.intp], scores: NDArray[np.float64], queries: list[str], keys: list[str]
) -> None:
    rows, columns = np.divmod(at, len(keys))
    prefix: NDArray[np.float64] = cpdist(
        [queries[row] for row in rows.tolist()],
        [keys[column] for column in columns.tolist()],
        scorer=Prefix.similarity,
        dtype=np.float64,
    )
    some = scores[rows, columns]
    _add_bonus(some, prefix)
    scores[rows, columns] = some


def _add_bonus(scores: NDArray[np.float64], prefix: NDArray[np.float64]) -> None:
    """Add Winkler's bonus for common prefixes of these lengths, in place; both are overwritten."""
    np.minimum(prefix, _LETTERS, out=prefix)
    prefix *= _BONUS
    prefix *= 1 - scores
    scores += prefix


def _matrix(
    scorer: Any,  # noqa: ANN401 - one of RapidFuzz's, which share no type
    queries: list[str],
    keys: list[str],
    cutoff: float,
    workers: int,
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = cdist(
        queries, keys, scorer=scorer, score_cutoff=cutoff, dtype=np.float64, workers=workers
    )
    return found
