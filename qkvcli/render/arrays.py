"""Arrays written: ``.npy`` and ``.npz`` from runs of elements, never whole in memory."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import IO, BinaryIO

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Runs:
    """An array to be written: its shape and dtype, and its elements in C order, run by run."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    parts: Iterable[NDArray[np.generic]]


def write_npy(stream: IO[bytes], array: Runs) -> None:
    """Write one array as ``.npy``."""
    header = io.BytesIO()
    fields = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(header, fields)
    stream.write(header.getvalue())
    parts = (np.ascontiguousarray(part, dtype=array.dtype) for part in array.parts)
    stream.writelines(part.tobytes() for part in parts)


class _Gate:
    """A stream that swallows what follows a failure.

    An archive writes its directory when it is left, be it by an exception, and would look whole.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.is_broken = False

    def write(self, data: bytes) -> int:
        return len(data) if self.is_broken else self._stream.write(data)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - seek and tell, where there are such
        return getattr(self._stream, name)


def write_npz(stream: BinaryIO, arrays: dict[str, Runs]) -> None:
    """Write named arrays as an uncompressed ``.npz``, the same bytes for the same arrays."""
    gate = _Gate(stream)
    with zipfile.ZipFile(gate, "w", zipfile.ZIP_STORED) as archive:
        try:
            for name, array in arrays.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980, always
                with archive.open(member, "w", force_zip64=True) as part:
                    write_npy(part, array)
        except BaseException:
            gate.is_broken = True
            raise


_TENSORS = {"b1": "BOOL", "f2": "F16", "f4": "F32", "f8": "F64", "i4": "I32", "i8": "I64"}


def write_safetensors(
    stream: BinaryIO, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write arrays of numbers, and what is text beside them, as ``.safetensors``."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, array in arrays.items():
        places = [start, start + array.nbytes]
        kind = _TENSORS[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": places}
        start = places[1]
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    stream.writelines(np.ascontiguousarray(array).tobytes() for array in arrays.values())


def whole(array: NDArray[np.generic]) -> Runs:
    """Return an array in memory as one run."""
    return Runs(array.shape, array.dtype, [array])


def texts(labels: Sequence[str]) -> Runs:
    """Return labels as an array of text of one width."""
    return whole(np.array(list(labels), dtype=np.str_))
