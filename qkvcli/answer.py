"""Answers: frozen values that know nothing of terminals or files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Columns, Record


@dataclass(frozen=True, eq=False)
class Share:
    """The shares of the weight that the distinct values of one text column have.

    Parameters
    ----------
    labels
        The C distinct values, in the order in which they first occur.
    weights
        Of shape (Q, C); each row sums to 1, or is NaN where there is no answer.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a database answers Q queries under one weighting.

    Parameters
    ----------
    mode
        The weighting's mode.
    rows
        How many keys there are.
    answered
        Whether a query attends to anything at all, of shape (Q,).
    numbers
        The pooled numeric values, float64 of shape (Q, Dv); NaN where there is no answer.
    shares
        The pooled text values, one ``Share`` a column, or None for a column with more distinct
        values than were to be kept.
    perplexity
        The effective number of keys, exp(entropy of the weights), of shape (Q,); NaN where there
        is no answer, None where it was not asked for.
    best_rows, best_scores, best_weights
        The best-scoring attended keys, best first, of shape (Q, N); row −1 pads a query's list.
    records
        The rows named in ``best_rows``, as text.
    peak, mass
        The normaliser: the weight of a logit a is exp((a − peak) / divisor) / mass; shape (Q,).
    divisor
        What logits are divided by, the temperature of a softmax.
    jacobian
        ∂ numbers / ∂ q, of shape (Q, Dv, D), where asked for.
    share_jacobians
        The same for each text column, of shape (Q, C, D).
    weights
        The whole matrix of weights, of shape (Q, K), where asked for.
    """

    mode: str
    rows: int
    answered: NDArray[np.bool_]
    numbers: NDArray[np.float64]
    shares: tuple[Share | None, ...]
    perplexity: NDArray[np.float64] | None
    best_rows: NDArray[np.int64]
    best_scores: NDArray[np.float64]
    best_weights: NDArray[np.float64]
    records: dict[int, Record]
    peak: NDArray[np.float64]
    mass: NDArray[np.float64]
    divisor: float
    jacobian: NDArray[np.float64] | None = None
    share_jacobians: tuple[NDArray[np.float64] | None, ...] = ()
    weights: NDArray[np.float64] | None = None


def join(answers: Sequence[Answer]) -> Answer:
    """Return the answers to several runs of queries over one database as one."""
    first = answers[0]
    if len(answers) == 1:
        return first
    import numpy as np  # one run of queries is the rule

    width = max(answer.best_rows.shape[1] for answer in answers)

    def stacked(name: str, pad: float | None = None) -> Any:  # noqa: ANN401 - an array or None
        parts = [getattr(answer, name) for answer in answers]
        if parts[0] is None:
            return None
        if pad is not None:
            parts = [
                np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=pad) for p in parts
            ]
        return np.concatenate(parts)

    columns = range(len(first.shares))
    return Answer(
        mode=first.mode,
        rows=first.rows,
        answered=stacked("answered"),
        numbers=stacked("numbers"),
        shares=tuple(_join_shares([answer.shares[i] for answer in answers]) for i in columns),
        perplexity=stacked("perplexity"),
        best_rows=stacked("best_rows", -1),
        best_scores=stacked("best_scores", -np.inf),
        best_weights=stacked("best_weights", 0),
        records={row: record for answer in answers for row, record in answer.records.items()},
        peak=stacked("peak"),
        mass=stacked("mass"),
        divisor=first.divisor,
        jacobian=stacked("jacobian"),
        share_jacobians=tuple(
            _join_jacobians(answers, i) for i in range(len(first.share_jacobians))
        ),
        weights=stacked("weights"),
    )


def _join_shares(shares: Sequence[Share | None]) -> Share | None:
    present = [share for share in shares if share is not None]
    if len(present) < len(shares):
        return None
    labels = tuple(dict.fromkeys(label for share in present for label in share.labels))
    return Share(labels, _aligned([(s.labels, s.weights) for s in present], labels))


def _join_jacobians(answers: Sequence[Answer], column: int) -> NDArray[np.float64] | None:
    shares = [answer.shares[column] for answer in answers]
    joined = _join_shares(shares)
    parts = [
        (share.labels, jacobian)
        for share, answer in zip(shares, answers, strict=True)
        if share is not None and (jacobian := answer.share_jacobians[column]) is not None
    ]
    return None if joined is None or not parts else _aligned(parts, joined.labels)


def _aligned(
    parts: Sequence[tuple[tuple[str, ...], NDArray[np.float64]]], labels: tuple[str, ...]
) -> NDArray[np.float64]:
    """Stack arrays (Q, C, …) whose second axis has labels of its own."""
    import numpy as np

    place = {label: i for i, label in enumerate(labels)}
    stack = []
    for own, array in parts:
        # A row without an answer is NaN throughout, labels it never saw included.
        empty = np.isnan(array).any(axis=1, keepdims=True)
        wide = np.where(empty, np.nan, np.zeros((len(array), len(labels), *array.shape[2:])))
        wide[:, [place[label] for label in own]] = array
        stack.append(wide)
    return np.concatenate(stack)


@dataclass(frozen=True)
class Match:
    """One key that a query was compared with, as a lookup shows it.

    Parameters
    ----------
    row
        Its row in the database, from 0.
    record
        The row as text.
    score
        a(q, k), or None where no score was needed.
    weights
        Its weight under each mode.
    """

    row: int
    record: Record
    score: float | None
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What a lookup found for one query.

    Parameters
    ----------
    query
        The query as it was asked.
    matches
        The keys worth showing, best first.
    answers
        Per mode: the pooled value of each value column, as a number or as (value, share) pairs
        falling by share, or None where there are more distinct texts than are pooled; None
        altogether where the query attends to nothing.
    perplexities
        Per mode, the effective number of keys; NaN where there is no answer.
    left_out
        Per mode, how many rows are not shown and what weight they have.
    """

    query: str
    matches: tuple[Match, ...]
    answers: tuple[tuple[Value | None, ...] | None, ...]
    perplexities: tuple[float, ...]
    left_out: tuple[tuple[int, float], ...]

    @property
    def answered(self) -> bool:
        """Whether any mode has an answer."""
        return any(answer is not None for answer in self.answers)


