"""The PNG and PDF painter: one Matplotlib figure, whose one set of axes is the page."""

from __future__ import annotations

import io
import os
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.errors import UsageError, did_you_mean
from qkvcli.heatmap.plain_matplotlib import matplotlib_imported
from qkvcli.render.console import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.chart import Chart, Mark
    from qkvcli.heatmap.layout import Box, Layout, Line, Text

_STROKE = 0.6  # the width of lines, in points
_SETTINGS: dict[Any, str | int] = {
    "pdf.fonttype": 42,  # text in TrueType outlines, which editors can read as text
    "text.hinting": "no_hinting",  # hinted letters are wider than those the layout reckons with
}
# What would differ from one day or version to another.
_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "ModDate": None}}
_SIDES = {"start": "left", "middle": "center", "end": "right"}


def painted(page: Layout | Chart, form: str, dpi: int) -> bytes:
    """Return a page as a PNG or PDF file.

    Parameters
    ----------
    page
        Panels, which in a PNG have no more cells than pixels; or charts.
    form
        ``"png"`` or ``"pdf"``.
    dpi
        The pixels an inch of a PNG.

    Raises
    ------
    UsageError
        Matplotlib has no font of that name.
    """
    from qkvcli.heatmap.layout import Layout

    with matplotlib_imported():
        import matplotlib as mpl
        from matplotlib.figure import Figure

        with mpl.rc_context(_SETTINGS), _glyphs_watched():
            width, height = page.width, page.height
            if form == "png" and isinstance(page, Layout):
                # A part of a pixel would move everything by it.
                width, height = (round(side * dpi / 72) * 72 / dpi for side in (width, height))
            sheet = Figure(figsize=(width / 72, height / 72), facecolor="white")
            axes = sheet.add_axes((0, 0, 1, 1), frameon=False, xlim=(0, width), ylim=(height, 0))
            axes.set_axis_off()
            if isinstance(page, Layout):
                _add_panels(axes, page, form, dpi)
                boxes = page.boxes if page.bar is None else (*page.boxes, page.bar)
                font = page.font
            else:
                for mark in page.marks:
                    _add_mark(axes, mark)
                boxes, font = (), None
            _add_lines(axes, page.lines, boxes)
            _add_texts(axes, page.texts, font)
            out = io.BytesIO()
            sheet.savefig(out, format=form, dpi=dpi, metadata=_METADATA[form])
            return out.getvalue()


def _add_panels(axes: Any, layout: Layout, form: str, dpi: int) -> None:  # noqa: ANN401
    add_image = _pixels_added(dpi / 72) if form == "png" else _add_image
    add_panel = _add_cells if layout.vector and form == "pdf" else add_image
    picture = layout.picture
    for box, panel in zip(layout.boxes, picture.panels, strict=True):
        add_panel(axes, box, picture.palette.shown(missing=panel.missing > 0)[panel.levels])
    if layout.bar is not None:
        add_image(axes, layout.bar, picture.palette.colours[::-1, None, :])


def _add_mark(axes: Any, mark: Mark) -> None:  # noqa: ANN401
    from qkvcli.heatmap.chart import Area, Dots

    x, y = mark.points.T
    if isinstance(mark, Dots):
        look = {"s": (2 * mark.radius) ** 2, "color": mark.colour, "alpha": mark.opacity}
        axes.scatter(x, y, linewidths=0, **look)
    elif isinstance(mark, Area):
        axes.fill(x, y, color=mark.colour, alpha=mark.opacity, linewidth=0)
    else:
        axes.plot(x, y, color=mark.colour, linewidth=mark.width)


def _pixels_added(scale: float) -> Callable[[Any, Box, NDArray[np.uint8]], None]:
    """Return what adds an image in whole pixels, none of its cells left out.

    Matplotlib's own image takes 80 bytes a pixel while it is drawn.
    """
    from matplotlib.artist import Artist

    class Pixels(Artist):
        def __init__(self, box: Box, colours: NDArray[np.uint8]) -> None:
            super().__init__()
            self._box, self._colours = box, colours

        def draw(self, renderer: Any) -> None:  # noqa: ANN401
            box, colours = self._box, self._colours
            height, width = (max(1, round(side * scale)) for side in (box.height, box.width))
            rows = np.arange(height) * len(colours) // height
            columns = np.arange(width) * colours.shape[1] // width
            pixels = np.full((height, width, 4), 255, np.uint8)
            pixels[:, :, :3] = colours[rows[::-1, None], columns]
            foot = renderer.height - round(box.y * scale) - height
            gc = renderer.new_gc()
            renderer.draw_image(gc, round(box.x * scale), foot, pixels)
            gc.restore()

    return lambda axes, box, colours: axes.add_artist(Pixels(box, colours))


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


def _add_lines(axes: Any, lines: Sequence[Line], boxes: Sequence[Box]) -> None:  # noqa: ANN401
    """Add ticks, and the frames of panels and of the colour bar."""
    from matplotlib.collections import LineCollection

    paths = [[(x1, y1), (x2, y2)] for x1, y1, x2, y2 in lines]
    for box in boxes:
        (x, y), (right, bottom) = (box.x, box.y), (box.right, box.bottom)
        paths.append([(x, y), (right, y), (right, bottom), (x, bottom), (x, y)])
    drawn = LineCollection(paths, colors="black", linewidths=_STROKE, capstyle="projecting")
    axes.add_collection(drawn, autolim=False)


def _add_texts(axes: Any, texts: Sequence[Text], family: str | None) -> None:  # noqa: ANN401
    font = _font(family)
    for text in texts:
        axes.text(
            text.x,
            text.y,
            text.text,
            fontproperties=font,
            fontsize=text.size,
            color=text.colour,
            horizontalalignment=_SIDES[text.anchor],
            verticalalignment="baseline",
            rotation=90 if text.turned else 0,
            rotation_mode="anchor",
            parse_math=False,
        )


def _font(family: str | None) -> Any:  # noqa: ANN401
    """Return a font that is installed; by default Matplotlib's own DejaVu Sans."""
    import matplotlib as mpl
    from matplotlib import font_manager

    if family is None:
        own = os.path.join(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        return font_manager.FontProperties(fname=own)
    families = [name.strip() for name in family.split(",")]
    known = sorted(font_manager.get_font_names()) + sorted(
        font_manager.font_family_aliases - {None}
    )
    found = [name for name in families if name.lower() in map(str.lower, known)]
    if not found:
        hint = did_you_mean(families[0], known)
        raise UsageError(f"--font: Matplotlib finds no font {families[0]!r}{hint}")
    return font_manager.FontProperties(family=found)


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
