"""What can be said of a head in one number, from its rows as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAMES = {
    "entropy": "entropy (nats)",
    "largest": "largest weight of a row",
    "first": "share on the first key",
    "special": "share on special tokens",
    "previous": "share on the previous token",
    "same": "share on the token itself",
    "next": "share on the next token",
    "distance": "distance in tokens",
}
"""The measures of weights, each a mean over queries."""
CHANGES = {"change": "mean change", "most": "largest change"}
"""Those of differences: of their magnitudes."""


class Measures:
    """Means over the rows of a head, and the range of its weights.

    Parameters
    ----------
    shape
        Queries and keys.
    special
        The keys that are special tokens.
    signed
        Whether the weights are differences.
    square
        Whether query i and key i are the same token.
    """

    def __init__(
        self, shape: tuple[int, int], special: Sequence[int], *, signed: bool, square: bool
    ) -> None:
        self.low, self.high = 0.0, 0.0
        self._special = np.asarray(special, np.intp)
        self._signed, self._square = signed, square
        self._keys = np.arange(shape[1], dtype=np.float64)
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, start: int, block: NDArray[np.floating]) -> None:
        """Add some rows, of which ``start`` is the first; no row with NaN or infinity counts."""
        finite = block[np.isfinite(block)]
        if finite.size:
            self.low = min(self.low, float(finite.min()))
            self.high = max(self.high, float(finite.max()))
        whole = np.isfinite(block).all(axis=1)
        if not whole.any():
            return
        rows = block[whole].astype(np.float64)
        at = np.arange(start, start + len(block))[whole]
        found = self._changes(rows) if self._signed else self._shares(rows, at)
        for name, values in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())
            self._counts[name] = self._counts.get(name, 0) + len(values)

    def found(self) -> dict[str, float]:
        """Return the mean of each measure over the rows that have it."""
        if self._signed:
            return {"change": self._mean("change"), "most": max(self.high, -self.low)}
        return {name: self._mean(name) for name in NAMES if name in self._sums}

    def _mean(self, name: str) -> float:
        return self._sums.get(name, 0.0) / max(1, self._counts.get(name, 0))

    def _changes(self, rows: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"change": np.abs(rows).mean(axis=1)}

    def _shares(
        self, rows: NDArray[np.float64], at: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        positive = np.maximum(rows, 0)
        logs = np.log(positive, out=np.zeros_like(rows), where=positive > 0)
        found = {
            "entropy": -(positive * logs).sum(axis=1),
            "largest": rows.max(axis=1),
            "first": rows[:, 0],
        }
        if len(self._special):
            found["special"] = rows[:, self._special].sum(axis=1)
        if self._square:
            for name, step in (("previous", -1), ("same", 0), ("next", 1)):
                there = (at + step >= 0) & (at + step < rows.shape[1])
                found[name] = rows[np.flatnonzero(there), at[there] + step]
            away = np.abs(self._keys - at[:, None])
            found["distance"] = (positive * away).sum(axis=1)
        return found
