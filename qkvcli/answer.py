"""Answers: frozen values that know nothing of terminals or files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Columns, Record
    from qkvcli.fitted import Bandwidth, Measures


@dataclass(frozen=True, eq=False)
class LabelWeights:
    """The weight that the distinct values of one text column have.

    Parameters
    ----------
    labels
        The C distinct values, in the order in which they first occur.
    weights
        Of shape (Q, C); each row sums to 1, or is NaN where there is no answer.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class About:
    """What an answer is the answer to.

    Parameters
    ----------
    source, columns
        What the database is called, and what its rows are made of.
    batch_shape
        The leading axes of the heads: (), (H,), (B, H), ….
    queries
        What the Q queries of a head are called.
    score, temperature
        How queries and keys became weights; the temperature is that of the mode (0 as T → 0).
    neighbors
        How many best keys alone are attended to, or None.
    null_score
        The score of the null key, or None where there is none.
    bandwidths
        A kernel's width in each head.
    degree
        Whether answers are weighted means, 0, or weighted lines at the query, 1.
    """

    source: str
    columns: Columns
    batch_shape: tuple[int, ...]
    queries: tuple[str, ...]
    score: str
    temperature: float
    neighbors: int | None = None
    null_score: float | None = None
    bandwidths: tuple[Bandwidth, ...] = ()
    degree: int = 0

    @property
    def heads(self) -> list[tuple[int, ...]]:
        """The index of each head along the leading axes."""
        return heads_of(self.batch_shape)

    @property
    def shown(self) -> range:
        """Which value columns are worth showing: a bare list of keys is its own values."""
        return range(0 if self.columns.value == self.columns.key else len(self.columns.value))


