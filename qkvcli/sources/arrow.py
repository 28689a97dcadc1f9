"""Parquet and Arrow files: a block is a row group or a record batch, of the needed columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from qkvcli.blocks import (
    Categories,
    Columns,
    Outline,
    Record,
    casefold_all,
    categories,
    number_text,
)
from qkvcli.errors import InputError, UsageError
from qkvcli.sources import NUMBER, TEXT, numbers
from qkvcli.sources.arrays import WHOLE_CAP
from qkvcli.sources.columnar import File, files, told
from qkvcli.sources.table import TableOptions, find_column, refuse_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Keys

VECTOR = "vector"
FOLDER = "folder"
"""The type of a column that is spelled by the names of folders, as ``year=2024``."""


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
    """

    name: str
    role: str
    kind: str
    width: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """What output calls it, or the numbers of a vector."""
        if self.kind != VECTOR:
            return (self.name,)
        return tuple(f"{self.name}[{i + 1}]" for i in range(self.width))


@dataclass(frozen=True)
class Fields:
    """The columns that are read of every file."""

    key: tuple[Field, ...]
    value: tuple[Field, ...]
    dtype: np.dtype[np.floating]

    @cached_property
    def columns(self) -> Columns:
        """What the rows are made of."""
        names: list[str] = []
        pooled: list[int] = []
        for field in self.value:
            if field.kind != TEXT:
                pooled += range(len(names), len(names) + field.width)
            names += field.names
        keys = tuple(field.name for field in self.key)
        numeric = all(field.kind != TEXT for field in self.key)
        return Columns(("row",) if self.is_vector else keys, tuple(names), numeric, tuple(pooled))

    @property
    def is_vector(self) -> bool:
        """Whether keys are vectors in one column, and not numbers in several."""
        return self.key[0].kind == VECTOR

    @property
    def all(self) -> tuple[Field, ...]:
        """Keys and values."""
        return self.key + self.value


