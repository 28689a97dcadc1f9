"""Features of pairs of texts, of which a learned score is made, and which pairs are worth them.

Every feature is a number from 0 to 1, and 1 for equal texts. Word by word the likeness is that of
token alignment; whole texts are compared as RapidFuzz does. As the features of a pair cost some
microseconds, only candidates get them: of each query the best keys of a block by what two texts
have in common, in pieces of letters and in words that are nearly the same.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, JaroWinkler, Prefix
from rapidfuzz.process import cpdist

from qkvcli.scores.near_words import NearWords
from qkvcli.scores.ngrams import grams_of
from qkvcli.scores.tokens import LEAST, POWER, SAME, Frequencies, likeness_of_pairs, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

FEATURES = {
    "tokens": "token alignment with rare words counting more, the score of this name",
    "tokens-plain": "the same with all words counting alike",
    "query-tokens": "the power mean over the words of the query",
    "key-tokens": "the power mean over the words of the key",
    "query-mean": "the plain mean over the words of the query, rare words counting more",
    "key-mean": "the plain mean over the words of the key, rare words counting more",
    "query-worst": "the word of the query that fits least",
    "key-worst": "the word of the key that fits least",
    "query-rarest": "the rarest word of the query; of several the one that fits least",
    "key-rarest": "the rarest word of the key; of several the one that fits best",
    "words": "the cosine of TF-IDF vectors of words",
    "ngrams": "the cosine of TF-IDF vectors of pieces of 2 to 4 letters, the score of this name",
    "head-ngrams": "the same of what stands before a bracket, a comma or a colon",
    "joined-ngrams": "the same of words written together",
    "osa": "edits of the whole text",
    "jaro-winkler": "the score of this name, of the whole text",
    "token-sort": "RapidFuzz's ratio of sorted words",
    "token-set": "RapidFuzz's ratio of sets of words",
    "prefix": "the common beginning",
    "length": "the shorter length divided by the longer",
    "first-word": "how alike the first words are",
    "head-equal": "whether what stands before a bracket, a comma or a colon is equal",
    "head-prefix": "the common beginning, where that is so",
    "head-sort": "RapidFuzz's ratio of sorted words of what stands there",
    "initials": "whether a word of one text is the initials of the other",
    "query-digits": "whether every word of the query with a digit is in the key",
    "key-digits": "whether every word of the key with a digit is in the query",
    "digits": "whether one of these two holds",
}
"""What a learned score may be made of, and what each is."""
CANDIDATES = 50
"""How many keys of a block are candidates by pieces of letters, and how many by words."""
_CELLS = 1 << 18
"""How many pairs of a query and a key are looked at at a time."""
_PAIRS = 1 << 13
"""How many pairs have their features worked out at a time."""
_HEAD = re.compile(r"\s*([^(,:\[]*[^(,:\[\s])\s*[(,:\[]")
_EQUAL = 1 - 1e-9
_NO_WORD = "\0"
"""Stands for the words of a text that has none."""


def head_of(text: str) -> str:
    """Return what stands before a bracket, a comma or a colon.

    Examples
    --------
    >>> head_of("itv (tv network)")
    'itv'
    """
    found = _HEAD.match(text)
    return found[1] if found else text


def pieces_of(text: str) -> set[str]:
    """Return all pieces of letters of a text, of its head and of its words written together."""
    words = words_of(text)
    parts = text, "".join(words), " ".join(words_of(head_of(text)))
    return {piece for part in parts for piece in grams_of(part)}


class Texts:
    """Texts, folded as they are to be, with what features look at worked out once.

    Parameters
    ----------
    texts
        N strings.
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.words = [words_of(text) or [_NO_WORD] for text in texts]
        self.counts = np.fromiter(map(len, self.words), np.intp, len(texts))
        self.starts = np.cumsum(self.counts) - self.counts

    @cached_property
    def heads(self) -> list[str]:
        """The words of what stands before a bracket, a comma or a colon."""
        return [" ".join(words_of(head_of(text))) for text in self.texts]

    @cached_property
    def spaced(self) -> list[str]:
        """The words, with a space between."""
        return [" ".join(some) for some in self.words]

    @cached_property
    def joined(self) -> list[str]:
        """The words, written together."""
        return ["".join(some) for some in self.words]

    @cached_property
    def initials(self) -> list[str]:
        """The first letters of words, where there are several."""
        return ["".join(w[0] for w in some) if len(some) > 1 else "" for some in self.words]

    @cached_property
    def lengths(self) -> Places:
        """How many letters each has."""
        return np.fromiter(map(len, self.texts), np.intp, len(self.texts))


