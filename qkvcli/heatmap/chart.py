"""A chart of fits: points, lines and bands, laid out on the same page as heatmaps are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.coded import date_text
from qkvcli.errors import UsageError
from qkvcli.heatmap.layout import Box, Line, Text, fitted, text_width
from qkvcli.heatmap.scale import nice_step
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.fitted import Curve

COLOURS = ("#08519c", "#cb181d", "#238b45", "#6a51a3", "#d94801", "#00738c", "#a1477f", "#525252")
"""Of the lines, in their order; each has a contrast of 4.5 with white."""
_POINT = "#4d4d4d"
_WIDTH, _RISE, _SIZE = 360.0, 220.0, 9.0
_PAD, _TICK, _SPACE, _LEGEND = 3.0, 3.0, 4.0, 14.0
_MOST = 6
"""How many value columns are drawn."""


class Polyline(NamedTuple):
    """A line through points (N, 2), in points of the page."""

    points: NDArray[np.float64]
    colour: str
    width: float


class Area(NamedTuple):
    """What a line through points (N, 2) encloses, filled."""

    points: NDArray[np.float64]
    colour: str
    opacity: float


class Dots(NamedTuple):
    """Discs around points (N, 2)."""

    points: NDArray[np.float64]
    radius: float
    colour: str
    opacity: float


Mark = Polyline | Area | Dots


@dataclass(frozen=True, eq=False)
class Chart:
    """A page of charts.

    Parameters
    ----------
    width, height
        Of the page, in points.
    title, description
        For who does not see it.
    texts, lines
        Titles and labels; frames and ticks.
    marks
        What is drawn, from the lowest up.
    """

    width: float
    height: float
    title: str
    description: str
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]


class Axis(NamedTuple):
    """An axis: its ends in the data, and its ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


def axis(values: Sequence[NDArray[np.float64]], most: int = 6) -> Axis:
    """Return an axis that all finite values lie on.

    Examples
    --------
    >>> axis([np.array([0.0, 1.0])]).ticks[:3]
    ((0.0, '0'), (0.2, '0.2'), (0.4, '0.4'))
    """
    finite = np.concatenate([v[np.isfinite(v)] for v in values] or [np.zeros(1)])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if not high > low:
        apart = abs(low) / 10 or 1.0
        low, high = low - apart, high + apart
    step = nice_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple((n * step, f"{n * step:.6g}") for n in range(first, last + 1))
    return Axis(low, high, ticks)


_DAYS = (1 / 24, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 7.0, 14.0)
"""How far dates that are ticks may lie apart, up to weeks, in days."""
_MONTHS = (1, 2, 3, 6)


def date_ticks(low: float, high: float, most: int = 6) -> tuple[tuple[float, str], ...]:
    """Return ticks at whole hours, days, weeks, months or years, given in days since 1970-01-01.

    Examples
    --------
    >>> [text for _, text in date_ticks(19700, 19800)]
    ['2024-01', '2024-02', '2024-03']
    >>> [text for _, text in date_ticks(19723, 19725, 4)]
    ['2024-01-01', '2024-01-01 12:00', '2024-01-02', '2024-01-02 12:00', '2024-01-03']
    """
    step = next((days for days in _DAYS if (high - low) / days <= most), None)
    if step is not None:
        since = _MONDAY if step >= 7 else 0
        first, last = math.ceil((low - since) / step), math.floor((high - since) / step)
        places = [since + n * step for n in range(first, last + 1)]
        return tuple((at, date_text(at).replace("T", " ")[:16]) for at in places)
    months = (high - low) / 30.44
    whole = next((n for n in _MONTHS if months / n <= most), None)
    whole = whole or 12 * max(1, round(nice_step(months / 12 / most)))
    start = np.array([low, high]).astype("M8[D]").astype("M8[M]").astype(int)
    numbers = range(math.ceil(start[0] / whole) * whole, start[1] + 1, whole)
    found = [(float(np.datetime64(n, "M").astype("M8[D]").astype(int)), n) for n in numbers]
    digits = 4 if whole % 12 == 0 else 7
    return tuple((at, str(np.datetime64(n, "M"))[:digits]) for at, n in found if low <= at <= high)


_MONDAY = 4
"""1970-01-05, in days."""


def across_axis(curve: Curve) -> Axis:
    """Return the axis of the key of a fit."""
    found = axis([curve.x, curve.grid])
    return found._replace(ticks=date_ticks(found.low, found.high)) if curve.dates else found


def chart(curves: Sequence[Curve], *, width: float | None = None) -> Chart:
    """Return the page of some fits, one below the other.

    Parameters
    ----------
    curves
        The fits, of which the first ``_MOST`` are drawn.
    width
        Of the page, in points.

    Raises
    ------
    UsageError
        There is nothing to draw.
    """
    if not curves:
        raise UsageError("there is no value column to draw; name one with --value")
    shown = curves[:_MOST]
    page = width or _WIDTH
    parts = _Parts([], [], [])
    top = _PAD
    for curve in shown:
        top = _add_panel(curve, page, top, parts)
    title = shown[0].title
    names = ", ".join(curve.value for curve in shown)
    text = f"{names} by {shown[0].key}: {shown[0].rows} rows as points, and the fit as a line."
    texts, lines, marks = parts
    return Chart(page, top, title, text, tuple(texts), tuple(lines), tuple(marks))


class _Parts(NamedTuple):
    texts: list[Text]
    lines: list[Line]
    marks: list[Mark]


