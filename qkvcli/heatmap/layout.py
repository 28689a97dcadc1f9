"""The layout: where everything stands on the page, in points, as plain data.

Two steps, since a PNG must know its panels' pixels before any weight is read: ``plan`` places
panels, ticks and titles; ``arrange`` adds what depends on the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qkvcli.errors import UsageError
from qkvcli.heatmap.colours import hex_of, is_light
from qkvcli.heatmap.metrics import fitted, text_width
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.heatmap.axes import Axis
    from qkvcli.heatmap.picture import Grid, Panel, Picture

VECTOR_SIDE = 64
"""Up to how many cells a side the panels of an SVG are vectors."""
VECTOR_CELLS = 20_000
"""Up to how many cells in all: 2 MB of SVG with their titles."""

_PAD = 8.0
_GAP = 12.0
_TICK = 3.0
_LINE, _TIGHT = 1.25, 1.15  # the height of a line of text, and of a label among others, in its size
_LABEL = 10.0  # the sizes of text: axis labels, the title
_TITLE = 12.0
_TITLE_OVER = _GAP - 4  # how much wider than its panel a title may be
_LONGEST_LABEL = {True: 180.0, False: 120.0}  # of a single panel, and of one among several
_BAR, _BAR_TEXTS = 11.0, 48.0
_SHORTEST_BAR, _USUAL_BAR = 24.0, 90.0
_SMALLEST = 8.0  # a panel's least side
_SMALL_PANEL = 150.0
_FEWEST, _MOST = 1 / 6, 6.0  # the shapes of a panel that keep its cells square
_SMALLEST_NUMBER, _LARGEST_NUMBER = 4.5, 9.0


@dataclass(frozen=True)
class Box:
    """A rectangle in points, from its top left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def edges(self) -> tuple[Line, Line, Line, Line]:
        """Its four sides."""
        return (
            Line(self.x, self.y, self.right, self.y),
            Line(self.x, self.bottom, self.right, self.bottom),
            Line(self.x, self.y, self.x, self.bottom),
            Line(self.right, self.y, self.right, self.bottom),
        )


@dataclass(frozen=True)
class Text:
    """A line of text; ``y`` is its baseline, or ``x`` where it is turned to read upwards.

    Parameters
    ----------
    text, full
        What is shown, and what it was shortened from.
    x, y
        In points.
    size
        Of the font, in points.
    anchor
        ``"start"``, ``"middle"`` or ``"end"`` of the text is at the point.
    turned
        Whether it reads upwards.
    colour
        As ``#rrggbb``.
    """

    text: str
    x: float
    y: float
    size: float
    anchor: str = "middle"
    turned: bool = False
    full: str = ""
    colour: str = "#000000"

    def box(self) -> Box:
        """Return about the rectangle that it fills."""
        along = text_width(self.text, self.size)
        back = {"start": 0.0, "middle": along / 2, "end": along}[self.anchor]
        rise, height = 0.8 * self.size, 1.04 * self.size  # an accent above, a tail below
        if self.turned:
            return Box(self.x - rise, self.y - along + back, height, along)
        return Box(self.x - back, self.y - rise, along, height)


@dataclass(frozen=True)
class Line:
    """A thin line, such as a tick."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Ticks:
    """Which cells of an axis are labelled, each as (middle in cells, shown, full).

    ``room`` is what the labels take away from the axis, ``every`` how many cells there are to one.
    """

    marks: tuple[tuple[float, str, str], ...]
    turned: bool
    room: float
    every: int


@dataclass(frozen=True)
class Style:
    """What the command line says of the page: its size in points, and numbers in the cells."""

    size: tuple[float, float] | None = None
    annotate: bool = False
    title: str = ""


@dataclass(frozen=True)
class Plan:
    """The page before the weights are known.

    Parameters
    ----------
    width, height
        Of the page.
    boxes
        Of the panels.
    bar
        Of the colour bar.
    texts, lines
        Titles, labels and ticks.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    bar: Box
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Layout:
    """The whole page: the plan, with the picture's colours, and the texts that need its weights."""

    plan: Plan
    picture: Picture
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]
    vector: bool
    annotated: bool

    @property
    def placed(self) -> Iterator[tuple[Box, Panel]]:
        """The panels with their boxes."""
        return zip(self.plan.boxes, self.picture.panels, strict=True)


