"""Columnar files: where they lie, on a disk or in an object store, and how pieces are read."""

from __future__ import annotations

import fnmatch
import os
import re
import struct
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ArrowException, fs, types

from qkvcli.errors import InputError, QkvError, UsageError
from qkvcli.sources.bytes_in import wait_interruptibly
from qkvcli.sources.formats import COLUMNAR, ENDINGS, NUMBER, TEXT
from qkvcli.sources.npy import WHOLE_CAP
from qkvcli.sources.shards import is_pattern, is_url, local

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyarrow import NativeFile

VECTOR = "vector"
ROWS = 1 << 18
_BYTES = 1 << 26
"""How many rows of a row group, and bytes of one column of them, are a block at most."""
_BUFFER = 1 << 20
"""How much of a file is read at a time."""
_NUMBER = 8
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_LONGEST = 200
_PATIENCE = 10
"""For how many seconds pyarrow may try to reach a store that does not answer."""
_AZURE_CREDENTIALS = re.compile(r"[?&](?:credential_kind=(?!default|cli)|sig=)|^[^/@]*:[^/@]+@")
_AZURE_ENVIRONMENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


@dataclass(frozen=True)
class File:
    """A columnar file, small enough to travel; whoever reads it opens it anew.

    Parameters
    ----------
    name
        What errors call it.
    path
        Where it lies in its file system.
    form
        ``"parquet"`` or ``"arrow"``.
    url
        A URL of its file system; empty for the local one.
    partition
        The columns that its folders' names spell: ``year=2024`` and the like.
    """

    name: str
    path: str
    form: str
    url: str = ""
    partition: tuple[tuple[str, str], ...] = ()

    def open(self) -> NativeFile:
        """Open it for reading at random."""
        if self.url:
            return wait_interruptibly(lambda: filesystem(self.url).open_input_file(self.path))
        return filesystem("").open_input_file(self.path)


def one_line(error: Exception) -> str:
    """Return what a library says of a failure, cut to what a line holds."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


@lru_cache(maxsize=16)
def filesystem(url: str) -> fs.FileSystem:
    """Return the file system of a URL: pyarrow's own, or one that fsspec knows."""
    return _resolved(url)[0] if url else fs.LocalFileSystem()


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say in one line why a file cannot be read.

    Raises
    ------
    InputError
        With the name, for whatever a reader, or by URL a file system's own code, runs into.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError("no such file", name) from None
    except (OSError, ArrowException, UnicodeDecodeError, ArithmeticError) as error:  # decimals
        raise InputError(f"cannot be read: {one_line(error)}", name) from None
    except Exception as error:
        if not is_url(name) or isinstance(error, (QkvError, MemoryError)):
            raise
        what = one_line(error) or type(error).__name__
        raise InputError(f"cannot be read: {what}", name) from None


