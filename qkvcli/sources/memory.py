"""Keys, values and queries that are in memory already: arrays, lists and columns of data frames."""

from __future__ import annotations

import math
import numbers as numbers_abc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from qkvcli.blocks import Columns, Labels, Queries, Record, labels_of, number_text
from qkvcli.errors import InputError, UsageError
from qkvcli.sources import numbers
from qkvcli.sources.npy import first_nonfinite
from qkvcli.sources.queries import queries_from_array, queries_from_columns, queries_from_rows
from qkvcli.sources.store import Asked, Store
from qkvcli.sources.table import (
    SKIP,
    TableOptions,
    check_coded,
    chosen,
    coded,
    codings_of,
)
from qkvcli.sources.vectors import ROWS, Head, VectorSource, check_shapes, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from qkvcli.blocks import Keys

NAME = "memory"
"""What errors call a database that has no name."""


@dataclass(frozen=True)
class MemoryBlock:
    """Some rows of keys and values in memory, as columns.

    Parameters
    ----------
    start
        The row of the database that is the first of these.
    columns
        What the rows are made of.
    keys
        K strings, or vectors (K, D).
    key_cells
        The key columns as records show them; none where a row is called by its number.
    numeric, texts
        The numeric values (K, Dv), and each text value column.
    """

    start: int
    columns: Columns
    keys: Keys
    key_cells: tuple[Sequence[Any], ...]
    numeric: NDArray[np.floating]
    texts: tuple[list[str], ...]
    skipped: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def load(self) -> MemoryBlock:
        """Return the block itself."""
        return self

    def key_bytes(self) -> None:
        """Return nothing: the keys are strings already."""

    def key_texts(self, column: int) -> list[str]:
        """Return the cells of one key column."""
        return list(map(_cell_text, self.key_cells[column]))

    def values(self, rows: Sequence[int] | None = None) -> NDArray[np.floating]:
        """Return the numeric values of some rows or all."""
        return self.numeric if rows is None else self.numeric[list(rows)]

    def labels(self, rows: Sequence[int] | None = None) -> list[Labels]:
        """Return the text value columns, of some rows or all."""
        return [
            labels_of(column if rows is None else [column[row] for row in rows])
            for column in self.texts
        ]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text."""
        return [Record(self._key(row), self._value(row)) for row in rows]

    def _key(self, row: int) -> tuple[str, ...]:
        if not self.key_cells:
            return (str(self.start + row),)
        return tuple(_cell_text(column[row]) for column in self.key_cells)

    def _value(self, row: int) -> tuple[str, ...]:
        shown = dict(zip(self.columns.numeric, map(number_text, self.numeric[row]), strict=True))
        shown |= zip(self.columns.text, (column[row] for column in self.texts), strict=True)
        return tuple(shown[place] for place in range(len(self.columns.value)))

    def check(self) -> None:
        """Raise an InputError that names the first number which is NaN or infinite."""
        for name, part in (("keys", self.keys), ("values", self.numeric)):
            if not isinstance(part, list):
                _refuse_nonfinite(part, name, self.start)

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""
        return f"{NAME}: row {self.start + row}"


def _cell_text(cell: Any) -> str:  # noqa: ANN401 - a string or a number
    return cell if isinstance(cell, str) else number_text(cell)


def _refuse_nonfinite(part: NDArray[np.floating], name: str, start: int) -> None:
    index = first_nonfinite(part, start)
    if index is not None:
        place = ", ".join(map(str, index))
        raise InputError(
            f"NaN or infinity at index [{place}]; attention needs finite numbers", name
        )


class MemorySource:
    """Rows in memory as a source of blocks; ``whole`` is all of them as one."""

    reopenable = True
    name = NAME
    note = ""
    names: Sequence[str] | None = None

    def __init__(self, whole: MemoryBlock, kind: str) -> None:
        self._whole, self.rows = whole, len(whole)
        self.kind, self.columns = kind, whole.columns
        keys = whole.keys
        self.depth = 0 if isinstance(keys, list) else keys.shape[1]
        self.key_dtype: np.dtype[np.floating] = (
            np.dtype(np.float64) if isinstance(keys, list) else keys.dtype
        )
        self.dtype = np.result_type(self.key_dtype, whole.numeric.dtype)

    def blocks(self) -> Iterator[MemoryBlock]:
        """Yield the blocks of rows."""
        whole = self._whole
        for start in range(0, len(whole), ROWS):
            rows = slice(start, start + ROWS)
            yield MemoryBlock(
                start,
                whole.columns,
                whole.keys[rows],
                tuple(column[rows] for column in whole.key_cells),
                whole.numeric[rows],
                tuple(column[rows] for column in whole.texts),
                whole.skipped if not start else 0,
            )


def array_of(data: Any) -> Any:  # noqa: ANN401 - whatever NumPy takes
    """Return a column of a data frame, or a whole one, as an array, and all else as it is."""
    return data.to_numpy() if hasattr(data, "to_numpy") else data


def texts_of(data: Any) -> list[str] | None:  # noqa: ANN401 - whatever NumPy takes
    """Return strings where something is a string, or an array or a sequence of nothing else."""
    if isinstance(data, str):
        return [data]
    if isinstance(data, np.ndarray):
        if data.dtype.kind in "UT" and data.ndim <= 1:  # T is NumPy's StringDType
            return [str(text) for text in data.reshape(-1)]
        if data.dtype != object or data.ndim != 1:
            return None
    elif not isinstance(data, Sequence):
        return None
    found = list(data)
    return [str(x) for x in found] if found and all(isinstance(x, str) for x in found) else None


def store_of(keys: ArrayLike, values: ArrayLike | None = None) -> Store:
    """Return keys and values in memory as a store.

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
    keys, values = array_of(keys), array_of(values)
    key_texts = texts_of(keys)
    value_texts = texts_of(keys if values is None else values)
    if key_texts is None and value_texts is None:
        return _of_arrays(keys, values)
    rows: Any = _matrix(keys, "keys") if key_texts is None else key_texts
    numeric: NDArray[np.floating] = np.empty((len(value_texts or ()), 0))
    if value_texts is None:
        numeric = _matrix(values, "values")
    if len(rows) != len(numeric) or not len(numeric):
        count = len(numeric)
        raise InputError(
            f"{len(rows)} keys and {count} values do not fit; there must be one for each", NAME
        )
    width = numeric.shape[1]
    names = ("value",) if value_texts is not None or width == 1 else _numbered(width)
    columns = Columns(("key",), names, key_texts is None, tuple(range(width)))
    texts = () if value_texts is None else (value_texts,)
    cells = () if key_texts is None else (key_texts,)
    whole = MemoryBlock(0, columns, rows, cells, numeric, texts)
    return Store(NAME, (MemorySource(whole, "array" if key_texts is None else "text"),))


