"""CSV and TSV, strictly: blocks of whole records, cut from the bytes as they are read."""

from __future__ import annotations

import csv
import io
import os
import re
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from qkvcli.blocks import Outline
from qkvcli.errors import InputError, UsageError
from qkvcli.sources import numbers, streams
from qkvcli.sources.table import Layout, ListCells, TableBlock, TableOptions, layout

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Columns

FIELD_CAP = 16 << 20
"""How long one record, and so one field, may be: 16 MiB."""
_LINE_END = ord("\n")
_FIRST = 1 << 16
"""How large the first block is: what it finds may spare work on all others."""
_SLICE = 1 << 17
"""How many bytes are compared at a time where several comparisons are to meet in a cache."""


@dataclass(frozen=True)
class Dialect:
    """How one delimited file is written."""

    name: str
    delimiter: str
    width: int
    guessed: bool


@dataclass
class DelimitedCells:
    """A run of whole records as bytes, taken apart when its cells are asked for.

    Records without quotes, all of the header's width, are split in one go; anything else goes
    through the ``csv`` module, strictly. Both give the same cells.
    """

    data: bytes
    first_line: int
    dialect: Dialect
    place: streams.Place | None = None
    line_ends: int | None = None  # where they were counted before

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what was worked out, and the bytes too where they lie in a file."""
        kept = {"first_line": self.first_line, "dialect": self.dialect, "place": self.place}
        data = b"" if self.place else self.data
        return {"data": data, "_count": self._count, "line_ends": None, **kept}

    def load(self) -> None:
        """Read the bytes again where they were left behind."""
        if self.place and not self.data:
            self.data = streams.read_place(self.place, self.dialect.name)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @cached_property
    def _count(self) -> int:
        if not self._is_lines:
            return len(self._cells)
        return _count(self.data, b"\n") if self.line_ends is None else self.line_ends

    @cached_property
    def _is_lines(self) -> bool:
        """Whether a record is a line."""
        if b"\0" in self.data:
            self._refuse_byte(b"\0", "a NUL byte; is this a text file?")
        if b'"' in self.data:
            return False
        if b"\r" in self.data:
            self.data = self.data.replace(b"\r\n", b"\n")
        if self.data[-1:] != b"\n":
            self.data += b"\n"
            self.line_ends = None
        return b"\r" not in self.data and not _has_blank_line(self.data)

    @property
    def _plain(self) -> bool:
        """Whether a record is a line of the header's width, and a delimiter always ends a cell."""
        return self._ends is not None

    @cached_property
    def _ends(self) -> NDArray[np.intp] | None:
        """Where each cell ends, of shape (K, width), if every record is a line of that many."""
        if not self._is_lines:
            return None
        import numpy as np

        data, width = self._bytes, self.dialect.width
        is_end = data == _LINE_END
        is_end |= data == ord(self.dialect.delimiter)
        found = np.flatnonzero(is_end)
        if len(found) != len(self) * width:
            return None
        ends = found.reshape(-1, width)
        return ends if (data[ends[:, -1]] == _LINE_END).all() else None

    @property
    def _bytes(self) -> NDArray[np.uint8]:
        import numpy as np

        return np.frombuffer(self.data, np.uint8)

    def may_hold(self, cells: Iterable[str]) -> bool:
        """Return False where none of these texts can be a cell, found by a search of the bytes.

        Such a block is counted and not taken apart; one that is not plain always is.
        """
        delimiter, width = self.dialect.delimiter.encode(), self.dialect.width
        counted = self._is_lines and _count(self.data, delimiter) == len(self) * (width - 1)
        if not counted or not _is_utf8(self.data):
            return True
        if self.dialect.guessed and width == 1 and (b";" in self.data or b"\t" in self.data):
            return True
        return any(cell.encode() in self.data for cell in cells)

    def outline(self, position: int) -> Outline | None:
        """Return how long the cells of a column are and where their letters lie."""
        ends, width = self._ends, self.dialect.width
        if ends is None or not _is_utf8(self.data) or (self.dialect.guessed and width == 1):
            return None
        starts = ends[:, position - 1] + 1
        if position == 0:
            starts[1:], starts[0] = ends[:-1, -1] + 1, 0
        return Outline.of(self.data, starts, ends[:, position])

    def first_mismatch(self, position: int, grammar: str) -> int | None:
        """Return the first row whose cell of a column is no finite number by a grammar."""
        if self._plain and not (self.dialect.guessed and self.dialect.width == 1):
            sign = re.escape(self.dialect.delimiter)
            other = rf"[^{sign}\n]*+"
            before, after = rf"(?:{other}{sign}){{{position}}}", rf"(?:{sign}{other})*+"
            line = rf"{before}{numbers.SURE[grammar]}{after}\n"
            found = re.match(f"(?:{line})*+".encode(), self.data)
            if found and found.end() == len(self.data):
                return None
            row = self.data.count(b"\n", 0, found.end() if found else 0)
            if numbers.mismatches([self.row(row)[position]], grammar):
                return row
        return self._cells.first_mismatch(position, grammar)

    def _refuse_byte(self, byte: bytes, message: str) -> NoReturn:
        line = self.first_line + self.data.count(b"\n", 0, self.data.index(byte))
        raise InputError(message, f"{self.dialect.name}:{line}")

    @cached_property
    def _text(self) -> str:
        return streams.decode(self.data, self.dialect.name, self.first_line)

    @cached_property
    def _cells(self) -> ListCells:
        width = self.dialect.width
        lines: Sequence[int]
        if self._plain:
            flat = self._text.replace("\n", self.dialect.delimiter).split(self.dialect.delimiter)
            flat.pop()
            lines = range(self.first_line, self.first_line + len(flat) // width)
            cells = ListCells(flat, width, lines)
        else:
            rows, lines = _parse(self._text, self.first_line, self.dialect)
            cells = ListCells(list(chain.from_iterable(rows)), width, lines)
        if self.dialect.guessed and width == 1:
            _refuse_other_delimiter(cells, self.dialect)
        return cells

    def parted(self, size: int) -> tuple[DelimitedCells, ...]:
        """Return the first rows, in about so many bytes, and the others; or all, if not plain."""
        at = self.data.rfind(b"\n", 0, size) + 1
        as_read = self.place is None or self.place.length == len(self.data)
        if not at or len(self.data) < 2 * size or not (self._plain and as_read):
            return (self,)
        before, after = (None, None) if self.place is None else self.place.parted(at)
        line = self.first_line + self.data.count(b"\n", 0, at)
        return (
            DelimitedCells(self.data[:at], self.first_line, self.dialect, before),
            DelimitedCells(self.data[at:], line, self.dialect, after),
        )

    def column(self, position: int) -> list[str]:
        """Return one column."""
        return self._cells.column(position)

    def folded(self, position: int) -> list[str]:
        """Return one column case-folded; a plain block is folded before it is split."""
        delimiter, width = self.dialect.delimiter, self.dialect.width
        if self._plain and not delimiter.isalpha() and not (self.dialect.guessed and width == 1):
            flat = self._text.casefold().replace("\n", delimiter).split(delimiter)
            if len(flat) == len(self) * width + 1:
                return flat[position:-1:width]
        return self._cells.folded(position)

    def row(self, position: int) -> list[str]:
        """Return one row."""
        if self._ends is not None and "_cells" not in vars(self):
            ends = self._ends[:, -1]
            line = self.data[ends[position - 1] + 1 if position else 0 : ends[position]]
            text = streams.decode(line, self.dialect.name, self.first_line + position)
            return text.split(self.dialect.delimiter)
        return self._cells.row(position)

    def line(self, row: int) -> int:
        """Return the line of the file on which a row starts."""
        return self.first_line + row if self._is_lines else self._cells.line(row)

    def matrix(self, positions: Sequence[int], *, plain: bool) -> NDArray[np.float64] | None:
        """Return columns as numbers through NumPy's reader in C.

        That reader knows ``nan``, spaces and more; so it is only given bytes that can spell
        nothing but the numbers of the strict grammar.
        """
        import numpy as np

        spelled = b"0123456789-.\n" if plain else b"0123456789-.+eE\n"
        # Of all columns that reader sees for itself that every record has as many.
        every = len(positions) == self.dialect.width
        if not (self._is_lines if every else self._plain):
            return None
        if self.data.translate(None, spelled + self.dialect.delimiter.encode()):
            return None
        if plain and _has_leading_zero(self.data):
            return None
        try:
            found: NDArray[np.float64] = np.loadtxt(
                io.BytesIO(self.data),
                delimiter=self.dialect.delimiter,
                usecols=None if every else positions,
                ndmin=2,
                comments=None,
            )
        except ValueError:
            return None  # a cell such as '' or '--1', which the general way names
        if plain and np.abs(found).max(initial=0) >= numbers.LARGEST:
            return None  # perhaps a whole number of too many digits
        if every and list(positions) != list(range(len(positions))):
            found = found[:, positions]
        return found if np.isfinite(found).all() else None


def _count(data: bytes, sign: bytes) -> int:
    """Count a byte; ``bytes.count`` is ten times as slow where there is one in every few bytes."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(sign)))


def _has_blank_line(data: bytes) -> bool:
    """Whether a line end follows another or stands first; ten times as fast as ``in``."""
    import numpy as np

    ends = np.frombuffer(data, np.uint8) == _LINE_END
    return bool(ends[:1].any() or (ends[1:] & ends[:-1]).any())


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _has_leading_zero(data: bytes) -> bool:
    """Whether a zero starts a number, of nothing but numbers, and a digit follows it."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    return re.match(rb"0[0-9]", data) is not None or any(
        _zero_and_digit(array[start : start + _SLICE + 2]) for start in range(0, len(array), _SLICE)
    )


