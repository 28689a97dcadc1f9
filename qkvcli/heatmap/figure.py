"""The PNG and PDF painter: Matplotlib, with one set of axes or none however many panels."""

from __future__ import annotations

import io
import os
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.heatmap.clean import matplotlib_imported
from qkvcli.heatmap.colours import MISSING
from qkvcli.heatmap.png import rgb_png
from qkvcli.render.console import note
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.heatmap.layout import Box, Layout, Line, Text
    from qkvcli.heatmap.picture import Panel, Picture

_STROKE = 0.6  # the width of lines, in points
_SETTINGS: dict[Any, str | int] = {
    "pdf.fonttype": 42,  # text in TrueType outlines, which editors can read as text
    "text.hinting": "no_hinting",  # hinted letters are wider than those the layout reckons with
}
_NO_DATES: dict[str, None] = {"CreationDate": None, "ModDate": None}


def figure(layout: Layout, form: str, dpi: int) -> Iterator[bytes]:
    """Yield a layout as the pieces of a PNG or PDF file.

    Parameters
    ----------
    layout
        The page.
    form
        ``"png"`` or ``"pdf"``.
    dpi
        The pixels an inch of a PNG.
    """
    with matplotlib_imported():
        import matplotlib as mpl

        with mpl.rc_context(_SETTINGS), _glyphs_watched():
            yield from _png(layout, dpi) if form == "png" else _pdf(layout)


def _png(layout: Layout, dpi: int) -> Iterator[bytes]:
    """Fill cells and lines in a canvas's own pixels, and let Matplotlib write over them.

    A ``Figure`` would cost 7 MiB and its parts for nothing: all that is left to draw is text.
    """
    from matplotlib.backends.backend_agg import RendererAgg

    plan, scale = layout.plan, dpi / 72
    untyped: Any = RendererAgg
    renderer = untyped(max(1, round(plan.width * scale)), max(1, round(plan.height * scale)), dpi)
    pixels = np.asarray(renderer.buffer_rgba())
    pixels[:] = 255
    for box, panel in layout.placed:
        _fill(pixels, box, _colours(panel, layout.picture), dpi)
    _fill(pixels, plan.bar, _gradient(layout.picture), dpi)
    for line in (*layout.lines, *(edge for box in (*plan.boxes, plan.bar) for edge in box.edges)):
        _rule(pixels, line, scale)
    for text in layout.texts:
        _write(renderer, text, scale)
    yield from rgb_png(pixels[:, :, :3], dpi)


