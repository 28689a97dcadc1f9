"""The layout of a fit: points, curves, bands and maps where they stand on the page, as plain data.

It is made of the boxes, texts and lines of ``layout``, the ticks of ``scale`` and the colours of
``colours``, and is painted by the painters of heatmaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.heatmap.colours import hex_of, palette
from qkvcli.heatmap.layout import Box, Line, Text, fitted, text_width
from qkvcli.heatmap.scale import Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Paul Tol's bright colours, which readers with any colour vision tell apart.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
MOST_POINTS = 2000
"""How many points are drawn at most, evenly among all; more would be one blot."""
_POINT, _MAP = "#555555", "Reds"
_SIZE, _PAD, _SPACE, _TICK = 9.0, 4.0, 3.0, 3.0
_RUG, _BAR = 5.0, 10.0


class Shape(NamedTuple):
    """Something drawn.

    Parameters
    ----------
    kind
        ``"line"`` through the points, ``"area"`` within them, or ``"dots"`` at them.
    points
        In points of the page, (N, 2).
    colour, opacity
        As ``#rrggbb``, and from 0 to 1.
    size
        Of a line, its width; of dots, their radius.
    name
        What it is, where a reader points at it.
    """

    kind: str
    points: Floats
    colour: str
    opacity: float = 1.0
    size: float = 1.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class Curves:
    """What a fit comes to, in the units of the data.

    Parameters
    ----------
    keys, values
        The names of the key columns and of what is drawn: one column, or each class's share.
    points
        The rows' keys (K, D).
    observed
        The rows' values (K,), or of classes their number.
    grid
        Where the fit was asked: (N,) of one key column, and of two the places along each.
    fit
        (C, N), or of two key columns (rows, columns) of a map, from the least second key on.
    lower, upper
        The ends of a band, (N,).
    widths, kernel
        Of the kernel.
    is_classes
        Whether it is of shares.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]
    points: Floats
    observed: Floats
    grid: tuple[Floats, ...]
    fit: Floats
    lower: Floats | None = None
    upper: Floats | None = None
    widths: tuple[float, ...] = ()
    kernel: str = ""
    is_classes: bool = False

    @property
    def is_map(self) -> bool:
        """Whether there are two key columns."""
        return len(self.keys) == 2

    @property
    def legend(self) -> str:
        """How the fit was made."""
        widths = ", ".join(f"{h:.3g}" for h in self.widths)
        return f"{self.kernel}, width {widths}" if widths else self.kernel

    def ranges(self) -> tuple[Scale, Scale]:
        """Return what the axes run over, with a little to spare."""
        if self.is_map:
            x, y = ((float(g[0]), float(g[-1])) for g in self.grid)
            return Scale(*x), Scale(*y)
        parts = [self.fit.ravel(), self.observed]
        parts += [part for part in (self.lower, self.upper) if part is not None]
        y = _spread(np.concatenate(parts)) if not self.is_classes else (-0.08, 1.2)
        return Scale(*_spread(self.grid[0])), Scale(*y)


def _spread(values: Floats) -> tuple[float, float]:
    found = values[np.isfinite(values)]
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    spare = 0.04 * (high - low) or abs(high) or 1.0
    return low - spare, high + spare


@dataclass(frozen=True, eq=False)
class Chart:
    """The page of a fit, which painters treat as they do that of heatmaps.

    Parameters
    ----------
    width, height
        Of the page, in points.
    title, description
        What it shows, for who cannot see it.
    boxes, texts, lines, shapes
        The frame; titles and labels; ticks; what is drawn inside the frame.
    """

    width: float
    height: float
    title: str
    description: str
    boxes: tuple[Box, ...]
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]
    shapes: tuple[Shape, ...]
    font: str | None = None
    bar: Box | None = field(default=None, init=False)


