"""Parquet and Arrow files: a block is rows of a row group or a record batch, as needed."""

from __future__ import annotations

import struct
import threading
from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

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

_ROWS = 1 << 18
_BYTES = 1 << 26
"""How many rows of a row group, and bytes of one column of them, are a block at most."""
_BUFFER = 1 << 20
"""How much of a file is read at a time."""
_NUMBER = 8
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
    is_plain
        Whether a whole number of more than 15 digits is an error, since it may be a code.
    """

    name: str
    role: str
    kind: str
    width: int = 1
    is_plain: bool = False

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
    """Some rows of a row group, or a record batch: where they lie.

    Parameters
    ----------
    file
        Its file.
    index
        Which of the file's row groups or batches.
    rows, before
        How many rows it has, and how many of the file come before them.
    number, step
        Which piece of its row group it is, and how many rows such pieces have; but for the last.
    """

    file: File
    index: int
    rows: int
    before: int
    number: int = 0
    step: int = 0

    def where(self, row: int) -> str:
        """Return the place of one of its rows, as errors name it."""
        return f"{self.file.name}: row {self.before + row}"

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read some columns.

        Raises
        ------
        InputError
            The file cannot be read, or not there; or is damaged.
        """
        inside = [name for name in dict.fromkeys(names) if name not in dict(self.file.partition)]
        with told(self.file.name):
            if self.file.form == "parquet":
                found = self._part_of_group(inside)
            else:
                with self.file.open() as stream:
                    found = _batch(_opened(stream, inside), self.index)
            if len(found) != self.rows:
                message = "is not as it was when it was opened; was it rewritten meanwhile?"
                raise InputError(message, self.file.name)
            return found

    def _part_of_group(self, names: list[str]) -> pa.Table:
        """Read on from where this thread stopped, if that was earlier in the same row group."""
        if not names:  # of columns that folders spell there are only rows
            return pa.table({"": pa.nulls(self.rows)})
        of = (self.file, self.index, self.step, *names)
        group, _stopped.at = getattr(_stopped, "at", None), None
        if group is None or group.of != of or group.next > self.number:
            group = _Group(of, 0, self._parts(names))
        last = deque(islice(group.parts, self.number + 1 - group.next), maxlen=1)
        if not last:
            return pa.table({})
        if self.rows == self.step:
            _stopped.at = _Group(of, self.number + 1, group.parts)
        return _checked(last[0])

    def _parts(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        with self.file.open() as stream:
            file = pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
            yield from file.iter_batches(self.step, [self.index], names, use_threads=False)


class _Group(NamedTuple):
    """A row group that is being read: of what file and columns, and what comes next."""

    of: tuple[object, ...]
    next: int
    parts: Iterator[pa.RecordBatch]


_stopped = threading.local()


def _step(file: File, parquet: pq.ParquetFile, index: int, fields: Fields) -> int:
    """Return how many rows of a row group are a block, by what they unpack to.

    Runs and dictionaries make a row group of any size of next to no bytes, so what it takes on
    disk says nothing. What a row takes at most is the longest entry of a dictionary, or as much as
    is stored for it; or so many numbers.
    """
    schema = parquet.schema_arrow
    wide = [f for f in fields.all if f.name in schema.names and _is_wide(schema.field(f.name).type)]
    if not wide:
        return _ROWS
    head = _first_row(
        file, index, [f.name for f in wide], {f.name for f in wide if f.kind != VECTOR}
    )
    # Only now: where a chunk is not well described, pyarrow aborts on being asked of it, but
    # raises on reading it.
    group = parquet.metadata.row_group(index)
    step = _ROWS
    for field in wide:
        at = next(i for i, column in enumerate(parquet.schema) if _is_of(column.path, field.name))
        chunk = group.column(at)
        if field.kind == VECTOR:
            if chunk.num_values * _NUMBER > WHOLE_CAP:
                message = (
                    f"row group {index} holds {chunk.num_values} numbers in the column "
                    f"{field.name!r}, over the cap of {WHOLE_CAP // _NUMBER}"
                )
                raise InputError(f"{message}; write it in smaller row groups", file.name)
            step = min(step, _BYTES // _NUMBER * group.num_rows // max(1, chunk.num_values))
        else:
            step = min(step, _BYTES * group.num_rows // max(1, chunk.total_uncompressed_size))
            step = min(step, _BYTES // _longest(head[field.name]))
    return max(1, step)


def _is_wide(kind: pa.DataType) -> bool:
    """Whether a cell may be of any length."""
    return _kind(kind) in (VECTOR, TEXT)


def _is_of(path: str, name: str) -> bool:
    """Whether a path of Parquet's schema is a column, or what a list in it is made of."""
    return path == name or path.startswith(f"{name}.")


def _first_row(file: File, index: int, names: list[str], texts: set[str]) -> pa.RecordBatch:
    """Return the first row of a row group, and with it the dictionaries that all rows share."""
    with file.open() as stream:
        parquet = pq.ParquetFile(
            stream, read_dictionary=sorted(texts), buffer_size=_BUFFER, pre_buffer=False
        )
        wanted = list(dict.fromkeys(names))
        head = next(parquet.iter_batches(1, [index], wanted, use_threads=False), None)
    if head is None:
        message = f"cannot be read: row group {index} lacks the rows that it claims"
        raise InputError(message, file.name)
    return head


def _longest(column: pa.Array) -> int:
    """Return how long the longest entry of a column's dictionary is, if it has one."""
    if not types.is_dictionary(column.type):
        return 1
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 1


def _checked(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch as a table whose offsets and texts have been looked at.

    A file may say anything of them, and what reads them in C++ believes it.
    """
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


def _opened(stream: pa.NativeFile, names: Sequence[str] = ()) -> pa.RecordBatchFileReader:
    """Open an Arrow file, for all columns or for some."""
    reader = pa.ipc.open_file(stream)
    if not names:
        return reader
    wanted = sorted(reader.schema.get_field_index(name) for name in names)
    stream.seek(0)
    return pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=wanted))


class _Flat:
    """A table of a flatbuffer, as Arrow's own descriptions are written; its offsets may lie."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at + self._number("<I", at, data)

    def table(self, field: int) -> _Flat:
        """Return the table in a field."""
        return _Flat(self._data, self._slot(field))

    def vector(self, field: int, form: str) -> list[tuple[int, ...]]:
        """Return the structs of numbers in a field, or nothing where there is none."""
        if not self.has(field):
            return []
        start = self._slot(field)
        start += self._number("<I", start)
        length = self._number("<I", start) * struct.calcsize(form)
        return list(struct.iter_unpack(form, self._data[start + 4 : start + 4 + length]))

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return self._slot(field) != self._at

    def _slot(self, field: int) -> int:
        shape, place = self._at - self._number("<i", self._at), 4 + 2 * field
        is_there = place < self._number("<H", shape)
        return self._at + (self._number("<H", shape + place) if is_there else 0)

    def _number(self, form: str, at: int, data: bytes | None = None) -> int:
        found: int = struct.unpack_from(form, self._data if data is None else data, at)[0]
        return found


_DICTIONARIES, _BATCHES, _HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 3, 2, 1, 2, 3
"""Fields of Arrow's footer, message, dictionary batch and record batch, from its Message.fbs."""


def _check_sizes(stream: pa.NativeFile, name: str) -> None:
    """Refuse a batch that lies outside of its file, or that is compressed and over the cap.

    pyarrow makes room for as much as a file says before it looks whether that is there.

    Raises
    ------
    InputError
        With the batch.
    """
    size = stream.size()
    try:
        (length,) = struct.unpack("<i", stream.read_at(4, size - 10))
        footer = _Flat(stream.read_at(min(max(length, 0), size), max(0, size - 10 - length)))
        for kind, field in (("dictionary", _DICTIONARIES), ("batch", _BATCHES)):
            for index, (start, head, body) in enumerate(footer.vector(field, "<qi4xq")):
                if min(start, head, body) < 0 or start + head + body > size:
                    message = f"cannot be read: {kind} {index} lies outside of the file"
                    raise InputError(message, name)
                unpacked = _unpacked(stream, start, head, is_batch=field == _BATCHES)
                if unpacked > WHOLE_CAP:
                    message = f"{kind} {index} unpacks to {unpacked >> 20} MiB, over the cap of "
                    message += f"{WHOLE_CAP >> 20} MiB; write it in smaller batches"
                    raise InputError(message, name)
    except struct.error:
        raise InputError("cannot be read: its footer is damaged", name) from None


def _unpacked(stream: pa.NativeFile, start: int, head: int, *, is_batch: bool) -> int:
    """Return what a batch says it unpacks to; 0 where it is not compressed."""
    message = stream.read_at(head, start)
    batch = _Flat(message, 8 if message.startswith(b"\xff" * 4) else 4).table(_HEADER)
    batch = batch if is_batch else batch.table(_DATA)
    if not batch.has(_COMPRESSION):
        return 0
    total = 0
    for at, length in batch.vector(_BUFFERS, "<qq"):
        if length > 0:
            (said,) = struct.unpack("<q", stream.read_at(8, start + head + max(0, at)))
            total += max(said, 0)  # -1 where compression did not pay
    return total


def _batch(reader: pa.RecordBatchFileReader, index: int) -> pa.Table:
    return _checked(reader.get_batch(index))


@dataclass(frozen=True)
class ArrowBlock:
    """Rows of a file: a reference until it is loaded, and small enough to travel."""

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
        code = _first_code(column) if field.is_plain and _may_be_codes(column.type) else None
        if code is not None:
            refuse_number(str(column[code].as_py()), self.piece.where(code), field.role)
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


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if types.is_dictionary(kind) else kind


def _kind(kind: pa.DataType) -> str | None:
    """Return what a type is to the fold, or None for what it cannot take."""
    kind = _plain(kind)
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


def _may_be_codes(kind: pa.DataType) -> bool:
    """Whether a type has whole numbers of more digits than a double tells apart."""
    kind = _plain(kind)
    if types.is_decimal(kind):
        return bool(kind.scale <= 0)
    return bool(types.is_integer(kind) and kind.bit_width > 32)  # noqa: PLR2004 - as NumPy counts


def _first_code(column: pa.ChunkedArray) -> int | None:
    """Return the first row with a whole number of more than 15 digits."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    least = int(numbers.LARGEST)
    extremes = pc.min_max(column).as_py()
    if extremes["min"] is None or -least < extremes["min"] <= extremes["max"] < least:
        return None
    cells = enumerate(column.to_pylist())
    return next((row for row, cell in cells if cell is not None and abs(cell) >= least), None)


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
                yield from self._row_groups(file, fields)
            else:
                yield from self._batches(file, fields)

    def _row_groups(self, file: File, fields: Fields | None) -> Iterator[tuple[Piece, None]]:
        with told(file.name), file.open() as stream:
            parquet = pq.ParquetFile(stream)
            metadata = parquet.metadata
            groups = range(metadata.num_row_groups)
            counts = [max(0, metadata.row_group(i).num_rows) for i in groups]
            steps = counts
            if fields is not None:
                steps = [_step(file, parquet, i, fields) if n else 0 for i, n in enumerate(counts)]
        before = 0
        for index, (rows, step) in enumerate(zip(counts, steps, strict=True)):
            for number, start in enumerate(range(0, rows, step or 1)):
                yield (
                    Piece(file, index, min(step, rows - start), before + start, number, step),
                    None,
                )
            before += rows

    def _batches(self, file: File, fields: Fields | None) -> Iterator[tuple[Piece, pa.Table]]:
        names = self._schema.names[:1] if fields is None else [f.name for f in fields.all]
        folders = dict(file.partition)
        inside = [name for name in dict.fromkeys(names) if name not in folders]
        with told(file.name), file.open() as stream:
            if not file.url:  # in an object store every look is a request
                _check_sizes(stream, file.name)
            reader = _opened(stream, inside)
            before = 0
            for index in range(reader.num_record_batches):
                table = _batch(reader, index)
                if len(table):
                    yield Piece(file, index, len(table), before), table
                before += len(table)

    def _schema_of(self, file: File) -> pa.Schema:
        with told(file.name), file.open() as stream:
            is_parquet = file.form == "parquet"
            schema = pq.ParquetFile(stream).schema_arrow if is_parquet else _opened(stream).schema
            _ = schema.names  # which may not be UTF-8
            return schema

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
        if kind == NUMBER and role == "key" and wanted is None and self._are_codes(name, piece):
            kind = TEXT
        if kind != VECTOR:
            return Field(name, role, wanted or kind, is_plain=role == "key" and wanted is None)
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

    def _are_codes(self, name: str, piece: Piece) -> bool:
        """Whether the first rows have whole numbers that are as often codes, as in tables."""
        if not _may_be_codes(self._schema.field(name).type):
            return False
        head = replace(piece, rows=min(piece.rows, _ROWS), step=min(piece.step, _ROWS))
        return _first_code(head.read([name])[name]) is not None

    def _width(self, name: str, piece: Piece) -> int:
        found = self._schema.field(name).type
        if types.is_fixed_size_list(found):
            width = int(found.list_size)
        else:
            one = replace(piece, rows=1, step=1) if piece.step else piece
            first = one.read([name])[name][0]
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
