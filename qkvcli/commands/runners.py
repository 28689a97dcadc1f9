"""From the options to what runs the folds of a command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from qkvcli.commands.options import thread_count
from qkvcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(threads: int | None, processes: int | None, scheduler: str | None) -> Iterator[None]:
    """Run all folds inside in processes or on a cluster if either is asked for, else as suits."""
    from qkvcli.run.executors import Suited, running_on  # NumPy, which no help needs

    if scheduler is not None:
        from qkvcli.run.cluster import connected

        with connected(scheduler) as cluster, running_on(cluster):
            yield
    elif processes is not None and processes > 1:
        from qkvcli.run.processes import Processes

        with running_on(Processes(processes)):
            yield
    elif processes is None:
        with running_on(Suited(thread_count(threads))):
            yield
    else:
        yield


def threads_beside(threads: int | None, processes: int | None, scheduler: str | None) -> int:
    """Return how many threads a fold has: one where processes or a cluster share the work.

    Raises
    ------
    UsageError
        More than one of the three was asked for.
    """
    asked = {"--threads": threads, "--processes": processes, "--scheduler": scheduler}
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        message = f"{given[0]} and {given[1]} both say what runs the work; pass one of them"
        raise UsageError(message)
    return thread_count(threads) if processes is None and scheduler is None else 1
