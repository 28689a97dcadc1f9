"""Terminals: whether there is one, how wide and colourful; what is said there of the work."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

COLORS = ("auto", "always", "never")
PATIENCE = 1.0
"""How many seconds pass before anything is shown."""


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open and is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def wants_color(color: str, stream: TextIO | None) -> bool:
    """Decide on colour: ``--color``, then NO_COLOR, then FORCE_COLOR, then the stream itself."""
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced not in ("0", "false")
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


@contextmanager
def drawing(stream: BinaryIO, color: str = "auto", *, terminal: bool) -> Iterator[Console]:
    """Yield a Rich console that draws on a stream of bytes.

    Parameters
    ----------
    stream
        Where the bytes go.
    color
        When to use colour.
    terminal
        Whether the stream is this process's terminal, whose width and encoding then count.
    """
    from rich.console import Console  # 40 ms, and only for people

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - called where it is handled; Rich would leave with status 1

    encoding = (sys.stdout.encoding if terminal and sys.stdout else None) or "utf-8"
    text = io.TextIOWrapper(stream, encoding, errors="backslashreplace", newline="\n")
    colorful = wants_color(color, sys.stdout if terminal else None)
    screen = Screen(
        file=text,
        color_system=depth() if colorful else None,
        force_terminal=colorful,
        no_color=not colorful,
        width=os.get_terminal_size(sys.stdout.fileno()).columns or 80 if terminal else 100,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    try:
        yield screen
        text.flush()
    finally:
        text.detach()


def depth() -> Literal["standard", "256", "truecolor"]:
    """Return how many colours the terminal says it has."""
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    return "256" if "256color" in os.environ.get("TERM", "") else "standard"


def note(line: str) -> None:
    """Say one line on stderr; what it quotes of the data is escaped."""
    from qkvcli.render.escape import visible

    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        text = f"qkv: {visible(line)}\n"
        os.write(sys.stderr.fileno(), text.encode("utf-8", "backslashreplace"))


def warn(line: str) -> None:
    """Say one line on stderr that is no failure."""
    note(f"note: {line}")


@contextmanager
def progress(
    label: str, total: int | None = None, unit: str = "rows"
) -> Iterator[Callable[[int], None] | None]:
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
