"""Bytes in: files, standard input, gzip and encodings, each opened in one place."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import select
import stat
import sys
import zlib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from qkvcli.errors import InputError, QkvError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import WriteableBuffer

T = TypeVar("T")
STDIN = "-"
CHUNK = 3 << 17
"""How many bytes are read at a time: with what is made of them they stay in a core's cache. Never a
matter of the machine, so that blocks never are."""
# What glibc sees freed it keeps from then on, up to twice as much, for what comes next. Otherwise
# every block of a file would be put into fresh memory, whose first touch costs more than its use.
bytes(31 << 20)
DOCUMENT_CAP = 256 << 20
"""How large a JSON document or a label file, read whole, may be: 256 MiB."""
GZIP_CAP = 64 << 30
"""How much a .gz may unpack to: 64 GiB."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def display_name(path: str) -> str:
    """Return what errors call an input."""
    return "stdin" if path == STDIN else path


def open_bytes(path: str) -> io.BufferedIOBase:
    """Open a file or standard input for reading, unpacking gzip by its first bytes.

    Raises
    ------
    InputError
        No such file, a directory, no permission, or a closed standard input.
    """
    if path == STDIN and _peeked:
        return _peeked.pop()
    name = display_name(path)
    try:
        raw = _stdin() if path == STDIN else open(path, "rb", buffering=0)  # noqa: SIM115
    except QkvError:  # which is a ValueError too
        raise
    except (OSError, ValueError) as error:
        raise InputError(_open_failure(error, path), name) from None
    stream = _Returnable(raw)
    magic = stream.peek(2, name)
    buffered = io.BufferedReader(stream, CHUNK)
    return _Unpacked(buffered, name) if magic == b"\x1f\x8b" else buffered


_peeked: list[io.BufferedIOBase] = []


def peek_stdin() -> bytes:
    """Return the start of standard input, unpacked: ``CHUNK`` bytes where there are as many.

    They are not lost: the next ``open_bytes`` of standard input yields them first.
    """
    stream = _Returnable(open_bytes(STDIN))
    start = stream.peek(CHUNK, display_name(STDIN))
    _peeked.append(io.BufferedReader(stream, CHUNK))
    return start


class _Returnable(io.RawIOBase):
    """A stream whose start can be looked at, and that waits where another would not."""

    def __init__(self, stream: io.FileIO | io.BufferedIOBase) -> None:
        self._stream = stream
        self._returned = b""
        self._ended = False

    def peek(self, size: int, name: str) -> bytes:
        try:
            self._returned = _read(self, name, size)
        except InputError:
            self.close()
            raise
        return self._returned

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        view = memoryview(target).cast("B")
        if self._returned:
            size = min(len(view), len(self._returned))
            view[:size], self._returned = self._returned[:size], self._returned[size:]
            return size
        if self._ended:
            return 0  # a terminal would wait for another Ctrl-D
        while (got := self._stream.readinto(view)) is None:
            select.select([self._stream], [], [])  # someone has made the pipe non-blocking
        self._ended = got == 0 and len(view) > 0
        return got

    def close(self) -> None:
        self._stream.close()
        super().close()


def _stdin() -> io.FileIO:
    if sys.stdin is None:
        raise InputError("is closed; give a file, or send data", "stdin")
    return io.FileIO(os.dup(sys.stdin.fileno()), "rb")


def _open_failure(error: Exception, path: str) -> str:
    if isinstance(error, FileNotFoundError):
        folder = os.path.dirname(path) or "."
        near = os.listdir(folder) if os.path.isdir(folder) and os.access(folder, os.R_OK) else []
        return "no such file" + did_you_mean(os.path.basename(path), sorted(near), several=False)
    if isinstance(error, IsADirectoryError):
        return "is a directory; name a file in it"
    return str(getattr(error, "strerror", None) or error)


