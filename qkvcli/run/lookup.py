"""Lookups: which keys does each query attend to, under one mode or several side by side?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.answer import Found, Lookup, Match, pooled
from qkvcli.attention.fold import LABEL_CAP
from qkvcli.attention.softmax import weights
from qkvcli.attention.weights import APPROXIMATE, EXACT, Weighting, temperature_of
from qkvcli.run.resolve import counted
from qkvcli.run.work import QUERIES_AT_ONCE, fold
from qkvcli.scores.text import TextScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.answer import Answer
    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Columns, Record
    from qkvcli.run.resolve import Head, Question
    from qkvcli.run.work import Progress

_LABELS, _LABEL_SUMS = 200_000, 1 << 23
"""How many distinct texts are pooled at most, and times the queries that are folded together."""
_ROUNDING = 1e-12
"""How far the weights of a row may be from 1."""


def look_up(question: Question, progress: Progress | None = None) -> Lookup:
    """Return the keys that queries attend to, head after head.

    Parameters
    ----------
    question
        What is looked up, and how.
    progress
        Told of rows as they are done.
    """
    found: list[Found] = []
    for head in question.heads:
        some, answer = _one_head(head, question, progress)
        found += some
    weightings = [plan.weighting for plan in question.heads[0].plans]
    scores = question.request.scores
    return Lookup(
        tuple(one.mode for one in weightings),
        tuple(temperature_of(one.mode, one.temperature) for one in weightings),
        tuple(found),
        answer.rows,
        question.request.top,
        question.about,
        scores if len(scores) > 1 else (),
        answer.skipped,
    )


def _one_head(
    head: Head, question: Question, progress: Progress | None
) -> tuple[list[Found], Answer]:
    """Return what was found for the queries of one head, and its answer in the first mode."""
    request, source, executor = question.request, head.source, question.executor
    at_once = min(len(head.queries), QUERIES_AT_ONCE)
    cap = max(LABEL_CAP, min(_LABELS, _LABEL_SUMS // max(1, at_once)))
    plans = [replace(plan, label_cap=cap) for plan in head.plans]
    # What can be read once only is searched for the closest key in the same reading.
    once = not source.reopenable and EXACT in request.modes
    also = [_nearest(plans[0])] if once else []
    answers = fold(source.blocks(), head.queries, plans + also, executor, progress)
    question.check_neighbors(answers[0].rows)
    main, closest = answers[: len(plans)], dict(enumerate(_best_of(answers[-1]))) if once else {}
    where = "".join(f"{i}/" for i in head.index)
    records = {row: record for answer in main for row, record in answer.records.items()}
    columns, least = source.columns, request.min_weight
    found = [
        _found(i, where + label, head.queries.keys[i], main, plans, records, columns, least)
        for i, label in enumerate(head.queries.labels)
    ]
    if request.explain:
        keys = zip(found, head.queries.keys, strict=True)
        found = [_with_origins(one, asked, plans) for one, asked in keys]
    missing = [i for i, one in enumerate(found) if not one.answered]
    if missing and source.reopenable:
        few, nearest = head.queries.pick(missing), _nearest(plans[0])
        if nearest.score is not None:
            nearest = replace(nearest, score=counted(nearest.score, source))
        again = fold(source.blocks(), few, [nearest], executor, progress)
        closest = dict(zip(missing, _best_of(again[0]), strict=True))
    for i in missing:
        found[i] = replace(found[i], closest=closest.get(i))
    return found, main[0]


def _nearest(plan: Plan) -> Plan:
    """Return the plan that finds the closest key."""
    weighting = Weighting(APPROXIMATE, plan.weighting.temperature)
    return replace(plan, weighting=weighting, top=0, perplexity=False)


def _best_of(answer: Answer) -> list[Match | None]:
    """Return the best key of each query, if there is one."""
    found: list[Match | None] = []
    for rows, scores in zip(answer.best_rows.tolist(), answer.best_scores.tolist(), strict=True):
        known = bool(rows) and rows[0] >= 0
        found.append(Match(rows[0], answer.records[rows[0]], scores[0], (1.0,)) if known else None)
    return found


def _found(  # noqa: PLR0913, PLR0917 - a query, and what was asked
    query: int,
    label: str,
    asked: Any,  # noqa: ANN401 - text, or a vector
    answers: Sequence[Answer],
    plans: Sequence[Plan],
    records: dict[int, Record],
    columns: Columns,
    min_weight: float,
) -> Found:
    """Return what was found for one query, with every column's weight of each key that any lists.

    ``asked`` is the query itself, as keys are compared with it.
    """
    scores = _scores(query, asked, answers, plans, records)
    order = sorted(scores[0], key=lambda row: (-scores[0][row], row))
    by_mode = [
        _weights(answer, plan, query, order, some)
        for answer, plan, some in zip(answers, plans, scores, strict=True)
    ]
    listed = zip(order, zip(*by_mode, strict=True), strict=True)
    matches = tuple(
        Match(row, records[row], scores[0][row], each, tuple(some[row] for some in scores))
        for row, each in listed
        if max(each) > 0 and max(each) >= min_weight
    )[: plans[0].top]
    return Found(
        label,
        matches,
        tuple(
            pooled(answer, query, columns) if answer.answered[query] else None for answer in answers
        ),
        tuple(float(a.perplexity[query]) for a in answers if a.perplexity is not None),
        tuple(_left_out(answer, query, matches, mode) for mode, answer in enumerate(answers)),
        tuple(float(a.no_match[query]) for a in answers if a.no_match is not None),
    )


def _with_origins(found: Found, asked: Any, plans: Sequence[Plan]) -> Found:  # noqa: ANN401
    """Return what was found with where its scores of text come from."""
    scores = [plan.score for plan in plans if isinstance(plan.score, TextScore)]
    matches = tuple(
        replace(
            match,
            origins=tuple(score.explained(asked, " ".join(match.record.key)) for score in scores),
        )
        for match in found.matches
    )
    return replace(found, matches=matches)


def _scores(
    query: int,
    asked: Any,  # noqa: ANN401 - text, or a vector
    answers: Sequence[Answer],
    plans: Sequence[Plan],
    records: dict[int, Record],
) -> list[dict[int, float]]:
    """Return for each plan the scores of the rows that any plan lists."""
    known: dict[int, dict[int, float]] = {}
    for answer, plan in zip(answers, plans, strict=True):
        rows, best = answer.best_rows[query].tolist(), answer.best_scores[query].tolist()
        listed = {row: score for row, score in zip(rows, best, strict=True) if row >= 0}
        known[id(plan.score)] = known.get(id(plan.score), {}) | listed
    every = sorted(set().union(*known.values()))
    for plan in plans:  # what one score lists and another does not
        mine = known[id(plan.score)]
        lacking = [row for row in every if row not in mine]
        if lacking and isinstance(plan.score, TextScore):
            keys = [" ".join(records[row].key) for row in lacking]
            mine |= zip(lacking, plan.score.scores([asked], keys)[0].tolist(), strict=True)
    return [known[id(plan.score)] for plan in plans]


def _weights(
    answer: Answer, plan: Plan, query: int, order: list[int], scores: dict[int, float]
) -> list[float]:
    """Return one mode's weights of rows, be they on that mode's own list or not."""
    own = dict(
        zip(answer.best_rows[query].tolist(), answer.best_weights[query].tolist(), strict=True)
    )
    if plan.is_sparse or answer.mode == EXACT or not answer.answered[query]:
        return [own.get(row, 0.0) for row in order]
    if all(row in own for row in order):
        return [own[row] for row in order]
    of_rows = np.array([[scores[row] for row in order]])
    at = slice(query, query + 1)
    others: NDArray[np.float64] = weights(
        of_rows, answer.shift[at], answer.normalizer[at], plan.weighting
    )
    return [own.get(row, other) for row, other in zip(order, others[0].tolist(), strict=True)]


def _left_out(answer: Answer, query: int, shown: Sequence[Match], mode: int) -> tuple[int, float]:
    rows = answer.rows - len(shown)
    if not rows or not answer.answered[query]:
        return rows, 0.0
    of_null = 0.0 if answer.no_match is None else float(answer.no_match[query])
    left = 1.0 - of_null - math.fsum(match.weights[mode] for match in shown)
    return rows, left if left > _ROUNDING else 0.0
