"""Queries: typed, in files or arrays, or the keys themselves, read in the kind of the keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from qkvcli.blocks import Queries, number_text
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import bytes_in, formats, numbers
from qkvcli.sources.formats import QUERIES
from qkvcli.sources.store import Asked, open_table
from qkvcli.sources.table import coded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.sources.npy import StoredArray
    from qkvcli.sources.store import Store


def queries_from_words(store: Store, words: Sequence[str]) -> Asked:
    """Return queries as they were typed: text for text keys, numbers ``1.5,0.3`` for vectors.

    A word that names a key of a labelled array asks with that key's own vector.

    Raises
    ------
    UsageError
        A query that is no vector of the keys' width.
    """
    labels = tuple(words)
    if store.kind == "text":
        return Asked((), [Queries(labels, list(words))], ("query",), tuple((w,) for w in words))
    import numpy as np  # text needs none

    rows = [_vector(store, word) for word in words]
    vectors = np.array(rows, store.heads[0].key_dtype).reshape(len(rows), store.depth)
    return Asked((), [Queries(labels, vectors)], ("query",), tuple((w,) for w in words))


def _vector(store: Store, word: str) -> list[float]:
    cells = [cell.strip() for cell in word.split(",")]
    if store.columns.codings:
        try:
            return _coded_vector(store, _Row(cells, ""))
        except InputError as error:
            raise UsageError(f"the query {word!r}: {error.message}") from None
    if numbers.all_match(cells, numbers.NUMBER):
        if len(cells) != store.depth:
            message = (
                f"the query {word!r} has width {len(cells)}, and the keys of {store.name} have "
                f"width {store.depth}"
            )
            apart = f"; write several queries apart: {' '.join(cells)}" if store.depth == 1 else ""
            raise UsageError(message + apart)
        found = [float(cell) for cell in cells]
        if all(math.isfinite(x) for x in found):
            return found
    return _named_vector(store, word)


def _names(store: Store) -> Sequence[str]:
    """Return what the keys of arrays are called, where they have names."""
    return store.heads[0].names or ()


def _is_name(store: Store, word: str) -> bool:
    return word in _names(store) and not store.batch_shape


def _named_vector(store: Store, word: str) -> list[float]:
    from qkvcli.sources.vectors import VectorSource

    source, names = store.heads[0], _names(store)
    if isinstance(source, VectorSource) and _is_name(store, word):
        row = names.index(word)
        vector: list[float] = source.key(row).tolist()
        return vector
    if names:
        hint = did_you_mean(word, tuple(names))
        raise UsageError(
            f"the query {word!r} is not a vector of {store.depth} finite numbers{hint}"
        )
    raise UsageError(f"the query {word!r} {_why_no_vector(store, word)}")


def _why_no_vector(store: Store, word: str) -> str:
    """Return what a typed query is in place of numbers, and what to type."""
    depth = store.depth
    example = ("1.5", "1.5,0.3", "1.5,0.3,2")[depth - 1] if depth <= 3 else "1.5,0.3,…"
    if _DATE.fullmatch(word.strip()):
        return f"is a date, and the keys of {store.name} are numbers: ask with e.g. {example}"
    apart = word.split()
    if len(apart) > 1 and numbers.all_match(apart, numbers.NUMBER):
        way = ",".join(apart) if depth > 1 else f"{' '.join(apart)} without quotes"
        return f"is {len(apart)} numbers with spaces between; write {way}"
    cells = [cell.strip() for cell in word.split(",")]
    if len(cells) > 1:
        odd = cells[numbers.mismatches(cells, numbers.NUMBER, most=1)[0]]
        count = "1 number" if depth == 1 else f"{depth} numbers"
        return f"has {odd!r} in it, and a key of {store.name} is {count}: ask with e.g. {example}"
    return (
        f"is not a vector of {depth} finite numbers; the keys are numbers: ask with e.g. {example}"
    )


_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}"
)


class _Row(NamedTuple):
    """A row of a file: its cells, its place, and the names of its cells where it has them."""

    cells: list[str]
    where: str
    names: tuple[str, ...] | None = None


def queries_from_file(  # noqa: PLR0913 - how a file is read
    store: Store,
    path: str,
    encoding: str | None = None,
    *,
    key: Sequence[str] = (),
    header: bool = True,
    form: str | None = None,
) -> Asked:
    """Return the queries of a file.

    Parameters
    ----------
    store
        What is asked.
    path
        An array file; a table (CSV, TSV, JSON, JSON Lines, Parquet, Arrow), of which the columns
        are read that are named as the keys'; or lines, of text or of numbers, of another file or
        of ``-``.
    encoding
        Of text, if not UTF-8.
    key
        Which columns of a table are the queries, by name or number from 1, if others.
    header
        Whether the first record of CSV or TSV names the columns.
    form
        The format of ``-``, if it is a table.

    Raises
    ------
    InputError
        A table without the key columns, with those that it has; queries of another width than the
        keys, with both widths; or no queries.
    """
    by_start = path == bytes_in.STDIN and form is None
    form = form or (formats.format_of(path) if by_start else formats.format_by_name(path))
    if form in formats.ARRAYS:
        from qkvcli.sources.npy import pick
        from qkvcli.sources.vectors import open_arrays_of

        arrays = open_arrays_of(path, form)
        alone = next(iter(arrays.values())) if len(arrays) == 1 else None
        stored = alone or pick(arrays, QUERIES, "a file with one array", path)
        return queries_from_array(store, stored)
    is_table = form in formats.TABLES and not by_start and formats.ending_of(path) != ".txt"
    if key and not is_table:
        raise UsageError(
            "`query_key` chooses a column of a table, and this is read line by line",
            bytes_in.display_name(path),
        )
    if is_table:
        records = list(_records(store, path, encoding, form, header))
        found = _picked(store, records, key, bytes_in.display_name(path), form)
        names, cells = _table_of(records)
    else:
        found = list(_lines(store, path, encoding))
        names, cells = ("query",), tuple((" ".join(row.cells),) for row in found)
    if not found:
        raise InputError("holds no queries; give one a line", bytes_in.display_name(path))
    return _asked(store, found, names, cells)


def _asked(
    store: Store,
    found: Sequence[_Row],
    names: tuple[str, ...],
    cells: tuple[tuple[str, ...], ...],
) -> Asked:
    if store.kind == "text":
        texts = [" ".join(row.cells) for row in found]
        return Asked((), [Queries(tuple(texts), texts)], names, cells)
    import numpy as np

    vectors = np.array([_row_vector(store, row) for row in found], store.heads[0].key_dtype)
    labels = tuple(",".join(row.cells) for row in found)
    return Asked((), [Queries(labels, vectors)], names, cells)


def queries_from_columns(
    store: Store, columns: Mapping[str, Sequence[Any]], key: Sequence[str] = ()
) -> Asked:
    """Return the queries of columns in memory, with all of their rows as text.

    Raises
    ------
    InputError, UsageError
        As of ``queries_from_file``.
    """
    names = tuple(columns)
    texts = [[_text(cell) for cell in column] for column in columns.values()]
    rows = [list(row) for row in zip(*texts, strict=True)]
    records = [_Row(row, f"queries: row {i}", names) for i, row in enumerate(rows)]
    found = _picked(store, records, key, "the table of queries", "json")
    if not found:
        raise InputError("holds no queries; give one a row", "the table of queries")
    return _asked(store, found, names, tuple(map(tuple, rows)))


def queries_from_rows(store: Store, rows: Sequence[Sequence[Any]]) -> Asked:
    """Return queries in memory of which some cells are dates or categories.

    Raises
    ------
    InputError
        A cell that is none, or a row of another width.
    """
    found = [_Row([_text(cell) for cell in row], f"query {at}") for at, row in enumerate(rows)]
    return _asked(store, found, (), ())


def _text(cell: Any) -> str:  # noqa: ANN401 - of any library
    if cell is None or cell != cell:  # noqa: PLR0124 - NaN
        return ""
    if hasattr(cell, "isoformat"):
        return str(cell.isoformat())
    return number_text(cell) if isinstance(cell, float) else str(cell)


def _table_of(records: Sequence[_Row]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the columns and the rows of records, in the order of the first record's columns."""
    first = records[0] if records else _Row([], "", ())
    names = first.names or tuple(str(i + 1) for i in range(len(first.cells)))
    rows = []
    for record in records:
        if record.names is None or record.names == first.names:
            rows.append(tuple(record.cells))
            continue
        held = dict(zip(record.names, record.cells, strict=True))
        rows.append(tuple(held.get(name, "") for name in names))
    return names, tuple(rows)


