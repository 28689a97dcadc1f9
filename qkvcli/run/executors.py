"""What runs a fold: here in turn or in threads, or in forks, processes and on a cluster.

An executor takes the work and the blocks and returns the states of all rows. How it spreads the
work is its own affair; in which order states are merged is not. That is a ``Tree``'s.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from qkvcli.attention import Plan, State, merge, summarise
from qkvcli.blocks import Divisible
from qkvcli.weights import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Queries

    Submit = Callable[[Block, int, Floor], "Future[States]"]

States = tuple[State, ...]
"""The state of each plan of a fold."""
T = TypeVar("T")


class Progress(Protocol):
    """Something that wants to know how many rows have been folded."""

    def __call__(self, rows: int, /) -> None:
        """Take note of some more rows."""


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

    def __call__(self, block: Block, part: int, floor: Floor) -> States:
        """Return the states of one block for one part of the queries."""
        return tuple(summarise(block, self.parts[part], plan, floor) for plan in self.plans)

    @property
    def is_sparse(self) -> bool:
        """Whether only the best keys are attended to, so that some rows rule others out."""
        return all(plan.weighting.survivors for plan in self.plans)

    @property
    def has_floor(self) -> bool:
        """Whether what some rows come to spares much work on others."""
        return self.is_sparse and isinstance(self.parts[0].keys, list)

    @property
    def holds_lock(self) -> bool:
        """Whether most of the work holds the interpreter's lock, so that threads would only wait.

        That is so of splitting text and of scoring it for one query; RapidFuzz scores for several
        outside the lock.
        """
        keys = self.parts[0].keys if self.parts else []
        exact = all(plan.weighting.mode == EXACT for plan in self.plans)
        return isinstance(keys, list) and (exact or len(keys) == 1)

    @property
    def scores_texts(self) -> bool:
        """Whether most of the work is to score texts, outside the lock."""
        is_text = any(isinstance(part.keys, list) for part in self.parts)
        return is_text and not self.holds_lock

    def share(self, rows: int, part: int) -> int:
        """Return how many of a block's rows are done with one part of the queries."""
        count = len(self.parts)
        return rows * (part + 1) // count - rows * part // count

    def nothing(self) -> States:
        """Return the states of no rows."""
        return (State(),) * len(self.plans)


class Floors(Protocol):
    """What is known of scores that the best rows reach, here or elsewhere."""

    def known(self, work: Work, part: int, tree: Tree[States]) -> Floor:
        """Return the highest that are known of a part of the queries; a tree's are from now on."""


