"""The layout: where everything stands on the page, in points, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from unicodedata import category, east_asian_width, normalize

import numpy as np

from qkvcli.errors import UsageError
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qkvcli.heatmap.picture import Grid, Picture
    from qkvcli.heatmap.request import Request
    from qkvcli.heatmap.select import Axis

VECTOR_SIDE = 64
"""Up to how many cells a side the panels of an SVG are vectors."""
VECTOR_CELLS = 20_000
"""Up to how many cells in all: 2 MB of SVG with their titles."""

_PAD, _GAP, _SPACE, _TICK = 3.0, 12.0, 2.0, 3.0
_LINE, _TIGHT = 1.25, 1.1  # the height of a line of text, and of a label among others, in its size
_TITLE = 1.25  # the size of the title, in that of other text
_TITLE_OVER = _GAP - 4  # how much wider than its panel a title may be
_LONGEST_LABEL = {True: 180.0, False: 120.0}  # of a single panel, and of one among several
_LONGEST_SHARE = 0.3  # the same, of a page whose width is given
_BAR, _SHORTEST_BAR, _USUAL_BAR = 8.0, 24.0, 90.0
_SMALLEST = 8.0  # a panel's least side
_FEWEST, _MOST = 1 / 6, 6.0  # the shapes of a panel that keep its cells square
_SMALLEST_NUMBER, _LARGEST_NUMBER = 4.5, 9.0
_SAMPLE = 1000  # of how many labels the widths are looked at
_COLUMN = 360.0  # a page narrower than this is a column of a paper
_FEW, _ROOMY = 4, 200.0  # so few panels, or so wide, have labels as large as one alone

# The advance widths of DejaVu Sans, U+0020 to U+007E, in thousandths of the size: the widest
# of the fonts that stand for sans-serif.
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698,
    770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732,
    684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635,
    634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,
    525, 636, 337, 636, 838,
)  # fmt: skip
_ADVANCES = {chr(code): width for code, width in enumerate(_WIDTHS, 0x20)}
_OTHER, _WIDE = 1100, 1150  # the widest letters of other alphabets, and ideographs
_MONOSPACED = 610  # in a font that was asked for every letter may be as wide as the next


def text_width(text: str, size: float, least: int = 0) -> float:
    """Return about how wide a line of text is, and no less, in the unit of its size.

    Parameters
    ----------
    text, size
        The text, and the size of its font.
    least
        The width that every sign has at least, in thousandths of the size.
    """
    widths = (_ADVANCES.get(sign) or _advance(sign) for sign in text)
    return sum(max(least, width) for width in widths) * size / 1000


def _advance(sign: str) -> int:
    """Return the width of a sign beyond ASCII, or of one that is not seen, in thousandths."""
    base = normalize("NFD", sign)[0]
    if base != sign:  # an accented letter is as wide as its own
        return _ADVANCES.get(base) or _advance(base)
    if category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return _WIDE if east_asian_width(sign) in "WF" else _OTHER


def fitted(text: str, size: float, width: float, least: int = 0) -> str:
    """Return a text that can be shown, shortened with an ellipsis to a width."""
    # A label of a mebibyte needs no more than its beginning looked at.
    text = visible(text[:1000])
    if text_width(text, size, least) <= width:
        return text
    room = width - _OTHER * size / 1000
    for end, sign in enumerate(text):
        room -= text_width(sign, size, least)
        if room < 0:
            return text[:end].rstrip() + "…"
    return text


class Box(NamedTuple):
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


class Text(NamedTuple):
    """A line of text; ``y`` is its baseline, or ``x`` where it is turned to read upwards.

    Parameters
    ----------
    text, full
        What is shown, and what it was shortened from, if it was.
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


Line = tuple[float, float, float, float]
"""A thin line, such as a tick, as x1, y1, x2, y2."""
Tick = tuple[float, str, str]
"""A label of an axis: so many cells from its beginning, its text, and what that was shortened
from, if it was."""


@dataclass(frozen=True)
class Layout:
    """The page.

    Parameters
    ----------
    width, height
        Of the page.
    picture
        What is drawn.
    boxes, bar
        Of the panels, and of the colour bar.
    texts, lines
        Titles, labels and numbers; ticks.
    font
        The family of all text, or None for the painter's own.
    vector
        Whether cells are few enough to be drawn one by one.
    annotated
        Whether there are numbers in the cells.
    """

    width: float
    height: float
    picture: Picture
    boxes: tuple[Box, ...]
    bar: Box | None
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]
    font: str | None
    vector: bool
    annotated: bool = False


