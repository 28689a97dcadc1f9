"""A fold over stretches of a file, shared out among this process and forks of it.

Threads would wait for the interpreter's lock where text is cut and compared. A fork inherits the
work and opens the file itself, so that nothing is sent but what its stretches come to.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import QkvError
from qkvcli.run.executors import Folding, Tree, floor, merged, totals
from qkvcli.run.signals import signals_held, signals_to_parent
from qkvcli.sources.streams import read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from io import FileIO

    from numpy.typing import NDArray

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Stretch
    from qkvcli.run.executors import Progress, States, Work

    Fold = Callable[[int, int], "Folded | None"]  # of a process's number and a stretch's

_NUMBER, _SIZE = 4, 8
"""How many bytes a stretch's number takes in the pipe of those not taken, and a result's size."""


@dataclass(frozen=True)
class Folded:
    """What a stretch comes to, for each part of the queries in subtrees, and where it ended."""

    end: int
    blocks: int
    rows: int
    subtrees: list[list[tuple[int, States]]]


class Shared:
    """Scores that the best rows are known to reach, seen by all processes as they find them.

    When one sees what another has found is a matter of chance; it spares work, and changes no
    answer.
    """

    def __init__(self, work: Work, processes: int) -> None:
        self.process = 0
        self._found = [_shared(processes, len(part)) for part in work.parts]

    def known(self, work: Work, part: int, tree: Tree[States]) -> Floor:
        """Return the highest that are known of a part of the queries; a tree's are from now on."""
        if not work.is_sparse:
            return -np.inf
        found = self._found[part]
        np.maximum(found[self.process], floor(work, tree), out=found[self.process])
        highest: Floor = found.max(axis=0)
        return highest


def _shared(processes: int, queries: int) -> NDArray[np.float64]:
    """Return an array (processes, queries) in memory that forks share."""
    found = np.frombuffer(mmap(-1, 8 * processes * queries), np.float64)
    found[:] = -np.inf
    return found.reshape(processes, queries)


def in_stretches(
    work: Work, stretches: Sequence[Stretch], count: int, progress: Progress | None
) -> list[States] | None:
    """Return the states of all rows, or None where blocks have to be had in order.

    Parameters
    ----------
    work, progress
        As of ``Executor.totals``.
    stretches
        All blocks, in two stretches or more.
    count
        How many processes, this one among them.

    Raises
    ------
    QkvError
        A fork was killed, most likely for want of memory.
    """
    forks = min(count, len(stretches)) - 1
    floors = Shared(work, forks + 1)

    def folding(number: int) -> Folding:
        return Folding(work, stretches[number], stretches[number].first, floors)

    def fold(process: int, number: int) -> Folded | None:
        floors.process = process
        try:
            return _done(folding(number), stretches[number], None if process else progress)
        except QkvError:
            return None  # what is refused is named by reading in order

    first = folding(0)
    if work.has_floor:
        first.step(progress)  # whose best rows spare all others work
    with forked(fold, range(1, len(stretches)), forks, progress) as (numbers, children):
        found: dict[int, Folded | None] = {0: _done(first, stretches[0], progress)}
        for number in numbers:
            found[number] = fold(0, number)
            found.update(children.results(wait=False))
        found.update(children.results(wait=True))
    return _joined(work, stretches, [found[number] for number in range(len(stretches))])


def _done(folding: Folding, stretch: Stretch, progress: Progress | None) -> Folded:
    """Fold what is left of a stretch."""
    folding.finish(progress)
    subtrees = [tree.subtrees for tree in folding.trees]
    return Folded(stretch.end, folding.count, folding.rows, subtrees)


def _joined(
    work: Work, stretches: Sequence[Stretch], found: Sequence[Folded | None]
) -> list[States] | None:
    """Return the states of all stretches, if each begins where the one before it ends."""
    trees = [Tree(merged) for _ in work.parts]
    end, blocks, rows = stretches[0].begin, 0, 0
    for stretch, folded in zip(stretches, found, strict=True):
        if folded is None or (stretch.begin, stretch.first) != (end, blocks):
            return None
        before = 0 if stretch.is_counted else rows
        for tree, subtrees in zip(trees, folded.subtrees, strict=True):
            for height, states in subtrees:
                tree.add(tuple(state.shifted(before) for state in states), height)
        end, blocks, rows = folded.end, blocks + folded.blocks, rows + folded.rows
    return totals(work, trees)


@contextmanager
def forked(
    fold: Fold, numbers: Iterable[int], count: int, progress: Progress | None
) -> Iterator[tuple[Iterator[int], Children]]:
    """Have so many forks fold stretches by their numbers, each taking the next when it is free.

    Yields
    ------
    numbers
        Those that this process takes, likewise.
    children
        The forks, whose results are to be taken.
    """
    queue, end = os.pipe()
    os.write(end, b"".join(number.to_bytes(_NUMBER, "little") for number in numbers))
    os.close(end)
    taken = iter(partial(os.read, queue, _NUMBER), b"")
    mine = (int.from_bytes(number, "little") for number in taken)
    children = Children(progress)
    try:
        with suppress(OSError):  # where no more processes may be started, fewer do the work
            for process in range(1, count + 1):
                children.start(partial(fold, process), mine)
        yield mine, children
    finally:
        os.close(queue)
        children.end()


class Children:
    """Forks of this process, by the pipes from which their results are read."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._pids: dict[FileIO, int] = {}

    def start(self, fold: Callable[[int], Folded | None], numbers: Iterator[int]) -> None:
        """Start one that folds until no number is left."""
        end, sink = os.pipe()
        source = open(end, "rb", buffering=0)  # noqa: SIM115 - open for as long as the fork is
        try:
            with signals_held():
                pid = os.fork()
                if pid == 0:
                    _work(fold, numbers, sink)
                self._pids[source] = pid  # before an interruption, after which all are ended
        except OSError:
            source.close()
            raise
        finally:
            os.close(sink)

    def results(self, *, wait: bool) -> Iterator[tuple[int, Folded | None]]:
        """Yield what results there are, or wait for all.

        Raises
        ------
        QkvError
            A fork ended before its work did.
        """
        while self._pids:
            ready = select.select(list(self._pids), [], [], None if wait else 0)[0]
            if not ready:
                return
            for source in ready:
                size = int.from_bytes(read_exactly(source, _SIZE), "little")
                data = read_exactly(source, size)
                if data and len(data) == size:
                    number, folded = pickle.loads(data)  # noqa: S301 - this program wrote it
                    if self._progress and folded:
                        self._progress(folded.rows)
                    yield number, folded
                else:
                    self._reap(source)

    def _reap(self, source: FileIO) -> None:
        status = os.waitpid(self._pids.pop(source), 0)[1]
        source.close()
        if status:
            message = "a process was killed; for want of memory? Pass --processes 1"
            raise QkvError(message)

    def end(self) -> None:
        """End those that are not done: they work for nobody."""
        for source, pid in self._pids.items():
            source.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _work(fold: Callable[[int], Folded | None], numbers: Iterator[int], sink: int) -> None:
    """Fold until no number is left, and end this process, running nothing else of its parent's."""
    status = 1
    try:
        signals_to_parent()
        with os.fdopen(sink, "wb") as stream:
            for number in numbers:
                data = pickle.dumps((number, fold(number)))
                stream.write(len(data).to_bytes(_SIZE, "little") + data)
                stream.flush()
        status = 0
    finally:
        os._exit(status)