class Executor(Protocol):
    """What runs a fold; whichever does, the states are the same, bit for bit."""

    def totals(
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

    @property
    def held(self) -> Iterator[T]:
        """What has been merged so far."""
        return (states for _, states in self._stack)


def merged(a: States, b: States) -> States:
    """Merge the states of neighbouring rows, plan by plan."""
    return tuple(merge(x, y) for x, y in zip(a, b, strict=True))


def floor(work: Work, tree: Tree[States]) -> Floor:
    """Return, by query, a score below which a coming row changes nothing."""
    least: Floor = -np.inf
    if not work.is_sparse:
        return least
    for states in tree.held:
        least = np.maximum(least, reduce(np.minimum, (state.floor for state in states)))
    return least


class Folding:
    """A fold of blocks, one after another in this thread, in the making.

    Parameters
    ----------
    work, blocks
        What is asked of every block, and the blocks.
    start
        How many blocks come before them.
    floors
        What is known of scores besides; None for nothing.
    """

    def __init__(
        self, work: Work, blocks: Iterable[Block], start: int = 0, floors: Floors | None = None
    ) -> None:
        self._work, self._floors = work, floors
        self._blocks = iter(blocks)
        self.trees = [Tree(merged, start) for _ in work.parts]
        self.count = self.rows = 0

    def step(self, progress: Progress | None = None) -> bool:
        """Fold the next block, if there is one."""
        block = next(self._blocks, None)
        if block is None:
            return False
        work, floors = self._work, self._floors
        self.count, self.rows = self.count + 1, self.rows + len(block)
        for part, tree in enumerate(self.trees):
            least = floors.known(work, part, tree) if floors else floor(work, tree)
            tree.add(work(block, part, least))
            if progress:
                progress(work.share(len(block), part))
        return True

    def finish(self, progress: Progress | None = None) -> None:
        """Fold all blocks that are left."""
        while self.step(progress):
            pass


def totals(work: Work, trees: Iterable[Tree[States]]) -> list[States]:
    """Return what the tree of each part of the queries comes to."""
    return [tree.total() or work.nothing() for tree in trees]


@dataclass(frozen=True, eq=False)
class Serial:
    """One block after another, in this thread."""

    def totals(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries."""
        folding = Folding(work, blocks)
        folding.finish(progress)
        return totals(work, folding.trees)


@dataclass(frozen=True, eq=False)
class Threads:
    """Several blocks at a time, in threads of this process."""

    count: int

    def totals(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries."""
        blocks = iter(blocks)
        first = tuple(islice(blocks, 2))
        if len(first) * len(work.parts) < 2:  # noqa: PLR2004 - nothing to share out
            return Serial().totals(work, first, progress)
        from concurrent.futures import ThreadPoolExecutor  # 3 ms, of which small tables need none

        with ThreadPoolExecutor(self.count) as pool:

            def submit(block: Block, part: int, least: Floor) -> Future[States]:
                return pool.submit(work, block, part, least)

            try:
                return in_order(submit, 2 * self.count, work, chain(first, blocks), progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@dataclass(frozen=True, eq=False)
class Suited:
    """Threads, or forks where threads would wait for one lock: reading text is most of the work."""

    count: int

    def totals(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries."""
        found = None
        reads = isinstance(blocks, Divisible) and blocks.holds_lock and not work.scores_texts
        if self.count > 1 and reads and sys.platform == "linux":
            found = shared_out(work, blocks, self.count, progress)
        return found or threads_for(work, self.count).totals(work, blocks, progress)


def shared_out(
    work: Work, blocks: Iterable[Block], count: int, progress: Progress | None
) -> list[States] | None:
    """Return the states of all rows from so many processes; None where they are had in order."""
    if not isinstance(blocks, Divisible) or not hasattr(os, "fork"):
        return None
    stretches = blocks.stretches(count)
    if len(stretches) < 2:  # noqa: PLR2004 - nothing to share out
        return None
    masked = any(plan.mask is not None for plan in work.plans)  # which knows rows by their number
    if masked and not all(stretch.is_counted for stretch in stretches):
        return None
    from qkvcli.run.forks import in_stretches  # 4 ms, of which small tables need none

    return in_stretches(work, stretches, count, progress)


def in_order(
    submit: Submit,
    ahead: int,
    work: Work,
    blocks: Iterable[Block],
    progress: Progress | None,
) -> list[States]:
    """Submit jobs and merge their results in order; no more than ``ahead`` wait at a time."""
    trees = [Tree(merged) for _ in work.parts]
    waiting: deque[tuple[int, int, Future[States]]] = deque()

    def take() -> None:
        rows, part, future = waiting.popleft()
        trees[part].add(future.result())
        if progress:
            progress(work.share(rows, part))

    waits = 0 if work.has_floor else ahead
    for block in blocks:
        for part, tree in enumerate(trees):
            waiting.append((len(block), part, submit(block, part, floor(work, tree))))
            if len(waiting) > waits:  # so that a stream is not read ahead of the work
                take()
        waits = ahead
    while waiting:
        take()
    return totals(work, trees)


_chosen: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextmanager
def running_on(executor: Executor | None) -> Iterator[None]:
    """Have every fold inside run on one executor, be it of a lookup, a width or a matrix.

    Parameters
    ----------
    executor
        None leaves each fold to the threads it was given.
    """
    token = _chosen.set(executor)
    try:
        yield
    finally:
        _chosen.reset(token)


def executor_for(work: Work, threads: int) -> Executor:
    """Return the executor that was chosen, or else so many threads if they help."""
    return _chosen.get() or threads_for(work, threads)


def threads_for(work: Work, count: int) -> Executor:
    """Return so many threads, or none where they would only wait."""
    return Serial() if count == 1 or work.holds_lock else Threads(count)