class _Page:
    """The page while it is laid out: from the widths of labels to panels, and from these to texts.

    Widths come first, since no label's width depends on a panel's; heights follow from them.
    """

    def __init__(self, picture: Picture, request: Request) -> None:
        self.picture, self.grid, self.request = picture, picture.grid, request
        grid, width = picture.grid, request.width
        queries, keys = grid.queries, grid.keys
        single = len(picture.panels) == 1
        each = (width or math.inf) / grid.columns
        if single:
            usual = 8.0 if each < _COLUMN else 9.0
        else:
            usual = 7.0 if grid.columns > _FEW or each < _ROOMY else 9.0
        self.size = request.font_size or usual
        self.least = _MONOSPACED if request.font else 0
        self.across = partial(text_width, size=self.size, least=self.least)
        self.longest = tuple(
            min(_LONGEST_LABEL[single], max(map(self.across, _sample(axis))))
            for axis in (keys, queries)
        )
        share = _LONGEST_SHARE * width if width is not None else math.inf
        self.x_room, self.y_room = (
            longest if axis.labels is None else min(longest, share)
            for axis, longest in zip((keys, queries), self.longest, strict=True)
        )
        # From ticks to labels, so that those of both axes do not meet at a panel's corner.
        self.space = max(_SPACE, 0.5 * self.size - _TICK)
        self.line = self.size * _LINE + _SPACE
        # The shape of a panel whose cells are square, or nearly.
        self.shape = min(max(len(keys) / len(queries), _FEWEST), _MOST)
        self.gap = max(_GAP, _TIGHT * self.size)  # as the last label of a panel and the next need
        self.heads = self.line if any(grid.titles[0]) else 0.0
        self.row_gap = max(self.heads + 8, self.gap)
        self.foot = _PAD + 0.6 * self.size  # below what stands beside the panels
        own = [(0.0, "low"), (1.0, "high (log)" if picture.scale.log else "high")]
        # As (share of the bar from its foot, text), by how many ticks there may be.
        self.bar_ticks = {
            most: own if picture.own_scales else picture.scale.ticks(most) for most in range(3, 7)
        }
        self.set_widths()
        self.x_ticks, self.turned = self._x_ticks()
        self.set_heights()
        title = max(map(self.across, grid.titles[-1])) - _TITLE_OVER
        narrowest = max(_SMALLEST, title, 0.0 if request.height else _SMALLEST * self.shape)
        bar = max(_SHORTEST_BAR, 2.2 * self.size) * request.bar + self.foot
        if (
            self.panel < narrowest - 1e-6
            or self.rise < _SMALLEST * min(1.0, 1 / self.shape)
            or self.height < self.top + bar
        ):
            self._refuse(narrowest, bar)
        self.y_ticks = self._y_ticks()
        if queries.labels is not None:
            # What labels would take that are not shown is the panels'.
            self.y_room = max(self.across(text) for _, text, _ in self.y_ticks)
            self.set_widths()
            self.set_heights()

    def set_widths(self) -> None:
        """Set the margins left and right, and the width of a panel and of the page."""
        request, grid = self.request, self.grid
        self.left = _PAD + self.y_room + self.space + _TICK + self.line * bool(request.ylabel)
        over = self.x_room / 2 if grid.keys.labels is None else 0.0  # of the last column's number
        over = max(over, _TITLE_OVER / 2)
        self.right = _PAD + max(over, 0.6 * self.size)
        self.bar_gap = max(over + _SPACE, 6.0)
        if request.bar:
            texts = (text for ticks in self.bar_ticks.values() for _, text in ticks)
            room = _BAR + _TICK + _SPACE + max(map(self.across, texts))
            self.right = self.bar_gap + room + self.line * bool(request.bar_label) + _PAD
        margins = self.left + (grid.columns - 1) * self.gap + self.right
        if request.width is None:
            side = _natural_side(grid, self.size, annotate=request.annotate)
            self.panel = side * min(1.0, self.shape)
            self.width = margins + grid.columns * self.panel
        else:
            self.width = request.width
            self.panel = (self.width - margins) / grid.columns

    def set_heights(self) -> None:
        """Set the margins above and below, and the height of a panel and of the page."""
        request, grid = self.request, self.grid
        self.title = self._wrapped(self.width)
        labels = max((self.across(text) for _, text, _ in self.x_ticks), default=0.0)
        self.top, self.bottom = self._margins(self.title, labels if self.turned else self.size)
        between = (grid.rows - 1) * self.row_gap
        if request.height is None:
            self.rise = self.panel / self.shape
            down = grid.rows * self.rise + between
            beside = max(down, _USUAL_BAR * request.bar, self.across(request.ylabel))
            self.height = self.top + max((beside + down) / 2 + self.bottom, beside + self.foot)
        else:
            self.height = request.height
            self.rise = (self.height - self.top - self.bottom - between) / grid.rows

    def _margins(self, title: Sequence[str], labels: float) -> tuple[float, float]:
        """Return what a title takes above the panels, and labels of this height below them."""
        above = len(title) * self.size * _TITLE * _LINE
        # Half a label may stand above the first row, and the number at the head of the bar.
        top = _PAD + above + max(self.heads, 0.5 * self.size)
        return top, _TICK + self.space + labels + self.line * bool(self.request.xlabel) + _PAD

    def _refuse(self, narrowest: float, bar: float) -> NoReturn:
        """Refuse a page on which panels would have no room, and say how large it must be."""
        grid, request = self.grid, self.request
        # On a wider page labels may be longer.
        margins = self.width - grid.columns * self.panel + self.longest[1] - self.y_room
        width = _tenths(max(self.width, margins + grid.columns * narrowest))
        top, bottom = self._margins(self._wrapped(width), max(self.size, self.longest[0]))
        least = top + (bottom + (grid.rows - 1) * self.row_gap) + grid.rows * _SMALLEST
        height = _tenths(max(self.height, least, top + bar))
        given, wanted = (
            "x".join(f"{side / 72:.3g}" for side in sides[: 2 if request.height else 1])
            for sides in ((self.width, self.height), (width, height))
        )
        count = len(self.picture.panels)
        panels = "a panel and its" if count == 1 else f"{count} panels and their"
        raise UsageError(
            f"--size {given} (inches) leaves no room for {panels} labels; give it at least {wanted}"
        )

    def _wrapped(self, width: float) -> list[str]:
        """Return the title in lines that fit on a page of a width."""
        lines: list[str] = []
        size, room = self.size * _TITLE, width - 2 * _PAD
        for word in self.picture.title.split():
            joined = f"{lines[-1]} {word}" if lines else word
            if lines and text_width(joined, size, self.least) <= room:
                lines[-1] = joined
            else:
                lines.append(fitted(word, size, room, self.least))
        return lines

    def _x_ticks(self) -> tuple[list[Tick], bool]:
        """Return the labels of columns, no two touching, and whether they stand."""
        axis, size = self.grid.keys, self.size
        cell = self.panel / len(axis)
        if cell <= 0:  # the page is refused
            return [], False
        if axis.labels is None:
            return _numbered(axis, (self.x_room + 0.7 * size) / cell), False
        if len(axis) * size < self.panel * 2:  # else none could lie beside the next
            ticks = self._labelled(axis, 1, self.x_room)
            widths = [*(self.across(text) for _, text, _ in ticks), 0.0]
            if max((a + b) / 2 for a, b in pairwise(widths)) + 0.5 * size <= cell:
                return ticks, False
        return self._labelled(axis, size * _TIGHT / cell, self.x_room), True

    def _y_ticks(self) -> list[Tick]:
        """Return the labels of rows, no two touching."""
        axis, keys = self.grid.queries, self.grid.keys
        least = self.size * _TIGHT * len(axis) / self.rise
        if axis.labels is not None:
            return self._labelled(axis, least, self.y_room)
        if keys.labels is None and len(keys) == len(axis) and len(self.x_ticks) > 1:
            least = max(least, self.x_ticks[1][0] - self.x_ticks[0][0])  # as those of the columns
        return _numbered(axis, least)

    def _labelled(self, axis: Axis, least: float, room: float) -> list[Tick]:
        picked = range(0, len(axis), math.ceil(least))
        ticks = []
        for cell, label in zip(picked, axis.texts(picked), strict=True):
            shown = fitted(label, self.size, room, self.least)
            ticks.append((cell + 0.5, shown, "" if shown == label else visible(label)))
        return ticks

    def axes(self, boxes: Sequence[Box]) -> tuple[list[Text], list[Line]]:
        """Return labels and ticks where no panel to the left or below has them."""
        texts: list[Text] = []
        lines: list[Line] = []
        size, columns = self.size, self.grid.columns
        for box in boxes[::columns]:
            cell, x = self.rise / len(self.grid.queries), box.x - _TICK
            for at, text, full in self.y_ticks:
                y = box.y + at * cell
                lines.append((x, y, box.x, y))
                texts.append(Text(text, x - self.space, y + 0.35 * size, size, "end", full=full))
        for box in boxes[-columns:]:
            cell, y = self.panel / len(self.grid.keys), box.bottom + _TICK
            for at, text, full in self.x_ticks:
                x = box.x + at * cell
                lines.append((x, box.bottom, x, y))
                if self.turned:
                    place = (x + 0.35 * size, y + self.space, size, "end")
                else:
                    place = (x, y + self.space + 0.8 * size, size, "middle")
                texts.append(Text(text, *place, turned=self.turned, full=full))
        return texts, lines

    def titles(self, boxes: Sequence[Box]) -> Iterator[Text]:
        """Yield the titles of panels, in the longest form that fits all, and the title of all."""
        grid, width = self.grid, self.panel + _TITLE_OVER
        forms = grid.titles_in(lambda title: self.across(visible(title)) <= width)
        for box, title, form in zip(boxes, grid.titles[0], forms, strict=True):
            if form:
                shown, x = fitted(form, self.size, width, self.least), box.x + box.width / 2
                full = "" if shown == title else visible(title)
                yield Text(shown, x, box.y - 0.3 * self.size - 1, self.size, full=full)
        size = self.size * _TITLE
        for number, line in enumerate(self.title):
            base = _PAD + (number * _LINE + 0.9) * size
            yield Text(line, self.width / 2, base, size, full=self.picture.title)

    def labels(self, block: Box, bar: Box | None) -> Iterator[Text]:
        """Yield what stands along the axes."""
        request, size = self.request, self.size
        if request.xlabel:
            middle = block.x + block.width / 2
            low = bar is not None and bar.bottom > block.bottom  # and may be in its way
            right = block.right + self.bar_gap if low else self.width - _PAD
            left = _PAD + self.line * bool(request.ylabel)
            room = 2 * min(middle - left, right - middle)
            y = block.bottom + self.bottom - _PAD - 0.3 * size
            yield Text(fitted(request.xlabel, size, room, self.least), middle, y, size)
        if request.ylabel:
            yield self._upright(request.ylabel, block, _PAD + 0.9 * size)

    def beside(self, block: Box, length: float) -> float:
        """Return the middle of what stands beside the panels: below the title, on the page."""
        lowest, highest = self.height - self.foot - length / 2, self.top + length / 2
        return max(min(block.y + block.height / 2, lowest), highest)

    def _upright(self, text: str, block: Box, x: float) -> Text:
        """Return a text that reads upwards beside a block."""
        shown = fitted(text, self.size, self.height - self.top - self.foot, self.least)
        return Text(shown, x, self.beside(block, self.across(shown)), self.size, turned=True)

    def bar_texts(self, bar: Box, lines: list[Line]) -> Iterator[Text]:
        """Yield the numbers of the colour bar and its label; add its ticks to ``lines``."""
        size = self.size
        for share, text in self.bar_ticks[max(3, min(6, int(bar.height / (2 * size))))]:
            y, x = bar.bottom - share * bar.height, bar.right + _TICK
            lines.append((bar.right, y, x, y))
            yield Text(text, x + _SPACE, y + 0.35 * size, size, "start")
        if self.request.bar_label:
            yield self._upright(self.request.bar_label, bar, self.width - _PAD - 0.3 * size)


