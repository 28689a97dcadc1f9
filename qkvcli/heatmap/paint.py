"""From a request to a file or a terminal: which painter, how many pixels, and what is said."""

from __future__ import annotations

import csv
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkvcli.errors import OutputError, UsageError, did_you_mean
from qkvcli.heatmap.compose import Prepared, Request, odd_labels, prepare, read_picture
from qkvcli.heatmap.layout import VECTOR_CELLS, VECTOR_SIDE, Layout, Plan, Style, arrange, plan
from qkvcli.heatmap.panels import AXIS_PIXELS
from qkvcli.render.console import note
from qkvcli.render.writer import STDOUT, Target, open_target, target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkvcli.heatmap.picture import Picture

PIXEL_BUDGET = 64_000_000
"""How many pixels a PNG may have."""
LEGIBLE = 5
"""How many pixels the size of a text must have to be read."""
LONGEST_SIDE = 200.0
"""How long a page may be, in inches; longer ones are not opened by readers of PDF."""

_UNITS = {"": 72.0, "in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 1.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)x([0-9]+(?:\.[0-9]+)?)(in|cm|mm|pt|)")
_EXTENSIONS = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Page:
    """Where the picture goes, and in what form.

    Parameters
    ----------
    output
        A file, ``-`` for standard output, or None for the terminal.
    form
        ``"svg"``, ``"png"``, ``"pdf"``, ``"terminal"``, or None for what the output's name says.
    size
        Width and height in points, or None for what suits the picture.
    dpi
        The pixels an inch of a PNG.
    annotate
        Whether numbers are written into the cells.
    color
        ``"auto"``, ``"always"`` or ``"never"``, for the terminal.
    """

    output: str | None
    form: str | None
    size: tuple[float, float] | None
    dpi: int
    annotate: bool
    color: str


