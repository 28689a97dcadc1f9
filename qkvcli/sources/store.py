"""The store of keys and values: tables and arrays opened alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import open_table, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from qkvcli.blocks import Block, Columns, Queries, Source
    from qkvcli.sources.arrays import StoredArray
    from qkvcli.sources.table import TableOptions

_KEYS, _VALUES = ("keys", "k"), ("values", "v")
QUERIES = ("queries", "q")
"""What an ``.npz`` may call its queries."""


class Asked(NamedTuple):
    """Queries as a database meets them.

    Parameters
    ----------
    batch_shape
        Their leading axes; () where all heads are asked the same.
    queries
        Those of each head along the leading axes.
    """

    batch_shape: tuple[int, ...]
    queries: list[Queries]


@dataclass(frozen=True)
class Store:
    """What a database is: one head for a table, as many as its leading axes have for arrays.

    Parameters
    ----------
    name
        What errors call it.
    heads
        A source for each head, in the order of the leading axes.
    batch_shape
        The leading axes: (), (H,), (B, H), ….
    own_queries
        Queries that came with the database, of shape (…, Q, D).
    """

    name: str
    heads: tuple[Source, ...]
    batch_shape: tuple[int, ...] = ()
    own_queries: StoredArray | None = None

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.heads[0].columns

    @property
    def kind(self) -> str:
        """What keys are: ``"text"``, numeric columns of a ``"table"``, or an ``"array"``."""
        return self.heads[0].kind

    @property
    def depth(self) -> int:
        """D, the width of a key; 0 for text."""
        return self.heads[0].depth

    @property
    def left_out(self) -> int:
        """How many rows were left out, as a number was missing in them."""
        return self.heads[0].left_out

    def count(self) -> int:
        """Return K; of a table this takes a reading."""
        rows = self.heads[0].rows
        return sum(len(block) for block in self.heads[0].blocks()) if rows is None else rows

    @property
    def has_names(self) -> bool:
        """Whether keys have names of their own, and not only numbers of rows."""
        return self.kind != "array" or self.heads[0].names is not None

    def first_text(self) -> tuple[str, str]:
        """Return what makes the keys text, for a sentence, and the place of it."""
        from qkvcli.sources import numbers
        from qkvcli.sources.table import TableBlock

        block = next(iter(self.heads[0].blocks())).load()
        if isinstance(block, TableBlock):
            for column in block.layout.key:
                cells = block.cells.column(column)
                row = numbers.first_mismatch(cells, numbers.PLAIN)
                if row is not None:
                    shown = cells[row] if len(cells[row]) <= 40 else cells[row][:37] + "..."  # noqa: PLR2004
                    return f"the key {shown!r} is", block.where(row)
        return "the keys are", self.name


class BufferedSource:
    """A source read into memory, for what must be read twice and comes through a pipe."""

    reopenable = True

    def __init__(self, source: Source) -> None:
        self.name, self.columns, self.names = source.name, source.columns, source.names
        self.depth, self.kind = source.depth, source.kind
        self.key_dtype: np.dtype[np.floating] = source.key_dtype
        self.dtype: np.dtype[np.floating] = source.dtype
        self._blocks = list(source.blocks())
        self.left_out = source.left_out

    @property
    def rows(self) -> int:
        """K."""
        return sum(map(len, self._blocks))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        yield from self._blocks


def open_store(  # noqa: PLR0913 - what a database is made of
    data: str,
    options: TableOptions,
    *,
    keys: str | None = None,
    values: str | None = None,
    labels: str | None = None,
    twice: bool | None = False,
) -> Store:
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
        Whether the database will be read more than once; a pipe is then held in memory. None: only
        where keys are numbers, from which a kernel's width is worked out beforehand.

    Raises
    ------
    InputError
        A file that cannot be read, or arrays whose shapes do not fit together.
    """
    told = data == streams.STDIN and options.format is not None
    if keys is not None or (not told and holds_arrays(data)):
        return _open_arrays(data, keys, values, labels, options.encoding)
    if labels is not None or values is not None:
        message = "`labels` and `values` go with arrays; a table names its own rows (`value`)"
        raise UsageError(message)
    source = open_table(data, options)
    twice = source.columns.numeric_key if twice is None else twice
    if twice and not source.reopenable:
        source = BufferedSource(source)
    return Store(source.name, (source,))


def holds_arrays(path: str) -> bool:
    """Return whether a file by its name, or standard input by its start, holds arrays."""
    if path == streams.STDIN:
        return streams.peek_stdin().startswith(streams.ARRAYS)
    return path.lower().endswith((".npz", ".npy"))


def _open_arrays(
    data: str, keys: str | None, values: str | None, labels: str | None, encoding: str | None
) -> Store:
    from qkvcli.sources.labels import labels_of
    from qkvcli.sources.shards import check_alike, pairs
    from qkvcli.sources.vectors import Head, VectorSource

    shards: list[_Arrays] = []
    for one, other in pairs(data if keys is None else keys, values):
        shards.append(_one_file(one, other) if keys is None else _two_files(one, other))
        check_shapes(shards[-1].keys, shards[-1].values)
        check_alike(shards[0].keys, shards[-1].keys)
        check_alike(shards[0].values, shards[-1].values)
    ends = list(accumulate(shard.keys.shape[-2] for shard in shards))
    names = labels_of(labels, ends[-1], "keys", encoding) if labels is not None else None
    batch_shape = shards[0].keys.shape[:-2]
    heads = tuple(
        VectorSource(
            *(
                Head(keys, values, number, names, first)
                for (keys, values, _), first in zip(shards, [0, *ends], strict=False)
            )
        )
        for number in range(math.prod(batch_shape))
    )
    k, _, queries = shards[0]
    name = k.name if len(shards) == 1 else keys or data
    return Store(name, heads, batch_shape, queries)


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
    k = pick(arrays, _KEYS, "`keys`", data)
    v = open_array(values) if values else next((arrays[n] for n in _VALUES if n in arrays), k)
    return _Arrays(k, v, next((arrays[name] for name in QUERIES if name in arrays), None))


def check_shapes(keys: StoredArray, values: StoredArray) -> None:
    """Refuse keys and values that are no vectors, or do not fit together."""
    for array, role in ((keys, "keys"), (values, "values")):
        check_numeric(array)
        if array.ndim < 2:  # noqa: PLR2004
            message = f"{role} of shape {array.shape}; they are (K, D), (H, K, D), (B, H, K, D), …"
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