def _resolved(url: str) -> tuple[fs.FileSystem, str]:
    """Return a URL's file system and the path in it.

    Raises
    ------
    UsageError
        Neither pyarrow nor an installed fsspec knows such URLs, or not without more.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    try:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(_safe(scheme, rest))
    except ArrowException:
        pass
    else:
        return found
    try:
        import fsspec

        known, path = fsspec.core.url_to_fs(f"{scheme}://{rest}")
    except ImportError as error:
        raise UsageError(
            f"{url}: pyarrow has no file system for {scheme}://, and fsspec none"
            f" ({one_line(error)}); install one"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"{url}: there is no file system for {scheme}:// ({one_line(error)})"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(known)), path


def _safe(scheme: str, rest: str) -> str:
    """Return a URL with which pyarrow neither waits for ever nor starts programs."""
    more = ""
    if scheme in ("gs", "gcs") and "retry_limit_seconds=" not in rest:
        more = f"retry_limit_seconds={_PATIENCE}"
    if scheme in ("abfs", "abfss") and not _AZURE_CREDENTIALS.search(rest):
        # Otherwise it looks for credentials by running az, and where that has none it aborts.
        if not all(map(os.environ.get, _AZURE_ENVIRONMENT)):
            raise UsageError(
                f"{scheme}://{rest}: no credentials; set {', '.join(_AZURE_ENVIRONMENT)}, "
                "or add ?credential_kind=anonymous"
            )
        more = "credential_kind=environment"
    return f"{scheme}://{rest}" + (("&" if "?" in rest else "?") + more if more else "")


def files_of(path: str, form: str | None = None) -> list[File]:
    """Return the columnar files that a name stands for, in name order.

    Parameters
    ----------
    path
        A file; a folder, with all folders in it; a pattern of either; or a URL of any of these.
    form
        What the files are, whatever their names say.

    Raises
    ------
    InputError
        There are none.
    UsageError
        A URL that no file system is known for.
    """
    url = path if is_url(path) and local(path) == path else ""

    def listed() -> tuple[str, str, list[fs.FileInfo]]:
        system, inside = _resolved(url) if url else (filesystem(""), os.path.abspath(local(path)))
        base, infos = _listed(system, inside, pattern=is_url(path) or is_pattern(path))
        return inside, base, sorted(infos, key=lambda info: info.path)

    with told(path):
        inside, base, infos = wait_interruptibly(listed) if url else listed()
    found = []
    for info in infos:
        below = info.path[len(base) :].lstrip("/")
        kind = form or ENDINGS.get(os.path.splitext(info.path.lower())[1])
        if info.path == inside:
            found.append(File(path, info.path, kind if kind in COLUMNAR else "parquet", url))
        elif kind in COLUMNAR and not any(part.startswith((".", "_")) for part in below.split("/")):
            partition = tuple(
                (unquote(name), "" if value == _NO_VALUE else unquote(value))
                for name, value in _PARTITION.findall(below)
            )
            found.append(File(_shown(path, info.path), info.path, kind, url, partition))
    if not found:
        hint = (
            "no file has a name like this" if base != inside else "holds no Parquet or Arrow file"
        )
        raise InputError(f"{hint}; mind the folder and the extensions", path)
    return found


def _shown(path: str, file: str) -> str:
    """Return how a file is called that was found by a pattern or in a folder."""
    if is_url(path):
        return f"{path.partition('://')[0]}://{file}"
    return file if os.path.isabs(path) else os.path.relpath(file)


def _listed(
    system: fs.FileSystem, inside: str, *, pattern: bool
) -> tuple[str, Iterable[fs.FileInfo]]:
    """Return the folder that a name is rooted in, and the files that it stands for."""
    info = system.get_file_info(inside)
    if info.type == fs.FileType.File:
        return inside, [info]
    if info.type == fs.FileType.Directory:
        return inside, _below(system, inside)
    parts = inside.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if first is None or not pattern:
        raise FileNotFoundError
    base = "/".join(parts[:first])
    wanted = parts[first:]
    return base, [
        info
        for info in _below(system, base)
        if _matches(info.path[len(base) :].lstrip("/").split("/"), wanted)
    ]


def _matches(path: list[str], wanted: list[str]) -> bool:
    """Whether a path, or a folder that it lies in, has a name like the one wanted.

    ``**`` stands for any folders, or none.
    """
    if not wanted:
        return True
    if wanted[0] == "**":
        return any(_matches(path[i:], wanted[1:]) for i in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], wanted[0]) and _matches(path[1:], wanted[1:])


def _below(system: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [info for info in system.get_file_info(selector) if info.type == fs.FileType.File]


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, and neither a dictionary nor a view of it."""
    return bool(types.is_string(kind) or types.is_large_string(kind))


def plain(kind: pa.DataType) -> pa.DataType:
    """Return a type, or what its dictionary is of."""
    return kind.value_type if types.is_dictionary(kind) else kind


