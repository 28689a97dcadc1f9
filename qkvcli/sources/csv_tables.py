"""CSV and TSV, strictly: a header, and blocks of whole records cut from the bytes."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import bytes_in, numbers
from qkvcli.sources.table import (
    FIELD_CAP,
    SKIP,
    Cells,
    TableBlock,
    TableOptions,
    TableSource,
    key_note,
    layout,
    skipping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.key_bytes import KeyBytes
    from qkvcli.sources.table import Layout

_LINE_END = ord("\n")
_NOT_BLANK = re.compile(rb"[^\r\n]")
_SEPARATOR = re.compile(rb"sep=([\t !#-~])\r?(?:\n|\Z)", re.IGNORECASE)
_SPELLED = {"\t": "tab", ",": "','", ";": "';'", "|": "'|'"}
_LOOKED_AT = 64
"""How many records are looked at for their delimiter."""
_PARTITIONS = 8
"""How many partitions of a file there are for each process: all end at about the same time."""
_FEWEST, _MOST, _IN_ALL = 6, 171, 8192
"""How many chunks make a partition, between 2 and 64 MiB; how many partitions there are
at most, of whatever size."""


class CsvTable(TableSource):
    """A CSV or TSV file, read in blocks of some hundred thousand bytes.

    Parameters
    ----------
    path, options
        The file, and how it is to be read.
    delimiter
        What ends a cell, where the options say nothing; "" where it is to be found out.
    """

    def __init__(self, path: str, options: TableOptions, delimiter: str = "") -> None:
        self.name = options.name or bytes_in.display_name(path)
        self.path, self.options = path, options
        self._delimiter = delimiter
        self._start = bytes_in.start_in_file(path, options.encoding)
        header, runs = self._opened()
        self.dialect = header.dialect
        for run in runs:
            first = CsvCells(run.data, run.line, self.dialect)
            if len(first):
                break
        else:
            raise InputError("has a header and no rows", self.name)
        self.layout: Layout = layout(header.names, first, options, self.name)
        columns = self.layout.columns
        noted = key_note(header.names, columns, options, self.name)
        note = "\n".join(filter(None, [header.note, noted]))
        super().__init__(self.name, columns, note, reopenable=bytes_in.reopenable(path))
        self._rest = header.rest.offset, header.rest.line
        # A plain file is opened anew for each reading.
        self._stream = chain([run], runs) if self._start is None else None

    def blocks(self) -> CsvBlocks:
        """Return the blocks of rows."""
        begin, line = self._rest
        return CsvBlocks(self, 0, None if self._start is None else begin, line=line)

    def streamed(self) -> Iterator[Run]:
        """Yield the runs of what is no plain file, in order."""
        stream, self._stream = self._stream, None
        return stream or self._opened()[1]

    def _opened(self) -> tuple[Header, Iterator[Run]]:
        """Return the header, and what yields the runs that follow it."""
        if self._start is None:
            parts = bytes_in.chunks(self.path, self.options.encoding)
        else:
            parts = bytes_in.parts_from(self.path, self._start)
        runs = runs_of(parts, self.name, self._start or 0)
        header = read_header(runs, self.options, self._delimiter, self.name)
        return header, chain([header.rest], runs)


@dataclass
class CsvBlocks:
    """The blocks of a delimited file, from one place to another, or of a stream.

    Parameters
    ----------
    source
        The file.
    first
        How many blocks are thought to come before them: one a chunk.
    begin
        Where the first record starts; None of a stream.
    stop
        Where reading stops, which is amid a record that the next partition begins with; None is
        the end of the file.
    line
        On which line the first record is, as far as that is known.
    end
        Where they end, once all were yielded.
    """

    source: CsvTable
    first: int
    begin: int | None
    stop: int | None = None
    line: int = 1
    end: int = -1
    holds_lock = True
    is_counted = False

    def __iter__(self) -> Iterator[TableBlock]:
        """Yield the blocks, with their rows numbered from 0 on."""
        source = self.source
        found = self._blocks()
        return skipping(found, source.name) if source.options.missing == SKIP else found

    def _blocks(self) -> Iterator[TableBlock]:
        source, start = self.source, 0
        path = os.path.abspath(source.path)
        if self.begin is None:
            runs = source.streamed()
        else:
            parts = bytes_in.parts_from(path, self.begin, self.stop)
            ends = self.stop is None
            runs = runs_of(parts, source.name, self.begin, self.line, ends=ends)
        for run in runs:
            self.end = run.offset + len(run.data)
            place = None
            if self.begin is not None:
                place = bytes_in.Place(path, run.offset, len(run.data))
            cells = CsvCells(run.data, run.line, source.dialect, place, run.line_ends)
            if len(cells):
                yield TableBlock(start, source.layout, cells)
                start += len(cells)

    def partitions(self, processes: int) -> list[CsvBlocks]:
        """Return partitions of the file, some for each process, or none if it is read in order.

        Records are taken to end with lines. Whether that is so where one partition meets the next
        is seen from where the first of them ends.
        """
        path = self.source.path
        if self.begin is None:
            return []
        chunks = os.path.getsize(path) // bytes_in.CHUNK
        step = min(max(_FEWEST, chunks // (_PARTITIONS * processes)), _MOST)
        step = max(step, chunks // _IN_ALL)
        cuts = range(step, chunks - _FEWEST, step)
        found = [bytes_in.after_last_line_end(path, cut * bytes_in.CHUNK) for cut in cuts]
        begins = [self.begin, *(place for place in found if place is not None)]
        if not cuts or len(begins) <= len(cuts):
            return []
        stops = [*(cut * bytes_in.CHUNK for cut in cuts), None]
        places = zip([0, *cuts], begins, stops, strict=True)
        return [CsvBlocks(self.source, first, begin, stop) for first, begin, stop in places]


# The header, and how the file is written.


class Dialect(NamedTuple):
    """How one delimited file is written; ``guessed`` where nobody said how."""

    name: str
    delimiter: str
    width: int
    guessed: bool


class Header(NamedTuple):
    """What stands before the rows.

    Parameters
    ----------
    names
        What the columns are called; their numbers where the file does not say.
    dialect
        How the file is written.
    rest
        What follows in the run that the header stands in.
    note
        What the user should know of how the file is read.
    """

    names: tuple[str, ...]
    dialect: Dialect
    rest: Run
    note: str = ""


def read_header(runs: Iterator[Run], options: TableOptions, delimiter: str, name: str) -> Header:
    """Return the header of a file, from its first run of records.

    Parameters
    ----------
    runs
        The runs, of which those are left that follow it: a first line ``sep=;`` may be one.
    options
        How the file is to be read.
    delimiter
        What ends a cell, where neither the options nor the file say; "" is found out.
    name
        What errors call the file.
    """
    full = (run for run in runs if _NOT_BLANK.search(run.data))
    run = next(full, Run(b""))
    declared = _SEPARATOR.match(run.data)  # a first line that spreadsheets write
    if declared:
        run = run.without(declared.end(), 1)
        run = run if _NOT_BLANK.search(run.data) else next(full, Run(b""))
    if not run.data:
        wanted = "a table needs a header and rows" if options.header else "rows were expected"
        raise InputError(f"is empty; {wanted}", name)
    if b"\0" in run.data:
        _refuse_nul(run.data, run.line, name)
    note = ""
    if options.delimiter is not None:
        delimiter = checked_delimiter(options.delimiter)
    elif declared:
        delimiter = declared[1].decode()
    elif not delimiter:
        delimiter = delimiter_of(run.data)
        if delimiter != ",":
            sign = _SPELLED[delimiter]
            note = f"{name}: the first records split evenly at {sign} and not at commas: read so"
    record, length, ends = _first_record(run, delimiter, name)
    guessed = options.delimiter is None and not declared
    dialect = Dialect(name, delimiter, len(record), guessed)
    names = tuple(str(i + 1) for i in range(len(record)))
    if options.header:
        names = tuple(record)
        twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
        if twice is not None:
            raise InputError(
                f"two columns are named {twice!r}; rename one, or pass `header=False`",
                f"{name}:{run.line}",
            )
        run = run.without(length, ends)
    return Header(names, dialect, run, note)


def delimiter_of(data: bytes) -> str:
    """Return the delimiter that the first records of a file are split at evenly; else a comma.

    A comma is preferred; then what makes the most columns of a semicolon, a tab and a bar.
    """
    data = data.lstrip(b"\r\n")
    text, whole = data[: 1 << 16].decode("utf-8", "ignore"), len(data) <= 1 << 16
    if _even_width(text, ",", whole=whole) > 1:
        return ","
    widths = {sign: _even_width(text, sign, whole=whole) for sign in ";\t|"}
    sign = max(widths, key=lambda sign: widths[sign])
    return sign if widths[sign] > 1 else ","


def _even_width(text: str, sign: str, *, whole: bool) -> int:
    """Return how many cells all of the first records have; 1 where they have not as many."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
        records = list(islice(filter(None, reader), _LOOKED_AT))
    except csv.Error:
        return 1
    if not whole and len(records) < _LOOKED_AT:
        del records[-1:]  # which is cut short
    widths = set(map(len, records))
    return widths.pop() if len(widths) == 1 else 1


