"""Attention by brute force in float64, one pair at a time: what the fold is held against."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import distance, fuzz
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_TEXT = {
    "jaro-winkler": distance.JaroWinkler,
    "indel": distance.Indel,
    "levenshtein": distance.Levenshtein,
    "osa": distance.OSA,
    "damerau-levenshtein": distance.DamerauLevenshtein,
    "lcs": distance.LCSseq,
    "prefix": distance.Prefix,
}


_DIACRITICS = (
    (0x300, 0x36F),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)
_OTHER = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
_OTHER |= {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"}
_OTHER |= {"ħ": "h", "Ħ": "H", "\u0131": "i"}


def folded(text: str, *, case_sensitive: bool = False) -> str:
    """Return a text without case and diacritics, letter by letter."""
    text = unicodedata.normalize("NFKD", text if case_sensitive else text.casefold())
    kept = (c for c in text if not any(low <= ord(c) <= high for low, high in _DIACRITICS))
    return "".join(_OTHER.get(c, c) for c in unicodedata.normalize("NFC", "".join(kept)))


def words(text: str) -> list[str]:
    """Return the runs of letters, digits and what belongs to them."""
    return "".join(c if c.isalnum() else " " for c in text).split()


def text_score(
    name: str,
    query: str,
    key: str,
    *,
    case_sensitive: bool = False,
    rarity: Callable[[str], float] = lambda _: 1.0,
) -> float:
    """Return one text score, by RapidFuzz called for one pair; ``rarity`` is of words or pieces."""
    query, key = (folded(text, case_sensitive=case_sensitive) for text in (query, key))
    if name == "tokens":
        return _alignment(words(query), words(key), rarity)
    if name == "ngrams":
        return _cosine(pieces(query), pieces(key), rarity)
    if name.startswith("token-"):
        of_words = fuzz.token_sort_ratio if name == "token-sort" else fuzz.token_set_ratio
        return of_words(query, key) / 100 if query or key else 1.0
    if name != "indel-winkler":
        return float(_TEXT[name].normalized_similarity(query, key))
    ratio = distance.Indel.normalized_similarity(query, key)
    common = 0
    for a, b in zip(query, key, strict=False):
        if a != b:
            break
        common += 1
    return float(ratio + 0.1 * min(common, 4) * (1 - ratio))


def _alignment(query: list[str], key: list[str], rarity: Callable[[str], float]) -> float:
    if not query or not key:
        return float(query == key)
    if sorted(query) == sorted(key):
        return 1.0

    def alike(a: str, b: str) -> float:
        osa = distance.OSA.normalized_similarity(a, b)
        return float((osa + 0.02 * distance.JaroWinkler.normalized_similarity(a, b)) / 1.02)

    of_key = [(max(alike(a, b) for a in query), rarity(b)) for b in key]
    of_query = []
    for a in query:
        best, rare = max((alike(a, b), rarity(b)) for b in key)
        of_query.append((best, rare if best > 0.8 else rarity("\0")))
    means = [
        (sum(w * s**3 for s, w in side) / sum(w for _, w in side)) ** (1 / 3)
        for side in (of_key, of_query)
    ]
    return float(sum(means) / 2)


def pieces(text: str) -> Counter[str]:
    """Return how often each piece of two to four letters stands in a text between spaces."""
    text = f" {' '.join(text.split())} "
    return Counter(text[at : at + n] for n in (2, 3, 4) for at in range(len(text) - n + 1))


def _cosine(a: Counter[str], b: Counter[str], rarity: Callable[[str], float]) -> float:
    def product(x: Counter[str], y: Counter[str]) -> float:
        return math.fsum(x[p] * y[p] * rarity(p) ** 2 for p in x if p in y)

    return product(a, b) / math.sqrt(product(a, a) * product(b, b))


def rarity_among(name: str, keys: Sequence[str], **how: bool) -> Callable[[str], float]:
    """Return log(1 + keys / how many of them have it) of words or pieces."""
    split = pieces if name == "ngrams" else words
    found = [set(split(folded(key, **how))) for key in keys]
    several = any(len(words(folded(key, **how))) > 1 for key in keys)
    if name != "ngrams" and not several:
        return lambda _: 1.0
    counts = Counter(part for parts in found for part in parts)
    return lambda part: math.log(1 + len(keys) / max(1, counts[part]))


def text_scores(
    name: str,
    queries: Sequence[str],
    keys: Sequence[str],
    *,
    case_sensitive: bool = False,
    rarity: Callable[[str], float] = lambda _: 1.0,
) -> NDArray[np.float64]:
    """Return text scores (Q, K)."""
    how: Any = {"case_sensitive": case_sensitive, "rarity": rarity}
    return np.array([[text_score(name, q, k, **how) for k in keys] for q in queries])


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