def without_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose cells are no places in a dictionary."""
    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def kind_of(kind: pa.DataType) -> str | None:
    """Return what a type is to the fold, or None for what it cannot take."""
    kind = plain(kind)
    if is_text(kind) or kind == pa.string_view():
        return TEXT
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not any(test(kind.value_type if is_list else kind) for test in tests):
        return None
    return VECTOR if is_list else NUMBER


def kind_in(schema: pa.Schema, name: str, file: File) -> str:
    """Return the kind of a column of a file.

    Raises
    ------
    InputError
        It is neither numbers nor text.
    """
    found = schema.field(name).type
    kind = kind_of(found)
    if kind is None:
        message = f"the column {name!r} is of type {found}, which is neither numbers nor text"
        way_out = "cast it, or choose others with `key` and `value`"
        if types.is_date(found) or types.is_timestamp(found):
            way_out = f"as a key pass `date={name!r}`; else {way_out}"
        raise InputError(f"{message}; {way_out}", file.name)
    return kind


# Pieces: where rows lie, and how they are read.


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
        folders = dict(self.file.partition)
        inside = [name for name in names if name not in folders]
        with told(self.file.name):
            if self.file.form != "parquet":
                with self.file.open() as stream:
                    found = _checked(_reader(stream, inside).get_batch(self.index))
            elif inside:
                found = self._part_of_group(inside)
            else:  # of columns that folders spell there are only rows
                found = pa.table({"": pa.nulls(self.rows)})
            if len(found) != self.rows:
                raise InputError(
                    "is not as it was when it was opened; was it rewritten meanwhile?",
                    self.file.name,
                )
            return found

    def _part_of_group(self, names: list[str]) -> pa.Table:
        """Read on from where this thread stopped, if that was earlier in the same row group."""
        of = (self.file, self.index, self.step, *names)
        group, _stopped.at = getattr(_stopped, "at", None), None
        if group is None or group.of != of or group.next > self.number:
            group = _Group(of, 0, _parts(self.file, self.index, self.step, names))
        last = deque(islice(group.parts, self.number + 1 - group.next), maxlen=1)
        if not last:
            return pa.table({})
        if self.rows == self.step:
            _stopped.at = _Group(of, self.number + 1, group.parts)
        return _checked(last[0])


class _Group(NamedTuple):
    """A row group that is being read: of what file and columns, and what comes next."""

    of: tuple[object, ...]
    next: int
    parts: Iterator[pa.RecordBatch]


_stopped = threading.local()


def _parts(
    file: File, index: int, step: int, names: list[str], coded: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield a row group in batches of so many rows; ``coded`` columns with their dictionaries."""
    with file.open() as stream:
        parquet = pq.ParquetFile(
            stream, read_dictionary=list(coded), buffer_size=_BUFFER, pre_buffer=False
        )
        yield from parquet.iter_batches(step, [index], names, use_threads=False)


