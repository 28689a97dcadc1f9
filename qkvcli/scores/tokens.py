"""Token alignment: attention between the words of two texts, and how rare words are among keys.

Every word of the query takes the word of the key that is most like it, and every word of the key
its best of the query (Monge and Elkan 1996; with power means, Jimenez and others 2009; with rare
words counting more, SoftTFIDF: Cohen and others 2003). So the order of words, a missing "Ltd" and
a typing error cost little, and one word beside one word is an edit similarity.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.process import cdist, cpdist

from qkvcli.answer import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qkvcli.scores.near_words import NearWords

POWER = 3
"""Of the power means: likenesses are cubed, so that one word that fits counts more than two that
half do."""
SAME = 0.8
"""From what likeness on a word of the query is taken for the word of the key that it takes, and is
as rare."""
JARO_WINKLER = 0.02
"""How much of the likeness of two words is Jaro-Winkler's, which tells apart what edits do not."""
LEAST = 0.75
"""From what similarity on an index of words that are nearly the same is worth its making."""
SAMPLE = 1 << 16
"""Among how many keys, from the first, words are counted."""
_ROUNDING = 1e-9
_PAIRS = 1 << 19
"""How many pairs of words are compared at a time."""
_BETWEEN = re.compile(r"[\W_]+")
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "TH",
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "ħ": "h",
        "Ħ": "H",
        "\u0131": "i",
    }
)
"""Letters that are no letter and an accent (Unicode has no decomposition of them)."""


def without_accents(texts: list[str]) -> list[str]:
    """Return many strings without diacritics: é as e, ß as ss, ł as l."""
    joined = "\n".join(texts)
    if joined.isascii():
        return texts
    folded = _plain(joined).split("\n")
    return folded if len(folded) == len(texts) else list(map(_plain, texts))


def _plain(text: str) -> str:
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare).translate(_LETTERS)


def words_of(text: str) -> list[str]:
    """Return the words of a text: what stands between white space and punctuation.

    Examples
    --------
    >>> words_of("o'brien & sons, ltd.")
    ['o', 'brien', 'sons', 'ltd']
    """
    return _BETWEEN.sub(" ", text).split()


@dataclass(frozen=True)
class Frequencies:
    """How many of some keys have a feature (a word, or an n-gram).

    Parameters
    ----------
    keys
        How many keys were looked at.
    counts
        How many of them have each feature that more than one has.
    """

    keys: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(features: Iterable[Iterable[str]]) -> Frequencies:
        """Return the frequencies of the features of some keys."""
        found: Counter[str] = Counter()
        keys = 0
        for some in features:
            found.update(set(some))
            keys += 1
        return Frequencies(keys, {text: n for text, n in found.items() if n > 1})

    def weights(self, features: Sequence[str]) -> NDArray[np.float64]:
        """Return log(1 + keys / count) of each feature, its inverse document frequency."""
        counts = np.fromiter((self.counts.get(f, 1) for f in features), np.float64, len(features))
        return np.log1p(max(1, self.keys) / counts)


NOTHING = Frequencies()
"""By which all words are as rare."""


def _split(texts: list[str]) -> Iterable[list[str]]:
    """Return the words of each text, of all in one go where no text has a line end."""
    joined = "\n".join(texts)
    lines = re.sub(r"[^\w\n]+|_+", " ", joined).split("\n")
    return map(str.split, lines) if len(lines) == len(texts) else map(words_of, texts)


def likeness(words: Sequence[str], others: Sequence[str], workers: int = 1) -> NDArray[np.float64]:
    """Return how alike words are, (N, M), each in [0, 1]; 1 for equal words alone.

    It is the normalised similarity of optimal string alignment, in which to swap two neighbours is
    one edit, with a little of Jaro-Winkler's.
    """
    if not words or not others:
        return np.zeros((len(words), len(others)))
    found: NDArray[np.float64] = cdist(
        words, others, scorer=JaroWinkler.normalized_similarity, dtype=np.float64, workers=workers
    )
    found *= JARO_WINKLER
    found += cdist(
        words, others, scorer=OSA.normalized_similarity, dtype=np.float64, workers=workers
    )
    found /= 1 + JARO_WINKLER
    return np.minimum(found, 1.0, out=found)


def explained(query: str, key: str, frequencies: Frequencies) -> Origin:
    """Return where the score of one query and one key comes from, both of them folded."""
    asked, known = sorted(words_of(query)), sorted(words_of(key))
    alike = likeness(asked, known)
    rare = frequencies.weights(known)
    weights = []
    for row in alike:
        near = len(known) > 0 and row.max() > SAME
        rarest = float(frequencies.weights([""])[0])
        weights.append(float(rare[row == row.max()].max()) if near else rarest)
    return Origin(tuple(asked), tuple(known), alike.tolist(), tuple(weights), tuple(rare.tolist()))


