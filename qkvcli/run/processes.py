"""A fold in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from qkvcli.errors import QkvError
from qkvcli.run.executors import Serial, in_order, shared_out
from qkvcli.run.signals import signals_held, signals_to_parent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block
    from qkvcli.run.executors import Progress, States, Work


@dataclass(frozen=True)
class Processes:
    """Several processes: forks for the stretches of a file, or else each has a block at a time.

    What the interpreter's lock keeps threads from doing side by side, such as splitting text,
    processes do. They open a block's file themselves; the work is inherited by a fork where there
    is one, else sent once.
    """

    count: int

    def totals(
        self, work: Work, blocks: Iterable[Block], progress: Progress | None = None
    ) -> list[States]:
        """Return the states of all rows, for each part of the queries.

        Raises
        ------
        QkvError
            A process was killed, most likely for want of memory.
        """
        found = shared_out(work, blocks, self.count, progress)
        if found:
            return found
        blocks = iter(blocks)
        first = tuple(islice(blocks, self.count))
        count = min(self.count, len(first) * len(work.parts))
        if count < 2:  # noqa: PLR2004 - nothing to share out
            return Serial().totals(work, chain(first, blocks), progress)
        forks = "fork" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if forks else "spawn")
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(count, context, initializer=_take, initargs=(work,))

        def submit(block: Block, part: int, least: Floor) -> Future[States]:
            with signals_held():  # a process starts here, with the handlers of this one
                return pool.submit(_work_taken, block, part, least)

        try:
            return in_order(submit, 2 * count, work, chain(first, blocks), progress)
        except BrokenProcessPool:
            message = "a process was killed; for want of memory? Pass a smaller --processes"
            raise QkvError(message) from None
        finally:
            # Idle processes have nothing to lose, and busy ones work for nobody.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


_taken: list[Work] = []


def _take(work: Work) -> None:
    """Start a process: signals are the parent's to handle, and it does not outlive the parent."""
    _taken[:] = [work]
    signals_to_parent()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_taken(block: Block, part: int, least: Floor) -> States:
    return _taken[0](block, part, least)