@dataclass(frozen=True)
class _Frame:
    """The sizes from which a page is put together."""

    panel: tuple[float, float]
    x: Ticks
    y: Ticks
    left: float
    bottom: float
    top: float
    row_gap: float
    tick_size: float


def plan(grid: Grid, style: Style) -> Plan:
    """Place panels, ticks and titles.

    Parameters
    ----------
    grid
        The panels and their axes.
    style
        The page.

    Raises
    ------
    UsageError
        ``--size`` leaves no room for the panels.
    """
    try:
        return _placed(grid, style, _framed(grid, style))
    except _TooSmallError as error:
        panels = "a panel and its" if grid.panels == 1 else f"{grid.panels} panels and their"
        given, least = (
            "x".join(f"{side / 72:.3g}" for side in size)
            for size in (style.size or (), _least(grid, style, error.wanted))
        )
        raise UsageError(
            f"--size {given} (inches) leaves no room for {panels} labels; give it at least {least}"
        ) from None


class _TooSmallError(Exception):
    """A page is too small, and might do if it were as ``wanted``."""

    def __init__(self, wanted: tuple[float, float]) -> None:
        super().__init__()
        self.wanted = wanted


def _least(grid: Grid, style: Style, page: tuple[float, float]) -> tuple[float, float]:
    """Return a page that does, in tenths of an inch: margins grow as panels shrink."""
    while True:
        try:
            _framed(grid, replace(style, size=page))
        except _TooSmallError as error:
            page = error.wanted
        else:
            return page


def _framed(grid: Grid, style: Style) -> _Frame:
    frame = _frame(grid, style, _natural(grid, style))
    if style.size is not None:
        for _ in range(3):  # margins depend on the labels, and these on the panels
            frame = _frame(grid, style, _fit(grid, frame, style.size))
    return frame


def _natural(grid: Grid, style: Style) -> tuple[float, float]:
    """Return a panel's width and height where the page may have any size."""
    rows, columns = len(grid.queries), len(grid.keys)
    cells = max(rows, columns)
    labelled = grid.queries.labels is not None or grid.keys.labels is not None
    if grid.panels == 1:
        side = min(max(14.0 * cells, 230.0), 430.0)
        if labelled and cells <= VECTOR_SIDE:
            side = max(side, 10.5 * cells)
    else:
        side = min(max(900.0 / grid.columns, 88.0), 220.0)
        if labelled:
            side = max(side, min(7.6 * cells, 140.0))
    if style.annotate:
        side = max(side, min(20.0 * cells, 1400.0 / max(grid.columns, grid.rows)))
    ratio = _ratio(rows, columns)
    return (side, side / ratio) if ratio >= 1 else (side * ratio, side)


def _ratio(rows: int, columns: int) -> float:
    return min(max(columns / rows, _FEWEST), _MOST)


def _fit(grid: Grid, frame: _Frame, page: tuple[float, float]) -> tuple[float, float]:
    """Return a panel's width and height on a page of a given size."""
    across = page[0] - frame.left - _right() - (grid.columns - 1) * _GAP
    down = page[1] - frame.top - frame.bottom - (grid.rows - 1) * frame.row_gap
    width, height = across / grid.columns, down / grid.rows
    ratio = _ratio(len(grid.queries), len(grid.keys))
    least = _narrowest(grid, ratio)
    missing_x = max(0.0, least - width) * grid.columns
    missing_y = max(0.0, least / ratio - height, _SMALLEST - height) * grid.rows
    beside = max(_SHORTEST_BAR, _axis_label("Queries")) + frame.top + _PAD - page[1]
    if max(missing_x, missing_y, beside) > 0:
        wanted = (page[0] + missing_x, page[1] + max(missing_y, beside))
        raise _TooSmallError((_tenths(wanted[0]), _tenths(wanted[1])))
    return (height * ratio, height) if width > height * ratio else (width, width / ratio)


