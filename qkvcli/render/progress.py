"""A progress bar on stderr, for work that takes over a second and a person who watches."""

from __future__ import annotations

import sys
import threading
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
def progress(label: str, total: int | None = None, unit: str = "rows") -> Iterator[Note | None]:
    """Yield a function that takes note of rows done, or None where no one watches.

    Parameters
    ----------
    label
        What is being done.
    total
        How many rows there are, where that is known.
    unit
        What these are.
    """
    if not is_terminal(sys.stderr):
        yield None
        return
    bar = _Bar(label, total, unit)
    try:
        yield bar.note
    finally:
        bar.stop()


class _Bar:
    """A bar that appears by itself when its time has come, whether rows are done by then or not."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._lock = threading.Lock()
        self._shown: Any = None
        self._timer = threading.Timer(PATIENCE, self._start)
        self._timer.daemon = True
        self._timer.start()

    def note(self, rows: int) -> None:
        self._done += rows
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self._done)

    def _start(self) -> None:
        with self._lock:
            if self._timer.finished.is_set():
                return  # stopped just now
            shown = _drawn(self._unit)
            shown.add_task(self._label, total=self._total, completed=self._done)
            shown.start()
            self._shown = shown

    def stop(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown is not None:
                self._shown.stop()


def _drawn(unit: str) -> Any:  # noqa: ANN401 - a rich.progress.Progress, imported when first needed
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
