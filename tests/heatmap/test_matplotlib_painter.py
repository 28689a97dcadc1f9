"""What Matplotlib really draws, beside what the layout meant it to: texts, and cells of a PDF."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from qkvcli.heatmap.layout import Layout, Text, plan
from qkvcli.heatmap.matplotlib_painter import painted
from qkvcli.heatmap.picture import Panel
from qkvcli.heatmap.pixels import shrunk
from qkvcli.heatmap.request import Request
from qkvcli.heatmap.scale import MIDDLE, scale_of
from tests.heatmap.support import Array, Command, Save, grid_of, picture_of, softmax

if TYPE_CHECKING:
    from pathlib import Path

LONG = [f"{sign * 3} many words that are far too long, {sign}" for sign in "aWi0éЖ注_gQ|Щ"]


def laid_out(rows: int, columns: int, title: str, request: Request, labels: list[str]) -> Layout:
    """Return the layout of panels of random weights."""
    shape = (len(labels), len(labels))
    return plan(picture_of(grid_of(rows, columns, shape, labels), title=title), request)


def drawn(layout: Layout, dpi: int, texts: tuple[Text, ...]) -> Array:
    """Return the pixels of a page that has these texts alone."""
    png = painted(replace(layout, texts=texts), "png", dpi)
    pixels: Array = imread(io.BytesIO(png))
    return pixels


PAGES = {
    "long labels": (1, 1, "A title, and a title that goes on, and on", Request(""), LONG),
    "narrow panels": (1, 12, "", Request(""), [f"token{i}" for i in range(16)]),
    "numbers": (1, 1, "", Request("", annotate=True), [f"t{i}" for i in range(12)]),
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("dpi", [72, pytest.param(200, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("dpi", [72, 96, 150, 200])
def test_no_line_shows_between_the_cells_of_a_pdf(
    inside: Command, save: Save, tmp_path: Path, dpi: int
) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    # The panel is all of one colour, the darkest: whatever is light in it is a seam.
    assert inside("heatmap", save(np.ones((37, 37))), "-o", "x.pdf").returncode == 0
    subprocess.run(["pdftoppm", "-r", str(dpi), "-png", "x.pdf", "x"], cwd=tmp_path, check=True)
    pixels = imread(tmp_path / "x-1.png")[:, :, :3]
    dark = np.abs(pixels - np.array([103, 0, 13]) / 255).max(axis=-1) < 0.01
    rows, columns = (np.flatnonzero(dark.mean(axis=axis) > 0.5) for axis in (1, 0))
    assert dark[
        rows[2] : rows[-2], columns[2] : columns[-2]
    ].all()  # the edges blend with the frame
    assert len(rows) > 300 * dpi / 72


def test_every_cell_of_a_pdf_has_its_colour(inside: Command, save: Save, tmp_path: Path) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    weights = softmax(np.random.default_rng(0).normal(size=(7, 9)) * 2)
    assert inside("heatmap", save(weights), "-o", "x.pdf").returncode == 0
    subprocess.run(["pdftoppm", "-r", "144", "-png", "x.pdf", "x"], cwd=tmp_path, check=True)
    pixels = imread(tmp_path / "x-1.png")[:, :, :3]
    for colour in mpl.colormaps["Reds"](weights / weights.max())[:, :, :3].reshape(-1, 3):
        near = np.abs(pixels - colour).max(axis=-1) < 1.5 / 255
        assert near.sum() > 1000


@given(
    st.lists(st.floats(0, 1) | st.just(np.nan), min_size=12, max_size=12),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
def test_a_png_of_few_pixels_shows_the_colours_of_the_largest_weights(
    weights: list[float], each: tuple[int, int], signed: bool
) -> None:
    values = np.array(weights).reshape(3, 4) - 0.5 * signed
    scale = scale_of([values], Request(""), signed=signed)
    fewer = shrunk(values, each, "max", signed=signed)
    found = Panel(values, *scale.levels(values)).coarser(each, "max", signed=signed).levels
    wanted, missing = scale.levels(fewer)
    if np.isnan(values).any() and not missing:
        wanted = np.maximum(wanted, 1)  # as level 0 stands for no weight in the whole panel
    assert found.shape == wanted.shape
    if not signed:
        assert np.array_equal(found, wanted)
    else:  # where gains and losses are as large, either colour may stand for both
        assert np.abs(np.abs(found - MIDDLE) - np.abs(wanted - MIDDLE)).max() <= 1