def chart(curves: Curves, width: float = 400.0, height: float = 280.0) -> Chart:
    """Return the page of a fit, of a size in points."""
    xs, ys = curves.ranges()
    x_ticks, y_ticks = xs.ticks(6), ys.ticks(6)
    if curves.is_classes and not curves.is_map:
        y_ticks = [((x - ys.low) / (ys.high - ys.low), f"{x:g}") for x in (0, 0.25, 0.5, 0.75, 1)]
    line = _SIZE * 1.25 + _SPACE
    room = max(text_width(text, _SIZE) for _, text in y_ticks)
    left = _PAD + line + room + _SPACE + _TICK
    scale = _scale_of(curves) if curves.is_map else None
    right = _PAD + _SIZE
    if scale is not None:
        right += _BAR + _TICK + _SPACE + max(text_width(t, _SIZE) for _, t in scale.ticks(5)) + 6
    top, bottom = _PAD + line, _PAD + 2 * line + _TICK
    box = Box(left, top, width - left - right, height - top - bottom)
    texts, lines = [], []
    for share, text in x_ticks:
        x = box.x + share * box.width
        lines.append(Line(x, box.bottom, x, box.bottom + _TICK))
        texts.append(Text(text, x, box.bottom + _TICK + _SPACE + 0.8 * _SIZE, _SIZE))
    for share, text in y_ticks:
        y = box.bottom - share * box.height
        lines.append(Line(box.x - _TICK, y, box.x, y))
        texts.append(Text(text, box.x - _TICK - _SPACE, y + 0.35 * _SIZE, _SIZE, "end"))
    y_name = curves.keys[1] if curves.is_map else curves.values[0].partition("=")[0]
    if curves.is_classes and not curves.is_map:
        y_name = f"share of each {y_name}"
    middle = box.y + box.height / 2
    name = fitted(y_name, _SIZE, box.height)
    texts.append(Text(name, _PAD + 0.8 * _SIZE, middle, _SIZE, turned=True, full=y_name))
    name = fitted(curves.keys[0], _SIZE, box.width)
    foot = height - _PAD - 0.25 * _SIZE
    texts.append(Text(name, box.x + box.width / 2, foot, _SIZE, full=curves.keys[0]))
    what = curves.values[0] if curves.is_map else ""
    head = f"{what}: {curves.legend}" if what else curves.legend
    at = box.y - _SPACE - 1
    part = 0.5 if curves.is_classes else 1.0
    texts.append(Text(fitted(head, _SIZE, box.width * part), box.x, at, _SIZE, "start"))
    shapes = _map(curves, box, xs, ys) if curves.is_map else _curves(curves, box, xs, ys)
    if scale is not None:
        shapes += _bar(box, scale, texts, lines)
    elif curves.is_classes:
        texts += _class_names(curves, box, at)
    shapes += _width_bars(curves, box, xs, texts)
    title = f"{y_name} by {curves.keys[0]}"
    count = len(curves.points)
    description = f"{head}: the fit of {count} rows"
    return Chart(
        width, height, title, description, (box,), tuple(texts), tuple(lines), tuple(shapes)
    )


def _places(x: Floats, y: Floats, box: Box, xs: Scale, ys: Scale) -> Floats:
    across = box.x + (x - xs.low) / (xs.high - xs.low) * box.width
    down = box.bottom - (y - ys.low) / (ys.high - ys.low) * box.height
    return np.stack([across, down], axis=1)


def _some(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64))


