"""Arrays in ``.safetensors`` files: a JSON header, and regions of the file behind it.

The format is small enough to be read here: eight bytes with the header's length (little-endian),
the header as a JSON object, and the elements (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from qkvcli.errors import InputError
from qkvcli.sources import bytes_in
from qkvcli.sources.captured import from_metadata
from qkvcli.sources.npy import StoredArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_CAP = 100 << 20
"""How long a header may be: 100 MiB, the format's own cap."""

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


@dataclass(frozen=True)
class BrainFloats(StoredArray):
    """A bfloat16 array; its elements are the upper halves of float32 numbers."""

    def rows(
        self, start: int, stop: int, *, columns: slice | None = None, buffer: str = ""
    ) -> NDArray[np.float32]:
        """Return some rows as float32, exactly, shape (n, columns)."""
        stored = self._stored(start, stop, columns, buffer)
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)


def open_tensors(path: str) -> dict[str, StoredArray]:
    """Look at the arrays of a ``.safetensors`` file; what its metadata has as text is some too.

    Raises
    ------
    InputError
        Not such a file, truncated, or an array of a dtype that is no real number.
    """
    name = bytes_in.display_name(path)
    try:
        size = os.stat(path).st_size
        with bytes_in.open_bytes(path) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(HEADER_CAP, size - 8):  # "{}"
                _refuse("not a .safetensors file, or a truncated one", name)
            header = _header(stream.read(length), name)
    except FileNotFoundError:
        bytes_in.open_bytes(path)  # its error has the nearest name
        raise
    room, said = size - 8 - length, header.pop("__metadata__", None)
    if not header:
        _refuse("holds no arrays", name)
    found = {label: _array(label, item, path, length + 8, room) for label, item in header.items()}
    texts = from_metadata(said, name) if isinstance(said, dict) else {}
    return found | {
        label: StoredArray(f"{path}[{label}]", text.shape, text.dtype, data=text.tobytes())
        for label, text in texts.items()
    }


def _header(data: bytes, name: str) -> dict[str, dict[str, Any]]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        _refuse("not a .safetensors file, or one whose header is damaged", name)
    return header


def _array(label: str, item: Any, path: str, base: int, room: int) -> StoredArray:  # noqa: ANN401
    name = f"{path}[{label}]"
    try:
        kind, shape = str(item["dtype"]), tuple(int(n) for n in item["shape"])
        start, stop = (int(n) for n in item["data_offsets"])
    except (KeyError, TypeError, ValueError, OverflowError):
        _refuse("its entry in the header is damaged", name)
    if kind != "BF16" and kind not in _DTYPES:
        _refuse(f"is of dtype {kind}; save it as F16, BF16, F32 or F64", name)
    kept = BrainFloats if kind == "BF16" else StoredArray
    array = kept(name, shape, np.dtype(_DTYPES.get(kind, "<u2")), path, base + start)
    if min(shape, default=0) < 0 or math.prod(shape) * array.dtype.itemsize != stop - start:
        _refuse(f"its shape {shape} of {kind} and its {stop - start} bytes do not agree", name)
    if not 0 <= start <= stop <= room:
        _refuse(f"truncated: it ends at byte {stop} of {room}", name)
    return array


def _refuse(message: str, name: str) -> NoReturn:
    raise InputError(message, name)
