"""A fold in several processes: a partition of the source is a job.

Threads would wait for the interpreter's lock where text is cut and compared. A fork inherits the
work and opens the file itself, so that nothing is sent but what its partitions come to. All forks
start before the pool has a thread: beside threads a fork may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import QkvError
from qkvcli.run.work import Local, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Partition
    from qkvcli.run.work import Progress, States, Work


@dataclass(frozen=True)
class Folded:
    """What a partition comes to, for each part of the queries in subtrees, and where it ended."""

    end: int
    blocks: int
    rows: int
    subtrees: list[list[tuple[int, States]]]


@dataclass(frozen=True)
class Processes:
    """Several processes, this one and forks of it; each folds a partition at a time.

    Parameters
    ----------
    count
        How many processes.
    partitions
        All blocks, in two partitions or more.
    """

    count: int
    partitions: Sequence[Partition]

    def run(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries.

        Raises
        ------
        QkvError
            A process was killed, most likely for want of memory.
        """
        masked = any(plan.mask is not None for plan in work.plans)  # which goes by rows' numbers
        if not masked or all(partition.is_counted for partition in self.partitions):
            found = _fold_all(work, self.partitions, self.count, progress)
            if found is not None:
                return found
        return Local().run(work, blocks, progress)  # which names what is refused


class _Folding:
    """A partition in the making; ``floors`` are scores that the best rows are known to reach."""

    def __init__(self, work: Work, partition: Partition, floors: list[Floor]) -> None:
        self._work, self._partition, self._floors = work, partition, floors
        self._blocks = iter(partition)
        self._trees: list[Tree[States]] = [Tree(work.merge, partition.first) for _ in work.parts]
        self._count = self._rows = 0

    def step(self) -> bool:
        """Fold the next block, if there is one."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self._count, self._rows = self._count + 1, self._rows + len(block)
        for part, tree in enumerate(self._trees):
            tree.add(self._work(block, part, self._floors[part]))
            self._floors[part] = np.maximum(self._floors[part], self._work.floor(tree))
        return True

    def finish(self) -> Folded:
        """Return what the partition comes to, once all of it is folded."""
        while self.step():
            pass
        subtrees = [tree.subtrees for tree in self._trees]
        return Folded(self._partition.end, self._count, self._rows, subtrees)


def _fold_all(
    work: Work, partitions: Sequence[Partition], count: int, progress: Progress | None
) -> list[States] | None:
    """Return the states of all partitions, or None where the blocks have to be had in order."""
    floors: list[Floor] = [-np.inf] * len(work.parts)
    first = _Folding(work, partitions[0], floors)
    found: dict[int, Folded | None] = {}

    def fold(number: int) -> Folded | None:
        try:
            return (_Folding(work, partitions[number], floors) if number else first).finish()
        except QkvError:
            return None  # what is refused is named by reading in order

    def take(number: int, folded: Folded | None) -> None:
        found[number] = folded
        if progress and folded:
            progress(folded.rows)

    if work.is_sparse:  # what the first block finds spares work on all others
        first.step()
    rest = range(1, len(partitions))
    with _forked(fold, min(count, len(partitions)) - 1, rest) as promises:
        take(0, fold(0))
        # This process takes from the end what no fork has begun.
        for number in reversed(rest):
            if number not in promises or promises[number].cancel():
                take(number, fold(number))
        for number, promise in promises.items():
            if not promise.cancelled():
                take(number, promise.result())
    return _joined(work, partitions, [found.get(number) for number in range(len(partitions))])


def _joined(
    work: Work, partitions: Sequence[Partition], found: Sequence[Folded | None]
) -> list[States] | None:
    """Return the states of all partitions, if each begins where the one before it ends."""
    trees: list[Tree[States]] = [Tree(work.merge) for _ in work.parts]
    end, blocks, rows = partitions[0].begin, 0, 0
    for partition, folded in zip(partitions, found, strict=True):
        if folded is None or (partition.begin, partition.first) != (end, blocks):
            return None
        before = 0 if partition.is_counted else rows
        for tree, subtrees in zip(trees, folded.subtrees, strict=True):
            for height, states in subtrees:
                tree.add(tuple(state.shifted(before) for state in states), height)
        end, blocks, rows = folded.end, blocks + folded.blocks, rows + folded.rows
    return [tree.total() or work.nothing() for tree in trees]


@contextmanager
def _forked(
    fold: Callable[[int], Folded | None], count: int, numbers: range
) -> Iterator[dict[int, Future[Folded | None]]]:
    """Have so many forks fold partitions; the promises of what they come to, by number.

    All forks start with the first job, before the pool has a thread.
    """
    before = set(multiprocessing.active_children())

    def end() -> None:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()  # it works for nobody

    promises: dict[int, Future[Folded | None]] = {}
    with ProcessPoolExecutor(count, multiprocessing.get_context("fork"), _inherit, (fold,)) as pool:
        try:
            try:
                with _signals_held():
                    promises = {number: pool.submit(_folded, number) for number in numbers}
            except OSError:  # where no more processes may be started, this one does the work
                end()
            yield promises
        except BrokenProcessPool:
            raise QkvError("a process was killed; for want of memory? Pass `workers=1`") from None
        except BaseException:
            end()
            raise


_inherited: Callable[[int], Folded | None]


def _inherit(fold: Callable[[int], Folded | None]) -> None:
    """Keep in a fork what it folds with, and leave interruptions to its parent."""
    global _inherited  # noqa: PLW0603 - a fork has one job
    _inherited = fold
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _signals_to_parent()


def _end_with_parent() -> None:
    """End a fork whose parent was killed, for which it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _folded(number: int) -> Folded | None:
    return _inherited(number)


_HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Have signals wait, in this thread and in the processes that it starts until they take work.

    A process would handle them as its parent does, by raising what nothing there catches.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signals_to_parent() -> None:
    """Leave an interruption to the parent, in a process whose signals were held."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
