"""Joins and groups: lookups of many queries, kept as one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.weights import APPROXIMATE, SOFTMAX, Mask
from qkvcli.errors import UsageError
from qkvcli.joined import Candidate, Groups, Join, JoinedRow, Measures
from qkvcli.run.lookup import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qkvcli.answer import Lookup
    from qkvcli.blocks import Record
    from qkvcli.joined import JoinedRow as Row
    from qkvcli.run.resolve import Resolved
    from qkvcli.run.work import Executor, Progress

CANDIDATES = 50
"""How many best keys of a query are candidates where each key is used once, or rows are grouped."""
MOST = 1_000_000
"""How many pairs are candidates at most where each key is used once."""
_PRECISION, _CLASSES = 0.9, 10


def listing(resolved: Resolved, count: int) -> Resolved:
    """Return a question that lists so many best keys, also where only the best is attended to."""
    heads = tuple(
        replace(
            head,
            plans=tuple(
                replace(plan, weighting=replace(plan.weighting, neighbors=count))
                if plan.weighting.mode == APPROXIMATE
                else plan
                for plan in head.plans
            ),
        )
        for head in resolved.heads
    )
    return replace(resolved, heads=heads)


def joined(
    found: Lookup, names: tuple[str, ...], cells: Sequence[tuple[str, ...]], top: int
) -> Join:
    """Return a lookup as a join: its best ``top`` matches with their margins.

    An empty query matches nothing.
    """
    modes = found.modes
    null = found.about.null_score
    rows = []
    for one, row in zip(found.found, cells, strict=True):
        no_match = one.no_match[0] if one.no_match and modes == (SOFTMAX,) else None
        blank = not one.query.strip()
        scored = [(m, m.score) for m in one.matches if m.score is not None]
        scored = [(m, score) for m, score in scored if null is None or score >= null]
        following = [*(score for _, score in scored[1:]), null]
        candidates = [
            Candidate(
                match.row,
                match.record,
                score,
                None if after is None else score - after,
                match.weights[0] if modes == (SOFTMAX,) else None,
            )
            for (match, score), after in zip(scored, following, strict=False)
        ]
        rows.append(JoinedRow(row, () if blank else tuple(candidates[:top]), no_match))
    return Join(names, tuple(rows), top, inner=False, about=found.about)


def one_to_one(join: Join, top: int) -> Join:
    """Return a join in which every key stands for one query at most.

    Of all such joins it is one with the largest sum of scores, among the candidates.

    Raises
    ------
    UsageError
        More candidates than can be weighed.
    """
    pairs = [(i, one) for i, row in enumerate(join.rows) for one in row.candidates]
    if len(pairs) > MOST:
        message = f"{len(pairs)} candidates, and `one_to_one` weighs {MOST} at most; "
        raise UsageError(message + "pass a higher `null_score`")
    if not pairs:
        return replace(join, top=top)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    places = {row: i for i, row in enumerate(sorted({one.row for _, one in pairs}))}
    count = len(join.rows)
    # A query may also stand for nothing, which costs 2; a match costs 1 to 2 by its score.
    costs = [2.0 - one.score for _, one in pairs] + [2.0] * count
    at = [i for i, _ in pairs] + list(range(count))
    to = [places[one.row] for _, one in pairs] + [len(places) + i for i in range(count)]
    graph = csr_array((costs, (at, to)), (count, len(places) + count))
    queries, keys = min_weight_full_bipartite_matching(graph)
    chosen = dict(zip(queries.tolist(), keys.tolist(), strict=True))
    rows = [
        row._replace(candidates=tuple(c for c in row.candidates if places[c.row] == chosen.get(i)))
        for i, row in enumerate(join.rows)
    ]
    return replace(join, rows=tuple(rows), top=1)


def measures(join: Join, right: Sequence[str], name: Callable[[Record], str], top: int) -> Measures:
    """Return how well a join finds the right answers.

    Parameters
    ----------
    join
        With as many candidates as are to be looked at.
    right
        For each query what the right answer is called; "" where nothing is right.
    name
        Returns what a row of the database is called.
    top
        Among how many candidates recall is measured.
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
        sum(0 < rank <= top for rank in ranks) * share,
        top,
        sum(1 / rank for rank in ranks if rank) * share,
        area,
        least,
        best,
        _calibration_error(np.array(weights), np.array(hits, np.float64)),
    )


def _rank(row: Row, wanted: str, name: Callable[[Record], str]) -> int:
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


def _calibration_error(weights: np.ndarray, hits: np.ndarray) -> float:
    if not len(weights):
        return 0.0
    classes = np.minimum((weights * _CLASSES).astype(np.intp), _CLASSES - 1)
    apart = [
        abs(weights[classes == c].mean() - hits[classes == c].mean()) * (classes == c).mean()
        for c in np.unique(classes)
    ]
    return float(sum(apart))


def grouped(resolved: Resolved, executor: Executor, progress: Progress | None = None) -> Groups:
    """Return a table with its rows in groups: the connected ones among pairs that match.

    Every row is looked up among the others; of each the best ``CANDIDATES`` are looked at.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    (head,) = resolved.heads
    count = len(head.queries)
    mask = Mask(own=np.arange(count))
    plans = tuple(replace(plan, mask=mask) for plan in head.plans)
    found = look_up(
        replace(resolved, heads=(replace(head, plans=plans),)), executor, progress, nearest=False
    )
    null = resolved.request.null_score or 0.0
    pairs = [
        (i, match.row)
        for i, one in enumerate(found.found)
        for match in one.matches
        if match.score is not None and match.score >= null and one.query.strip()
    ]
    at, to = ([pair[i] for pair in pairs] for i in (0, 1))
    graph = csr_array((np.ones(len(pairs)), (at, to)), (count, count))
    _, labels = connected_components(graph, directed=False)
    numbers: dict[int, int] = {}
    groups = tuple(numbers.setdefault(label, len(numbers) + 1) for label in labels.tolist())
    records = tuple(
        record
        for block in head.source.blocks()
        for record in block.load().records(range(len(block)))
    )
    return Groups(records, groups, resolved.about)