def plan(picture: Picture, request: Request) -> Layout:
    """Return the page of a picture.

    Without a size it is as large as suits the picture, with a width the height follows, and with
    both the panels take all that labels leave.

    Raises
    ------
    UsageError
        The size leaves no room, with the least one that does.
    """
    page, grid = _Page(picture, request), picture.grid
    across = grid.columns * page.panel + (grid.columns - 1) * page.gap
    down = grid.rows * page.rise + (grid.rows - 1) * page.row_gap
    spare = page.height - page.top - page.bottom - down
    block = Box(page.left, page.top + max(0.0, spare) / 2, across, down)
    boxes = tuple(
        Box(
            block.x + (i % grid.columns) * (page.panel + page.gap),
            block.y + (i // grid.columns) * (page.rise + page.row_gap),
            page.panel,
            page.rise,
        )
        for i in range(len(picture.panels))
    )
    bar = None
    if request.bar:  # as high as one row of panels, else over half of all
        wanted = block.height if grid.rows == 1 else 0.6 * block.height
        height = min(max(wanted, _USUAL_BAR), page.height - page.top - page.foot)
        y = page.beside(block, height) - height / 2
        bar = Box(block.right + page.bar_gap, y, _BAR, height)
    texts, lines = page.axes(boxes)
    texts += [*page.titles(boxes), *page.labels(block, bar)]
    if bar is not None:
        texts += page.bar_texts(bar, lines)
    rows, columns = picture.shape
    cells = rows * columns * len(boxes)
    numbers = _cell_texts(picture, boxes) if request.annotate and cells <= VECTOR_CELLS else []
    return Layout(
        page.width,
        page.height,
        picture,
        boxes,
        bar,
        texts=(*texts, *numbers),
        lines=tuple(lines),
        font=request.font,
        vector=max(rows, columns) <= VECTOR_SIDE and cells <= VECTOR_CELLS,
        annotated=bool(numbers),
    )


def _natural_side(grid: Grid, size: float, *, annotate: bool) -> float:
    """Return a panel's longer side where the page may have any size."""
    cells = max(len(grid.queries), len(grid.keys))
    labelled = grid.queries.labels is not None or grid.keys.labels is not None
    if len(grid.names) == 1:
        side = min(max(14.0 * cells, 230.0), 430.0)
        if labelled and cells <= VECTOR_SIDE:
            side = max(side, 1.2 * size * cells)
    else:
        side = min(max(900.0 / grid.columns, 88.0), 220.0)
        if labelled:
            side = max(side, min(1.15 * size * cells, 140.0))
    if annotate:
        side = max(side, min(20.0 * cells, 1400.0 / max(grid.columns, grid.rows)))
    return side


def _sample(axis: Axis) -> list[str]:
    """Return the labels, or some of very many, as they are shown; of numbers the highest."""
    if axis.labels is None:
        return [str(axis.highest)]
    return [visible(text[:100]) for text in axis.labels[:: math.ceil(len(axis) / _SAMPLE)]]


def _numbered(axis: Axis, least: float) -> list[Tick]:
    """Return numbers at round steps, of at least so many cells."""
    steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
    every = next(step for step in steps if step >= least)
    first, middle, last = axis.numbers((0, len(axis) // 2, len(axis) - 1))
    running = (middle - first, last - first) == (len(axis) // 2, len(axis) - 1)
    offset = -first % every if running else 0
    picked = range(offset if offset < len(axis) else 0, len(axis), every)
    return [(i + 0.5, text, "") for i, text in zip(picked, axis.texts(picked), strict=True)]


def _tenths(points: float) -> float:
    """Round up to a tenth of an inch."""
    return math.ceil(round(points / 7.2, 6)) * 7.2


def _cell_texts(picture: Picture, boxes: Sequence[Box]) -> list[Text]:
    """Return a number for every cell, or none where they would not fit."""
    rows, columns = picture.shape
    width, height = boxes[0].width / columns, boxes[0].height / rows
    labels = [[_number(v) for v in panel.values.ravel().tolist()] for panel in picture.panels]
    widest = max(text_width(text, 1.0) for texts in labels for text in texts)
    size = min(_LARGEST_NUMBER, 0.85 * width / widest, 0.75 * height)
    if size < _SMALLEST_NUMBER:
        return []
    luma = picture.palette.colours @ np.array([299, 587, 114])  # ITU-R BT.601
    light = (luma > 140_000).tolist()  # where black reads better than white
    found = []
    for box, panel, texts in zip(boxes, picture.panels, labels, strict=True):
        for index, (text, level) in enumerate(zip(texts, panel.levels.ravel(), strict=True)):
            row, column = divmod(index, columns)
            missing = panel.missing and level == 0
            colour = "#000000" if missing or light[level] else "#ffffff"
            x = box.x + (column + 0.5) * width
            y = box.y + (row + 0.5) * height + 0.35 * size
            found.append(Text(text, x, y, size, colour=colour))
    return found


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"
    return "0.00" if text == "-0.00" else text
