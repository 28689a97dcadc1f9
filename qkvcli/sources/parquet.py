"""Parquet and Arrow files: a block is rows of a row group or a record batch, as needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from qkvcli.blocks import Columns, Record, labels_of, number_text
from qkvcli.errors import InputError, UsageError
from qkvcli.sources import numbers
from qkvcli.sources.columnar import (
    ROWS,
    VECTOR,
    Piece,
    batches,
    files_of,
    is_text,
    kind_in,
    kind_of,
    plain,
    row_groups,
    schema_of,
    told,
    without_dictionary,
)
from qkvcli.sources.formats import COLUMNAR, NUMBER, TEXT
from qkvcli.sources.table import (
    SKIP,
    TableOptions,
    check_coded,
    chosen,
    coded,
    codings_of,
    key_note,
    refuse_number,
    skipping,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Keys, Labels
    from qkvcli.coded import Coding
    from qkvcli.key_bytes import KeyBytes
    from qkvcli.sources.columnar import File


class ParquetTable:
    """Parquet or Arrow files of the same columns, one after another in name order.

    Parameters
    ----------
    path
        A file, a folder of files, a pattern, or a URL of any of these.
    options
        How they are to be read.

    Raises
    ------
    InputError
        A file that cannot be read, or has no rows; a column of a type that is not scored.
    UsageError
        A column that is not there.
    """

    reopenable = True
    names: Sequence[str] | None = None

    def __init__(self, path: str, options: TableOptions) -> None:
        self.name, self._options = path, options
        self._files = files_of(path, options.format if options.format in COLUMNAR else None)
        first = self._files[0]
        self._schema = schema_of(first)
        of_folders = [name for name, _ in first.partition if name not in self._schema.names]
        names = [*self._schema.names, *of_folders]
        double = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if double is not None:
            raise InputError(f"two columns are named {double!r}; rename one", first.name)
        places, value_places = chosen(options, names, path)
        self._folders = _kinds_of_folders(self._files)
        piece = next(self._pieces(), None)
        if piece is None:
            raise InputError("has no rows", path)
        codings = codings_of(options, names, places, path)
        key = tuple(
            self._coded(names[at], coding) if coding else self._field(names[at], "key", piece[0])
            for at, coding in zip(places, codings or (None,) * len(places), strict=True)
        )
        if codings:
            kinds = [field.kind != TEXT for field in key]
            check_coded([field.name for field in key], kinds, piece[0].where(0))
        value = tuple(self._field(names[at], "value", piece[0]) for at in value_places)
        is_vector = key[0].kind == VECTOR
        if len(key) > 1 and any(field.kind == VECTOR for field in key):
            listed = ", ".join(field.name for field in key)
            message = f"a column of vectors is a key of its own; pass one `key` of {listed}"
            raise UsageError(f"{path}: {message}")
        self.key_dtype: np.dtype[np.floating] = (
            self._dtype(key[0]) if is_vector else np.dtype(np.float64)
        )
        kinds_of_values = [self._dtype(field) for field in value if field.kind != TEXT]
        self.dtype: np.dtype[np.floating] = np.result_type(self.key_dtype, *kinds_of_values)
        self.columns = _columns(key, value, codings)
        self.fields = Fields(key, value, self.columns)
        self.kind = "table" if self.columns.numeric_key else "text"
        self.depth = len(key) if self.columns.numeric_key else 0
        if is_vector:
            self.kind, self.depth = "array", key[0].width
        self.note = key_note(names, self.columns, options, path)

    @property
    def rows(self) -> int | None:
        """The number of rows of all files, K; unknown where rows may be left out."""
        if self._options.missing == SKIP:
            return None
        return sum(piece.rows for piece, _ in self._pieces())

    def blocks(self) -> Iterator[ArrowBlock]:
        """Return the blocks; what had to be read of an Arrow file to count its rows comes along."""
        blocks = self._blocks()
        return skipping(blocks, self.name) if self._options.missing == SKIP else blocks

    def _blocks(self) -> Iterator[ArrowBlock]:
        start = 0
        for piece, table in self._pieces(self.fields):
            yield ArrowBlock(start, self.fields, piece, table)
            start += piece.rows

    def _pieces(self, fields: Fields | None = None) -> Iterator[tuple[Piece, pa.Table | None]]:
        """Look at one file after another; the columns must be those of the first."""
        for file in self._files:
            if fields is not None and file is not self._files[0]:
                self._check_alike(file, fields)
            names = fields.names if fields else None
            if file.form == "parquet":
                for piece in row_groups(file, names):
                    yield piece, None
            else:
                yield from batches(file, names or self._schema.names[:1])

    def _dtype(self, field: Field) -> np.dtype[np.floating]:
        """Return what a column's numbers are read as; folders have none but plain ones."""
        kind = None if field.name in self._folders else self._schema.field(field.name).type
        return _working(field, kind)

    def _field(self, name: str, role: str, piece: Piece) -> Field:
        options = self._options
        wanted = options.key_type if role == "key" else options.value_type
        if name in self._folders:
            return Field(name, role, wanted or self._folders[name])
        kind = kind_in(self._schema, name, piece.file)
        if kind == NUMBER and wanted is None and _may_be_codes(self._schema.field(name).type):
            # Whole numbers of the first rows are as often codes, as in tables.
            head = replace(piece, rows=min(piece.rows, ROWS), step=min(piece.step, ROWS))
            kind = NUMBER if _first_code(head.read([name])[name]) is None else TEXT
        if kind != VECTOR:
            return Field(name, role, wanted or kind, is_plain=wanted is None)
        if wanted is not None:
            raise UsageError(
                f"`{role}_type={wanted!r}`: the column {name!r} of {self.name} is of vectors"
            )
        return Field(name, role, kind, self._width(name, piece))

    def _coded(self, name: str, coding: Coding) -> Field:
        """Return a key column of dates or categories, whatever it is stored as."""
        if name not in self._folders and not types.is_temporal(self._schema.field(name).type):
            kind = kind_in(self._schema, name, self._files[0])
            if kind == VECTOR:
                raise UsageError(
                    f"the column {name!r} of {self.name} is of vectors, and no `date` or "
                    "`categorical` is"
                )
        return Field(name, "key", NUMBER, coding=coding)

    def _width(self, name: str, piece: Piece) -> int:
        found = self._schema.field(name).type
        if types.is_fixed_size_list(found) and found.list_size:
            return int(found.list_size)
        is_skipped = self._options.missing == SKIP
        one = replace(piece, rows=1, step=1) if piece.step and not is_skipped else piece
        cells = one.read([name])[name]
        first = (cells.drop_null() if is_skipped else cells)[:1]
        if first and first[0].is_valid and len(first[0]):
            return len(first[0])
        what = "empty" if first and first[0].is_valid else "null; pass `missing='skip'`"
        raise InputError(f"the first vector of the column {name!r} is {what}", piece.where(0))

    def _check_alike(self, file: File, fields: Fields) -> None:
        """Refuse a file that lacks a column of the first one, or has it of another kind."""
        schema, first = schema_of(file), self._files[0]
        folders, first_folders = dict(file.partition), dict(first.partition)
        for name in fields.names:
            is_of_folder = name in folders
            if is_of_folder != (name in first_folders) or (
                not is_of_folder and name not in schema.names
            ):
                raise InputError(
                    f"has no column {name!r}, and {first.name} has it"
                    "; files of one table have the same",
                    file.name,
                )
            if is_of_folder:
                continue
            mine, other = self._schema.field(name).type, schema.field(name).type
            if types.is_temporal(mine) and types.is_temporal(other):
                continue
            if kind_in(schema, name, file) != kind_of(mine):
                raise InputError(
                    f"the column {name!r} is of type {other}, and in {first.name} of {mine}"
                    "; files of one table have the same",
                    file.name,
                )


