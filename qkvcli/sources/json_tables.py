"""JSON and JSON Lines, strictly: objects, pairs and records, each with its place in the file."""

from __future__ import annotations

import json
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from qkvcli.errors import InputError
from qkvcli.sources import bytes_in
from qkvcli.sources.table import (
    FIELD_CAP,
    SKIP,
    Cells,
    Layout,
    TableBlock,
    TableOptions,
    TableSource,
    key_note,
    layout,
    skipping,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


ROWS = 8_192
"""How many rows of a JSON document or a JSON Lines file make a block."""

T = TypeVar("T")
_SPACE = " \t\r\n"


class _RefusedError(ValueError):
    """Valid JSON syntax that is refused: NaN, a key given twice, a number out of range."""


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not JSON; write null, or leave the row out")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"the key {twice!r} stands twice in one object; keep one")
    return found


def _integer(digits: str) -> int:
    if abs(float(digits)) == float("inf"):
        raise _RefusedError(f"an integer of {len(digits.lstrip('-'))} digits; write it as a string")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise _RefusedError(f"{digits} is out of the range of a double; write it as a string")
    return number


_decoder = json.JSONDecoder(
    parse_constant=_constant, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_real
)


class Scanner:
    """A JSON text taken apart value by value, so that every value's place is known.

    Parameters
    ----------
    text
        The document, or one line of a JSON Lines file.
    name, line
        What errors call the file, and the line on which the text starts.
    """

    def __init__(self, text: str, name: str, line: int = 1) -> None:
        self._text = text
        self.name = name
        self._line = line
        self._counted = (0, line, 0)
        self.at = 0

    def where(self, position: int | None = None) -> str:
        """Return ``file:line:column`` of a position in the text."""
        position = self.at if position is None else position
        line = self._line + self._text.count("\n", 0, position)
        return f"{self.name}:{line}:{position - self._text.rfind(chr(10), 0, position)}"

    def place(self) -> tuple[int, int]:
        """Return the line and the column reached, from 1; counted on from the last call.

        A document may be one long line, whose start is not looked for again at every row.
        """
        since, line, start = self._counted
        more = self._text.count("\n", since, self.at)
        if more:
            line, start = line + more, self._text.rfind("\n", since, self.at) + 1
        self._counted = (self.at, line, start)
        return line, self.at - start + 1

    def peek(self) -> str:
        """Skip white space and return the next character, or nothing at the end."""
        text, at = self._text, self.at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self.at = at
        return text[at : at + 1]

    def take(self, sign: str) -> bool:
        """Skip a sign if it is next."""
        if self.peek() != sign:
            return False
        self.at += 1
        return True

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the next value, whole.

        Raises
        ------
        InputError
            Malformed, truncated, nested too deeply, or refused, with line and column.
        """
        self.peek()
        start = self.at
        try:
            found, self.at = _decoder.raw_decode(self._text, start)
            broken = _has_lone_surrogate(self._text[start : self.at], found)
        except json.JSONDecodeError as error:
            self.fail(f"not well-formed JSON ({error.msg.lower()})", error.pos)
        except _RefusedError as error:
            self.fail(str(error), start)
        except RecursionError:
            self.fail("nested too deeply", start)
        if broken:
            self.fail("half of a surrogate pair, which no text has; mend the escape \\ud…", start)
        return found

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        """Raise an InputError at a position."""
        raise InputError(message, self.where(position))

    def end(self, hint: str) -> None:
        """Refuse anything but white space from here on."""
        if self.peek():
            self.fail(f"more text after the end of {hint}")


def _has_lone_surrogate(source: str, found: Any) -> bool:  # noqa: ANN401
    if "\\u" not in source and "\\U" not in source:
        return False
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def cell(value: Any) -> str:  # noqa: ANN401
    """Return a JSON value as the text of a cell; numbers in their shortest form."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        text = repr(value).removesuffix(".0")
        if "e" not in text:
            return text
        from decimal import Decimal  # for numbers far from 1, which are written out

        return f"{Decimal(text):f}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cells(values: Iterable[Any], scanner: Scanner, start: int) -> list[str]:
    try:
        return [cell(value) for value in values]
    except RecursionError:  # what could just be read may be too deep to be written
        return scanner.fail("nested too deeply", start)


class Row(NamedTuple):
    """A record's column names (None for a pair), its cells, its line and its column."""

    names: tuple[str, ...] | None
    cells: list[str]
    line: int
    column: int


def _row(value: Any, scanner: Scanner, start: int, place: tuple[int, int]) -> Row:  # noqa: ANN401
    if isinstance(value, dict):
        names, parts = tuple(value), list(value.values())
    elif isinstance(value, list) and len(value) == 2:
        names, parts = None, value
    else:
        message = f"a row is an object or a [key, value] pair, not this ({_kind(value)})"
        scanner.fail(message, start)
    return Row(names, _cells(parts, scanner, start), *place)


def _kind(value: Any) -> str:  # noqa: ANN401
    """Return what JSON calls a value that is no row."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return "a string"
    return "a number" if type(value) in (int, float) else json.dumps(value)


def document_rows(path: str, encoding: str | None, name: str) -> Iterator[Row]:
    """Yield the rows of a JSON document, which is read whole, up to a cap."""
    scanner = Scanner(bytes_in.decode(bytes_in.read_document(path, encoding), name), name)
    opened = scanner.peek()
    if not opened:
        scanner.fail("is empty; a database is an object or a list")
    if opened not in "[{":
        scanner.value()
        scanner.fail("a database is an object or a list, not a single value", 0)
    if opened == "[":
        yield from _between(scanner, "]", partial(_element, scanner))
    else:
        yield from _between(scanner, "}", partial(_member, scanner, set()))
    scanner.end("the document; is this JSON Lines?")


def _between(scanner: Scanner, close: str, read: Callable[[], T]) -> Iterator[T]:
    """Yield what is read between commas, from the bracket that is next to the one that closes."""
    scanner.at += 1
    if scanner.take(close):
        return
    yield read()
    while not scanner.take(close):
        if not scanner.take(","):
            scanner.fail(f"not well-formed JSON (expecting ',' or '{close}')")
        yield read()


def json_elements(scanner: Scanner) -> Iterator[tuple[Any, str]]:
    """Yield the values of a JSON list one by one, each with its place."""
    if scanner.peek() != "[":
        scanner.value()
        scanner.fail("queries are a JSON list", 0)

    def placed() -> tuple[Any, str]:
        scanner.peek()
        where = "{}:{}:{}".format(scanner.name, *scanner.place())
        return scanner.value(), where

    yield from _between(scanner, "]", placed)
    scanner.end("the list")


def _element(scanner: Scanner) -> Row:
    scanner.peek()
    start, place = scanner.at, scanner.place()
    return _row(scanner.value(), scanner, start, place)


def _member(scanner: Scanner, seen: set[str]) -> Row:
    if scanner.peek() != '"':
        scanner.fail("not well-formed JSON (expecting a key in double quotes)")
    start, (line, _) = scanner.at, scanner.place()
    key = scanner.value()
    if key in seen:
        scanner.fail(f"the key {key!r} stands twice in one object; keep one", start)
    seen.add(key)
    if not scanner.take(":"):
        scanner.fail("not well-formed JSON (expecting ':')")
    scanner.peek()
    start, (_, column) = scanner.at, scanner.place()
    cells = [key, *_cells([scanner.value()], scanner, start)]
    return Row(None, cells, line, column)


def _scanned_lines(
    path: str, encoding: str | None, name: str
) -> Iterator[tuple[Any, Scanner, int]]:
    for data, first in runs_of_lines(path, encoding, name):
        text = bytes_in.decode(data, name, first)
        for offset, line in enumerate(text.split("\n")):  # U+2028 ends no line here
            if not line.strip(_SPACE):
                continue
            scanner = Scanner(line, name, first + offset)
            value = scanner.value()
            scanner.end("the row; put each row on a line of its own")
            yield value, scanner, first + offset


def line_rows(path: str, encoding: str | None, name: str) -> Iterator[Row]:
    """Yield the rows of JSON Lines."""
    for value, scanner, line in _scanned_lines(path, encoding, name):
        yield _row(value, scanner, 0, (line, 1))


def json_lines(path: str, encoding: str | None, name: str) -> Iterator[tuple[Any, str]]:
    """Yield the value of each line of JSON Lines, with its place."""
    for value, _, line in _scanned_lines(path, encoding, name):
        yield value, f"{name}:{line}"


def runs_of_lines(path: str, encoding: str | None, name: str) -> Iterator[tuple[bytes, int]]:
    """Cut an input into runs of whole lines, each with its first line's number."""
    held, line = b"", 1
    for part in bytes_in.chunks(path, encoding):
        data = held + part
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut], line
            line += data.count(b"\n", 0, cut)
        held = data[cut:]
        if len(held) > FIELD_CAP:
            raise InputError(f"a line is longer than {FIELD_CAP >> 20} MiB", f"{name}:{line}")
    if held:
        yield held, line


