"""Databases of keys and values: the one door to the program, from Python and from the commands."""

from __future__ import annotations

import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from qkvcli.attention.weights import APPROXIMATE, EXACT, SOFTMAX
from qkvcli.errors import UsageError
from qkvcli.run.choose import executor
from qkvcli.run.request import Request
from qkvcli.run.resolve import resolve
from qkvcli.sources.store import Asked, Store, open_store
from qkvcli.sources.table import SKIP, TableOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Self, Unpack

    from numpy.typing import ArrayLike

    from qkvcli.answer import Answer, Lookup
    from qkvcli.blocks import Columns, Record
    from qkvcli.coded import Coding
    from qkvcli.joined import Groups, Join
    from qkvcli.run.examples import Examples
    from qkvcli.run.learn import Learned, Training
    from qkvcli.run.resolve import Question
    from qkvcli.run.work import Executor, Progress
    from qkvcli.scores.model import Model, TextModel


class Scoring(TypedDict, total=False):
    """How queries and keys are scored, and who does the work: what all questions take.

    Parameters
    ----------
    score
        a(q, k), one of ``qkvcli.scores.TEXT_SCORES`` or ``VECTOR_SCORES``, or for a lookup of text
        several, to stand side by side; by default
        ``"tokens"`` for text, ``"scaled-dot"`` for arrays and ``"gaussian"`` for columns of
        a table or a data frame.
    temperature
        T of the softmax; by default 0.1 for text and 1 for vectors.
    neighbors
        Attend to this many best keys alone.
    bandwidth
        The width of a kernel, one per key column, or ``"scott"``, ``"silverman"`` or ``"cv"``; by
        default ``"cv"`` where a table's values are pooled and that takes about a second, else
        ``"scott"``.
    null_score
        The score of a null key, which stands for no match: under ``"approximate"`` no key that
        scores less is an answer; under ``"softmax"`` its weight is how likely it is that nothing
        matches. Of text from 0 to 1.
    model
        A learned score, in place of ``score`` and ``bandwidth``: what ``learn`` returns, its file,
        or ``"names"``, which comes with the package. It brings its temperature and its null score.
    case_sensitive, keep_accents
        Whether case and diacritics of text count.
    workers
        How many threads or processes work at a time, None for one for each processor; by default
        1. The answer does not depend on it.
    scheduler
        The address of a Dask scheduler that does the work instead, ``"tcp://host:8786"``.
    """

    score: str | Sequence[str] | None
    temperature: float | None
    neighbors: int | None
    bandwidth: str | float | Sequence[float] | None
    null_score: float | None
    model: Model | str | os.PathLike[str] | None
    case_sensitive: bool
    keep_accents: bool
    workers: int | None
    scheduler: str | None