@dataclass(frozen=True)
class Piece:
    """A row group or a record batch: where it lies.

    Parameters
    ----------
    file
        Its file.
    index
        Which of the file's row groups or batches.
    rows, before
        How many rows it has, and how many of the file come before them.
    """

    file: File
    index: int
    rows: int
    before: int

    def where(self, row: int) -> str:
        """Return the place of one of its rows, as errors name it."""
        return f"{self.file.name}: row {self.before + row}"

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read some columns.

        Raises
        ------
        InputError
            The file cannot be read, or not there; or is damaged, or unpacks to over the cap.
        """
        inside = [name for name in dict.fromkeys(names) if name not in dict(self.file.partition)]
        with told(self.file.name), self.file.open() as stream:
            if self.file.form == "parquet":
                found = self._row_group(pq.ParquetFile(stream), inside)
            else:
                found = _batch(_opened(stream, inside), self.index)
            if len(found) != self.rows:
                message = "is not as it was when it was opened; was it rewritten meanwhile?"
                raise InputError(message, self.file.name)
            return found

    def _row_group(self, file: pq.ParquetFile, names: list[str]) -> pa.Table:
        group = file.metadata.row_group(self.index)
        if group.total_byte_size > WHOLE_CAP:
            chunks = (group.column(i) for i in range(group.num_columns))
            size = sum(
                c.total_uncompressed_size
                for c in chunks
                if c.path_in_schema.partition(".")[0] in names
            )
            if size > WHOLE_CAP:
                message = (
                    f"row group {self.index} unpacks to {size >> 20} MiB, over the cap of "
                    f"{WHOLE_CAP >> 20} MiB; write it in smaller row groups"
                )
                raise InputError(message, self.file.name)
        return file.read_row_group(self.index, columns=names, use_threads=False)


def _opened(stream: pa.NativeFile, names: Sequence[str] = ()) -> pa.RecordBatchFileReader:
    """Open an Arrow file, for all columns or for some."""
    reader = pa.ipc.open_file(stream)
    if not names:
        return reader
    wanted = sorted(reader.schema.get_field_index(name) for name in names)
    stream.seek(0)
    return pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=wanted))


def _batch(reader: pa.RecordBatchFileReader, index: int) -> pa.Table:
    return pa.Table.from_batches([reader.get_batch(index)])


@dataclass(frozen=True)
class ArrowBlock:
    """A row group or a record batch: a reference until it is loaded, and small enough to travel."""

    start: int
    fields: Fields
    piece: Piece
    table: pa.Table | None = None

    def __getstate__(self) -> dict[str, object]:
        """Leave the rows behind; ``load`` reads them again."""
        return {"start": self.start, "fields": self.fields, "piece": self.piece, "table": None}

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.piece.rows

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.fields.columns

    def load(self) -> ArrowBlock:
        """Return the block with its rows."""
        if self.table is not None:
            return self
        return replace(self, table=self.piece.read([field.name for field in self.fields.all]))

    @cached_property
    def keys(self) -> Keys:
        """Text keys as K strings (several key columns joined by a space), or vectors (K, D)."""
        if self.columns.numeric_key:
            return self._matrix(self.fields.key)
        parts = [self._texts(field) for field in self.fields.key]
        return parts[0] if len(parts) == 1 else [" ".join(row) for row in zip(*parts, strict=True)]

    @property
    def folded(self) -> list[str]:
        """The text keys, case-folded."""
        keys = self.keys
        return casefold_all(keys) if isinstance(keys, list) else []

    def may_hold(self, keys: Iterable[str]) -> bool:
        """Return False where none of these texts is a key, found without making strings."""
        column = self._column(self.fields.key[0].name)
        if len(self.fields.key) > 1 or not types.is_string(column.type):
            return True
        wanted = pa.array(list(keys), pa.string())
        return "" in wanted.to_pylist() or bool(pc.any(pc.is_in(column, wanted)).as_py())

    def outline(self) -> Outline | None:
        """Return how long text keys are and where their letters lie."""
        column = self._column(self.fields.key[0].name)
        if len(self.fields.key) > 1 or not types.is_string(column.type):
            return None
        texts = pa.concat_arrays(column.chunks)
        _, offsets, letters = texts.buffers()
        if letters is None:
            return None
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        places = ends.astype(np.intp)
        return Outline.of(letters.to_pybytes(), places[:-1], places[1:])

    @cached_property
    def numbers(self) -> NDArray[np.floating]:
        """The numeric value columns, of shape (K, Dv)."""
        return self._matrix([field for field in self.fields.value if field.kind != TEXT])

    def pick_numbers(self, rows: Sequence[int]) -> NDArray[np.floating]:
        """Return some rows of ``numbers``."""
        return self.numbers[list(rows)]

    def categories(self, rows: Sequence[int] | None = None) -> list[Categories]:
        """Return the text value columns, of some rows or all."""
        return [
            categories(self._texts(field, rows))
            for field in self.fields.value
            if field.kind == TEXT
        ]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text."""
        keys = [self._shown(field, rows) for field in self.fields.key]
        if self.fields.is_vector:
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

    def _column(self, name: str) -> pa.ChunkedArray:
        """Return a column, plainly: without dictionaries and views."""
        folder = dict(self.piece.file.partition).get(name)
        if folder is not None:
            return pa.chunked_array([pa.repeat(pa.scalar(folder), len(self))])
        if self.table is None:
            raise AssertionError(name)
        with told(self.piece.file.name):
            column = self.table[name]
            if types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            return column.cast(pa.string()) if column.type == pa.string_view() else column

    def _texts(self, field: Field, rows: Sequence[int] | None = None) -> list[str]:
        column = self._column(field.name)
        if rows is not None:
            column = column.take(pa.array(rows, pa.int64()))
        if not _is_text(column.type):
            return [
                "" if cell is None else _number_text(cell, column.type) for cell in _cells(column)
            ]
        with told(self.piece.file.name):
            found: list[str] = column.fill_null("").to_numpy(zero_copy_only=False).tolist()
            return found

    def _shown(self, field: Field, rows: Sequence[int]) -> list[tuple[str, ...]]:
        if field.kind != VECTOR:
            return [(text,) for text in self._texts(field, rows)]
        column = self._column(field.name).take(pa.array(rows, pa.int64()))
        return [
            tuple(_number_text(x, column.type.value_type) for x in row) for row in _cells(column)
        ]

    def _matrix(self, wanted: Sequence[Field]) -> NDArray[np.floating]:
        parts = [self._numbers(field) for field in wanted]
        if not parts:
            return np.empty((len(self), 0))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _numbers(self, field: Field) -> NDArray[np.floating]:
        """Return a column as finite numbers of shape (K, width)."""
        column = self._column(field.name)
        if _is_text(column.type):
            return self._parsed(field)
        if column.null_count:
            self._refuse(field, pc.index(column.is_null(), value=True).as_py(), "null")
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
            message = (
                f"{lengths[odd]} numbers in the column {field.name!r}, and {field.width} before"
            )
            raise InputError(f"{message}; vectors are of one width", self.piece.where(odd))
        flat = lists.flatten()
        if flat.null_count:
            at = pc.index(flat.is_null(), value=True).as_py()
            self._refuse(field, at // field.width, "null")
        found: NDArray[np.generic] = flat.to_numpy(zero_copy_only=False)
        return found

    def _parsed(self, field: Field) -> NDArray[np.float64]:
        """Read text as numbers, by the grammar of tables."""
        cells = self._texts(field)
        odd = numbers.first_mismatch(cells, numbers.NUMBER)
        if odd is not None:
            refuse_number(cells[odd], self.piece.where(odd), field.role)
        return np.array(cells, np.float64).reshape(-1, 1)

    def _refuse(self, field: Field, row: int, found: str) -> NoReturn:
        message = f"{found} in the column {field.name!r}, whose {field.role}s are numbers"
        raise InputError(f"{message}; mend it, or leave the row out", self.piece.where(row))


def _cells(column: pa.ChunkedArray) -> list[Any]:
    found: list[Any] = column.to_pylist()
    return found


def _number_text(cell: object, kind: pa.DataType) -> str:
    """Return a number as text, by the precision of its type; True is 1."""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float):
        return number_text(float(cell) if kind != pa.float32() else np.float32(cell))  # type: ignore[arg-type]
    return str(cell)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _kind(kind: pa.DataType) -> str | None:
    """Return what a type is to the fold, or None for what it cannot take."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    if _is_text(kind) or kind == pa.string_view():
        return TEXT
    if _is_number(kind):
        return NUMBER
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return VECTOR if _is_number(kind.value_type) else None
    return None


def _is_number(kind: pa.DataType) -> bool:
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(kind) for test in tests)


def _working(field: Field, kind: pa.DataType) -> np.dtype[np.floating]:
    """Return float32 for vectors of float16 and float32, float64 for everything else."""
    narrow = field.kind == VECTOR and kind.value_type in (pa.float16(), pa.float32())
    return np.dtype(np.float32 if narrow else np.float64)


class ArrowSource:
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

    def __init__(self, path: str, options: TableOptions) -> None:
        self.name = path
        form = options.format if options.format in ("parquet", "arrow") else None
        self._files = files(path, form)
        self._options = options
        first = self._files[0]
        self._schema = self._schema_of(first)
        names = self._names_of(first, self._schema)
        key = [names[find_column(c, names, "--key", path)] for c in options.key] or names[:1]
        value = [names[find_column(c, names, "--value", path)] for c in options.value]
        value = value or [name for name in names if name not in key] or key
        self._folders = self._kinds_of_folders()
        piece = next(self._pieces(), None)
        if piece is None:
            raise InputError("has no rows", path)
        keys = tuple(self._field(name, "key", piece[0]) for name in key)
        values = tuple(self._field(name, "value", piece[0]) for name in value)
        if len(keys) > 1 and any(field.kind == VECTOR for field in keys):
            message = f"a column of vectors is a key of its own; pass one --key of {', '.join(key)}"
            raise UsageError(f"{path}: {message}")
        dtype: np.dtype[np.floating] = np.dtype(np.float64)
        if keys[0].kind == VECTOR:
            dtype = _working(keys[0], self._schema.field(keys[0].name).type)
        self.fields = Fields(keys, values, dtype)
        self.columns = self.fields.columns

    @property
    def rows(self) -> int:
        """The number of rows of all files, K."""
        return sum(piece.rows for piece, _ in self._pieces())

    @property
    def depth(self) -> int:
        """D, the width of a vector key; 0 where keys are in columns."""
        return self.fields.key[0].width if self.fields.is_vector else 0

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """What queries of vector keys are, as the keys."""
        return self.fields.dtype

    def blocks(self) -> Iterator[ArrowBlock]:
        """Yield the blocks; what had to be read of an Arrow file to count its rows comes along."""
        start = 0
        for piece, table in self._pieces(self.fields):
            yield ArrowBlock(start, self.fields, piece, table)
            start += piece.rows

    def _pieces(self, fields: Fields | None = None) -> Iterator[tuple[Piece, pa.Table | None]]:
        """Look at one file after another; the columns must be those of the first."""
        for file in self._files:
            if fields is not None and file is not self._files[0]:
                self._check_alike(file, fields)
            if file.form == "parquet":
                yield from self._row_groups(file)
            else:
                yield from self._batches(file, fields)

    def _row_groups(self, file: File) -> Iterator[tuple[Piece, None]]:
        with told(file.name), file.open() as stream:
            metadata = pq.ParquetFile(stream).metadata
            counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        before = 0
        for index, rows in enumerate(counts):
            if rows:
                yield Piece(file, index, rows, before), None
            before += rows

    def _batches(self, file: File, fields: Fields | None) -> Iterator[tuple[Piece, pa.Table]]:
        names = self._schema.names[:1] if fields is None else [f.name for f in fields.all]
        folders = dict(file.partition)
        inside = [name for name in dict.fromkeys(names) if name not in folders]
        with told(file.name), file.open() as stream:
            reader = _opened(stream, inside)
            before = 0
            for index in range(reader.num_record_batches):
                table = _batch(reader, index)
                if len(table):
                    yield Piece(file, index, len(table), before), table
                before += len(table)

    def _schema_of(self, file: File) -> pa.Schema:
        with told(file.name), file.open() as stream:
            if file.form == "parquet":
                return pq.ParquetFile(stream).schema_arrow
            return _opened(stream).schema

    def _names_of(self, file: File, schema: pa.Schema) -> list[str]:
        names = [*schema.names, *(name for name, _ in file.partition if name not in schema.names)]
        double = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if double is not None:
            raise InputError(f"two columns are named {double!r}; rename one", file.name)
        return names

    def _kinds_of_folders(self) -> dict[str, str]:
        """Folders' names are numbers where all of them are plain numbers, else text."""
        spelled: dict[str, list[str]] = {}
        for file in self._files:
            for name, value in file.partition:
                spelled.setdefault(name, []).append(value)
        return {
            name: NUMBER if numbers.first_mismatch(values, numbers.PLAIN) is None else TEXT
            for name, values in spelled.items()
        }

    def _field(self, name: str, role: str, piece: Piece) -> Field:
        options = self._options
        wanted = options.key_type if role == "key" else options.value_type
        if name in self._folders:
            return Field(name, role, wanted or self._folders[name])
        kind = self._kind_of(piece.file, self._schema, name)
        if kind != VECTOR:
            return Field(name, role, wanted or kind)
        if wanted is not None:
            message = f"--{role}-type {wanted}: the column {name!r} of {self.name} is of vectors"
            raise UsageError(message)
        return Field(name, role, kind, self._width(name, piece))

    def _kind_of(self, file: File, schema: pa.Schema, name: str) -> str:
        found = schema.field(name).type
        kind = _kind(found)
        if kind is None:
            message = f"the column {name!r} is of type {found}, which is neither numbers nor text"
            way_out = "cast it, or choose others with --key and --value"
            raise InputError(f"{message}; {way_out}", file.name)
        return kind

    def _width(self, name: str, piece: Piece) -> int:
        found = self._schema.field(name).type
        if types.is_fixed_size_list(found):
            width = int(found.list_size)
        else:
            first = piece.read([name])[name][0]
            width = 0 if not first.is_valid else len(first)
        if not width:
            message = f"the first vector of the column {name!r} is empty"
            raise InputError(message, piece.where(0))
        return width

    def _check_alike(self, file: File, fields: Fields) -> None:
        """Refuse a file that lacks a column of the first one, or has it of another kind."""
        schema, first = self._schema_of(file), self._files[0]
        folders = dict(file.partition)
        for name in (field.name for field in fields.all):
            if (name in folders) != (name in dict(first.partition)) or (
                name not in folders and name not in schema.names
            ):
                message = f"has no column {name!r}, and {first.name} has it"
                raise InputError(f"{message}; files of one table have the same", file.name)
            if name in folders:
                continue
            mine, other = self._schema.field(name).type, schema.field(name).type
            if self._kind_of(file, schema, name) != _kind(mine):
                message = f"the column {name!r} is of type {other}, and in {first.name} of {mine}"
                raise InputError(f"{message}; files of one table have the same", file.name)
