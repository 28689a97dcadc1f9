"""Databases: tables and arrays opened alike, and the names of keys."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import open_table, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.blocks import Block, Columns, Source
    from qkvcli.sources.arrays import StoredArray
    from qkvcli.sources.table import TableOptions

_KEYS, _VALUES = ("keys", "k"), ("values", "v")
QUERIES = ("queries", "q")
"""What an ``.npz`` may call its queries."""


@dataclass(frozen=True)
class Database:
    """A database as commands meet it: one head for a table, H or B × H of them for arrays.

    Parameters
    ----------
    name
        What errors call it.
    heads
        A source for each head, in the order of the leading axes.
    lead
        The leading axes: () , (H,) or (B, H).
    kind
        ``"text"`` (text keys), ``"table"`` (numeric columns) or ``"array"``.
    depth
        D, the width of a key; 0 for text.
    queries
        Queries that came with the database, of shape (…, Q, D).
    files
        The files that it is read from.
    """

    name: str
    heads: tuple[Source, ...]
    lead: tuple[int, ...] = ()
    kind: str = "text"
    depth: int = 0
    queries: StoredArray | None = None
    files: tuple[str, ...] = ()
    evidence: str = field(default="", repr=False)

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.heads[0].columns

    @property
    def keys(self) -> int:
        """K; of a table this takes a reading."""
        rows = getattr(self.heads[0], "rows", None)
        if rows is not None:
            return int(rows)
        return sum(len(block) for block in self.heads[0].blocks())

    @property
    def known_rows(self) -> int | None:
        """How many rows all heads have together, if that takes no reading."""
        rows = getattr(self.heads[0], "rows", None)
        return None if rows is None else int(rows) * len(self.heads)

    @property
    def has_names(self) -> bool:
        """Whether keys have names of their own, and not only numbers of rows."""
        head = getattr(self.heads[0], "head", None)
        return head is None or head.names is not None


class Held:
    """A source read into memory, for what must be read twice and comes through a pipe."""

    reopenable = True

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.columns = source.columns
        self._blocks = list(source.blocks())

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        yield from self._blocks


def open_database(  # noqa: PLR0913 - what a database is made of
    data: str,
    options: TableOptions,
    *,
    keys: str | None = None,
    values: str | None = None,
    labels: str | None = None,
    twice: bool = False,
    rule: bool = False,
) -> Database:
    """Open a table, an ``.npz`` of keys and values, or an array of each.

    Parameters
    ----------
    data
        A table or an ``.npz``; not looked at where ``keys`` is given.
    options
        How a table is to be read.
    keys, values
        Array files (…, K, D) and (…, K, Dv); the values are the keys where there are none.
    labels
        A file with the name of each key.
    twice
        Whether the database will be read more than once; a pipe is then held in memory.
    rule
        Whether a kernel's width may be worked out, for which numeric keys are read beforehand.

    Raises
    ------
    InputError
        A file that cannot be read, or arrays whose shapes do not fit together.
    """
    told = data == streams.STDIN and options.format is not None
    if keys is not None or (not told and holds_arrays(data)):
        return _open_arrays(data, keys, values, labels, options.encoding)
    if labels is not None or values is not None:
        message = "--labels and --values go with arrays; a table names its own rows (--value COL)"
        raise UsageError(message)
    source = open_table(data, options)
    evidence = getattr(source, "evidence", "")
    if not source.reopenable and (twice or (rule and source.columns.numeric_key)):
        source = Held(source)
    columns = source.columns
    vectors = getattr(source, "depth", 0)  # of a column that holds them
    kind = "array" if vectors else "table" if columns.numeric_key else "text"
    depth = vectors or (len(columns.key) if columns.numeric_key else 0)
    files = () if data == streams.STDIN else (data,)
    return Database(source.name, (source,), (), kind, depth, None, files, evidence)


def holds_arrays(path: str) -> bool:
    """Return whether a file by its name, or standard input by its start, holds arrays."""
    if path == streams.STDIN:
        return streams.peek_stdin().startswith(streams.ARRAYS)
    return path.lower().endswith((".npz", ".npy"))


def _open_arrays(
    data: str, keys: str | None, values: str | None, labels: str | None, encoding: str | None
) -> Database:
    from qkvcli.sources.labels import labels_of
    from qkvcli.sources.shards import check_alike, pairs
    from qkvcli.sources.vectors import Head, VectorSource

    shards: list[_Arrays] = []
    files: list[str] = []
    for one, other in pairs(data if keys is None else keys, values):
        shards.append(_one_file(one, other) if keys is None else _two_files(one, other))
        check_shapes(shards[-1].keys, shards[-1].values)
        check_alike(shards[0].keys, shards[-1].keys)
        check_alike(shards[0].values, shards[-1].values)
        files += [file for file in (one, other) if file]
    ends = list(accumulate(shard.keys.shape[-2] for shard in shards))
    names = labels_of(labels, ends[-1], "keys", encoding) if labels is not None else None
    lead = shards[0].keys.shape[:-2]
    heads = tuple(
        VectorSource(
            *(
                Head(keys, values, number, names, first)
                for (keys, values, _), first in zip(shards, [0, *ends], strict=False)
            )
        )
        for number in range(math.prod(lead))
    )
    k, _, queries = shards[0]
    name = k.name if len(shards) == 1 else keys or data
    return Database(name, heads, lead, "array", k.shape[-1], queries, tuple(files))


class _Arrays(NamedTuple):
    keys: StoredArray
    values: StoredArray
    queries: StoredArray | None = None


def _two_files(keys: str, values: str | None) -> _Arrays:
    from qkvcli.sources.arrays import open_array

    k = open_array(keys)
    return _Arrays(k, k if values is None else open_array(values))


def _one_file(data: str, values: str | None) -> _Arrays:
    from qkvcli.sources.arrays import open_array, open_arrays, pick

    arrays = open_arrays(data)
    k = pick(arrays, _KEYS, "--keys", data)
    v = open_array(values) if values else next((arrays[n] for n in _VALUES if n in arrays), k)
    return _Arrays(k, v, next((arrays[name] for name in QUERIES if name in arrays), None))


def check_shapes(keys: StoredArray, values: StoredArray) -> None:
    """Refuse keys and values that are no vectors, or do not fit together."""
    for array, role in ((keys, "keys"), (values, "values")):
        check_numeric(array)
        if not 2 <= array.ndim <= 4:  # noqa: PLR2004
            message = f"{role} of shape {array.shape}; they are (K, D), (H, K, D) or (B, H, K, D)"
            raise InputError(message, array.name)
        if 0 in array.shape:
            message = f"{role} of shape {array.shape}: there is nothing to attend to"
            raise InputError(message, array.name)
    if keys.shape[:-1] != values.shape[:-1]:
        message = f"keys of shape {keys.shape} and values of shape {values.shape} do not fit"
        raise InputError(f"{message}; they must agree but for the last axis", values.name)


def check_numeric(array: StoredArray) -> None:
    """Refuse an array of text where numbers are wanted."""
    if array.dtype.kind == "U":
        message = f"is of dtype {array.dtype}; numbers were expected"
        raise InputError(message, array.name)