class Database:
    """Pairs of keys and values, to be asked.

    Parameters
    ----------
    keys
        K strings, or vectors (…, K, D); every head along the leading axes is attended to on its
        own. K numbers are vectors of width 1.
    values
        Numbers (…, K, Dv), or K strings, which are pooled as one-hot vectors. K numbers are
        values of width 1. The keys themselves by default.

    Raises
    ------
    QkvError
        Shapes that do not fit together, or a dtype that is not pooled.

    Examples
    --------
    >>> names = Database(["Lipton", "Smola"], ["Zachary", "Alex"])
    >>> names.lookup("Lipten", mode="approximate").found[0].matches[0].record
    Record(key=('Lipton',), value=('Zachary',))
    """

    def __init__(self, keys: ArrayLike, values: ArrayLike | None = None) -> None:
        from qkvcli.sources.memory import store_of

        self.store: Store = store_of(keys, values)

    @classmethod
    def open(  # noqa: PLR0913 - each is an option of the command
        cls,
        data: Any = None,  # noqa: ANN401 - any of many kinds
        *,
        key: str | Sequence[str] = (),
        value: str | Sequence[str] = (),
        delimiter: str | None = None,
        header: bool = True,
        encoding: str | None = None,
        key_type: str | None = None,
        value_type: str | None = None,
        data_format: str | None = None,
        missing: str | None = None,
        date: str | Sequence[str] = (),
        categorical: str | Sequence[str] = (),
        ordered: str | Sequence[str] = (),
        keys: str | os.PathLike[str] | None = None,
        values: str | os.PathLike[str] | None = None,
        labels: str | os.PathLike[str] | None = None,
        read_twice: bool | None = True,
    ) -> Self:
        """Return a database of a file, a URL, an open file, a data frame or a list.

        Parameters
        ----------
        data
            A path or a URL of CSV, TSV, JSON, JSON Lines, Parquet, Arrow, ``.npy`` or ``.npz``
            (or a pattern of such files), or an open file; a pandas or Polars data frame, a table
            of Arrow, or anything with the Arrow C stream; a dictionary of columns, or of keys and
            their values; a list of records, of pairs or of keys. By default the bundled names.
        key, value
            Key and value columns, by name or number from 1; by default the first, and the others.
        delimiter, header, encoding
            How CSV and TSV are written: one character, whether the first record names the columns,
            and the text's encoding.
        key_type, value_type
            ``"text"`` or ``"number"``; by default what the cells say.
        data_format
            ``"csv"``, ``"tsv"``, ``"json"``, ``"jsonl"``, ``"parquet"`` or ``"arrow"``; by default
            what the name says.
        missing
            ``"skip"`` leaves rows out in which a number is missing (empty, NA, N/A, nan, null, None
            or -), and ``skipped`` of the answer tells how many; by default they are refused.
        date, categorical, ordered
            Key columns that are dates (ISO 8601; distances are in days), categories, which are the
            same or not (Aitchison and Aitken 1976), or ordered ones, grades that are numbers (Wang
            and van Ryzin 1981). Columns of numbers and these make one product of kernels.
        keys, values
            Array files (…, K, D) and (…, K, Dv), in place of ``data``.
        labels
            A file with the name of each key of arrays.
        read_twice
            Whether a pipe is held in memory, so that it may be asked again; None: only where keys
            are numbers, from which a kernel's width is worked out beforehand.

        Raises
        ------
        QkvError
            What cannot be read, with the place and the way out.
        """
        if missing not in (None, SKIP):
            raise UsageError(
                f"`missing` {missing!r} is not 'skip'; by default what is missing is refused"
            )
        codings: tuple[Coding, ...] = ()
        if date or categorical or ordered:
            codings = _codings(date=date, categorical=categorical, ordered=ordered)
        options = TableOptions(
            key=(key,) if isinstance(key, str) else tuple(map(str, key)),
            value=(value,) if isinstance(value, str) else tuple(map(str, value)),
            delimiter=delimiter,
            header=header,
            encoding=encoding,
            key_type=key_type,
            value_type=value_type,
            format=data_format,
            missing=missing,
            codings=codings,
        )
        database, file = cls.__new__(cls), None
        if hasattr(data, "read"):
            file, data, options = _copied(data, options)
        if file is not None:
            weakref.finalize(database, file.close)  # which removes it
        if data is None and keys is None:
            name = "names.csv"
            data, options = sample(name), options.bundled(f"the bundled {name}")
        if data is None or isinstance(data, str | os.PathLike):
            k, v, names = (None if p is None else os.fspath(p) for p in (keys, values, labels))
            path = "" if data is None else os.fspath(data)
            database.store = open_store(
                path, options, keys=k, values=v, labels=names, twice=read_twice
            )
            return database
        from qkvcli.sources.memory import columns_of, store_of, store_of_columns

        columns = columns_of(data)
        if codings and columns is None:
            raise UsageError(f"`{codings[0].kind}` is of a table, and `data` has no columns")
        database.store = store_of(data) if columns is None else store_of_columns(columns, options)
        return database

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.store.columns

    @property
    def kind(self) -> str:
        """What keys are: ``"text"``, numeric columns of a ``"table"``, or an ``"array"``."""
        return self.store.kind

    @property
    def note(self) -> str:
        """What the user should know of how the file is read; "" for nothing."""
        return self.store.note

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the heads."""
        return self.store.batch_shape

    def __repr__(self) -> str:
        rows = self.store.heads[0].rows
        count = "" if rows is None else f", {rows} rows"
        key, value = ", ".join(self.columns.key), ", ".join(self.columns.value[:4])
        return f"Database({self.store.name}: {self.kind} keys {key}; values {value}{count})"

    def lookup(
        self,
        queries: ArrayLike | Asked,
        *,
        mode: str | Sequence[str] = EXACT,
        top: int = 10,
        min_weight: float = 0.0,
        explain: bool = False,
        **scoring: Unpack[Scoring],
    ) -> Lookup:
        """Return the keys that queries attend to, as ``qkv lookup`` does.

        Parameters
        ----------
        queries
            As of ``attend``.
        mode
            One mode, or several to be compared.
        top
            How many keys to list; 0 for all.
        min_weight
            Leave keys out that have less weight in every mode.
        explain
            Whether to say where scores of text come from: ``origins`` of the matches.
        **scoring
            As ``Scoring`` says.

        Returns
        -------
        Lookup
            A query that attends to no key is ``unmatched``, with the closest key.

        Raises
        ------
        QkvError
            What cannot be asked, with the way out.

        Examples
        --------
        >>> found = Database.open().lookup("Li", mode="softmax").found[0]
        >>> found.matches[0].record, round(found.matches[0].weights[0], 2)
        (Record(key=('Li',), value=('Mu',)), 1.0)
        """
        from qkvcli.run.lookup import look_up

        with _runner(scoring) as runner:
            question = self.ask(
                queries,
                runner,
                mode=mode,
                top=top or None,
                min_weight=min_weight,
                explain=explain,
                **scoring,
            )
            return look_up(question)

    def attend(  # noqa: PLR0913 - each is an option of the command
        self,
        queries: ArrayLike | Asked | None = None,
        *,
        mode: str = SOFTMAX,
        causal: bool = False,
        valid_lens: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        top: int = 0,
        weights: bool = False,
        perplexity: bool = True,
        jacobian: bool = False,
        degree: int | None = None,
        std_error: bool = False,
        band: float | None = None,
        loo: bool = False,
        **scoring: Unpack[Scoring],
    ) -> Answer:
        """Return what the values come to under each query's weights: Σᵢ α(q, kᵢ) vᵢ.

        Parameters
        ----------
        queries
            Strings, or vectors (…, Q, D). One string or vector is one query; where D is 1, Q
            numbers are Q queries. Heads (…, Hq, Q, D) may be a multiple of the keys' heads
            (grouped-query attention), or keys without leading axes are shared by all. None where
            the database brings its own, or ``mode`` is ``"average"``.
        mode
            ``"exact"``, ``"approximate"``, ``"softmax"`` or ``"average"``.
        causal
            Whether query i attends to the keys 0 … i only.
        valid_lens
            How many leading keys may be attended to: one number, (B,) or (B, Q) for the first
            leading axis, or without one (Q,).
        mask
            True where a query may attend, or numbers that are added to the scores; of a shape that
            broadcasts to (…, Q, K).
        top
            How many of the best keys to list for each query; row −1 pads a list.
        weights, perplexity, jacobian
            Whether to return the whole matrix of weights, the effective number of keys, and
            ∂ answer / ∂ query.
        degree
            Of a regression, 0 for weighted means and 1 for weighted lines, whose slope is then the
            ``jacobian``. By default what predicts rows better, where no ``bandwidth`` is given,
            cross-validation is quick, and nothing is asked that is of the means alone.
        std_error, band
            Whether to return the standard error of the output, and the ``lower`` and ``upper`` ends
            of a band that holds the mean so often: 0.95.
        loo
            Whether every row is asked without itself; ``queries`` are then the keys, or None. The
            answer has ``residuals`` and ``measures``.
        **scoring
            As ``Scoring`` says.

        Returns
        -------
        Answer
            Its arrays are of shape (…, Q, …), with the leading axes of the queries or of the keys.
            Pooled numbers are in ``output``, pooled text is in ``labels``. Where a query attends
            to nothing ``answered`` is False and its output is NaN.

        Raises
        ------
        QkvError
            What cannot be asked, with the place and the way out.

        Examples
        --------
        >>> pairs = Database([[1.0, 0.0], [0.0, 1.0]], [10.0, 20.0])
        >>> pairs.attend([[1.0, 0.0]], score="dot").output.round(3)
        array([[12.689]])
        """
        if not isinstance(scoring.get("score", ""), str | None):
            raise UsageError("several `score` are of a lookup; give one")
        from qkvcli.run.pool import pool as pooling

        if loo and queries is None:
            queries = self.own_keys()
        with _runner(scoring) as runner:
            question = self.ask(
                queries,
                runner,
                mode=mode,
                degree=degree,
                std_error=std_error,
                band=band,
                loo=loo,
                causal=causal,
                valid_lens=valid_lens,
                mask=mask,
                top=top,
                weights=weights,
                perplexity=perplexity,
                jacobian=jacobian,
                **scoring,
            )
            return pooling(question)

    def pool(self, queries: ArrayLike | Asked | None = None, **options: Any) -> Answer:  # noqa: ANN401
        """Return what ``attend`` does, as ``qkv pool`` asks it.

        Examples
        --------
        >>> Database.open().pool("Lee").labels[0].weights.round(2)
        array([[0.02, 0.1 , 0.52, 0.02, 0.02, 0.33]])
        """
        return self.attend(queries, **options)

    def join(  # noqa: PLR0913 - each is an option of the command
        self,
        queries: Any,  # noqa: ANN401 - what Database.open takes, or strings, or what ``read`` gives
        *,
        query_key: str | Sequence[str] = (),
        mode: str = APPROXIMATE,
        how: str = "left",
        top: int = 1,
        one_to_one: bool = False,
        truth: str | None = None,
        progress: Progress | None = None,
        **scoring: Unpack[Scoring],
    ) -> Join:
        """Return a table of queries joined to this one, as ``qkv lookup --join`` does.

        Parameters
        ----------
        queries
            A data frame, a dictionary of columns or records, strings, vectors (Q, D), a path, or
            what ``read`` returns.
        query_key
            Which of its columns are the queries; by default those that are called as the keys.
        mode
            ``"approximate"``, ``"exact"`` or ``"softmax"``, which weighs the candidates.
        how
            ``"left"`` keeps queries that nothing matches; ``"inner"`` leaves them out.
        top
            How many candidates a query has at most.
        one_to_one
            Whether a key stands for one query at most: the join of the largest sum of scores.
        truth
            The column of the queries that holds the right key; or ``"COL=ID"``, the column that
            holds the value of the column ID of the right row. The ``measures`` are taken of it.
        progress
            Told of rows as they are done.
        **scoring
            As ``Scoring`` says; ``null_score`` is what a match scores at least.

        Raises
        ------
        QkvError
            What cannot be asked, with the way out.

        Examples
        --------
        >>> found = Database.open().join({"last_name": ["Lipten", "xyz"]}, null_score=0.7)
        >>> found.columns()["first_name"]
        ['Zachary', None]
        """
        from qkvcli.run import join as joins

        if mode not in (APPROXIMATE, EXACT, SOFTMAX):
            raise UsageError(f"`join` takes the best keys, and `mode={mode!r}` has none")
        if how not in ("left", "inner"):
            raise UsageError(f"`join` is 'left' or 'inner', not {how!r}")
        asked = self._table_of(queries, query_key)
        if self.batch_shape or asked.batch_shape:
            raise UsageError("`join` is of one table, and these are heads of arrays")
        if not asked.cells:  # of an array, or the keys themselves
            labels = asked.queries[0].labels
            asked = asked._replace(names=("query",), cells=tuple((label,) for label in labels))
        right, name = self._truth(asked, truth)
        # What is measured is weighed too, though the table of the best keys has no weights.
        weighing = SOFTMAX if truth and mode == APPROXIMATE else mode
        with _runner(scoring) as runner:
            question = self.ask(asked, runner, mode=weighing, top=top, perplexity=False, **scoring)
            if one_to_one:
                join = joins.one_to_one(question, asked, progress)
            else:
                join = joins.join(question, asked, top, progress)
        if truth:
            join = replace(join, measures=joins.measures(join, right, name))
        join = join if mode == weighing else join.unweighted()
        return replace(join, inner=how == "inner")

    def groups(self, progress: Progress | None = None, **scoring: Unpack[Scoring]) -> Groups:
        """Return this table with its rows put together where they stand for the same.

        Two rows do where one scores at least ``null_score`` as a query of the other; groups are
        what hangs together by such pairs. It is what ``qkv lookup --dedupe`` does.

        Examples
        --------
        >>> found = Database.open({"Li": 1, "LI": 2, "Hu": 3})
        >>> found.groups(null_score=0.9).groups
        (1, 1, 2)
        """
        from qkvcli.run import join as joins

        if self.batch_shape:
            raise UsageError("`dedupe` is of one table, and these are heads of arrays")
        if scoring.get("null_score") is None:
            raise UsageError("`dedupe` needs `null_score`: from what score on rows are the same")
        asked = self.own_keys()
        with _runner(scoring) as runner:
            question = self.ask(asked, runner, mode=APPROXIMATE, perplexity=False, **scoring)
            return joins.grouped(question, progress)

    def learn(self, queries: Any = None, truth: str | None = None, **options: Any) -> Model:  # noqa: ANN401
        """Return the score that answers examples best, as ``qkv learn`` does.

        Parameters
        ----------
        queries
            For text, what ``join`` takes.
        truth
            As of ``join``.
        **options
            As of ``learned``, which also returns what the score reaches.

        Examples
        --------
        >>> streets = Database([f"{n} Main Street" for n in range(40)])
        >>> asked = {"q": [f"{n} Main Str." for n in range(40)]}
        >>> asked["right"] = [f"{n} Main Street" for n in range(40)]
        >>> model = streets.learn(asked, "right", query_key="q")
        >>> streets.lookup("7 Main Str.", mode="approximate", model=model).found[0].matches[0].row
        7
        """
        return self.learned(queries, truth, **options).model

    def learned(  # noqa: PLR0913 - each is an option of the command
        self,
        queries: Any = None,  # noqa: ANN401 - what ``join`` takes
        truth: str | None = None,
        *,
        query_key: str | Sequence[str] = (),
        metric: str | None = None,
        rank: int | None = None,
        validate: float = 0.2,
        penalty: float = 1.0,
        seed: int = 0,
        case_sensitive: bool = False,
        keep_accents: bool = False,
        progress: Progress | None = None,
        workers: int | None = 1,
    ) -> Learned:
        """Return a learned score, and what it reaches on examples held out.

        Parameters
        ----------
        queries, truth, query_key
            As of ``join``: the examples, and which of their columns say what is right. Of arrays
            queries alone, of which each has the key of its row for the right one. Without
            ``queries`` rows of numbers are examples of their own values.
        metric, rank
            Of numbers: ``"diagonal"`` (the default) or ``"full"``, or a projection to so many
            dimensions; of arrays to how many both are projected.
        validate
            The share of the examples that is held out.
        penalty
            What squares of weights cost, divided by the number of examples; of a regression
            squares of how far the metric is from the one it began with.
        seed
            Of what is drawn.
        case_sensitive, keep_accents
            Whether case and diacritics of text count.
        progress
            Told of rows as they are done.
        workers
            As ``Scoring`` says.

        Raises
        ------
        QkvError
            What cannot be learned from, with the way out.
        """
        from qkvcli.run import learn

        training = learn.checked(validate, penalty, seed)
        if self.kind != "text":
            for option in ("case_sensitive", "keep_accents"):
                if locals()[option]:
                    raise UsageError(f"`{option}` is of text, and the keys are numbers")
            with executor(workers) as runner:
                return self._learned_of_numbers(queries, truth, metric, rank, training, runner)
        if metric is not None or rank is not None:
            raise UsageError("`metric` and `rank` are of numbers, and the keys are text")
        folds = {"case_sensitive": case_sensitive, "keep_accents": keep_accents}
        if queries is None or truth is None:
            raise UsageError("learning needs `queries` and their column of right answers, `truth`")
        with executor(workers) as runner:
            found = self.examples(queries, truth, runner, query_key, progress, **folds)
        return learn.learn_text(*found, training)

    def _learned_of_numbers(  # noqa: PLR0913, PLR0917 - what learning is told
        self,
        queries: Any,  # noqa: ANN401 - what ``join`` takes
        truth: str | None,
        metric: str | None,
        rank: int | None,
        training: Training,
        runner: Executor,
    ) -> Learned:
        """Return a learned metric, or of pairs of vectors two projections."""
        from qkvcli.run import metric as metrics

        if self.columns.codings:
            raise UsageError("`learn` is of plain numbers, and key columns are dates or categories")
        if metric not in (None, metrics.DIAGONAL, metrics.FULL):
            raise UsageError(f"`metric` is 'diagonal' or 'full', not {metric!r}")
        if metric is not None and rank is not None:
            raise UsageError("`rank` is a metric of its own; pass it without `metric`")
        if truth is not None:
            raise UsageError("`truth` is a column of text, and the keys are numbers; leave it out")
        asked = self._asked(queries)
        if asked is None:
            return metrics.learn_metric(
                self.store, training, metric or metrics.DIAGONAL, rank, runner
            )
        if metric is not None:
            raise UsageError("`metric` is of rows and their values; of `queries` pass `rank`")
        if self.batch_shape or asked.batch_shape:
            raise UsageError("`learn` is of one head, and these are several")
        import numpy as np

        from qkvcli.blocks import rows_of

        keys = rows_of(self.store.heads[0].blocks(), checked=True).keys
        vectors = np.array(asked.queries[0].keys, np.float64)
        if len(vectors) != len(keys):
            raise UsageError(
                f"{len(vectors)} queries for {len(keys)} keys; the key of a query's row is "
                "the right one, so give as many"
            )
        places = np.arange(len(keys))
        return metrics.learn_pairs(vectors, keys, places, training, rank, self.store.name, runner)

    def examples(  # noqa: PLR0913 - what examples are made of
        self,
        queries: Any,  # noqa: ANN401 - what ``join`` takes
        truth: str,
        runner: Executor,
        query_key: str | Sequence[str] = (),
        progress: Progress | None = None,
        *,
        case_sensitive: bool = False,
        keep_accents: bool = False,
    ) -> tuple[Examples, TextModel]:
        """Return queries with the features of their candidates, and the score that chose these.

        Parameters
        ----------
        queries, truth, query_key
            As of ``join``.
        runner, progress
            What runs the fold, and who is told of rows.
        case_sensitive, keep_accents
            Whether case and diacritics of text count.
        """
        from qkvcli.run import learn
        from qkvcli.scores.model import TextModel

        first = TextModel(learn.FIRST, learn.TEMPERATURE, None, case_sensitive, keep_accents)
        asked = self._table_of(queries, query_key)
        right, name = self._truth(asked, truth)
        learn.check_count(len(right))
        question = self.ask(asked, runner, mode=APPROXIMATE, model=first, top=1)
        return learn.text_examples(question, asked, right, name, progress), first

    def _table_of(self, queries: Any, key: str | Sequence[str]) -> Asked:  # noqa: ANN401
        """Return queries with the rows of the table that they are in."""
        from qkvcli.sources.memory import columns_of
        from qkvcli.sources.queries import queries_from_columns

        if isinstance(queries, str | os.PathLike):
            return self.read(queries, query_key=key)
        columns = None if isinstance(queries, Asked) else columns_of(queries)
        if columns is None:
            from qkvcli.sources.memory import queries_of

            return queries if isinstance(queries, Asked) else queries_of(self.store, queries)
        names = (key,) if isinstance(key, str) else tuple(map(str, key))
        return queries_from_columns(self.store, columns, names)

    def _truth(self, asked: Asked, truth: str | None) -> tuple[list[str], Callable[[Record], str]]:
        """Return what the right answer of each query is called, and what says so of a row."""
        from qkvcli.sources.table import find_column

        if truth is None:
            return [], _key_name
        column, _, named = truth.partition("=")
        at = find_column(column, asked.names, "`truth`", "the table of queries")
        right = [row[at] for row in asked.cells]
        if not named:
            return right, _key_name
        columns = self.columns
        place = find_column(named, (*columns.key, *columns.value), "`truth`", self.store.name)
        return right, lambda record: (*record.key, *record.value)[place]

    def ask(
        self,
        queries: ArrayLike | Asked | None,
        runner: Executor,
        **options: Any,  # noqa: ANN401 - those of ``Request``
    ) -> Question:
        """Return a question resolved for this database, with what will work at it.

        Parameters
        ----------
        queries
            As of ``attend``.
        runner
            What runs the folds: see ``qkvcli.run.choose.executor``.
        **options
            What ``lookup`` and ``attend`` take.
        """
        return resolve(self.store, self._asked(queries), Request(**options), runner)

    def _asked(self, queries: ArrayLike | Asked | None) -> Asked | None:
        """Return queries as the store meets them; its own where none are given."""
        if isinstance(queries, Asked):
            return queries
        if queries is not None:
            from qkvcli.sources.memory import queries_of

            return queries_of(self.store, queries)
        if self.store.own_queries is None:
            return None
        from qkvcli.sources.queries import queries_from_array

        settings = self.store.settings
        found = queries_from_array(self.store, self.store.own_queries)
        if settings is not None and settings.query_labels is not None:
            found = found.labelled(settings.query_labels)
        return found._replace(settings=settings)

    def typed(self, words: Sequence[str]) -> Asked:
        """Return queries as they were typed: text, or numbers such as 1.5,0.3."""
        from qkvcli.sources.queries import queries_from_words

        return queries_from_words(self.store, words)

    def read(
        self,
        path: str | os.PathLike[str],
        encoding: str | None = None,
        *,
        query_key: str | Sequence[str] = (),
        header: bool = True,
        data_format: str | None = None,
    ) -> Asked:
        """Return the queries of a file, or of ``"-"``, standard input.

        Parameters
        ----------
        path
            An array file; a table that has the key columns; or lines, of text or of numbers.
        encoding
            Of text, if not UTF-8.
        query_key
            Which columns of a table are the queries, where they are called otherwise than the keys.
        header
            Whether the first record of CSV or TSV names the columns.
        data_format
            The format of standard input, if it is a table.
        """
        from qkvcli.sources.queries import queries_from_file

        key = (query_key,) if isinstance(query_key, str) else tuple(map(str, query_key))
        return queries_from_file(
            self.store, os.fspath(path), encoding, key=key, header=header, form=data_format
        )

    def own_keys(self) -> Asked:
        """Return the keys as queries, as in self-attention."""
        from qkvcli.sources.queries import own_keys

        return own_keys(self.store)


def _key_name(record: Record) -> str:
    return " ".join(record.key)


def sample(name: str) -> str:
    """Return the path of a bundled file, from a wheel, an editable install or a checkout alike."""
    package = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(package, "sample_data", name)
    if os.path.isfile(inside):
        return inside
    return os.path.join(os.path.dirname(package), "sample_data", name)


def _codings(**columns: str | Sequence[str]) -> tuple[Coding, ...]:
    """Return what is said of key columns, by the kind that they are of."""
    from qkvcli.coded import Coding  # of a regression alone

    return tuple(
        Coding(kind, str(name))
        for kind, names in columns.items()
        for name in ((names,) if isinstance(names, str) else names)
    )


def _runner(scoring: Scoring) -> AbstractContextManager[Executor]:
    """Return what does the work, and leave how queries and keys are scored."""
    return executor(scoring.pop("workers", 1), scoring.pop("scheduler", None))


def _copied(stream: Any, options: TableOptions) -> tuple[Any, str, TableOptions]:  # noqa: ANN401
    """Return an open file's content as a temporary file, its path, and how it is to be read."""
    import tempfile

    name = getattr(stream, "name", "")
    name = name if isinstance(name, str) else ""
    ending = "".join(os.path.splitext(name)[1:]) or (f".{options.format}" if options.format else "")
    content = stream.read()
    if not isinstance(content, str | bytes):
        raise UsageError("`data` is an open file that gives neither text nor bytes")
    data = content.encode() if isinstance(content, str) else content
    file = tempfile.NamedTemporaryFile(suffix=ending)  # noqa: SIM115 - it lives as long as the database
    file.write(data)
    file.flush()
    return file, file.name, replace(options, name=name or "an open file")