def _tenths(points: float) -> float:
    """Round up to a tenth of an inch."""
    return math.ceil(round(points / 7.2, 6)) * 7.2


def _narrowest(grid: Grid, ratio: float) -> float:
    """Return a panel's least width, at which its shortest title fits and it is not too low."""
    titles = grid.shorter[-1] if grid.shorter else ()
    size = _title_size(_tick_size(grid, _SMALLEST))
    title = max((text_width(text, size) for text in titles), default=0.0)
    return max(_SMALLEST * max(1.0, ratio), title - _TITLE_OVER)


def _axis_label(text: str) -> float:
    return text_width(text, _LABEL)


def _tick_size(grid: Grid, width: float) -> float:
    return 6.5 if grid.panels > 1 and width < _SMALL_PANEL else 8.5


def _right() -> float:
    return _GAP + 4 + _BAR + _TICK + _BAR_TEXTS + _PAD


def _frame(grid: Grid, style: Style, panel: tuple[float, float]) -> _Frame:
    width, height = panel
    size = _tick_size(grid, width)
    longest = _LONGEST_LABEL[grid.panels == 1]
    x = _x_ticks(grid.keys, width, size, longest)
    alike = grid.keys.labels is None and len(grid.keys) == len(grid.queries)
    y = _y_ticks(grid.queries, height, size, longest, x.every if alike else 1)
    label = _LABEL * _LINE
    titled = any(grid.titles)
    left = _PAD + label + 3 + y.room + 2 + _TICK
    bottom = _TICK + 2 + x.room + 3 + label + _PAD
    heads = _title_size(size) * _LINE + 2 if titled else 0.0
    page = left + grid.columns * width + (grid.columns - 1) * _GAP + _right()
    lines = len(_wrapped(style.title, _TITLE, (style.size or (page,))[0] - 2 * _PAD))
    top = _PAD + lines * _TITLE * _LINE + (4 if lines else 0) + heads
    return _Frame(panel, x, y, left, bottom, top, heads + 8, size)


def _title_size(tick_size: float) -> float:
    return tick_size + 1


def _x_ticks(axis: Axis, length: float, size: float, longest: float) -> Ticks:
    """Choose which columns to label, no two touching; words stand where they cannot lie."""
    cell = length / len(axis)
    if axis.labels is None:
        every = _nice_whole((_widest_number(axis, size) + 0.7 * size) / cell)
        return Ticks(_numbered(axis, every), turned=False, room=size, every=every)
    shown = [fitted(label, size, longest) for label in axis.labels]
    widths = [text_width(text, size) for text in shown]
    needed = ((a + b) / 2 + 0.5 * size for a, b in zip(widths, [*widths[1:], 0.0], strict=True))
    if max(needed) <= cell:
        return Ticks(_labelled(axis, shown, 1), turned=False, room=size, every=1)
    every = math.ceil(size * _TIGHT / cell)
    return Ticks(_labelled(axis, shown, every), turned=True, room=max(widths[::every]), every=every)


def _y_ticks(axis: Axis, length: float, size: float, longest: float, least: int) -> Ticks:
    """Choose which rows to label, at most one in ``least`` where they are numbered."""
    line = size * _TIGHT * len(axis) / length
    if axis.labels is None:
        every = _nice_whole(max(line, least))
        return Ticks(
            _numbered(axis, every), turned=False, room=_widest_number(axis, size), every=every
        )
    every = math.ceil(line)
    shown = [fitted(label, size, longest) for label in axis.labels]
    widest = max(text_width(text, size) for text in shown[::every])
    return Ticks(_labelled(axis, shown, every), turned=False, room=widest, every=every)


def _widest_number(axis: Axis, size: float) -> float:
    return text_width(str(axis.positions.highest), size)


def _labelled(axis: Axis, shown: list[str], every: int) -> tuple[tuple[float, str, str], ...]:
    picked = range(0, len(axis), every)
    return tuple((i + 0.5, shown[i], axis.text(i)) for i in picked)


