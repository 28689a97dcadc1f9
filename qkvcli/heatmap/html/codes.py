"""Weights as codes of 8 or 16 bits, and as a pyramid of maxima in tiles that are packed alone."""

from __future__ import annotations

import math
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
"""How many cells a side of a tile has."""


@dataclass(frozen=True)
class Coding:
    """How the weights of a head are written as whole numbers, in square-root scale.

    Parameters
    ----------
    top
        The largest weight, in magnitude.
    bits
        8 or 16.
    signed
        Whether there are weights below 0, as in a difference.

    Notes
    -----
    Code 0 is no weight: NaN or infinity. With n = 2^bits - 2, a weight w ≥ 0 has the code
    1 + round(n √(w / top)). With signs, n is 2^(bits-1) - 1, and the code n + 1 + round(± n √(|w| /
    top)). Small weights have more codes than large ones, as they need.
    """

    top: float
    bits: int = 8
    signed: bool = False

    @property
    def steps(self) -> int:
        """How many codes there are between 0 and the largest weight."""
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 2

    @property
    def zero(self) -> int:
        """The code of 0."""
        return self.steps + 1 if self.signed else 1

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type of a code; its bytes are written the lowest first."""
        return np.dtype("u1" if self.bits == 8 else "<u2")

    @property
    def error(self) -> float:
        """By how much a weight as large as ``top`` is off at most; smaller ones are off by less.

        It is top (s / n + 1 / 4n²), s = √(|w| / top): the half step 1 / 2n in the root, squared.
        """
        return self.top * (1 / self.steps + 0.25 / self.steps**2)

    def encode(self, weights: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
        """Return the codes of weights."""
        with np.errstate(invalid="ignore", over="ignore"):
            share = np.clip(weights / (self.top or 1), -1, 1)
            signs = np.sign(share) if self.signed else (share > 0).astype(share.dtype)
            roots = np.rint(np.sqrt(np.abs(share)) * self.steps) * signs
            codes = np.where(np.isfinite(weights), roots + self.zero, 0)
        return codes.astype(self.dtype)

    def decode(self, codes: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
        """Return the weights that codes stand for; NaN where there was none."""
        roots = (codes.astype(np.float64) - self.zero) / self.steps
        return np.where(codes == 0, np.nan, self.top * np.sign(roots) * roots**2)

    def halved(self, codes: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Return the largest of every 2 × 2 codes, in magnitude where they have signs.

        Of an odd number of rows or columns the last stands alone.
        """
        rows, columns = codes.shape
        padded = np.zeros((rows + rows % 2, columns + columns % 2), codes.dtype)
        padded[:rows, :columns] = codes
        order = self._order()
        ranks: NDArray[np.integer] = padded if order is None else order[padded]
        ranks = np.maximum(ranks[::2], ranks[1::2])
        ranks = np.maximum(ranks[:, ::2], ranks[:, 1::2])
        found = ranks if order is None else np.argsort(order)[ranks]
        return found.astype(codes.dtype)

    def _order(self) -> NDArray[np.intp] | None:
        """Return how large every code is among all, if not as large as itself."""
        if not self.signed:
            return None
        codes = np.arange(1 << self.bits)
        size = np.abs(codes - self.zero) * 2 + (codes >= self.zero)
        size[0] = -1
        return np.argsort(np.argsort(size))


@dataclass
class Level:
    """One level of a pyramid: its shape, and its tiles row by row, or None where left out."""

    rows: int
    columns: int
    tiles: list[str] | None = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many characters the tiles take."""
        return sum(map(len, self.tiles or ()))


@dataclass(frozen=True)
class Room:
    """What a pyramid may take.

    Parameters
    ----------
    budget
        How many characters all tiles may take. The finest levels go first.
    longest
        Levels with a longer side than this are not kept.
    """

    budget: float
    longest: float = math.inf


class Pyramid:
    """A matrix of codes, and its 2 × 2 maxima, and theirs, in packed tiles of 256 × 256.

    Parameters
    ----------
    shape
        Rows and columns of the matrix, which come some rows at a time.
    coding
        What the codes mean.
    room
        What it may take.
    """

    def __init__(self, shape: tuple[int, int], coding: Coding, room: Room) -> None:
        self.levels: list[Level] = []
        rows, columns = shape
        while not self.levels or max(self.levels[-1].rows, self.levels[-1].columns) > SIDE:
            kept: list[str] | None = [] if max(rows, columns) <= max(room.longest, SIDE) else None
            self.levels.append(Level(rows, columns, kept))
            rows, columns = -(-rows // 2), -(-columns // 2)
        self._coding, self._budget = coding, room.budget
        self._waiting: list[NDArray[np.unsignedinteger]] = [
            np.zeros((0, level.columns), coding.dtype) for level in self.levels
        ]

    def add(self, codes: NDArray[np.unsignedinteger]) -> None:
        """Add the next rows."""
        self._add(0, codes)

    def finish(self) -> list[Level]:
        """Return all levels, the matrix itself first; those that do not fit hold no tiles."""
        for at, rows in enumerate(self._waiting):
            if len(rows):
                self._pack(at, rows)
        used = 0
        for level in reversed(self.levels):
            used += level.size
            if used > self._budget:
                level.tiles = None
        return self.levels

    def _add(self, at: int, codes: NDArray[np.unsignedinteger]) -> None:
        waiting = np.concatenate([self._waiting[at], codes])
        full = len(waiting) // SIDE * SIDE
        for start in range(0, full, SIDE):
            self._pack(at, waiting[start : start + SIDE])
        self._waiting[at] = waiting[full:]

    def _pack(self, at: int, strip: NDArray[np.unsignedinteger]) -> None:
        level = self.levels[at]
        if level.tiles is not None:
            level.tiles += [
                packed(strip[:, start : start + SIDE].tobytes())
                for start in range(0, level.columns, SIDE)
            ]
            if level.size > self._budget:
                level.tiles = None
        if at + 1 < len(self.levels):
            self._add(at + 1, self._coding.halved(strip))


def packed(data: bytes) -> str:
    """Return bytes deflated (RFC 1950), always alike, in base64."""
    # Level 9 takes four times as long, for a fiftieth of the size.
    return b64encode(zlib.compress(data, 6)).decode()