def _runs(values: Floats) -> list[slice]:
    """Return the runs of places where there is an answer."""
    edges = np.flatnonzero(np.diff(np.isfinite(values).astype(int), prepend=0, append=0))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _curves(curves: Curves, box: Box, xs: Scale, ys: Scale) -> list[Shape]:
    grid = curves.grid[0]
    shapes = []
    if curves.lower is not None and curves.upper is not None:
        for run in _runs(curves.lower):
            there = _places(grid[run], curves.upper[run], box, xs, ys)
            back = _places(grid[run], curves.lower[run], box, xs, ys)[::-1]
            ring = np.concatenate([there, back])
            shapes.append(Shape("area", ring, COLOURS[0], 0.22, name="band"))
    some = _some(len(curves.points))
    x, y = curves.points[some, 0], curves.observed[some]
    if not curves.is_classes:
        dots = _places(x, y, box, xs, ys)
        shapes.append(Shape("dots", dots, _POINT, 0.6 if len(some) < 300 else 0.3, 1.6))
    across = _places(x, y, box, xs, ys)[:, 0]
    for at, row in zip(across, y, strict=True):
        colour = COLOURS[int(row) % len(COLOURS)] if curves.is_classes else _POINT
        foot = np.array([[at, box.bottom], [at, box.bottom - _RUG]])
        shapes.append(Shape("line", foot, colour, 0.5, 0.5))
    for number, fit in enumerate(curves.fit):
        name = curves.values[number].partition("=")[2] or curves.values[number]
        for run in _runs(fit):
            points = _places(grid[run], fit[run], box, xs, ys)
            colour = COLOURS[number % len(COLOURS)]
            shapes.append(Shape("line", points, colour, 1.0, 1.8, name))
    return shapes


def _scale_of(curves: Curves) -> Scale:
    found = curves.fit[np.isfinite(curves.fit)]
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    return Scale(low, high if high > low else low + (abs(low) or 1.0))


def _map(curves: Curves, box: Box, xs: Scale, ys: Scale) -> list[Shape]:
    scale, hexes = _scale_of(curves), palette(_MAP).hexes(missing=False)
    rows, columns = curves.fit.shape
    levels, _ = scale.levels(curves.fit)
    wide, high = box.width / columns, box.height / rows
    shapes = []
    for row in range(rows):
        for column in range(columns):
            value = curves.fit[row, column]
            if not np.isfinite(value):
                continue
            # Each reaches under the next, or viewers would let the page shine through.
            x, y = box.x + column * wide, box.bottom - (row + 1) * high
            right, top = min(x + 1.5 * wide, box.right), max(y - 0.5 * high, box.y)
            ring = np.array([[x, y + high], [right, y + high], [right, top], [x, top]])
            shapes.append(Shape("area", ring, hexes[levels[row, column]], name=f"{value:.4g}"))
    some = _some(len(curves.points))
    x, y = curves.points[some].T
    shapes.append(Shape("dots", _places(x, y, box, xs, ys), "#000000", 0.6, 1.2))
    return shapes


def _bar(box: Box, scale: Scale, texts: list[Text], lines: list[Line]) -> list[Shape]:
    """Return the colour bar of a map, and add its ticks."""
    x = box.right + 8
    for share, text in scale.ticks(5):
        y = box.bottom - share * box.height
        lines.append(Line(x + _BAR, y, x + _BAR + _TICK, y))
        texts.append(Text(text, x + _BAR + _TICK + _SPACE, y + 0.35 * _SIZE, _SIZE, "start"))
    shapes = []
    colours = palette(_MAP).colours[::4]
    step = box.height / len(colours)
    for number, colour in enumerate(colours.tolist()):
        y = box.bottom - number * step
        top = max(y - 1.5 * step, box.y)
        ring = np.array([[x, y], [x + _BAR, y], [x + _BAR, top], [x, top]])
        shapes.append(Shape("area", ring, hex_of(colour)))
    return shapes


def _class_names(curves: Curves, box: Box, at: float) -> list[Text]:
    """Return the names of classes in their colours, from the right end of the line above."""
    texts, x = [], box.right
    for number in reversed(range(len(curves.values))):
        name = fitted(curves.values[number].partition("=")[2], _SIZE, box.width / 4)
        if x - text_width(name, _SIZE) < box.x + box.width * 0.5:
            break
        colour = COLOURS[number % len(COLOURS)]
        texts.append(Text(name, x, at, _SIZE, "end", colour=colour))
        x -= text_width(name, _SIZE) + 8
    return texts


