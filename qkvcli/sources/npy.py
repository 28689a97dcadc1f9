"""Arrays in ``.npy`` and ``.npz`` files: looked at by their headers, read in runs of rows.

Nothing is unpickled, nothing is mapped (a mapped file that shrinks kills the process), and
nothing is read before its header has been held against the size of the file.
"""

from __future__ import annotations

import io
import math
import os
import threading
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from lzma import LZMAError
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from qkvcli.errors import InputError, QkvError, UsageError, did_you_mean
from qkvcli.sources import bytes_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from io import FileIO

    from numpy.typing import NDArray

WHOLE_CAP = 2 << 30
"""How much of an array may be held at once where it cannot be read in runs: 2 GiB.

That is a compressed ``.npz``, a pipe, or a Fortran-ordered file."""

SLAB_BYTES = 4 << 20
"""How much of a Fortran-ordered file is turned at a time."""

_AXES = 64  # as many as NumPy's arrays may have
_ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError),
    *(NotImplementedError, RuntimeError),  # an unknown method, an encrypted member
)
_MAGIC, _ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
_NO_ARRAYS = "not a .npy or .npz file"
_EMPTY = "is empty; an array file was expected"
_buffers = threading.local()


@dataclass(frozen=True)
class StoredArray:
    """An array where it lies: a region of a file, or bytes already in memory.

    Parameters
    ----------
    name
        What errors call it: the file, and the array's name in an ``.npz``.
    shape, dtype
        As its header says; the dtype is of kind bool, int, uint or float, or of fixed-width text.
    path, offset
        The file and where in it the first element lies.
    data
        The elements themselves, where they do not lie in a file.
    skipped
        How many bytes of the elements were left behind before ``data``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    path: str = ""
    offset: int = 0
    data: bytes | memoryview | None = None
    skipped: int = 0

    @property
    def size(self) -> int:
        """The number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def read(self) -> NDArray[np.generic]:
        """Return the whole array, of its own shape and dtype."""
        return np.frombuffer(self._bytes(0, self.size), self.dtype).reshape(self.shape)

    def rows(
        self, start: int, stop: int, *, columns: slice | None = None, buffer: str = ""
    ) -> NDArray[np.floating]:
        """Return some rows as float32 (from float16 and float32) or float64, shape (n, columns).

        Rows are counted over all leading axes: those of an array (H, K, D) are H·K rows of D.

        Parameters
        ----------
        start, stop
            The rows wanted.
        columns
            The columns wanted, from ``columns.start`` to before ``columns.stop``; None is all.
        buffer
            A name: the rows are read into this thread's buffer of that name, again and again,
            since fresh memory is slow to touch. They are good until the next such call.

        Raises
        ------
        InputError
            The file has become shorter than it was.
        """
        found: NDArray[Any] = self._stored(start, stop, columns, buffer)
        wanted = working_dtype(self.dtype)
        if found.dtype == wanted:
            return found
        if not buffer:
            return found.astype(wanted)
        out = _scratch(f"{buffer} as {wanted}", found.size * wanted.itemsize)
        converted = np.frombuffer(out, wanted).reshape(found.shape)
        np.copyto(converted, found, casting="unsafe")
        return converted

    def _stored(
        self, start: int, stop: int, columns: slice | None, buffer: str
    ) -> NDArray[np.generic]:
        """Return some rows, or some columns of them, of the dtype that the array has."""
        item, width = self.dtype.itemsize, self.shape[-1] if self.shape else 1
        columns = columns or slice(0, width)
        length, count, stride = columns.stop - columns.start, stop - start, width * item
        first = start * stride + columns.start * item
        if length == width:
            raw = self._bytes(first, count * stride, buffer)
        else:
            raw = self._bytes(first, length * item, buffer, count, stride)
        return np.frombuffer(raw, self.dtype).reshape(count, length)

    def part(self, start: int, stop: int) -> StoredArray:
        """Return the array with no more than some rows at hand, where it lies in memory."""
        if self.data is None:
            return self
        width = self.shape[-1] * self.dtype.itemsize
        return replace(
            self,
            data=bytes(self._bytes(start * width, (stop - start) * width)),
            skipped=start * width,
        )

    def _bytes(
        self, first: int, length: int, buffer: str = "", count: int = 1, stride: int = 0
    ) -> bytes | memoryview:
        """Return ``count`` runs of as many bytes, which begin ``stride`` bytes apart."""
        if self.data is not None:
            starts = [first - self.skipped + run * stride for run in range(count)]
            runs = [memoryview(self.data)[start : start + length] for start in starts]
            return runs[0] if count == 1 else b"".join(runs)
        size = count * length
        target = _scratch(buffer, size) if buffer else memoryview(bytearray(size))
        try:
            with open(self.path, "rb", buffering=0) as stream:
                for run in range(count):
                    stream.seek(self.offset + first + run * stride)
                    self._fill(stream, target[run * length : (run + 1) * length])
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror or error}")
        return target

    def _fill(self, stream: FileIO, target: memoryview) -> None:
        done = 0
        while done < len(target) and (got := stream.readinto(target[done:])):
            done += got
        if done < len(target):
            self._refuse("is shorter than when it was opened; was it rewritten meanwhile?")

    def _refuse(self, message: str) -> NoReturn:
        raise InputError(message, self.name)


