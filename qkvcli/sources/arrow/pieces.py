"""Rows of a columnar file: where they lie, and how they are read."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from qkvcli.errors import InputError
from qkvcli.sources.arrow.fields import VECTOR, kind_of
from qkvcli.sources.arrow.files import told
from qkvcli.sources.formats import TEXT
from qkvcli.sources.npy import WHOLE_CAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qkvcli.sources.arrow.fields import Fields
    from qkvcli.sources.arrow.files import File

ROWS = 1 << 18
_BYTES = 1 << 26
"""How many rows of a row group, and bytes of one column of them, are a block at most."""
_BUFFER = 1 << 20
"""How much of a file is read at a time."""
_NUMBER = 8


@dataclass(frozen=True)
class Piece:
    """Some rows of a row group, or a record batch: where they lie.

    Parameters
    ----------
    file
        Its file.
    index
        Which of the file's row groups or batches.
    rows, before
        How many rows it has, and how many of the file come before them.
    number, step
        Which piece of its row group it is, and how many rows such pieces have; but for the last.
    """

    file: File
    index: int
    rows: int
    before: int
    number: int = 0
    step: int = 0

    def where(self, row: int) -> str:
        """Return the place of one of its rows, as errors name it."""
        return f"{self.file.name}: row {self.before + row}"

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read some columns.

        Raises
        ------
        InputError
            The file cannot be read, or not there; or is damaged.
        """
        inside = [name for name in dict.fromkeys(names) if name not in dict(self.file.partition)]
        with told(self.file.name):
            if self.file.form == "parquet":
                found = self._part_of_group(inside)
            else:
                with self.file.open() as stream:
                    found = batch_of(opened(stream, inside), self.index)
            if len(found) != self.rows:
                raise InputError(
                    "is not as it was when it was opened; was it rewritten meanwhile?",
                    self.file.name,
                )
            return found

    def _part_of_group(self, names: list[str]) -> pa.Table:
        """Read on from where this thread stopped, if that was earlier in the same row group."""
        if not names:  # of columns that folders spell there are only rows
            return pa.table({"": pa.nulls(self.rows)})
        of = (self.file, self.index, self.step, *names)
        group, _stopped.at = getattr(_stopped, "at", None), None
        if group is None or group.of != of or group.next > self.number:
            group = _Group(of, 0, self._parts(names))
        last = deque(islice(group.parts, self.number + 1 - group.next), maxlen=1)
        if not last:
            return pa.table({})
        if self.rows == self.step:
            _stopped.at = _Group(of, self.number + 1, group.parts)
        return _checked(last[0])

    def _parts(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        with self.file.open() as stream:
            file = pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
            yield from file.iter_batches(self.step, [self.index], names, use_threads=False)


class _Group(NamedTuple):
    """A row group that is being read: of what file and columns, and what comes next."""

    of: tuple[object, ...]
    next: int
    parts: Iterator[pa.RecordBatch]


_stopped = threading.local()


def step_of(file: File, parquet: pq.ParquetFile, index: int, fields: Fields) -> int:
    """Return how many rows of a row group are a block, by what they unpack to.

    Runs and dictionaries make a row group of any size of next to no bytes, so what it takes on
    disk says nothing. What a row takes at most is the longest entry of a dictionary, or as much as
    is stored for it; or so many numbers.
    """
    schema = parquet.schema_arrow
    wide = [f for f in fields.all if f.name in schema.names and _is_wide(schema.field(f.name).type)]
    if not wide:
        return ROWS
    head = _first_row(
        file, index, [f.name for f in wide], {f.name for f in wide if f.kind != VECTOR}
    )
    # Only now: where a chunk is not well described, pyarrow aborts on being asked of it, but
    # raises on reading it.
    group = parquet.metadata.row_group(index)
    step = ROWS
    for field in wide:
        at = next(i for i, column in enumerate(parquet.schema) if _is_of(column.path, field.name))
        chunk = group.column(at)
        if field.kind == VECTOR:
            if chunk.num_values * _NUMBER > WHOLE_CAP:
                raise InputError(
                    f"row group {index} holds {chunk.num_values} numbers in the column "
                    f"{field.name!r}, over the cap of {WHOLE_CAP // _NUMBER}"
                    "; write it in smaller row groups",
                    file.name,
                )
            step = min(step, _BYTES // _NUMBER * group.num_rows // max(1, chunk.num_values))
        else:
            step = min(step, _BYTES * group.num_rows // max(1, chunk.total_uncompressed_size))
            step = min(step, _BYTES // _longest(head[field.name]))
    return max(1, step)


def _is_wide(kind: pa.DataType) -> bool:
    """Whether a cell may be of any length."""
    return kind_of(kind) in (VECTOR, TEXT)


def _is_of(path: str, name: str) -> bool:
    """Whether a path of Parquet's schema is a column, or what a list in it is made of."""
    return path == name or path.startswith(f"{name}.")


def _first_row(file: File, index: int, names: list[str], texts: set[str]) -> pa.RecordBatch:
    """Return the first row of a row group, and with it the dictionaries that all rows share."""
    with file.open() as stream:
        parquet = pq.ParquetFile(
            stream, read_dictionary=sorted(texts), buffer_size=_BUFFER, pre_buffer=False
        )
        wanted = list(dict.fromkeys(names))
        head = next(parquet.iter_batches(1, [index], wanted, use_threads=False), None)
    if head is None:
        raise InputError(
            f"cannot be read: row group {index} lacks the rows that it claims", file.name
        )
    return head


def _longest(column: pa.Array) -> int:
    """Return how long the longest entry of a column's dictionary is, if it has one."""
    if not types.is_dictionary(column.type):
        return 1
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 1


def _checked(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch as a table whose offsets and texts have been looked at.

    A file may say anything of them, and what reads them in C++ believes it.
    """
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


def opened(stream: pa.NativeFile, names: Sequence[str] = ()) -> pa.RecordBatchFileReader:
    """Open an Arrow file, for all columns or for some."""
    reader = pa.ipc.open_file(stream)
    if not names:
        return reader
    wanted = sorted(reader.schema.get_field_index(name) for name in names)
    stream.seek(0)
    return pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=wanted))


def batch_of(reader: pa.RecordBatchFileReader, index: int) -> pa.Table:
    """Read a record batch of an Arrow file."""
    return _checked(reader.get_batch(index))
