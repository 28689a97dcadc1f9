"""What is in an SVG: cells, labels, titles and the colour scale, read back from the file."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from qkvcli.heatmap.scale import palette

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Draw, Save


def test_identity_is_a_diagonal_of_the_darkest_red(draw: Draw, save: Save) -> None:
    svg = draw(save(np.eye(10)))
    assert np.array_equal(svg.matrix(), np.eye(10))
    assert {c.fill for c in svg.cells if c.weight == 1} == {"#67000d"}
    assert {c.fill for c in svg.cells if c.weight == 0} == {"#fff5f0"}
    assert svg.texts[:20] == [str(n) for n in range(10)] * 2
    assert svg.texts[20:22] == ["Keys", "Queries"]
    assert svg.texts[-6:] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert svg.stderr == "qkv: " + svg.stderr[5:].split(":")[0] + ": cells are vectors\n"


def test_all_panels_of_the_books_tensor(draw: Draw, save: Save, book: Array) -> None:
    svg = draw(save(book))
    for row in range(2):
        for column in range(3):
            found = svg.matrix(f"layer {row}, head {column}")
            assert np.allclose(found, book[row, column], rtol=1e-5)
    assert svg.texts.count("Keys") == svg.texts.count("Queries") == 1
    # Shared axes: query labels at the left panels only, key labels at the bottom ones.
    assert svg.texts.count("6") == 3
    assert svg.texts.count("4") == 2 + 3


def test_one_scale_for_all_panels_unless_asked(draw: Draw, save: Save, book: Array) -> None:
    levels = {c.fill: c.weight for c in draw(save(book)).cells}
    assert len([fill for fill in levels if fill == "#67000d"]) == 1
    own = draw(save(book), "--scale", "panel")
    darkest = [c for c in own.cells if c.fill == "#67000d"]
    assert len(darkest) >= 6
    assert {"low", "high"} < set(own.texts)
    assert any(re.fullmatch(r"layer 0, head 0: 0 to 0\.\d+", text) for text in own.texts)


def test_real_attention_with_its_tokens(
    draw: Draw, attention_file: Path, tokens_file: Path, tokens: list[str], attention: Array
) -> None:
    svg = draw(attention_file, "--labels", tokens_file)
    assert len(svg.cells) == 72 * 256
    assert np.allclose(svg.matrix("layer 3, head 7"), attention[3, 7], rtol=1e-5)
    assert [t for t in svg.texts if t.startswith("layer ")] == [
        f"layer {i}, head {j}" for i in range(6) for j in range(12)
    ]
    assert svg.texts.count("animal") == 6 + 12  # every row of panels, every column of panels
    assert svg.title == "Attention weights"
    assert "72 panels, each of 16 queries (rows) by 16 keys (columns)" in svg.description
    assert svg.description.endswith("The largest is 1: layer 0, head 2, query ', key didn.")


def test_long_panels_are_an_image_that_loses_nothing(draw: Draw, save: Save) -> None:
    weights = np.random.default_rng(1).random((100, 80))
    weights /= weights.sum(1, keepdims=True)
    svg = draw(save(weights))
    assert "100 × 80 cells as an image, lossless" in svg.stderr
    (url,) = svg.images
    pixels = imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    wanted = mpl.colormaps["Reds"](weights / weights.max())
    assert pixels.shape[:2] == (100, 80)
    assert np.abs(pixels - wanted)[:, :, :3].max() < 1.5 / 255


def test_many_panels_are_images(draw: Draw, save: Save) -> None:
    svg = draw(save(np.full((12, 12, 64, 64), 1 / 64)))
    assert len(svg.images) == 144
    assert "an image a panel" in svg.stderr


def test_every_cell_has_its_own_title(draw: Draw, save: Save) -> None:
    svg = draw(save(np.full((3, 4), 0.25)))  # one colour, and still twelve cells to hover over
    assert [(c.query, c.key) for c in svg.cells] == [
        (str(i), str(j)) for i in range(3) for j in range(4)
    ]


HOSTILE = [
    "$x^$", "a_b", "\\alpha", "<script>alert(1)</script>", "&amp;", "--", "\x1b[31m", "\ufffe",
    "]]>", "\x00", "'\"", "\u202eabc", "查询", "e\u0301", "🙂", "",
]  # fmt: skip


def test_hostile_labels_are_shown_and_parse(draw: Draw, save: Save, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(HOSTILE))
    svg = draw(save(np.eye(len(HOSTILE))), "--labels", labels, "--title", "<b>&--\x07")
    shown = {c.query for c in svg.cells}
    assert {"$x^$", "<script>alert(1)</script>", "&amp;", "\\x1b[31m", "\\ufffe", "查询"} < shown
    assert svg.title == "<b>&--\\x07"
    assert not svg.root.findall(".//{http://www.w3.org/2000/svg}script")


def test_missing_weights_are_grey(draw: Draw, save: Save) -> None:
    weights = np.full((3, 3), 1 / 3)
    weights[1, 2] = np.nan
    svg = draw(save(weights))
    assert [c.fill for c in svg.cells if np.isnan(c.weight)] == ["#bdbdbd"]
    assert "1 weight is NaN or infinite, drawn grey; the first at query 1, key 2" in svg.stderr


def test_annotations_are_the_numbers_of_the_cells(draw: Draw, save: Save) -> None:
    weights = np.array([[0.25, 0.75], [1.0, 0.0]])
    svg = draw(save(weights), "--annotate")
    assert svg.texts[-4:] == ["0.25", "0.75", "1.00", "0.00"]
    white = [e.text for e in svg.root.iter() if e.get("fill") == "#ffffff" and e.text]
    assert white == ["0.75", "1.00"]  # readable on dark red


def test_annotations_that_do_not_fit_are_left_out_and_said(draw: Draw, save: Save) -> None:
    svg = draw(save(np.full((60, 60), 1 / 60)), "--annotate", "--size", "3x3")
    assert "--annotate do not fit" in svg.stderr
    assert "0.02" not in svg.texts[:-6]


def test_difference_is_centred_at_zero(draw: Draw, save: Save) -> None:
    one, other = save([[0.9, 0.1]], "a.npy"), save([[0.5, 0.5]], "b.npy")
    svg = draw(one, "--diff", other)
    assert np.allclose(svg.matrix(), [[0.4, -0.4]])
    assert [c.fill for c in svg.cells] == ["#67001f", "#053061"]
    assert svg.title == "a.npy − b.npy"
    assert svg.texts[-5:] == ["-0.4", "-0.2", "0", "0.2", "0.4"]


def test_a_logarithmic_bar_marks_what_is_cut_off_and_says_that_it_is_one(
    draw: Draw, save: Save
) -> None:
    weights = save([[[0.0001, 0.9, 0.0]], [[0.003, 0.05, 0.5]]])
    cut = draw(weights, "--log", "--vmin", 0.002, "--vmax", 0.3)
    assert [t for t in cut.texts if t[0] in "≤≥" or t == "0.01"] == ["≤0.002", "0.01", "≥0.3"]
    whole = draw(weights, "--log", "--vmin", 0.0001, "--vmax", 1)
    assert not [t for t in whole.texts if t[0] in "≤≥"]
    own = draw(weights, "--log", "--scale", "panel")
    assert "high (log)" in own.texts
    assert "own range, logarithmically." in own.description


def test_small_ticks_of_a_logarithmic_bar_are_told_apart(draw: Draw, save: Save) -> None:
    texts = draw(save([[1e-30, 1e-18, 1e-12, 0.5]]), "--log").texts
    ticks = texts[texts.index("Queries") + 1 :]
    assert len(ticks) > 3
    assert len(ticks) == len(set(ticks))
    assert "0" not in ticks


def test_a_bar_that_all_but_reaches_1_ends_there(draw: Draw, save: Save) -> None:
    assert draw(save([[0.9999988, 1.2e-6]])).texts[-1] == "1"


def test_range_and_log(draw: Draw, save: Save) -> None:
    weights = save([[0.001, 0.009, 0.09, 0.9]])
    cut = draw(weights, "--vmin", 0.01, "--vmax", 0.5)
    assert [t for t in cut.texts if t[0] in "≤≥"] == ["≤0.01", "≥0.5"]
    log = draw(weights, "--log")
    assert [t for t in log.texts if "0.0" in t or t == "0.1"] == ["0.001", "0.01", "0.1"]
    assert log.cells[0].fill == "#fff5f0"
    assert log.cells[3].fill == "#67000d"


@pytest.mark.parametrize("name", ["Reds", "Reds_r", "RdBu", "RdBu_r", "viridis", "tab10"])
def test_colour_maps_are_matplotlibs(name: str) -> None:
    ours = palette(name).colours.astype(int)
    theirs = mpl.colormaps[name](np.arange(256) / 255, bytes=True)[:, :3].astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_titles(draw: Draw, save: Save, book: Array) -> None:
    columns = draw(save(book), "--titles", 'a,b,"c, d"', "--title", "All of them")
    assert [t for t in columns.texts if t in ("a", "b", "c, d")] == ["a", "b", "c, d"] * 2
    assert columns.title == "All of them"
    none = draw(save(book), "--titles", "")
    assert not [t for t in none.texts if t.startswith("layer")]
