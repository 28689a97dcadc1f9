"""What weights should be, looked at while they are read: rows that sum to 1, nothing below 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TOLERANCE = 1e-3
"""How far from 1 a row of float32 or float64 weights may sum."""
HALF_TOLERANCE = 2e-2
"""The same for float16 and bfloat16, whose every weight is rounded to 3 or 2 digits."""


@dataclass
class Watch:
    """Counts of what is odd in the weights of one file, with the first place of each.

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
    first: dict[str, str] = field(default_factory=dict)
    _columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)

    def look(self, block: NDArray[np.floating], panel: str, positions: NDArray[np.intp]) -> None:
        """Look at some rows (n, K) of the matrix that ``panel`` names."""
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and counted
            sums = block.sum(axis=1, dtype=np.float64)
            columns = block.sum(axis=0, dtype=np.float64)
        self.rows += len(block)
        self._columns[panel] = self._columns.get(panel, 0.0) + columns
        self._read[panel] = self._read.get(panel, 0) + len(block)
        finite = np.isfinite(sums)
        if not finite.all():
            self._count_missing(block, panel, positions)
        if not finite.all() or (block.size and block.min() < 0):
            self._count_negative(block, panel, positions)
        odd = finite & (np.abs(sums - 1) > self.tolerance)
        if odd.any():
            at = int(np.argmax(odd))
            self.odd_rows += int(odd.sum())
            self._note("sum", f"{panel}query {positions[at]}: {sums[at]:.4g}")

    @property
    def tolerance(self) -> float:
        """How far from 1 a row may sum."""
        return HALF_TOLERANCE if self.narrow else TOLERANCE

    def _count_missing(
        self, block: NDArray[np.floating], panel: str, positions: NDArray[np.intp]
    ) -> None:
        bad = ~np.isfinite(block)
        if bad.any():
            self.missing += int(bad.sum())
            self._note("missing", _place(bad, panel, positions))

    def _count_negative(
        self, block: NDArray[np.floating], panel: str, positions: NDArray[np.intp]
    ) -> None:
        below = block < 0
        if below.any():
            self.negative += int(below.sum())
            self._note("negative", _place(below, panel, positions))

    def _note(self, kind: str, place: str) -> None:
        self.first.setdefault(kind, place)

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
        return f"{self.name}: {what}; the first at {self.first[kind]}"

    def _transposed(self) -> bool:
        return all(
            self._read[panel] == self.shape[0] and bool((np.abs(sums - 1) <= self.tolerance).all())
            for panel, sums in self._columns.items()
        )


def count(number: int, noun: str) -> str:
    """Return ``1 weight is`` or ``2 weights are``."""
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"


def _place(found: NDArray[np.bool_], panel: str, positions: NDArray[np.intp]) -> str:
    row, column = np.unravel_index(int(np.argmax(found)), found.shape)
    return f"{panel}query {positions[row]}, key {column}"
