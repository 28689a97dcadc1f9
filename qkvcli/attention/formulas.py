"""The statistics of a head: each is the mean over queries of one number a query.

A band is some of the rows of one head's weights. Every function here takes one and returns an
array (n,), a number for each of its queries; what their mean is called is the function's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_MARKS = re.compile(r"^(?:Ġ|▁|##)")


@dataclass(frozen=True, eq=False)
class Tokens:
    """What queries and keys are called, as far as that is known.

    Parameters
    ----------
    queries, keys
        How many there are.
    query_labels, key_labels
        Their labels, or None.
    """

    queries: int
    keys: int
    query_labels: tuple[str, ...] | None = None
    key_labels: tuple[str, ...] | None = None

    @property
    def are_one(self) -> bool:
        """Whether queries and keys are the same tokens, so that places can be compared."""
        return self.queries == self.keys and self.query_labels == self.key_labels

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """A number for each key, (K,), the same for keys of the same label."""
        places: dict[str, int] = {}
        found = [places.setdefault(label, len(places)) for label in self.key_labels or ()]
        return np.array(found, np.int64)

    @cached_property
    def punctuation(self) -> NDArray[np.bool_]:
        """Which keys are marks alone, no letter and no digit, (K,); special tokens are none."""
        bare = [_MARKS.sub("", label) for label in self.key_labels or ()]
        return np.array([bool(text) and not any(map(str.isalnum, text)) for text in bare], np.bool_)

    def called(self, label: str) -> NDArray[np.bool_]:
        """Return which keys have a label, with or without the mark of a word's start, (K,)."""
        return np.array(
            [label in (one, _MARKS.sub("", one)) for one in self.key_labels or ()], np.bool_
        )


@dataclass(frozen=True, eq=False)
class Band:
    """Some rows of the weights of one head.

    Parameters
    ----------
    weights
        α, (n, K), in float64.
    queries
        Which queries these are, (n,).
    tokens
        What they are called.
    sink
        The key that ``sink`` is of.
    norms
        ‖v‖ of each key, (K,), or None.
    """

    weights: Numbers
    queries: NDArray[np.int64]
    tokens: Tokens
    sink: int = 0
    norms: Numbers | None = None

    @cached_property
    def apart(self) -> Numbers:
        """|i − j|, (n, K)."""
        steps = self.queries[:, None] - np.arange(self.tokens.keys, dtype=np.float64)
        return np.asarray(np.abs(steps))

    @cached_property
    def earlier(self) -> NDArray[np.bool_]:
        """Whether a key comes before the query and has its label, (n, K)."""
        codes = self.tokens.codes
        same = codes[self.queries][:, None] == codes
        return np.asarray(same & (np.arange(self.tokens.keys) < self.queries[:, None]))


def entropy(band: Band) -> Numbers:
    """Return the entropy −Σ α ln α in nats: 0 of one key, ln K of all keys alike.

    Source: Clark et al. 2019, "What Does BERT Look At?". It cannot see which keys are meant.
    """
    weights = band.weights
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    return np.asarray(-np.vecdot(weights, logs))


def perplexity(band: Band) -> Numbers:
    """Return exp(entropy): as many keys, alike, would be as open a choice.

    It cannot see which keys are meant, and few open queries raise its mean.
    """
    return np.exp(entropy(band))


def confidence(band: Band) -> Numbers:
    """Return the largest weight of the query.

    Source: Voita et al. 2019, "Analyzing Multi-Head Self-Attention". A head that attends to a
    sink is confident too.
    """
    return np.asarray(band.weights.max(axis=1))


def sink(band: Band) -> Numbers:
    """Return the weight on the sink key, by default the first; NaN for queries before it.

    Source: α_k of Gu et al. 2024, "When Attention Sink Emerges", the mean over the queries from
    the key on. It cannot see whether the value of the sink matters: ``sink_value`` does.
    """
    return np.where(band.queries >= band.sink, band.weights[:, band.sink], np.nan)