class Tabular:
    """What has a header and lines, and so columns, a data frame and a notebook's table."""

    def header(self) -> list[str]:
        """Return the names of the columns, all different."""
        raise NotImplementedError

    def lines(self) -> Iterable[list[Any]]:
        """Return the rows: of text, numbers, and None where there is nothing."""
        raise NotImplementedError

    def columns(self) -> dict[str, list[Any]]:
        """Return the columns by their names."""
        header, lines = self.header(), list(self.lines())
        cells = zip(*lines, strict=True) if lines else ([] for _ in header)
        return {name: list(column) for name, column in zip(header, cells, strict=True)}

    def to_pandas(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame
        """Return the columns as a ``pandas.DataFrame``."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def to_arrow(self) -> Any:  # noqa: ANN401 - a pyarrow.Table
        """Return the columns as a ``pyarrow.Table``."""
        import pyarrow as pa

        return pa.table(self.columns())

    def _repr_html_(self) -> str:
        return html_table(self.columns())


@dataclass(frozen=True, eq=False)
class Answer(Tabular):
    """What a database answers Q queries under one weighting.

    Arrays have the leading axes of the heads before the axes given here: (H, Q, Dv) of H heads.

    Parameters
    ----------
    mode
        The weighting's mode.
    rows
        How many keys there are.
    answered
        Whether a query attends to anything at all, of shape (Q,).
    output
        The pooled numeric values, of shape (Q, Dv), as wide as the widest of keys, queries and
        values; NaN where there is no answer.
    labels
        The pooled text values, a ``LabelWeights`` for each text column, or None for a column with
        more distinct values than were to be kept.
    perplexity
        The effective number of keys, exp(entropy of the weights), of shape (Q,); NaN where there
        is no answer, None where it was not asked for.
    best_rows, best_scores, best_weights
        The best-scoring attended keys, best first, of shape (Q, N); row −1 pads a query's list.
    records
        The rows named in ``best_rows``, as text.
    shift, normalizer
        Of shape (Q,): the weight of a score a is exp((a − shift) / T) / normalizer.
    jacobian
        ∂ output / ∂ q, of shape (Q, Dv, D), where asked for.
    label_jacobians
        The same for each text column, of shape (Q, C, D).
    weights
        The whole matrix of weights, of shape (Q, K), where asked for.
    no_match
        The weight of the null key, of shape (Q,), where there is one: the weights of all keys
        sum to 1 less that, and ``output`` is their mean all the same.
    std_error, lower, upper
        The standard error of ``output`` and the ends of its band, (Q, Dv), where asked for.
    residuals
        Each row's values less what all others say of it, (Q, Dv), where that was asked.
    steps
        Of local lines, about d = x − q under the weights: its mean, its covariance, and S⁻¹ d̄,
        one below another, of shape (Q, D + 2, D).
    measures
        How well each value column is predicted, where rows were asked without themselves.
    about
        The question.
    skipped
        How many rows were left out, as a number was missing in them.
    """

    mode: str
    rows: int
    answered: NDArray[np.bool_]
    output: NDArray[np.floating]
    labels: tuple[LabelWeights | None, ...]
    perplexity: NDArray[np.float64] | None
    best_rows: NDArray[np.int64]
    best_scores: NDArray[np.float64]
    best_weights: NDArray[np.float64]
    records: dict[int, Record]
    shift: NDArray[np.float64]
    normalizer: NDArray[np.float64]
    jacobian: NDArray[np.float64] | None = None
    label_jacobians: tuple[NDArray[np.float64] | None, ...] = ()
    weights: NDArray[np.float64] | None = None
    no_match: NDArray[np.float64] | None = None
    std_error: NDArray[np.float64] | None = None
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    residuals: NDArray[np.float64] | None = None
    steps: NDArray[np.float64] | None = None
    measures: dict[str, Measures] | None = None
    about: About | None = None
    skipped: int = 0

    def head(self, index: tuple[int, ...]) -> Answer:
        """Return the answer of one head, by its index along the leading axes."""
        return replace(self, **{name: array[index] for name, array in self.arrays()})

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the arrays that have leading axes, with their names."""
        for field in fields(self):
            value = getattr(self, field.name)
            if hasattr(value, "dtype"):
                yield field.name, value

    @property
    def unanswered(self) -> list[tuple[tuple[int, ...], int]]:
        """The head and the number of each query that attends to nothing."""
        import numpy as np

        return [(tuple(at[:-1]), at[-1]) for at in np.argwhere(~self.answered).tolist()]

    def columns(self) -> dict[str, list[Any]]:
        """Return the answer as columns, a row a query of each head.

        They are the head, the query, each value column (of text its likeliest value, and then the
        weight of every one) and the perplexity.
        """
        about = self.about
        if about is None:
            raise ValueError("only an answer of a database has columns")
        found: dict[str, list[Any]] = {}
        found |= zip(head_columns(about.batch_shape), self.places, strict=True)
        found["query"] = list(about.queries) * len(about.heads)
        found |= self.value_columns
        if self.perplexity is not None:
            found["perplexity"] = self.perplexity.ravel().tolist()
        if self.no_match is not None:
            found["no_match"] = self.no_match.ravel().tolist()
        return found

    @property
    def places(self) -> list[list[int]]:
        """Along each leading axis, the index of the head that each row of columns is of."""
        count = len(self.about.queries) if self.about else 0
        heads = self.about.heads if self.about else []
        return [[i for i in axis for _ in range(count)] for axis in zip(*heads, strict=True)]

    @property
    def value_columns(self) -> list[tuple[str, list[Any]]]:
        """Each value column of all heads' queries, with its name.

        A column of text has its likeliest value, None where there is no answer, and then the weight
        of every one.
        """
        if self.about is None:
            raise ValueError("only an answer of a database has columns")
        columns = self.about.columns
        count = self.answered.size
        numbers = self.output.reshape(count, self.output.shape[-1]).T
        # A narrow number is shown by as many digits as it takes to read it back.
        exact = [
            [float(str(x)) for x in row] if row.dtype == "f4" else row.tolist() for row in numbers
        ]
        found: list[tuple[str, list[Any]]] = []
        for place, name in enumerate(columns.value):
            if place in columns.numeric:
                found.append((name, exact[columns.numeric.index(place)]))
                continue
            part = self.labels[columns.text.index(place)]
            if part is None:  # more distinct texts than were pooled
                found.append((name, [None] * count))
                continue
            weights = part.weights.reshape(count, len(part.labels))
            best = [max(row, default=0.0) for row in weights.tolist()]
            found.append(
                (
                    name,
                    [
                        part.labels[row.index(most)] if most > 0 else None
                        for row, most in zip(weights.tolist(), best, strict=True)
                    ],
                )
            )
            found += [
                (f"{name}={label}", column.tolist())
                for label, column in zip(part.labels, weights.T, strict=True)
            ]
        return found

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.output.shape))
        labels = "".join(
            f", {len(part.labels)} labels" if part else ", too many labels" for part in self.labels
        )
        return f"Answer({self.mode}, {self.rows} keys, output {shape}{labels})"


