"""Faults at every place of every output: the old file or the whole new one, and the right end."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import io
import itertools
import os
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import pytest

from tests.support.command import LOST, SAMPLES
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD = b"the old file\n"
QUERIES = ("Li", "Lipten", "Hu", "Smolla")


class Output(NamedTuple):
    """A command line that writes to ``{}``, and whether that may be standard output."""

    arguments: tuple[str, ...]
    extension: str


_LOOKUP = ("lookup", *QUERIES, "-m", "softmax", "--workers", "1")
_POOL = ("pool", *QUERIES, "--workers", "1")
# A command that writes something else adds a line here, and meets every fault.
# Two panels: every read of a file is a place where one may fail. They are small, to be quick.
_ATTENTION = str(SAMPLES / "animal_layer3_attention.npy")
_SMALL = ("--heads", "0-1", "--queries", "0-3", "--keys", "0-3", "--dpi", "50")
_HEATMAP = ("heatmap", _ATTENTION, *_SMALL)
OUTPUTS: dict[str, Output] = {
    **{
        f"lookup {form}": Output((*_LOOKUP, "--format", form, "-o", "{}"), form)
        for form in ("tsv", "csv", "json", "jsonl", "value", "table")
    },
    "lookup weights npy": Output((*_LOOKUP, "-o", "/dev/null", "--weights", "{}"), "npy"),
    "lookup weights npz": Output((*_LOOKUP, "-o", "/dev/null", "--weights", "{}"), "npz"),
    **{
        f"pool {form}": Output((*_POOL, "--format", form, "-o", "{}"), form)
        for form in ("tsv", "csv", "json", "npy", "npz")
    },
    "pool weights npz": Output((*_POOL, "-o", "/dev/null", "--weights", "{}"), "npz"),
    **{
        f"heatmap {form}": Output((*_HEATMAP, "--format", form, "-o", "{}"), form)
        for form in ("svg", "png", "pdf")
    },
}
ERRORS = ("ENOSPC", "EACCES", "EPIPE", "MemoryError")
WRITES = 10
"""Into how many writes at least an output is cut."""
FAULTS = mostly_slow(itertools.product(OUTPUTS, ("file", "stdout"), ERRORS), 18)
"""Outputs, where to, and errors; a step of seven through them meets every output and error."""


def _error(name: str) -> BaseException:
    if name == "MemoryError":
        return MemoryError()
    code = getattr(errno, name)
    return OSError(code, os.strerror(code))


class Faults:
    """Fails the N-th of all calls that touch a file, and counts them."""

    def __init__(self, fail_at: int, error: str, chunk: int) -> None:
        self.fail_at, self.error, self.chunk = fail_at, error, chunk
        self.calls: Counter[str] = Counter()

    def hit(self, name: str) -> None:
        """Count a call, and fail if its time has come."""
        self.calls[name] += 1
        if sum(self.calls.values()) == self.fail_at:
            raise _error(self.error)

    def on(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that may fail."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.hit(name)
            return function(*arguments, **options)

        return call

    def raw(self) -> type[io.FileIO]:
        """Return a file whose reads and writes may fail, and that writes a few bytes at a time."""
        faults = self

        class Faulty(io.FileIO):
            def write(self, data: Any) -> int:
                faults.hit("write")
                return super().write(memoryview(data).cast("B")[: faults.chunk])

            def readinto(self, data: Any) -> int | None:
                faults.hit("read")
                return super().readinto(data)

            def close(self) -> None:
                failed = not self.closed and self.writable()
                super().close()
                if failed:
                    faults.hit("close")

        return Faulty


def _opened(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``open`` for binary files, buffered little, over files that may fail."""
    raw = faults.raw()

    def fault(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        if "b" not in mode:
            return real(file, mode, buffering, *more, **options)
        faults.hit("open")
        stream = raw(file, mode.replace("b", ""))
        if buffering == 0:
            return stream
        kind = io.BufferedWriter if "w" in mode else io.BufferedReader
        return kind(stream, 4096)

    return fault


def _child(arguments: list[str], folder: Path, faults: Faults) -> None:
    """Run one command line in this forked process, with faults, and die as the command would."""
    import builtins

    from qkvcli import __main__ as process

    _alone()
    os.chdir(folder)
    os.dup2(os.open("stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    out = io.BufferedWriter(faults.raw()(1, "w", closefd=False), 256)
    sys.stdout = io.TextIOWrapper(out, "utf-8")
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - until it dies
    sys.argv = ["qkv", *arguments]
    real = builtins.open
    with (
        mock.patch.object(builtins, "open", _opened(faults, real)),
        mock.patch.object(os, "fdopen", _opened(faults, real)),
        mock.patch.object(os, "open", faults.on("os.open", os.open)),
        mock.patch.object(os, "fsync", faults.on("fsync", os.fsync)),
        mock.patch.object(os, "fchmod", faults.on("fchmod", os.fchmod)),
        mock.patch.object(os, "replace", faults.on("replace", os.replace)),
    ):
        process.main()


def _alone() -> None:
    """Part this forked process from the tests that it comes from.

    It leaves a measure of coverage, whose locks no signal may interrupt; at ``os._exit`` it would
    save its data besides, and that would be what is killed. Nor does it collect, and so copy, all
    that the tests hold.
    """
    gc.freeze()
    sys.settrace(None)
    os._exit = ctypes.CDLL(None)._exit


def inject(
    arguments: list[str], folder: Path, fail_at: int, error: str, chunk: int = 1 << 20
) -> int:
    """Run one command line with one fault, in a process of its own; return its wait status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        _child(arguments, folder, Faults(fail_at, error, chunk))
    finally:
        os._exit(99)


@cache
def _warm() -> None:
    """Run every command once, so that no child imports, or reads what Matplotlib keeps."""
    from qkvcli.cli import run

    with tempfile.TemporaryDirectory() as folder:
        for output in OUTPUTS.values():
            place = f"{folder}/out.{output.extension}"
            assert run([word.replace("{}", place) for word in output.arguments]) == 0


@pytest.mark.parametrize(("name", "to", "error"), FAULTS)
def test_a_fault_at_every_place(name: str, to: str, error: str, tmp_path: Path) -> None:
    """Fail the first call, the second, and so on, until the command succeeds."""
    _warm()
    output = OUTPUTS[name]
    place = "-" if to == "stdout" else f"out.{output.extension}"
    arguments = [word.replace("{}", place) for word in output.arguments]
    target = tmp_path / (place if to == "file" else "stdout")
    wanted = _whole(arguments, tmp_path, target)
    chunk = -(-len(wanted) // WRITES)
    for fail_at in range(1, 200):
        if to == "file":
            target.write_bytes(OLD)
        status = inject(arguments, tmp_path, fail_at, error, chunk)
        lines = (tmp_path / "stderr").read_text().splitlines()
        here = f"fault {fail_at}: {status}, {lines}"
        assert set(os.listdir(tmp_path)) == {"stdout", "stderr", target.name}, here
        if status == 0:
            assert target.read_bytes() == wanted
            break
        broken = status == -signal.SIGPIPE
        assert broken or status == 2, here
        assert error == "EPIPE" or not broken, here
        assert len(lines) == (not broken), here
        assert all(line.startswith("qkv: ") for line in lines), here
        if to == "file":
            assert target.read_bytes() == OLD, here
        elif wanted.startswith(b"PK"):  # an .npz, whose start is written last where it can be
            assert not zipfile.is_zipfile(target), here
        else:
            assert wanted.startswith(target.read_bytes()), here
    else:
        pytest.fail("it never succeeded")
    assert fail_at > WRITES, "not every write met a fault"


def _whole(arguments: list[str], folder: Path, target: Path) -> bytes:
    assert inject(arguments, folder, 1 << 40, "EIO") == 0, (folder / "stderr").read_text()
    return target.read_bytes()


@pytest.mark.parametrize("moments", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_any_moment(number: signal.Signals, moments: int, tmp_path: Path) -> None:
    """Kill the command at some moments while it writes weights over an old file."""
    _warm()
    (tmp_path / "k.csv").write_text("k\n" + "".join(f"key{i}\n" for i in range(1_000)))
    target = tmp_path / "w.npy"
    asked = ["lookup", *QUERIES, "-m", "softmax", "--data", "k.csv", "-o", "out.txt"]
    arguments = [*asked, "--weights", "w.npy", "--workers", "1"]
    whole = 60.0
    for _ in range(2):  # the quicker of two, or most kills could come too late
        began = time.monotonic()
        assert _killed(60, arguments, tmp_path, signal.SIGKILL) == 0
        whole = min(whole, time.monotonic() - began)
    wanted = target.read_bytes()
    dice = random.Random(number)
    ends: Counter[str] = Counter()
    for _ in range(moments):
        target.write_bytes(OLD)
        status = _killed(dice.uniform(0, 1.2 * whole), arguments, tmp_path, number)
        found = target.read_bytes()
        assert found in (OLD, wanted)
        ends["old" if found == OLD else "new"] += 1
        assert status in (0, -number)
        said = (tmp_path / "stderr").read_bytes()
        assert said == b"" or said.startswith(LOST)
        left = [name for name in os.listdir(tmp_path) if name.endswith(".qkv")]
        if number == signal.SIGKILL:  # after which no process can clear up
            for name in left:
                (tmp_path / name).unlink()
        else:
            assert left == []
    assert ends["old"] > moments // 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("place", ["__enter__", "__exit__"])
def test_killed_between_a_file_and_what_clears_it_up(
    place: str, number: signal.Signals, tmp_path: Path
) -> None:
    """A ``with`` clears up from after its manager is entered until before that is left."""
    manager = contextlib._GeneratorContextManager
    real = getattr(manager, place)

    def killed(self: Any, *arguments: Any) -> Any:
        if self.gen.gi_code.co_name != "open_target":
            return real(self, *arguments)
        entered = real(self) if place == "__enter__" else None
        os.kill(os.getpid(), number)
        return entered

    (tmp_path / "out.txt").write_bytes(OLD)
    arguments = ["lookup", *QUERIES, "-o", "out.txt", "--workers", "1"]
    with mock.patch.object(manager, place, killed):
        assert _killed(60, arguments, tmp_path, signal.SIGKILL) == -number
    assert sorted(os.listdir(tmp_path)) == ["out.txt", "stderr"]
    assert (tmp_path / "out.txt").read_bytes() == OLD
    assert (tmp_path / "stderr").read_bytes() == b""


def _killed(seconds: float, arguments: list[str], folder: Path, number: signal.Signals) -> int:
    """Run a command that writes slowly, kill it after some time; return its wait status."""
    stops = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # until the child is the command
    child = os.fork()
    if not child:
        try:
            _write_slowly(arguments, folder)
        finally:
            os._exit(99)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        time.sleep(min(0.005, seconds))
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class _Slow(io.FileIO):
    """A file that takes its time."""

    def write(self, data: Any) -> int:
        time.sleep(0.003)
        return super().write(memoryview(data).cast("B")[:1024])


def _write_slowly(arguments: list[str], folder: Path) -> None:
    from qkvcli import __main__ as process

    os.chdir(folder)
    os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - until it dies
    sys.argv = ["qkv", *arguments]
    fdopen = os.fdopen

    def slow(descriptor: int, mode: str) -> Any:
        if mode != "wb":
            return fdopen(descriptor, mode)
        return io.BufferedWriter(_Slow(descriptor, "w"), 1024)

    _alone()
    handle = signal.signal

    def begin(number: signal.Signals, handler: Any) -> Any:
        handle(number, handler)  # the command's first step; from here on it can be killed
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    handle(signal.SIGINT, signal.default_int_handler)
    with (
        mock.patch.object(os, "fdopen", slow),
        mock.patch.object(signal, "signal", begin),
    ):
        process.main()
