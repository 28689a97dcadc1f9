"""The whole matrix of weights, in runs of rows: as many queries at a time as memory allows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Runs
from qkvcli.errors import OutputError
from qkvcli.run.fold import QUERIES_AT_ONCE, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.attention import Plan
    from qkvcli.blocks import Queries, Source
    from qkvcli.sources.databases import Database

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
        message = (
            f"weights of shape {shape} would take {size / 2**30:.1f} GiB, over the cap of "
            f"{CAP >> 30} GiB; ask fewer queries at a time"
        )
        raise OutputError(message, where)


def weight_rows(
    heads: Sequence[tuple[Source, Queries, Plan]], keys: int, *, threads: int = 1
) -> Iterator[NDArray[np.float64]]:
    """Yield the rows (…, K) of all heads' weights, some queries at a time.

    Parameters
    ----------
    heads
        Of each head its keys, its queries and its plan.
    keys
        K.
    threads
        As in ``fold``.
    """
    step = max(1, min(QUERIES_AT_ONCE, _CELLS // max(1, keys)))
    for source, queries, plan in heads:
        wanted = replace(plan, matrix=True, perplexity=False, jacobian=False, top=0, texts=())
        for start in range(0, len(queries), step):
            part = queries.part(start, start + step)
            answer = fold(source.blocks(), part, [wanted], threads=threads)[0]
            if answer.weights is None:
                raise AssertionError
            yield answer.weights


def labelled_weights(
    database: Database,
    heads: Sequence[tuple[Source, Queries, Plan]],
    keys: int,
    where: str,
    *,
    threads: int = 1,
) -> dict[str, Runs]:
    """Return the matrix of weights (…, Q, K), and the labels of queries and keys, if any.

    Raises
    ------
    OutputError
        The matrix is over the cap.
    """
    queries = heads[0][1]
    vectors = queries.keys
    dtype = np.dtype(np.float64) if isinstance(vectors, list) else np.dtype(vectors.dtype)
    shape = (*database.lead, len(queries), keys)
    check_size(shape, dtype.itemsize, where)
    arrays = {"weights": Runs(shape, dtype, weight_rows(heads, keys, threads=threads))}
    if database.has_names:
        arrays["query_labels"] = _texts(queries.labels)
        arrays["key_labels"] = _texts(key_labels(heads[0][0]))
    return arrays


def _texts(labels: Sequence[str]) -> Runs:
    array = np.array(list(labels), dtype=np.str_)
    return Runs(array.shape, array.dtype, [array])


def key_labels(source: Source) -> list[str]:
    """Return what each key is called."""
    return [
        " ".join(record.key)
        for block in source.blocks()
        for record in block.load().records(range(len(block)))
    ]