def html_table(columns: dict[str, list[Any]], most: int = 20) -> str:
    """Return columns as a table in HTML, of the first rows, for a notebook."""
    from html import escape  # 2 ms, of which no command needs any

    rows = list(itertools.islice(zip(*columns.values(), strict=True), most + 1))

    def line(cells: Iterable[Any], tag: str) -> str:
        shown = (f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in shown) + "</tr>"

    more = "<tr><td>…</td></tr>" if len(rows) > most else ""
    body = "".join(line(row, "td") for row in rows[:most])
    return f"<table>{line(columns, 'th')}{body}{more}</table>"


_PADDING: dict[str, float] = {"best_rows": -1, "best_scores": float("-inf"), "best_weights": 0.0}


def _alike(answers: Sequence[Answer], name: str) -> list[NDArray[Any]]:
    """Return an array of each answer, lists padded to one length."""
    import numpy as np

    parts = [getattr(answer, name) for answer in answers]
    widths = {part.shape[-1] for part in parts}
    if name not in _PADDING or len(widths) == 1:
        return parts
    pads = [((0, 0),) * (part.ndim - 1) + ((0, max(widths) - part.shape[-1]),) for part in parts]
    return [
        np.pad(part, pad, constant_values=_PADDING[name])
        for part, pad in zip(parts, pads, strict=True)
    ]


def join(answers: Sequence[Answer]) -> Answer:
    """Return the answers to several runs of queries over one database as one."""
    import numpy as np

    first = answers[0]
    arrays: dict[str, Any] = {
        name: np.concatenate(_alike(answers, name)) for name, _ in first.arrays()
    }
    columns = range(len(first.labels))
    return replace(
        first,
        **arrays,
        labels=tuple(_join_labels([answer.labels[i] for answer in answers]) for i in columns),
        records={row: record for answer in answers for row, record in answer.records.items()},
        label_jacobians=tuple(
            _join_jacobians(answers, i) for i in range(len(first.label_jacobians))
        ),
    )


