"""How weights are summed, and what runs a fold: one policy, in one place."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from qkvcli.attention.fold import finish
from qkvcli.blocks import Partition
from qkvcli.errors import UsageError
from qkvcli.run.work import QUERIES_AT_ONCE, Local, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from qkvcli.answer import Answer
    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Block, Queries, Source
    from qkvcli.run.work import Executor, Progress, States, Work

_ROWS = 4_000_000
"""How many rows are held at most to be sorted; a database with more of them is folded."""


def choose(work: Work, blocks: Iterable[Block], workers: int) -> Executor:
    """Return what suits a fold, of so many workers.

    Text is cut and compared under the interpreter's lock, for which threads would only wait: it is
    work for processes, where the source can be had in partitions and no other thread runs that a
    fork would lose. Everything else is work for threads.
    """
    scores_outside = work.is_text and not work.holds_lock
    if isinstance(blocks, Partition) and blocks.holds_lock and not scores_outside and workers > 1:
        alone = all(thread.daemon for thread in threading.enumerate()[1:])
        partitions = blocks.partitions(workers) if hasattr(os, "fork") and alone else ()
        if len(partitions) > 1:
            from qkvcli.run.processes import Processes  # 20 ms, of which small tables need none

            return Processes(workers, partitions)
    return Local(1 if work.holds_lock else workers)


@dataclass(frozen=True)
class Workers:
    """So many workers of this machine: threads or processes, as suits each fold."""

    count: int

    def run(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries."""
        return choose(work, blocks, self.count).run(work, blocks, progress)


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
    many = len(queries) > QUERIES_AT_ONCE and isinstance(executor, Workers)
    if not many or source.kind == "text" or source.depth != 1:
        return fold(blocks, queries, plans, executor, progress)
    from qkvcli.attention.sorted_fold import SortedKeys, is_served  # of a regression alone

    if not all(map(is_served, plans)):
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


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def executor(workers: int | None = 1, scheduler: str | None = None) -> Iterator[Executor]:
    """Have so many workers of this machine, or those of a Dask scheduler.

    Parameters
    ----------
    workers
        None for one for each processor.
    scheduler
        Where a scheduler answers, ``tcp://host:8786``.

    Raises
    ------
    UsageError
        Less than one worker, or workers beside a scheduler.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"`workers` {workers!r} is not a whole number from 1")
    if scheduler is None:
        yield Workers(workers or processors())
        return
    from qkvcli.run.cluster import connected

    with connected(scheduler) as cluster:
        yield cluster
