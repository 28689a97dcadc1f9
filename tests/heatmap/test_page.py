"""The page: its size, its fonts and labels, and that nothing of it is left empty."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.image import imread

from tests.heatmap.support import softmax

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Command, Draw, Save, Svg

WORDS = [
    "The",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "because",
    "it",
    "was",
    "very",
    "tired",
    ".",
]
PANEL = re.compile(r"translate\((\S+) (\S+)\) scale\((\S+) (\S+)\)")


@pytest.fixture
def words(save: Save, tmp_path: Path) -> tuple[Path, str, Path]:
    """Return the arguments of a drawing of fifteen words on themselves."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    weights = softmax(np.random.default_rng(0).normal(size=(15, 15)))
    return save(weights), "--labels", tmp_path / "words.txt"


def page(svg: Svg) -> tuple[float, float]:
    """Return the width and height of a page in points."""
    width, height = (
        float(svg.root.get(side, "").removesuffix("pt")) for side in ("width", "height")
    )
    return width, height


def panels(svg: Svg, cells: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Return where the panels are, as (x, y, width, height) in points."""
    found = []
    for group in svg.root.iter("{http://www.w3.org/2000/svg}g"):
        if match := PANEL.match(group.get("transform", "")):
            x, y, across, down = map(float, match.groups())
            found.append((x, y, across * cells[1], down * cells[0]))
    return found


@pytest.mark.parametrize("size", [("--size", "3.3", "--font-size", "8"), ("--size", "8.4cm")])
def test_a_column_of_a_paper_is_filled(
    draw: Draw, words: tuple[Path, str, Path], size: tuple[str, ...]
) -> None:
    svg = draw(*words, *size)
    ((_, _, width, height),) = panels(svg, (15, 15))
    assert page(svg)[0] == pytest.approx(237.6 if "3.3" in size else 238.11, abs=0.01)
    assert width >= 0.6 * page(svg)[0]
    assert height == pytest.approx(width, rel=1e-3)
    assert [text for text in svg.texts if text in WORDS] == WORDS * 2


def test_panels_take_all_that_labels_leave(draw: Draw, words: tuple[Path, str, Path]) -> None:
    svg = draw(*words, "--size", "6x2.8")
    ((x, y, width, height),) = panels(svg, (15, 15))
    assert page(svg) == pytest.approx((432, 201.6))
    assert width > 330
    assert x + width > 432 - 45  # beside it the colour bar and its numbers
    assert y < 10
    assert height > 120


@pytest.mark.parametrize("arguments", [(), ("--no-colorbar",), ("--title", "Some title"),
    ("--ylabel", "", "--xlabel", ""), ("--colorbar-label", "weight"), ("--size", "4"),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(10, 10), (3, 10, 10), (2, 3, 5, 9)], ids=str)
def test_the_page_hugs_its_content(
    inside: Command, save: Save, tmp_path: Path, arguments: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    weights = softmax(np.random.default_rng(0).normal(size=shape))
    done = inside("heatmap", save(weights), *arguments, "-o", "x.png", "--dpi", "72")
    assert done.returncode == 0, done.stderr
    inked: Array = imread(tmp_path / "x.png")[:, :, :3].min(axis=-1) < 0.9
    for axis in (0, 1):
        some = np.flatnonzero(inked.sum(axis=axis))
        assert 0 < some[0] < 12, "the left or upper margin"
        assert 0 < inked.shape[1 - axis] - 1 - some[-1] < 12, "the right or lower margin"


def test_what_stands_along_the_axes(draw: Draw, words: tuple[Path, str, Path]) -> None:
    svg = draw(*words, "--xlabel", "read", "--ylabel", "written", "--colorbar-label", "α <1>")
    assert {"read", "written", "α <1>"} <= set(svg.texts)
    assert not {"Keys", "Queries"} & set(svg.texts)
    none = draw(*words, "--xlabel", "", "--ylabel", "", "--no-colorbar")
    assert none.texts == WORDS * 2
    assert page(none) < page(svg)
    assert "The colour scale" not in "".join(none.root.itertext())


def test_a_font_and_its_size(draw: Draw, words: tuple[Path, str, Path]) -> None:
    svg = draw(*words, "--font", "Times New Roman, serif", "--font-size", "11", "--title", "T")
    assert svg.root.get("font-family", "").startswith("'Times New Roman', serif, ")
    texts = list(svg.root.iter("{http://www.w3.org/2000/svg}text"))
    assert {float(text.get("font-size", "0")) for text in texts} == {11, 13.75}


def test_a_font_of_a_pdf(inside: Command, save: Save, tmp_path: Path) -> None:
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts (poppler-utils) is not installed")
    done = inside("heatmap", save(np.eye(3)), "--font", "dejavu serif", "-o", "x.pdf")
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["pdffonts", "x.pdf"], cwd=tmp_path, capture_output=True, check=True)
    assert b"DejaVuSerif" in listed.stdout
    assert b"DejaVuSans" not in listed.stdout


def test_twelve_heads_of_a_layer_make_a_grid(draw: Draw, attention_file: Path) -> None:
    boxes = panels(draw(attention_file, "--layers", "3"), (16, 16))
    assert [len({box[side] for box in boxes}) for side in (0, 1)] == [4, 3]
    narrow = panels(draw(attention_file, "--layers", "3", "--size", "3x8"), (16, 16))
    assert [len({box[side] for box in narrow}) for side in (0, 1)] == [2, 6]


def test_weights_that_all_look_alike_are_said(draw: Draw, save: Save, tmp_path: Path) -> None:
    weights = np.full((20, 20), 0.004)
    weights[:, 0] = 1 - 19 * 0.004
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(["[CLS]", *map(str, range(18)), "[SEP]"]))
    said = draw(save(np.stack([weights, weights])), "--labels", labels).stderr
    assert (
        "qkv: note: 95% of the cells lie in the lowest fiftieth of the colour scale; to tell them "
        "apart pass --log --vmin 0.001 or --scale panel or --drop '[CLS],[SEP]'\n"
    ) in said
    one = save(weights)
    assert "to tell them apart pass --log --vmin 0.001\n" in draw(one).stderr
    for way in (("--log", "--vmin", "0.001"), ("--labels", labels, "--drop", "[CLS]")):
        assert "fiftieth" not in draw(one, *way).stderr
    assert "fiftieth" not in draw(save(np.eye(50))).stderr  # 0 has nothing to show
    nine_tenths = np.full((10, 10), 0.01)
    nine_tenths[:, 0] = 0.91
    assert "fiftieth" not in draw(save(nine_tenths)).stderr