def _zero_and_digit(array: NDArray[np.uint8]) -> bool:
    """Whether a delimiter, a line end or a sign comes before a zero, and a digit after it."""
    digit = (array - 48) < 10  # noqa: PLR2004
    found = array[1:-1] == ord("0")
    found &= digit[2:]
    found &= ~digit[:-2]
    found &= array[:-2] != ord(".")
    return bool(found.any())


def _parse(text: str, first_line: int, dialect: Dialect) -> tuple[list[list[str]], list[int]]:
    """Take records apart with the ``csv`` module; blank lines are skipped."""
    csv.field_size_limit(FIELD_CAP)
    _refuse_stray_quote(text, first_line, dialect.delimiter, dialect.name)
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
        raise InputError(_csv_reason(error), f"{dialect.name}:{line}") from None
    return rows, lines


def _refuse_stray_quote(text: str, first_line: int, delimiter: str, name: str) -> None:
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
        message = (
            "a quote inside a cell that does not start with one; "
            'quote the whole cell and double it ("")'
        )
        raise InputError(message, f"{name}:{line}")


def _csv_reason(error: csv.Error) -> str:
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
    hint = f"quote the {sign} or pass --delimiter" if found > dialect.width else "pass --delimiter"
    message = f"{found} {fields} where the header has {dialect.width}; {hint}"
    raise InputError(message, f"{dialect.name}:{line}")