def words(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return the parts of ``a,b,"c,d"``; a comma inside double quotes separates nothing.

    Raises
    ------
    UsageError
        Quotes that do not close.
    """
    if text is None:
        return None
    try:
        return tuple(next(csv.reader([text], strict=True), [""]))
    except csv.Error:
        raise UsageError(f'{option}: a quote is not closed; write "" for one') from None


def page_size(text: str | None) -> tuple[float, float] | None:
    """Return the width and height in points that ``6x4`` (inches) or ``15x10cm`` names.

    Raises
    ------
    UsageError
        Not a size, or one that no page has.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--size {text!r} is not a size such as 6x4 (inches) or 15x10cm")
    width, height = (float(side) * _UNITS[match[3]] for side in match.groups()[:2])
    if not 0 < min(width, height) <= max(width, height) <= LONGEST_SIDE * 72:
        raise UsageError(f"--size {text}: a side is over 0 and at most {LONGEST_SIDE:g} inches")
    return width, height


def draw(request: Request, page: Page) -> None:
    """Draw a heatmap to where it is wanted; what is odd about it is said on stderr.

    Raises
    ------
    QkvError
        Anything that cannot be read, drawn or written; the output is looked at first.
    """
    place = target(STDOUT if page.output is None else page.output, inputs=request.inputs())
    form = _form(page)
    _check_page(page, form)
    if form == "terminal":
        _draw_terminal(request, page, place)
    else:
        _draw_page(request, page, form, place)


def _draw_terminal(request: Request, page: Page, place: Target) -> None:
    from qkvcli.heatmap import terminal  # imports Rich

    prepared = prepare(request)
    seen = terminal.window(page.color, to_file=not place.is_stdout)
    placed = terminal.fit(prepared.grid, seen, signed=request.diff is not None)
    picture = read_picture(prepared, (placed.rows, placed.columns))
    say(prepared, picture)
    text = terminal.paint(picture, seen, placed)
    with open_target(place) as stream:
        stream.write(terminal.encoded(text, seen.encoding))
    _note_shrunk(picture, place.name, request.shrink)


def _check_page(page: Page, form: str) -> None:
    if form == "terminal" and (page.size or page.annotate):
        option = "--size" if page.size else "--annotate"
        raise UsageError(f"{option} is for SVG, PNG and PDF; name one with -o, or --format")
    if not page.dpi:
        raise UsageError("--dpi 0 leaves no pixels")


def _form(page: Page) -> str:
    if page.form is not None:
        return page.form
    if page.output is None:
        return "terminal"
    if page.output == STDOUT:
        raise UsageError("-o - needs --format svg, png, pdf or terminal")
    extension = os.path.splitext(page.output.lower())[1]
    if extension not in _EXTENSIONS:
        named = f"the extension {extension} names no picture" if extension else "no extension"
        hint = did_you_mean(extension, _EXTENSIONS) if extension else ""
        raise OutputError(f"{named}{hint}; or pass --format", page.output)
    return extension[1:]


def _draw_page(request: Request, page: Page, form: str, place: Target) -> None:
    style = Style(page.size, page.annotate, request.title)
    prepared = prepare(request)
    planned = plan(prepared.grid, style)
    cap = (float(AXIS_PIXELS), float(AXIS_PIXELS))
    if form == "png":
        cap = _panel_pixels(planned, page.dpi)
    picture = read_picture(prepared, cap)
    style = Style(page.size, page.annotate, picture.title)
    layout = arrange(plan(picture.grid, style), picture, style)
    say(prepared, picture)
    if page.annotate and not layout.annotated:
        note("warning: the numbers of --annotate do not fit in the cells; try a larger --size")
    with open_target(place) as stream:
        for part in _painted(layout, form, page.dpi):
            stream.write(part)
    _note_form(layout, form, place.name, request.shrink)


def say(prepared: Prepared, picture: Picture) -> None:
    """Say what is odd about the weights and labels that were read."""
    for line in (*prepared.warnings(picture), *odd_labels(prepared)):
        note(f"warning: {line}")


def _panel_pixels(planned: Plan, dpi: int) -> tuple[float, float]:
    """Return the pixels (rows, columns) of a panel of a PNG; refuse too many of them or too few."""
    width, height = planned.width / 72 * dpi, planned.height / 72 * dpi
    if width * height > PIXEL_BUDGET:
        fitting = int(dpi * (PIXEL_BUDGET / (width * height)) ** 0.5)
        raise UsageError(
            f"the picture would have {width:.0f} × {height:.0f} pixels, over the budget of "
            f"{PIXEL_BUDGET // 1_000_000} million; pass --dpi {fitting}, a smaller --size, "
            "or draw SVG"
        )
    _check_legible(planned, dpi)
    box = planned.boxes[0]
    return box.height / 72 * dpi, box.width / 72 * dpi


def _check_legible(planned: Plan, dpi: int) -> None:
    size = min(text.size for text in planned.texts)
    if size * dpi < LEGIBLE * 72:
        raise UsageError(
            f"--dpi {dpi} leaves {size * dpi / 72:.2g} pixels for letters of {size:g} points; "
            f"pass at least --dpi {math.ceil(LEGIBLE * 72 / size)}"
        )


def _painted(layout: Layout, form: str, dpi: int) -> Iterable[bytes]:
    if form == "svg":
        from qkvcli.heatmap.svg import svg

        return svg(layout)
    from qkvcli.heatmap.figure import figure  # imports Matplotlib

    return figure(layout, form, dpi)


def _note_form(layout: Layout, form: str, name: str, shrink: str) -> None:
    """Say whether cells are vectors, and what a pixel stands for."""
    grid = layout.picture.grid
    rows, columns = grid.shape
    if form == "svg":
        if layout.vector:
            note(f"{name}: cells are vectors")
        else:
            kind = "an image" if grid.panels == 1 else "an image a panel"
            note(
                f"{name}: {rows} × {columns} cells as {kind}, lossless; "
                f"up to {VECTOR_SIDE} × {VECTOR_SIDE} a panel and {VECTOR_CELLS:,} in all "
                "they are vectors"
            )
    _note_shrunk(layout.picture, name, shrink)


def _note_shrunk(picture: Picture, name: str, shrink: str) -> None:
    """Say how many weights a cell stands for, where it is more than one."""
    down, across = picture.grid.factors
    if max(down, across) > 1:
        other = "mean" if shrink == "max" else "max"
        note(f"{name}: a cell is the {shrink} of {down} × {across} weights (--shrink {other})")
