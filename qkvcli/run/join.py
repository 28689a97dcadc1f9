"""Joins and groups: lookups of many queries, kept as one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.weights import APPROXIMATE, SOFTMAX, Mask
from qkvcli.errors import UsageError
from qkvcli.joined import Candidate, Groups, Join, JoinedRow, Measures
from qkvcli.run.work import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.answer import About, Answer
    from qkvcli.blocks import Record
    from qkvcli.run.resolve import Head, Question
    from qkvcli.run.work import Executor, Progress
    from qkvcli.sources.store import Asked

CANDIDATES, _MORE = 50, 4
"""How many best keys of a query are looked at where each key is used once, or rows are grouped; and
how many times as many where that is not enough."""
MOST = 1_000_000
"""How many pairs are candidates at most where each key is used once."""
_PAIRS = 10_000_000
"""How many pairs are looked at at most where rows are grouped."""
_PRECISION, _CLASSES = 0.9, 10


def best(
    head: Head,
    count: int,
    executor: Executor,
    progress: Progress | None = None,
    *,
    records: bool = True,
) -> Answer:
    """Return the answer that lists the ``count`` best keys of each query, and pools no values.

    Parameters
    ----------
    head
        What is asked, in one mode.
    count
        How many keys; under ``approximate`` so many are attended to.
    executor, progress
        What runs the fold, and who is told of rows.
    records
        Whether those rows are kept as text.
    """
    plan = head.plans[0]
    weighting = plan.weighting
    if weighting.mode == APPROXIMATE:
        weighting = replace(weighting, neighbors=count)
    plan = replace(plan, weighting=weighting, top=count, text=(), width=0, records=records)
    return fold(head.source.blocks(), head.queries, [plan], executor, progress)[0]


def join(question: Question, asked: Asked, top: int, progress: Progress | None = None) -> Join:
    """Return the ``top`` best keys of queries, joined to their table."""
    (head,) = question.heads
    answer = best(head, top + 1, question.executor, progress)  # one more, for the margin
    return _joined(answer, asked, question.about, top)


def one_to_one(question: Question, asked: Asked, progress: Progress | None = None) -> Join:
    """Return queries joined to their table so that every key stands for one of them at most.

    Of all such joins it is the one with the largest sum of scores, among the candidates: the best
    keys of each query, and more of them where a query would be left without one.

    Raises
    ------
    UsageError
        More candidates than can be weighed.
    """
    count = CANDIDATES
    while True:
        found = join(question, asked, count, progress)
        assigned = _assigned(found)
        pairs = zip(found.rows, assigned.rows, strict=True)
        if not any(len(row.candidates) == count and not one.candidates for row, one in pairs):
            return assigned
        count *= _MORE


def _joined(answer: Answer, asked: Asked, about: About, top: int) -> Join:
    """Return the best keys of queries as a join of their table, with the margins.

    An empty query matches nothing, and neither does text that has nothing in common with a key.
    """
    null = about.null_score
    if null is None and not about.columns.numeric_key:
        null = float(np.nextafter(0.0, 1.0))
    weighted = answer.mode == SOFTMAX
    weights = answer.best_weights.tolist()
    no_match = None if answer.no_match is None or not weighted else answer.no_match.tolist()
    rows = []
    for i, (cells, scored) in enumerate(zip(asked.cells, listed(answer, null), strict=True)):
        following = [*(score for _, score in scored[1:]), null]
        found = [
            Candidate(
                row,
                answer.records[row],
                score,
                None if after is None else score - after,
                weight if weighted else None,
            )
            for (row, score), after, weight in zip(scored, following, weights[i], strict=False)
        ]
        blank = not asked.queries[0].labels[i].strip()
        share = None if no_match is None else no_match[i]
        rows.append(JoinedRow(cells, () if blank else tuple(found[:top]), share))
    skipped = answer.skipped
    return Join(asked.names, tuple(rows), top, inner=False, about=about, skipped=skipped)


def listed(answer: Answer, null: float | None) -> list[list[tuple[int, float]]]:
    """Return the rows that each query lists and that score as much as the null key, with scores."""
    least = -np.inf if null is None else null
    pairs = zip(answer.best_rows.tolist(), answer.best_scores.tolist(), strict=True)
    return [
        [
            (row, score)
            for row, score in zip(rows, scores, strict=True)
            if row >= 0 and score >= least
        ]
        for rows, scores in pairs
    ]


def _assigned(join: Join) -> Join:
    """Return a join whose candidates are those of the largest sum of scores, each key once.

    Among text a query without a match counts as a score of 0. Scores of numbers may be below that:
    there as many queries as can be have a match.
    """
    pairs = [(i, one) for i, row in enumerate(join.rows) for one in row.candidates]
    if len(pairs) > MOST:
        raise UsageError(
            f"{len(pairs)} candidates, and `one_to_one` weighs {MOST} at most; "
            "pass a higher `null_score`"
        )
    if not pairs:
        return replace(join, top=1)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    places = {row: i for i, row in enumerate(sorted({one.row for _, one in pairs}))}
    count = len(join.rows)
    scores = np.array([one.score for _, one in pairs])
    high = scores.max()
    nothing = count * (high - scores.min()) + 1 if join.about.columns.numeric_key else high
    # Above 0, since a cost of 0 is none to a sparse matrix.
    costs = 1 + np.concatenate([high - scores, np.full(count, nothing)])
    # SciPy 1.13 takes indices of 32 bits alone here.
    at = np.array([i for i, _ in pairs] + list(range(count)), np.int32)
    of_keys = [places[one.row] for _, one in pairs]
    to = np.array(of_keys + [len(places) + i for i in range(count)], np.int32)
    graph = csr_array((costs, (at, to)), (count, len(places) + count))
    queries, keys = min_weight_full_bipartite_matching(graph)
    chosen = dict(zip(queries.tolist(), keys.tolist(), strict=True))
    rows = [
        row._replace(candidates=tuple(c for c in row.candidates if places[c.row] == chosen.get(i)))
        for i, row in enumerate(join.rows)
    ]
    return replace(join, rows=tuple(rows), top=1)


def measures(join: Join, right: Sequence[str], name: Callable[[Record], str]) -> Measures:
    """Return how well a join finds the right answers.

    Parameters
    ----------
    join
        The join, of which every candidate counts.
    right
        For each query what the right answer is called; "" where nothing is right.
    name
        Returns what a row of the database is called.
    """
    ranks = [_rank(row, wanted, name) for row, wanted in zip(join.rows, right, strict=True)]
    total = sum(bool(wanted) for wanted in right)
    share = 1 / max(1, total)
    answered = sorted(
        ((row.candidates[0].score, rank == 1) for row, rank in zip(join.rows, ranks, strict=True)
         if row.candidates),
        key=lambda pair: -pair[0],
    )  # fmt: skip
    area, least, best = _precision(answered, total)
    weights = [row.candidates[0].weight or 0.0 for row in join.rows if row.candidates]
    hits = [r == 1 for row, r in zip(join.rows, ranks, strict=True) if row.candidates]
    return Measures(
        len(join.rows),
        total,
        sum(rank == 1 for rank in ranks) * share,
        sum(rank > 0 for rank in ranks) * share,
        join.top,
        sum(1 / rank for rank in ranks if rank) * share,
        area,
        least,
        best,
        calibration_error(np.array(weights), np.array(hits, np.float64)),
    )


def _rank(row: JoinedRow, wanted: str, name: Callable[[Record], str]) -> int:
    """Return at which place the right answer is, from 1; 0 where it is not."""
    names = [name(one.record) for one in row.candidates]
    return names.index(wanted) + 1 if wanted and wanted in names else 0


def _precision(
    answered: Sequence[tuple[float, bool]], total: int
) -> tuple[float, float | None, float]:
    """Return the area under precision over recall, a threshold for 0.9 and the recall there.

    ``answered`` are the scores of all answers, falling, and whether they are right. Equal scores
    are above a threshold together.
    """
    area = best = before = 0.0
    least: float | None = None
    hits = at = 0
    while at < len(answered):
        score = answered[at][0]
        while at < len(answered) and answered[at][0] == score:
            hits += answered[at][1]
            at += 1
        precision, recall = hits / at, hits / max(1, total)
        area += (recall - before) * precision
        before = recall
        if precision >= _PRECISION and recall >= best:
            least, best = score, recall
    return area, least, best


def calibration_error(weights: NDArray[np.float64], hits: NDArray[np.float64]) -> float:
    """Return the mean distance of weights and of the share that is right, in ten classes."""
    if not len(weights):
        return 0.0
    classes = np.minimum((weights * _CLASSES).astype(np.intp), _CLASSES - 1)
    apart = [
        abs(weights[classes == c].mean() - hits[classes == c].mean()) * (classes == c).mean()
        for c in np.unique(classes)
    ]
    return float(sum(apart))


def grouped(question: Question, progress: Progress | None = None) -> Groups:
    """Return a table with its rows in groups: the connected ones among pairs that match.

    Rows with the same key are one, and every key is looked up among the others.

    Raises
    ------
    UsageError
        More pairs than can be looked at.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    from qkvcli.sources.memory import store_of

    (head,) = question.heads
    labels = head.queries.labels
    places = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    keys = head.queries.pick([labels.index(label) for label in places])
    among = replace(head, source=store_of(keys.keys).heads[0])
    null = question.request.null_score
    count = min(CANDIDATES, max(1, len(places) - 1))
    rows = [i for label, i in places.items() if label.strip()]
    pairs: list[tuple[int, int]] = []
    while rows:
        plan = replace(head.plans[0], mask=Mask(own=np.array(rows)), records=False)
        asked = replace(among, queries=keys.pick(rows), plans=(plan,))
        found = listed(best(asked, count, question.executor, progress), null)
        pairs += [(i, row) for i, some in zip(rows, found, strict=True) for row, _ in some]
        if len(pairs) > _PAIRS:
            raise UsageError(f"more than {_PAIRS} pairs score {null:g}; pass a higher `null_score`")
        # Where a list is full there may be more that match.
        full = [i for i, some in zip(rows, found, strict=True) if len(some) == count]
        rows = full if count < len(places) - 1 else []
        count = min(_MORE * count, max(1, len(places) - 1))
    at, to = ([pair[i] for pair in pairs] for i in (0, 1))
    graph = csr_array((np.ones(len(pairs)), (at, to)), (len(places), len(places)))
    _, of_keys = connected_components(graph, directed=False)
    numbers: dict[int, int] = {}
    found_groups = [
        numbers.setdefault(of_keys[places[label]], len(numbers) + 1) for label in labels
    ]
    records: list[Record] = []
    skipped = 0
    for block in head.source.blocks():
        records += block.load().records(range(len(block)))
        skipped += block.skipped
    return Groups(tuple(records), tuple(found_groups), question.about, skipped)
