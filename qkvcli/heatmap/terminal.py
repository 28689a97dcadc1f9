"""The terminal painter: half blocks in colour, or digits, fitted to the window; fits in braille."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING
from unicodedata import category, east_asian_width

import numpy as np

from qkvcli.heatmap.scale import LEVELS, MISSING
from qkvcli.render.console import depth, is_terminal, wants_color
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.fitted import Curve
    from qkvcli.heatmap.picture import Grid, Panel, Picture
    from qkvcli.heatmap.select import Axis

TRUE, EIGHT_BIT, NONE = "truecolor", "256", "none"
_UPPER = "▀"
_GAP, _BAR = 2, 30
_LEAST_WIDTH, _LEAST_LINES = 20, 4
_WIDEST_LABEL, _SHARE = 20, 4  # what labels on the left may take, in characters and of the window
_WIDEST_CELL = 8  # across, so that labels of keys lie below
_LEGEND = 64  # how many keys are spelled out below, at most
_CUBE = (0, 95, 135, 175, 215, 255)  # the six steps of each channel of xterm's colours from 16 on


@dataclass(frozen=True)
class Window:
    """What can be shown: characters across, lines down (0 for any number), and how.

    Parameters
    ----------
    width, height
        In characters.
    colours
        ``"truecolor"``, ``"256"`` or ``"none"``.
    encoding
        Of the stream.
    """

    width: int
    height: int
    colours: str
    encoding: str

    @property
    def blocks(self) -> bool:
        """Whether cells are blocks of colour; else they are digits."""
        return self.colours != NONE


@dataclass(frozen=True)
class Fit:
    """How panels are fitted into a window.

    Parameters
    ----------
    rows, columns
        The most cells of a panel along each axis.
    cell
        Characters across a cell.
    halves
        Whether a line of text shows two rows of cells.
    across
        How many panels stand side by side.
    left
        Characters left of the panels, for labels.
    numbered
        Whether keys with labels are numbered below, since their labels are too wide to lie there.
    legend
        Lines that say what the numbers of keys stand for, where no query has the same label.
    """

    rows: int
    columns: int
    cell: int
    halves: bool
    across: int
    left: int
    numbered: bool = False
    legend: tuple[str, ...] = ()


def window(option: str, *, to_file: bool) -> Window:
    """Return what the terminal can show, or what stands for one in a pipe."""
    stream = None if to_file else sys.stdout
    encoding = "utf-8" if stream is None else stream.encoding or "ascii"
    size = shutil.get_terminal_size((80, 24))
    colours = depth() if wants_color(option, stream) else NONE
    if colours not in (TRUE, EIGHT_BIT):  # sixteen colours are too few to tell weights apart
        insisted = wants_color(option, None)  # whatever the stream is
        colours = EIGHT_BIT if insisted else NONE
    if not _can_encode(_UPPER, encoding):
        colours = NONE
    height = size.lines if is_terminal(stream) else 0
    return Window(max(size.columns, _LEAST_WIDTH), height, colours, encoding)


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def fit(grid: Grid, seen: Window, *, titled: bool, signed: bool) -> Fit:
    """Return how large cells are, so that panels fit the width, and each of them the height.

    Parameters
    ----------
    grid
        The panels.
    seen
        The window.
    titled, signed
        Whether there is a title above all, and whether differences are drawn.
    """
    rows, columns = len(grid.queries), len(grid.keys)
    wide = 3 if signed and not seen.blocks else 2
    narrow = 1 if seen.blocks or not signed else wide
    labels, alike = grid.keys.labels, grid.keys.labels == grid.queries.labels
    lying = 0 if labels is None else 1 + max(width(visible(text[:100])) for text in labels)
    most = min(_WIDEST_LABEL, seen.width // _SHARE)
    left = min(_left(grid.queries, numbered=False), most) + 1
    if lying <= _WIDEST_CELL and _across_all(grid, columns, lying) <= seen.width - left:
        wide = max(wide, lying)  # the labels of keys fit below
    elif alike:
        left = min(_left(grid.queries, numbered=True), most) + 1
    room = seen.width - left
    legend: tuple[str, ...] = ()
    if lying > wide and not alike and columns <= _LEGEND:
        legend = tuple(_legend(grid.keys, seen.width))
    heads = any(grid.titles[0]) + titled
    lines = max(_LEAST_LINES, seen.height - heads - 4 - len(legend)) if seen.height else seen.width
    if lines == _LEAST_LINES:
        legend = ()
    if _across_all(grid, columns, wide) <= room and rows <= lines:
        halves, cell, cells, tall, across = False, wide, columns, rows, grid.columns
    else:
        halves, cell, cells = seen.blocks, narrow, min(columns, room // narrow)
        tall = min(rows, lines * 2 if halves else lines)
        across = _across(grid, (room + _GAP) // (cells * narrow + _GAP))
    numbered = labels is not None and lying > cell
    return Fit(tall, cells, cell, halves, across, left, numbered, legend if numbered else ())


def _across_all(grid: Grid, columns: int, cell: int) -> int:
    return grid.columns * (columns * cell + _GAP) - _GAP


def _across(grid: Grid, most: int) -> int:
    """Return how many panels stand side by side, if it can be in rows that are all as long."""
    row = grid.columns if grid.layered else len(grid.names)
    most = max(1, min(row, most))
    even = next(n for n in range(most, 0, -1) if row % n == 0)
    return even if 2 * even > most else most


def _left(axis: Axis, *, numbered: bool) -> int:
    """Return how wide the labels of queries are."""
    number = len(str(axis.highest))
    if axis.labels is None:
        return number
    widest = max(width(visible(label[:100])) for label in axis.labels)
    return widest + (number + 1) * numbered


def _legend(axis: Axis, room: int) -> Iterator[str]:
    """Yield lines such as ``0 the  1 cat``."""
    line = ""
    for number, text in zip(axis.numbers(range(len(axis))), axis.labels or (), strict=True):
        part = f"{number} {visible(text[:100])}"
        if line and width(line) + 2 + width(part) > room:
            yield line
            line = ""
        line = f"{line}  {part}" if line else _shortened(part, room, "…")
    yield line


def width(text: str) -> int:
    """Return how many characters of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_width(sign) for sign in text)


