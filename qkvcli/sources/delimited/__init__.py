"""CSV and TSV, strictly: blocks of whole records, cut from the bytes as they are read."""

from __future__ import annotations

import csv
import io
import os
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import streams
from qkvcli.sources.delimited.cells import DelimitedCells, Dialect, csv_reason, refuse_stray_quote
from qkvcli.sources.delimited.runs import Run, runs_of
from qkvcli.sources.table import (
    FIELD_CAP,
    SKIP,
    Layout,
    TableBlock,
    TableOptions,
    TableSource,
    layout,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from qkvcli.blocks import Columns
    from qkvcli.sources.table import Cells

_FIRST = 1 << 16
"""How large the first block is: what it finds may spare work on all others."""
_PARTITIONS = 8
"""How many partitions of a file there are for each process: all end at about the same time."""
_FEWEST, _MOST, _IN_ALL = 6, 171, 8192
"""How many chunks make a partition, between 2 and 64 MiB; how many partitions there are
at most, of whatever size."""


class DelimitedSource(TableSource):
    """A CSV or TSV file, read in blocks of some hundred thousand bytes."""

    def __init__(self, path: str, options: TableOptions, delimiter: str) -> None:
        self.name = options.name or streams.display_name(path)
        self.reopenable = streams.reopenable(path)
        self.path = path
        self.options = options
        given = options.delimiter
        self._delimiter = delimiter if given is None else checked_delimiter(given)
        self._stream = self._runs()
        with streams.closed_after_failure(self._stream):
            first = self._next_run()
            self.layout: Layout = layout(self._names, first, options, self.name)
        self._first: tuple[DelimitedCells, ...] = (first,)
        self.columns: Columns = self.layout.columns

    def blocks(self) -> Blocks | Iterator[TableBlock]:
        """Return the blocks of rows."""
        if self.options.missing == SKIP:
            return blocks_of(self.kept(self.read(), self.layout), self.layout)
        return Blocks(self)

    def read(self) -> Generator[DelimitedCells, None, None]:
        """Yield the cells of every block, in order."""
        first = self.first_blocks()
        self._first = ()
        with closing(self._stream) as stream:
            yield from chain(first, stream)

    def first_blocks(self) -> tuple[DelimitedCells, ...]:
        """Return the cells of the first block or two, which ``read`` goes on from."""
        if not self._first:  # read before
            self._stream = self._runs()
            self._first = (self._next_run(),)
        if len(self._first) == 1:
            self._first = self._first[0].parted(_FIRST)
        return self._first

    def _next_run(self) -> DelimitedCells:
        first = next(self._stream, None)
        if first is None:
            message = "has a header and no rows"
            raise InputError(message, self.name)
        return first

    def _runs(self) -> Generator[DelimitedCells, None, None]:
        text = streams.chunks(self.path, self.options.encoding)
        start = streams.start_in_file(self.path, self.options.encoding)
        parts = (run for run in runs_of(text, self.name, start or 0) if not run.is_blank)
        first = next(parts, Run(b""))
        declared = self._declared_delimiter(first.data)
        if declared:
            first = first.without(declared, 1)
            if first.is_blank:
                first = next(parts, first)
        record, size, lines = self._first_record(first)
        guessed = not declared and self.options.delimiter is None
        dialect = Dialect(self.name, self._delimiter, len(record), guessed)
        if self.options.header:
            self._names = _checked_header(record, self.name, first.line)
            first = first.without(size, lines)
        else:
            self._names = tuple(str(i + 1) for i in range(len(record)))
        self.dialect = dialect
        yield from cells_of(chain([first], parts), dialect, None if start is None else self.path)

    def _declared_delimiter(self, data: bytes) -> int:
        """Honour a first line ``sep=;``, as spreadsheets write it; return its length."""
        found = re.match(rb"sep=([\t !#-~])\r?\n", data, re.IGNORECASE)
        if not found:
            return 0
        if self.options.delimiter is None:
            self._delimiter = found[1].decode()
        return found.end()

    def _first_record(self, run: Run) -> tuple[list[str], int, int]:
        """Return the first record, its length in bytes and how many lines it takes."""
        if run.is_blank:
            message = "is empty; a table needs a header and rows"
            raise InputError(message, self.name)
        data, line = run.data, run.line
        if b"\0" in data:
            at = line + data.count(b"\n", 0, data.index(b"\0"))
            message = "a NUL byte; is this a text file?"
            raise InputError(message, f"{self.name}:{at}")
        csv.field_size_limit(FIELD_CAP)
        text = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")  # decoded as it is read
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        try:
            record = next(row for row in reader if row)
        except csv.Error as error:
            raise InputError(csv_reason(error), f"{self.name}:{line}") from None
        except UnicodeDecodeError:
            streams.decode(data, self.name, line)  # which names the line
            raise
        text.seek(0)
        header = "".join(text.readline() for _ in range(reader.line_num))
        refuse_stray_quote(header, line, self._delimiter, self.name)
        return record, len(header.encode()), reader.line_num


def cells_of(parts: Iterable[Run], dialect: Dialect, path: str | None) -> Iterator[DelimitedCells]:
    """Yield the cells of every run that has any; ``path`` is the file that its bytes are in."""
    path = path and os.path.abspath(path)
    for run in parts:
        place = None if path is None else streams.Place(path, run.offset, len(run.data))
        cells = DelimitedCells(run.data, run.line, dialect, place, run.line_ends)
        if not run.is_blank and len(cells):
            yield cells


@dataclass(frozen=True)
class Blocks:
    """The blocks of a delimited file, in order or as partitions."""

    source: DelimitedSource
    holds_lock = True

    def __iter__(self) -> Iterator[TableBlock]:
        """Yield the blocks."""
        return blocks_of(self.source.read(), self.source.layout)

    def partitions(self, processes: int) -> list[FirstPartition | LaterPartition]:
        """Return partitions of the file, some for each process, or none if it is read in order.

        Records are taken to end with lines. Whether that is so where one partition meets the next
        is seen from where the first of them ends.
        """
        source = self.source
        first = source.first_blocks()
        chunks = os.path.getsize(source.path) // streams.CHUNK if first[0].place else 0
        step = min(max(_FEWEST, chunks // (_PARTITIONS * processes)), _MOST)
        step = max(step, chunks // _IN_ALL)
        cuts = range(step, chunks - _FEWEST, step)
        places = [streams.after_last_line_end(source.path, cut * streams.CHUNK) for cut in cuts]
        begins = [place for place in places if place is not None]
        if not begins or len(begins) < len(cuts):
            return []
        more = len(first) - 1
        later = [
            LaterPartition(source, cut + more, begin, cut, step if cut < cuts[-1] else None)
            for cut, begin in zip(cuts, begins, strict=True)
        ]
        return [FirstPartition(source, begins[0]), *later]


@dataclass
class FirstPartition:
    """The blocks before an offset of a file, as its source reads them."""

    source: DelimitedSource
    end: int
    first: int = 0
    begin: int = 0
    is_counted = False

    def __iter__(self) -> Iterator[TableBlock]:
        """Yield the blocks."""
        return blocks_of(self._cells(), self.source.layout)

    def _cells(self) -> Iterator[DelimitedCells]:
        with closing(self.source.read()) as read:
            for cells in read:
                if cells.place and cells.place.offset >= self.end:
                    self.end = cells.place.offset
                    return
                yield cells
        self.end = -1  # where no other partition begins


@dataclass
class LaterPartition:
    """The blocks of some chunks of a file, the first record being held from before them."""

    source: DelimitedSource
    first: int
    begin: int
    chunk: int
    count: int | None
    end: int = -1
    is_counted = False

    def __iter__(self) -> Iterator[TableBlock]:
        """Yield the blocks."""
        source = self.source
        before = streams.Place(source.path, self.begin, self.chunk * streams.CHUNK - self.begin)
        held = streams.read_place(before, source.name)
        cells = cells_of(self._runs(held), source.dialect, source.path)
        return blocks_of(cells, source.layout)

    def _runs(self, held: bytes) -> Iterator[Run]:
        chunks = islice(streams.chunks_from(self.source.path, self.chunk), self.count)
        ends = self.count is None
        self.end = yield from runs_of(chunks, self.source.name, self.begin, held, ends=ends)


def blocks_of(cells: Iterable[Cells], layout: Layout) -> Iterator[TableBlock]:
    """Yield a block for each run of cells, with its rows numbered from 0 on."""
    start = 0
    for some in cells:
        yield TableBlock(start, layout, some)
        start += len(some)


def checked_delimiter(delimiter: str) -> str:
    """Return the character that ``--delimiter`` names, ``tab`` being spelled out.

    Raises
    ------
    UsageError
        Not one ASCII character.
    """
    spelled = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(spelled) != 1 or not spelled.isascii() or spelled in '"\r\n\0':
        message = f"`delimiter` {delimiter!r} is not one ASCII character (or tab)"
        raise UsageError(message)
    return spelled


def _checked_header(record: Sequence[str], name: str, line: int) -> tuple[str, ...]:
    seen: set[str] = set()
    for column in record:
        if column in seen:
            message = f"two columns are named {column!r}; rename one, or pass `header=False`"
            raise InputError(message, f"{name}:{line}")
        seen.add(column)
    return tuple(record)
