"""Tables: which columns are keys and values, which are numbers, and blocks of their rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from qkvcli.blocks import Columns, Record, labels_of
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import numbers
from qkvcli.sources.formats import NUMBER, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Keys, Labels
    from qkvcli.coded import Coding
    from qkvcli.key_bytes import KeyBytes

SKIP = "skip"
"""What is done with rows in which a number is missing, if not to refuse them."""
FIELD_CAP = 16 << 20
"""How long one record, and so one field, may be: 16 MiB."""


@dataclass(frozen=True)
class TableOptions:
    """How a table is to be read, as the command line says it.

    Parameters
    ----------
    key, value
        Columns by name or 1-based number; by default the first is the key, the rest are values.
    delimiter
        One ASCII character; by default a tab for .tsv and a comma elsewhere.
    header
        Whether the first record of a CSV or TSV file names the columns.
    encoding
        The text's encoding; by default what a byte order mark says, else UTF-8.
    key_type, value_type
        ``"text"``, ``"number"`` or None, which decides by the first block's cells.
    missing
        ``"skip"`` leaves rows out in which a number is missing; by default they are refused.
    name
        What errors call the table; by default its path.
    format
        ``"csv"``, ``"tsv"``, ``"json"``, ``"jsonl"``, ``"parquet"``, ``"arrow"`` or None, which
        decides by the file's name.
    codings
        Key columns that are dates or categories, each named as ``key`` is.
    """

    key: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    delimiter: str | None = None
    header: bool = True
    encoding: str | None = None
    key_type: str | None = None
    value_type: str | None = None
    format: str | None = None
    missing: str | None = None
    name: str | None = None
    codings: tuple[Coding, ...] = ()

    def bundled(self, name: str) -> TableOptions:
        """Return the options for a table of the package, of which it is known how it is written."""
        return replace(self, name=name, header=True, delimiter=None, encoding=None, format=None)


@dataclass(eq=False)
class Cells:
    """The cells of one block of a table, all of them text, as one list, row after row.

    Parameters
    ----------
    flat, width
        The cells, and how many a row has.
    lines
        The line of the file on which each row starts.
    """

    flat: list[str]
    width: int
    lines: Sequence[int]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.flat) // self.width

    def load(self) -> None:
        """Have the cells at hand; those of a file may have travelled without them."""

    def column(self, position: int) -> list[str]:
        """Return one column."""
        return self.flat if self.width == 1 else self.flat[position :: self.width]

    def key_bytes(self, position: int) -> KeyBytes | None:
        """Return a column as it lies among bytes, where no string need be made for that."""
        del position
        return None  # these are strings already

    def row(self, position: int) -> list[str]:
        """Return one row."""
        return self.flat[position * self.width : (position + 1) * self.width]

    def line(self, row: int) -> int:
        """Return the line of the file on which a row starts."""
        return self.lines[row]

    def matrix(self, positions: Sequence[int], grammar: str) -> NDArray[np.float64] | None:
        """Return columns as numbers by a reader in C, or None where it cannot vouch for them."""
        del positions, grammar
        return None


@dataclass(frozen=True)
class Layout:
    """Which cells of a row are its key and its values, and how each is read."""

    name: str
    key: tuple[int, ...]
    value: tuple[int, ...]
    columns: Columns
    key_grammar: str
    value_grammar: str

    def where(self, line: int) -> str:
        """Return the place of a line, as errors name it."""
        return f"{self.name}:{line}"

    def column_name(self, position: int) -> str:
        """Return what a key or a value column is called."""
        places, names = self.key + self.value, self.columns.key + self.columns.value
        return names[places.index(position)]


class TableSource:
    """What all tables have in common, as sources: their number of rows is not known.

    Parameters
    ----------
    name, columns, note, reopenable
        As of a ``Source``.
    """

    rows: int | None = None
    names: Sequence[str] | None = None

    def __init__(self, name: str, columns: Columns, note: str, *, reopenable: bool) -> None:
        import numpy as np

        self.name, self.columns, self.note, self.reopenable = name, columns, note, reopenable
        self.kind = "table" if columns.numeric_key else "text"
        self.depth = len(columns.key) if columns.numeric_key else 0
        self.key_dtype: np.dtype[np.floating] = np.dtype(np.float64)
        self.dtype = self.key_dtype


@dataclass(eq=False)
class TableBlock:
    """A run of a table's rows; keys, numbers and records are read from its cells when asked for."""

    start: int
    layout: Layout
    cells: Cells
    skipped: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.cells)

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what was worked out from the cells."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load(self) -> TableBlock:
        """Return the block itself, with its cells at hand."""
        self.cells.load()
        return self

    @cached_property
    def keys(self) -> Keys:
        """Text keys as K strings (several key columns joined by a space), or vectors (K, D)."""
        layout = self.layout
        if layout.columns.numeric_key:
            return self._numbers[0]
        parts = [self.cells.column(position) for position in layout.key]
        return parts[0] if len(parts) == 1 else [" ".join(row) for row in zip(*parts, strict=True)]

    def key_bytes(self) -> KeyBytes | None:
        """Return text keys as they lie among bytes, where no string need be made for that."""
        return self.cells.key_bytes(self.layout.key[0]) if len(self.layout.key) == 1 else None

    def key_texts(self, column: int) -> list[str]:
        """Return the cells of one key column."""
        return self.cells.column(self.layout.key[column])

    def values(self, rows: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Return the numeric value columns of some rows, reading no others, or of all, (K, Dv)."""
        if rows is None:
            return self._numbers[1]
        if not rows:
            import numpy as np

            return np.empty((0, len(self.layout.columns.numeric)))
        flat = [cell for row in rows for cell in self.cells.row(row)]
        lines = [self.cells.line(row) for row in rows]
        return TableBlock(0, self.layout, Cells(flat, len(flat) // len(rows), lines)).values()

    @cached_property
    def _numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vector keys and numeric values, in one reading where the reader in C can do both.

        Of text keys there are values alone.
        """
        layout = self.layout
        values = tuple(layout.value[i] for i in layout.columns.numeric)
        if not layout.columns.numeric_key:
            found = self._matrix(values, layout.value_grammar, "value")
            return found[:, :0], found
        if layout.columns.codings:
            return self._coded(), self._matrix(values, layout.value_grammar, "value")
        # What is a plain number is a value too; of other grammars both must be the same.
        grammar = numbers.PLAIN if layout.key_grammar == numbers.PLAIN else layout.value_grammar
        both = self.cells.matrix(layout.key + values, grammar)
        if both is not None and grammar in (numbers.PLAIN, layout.key_grammar):
            return both[:, : len(layout.key)], both[:, len(layout.key) :]
        keys = self._matrix(layout.key, layout.key_grammar, "key")
        return keys, self._matrix(values, layout.value_grammar, "value")

    def _coded(self) -> NDArray[np.float64]:
        """Return keys of which some columns are dates or categories."""
        import numpy as np

        parts = []
        for at, coding in enumerate(self.layout.columns.codings):
            if coding is None:
                position = self.layout.key[at]
                parts.append(self._matrix((position,), self.layout.key_grammar, "key")[:, 0])
                continue
            parts.append(np.array(coded(coding, self.key_texts(at), self.where), np.float64))
        return np.column_stack(parts)

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.layout.columns

    def labels(self, rows: Sequence[int] | None = None) -> list[Labels]:
        """Return the text value columns, of some rows or all."""
        found = []
        for position in (self.layout.value[i] for i in self.layout.columns.text):
            column = self.cells.column(position)
            found.append(labels_of(column if rows is None else [column[row] for row in rows]))
        return found

    def without_missing(self) -> TableBlock:
        """Return the block without the rows in which a number is missing."""
        layout, cells = self.layout, self.cells
        numeric = [(layout.value[i], numbers.is_missing) for i in layout.columns.numeric]
        if layout.columns.numeric_key:
            codings = layout.columns.codings or (None,) * len(layout.key)
            numeric += [
                (position, coding.is_missing if coding else numbers.is_missing)
                for position, coding in zip(layout.key, codings, strict=True)
            ]
        gone = {
            row
            for position, is_missing in numeric
            for row, cell in enumerate(cells.column(position))
            if is_missing(cell)
        }
        if not gone:
            return self
        rows = [row for row in range(len(cells)) if row not in gone]
        flat = [cell for row in rows for cell in cells.row(row)]
        lines = [cells.line(row) for row in rows]
        return replace(self, cells=Cells(flat, len(cells.row(0)), lines))

    def check(self) -> None:
        """Do nothing: a table's numbers are finite, or are refused when they are read."""

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""
        return self.layout.where(self.cells.line(row))

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text, just as the file has it."""
        found = []
        for row in rows:
            cells = self.cells.row(row)
            key = tuple(cells[i] for i in self.layout.key)
            found.append(Record(key, tuple(cells[i] for i in self.layout.value)))
        return found

    def _matrix(self, positions: tuple[int, ...], grammar: str, role: str) -> NDArray[np.float64]:
        import numpy as np  # a text lookup never needs numbers

        if not positions:
            return np.empty((len(self), 0))
        found = self.cells.matrix(positions, grammar)
        if found is not None:
            return found
        matrix = np.empty((len(self), len(positions)))
        for target, position in enumerate(positions):
            column = self.cells.column(position)
            if not numbers.all_match(column, grammar):
                self._refuse(column, grammar, role, self.layout.column_name(position))
            matrix[:, target] = np.array(column, dtype=np.float64)
            if not np.isfinite(matrix[:, target]).all():
                self._refuse(column, grammar, role, self.layout.column_name(position))
        return matrix

    def _refuse(self, column: list[str], grammar: str, role: str, name: str) -> NoReturn:
        row = numbers.first_mismatch(column, grammar)
        if row is None:
            raise AssertionError(column[:3])
        refuse_number(column[row], self.where(row), role, name)


def skipping(blocks: Iterable[Any], name: str) -> Iterator[Any]:
    """Yield blocks without the rows in which a number is missing, each with how many those were.

    Raises
    ------
    InputError
        No row is left.
    """
    rows = skipped = 0
    held: Any = None  # until it is known whether all rows that follow are left out
    for block in blocks:
        kept = block.without_missing()
        skipped += len(block) - len(kept)
        if len(kept):
            if held is not None:
                yield held
            held = replace(kept, start=rows, skipped=skipped)
            rows, skipped = rows + len(kept), 0
    if held is None:
        raise InputError("in every row a number is missing, and none is left", name)
    yield replace(held, skipped=held.skipped + skipped)


def coded(coding: Coding, cells: Sequence[str], where: Callable[[int], str]) -> list[float]:
    """Return the numbers of the cells of a column of dates or categories.

    Raises
    ------
    InputError
        A cell that has none, at its place.
    """
    from qkvcli.coded import CodeError  # few tables have such columns

    try:
        return coding.numbers(cells)
    except CodeError as error:
        raise InputError(error.reason, where(error.row)) from None


def codings_of(
    options: TableOptions, names: Sequence[str], key: Sequence[int], name: str
) -> tuple[Coding | None, ...]:
    """Return how the cells of each key column become numbers, or nothing where all are numbers.

    Raises
    ------
    UsageError
        A column that is no key, or is named twice; or the key was said to be text.
    """
    found: dict[int, Coding] = {}
    for coding in options.codings:
        at = find_column(coding.column, names, f"`{coding.kind}`", name)
        if at not in key:
            listed = ", ".join(names[i] for i in key)
            raise UsageError(
                f"`{coding.kind}` names the column {names[at]!r}, and the key of {name} is "
                f"{listed}; name it in `key` too"
            )
        if at in found:
            raise UsageError(
                f"`{found[at].kind}` and `{coding.kind}` both name the column {names[at]!r}"
            )
        found[at] = coding
    if found and options.key_type is not None:
        (coding, *_) = found.values()
        raise UsageError(
            f"`key_type` is of all key columns, and `{coding.kind}` says what one of them is"
            "; leave `key_type` out"
        )
    return tuple(found.get(at) for at in key) if found else ()


def refuse_number(cell: str, where: str, role: str, column: str = "") -> NoReturn:
    """Raise the error for a cell that should have been a number."""
    shown = repr(cell if len(cell) <= 40 else cell[:37] + "...")
    if numbers.is_missing(cell):
        named = f" {column!r}" if column else ""
        raise InputError(
            f"{shown} in the {role} column{named}, which has numbers: pass `missing='skip'` "
            f"to leave such rows out, or `{role}_type='text'`",
            where,
        )
    finite = "a finite number" if role == "value" else "a plain decimal number"
    way_out = f"mend it, or pass `{role}_type='text'`"
    raise InputError(f"{shown} is not {finite}, as its {role} column has; {way_out}", where)


def layout(names: Sequence[str], first: Cells, options: TableOptions, name: str) -> Layout:
    """Decide which columns of a table are keys and values and which are numbers.

    Parameters
    ----------
    names
        The table's column names.
    first
        The first block, by which kinds are decided.
    options, name
        How the table is to be read, and what errors call it.

    Raises
    ------
    UsageError
        A column that is not there.
    InputError
        A cell that is no number in a column of numbers.
    """
    key, value = chosen(options, names, name)
    codings = codings_of(options, names, key, name) if options.codings else ()
    coded_keys = {at for at, coding in zip(key, codings, strict=False) if coding}
    # A code with a leading zero is a number only where numbers were asked for.
    key_grammar = numbers.NUMBER if options.key_type == NUMBER else numbers.PLAIN
    value_grammar = numbers.NUMBER if options.value_type == NUMBER else numbers.VALUE
    kinds: dict[str, list[bool]] = {}
    for role, places, wanted, grammar in (
        ("key", key, options.key_type, key_grammar),
        ("value", value, options.value_type, value_grammar),
    ):
        kinds[role] = []
        for at in places:
            wrong: list[int] | None = []
            if role == "value" or at not in coded_keys:
                may_miss = options.missing == SKIP and role == "key"
                wrong = None
                if wanted != TEXT:
                    wrong = _wrong_numbers(first, at, grammar, wanted, may_miss=may_miss)
            if options.missing == SKIP and wrong:
                column = first.column(at)
                wrong = [row for row in wrong if not numbers.is_missing(column[row])]
            if wrong:
                cell, where = first.row(wrong[0])[at], f"{name}:{first.line(wrong[0])}"
                refuse_number(cell, where, role, names[at])
            kinds[role].append(wrong is not None)
    key_names = tuple(names[at] for at in key)
    if codings:
        check_coded(key_names, kinds["key"], f"{name}:{first.line(0)}")
    columns = Columns(
        key_names,
        tuple(names[at] for at in value),
        all(kinds["key"]),
        tuple(i for i, is_number in enumerate(kinds["value"]) if is_number),
        codings,
    )
    return Layout(name, key, value, columns, key_grammar, value_grammar)


def check_coded(names: Sequence[str], kinds: Sequence[bool], where: str) -> None:
    """Refuse a column of text beside dates and categories."""
    text = next((name for name, is_number in zip(names, kinds, strict=True) if not is_number), None)
    if text is not None:
        raise InputError(
            f"the key column {text!r} is text, beside others that are dates or categories; "
            f"pass `categorical={text!r}`, or other `key` columns",
            where,
        )


def chosen(
    options: TableOptions, names: Sequence[str], name: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which columns are the key, and which are values.

    By default the first is the key, and the others are values; a key ``*`` is all but the values,
    and a bare list of keys is its own values, as in self-attention.

    Raises
    ------
    UsageError
        A column that is not there, or is named twice; ``*`` without values, or none that is left.
    """
    value = tuple(find_column(one, names, "`value`", name) for one in options.value)
    if options.key != ("*",) or "*" in names:
        key = tuple(find_column(one, names, "`key`", name) for one in options.key) or (0,)
    elif not value:
        raise UsageError("`key='*'` is all columns but the values; name those with `value`")
    else:
        key = tuple(at for at in range(len(names)) if at not in value)
        if not key:
            raise UsageError(f"`key='*'`: {name} has no column but its values")
    for option, found in (("`key`", key), ("`value`", value)):
        twice = next((names[i] for i in found if found.count(i) > 1), None)
        if twice is not None:
            raise UsageError(f"{option} names the column {twice!r} of {name} twice")
    return key, value or tuple(i for i in range(len(names)) if i not in key) or key


def key_note(names: Sequence[str], columns: Columns, options: TableOptions, name: str) -> str:
    """Return which column is the key, where values were chosen and more than one was left."""
    left = [column for column in names if column not in columns.value]
    if options.key or not options.value or len(left) < 2:
        return ""
    return f"{name}: the key is the column {columns.key[0]!r}, the first of {len(left)}"


def find_column(column: str, names: Sequence[str], option: str, name: str) -> int:
    """Return which column a name, a number from 1 or a name but for its case stands for.

    Raises
    ------
    UsageError
        There is none, with the nearest name.
    """
    if column in names:
        return list(names).index(column)
    if column.isascii() and column.isdigit() and 1 <= int(column[:9]) <= len(names):
        return int(column) - 1
    folded = [i for i, known in enumerate(names) if known.casefold() == column.casefold()]
    if len(folded) == 1:
        return folded[0]
    raise UsageError(
        f"{option}: {name} has no column {column!r}{did_you_mean(column, list(names))}"
    )


def _wrong_numbers(
    first: Cells, position: int, grammar: str, wanted: str | None, *, may_miss: bool
) -> list[int] | None:
    """Return which rows have no number in a column of numbers; None of a column of text.

    Numbers, and what was surely meant as numbers or stands for a missing one, are a column of
    numbers with a mistake in it; ``may_miss`` is whether missing ones alone are such a column, too.
    """
    is_open, cell = wanted is None, first.row(0)[position]
    if is_open and numbers.mismatches([cell], grammar) and not _is_no_text(cell):
        return None  # most text is told by its first cell, and no other is taken apart
    cells = first.column(position)
    row = numbers.first_mismatch(cells, grammar)
    if row is None:
        return []
    if is_open and not _is_no_text(cells[row]):
        return None
    odd = numbers.mismatches(cells, grammar)
    some = len(odd) < len(cells) or (may_miss and all(map(numbers.is_missing, cells)))
    if is_open and not (some and all(_is_no_text(cells[i]) for i in odd)):
        return None
    return odd


def _is_no_text(cell: str) -> bool:
    return numbers.mistaken(cell) or numbers.is_missing(cell)
