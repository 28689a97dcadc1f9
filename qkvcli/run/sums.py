"""How weights are summed: block by block, or of keys on a line that are sorted once."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from qkvcli.attention.fold import finish
from qkvcli.attention.sorted_fold import SortedKeys, is_served
from qkvcli.run.choose import Workers
from qkvcli.run.work import QUERIES_AT_ONCE, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkvcli.answer import Answer
    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Block, Queries, Source
    from qkvcli.run.work import Executor, Progress

_ROWS = 4_000_000
"""How many rows are held at most to be sorted; a database with more of them is folded."""


def answers(
    source: Source,
    queries: Queries,
    plans: Sequence[Plan],
    executor: Executor,
    progress: Progress | None = None,
) -> list[Answer]:
    """Return the answer to each plan over all rows.

    The keys are sorted where there is one column of them, where every plan is of a kernel's weights
    alone, and where there are more queries than are folded together, so that it saves work. Whoever
    else works for a cluster folds.
    """
    blocks = source.blocks()
    line = source.depth == 1 and source.kind != "text" and isinstance(executor, Workers)
    if not line or len(queries) <= QUERIES_AT_ONCE or not all(map(is_served, plans)):
        return fold(blocks, queries, plans, executor, progress)
    held: list[Block] = []
    rows, rest = 0, iter(blocks)
    for block in rest:
        held.append(block.load())
        rows += len(block)
        if rows > _ROWS:
            return fold(chain(held, rest), queries, plans, executor, progress)
    keys = SortedKeys.of(held, plans[0].label_cap) if held else None
    if keys is None:
        return fold(held, queries, plans, executor, progress)
    skipped = sum(block.skipped for block in held)
    states = [replace(keys.state(queries, plan), skipped=skipped) for plan in plans]
    found = [finish(state, plan, queries) for state, plan in zip(states, plans, strict=True)]
    if progress:
        progress(rows)
    return found