def _is_of_floats(queries: Any) -> bool:  # noqa: ANN401 - whatever NumPy takes
    """Return whether queries are in the numbers that cells stand for, as on a grid."""
    return isinstance(queries, np.ndarray) and queries.dtype.kind == "f"


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"v{i + 1}" for i in range(width))


def _of_arrays(keys: ArrayLike, values: ArrayLike | None) -> Store:
    k = in_memory(_at_least_2d(keys, "keys"), "keys")
    v = k if values is None else in_memory(_at_least_2d(values, "values"), "values")
    check_shapes(k, v)
    batch_shape = k.shape[:-2]
    heads = tuple(VectorSource(Head(k, v, number)) for number in range(math.prod(batch_shape)))
    return Store("keys", heads, batch_shape)


def _array(data: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - whatever NumPy takes
    try:
        return np.asarray(data)
    except (ValueError, TypeError):
        raise InputError(
            "rows of different lengths make no array; give each the same width", name
        ) from None


def _at_least_2d(data: Any, name: str) -> NDArray[Any]:  # noqa: ANN401
    array = _array(data, name)
    return array[:, None] if array.ndim == 1 else array


def _matrix(data: Any, name: str) -> NDArray[np.floating]:  # noqa: ANN401
    """Return numbers as float32 or float64, of shape (K, D)."""
    stored = in_memory(_at_least_2d(data, name), name)
    if stored.ndim != 2:
        raise InputError(f"of shape {stored.shape}; beside text they are (K,) or (K, width)", name)
    return stored.rows(0, stored.shape[0])


def queries_of(store: Store, queries: ArrayLike) -> Asked:
    """Return queries in memory as a store meets them.

    Parameters
    ----------
    store
        What is asked.
    queries
        Strings, or vectors (…, Q, D). One string, or one vector (D,), is one query; where D is
        1, so is a number, and a sequence of Q numbers is Q queries.

    Raises
    ------
    UsageError
        Text for vectors, or vectors for text.
    InputError
        A width that does not fit, or a query that is not finite.
    """
    if store.columns.codings and not _is_of_floats(queries):
        if len(getattr(queries, "shape", ())) == 1:  # one column of a frame
            queries = array_of(queries)
        columns = None if _is_pairs(queries) else columns_of(queries)
        if columns is not None:
            return queries_from_columns(store, columns)
        cells = _plain(_array(queries, "queries")).astype(object)
        if cells.ndim < 2:
            cells = cells.reshape(-1, 1) if store.depth == 1 else cells.reshape(1, -1)
        return queries_from_rows(store, cells.tolist())
    queries = array_of(queries)
    empty = queries.size == 0 if isinstance(queries, np.ndarray) else queries in ([], ())
    if empty:
        raise UsageError("no `queries`; give one or more")
    texts = texts_of(queries)
    if (store.kind == "text") != (texts is not None):
        ours, theirs = ("text", "numbers") if texts is not None else ("numbers", "text")
        raise UsageError(f"the `queries` are {ours}, and the keys of {store.name} are {theirs}")
    if texts is not None:
        return Asked((), [Queries(tuple(texts), texts)])
    array = _array(queries, "queries")
    if array.ndim < 2:
        array = array.reshape(-1, 1) if store.depth == 1 else array.reshape(1, -1)
    # Numbers that came without a float's dtype are of the keys'.
    if array.dtype.kind in "biu" or not isinstance(queries, np.ndarray):
        array = array.astype(store.heads[0].key_dtype) if array.dtype.kind in "biuf" else array
    return queries_from_array(store, in_memory(array, "queries"))


# Columns: data frames, tables of Arrow, dictionaries and lists of records.


def columns_of(data: Any) -> dict[str, Any] | None:  # noqa: ANN401, PLR0911 - any of many kinds
    """Return the columns of something that has named ones, or None.

    A data frame's own methods give them, so that no library is imported that it is not of; other
    tables give them by the Arrow C stream.
    """
    if isinstance(data, Mapping):
        pairs = {str(name): column for name, column in data.items()}
        if all(isinstance(x, str) or not hasattr(x, "__len__") for x in pairs.values()):
            return {"key": list(pairs), "value": list(pairs.values())}  # of keys and values
        return pairs
    names = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if names is not None and not callable(names) and hasattr(data, "__getitem__"):
        return {str(name): data[name].to_numpy() for name in names}
    if hasattr(data, "__arrow_c_stream__"):
        import pyarrow as pa

        return columns_of(pa.table(data))
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        names = tuple(data[0])
        odd = next((i for i, row in enumerate(data) if set(row) != set(names)), None)
        if odd is not None:
            raise InputError(
                f"this record has another shape than the first, which has {', '.join(names)}",
                f"{NAME}: row {odd}",
            )
        return {str(name): [row[name] for row in data] for name in names}
    if _is_pairs(data):
        return {"key": [pair[0] for pair in data], "value": [pair[1] for pair in data]}
    return None


def _is_pairs(data: Any) -> bool:  # noqa: ANN401
    """Return whether something is a list of (key, value) pairs of text keys."""
    return (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and bool(data)
        and all(
            isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str)
            for row in data
        )
    )


