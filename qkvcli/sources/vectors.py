"""Databases of vectors: keys and values in arrays, a head at a time, in blocks of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from qkvcli.blocks import Columns, Labels, Record, number_text
from qkvcli.errors import InputError
from qkvcli.sources.formats import KEYS, QUERIES, VALUES
from qkvcli.sources.npy import (
    StoredArray,
    first_nonfinite,
    open_array,
    open_arrays,
    pick,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qkvcli.sources.captured import Settings

ROWS = 57_344
"""How many rows make a block: of 64 float32 keys and values, 28 MiB. Never a matter of the machine,
so that answers never are."""

_PARTITIONS = 16
"""How many partitions of the blocks there are for each process: all end at about the same time."""


@dataclass(frozen=True)
class Head:
    """The keys and values of one head.

    Parameters
    ----------
    keys, values
        Arrays (…, K, D) and (…, K, Dv).
    number
        Which of the heads, counted over all leading axes.
    names
        What the keys of the database are called, where they have names.
    first
        The row of the database that is the first here: of several files, one follows another.
    named_from
        The row of the database that the first name is of.
    """

    keys: StoredArray
    values: StoredArray
    number: int = 0
    names: tuple[str, ...] | None = None
    first: int = 0
    named_from: int = 0

    @property
    def rows(self) -> int:
        """The number of keys, K."""
        return self.keys.shape[-2]

    @cached_property
    def columns(self) -> Columns:
        """The columns that records show."""
        width = self.values.shape[-1]
        names = tuple(f"v{i + 1}" for i in range(width)) if width > 1 else ("value",)
        return Columns(("key",), names, numeric_key=True, numeric=tuple(range(width)))


@dataclass(frozen=True)
class VectorBlock:
    """Some rows of a head: a reference until it is loaded, and small enough to travel."""

    start: int
    stop: int
    head: Head
    keys: NDArray[np.floating] = None  # type: ignore[assignment]
    stored_values: NDArray[np.floating] = None  # type: ignore[assignment]
    skipped: ClassVar[int] = 0

    def __getstate__(self) -> dict[str, object]:
        """Leave the rows behind, and of what is in memory all but what belongs to them."""
        start, stop = self._rows
        head = self.head
        keys = head.keys.part(start, stop)
        values = keys if head.values is head.keys else head.values.part(start, stop)
        names = head.names
        if names is not None:
            names = names[self.start - head.named_from : self.stop - head.named_from]
        small = replace(head, keys=keys, values=values, names=names, named_from=self.start)
        travels = {"start": self.start, "stop": self.stop, "head": small}
        return {**travels, "keys": None, "stored_values": None}

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start

    @property
    def _rows(self) -> tuple[int, int]:
        """Where the rows are in the arrays, counted over all leading axes."""
        before = self.head.number * self.head.rows - self.head.first
        return before + self.start, before + self.stop

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.head.columns

    def load(self) -> VectorBlock:
        """Return the block with its rows, in this thread's buffers until its next block."""
        head = self.head
        start, stop = self._rows
        keys = head.keys.rows(start, stop, buffer="keys")
        same = head.values is head.keys
        values = keys if same else head.values.rows(start, stop, buffer="values")
        return replace(self, keys=keys, stored_values=values)

    def key_bytes(self) -> None:
        """Return nothing: vectors have no letters."""

    def key_texts(self, column: int) -> list[str]:
        """Return one number of each key."""
        return [number_text(x) for x in self.keys[:, column]]

    def values(self, rows: Sequence[int] | None = None) -> NDArray[np.floating]:
        """Return the values of some rows or all, of shape (K, Dv)."""
        return self.stored_values if rows is None else self.stored_values[list(rows)]

    def labels(self, rows: Sequence[int] | None = None) -> list[Labels]:
        """Return nothing: arrays have no text values."""
        del rows
        return []

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return some rows as text."""
        names, named = self.head.names, self.start - self.head.named_from
        return [
            Record(
                (names[named + row] if names else str(self.start + row),),
                tuple(number_text(number) for number in self.stored_values[row]),
            )
            for row in rows
        ]

    def check(self) -> None:
        """Raise an InputError that names the first number which is NaN or infinite."""
        for array, part in ((self.head.keys, self.keys), (self.head.values, self.stored_values)):
            with np.errstate(over="ignore", invalid="ignore"):
                total = np.ones(len(part), part.dtype) @ part  # finite only if every number is
            first = self.start - self.head.first
            index = None if np.isfinite(total).all() else first_nonfinite(part, first)
            if index is not None:
                raise InputError(nonfinite_message(array, index, self.head.number), array.name)

    def where(self, row: int) -> str:
        """Return the place of a row, as errors name it."""
        return f"{self.head.keys.name}: row {self.start + row}"


def nonfinite_message(array: StoredArray, index: tuple[int, ...], head: int = 0) -> str:
    """Return what is said of an array's first NaN or infinity."""
    leading = [int(i) for i in np.unravel_index(head, array.shape[:-2])] if array.shape[:-2] else []
    place = ", ".join(str(i) for i in (*leading, *index))
    return f"NaN or infinity at index [{place}]; attention needs finite numbers"