def _checked(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch as a table whose offsets and texts have been looked at.

    A file may say anything of them, and what reads them in C++ believes it.
    """
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


def schema_of(file: File) -> pa.Schema:
    """Return what the columns of a file are called, and their types."""
    with told(file.name), file.open() as stream:
        is_parquet = file.form == "parquet"
        schema = pq.ParquetFile(stream).schema_arrow if is_parquet else _reader(stream).schema
        _ = schema.names  # which may not be UTF-8
        return schema


def _reader(stream: NativeFile, names: Sequence[str] = ()) -> pa.RecordBatchFileReader:
    """Open an Arrow file, for all columns or for some."""
    reader = pa.ipc.open_file(stream)
    if not names:
        return reader
    wanted = sorted(reader.schema.get_field_index(name) for name in names)
    stream.seek(0)
    return pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=wanted))


def batches(file: File, names: Sequence[str]) -> Iterator[tuple[Piece, pa.Table]]:
    """Yield the batches of an Arrow file that have rows, with some columns of them."""
    folders = dict(file.partition)
    with told(file.name), file.open() as stream:
        if not file.url:  # in an object store every look is a request
            check_sizes(stream, file.name)
        reader = _reader(stream, [name for name in names if name not in folders])
        before = 0
        for index in range(reader.num_record_batches):
            table = _checked(reader.get_batch(index))
            if len(table):
                yield Piece(file, index, len(table), before), table
            before += len(table)


def row_groups(file: File, names: Sequence[str] | None) -> Iterator[Piece]:
    """Yield the row groups of a Parquet file, in pieces where it is said what is read of them."""
    with told(file.name), file.open() as stream:
        parquet = pq.ParquetFile(stream)
        groups = range(parquet.metadata.num_row_groups)
        counts = [max(0, parquet.metadata.row_group(i).num_rows) for i in groups]
        steps = counts
        if names is not None:
            steps = [_step_of(file, parquet, i, names) if n else 0 for i, n in enumerate(counts)]
    before = 0
    for index, (rows, step) in enumerate(zip(counts, steps, strict=True)):
        for number, start in enumerate(range(0, rows, step or 1)):
            yield Piece(file, index, min(step, rows - start), before + start, number, step)
        before += rows


def _step_of(file: File, parquet: pq.ParquetFile, index: int, names: Sequence[str]) -> int:
    """Return how many rows of a row group are a block, by what they unpack to.

    Runs and dictionaries make a row group of any size of next to no bytes, so what it takes on
    disk says nothing. What a row takes at most is the longest entry of a dictionary, or as much as
    is stored for it; or so many numbers.
    """
    schema = parquet.schema_arrow
    kinds = {name: kind_of(schema.field(name).type) for name in names if name in schema.names}
    wide = {name: kind for name, kind in kinds.items() if kind in (VECTOR, TEXT)}
    if not wide:
        return ROWS
    texts = sorted(name for name, kind in wide.items() if kind == TEXT)
    head = next(_parts(file, index, 1, list(wide), texts), None)  # and the dictionaries of all rows
    if head is None:
        raise InputError(
            f"cannot be read: row group {index} lacks the rows that it claims", file.name
        )
    # Only now: where a chunk is not well described, pyarrow aborts on being asked of it, but
    # raises on reading it.
    group = parquet.metadata.row_group(index)
    step = ROWS
    for name, kind in wide.items():
        at = next(  # of what the column, or a list in it, is made of
            i for i, leaf in enumerate(parquet.schema) if f"{leaf.path}.".startswith(f"{name}.")
        )
        chunk = group.column(at)
        if kind == VECTOR:
            if chunk.num_values * _NUMBER > WHOLE_CAP:
                raise InputError(
                    f"row group {index} holds {chunk.num_values} numbers in the column "
                    f"{name!r}, over the cap of {WHOLE_CAP // _NUMBER}"
                    "; write it in smaller row groups",
                    file.name,
                )
            step = min(step, _BYTES // _NUMBER * group.num_rows // max(1, chunk.num_values))
            continue
        step = min(step, _BYTES * group.num_rows // max(1, chunk.total_uncompressed_size))
        if types.is_dictionary(head[name].type):
            longest = pc.max(pc.binary_length(head[name].dictionary)).as_py() or 1
            step = min(step, _BYTES // longest)
    return max(1, step)


# An Arrow file describes its batches in flatbuffers, by Arrow's File.fbs and Message.fbs: fields of
# the footer, of a message, of the dictionary and of the batch in it. Any number in them may lie.
_DICTIONARIES, _BATCHES, _HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 3, 2, 1, 2, 3


def check_sizes(stream: NativeFile, name: str) -> None:
    """Refuse a batch that lies outside of its file, or that is compressed and over the cap.

    pyarrow makes room for as much as a file says before it looks whether that is there.

    Raises
    ------
    InputError
        With the batch.
    """
    size = stream.size()
    try:
        length = _number(stream.read_at(4, size - 10), 0, "<i")
        footer = stream.read_at(min(max(length, 0), size), max(0, size - 10 - length))
        for kind, field in (("dictionary", _DICTIONARIES), ("batch", _BATCHES)):
            places = _structs(footer, _followed(footer, 0), field, "<qi4xq")
            for index, (start, head, body) in enumerate(places):
                if min(start, head, body) < 0 or start + head + body > size:
                    raise InputError(
                        f"cannot be read: {kind} {index} lies outside of the file", name
                    )
                unpacked = _unpacked(stream, start, head, is_batch=field == _BATCHES)
                if unpacked > WHOLE_CAP:
                    message = f"{kind} {index} unpacks to {unpacked >> 20} MiB, over the cap of "
                    message += f"{WHOLE_CAP >> 20} MiB; write it in smaller batches"
                    raise InputError(message, name)
    except struct.error:
        raise InputError("cannot be read: its footer is damaged", name) from None


def _unpacked(stream: NativeFile, start: int, head: int, *, is_batch: bool) -> int:
    """Return what a batch says it unpacks to; 0 where it is not compressed."""
    data = stream.read_at(head, start)
    batch = _followed(data, 8 if data.startswith(b"\xff" * 4) else 4)
    for field in (_HEADER,) if is_batch else (_HEADER, _DATA):
        batch = _followed(data, _place(data, batch, field))
    if not _place(data, batch, _COMPRESSION):
        return 0
    buffers = [at for at, length in _structs(data, batch, _BUFFERS, "<qq") if length > 0]
    said = (_number(stream.read_at(8, start + head + max(0, at)), 0, "<q") for at in buffers)
    return sum(max(0, size) for size in said)  # -1 where compression did not pay


def _number(data: bytes, at: int, form: str = "<I") -> int:
    found: int = struct.unpack_from(form, data, at)[0]
    return found


def _followed(data: bytes, at: int) -> int:
    """Return where an offset points that lies at a place."""
    return at + _number(data, at)


def _place(data: bytes, table: int, field: int) -> int:
    """Return where a field of a table lies; 0 where it is not there."""
    shape = table - _number(data, table, "<i")
    is_there = 4 + 2 * field < _number(data, shape, "<H")
    offset = _number(data, shape + 4 + 2 * field, "<H") if is_there else 0
    return table + offset if offset else 0


def _structs(data: bytes, table: int, field: int, form: str) -> list[tuple[int, ...]]:
    """Return the structs of numbers in a field, or nothing where it is not there."""
    place = _place(data, table, field)
    if not place:
        return []
    start = _followed(data, place)
    size = _number(data, start) * struct.calcsize(form)
    return list(struct.iter_unpack(form, data[start + 4 : start + 4 + size]))
