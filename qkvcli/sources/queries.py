"""Queries: typed, in files or arrays, or the keys themselves, read in the kind of the keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.blocks import Queries, number_text
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import form_of, numbers, open_table, streams
from qkvcli.sources.store import QUERIES, Asked, check_numeric, holds_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.sources.arrays import StoredArray
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
        return Asked((), [Queries(labels, list(words))])
    import numpy as np  # text needs none

    rows = [_vector(store, word) for word in words]
    vectors = np.array(rows, store.heads[0].key_dtype).reshape(len(rows), store.depth)
    return Asked((), [Queries(labels, vectors)])


def _vector(store: Store, word: str) -> list[float]:
    cells = [cell.strip() for cell in word.split(",")]
    if numbers.all_match(cells, numbers.NUMBER):
        if len(cells) != store.depth:
            message = (
                f"the query {word!r} has width {len(cells)}, and the keys of {store.name} have "
                f"width {store.depth}"
            )
            raise UsageError(message)
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
    hint = (
        did_you_mean(word, tuple(names))
        if names
        else "; the keys are numbers: ask with e.g. 1.5,0.3"
    )
    message = f"the query {word!r} is not a vector of {store.depth} finite numbers{hint}"
    raise UsageError(message)


class _Row(NamedTuple):
    """One query of a file: its cells, and its place."""

    cells: list[str]
    where: str


def queries_from_file(store: Store, path: str, encoding: str | None = None) -> Asked:
    """Return the queries of a file.

    Parameters
    ----------
    store
        What is asked.
    path
        An array file; a table (CSV, TSV, JSON, JSON Lines), whose columns are those that are named
        as the keys', or else all; or lines, of text or of numbers, of another file or of ``-``.
    encoding
        Of text, if not UTF-8.

    Raises
    ------
    InputError
        Queries of another width than the keys, with both widths; or no queries.
    """
    if holds_arrays(path):
        from qkvcli.sources.arrays import open_arrays, pick

        arrays = open_arrays(path)
        alone = next(iter(arrays.values())) if len(arrays) == 1 else None
        stored = alone or pick(arrays, QUERIES, "a file with one array", path)
        return queries_from_array(store, stored)
    found = list(_rows(store, path, encoding))
    if not found:
        message = "holds no queries; give one a line"
        raise InputError(message, streams.display_name(path))
    if store.kind == "text":
        texts = [" ".join(row.cells) for row in found]
        return Asked((), [Queries(tuple(texts), texts)])
    import numpy as np

    vectors = np.array([_row_vector(store, row) for row in found], store.heads[0].key_dtype)
    labels = tuple(",".join(row.cells) for row in found)
    return Asked((), [Queries(labels, vectors)])


def _rows(store: Store, path: str, encoding: str | None) -> Iterator[_Row]:
    form = "" if path == streams.STDIN else form_of(path)
    if form in ("json", "jsonl"):
        return _picked(store, _json_rows(path, encoding, lines=form == "jsonl"))
    if form and not path.lower().removesuffix(".gz").endswith(".txt"):
        return _picked(store, _table_rows(path, encoding, form))
    return _lines(store, path, encoding)


def _lines(store: Store, path: str, encoding: str | None) -> Iterator[_Row]:
    """Yield a query a line: as it is where keys are text, else numbers between delimiters.

    The first line of numbers in a file may name the key columns.
    """
    name = streams.display_name(path)
    heads = path != streams.STDIN and store.kind != "text"
    keys = [key.casefold() for key in store.columns.key]
    for number, line in enumerate(streams.read_lines(path, encoding), 1):
        if line.strip():
            cells = [line] if store.kind == "text" else _SEPARATOR.split(line.strip())
            if not (heads and [cell.casefold() for cell in cells] == keys):
                yield _Row(cells, f"{name}:{number}")
            heads = False


_SEPARATOR = re.compile(r" *[,;\t] *| +")

_Record = tuple[tuple[str, ...] | None, _Row]
"""A row of a table, and the names of its cells where it has them."""


def _table_rows(path: str, encoding: str | None, form: str) -> Iterator[_Record]:
    """Yield the records of a table, of a CSV or TSV file all without names."""
    from qkvcli.sources.table import TableBlock, TableOptions

    plain = form in ("csv", "tsv")
    options = TableOptions(header=not plain, encoding=encoding, key_type="text", value_type="text")
    source = open_table(path, options)
    names = None if plain else (*source.columns.key, *source.columns.value)
    width = 1 if source.columns.key == source.columns.value else 0  # a column that is its own value
    for block in source.blocks():
        block = block.load()  # noqa: PLW2901 - a block may be a reference
        for row, record in enumerate(block.records(range(len(block)))):
            place = f"{source.name}: row {block.start + row}"
            if isinstance(block, TableBlock):
                place = block.layout.where(block.cells.line(row))
            cells = list(record.key) if width else [*record.key, *record.value]
            yield names, _Row(cells, place)


def _json_rows(path: str, encoding: str | None, *, lines: bool) -> Iterator[_Record]:
    """Yield what a JSON list, or each line of JSON Lines, holds: a cell, cells, or a record."""
    from qkvcli.sources.records import Scanner, cell, json_lines

    name = streams.display_name(path)
    if lines:
        values = json_lines(path, encoding, name)
    else:
        scanner = Scanner(streams.decode(streams.read_document(path, encoding), name), name)
        found = scanner.value()
        scanner.end("the list")
        if not isinstance(found, list):
            scanner.fail("queries are a JSON list", 0)
        values = ((value, name) for value in found)
    for value, where in values:
        if isinstance(value, dict):
            yield tuple(value), _Row([cell(one) for one in value.values()], where)
        else:
            parts = value if isinstance(value, list) else [value]
            yield None, _Row([cell(part) for part in parts], where)


def _picked(store: Store, rows: Iterator[_Record]) -> Iterator[_Row]:
    """Yield the cells that are named as the key columns; all of them where none is."""
    wanted = [key.casefold() for key in store.columns.key]
    names: tuple[str, ...] | None = None
    for number, (own, row) in enumerate(rows):
        if own is None and number == 0 and _is_header(store, row.cells, wanted):
            names = tuple(row.cells)
            continue
        known = [name.casefold() for name in own or names or ()]
        if all(key in known for key in wanted):
            yield row._replace(cells=[row.cells[known.index(key)] for key in wanted])
        elif store.kind == "text" and len(wanted) == 1:
            yield row._replace(cells=row.cells[:1])
        else:
            yield row


def _is_header(store: Store, cells: list[str], wanted: Sequence[str]) -> bool:
    """Return whether a first record names columns: the keys', or anything but numbers."""
    folded = {cell.strip().casefold() for cell in cells}
    if folded & set(wanted):
        return True
    digits = any(character.isdigit() for cell in cells for character in cell)
    odd = any(numbers.mistaken(cell) for cell in cells)
    return store.kind != "text" and all(cells) and not (digits or odd)


