"""Queries: typed, in files or arrays, or the keys themselves, read in the kind of the keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.blocks import Queries, number_text
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import form_of, numbers, open_table, streams
from qkvcli.sources.databases import QUERIES, check_numeric, holds_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.sources.arrays import StoredArray
    from qkvcli.sources.databases import Database


def asked(database: Database, words: Sequence[str]) -> Queries:
    """Return queries as they were typed: text for text keys, numbers ``1.5,0.3`` for vectors.

    A word that names a key of a labelled array asks with that key's own vector.

    Raises
    ------
    UsageError
        A query that is no vector of the keys' width.
    """
    labels = tuple(words)
    if database.kind == "text":
        return Queries(labels, list(words))
    import numpy as np  # text needs none

    rows = [_vector(database, word) for word in words]
    dtype = _dtype(database)
    return Queries(labels, np.array(rows, dtype=dtype).reshape(len(rows), database.depth))


def _dtype(database: Database) -> np.dtype[np.floating]:
    import numpy as np

    from qkvcli.sources.arrays import working_dtype
    from qkvcli.sources.vectors import VectorSource

    source = database.heads[0]
    if isinstance(source, VectorSource):
        return working_dtype(source.head.keys.dtype)
    return getattr(source, "dtype", np.dtype(np.float64))


def _vector(database: Database, word: str) -> list[float]:
    cells = [cell.strip() for cell in word.split(",")]
    if numbers.all_match(cells, numbers.NUMBER):
        if len(cells) != database.depth:
            message = (
                f"the query {word!r} has width {len(cells)}, and the keys of {database.name} have "
                f"width {database.depth}"
            )
            raise UsageError(message)
        found = [float(cell) for cell in cells]
        if all(math.isfinite(x) for x in found):
            return found
    return _named_vector(database, word)


def _names(database: Database) -> tuple[str, ...]:
    """Return what the keys of arrays are called, where they have names."""
    return getattr(getattr(database.heads[0], "head", None), "names", None) or ()


def _is_name(database: Database, word: str) -> bool:
    return word in _names(database) and not database.lead


def _named_vector(database: Database, word: str) -> list[float]:
    from qkvcli.sources.vectors import VectorSource

    source, names = database.heads[0], _names(database)
    if isinstance(source, VectorSource) and _is_name(database, word):
        row = names.index(word)
        vector: list[float] = source.key(row).tolist()
        return vector
    hint = did_you_mean(word, names) if names else "; the keys are numbers: ask with e.g. 1.5,0.3"
    message = f"the query {word!r} is not a vector of {database.depth} finite numbers{hint}"
    raise UsageError(message)


class _Asked(NamedTuple):
    """One query of a file: its cells, and its place."""

    cells: list[str]
    where: str


def queries_from_file(database: Database, path: str, encoding: str | None = None) -> list[Queries]:
    """Return queries of a file, for each head.

    Parameters
    ----------
    database
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
        stored = alone or pick(arrays, QUERIES, "--queries with one array", path)
        return queries_from_array(database, stored)
    found = list(_rows(database, path, encoding))
    if not found:
        message = "holds no queries; give one a line"
        raise InputError(message, streams.display_name(path))
    if database.kind == "text":
        texts = [" ".join(row.cells) for row in found]
        asked_here = Queries(tuple(texts), texts)
    else:
        import numpy as np

        vectors = [_row_vector(database, row) for row in found]
        labels = tuple(",".join(row.cells) for row in found)
        asked_here = Queries(labels, np.array(vectors, dtype=_dtype(database)))
    return [asked_here] * len(database.heads)


def _rows(database: Database, path: str, encoding: str | None) -> Iterator[_Asked]:
    form = "" if path == streams.STDIN else form_of(path)
    if form in ("json", "jsonl"):
        return _picked(database, _json_rows(path, encoding, lines=form == "jsonl"))
    if form and not path.lower().removesuffix(".gz").endswith(".txt"):
        return _picked(database, _table_rows(path, encoding, form))
    return _lines(database, path, encoding)


def _lines(database: Database, path: str, encoding: str | None) -> Iterator[_Asked]:
    """Yield a query a line: as it is where keys are text, else numbers between delimiters.

    The first line of numbers in a file may name the key columns.
    """
    name = streams.display_name(path)
    heads = path != streams.STDIN and database.kind != "text"
    keys = [key.casefold() for key in database.columns.key]
    for number, line in enumerate(streams.read_lines(path, encoding), 1):
        if line.strip():
            cells = [line] if database.kind == "text" else _SEPARATOR.split(line.strip())
            if not (heads and [cell.casefold() for cell in cells] == keys):
                yield _Asked(cells, f"{name}:{number}")
            heads = False


