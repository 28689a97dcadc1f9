"""Pooling: what does a database answer each query, head by head?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Pool
from qkvcli.attention import LABEL_CAP, Plan
from qkvcli.blocks import Queries
from qkvcli.errors import InputError, UsageError
from qkvcli.run.fold import fold
from qkvcli.run.matrix import labelled_weights
from qkvcli.run.settle import default_temperature, score_name, settle_scores
from qkvcli.weights import APPROXIMATE, AVERAGE, SOFTMAX, Mask, Weighting, temperature_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkvcli.answer import Answer, Runs
    from qkvcli.run.bandwidth import Bandwidth
    from qkvcli.run.fold import Progress
    from qkvcli.scores import Score
    from qkvcli.sources.databases import Database


@dataclass(frozen=True)
class Request:
    """What is to be pooled.

    Parameters
    ----------
    mode, neighbors, temperature
        How scores become weights; the temperature None for what suits the keys.
    score, bandwidth
        a(q, k), and the width of a kernel; None for what suits the keys.
    case_sensitive
        Whether text is scored as it is.
    causal, lengths, allowed
        What may be attended to: see ``masks_of``.
    jacobian, perplexity
        Whether to work out ∂ answer / ∂ q and the effective number of keys.
    threads
        How many blocks are summarised at a time; the answer does not depend on it.
    """

    mode: str = SOFTMAX
    neighbors: int | None = None
    temperature: float | None = None
    score: str | None = None
    bandwidth: str | tuple[float, ...] | None = None
    case_sensitive: bool = False
    causal: bool = False
    lengths: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None = None
    allowed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None = None
    jacobian: bool = False
    perplexity: bool = True
    threads: int = 1


@dataclass(frozen=True)
class Settled:
    """A request settled for a database: the queries and the plan of each head."""

    queries: tuple[Queries, ...]
    plans: tuple[Plan, ...]
    temperature: float
    widths: tuple[Bandwidth, ...]


def settle(database: Database, queries: Sequence[Queries] | None, request: Request) -> Settled:
    """Settle what a request means for a database.

    Raises
    ------
    UsageError, InputError
        No queries where some are needed, a Jacobian of what has none, or a mask or a score that
        does not fit the database.
    """
    if queries is None:
        queries = [_no_query(database, request)] * len(database.heads)
    temperature = request.temperature or default_temperature(database)
    scores: list[Score | None] = [None] * len(database.heads)
    widths: list[Bandwidth] = []
    if request.mode == AVERAGE:
        if request.score is not None:
            score_name(database, request.score)
    else:
        found, widths = settle_scores(
            database,
            score_name(database, request.score),
            request.bandwidth,
            temperature,
            case_sensitive=request.case_sensitive,
            modes=(request.mode,),
            threads=request.threads,
        )
        scores = list(found)
    if request.jacobian and (database.kind == "text" or request.mode != SOFTMAX):
        message = (
            "--jacobian is of softmax weights over vectors; text keys and other modes have none"
        )
        raise UsageError(message)
    masks = masks_of(database, len(queries[0]), request)
    neighbors = request.neighbors if request.mode in (APPROXIMATE, SOFTMAX) else None
    plans = tuple(
        Plan(
            score,
            Weighting(request.mode, temperature, neighbors),
            mask,
            records=bool(database.columns.texts),
            perplexity=request.perplexity,
            jacobian=request.jacobian,
            numbers=len(database.columns.numbers),
            texts=database.columns.texts,
        )
        for score, mask in zip(scores, masks, strict=True)
    )
    return Settled(tuple(queries), plans, temperature, tuple(widths))


def _no_query(database: Database, request: Request) -> Queries:
    if request.mode != AVERAGE:
        message = "no query; give one or more, - for stdin, --queries FILE or --self"
        raise UsageError(message)
    nothing = [""] if database.kind == "text" else np.zeros((1, database.depth), np.float32)
    return Queries(("",), nothing)


def masks_of(database: Database, count: int, request: Request) -> list[Mask | None]:
    """Return the mask of each head.

    ``lengths`` is one number for all; one for each entry of the first leading axis, a batch; one
    for each query; or of shape (B, Q). ``allowed`` is of shape (Q, K), or has leading axes too.

    Raises
    ------
    InputError
        A shape that does not fit, with both shapes; or more leading keys than there are.
    """
    heads = len(database.heads)
    if not request.causal and request.lengths is None and request.allowed is None:
        return [None] * heads
    keys = database.keys
    lengths = _lengths(request.lengths, database.lead, count, keys)
    allowed = _allowed(request.allowed, database.lead, count, keys)
    return [Mask(request.causal, lengths[head], allowed[head]) for head in range(heads)]


def _lengths(
    lengths: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None,
    lead: tuple[int, ...],
    count: int,
    keys: int,
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None]:
    heads = int(np.prod(lead, dtype=np.int64))
    if lengths is None:
        return [None] * heads
    odd = lengths[(lengths > keys) | (lengths < 0)]
    if odd.size:
        message = f"--valid-lens has {odd.flat[0]}, and there are {keys} keys; give 0 to {keys}"
        raise InputError(message)
    shape = lengths.shape
    batch = lead[:1]
    if shape in ((), (1,)):
        wide = np.broadcast_to(lengths.reshape(()), (*lead, count))
    elif batch and shape == batch:
        wide = np.broadcast_to(lengths.reshape(-1, *(1,) * len(lead)), (*lead, count))
    elif shape == (count,):
        wide = np.broadcast_to(lengths, (*lead, count))
    elif batch and shape == (*batch, count):
        wide = np.broadcast_to(
            lengths.reshape(*batch, *(1,) * (len(lead) - 1), count), (*lead, count)
        )
    else:
        message = f"--valid-lens of shape {shape} for {count} queries and leading axes {lead}"
        raise InputError(message + "; give one for all, for each batch entry or for each query")
    return list(wide.reshape(heads, count))


def _allowed(
    allowed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None,
    lead: tuple[int, ...],
    count: int,
    keys: int,
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None]:
    heads = int(np.prod(lead, dtype=np.int64))
    if allowed is None:
        return [None] * heads
    if allowed.shape not in ((count, keys), (*lead, count, keys)):
        message = f"--mask of shape {allowed.shape}, and the weights are of shape "
        either = f", or {(count, keys)}" if lead else ""
        raise InputError(message + f"{(*lead, count, keys)}; give that{either}")
    return list(np.broadcast_to(allowed, (*lead, count, keys)).reshape(heads, count, keys))


def pool(
    database: Database,
    settled: Settled,
    request: Request,
    *,
    progress: Progress | None = None,
) -> Pool:
    """Pool a database's values under each query's weights.

    Parameters
    ----------
    database, settled, request
        What is pooled, and how.
    progress
        Told of rows as they are done.

    Raises
    ------
    InputError
        More distinct text values than are pooled.
    UsageError
        More neighbours than keys.
    """
    answers = tuple(
        fold(source.blocks(), queries, [plan], threads=request.threads, progress=progress)[0]
        for source, queries, plan in zip(
            database.heads, settled.queries, settled.plans, strict=True
        )
    )
    _check(answers[0], database, request)
    keys = settled.queries[0].keys
    narrow = not isinstance(keys, list) and database.kind == "array" and keys.dtype == np.float32
    score = settled.plans[0].score
    return Pool(
        source=database.name,
        columns=database.columns,
        lead=database.lead,
        queries=settled.queries[0].labels,
        answers=answers,
        score=score.name if score else "",
        mode=request.mode,
        temperature=temperature_of(request.mode, settled.temperature),
        widths=tuple(found.widths for found in settled.widths),
        rule=settled.widths[0].rule if settled.widths else "",
        errors=tuple(found.error for found in settled.widths if found.error is not None),
        dtype="float32" if narrow else "float64",
    )


def _check(answer: Answer, database: Database, request: Request) -> None:
    count = request.neighbors or 0
    if count > answer.rows and request.mode in (APPROXIMATE, SOFTMAX):
        message = f"--neighbors {count}, and {database.name} has {answer.rows} keys; "
        raise UsageError(message + f"give at most {answer.rows}")
    for position, share in zip(database.columns.texts, answer.shares, strict=True):
        if share is None:
            name = database.columns.value[position]
            message = f"the column {name!r} has over {LABEL_CAP:,} distinct texts to pool; "
            raise InputError(message + "choose numeric columns with --value", database.name)


def weight_arrays(
    database: Database, settled: Settled, keys: int, where: str, *, threads: int
) -> dict[str, Runs]:
    """Return the matrix of weights (…, Q, K) with its labels, to be written run by run."""
    heads = list(zip(database.heads, settled.queries, settled.plans, strict=True))
    return labelled_weights(database, heads, keys, where, threads=threads)