Value = float | tuple[tuple[str, float], ...]
"""A pooled number, or the shares of a text column's values, the largest first."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """What a lookup found: the same answer for a person, a pipe and a program.

    Parameters
    ----------
    source
        What the database is called.
    columns
        What its rows are made of.
    score, modes, temperatures
        How queries and keys became weights; a temperature is that of each mode (0 as T → 0).
    found
        Per query.
    rows
        How many keys there are.
    neighbors
        How many best keys alone are attended to, or None.
    widths, rule, errors
        Of a kernel, as in ``Pool``.
    """

    source: str
    columns: Columns
    score: str
    modes: tuple[str, ...]
    temperatures: tuple[float, ...]
    found: tuple[Found, ...]
    rows: int
    neighbors: int | None = None
    widths: tuple[tuple[float, ...], ...] = ()
    rule: str = ""
    errors: tuple[float, ...] = ()

    @property
    def unpooled(self) -> list[str]:
        """The value columns with more distinct texts than were pooled."""
        odd = {
            position
            for one in self.found
            for values in one.answers
            for position, value in enumerate(values or ())
            if value is None
        }
        return [self.columns.value[position] for position in sorted(odd)]


def pooled(answer: Answer, query: int, columns: Columns) -> tuple[Value | None, ...]:
    """Return the pooled value of each value column of one query.

    None stands for a text column with more distinct values than were kept.
    """
    shares = dict(zip(columns.texts, answer.shares, strict=True))
    numbers = dict(zip(columns.numbers, answer.numbers[query].tolist(), strict=True))
    return tuple(
        numbers[i] if i in numbers else _falling(shares[i], query)
        for i in range(len(columns.value))
    )


def _falling(share: Share | None, query: int) -> tuple[tuple[str, float], ...] | None:
    if share is None:
        return None
    pairs = zip(share.labels, share.weights[query].tolist(), strict=True)
    return tuple(sorted((pair for pair in pairs if pair[1] > 0), key=lambda pair: -pair[1]))


@dataclass(frozen=True, eq=False)
class Runs:
    """An array to be written: its shape and dtype, and its elements in C order, run by run."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    parts: Iterable[NDArray[np.generic]]


def heads_of(lead: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the index of each head along leading axes, in their order.

    Examples
    --------
    >>> heads_of((2, 2)), heads_of(())
    ([(0, 0), (0, 1), (1, 0), (1, 1)], [()])
    """
    return list(itertools.product(*(range(count) for count in lead)))


@dataclass(frozen=True, eq=False)
class Pool:
    """What a database answers: one ``Answer`` a head.

    Parameters
    ----------
    source, columns
        What the database is called, and what its rows are made of.
    lead
        The leading axes of the heads: () , (H,) or (B, H).
    queries
        What the Q queries of a head are called.
    answers
        Of each head, in the order of the leading axes.
    score, mode, temperature
        How queries and keys became weights.
    widths, rule, errors
        Of a kernel: each head's widths, the rule that gave them, and the error that ``cv`` reached.
    dtype
        What arrays of the answer are written as.
    """

    source: str
    columns: Columns
    lead: tuple[int, ...]
    queries: tuple[str, ...]
    answers: tuple[Answer, ...]
    score: str
    mode: str
    temperature: float
    widths: tuple[tuple[float, ...], ...] = ()
    rule: str = ""
    errors: tuple[float, ...] = ()
    dtype: str = "float64"

    @property
    def heads(self) -> list[tuple[int, ...]]:
        """The index of each head along the leading axes."""
        return heads_of(self.lead)

    @property
    def unanswered(self) -> list[tuple[tuple[int, ...], str]]:
        """The head and the name of each query that attends to nothing."""
        return [
            (head, self.queries[i])
            for head, answer in zip(self.heads, self.answers, strict=True)
            for i in range(len(self.queries))
            if not answer.answered[i]
        ]
