"""Cells of a run of records: told from the bytes where that can be done, else taken apart."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from qkvcli.errors import InputError
from qkvcli.sources import numbers, streams
from qkvcli.sources.delimited.runs import count_byte
from qkvcli.sources.table import FIELD_CAP, ListCells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.key_bytes import KeyBytes

_LINE_END = ord("\n")
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
        return count_byte(self.data, b"\n") if self.line_ends is None else self.line_ends

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

    def key_bytes(self, position: int) -> KeyBytes | None:
        """Return a column as it lies among the bytes, where a record is a line of cells.

        Only the delimiters are counted for that. What is looked for among the bytes and not found
        spares taking the block apart; one that is not plain always is.
        """
        delimiter, width = self.dialect.delimiter.encode(), self.dialect.width
        counted = self._is_lines and count_byte(self.data, delimiter) == len(self) * (width - 1)
        if not counted or not _is_utf8(self.data):
            return None
        if self.dialect.guessed and width == 1 and (b";" in self.data or b"\t" in self.data):
            return None
        from qkvcli.key_bytes import KeyBytes

        return KeyBytes(self.data, partial(self._places, position))

    def _places(self, position: int) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
        """Return where the cells of a column start and end, if every record has as many."""
        ends = self._ends
        if ends is None:
            return None
        starts = ends[:, position - 1] + 1
        if position == 0:
            starts[1:], starts[0] = ends[:-1, -1] + 1, 0
        return starts, ends[:, position]

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

    def matrix(  # noqa: PLR0911 - each look that costs little comes before the next
        self, positions: Sequence[int], grammar: str
    ) -> NDArray[np.float64] | None:
        """Return columns as numbers through NumPy's reader in C.

        That reader knows ``nan``, spaces and more; so it is only given bytes that can spell
        nothing but the numbers of the strict grammar.
        """
        import numpy as np

        # Of all columns that reader sees for itself that every record has as many.
        every = len(positions) == self.dialect.width
        if not (self._is_lines if every else self._plain):
            return None
        plain, any_code = grammar == numbers.PLAIN, grammar == numbers.NUMBER
        if not self._spells_numbers(plain=plain):
            return None
        if not any_code and _has_leading_zero(self.data):
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
        if every and found.shape[1] != self.dialect.width:
            return None
        # Beyond, perhaps a whole number of too many digits.
        most = np.inf if any_code else numbers.LARGEST
        if not max(found.max(initial=0), -found.min(initial=0)) < most:
            return None
        if every and list(positions) != list(range(len(positions))):
            found = found[:, positions]
        return found

    def _spells_numbers(self, *, plain: bool) -> bool:
        """Whether there is nothing but the characters of numbers, delimiters and line ends."""
        sign = self.dialect.delimiter.encode()
        if not plain or sign in b"-./0123456789":
            letters = b"0123456789-.\n" if plain else b"0123456789-.+eE\n"
            return not self.data.translate(None, letters + sign)
        import numpy as np

        # All but "/" between "-" and "9" are; to count them takes a third of the time.
        spelled = np.count_nonzero(self._bytes - ord("-") <= ord("9") - ord("-"))
        ends = len(self) * self.dialect.width
        return spelled + ends == len(self.data) and b"/" not in self.data


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
        message = (
            "a quote inside a cell that does not start with one; "
            'quote the whole cell and double it ("")'
        )
        raise InputError(message, f"{name}:{line}")


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
                    f"pass `delimiter={spelled[sign]}` ({keep})"
                )
                raise InputError(message, f"{dialect.name}:{cells.line(row)}")
