"""Fits along a line, or over a plane: the database is asked on a grid of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.weights import SOFTMAX
from qkvcli.blocks import rows_of
from qkvcli.errors import UsageError
from qkvcli.fitted import Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.answer import Answer
    from qkvcli.blocks import Source

POINTS = 5_000
"""How many rows are drawn as points at most, evenly spread over the table."""
CLASSES = 8
"""How many classes are drawn at most: those of the largest shares."""
_ALONG, _ACROSS, _BEYOND = 401, 81, 0.03
"""How many queries a line has, and a side of a plane; and how far beyond the rows they go."""


class Extent:
    """Where the rows of a source lie, and some of them.

    Parameters
    ----------
    source
        Rows with one or two key columns.

    Raises
    ------
    UsageError
        Text keys, or another number of key columns.
    """

    def __init__(self, source: Source) -> None:
        names = source.columns.key
        if not source.columns.numeric_key or not 1 <= source.depth <= 2:
            held = "text" if not source.columns.numeric_key else f"{source.depth} columns"
            raise UsageError(
                f"a picture of a fit has one or two numeric key columns, and these are {held}"
                "; choose with `key`",
                source.name,
            )
        if source.columns.categories:
            name = names[source.columns.categories[0][0]]
            raise UsageError(
                f"a picture of a fit is along numbers or dates, and {name!r} is of categories"
                "; choose with `key`",
                source.name,
            )
        self.names = tuple(names) if len(names) == source.depth else ("x", "y")[: source.depth]
        self.columns = source.columns
        self.keys, self.values, *_ = rows_of(source.blocks(), checked=True)

    def grid(self) -> NDArray[np.float64]:
        """Return the queries of a line (G, 1), or of a plane, row by row from the top, (G, 2)."""
        low, high = self.keys.min(axis=0), self.keys.max(axis=0)
        apart = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
        low, high = low - _BEYOND * apart, high + _BEYOND * apart
        if len(low) == 1:
            return np.linspace(low, high, _ALONG)
        across, up = (np.linspace(low[i], high[i], _ACROSS) for i in (0, 1))
        return np.array([(x, y) for y in up[::-1] for x in across])

    def curves(self, answer: Answer, grid: NDArray[np.float64], kernel: str) -> list[Curve]:
        """Return the fit of every value column along a line."""
        some = np.unique(np.linspace(0, len(self.keys) - 1, POINTS).astype(int))
        has_width = answer.about is not None and answer.mode == SOFTMAX
        widths = answer.about.bandwidths if answer.about and has_width else ()
        width = widths[0].widths[0] if widths else None
        line, x, rows = grid[:, 0], self.keys[some, 0], len(self.keys)
        dates = bool(self.columns.dates)
        found = []
        for at, column in enumerate(self.columns.numeric):
            name = self.columns.value[column]
            fit = (("fit", answer.output[:, at].astype(np.float64)),)
            y = self.values[some, at]
            band = _band(answer, at)
            found.append(
                Curve(self.names[0], name, x, y, line, fit, band, kernel, width, rows, dates)
            )
        for column, shares in zip(self.columns.text, answer.labels, strict=True):
            if shares is None:
                continue
            name = self.columns.value[column]
            order = np.argsort(-np.nansum(shares.weights, axis=0), kind="stable")[:CLASSES]
            lines = tuple((shares.labels[i], shares.weights[:, i]) for i in sorted(order))
            found.append(
                Curve(self.names[0], name, x, None, line, lines, None, kernel, width, rows, dates)
            )
        return found

    def plane(
        self, answer: Answer, grid: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], tuple[Sequence[float], Sequence[float]]]:
        """Return the fit of the first value column over a plane, and the places of its cells.

        Raises
        ------
        UsageError
            The values are classes.
        """
        if not self.columns.numeric:
            raise UsageError("a map is of numbers; choose a numeric column with `value`")
        up, across = grid[::_ACROSS, 1].tolist(), grid[:_ACROSS, 0].tolist()
        found = answer.output[:, 0].astype(np.float64).reshape((_ACROSS, _ACROSS))
        return found, (up, across)


def _band(answer: Answer, at: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if answer.lower is None or answer.upper is None:
        return None
    return answer.lower[:, at].astype(np.float64), answer.upper[:, at].astype(np.float64)
