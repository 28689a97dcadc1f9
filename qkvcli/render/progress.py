"""A progress bar on stderr, for work that takes over a second and a person who watches."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from qkvcli.render.console import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator


class Note(Protocol):
    """Something that wants to know how many rows are done."""

    def __call__(self, rows: int) -> None:
        """Take note of some more rows."""


PATIENCE = 1.0
"""How many seconds pass before anything is shown."""


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Note | None]:
    """Yield a function that takes note of rows done, or None where no one watches.

    Parameters
    ----------
    label
        What is being done.
    total
        How many rows there are, where that is known.
    """
    if not is_terminal(sys.stderr):
        yield None
        return
    started = time.monotonic()
    done = 0
    bar: Any = None

    def note(rows: int) -> None:
        nonlocal bar, done
        done += rows
        if bar is None and time.monotonic() - started > PATIENCE:
            bar = _bar()
            bar.add_task(label, total=total)
            bar.start()
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done)

    try:
        yield note
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:  # noqa: ANN401 - a rich.progress.Progress, imported when first needed
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
