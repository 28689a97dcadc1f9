"""A fold in this process: block after block, or several at a time in threads."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qkvcli.run.work import Tree, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from threadpoolctl import ThreadpoolController

    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block
    from qkvcli.run.work import Progress, States, Work


class _Promise(Protocol):
    def result(self) -> States: ...


class _Done(NamedTuple):
    """A result that need not be waited for."""

    states: States

    def result(self) -> States:
        return self.states


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
        if work.is_text:  # which multiplies no matrices
            return self._run(work, blocks, progress)
        with _blas().limit(limits=1, user_api="blas"):
            return self._run(work, blocks, progress)

    def _run(self, work: Work, blocks: Iterable[Block], progress: Progress | None) -> list[States]:
        blocks = iter(blocks)
        first = tuple(islice(blocks, 2))
        every = chain(first, blocks)
        if self.threads == 1 or len(first) * len(work.parts) < 2:
            return _in_order(lambda *job: _Done(work(*job)), 0, work, every, progress)
        from concurrent.futures import ThreadPoolExecutor  # 3 ms, of which small tables need none

        with ThreadPoolExecutor(self.threads) as pool:
            try:
                ahead = 2 * self.threads
                return _in_order(lambda *job: pool.submit(work, *job), ahead, work, every, progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@cache
def _blas() -> ThreadpoolController:
    """Return what says how many threads BLAS has; to look for it takes 2 ms."""
    from threadpoolctl import ThreadpoolController  # 10 ms, of which text needs none

    return ThreadpoolController()


def _in_order(
    submit: Callable[[Block, int, Floor], _Promise],
    ahead: int,
    work: Work,
    blocks: Iterable[Block],
    progress: Progress | None,
) -> list[States]:
    """Submit jobs and merge their results in order; no more than ``ahead`` wait at a time."""
    trees: list[Tree[Any]] = [Tree(work.merge) for _ in work.parts]
    waiting: deque[tuple[int, int, _Promise]] = deque()

    def take() -> None:
        rows, part, promise = waiting.popleft()
        trees[part].add(promise.result())
        if progress:
            progress(work.share(rows, part))

    # Where the first block spares work on all others, they wait for it.
    waits = 0 if work.is_sparse and work.is_text else ahead
    for block in blocks:
        for part, tree in enumerate(trees):
            waiting.append((len(block), part, submit(block, part, work.floor(tree))))
            while len(waiting) > waits:  # so that a stream is not read ahead of the work
                take()
        waits = ahead
    while waiting:
        take()
    return totals(work, trees)