# Columns: what their types are to the fold.


@dataclass(frozen=True)
class Field:
    """A column as it is read.

    Parameters
    ----------
    name, role
        What it is called, and whether it is a ``"key"`` or a ``"value"``.
    kind
        ``"text"``, ``"number"`` or ``"vector"``.
    width
        How many numbers make a vector; else 1.
    is_plain
        Whether a whole number of more than 15 digits is an error, since it may be a code.
    coding
        How the cells of a key column of dates or categories become numbers.
    """

    name: str
    role: str
    kind: str
    width: int = 1
    is_plain: bool = False
    coding: Coding | None = None


class Fields(NamedTuple):
    """The columns that are read of every file, and what they come to."""

    key: tuple[Field, ...]
    value: tuple[Field, ...]
    columns: Columns

    @property
    def names(self) -> list[str]:
        """What the columns are called, each once."""
        return list(dict.fromkeys(field.name for field in self.key + self.value))


def _columns(
    key: tuple[Field, ...], value: tuple[Field, ...], codings: tuple[Coding | None, ...]
) -> Columns:
    """Return what rows are made of; a vector among the values is a column for each number."""
    names: list[str] = []
    pooled: list[int] = []
    for field in value:
        if field.kind != TEXT:
            pooled += range(len(names), len(names) + field.width)
        is_vector = field.kind == VECTOR
        many = [f"{field.name}[{i + 1}]" for i in range(field.width)]
        names += many if is_vector else [field.name]
    keys = ("row",) if key[0].kind == VECTOR else tuple(field.name for field in key)
    numeric = all(field.kind != TEXT for field in key)
    return Columns(keys, tuple(names), numeric, tuple(pooled), codings)