def _width_bars(curves: Curves, box: Box, xs: Scale, texts: list[Text]) -> list[Shape]:
    """Return the kernel's width as a bar, if it fits into the frame, and add its name."""
    long = curves.widths[0] / (xs.high - xs.low) * box.width if curves.widths else 0.0
    if curves.is_map or not 0.5 < long < box.width * 0.9:
        return []
    y, end = box.y + 9.0, box.right - 8
    bar = np.array([[end - long, y], [end, y]])
    caps = [np.array([[x, y - 3], [x, y + 3]]) for x in (end - long, end)]
    texts.append(Text("width", end - long / 2, y + 3 + _SIZE, _SIZE, anchor="middle"))
    if text_width("width", _SIZE) > long:
        texts[-1] = Text("width", end, y + 3 + _SIZE, _SIZE, "end")
    return [Shape("line", part, "#000000", 1.0, 1.0, "width") for part in (bar, *caps)]


def characters(curves: Curves, width: int, height: int, *, ascii_only: bool = False) -> str:
    """Return a fit in characters, so many across and down: points and curves, or a map's digits."""
    xs, ys = curves.ranges()
    y_ticks = ys.ticks(5)
    left = max(len(text) for _, text in y_ticks) + 2
    across, down = max(10, width - left - 1), max(5, height - 4)
    drawn = _digits if curves.is_map else _signs
    canvas = drawn(curves, across, down, "*-o" if ascii_only else "█░●")
    marks = {min(down - 1, int((1 - share) * down)): text for share, text in y_ticks}
    bar = "|" if ascii_only else "│"
    rows = [
        f"{marks.get(i, ''):>{left - 1}}{bar}{''.join(line).rstrip()}"
        for i, line in enumerate(canvas)
    ]
    foot = [" "] * (across + left)
    for share, text in xs.ticks(max(2, across // 16)):
        start = min(left + int(share * across), across + left - len(text))
        foot[start : start + len(text)] = text
    what = curves.keys[1] if curves.is_map else curves.values[0].partition("=")[0]
    head = f"{what} by {curves.keys[0]}: {curves.legend}"
    return "\n".join([head[:width], *rows, "".join(foot).rstrip()]) + "\n"


def _digits(curves: Curves, across: int, down: int, signs: str) -> list[list[str]]:
    """Return a map as digits, 0 for the least and 9 for the largest."""
    del signs
    levels, _ = _scale_of(curves).levels(curves.fit)
    canvas = [[" "] * across for _ in range(down)]
    for row in range(down):
        for column in range(across):
            at = (down - 1 - row) * len(levels) // down, column * levels.shape[1] // across
            if np.isfinite(curves.fit[at]):
                canvas[row][column] = str(int(levels[at]) * 10 // 256)
    return canvas


def _signs(curves: Curves, across: int, down: int, signs: str) -> list[list[str]]:
    """Return the ends of a band, points and curves; a class is the first letter of its name."""
    xs, ys = curves.ranges()
    canvas = [[" "] * across for _ in range(down)]

    def put(x: Floats, y: Floats, sign: str) -> None:
        for a, b in zip(x, y, strict=True):
            if np.isfinite(b):
                column = min(across - 1, int((a - xs.low) / (xs.high - xs.low) * across))
                row = min(down - 1, max(0, int((ys.high - b) / (ys.high - ys.low) * down)))
                canvas[row][column] = sign

    full, edge, dot = tuple(signs)
    fine = np.linspace(curves.grid[0][0], curves.grid[0][-1], 4 * across)
    for end in (curves.lower, curves.upper):
        if end is not None:
            put(fine, np.interp(fine, curves.grid[0], end), edge)
    if not curves.is_classes:
        some = _some(len(curves.points))
        put(curves.points[some, 0], curves.observed[some], dot)
    for number, fit in enumerate(curves.fit):
        name = curves.values[number].partition("=")[2]
        sign = (name[:1] or full) if curves.is_classes else full
        put(fine, np.interp(fine, curves.grid[0], fit), sign)
    return canvas
