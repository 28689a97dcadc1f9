"""Pooling: what does a database answer each query, head by head?"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from qkvcli.answer import stack
from qkvcli.attention.fold import LABEL_CAP
from qkvcli.errors import InputError
from qkvcli.run.choose import answers

if TYPE_CHECKING:
    from qkvcli.answer import Answer
    from qkvcli.run.resolve import Head, Question
    from qkvcli.run.work import Progress


def pool(question: Question, progress: Progress | None = None) -> Answer:
    """Return a database's values pooled under each query's weights.

    Parameters
    ----------
    question
        What is pooled, and how.
    progress
        Told of rows as they are done.

    Raises
    ------
    InputError
        More distinct text values than are pooled.
    UsageError
        More neighbours than keys.
    OutputError
        A matrix of weights over the cap.
    """
    store, about = question.store, question.about
    if question.request.weights:
        from qkvcli.run.matrix import check_size

        shape = (*about.batch_shape, len(about.queries), store.count())
        check_size(shape, 8, "weights")
    found = [_answer(head, question, progress) for head in question.heads]
    question.check_neighbors(found[0].rows)
    for position, labels in zip(store.columns.text, found[0].labels, strict=True):
        if labels is None:
            name = store.columns.value[position]
            raise InputError(
                f"the column {name!r} has over {LABEL_CAP:,} distinct texts to pool; "
                "choose numeric columns with `value`",
                store.name,
            )
    return replace(stack(found, about.batch_shape), about=about)


def _answer(head: Head, question: Question, progress: Progress | None) -> Answer:
    request, executor = question.request, question.executor
    (answer,) = answers(head.source, head.queries, head.plans, executor, progress)
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
