"""Runs of whole records, cut from the bytes of a delimited file as they are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.errors import InputError
from qkvcli.sources.table import FIELD_CAP

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class Run(NamedTuple):
    """Whole records as bytes: the line of the first, how many line ends, where they start."""

    data: bytes
    line: int = 1
    line_ends: int = 0
    offset: int = 0

    def without(self, size: int, lines: int) -> Run:
        """Return the run without its first bytes, which are so many lines."""
        left = self.line_ends - self.data.count(b"\n", 0, size)
        return Run(self.data[size:], self.line + lines, left, self.offset + size)

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but line ends."""
        return _NOT_BLANK.search(self.data) is None


_NOT_BLANK = re.compile(rb"[^\r\n]")


def runs_of(
    parts: Iterator[bytes], name: str, offset: int = 0, held: bytes = b"", *, ends: bool = True
) -> Generator[Run, None, int]:
    """Cut a stream of bytes into runs of whole records.

    A line end outside quotes is one before which the number of quotes is even.

    Parameters
    ----------
    parts, name
        The stream, and what errors call it.
    offset
        Where in its file the stream starts.
    held
        The start of a record, which the stream goes on with.
    ends
        Whether the stream's end ends a record too.

    Returns
    -------
    int
        Where in the file the record starts that was not ended.
    """
    line = 1
    for part in parts:
        data, held = _cut(held, part)
        if data:
            run = Run(data, line, count_byte(data, b"\n"), offset)
            yield run
            line, offset = line + run.line_ends, offset + len(data)
        if len(held) > FIELD_CAP:
            message = f"a record is longer than {FIELD_CAP >> 20} MiB; is a quote unbalanced?"
            raise InputError(message, f"{name}:{line}")
    if held and ends:
        yield Run(held, line, held.count(b"\n"), offset)
    return offset


def _cut(held: bytes, part: bytes) -> tuple[bytes, bytes]:
    """Return the whole records of what was held and what comes now, and the rest."""
    if b'"' in part or b'"' in held:
        data = held + part
        end = _last_record_end(data)
        return data[:end], data[end:]
    end = part.rfind(b"\n") + 1
    if not end:
        return b"", held + part
    return b"".join((held, memoryview(part)[:end])), part[end:]  # copied once


def _last_record_end(data: bytes) -> int:
    odd = data.count(b'"') % 2
    end = len(data)
    while (found := data.rfind(b"\n", 0, end)) >= 0:
        odd ^= data.count(b'"', found, end) % 2
        if not odd:
            return found + 1
        end = found
    return 0


def count_byte(data: bytes, sign: bytes) -> int:
    """Count a byte; ``bytes.count`` is ten times as slow where there is one in every few bytes."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(sign)))