def _beside(band: Band, step: int) -> Numbers:
    at = band.queries + step
    there = (at >= 0) & (at < band.tokens.keys)
    rows = np.arange(len(at))
    return np.where(there, band.weights[rows, np.where(there, at, 0)], 0)


def previous(band: Band) -> Numbers:
    """Return the weight on the token before the query; 0 for the first.

    Source: the previous-token head of TransformerLens' detector, error measure "mul". A head of
    near distances has much of it too.
    """
    return _beside(band, -1)


def current(band: Band) -> Numbers:
    """Return the weight on the query's own token (Clark et al. 2019)."""
    return _beside(band, 0)


def next(band: Band) -> Numbers:  # noqa: A001 - the token that follows
    """Return the weight on the token after the query, 0 for the last (Clark et al. 2019)."""
    return _beside(band, 1)


def distance(band: Band) -> Numbers:
    """Return the mean distance Σ α |i − j|, in tokens.

    It cannot see the direction, and of a sink it tells how long the text is.
    """
    return np.asarray(np.vecdot(band.weights, band.apart))


def diagonality(band: Band) -> Numbers:
    """Return −Σ α |i − j| / K: 0 on the diagonal, less the farther from it.

    Source: Yang et al. 2020, "Understanding Self-Attention of Self-Supervised Audio Transformers".
    """
    return -distance(band) / band.tokens.keys


def duplicate(band: Band) -> Numbers:
    """Return the weight on earlier tokens with the query's label.

    Source: the duplicate-token head of TransformerLens' detector, error measure "mul". It is
    small where few tokens occur twice: compare heads, not texts.
    """
    return np.asarray(np.where(band.earlier, band.weights, 0).sum(axis=1))


def induction(band: Band) -> Numbers:
    """Return the weight on tokens that follow an earlier token with the query's label.

    Source: the induction head of TransformerLens' detector, error measure "mul"; on random tokens
    that are repeated, the prefix matching of Olsson et al. 2022. In usual text it is small.
    """
    after = np.zeros_like(band.earlier)
    after[:, 1:] = band.earlier[:, :-1]
    return np.asarray(np.where(after, band.weights, 0).sum(axis=1))


def punctuation(band: Band) -> Numbers:
    """Return the weight on keys that are punctuation (Clark et al. 2019)."""
    return band.weights @ band.tokens.punctuation


def value_norm(band: Band) -> Numbers:
    """Return Σ α ‖v‖: how long the weighted values are.

    Source: ‖α v‖ of Kobayashi et al. 2020, "Attention is Not Only a Weight", without the output
    projection. It cannot see that values cancel each other out.
    """
    assert band.norms is not None  # noqa: S101 - it is asked of heads with values alone
    return band.weights @ band.norms


def sink_value(band: Band) -> Numbers:
    """Return the sink's share of Σ α ‖v‖: small where a head attends to it in order to do nothing.

    Source: as of ``value_norm``.
    """
    assert band.norms is not None  # noqa: S101
    total = value_norm(band)
    part = band.weights[:, band.sink] * band.norms[band.sink]
    share = np.divide(part, total, out=np.zeros_like(part), where=total > 0)
    return np.where(band.queries >= band.sink, share, np.nan)


FEW = ("entropy", "sink", "previous", "next", "distance", "duplicate", "induction")
"""What a terminal shows of them, of 80 columns."""
ALWAYS = (entropy, perplexity, confidence, sink)
OF_PLACES = (previous, current, next, distance, diagonality)
"""Those of heads whose queries and keys are the same tokens."""
OF_LABELS = (duplicate, induction)
"""Those that need labels besides."""
OF_VALUES = (value_norm, sink_value)


def available(tokens: Tokens, *, values: bool) -> dict[str, Callable[[Band], Numbers]]:
    """Return the statistics that can be computed, by their names.

    Parameters
    ----------
    tokens
        What queries and keys are.
    values
        Whether there are values.
    """
    found = list(ALWAYS)
    if tokens.are_one:
        found += OF_PLACES
    if tokens.key_labels is not None:
        found += OF_LABELS if tokens.are_one else ()
        found.append(punctuation)
    found += OF_VALUES if values else ()
    return {function.__name__: function for function in found}