def _lines(store: Store, path: str, encoding: str | None) -> Iterator[_Row]:
    """Yield a query a line: as it is where keys are text, else numbers between delimiters.

    The first line of numbers in a file may name the key columns.
    """
    name = bytes_in.display_name(path)
    heads = path != bytes_in.STDIN and store.kind != "text"
    keys = [key.casefold() for key in store.columns.key]
    for number, line in enumerate(bytes_in.read_lines(path, encoding), 1):
        if line.strip():
            cells = [line] if store.kind == "text" else _SEPARATOR.split(line.strip())
            if not (heads and [cell.casefold() for cell in cells] == keys):
                yield _Row(cells, f"{name}:{number}")
            heads = False


_SEPARATOR = re.compile(r" *[,;\t] *| +")


def _picked(
    store: Store, records: Sequence[_Row], key: Sequence[str], file: str, form: str
) -> list[_Row]:
    """Return the cells of the key columns, by their names where a record has any.

    Parameters
    ----------
    store, key
        What is asked, and the columns that were chosen by name or number.
    records
        The rows of a table.
    file, form
        What errors call the file, and its format.
    """
    known: dict[tuple[str, ...] | None, list[int]] = {}
    found = []
    for record in records:
        if record.names is None or record.names not in known:
            known[record.names] = _places(store, record, key, file, form)
        cells = [record.cells[place] for place in known[record.names]]
        found.append(record._replace(cells=cells))
    return found