def checked_delimiter(delimiter: str) -> str:
    """Return the character that ``--delimiter`` names, ``tab`` being spelled out.

    Raises
    ------
    UsageError
        Not one ASCII character.
    """
    spelled = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(spelled) != 1 or not spelled.isascii() or spelled in '"\r\n\0':
        raise UsageError(f"`delimiter` {delimiter!r} is not one ASCII character (or tab)")
    return spelled


def _first_record(run: Run, delimiter: str, name: str) -> tuple[list[str], int, int]:
    """Return the first record, its length in bytes and how many lines it takes."""
    csv.field_size_limit(FIELD_CAP)
    text = io.TextIOWrapper(io.BytesIO(run.data), "utf-8", newline="")  # decoded as it is read
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        record = next(row for row in reader if row)
    except csv.Error as error:
        raise InputError(csv_reason(error), f"{name}:{run.line}") from None
    except UnicodeDecodeError:
        bytes_in.decode(run.data, name, run.line)  # which names the line
        raise
    text.seek(0)
    header = "".join(text.readline() for _ in range(reader.line_num))
    if '"' in header:
        refuse_stray_quote(header, run.line, delimiter, name)
    return record, len(header.encode()), reader.line_num


# Runs of whole records, cut from the bytes.


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


def runs_of(
    parts: Iterable[bytes], name: str, offset: int = 0, line: int = 1, *, ends: bool = True
) -> Iterator[Run]:
    """Cut a stream of bytes into runs of whole records.

    A line end outside quotes is one before which the number of quotes is even.

    Parameters
    ----------
    parts, name
        The stream, and what errors call it.
    offset, line
        Where in its file the stream starts, and on which line.
    ends
        Whether the stream's end ends a record too.
    """
    held = b""
    for part in parts:
        if b'"' in part or b'"' in held:
            data = held + part
            end = _last_record_end(data)
            data, held = data[:end], data[end:]
        elif end := part.rfind(b"\n") + 1:
            data, held = b"".join((held, memoryview(part)[:end])), part[end:]  # copied once
        else:
            data, held = b"", held + part
        if data:
            run = Run(data, line, count_byte(data, b"\n"), offset)
            yield run
            line, offset = line + run.line_ends, offset + len(data)
        if len(held) > FIELD_CAP:
            raise InputError(
                f"a record is longer than {FIELD_CAP >> 20} MiB; is a quote unbalanced?",
                f"{name}:{line}",
            )
    if held and ends:
        yield Run(held, line, held.count(b"\n"), offset)


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