@dataclass(frozen=True)
class VectorBlocks:
    """References to neighbouring blocks, in order or as partitions; none has rows of two files.

    Parameters
    ----------
    shards
        The head, in each of its files.
    begin, end
        Which of all blocks these are; ``begin`` is the first.
    """

    shards: tuple[Head, ...]
    begin: int
    end: int
    holds_lock = False
    is_counted = True

    @property
    def first(self) -> int:
        """How many blocks come before them."""
        return self.begin

    def __iter__(self) -> Iterator[VectorBlock]:
        """Yield the blocks."""
        every = (
            VectorBlock(start, min(start + ROWS, shard.first + shard.rows), shard)
            for shard in self.shards
            for start in range(shard.first, shard.first + shard.rows, ROWS)
        )
        return islice(every, self.begin, self.end)

    def partitions(self, processes: int) -> list[VectorBlocks]:
        """Return partitions of the blocks, some for each process."""
        step = max(1, (self.end - self.begin) // (_PARTITIONS * processes))
        starts = range(self.begin, self.end, step)
        return [replace(self, begin=start, end=min(start + step, self.end)) for start in starts]


class VectorSource:
    """One head's keys and values as a source of blocks.

    Parameters
    ----------
    head
        The head, of the first file.
    more
        The same head in other files, whose rows follow.
    """

    reopenable = True
    kind = "array"
    note = ""

    def __init__(self, head: Head, *more: Head) -> None:
        self.name, self.head, self.columns = head.keys.name, head, head.columns
        self._shards = (head, *more)
        self.rows = sum(shard.rows for shard in self._shards)
        self.depth = head.keys.shape[-1]
        self.key_dtype = working_dtype(head.keys.dtype)
        self.dtype: np.dtype[np.floating] = np.result_type(
            self.key_dtype, working_dtype(head.values.dtype)
        )
        self.names = head.names

    def key(self, row: int) -> NDArray[np.floating]:
        """Return one key as a vector, (D,)."""
        shard = next(head for head in reversed(self._shards) if head.first <= row)
        at = shard.number * shard.rows + row - shard.first
        found: NDArray[np.floating] = shard.keys.rows(at, at + 1)[0]
        return found

    def blocks(self) -> VectorBlocks:
        """Return references to the blocks of rows."""
        count = sum(math.ceil(shard.rows / ROWS) for shard in self._shards)
        return VectorBlocks(self._shards, 0, count)


def in_memory(array: NDArray[np.generic], name: str) -> StoredArray:
    """Return an array in memory as one that is read like a file's; nothing is copied."""
    whole = np.ascontiguousarray(array)
    if whole.dtype.kind not in "biuf" or whole.dtype.itemsize > 8:
        raise InputError(f"is of dtype {whole.dtype}; use numbers of at most 64 bits", name)
    view = whole.reshape(-1).view(np.uint8).data
    return StoredArray(name, whole.shape, whole.dtype, data=view)


def open_arrays_of(path: str, form: str) -> Mapping[str, StoredArray]:
    """Look at the arrays of a file of one of ``formats.ARRAYS``."""
    if form == "safetensors":
        from qkvcli.sources.safetensors import open_tensors

        return open_tensors(path)
    return open_arrays(path)


def open_heads(  # noqa: PLR0913, PLR0917 - what arrays are made of
    data: str,
    form: str,
    keys: str | None,
    values: str | None,
    labels: str | None,
    encoding: str | None,
) -> tuple[str, tuple[VectorSource, ...], tuple[int, ...], StoredArray | None, Settings | None]:
    """Return what a store of arrays in files is made of: its name, its heads, and what it brings.

    Parameters
    ----------
    data, form
        A file of several arrays and its format; not looked at where ``keys`` is given.
    keys, values
        Files (…, K, D) and (…, K, Dv), or patterns of such.
    labels, encoding
        A file with the name of each key, and its encoding.
    """
    from qkvcli.sources.shards import check_alike, pairs

    shards: list[_Arrays] = []
    for one, other in pairs(data if keys is None else keys, values):
        shards.append(_one_file(one, form, other) if keys is None else _two_files(one, other))
        check_shapes(shards[-1].keys, shards[-1].values)
        check_alike(shards[0].keys, shards[-1].keys)
        check_alike(shards[0].values, shards[-1].values)
    ends = list(accumulate(shard.keys.shape[-2] for shard in shards))
    own = shards[0].settings.key_labels if shards[0].settings and len(shards) == 1 else None
    names = own
    if labels is not None:
        from qkvcli.sources.labels import labels_of

        names = labels_of(labels, ends[-1], "keys", encoding)
    batch_shape = shards[0].keys.shape[:-2]
    heads = tuple(
        VectorSource(
            *(
                Head(keys, values, number, names, first)
                for (keys, values, *_), first in zip(shards, [0, *ends], strict=False)
            )
        )
        for number in range(math.prod(batch_shape))
    )
    k, _, queries, settings = shards[0]
    name = k.name if len(shards) == 1 else keys or data
    return name, heads, batch_shape, queries, settings


class _Arrays(NamedTuple):
    keys: StoredArray
    values: StoredArray
    queries: StoredArray | None = None
    settings: Settings | None = None


def _two_files(keys: str, values: str | None) -> _Arrays:
    k = open_array(keys)
    return _Arrays(k, k if values is None else open_array(values))


def _one_file(data: str, form: str, values: str | None) -> _Arrays:
    from qkvcli.sources.captured import read_settings

    arrays = open_arrays_of(data, form)
    k = pick(arrays, KEYS, "`keys`", data)
    v = open_array(values) if values else next((arrays[n] for n in VALUES if n in arrays), k)
    queries = next((arrays[name] for name in QUERIES if name in arrays), None)
    if queries is None:
        return _Arrays(k, v)
    return _Arrays(k, v, queries, read_settings(arrays, data, queries.shape))


def check_shapes(keys: StoredArray, values: StoredArray) -> None:
    """Refuse keys and values that are no vectors, or do not fit together."""
    for array, role in ((keys, "keys"), (values, "values")):
        check_numeric(array)
        if array.ndim < 2:
            raise InputError(
                f"{role} of shape {array.shape}; they are (K, D), (H, K, D), (B, H, K, D), …",
                array.name,
            )
        if 0 in array.shape:
            raise InputError(
                f"{role} of shape {array.shape}: there is nothing to attend to", array.name
            )
    if keys.shape[:-1] != values.shape[:-1]:
        raise InputError(
            f"keys of shape {keys.shape} and values of shape {values.shape} do not fit"
            "; they must agree but for the last axis",
            values.name,
        )


def check_numeric(array: StoredArray) -> None:
    """Refuse an array of text where numbers are wanted."""
    if array.dtype.kind == "U":
        raise InputError(f"is of dtype {array.dtype}; numbers were expected", array.name)