def _row_vector(store: Store, row: _Row) -> list[float]:
    cells = [cell.strip() for cell in row.cells]
    if len(cells) == 1 and _is_name(store, cells[0]):
        return _named_vector(store, cells[0])
    odd = numbers.mismatches(cells, numbers.NUMBER, most=1)
    if odd:
        message = f"{cells[odd[0]]!r} is not a finite number; ask with numbers such as 1.5,0.3"
        raise InputError(message, row.where)
    if len(cells) != store.depth:
        count = "1 number" if len(cells) == 1 else f"{len(cells)} numbers"
        message = f"{count}, and the keys of {store.name} have width {store.depth}"
        raise InputError(message, row.where)
    return [float(cell) for cell in cells]


def queries_from_array(store: Store, stored: StoredArray) -> Asked:
    """Return the queries of an array (…, Q, D).

    Raises
    ------
    InputError
        A width that does not fit, with both shapes, or a number that is not finite.
    """
    if store.kind == "text":
        message = f"queries in an array, and the keys of {store.name} are text"
        raise UsageError(message)
    check_numeric(stored)
    if stored.ndim < 2 or stored.shape[-1] != store.depth or 0 in stored.shape:  # noqa: PLR2004
        message = f"queries of shape {stored.shape}, and the keys have width {store.depth}"
        raise InputError(f"{message}; queries are (…, Q, {store.depth})", stored.name)
    batch_shape, count = stored.shape[:-2], stored.shape[-2]
    found = []
    for head in range(math.prod(batch_shape)):
        vectors = stored.rows(head * count, (head + 1) * count)
        _check_finite(stored, vectors, head)
        found.append(Queries(_labels(store, vectors), vectors))
    return Asked(batch_shape, found)


def _labels(store: Store, vectors: NDArray[np.floating]) -> tuple[str, ...]:
    """Return what queries in an array are called: their numbers, as the columns of a table have."""
    if store.kind == "table":
        return tuple(",".join(map(number_text, vector)) for vector in vectors)
    return tuple(str(i) for i in range(len(vectors)))


def _check_finite(stored: StoredArray, vectors: NDArray[np.floating], head: int) -> None:
    from qkvcli.sources.arrays import first_nonfinite
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
