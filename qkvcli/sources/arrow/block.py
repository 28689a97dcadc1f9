"""A block of a columnar file, as the fold takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from qkvcli.blocks import Record, labels_of, number_text
from qkvcli.errors import InputError
from qkvcli.key_bytes import KeyBytes
from qkvcli.sources import numbers
from qkvcli.sources.arrow.fields import VECTOR, first_code, is_text, may_be_codes, working
from qkvcli.sources.arrow.files import told
from qkvcli.sources.formats import TEXT
from qkvcli.sources.table import coded, refuse_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Columns, Keys, Labels
    from qkvcli.sources.arrow.fields import Field, Fields
    from qkvcli.sources.arrow.pieces import Piece


@dataclass(frozen=True)
class ArrowBlock:
    """Rows of a file: a reference until it is loaded, and small enough to travel."""

    start: int
    fields: Fields
    piece: Piece
    table: pa.Table | None = None
    kept: NDArray[np.int32] | None = None
    """Which rows of the piece these are, where some are left out."""
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
        table = self.piece.read([field.name for field in self.fields.all])
        return replace(self, table=table if self.kept is None else table.take(self.kept))

    def without_missing(self) -> ArrowBlock:
        """Return the block, loaded, without the rows in which a number is missing."""
        block = self.load()
        is_gone = np.zeros(len(block), bool)
        for field in self.fields.all:
            if field.kind != TEXT:
                is_gone |= block.is_missing(field)
        if not is_gone.any():
            return block
        kept = np.flatnonzero(~is_gone).astype(np.int32)
        return replace(self, table=block.table.take(kept) if block.table else None, kept=kept)

    def is_missing(self, field: Field) -> NDArray[np.bool_]:
        """Return in which rows a number is null or NaN, or is text that says so."""
        column = self._column(field.name)
        if field.coding is not None:
            return np.array([field.coding.is_missing(cell) for cell in self._texts(field)], bool)
        if is_text(column.type):
            return np.array([numbers.is_missing(cell) for cell in self._texts(field)], bool)
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

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""
        return self.piece.where(row if self.kept is None else int(self.kept[row]))

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
            if types.is_timestamp(column.type):  # of nanoseconds Python has no dates
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            return column.cast(pa.string()) if column.type == pa.string_view() else column

    def _texts(self, field: Field, rows: Sequence[int] | None = None) -> list[str]:
        column = self._column(field.name)
        if rows is not None:
            column = column.take(pa.array(rows, pa.int64()))
        if not is_text(column.type):
            return [
                "" if cell is None else _number_text(cell, column.type)
                for cell in self._cells(column)
            ]
        with told(self.piece.file.name):
            found: list[str] = column.fill_null("").to_numpy(zero_copy_only=False).tolist()
            return found

    def _shown(self, field: Field, rows: Sequence[int]) -> list[tuple[str, ...]]:
        if field.kind != VECTOR:
            return [(text,) for text in self._texts(field, rows)]
        column = self._column(field.name).take(pa.array(rows, pa.int64()))
        cells = self._cells(column)
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
        if is_text(column.type):
            return self._parsed(field)
        if column.null_count:
            self._refuse(field, pc.index(column.is_null(), value=True).as_py(), "null")
        code = first_code(column) if field.is_plain and may_be_codes(column.type) else None
        if code is not None:
            refuse_number(str(column[code].as_py()), self.where(code), field.role)
        with told(self.piece.file.name):
            if field.kind == VECTOR:
                flat = self._flat(field, column)
            else:
                flat = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        found = np.asarray(flat, working(field, column.type)).reshape(len(self), field.width)
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

    def _parsed(self, field: Field) -> NDArray[np.float64]:
        """Read text as numbers, by the grammar of tables."""
        cells = self._texts(field)
        odd = numbers.first_mismatch(cells, numbers.NUMBER)
        if odd is not None:
            refuse_number(cells[odd], self.where(odd), field.role)
        return np.array(cells, np.float64).reshape(-1, 1)

    def _cells(self, column: pa.ChunkedArray) -> list[Any]:
        with told(self.piece.file.name):
            found: list[Any] = column.to_pylist()
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
