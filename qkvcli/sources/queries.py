"""Queries: typed, in files or arrays, or the keys themselves, read in the kind of the keys."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from qkvcli.blocks import Queries
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import numbers, streams
from qkvcli.sources.databases import QUERIES, check_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _named_vector(database: Database, word: str) -> list[float]:
    from qkvcli.sources.vectors import VectorSource

    source = database.heads[0]
    names = source.head.names if isinstance(source, VectorSource) else None
    if names and word in names and isinstance(source, VectorSource) and not database.lead:
        row = names.index(word)
        vector: list[float] = source.key(row).tolist()
        return vector
    hint = did_you_mean(word, names) if names else "; the keys are numbers: ask with e.g. 1.5,0.3"
    message = f"the query {word!r} is not a vector of {database.depth} finite numbers{hint}"
    raise UsageError(message)


def queries_from_file(database: Database, path: str) -> list[Queries]:
    """Return queries of a file, for each head: lines of text, a table's rows or an array.

    Raises
    ------
    InputError
        Queries of another width than the keys, with both widths; or no queries.
    """
    if path.lower().endswith((".npy", ".npz")):
        from qkvcli.sources.arrays import open_arrays, pick

        arrays = open_arrays(path)
        alone = next(iter(arrays.values())) if len(arrays) == 1 else None
        stored = alone or pick(arrays, QUERIES, "--queries with one array", path)
        return queries_from_array(database, stored)
    lines = [line for line in streams.read_lines(path) if line.strip()]
    name = streams.display_name(path)
    if not lines:
        message = "holds no queries; give one a line"
        raise InputError(message, name)
    if database.kind == "text":
        return [asked(database, lines)] * len(database.heads)
    return [asked(database, _number_lines(lines, name))] * len(database.heads)


_SEPARATOR = re.compile(r"[,;\t ]+")


def _number_lines(lines: list[str], name: str) -> list[str]:
    """Return lines of numbers, without a header that is not one."""
    rows = [",".join(_SEPARATOR.split(line.strip())) for line in lines]
    start = 0 if numbers.all_match(rows[0].split(","), numbers.NUMBER) else 1
    for line, row in enumerate(rows[start:], start + 1):
        if not numbers.all_match(row.split(","), numbers.NUMBER):
            message = f"{lines[line - 1]!r} is not a query; give numbers such as 1.5,0.3"
            raise InputError(message, f"{name}:{line}")
    if not rows[start:]:
        message = "holds no queries; give one a line"
        raise InputError(message, name)
    return rows[start:]


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
    labels = tuple(str(i) for i in range(count))
    found = []
    for head in range(len(database.heads)):
        first = head * count if lead else 0
        vectors = stored.rows(first, first + count)
        _check_finite(stored, vectors, head if lead else 0)
        found.append(Queries(labels, vectors))
    return found


def _check_finite(stored: StoredArray, vectors: NDArray[np.floating], head: int) -> None:
    from qkvcli.sources.arrays import first_nonfinite
    from qkvcli.sources.vectors import nonfinite_message

    index = first_nonfinite(vectors)
    if index is not None:
        raise InputError(nonfinite_message(stored, index, head), stored.name)


def own_keys(database: Database) -> list[Queries]:
    """Return the keys as the queries, as in self-attention, for each head."""
    return [_own_keys(source) for source in database.heads]


def _own_keys(source: Source) -> Queries:
    import numpy as np

    labels: list[str] = []
    texts: list[str] = []
    vectors: list[NDArray[np.floating]] = []
    for reference in source.blocks():
        block = reference.load()
        block.check()
        labels += [" ".join(record.key) for record in block.records(range(len(block)))]
        if isinstance(block.keys, list):
            texts += block.keys
        else:
            vectors.append(np.array(block.keys))
    return Queries(tuple(labels), np.concatenate(vectors) if vectors else texts)