def _places(store: Store, record: _Row, key: Sequence[str], file: str, form: str) -> list[int]:
    """Return which cells of a record are its key."""
    names = record.names or tuple(str(i + 1) for i in range(len(record.cells)))
    if key:
        from qkvcli.sources.table import find_column

        return [find_column(column, names, "`query_key`", record.where) for column in key]
    # Keys of an array have no columns: all columns are one vector's.
    wanted = store.columns.key if store.kind != "array" else ()
    if record.names is None or not wanted:
        if store.kind == "text" and len(record.cells) != len(wanted):
            cells = "1 cell" if len(record.cells) == 1 else f"{len(record.cells)} cells"
            raise InputError(
                f"{cells}, and a key has {len(wanted)}; pass `query_key`", record.where
            )
        return list(range(len(record.cells)))
    folded = [name.strip().casefold() for name in names]
    lacking = next((name for name in wanted if name.casefold() not in folded), None)
    if lacking is not None:
        message = f"has no column {lacking!r}, as the keys have; its columns are "
        message += f"{', '.join(names[:12])}: pass `query_key`"
        if form not in ("csv", "tsv"):
            raise InputError(message, record.where)
        raise InputError(f"{message}, or `header=False` if its first line is a query", file)
    return [folded.index(name.casefold()) for name in wanted]


def _records(
    store: Store,
    path: str,
    encoding: str | None,
    form: str,
    header: bool,  # noqa: FBT001
) -> Iterator[_Row]:
    """Yield the records of a table; a first record of numbers names no columns of numbers."""
    if form in ("json", "jsonl"):
        yield from _json_records(path, encoding, lines=form == "jsonl")
        return
    names: tuple[str, ...] | None = None
    for number, record in enumerate(_table_records(path, encoding, form)):
        if number == 0 and record.names is None and header:
            plain = numbers.all_match([cell.strip() for cell in record.cells], numbers.NUMBER)
            if not (plain and store.kind != "text"):
                names = tuple(record.cells)
                continue
        yield record._replace(names=record.names or names)


def _table_records(path: str, encoding: str | None, form: str) -> Iterator[_Row]:
    """Yield the records of a table, of a CSV or TSV file all without names."""
    from qkvcli.sources.table import TableBlock, TableOptions

    plain = form in ("csv", "tsv")
    options = TableOptions(
        header=not plain, encoding=encoding, key_type="text", value_type="text", format=form
    )
    source = open_table(path, options)
    names = None if plain else (*source.columns.key, *source.columns.value)
    width = 1 if source.columns.key == source.columns.value else 0  # a column that is its own value
    for block in source.blocks():
        block = block.load()  # noqa: PLW2901 - a block may be a reference
        for row, record in enumerate(block.records(range(len(block)))):
            place = f"{source.name}: row {block.start + row}"
            if isinstance(block, TableBlock):
                place = block.where(row)
            cells = list(record.key) if width else [*record.key, *record.value]
            yield _Row(cells, place, names)


def _json_records(path: str, encoding: str | None, *, lines: bool) -> Iterator[_Row]:
    """Yield what a JSON list, or each line of JSON Lines, holds: a cell, cells, or a record."""
    from qkvcli.sources.json_tables import Scanner, cell, json_elements, json_lines

    name = bytes_in.display_name(path)
    if lines:
        values = json_lines(path, encoding, name)
    else:
        text = bytes_in.decode(bytes_in.read_document(path, encoding), name)
        values = json_elements(Scanner(text, name))
    for value, where in values:
        if isinstance(value, dict):
            yield _Row([cell(one) for one in value.values()], where, tuple(value))
        else:
            parts = value if isinstance(value, list) else [value]
            yield _Row([cell(part) for part in parts], where)