class _Unpacked(gzip.GzipFile):
    """A gzip stream whose faults name the file."""

    def __init__(self, stream: io.BufferedReader[_Returnable], name: str) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._packed = stream
        self._name = name

    def close(self) -> None:
        super().close()
        self._packed.close()

    def read(self, size: int | None = -1) -> bytes:
        try:
            data = super().read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"the gzip data is damaged or truncated ({error})", self._name
            ) from None
        if self.tell() > GZIP_CAP:
            raise InputError(
                f"unpacks to more than {GZIP_CAP >> 30} GiB; unpack it to a file first", self._name
            )
        return data

    def readinto(self, target: WriteableBuffer) -> int:
        """Read as above: from Python 3.14 this is a way of its own."""
        view = memoryview(target).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def unpacked_size(path: str) -> int:
    """Return how many bytes a regular file holds once unpacked, as far as it says itself."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return 0
        with open(path, "rb") as stream:
            if stream.read(2) != b"\x1f\x8b":
                return status.st_size
            stream.seek(-4, os.SEEK_END)  # gzip ends with the unpacked size modulo 2^32
            return int.from_bytes(stream.read(4), "little")
    except (OSError, ValueError):
        return 0


def reopenable(path: str) -> bool:
    """Return whether an input can be read a second time from its start."""
    return path != STDIN and os.path.isfile(path)


def read_exactly(stream: io.RawIOBase | io.BufferedIOBase, size: int) -> bytes:
    """Read until ``size`` bytes are there or the input ends, however a pipe cuts them."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def chunks(path: str, encoding: str | None = None) -> Iterator[bytes]:
    """Yield an input as UTF-8 without a byte order mark, ``CHUNK`` bytes read at a time.

    Parameters
    ----------
    path
        A file, or ``-`` for standard input; gzip is unpacked.
    encoding
        The text's encoding; by default what a byte order mark says, else UTF-8.
    """
    name = display_name(path)
    with open_bytes(path) as stream:
        data = _read(stream, name)
        mark, marked = _marked(data)
        codec = _codec(encoding, marked)
        if codec.name == "utf-8":
            data = data.removeprefix(mark if marked == "utf-8" else b"")
            while data:
                yield data
                data = _read(stream, name)
            return
        yield from _transcoded(stream, data, codec, name)


class Place(NamedTuple):
    """Some bytes of a file: what travels in their stead."""

    path: str
    offset: int
    length: int


def start_in_file(path: str, encoding: str | None = None) -> int | None:
    """Return where in a file its text starts, or None where ``chunks`` yields other bytes.

    That is so of a pipe, of gzip, and of another encoding than UTF-8.
    """
    if not reopenable(path):
        return None
    try:
        with open(path, "rb", buffering=0) as stream:
            start = stream.read(4)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", display_name(path)) from None
    mark, marked = _marked(start)
    if start.startswith(b"\x1f\x8b") or _codec(encoding, marked).name != "utf-8":
        return None
    return len(mark) if marked == "utf-8" else 0


def after_last_line_end(path: str, stop: int) -> int | None:
    """Return what follows the last line end of a file before ``stop``; None if it is far before."""
    start = max(0, stop - CHUNK)
    while stop > start:
        step = max(start, stop - (1 << 12))
        data = read_place(Place(path, step, stop - step), path)
        found = data.rfind(b"\n")
        if found >= 0:
            return step + found + 1
        stop = step
    return None


def parts_from(path: str, begin: int, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file from one place to another, or to its end, cut as by ``chunks``."""
    try:
        with open(path, "rb", buffering=0) as stream:
            stream.seek(begin)
            size = CHUNK - begin % CHUNK
            while begin != stop and (data := read_exactly(stream, size)):
                yield data
                begin, size = begin + size, CHUNK
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path) from None


def read_place(place: Place, name: str) -> bytes:
    """Return the bytes of a place.

    Raises
    ------
    InputError
        The file is not there (as on another machine), or is shorter than it was.
    """
    try:
        with open(place.path, "rb", buffering=0) as stream:
            stream.seek(place.offset)
            data = read_exactly(stream, place.length)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", name) from None
    if len(data) < place.length:
        raise InputError("is shorter than when it was opened; was it rewritten meanwhile?", name)
    return data


def _marked(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark at the start of a text, and the encoding it stands for."""
    return next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))


