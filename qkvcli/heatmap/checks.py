"""What weights should be, looked at while they are read: rows that sum to 1, nothing below 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.heatmap.tiles import Tile

TOLERANCE = 1e-3
"""How far from 1 a row of float32 or float64 weights may sum."""
HALF_TOLERANCE = 2e-2
"""The same for float16 and bfloat16, whose every weight is rounded to 3 or 2 digits."""


@dataclass
class Watch:
    """Counts of what is odd in the weights of one file, with the first place of each.

    Tiles come in the order of their keys, and of their queries where the keys are the same. So a
    row is held until its last key was seen and a column until its last query, and no more of them.

    Parameters
    ----------
    name
        What warnings call the file.
    shape
        Shape (Q, K) of each of its matrices.
    narrow
        Whether the weights were stored in 16 bits.
    """

    name: str
    shape: tuple[int, int]
    narrow: bool
    rows: int = 0
    odd_rows: int = 0
    negative: int = 0
    missing: int = 0
    _first: dict[str, tuple[tuple[int, int, int], str]] = field(default_factory=dict)
    _panels: dict[str, int] = field(default_factory=dict)
    _rows: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    _columns: dict[str, tuple[int, NDArray[np.float64]]] = field(default_factory=dict)
    _columns_fit: bool = True

    def look(self, block: NDArray[np.floating], panel: str, tile: Tile) -> None:
        """Look at a tile of the matrix that ``panel`` names."""
        self._panels.setdefault(panel, len(self._panels))
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and counted
            sums = block.sum(axis=1, dtype=np.float64)
            finite = bool(np.isfinite(sums).all())
            if not finite:
                self.missing += self._count("missing", ~np.isfinite(block), panel, tile)
            if not finite or (block.size and block.min() < 0):
                self.negative += self._count("negative", block < 0, panel, tile)
            self._look_at_rows(sums, panel, tile)
            self._look_at_columns(block, panel, tile)

    def _look_at_rows(self, sums: NDArray[np.float64], panel: str, tile: Tile) -> None:
        sums = self._rows.pop((panel, tile.before), 0.0) + sums
        if tile.keys.stop < self.shape[1]:
            self._rows[panel, tile.before] = sums
            return
        self.rows += len(sums)
        odd = np.isfinite(sums) & (np.abs(sums - 1) > self.tolerance)
        if odd.any():
            at = int(np.argmax(odd))
            self.odd_rows += int(odd.sum())
            place = f"{panel}query {tile.queries[at]}: {sums[at]:.4g}"
            self._note("sum", (self._panels[panel], tile.before + at, 0), place)

    def _look_at_columns(self, block: NDArray[np.floating], panel: str, tile: Tile) -> None:
        """Sum columns until some do not sum to 1, or lack a query: the hint is of them all."""
        if not self._columns_fit:
            return
        read, above = self._columns.pop(panel, (0, 0.0))
        if read and not tile.before:
            self._columns_fit = False
            return
        sums = block.sum(axis=0, dtype=np.float64)
        if read:
            sums += above
        if read + len(block) < self.shape[0]:
            self._columns[panel] = read + len(block), sums
        else:
            self._columns_fit = bool(max(sums.max() - 1, 1 - sums.min()) <= self.tolerance)

    @property
    def tolerance(self) -> float:
        """How far from 1 a row may sum."""
        return HALF_TOLERANCE if self.narrow else TOLERANCE

    def _count(self, kind: str, found: NDArray[np.bool_], panel: str, tile: Tile) -> int:
        number = int(np.count_nonzero(found))
        if not number:
            return 0
        row, column = (int(i) for i in np.unravel_index(int(np.argmax(found)), found.shape))
        key = tile.keys.start + column
        place = f"{panel}query {tile.queries[row]}, key {key}"
        self._note(kind, (self._panels[panel], tile.before + row, key), place)
        return number

    def _note(self, kind: str, rank: tuple[int, int, int], place: str) -> None:
        """Keep the first place of a kind, by panel, row as drawn, and key."""
        if kind not in self._first or rank < self._first[kind][0]:
            self._first[kind] = rank, place

    def warnings(self) -> Iterator[str]:
        """Yield one line for each kind of oddity."""
        if self.missing:
            yield self._line(
                f"{count(self.missing, 'weight')} NaN or infinite, drawn grey", "missing"
            )
        if self.negative:
            yield self._line(f"{count(self.negative, 'weight')} negative", "negative")
        if self.odd_rows and self._transposed():
            yield (
                f"{self.name}: its columns sum to 1 and its rows do not; is it transposed? "
                "Rows are queries"
            )
        elif self.odd_rows:
            rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
            verb = "does" if self.odd_rows == 1 else "do"
            yield self._line(f"{self.odd_rows} of {rows} {verb} not sum to 1", "sum")

    def _line(self, what: str, kind: str) -> str:
        return f"{self.name}: {what}; the first at {self._first[kind][1]}"

    def _transposed(self) -> bool:
        return self._columns_fit and not self._columns


def count(number: int, noun: str) -> str:
    """Return ``1 weight is`` or ``2 weights are``."""
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"