def _coded_vector(store: Store, row: _Row) -> list[float]:
    """Return a query of which some cells are dates or categories."""
    if len(row.cells) != store.depth:
        count = "1 cell" if len(row.cells) == 1 else f"{len(row.cells)} cells"
        raise InputError(
            f"{count}, and a key of {store.name} has {', '.join(store.columns.key)}", row.where
        )
    found = []
    for cell, coding, name in zip(row.cells, store.columns.codings, store.columns.key, strict=True):
        if coding is not None:
            found += coded(coding, [cell], lambda _: row.where)
        elif numbers.mismatches([cell.strip()], numbers.NUMBER):
            raise InputError(
                f"{cell!r} is not a finite number, as the key column {name!r} has", row.where
            )
        else:
            found.append(float(cell))
    return found


def _row_vector(store: Store, row: _Row) -> list[float]:
    if store.columns.codings:
        return _coded_vector(store, row)
    cells = [cell.strip() for cell in row.cells]
    if len(cells) == 1 and _is_name(store, cells[0]):
        return _named_vector(store, cells[0])
    odd = numbers.mismatches(cells, numbers.NUMBER, most=1)
    if odd:
        raise InputError(
            f"{cells[odd[0]]!r} is not a finite number; ask with numbers such as 1.5,0.3", row.where
        )
    if len(cells) != store.depth:
        count = "1 number" if len(cells) == 1 else f"{len(cells)} numbers"
        raise InputError(
            f"{count}, and the keys of {store.name} have width {store.depth}", row.where
        )
    return [float(cell) for cell in cells]


def queries_from_array(store: Store, stored: StoredArray) -> Asked:
    """Return the queries of an array (…, Q, D).

    Raises
    ------
    InputError
        A width that does not fit, with both shapes, or a number that is not finite.
    """
    from qkvcli.sources.vectors import check_numeric

    if store.kind == "text":
        raise UsageError(f"queries in an array, and the keys of {store.name} are text")
    check_numeric(stored)
    if store.columns.categories:
        name = store.columns.key[store.columns.categories[0][0]]
        raise UsageError(
            f"queries in an array, and the key column {name!r} is of categories; "
            "ask with a table, or with rows of cells"
        )
    if stored.ndim < 2 or stored.shape[-1] != store.depth or 0 in stored.shape:
        raise InputError(
            f"queries of shape {stored.shape}, and the keys have width {store.depth}"
            f"; queries are (…, Q, {store.depth})",
            stored.name,
        )
    batch_shape, count = stored.shape[:-2], stored.shape[-2]
    found = []
    for head in range(math.prod(batch_shape)):
        vectors = stored.rows(head * count, (head + 1) * count)
        _check_finite(stored, vectors, head)
        found.append(Queries(_labels(store, vectors), vectors))
    return Asked(batch_shape, found)


def _labels(store: Store, vectors: NDArray[np.floating]) -> tuple[str, ...]:
    """Return what queries in an array are called: their numbers, as the columns of a table have."""
    codings = store.columns.codings
    if codings:
        return tuple(
            ",".join(c.text(x) if c else number_text(x) for x, c in zip(row, codings, strict=True))
            for row in vectors
        )
    if store.kind == "table":
        return tuple(",".join(map(number_text, vector)) for vector in vectors)
    return tuple(map(str, range(len(vectors))))


def _check_finite(stored: StoredArray, vectors: NDArray[np.floating], head: int) -> None:
    from qkvcli.sources.npy import first_nonfinite
    from qkvcli.sources.vectors import nonfinite_message

    index = first_nonfinite(vectors)
    if index is not None:
        raise InputError(nonfinite_message(stored, index, head), stored.name)


def own_keys(store: Store) -> Asked:
    """Return the keys as the queries, as in self-attention."""
    sign = "," if store.kind == "table" else " "
    return Asked(store.batch_shape, [_own_keys(source, sign) for source in store.heads])


def _own_keys(source: Source, sign: str) -> Queries:
    import numpy as np

    labels: list[str] = []
    texts: list[str] = []
    vectors: list[NDArray[np.floating]] = []
    for reference in source.blocks():
        block = reference.load()
        block.check()
        labels += [sign.join(record.key) for record in block.records(range(len(block)))]
        if isinstance(block.keys, list):
            texts += block.keys
        else:
            vectors.append(np.array(block.keys))
    return Queries(tuple(labels), np.concatenate(vectors) if vectors else texts)