_SEPARATOR = re.compile(r" *[,;\t] *| +")

_Record = tuple[tuple[str, ...] | None, _Asked]
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
            yield names, _Asked(cells, place)


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
            yield tuple(value), _Asked([cell(one) for one in value.values()], where)
        else:
            parts = value if isinstance(value, list) else [value]
            yield None, _Asked([cell(part) for part in parts], where)


def _picked(database: Database, rows: Iterator[_Record]) -> Iterator[_Asked]:
    """Yield the cells that are named as the key columns; all of them where none is."""
    wanted = [key.casefold() for key in database.columns.key]
    names: tuple[str, ...] | None = None
    for number, (own, row) in enumerate(rows):
        if own is None and number == 0 and _is_header(database, row.cells, wanted):
            names = tuple(row.cells)
            continue
        known = [name.casefold() for name in own or names or ()]
        if all(key in known for key in wanted):
            yield row._replace(cells=[row.cells[known.index(key)] for key in wanted])
        elif database.kind == "text" and len(wanted) == 1:
            yield row._replace(cells=row.cells[:1])
        else:
            yield row


def _is_header(database: Database, cells: list[str], wanted: Sequence[str]) -> bool:
    """Return whether a first record names columns: the keys', or anything but numbers."""
    folded = {cell.strip().casefold() for cell in cells}
    if folded & set(wanted):
        return True
    digits = any(character.isdigit() for cell in cells for character in cell)
    odd = any(numbers.mistaken(cell) for cell in cells)
    return database.kind != "text" and all(cells) and not (digits or odd)


def _row_vector(database: Database, row: _Asked) -> list[float]:
    cells = [cell.strip() for cell in row.cells]
    if len(cells) == 1 and _is_name(database, cells[0]):
        return _named_vector(database, cells[0])
    odd = numbers.mismatches(cells, numbers.NUMBER, most=1)
    if odd:
        message = f"{cells[odd[0]]!r} is not a finite number; ask with numbers such as 1.5,0.3"
        raise InputError(message, row.where)
    if len(cells) != database.depth:
        count = "1 number" if len(cells) == 1 else f"{len(cells)} numbers"
        message = f"{count}, and the keys of {database.name} have width {database.depth}"
        raise InputError(message, row.where)
    return [float(cell) for cell in cells]


def queries_from_array(database: Database, stored: StoredArray) -> list[Queries]:
    """Return the queries of an array (…, Q, D), for each head of the database.

    Raises
    ------
    InputError
        A width or leading axes that do not fit, with both shapes.
    """
    if database.kind == "text":
        message = f"queries in an array, and the keys of {database.name} are text"
        raise UsageError(message)
    check_numeric(stored)
    if stored.ndim < 2 or stored.shape[-1] != database.depth or 0 in stored.shape:  # noqa: PLR2004
        message = f"queries of shape {stored.shape}, and the keys have width {database.depth}"
        raise InputError(f"{message}; queries are (…, Q, {database.depth})", stored.name)
    lead = stored.shape[:-2]
    if lead not in ((), database.lead):
        message = f"queries of shape {stored.shape} for keys with leading axes {database.lead}"
        raise InputError(f"{message}; they must be the same, or none", stored.name)
    count = stored.shape[-2]
    found = []
    for head in range(len(database.heads)):
        first = head * count if lead else 0
        vectors = stored.rows(first, first + count)
        _check_finite(stored, vectors, head if lead else 0)
        found.append(Queries(_labels(database, vectors), vectors))
    return found


def _labels(database: Database, vectors: NDArray[np.floating]) -> tuple[str, ...]:
    """Return what queries in an array are called: their numbers, as the columns of a table have."""
    if database.kind == "table":
        return tuple(",".join(map(number_text, vector)) for vector in vectors)
    return tuple(str(i) for i in range(len(vectors)))


def _check_finite(stored: StoredArray, vectors: NDArray[np.floating], head: int) -> None:
    from qkvcli.sources.arrays import first_nonfinite
    from qkvcli.sources.vectors import nonfinite_message

    index = first_nonfinite(vectors)
    if index is not None:
        raise InputError(nonfinite_message(stored, index, head), stored.name)


def own_keys(database: Database) -> list[Queries]:
    """Return the keys as the queries, as in self-attention, for each head."""
    return [
        _own_keys(source, "," if database.kind == "table" else " ") for source in database.heads
    ]


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
