"""From a request to a file or the terminal: the steps in their order, and what is said of them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from qkvcli.errors import UsageError
from qkvcli.heatmap.layout import VECTOR_CELLS, VECTOR_SIDE, Layout, plan
from qkvcli.heatmap.picture import Picture, compose, crowded, grid_of
from qkvcli.heatmap.pixels import AXIS_PIXELS
from qkvcli.heatmap.request import HTML, NUMBERS, TERMINAL, Request, Style, form_of
from qkvcli.heatmap.select import Selection, select
from qkvcli.heatmap.weights import count
from qkvcli.render.console import is_terminal, note, warn
from qkvcli.render.writer import STDOUT, Target, open_target, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.fitted import Curve
    from qkvcli.heatmap.chart import Chart

PIXEL_BUDGET = 64_000_000
"""How many pixels a PNG may have."""
_MANY, _MAP_WIDTH = 40, 400.0
"""From how many columns on a table of numbers is a map, and how wide its page is, in points."""
LEGIBLE = 5
"""How many pixels the size of a text must have to be read."""


def draw(request: Request) -> None:
    """Draw or save a heatmap where it is wanted; what is odd about it is said on stderr.

    Raises
    ------
    QkvError
        Anything that cannot be read, drawn or written; the output is looked at first.
    """
    place = target(STDOUT if request.output is None else request.output, inputs=request.inputs())
    form = form_of(request)
    if form not in (TERMINAL, HTML, "svg", "csv") and place.is_stdout and is_terminal(sys.stdout):
        raise UsageError(
            f"{form} is not text, and stdout is a terminal; redirect it, or name a file with -o"
        )
    selection = select(request)
    if form in NUMBERS:
        _save(request, selection, form, place)
    elif form == HTML:
        _explore(request, selection, place)
    elif form == TERMINAL:
        _show(request, selection, place)
    else:
        _paint(request, selection, form, place)


def draw_grid(
    values: NDArray[np.float64],
    place: Target,
    names: tuple[Sequence[str], Sequence[str]],
    titles: tuple[str, str, str],
    form: str | None = None,
) -> None:
    """Draw a table of numbers as one panel.

    Parameters
    ----------
    values
        The numbers, (rows, columns); NaN is grey.
    place
        Where the picture goes; its name says of which form it is.
    names
        What rows and columns are called.
    titles
        What stands on the left, below, and along the colour bar.
    form
        One of ``PICTURES``, or ``TERMINAL``; None for what the place's name says.
    """
    from qkvcli.heatmap.select import Axis
    from qkvcli.heatmap.weights import Watch, Weights
    from qkvcli.sources.matrices import in_memory

    rows, columns = values.shape
    watch = Watch(titles[2], (1, 1, rows), math.inf)
    stored = in_memory(values, titles[2])
    weights = Weights(titles[2], stored, (1, 1, 1, rows, columns), 2, 0, watch, (0,), (0,))
    down, across = (tuple(map(str, one)) for one in names)
    queries, keys = (
        Axis("query", range(rows), None, down),
        Axis("key", range(columns), None, across),
    )
    selection = Selection(weights, None, (), (((0, 0),),), queries, keys, "mean", ("",))
    ylabel, xlabel, bar_label = titles
    width = _MAP_WIDTH if columns > _MANY else None
    style = Style(width=width, xlabel=xlabel, ylabel=ylabel, bar_label=bar_label)
    if form == TERMINAL:
        _show(Request(titles[2]), selection, place)
        return
    request = Request(titles[2], style=style, output=place.name, form=form)
    _paint(request, selection, form_of(request), place)


def draw_curves(curves: Sequence[Curve], place: Target, form: str) -> None:
    """Draw fits as charts.

    Parameters
    ----------
    curves
        The fits.
    place
        Where the picture goes.
    form
        One of ``PICTURES``, or ``TERMINAL``.
    """
    from qkvcli.heatmap.chart import chart

    if form == TERMINAL:
        from qkvcli.heatmap.braille import all_drawn
        from qkvcli.heatmap.terminal import window

        seen = window("never", to_file=not place.is_stdout)
        encodes = seen.can_show("⠿·│└─")
        text = all_drawn(curves, seen.width, seen.height, encodes=encodes)
        with open_target(place) as stream:
            stream.write(text.encode(seen.encoding, "backslashreplace"))
    else:
        draw_chart(chart(curves), place, form)


def draw_chart(page: Chart, place: Target, form: str) -> None:
    """Draw a page of charts in one of ``PICTURES``."""
    with open_target(place) as stream:
        stream.writelines(pieces(page, form, Style().dpi))


def _paint(request: Request, selection: Selection, form: str, place: Target) -> None:
    cap = (AXIS_PIXELS, AXIS_PIXELS)
    picture = compose(selection, grid_of(selection, request), request, cap)
    layout = plan(picture, request.style)
    dpi = request.style.dpi
    if form == "png":
        layout = _in_pixels(layout, dpi, request.shrink)
    _say(request, selection, layout.picture)
    if request.style.annotate and not layout.annotated:
        note("warning: the numbers of --annotate do not fit in the cells; try a larger --size")
    parts = pieces(layout, form, dpi)
    with open_target(place) as stream:
        stream.writelines(parts)
    if form == "svg":
        _say_what_cells_are(layout, place.name)
    _say_shrunk(layout.picture, place.name, request.shrink)


def pieces(page: Layout | Chart, form: str, dpi: int) -> Iterable[bytes]:
    """Return a page as the pieces of a file, by the painter of one of ``PICTURES``."""
    if form == "svg":
        from qkvcli.heatmap.svg import chart_svg, svg

        return svg(page) if isinstance(page, Layout) else chart_svg(page)
    from qkvcli.heatmap.matplotlib_painter import painted, painted_chart  # imports Matplotlib

    if isinstance(page, Layout):
        return [painted(page, form, dpi)]
    return [painted_chart(page, form, dpi)]


def _show(request: Request, selection: Selection, place: Target) -> None:
    from qkvcli.heatmap.terminal import fit, paint, window

    grid = grid_of(selection, request)
    seen = window(request.color, to_file=not place.is_stdout)
    placed = fit(
        grid, seen, titled=bool(request.title or selection.signed), signed=selection.signed
    )
    picture = compose(selection, grid, request, (placed.rows, placed.columns))
    _say(request, selection, picture)
    text = paint(picture, seen, placed)
    with open_target(place) as stream:
        stream.write(text.encode(seen.encoding, "backslashreplace"))
    _say_shrunk(picture, place.name, request.shrink)


def _explore(request: Request, selection: Selection, place: Target) -> None:
    from qkvcli.heatmap.html.explore import explorer

    found = explorer(selection, request)
    with open_target(place) as stream:
        for part in found.parts():
            stream.write(part)
    _say(request, selection, None)
    for line in found.notes:
        note(f"{place.name}: {line}")


def _save(request: Request, selection: Selection, form: str, place: Target) -> None:
    from qkvcli.heatmap.save import check_saved, save

    check_saved(selection, form, place.name)
    with open_target(place) as stream:
        save(stream, selection, form)
    _say(request, selection, None)


def _in_pixels(layout: Layout, dpi: int, shrink: str) -> Layout:
    """Return a layout for a PNG, whose panels have no more cells than pixels.

    Raises
    ------
    UsageError
        Too many pixels in all, or too few for letters to be read.
    """
    width, height = layout.width / 72 * dpi, layout.height / 72 * dpi
    if width * height > PIXEL_BUDGET:
        fitting = int(dpi * (PIXEL_BUDGET / (width * height)) ** 0.5)
        raise UsageError(
            f"the picture would have {width:.0f} × {height:.0f} pixels, over the budget of "
            f"{PIXEL_BUDGET // 1_000_000} million; pass --dpi {fitting}, a smaller --size, "
            "or draw SVG"
        )
    size = min(text.size for text in layout.texts)
    if size * dpi < LEGIBLE * 72:
        raise UsageError(
            f"--dpi {dpi} leaves {size * dpi / 72:.2g} pixels for letters of {size:g} points; "
            f"pass at least --dpi {math.ceil(LEGIBLE * 72 / size)}"
        )
    picture, box = layout.picture, layout.boxes[0]
    sides = zip(picture.shape, (box.height, box.width), strict=True)
    down, across = (math.ceil(cells * 72 / (side * dpi)) for cells, side in sides)
    if max(down, across) == 1:
        return layout
    panels = (p.coarser((down, across), shrink, signed=picture.signed) for p in picture.panels)
    factors = picture.factors[0] * down, picture.factors[1] * across
    return replace(layout, picture=replace(picture, panels=tuple(panels), factors=factors))


def _say(request: Request, selection: Selection, picture: Picture | None) -> None:
    """Say what is odd about the weights and labels that were read."""
    if selection.note:
        warn(selection.note)
    lines = [line for watch in selection.watches for line in watch.warnings()]
    if picture is not None:
        cells = sum(panel.missing for panel in picture.panels)
        if cells and not any(watch.counts["missing"] for watch in selection.watches):
            lines.append(f"{count(cells, 'cell')} NaN or infinite, drawn grey, though no weight is")
        if line := crowded(picture, request):
            warn(line)
    merged = any(axis.starts is not None for axis in (selection.queries, selection.keys))
    if request.choice.merge_subwords and not request.choice.drop and not merged:
        lines.append("no label is a piece of a word (##, Ġ or ▁); --merge-subwords merged nothing")
    for line in lines:
        note(f"warning: {line}")


def _say_what_cells_are(layout: Layout, name: str) -> None:
    rows, columns = layout.picture.shape
    if layout.vector:
        note(f"{name}: cells are vectors")
        return
    kind = "an image" if len(layout.boxes) == 1 else "an image a panel"
    note(
        f"{name}: {rows} × {columns} cells as {kind}, lossless; "
        f"up to {VECTOR_SIDE} × {VECTOR_SIDE} a panel and {VECTOR_CELLS:,} in all they are vectors"
    )


def _say_shrunk(picture: Picture, name: str, shrink: str) -> None:
    """Say how many weights a cell stands for, where it is more than one."""
    down, across = picture.factors
    if max(down, across) > 1:
        other = "mean" if shrink == "max" else "max"
        note(f"{name}: a cell is the {shrink} of {down} × {across} weights (--shrink {other})")
