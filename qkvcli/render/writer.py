"""The one place that opens outputs: whole files or none, pipes as they are."""

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from qkvcli.errors import OutputError

STDOUT = "-"
# An open descriptor by a file name. What it leads to may be a pipe without a name, or a file to
# which others are writing too: it is written to as it is.
_DESCRIPTOR = re.compile(r"/dev/(?:fd/([0-9]{1,9})|std(out|err))|/proc/self/fd/([0-9]{1,9})")


@dataclass(frozen=True)
class Target:
    """A place to write to that has been looked at before any work is done.

    ``path`` is what the user gave; ``real`` is what it resolves to, so that a symlink stays a link.
    """

    path: str
    real: str
    replace: bool
    mode: int | None
    descriptor: int | None = None

    @property
    def is_stdout(self) -> bool:
        """Whether the bytes go to this process's standard output."""
        return self.descriptor == 1

    @property
    def name(self) -> str:
        """What an error calls this place."""
        return "stdout" if self.path == STDOUT else self.path


def target(path: str, *, inputs: Iterable[str] = ()) -> Target:
    """Look at an output path before any work: can it be written, and is it not an input?

    Raises
    ------
    OutputError
        A directory, a missing directory, no permission, or the same file as an input.
    """
    if not path:
        raise OutputError("an output needs a file name")
    descriptor = _descriptor(path)
    if descriptor is not None:
        return Target(path, path, replace=False, mode=None, descriptor=descriptor)
    status = _stat(path)
    real = os.path.realpath(path)
    folder = real if path.endswith(os.sep) else os.path.dirname(real)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise OutputError("is a directory; name a file in it", path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        return Target(path, real, replace=False, mode=None)  # a FIFO, a terminal
    if not os.path.isdir(folder):
        raise OutputError(f"there is no directory {folder!r}; make it first", path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("no permission to write in its directory; choose another place", path)
    if status is not None and not os.access(real, os.W_OK):
        raise OutputError(
            "no permission to write this file; choose another, or change its mode", path
        )
    for source in inputs:
        if status is not None and _same_file(source, real):
            raise OutputError("is also an input; write to another file", path)
    return Target(path, real, replace=True, mode=status and stat.S_IMODE(status.st_mode))


def _descriptor(path: str) -> int | None:
    if path == STDOUT:
        return 1
    found = _DESCRIPTOR.fullmatch(path)
    if not found:
        return None
    number, stream, of_process = found.groups()
    return {"out": 1, "err": 2}[stream] if stream else int(number or of_process)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(_reason(error), path) from None


def _same_file(source: str, real: str) -> bool:
    try:
        return os.path.samefile(source, real)
    except (OSError, ValueError):
        return False


@contextmanager
def open_target(place: Target) -> Iterator[BinaryIO]:
    """Open a target for writing bytes; on a failure inside, the old file stands untouched.

    A regular file is written under a temporary name beside the target and then renamed over it,
    so that a reader sees the old file or the whole new one. A pipe or a device is written as it is.

    Raises
    ------
    OutputError
        The disk is full, or any other failed open, write, sync or rename.
    BrokenPipeError
        The reader of a pipe went away; the edge of the program dies of SIGPIPE.
    """
    try:
        if place.is_stdout:
            yield from _stdout()
        elif place.replace:
            yield from _replacing(place)
        else:
            duplicate = None if place.descriptor is None else os.dup(place.descriptor)
            with open(place.real if duplicate is None else duplicate, "wb") as stream:
                yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"not written: {_reason(error)}", place.name) from error


def _stdout() -> Iterator[BinaryIO]:
    if sys.stdout is None:  # closed by the caller, as in `>&-`
        raise OutputError("is closed", "stdout")
    try:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError:
        _forget_stdout()
        raise


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, so that no later flush fails a second time."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _replacing(place: Target) -> Iterator[BinaryIO]:
    folder, base = os.path.split(place.real)
    # A name that nobody else has, known before the file is made: a signal that comes while the
    # file is being made finds it, and what is removed is never another's.
    temporary = os.path.join(folder, f".{base[:40]}.{os.urandom(8).hex()}.qkv")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if place.mode is not None:
                os.fchmod(stream.fileno(), place.mode)
            os.fsync(stream.fileno())
        os.replace(temporary, place.real)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _reason(error: Exception) -> str:
    """Return the operating system's own words for an error, without its number or path."""
    return getattr(error, "strerror", None) or str(error)
