"""Charts in the terminal: a fit in dots of braille, rows as points where the fit leaves room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.coded import date_text
from qkvcli.heatmap.chart import axis
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.fitted import Curve

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bits of a cell's dots, by row and column (Unicode, U+2800)."""
_TALLEST, _WIDEST, _LOWEST = 20, 100, 6
_SIGNS = "abcdefgh"


def drawn(curve: Curve, columns: int, lines: int, *, encodes: bool) -> str:
    """Return a fit as text.

    Parameters
    ----------
    curve
        The fit.
    columns, lines
        The size of the window; no lines where there is none.
    encodes
        Whether braille can be shown; else signs of ASCII are.
    """
    rows = max(_LOWEST, min(_TALLEST, (lines or 24) - 6))
    x = axis([curve.x, curve.grid])
    heights = [values for _, values in curve.lines] + [*(curve.band or ())]
    y = axis([curve.y, *heights] if curve.y is not None else [np.array([0.0, 1.0])], 4)
    labels = {}
    for at, text in y.ticks:
        labels[_row(at, y.low, y.high, rows)] = text
    margin = max(map(len, labels.values())) + 2
    width = max(10, min(_WIDEST, columns - margin))
    cells = np.full((rows, width), " ", dtype="<U1")
    if curve.y is not None:
        right, up = (
            np.clip(np.round(_share(v, a.low, a.high) * (n - 1)), 0, n - 1).astype(int)
            for v, a, n in ((curve.x, x, width), (curve.y, y, rows))
        )
        cells[rows - 1 - up, right] = "·" if encodes else "."
    for number, (_, values) in enumerate(curve.lines):
        one = _line(_share(curve.grid, x.low, x.high), _share(values, y.low, y.high), rows, width)
        if curve.y is None or not encodes:  # several lines are told apart by their letters
            sign = _SIGNS[number] if curve.y is None else "*"
            cells[one > 0] = sign
        else:
            cells[one > 0] = [chr(0x2800 + bits) for bits in one[one > 0]]
    bar, corner, flat = ("│", "└", "─") if encodes else ("|", "+", "-")
    shown = [
        f"{labels.get(row, ''):>{margin - 2}} {bar}{''.join(line).rstrip()}"
        for row, line in enumerate(cells)
    ]
    title = curve.title
    low, high = (date_text(e)[:10] if curve.dates else f"{e:.4g}" for e in (x.low, x.high))
    ends = f"{low}{' ' * max(1, width - len(low) - len(high))}{high}"
    names = [f"{_SIGNS[i]} {visible(name)}" for i, (name, _) in enumerate(curve.lines)]
    foot = [" " * (margin - 1) + corner + flat * width, " " * margin + ends]
    foot += [" " * margin + "   ".join(names)] if curve.y is None else []
    return "\n".join([visible(title)[: margin + width], *shown, *foot]) + "\n"


def _share(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return (values - low) / (high - low)


def _row(value: float, low: float, high: float, rows: int) -> int:
    return rows - 1 - round((value - low) / (high - low) * (rows - 1))


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.int64]:
    """Return the bits of the dots that a line through points from 0 to 1 sets, by cell."""
    found = np.zeros((rows, columns), np.int64)
    fine = np.isfinite(y)
    if not fine.any():
        return found
    places = np.linspace(x[fine][0], x[fine][-1], 8 * columns)
    heights = np.interp(places, x[fine], y[fine])
    # Where the fit has no answer nothing is drawn.
    near = np.clip(np.searchsorted(x, places), 0, len(x) - 1)
    keep = fine[near] & fine[np.maximum(near - 1, 0)]
    right = np.round(places[keep] * (2 * columns - 1)).astype(int)
    down = np.round((1 - np.clip(heights[keep], 0, 1)) * (4 * rows - 1)).astype(int)
    np.bitwise_or.at(found, (down // 4, right // 2), _DOTS[down % 4, right % 2])
    return found


def all_drawn(curves: Sequence[Curve], columns: int, lines: int, *, encodes: bool) -> str:
    """Return several fits, one below the other."""
    return "\n".join(drawn(one, columns, lines, encodes=encodes) for one in curves)
