"""Databases and queries that are in memory already: arrays, lists of text, lists of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.blocks import (
    Categories,
    Columns,
    Queries,
    Record,
    casefold_all,
    categories,
    number_text,
)
from qkvcli.errors import InputError, UsageError
from qkvcli.sources.arrays import first_nonfinite, working_dtype
from qkvcli.sources.databases import Database, check_shapes
from qkvcli.sources.queries import queries_from_array
from qkvcli.sources.vectors import ROWS, Head, VectorSource, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from qkvcli.blocks import Keys

TEXT, ARRAY = "text", "array"
_NAME = "memory"


@dataclass(frozen=True)
class MemoryBlock:
    """Some rows of keys and values in memory, where either is text."""

    start: int
    keys: Keys
    numbers: NDArray[np.floating]
    texts: list[str] | None
    columns: Columns

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def load(self) -> MemoryBlock:
        """Return the block itself."""
        return self

    @property
    def folded(self) -> list[str]:
        """The text keys, case-folded."""
        return casefold_all(self.keys) if isinstance(self.keys, list) else []

    def may_hold(self, keys: Iterable[str]) -> bool:
        """Return True: looking for a key here is as cheap as it gets."""
        del keys
        return True

    def outline(self) -> None:
        """Return nothing: the keys are strings already."""

    def pick_numbers(self, rows: Sequence[int]) -> NDArray[np.floating]:
        """Return some rows of ``numbers``."""
        return self.numbers[list(rows)]

    def categories(self, rows: Sequence[int] | None = None) -> list[Categories]:
        """Return the text values, of some rows or all."""
        if self.texts is None:
            return []
        return [categories(self.texts if rows is None else [self.texts[row] for row in rows])]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text."""
        return [Record((self._key(row),), self._value(row)) for row in rows]

    def _key(self, row: int) -> str:
        return self.keys[row] if isinstance(self.keys, list) else str(self.start + row)

    def _value(self, row: int) -> tuple[str, ...]:
        if self.texts is not None:
            return (self.texts[row],)
        return tuple(number_text(number) for number in self.numbers[row])

    def check(self) -> None:
        """Raise an InputError that names the first number which is NaN or infinite."""
        for name, part in (("keys", self.keys), ("values", self.numbers)):
            if not isinstance(part, list):
                _refuse_nonfinite(part, name, self.start)


def _refuse_nonfinite(part: NDArray[np.floating], name: str, start: int) -> None:
    index = first_nonfinite(part, start)
    if index is not None:
        place = ", ".join(map(str, index))
        message = f"NaN or infinity at index [{place}]; attention needs finite numbers"
        raise InputError(message, name)


class MemorySource:
    """Keys and values in memory as a source of blocks."""

    reopenable = True
    name = _NAME

    def __init__(self, keys: Keys, numbers: NDArray[np.floating], texts: list[str] | None) -> None:
        self._keys, self._numbers, self._texts = keys, numbers, texts
        width = numbers.shape[1]
        names = ("value",) if texts is not None or width == 1 else _numbered(width)
        pooled = () if texts is not None else tuple(range(width))
        is_numeric = not isinstance(keys, list)
        self.columns = Columns(("key",), names, numeric_key=is_numeric, numbers=pooled)

    def blocks(self) -> Iterator[MemoryBlock]:
        """Yield the blocks of rows."""
        for start in range(0, len(self._keys), ROWS):
            rows = slice(start, start + ROWS)
            texts = None if self._texts is None else self._texts[rows]
            yield MemoryBlock(start, self._keys[rows], self._numbers[rows], texts, self.columns)


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"v{i + 1}" for i in range(width))


def is_text(data: object) -> bool:
    """Whether something is a string, an array of strings or a sequence of them."""
    if isinstance(data, np.ndarray):
        return bool(data.dtype.kind == "U")
    return isinstance(data, str) or (
        isinstance(data, Sequence) and len(data) > 0 and all(isinstance(x, str) for x in data)
    )


