"""What is asked of every block, the one order in which results are merged, and the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, cached_property, partial, reduce
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from qkvcli.answer import join
from qkvcli.attention.fold import State, finish, merge, summarise
from qkvcli.attention.weights import APPROXIMATE, EXACT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from threadpoolctl import ThreadpoolController

    from qkvcli.answer import Answer
    from qkvcli.attention.fold import Plan
    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Queries

QUERIES_AT_ONCE = 256
"""How many queries are folded together; more of them are folded in turn."""

States = tuple[State, ...]
"""The state of each plan of a fold."""
T = TypeVar("T")


Progress = Callable[[int], None]
"""Told of some more rows, once they are folded."""


def merged(a: States, b: States) -> States:
    """Return the states of neighbouring rows as one, plan by plan."""
    return tuple(merge(x, y) for x, y in zip(a, b, strict=True))


@dataclass(frozen=True, eq=False)
class Work:
    """What is asked of every block; it travels to wherever blocks are summarised.

    Parameters
    ----------
    parts
        The queries, so many at a time.
    plans
        What is asked; several plans share one reading of the blocks.
    """

    parts: tuple[Queries, ...]
    plans: tuple[Plan, ...]
    merge = staticmethod(merged)

    def __call__(self, block: Block, part: int, floor: Floor) -> States:
        """Return the states of one block for one part of the queries."""
        return tuple(summarise(block, self.parts[part], plan, floor) for plan in self.plans)

    @cached_property
    def is_sparse(self) -> bool:
        """Whether only the best keys are attended to, so that some rows rule others out."""
        return all(plan.is_sparse for plan in self.plans)

    @cached_property
    def is_text(self) -> bool:
        """Whether the keys are text."""
        return isinstance(self.parts[0].keys, list)

    @cached_property
    def holds_lock(self) -> bool:
        """Whether most of the work holds the interpreter's lock, so that threads would only wait.

        That is so of splitting text and of scoring it for one query; RapidFuzz scores for several
        outside the lock.
        """
        exact = all(plan.weighting.mode == EXACT for plan in self.plans)
        return self.is_text and (exact or len(self.parts[0]) == 1)

    def share(self, rows: int, part: int) -> int:
        """Return how many of a block's rows are done with one part of the queries."""
        count = len(self.parts)
        return rows * (part + 1) // count - rows * part // count

    def nothing(self) -> States:
        """Return the states of no rows."""
        return (State(),) * len(self.plans)

    def floor(self, tree: Tree[States]) -> Floor:
        """Return, by query, a score below which a coming row changes nothing."""
        if not self.is_sparse:
            return -np.inf
        least: Floor = -np.inf
        for _, states in tree.subtrees:
            least = np.maximum(least, reduce(np.minimum, (state.floor for state in states)))
        if all(plan.weighting.mode == APPROXIMATE for plan in self.plans):
            # What scores less than the null key is no match.
            nulls = [plan.weighting.null_score for plan in self.plans]
            least = np.maximum(least, min(-np.inf if null is None else null for null in nulls))
        return least


