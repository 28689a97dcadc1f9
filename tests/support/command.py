"""The installed command as a user runs it: in pipes, and on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import termios
import time
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

QKV = str(Path(sysconfig.get_path("scripts")) / "qkv")
SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
# What a user's shell may hold and a test must not depend on.
_UNSET = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "QKV_DATA", "PYTHONIOENCODING")
_DEFAULTS = {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
LOST = b"Exception ignored in"
"""What Python says of an interruption in a finalizer, before it goes on as if there was none."""
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": None}
"""A change of the environment of every process that a test interrupts by a signal.

A measure of coverage takes a lock in the midst of the program's own lines. Where an interruption
comes just then the lock is never given back, and the process waits for it for ever.
"""
_CTRL_C = b"\x03"


@dataclass(frozen=True)
class Outcome:
    """What one run of a program did.

    Parameters
    ----------
    arguments
        What it was given.
    status
        The exit status as a shell shows it: 128 + n for a death by signal n.
    out, err
        What it wrote; on a pseudo-terminal both arrive in ``out``, unless ``err`` was kept apart.
    seconds
        How long it took.
    peak
        Its largest resident memory, in bytes.
    """

    arguments: tuple[str | bytes, ...]
    status: int
    out: bytes
    err: bytes
    seconds: float
    peak: int

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode()

    @property
    def error(self) -> str:
        """Standard error as text."""
        return self.err.decode()


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment without what a user may have set; None unsets more."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    changed = kept | _DEFAULTS | dict(changes or {})
    return {name: value for name, value in changed.items() if value is not None}


def run_qkv(
    *arguments: str | bytes,
    stdin: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 60,
    program: str = QKV,
) -> Outcome:
    """Run the command with pipes for its three streams.

    Raises
    ------
    TimeoutError
        It did not end in time; it was killed.
    """
    report, reporting = os.pipe()
    with os.fdopen(report, "rb") as measured:
        with subprocess.Popen(
            [*_launch(reporting, "pipe"), program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
            cwd=cwd,
            pass_fds=[reporting],
            start_new_session=True,
        ) as process:
            os.close(reporting)
            try:
                out, err = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                message = f"{arguments} ran for more than {timeout} s"
                raise TimeoutError(message) from None
        return _outcome(arguments, measured.read(), out, err)


def run_inside(
    *arguments: str | bytes,
    stdin: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    cwd: str | Path | None = None,
) -> Outcome:
    """Run the command in this process: all but its start, which costs more than most commands.

    Its streams are a pipe and two files at descriptors 0, 1 and 2, whoever asks for them. What the
    edge of the program lets pass is raised here, and so is every warning. The peak is by how much
    the run made this process grow.
    """
    from qkvcli.cli import run

    words = [os.fsdecode(word) for word in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with (
            _streams(stdin, out.fileno(), err.fileno()),
            mock.patch.dict(os.environ, environment(env), clear=True),
            chdir(cwd or "."),
        ):
            before, began = _forget_peak(), time.perf_counter()
            status = run(words)
            seconds = time.perf_counter() - began
            peak = _memory("VmHWM") - before
        out.seek(0)
        err.seek(0)
        return Outcome(arguments, status, out.read(), err.read(), seconds, peak)


@contextmanager
def _streams(stdin: bytes, out: int, err: int) -> Iterator[None]:
    """Put a pipe with some bytes in it, and two descriptors, in the place of the three streams."""
    assert len(stdin) <= 1 << 16, "more than a pipe holds; use run_qkv"
    reading, writing = os.pipe()
    os.write(writing, stdin)
    os.close(writing)
    kept = [os.dup(number) for number in range(3)]
    try:
        for number, stream in enumerate((reading, out, err)):
            os.dup2(stream, number)
        with (
            open(0, encoding="utf-8", closefd=False) as new_in,
            open(1, "w", encoding="utf-8", closefd=False) as new_out,
            open(2, "w", encoding="utf-8", closefd=False) as new_err,
            mock.patch.multiple(sys, stdin=new_in, stdout=new_out, stderr=new_err),
        ):
            yield
    finally:
        for number, old in enumerate(kept):
            os.dup2(old, number)
            os.close(old)
        os.close(reading)


def _memory(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def _forget_peak() -> int:
    """Have the kernel measure the peak of this process's memory anew; return what it is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmHWM")


def run_pty(
    *arguments: str | bytes,
    columns: int = 80,
    rows: int = 24,
    keys: Iterable[tuple[float, bytes]] = (),
    env: Mapping[str, str | None] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 60,
    err_apart: bool = False,
    program: str = QKV,
) -> Outcome:
    r"""Run the command on a pseudo-terminal of its own.

    Parameters
    ----------
    columns, rows
        The terminal's size.
    keys
        What is typed, and after how many seconds: ``[(0.5, b"\x03")]`` is Ctrl-C, ``b"\x04"`` the
        end of input.
    err_apart
        Whether standard error is a pipe, as under ``2>file``, rather than the terminal.

    Raises
    ------
    TimeoutError
        It did not end in time; it was killed.
    """
    keys = list(keys)
    if any(_CTRL_C in key for _, key in keys):
        env = {**UNMEASURED, **(env or {})}
    report, reporting = os.pipe()
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    errors, err_end = os.pipe()
    with os.fdopen(report, "rb") as measured:
        with subprocess.Popen(
            [*_launch(reporting, "tty"), program, *arguments],
            stdin=follower,
            stdout=follower,
            stderr=err_end if err_apart else follower,
            env=environment(env),
            cwd=cwd,
            pass_fds=[reporting],
        ) as process:
            for descriptor in (follower, err_end, reporting):
                os.close(descriptor)
            out, err = _talk(process, leader, errors, keys, timeout)
        return _outcome(arguments, measured.read(), out, err)


def _launch(reporting: int, terminal: str) -> list[str]:
    return [sys.executable, "-I", "-S", _LAUNCHER, str(reporting), terminal]


def _talk(
    process: subprocess.Popen[bytes],
    leader: int,
    errors: int,
    keys: list[tuple[float, bytes]],
    timeout: float,
) -> tuple[bytes, bytes]:
    began = time.monotonic()
    received = {leader: b"", errors: b""}
    ends = [leader, errors]
    try:
        while ends:
            elapsed = time.monotonic() - began
            if keys and elapsed >= keys[0][0]:
                os.write(leader, keys.pop(0)[1])
                continue
            if elapsed > timeout:
                _kill_children(process.pid)
                message = f"{process.args!r} ran for more than {timeout} s"
                raise TimeoutError(message)
            pause = min(timeout, keys[0][0] if keys else timeout) - elapsed
            for end in select.select(ends, [], [], max(0.0, pause))[0]:
                part = _read_end(end)
                received[end] += part
                if not part:
                    ends.remove(end)
    finally:
        os.close(leader)
        os.close(errors)
    return received[leader], received[errors]


def _read_end(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # EIO: the last process on the terminal has left it
        return b""


def _kill_children(parent: int) -> None:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)


def _outcome(arguments: tuple[str | bytes, ...], report: bytes, out: bytes, err: bytes) -> Outcome:
    assert report, f"{arguments}: the launcher ended before its program did: {err!r}"
    status, seconds, peak = report.split()
    code = os.waitstatus_to_exitcode(int(status))
    return Outcome(
        arguments, code if code >= 0 else 128 - code, out, err, float(seconds), int(peak)
    )