def stack(answers: Sequence[Answer], batch_shape: tuple[int, ...]) -> Answer:
    """Return the answers of all heads as one, with leading axes.

    Heads share their text values' labels, if any.
    """
    if not batch_shape:
        return answers[0]
    import numpy as np

    def stacked(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(parts).reshape(*batch_shape, *parts[0].shape)

    arrays: dict[str, Any] = {
        name: stacked(_alike(answers, name)) for name, _ in answers[0].arrays()
    }
    return replace(answers[0], **arrays, records={} if len(answers) > 1 else answers[0].records)


def _join_labels(parts: Sequence[LabelWeights | None]) -> LabelWeights | None:
    present = [part for part in parts if part is not None]
    if len(present) < len(parts):
        return None
    labels = tuple(dict.fromkeys(label for part in present for label in part.labels))
    return LabelWeights(labels, _aligned([(s.labels, s.weights) for s in present], labels))


def _join_jacobians(answers: Sequence[Answer], column: int) -> NDArray[np.float64] | None:
    found = [answer.labels[column] for answer in answers]
    joined = _join_labels(found)
    parts = [
        (part.labels, jacobian)
        for part, answer in zip(found, answers, strict=True)
        if part is not None and (jacobian := answer.label_jacobians[column]) is not None
    ]
    return None if joined is None or not parts else _aligned(parts, joined.labels)


def _aligned(
    parts: Sequence[tuple[tuple[str, ...], NDArray[np.float64]]], labels: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return arrays (Q, C, …) whose second axis has labels of its own as one."""
    import numpy as np

    place = {label: i for i, label in enumerate(labels)}
    found = []
    for own, array in parts:
        # A row without an answer is NaN throughout, labels it never saw included.
        empty = np.isnan(array).any(axis=1, keepdims=True)
        wide = np.where(empty, np.nan, np.zeros((len(array), len(labels), *array.shape[2:])))
        wide[:, [place[label] for label in own]] = array
        found.append(wide)
    return np.concatenate(found)


Value = float | tuple[tuple[str, float], ...]
"""A pooled number, or the weights of a text column's values, the largest first."""


def pooled(answer: Answer, query: int, columns: Columns) -> tuple[Value | None, ...]:
    """Return the pooled value of each value column of one query of one head.

    None stands for a text column with more distinct values than were kept.
    """
    row = answer.output[query]
    # A narrow number is shown by as many digits as it takes to read it back.
    exact = [float(str(x)) for x in row] if row.dtype == "f4" else row.tolist()
    found: dict[int, Value | None] = dict(zip(columns.numeric, exact, strict=True))
    for place, part in zip(columns.text, answer.labels, strict=True):
        if part is None:
            found[place] = None
            continue
        pairs = zip(part.labels, part.weights[query].tolist(), strict=True)
        found[place] = tuple(sorted((p for p in pairs if p[1] > 0), key=lambda pair: -pair[1]))
    return tuple(found[place] for place in range(len(columns.value)))


class Origin(NamedTuple):
    """Where a score of text comes from.

    Parameters
    ----------
    query, key
        The words that were compared, folded.
    likeness
        How alike each word of the query is to each of the key, where words are aligned.
    query_weights, key_weights
        How rare the words are.
    edits
        What makes the query the key, where that is not so: ``e→o``, ``+n``, ``−s``.
    shares
        Of a learned score each feature, its value, and what it adds to the score.
    """

    query: tuple[str, ...]
    key: tuple[str, ...]
    likeness: Sequence[Sequence[float]] = ()
    query_weights: tuple[float, ...] = ()
    key_weights: tuple[float, ...] = ()
    edits: tuple[str, ...] = ()
    shares: tuple[tuple[str, float, float], ...] = ()


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
        Its weight under each mode, or by each score where there are several.
    scores
        The score that each of the weights is of.
    origins
        Where each of the scores comes from, where that was asked for.
    """

    row: int
    record: Record
    score: float | None
    weights: tuple[float, ...]
    scores: tuple[float, ...] = ()
    origins: tuple[Origin, ...] = ()


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
        Per mode: the pooled value of each value column, as a number or as (value, weight) pairs
        falling by weight, or None where there are more distinct texts than are pooled; None
        altogether where the query attends to nothing.
    perplexities
        Per mode, the effective number of keys; NaN where there is no answer.
    left_out
        Per mode, how many rows are not shown and what weight they have.
    no_match
        Per mode, the weight of the null key; empty where there is none.
    closest
        Where the query attends to nothing: the best-scoring key, if it is known.
    """

    query: str
    matches: tuple[Match, ...]
    answers: tuple[tuple[Value | None, ...] | None, ...]
    perplexities: tuple[float, ...]
    left_out: tuple[tuple[int, float], ...]
    no_match: tuple[float, ...] = ()
    closest: Match | None = None

    @property
    def answered(self) -> bool:
        """Whether any mode has an answer."""
        return any(answer is not None for answer in self.answers)


@dataclass(frozen=True, eq=False)
class Lookup(Tabular):
    """What a lookup found: the same answer for a person, a pipe and a program.

    Parameters
    ----------
    modes, temperatures
        The mode of each column of weights, and its temperature (0 as T → 0).
    found
        Per query, head after head.
    rows
        How many keys there are.
    top
        How many keys are listed at most.
    about
        The question.
    scores
        The score of each column, where there are several.
    skipped
        How many rows were left out, as a number was missing in them.
    """

    modes: tuple[str, ...]
    temperatures: tuple[float, ...]
    found: tuple[Found, ...]
    rows: int
    top: int
    about: About
    scores: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of weights are called: by their scores where there are several."""
        return self.scores or self.modes

    @property
    def score_names(self) -> list[str]:
        """What the columns of scores are called."""
        return by_mode("score", self.scores or ("",))

    @property
    def unmatched(self) -> list[Found]:
        """The queries that attend to no key."""
        return [one for one in self.found if not one.answered]

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
        return [self.about.columns.value[position] for position in sorted(odd)]

    def header(self) -> list[str]:
        """Return the names of the columns, as ``qkv lookup --format csv`` has them."""
        columns = self.about.columns
        names = ["query", "rank", *columns.key, *(columns.value[i] for i in self.about.shown)]
        names += [*self.score_names, *by_mode("weight", self.names)]
        has_null = any(one.no_match for one in self.found)
        return distinct(names + (by_mode("no_match", self.names) if has_null else []))

    def lines(self) -> Iterator[list[Any]]:
        """Return a row for each match."""
        return itertools.chain.from_iterable(map(self.lines_of, self.found))

    def lines_of(self, found: Found) -> list[list[Any]]:
        """Return the rows of one query."""
        shown = self.about.shown
        return [
            [
                *(found.query, rank, *match.record.key),
                *(match.record.value[i] for i in shown),
                *(match.scores if self.scores else (match.score,)),
                *(*match.weights, *found.no_match),
            ]
            for rank, match in enumerate(found.matches, 1)
        ]

    def __repr__(self) -> str:
        count = sum(len(one.matches) for one in self.found)
        modes = ", ".join(self.modes)
        return f"Lookup({modes}, {len(self.found)} queries, {self.rows} keys, {count} matches)"


def by_mode(name: str, modes: Sequence[str]) -> list[str]:
    """Return what a column is called that there is for each mode.

    Examples
    --------
    >>> by_mode("weight", ["softmax"]), by_mode("weight", ["exact", "softmax"])
    (['weight'], ['weight_exact', 'weight_softmax'])
    """
    return [name] if len(modes) == 1 else [f"{name}_{mode}" for mode in modes]


def distinct(names: Iterable[str]) -> list[str]:
    """Return column names made distinct, so that a reader may go by them."""
    taken: set[str] = set()
    found = []
    for name in names:
        free = name
        while free in taken:
            free += "_"
        taken.add(free)
        found.append(free)
    return found


def head_columns(batch_shape: tuple[int, ...]) -> list[str]:
    """Return what the axes of heads are called.

    Examples
    --------
    >>> head_columns(()), head_columns((2,)), head_columns((2, 3)), head_columns((1, 2, 3))
    ([], ['head'], ['batch', 'head'], ['axis_0', 'axis_1', 'head'])
    """
    count = len(batch_shape)
    first = ["batch"] if count == 2 else [f"axis_{i}" for i in range(count - 1)]
    return [*first, "head"][-count:] if count else []


def heads_of(batch_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the index of each head along leading axes, in their order.

    Examples
    --------
    >>> heads_of((2, 2)), heads_of(())
    ([(0, 0), (0, 1), (1, 0), (1, 1)], [()])
    """
    return list(itertools.product(*(range(count) for count in batch_shape)))
