"""What Matplotlib really draws, beside what the layout meant it to: texts, and cells of a PDF."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from qkvcli.heatmap.axes import Labels, whole_axis
from qkvcli.heatmap.colours import palette
from qkvcli.heatmap.figure import figure
from qkvcli.heatmap.layout import Layout, Style, Text, arrange, plan
from qkvcli.heatmap.picture import Grid, Panel, Picture
from qkvcli.heatmap.scale import ScaleOptions, scales
from tests.heatmap.support import Array, softmax

LONG = [f"{sign * 3} many words that are far too long, {sign}" for sign in "aWi0éЖ注_gQ|Щ"]


def laid_out(rows: int, columns: int, style: Style, labels: list[str]) -> Layout:
    """Return the layout of panels of random weights."""
    names = tuple(f"layer {i}, head {j}" for i in range(rows) for j in range(columns))
    own = Labels("t", tuple(labels))
    axes = (whole_axis(name, len(labels), own) for name in ("query", "key"))
    grid = Grid(rows, columns, names, names, *axes)
    rng = np.random.default_rng(0)
    values = [softmax(rng.normal(size=(len(labels), len(labels)))) for _ in names]
    each = scales(values, ScaleOptions(), signed=False)
    panels = tuple(Panel(v, s.levels(v), s) for v, s in zip(values, each, strict=True))
    picture = Picture(grid, panels, palette("Reds"), style.title, signed=False, own_scales=False)
    return arrange(plan(grid, style), picture, style)


def drawn(layout: Layout, dpi: int, texts: tuple[Text, ...]) -> Array:
    """Return the pixels of a page that has these texts alone."""
    png = b"".join(figure(replace(layout, texts=texts), "png", dpi))
    pixels: Array = imread(io.BytesIO(png))
    return pixels


PAGES = {
    "long labels": (1, 1, Style(title="A title, and a title that goes on, and on"), LONG),
    "narrow panels": (1, 12, Style(), [f"token{i}" for i in range(16)]),
    "numbers": (1, 1, Style(annotate=True), [f"t{i}" for i in range(12)]),
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("dpi", [72, 200])
@pytest.mark.parametrize("page", PAGES)
def test_texts_are_drawn_inside_their_boxes(page: str, dpi: int) -> None:
    """Else what the layout holds apart would touch in the picture."""
    layout = laid_out(*PAGES[page])
    blank, scale, slack = drawn(layout, dpi, ()), dpi / 72, 1.01  # a pixel may be touched in part
    for text in layout.texts[:: max(1, len(layout.texts) // 15)]:
        rows, columns = np.nonzero((drawn(layout, dpi, (text,)) != blank).any(axis=-1))
        box = text.box()
        assert columns.min() >= box.x * scale - slack, text
        assert columns.max() + 1 <= box.right * scale + slack, text
        assert rows.min() >= box.y * scale - slack, text
        assert rows.max() + 1 <= box.bottom * scale + slack, text