def start_of_text(data: bytes, encoding: str | None = None) -> str:
    """Return what can be read of a text that is cut short after ``data``."""
    return data.decode(_codec(encoding, _marked(data)[1]).name, "ignore").removeprefix("\ufeff")


def _read(stream: io.RawIOBase | io.BufferedIOBase, name: str, size: int | None = None) -> bytes:
    try:
        return read_exactly(stream, CHUNK if size is None else size)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", name) from None


def _codec(encoding: str | None, marked: str) -> codecs.CodecInfo:
    encoding = marked if encoding is None else encoding
    try:
        codec = codecs.lookup(encoding)
        if not codec._is_text_encoding:  # noqa: SLF001 - the only way to tell rot13 from text
            raise LookupError
    except LookupError:
        known = ("utf-8", "utf-16", "utf-32", "latin-1", "cp1252", "ascii", "shift_jis", "gb18030")
        raise UsageError(
            f"`encoding` {encoding!r} is not known{did_you_mean(encoding, known)}"
        ) from None
    return codec


def _transcoded(
    stream: io.BufferedIOBase, data: bytes, codec: codecs.CodecInfo, name: str
) -> Iterator[bytes]:
    decoder = codec.incrementaldecoder("strict")
    line = 1
    while True:
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:  # UTF-16 without its mark is not even a decoding error
            if isinstance(error, UnicodeDecodeError):
                line += error.object[: error.start].count(b"\n")
            raise InputError(
                f"is not {codec.name} here; pass another `encoding`", f"{name}:{line}"
            ) from None
        line += text.count("\n")
        if text:
            yield text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
        if not data:
            return
        data = _read(stream, name)


def read_document(path: str, encoding: str | None = None) -> bytes:
    """Return a whole input as UTF-8, up to ``DOCUMENT_CAP``.

    Raises
    ------
    InputError
        The input is larger, before it is unpacked where its own header says so.
    """
    return b"".join(up_to_cap(chunks(path, encoding), path))


def up_to_cap(parts: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the parts of an input that is read whole, up to ``DOCUMENT_CAP``.

    Raises
    ------
    InputError
        As of ``read_document``.
    """
    message = f"is larger than {DOCUMENT_CAP >> 20} MiB, the cap for what is read whole"
    if unpacked_size(path) > DOCUMENT_CAP:
        raise InputError(message, display_name(path))
    size = 0
    for part in parts:
        size += len(part)
        if size > DOCUMENT_CAP:
            raise InputError(message, display_name(path))
        yield part


def decode(data: bytes, name: str, line: int = 1) -> str:
    """Decode UTF-8, naming the line and the way out where it is not."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise InputError(
            f"byte 0x{data[error.start]:02x} is not UTF-8; pass `encoding`, e.g. latin-1",
            f"{name}:{line}",
        ) from None


def read_lines(path: str, encoding: str | None = None) -> list[str]:
    """Return the lines of a text file or standard input, without their ends."""
    text = decode(read_document(path, encoding), display_name(path))
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def wait_interruptibly(call: Callable[[], T], seconds: float | None = None) -> T:
    """Call what may wait for a network, so that a signal still ends the program meanwhile.

    Libraries do not return for a signal. So it waits in a thread of its own, which is left
    behind, and this one waits where Python hears signals.

    Raises
    ------
    TimeoutError
        It has not returned after so many seconds.
    """
    from concurrent.futures import Future
    from threading import Thread

    found: Future[T] = Future()

    def work() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            found.set_exception(error)

    Thread(target=work, daemon=True).start()
    return found.result(seconds)
