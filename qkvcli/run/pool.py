"""Pooling: what does a database answer each query, head by head?"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from qkvcli.answer import stack
from qkvcli.attention.fold import LABEL_CAP
from qkvcli.errors import InputError
from qkvcli.run.sums import answers

if TYPE_CHECKING:
    from qkvcli.answer import Answer
    from qkvcli.run.resolve import Head, Resolved
    from qkvcli.run.work import Executor, Progress


def pool(resolved: Resolved, executor: Executor, progress: Progress | None = None) -> Answer:
    """Return a database's values pooled under each query's weights.

    Parameters
    ----------
    resolved
        What is pooled, and how.
    executor
        What runs the folds.
    progress
        Told of rows as they are done.

    Raises
    ------
    InputError
        More distinct text values than are pooled.
    UsageError
        More neighbours than keys.
    """
    found = [_answer(head, resolved, executor, progress) for head in resolved.heads]
    _check(found[0], resolved)
    return replace(stack(found, resolved.about.batch_shape), about=resolved.about)


def _answer(
    head: Head, resolved: Resolved, executor: Executor, progress: Progress | None
) -> Answer:
    (answer,) = answers(head.source, head.queries, head.plans, executor, progress)
    request = resolved.request
    if request.std_error or request.loo:
        from qkvcli.run import fit  # of a regression alone

        if request.std_error:
            (plan,) = head.plans
            errors = fit.std_errors(head.source, head.queries, plan, answer, executor)
            answer = replace(answer, std_error=errors)
            if request.band is not None:
                reach = NormalDist().inv_cdf((1 + request.band) / 2) * errors
                lower, upper = answer.output - reach, answer.output + reach
                answer = replace(answer, lower=lower, upper=upper)
        if request.loo:
            answer = fit.measures(head.source, answer, head.source.columns)
    # The slope of a line comes where lines were asked for.
    return answer if request.degree or request.jacobian else replace(answer, jacobian=None)


def _check(answer: Answer, resolved: Resolved) -> None:
    store = resolved.store
    resolved.check_neighbors(answer.rows)
    for position, found in zip(store.columns.text, answer.labels, strict=True):
        if found is None:
            name = store.columns.value[position]
            raise InputError(
                f"the column {name!r} has over {LABEL_CAP:,} distinct texts to pool; "
                "choose numeric columns with `value`",
                store.name,
            )
