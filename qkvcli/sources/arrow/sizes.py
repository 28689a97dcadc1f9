"""What an Arrow file says of its batches, looked at before any is read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from qkvcli.errors import InputError
from qkvcli.sources.npy import WHOLE_CAP

if TYPE_CHECKING:
    import pyarrow as pa


class _Flat:
    """A table of a flatbuffer, as Arrow's own descriptions are written; its offsets may lie."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at + self._number("<I", at, data)

    def table(self, field: int) -> _Flat:
        """Return the table in a field."""
        return _Flat(self._data, self._slot(field))

    def vector(self, field: int, form: str) -> list[tuple[int, ...]]:
        """Return the structs of numbers in a field, or nothing where there is none."""
        if not self.has(field):
            return []
        start = self._slot(field)
        start += self._number("<I", start)
        length = self._number("<I", start) * struct.calcsize(form)
        return list(struct.iter_unpack(form, self._data[start + 4 : start + 4 + length]))

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return self._slot(field) != self._at

    def _slot(self, field: int) -> int:
        shape, place = self._at - self._number("<i", self._at), 4 + 2 * field
        is_there = place < self._number("<H", shape)
        return self._at + (self._number("<H", shape + place) if is_there else 0)

    def _number(self, form: str, at: int, data: bytes | None = None) -> int:
        found: int = struct.unpack_from(form, self._data if data is None else data, at)[0]
        return found


_DICTIONARIES, _BATCHES, _HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 3, 2, 1, 2, 3
"""Fields of Arrow's footer, message, dictionary batch and record batch, from its Message.fbs."""


def check_sizes(stream: pa.NativeFile, name: str) -> None:
    """Refuse a batch that lies outside of its file, or that is compressed and over the cap.

    pyarrow makes room for as much as a file says before it looks whether that is there.

    Raises
    ------
    InputError
        With the batch.
    """
    size = stream.size()
    try:
        (length,) = struct.unpack("<i", stream.read_at(4, size - 10))
        footer = _Flat(stream.read_at(min(max(length, 0), size), max(0, size - 10 - length)))
        for kind, field in (("dictionary", _DICTIONARIES), ("batch", _BATCHES)):
            for index, (start, head, body) in enumerate(footer.vector(field, "<qi4xq")):
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


def _unpacked(stream: pa.NativeFile, start: int, head: int, *, is_batch: bool) -> int:
    """Return what a batch says it unpacks to; 0 where it is not compressed."""
    message = stream.read_at(head, start)
    batch = _Flat(message, 8 if message.startswith(b"\xff" * 4) else 4).table(_HEADER)
    batch = batch if is_batch else batch.table(_DATA)
    if not batch.has(_COMPRESSION):
        return 0
    total = 0
    for at, length in batch.vector(_BUFFERS, "<qq"):
        if length > 0:
            (said,) = struct.unpack("<q", stream.read_at(8, start + head + max(0, at)))
            total += max(said, 0)  # -1 where compression did not pay
    return total