def attend(
    queries: ArrayLike | None,
    keys: ArrayLike,
    values: ArrayLike | None = None,
    **options: Any,  # noqa: ANN401 - those of Database.attend
) -> Answer:
    """Return what keys and values in memory answer queries, as ``Database(keys, values).attend``.

    Numbers are scored by ``"scaled-dot"`` by default; ``pool`` of a table by ``"gaussian"``.

    Examples
    --------
    >>> attend([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [10.0, 20.0], score="dot").output.round(3)
    array([[12.689]])
    >>> attend("Li", ["Lipton", "Smola"], ["Zachary", "Alex"], mode="approximate").labels[0]
    LabelWeights(labels=('Zachary',), weights=array([[1.]]))
    """
    return Database(keys, values).attend(queries, **options)


def pool(
    queries: ArrayLike | None = None,
    data: Any = None,  # noqa: ANN401 - what Database.open takes
    *,
    key: str | Sequence[str] = (),
    value: str | Sequence[str] = (),
    **options: Any,  # noqa: ANN401 - those of Database.attend
) -> Answer:
    """Return what a table or an ``.npz`` answers queries, as ``Database.open(data).pool``.

    Columns of numbers are scored by ``"gaussian"`` by default; arrays, as by ``attend``, by
    ``"scaled-dot"``.

    Examples
    --------
    >>> pool("Lee").labels[0].labels
    ('Aston', 'Zachary', 'Mu', 'Alex', 'Rachel', 'Brent')
    """
    return Database.open(data, key=key, value=value).pool(queries, **options)


