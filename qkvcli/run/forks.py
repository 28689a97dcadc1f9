"""A fold over stretches of a file, shared out among this process and forks of it.

Threads would wait for the interpreter's lock where text is cut and compared. A fork inherits the
work and opens the file itself, so that nothing is sent but what its stretches come to.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.blocks import Divisible
from qkvcli.errors import QkvError
from qkvcli.run.executors import Tree, floor, merged, threads_for
from qkvcli.run.signals import signals_held, signals_to_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Stretch
    from qkvcli.run.executors import Progress, States, Work

_NUMBER, _SIZE = 4, 8
"""How many bytes a stretch's number takes in the pipe of those not taken, and a result's size."""


@dataclass(frozen=True)
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
            found = in_stretches(work, blocks, self.count, progress)
        return found or threads_for(work, self.count).totals(work, blocks, progress)


@dataclass(frozen=True)
class Folded:
    """What a stretch comes to: subtrees for each part of the queries, and where it is."""

    is_counted: bool
    first: int
    begin: int
    end: int
    blocks: int
    rows: int
    subtrees: list[list[tuple[int, States]]]


class Floors:
    """Scores that the best rows are known to reach, seen by all processes as they find them.

    When one sees what another has found is a matter of chance; it spares work, and changes no
    answer.
    """

    def __init__(self, work: Work, processes: int) -> None:
        self.process = 0
        self._is_sparse = work.is_sparse
        self._found = [_shared(processes, len(part)) for part in work.parts]

    def known(self, work: Work, part: int, tree: Tree[States]) -> Floor:
        """Return the highest that are known of a part of the queries; a tree's are from now on."""
        if not self._is_sparse:
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


class Folding:
    """The fold of a stretch in the making."""

    def __init__(self, work: Work, stretch: Stretch, floors: Floors) -> None:
        self._work, self._stretch = work, stretch
        self._blocks = iter(stretch)
        self._trees = [Tree(merged, stretch.first) for _ in work.parts]
        self._floors = floors
        self._count = self._rows = 0

    def step(self, progress: Progress | None = None) -> bool:
        """Fold the next block, if there is one."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self._count, self._rows = self._count + 1, self._rows + len(block)
        for part, tree in enumerate(self._trees):
            least = self._floors.known(self._work, part, tree)
            tree.add(self._work(block, part, least))
            if progress:
                progress(self._work.share(len(block), part))
        return True

    def done(self, progress: Progress | None = None) -> Folded:
        """Fold what is left."""
        while self.step(progress):
            pass
        subtrees = [tree.subtrees for tree in self._trees]
        stretch = self._stretch
        place = stretch.is_counted, stretch.first, stretch.begin, stretch.end
        return Folded(*place, self._count, self._rows, subtrees)


def in_stretches(
    work: Work, blocks: Iterable[Block], count: int, progress: Progress | None = None
) -> list[States] | None:
    """Return the states of all rows, or None where blocks have to be had in order.

    Parameters
    ----------
    work, blocks, progress
        As of ``Executor.totals``.
    count
        How many processes, this one among them.

    Raises
    ------
    QkvError
        A fork was killed, most likely for want of memory.
    """
    stretches = _stretches(work, blocks, count)
    if len(stretches) < 2:  # noqa: PLR2004 - nothing to share out
        return None
    forks = min(count, len(stretches)) - 1
    floors = Floors(work, forks + 1)
    first = Folding(work, stretches[0], floors)
    if work.has_floor:
        first.step(progress)  # whose best rows spare all others work

    def fold(process: int, number: int) -> Folded | None:
        floors.process = process
        try:
            return Folding(work, stretches[number], floors).done()
        except QkvError:
            return None  # what is refused is named by reading in order

    with forked(fold, range(1, len(stretches)), forks) as (numbers, children):
        found: dict[int, Folded | None] = {0: first.done(progress)}

        def take(number: int, folded: Folded | None) -> None:
            found[number] = folded
            if progress and folded:
                progress(folded.rows)

        for number in numbers:
            take(number, fold(0, number))
            for result in children.results(wait=False):
                take(*result)
        for result in children.results(wait=True):
            take(*result)
    return _joined(work, [found[number] for number in range(len(stretches))])


def _stretches(work: Work, blocks: Iterable[Block], count: int) -> Sequence[Stretch]:
    """Return the stretches for so many processes; none where there is no forking them."""
    if not isinstance(blocks, Divisible) or not hasattr(os, "fork"):
        return []
    stretches = blocks.stretches(count)
    masked = any(plan.mask is not None for plan in work.plans)  # which knows rows by their number
    return [] if masked and not all(stretch.is_counted for stretch in stretches) else stretches


def _joined(work: Work, found: list[Folded | None]) -> list[States] | None:
    """Return the states of all stretches, if each begins where the one before it ends."""
    parts = [folded for folded in found if folded is not None]
    meet = all(a.end == b.begin and a.first + a.blocks == b.first for a, b in pairwise(parts))
    if len(parts) < len(found) or not meet:
        return None
    trees = [Tree(merged) for _ in work.parts]
    rows = 0
    for folded in parts:
        for tree, subtrees in zip(trees, folded.subtrees, strict=True):
            for height, states in subtrees:
                before = 0 if folded.is_counted else rows
                tree.add(tuple(state.shifted(before) for state in states), height)
        rows += folded.rows
    return [tree.total() or work.nothing() for tree in trees]


Fold = Callable[[int, int], "Folded | None"]
"""What a process, by its number, makes of a stretch, by its own."""


@contextmanager
def forked(
    fold: Fold, numbers: Iterable[int], count: int
) -> Iterator[tuple[Iterator[int], Children]]:
    """Have forks fold stretches by their numbers, each taking the next when it is free.

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
    children = Children()
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

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}

    def start(self, fold: Callable[[int], Folded | None], numbers: Iterator[int]) -> None:
        """Start one that folds until no number is left."""
        source, sink = os.pipe()
        try:
            with signals_held():
                pid = os.fork()
                if pid == 0:
                    _work(fold, numbers, sink)
                self._pids[source] = pid  # before an interruption, after which all are ended
        except OSError:
            os.close(source)
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
                size = int.from_bytes(_read(source, _SIZE), "little")
                data = _read(source, size)
                if data and len(data) == size:
                    yield pickle.loads(data)  # noqa: S301 - this program wrote it
                else:
                    self._reap(source)

    def _reap(self, source: int) -> None:
        status = os.waitpid(self._pids.pop(source), 0)[1]
        os.close(source)
        if status:
            message = "a process was killed; for want of memory? Pass --processes 1"
            raise QkvError(message)

    def end(self) -> None:
        """End those that are not done: they work for nobody."""
        for source, pid in self._pids.items():
            os.close(source)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _read(source: int, size: int) -> bytes:
    """Read so many bytes, or fewer where a fork has ended."""
    parts = []
    while size > 0 and (part := os.read(source, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


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