def _refuse_other_delimiter(cells: ListCells, dialect: Dialect) -> None:
    spelled = {";": "';'", "\t": "tab", ",": "','"}
    for sign in (";", "\t"):
        for row, cell in enumerate(cells.flat):
            if sign in cell:
                keep = f"or {spelled[dialect.delimiter]} to keep it"
                message = (
                    f"one column, and a {spelled[sign]} in it; "
                    f"pass --delimiter {spelled[sign]} ({keep})"
                )
                raise InputError(message, f"{dialect.name}:{cells.line(row)}")


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


def runs(parts: Iterator[bytes], name: str, offset: int = 0) -> Iterator[Run]:
    """Cut a stream of bytes, which starts at an offset of its file, into runs of whole records.

    A line end outside quotes is one before which the number of quotes is even.
    """
    held, line = b"", 1
    for part in parts:
        data, held = _cut(held, part)
        if data:
            run = Run(data, line, _count(data, b"\n"), offset)
            yield run
            line, offset = line + run.line_ends, offset + len(data)
        if len(held) > FIELD_CAP:
            message = f"a record is longer than {FIELD_CAP >> 20} MiB; is a quote unbalanced?"
            raise InputError(message, f"{name}:{line}")
    if held:
        yield Run(held, line, held.count(b"\n"), offset)


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