def _kinds_of_folders(files: Sequence[File]) -> dict[str, str]:
    """Return what folders' names are: numbers where all of them are plain numbers, else text."""
    spelled: dict[str, list[str]] = {}
    for file in files:
        for name, value in file.partition:
            spelled.setdefault(name, []).append(value)
    return {
        name: NUMBER if numbers.first_mismatch(values, numbers.PLAIN) is None else TEXT
        for name, values in spelled.items()
    }


def _may_be_codes(kind: pa.DataType) -> bool:
    """Whether a type has whole numbers of more digits than a double tells apart."""
    kind = plain(kind)
    if types.is_decimal(kind):
        return bool(kind.scale <= 0)
    return bool(types.is_integer(kind) and kind.bit_width > 32)  # as NumPy counts


def _first_code(column: pa.ChunkedArray) -> int | None:
    """Return the first row with a whole number of more than 15 digits."""
    column = without_dictionary(column)
    least = int(numbers.LARGEST)
    extremes = pc.min_max(column).as_py()
    if extremes["min"] is None or -least < extremes["min"] <= extremes["max"] < least:
        return None
    cells = enumerate(column.to_pylist())
    return next((row for row, cell in cells if cell is not None and abs(cell) >= least), None)


def _working(field: Field, kind: Any) -> np.dtype[np.floating]:  # noqa: ANN401 - pyarrow's
    """Return float32 for vectors of float16 and float32, float64 for everything else."""
    is_narrow = field.kind == VECTOR and kind.value_type in (pa.float16(), pa.float32())
    return np.dtype(np.float32 if is_narrow else np.float64)


# Blocks: rows as the fold takes them.