class Keys(Texts):
    """The keys of a block, ready to be compared with queries.

    Parameters
    ----------
    texts
        K strings, folded as they are to be.
    words, grams
        How many keys of the database have each word and each piece of letters.
    """

    def __init__(self, texts: list[str], words: Frequencies, grams: Frequencies) -> None:
        super().__init__(texts)
        self._of_words, self._of_grams = words, grams

    def index_words(self) -> None:
        """Work out what finds candidates, before threads would each do so."""
        if len(self.texts) > CANDIDATES:
            _ = self._index, self._grams.transposed, self._holders

    def candidates(self, queries: Texts, most: int = CANDIDATES) -> tuple[Places, Places]:
        """Return pairs of queries and rows that are worth a score, by query and then by row.

        Parameters
        ----------
        queries
            Q texts.
        most
            How many rows of each query by pieces of letters, and how many by words.
        """
        count = len(self.texts)
        if count <= most:
            every = np.arange(len(queries.texts) * count)
            return np.divmod(every, max(1, count))
        at: list[Places] = [np.empty(0, np.intp)]
        to: list[Places] = [np.empty(0, np.intp)]
        step = max(1, _CELLS // count)
        by_words, by_grams = self._soft(queries), self._grams.of(queries.texts)
        for start in range(0, len(queries.texts), step):
            some = slice(start, start + step)
            near = np.zeros((len(queries.texts[some]), count), np.bool_)
            for scores in (
                (by_grams[some] @ self._grams.transposed).toarray(),
                (by_words[some] @ self._holders).toarray(),
            ):
                best = np.argpartition(-scores, most - 1, axis=1)[:, :most]
                np.put_along_axis(near, best, values=True, axis=1)
            rows, columns = np.nonzero(near)
            at.append(rows + start)
            to.append(columns)
        return np.concatenate(at), np.concatenate(to)

    def features(
        self,
        queries: Texts,
        at: Places,
        to: Places,
        names: Sequence[str],
        dtype: type[np.floating] = np.float64,
    ) -> NDArray[np.floating]:
        """Return the features (N, F) of N pairs of queries and rows.

        Parameters
        ----------
        queries
            Q texts.
        at, to
            The query and the row of each pair.
        names
            Which of ``FEATURES``.
        dtype
            What they are kept in.
        """
        found = np.empty((len(at), len(names)), dtype)
        vectors = {
            name: (found.of(getattr(queries, kind)), found.matrix)
            for name, (found, kind) in self._cuts(names).items()
        }
        for start in range(0, len(at), _PAIRS):
            some = slice(start, start + _PAIRS)
            pairs = _Pairs(queries, self, at[some], to[some], vectors)
            for column, name in enumerate(names):
                found[some, column] = pairs.feature(name)
        np.clip(found, 0, 1, out=found)
        found[found > _EQUAL] = 1.0  # of rounding
        return found

    def rare(self, words: Sequence[str]) -> Floats:
        """Return how rare words are."""
        return self._of_words.weights(words)

    def _cuts(self, names: Sequence[str]) -> dict[str, tuple[_Vectors, str]]:
        """Return by their names the features that are cosines, and of which texts they are."""
        found: dict[str, tuple[_Vectors, str]] = {}
        if "ngrams" in names:
            found["ngrams"] = self._grams, "texts"
        if "words" in names:
            found["words"] = self._words, "spaced"
        if "head-ngrams" in names:
            found["head-ngrams"] = self._head_grams, "heads"
        if "joined-ngrams" in names:
            found["joined-ngrams"] = self._joined_grams, "joined"
        return found

    @cached_property
    def _head_grams(self) -> _Vectors:
        return _Vectors(self.heads, grams_of, self._of_grams)

    @cached_property
    def _joined_grams(self) -> _Vectors:
        return _Vectors(self.joined, grams_of, self._of_grams)

    @cached_property
    def _grams(self) -> _Vectors:
        return _Vectors(self.texts, grams_of, self._of_grams)

    @cached_property
    def _words(self) -> _Vectors:
        return _Vectors(self.spaced, str.split, self._of_words)

    @cached_property
    def _index(self) -> NearWords:
        return NearWords(list(self._words.places), LEAST)

    @cached_property
    def _holders(self) -> Any:  # noqa: ANN401 - a sparse matrix
        """The keys' vectors of words, (U, K)."""
        return self._words.transposed

    def _soft(self, queries: Texts) -> Any:  # noqa: ANN401 - a sparse matrix
        """Return queries as vectors (Q, U) of the keys' words that are nearly theirs."""
        from scipy.sparse import csr_array

        known = list(self._words.places)
        distinct = list(dict.fromkeys(word for some in queries.words for word in some))
        mine, theirs = self._index.pairs(distinct)
        alike = likeness_of_pairs(
            [distinct[i] for i in mine.tolist()], [known[i] for i in theirs.tolist()]
        )
        alike = alike**POWER * self.rare(known)[theirs]
        near = csr_array((alike, (mine, theirs)), (len(distinct), len(known)))
        place = {word: i for i, word in enumerate(distinct)}
        codes = np.array([place[word] for some in queries.words for word in some], np.intp)
        ends = np.append(queries.starts, len(codes))
        return csr_array((np.ones(len(codes)), codes, ends), (len(ends) - 1, len(distinct))) @ near


class _Vectors:
    """Keys as TF-IDF vectors of length 1, in sparse matrices."""

    def __init__(
        self, texts: list[str], cut: Callable[[str], list[str]], frequencies: Frequencies
    ) -> None:
        self._cut, self._frequencies = cut, frequencies
        self.places: dict[str, int] = {}
        self._rare = np.empty(0)
        self.matrix = self._made(texts, grow=True)

    @cached_property
    def transposed(self) -> Any:  # noqa: ANN401 - a sparse matrix
        """The keys' vectors as columns, (features, K)."""
        return self.matrix.T.tocsr()

    def of(self, texts: list[str]) -> Any:  # noqa: ANN401 - a sparse matrix
        """Return the vectors of queries; what no key has counts in their lengths alone."""
        return self._made(texts, grow=False)

    def _made(self, texts: list[str], *, grow: bool) -> Any:  # noqa: ANN401
        from scipy.sparse import csr_array  # 100 ms

        # Codes as they come: pieces kept as strings would take a gigabyte.
        codes, counts, starts = array("i"), array("i"), array("q", [0])
        known, new = self.places, defaultdict[str, int](count(len(self.places)).__next__)
        for text in texts:
            found = Counter(self._cut(text))
            codes.extend([known[piece] if piece in known else new[piece] for piece in found])
            counts.extend(found.values())
            starts.append(len(codes))
        rare = np.concatenate([self._rare, self._frequencies.weights(list(new))])
        if grow:
            self.places, self._rare = dict(new), rare
        where, ends = np.frombuffer(codes, np.intc), np.array(starts)
        weights = np.frombuffer(counts, np.intc) * rare[where]
        owners = np.repeat(np.arange(len(texts)), np.diff(ends))
        lengths = np.sqrt(np.bincount(owners, weights * weights, len(texts)))
        weights /= np.maximum(lengths, 1e-300)[owners]
        inside = where < len(self.places)
        ends = np.append(0, np.cumsum(inside))[ends]
        shape = len(texts), len(self.places)
        made = csr_array((weights[inside], where[inside], ends), shape)
        made.sort_indices()
        return made


def _row_products(queries: Any, keys: Any, at: Places, to: Places) -> Floats:  # noqa: ANN401
    """Return the products of rows of two sparse matrices, one by one."""
    found: Floats = np.asarray(queries[at].multiply(keys[to]).sum(axis=1), np.float64).ravel()
    return found


class _Pairs:
    """Pairs of texts, with what several features share worked out once."""

    def __init__(
        self,
        queries: Texts,
        keys: Keys,
        at: Places,
        to: Places,
        vectors: Mapping[str, tuple[Any, Any]],
    ) -> None:
        self._queries, self._keys, self._at, self._to = queries, keys, at, to
        self._vectors = vectors

    def feature(self, name: str) -> Floats:
        """Return a feature by its name, (N,)."""
        whole: dict[str, Any] = {
            "osa": OSA.normalized_similarity,
            "jaro-winkler": JaroWinkler.normalized_similarity,
            "prefix": Prefix.normalized_similarity,
        }
        if name in whole:
            return _each(self._texts("texts"), whole[name])
        if name in ("token-sort", "token-set"):
            scorer = fuzz.token_sort_ratio if name == "token-sort" else fuzz.token_set_ratio
            return self._or_equal(_each(self._texts("texts"), scorer) / 100)
        if name in self._vectors:
            return _row_products(*self._vectors[name], self._at, self._to)
        if name == "head-sort":
            return self._or_equal(_each(self._texts("heads"), fuzz.token_sort_ratio) / 100)
        side, _, of_side = name.partition("-")
        if side in ("query", "key"):
            words = self._alignment.sides[side == "key"]
            found: Floats = getattr(words, of_side)()
        else:
            found = getattr(self, f"_{name.replace('-', '_')}")()
        return found

    def _texts(self, kind: str) -> tuple[list[str], list[str]]:
        mine, theirs = getattr(self._queries, kind), getattr(self._keys, kind)
        return [mine[i] for i in self._at.tolist()], [theirs[i] for i in self._to.tolist()]

    def _or_equal(self, found: Floats) -> Floats:
        """Return 1 for equal texts, also for those that RapidFuzz finds empty."""
        found[[a == b for a, b in zip(*self._texts("texts"), strict=True)]] = 1.0
        return found

    def _tokens(self) -> Floats:
        queries, keys = self._alignment.sides
        return (queries.tokens() + keys.tokens()) / 2

    def _tokens_plain(self) -> Floats:
        queries, keys = self._alignment.sides
        return (queries.tokens(plain=True) + keys.tokens(plain=True)) / 2

    def _digits(self) -> Floats:
        queries, keys = self._alignment.sides
        return np.maximum(queries.digits(), keys.digits())

    def _first_word(self) -> Floats:
        found: Floats = self._alignment.first
        return found

    def _length(self) -> Floats:
        mine, theirs = self._queries.lengths[self._at], self._keys.lengths[self._to]
        longer = np.maximum(mine, theirs)
        return np.where(longer > 0, np.minimum(mine, theirs) / np.maximum(longer, 1), 1.0)

    def _head_equal(self) -> Floats:
        return np.array([a == b for a, b in zip(*self._texts("heads"), strict=True)], np.float64)

    def _head_prefix(self) -> Floats:
        found: Floats = self._head_equal() * self.feature("prefix")
        return found

    def _initials(self) -> Floats:
        letters = zip(*self._texts("initials"), strict=True)
        words = zip(*self._texts("words"), strict=True)
        found = [
            (a in theirs) or (b in mine)
            for (a, b), (mine, theirs) in zip(letters, words, strict=True)
        ]
        return self._or_equal(np.array(found, np.float64))

    @cached_property
    def _alignment(self) -> _Alignment:
        return _Alignment(self._queries, self._keys, self._at, self._to)


def _each(texts: tuple[list[str], list[str]], scorer: Any) -> Floats:  # noqa: ANN401
    found: Floats = cpdist(*texts, scorer=scorer, dtype=np.float64)
    return found


class _Side:
    """The words of one side of pairs: the likeness of what each takes, and how rare it is.

    Parameters
    ----------
    starts
        Where the words of each pair begin.
    taken, weight
        Of each word.
    has_digit
        Whether a word has a digit.
    tie
        Of several words that are the rarest, which likeness is theirs: the least or the largest.
    """

    def __init__(
        self,
        starts: Places,
        taken: Floats,
        weight: Floats,
        has_digit: NDArray[np.bool_],
        tie: np.ufunc,
    ) -> None:
        self._starts, self._taken, self._weight = starts, taken, weight
        self._has_digit, self._tie = has_digit, tie

    def _sum(self, numbers: Floats) -> Floats:
        found: Floats = np.add.reduceat(numbers, self._starts)
        return found

    def tokens(self, *, plain: bool = False) -> Floats:
        """Return (Σ w s³ / Σ w)^⅓."""
        weight = np.ones_like(self._weight) if plain else self._weight
        found: Floats = np.cbrt(self._sum(weight * self._taken**POWER) / self._sum(weight))
        return found

    def mean(self) -> Floats:
        """Return Σ w s / Σ w."""
        found: Floats = self._sum(self._weight * self._taken) / self._sum(self._weight)
        return found

    def worst(self) -> Floats:
        """Return the least likeness."""
        found: Floats = np.minimum.reduceat(self._taken, self._starts)
        return found

    def rarest(self) -> Floats:
        """Return the likeness of the rarest word."""
        most = np.maximum.reduceat(self._weight, self._starts)
        counts = np.diff(np.append(self._starts, len(self._weight)))
        rare = self._weight >= np.repeat(most, counts) - 1e-12
        neither = 1.0 if self._tie is np.minimum else 0.0
        found: Floats = self._tie.reduceat(np.where(rare, self._taken, neither), self._starts)
        return found

    def digits(self) -> Floats:
        """Return 1 where every word with a digit takes one that is equal, else 0."""
        differ = self._sum((self._has_digit & (self._taken < _EQUAL)).astype(np.float64))
        found: Floats = (differ == 0).astype(np.float64)
        return found


class _Alignment:
    """The words of pairs side by side."""

    def __init__(self, queries: Texts, keys: Keys, at: Places, to: Places) -> None:
        numbers: dict[str, int] = {}
        asked, known = _Few(queries, at), _Few(keys, to)
        codes = [
            np.array([numbers.setdefault(w, len(numbers)) for w in some.words], np.intp)
            for some in (asked, known)
        ]
        words = list(numbers)
        mine, theirs = asked.counts, known.counts
        counts = mine * theirs
        pair = np.repeat(np.arange(len(at)), counts)
        place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
        row, column = np.divmod(place, theirs[pair])
        a = codes[0][asked.starts[pair] + row]
        b = codes[1][known.starts[pair] + column]
        distinct, inverse = np.unique(a * len(words) + b, return_inverse=True)
        left, right = np.divmod(distinct, max(1, len(words)))
        alike = likeness_of_pairs(
            [words[i] for i in left.tolist()], [words[i] for i in right.tolist()]
        )[inverse]
        rare, rarest = keys.rare(words), float(keys.rare([""])[0])
        has_digit = np.array([any(c.isdigit() for c in word) for word in words], np.bool_)
        self.first = alike[np.cumsum(counts) - counts]

        rows = np.flatnonzero(column == 0)
        best = np.maximum.reduceat(alike, rows)
        took = np.maximum.reduceat(
            np.where(alike == np.repeat(best, theirs[pair[rows]]), rare[b], 0.0), rows
        )
        of_query = np.where(best > SAME, took, rarest)
        order = np.lexsort((row, column, pair))
        columns = np.flatnonzero(row[order] == 0)
        of_key = np.maximum.reduceat(alike[order], columns)
        self.sides = (
            _Side(np.cumsum(mine) - mine, best, of_query, has_digit[a[rows]], np.minimum),
            _Side(
                np.cumsum(theirs) - theirs,
                of_key,
                rare[b[order][columns]],
                has_digit[b[order][columns]],
                np.maximum,
            ),
        )


class _Few:
    """The words of the texts that some pairs are of."""

    def __init__(self, texts: Texts, of: Places) -> None:
        distinct, inverse = np.unique(of, return_inverse=True)
        counts = texts.counts[distinct]
        self._texts, self._distinct = texts, distinct
        self.counts = counts[inverse]
        self.starts = (np.cumsum(counts) - counts)[inverse]

    @property
    def words(self) -> Iterator[str]:
        """The words of each different text, one text after the other."""
        return (word for i in self._distinct.tolist() for word in self._texts.words[i])