def _numbered(axis: Axis, every: int) -> tuple[tuple[float, str, str], ...]:
    first = axis.number(0)
    running = all(axis.number(i) == first + i for i in (len(axis) // 2, len(axis) - 1))
    offset = -first % every if running else 0
    picked = range(offset if offset < len(axis) else 0, len(axis), every)
    return tuple((i + 0.5, axis.text(i), axis.text(i)) for i in picked)


def _nice_whole(least: float) -> int:
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """Break a title into lines that fit."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(fitted(word, size, width))
    return lines


def _placed(grid: Grid, style: Style, frame: _Frame) -> Plan:
    width, height = frame.panel
    across = grid.columns * width + (grid.columns - 1) * _GAP
    down = grid.rows * height + (grid.rows - 1) * frame.row_gap
    bar_height = max(down if grid.panels == 1 else 0.6 * down, _USUAL_BAR)
    least = (frame.left + across + _right(), frame.top + max(down, bar_height) + frame.bottom)
    page = style.size or least
    x = frame.left + max(0.0, page[0] - least[0]) / 2
    y = frame.top + max(0.0, page[1] - frame.top - frame.bottom - down) / 2
    boxes = tuple(
        Box(
            x + (i % grid.columns) * (width + _GAP),
            y + (i // grid.columns) * (height + frame.row_gap),
            width,
            height,
        )
        for i in range(grid.panels)
    )
    bar_height = min(bar_height, page[1] - frame.top - _PAD)
    middle = y + down / 2
    bar_y = _beside(middle, bar_height, frame, page[1]) - bar_height / 2
    bar = Box(x + across + _GAP + 4, bar_y, _BAR, bar_height)
    texts, lines = _axes(grid, frame, boxes)
    block = Box(x, y, across, down)
    queries = _beside(middle, _axis_label("Queries"), frame, page[1])
    labels = _labels(frame, block, queries)
    titles = (*_titles(grid, frame, boxes), *labels, *_title(style, page[0]))
    return Plan(page[0], page[1], boxes, bar, (*texts, *titles), tuple(lines))


def _axes(grid: Grid, frame: _Frame, boxes: tuple[Box, ...]) -> tuple[list[Text], list[Line]]:
    """Return ticks everywhere, and labels where no panel to the left or below has them."""
    texts: list[Text] = []
    lines: list[Line] = []
    for index, box in enumerate(boxes):
        outer_left = index % grid.columns == 0
        outer_bottom = index + grid.columns >= grid.panels
        down = box.height / len(grid.queries)
        across = box.width / len(grid.keys)
        for at, shown, full in frame.y.marks:
            y = box.y + at * down
            lines.append(Line(box.x - _TICK, y, box.x, y))
            if outer_left:
                x = box.x - _TICK - 2
                base = y + 0.35 * frame.tick_size
                texts.append(Text(shown, x, base, frame.tick_size, "end", full=full))
        for at, shown, full in frame.x.marks:
            x = box.x + at * across
            lines.append(Line(x, box.bottom, x, box.bottom + _TICK))
            if outer_bottom:
                texts.append(_below(frame, x, box.bottom + _TICK + 2, shown, full))
    return texts, lines


def _below(frame: _Frame, x: float, y: float, shown: str, full: str) -> Text:
    size = frame.tick_size
    if frame.x.turned:
        return Text(shown, x + 0.35 * size, y, size, "end", turned=True, full=full)
    return Text(shown, x, y + 0.8 * size, size, full=full)


def _titles(grid: Grid, frame: _Frame, boxes: tuple[Box, ...]) -> Iterator[Text]:
    size, width = _title_size(frame.tick_size), boxes[0].width + _TITLE_OVER
    short = grid.titles_in(lambda title: text_width(visible(title), size) <= width)
    for box, title, form in zip(boxes, grid.titles, short, strict=True):
        if form:
            shown = fitted(form, size, width)
            yield Text(shown, box.x + box.width / 2, box.y - 4, size, full=title)


def _beside(middle: float, length: float, frame: _Frame, height: float) -> float:
    """Return where the middle of what stands beside low panels is: below the title, on the page."""
    lowest, highest = height - _PAD - length / 2, frame.top + length / 2
    return max(min(middle, lowest), highest)


def _labels(frame: _Frame, block: Box, queries: float) -> Iterator[Text]:
    below = block.bottom + _TICK + 2 + frame.x.room + 3 + 0.8 * _LABEL
    yield Text("Keys", block.x + block.width / 2, below, _LABEL)
    left = block.x - _TICK - 2 - frame.y.room - 3 - 0.3 * _LABEL
    yield Text("Queries", left, queries, _LABEL, turned=True)


def _title(style: Style, width: float) -> Iterator[Text]:
    for number, line in enumerate(_wrapped(style.title, _TITLE, width - 2 * _PAD)):
        base = _PAD + (number * _LINE + 0.9) * _TITLE
        yield Text(line, width / 2, base, _TITLE, full=style.title)


def arrange(plan: Plan, picture: Picture, style: Style) -> Layout:
    """Add to a plan what depends on the weights: the colour bar's ticks, and numbers in cells."""
    rows, columns = picture.grid.shape
    cells = rows * columns * len(picture.panels)
    vector = max(rows, columns) <= VECTOR_SIDE and cells <= VECTOR_CELLS
    texts, lines = _bar(plan, picture)
    numbers = _numbers(plan, picture) if style.annotate and cells <= VECTOR_CELLS else ()
    return Layout(
        plan,
        picture,
        (*plan.texts, *texts, *numbers),
        (*plan.lines, *lines),
        vector,
        annotated=bool(numbers),
    )


def _bar(plan: Plan, picture: Picture) -> tuple[list[Text], list[Line]]:
    bar, size = plan.bar, 8.0
    ticks = picture.scale.ticks(max(2, min(6, int(bar.height / 18))))
    if picture.own_scales:
        ticks = [(0.0, "low"), (1.0, "high (log)" if picture.scale.log else "high")]
    texts, lines = [], []
    for share, text in ticks:
        y = bar.bottom - share * bar.height
        lines.append(Line(bar.right, y, bar.right + _TICK, y))
        shown = fitted(text, size, _BAR_TEXTS)
        texts.append(Text(shown, bar.right + _TICK + 2, y + 0.35 * size, size, "start", full=text))
    return texts, lines


def _numbers(plan: Plan, picture: Picture) -> tuple[Text, ...]:
    """Return a number for every cell, or none where they would not fit."""
    rows, columns = picture.grid.shape
    width, height = plan.boxes[0].width / columns, plan.boxes[0].height / rows
    labels = [[_number(v) for v in panel.values.ravel().tolist()] for panel in picture.panels]
    widest = max(text_width(text, 1.0) for texts in labels for text in texts)
    size = min(_LARGEST_NUMBER, 0.85 * width / widest, 0.75 * height)
    if size < _SMALLEST_NUMBER:
        return ()
    light = [is_light(colour) for colour in picture.palette.colours]
    found = []
    for box, panel, texts in zip(plan.boxes, picture.panels, labels, strict=True):
        for index, (text, level) in enumerate(zip(texts, panel.levels.ravel(), strict=True)):
            row, column = divmod(index, columns)
            missing = panel.missing and level == 0
            colour = hex_of((0, 0, 0) if missing or light[level] else (255, 255, 255))
            x = box.x + (column + 0.5) * width
            y = box.y + (row + 0.5) * height + 0.35 * size
            found.append(Text(text, x, y, size, colour=colour))
    return tuple(found)


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"  # noqa: PLR2004
    return "0.00" if text == "-0.00" else text


def with_own_ranges(grid: Grid, ranges: list[str]) -> Grid:
    """Return a grid whose titles say the range of each panel's own colour scale.

    The shortest do without: what tells panels apart goes before their ranges.
    """
    full, *shorter = (
        tuple(
            f"{title}: {text}" if title else text for title, text in zip(form, ranges, strict=True)
        )
        for form in (grid.titles, *grid.shorter)
    )
    return replace(grid, titles=full, shorter=(*shorter, *grid.shorter[-2:]))