class Keys:
    """Keys to be aligned with queries, the words of which are looked at once.

    Parameters
    ----------
    texts
        K strings, folded as they are to be.
    frequencies
        Of words among the keys.
    """

    def __init__(self, texts: list[str], frequencies: Frequencies) -> None:
        self.texts, self._frequencies = texts, frequencies
        self._are_words = not _BETWEEN.search("".join(texts))

    @cached_property
    def _known(self) -> _Words:
        return _Words(self.texts, self._frequencies)

    @cached_property
    def _distinct(self) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
        """The different words, and which keys hold them: ``keys[ends[u] : ends[u + 1]]`` word u."""
        known = self._known
        keys, ends = known.holders
        return known.distinct, known.order[keys], ends

    def alignment(self, queries: list[str], workers: int = 1) -> NDArray[np.float64]:
        """Return the scores (Q, K) of queries, folded as the keys; each is in [0, 1].

        The score is the mean of two power means (Σ w sᵖ / Σ w)^(1/p): over the words of the key,
        and over those of the query; s is the likeness of a word to the one that it takes, w is how
        rare it is. A word of the query is as rare as the one that it takes, where that is nearly
        the same, and else as rare as a word of one key. RapidFuzz may use so many threads.
        """
        asked = [sorted(words_of(query)) for query in queries]
        if self._are_words and all(len(words) == 1 for words in asked):
            found = likeness([words[0] for words in asked], self.texts, workers)
            found[:, [not key for key in self.texts]] = 0.0
            return found
        scores = np.zeros((len(queries), len(self.texts)))
        known = self._known
        step = max(1, _PAIRS // max(1, len(self.texts), len(known.distinct)))
        for part in _parts(asked, step):
            distinct = list(dict.fromkeys(chain.from_iterable(asked[i] for i in part)))
            places = {word: row for row, word in enumerate(distinct)}
            rows = [[places[word] for word in asked[i]] for i in part]
            alike = likeness(distinct, known.distinct, workers)
            scores[part.start : part.stop, known.order] = known.scores(alike, rows)
        _mend_ends(scores, asked, self.texts)
        return scores

    def near(
        self, queries: list[str], least: float, workers: int = 1
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the rows (R,) that may score so much with some query, and their scores (Q, R).

        A power mean is no larger than its largest term. So of texts that score so much two words
        are as alike at least, which an index tells. Scores below ``least`` may be 0.
        """
        asked = [words_of(query) for query in queries]
        distinct = list(dict.fromkeys(chain.from_iterable(asked)))
        _, holders, ends = self._distinct
        mine, theirs = self._index(least).pairs(distinct)
        keys_of: dict[int, list[NDArray[np.intp]]] = {}
        for v, u in zip(mine.tolist(), theirs.tolist(), strict=True):
            keys_of.setdefault(v, []).append(holders[ends[u] : ends[u + 1]])
        found = {v: np.concatenate(parts) for v, parts in keys_of.items()}
        every = [np.empty(0, np.intp), *found.values()]
        if any(not some for some in asked):
            bare = [row for row, text in enumerate(self.texts) if not words_of(text)]
            every.append(np.array(bare, np.intp))
        rows = np.flatnonzero(np.bincount(np.concatenate(every), minlength=len(self.texts)))
        if not self._are_words or any(len(some) != 1 for some in asked):
            few = Keys([self.texts[row] for row in rows.tolist()], self._frequencies)
            return rows, few.alignment(queries, workers)
        places = {word: v for v, word in enumerate(distinct)}
        scores = np.zeros((len(queries), len(rows)))
        of = [found.get(places[some[0]], every[0]) for some in asked]
        at = np.repeat(np.arange(len(of)), [len(part) for part in of])
        to = np.concatenate([every[0], *of])
        texts = [asked[i][0] for i in at.tolist()], [self.texts[row] for row in to.tolist()]
        scores[at, np.searchsorted(rows, to)] = likeness_of_pairs(*texts)
        return rows, scores

    def _index(self, least: float) -> NearWords:
        """Return the index for a score, that of before where it is the same."""
        from qkvcli.scores.near_words import NearWords  # for many queries alone

        similarity = (1 + JARO_WINKLER) * least - JARO_WINKLER  # Jaro-Winkler's is 1 at most
        held: dict[float, NearWords] = vars(self).setdefault("_indexes", {})
        if similarity not in held:
            held.clear()
            held[similarity] = NearWords(self._distinct[0], similarity)
        return held[similarity]


def likeness_of_pairs(words: list[str], others: list[str]) -> NDArray[np.float64]:
    """Return the ``likeness`` of words and others one by one, (N,)."""
    if not words:
        return np.zeros(0)
    found: NDArray[np.float64] = cpdist(
        words, others, scorer=JaroWinkler.normalized_similarity, dtype=np.float64
    )
    found *= JARO_WINKLER
    found += cpdist(words, others, scorer=OSA.normalized_similarity, dtype=np.float64)
    found /= 1 + JARO_WINKLER
    return np.minimum(found, 1.0, out=found)


def _parts(asked: list[list[str]], step: int) -> Iterator[range]:
    """Yield neighbouring queries that have no more than so many words together, or one query."""
    start = total = 0
    for i, words in enumerate(asked):
        if total + len(words) > step and i > start:
            yield range(start, i)
            start, total = i, 0
        total += len(words)
    if asked:
        yield range(start, len(asked))


class _Words:
    """The words of keys, each by its number among all of them, and how rare they are.

    Parameters
    ----------
    texts, frequencies
        As of ``Keys``.

    Attributes
    ----------
    distinct
        The different words, U of them.
    columns
        The first word of every text, the second of those that have two, and so on, as positions in
        ``distinct``, each text's in alphabetical order; texts with more words come first.
    order
        Which text each entry of a column is of.
    """

    def __init__(self, texts: list[str], frequencies: Frequencies) -> None:
        parts = [sorted(words) if len(words) > 1 else words for words in _split(texts)]
        counts = np.fromiter(map(len, parts), np.intp, len(parts))
        flat = list(chain.from_iterable(parts))
        numbers: dict[str, int] = {}
        codes = np.fromiter((numbers.setdefault(w, len(numbers)) for w in flat), np.intp, len(flat))
        self.distinct, self.order = list(numbers), np.argsort(-counts, kind="stable")
        starts, falling = (np.cumsum(counts) - counts)[self.order], counts[self.order]
        self.columns = [
            codes[starts[: np.searchsorted(-falling, -at)] + at]
            for at in range(int(counts.max(initial=0)))
        ]
        self._rare = frequencies.weights(self.distinct)
        self._rarest = float(frequencies.weights([""])[0])
        self._weights = [self._rare[column] for column in self.columns]
        self._total = np.zeros(len(texts))
        for weight in self._weights:
            self._total[: len(weight)] += weight

    @cached_property
    def holders(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which keys hold each word: those of word u are ``keys[ends[u] : ends[u + 1]]``."""
        columns = [np.empty(0, np.intp), *self.columns]
        codes = np.concatenate(columns)
        keys = np.concatenate([np.arange(len(column)) for column in columns])
        ends = np.bincount(codes, minlength=len(self.distinct)).cumsum()
        return keys[np.argsort(codes, kind="stable")], np.concatenate([[0], ends])

    def scores(self, alike: NDArray[np.float64], rows: list[list[int]]) -> NDArray[np.float64]:
        """Return the scores of queries and the keys, those of the most words first.

        Parameters
        ----------
        alike
            The likeness of words of queries to those of keys, (V, U).
        rows
            Which of the V words each query has.
        """
        found = np.zeros((len(rows), len(self._total)))
        columns = self.columns
        if not len(alike) or not columns:
            return found
        cubes = alike**POWER
        taken, weight = self._taken(cubes)
        taken *= weight
        some = slice(0, len(columns[0]))  # the keys that have words
        single = slice(len(columns[1]) if len(columns) > 1 else 0, len(columns[0]))
        for i, of_query in enumerate(rows):
            if of_query:
                above = np.add.reduce(taken[of_query])
                above /= np.add.reduce(weight[of_query])
                of_keys = self._of_keys(np.maximum.reduce(cubes[of_query]))
                found[i, some] = (np.cbrt(above[some]) + np.cbrt(of_keys[some])) / 2
            if len(of_query) == 1:  # beside one word, without rounding
                found[i, single] = alike[of_query[0], columns[0][single]]
        return found

    def _of_keys(self, best: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the words of each key of the best cubed likeness of each word."""
        found = np.zeros_like(self._total)
        for column, weight in zip(self.columns, self._weights, strict=True):
            found[: len(column)] += weight * best[column]
        return np.divide(found, self._total, out=found, where=self._total > 0)

    def _taken(self, cubes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the cubed likeness of the word of each key that a word takes, and its weight."""
        taken = np.zeros((len(cubes), len(self._total)))
        for column in self.columns:
            part = taken[:, : len(column)]
            np.maximum(part, cubes[:, column], out=part)
        weight = np.full_like(taken, self._rarest)
        words, others = np.nonzero(cubes > SAME**POWER)
        keys, ends = self.holders
        # Of words that are as alike, the rarest is the last and stays.
        for at in np.lexsort((self._rare[others], cubes[words, others])).tolist():
            word, other = words[at], others[at]
            holders = keys[ends[other] : ends[other + 1]]
            fits = holders[taken[word, holders] == cubes[word, other]]
            weight[word, fits] = self._rare[other]
        return taken, weight


def _mend_ends(scores: NDArray[np.float64], asked: list[list[str]], keys: list[str]) -> None:
    """Give 1 to texts of the same words, and to no others; texts without a word are the same."""
    for row, words in zip(scores, asked, strict=True):
        if not words:
            row[[not words_of(key) for key in keys]] = 1.0
        for at in np.flatnonzero(row > 1 - _ROUNDING).tolist():
            row[at] = 1.0 if sorted(words_of(keys[at])) == words else np.nextafter(1.0, 0.0)