def _width(sign: str) -> int:
    if category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(sign) in "WF" else 1


def _shortened(shown: str, room: int, ellipsis: str) -> str:
    """Return a text that takes no more than some characters of a terminal."""
    if width(shown) <= room:
        return shown
    while shown and width(shown) > room - 1:
        shown = shown[:-1]
    return shown + ellipsis


def paint(picture: Picture, seen: Window, placed: Fit) -> str:
    """Return a picture as text, with escape sequences where there are colours."""
    lines = _Painter(picture, seen, placed).lines()
    return "".join(line.rstrip(" ") + os.linesep for line in lines)


class _Painter:
    """Puts a picture together, line by line."""

    def __init__(self, picture: Picture, seen: Window, placed: Fit) -> None:
        self.picture, self.seen, self.placed = picture, seen, placed
        self.grid = picture.grid
        plain = not _can_encode("▀·…−", seen.encoding)
        self._ellipsis, self._zero = ("~", ".") if plain else ("…", "·")
        self._ends = ("<=", ">=") if plain else ("≤", "≥")
        self._names: dict[tuple[int, ...], str] = {}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the whole picture; labels of keys stand once, under its last row."""
        picture, placed = self.picture, self.placed
        if picture.title:
            title = self._fitted(picture.title, self.seen.width)
            yield f"\x1b[1m{title}\x1b[0m" if self.seen.blocks else title
        count = len(picture.panels)
        for start in range(0, count, placed.across):
            shown = range(start, min(start + placed.across, count))
            yield from self._band(shown)
        yield self._beside([self._key_labels() for _ in shown])
        yield from placed.legend
        yield self._bar()

    def _band(self, shown: range) -> Iterator[str]:
        """Yield the lines of panels side by side, with labels left of the first."""
        grid, placed, picture = self.grid, self.placed, self.picture
        rows, columns = picture.shape
        if any(grid.titles[0][i] for i in shown):
            room = columns * placed.cell + _GAP - 1
            if len(shown) == 1:
                room = self.seen.width - placed.left
            titles = grid.titles_in(lambda title: width(visible(title)) <= room)
            yield self._beside([self._fitted(titles[i], room) for i in shown])
        step = 2 if placed.halves else 1
        # Numbers thin out, as on paper.
        thin = grid.queries.labels is None and rows // step > 12
        labels = self._query_labels()
        for row in range(0, rows, step):
            label = "" if thin and row // step % 5 else labels[row]
            yield self._beside([self._row(picture.panels[i], row) for i in shown], label)

    def _query_labels(self) -> list[str]:
        axis, factor = self.grid.queries, self.picture.factors[0]
        cells = range(0, len(axis), factor)
        texts = axis.texts(cells)
        if axis.labels is not None and self.placed.numbered and not self.placed.legend:
            numbers = axis.numbers(cells)
            texts = [f"{number} {text}" for number, text in zip(numbers, texts, strict=True)]
        return [self._fitted(text, self.placed.left - 1) for text in texts]

    def _beside(self, parts: Sequence[str], label: str = "") -> str:
        """Return a line of panels; cells fill their places, and what else is shorter is filled."""
        room = self.picture.shape[1] * self.placed.cell + _GAP
        line = " " * max(0, self.placed.left - 1 - width(label)) + label + " "
        for part in parts[:-1]:
            bare = room - _GAP if "\x1b" in part else width(part)
            line += part + " " * max(1, room - bare)
        return line + parts[-1]

    def _row(self, panel: Panel, row: int) -> str:
        """Return one row of cells, or two in half blocks."""
        upper = self._shades(panel, row)
        if not self.seen.blocks:
            return "".join(self._digit(level).rjust(self.placed.cell) for level in upper)
        if not self.placed.halves:
            return self._blocks([(level, level) for level in upper], " ")
        if row + 1 < len(panel.levels):
            lower = self._shades(panel, row + 1)
            return self._blocks(list(zip(upper, lower, strict=True)), _UPPER)
        return self._blocks([(level,) for level in upper], _UPPER)

    def _blocks(self, pairs: list[tuple[int, ...]], sign: str) -> str:
        """Return cells in the colours of these levels, each named once where cells are alike."""
        parts = [
            self._colours(pair) + sign * (self.placed.cell * len(list(alike)))
            for pair, alike in groupby(pairs)
        ]
        return "".join(parts) + "\x1b[0m"

    def _shades(self, panel: Panel, row: int) -> list[int]:
        """Return the levels of a row, -1 where there is no weight."""
        levels: list[int] = panel.levels[row].tolist()
        return [level or -1 for level in levels] if panel.missing else levels

    def _colours(self, pair: tuple[int, ...]) -> str:
        """Return what sets the colours of the sign and of what is behind it, from their levels."""
        if pair not in self._names:
            shades = [self._shade(level) for level in pair]
            parts = zip(("38", "48"), shades, strict=False)
            self._names[pair] = "\x1b[0;" + ";".join(f"{g};{shade}" for g, shade in parts) + "m"
        return self._names[pair]

    def _shade(self, level: int) -> str:
        """Return a level's colour, or the nearest of 256 where there are no more."""
        red, green, blue = MISSING if level < 0 else self.picture.palette.colours[level].tolist()
        if self.seen.colours == TRUE:
            return f"2;{red};{green};{blue}"
        return f"5;{_nearest((red, green, blue))}"

    def _digit(self, level: int) -> str:
        if level < 0:
            return "?"
        if not self.picture.signed:
            return str(level * 10 // LEVELS) if level * 10 // LEVELS else self._zero
        share = round((level - 127.5) / 127.5 * 9)
        return f"{share:+d}" if share else self._zero

    def _key_labels(self) -> str:
        """Return what stands below a panel: labels if they fit, else numbers at round steps."""
        axis, cell, factor = self.grid.keys, self.placed.cell, self.picture.factors[1]
        cells = range(0, len(axis), factor)
        if axis.labels is not None and not self.placed.numbered and factor == 1:
            shown = [visible(text) for text in axis.labels]
            return "".join(" " * (cell - width(text)) + text for text in shown)
        texts = list(map(str, axis.numbers(cells)))
        widest = max(map(len, texts))
        every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000) if n * cell > widest)
        line = ""
        for column in range(0, len(texts), every):
            at = column * cell + cell - 1  # under the digit, or the cell's last character
            text = texts[column]
            start = max(at - len(text) + 1, len(line) + (1 if line else 0))
            if start + len(text) <= len(texts) * cell + _GAP - 1:
                line = line.ljust(start) + text
        return line

    def _bar(self) -> str:
        picture = self.picture
        low, high = ("low", "high")
        if not picture.own_scales:
            scale = picture.scale
            low, high = scale.texts([scale.low, scale.high])
            low = self._ends[0] * scale.cut[0] + low
            high = self._ends[1] * scale.cut[1] + high
        if picture.scale.log:
            high += " (log)"
        room = self.seen.width - len(low) - len(high) - 2
        if self.seen.blocks:
            steps = max(2, min(_BAR, room))
            levels = [step * (LEVELS - 1) // (steps - 1) for step in range(steps)]
            bar = "".join(self._colours((level, level)) + " " for level in levels) + "\x1b[0m"
        elif picture.signed:
            bar = " ".join(self._digit(round(i * (LEVELS - 1) / 18)) for i in range(19))
            bar = bar if len(bar) <= room else "-9 to +9"
        else:
            bar = "".join(self._digit(i * (LEVELS - 1) // 9) for i in range(10))
        return f"{low} {bar} {high}"

    def _fitted(self, text: str, room: int) -> str:
        return _shortened(visible(text[:1000]), room, self._ellipsis)


@cache
def _nearest(parts: tuple[int, int, int]) -> int:
    """Return the number of the nearest colour in xterm's cube.

    By the plain distance a pale red would become yellow.
    """
    ours = _contrast(parts)
    distances = {
        16 + 36 * red + 6 * green + blue: sum(
            (a - b) ** 2
            for a, b in zip(_contrast((_CUBE[red], _CUBE[green], _CUBE[blue])), ours, strict=True)
        )
        for red in range(6)
        for green in range(6)
        for blue in range(6)
    }
    return min(distances, key=distances.__getitem__)


def _contrast(parts: tuple[int, int, int]) -> tuple[float, ...]:
    """Return a colour with its differences between channels, which make its hue, counted again."""
    red, green, blue = parts
    return (red, green, blue, 1.5 * (red - green), 1.5 * (green - blue), 1.5 * (blue - red))


# --- Charts of fits ---

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a cell's dots, by row and column (Unicode, U+2800)."""
_TALLEST, _WIDEST, _LOWEST = 20, 100, 6
_SIGNS = "abcdefgh"


def plots(curves: Sequence[Curve], seen: Window) -> str:
    """Return fits as text, one below the other."""
    return "\n".join(_plot(curve, seen) for curve in curves)


def _plot(curve: Curve, seen: Window) -> str:
    """Return a fit in dots of braille, with rows as points, or in signs of ASCII."""
    from qkvcli.coded import date_text
    from qkvcli.heatmap.chart import axis

    encodes = _can_encode("⠿·│└─", seen.encoding)
    rows = max(_LOWEST, min(_TALLEST, (seen.height or 24) - 6))
    x = axis([curve.x, curve.grid])
    heights = [values for _, values in curve.lines] + [*(curve.band or ())]
    y = axis([curve.y, *heights] if curve.y is not None else [np.array([0.0, 1.0])], 4)
    labels = {}
    for at, text in y.ticks:
        labels[_line_of(at, y.low, y.high, rows)] = text
    margin = max(map(len, labels.values())) + 2
    wide = max(10, min(_WIDEST, seen.width - margin))
    cells = np.full((rows, wide), " ", dtype="<U1")
    if curve.y is not None:
        right, up = (
            np.clip(np.round(_part(v, a.low, a.high) * (n - 1)), 0, n - 1).astype(int)
            for v, a, n in ((curve.x, x, wide), (curve.y, y, rows))
        )
        cells[rows - 1 - up, right] = "·" if encodes else "."
    for number, (_, values) in enumerate(curve.lines):
        one = _dotted(_part(curve.grid, x.low, x.high), _part(values, y.low, y.high), rows, wide)
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
    ends = f"{low}{' ' * max(1, wide - len(low) - len(high))}{high}"
    names = [f"{_SIGNS[i]} {visible(name)}" for i, (name, _) in enumerate(curve.lines)]
    foot = [" " * (margin - 1) + corner + flat * wide, " " * margin + ends]
    foot += [" " * margin + "   ".join(names)] if curve.y is None else []
    return "\n".join([visible(title)[: margin + wide], *shown, *foot]) + "\n"


def _part(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return (values - low) / (high - low)


def _line_of(value: float, low: float, high: float, rows: int) -> int:
    return rows - 1 - round((value - low) / (high - low) * (rows - 1))


def _dotted(
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
    np.bitwise_or.at(found, (down // 4, right // 2), np.array(_DOTS)[down % 4, right % 2])
    return found
