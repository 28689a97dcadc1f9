"""What a fit is worth: its standard error, and how well each row is predicted without itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.weights import Mask
from qkvcli.blocks import Queries, rows_of
from qkvcli.errors import InputError
from qkvcli.fitted import Measures
from qkvcli.run.choose import answers
from qkvcli.scores.vector import VectorScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.answer import Answer
    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Columns, Labels, Source
    from qkvcli.run.work import Executor

LEAST_CHANCE = 1e-9
"""What a smaller share counts as in the log-loss, so that no row alone outweighs all others."""
FEWEST = 3
"""How few rows have no scatter to speak of."""
_WIDER = 2.0
"""By what the kernel is wider under which squared residuals are averaged, for a steady mean."""


def std_errors(
    source: Source, queries: Queries, plan: Plan, answer: Answer, executor: Executor
) -> NDArray[np.float64]:
    """Return the standard error of each pooled number, (Q, Dv).

    The answer is Σ l y with weights l of the rows; its variance is Σ l² σ²(x). The local variance
    σ²(x) is the kernel mean, of twice the width, of the squared leave-one-out residuals, each
    divided by 1 + Σ l² of its own prediction.

    Raises
    ------
    InputError
        Fewer than three rows, or rows that no other row predicts.
    """
    keys, values, *_ = rows_of(source.blocks())
    if len(keys) < FEWEST:
        rows = "one row has" if len(keys) == 1 else f"{len(keys)} rows have"
        raise InputError(f"{rows} no scatter for a standard error; it takes {FEWEST}", source.name)
    own = Queries(tuple(map(str, range(len(keys)))), keys)
    left_out = replace(plan, mask=Mask(own=np.arange(len(keys))), perplexity=False)
    (found,) = answers(source, own, [left_out], executor)
    squares = squared_weights(source, own, left_out, found, executor)
    # By a power of two, which rounds nothing, so that no square overflows or is lost.
    size = np.ldexp(1.0, np.frexp(np.abs(values).max(axis=0))[1])
    residuals = np.square(found.output / size - values / size) / (1 + squares[:, None])
    alone = ~np.isfinite(residuals).all(axis=1)  # nothing is known of these
    if alone.all():
        raise InputError(
            "no row has a neighbour, so there is no standard error; widen `bandwidth`", source.name
        )
    from qkvcli.sources.memory import store_of

    scatter = store_of(keys[~alone], residuals[~alone]).heads[0]
    score = plan.score
    wide = score
    if isinstance(score, VectorScore):
        kept = dict(source.columns.categories)  # whose widths are shares
        wider = enumerate(score.bandwidth)
        wide = replace(score, bandwidth=tuple(h if at in kept else _WIDER * h for at, h in wider))
    steady = replace(
        plan, score=wide, perplexity=False, degree=0, jacobian=False, text=(), records=False
    )
    (local,) = answers(scatter, queries, [steady], executor)
    # Where nothing is near but the fit has an answer, the mean of all stands.
    variance = np.where(local.answered[:, None], local.output, residuals[~alone].mean(axis=0))
    mine = squared_weights(source, queries, plan, answer, executor)
    with np.errstate(invalid="ignore"):
        errors: NDArray[np.float64] = size * np.sqrt(mine[:, None] * variance)
    return errors


def squared_weights(
    source: Source, queries: Queries, plan: Plan, answer: Answer, executor: Executor
) -> NDArray[np.float64]:
    """Return Σ l² of the weights by which rows enter each answer, (Q,).

    The squares of weights are the weights at half the temperature. Those of a local line are
    l = α (1 − gᵀ(d − d̄)), with d = x − q and g = S⁻¹ d̄ of the weighted mean and covariance of d.
    """
    weighting = plan.weighting
    half = replace(weighting, temperature=weighting.temperature / 2)
    squared = replace(plan, weighting=half, perplexity=False, text=(), records=False)
    (found,) = answers(source, queries, [squared], executor)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scale = np.exp(2 * (found.shift - answer.shift) / weighting.temperature)
        sums = found.normalizer * scale / np.square(answer.normalizer)
        if plan.degree and answer.steps is not None and found.steps is not None:
            g = answer.steps[:, -1]
            apart = found.steps[:, 0] - answer.steps[:, 0]
            spread = np.einsum("qd,qde,qe->q", g, found.steps[:, 1:-1], g)
            sums = sums * (np.square(1 - np.einsum("qd,qd->q", g, apart)) + spread)
    return np.where(answer.answered, sums, np.nan)


def measures(source: Source, answer: Answer, columns: Columns) -> Answer:
    """Return an answer about every row with what its values are, and how far it is from them.

    A row that no other row predicts counts in no measure.

    Raises
    ------
    InputError
        Residuals whose squares overflow.
    """
    _, values, texts, _ = rows_of(source.blocks())
    found: dict[str, Measures] = {}
    some = answer.answered
    with np.errstate(over="ignore"):
        residuals = values - answer.output
        squares = np.square(residuals[some]), np.square(values[some])
    if not all(np.isfinite(one.sum(axis=0)).all() for one in squares):
        raise InputError("the squares of its values overflow a double; scale them", source.name)
    for at, position in enumerate(columns.numeric):
        mean = float(squares[0][:, at].mean()) if some.any() else None
        spread = float(np.var(values[some, at])) if some.any() else 0.0
        r2 = None if mean is None or not spread > 0 else 1 - mean / spread
        found[columns.value[position]] = Measures(mean_squared_error=mean, r2=r2)
    for position, labels, column in zip(columns.text, answer.labels, texts, strict=True):
        if labels is not None and some.any():
            found[columns.value[position]] = _of_classes(
                labels.labels, labels.weights, column, some
            )
    return replace(answer, residuals=residuals, measures=found)


def _of_classes(
    labels: Sequence[str],
    weights: NDArray[np.float64],
    column: Labels,
    some: NDArray[np.bool_],
) -> Measures:
    place = {label: i for i, label in enumerate(labels)}
    own = np.array([place.get(text, -1) for text in column.texts])[column.codes]
    chance = np.where(own >= 0, weights[np.arange(len(own)), own], 0.0)[some]
    right = (weights[some].argmax(axis=1) == own[some]).mean()
    loss = -np.log(np.maximum(chance, LEAST_CHANCE)).mean()
    return Measures(accuracy=float(right), log_loss=float(loss))