def working_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.floating]:
    """Return float32 for float16 and float32, float64 for everything else."""
    narrow = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if narrow else np.float64)


def _scratch(name: str, length: int) -> memoryview:
    """Return this thread's buffer of a name, grown to a length."""
    held: dict[str, np.ndarray[tuple[int], np.dtype[np.uint8]]] = vars(_buffers)
    if name not in held or held[name].nbytes < length:
        held[name] = np.empty(length, np.uint8)
    return held[name].data[:length]


def arrays_in(parts: Iterable[bytes], name: str) -> Mapping[str, StoredArray]:
    """Look at the arrays of an ``.npy`` or ``.npz`` file that comes in parts, as from a pipe.

    Of an ``.npy`` no more is read than its header claims; an ``.npz`` is read whole.

    Raises
    ------
    InputError
        As of ``open_arrays``.
    """
    stream = _Parts(parts)
    first = stream.read(len(_MAGIC))
    whole = chain([first], stream.rest())
    if first.startswith(_ZIP):
        return _Archive(name, data=_joined(whole, name))
    if first != _MAGIC:
        raise InputError(_NO_ARRAYS if first else _EMPTY, name)
    stream = _Parts(whole)
    found, fortran = _header(stream, name)
    if found.size > WHOLE_CAP:
        raise InputError(f"more than {WHOLE_CAP >> 30} GiB from a pipe; give it as a file", name)
    return {"": _loaded(stream, found, fortran=fortran)}