class JsonTable(TableSource):
    """A table of rows with names: of JSON Lines, of a JSON document, or of another syntax.

    Parameters
    ----------
    path, options
        The file, and how it is to be read.
    rows_of
        Yields the rows of a file, given its path, its encoding and what errors call it.
    """

    def __init__(
        self,
        path: str,
        options: TableOptions,
        rows_of: Callable[[str, str | None, str], Iterator[Row]],
    ) -> None:
        name = bytes_in.display_name(path)
        self._options = options
        self._rows = partial(rows_of, path, options.encoding, name)
        rows = self._rows()
        head = next(rows, None)
        if head is None:
            raise InputError("holds no rows", name)
        if not head.cells:
            place = f"{name}:{head.line}:{head.column}"
            raise InputError("an empty record; a row needs a key", place)
        self._head = head
        cells = _cells_of(chain([head], rows), head, name)
        first = next(cells)
        names = head.names or ("key", "value")
        self._layout: Layout = layout(names, first, options, name)
        self._stream: Iterator[Cells] | None = chain([first], cells)
        columns = self._layout.columns
        note = key_note(names, columns, options, name)
        super().__init__(name, columns, note, reopenable=bytes_in.reopenable(path))

    def blocks(self) -> Iterator[TableBlock]:
        """Return the blocks of rows."""
        blocks = self._blocks()
        return skipping(blocks, self.name) if self._options.missing == SKIP else blocks

    def _blocks(self) -> Iterator[TableBlock]:
        stream, self._stream = self._stream, None
        start = 0
        for cells in stream or _cells_of(self._rows(), self._head, self.name):
            yield TableBlock(start, self._layout, cells)
            start += len(cells)


def _cells_of(rows: Iterator[Row], head: Row, name: str) -> Iterator[Cells]:
    """Yield the cells of some thousand rows at a time, in the order of the first row's."""
    while batch := list(islice(rows, ROWS)):
        flat: list[str] = []
        for row in batch:
            if row.names == head.names:
                flat += row.cells
                continue
            if row.names is None or head.names is None or set(row.names) != set(head.names):
                wanted = f"an object with {', '.join(head.names)}" if head.names else None
                raise InputError(
                    "this row has another shape than the first, which is "
                    f"{wanted or 'a [key, value] pair'}",
                    f"{name}:{row.line}:{row.column}",
                )
            found = dict(zip(row.names, row.cells, strict=True))
            flat += [found[column] for column in head.names]
        yield Cells(flat, len(head.cells), [row.line for row in batch])