def _rule(pixels: NDArray[np.uint8], line: Line, scale: float) -> None:
    """Blacken a straight line, sharp at any resolution."""
    width = max(1, round(_STROKE * scale))
    top, left = (round(at * scale) - width // 2 for at in (line.y1, line.x1))
    bottom, right = (round(at * scale) - width // 2 + width for at in (line.y2, line.x2))
    pixels[max(0, top) : bottom, max(0, left) : right, :3] = 0


def _write(renderer: Any, text: Text, scale: float) -> None:  # noqa: ANN401
    """Write a line of text from where its anchor puts its beginning."""
    shown, font = visible(text.text), _font()
    if not shown:
        return
    font.set_size(text.size)
    gc = renderer.new_gc()
    gc.set_foreground(text.colour)
    length = renderer.get_text_width_height_descent(shown, font, ismath=False)[0]
    back = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor] * length
    x, y = text.x * scale, text.y * scale
    x, y = (x, y + back) if text.turned else (x - back, y)
    renderer.draw_text(gc, x, y, shown, font, 90 if text.turned else 0, ismath=False)


def _fill(pixels: NDArray[np.uint8], box: Box, colours: NDArray[np.uint8], dpi: int) -> None:
    """Fill a box with cells of about equal size, none left out while there are pixels enough."""
    scale = dpi / 72
    top, left = round(box.y * scale), round(box.x * scale)
    height, width = (max(1, round(side * scale)) for side in (box.height, box.width))
    rows = np.arange(height) * len(colours) // height
    columns = np.arange(width) * colours.shape[1] // width
    for offset, row in enumerate(rows.tolist()):
        pixels[top + offset, left : left + width, :3] = colours[row, columns]


def _pdf(layout: Layout) -> Iterator[bytes]:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    width, height = layout.plan.width, layout.plan.height
    page = Figure(figsize=(width / 72, height / 72), frameon=False)
    axes = page.add_axes((0, 0, 1, 1), frameon=False, xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for box, panel in layout.placed:
        add = _add_cells if layout.vector else _add_image
        add(axes, box, _colours(panel, layout.picture))
    _add_image(axes, layout.plan.bar, _gradient(layout.picture))
    _add_lines(axes, layout)
    _add_texts(axes, layout)
    out = io.BytesIO()
    canvas: Any = FigureCanvasPdf(page)
    canvas.print_pdf(out, metadata=_NO_DATES)
    yield out.getvalue()


def _colours(panel: Panel, picture: Picture) -> NDArray[np.uint8]:
    colours = picture.palette.colours
    if panel.missing:
        colours = np.concatenate([[MISSING], colours[1:]]).astype(np.uint8)
    return colours[panel.levels]


def _add_image(axes: Any, box: Box, colours: NDArray[np.uint8]) -> None:  # noqa: ANN401
    from matplotlib.image import AxesImage

    extent = (box.x, box.right, box.bottom, box.y)
    image = AxesImage(axes, extent=extent, interpolation="none", origin="upper")
    image.set_data(colours)
    axes.add_artist(image)


def _add_cells(axes: Any, box: Box, colours: NDArray[np.uint8]) -> None:  # noqa: ANN401
    """Add a panel as rectangles, each reaching under those drawn after it, right of and below it.

    Where cells only met, viewers that smooth their edges would let the page shine through.
    """
    from matplotlib.collections import PolyCollection

    rows, columns = colours.shape[:2]
    x, y = np.linspace(box.x, box.right, columns + 1), np.linspace(box.y, box.bottom, rows + 1)
    top, left = (at.ravel() for at in np.indices((rows, columns)))
    bottom, right = np.minimum(top + 2, rows), np.minimum(left + 2, columns)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    cells = np.stack([np.stack([x[i], y[j]], axis=-1) for i, j in corners], axis=1)
    drawn = PolyCollection(cells, facecolors=colours.reshape(-1, 3) / 255, edgecolors="none")  # type: ignore[arg-type]
    axes.add_collection(drawn, autolim=False)


def _gradient(picture: Picture) -> NDArray[np.uint8]:
    return picture.palette.colours[::-1, None, :]


def _add_lines(axes: Any, layout: Layout) -> None:  # noqa: ANN401
    from matplotlib.collections import LineCollection

    boxes = (*layout.plan.boxes, layout.plan.bar)
    lines = (*layout.lines, *(edge for box in boxes for edge in box.edges))
    ends = [[(line.x1, line.y1), (line.x2, line.y2)] for line in lines]
    drawn = LineCollection(ends, colors="black", linewidths=_STROKE, capstyle="projecting")
    axes.add_collection(drawn, autolim=False)


def _add_texts(axes: Any, layout: Layout) -> None:  # noqa: ANN401
    font = _font()
    sides = {"start": "left", "middle": "center", "end": "right"}
    for text in layout.texts:
        placed = _turned(text) if text.turned else {"horizontalalignment": sides[text.anchor]}
        axes.text(
            text.x,
            text.y,
            visible(text.text),
            fontproperties=font,
            fontsize=text.size,
            color=text.colour,
            verticalalignment=placed.pop("verticalalignment", "baseline"),
            parse_math=False,
            **placed,
        )


def _turned(text: Text) -> dict[str, Any]:
    """Return how Matplotlib places text that reads upwards about the point it is anchored at."""
    return {
        "horizontalalignment": {"start": "left", "middle": "center", "end": "right"}[text.anchor],
        "verticalalignment": "baseline",
        "rotation": 90,
        "rotation_mode": "anchor",
    }


def _font() -> Any:  # noqa: ANN401
    """Return Matplotlib's own DejaVu Sans, whatever fonts the machine has."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=os.path.join(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@contextmanager
def _glyphs_watched() -> Iterator[None]:
    """Say in one line which signs the font lacks, instead of a warning of Matplotlib's for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    lacking = [m[1] for w in caught if (m := re.match(r"Glyph (\d+) ", str(w.message)))]
    if lacking:
        shown = "".join(dict.fromkeys(chr(int(code)) for code in lacking[:8]))
        note(f"warning: the font of PNG and PDF has no {shown}; boxes stand for it; try SVG")
