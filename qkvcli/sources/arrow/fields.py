"""Columns of columnar files: what their types are to the fold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from qkvcli.blocks import Columns
from qkvcli.sources import numbers
from qkvcli.sources.formats import NUMBER, TEXT

if TYPE_CHECKING:
    from qkvcli.coded import Coding

VECTOR = "vector"


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
        codings = tuple(field.coding for field in self.key)
        return Columns(
            ("row",) if self.is_vector else keys,
            tuple(names),
            numeric,
            tuple(pooled),
            codings if any(codings) else (),
        )

    @property
    def is_vector(self) -> bool:
        """Whether keys are vectors in one column, and not numbers in several."""
        return self.key[0].kind == VECTOR

    @property
    def all(self) -> tuple[Field, ...]:
        """Keys and values."""
        return self.key + self.value


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, and neither a dictionary nor a view of it."""
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if types.is_dictionary(kind) else kind


def kind_of(kind: pa.DataType) -> str | None:
    """Return what a type is to the fold, or None for what it cannot take."""
    kind = _plain(kind)
    if is_text(kind) or kind == pa.string_view():
        return TEXT
    if _is_number(kind):
        return NUMBER
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return VECTOR if _is_number(kind.value_type) else None
    return None


def _is_number(kind: pa.DataType) -> bool:
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(kind) for test in tests)


def may_be_codes(kind: pa.DataType) -> bool:
    """Whether a type has whole numbers of more digits than a double tells apart."""
    kind = _plain(kind)
    if types.is_decimal(kind):
        return bool(kind.scale <= 0)
    return bool(types.is_integer(kind) and kind.bit_width > 32)  # as NumPy counts


def first_code(column: pa.ChunkedArray) -> int | None:
    """Return the first row with a whole number of more than 15 digits."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    least = int(numbers.LARGEST)
    extremes = pc.min_max(column).as_py()
    if extremes["min"] is None or -least < extremes["min"] <= extremes["max"] < least:
        return None
    cells = enumerate(column.to_pylist())
    return next((row for row, cell in cells if cell is not None and abs(cell) >= least), None)


def working(field: Field, kind: pa.DataType) -> np.dtype[np.floating]:
    """Return float32 for vectors of float16 and float32, float64 for everything else."""
    narrow = field.kind == VECTOR and kind.value_type in (pa.float16(), pa.float32())
    return np.dtype(np.float32 if narrow else np.float64)
