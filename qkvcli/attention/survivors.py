"""Sparse attention: the sums over each query's own best keys, once all rows have been seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.shares import Shares
from qkvcli.attention.sums import Sums
from qkvcli.blocks import categories
from qkvcli.scores.vector import gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.attention.plan import Plan
    from qkvcli.attention.top import Top
    from qkvcli.blocks import Queries


def sums_of_survivors(top: Top, plan: Plan, queries: Queries) -> Sums:
    """Return the sums over the keys that are listed, and no others.

    Parameters
    ----------
    top
        Lists of N keys, with their numbers, and their vectors where a Jacobian is wanted.
    plan, queries
        What was asked.
    """
    present = top.rows >= 0
    divisor = plan.weighting.divisor
    logits = np.zeros_like(top.scores) if plan.weighting.is_level else top.scores
    peak = np.where(present.any(axis=1), logits[:, :1].max(axis=1, initial=-np.inf), 0.0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        logs = np.where(present, (logits - peak[:, None]) / divisor, -np.inf)
        weights = np.exp(logs)
    numbers = top.numbers if top.numbers is not None else np.zeros((*weights.shape, plan.numbers))
    slopes = _slopes(top, plan, queries, weights) if plan.jacobian else None
    return Sums(
        divisor,
        peak,
        weights.sum(axis=1),
        np.einsum("qn,qnd->qd", weights, numbers),
        np.where(weights > 0, weights * np.where(present, logs, 0), 0).sum(axis=1),
        _shares(top, plan, weights),
        None if slopes is None else slopes.sum(axis=1),
        None if slopes is None else np.einsum("qnv,qnd->qvd", numbers, slopes),
        () if slopes is None else _shares(top, plan, slopes),
    )


def _slopes(
    top: Top, plan: Plan, queries: Queries, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted ∂a/∂q of every listed key, (Q, N, D)."""
    if top.vectors is None or plan.score is None:
        raise AssertionError
    found = [
        gradient(plan.score.name, query, keys, plan.score.bandwidth)
        for query, keys in zip(queries.vectors, top.vectors, strict=True)
    ]
    return np.where(weights[:, :, None] > 0, np.stack(found) * weights[:, :, None], 0.0)


def _shares(top: Top, plan: Plan, weights: NDArray[np.float64]) -> tuple[Shares, ...]:
    """Sum weights (Q, N, …) by the listed keys' text values."""
    queries, places = np.nonzero(top.rows >= 0)
    rows = top.rows[queries, places].tolist()
    found = []
    for position in plan.texts:
        column = categories([top.records[row].value[position] for row in rows])
        share = Shares.of(column, len(weights), len(column.labels), weights.shape[2:])
        np.add.at(share.sums, (queries, column.codes), weights[queries, places])
        found.append(share)
    return tuple(found)
