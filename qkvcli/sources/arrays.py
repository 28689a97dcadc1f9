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
from dataclasses import dataclass, replace
from lzma import LZMAError
from typing import IO, TYPE_CHECKING, BinaryIO, NoReturn

import numpy as np

from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WHOLE_CAP = 2 << 30
"""How much of an array may be held at once where it cannot be read in runs: 2 GiB.

That is a compressed ``.npz``, a pipe, or a Fortran-ordered file."""

_AXES = 64  # as many as NumPy's arrays may have
_ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError),
    *(NotImplementedError, RuntimeError),  # an unknown method, an encrypted member
)
_MAGIC = b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
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

    def rows(self, start: int, stop: int, *, buffer: str = "") -> NDArray[np.floating]:
        """Return some rows as float32 (from float16 and float32) or float64, shape (n, columns).

        Rows are counted over all leading axes: those of an array (H, K, D) are H·K rows of D.

        Parameters
        ----------
        start, stop
            The rows wanted.
        buffer
            A name: the rows are read into this thread's buffer of that name, again and again,
            since fresh memory is slow to touch. They are good until the next such call.

        Raises
        ------
        InputError
            The file has become shorter than it was.
        """
        width = self.shape[-1] if self.shape else 1
        item = self.dtype.itemsize
        first, length = start * width * item, (stop - start) * width * item
        raw = self._bytes(first, length, buffer)
        found = np.frombuffer(raw, self.dtype).reshape(stop - start, width)
        wanted = working_dtype(self.dtype)
        if found.dtype == wanted:
            return found
        if not buffer:
            return found.astype(wanted)
        out = _scratch(f"{buffer} as {wanted}", found.size * wanted.itemsize)
        converted = np.frombuffer(out, wanted).reshape(found.shape)
        np.copyto(converted, found, casting="unsafe")
        return converted

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

    def _bytes(self, first: int, length: int, buffer: str = "") -> bytes | memoryview:
        if self.data is not None:
            first -= self.skipped
            return memoryview(self.data)[first : first + length]
        target = _scratch(buffer, length) if buffer else memoryview(bytearray(length))
        done = 0
        try:
            with open(self.path, "rb", buffering=0) as stream:
                stream.seek(self.offset + first)
                while done < length and (got := stream.readinto(target[done:])):
                    done += got
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror or error}")
        if done < length:
            self._refuse("is shorter than when it was opened; was it rewritten meanwhile?")
        return target

    def _refuse(self, message: str) -> NoReturn:
        raise InputError(message, self.name)


def working_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.floating]:
    """Return float32 for float16 and float32, float64 for everything else."""
    narrow = dtype.kind == "f" and dtype.itemsize <= 4  # noqa: PLR2004
    return np.dtype(np.float32 if narrow else np.float64)


def _scratch(name: str, length: int) -> memoryview:
    """Return this thread's buffer of a name, grown to a length."""
    held: dict[str, np.ndarray[tuple[int], np.dtype[np.uint8]]] = vars(_buffers)
    if name not in held or held[name].nbytes < length:
        held[name] = np.empty(length, np.uint8)
    return held[name].data[:length]


def is_array_file(path: str) -> bool:
    """Return whether a name is that of an ``.npy`` or ``.npz`` file."""
    return os.path.splitext(path.lower())[1] in (".npy", ".npz")


def is_array(start: bytes) -> bool:
    """Return whether bytes begin as an ``.npy`` or ``.npz`` file does."""
    return start.startswith((_MAGIC, *_ZIP))


def starts_as_array(path: str) -> bool:
    """Return whether a regular file begins as an ``.npy`` or ``.npz`` file, whatever its name."""
    try:
        with open(path, "rb") as stream:
            return is_array(stream.read(len(_MAGIC)))
    except OSError:
        return False  # who opens it next says why


def arrays_in(data: bytes, name: str) -> dict[str, StoredArray]:
    """Look at the arrays in the bytes of an ``.npy`` or ``.npz`` file, as ``open_arrays`` does."""
    return _look(io.BytesIO(data), name, "")


def open_arrays(path: str) -> dict[str, StoredArray]:
    """Look at the arrays of an ``.npy`` (one, named ``""``) or ``.npz`` file, or of a pipe.

    Raises
    ------
    InputError
        Not such a file, truncated, pickled objects, or more than ``WHOLE_CAP`` to unpack.
    """
    name = streams.display_name(path)
    try:
        if streams.reopenable(path):
            with open(path, "rb") as stream:
                return _look(stream, name, os.path.abspath(path))
        return _look(io.BytesIO(_whole_pipe(path, name)), name, "")
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
        message = f"holds {len(found)} arrays ({', '.join(found)}); give a file with one"
        raise InputError(message, streams.display_name(path))
    return next(iter(found.values()))