class _Parts:
    """Bytes that come in parts, read on from where a reader stopped."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._held = b""

    def read(self, size: int = bytes_in.CHUNK, /) -> bytes:
        while len(self._held) < size and (part := next(self._parts, b"")):
            self._held += part
        found, self._held = self._held[:size], self._held[size:]
        return found

    def rest(self) -> Iterator[bytes]:
        """Yield what was not read yet."""
        yield self._held
        yield from self._parts


def _loaded(stream: _Parts | IO[bytes], found: StoredArray, *, fortran: bool) -> StoredArray:
    """Read what a header has claimed into memory that is touched only as it is filled."""
    if not fortran or found.ndim < 2 or not found.size:  # of one axis, both are one
        held = np.empty(found.size, np.uint8)
        _take(stream, held, found, 0)
        return replace(found, data=held.data)
    turned = np.empty(found.shape, found.dtype)
    for part, at in _slabs(stream, found):
        turned[..., at : at + part.shape[-1]] = part
    return replace(found, data=turned.reshape(-1).view(np.uint8).data)


def _slabs(
    stream: _Parts | IO[bytes], found: StoredArray
) -> Iterator[tuple[NDArray[np.generic], int]]:
    """Yield a Fortran-ordered array by its last axis, so that it is never held in both orders."""
    *inner, outer = found.shape
    width = found.size // outer
    step = max(1, SLAB_BYTES // width)
    held = np.empty(min(step, outer) * width, np.uint8)
    for at in range(0, outer, step):
        count = min(step, outer - at)
        part = held[: count * width]
        _take(stream, part, found, at * width)
        yield part.view(found.dtype).reshape((*inner, count), order="F"), at


def _take(
    stream: _Parts | IO[bytes], held: NDArray[np.uint8], found: StoredArray, before: int
) -> None:
    """Read the elements that come after the first ``before`` bytes of them."""
    done = 0
    while done < len(held) and (part := stream.read(min(bytes_in.CHUNK, len(held) - done))):
        held[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    if done < len(held):
        raise InputError(_truncated(found, before + done), found.name)


def _joined(parts: Iterable[bytes], name: str) -> bytes:
    held, size = [], 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size > WHOLE_CAP:
            raise InputError(
                f"more than {WHOLE_CAP >> 30} GiB from a pipe; give it as a file", name
            )
    return b"".join(held)


def open_arrays(path: str) -> Mapping[str, StoredArray]:
    """Look at the arrays of an ``.npy`` (one, named ``""``) or ``.npz`` file, or of a pipe.

    The arrays of an ``.npz`` are looked at when they are asked for.

    Raises
    ------
    InputError
        Not such a file, truncated, pickled objects, or more than ``WHOLE_CAP`` to unpack.
    """
    name = bytes_in.display_name(path)
    try:
        if not bytes_in.reopenable(path):
            return arrays_in(bytes_in.chunks(path), name)
        with open(path, "rb") as stream:
            start = stream.read(len(_MAGIC))
            if start.startswith(_ZIP):
                return _Archive(name, path=os.path.abspath(path))
            if start != _MAGIC:
                raise InputError(_NO_ARRAYS if start else _EMPTY, name)
            stream.seek(0)
            size = os.fstat(stream.fileno()).st_size
            return {"": _in_place(stream, name, os.path.abspath(path), size)}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", name) from None


def open_array(path: str) -> StoredArray:
    """Look at the one array of a file.

    Raises
    ------
    InputError
        As ``open_arrays``; or an ``.npz`` that holds several.
    """
    found = open_arrays(path)
    if len(found) != 1:
        raise InputError(
            f"holds {len(found)} arrays ({', '.join(found)}); give a file with one",
            bytes_in.display_name(path),
        )
    return next(iter(found.values()))


def _in_place(stream: IO[bytes], name: str, path: str, end: int) -> StoredArray:
    """Return the array whose header the stream stands before and whose elements end at ``end``."""
    found, fortran = _header(stream, name)
    offset = stream.tell()
    if found.size > end - offset:
        raise InputError(_truncated(found, end - offset), name)
    if path and not fortran:
        return replace(found, path=path, offset=offset)
    if found.size > WHOLE_CAP:
        raise InputError(
            f"is Fortran-ordered and over {WHOLE_CAP >> 30} GiB; save it in C order", name
        )
    return _loaded(stream, found, fortran=fortran)


def _truncated(found: StoredArray, follow: int) -> str:
    return (
        f"truncated: its header claims shape {found.shape} of {found.dtype}, "
        f"{found.size} bytes, and {follow} follow"
    )


def _header(stream: IO[bytes] | _Parts, name: str) -> tuple[StoredArray, bool]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    damage = (
        *(ValueError, KeyError, TypeError, SyntaxError, EOFError),
        *(MemoryError, RecursionError, tokenize.TokenError),
    )
    try:
        with warnings.catch_warnings():  # of Python 2's spellings, and of odd escapes
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            shape, fortran, dtype = readers[version](stream)
        shape = tuple(int(n) for n in shape)
    except damage:
        raise InputError("not a .npy file, or one whose header is damaged", name) from None
    if dtype.hasobject:
        raise InputError("holds Python objects, which are not read; save it as numbers", name)
    width = dtype.itemsize
    if dtype.kind not in "biufU" or not width or (width > 8 and dtype.kind != "U"):
        raise InputError(f"is of dtype {dtype}; save it as float32 or float64", name)
    extent = math.prod(n for n in shape if n) * width  # NumPy's own bounds
    if any(n < 0 for n in shape) or len(shape) > _AXES or (extent >> 63 and 0 in shape):
        raise InputError(f"its header claims the shape {shape}", name)
    return StoredArray(name, shape, dtype), bool(fortran)


class _Archive(Mapping[str, StoredArray]):
    """The arrays of an ``.npz``, each looked at, or unpacked, when it is asked for.

    Parameters
    ----------
    name
        What errors call it.
    path, data
        The file, or its bytes.
    """

    def __init__(self, name: str, *, path: str = "", data: bytes = b"") -> None:
        self._name, self._path, self._data = name, path, data
        self._looked_at: dict[str, StoredArray] = {}
        with self._opened() as (archive, _):
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            unpacked = sum(m.file_size for m in members if m.compress_type or not path)
        if unpacked > WHOLE_CAP:
            raise InputError(
                f"unpacks to {unpacked >> 20} MiB, over the cap of {WHOLE_CAP >> 20} MiB", name
            )
        if not members:
            raise InputError("holds no arrays", name)
        self._members = {member.filename[:-4]: member for member in members}

    @contextmanager
    def _opened(self) -> Iterator[tuple[zipfile.ZipFile, BinaryIO]]:
        try:
            with (
                open(self._path, "rb") if self._path else io.BytesIO(self._data) as stream,
                zipfile.ZipFile(stream) as archive,
            ):
                yield archive, stream
        except QkvError:  # which is a ValueError too
            raise
        except _ZIP_DAMAGE as error:
            raise InputError(f"not a .npz file, or a damaged one ({error})", self._name) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", self._name) from None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, label: object) -> bool:
        return label in self._members

    def __getitem__(self, label: str) -> StoredArray:
        if label not in self._looked_at:
            member = self._members[label]
            with self._opened() as (archive, stream):
                found = _member(archive, member, stream, f"{self._name}[{label}]", self._path)
            self._looked_at[label] = found
        return self._looked_at[label]


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, stream: BinaryIO, name: str, path: str
) -> StoredArray:
    if member.compress_type == zipfile.ZIP_STORED and path and not member.flag_bits & 1:
        with archive.open(member):  # holds the local header against the directory
            pass
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
        start = member.header_offset + 30 + int.from_bytes(lengths[:2], "little")
        stream.seek(start + int.from_bytes(lengths[2:], "little"))
        end = min(stream.tell() + member.file_size, os.path.getsize(path))
        return _in_place(stream, name, path, end)
    with archive.open(member) as part:
        return _in_place(part, name, "", member.file_size)


def pick(
    arrays: Mapping[str, StoredArray], wanted: Sequence[str], option: str, name: str
) -> StoredArray:
    """Return the first array of these names, or the only one.

    Raises
    ------
    UsageError
        None of them is there, with the names that are.
    """
    for label in wanted:
        if label in arrays:
            return arrays[label]
    numeric = [array for array in arrays.values() if array.dtype.kind != "U"]
    if len(numeric) == 1:
        return numeric[0]
    if wanted:
        hint = did_you_mean(wanted[0], list(arrays))
        message = f"{name} has no array {wanted[0]!r}{hint}; pass {option}"
    else:
        message = f"{name} holds several arrays: {', '.join(arrays)}; pass {option}"
    raise UsageError(message)


def first_nonfinite(array: NDArray[np.floating], first_row: int = 0) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity, counting rows from ``first_row``."""
    bad = np.flatnonzero(~np.isfinite(array))
    if not len(bad):
        return None
    index = np.unravel_index(bad[0], array.shape)
    return (int(index[0]) + first_row, *(int(i) for i in index[1:]))
