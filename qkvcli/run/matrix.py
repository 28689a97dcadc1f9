"""The whole matrix of weights, in runs of rows: as many queries at a time as memory allows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import OutputError
from qkvcli.render.arrays import Runs, texts
from qkvcli.run.work import QUERIES_AT_ONCE, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.run.resolve import Question

CAP = 8 << 30
"""How large a matrix of weights may be on disk: 8 GiB."""
_CELLS = 1 << 23
"""How many weights are computed at a time."""


def check_size(shape: tuple[int, ...], itemsize: int, where: str) -> None:
    """Refuse a matrix over the cap before any of it is computed.

    Raises
    ------
    OutputError
        With its shape and size.
    """
    size = itemsize
    for n in shape:
        size *= n
    if size > CAP:
        raise OutputError(
            f"weights of shape {shape} would take {size / 2**30:.1f} GiB, over the cap of "
            f"{CAP >> 30} GiB; ask fewer queries at a time",
            where,
        )


def labelled_weights(question: Question, where: str) -> dict[str, Runs]:
    """Return the matrix of weights (…, Q, K), and the labels of queries and keys, if any.

    It is to be written run by run; ``where`` is what errors call the place.

    Raises
    ------
    OutputError
        The matrix is over the cap.
    """
    store, queries = question.store, question.heads[0].queries
    keys = store.count()
    dtype = np.dtype(np.float64)
    if not isinstance(queries.keys, list):
        dtype = np.result_type(store.heads[0].key_dtype, queries.keys)
    shape = (*question.about.batch_shape, len(queries), keys)
    check_size(shape, dtype.itemsize, where)
    arrays = {"weights": Runs(shape, dtype, _weight_rows(question, keys))}
    if store.has_names:
        arrays["query_labels"] = texts(queries.labels)
        arrays["key_labels"] = texts(_key_labels(store.heads[0]))
    return arrays


def _weight_rows(question: Question, keys: int) -> Iterator[NDArray[np.float64]]:
    """Yield the rows (…, K) of all heads' weights, some queries at a time."""
    step = max(1, min(QUERIES_AT_ONCE, _CELLS // max(1, keys)))
    for head in question.heads:
        wanted = replace(
            head.plans[0], matrix=True, perplexity=False, jacobian=False, top=0, text=()
        )
        for start in range(0, len(head.queries), step):
            part = head.queries.part(start, start + step)
            (answer,) = fold(head.source.blocks(), part, [wanted], question.executor)
            if answer.weights is not None:  # which a plan with a matrix has
                yield answer.weights


def _key_labels(source: Source) -> list[str]:
    """Return what each key is called."""
    return [
        " ".join(record.key)
        for block in source.blocks()
        for record in block.load().records(range(len(block)))
    ]
