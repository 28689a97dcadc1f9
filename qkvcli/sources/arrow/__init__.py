"""Parquet and Arrow files: a block is rows of a row group or a record batch, as needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from pyarrow import types

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import numbers
from qkvcli.sources.arrow.block import ArrowBlock
from qkvcli.sources.arrow.fields import (
    VECTOR,
    Field,
    Fields,
    first_code,
    kind_of,
    may_be_codes,
    working,
)
from qkvcli.sources.arrow.files import File, files_of, told
from qkvcli.sources.arrow.pieces import ROWS, Piece, batch_of, opened, step_of
from qkvcli.sources.arrow.sizes import check_sizes
from qkvcli.sources.formats import NUMBER, TEXT
from qkvcli.sources.table import (
    SKIP,
    TableOptions,
    check_coded,
    codings_of,
    find_column,
    key_columns,
    key_note,
    skipping,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from qkvcli.coded import Coding


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
        self.name = path
        form = options.format if options.format in ("parquet", "arrow") else None
        self._files = files_of(path, form)
        self._options = options
        first = self._files[0]
        self._schema = self._schema_of(first)
        names = self._names_of(first, self._schema)
        key = [names[at] for at in key_columns(options, names, path)]
        value = [names[find_column(c, names, "`value`", path)] for c in options.value]
        value = value or [name for name in names if name not in key] or key
        self._folders = self._kinds_of_folders()
        piece = next(self._pieces(), None)
        if piece is None:
            raise InputError("has no rows", path)
        codings = codings_of(options, names, [names.index(name) for name in key], path)
        keys = tuple(
            self._coded(name, codings[at], piece[0])
            if any(codings[at : at + 1])
            else self._field(name, "key", piece[0])
            for at, name in enumerate(key)
        )
        if codings:
            check_coded(key, [field.kind != TEXT for field in keys], piece[0].where(0))
        values = tuple(self._field(name, "value", piece[0]) for name in value)
        if len(keys) > 1 and any(field.kind == VECTOR for field in keys):
            message = f"a column of vectors is a key of its own; pass one `key` of {', '.join(key)}"
            raise UsageError(f"{path}: {message}")
        dtype: np.dtype[np.floating] = np.dtype(np.float64)
        if keys[0].kind == VECTOR:
            dtype = working(keys[0], self._schema.field(keys[0].name).type)
        self.fields = Fields(keys, values, dtype)
        self.columns = self.fields.columns
        self.note = key_note(names, self.columns, options, path)

    @property
    def rows(self) -> int | None:
        """The number of rows of all files, K; unknown where rows may be left out."""
        if self._options.missing == SKIP:
            return None
        return sum(piece.rows for piece, _ in self._pieces())

    @property
    def depth(self) -> int:
        """D, the width of a key; 0 for text."""
        if self.fields.is_vector:
            return self.fields.key[0].width
        return len(self.fields.key) if self.columns.numeric_key else 0

    @property
    def kind(self) -> str:
        """What keys are: text, numeric columns, or a column of vectors."""
        if self.fields.is_vector:
            return "array"
        return "table" if self.columns.numeric_key else "text"

    @property
    def key_dtype(self) -> np.dtype[np.floating]:
        """What keys are scored in."""
        return self.fields.dtype

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The wider of what keys and what values are."""
        folders = dict(self._files[0].partition)  # whose columns no file has
        kinds = [
            np.dtype(np.float64) if field.name in folders else working(field, self._type(field))
            for field in self.fields.value
            if field.kind != TEXT
        ]
        return np.result_type(self.fields.dtype, *kinds)

    def _type(self, field: Field) -> pa.DataType:
        return self._schema.field(field.name).type

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
                steps = [
                    step_of(file, parquet, i, fields) if n else 0 for i, n in enumerate(counts)
                ]
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
                check_sizes(stream, file.name)
            reader = opened(stream, inside)
            before = 0
            for index in range(reader.num_record_batches):
                table = batch_of(reader, index)
                if len(table):
                    yield Piece(file, index, len(table), before), table
                before += len(table)

    def _schema_of(self, file: File) -> pa.Schema:
        with told(file.name), file.open() as stream:
            is_parquet = file.form == "parquet"
            schema = pq.ParquetFile(stream).schema_arrow if is_parquet else opened(stream).schema
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
        if kind == NUMBER and wanted is None and self._are_codes(name, piece):
            kind = TEXT
        if kind != VECTOR:
            return Field(name, role, wanted or kind, is_plain=wanted is None)
        if wanted is not None:
            raise UsageError(
                f"`{role}_type={wanted!r}`: the column {name!r} of {self.name} is of vectors"
            )
        return Field(name, role, kind, self._width(name, piece))

    def _coded(self, name: str, coding: Coding | None, piece: Piece) -> Field:
        """Return a key column of dates or categories, whatever it is stored as."""
        if name not in self._folders and not types.is_temporal(self._schema.field(name).type):
            kind = self._kind_of(piece.file, self._schema, name)
            if kind == VECTOR:
                raise UsageError(
                    f"the column {name!r} of {self.name} is of vectors, and no `date` or "
                    "`categorical` is"
                )
        return Field(name, "key", NUMBER, coding=coding)

    def _kind_of(self, file: File, schema: pa.Schema, name: str) -> str:
        found = schema.field(name).type
        kind = kind_of(found)
        if kind is None:
            message = f"the column {name!r} is of type {found}, which is neither numbers nor text"
            way_out = "cast it, or choose others with `key` and `value`"
            if types.is_date(found) or types.is_timestamp(found):
                way_out = f"as a key pass `date={name!r}`; else {way_out}"
            raise InputError(f"{message}; {way_out}", file.name)
        return kind

    def _are_codes(self, name: str, piece: Piece) -> bool:
        """Whether the first rows have whole numbers that are as often codes, as in tables."""
        if not may_be_codes(self._schema.field(name).type):
            return False
        head = replace(piece, rows=min(piece.rows, ROWS), step=min(piece.step, ROWS))
        return first_code(head.read([name])[name]) is not None

    def _width(self, name: str, piece: Piece) -> int:
        found = self._schema.field(name).type
        if types.is_fixed_size_list(found):
            width = int(found.list_size)
        else:
            is_skipped = self._options.missing == SKIP
            one = replace(piece, rows=1, step=1) if piece.step and not is_skipped else piece
            cells = one.read([name])[name]
            first = (cells.drop_null() if is_skipped else cells)[:1]
            width = len(first[0]) if first and first[0].is_valid else 0
        if not width:
            what = "empty" if first and first[0].is_valid else "null; pass `missing='skip'`"
            raise InputError(f"the first vector of the column {name!r} is {what}", piece.where(0))
        return width

    def _check_alike(self, file: File, fields: Fields) -> None:
        """Refuse a file that lacks a column of the first one, or has it of another kind."""
        schema, first = self._schema_of(file), self._files[0]
        folders = dict(file.partition)
        for name in (field.name for field in fields.all):
            if (name in folders) != (name in dict(first.partition)) or (
                name not in folders and name not in schema.names
            ):
                raise InputError(
                    f"has no column {name!r}, and {first.name} has it"
                    "; files of one table have the same",
                    file.name,
                )
            if name in folders:
                continue
            mine, other = self._schema.field(name).type, schema.field(name).type
            if types.is_temporal(mine) and types.is_temporal(other):
                continue
            if self._kind_of(file, schema, name) != kind_of(mine):
                raise InputError(
                    f"the column {name!r} is of type {other}, and in {first.name} of {mine}"
                    "; files of one table have the same",
                    file.name,
                )
