"""PNG images (ISO/IEC 15948): indexed, a byte a cell and a palette; and in true colours."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGE = 1 << 20
_LINES = 64
_UP = 2  # the filter that takes from a line the one above, which is often the same


def indexed_png(levels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Return an indexed image.

    Parameters
    ----------
    levels
        Shape (rows, columns).
    colours
        Shape (256, 3); colours past the highest level are left out.
    """
    rows, columns = levels.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each line begins with its filter, none
    lines[:, 1:] = levels
    effort = 6 if levels.size < _LARGE else 3  # five times slower for a twentieth of the size
    parts = (
        _SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        _chunk(b"PLTE", colours[: int(levels.max()) + 1].tobytes()),
        _chunk(b"IDAT", zlib.compress(lines.data, effort)),
        _chunk(b"IEND", b""),
    )
    return b"".join(parts)


def rgb_png(pixels: NDArray[np.uint8], dpi: int) -> Iterator[bytes]:
    """Yield the pieces of an image in true colours, a few of its lines at a time.

    Parameters
    ----------
    pixels
        Shape (rows, columns, 3).
    dpi
        The pixels an inch, for programs that place the image on a page.
    """
    rows, columns, _ = pixels.shape
    metre = round(dpi / 0.0254)
    yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    yield _chunk(b"pHYs", struct.pack(">IIB", metre, metre, 1))
    packer = zlib.compressobj(6)
    above = np.zeros((1, columns, 3), np.uint8)
    for start in range(0, rows, _LINES):
        block = pixels[start : start + _LINES]
        lines = np.full((len(block), 1 + 3 * columns), _UP, np.uint8)
        steps = block - np.concatenate([above, block[:-1]])  # modulo 256, as the filter wants it
        lines[:, 1:] = steps.reshape(len(block), -1)
        above = block[-1:]
        if packed := packer.compress(lines.data):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
