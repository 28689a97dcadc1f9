"""Attention by brute force in float64, one pair at a time: what the fold is held against."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import distance
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TEXT = {
    "jaro-winkler": distance.JaroWinkler,
    "indel": distance.Indel,
    "levenshtein": distance.Levenshtein,
    "damerau-levenshtein": distance.DamerauLevenshtein,
    "lcs": distance.LCSseq,
    "prefix": distance.Prefix,
}


def text_score(name: str, query: str, key: str, *, case_sensitive: bool = False) -> float:
    """Return one text score, by RapidFuzz called for one pair."""
    if not case_sensitive:
        query, key = query.casefold(), key.casefold()
    if name != "indel-winkler":
        return float(_TEXT[name].normalized_similarity(query, key))
    ratio = distance.Indel.normalized_similarity(query, key)
    common = 0
    for a, b in zip(query, key, strict=False):
        if a != b:
            break
        common += 1
    return float(ratio + 0.1 * min(common, 4) * (1 - ratio))


def text_scores(
    name: str, queries: Sequence[str], keys: Sequence[str], *, case_sensitive: bool = False
) -> NDArray[np.float64]:
    """Return text scores (Q, K)."""
    return np.array(
        [[text_score(name, q, k, case_sensitive=case_sensitive) for k in keys] for q in queries]
    )


def vector_score(
    name: str, query: NDArray[Any], key: NDArray[Any], width: Sequence[float] | float = 1.0
) -> float:
    """Return one vector score by its formula."""
    q, k = [float(x) for x in query], [float(x) for x in key]
    dot = math.fsum(a * b for a, b in zip(q, k, strict=True))
    if name == "dot":
        return dot
    if name == "scaled-dot":
        return dot / math.sqrt(len(q))
    if name == "cosine":
        lengths = math.hypot(*q) * math.hypot(*k)
        return dot / lengths if lengths else 0.0
    h = np.broadcast_to(width, len(q)).tolist()
    far = math.hypot(*((a - b) / c for a, b, c in zip(q, k, h, strict=True)))
    kernel = {
        "boxcar": float(far <= 1),
        "triangular": max(0.0, 1 - far),
        "epanechnikov": max(0.0, 1 - far * far),
    }
    if name in kernel:
        return math.log(kernel[name]) if kernel[name] > 0 else -math.inf
    return {"gaussian": -far * far / 2, "laplacian": -far}[name]


def vector_scores(
    name: str, queries: NDArray[Any], keys: NDArray[Any], width: Sequence[float] | float = 1.0
) -> NDArray[np.float64]:
    """Return vector scores (Q, K)."""
    return np.array([[vector_score(name, q, k, width) for k in keys] for q in queries])


def weights(
    scores: NDArray[np.float64],
    mode: str,
    temperature: float = 1.0,
    neighbors: int | None = None,
    equal: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return the weights (Q, K) of scores (Q, K); a row that attends to nothing is 0.

    A score of −∞ is a key that may not be attended to, whatever the mode.
    """
    shown = np.isfinite(scores)
    found = np.zeros_like(scores)
    for row in range(len(scores)):
        kept = shown[row].copy()
        if mode == "exact":
            assert equal is not None
            kept &= equal[row]
        if mode == "approximate" or (mode == "softmax" and neighbors):
            order = sorted(np.flatnonzero(kept), key=lambda i: (-scores[row, i], i))
            kept = np.isin(np.arange(len(kept)), order[: neighbors or 1])
        if not kept.any():
            continue
        logits = scores[row, kept] / temperature if mode == "softmax" else np.zeros(kept.sum())
        found[row, kept] = special.softmax(logits)
    return found


def perplexity(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(entropy) of each row of weights; NaN where there are none."""
    return np.where(rows.any(axis=1), np.exp(special.entr(rows).sum(axis=1)), np.nan)


def pooled(rows: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weighted means (Q, Dv), NaN where there are no weights."""
    means = rows @ values.astype(np.float64).reshape(len(values), -1)
    return np.where(rows.sum(axis=1, keepdims=True) > 0, means, np.nan)


def one_hot(texts: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the distinct texts by first occurrence, and each row's indicator (K, C)."""
    labels = list(dict.fromkeys(texts))
    return labels, np.array([[float(text == label) for label in labels] for text in texts])