class DelimitedSource:
    """A CSV or TSV file, read in blocks of some hundred thousand bytes."""

    def __init__(self, path: str, options: TableOptions, delimiter: str) -> None:
        self.name = options.name or streams.display_name(path)
        self.reopenable = streams.reopenable(path)
        self._path = path
        self._options = options
        given = options.delimiter
        self._delimiter = delimiter if given is None else checked_delimiter(given)
        self._stream = self._runs()
        with streams.closed_after_failure(self._stream):
            first = self._next_run()
            self._layout: Layout = layout(self._names, first, options, self.name)
        self._first: DelimitedCells | None = first
        self.columns: Columns = self._layout.columns

    def blocks(self) -> Iterator[TableBlock]:
        """Yield the blocks of rows."""
        if self._first is None:  # read before
            self._stream = self._runs()
            self._first = self._next_run()
        first, self._first = self._first.parted(_FIRST), None
        start = 0
        with closing(self._stream) as stream:
            for cells in chain(first, stream):
                yield TableBlock(start, self._layout, cells)
                start += len(cells)

    def _next_run(self) -> DelimitedCells:
        first = next(self._stream, None)
        if first is None:
            message = "has a header and no rows"
            raise InputError(message, self.name)
        return first

    def _runs(self) -> Generator[DelimitedCells, None, None]:
        text = streams.chunks(self._path, self._options.encoding)
        start = streams.start_in_file(self._path, self._options.encoding)
        parts = (run for run in runs(text, self.name, start or 0) if not run.is_blank)
        first = next(parts, Run(b""))
        declared = self._declared_delimiter(first.data)
        if declared:
            first = first.without(declared, 1)
            if first.is_blank:
                first = next(parts, first)
        record, size, lines = self._first_record(first)
        guessed = not declared and self._options.delimiter is None
        dialect = Dialect(self.name, self._delimiter, len(record), guessed)
        if self._options.header:
            self._names = _checked_header(record, self.name, first.line)
            first = first.without(size, lines)
        else:
            self._names = tuple(str(i + 1) for i in range(len(record)))
        path = os.path.abspath(self._path)
        for run in chain([first], parts):
            place = None if start is None else streams.Place(path, run.offset, len(run.data))
            cells = DelimitedCells(run.data, run.line, dialect, place, run.line_ends)
            if not run.is_blank and len(cells):
                yield cells

    def _declared_delimiter(self, data: bytes) -> int:
        """Honour a first line ``sep=;``, as spreadsheets write it; return its length."""
        found = re.match(rb"sep=([\t !#-~])\r?\n", data, re.IGNORECASE)
        if not found:
            return 0
        if self._options.delimiter is None:
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
            raise InputError(_csv_reason(error), f"{self.name}:{line}") from None
        except UnicodeDecodeError:
            streams.decode(data, self.name, line)  # which names the line
            raise
        text.seek(0)
        header = "".join(text.readline() for _ in range(reader.line_num))
        _refuse_stray_quote(header, line, self._delimiter, self.name)
        return record, len(header.encode()), reader.line_num


def checked_delimiter(delimiter: str) -> str:
    """Return the character that ``--delimiter`` names, ``tab`` being spelled out.

    Raises
    ------
    UsageError
        Not one ASCII character.
    """
    spelled = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(spelled) != 1 or not spelled.isascii() or spelled in '"\r\n\0':
        message = f"--delimiter {delimiter!r} is not one ASCII character (or tab)"
        raise UsageError(message)
    return spelled


def _checked_header(record: Sequence[str], name: str, line: int) -> tuple[str, ...]:
    seen: set[str] = set()
    for column in record:
        if column in seen:
            message = f"two columns are named {column!r}; rename one, or pass --no-header"
            raise InputError(message, f"{name}:{line}")
        seen.add(column)
    return tuple(record)