def database_of(keys: ArrayLike, values: ArrayLike | None = None) -> Database:
    """Return keys and values in memory as a database.

    Parameters
    ----------
    keys
        K strings, or vectors (…, K, D); K numbers are vectors of width 1.
    values
        K strings, or numbers (…, K, Dv); K numbers are values of width 1. The keys by default.

    Raises
    ------
    InputError
        Shapes that do not fit together, or a dtype that is not pooled.
    """
    if not is_text(keys) and not is_text(keys if values is None else values):
        return _of_arrays(keys, values)
    texts = _texts(keys if values is None else values)
    rows: Keys = _texts(keys) or _matrix(keys, "keys")
    if texts is not None:
        numbers: NDArray[np.floating] = np.empty((len(texts), 0))
    else:
        numbers = _matrix(values, "values")
    count = len(numbers)
    if len(rows) != count or not count:
        message = f"{len(rows)} keys and {count} values do not fit; there must be one for each"
        raise InputError(message, _NAME)
    source = MemorySource(rows, numbers, texts)
    if isinstance(rows, list):
        return Database(_NAME, (source,), kind=TEXT)
    return Database(_NAME, (source,), kind=ARRAY, depth=rows.shape[1])


def _of_arrays(keys: ArrayLike, values: ArrayLike | None) -> Database:
    k = in_memory(_at_least_2d(keys, "keys"), "keys")
    v = k if values is None else in_memory(_at_least_2d(values, "values"), "values")
    check_shapes(k, v)
    count = math.prod(k.shape[:-2])
    heads = tuple(VectorSource(Head(k, v, number)) for number in range(count))
    return Database("keys", heads, k.shape[:-2], ARRAY, k.shape[-1])


def _array(data: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - whatever NumPy takes
    try:
        return np.asarray(data)
    except ValueError:
        message = "rows of different lengths make no array; give each the same width"
        raise InputError(message, name) from None


def _at_least_2d(data: Any, name: str) -> NDArray[Any]:  # noqa: ANN401
    array = _array(data, name)
    return array[:, None] if array.ndim == 1 else array


def _texts(data: Any) -> list[str] | None:  # noqa: ANN401
    if not is_text(data):
        return None
    return [data] if isinstance(data, str) else [str(text) for text in data]


def _matrix(data: Any, name: str) -> NDArray[np.floating]:  # noqa: ANN401
    """Return numbers as float32 or float64, of shape (K, D)."""
    stored = in_memory(_at_least_2d(data, name), name)
    if stored.ndim != 2:  # noqa: PLR2004
        message = f"of shape {stored.shape}; beside text they are (K,) or (K, width)"
        raise InputError(message, name)
    return stored.rows(0, stored.shape[0])


def queries_of(database: Database, queries: ArrayLike) -> list[Queries]:
    """Return queries in memory, for each head of a database.

    Parameters
    ----------
    database
        What is asked.
    queries
        Strings, or vectors (…, Q, D). One string, or one vector (D,), is one query; where D is
        1, so is a number, and a sequence of Q numbers is Q queries.

    Raises
    ------
    UsageError
        Text for vectors, or vectors for text.
    InputError
        A width or leading axes that do not fit, or a query that is not finite.
    """
    empty = queries.size == 0 if isinstance(queries, np.ndarray) else queries in ([], ())
    if empty:
        message = "no queries; give one or more"
        raise UsageError(message)
    texts = _texts(queries)
    if (database.kind == TEXT) != (texts is not None):
        ours, theirs = ("text", "numbers") if texts is not None else ("numbers", "text")
        message = f"the queries are {ours}, and the keys of {database.name} are {theirs}"
        raise UsageError(message)
    if texts is not None:
        return [Queries(tuple(texts), texts)] * len(database.heads)
    array = _array(queries, "queries")
    if array.ndim < 2:  # noqa: PLR2004
        array = array.reshape(-1, 1) if database.depth == 1 else array.reshape(1, -1)
    if array.dtype.kind in "iu" or not isinstance(queries, np.ndarray):
        array = _in_dtype_of(database, array)
    return queries_from_array(database, in_memory(array, "queries"))


def _in_dtype_of(database: Database, array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that came without a float's dtype in that of a database's keys."""
    source = database.heads[0]
    if array.dtype.kind not in "biuf":
        return array
    if isinstance(source, VectorSource):
        return array.astype(working_dtype(source.head.keys.dtype))
    return array.astype(np.float64)
