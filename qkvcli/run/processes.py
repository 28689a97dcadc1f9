"""A fold in several processes: a partition of the source is a job.

Threads would wait for the interpreter's lock where text is cut and compared. A fork inherits the
work and opens the file itself, so that nothing is sent but what its partitions come to. There is
no ``concurrent.futures`` here: its pools have threads, beside which forks hang now and then.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from qkvcli.errors import QkvError
from qkvcli.run.local import Local
from qkvcli.run.work import Tree, floor_of, merged, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Partition
    from qkvcli.run.work import Progress, States, Work

_NUMBER = 4
"""How many bytes a partition's number takes in the pipe of those not taken."""


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
        self._trees: list[Tree[States]] = [Tree(merged, partition.first) for _ in work.parts]
        self._count = self._rows = 0

    def step(self) -> bool:
        """Fold the next block, if there is one."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self._count, self._rows = self._count + 1, self._rows + len(block)
        for part, tree in enumerate(self._trees):
            tree.add(self._work(block, part, self._floors[part]))
            self._floors[part] = np.maximum(self._floors[part], floor_of(self._work, tree))
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
    forks = min(count, len(partitions)) - 1
    with _forked(fold, range(1, len(partitions)), forks) as (numbers, results):
        take(0, fold(0))
        for number in numbers:
            take(number, fold(number))
            for result in results(timeout=0):
                take(*result)
        for result in results(timeout=None):
            take(*result)
    return _joined(work, partitions, [found.get(number) for number in range(len(partitions))])


def _joined(
    work: Work, partitions: Sequence[Partition], found: Sequence[Folded | None]
) -> list[States] | None:
    """Return the states of all partitions, if each begins where the one before it ends."""
    trees: list[Tree[States]] = [Tree(merged) for _ in work.parts]
    end, blocks, rows = partitions[0].begin, 0, 0
    for partition, folded in zip(partitions, found, strict=True):
        if folded is None or (partition.begin, partition.first) != (end, blocks):
            return None
        before = 0 if partition.is_counted else rows
        for tree, subtrees in zip(trees, folded.subtrees, strict=True):
            for height, states in subtrees:
                tree.add(tuple(state.shifted(before) for state in states), height)
        end, blocks, rows = folded.end, blocks + folded.blocks, rows + folded.rows
    return totals(work, trees)


@contextmanager
def _forked(
    fold: Callable[[int], Folded | None], numbers: range, count: int
) -> Iterator[tuple[Iterator[int], Callable[..., Iterator[tuple[int, Folded | None]]]]]:
    """Have so many forks fold partitions by their numbers, each taking the next when it is free.

    Yields
    ------
    numbers
        Those that this process takes, likewise.
    results
        Yields what the forks have done by now, or with ``timeout=None`` all that they do.
    """
    queue, end = os.pipe()
    os.write(end, b"".join(number.to_bytes(_NUMBER, "little") for number in numbers))
    os.close(end)
    mine = (int.from_bytes(n, "little") for n in iter(partial(os.read, queue, _NUMBER), b""))
    children: dict[Any, Any] = {}
    context = multiprocessing.get_context("fork")
    try:
        for _ in range(count):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(fold, mine, sender), daemon=True)
            try:
                with _signals_held():
                    child.start()
                    children[receiver] = child  # before an interruption, after which all are ended
            except OSError:  # where no more processes may be started, fewer do the work
                receiver.close()
                break
            finally:
                sender.close()
        yield mine, partial(_results, children)
    finally:
        os.close(queue)
        for receiver, child in children.items():
            child.kill()  # it works for nobody
            child.join()
            receiver.close()


def _results(
    children: dict[Any, Any], *, timeout: float | None
) -> Iterator[tuple[int, Folded | None]]:
    while children:
        ready = wait(list(children), timeout)
        if not ready:
            return
        for receiver in ready:
            try:
                yield cast("Connection", receiver).recv()
            except (EOFError, OSError):
                child = children.pop(receiver)
                child.join()
                if child.exitcode:
                    message = "a process was killed; for want of memory? Pass `workers=1`"
                    raise QkvError(message) from None


def _work(
    fold: Callable[[int], Folded | None], numbers: Iterator[int], sender: Connection
) -> NoReturn:
    """Fold until no number is left, and end this process, running nothing else of its parent's."""
    status = 1
    try:
        _signals_to_parent()
        for number in numbers:
            sender.send((number, fold(number)))
        status = 0
    finally:
        os._exit(status)


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
