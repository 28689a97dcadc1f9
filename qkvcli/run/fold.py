"""One fold over the blocks of a source, whatever runs it, merged in one fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.answer import Answer, join
from qkvcli.attention import Plan, finish
from qkvcli.run.executors import Progress, Work, executor_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qkvcli.blocks import Block, Queries

__all__ = ["QUERIES_AT_ONCE", "Progress", "fold"]

QUERIES_AT_ONCE = 512
"""How many queries are folded together; more of them are folded in turn."""


def fold(
    blocks: Iterable[Block],
    queries: Queries,
    plans: Sequence[Plan],
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> list[Answer]:
    """Return the answer to each plan over all blocks.

    Parameters
    ----------
    blocks
        The database, in order.
    queries
        Q queries of the keys' kind.
    plans
        What is asked; several plans share one reading of the blocks.
    threads
        How many blocks are summarised at a time, where no executor was chosen for all folds by
        ``running_on``. The answers depend on neither.
    progress
        Told the rows of every block once it is folded.
    """
    parts = tuple(
        queries.part(start, start + QUERIES_AT_ONCE)
        for start in range(0, len(queries), QUERIES_AT_ONCE)
    )
    work = Work(parts, tuple(plans))
    totals = executor_for(work, threads).totals(work, blocks, progress)
    return [
        join([finish(total[i], plan, part) for total, part in zip(totals, parts, strict=True)])
        for i, plan in enumerate(plans)
    ]