class Executor(Protocol):
    """What runs a fold; whichever does, the states are the same, bit for bit."""

    def run(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries.

        Parameters
        ----------
        work
            What is asked of every block.
        blocks
            The database, in order.
        progress
            Told the rows of every block once it is folded.
        """


class Tree(Generic[T]):
    """States merged as they come, in the shape of one binary tree whatever runs them.

    Sums in floating point depend on the order in which they are taken. Here it depends on the
    number of blocks alone: pairs of neighbours, then pairs of pairs, the remainder last. So a
    power of two of neighbouring blocks, starting at a multiple of it, may be merged elsewhere, by
    a tree of its own, and be added as one.

    Parameters
    ----------
    merged
        What makes one of two neighbours: states, or promises of states.
    start
        How many blocks come before the first that is added.
    """

    def __init__(self, merged: Callable[[T, T], T], start: int = 0) -> None:
        self._merged = merged
        self._next = start
        self._stack: list[tuple[int, T]] = []

    def add(self, states: T, height: int = 0) -> None:
        """Add what the next 2^height blocks come to."""
        self._next += 1 << height
        # Where the blocks so far are a multiple of the next power of two, this is a second half.
        while self._stack and self._stack[-1][0] == height and not self._next >> height & 1:
            _, before = self._stack.pop()
            states = self._merged(before, states)
            height += 1
        self._stack.append((height, states))

    @property
    def subtrees(self) -> list[tuple[int, T]]:
        """What has been merged so far, each with its height, to be added to another tree."""
        return list(self._stack)

    def total(self, last: T | None = None) -> T | None:
        """Return what all blocks come to; ``last`` is the total of any that were not added."""
        total = last
        for _, states in reversed(self._stack):
            total = states if total is None else self._merged(states, total)
        return total


@dataclass(frozen=True)
class Local:
    """Threads of this process, so many; BLAS has none of its own beside them.

    With threads of its own BLAS would take seven times as long, and add in another order.
    """

    threads: int = 1

    def run(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries."""
        # Text multiplies no matrices.
        limited = nullcontext() if work.is_text else _blas().limit(limits=1, user_api="blas")
        rest = iter(blocks)
        with limited:
            first = tuple(islice(rest, 2))
            every = chain(first, rest)
            if self.threads == 1 or len(first) * len(work.parts) < 2:
                return _in_order(lambda *job: partial(work, *job), 0, work, every, progress)
            from concurrent.futures import ThreadPoolExecutor  # 3 ms; small tables need none
            from threading import Barrier

            ahead = 2 * self.threads
            with ThreadPoolExecutor(self.threads) as pool:
                # A thread that starts while another computes waits for the interpreter, for
                # milliseconds: causal attention of 2,048 rows takes 0.85 of the time so.
                ready = Barrier(self.threads)
                for _ in range(self.threads):
                    pool.submit(ready.wait, 1)  # second, if one of them cannot start
                try:
                    return _in_order(
                        lambda *job: pool.submit(work, *job).result, ahead, work, every, progress
                    )
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise


@cache
def _blas() -> ThreadpoolController:
    """Return what says how many threads BLAS has; to look for it takes 2 ms."""
    from threadpoolctl import ThreadpoolController  # 10 ms, of which text needs none

    return ThreadpoolController()


def _in_order(
    submit: Callable[[Block, int, Floor], Callable[[], States]],
    ahead: int,
    work: Work,
    blocks: Iterable[Block],
    progress: Progress | None,
) -> list[States]:
    """Submit jobs and merge their results in order; no more than ``ahead`` wait at a time."""
    trees: list[Tree[Any]] = [Tree(work.merge) for _ in work.parts]
    waiting: deque[tuple[int, int, Callable[[], States]]] = deque()

    def take() -> None:
        rows, part, result = waiting.popleft()
        trees[part].add(result())
        if progress:
            progress(work.share(rows, part))

    # Where the first block spares work on all others, they wait for it.
    waits = 0 if work.is_sparse and work.is_text else ahead
    for block in blocks:
        for part in reversed(range(len(trees))):  # under a causal mask the last takes longest
            waiting.append((len(block), part, submit(block, part, work.floor(trees[part]))))
            while len(waiting) > waits:  # so that a stream is not read ahead of the work
                take()
        waits = ahead
    while waiting:
        take()
    return [tree.total() or work.nothing() for tree in trees]


def fold(
    blocks: Iterable[Block],
    queries: Queries,
    plans: Sequence[Plan],
    executor: Executor,
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
    executor
        What runs the fold; the answers do not depend on it.
    progress
        Told the rows of every block once it is folded.
    """
    parts: tuple[Queries, ...] = (queries,)
    if len(queries) > QUERIES_AT_ONCE:
        starts = range(0, len(queries), QUERIES_AT_ONCE)
        parts = tuple(queries.part(start, start + QUERIES_AT_ONCE) for start in starts)
    work = Work(parts, tuple(plans))
    found = executor.run(work, blocks, progress)
    answers = [
        [finish(states[i], plan, part) for states, part in zip(found, parts, strict=True)]
        for i, plan in enumerate(plans)
    ]
    return [some[0] if len(some) == 1 else join(some) for some in answers]
