"""Scores of text in [0, 1], by RapidFuzz's C++ in bulk."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import fuzz
from rapidfuzz.distance import (
    OSA,
    DamerauLevenshtein,
    Indel,
    JaroWinkler,
    LCSseq,
    Levenshtein,
    Prefix,
)
from rapidfuzz.process import cdist, cpdist

from qkvcli.answer import Origin
from qkvcli.blocks import casefold_all
from qkvcli.scores import WEIGHTED, Tile
from qkvcli.scores.ngrams import grams_of, tf_idf
from qkvcli.scores.prefilter import BONUS, LETTERS, may_reach
from qkvcli.scores.tokens import (
    LEAST,
    NOTHING,
    SAMPLE,
    Frequencies,
    Keys,
    explained,
    without_accents,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Queries

_SCORERS: dict[str, Any] = {
    "jaro-winkler": JaroWinkler.normalized_similarity,
    "indel": Indel.normalized_similarity,
    "levenshtein": Levenshtein.normalized_similarity,
    "osa": OSA.normalized_similarity,
    "damerau-levenshtein": DamerauLevenshtein.normalized_similarity,
    "lcs": LCSseq.normalized_similarity,
    "prefix": Prefix.normalized_similarity,
}
_RATIOS: dict[str, Any] = {
    "token-sort": fuzz.token_sort_ratio,
    "token-set": fuzz.token_set_ratio,
}
"""These are in hundredths."""
_kept = threading.local()
_PAIRS = 1 << 21
"""How many pairs of texts are scored at a time."""
_LOOKS, _FEW = 8, 8
"""For up to how many queries a block is looked at before it is split, and what part of its rows
is few."""


@dataclass(frozen=True)
class TextScore:
    """A score of text.

    Parameters
    ----------
    name
        One of ``qkvcli.scores.TEXT_SCORES``.
    case_sensitive, keep_accents
        Whether case and diacritics count; by default text is folded first.
    frequencies
        How many keys have each word or n-gram, for the scores by which rare ones count more.
    workers
        How many threads RapidFuzz may use over the queries; the scores do not depend on it.

    Notes
    -----
    ``indel-winkler`` is the normalised Indel similarity r with the prefix bonus of Winkler (1990):
    r + 0.1 · min(p, 4) · (1 − r) for a common prefix of p letters.
    """

    name: str
    case_sensitive: bool = False
    keep_accents: bool = False
    frequencies: Frequencies = NOTHING
    workers: int = 1
    reference = 1.0
    bounded = False

    def tiles(
        self,
        block: Block,
        queries: Queries,
        floor: NDArray[np.floating] | float = -np.inf,
        stop: int | None = None,
    ) -> Iterator[Tile]:
        """Yield the scores of a block, as ``Score.tiles`` says."""
        asked = self._folded(queries.keys)
        cutoff = np.maximum(0.0, floor)
        few = self._few(block, asked, floor)
        if few is not None:
            rows, keys = few
            if len(rows):
                yield Tile(rows, self._scores(asked, self._folded(keys), cutoff), 0.0, 1.0)
            return
        if self.name == "tokens":
            yield from self._aligned(block, asked, cutoff, stop)
            return
        keys = self._folded(block.keys[:stop])
        step = max(1, _PAIRS // len(queries))
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            scores = self._scores(asked, part, cutoff)
            yield Tile(slice(start, start + len(part)), scores, 0.0, 1.0)

    def _aligned(
        self,
        block: Block,
        asked: list[str],
        cutoff: NDArray[np.floating] | float,
        stop: int | None,
    ) -> Iterator[Tile]:
        """Yield the scores of a block by token alignment, its words looked at once for all queries.

        A hundred thousand queries of as many names take a twentieth of the time so.
        """
        least, threads = float(np.min(cutoff)), self._threads(asked)
        near = len(asked) > _LOOKS and least >= LEAST
        at = 0
        for keys in self._words(block, stop, None if near else _PAIRS // len(asked)):
            rows: slice | NDArray[np.intp] = slice(at, at + len(keys.texts))
            if near:
                rows, scores = keys.near(asked, least, threads)
            else:
                scores = keys.alignment(asked, threads)
            if scores.size:
                yield Tile(rows, scores, 0.0, 1.0)
            at += len(keys.texts)

    def _words(self, block: Block, stop: int | None, step: int | None) -> list[Keys]:
        """Return a block's keys ready to be aligned; those of this thread's last block are kept."""
        wanted = (self, stop, step)
        if vars(_kept).get("block") is not block or _kept.wanted != wanted:
            keys = self._folded(block.keys[:stop])
            _kept.block, _kept.wanted = block, wanted
            _kept.keys = [
                Keys(keys[at : at + (step or len(keys))], self.frequencies)
                for at in range(0, len(keys), step or max(1, len(keys)))
            ]
        found: list[Keys] = _kept.keys
        return found

    def matches(self, block: Block, queries: Queries, *, scored: bool) -> Iterator[Tile]:
        """Yield the rows that equal a query, looked up as a dictionary does, with a score of 1."""
        del scored
        wanted: dict[str, list[int]] = {}
        for place, text in enumerate(queries.keys):
            wanted.setdefault(text, []).append(place)
        found = _equal_rows(block, list(wanted))
        rows = np.sort(np.concatenate([np.empty(0, np.intp), *found.values()]))
        if not rows.size:
            return
        scores = np.full((len(queries), len(rows)), -np.inf)
        for text, equal in found.items():
            scores[np.array(wanted[text])[:, None], np.searchsorted(rows, equal)] = 1.0
        yield Tile(rows, scores)

    def widened(self, queries: Queries) -> Queries:
        """Return the queries: scores in [0, 1] are in range."""
        return queries

    def scores(
        self,
        queries: list[str],
        keys: list[str],
        cutoff: NDArray[np.floating] | float = 0.0,
    ) -> NDArray[np.float64]:
        """Return the scores of every query and key, of shape (Q, K), each in [0, 1].

        Parameters
        ----------
        queries, keys
            Q and K strings.
        cutoff
            One for each query (Q,) or for all. Scores surely below it may come out as less than
            they are, which saves work.
        """
        return self._scores(self._folded(queries), self._folded(keys), cutoff)

    def _folded(self, texts: list[str]) -> list[str]:
        texts = texts if self.case_sensitive else casefold_all(texts)
        return texts if self.keep_accents else without_accents(texts)

    def counted(self, blocks: Iterable[Block]) -> TextScore:
        """Return the score with the frequencies of words or n-grams among the first keys.

        Of words nothing is counted where no key has two of them: one word is never rarer than
        another beside a single one.
        """
        held = [block.load() for block in blocks]
        if self.name == "tokens":
            seen = [block.key_bytes() for block in held]
            if not any(k is None or k.places is None or k.has_several_words for k in seen):
                return self
        keys = list(islice(chain.from_iterable(block.keys for block in held), SAMPLE))
        parts = list(map(words_of if self.name == "tokens" else grams_of, self._folded(keys)))
        if self.name == "tokens" and max(map(len, parts), default=0) < 2:
            return self
        return replace(self, frequencies=Frequencies.of(parts))

    def explained(self, query: str, key: str) -> Origin:
        """Return where the score of a query and a key comes from: which words, or which edits."""
        (query,), (key,) = self._folded([query]), self._folded([key])
        if self.name == "tokens":
            return explained(query, key, self.frequencies)
        edits = Indel if self.name in ("indel", "indel-winkler", "lcs") else Levenshtein
        signs = {
            "replace": lambda e: f"{query[e.src_pos]}→{key[e.dest_pos]}",
            "insert": lambda e: f"+{key[e.dest_pos]}",
            "delete": lambda e: f"−{query[e.src_pos]}",
        }
        return Origin(
            (query,), (key,), edits=tuple(signs[e.tag](e) for e in edits.editops(query, key))
        )

    def _few(
        self, block: Block, queries: list[str], floor: NDArray[np.floating] | float
    ) -> tuple[NDArray[np.intp], list[str]] | None:
        """Return the rows that may score at least the floor of any query, and their keys, if few.

        To see that takes less time than to split the block into strings.
        """
        if len(queries) > _LOOKS or not np.min(floor) > 0:
            return None
        keys = block.key_bytes()
        if keys is None or keys.places is None:
            return None
        near = np.zeros(len(block), np.bool_) if keys.non_ascii is None else keys.non_ascii
        for query, least in zip(queries, np.broadcast_to(floor, len(queries)), strict=True):
            near = near | may_reach(
                self.name, query, keys, float(least), case_sensitive=self.case_sensitive
            )
        rows = np.flatnonzero(near)
        return (rows, keys.texts(rows)) if len(rows) <= len(block) // _FEW else None

    def _scores(
        self, queries: list[str], keys: list[str], cutoff: NDArray[np.floating] | float
    ) -> NDArray[np.float64]:
        """Return the scores (Q, K) of text that is folded where it is to be."""
        if not queries or not keys:
            return np.zeros((len(queries), len(keys)))
        if self.name in WEIGHTED:
            if self.name == "ngrams":
                return tf_idf(queries, keys, self.frequencies)
            return Keys(keys, self.frequencies).alignment(queries, self._threads(queries))
        if self.name in _RATIOS:
            found = self._matrix(_RATIOS[self.name], queries, keys, 0) / 100
            found[np.ix_([not query for query in queries], [not key for key in keys])] = 1.0
            return found
        if self.name == "indel-winkler":
            return self._indel_winkler(queries, keys, cutoff)
        lower = max(0.0, float(np.min(cutoff)) - 1e-5)
        return self._matrix(_SCORERS[self.name], queries, keys, lower)

    def _indel_winkler(
        self, queries: list[str], keys: list[str], cutoff: NDArray[np.floating] | float
    ) -> NDArray[np.float64]:
        # The bonus is at most 0.4 of 1 − r, so a score of c needs r of at least (c − 0.4) / 0.6.
        most = BONUS * LETTERS
        needed = np.maximum(0.0, (np.asarray(cutoff) - most) / (1 - most) - 1e-5)
        scores = self._matrix(Indel.normalized_similarity, queries, keys, float(needed.min()))
        if needed.any():
            # The others stay below the cut-off, bonus or not; comparing first is ten times as fast.
            at = np.flatnonzero(scores >= needed.reshape(-1, 1))
            if len(at) < scores.size // 8:
                _add_bonus_at(at, scores, queries, keys)
                return scores
        _add_bonus(scores, self._matrix(Prefix.similarity, queries, keys, 0))
        return scores

    def _threads(self, queries: list[str]) -> int:
        """Return how many threads score; where there is one query, processes share the keys."""
        return self.workers if len(queries) > 1 else 1

    def _matrix(
        self,
        scorer: Any,  # noqa: ANN401 - one of RapidFuzz's, which share no type
        queries: list[str],
        keys: list[str],
        cutoff: float,
    ) -> NDArray[np.float64]:
        found: NDArray[np.float64] = cdist(
            queries,
            keys,
            scorer=scorer,
            score_cutoff=cutoff,
            dtype=np.float64,
            workers=self._threads(queries),
        )
        return found


def _equal_rows(block: Block, texts: list[str]) -> dict[str, NDArray[np.intp]]:
    """Return for each text the rows whose key it is, if it is any row's."""
    seen = block.key_bytes()
    if seen is not None:
        texts = [text for text in texts if seen.may_hold(text)] if len(texts) <= _LOOKS else texts
        if not texts:
            return {}
        if len(texts) <= _LOOKS and seen.places is not None:
            return {text: seen.equal(text) for text in texts}
    rows: dict[str, list[int]] = {text: [] for text in texts}
    for row, key in enumerate(block.keys):
        if key in rows:
            rows[key].append(row)
    return {text: np.array(found, np.intp) for text, found in rows.items()}


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
    np.minimum(prefix, LETTERS, out=prefix)
    prefix *= BONUS
    prefix *= 1 - scores
    scores += prefix