def store_of_columns(columns: Mapping[str, Any], options: TableOptions) -> Store:
    """Return columns in memory as a store, read as a table's are.

    Parameters
    ----------
    columns
        Each column's cells, by its name.
    options
        Which are keys and values, and what kind they are.

    Raises
    ------
    UsageError
        A column that is not there.
    InputError
        No rows, columns of several lengths, or a cell that is missing or of another kind.
    """
    names = list(columns)
    lengths = {len(column) for column in columns.values()}
    if lengths in (set(), {0}):
        raise InputError("holds no rows", NAME)
    if len(lengths) > 1:
        raise InputError(f"columns of {sorted(lengths)} rows; they must be alike", NAME)
    key_places, value_places = chosen(options, names, NAME)
    key, value = (tuple(names[at] for at in some) for some in (key_places, value_places))
    codings = codings_of(options, names, key_places, NAME) if options.codings else ()
    coding_of = {name: coding for name, coding in zip(key, codings, strict=False) if coding}
    skipped, (count,) = 0, lengths
    if options.missing == SKIP:
        columns = _without_missing(columns, [*key, *value], coding_of)
        kept = len(columns[key[0]])
        skipped, count = count - kept, kept
        if not count:
            raise InputError("in every row a number is missing, and none is left", NAME)
    keys: list[Any] = []
    cells: list[Sequence[Any]] = []
    for name in key:
        coding = coding_of.get(name)
        if coding is None:
            keys.append(_column(columns[name], name, "key", options.key_type))
            cells.append(keys[-1])
            continue
        cells.append(["" if _is_gone(x) else cell_of(x) for x in _plain(columns[name]).tolist()])
        coding.learn(cells[-1])
        keys.append(np.array(coded(coding, cells[-1], _row_name), np.float64))
    kinds = [not isinstance(column, list) for column in keys]
    if codings:
        check_coded(key, kinds, _row_name(0))
    if not all(kinds):
        cells = [c if isinstance(c, list) else list(map(number_text, c)) for c in keys]
    joined: Any = np.column_stack(keys) if all(kinds) else cells[0]
    if not all(kinds) and len(key) > 1:
        joined = [" ".join(row) for row in zip(*cells, strict=True)]
    values = [_column(columns[name], name, "value", options.value_type) for name in value]
    numeric = tuple(i for i, column in enumerate(values) if not isinstance(column, list))
    pooled = [values[i] for i in numeric]
    whole = MemoryBlock(
        0,
        Columns(key, value, all(kinds), numeric, codings),
        joined,
        tuple(cells),
        np.column_stack(pooled) if pooled else np.empty((count, 0)),
        tuple(column for column in values if isinstance(column, list)),
        skipped,
    )
    return Store(NAME, (MemorySource(whole, "table" if all(kinds) else "text"),))


