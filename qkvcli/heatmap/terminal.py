"""The terminal painter: half blocks in colour, or digits, fitted to the window."""

from __future__ import annotations

import io
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from qkvcli.heatmap.colours import MISSING
from qkvcli.render.console import depth, is_terminal, wants_color
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qkvcli.heatmap.axes import Axis
    from qkvcli.heatmap.picture import Grid, Panel, Picture

TRUE, EIGHT_BIT, NONE = "truecolor", "256", "none"
_UPPER = "▀"
_GAP = 2
_BAR = 30
_LABEL_LINES = 8
_LEAST_WIDTH = 20
_MISSING_LEVEL, _NOTHING = -1, -2
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
        """Whether cells are half blocks; else they are digits."""
        return self.colours != NONE

    @property
    def plain(self) -> bool:
        """Whether only ASCII can be written."""
        return not _can_encode("▀·…−", self.encoding)


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
    """

    rows: int
    columns: int
    cell: int
    halves: bool
    across: int
    left: int


def window(option: str, *, to_file: bool) -> Window:
    """Look at the terminal, or at what stands for one in a pipe."""
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


def fit(grid: Grid, seen: Window, *, signed: bool) -> Fit:
    """Choose how large cells are, so that panels fit the width, and a single one the height."""
    rows, columns = len(grid.queries), len(grid.keys)
    left = min(_widest(grid.queries), 20, seen.width // 4) + 1
    room = seen.width - left
    lines = _lines(grid, seen)
    wide = 3 if signed and not seen.blocks else 2
    narrow = wide if signed and not seen.blocks else 1
    full = grid.columns * (columns * wide + _GAP) - _GAP
    if full <= room and rows <= lines:
        return Fit(rows, columns, wide, halves=False, across=grid.columns, left=left)
    tall = lines * 2 if seen.blocks else lines
    columns = min(columns, room // narrow)
    across = max(1, min(grid.columns, (room + _GAP) // (columns * narrow + _GAP)))
    return Fit(min(rows, tall), columns, narrow, halves=seen.blocks, across=across, left=left)


def _widest(axis: Axis) -> int:
    if axis.labels is None:
        return len(str(axis.positions.highest))
    return max(cell_len(visible(label[:100])) for label in axis.labels)


def _lines(grid: Grid, seen: Window) -> int:
    """Return how many lines of a window are left for one panel."""
    if not seen.height:
        return seen.width  # a pipe has no height; keep large panels about square
    if grid.panels > 1:
        return max(4, seen.height)
    labels = 1 if grid.keys.labels is None else min(_LABEL_LINES, _widest(grid.keys))
    return max(4, seen.height - labels - 4)


def paint(picture: Picture, seen: Window, placed: Fit) -> str:
    """Return a picture as text, with escape sequences where there are colours."""
    system = seen.colours if seen.blocks else None
    out = io.StringIO()
    console = Console(
        file=out,
        color_system=system,  # type: ignore[arg-type]
        force_terminal=system is not None,
        width=seen.width,
        legacy_windows=False,
        _environ={},
    )
    for line in _Painter(picture, seen, placed).lines():
        if system is None:
            line.rstrip()  # else what it would strip are cells
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)
    return out.getvalue()


class _Painter:
    """Puts a picture together, line by line."""

    def __init__(self, picture: Picture, seen: Window, placed: Fit) -> None:
        self.picture = picture
        self.seen = seen
        self.placed = placed
        self.grid = picture.grid
        self._shades = [tuple(c) for c in picture.palette.colours.tolist()]
        self._styles: dict[tuple[int, int], Style] = {}
        self._ellipsis = "~" if seen.plain else "…"
        self._zero = "." if seen.plain else "·"

    def lines(self) -> Iterator[Text]:
        """Yield the lines of the whole picture."""
        if self.picture.title:
            yield Text(self._fitted(self.picture.title, self.seen.width), style="bold")
        count, across = self.grid.panels, self.placed.across
        for start in range(0, count, across):
            yield from self._band(range(start, min(start + across, count)))
        yield self._bar()

    def _band(self, indices: range) -> Iterator[Text]:
        """Yield the lines of panels side by side, with labels left of and below them."""
        grid, placed = self.grid, self.placed
        rows, columns = grid.shape
        width = columns * placed.cell
        if any(grid.titles[i] for i in indices):
            room = width + _GAP - 1 if len(indices) > 1 else self.seen.width - placed.left
            titles = grid.titles_in(lambda title: cell_len(visible(title)) <= room)
            yield self._beside([Text(self._fitted(titles[i], room)) for i in indices], width)
        step = 2 if placed.halves else 1
        every = self._every_row(step)
        for row in range(0, rows, step):
            label = self._query(row) if row // step % every == 0 else ""
            cells = [self._row(self.picture.panels[i], row) for i in indices]
            yield self._beside(cells, width, label)
        for line in self._key_labels():
            yield self._beside([Text(line) for _ in indices], width)

    def _beside(self, parts: Sequence[Text], width: int, label: str = "") -> Text:
        line = Text(" " * max(0, self.placed.left - 1 - cell_len(label)) + label + " ")
        for number, part in enumerate(parts):
            line.append_text(part)
            if number < len(parts) - 1:
                line.append(" " * max(1, width + _GAP - part.cell_len))
        return line

    def _every_row(self, step: int) -> int:
        """Return on every which line a query is labelled; numbers thin out, as on paper."""
        lines = self.grid.shape[0] // step
        if self.grid.queries.labels is not None or lines <= 12:  # noqa: PLR2004
            return 1
        return 5

    def _query(self, row: int) -> str:
        text = self.grid.queries.text(row * self.grid.factors[0])
        return self._fitted(text, self.placed.left - 1)

    def _row(self, panel: Panel, row: int) -> Text:
        if not self.seen.blocks:
            return Text("".join(self._digit(panel, row, column) for column in self._columns()))
        line = Text()
        for column in self._columns():
            upper = self._colour(panel, row, column)
            if not self.placed.halves:
                line.append(" " * self.placed.cell, self._style(upper, upper, both=True))
            elif row + 1 < len(panel.levels):
                lower = self._colour(panel, row + 1, column)
                line.append(_UPPER * self.placed.cell, self._style(upper, lower, both=True))
            else:
                line.append(_UPPER * self.placed.cell, self._style(upper, upper, both=False))
        return line

    def _columns(self) -> range:
        return range(self.grid.shape[1])

    def _colour(self, panel: Panel, row: int, column: int) -> int:
        """Return a cell's level, ``_MISSING_LEVEL`` where there is no weight."""
        level = int(panel.levels[row, column])
        return _MISSING_LEVEL if panel.missing and level == 0 else level

    def _style(self, upper: int, lower: int, *, both: bool) -> Style:
        pair = (upper, lower if both else _NOTHING)
        if pair not in self._styles:
            front, back = (self._named(max(level, _MISSING_LEVEL)) for level in pair)
            self._styles[pair] = Style.parse(f"{front} on {back}" if both else front)
        return self._styles[pair]

    def _named(self, level: int) -> str:
        """Return a level's colour as Rich calls it, the nearest of 256 where there are no more."""
        shade = MISSING if level == _MISSING_LEVEL else self._shades[level]
        return _rgb(shade) if self.seen.colours == TRUE else f"color({_nearest(shade)})"

    def _digit(self, panel: Panel, row: int, column: int) -> str:
        level = self._colour(panel, row, column)
        return self._digit_of(level).rjust(self.placed.cell)

    def _digit_of(self, level: int) -> str:
        if level < 0:
            return "?"
        if not self.picture.signed:
            return str(level * 10 // 256) if level * 10 // 256 else self._zero
        share = round((level - 127.5) / 127.5 * 9)
        return f"{share:+d}" if share else self._zero

    def _key_labels(self) -> Iterator[str]:
        """Yield the lines of labels below a panel: numbers lie, words stand."""
        keys, cell = self.grid.keys, self.placed.cell
        texts = [keys.text(column * self.grid.factors[1]) for column in self._columns()]
        if keys.labels is None:
            yield self._numbers(texts, cell)
            return
        shown = [_letters(visible(text[:100])) for text in texts]
        every = 2 if cell == 1 and any(cell_len(s) > 1 for word in shown for s in word) else 1
        height = min(_LABEL_LINES, max(len(word) for word in shown[::every]))
        cut = [
            word if len(word) <= height else [*word[: height - 1], self._ellipsis] for word in shown
        ]
        for line in range(height):
            yield (
                "".join(
                    _padded(word[line] if line < len(word) and not i % every else "", cell)
                    for i, word in enumerate(cut)
                )
                if every == 1
                else _sparse(cut, line, every, cell)
            )

    def _numbers(self, texts: list[str], cell: int) -> str:
        width = max(map(len, texts))
        every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000) if n * cell > width)
        line = ""
        for column in range(0, len(texts), every):
            at = column * cell + cell - 1  # under the digit, or the cell's last character
            text = texts[column]
            start = max(at - len(text) + 1, len(line) + (1 if line else 0))
            if start + len(text) <= len(texts) * cell + _GAP - 1:
                line = line.ljust(start) + text
        return line

    def _bar(self) -> Text:
        picture = self.picture
        low, high = ("low", "high") if picture.own_scales else self._ends()
        if picture.scale.log:
            high += " (log)"
        room = self.seen.width - len(low) - len(high) - 2
        line = Text(f"{low} ")
        if self.seen.blocks:
            steps = max(2, min(_BAR, room))
            for step in range(steps):
                level = step * 255 // (steps - 1)
                line.append(" ", self._style(level, level, both=True))
        else:
            line.append(self._digits(room))
        line.append(f" {high}")
        return line

    def _digits(self, room: int) -> str:
        """Return what stands for the lowest to the highest weights, shortened to the room."""
        if not self.picture.signed:
            return "".join(self._digit_of(i * 255 // 9) for i in range(10))
        text = " ".join(self._digit_of(round(i * 255 / 18)) for i in range(19))
        return text if len(text) <= room else "-9 to +9"

    def _ends(self) -> tuple[str, str]:
        scale = self.picture.scale
        low, high = scale.texts([scale.low, scale.high])
        below, above = ("<=", ">=") if self.seen.plain else ("≤", "≥")
        return (below if scale.cut[0] else "") + low, (above if scale.cut[1] else "") + high

    def _fitted(self, text: str, width: int) -> str:
        shown = visible(text[:1000])
        if cell_len(shown) <= width:
            return shown
        while shown and cell_len(shown) > width - 1:
            shown = shown[:-1]
        return shown + self._ellipsis


def _rgb(parts: tuple[int, ...]) -> str:
    red, green, blue = parts
    return f"#{red:02x}{green:02x}{blue:02x}"


@cache
def _nearest(parts: tuple[int, ...]) -> int:
    """Return the number of the nearest colour in xterm's cube.

    Rich's own way down from true colours leads through saturations, and makes a pale red yellow.
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


def _contrast(parts: tuple[int, ...]) -> tuple[float, ...]:
    """Return a colour with its differences between channels, which make its hue, counted again."""
    red, green, blue = parts
    return (red, green, blue, 1.5 * (red - green), 1.5 * (green - blue), 1.5 * (blue - red))


def _letters(word: str) -> list[str]:
    """Take a word apart into what stands in one place: a sign with what combines with it."""
    letters: list[str] = []
    for sign in word:
        if letters and cell_len(sign) == 0:
            letters[-1] += sign
        else:
            letters.append(sign)
    return letters


def _padded(letter: str, width: int) -> str:
    return " " * (width - cell_len(letter)) + letter


def _sparse(words: list[list[str]], line: int, every: int, cell: int) -> str:
    picked = words[::every]
    return "".join(_padded(word[line] if line < len(word) else "", every * cell) for word in picked)


def encoded(text: str, encoding: str) -> bytes:
    """Return text in a stream's encoding, with what it cannot hold spelled out."""
    return text.replace("\n", os.linesep).encode(encoding, "backslashreplace")