@dataclass(frozen=True)
class ArrowBlock:
    """Rows of a file: a reference until it is loaded, and small enough to travel.

    Parameters
    ----------
    start
        The row of the database that is the first of these.
    fields
        The columns.
    piece
        Where the rows lie.
    table
        The rows, once loaded.
    kept
        Which rows of the piece these are, where some are left out.
    skipped
        How many rows were left out, here and just before.
    """

    start: int
    fields: Fields
    piece: Piece
    table: pa.Table = None
    kept: NDArray[np.int32] | None = None
    skipped: int = 0

    def __getstate__(self) -> dict[str, object]:
        """Leave the rows behind; ``load`` reads them again."""
        return {**vars(replace(self, table=None))}

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.piece.rows if self.kept is None else len(self.kept)

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.fields.columns

    def load(self) -> ArrowBlock:
        """Return the block with its rows."""
        if self.table is not None:
            return self
        table = self.piece.read(self.fields.names)
        return replace(self, table=table if self.kept is None else table.take(self.kept))

    def without_missing(self) -> ArrowBlock:
        """Return the block, loaded, without the rows in which a number is missing."""
        block = self.load()
        is_gone = np.zeros(len(block), bool)
        for field in self.fields.key + self.fields.value:
            if field.kind != TEXT:
                is_gone |= block.is_missing(field)
        if not is_gone.any():
            return block
        kept = np.flatnonzero(~is_gone).astype(np.int32)
        return replace(self, table=block.table.take(kept), kept=kept)

    def is_missing(self, field: Field) -> NDArray[np.bool_]:
        """Return in which rows a number is null or NaN, or is text that says so."""
        column = self._column(field.name)
        if field.coding is not None or is_text(column.type):
            is_missing = field.coding.is_missing if field.coding else numbers.is_missing
            return np.array([is_missing(cell) for cell in self._texts(field)], bool)
        with told(self.piece.file.name):
            gone = np.array(column.is_null(nan_is_null=True), bool)
            if field.kind == VECTOR:
                lists = column.combine_chunks()
                cells = np.array(pc.is_null(lists.flatten(), nan_is_null=True), bool)
                gone[np.asarray(pc.list_parent_indices(lists))[cells]] = True
        return gone

    @cached_property
    def keys(self) -> Keys:
        """Text keys as K strings (several key columns joined by a space), or vectors (K, D)."""
        if self.columns.numeric_key:
            return self._matrix(self.fields.key)
        parts = [self._texts(field) for field in self.fields.key]
        return parts[0] if len(parts) == 1 else [" ".join(row) for row in zip(*parts, strict=True)]

    def key_bytes(self) -> KeyBytes | None:
        """Return text keys as they lie among bytes, where a column holds them so."""
        column = self._column(self.fields.key[0].name)
        if len(self.fields.key) > 1 or not types.is_string(column.type):
            return None
        texts = pa.concat_arrays(column.chunks)
        _, offsets, letters = texts.buffers()
        if letters is None:
            return None
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        places = ends.astype(np.intp)
        from qkvcli.key_bytes import KeyBytes  # which vectors need not

        return KeyBytes(letters.to_pybytes(), b"", lambda: (places[:-1], places[1:]))

    def key_texts(self, column: int) -> list[str]:
        """Return the cells of one key column."""
        return self._texts(self.fields.key[column])

    def values(self, rows: Sequence[int] | None = None) -> NDArray[np.floating]:
        """Return the numeric value columns of some rows or all, of shape (K, Dv)."""
        return self._values if rows is None else self._values[list(rows)]

    @cached_property
    def _values(self) -> NDArray[np.floating]:
        return self._matrix([field for field in self.fields.value if field.kind != TEXT])

    def labels(self, rows: Sequence[int] | None = None) -> list[Labels]:
        """Return the text value columns, of some rows or all."""
        return [
            labels_of(self._texts(field, rows)) for field in self.fields.value if field.kind == TEXT
        ]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text."""
        keys = [self._shown(field, rows) for field in self.fields.key]
        if self.fields.key[0].kind == VECTOR:
            keys = [[(str(self.start + row),) for row in rows]]
        values = [self._shown(field, rows) for field in self.fields.value]
        return [
            Record(
                tuple(cell for cells in keys for cell in cells[at]),
                tuple(cell for cells in values for cell in cells[at]),
            )
            for at in range(len(rows))
        ]

    def check(self) -> None:
        """Do nothing: numbers are finite, or are refused when they are read."""

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""
        return self.piece.where(row if self.kept is None else int(self.kept[row]))

    def _column(self, name: str) -> pa.ChunkedArray:
        """Return a column, plainly: without dictionaries and views."""
        folder = dict(self.piece.file.partition).get(name)
        if folder is not None:
            return pa.chunked_array([pa.repeat(pa.scalar(folder), len(self))])
        with told(self.piece.file.name):
            column = without_dictionary(self.table[name])
            if types.is_timestamp(column.type):  # of nanoseconds Python has no dates
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            return column.cast(pa.string()) if column.type == pa.string_view() else column

    def _texts(self, field: Field, rows: Sequence[int] | None = None) -> list[str]:
        column = self._column(field.name)
        if rows is not None:
            column = column.take(pa.array(rows, pa.int64()))
        with told(self.piece.file.name):
            if is_text(column.type):
                found: list[str] = column.fill_null("").to_numpy(zero_copy_only=False).tolist()
                return found
            cells = column.to_pylist()
        return ["" if cell is None else _number_text(cell, column.type) for cell in cells]

    def _shown(self, field: Field, rows: Sequence[int]) -> list[tuple[str, ...]]:
        if field.kind != VECTOR:
            return [(text,) for text in self._texts(field, rows)]
        column = self._column(field.name).take(pa.array(rows, pa.int64()))
        with told(self.piece.file.name):
            cells: list[Any] = column.to_pylist()
        if None in cells:
            self._refuse(field, rows[cells.index(None)], "null")
        return [tuple(_number_text(x, column.type.value_type) for x in row) for row in cells]

    def _matrix(self, wanted: Sequence[Field]) -> NDArray[np.floating]:
        parts = [self._numbers(field) for field in wanted]
        if not parts:
            return np.empty((len(self), 0))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _numbers(self, field: Field) -> NDArray[np.floating]:
        """Return a column as finite numbers of shape (K, width)."""
        if field.coding is not None:
            cells = self._texts(field)
            return np.array(coded(field.coding, cells, self.where), np.float64).reshape(-1, 1)
        column = self._column(field.name)
        if is_text(column.type):  # which is read by the grammar of tables
            cells = self._texts(field)
            odd = numbers.first_mismatch(cells, numbers.NUMBER)
            if odd is not None:
                refuse_number(cells[odd], self.where(odd), field.role)
            return np.array(cells, np.float64).reshape(-1, 1)
        if column.null_count:
            self._refuse(field, pc.index(column.is_null(), value=True).as_py(), "null")
        code = _first_code(column) if field.is_plain and _may_be_codes(column.type) else None
        if code is not None:
            refuse_number(str(column[code].as_py()), self.where(code), field.role)
        with told(self.piece.file.name):
            if field.kind == VECTOR:
                flat = self._flat(field, column)
            else:
                flat = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        found = np.asarray(flat, _working(field, column.type)).reshape(len(self), field.width)
        if not np.isfinite(found).all():
            row, at = np.argwhere(~np.isfinite(found))[0]
            self._refuse(field, int(row), str(found[row, at]))
        return found

    def _flat(self, field: Field, column: pa.ChunkedArray) -> NDArray[np.generic]:
        """Return the numbers of a column of vectors, which must all be of one width."""
        lists = column.combine_chunks()
        lengths = pc.list_value_length(lists)
        odd = pc.index(pc.not_equal(lengths, field.width), value=True).as_py()
        if odd >= 0:
            raise InputError(
                f"{lengths[odd]} numbers in the column {field.name!r}, and {field.width} before"
                "; vectors are of one width",
                self.where(odd),
            )
        flat = lists.flatten()
        if flat.null_count:
            at = pc.index(flat.is_null(), value=True).as_py()
            self._refuse(field, at // field.width, "null")
        found: NDArray[np.generic] = flat.to_numpy(zero_copy_only=False)
        return found

    def _refuse(self, field: Field, row: int, found: str) -> NoReturn:
        message = f"{found} in the column {field.name!r}, whose {field.role}s are numbers"
        way_out = "mend it"
        if numbers.is_missing(found):
            way_out = "pass `missing='skip'` to leave such rows out"
        raise InputError(f"{message}; {way_out}", self.where(row))


def _number_text(cell: object, kind: pa.DataType) -> str:
    """Return a number as text, by the precision of its type; True is 1."""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float):
        return number_text(float(cell) if kind != pa.float32() else np.float32(cell))  # type: ignore[arg-type]
    return str(cell)
