"""A fold on a cluster, by Dask's distributed engine.

Small references to blocks go out; workers open them, summarise them and merge what they come to,
in the order of the one ``Tree``. One state comes back for every ``Cluster.chapter`` of blocks.
"""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from qkvcli.errors import InputError, QkvError, UsageError
from qkvcli.run.work import Local, Tree, merged
from qkvcli.sources.bytes_in import wait_interruptibly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from distributed import Client, Future

    from qkvcli.blocks import Block
    from qkvcli.run.work import Progress, States, Work

TIMEOUT = 5
"""How many seconds a scheduler, and its first worker, may take to answer."""
GROUP, BRANCH = 4, 32
"""How many blocks are one task, and how many such tasks are merged by one: powers of two, so that
what a task makes is a branch of the tree. A task costs a worker and its scheduler a millisecond."""
_CHAPTER = 128
"""How many blocks, at least, make the branch that comes back to this machine. What the scheduler
keeps, so that a lost worker's blocks can be done again, is forgotten once it has come back."""
_TASKS_A_THREAD = 4
_TALKERS = ("distributed", "dask", "tornado", "asyncio", "bokeh")
"""Whose loggers would print beside the one line of an error."""
_FIRST = 10
"""The priority of merges: states are merged as soon as they can be, and take no memory."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a Dask scheduler.

    Parameters
    ----------
    client
        A connection to the scheduler, as ``connected`` makes it.
    """

    client: Client

    def run(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries.

        Raises
        ------
        QkvError
            What any worker raised, for the first block in order that fails; or the cluster is
            lost, or is not of this version.
        """
        trees = [Tree(merged) for _ in work.parts]
        last: list[States | None] = [None] * len(trees)
        held = self._submit(_work_on_worker, pickle.dumps(work), version("qkvcli"))
        chapters = (self._chapter(part, len(work.parts), held) for part in self._cut(blocks))
        waiting: deque[_Chapter] = deque()

        def take() -> None:
            chapter = waiting.popleft()
            for tree, (at, states) in zip(
                trees, enumerate(self._states(chapter, progress)), strict=True
            ):
                if chapter.is_whole:
                    tree.add(states)
                else:
                    last[at] = states

        for chapter in chapters:
            waiting.append(chapter)
            if len(waiting) > 1:  # one is under way, and the next is at hand
                take()
        while waiting:
            take()
        return [tree.total(end) or work.nothing() for tree, end in zip(trees, last, strict=True)]

    def _cut(self, blocks: Iterable[Block]) -> Iterator[tuple[list[Block], int]]:
        """Cut the blocks into chapters, each a power of two of them but the last."""
        with _errors_as_lines():
            threads = sum(self.client.nthreads().values())
        size = _CHAPTER
        while size < threads * _TASKS_A_THREAD * GROUP:
            size *= 2
        stream = iter(blocks)
        while chapter := list(islice(stream, size)):
            yield chapter, size

    def _chapter(self, cut: tuple[list[Block], int], parts: int, held: Future) -> _Chapter:
        """Send the blocks of a chapter, and what is to be made of them."""
        blocks, size = cut
        trees = [Tree(partial(self._submit, merged, priority=_FIRST)) for _ in range(parts)]
        ends: list[Future | None] = [None] * parts
        groups: list[tuple[int, Future]] = []
        for start in range(0, len(blocks), BRANCH * GROUP):
            branch = blocks[start : start + BRANCH * GROUP]
            sent = [branch[at : at + GROUP] for at in range(0, len(branch), GROUP)]
            packed = [pickle.dumps(group) for group in sent]
            for part, tree in enumerate(trees):
                futures = [self._submit(_folded, held, group, part) for group in packed]
                rows = [sum(map(len, group)) if part == 0 else 0 for group in sent]
                groups += zip(rows, futures, strict=True)
                is_whole = len(sent[-1]) == GROUP
                future = self._submit(_branch, futures, is_whole, priority=_FIRST)
                if len(branch) == BRANCH * GROUP:
                    tree.add(future)
                else:
                    ends[part] = future
        totals = [tree.total(end) for tree, end in zip(trees, ends, strict=True)]
        return _Chapter(groups, totals, len(blocks) == size)

    def _states(self, chapter: _Chapter, progress: Progress | None) -> list[States]:
        """Wait for a chapter, the first failure in the order of its blocks coming first."""
        from distributed import wait

        with _errors_as_lines(), self.client.as_current():
            for rows, future in chapter.groups:
                wait(future)
                if future.status != "finished":
                    future.result()
                if progress:
                    progress(rows)
            found: list[States] = self.client.gather(chapter.totals)
        return found

    def _submit(self, *call: Any, priority: int = 0) -> Future:  # noqa: ANN401 - any task
        with _errors_as_lines():
            return self.client.submit(*call, priority=priority, pure=False)


@dataclass(frozen=True)
class _Chapter:
    """Promises: of each group of blocks, with its rows, and of what they all come to."""

    groups: list[tuple[int, Future]]
    totals: list[Future | None]
    is_whole: bool


def _work_on_worker(work: bytes, wanted: str) -> Work:
    """Keep the work on a worker; as a task, so that it is done again where it is lost."""
    here = version("qkvcli")
    if here != wanted:
        raise QkvError(f"a worker has qkv {here}, and this is {wanted}; install the same")
    found: Work = pickle.loads(work)  # noqa: S301 - from the program that connected
    return found


def _folded(work: Work, packed: bytes, part: int) -> States:
    """Open some blocks, summarise and merge them, on a worker."""
    only = replace(work, parts=(work.parts[part],))
    try:
        return Local().run(only, pickle.loads(packed))[0]  # noqa: S301 - as above
    except InputError as error:
        if isinstance(error.__context__, OSError):
            raise InputError(
                f"{error.message} on a worker; all workers must see it at the same path",
                error.where,
            ) from None
        raise


def _branch(groups: list[States], is_whole: bool) -> States | None:  # noqa: FBT001 - sent
    """Merge what some groups come to, on a worker; the last may have fewer blocks."""
    tree = Tree(merged)
    for states in groups if is_whole else groups[:-1]:
        tree.add(states)
    return tree.total(None if is_whole else groups[-1])


def _silence() -> None:
    """Have Dask say nothing, now and at exit: failures are one line, and it is not Dask's."""
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for logger in (one for one in known if one.name.partition(".")[0] in _TALKERS):
        logger.handlers[:] = [logging.NullHandler()]  # each has a handler of its own
        logger.propagate = False
    told = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not str(getattr(unraisable.object, "__module__", "")).startswith("distributed"):
            told(unraisable)

    sys.unraisablehook = hook  # a client that was never made cannot close itself


def _client(name: str, address: str) -> Client:
    """Connect, in no more than a few seconds, whatever it is that listens there."""
    from distributed import Client
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    try:
        get_backend(parse_address(name)[0])  # at once, where none of Dask's knows the scheme
        return wait_interruptibly(
            lambda: Client(name, timeout=TIMEOUT, set_as_default=False), TIMEOUT + 0.5
        )
    except (OSError, MemoryError):  # another protocol's greeting, read as a length, is exbibytes
        raise QkvError(
            f"no scheduler answers at {address}; start one with: dask scheduler"
        ) from None
    except Exception as error:  # noqa: BLE001 - what Dask makes of an address may be anything
        what = " ".join(str(error).split()) or type(error).__name__
        is_none = "is no address" if isinstance(error, ValueError) else "is beyond Dask as it is"
        raise UsageError(
            f"`scheduler` {address!r} {is_none} ({what}); give tcp://host:8786"
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a scheduler, ``tcp://host:8786``.

    Raises
    ------
    UsageError
        Dask is not installed, or this is no address.
    QkvError
        No scheduler answers there, or none that has workers.
    """
    try:
        import dask
        import distributed  # noqa: F401 - so that its loggers are there to be silenced
    except ImportError:
        raise UsageError(
            "`scheduler` needs Dask's distributed engine: pip install 'qkvcli[cluster]'"
        ) from None
    _silence()
    name = address if "://" in address else f"tcp://{address}"
    settings = {"distributed.comm.timeouts.connect": f"{TIMEOUT}s"}
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions that differ
        client = _client(name, address)
        try:
            try:
                client.wait_for_workers(1, timeout=TIMEOUT)
            except TimeoutError:
                raise QkvError(
                    f"the scheduler has no workers; start one with: dask worker {name}", address
                ) from None
            yield Cluster(client)
        finally:
            client.close(timeout=TIMEOUT)


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Say in one line what may befall a cluster."""
    from distributed import CancelledError, KilledWorker
    from distributed.client import FuturesCancelledError
    from distributed.comm import CommClosedError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pipe's blocks carry their bytes: a "large graph"
            yield
    except KilledWorker:
        raise QkvError(
            "workers died of the same blocks again and again; for want of memory?"
        ) from None
    except (CancelledError, FuturesCancelledError, CommClosedError):
        raise QkvError("the scheduler was lost; is it still running?") from None
    except ModuleNotFoundError as error:
        raise QkvError(
            f"the scheduler or a worker lacks {error.name}; install there what is here"
        ) from None
    except QkvError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a worker may run into
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise QkvError(f"a worker failed ({what}); are all of one version?") from None
