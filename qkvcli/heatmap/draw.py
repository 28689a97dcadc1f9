"""From a request to a file or the terminal: the steps in their order, and what is said of them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qkvcli.errors import UsageError
from qkvcli.heatmap.layout import VECTOR_CELLS, VECTOR_SIDE, Layout, plan
from qkvcli.heatmap.picture import Grid, Picture, coloured, compose, crowded, grid_of
from qkvcli.heatmap.pixels import AXIS_PIXELS, factors, shrunk
from qkvcli.heatmap.request import HTML, NUMBERS, TERMINAL, Request, form_of
from qkvcli.heatmap.scale import SEQUENTIAL, palette
from qkvcli.heatmap.select import select
from qkvcli.heatmap.weights import count
from qkvcli.render.console import is_terminal, note, warn
from qkvcli.render.writer import STDOUT, Target, open_target, target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.fitted import Curve
    from qkvcli.heatmap.chart import Chart
    from qkvcli.heatmap.select import Selection

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
        from qkvcli.heatmap.save import check_saved, save

        check_saved(selection, form, place.name)
        with open_target(place) as stream:
            save(stream, selection, form)
        _say(request, None, selection)
    elif form == HTML:
        from qkvcli.heatmap.html.explore import explorer

        found = explorer(selection, request)
        with open_target(place) as stream:
            stream.writelines(found.parts())
        _say(request, None, selection)
        for line in found.notes:
            note(f"{place.name}: {line}")
    else:
        grid = grid_of(selection, request)
        composed = partial(compose, selection, grid, request)
        _draw(request, form, place, grid, composed, selection)


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

    queries, keys = (
        Axis(name, range(len(texts)), None, tuple(map(str, texts)))
        for name, texts in zip(("query", "key"), names, strict=True)
    )
    grid = Grid(1, 1, ("",), (("",),), queries, keys)
    request = Request(
        titles[2],
        ylabel=titles[0],
        xlabel=titles[1],
        bar_label=titles[2],
        width=_MAP_WIDTH if len(keys) > _MANY else None,
        output=place.name,
        form=form,
    )

    def composed(cap: tuple[int, int]) -> Picture:
        each = factors(values.shape, 1, cap)
        cells = values if max(each) == 1 else shrunk(values, each, request.shrink, signed=False)
        return coloured(grid, [cells], request, palette(SEQUENTIAL), factors=each)

    _draw(request, form or form_of(request), place, grid, composed)


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
    if form == TERMINAL:
        from qkvcli.heatmap.terminal import plots, window

        seen = window("never", to_file=not place.is_stdout)
        with open_target(place) as stream:
            stream.write(plots(curves, seen).encode(seen.encoding, "backslashreplace"))
        return
    from qkvcli.heatmap.chart import chart

    draw_chart(chart(curves), place, form)


def draw_chart(page: Chart, place: Target, form: str) -> None:
    """Draw a page of charts in one of ``PICTURES``."""
    with open_target(place) as stream:
        stream.writelines(pieces(page, form, Request.dpi))


def _draw(  # noqa: PLR0913, PLR0917 - what a heatmap is made of
    request: Request,
    form: str,
    place: Target,
    grid: Grid,
    composed: Callable[[tuple[int, int]], Picture],
    selection: Selection | None = None,
) -> None:
    """Draw panels, of which ``composed`` returns those of no more rows and columns than given."""
    if form == TERMINAL:
        from qkvcli.heatmap.terminal import fit, paint, window

        signed = selection is not None and selection.signed
        seen = window(request.color, to_file=not place.is_stdout)
        placed = fit(grid, seen, titled=bool(request.title or signed), signed=signed)
        picture = composed((placed.rows, placed.columns))
        _say(request, picture, selection)
        parts: Iterable[bytes] = [
            paint(picture, seen, placed).encode(seen.encoding, "backslashreplace")
        ]
    else:
        layout = plan(composed((AXIS_PIXELS, AXIS_PIXELS)), request)
        if form == "png":
            layout = _in_pixels(layout, request.dpi, request.shrink)
        picture = layout.picture
        _say(request, picture, selection)
        if request.annotate and not layout.annotated:
            note("warning: the numbers of --annotate do not fit in the cells; try a larger --size")
        parts = pieces(layout, form, request.dpi)
    with open_target(place) as stream:
        stream.writelines(parts)
    if form == "svg":
        if layout.vector:
            note(f"{place.name}: cells are vectors")
        else:
            (rows, columns), panels = picture.shape, len(picture.panels)
            note(
                f"{place.name}: {rows} × {columns} cells as an image{' a panel' * (panels > 1)}, "
                f"lossless; up to {VECTOR_SIDE} × {VECTOR_SIDE} a panel and {VECTOR_CELLS:,} in "
                "all they are vectors"
            )
    down, across = picture.factors
    if max(down, across) > 1:
        shrink, other = request.shrink, "mean" if request.shrink == "max" else "max"
        line = f"a cell is the {shrink} of {down} × {across} weights (--shrink {other})"
        note(f"{place.name}: {line}")


def pieces(page: Layout | Chart, form: str, dpi: int) -> Iterable[bytes]:
    """Return a page as the pieces of a file, by the painter of one of ``PICTURES``."""
    if form == "svg":
        from qkvcli.heatmap.svg import chart_svg, svg

        return svg(page) if isinstance(page, Layout) else chart_svg(page)
    from qkvcli.heatmap.matplotlib_painter import painted  # imports Matplotlib

    return [painted(page, form, dpi)]


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


def _say(request: Request, picture: Picture | None, selection: Selection | None) -> None:
    """Say what is odd about a picture, and about the weights and labels that were read."""
    watches = selection.watches if selection else ()
    if selection and selection.weights.note:
        warn(selection.weights.note)
    lines = [line for watch in watches for line in watch.warnings()]
    if picture is not None:
        cells = sum(panel.missing for panel in picture.panels)
        if cells and not any(watch.counts["missing"] for watch in watches):
            lines.append(f"{count(cells, 'cell')} NaN or infinite, drawn grey, though no weight is")
        if line := crowded(picture, request):
            warn(line)
    merged = selection and any(a.starts is not None for a in (selection.queries, selection.keys))
    if request.merge_subwords and not request.drop and not merged:
        lines.append("no label is a piece of a word (##, Ġ or ▁); --merge-subwords merged nothing")
    for line in lines:
        note(f"warning: {line}")