def _plain(column: Any) -> NDArray[Any]:  # noqa: ANN401 - of any library
    """Return an array whose ``tolist`` gives dates where it holds dates."""
    array = np.asarray(column)
    return array.astype("M8[us]") if array.dtype.kind == "M" else array


def _row_name(row: int) -> str:
    return f"{NAME}: row {row}"


def cell_of(cell: Any) -> str:  # noqa: ANN401 - of any library
    """Return a date, a number or a text as a table has it."""
    return cell.isoformat() if hasattr(cell, "isoformat") else _cell_text(cell)


def _without_missing(
    columns: Mapping[str, Any], names: Sequence[str], coded_names: Collection[str]
) -> dict[str, list[Any]]:
    """Return columns without the rows in which a number is missing."""
    cells = {name: _plain(columns[name]).tolist() for name in names}
    numeric = [
        column
        for name, column in cells.items()
        if name in coded_names or any(isinstance(cell, numbers_abc.Real) for cell in column)
    ]
    kept = [
        row for row in range(len(cells[names[0]])) if not any(_is_gone(c[row]) for c in numeric)
    ]
    return {name: [column[row] for row in kept] for name, column in cells.items()}


def _is_gone(cell: Any) -> bool:  # noqa: ANN401 - of any library
    return cell is None or cell != cell or str(cell) == "<NA>"  # noqa: PLR0124


def _column(
    cells: Any,  # noqa: ANN401 - of any library
    name: str,
    role: str,
    wanted: str | None,
) -> list[str] | NDArray[np.floating]:
    """Return a column as numbers, or as text with nothing for what is missing."""
    array = np.asarray(cells)
    if array.ndim != 1:
        raise InputError(
            f"the column {name!r} is of shape {array.shape}; give one cell a row", NAME
        )
    if array.dtype == object:
        array = _of_objects(array, name)
    if array.dtype.kind in "UT":
        if wanted != "number":
            return [str(text) for text in array]
        return _parsed([str(text) for text in array], name, role)
    if array.dtype.kind not in "biuf":
        message = f"the column {name!r} is of dtype {array.dtype}; use numbers or text"
        if array.dtype.kind == "M":
            message += f", or pass `date={name!r}` of a key"
        raise InputError(message, NAME)
    codes = wanted is None and array.dtype.kind in "iu"
    if wanted == "text" or (codes and np.abs(array.astype(np.float64)).max() >= numbers.LARGEST):
        return [number_text(cell) for cell in array.tolist()]
    stored = in_memory(array[:, None], name).rows(0, len(array))[:, 0]
    missing = np.flatnonzero(~np.isfinite(stored))
    if len(missing):
        _refuse_missing(int(missing[0]), name, stored[missing[0]])
    return stored


def _of_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array of Python's objects as one of numbers or of text."""
    cells = array.tolist()
    gone = [_is_gone(cell) for cell in cells]
    present = [cell for cell, is_gone in zip(cells, gone, strict=True) if not is_gone]
    if all(isinstance(cell, str) for cell in present):
        texts = ["" if is_gone else cell for cell, is_gone in zip(cells, gone, strict=True)]
        return np.array(texts, np.str_)
    for row, (cell, is_gone) in enumerate(zip(cells, gone, strict=True)):
        if is_gone:
            _refuse_missing(row, name, cell)
        if not isinstance(cell, numbers_abc.Real):
            raise InputError(
                f"{cell!r} in the column {name!r} is neither a number nor text",
                f"{NAME}: row {row}",
            )
    if all(isinstance(cell, int) for cell in cells) and max(map(abs, cells)) >= numbers.LARGEST:
        return np.array(list(map(str, cells)))  # which a double does not hold
    return np.array(cells, np.float64)


def _refuse_missing(row: int, name: str, cell: object) -> NoReturn:
    raise InputError(
        f"{cell} in the column {name!r}, which has numbers; fill it, or pass `missing='skip'`",
        f"{NAME}: row {row}",
    )


def _parsed(cells: list[str], name: str, role: str) -> NDArray[np.float64]:
    odd = numbers.first_mismatch(cells, numbers.NUMBER)
    if odd is not None:
        raise InputError(
            f"{cells[odd]!r} in the column {name!r} is not a finite number; "
            f"mend it, or pass `{role}_type='text'`",
            f"{NAME}: row {odd}",
        )
    return np.array(cells, np.float64)
