"""Attention from Python: the same code and the same answers as the commands, without files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import NoMatchError, UsageError, did_you_mean
from qkvcli.run import lookup as lookups
from qkvcli.run import pool as pools
from qkvcli.run.matrix import check_size
from qkvcli.scores import BANDWIDTH_RULES, TEXT_SCORES, VECTOR_SCORES
from qkvcli.sources import sample
from qkvcli.sources.databases import Database, open_database
from qkvcli.sources.memory import database_of, queries_of
from qkvcli.sources.table import TableOptions
from qkvcli.weights import EXACT, MODES, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from qkvcli.answer import Answer, Lookup, Pool
    from qkvcli.blocks import Queries

    Bandwidth = float | Sequence[float] | str

_PADDING = {"best_rows": -1, "best_scores": -np.inf, "best_weights": 0.0}
_STACKED = (
    *("answered", "numbers", "perplexity", "best_rows", "best_scores", "best_weights"),
    *("peak", "mass", "jacobian", "weights"),
)


def attend(  # noqa: PLR0913 - each is an option of the command
    queries: ArrayLike | None,
    keys: ArrayLike,
    values: ArrayLike | None = None,
    *,
    mode: str = SOFTMAX,
    score: str | None = None,
    temperature: float | None = None,
    neighbors: int | None = None,
    bandwidth: Bandwidth | None = None,
    case_sensitive: bool = False,
    mask: ArrayLike | None = None,
    causal: bool = False,
    valid_lens: ArrayLike | None = None,
    top: int = 0,
    weights: bool = False,
    perplexity: bool = True,
    jacobian: bool = False,
    threads: int = 1,
) -> Answer:
    """Return what keys and values answer queries: Σᵢ α(q, kᵢ) vᵢ.

    Nothing is copied or converted where queries, keys and values are contiguous float32 or float64
    arrays; they are read a block at a time.

    Parameters
    ----------
    queries
        Q strings, or vectors (…, Q, D). None where ``mode`` is ``"average"``.
    keys
        K strings, or vectors (…, K, D); every head along the leading axes, (H,) or (B, H), is
        attended to on its own. K numbers are vectors of width 1.
    values
        Numbers (…, K, Dv), or K strings, which are pooled as one-hot vectors. K numbers are
        values of width 1. The keys themselves by default.
    mode
        ``"exact"``, ``"approximate"``, ``"softmax"`` or ``"average"``.
    score
        a(q, k), one of ``qkvcli.scores.TEXT_SCORES`` or ``VECTOR_SCORES``; by default
        ``"indel-winkler"`` for text and ``"scaled-dot"`` for vectors.
    temperature
        T of the softmax; by default 0.1 for text and 1 for vectors.
    neighbors
        Attend to this many best keys alone.
    bandwidth
        The width of a kernel, one per key column, or ``"scott"``, ``"silverman"`` or ``"cv"``.
    case_sensitive
        Whether text is scored as it is, not case-folded.
    mask
        True where a query may attend, (Q, K) or (…, Q, K).
    causal
        Whether query i attends to the keys 0 … i only.
    valid_lens
        How many leading keys may be attended to: one number, one per entry of the first leading
        axis, one per query, or (B, Q).
    top
        How many of the best keys to list for each query; row −1 pads a list.
    weights, perplexity, jacobian
        Whether to return the whole matrix of weights, the effective number of keys, and
        ∂ answer / ∂ query.
    threads
        How many blocks are worked on at a time; the answer does not depend on it.

    Returns
    -------
    Answer
        Its arrays are of shape (…, Q, …), with the leading axes of the keys. Pooled numbers are
        in ``numbers``, pooled text is in ``shares``. Where a query attends to nothing
        ``answered`` is False and its numbers are NaN.

    Raises
    ------
    QkvError
        Input that cannot be used, with the place and the way out.

    Examples
    --------
    >>> answer = attend([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [10.0, 20.0], score="dot")
    >>> answer.numbers.round(3)
    array([[12.689]])
    >>> attend("Li", ["Lipton", "Smola"], ["Zachary", "Alex"], mode="approximate").shares[0]
    Share(labels=('Zachary',), weights=array([[1.]]))
    """
    if top < 0:
        message = f"top {top} is not a whole number from 0"
        raise UsageError(message)
    database = database_of(keys, values)
    request = _pooling(
        mode=mode,
        score=score,
        temperature=temperature,
        neighbors=neighbors,
        bandwidth=_widths(bandwidth),
        case_sensitive=case_sensitive,
        causal=causal,
        lengths=_lengths(valid_lens),
        allowed=_allowed(mask),
        perplexity=perplexity,
        jacobian=jacobian,
        threads=threads,
    )
    asked = None if queries is None else queries_of(database, queries)
    settled = pools.settle(database, asked, request)
    if weights:
        shape = (*database.lead, len(settled.queries[0]), database.keys)
        check_size(shape, np.dtype(np.float64).itemsize, "weights")
    shown = replace(
        settled,
        plans=tuple(
            replace(plan, top=top, matrix=weights, records=plan.records or top > 0)
            for plan in settled.plans
        ),
    )
    return _stacked(pools.pool(database, shown, request).answers, database.lead)


def _stacked(answers: Sequence[Answer], lead: tuple[int, ...]) -> Answer:
    """Return the answers of all heads as one, with leading axes; rows are then not shown."""
    if not lead:
        return answers[0]

    width = max(answer.best_rows.shape[1] for answer in answers)

    def stack(name: str) -> NDArray[Any] | None:
        parts = [getattr(answer, name) for answer in answers]
        if parts[0] is None:
            return None
        if name in _PADDING:
            pad = _PADDING[name]
            parts = [
                np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=pad) for p in parts
            ]
        return np.stack(parts).reshape(*lead, *parts[0].shape)

    arrays: dict[str, Any] = {name: stack(name) for name in _STACKED}
    return replace(answers[0], **arrays, records={})


def pool(  # noqa: PLR0913 - each is an option of the command
    queries: ArrayLike | None = None,
    data: str | None = None,
    *,
    key: str | Sequence[str] = (),
    value: str | Sequence[str] = (),
    mode: str = SOFTMAX,
    score: str | None = None,
    temperature: float | None = None,
    neighbors: int | None = None,
    bandwidth: Bandwidth | None = None,
    case_sensitive: bool = False,
    mask: ArrayLike | None = None,
    causal: bool = False,
    valid_lens: ArrayLike | None = None,
    jacobian: bool = False,
    threads: int = 1,
) -> Pool:
    """Return what a table or an ``.npz`` answers queries, as ``qkv pool`` does.

    Parameters
    ----------
    queries
        Strings, or vectors (…, Q, D). None where ``mode`` is ``"average"``, or where an ``.npz``
        brings queries of its own.
    data
        A CSV, TSV, JSON, JSONL or ``.npz`` file; by default the bundled table of names.
    key, value
        Key and value columns of a table, by name or number from 1.
    mode, score, temperature, neighbors, bandwidth, case_sensitive
        As in ``attend``; the default score of numeric columns is ``"gaussian"``.
    mask, causal, valid_lens, jacobian, threads
        As in ``attend``.

    Examples
    --------
    >>> answer = pool("Lee").answers[0]
    >>> answer.shares[0].labels
    ('Aston', 'Zachary', 'Mu', 'Alex', 'Rachel', 'Brent')
    >>> answer.shares[0].weights.round(2)
    array([[0.01, 0.11, 0.53, 0.06, 0.01, 0.29]])
    """
    request = _pooling(
        mode=mode,
        score=score,
        temperature=temperature,
        neighbors=neighbors,
        bandwidth=_widths(bandwidth),
        case_sensitive=case_sensitive,
        causal=causal,
        lengths=_lengths(valid_lens),
        allowed=_allowed(mask),
        jacobian=jacobian,
        threads=threads,
    )
    database = _opened(data, key, value)
    settled = pools.settle(database, _asked(database, queries), request)
    return pools.pool(database, settled, request)


def lookup(  # noqa: PLR0913 - each is an option of the command
    queries: ArrayLike,
    data: str | None = None,
    *,
    key: str | Sequence[str] = (),
    value: str | Sequence[str] = (),
    mode: str | Sequence[str] = EXACT,
    score: str | None = None,
    temperature: float | None = None,
    neighbors: int | None = None,
    bandwidth: Bandwidth | None = None,
    case_sensitive: bool = False,
    top: int = 10,
    min_weight: float = 0.0,
    threads: int = 1,
) -> Lookup:
    """Return the keys that queries attend to, as ``qkv lookup`` does.

    Parameters
    ----------
    queries, data, key, value
        As in ``pool``.
    mode
        One mode, or several to be compared.
    score, temperature, neighbors, bandwidth, case_sensitive, threads
        As in ``pool``.
    top
        How many keys to list; 0 for all.
    min_weight
        Leave keys out that have less weight in every mode.

    Raises
    ------
    NoMatchError
        No query attends to any key.

    Examples
    --------
    >>> found = lookup("Li", mode="softmax").found[0]
    >>> found.matches[0].record, round(found.matches[0].weights[0], 2)
    (Record(key=('Li',), value=('Mu',)), 0.98)
    """
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    _check(modes, score, temperature, neighbors)
    request = lookups.Request(
        modes=modes,
        score=score,
        bandwidth=_widths(bandwidth),
        temperature=temperature,
        neighbors=neighbors,
        case_sensitive=case_sensitive,
        top=top,
        min_weight=min_weight,
        threads=threads,
    )
    database = _opened(data, key, value)
    asked = _asked(database, queries)
    if asked is None:
        message = "no query; give one or more"
        raise UsageError(message)
    answer, unmatched = lookups.look_up(database, asked, lookups.settle(database, request))
    if len(unmatched) == len(answer.found):
        raise NoMatchError(unmatched[-1])
    return answer


def _pooling(**options: Any) -> pools.Request:  # noqa: ANN401 - the fields of a request
    _check((options["mode"],), options["score"], options["temperature"], options["neighbors"])
    return pools.Request(**options)


def _check(
    modes: tuple[str, ...], score: str | None, temperature: float | None, neighbors: int | None
) -> None:
    """Refuse what the command line's own readers refuse."""
    scores = (*TEXT_SCORES, *VECTOR_SCORES)
    for name, choices, what in [*((m, MODES, "mode") for m in modes), (score, scores, "score")]:
        if name is not None and name not in choices:
            message = f"{what}: there is no {name!r}{did_you_mean(str(name), choices)}"
            raise UsageError(message)
    if temperature is not None and not 0 < temperature < np.inf:
        message = f"temperature {temperature} is not a finite number above 0"
        raise UsageError(message)
    if neighbors is not None and neighbors < 1:
        message = f"neighbors {neighbors} is not a whole number from 1"
        raise UsageError(message)


def _widths(bandwidth: Bandwidth | None) -> str | tuple[float, ...] | None:
    if isinstance(bandwidth, str) and bandwidth not in BANDWIDTH_RULES:
        message = f"bandwidth: there is no rule {bandwidth!r}"
        raise UsageError(message + did_you_mean(bandwidth, BANDWIDTH_RULES))
    if bandwidth is None or isinstance(bandwidth, str):
        return bandwidth
    return tuple(float(h) for h in np.atleast_1d(np.asarray(bandwidth)))


def _lengths(valid_lens: ArrayLike | None) -> NDArray[np.int64] | None:
    if valid_lens is None:
        return None
    lengths = np.asarray(valid_lens)
    if lengths.dtype.kind not in "iu":
        message = f"valid_lens of dtype {lengths.dtype}; they are whole numbers"
        raise UsageError(message)
    return lengths.astype(np.int64)


def _allowed(mask: ArrayLike | None) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    allowed = np.asarray(mask)
    if allowed.dtype != np.bool_:
        message = f"a mask of dtype {allowed.dtype}; it is True where a query may attend"
        raise UsageError(message)
    return allowed


def _opened(data: str | None, key: str | Sequence[str], value: str | Sequence[str]) -> Database:
    columns = TableOptions(
        key=(key,) if isinstance(key, str) else tuple(key),
        value=(value,) if isinstance(value, str) else tuple(value),
    )
    return open_database(data or sample("names.csv"), columns, twice=True)


def _asked(database: Database, queries: ArrayLike | None) -> list[Queries] | None:
    if queries is not None:
        return queries_of(database, queries)
    if database.queries is None:
        return None
    from qkvcli.sources.queries import queries_from_array

    return queries_from_array(database, database.queries)