def lookup(
    queries: ArrayLike,
    data: Any = None,  # noqa: ANN401 - what Database.open takes
    *,
    key: str | Sequence[str] = (),
    value: str | Sequence[str] = (),
    **options: Any,  # noqa: ANN401 - those of Database.lookup
) -> Lookup:
    """Return the keys of a table that queries attend to, as ``Database.open(data).lookup``.

    Examples
    --------
    >>> lookup("Li").found[0].matches[0].record
    Record(key=('Li',), value=('Mu',))
    """
    return Database.open(data, key=key, value=value).lookup(queries, **options)


def learn(
    queries: Any = None,  # noqa: ANN401 - what Database.learn takes
    data: Any = None,  # noqa: ANN401 - what Database.open takes
    truth: str | None = None,
    *,
    key: str | Sequence[str] = (),
    value: str | Sequence[str] = (),
    **options: Any,  # noqa: ANN401 - those of Database.learned
) -> Model:
    """Return the score of a table that answers examples best, as ``Database.open(data).learn``.

    Examples
    --------
    >>> table = {"x": [float(n) for n in range(40)], "y": [float(n % 20) for n in range(40)]}
    >>> learn(data=table, key="x", value="y").columns
    ('x',)
    """
    return Database.open(data, key=key, value=value).learn(queries, truth, **options)