def _whole_pipe(path: str, name: str) -> bytes:
    with streams.open_bytes(path) as stream:
        data = streams.read_exactly(stream, WHOLE_CAP + 1)
    if len(data) > WHOLE_CAP:
        message = f"more than {WHOLE_CAP >> 30} GiB from a pipe; give it as a file"
        raise InputError(message, name)
    return data


def _look(stream: BinaryIO, name: str, path: str) -> dict[str, StoredArray]:
    start = stream.read(6)
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    stream.seek(0)
    if start == _MAGIC:
        return {"": _in_place(stream, name, path, size)}
    if start.startswith(_ZIP):
        return _members(stream, name, path)
    if not start:
        message = "is empty; an array file was expected"
        raise InputError(message, name)
    message = "not a .npy or .npz file"
    raise InputError(message, name)


def _in_place(stream: IO[bytes], name: str, path: str, end: int) -> StoredArray:
    """Return the array whose header the stream stands before and whose elements end at ``end``."""
    found, fortran = _header(stream, name)
    offset = stream.tell()
    if found.size > end - offset:
        message = (
            f"truncated: its header claims shape {found.shape} of {found.dtype}, "
            f"{found.size} bytes, and {end - offset} follow"
        )
        raise InputError(message, name)
    if path and not fortran:
        return replace(found, path=path, offset=offset)
    if found.size > WHOLE_CAP:
        message = f"is Fortran-ordered and over {WHOLE_CAP >> 30} GiB; save it in C order"
        raise InputError(message, name)
    data = stream.read(found.size)
    if not fortran:
        return replace(found, data=data)
    turned = np.frombuffer(data, found.dtype).reshape(found.shape, order="F")
    return replace(found, data=turned.tobytes())


def _header(stream: IO[bytes], name: str) -> tuple[StoredArray, bool]:
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
        message = "not a .npy file, or one whose header is damaged"
        raise InputError(message, name) from None
    if dtype.hasobject:
        message = "holds Python objects, which are not read; save it as numbers"
        raise InputError(message, name)
    width = dtype.itemsize
    if dtype.kind not in "biufU" or not width or (width > 8 and dtype.kind != "U"):  # noqa: PLR2004
        message = f"is of dtype {dtype}; save it as float32 or float64"
        raise InputError(message, name)
    extent = math.prod(n for n in shape if n) * width  # NumPy's own bounds
    if any(n < 0 for n in shape) or len(shape) > _AXES or (extent >> 63 and 0 in shape):
        message = f"its header claims the shape {shape}"
        raise InputError(message, name)
    return StoredArray(name, shape, dtype), bool(fortran)


def _members(stream: BinaryIO, name: str, path: str) -> dict[str, StoredArray]:
    try:
        with zipfile.ZipFile(stream) as archive:
            listing = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            unpacked = sum(m.file_size for m in listing if m.compress_type or not path)
            if unpacked > WHOLE_CAP:
                message = f"unpacks to {unpacked >> 20} MiB, over the cap of {WHOLE_CAP >> 20} MiB"
                raise InputError(message, name)
            found = {m.filename[:-4]: _member(archive, m, stream, name, path) for m in listing}
    except _ZIP_DAMAGE as error:
        message = f"not a .npz file, or a damaged one ({error})"
        raise InputError(message, name) from None
    if not found:
        message = "holds no arrays"
        raise InputError(message, name)
    return found


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, stream: BinaryIO, name: str, path: str
) -> StoredArray:
    label = f"{name}[{member.filename[:-4]}]"
    if member.compress_type == zipfile.ZIP_STORED and path and not member.flag_bits & 1:
        with archive.open(member):  # holds the local header against the directory
            pass
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
        start = member.header_offset + 30 + int.from_bytes(lengths[:2], "little")
        stream.seek(start + int.from_bytes(lengths[2:], "little"))
        end = min(stream.tell() + member.file_size, os.path.getsize(path))
        return _in_place(stream, label, path, end)
    data = archive.read(member)
    return _in_place(io.BytesIO(data), label, "", len(data))


def pick(
    arrays: dict[str, StoredArray], wanted: Sequence[str], option: str, name: str
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
