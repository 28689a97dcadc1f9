"""Terminals: how wide, how colourful, and whether there is one at all."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

COLORS = ("auto", "always", "never")


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