# Cells, told from the bytes where that can be done, else taken apart.


class CsvCells(Cells):
    """A run of whole records as bytes, taken apart when its cells are asked for.

    Records without quotes, all of the header's width, are split in one go; anything else goes
    through the ``csv`` module, strictly. Both give the same cells.

    Parameters
    ----------
    data
        The bytes.
    first_line
        The line of the first record.
    dialect
        How they are written.
    place
        Where they lie in a file, which travels in their stead.
    line_ends
        How many there are, where they were counted before.
    """

    def __init__(
        self,
        data: bytes,
        first_line: int,
        dialect: Dialect,
        place: bytes_in.Place | None = None,
        line_ends: int | None = None,
    ) -> None:
        self.data, self.first_line, self.dialect = data, first_line, dialect
        self.width = dialect.width
        self.place, self._line_ends = place, line_ends

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what was worked out, and the bytes too where they lie in a file."""
        names = ("first_line", "dialect", "width", "place", "_count")
        kept = {name: getattr(self, name) for name in names}
        return {**kept, "data": b"" if self.place else self.data, "_line_ends": None}

    def load(self) -> None:
        """Read the bytes again where they were left behind."""
        if self.place and not self.data:
            self.data = bytes_in.read_place(self.place, self.dialect.name)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @cached_property
    def _count(self) -> int:
        if not self._is_lines:
            return len(self._records[0])
        return count_byte(self.data, b"\n") if self._line_ends is None else self._line_ends

    @cached_property
    def _is_lines(self) -> bool:
        """Whether a record is a line."""
        if b"\0" in self.data:
            _refuse_nul(self.data, self.first_line, self.dialect.name)
        if b'"' in self.data:
            return False
        if b"\r" in self.data:
            self.data = self.data.replace(b"\r\n", b"\n")
        if self.data[-1:] != b"\n":
            self.data += b"\n"
            self._line_ends = None
        if b"\r" in self.data:
            return False
        import numpy as np

        # A line end that follows another or stands first; ten times as fast as ``in``.
        ends = np.frombuffer(self.data, np.uint8) == _LINE_END
        return not (ends[:1].any() or (ends[1:] & ends[:-1]).any())

    @cached_property
    def _ends(self) -> NDArray[np.intp] | None:
        """Where each cell ends, of shape (K, width), if every record is a line of that many."""
        if not self._is_lines:
            return None
        import numpy as np

        data, width = np.frombuffer(self.data, np.uint8), self.dialect.width
        is_end = data == _LINE_END
        is_end |= data == ord(self.dialect.delimiter)
        found = np.flatnonzero(is_end)
        if len(found) != len(self) * width:
            return None
        ends = found.reshape(-1, width)
        return ends if (data[ends[:, -1]] == _LINE_END).all() else None

    def key_bytes(self, position: int) -> KeyBytes | None:
        """Return a column as it lies among the bytes, where a record is a line of cells.

        Only the delimiters are counted for that. What is looked for among the bytes and not found
        spares taking the block apart; one that is not plain always is.
        """
        delimiter, width = self.dialect.delimiter.encode(), self.dialect.width
        counted = self._is_lines and count_byte(self.data, delimiter) == len(self) * (width - 1)
        if not counted:
            return None
        try:
            if not self.data.isascii():
                self.data.decode()
        except UnicodeDecodeError:
            return None
        if self.dialect.guessed and width == 1 and (b";" in self.data or b"\t" in self.data):
            return None
        from qkvcli.key_bytes import KeyBytes

        return KeyBytes(self.data, delimiter + b"\n", partial(self._places, position))

    def _places(self, position: int) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        """Return where the cells of a column start and end, if every record has as many."""
        ends = self._ends
        if ends is None:
            return None
        starts = ends[:, position - 1] + 1
        if position == 0:
            starts[1:], starts[0] = ends[:-1, -1] + 1, 0
        return starts, ends[:, position]

    @cached_property
    def flat(self) -> list[str]:  # type: ignore[override]  # made when first asked for
        """The cells, row after row."""
        delimiter = self.dialect.delimiter
        if self._ends is None:
            flat = list(chain.from_iterable(self._records[0]))
        else:
            text = bytes_in.decode(self.data, self.dialect.name, self.first_line)
            flat = text.replace("\n", delimiter).split(delimiter)
            flat.pop()
        if self.dialect.guessed and self.width == 1:
            self._refuse_other_delimiter(flat)
        return flat

    @cached_property
    def _records(self) -> tuple[list[list[str]], list[int]]:
        """The records, and the line of each, where a record is more than a line of cells."""
        text = bytes_in.decode(self.data, self.dialect.name, self.first_line)
        return _parse(text, self.first_line, self.dialect)

    def row(self, position: int) -> list[str]:
        """Return one row."""
        if self._ends is not None and "flat" not in vars(self):
            ends = self._ends[:, -1]
            line = self.data[ends[position - 1] + 1 if position else 0 : ends[position]]
            text = bytes_in.decode(line, self.dialect.name, self.first_line + position)
            return text.split(self.dialect.delimiter)
        return super().row(position)

    def line(self, row: int) -> int:
        """Return the line of the file on which a row starts."""
        return self.first_line + row if self._is_lines else self._records[1][row]

    def matrix(self, positions: Sequence[int], grammar: str) -> NDArray[np.float64] | None:
        """Return columns as numbers by a reader in C, or None where it cannot vouch for them."""
        if not self._is_lines:
            return None
        width, delimiter = self.dialect.width, self.dialect.delimiter
        if len(positions) < width and self._ends is None:
            return None  # where every column is read, the reader sees that none is missing
        return numbers.matrix_in(self.data, delimiter, width, positions, grammar)

    def _refuse_other_delimiter(self, flat: list[str]) -> None:
        for sign in (";", "\t"):
            for row, cell in enumerate(flat):
                if sign in cell:
                    keep = f"or {_SPELLED[self.dialect.delimiter]} to keep it"
                    raise InputError(
                        f"one column, and a {_SPELLED[sign]} in it; "
                        f"pass `delimiter={_SPELLED[sign]}` ({keep})",
                        f"{self.dialect.name}:{self.line(row)}",
                    )


def _refuse_nul(data: bytes, line: int, name: str) -> NoReturn:
    line += data.count(b"\n", 0, data.index(b"\0"))
    raise InputError("a NUL byte; is this a text file?", f"{name}:{line}")


def _parse(text: str, first_line: int, dialect: Dialect) -> tuple[list[list[str]], list[int]]:
    """Take records apart with the ``csv`` module; blank lines are skipped."""
    csv.field_size_limit(FIELD_CAP)
    refuse_stray_quote(text, first_line, dialect.delimiter, dialect.name)
    # newline="" keeps the line ends inside quotes as they are.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True)
    rows, lines = [], []
    line = first_line
    try:
        for row in reader:
            if row:
                if len(row) != dialect.width:
                    _refuse_ragged(len(row), dialect, line)
                rows.append(row)
                lines.append(line)
            line = first_line + reader.line_num
    except csv.Error as error:
        raise InputError(csv_reason(error), f"{dialect.name}:{line}") from None
    return rows, lines


def refuse_stray_quote(text: str, first_line: int, delimiter: str, name: str) -> None:
    """Refuse a quote in the middle of an unquoted cell, which the ``csv`` module takes literally.

    After one, nobody can say which line ends lie inside quotes.
    """
    opens = rf"(?<![^{re.escape(delimiter)}\r\n])"
    quoted = rf'{opens}"[^"]*+(?:""[^"]*+)*+"'
    if '"' not in re.sub(quoted, "", text):
        return
    for found in re.finditer(f'{quoted}|(?P<unclosed>{opens}")|(?P<stray>")', text):
        if found["unclosed"]:
            return  # as the csv module will say
        if not found["stray"]:
            continue
        line = first_line + text.count("\n", 0, found.start())
        raise InputError(
            "a quote inside a cell that does not start with one; "
            'quote the whole cell and double it ("")',
            f"{name}:{line}",
        )


def csv_reason(error: csv.Error) -> str:
    """Return why the ``csv`` module refuses a record, and what to do."""
    reason = str(error)
    if "unexpected end" in reason:
        return 'a quote opens here and never closes; close it, or double it ("") inside a cell'
    if "expected after" in reason:
        return 'text follows a closing quote; double the quotes ("") inside a cell'
    if "field larger" in reason:
        return f"a cell is larger than {FIELD_CAP >> 20} MiB; is a quote unbalanced?"
    return f"not a well-formed record ({reason})"


def _refuse_ragged(found: int, dialect: Dialect, line: int) -> NoReturn:
    fields = "field" if found == 1 else "fields"
    sign = {",": "comma", "\t": "tab", ";": "semicolon"}.get(dialect.delimiter, "delimiter")
    hint = f"quote the {sign} or pass `delimiter`" if found > dialect.width else "pass `delimiter`"
    raise InputError(
        f"{found} {fields} where the header has {dialect.width}; {hint}", f"{dialect.name}:{line}"
    )
