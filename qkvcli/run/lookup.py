"""Lookups: which keys does each query attend to, under one mode or several side by side?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from qkvcli.answer import Answer, Found, Lookup, Match, Runs, heads_of, pooled
from qkvcli.attention import LABEL_CAP, Plan
from qkvcli.run.fold import QUERIES_AT_ONCE, fold
from qkvcli.run.matrix import labelled_weights
from qkvcli.run.settle import default_temperature, score_name, settle_scores
from qkvcli.weights import APPROXIMATE, AVERAGE, EXACT, SOFTMAX, Weighting, temperature_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkvcli.blocks import Columns, Queries, Record, Source
    from qkvcli.run.bandwidth import Bandwidth
    from qkvcli.run.fold import Progress
    from qkvcli.scores import Score
    from qkvcli.sources.databases import Database

ALL = 1 << 40
"""A list long enough for every row."""
LABELS, SHARES = 200_000, 1 << 23
"""How many distinct texts are pooled at most, and times the queries that are folded together."""
ROUNDING = 1e-12
"""How far the weights of a row may be from 1."""


@dataclass(frozen=True)
class Request:
    """What a lookup is to find.

    Parameters
    ----------
    modes, neighbors
        How scores become weights, once for each mode.
    score, bandwidth, temperature
        a(q, k); None for what suits the database's keys.
    case_sensitive
        Whether text is scored as it is.
    top
        How many keys to list; 0 for all.
    min_weight
        Leave keys out that have less weight in every mode.
    threads
        How many blocks are summarised at a time; the answer does not depend on it.
    """

    modes: tuple[str, ...] = (EXACT,)
    score: str | None = None
    bandwidth: str | tuple[float, ...] | None = None
    temperature: float | None = None
    neighbors: int | None = None
    case_sensitive: bool = False
    top: int = 10
    min_weight: float = 0.0
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Ask:
    """A request settled for one head of a database, which may have taken a reading of its keys."""

    score: Score
    modes: tuple[str, ...]
    temperature: float
    neighbors: int | None
    top: int
    min_weight: float
    columns: Columns
    threads: int
    width: Bandwidth | None = None

    def plan(self, mode: str) -> Plan:
        """Return the plan of a mode."""
        # An exact match is not made fewer by neighbours, nor is an average.
        neighbors = self.neighbors if mode in (APPROXIMATE, SOFTMAX) else None
        return Plan(
            self.score,
            Weighting(mode, self.temperature, neighbors),
            top=self.top or ALL,
            records=True,
            perplexity=True,
            numbers=len(self.columns.numbers),
            texts=self.columns.texts,
        )

    @property
    def nearest(self) -> Plan:
        """The plan that finds the closest key."""
        weighting = Weighting(APPROXIMATE, self.temperature)
        return replace(self.plan(APPROXIMATE), weighting=weighting, top=0, perplexity=False)


def settle(database: Database, request: Request) -> list[Ask]:
    """Settle what a request means for each head of a database.

    Raises
    ------
    UsageError, InputError
        A score or a width that does not fit the keys.
    """
    temperature = request.temperature or default_temperature(database)
    name = score_name(database, request.score)
    scores, widths = settle_scores(
        database,
        name,
        request.bandwidth,
        temperature,
        case_sensitive=request.case_sensitive,
        modes=request.modes,
        threads=request.threads,
    )
    modes = tuple(dict.fromkeys(request.modes))
    return [
        Ask(
            score,
            modes,
            temperature,
            request.neighbors,
            request.top,
            request.min_weight,
            database.columns,
            request.threads,
            width,
        )
        for score, width in zip_longest(scores, widths)
    ]


def look_up(
    database: Database,
    queries: Sequence[Queries],
    asks: Sequence[Ask],
    *,
    progress: Progress | None = None,
) -> tuple[Lookup, list[str]]:
    """Look queries up in a database.

    Parameters
    ----------
    database, queries
        The database, and for each of its heads Q queries of its keys' kind.
    asks
        What to find in each head; see ``settle``.
    progress
        Told of rows as they are done.

    Returns
    -------
    Lookup
        What was found, head after head.
    list
        A line for each query that attends to no key: which key comes closest, and what to try.
    """
    found: list[Found] = []
    unmatched: list[str] = []
    rows = 0
    for source, part, ask, head in zip(
        database.heads, queries, asks, _head_names(database), strict=True
    ):
        labelled = replace(part, labels=tuple(f"{head}{label}" for label in part.labels))
        some, closest, rows = _one_head(source, labelled, ask, progress)
        found += some
        unmatched += [_unmatched(one.query, best, source, ask) for one, best in closest]
    ask = asks[0]
    answer = Lookup(
        database.name,
        database.columns,
        ask.score.name,
        ask.modes,
        tuple(temperature_of(mode, ask.temperature) for mode in ask.modes),
        tuple(found),
        rows,
        ask.neighbors,
        widths=tuple(one.width.widths for one in asks if one.width),
        rule=ask.width.rule if ask.width else "",
        errors=tuple(one.width.error for one in asks if one.width and one.width.error is not None),
    )
    return answer, unmatched


def _head_names(database: Database) -> list[str]:
    """Return what is put before a query to say which head answers it."""
    return ["".join(f"{i}/" for i in head) for head in heads_of(database.lead)]


def _one_head(
    source: Source, queries: Queries, ask: Ask, progress: Progress | None
) -> tuple[list[Found], list[tuple[Found, Match | None]], int]:
    at_once = min(len(queries), QUERIES_AT_ONCE)
    cap = max(LABEL_CAP, min(LABELS, SHARES // max(1, at_once)))
    plans = [replace(ask.plan(mode), label_cap=cap) for mode in ask.modes]
    # What can be read once only is searched for the closest key in the same reading.
    once = not source.reopenable and EXACT in ask.modes
    answers = fold(
        source.blocks(),
        queries,
        plans + [ask.nearest] * once,
        threads=ask.threads,
        progress=progress,
    )
    main = answers[: len(plans)]
    found = [_found(i, label, main, source.columns, ask) for i, label in enumerate(queries.labels)]
    missing = [i for i, one in enumerate(found) if not one.answered]
    if missing and source.reopenable:
        few = _some(queries, missing)
        nearest = fold(source.blocks(), few, [ask.nearest], threads=ask.threads, progress=progress)
        closest = [_best(nearest[0], place) for place in range(len(missing))]
    else:
        closest = [_best(answers[-1], i) if once else None for i in missing]
    return found, list(zip([found[i] for i in missing], closest, strict=True)), main[0].rows


def _unmatched(query: str, best: Match | None, source: Source, ask: Ask) -> str:
    what = "equals" if EXACT in ask.modes else "is within the bandwidth of"
    line = f"no key of {source.name} {what} {query!r}"
    way = "--mode approximate" if EXACT in ask.modes else "a larger --bandwidth"
    if best is None or best.score is None:
        return f"{line}; try {way}"
    key = ",".join(best.record.key) if source.columns.numeric_key else " ".join(best.record.key)
    score = "" if math.isinf(best.score) else f" (score {best.score + 0.0:.3f})"
    return f"{line}; the closest is {key!r}{score}: try {way}"


def weight_arrays(
    database: Database, queries: Sequence[Queries], asks: Sequence[Ask], keys: int, where: str
) -> dict[str, Runs]:
    """Return the matrix of weights (…, Q, K) with its labels, to be written run by run."""
    heads = [
        (source, part, ask.plan(ask.modes[0]))
        for source, part, ask in zip(database.heads, queries, asks, strict=True)
    ]
    return labelled_weights(database, heads, keys, where, threads=asks[0].threads)


def _some(queries: Queries, wanted: list[int]) -> Queries:
    keys = queries.keys
    picked = [keys[i] for i in wanted] if isinstance(keys, list) else keys[wanted]
    return replace(queries, labels=tuple(queries.labels[i] for i in wanted), keys=picked)


def _best(answer: Answer, query: int) -> Match | None:
    if not answer.best_rows.shape[1] or answer.best_rows[query, 0] < 0:
        return None
    row = int(answer.best_rows[query, 0])
    return Match(row, answer.records[row], float(answer.best_scores[query, 0]), (1.0,))


def _found(query: int, label: str, answers: Sequence[Answer], columns: Columns, ask: Ask) -> Found:
    scores: dict[int, float] = {}
    records: dict[int, Record] = {}
    for answer in answers:
        for row, score in zip(answer.best_rows[query], answer.best_scores[query], strict=True):
            if row >= 0:
                scores[int(row)] = float(score)
                records[int(row)] = answer.records[int(row)]
    matches = [
        Match(row, records[row], score, tuple(_weight(a, query, row, score, ask) for a in answers))
        for row, score in sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    ]
    shown = [m for m in matches if max(m.weights) > 0 and max(m.weights) >= ask.min_weight]
    shown = shown[: ask.top or None]
    return Found(
        label,
        tuple(shown),
        tuple(
            pooled(answer, query, columns) if answer.answered[query] else None for answer in answers
        ),
        tuple(float(a.perplexity[query]) for a in answers if a.perplexity is not None),
        tuple(_left_out(answer, query, shown, mode) for mode, answer in enumerate(answers)),
    )


def _weight(answer: Answer, query: int, row: int, score: float, ask: Ask) -> float:
    """Return the weight of a row under one mode, be it on that mode's list or not."""
    listed = answer.best_rows[query] == row
    if listed.any():
        return float(answer.best_weights[query][listed][0])
    sparse = ask.neighbors is not None and answer.mode == SOFTMAX
    if sparse or answer.mode in (EXACT, APPROXIMATE) or not answer.answered[query]:
        return 0.0
    logit = 0.0 if answer.mode == AVERAGE else score
    return math.exp((logit - answer.peak[query]) / answer.divisor) / float(answer.mass[query])


def _left_out(answer: Answer, query: int, shown: list[Match], mode: int) -> tuple[int, float]:
    rows = answer.rows - len(shown)
    if not rows or not answer.answered[query]:
        return rows, 0.0
    left = 1.0 - math.fsum(match.weights[mode] for match in shown)
    return rows, left if left > ROUNDING else 0.0
