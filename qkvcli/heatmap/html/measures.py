"""What is said of a head in numbers, from its rows as they come: statistics, and its range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.formulas import Band, available

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.attention.formulas import Tokens

NAMES = {
    "entropy": "entropy (nats)",
    "confidence": "largest weight of a row",
    "sink": "weight on the first key",
    "previous": "weight on the previous token",
    "current": "weight on the token itself",
    "next": "weight on the next token",
    "distance": "distance in tokens",
    "duplicate": "weight on earlier equal tokens",
    "induction": "weight after earlier equal tokens",
    "punctuation": "weight on punctuation",
}
"""The statistics of ``qkv heads`` that are shown, and what they are called in full."""
CHANGES = {"change": "mean change", "most": "largest change"}
"""Those of differences: of their magnitudes."""


class Measures:
    """Means over the queries of a head, and the range of its weights.

    Parameters
    ----------
    tokens
        What queries and keys are.
    signed
        Whether the weights are differences, of which changes are said alone.
    """

    def __init__(self, tokens: Tokens, *, signed: bool) -> None:
        self.low, self.high = 0.0, 0.0
        self._tokens = tokens
        known = {} if signed else available(tokens, values=False)
        self._asked = {name: known[name] for name in NAMES if name in known}
        self._signed = signed
        self._sums = dict.fromkeys((*self._asked, "change"), 0.0)
        self._counts = dict.fromkeys(self._sums, 0)

    def add(self, start: int, block: NDArray[np.floating]) -> None:
        """Add some rows, of which ``start`` is the first; no row with NaN or infinity counts."""
        finite = np.isfinite(block)
        whole = finite.all(axis=1)
        seen = block if whole.all() else block[finite]
        if seen.size:
            self.low = min(self.low, float(seen.min()))
            self.high = max(self.high, float(seen.max()))
        rows = block[whole].astype(np.float64)
        if self._signed:
            self._count("change", np.abs(rows).mean(axis=1))
        band = Band(rows, np.arange(start, start + len(block))[whole], self._tokens)
        for name, formula in self._asked.items():
            self._count(name, formula(band))

    def _count(self, name: str, values: NDArray[np.floating]) -> None:
        self._sums[name] += float(np.nansum(values))
        self._counts[name] += int(np.count_nonzero(~np.isnan(values)))

    def found(self) -> dict[str, float]:
        """Return the mean of each over the queries that have it."""
        names = ("change",) if self._signed else tuple(self._asked)
        means = {name: self._sums[name] / max(1, self._counts[name]) for name in names}
        return means | ({"most": max(self.high, -self.low)} if self._signed else {})