def _add_panel(curve: Curve, page: float, top: float, parts: _Parts) -> float:
    """Add one fit to a page from ``top`` down, and return where it ends."""
    texts, lines, marks = parts
    size = _SIZE
    x = across_axis(curve)
    heights = [values for _, values in curve.lines] + [*(curve.band or ())]
    y = axis([curve.y, *heights] if curve.y is not None else [np.array([0.0, 1.0])], 5)
    room = max(text_width(text, size) for _, text in y.ticks)
    left = _PAD + size * 1.4 + room + _SPACE + _TICK
    is_classes = curve.y is None
    legend = (
        max((text_width(visible(n), size) for n, _ in curve.lines), default=0) if is_classes else 0
    )
    legend = min(legend, page / 4)
    right = _PAD + 0.6 * size + (_LEGEND + legend + _SPACE if is_classes else 0)
    box = Box(left, top + 1.6 * size, page - left - right, _RISE)

    def across(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(box.x + (np.asarray(value) - x.low) / (x.high - x.low) * box.width)

    span = 0.04 * (y.high - y.low)

    def down(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        share = (np.asarray(value) - y.low + span) / (y.high - y.low + 2 * span)
        return np.asarray(box.bottom - share * box.height)

    texts.append(Text(fitted(curve.title, size, page - 2 * _PAD), page / 2, top + size, size))
    for at, text in x.ticks:
        place = float(across(at))
        lines.append((place, box.bottom, place, box.bottom + _TICK))
        texts.append(Text(text, place, box.bottom + _TICK + 1.1 * size, size))
    for at, text in y.ticks:
        place = float(down(at))
        lines.append((box.x - _TICK, place, box.x, place))
        texts.append(Text(text, box.x - _TICK - _SPACE / 2, place + 0.35 * size, size, "end"))
    corners = ((box.x, box.y, box.right, box.y), (box.x, box.bottom, box.right, box.bottom))
    sides = ((box.x, box.y, box.x, box.bottom), (box.right, box.y, box.right, box.bottom))
    lines += [*corners, *sides]
    bottom = box.bottom + _TICK + 2.6 * size
    texts.append(Text(fitted(curve.key, size, box.width), box.x + box.width / 2, bottom, size))
    name = fitted(curve.value, size, box.height)
    texts.append(Text(name, _PAD + size, box.y + box.height / 2, size, turned=True))
    if curve.band is not None:
        low, high = (down(one) for one in curve.band)
        edge = np.concatenate(
            [
                np.column_stack([across(curve.grid), high]),
                np.column_stack([across(curve.grid), low])[::-1],
            ]
        )
        marks.append(Area(edge[np.isfinite(edge).all(axis=1)], COLOURS[0], 0.18))
    if curve.y is not None:
        marks.append(Dots(np.column_stack([across(curve.x), down(curve.y)]), 1.4, _POINT, 0.45))
    rug = np.column_stack([across(curve.x), np.full(len(curve.x), box.bottom - 2.0)])
    marks.append(Dots(rug, 0.5, _POINT, 0.6))
    for i, (label, values) in enumerate(curve.lines):
        colour = COLOURS[i % len(COLOURS)]
        marks += [
            Polyline(part, colour, 1.5)
            for part in _unbroken(np.column_stack([across(curve.grid), down(values)]))
        ]
        if is_classes:
            place = box.y + (i + 0.8) * 1.5 * size
            start = box.right + _SPACE
            key = np.array([[start, place - 0.35 * size], [start + 8, place - 0.35 * size]])
            marks.append(Polyline(key, colour, 1.5))
            texts.append(
                Text(fitted(label, size, legend), start + _LEGEND - 3, place, size, "start")
            )
    if curve.width is not None:
        _add_width(curve, x, box, parts)
    return bottom + 1.2 * size


def _add_width(curve: Curve, x: Axis, box: Box, parts: _Parts) -> None:
    """Add a bar as long as the kernel is wide, where there is room for it."""
    h = curve.width or 0.0
    long = h / (x.high - x.low) * box.width
    if not 1 <= long <= box.width / 2:
        return
    text = f"h = {h:.3g}{' days' * curve.dates}"
    wide = long + 4 + text_width(text, _SIZE - 1)
    corners = [
        Box(left, high, wide, _SIZE)
        for high in (box.y + 6, box.bottom - 16)
        for left in (box.x + 8, box.right - 8 - wide)
    ]
    drawn = np.concatenate([mark.points for mark in parts.marks])
    start, high, _, _ = min(corners, key=lambda corner: _inside(drawn, corner))
    bar = np.array([[start, high + 4], [start + long, high + 4]])
    parts.marks.append(Polyline(bar, "#000000", 2.0))
    parts.texts.append(Text(text, start + long + 4, high + 7, _SIZE - 1, "start"))


def _inside(points: NDArray[np.float64], box: Box) -> int:
    """Return how many points lie in a box, or hardly beside it."""
    x, y = points.T
    across = (x > box.x - 4) & (x < box.right + 4)
    return int((across & (y > box.y - 4) & (y < box.bottom + 4)).sum())


def _unbroken(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the runs of points that are finite."""
    fine = np.isfinite(points).all(axis=1)
    edges = np.flatnonzero(np.diff(fine)) + 1
    parts = np.split(points, edges)
    return [part for part in parts if len(part) > 1 and np.isfinite(part[0]).all()]
