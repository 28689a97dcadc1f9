"""The layout is plain data: nothing overlaps, nothing is cut, and labels thin out in time."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli.errors import UsageError
from qkvcli.heatmap.layout import Box, Layout, fitted, plan, text_width
from qkvcli.heatmap.picture import arrangement
from qkvcli.heatmap.request import Request
from qkvcli.heatmap.scale import Scale, nice_step
from tests.heatmap.support import Array, grid_of, picture_of


def overlap(one: Box, other: Box) -> bool:
    """Return whether two rectangles share more than an edge."""
    slack = 0.01
    across = one.x + slack < other.right and other.x + slack < one.right
    return across and one.y + slack < other.bottom and other.y + slack < one.bottom


def check(page: Layout) -> None:
    """Hold what every page must: texts apart from each other and from panels, and on the page."""
    boxes = [text.box() for text in page.texts]
    texts = [text.text for text in page.texts]
    for (a, one), (b, other) in combinations(zip(texts, boxes, strict=True), 2):
        assert not overlap(one, other), (a, b)
    for text, box in zip(texts, boxes, strict=True):
        assert box.x >= 0, text
        assert box.y >= 0, text
        assert box.right <= page.width, text
        assert box.bottom <= page.height, text
        assert not any(overlap(box, panel) for panel in page.boxes), text
    for one, other in combinations([*page.boxes, *([page.bar] if page.bar else [])], 2):
        assert not overlap(one, other)


def laid_out(
    rows: int,
    columns: int,
    shape: tuple[int, int],
    labels: list[str] | None = None,
    *,
    size: tuple[float | None, float | None] = (None, None),
    title: str = "",
    vmax: float | None = None,
    **style: Any,
) -> Layout:
    """Return the layout of panels of random weights."""
    one = picture_of(grid_of(rows, columns, shape, labels), title=title, vmax=vmax)
    return plan(one, Request("", width=size[0], height=size[1], **style))


TOKENS = ["[CLS]", "the", "animal", "didn", "'", "t", "cross", "because", "注意力机制", "W" * 60]


@pytest.mark.parametrize("labels", [None, TOKENS], ids=["numbers", "tokens"])
@pytest.mark.parametrize("panels", [(1, 1), (1, 4), (2, 3), (6, 12), (12, 12)], ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1), (10, 10), (16, 16), (64, 64), (7, 300), (2000, 3)], ids=str
)
def test_nothing_overlaps(
    panels: tuple[int, int], shape: tuple[int, int], labels: list[str] | None
) -> None:
    check(laid_out(*panels, shape, labels))


@settings(deadline=None, max_examples=60)
@given(
    panels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shape=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    labels=st.none() | st.lists(st.text(max_size=40), min_size=1, max_size=5),
    title=st.text(max_size=150),
    style=st.fixed_dictionaries(
        {
            "font_size": st.sampled_from([None, 5, 8, 14, 24]),
            "bar": st.booleans(),
            "xlabel": st.sampled_from(["Keys", "", "what stands below the panels and is long"]),
            "ylabel": st.sampled_from(["Queries", "", "what stands on the left and is long"]),
            "bar_label": st.sampled_from(["", "weight"]),
        }
    ),
)
def test_nothing_overlaps_whatever_the_labels(
    panels: tuple[int, int],
    shape: tuple[int, int],
    labels: list[str] | None,
    title: str,
    style: dict[str, Any],
) -> None:
    check(laid_out(*panels, shape, labels, title=title, **style))


@pytest.mark.parametrize("size", [(300.0, 200.0), (432.0, 288.0), (1000.0, 300.0)])
def test_page_has_the_size_asked_for(size: tuple[float, float]) -> None:
    page = laid_out(1, 2, (16, 16), TOKENS[:8], size=size)
    assert (page.width, page.height) == size
    check(page)


def test_a_page_too_small_says_how_large_it_must_be() -> None:
    with pytest.raises(UsageError, match=r"leaves no room for 72 panels.*at least \d"):
        laid_out(6, 12, (16, 16), TOKENS, size=(72.0, 72.0))


@pytest.mark.parametrize("labels", [None, TOKENS[:8]], ids=["numbers", "tokens"])
@pytest.mark.parametrize("title", ["", "A title on a tiny page that is long"])
@pytest.mark.parametrize("panels", [(1, 1), (1, 4), (6, 12)], ids=str)
@pytest.mark.parametrize("shape", [(12, 12), (3, 60), (60, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("size", [(0.4, 3.0), (2.0, 1.3), (6.0, 0.9), (1.9, 0.8), (6.0, 4.0)])
def test_a_small_page_is_drawn_well_or_told_how_small_it_may_be(
    size: tuple[float, float],
    shape: tuple[int, int],
    panels: tuple[int, int],
    title: str,
    labels: list[str] | None,
) -> None:
    def page(width: float, height: float) -> Layout:
        return laid_out(
            *panels, shape, labels, size=(width * 72, height * 72), title=title, vmax=0.5
        )

    try:
        drawn = page(*size)
    except UsageError as error:
        width, height = map(float, str(error).rpartition(" at least ")[2].split("x"))
        assert width > size[0] or height > size[1]
        drawn = page(width, height)
    check(drawn)


def test_narrow_panels_are_told_apart_by_shorter_titles() -> None:
    for width, first, last in (
        (20, "layer 0, head 0", "layer 5, head 11"), (9, "L0 H0", "L5 H11"), (5, "0.0", "5.11")
    ):  # fmt: skip
        texts = [t.text for t in laid_out(6, 12, (16, 16), size=(width * 72, 500)).texts]
        assert {first, last} <= set(texts)
        assert not any("…" in text for text in texts)


def test_every_token_is_labelled_at_72_panels_and_at_64_cells() -> None:
    tokens = [f"token{i}" for i in range(64)]
    single = laid_out(1, 1, (64, 64), tokens)
    assert sum(text.text.startswith("token") for text in single.texts) == 128
    many = laid_out(6, 12, (16, 16), tokens[:16])
    assert sum(text.text.startswith("token") for text in many.texts) == 16 * (6 + 12)
    assert min(text.size for text in many.texts) >= 6.5


def test_labels_thin_out_before_they_overlap() -> None:
    tokens = [f"token{i}" for i in range(500)]
    page = laid_out(1, 1, (500, 500), tokens)
    shown = [text.text for text in page.texts if text.text.startswith("token") and not text.turned]
    assert 20 < len(shown) < 60
    assert shown[0] == "token0"


def test_numbers_are_labelled_at_round_steps() -> None:
    page = laid_out(1, 1, (512, 512))
    numbers = [int(text.text) for text in page.texts[:22]]
    assert numbers == [*range(0, 512, 50)] * 2


def test_cells_are_square() -> None:
    box = laid_out(1, 1, (10, 30)).boxes[0]
    assert box.width / box.height == pytest.approx(3)


def test_text_is_never_wider_than_its_room() -> None:
    for text in (*TOKENS, "e\u0301" * 50, "\x1b[31m" * 20):
        assert text_width(fitted(text, 9, 60), 9) <= 60
    assert text_width("注", 10) > 1.5 * text_width("a", 10)  # CJK is twice as wide


def layout(values: Array, *, annotate: bool = False) -> Layout:
    """Return the layout of one panel."""
    one = picture_of(grid_of(1, 1, values.shape, None), values)
    return plan(one, Request("", annotate=annotate))


def test_vectors_up_to_64_cells_a_side() -> None:
    assert layout(np.full((64, 64), 1 / 64)).vector
    assert not layout(np.full((65, 64), 1 / 64)).vector


def test_numbers_in_cells_stay_in_their_cells() -> None:
    values = np.random.default_rng(0).random((12, 12))
    page = layout(values, annotate=True)
    cell = page.boxes[0].width / 12
    assert page.bar
    right = page.bar.x
    numbers = [text for text in page.texts if "." in text.text and text.x < right]
    assert len(numbers) == 144
    assert all(text_width(text.text, text.size) < cell for text in numbers)


def test_colour_bar_runs_from_its_foot() -> None:
    page = layout(np.array([[0.0, 1.0]]))
    assert page.bar
    marks = {text.text: text.y for text in page.texts if text.x > page.bar.right}
    assert marks["0"] > marks["1"]
    assert marks["0"] == pytest.approx(page.bar.bottom, abs=4)


@pytest.mark.parametrize(
    ("layers", "heads", "shape", "wanted"),
    [(6, 12, 1.33, (6, 12)), (1, 12, 1.33, (3, 4)), (6, 1, 1.33, (2, 3)), (1, 7, 1.33, (2, 4)),
     (1, 3, 1.33, (1, 3)), (1, 1, 1.33, (1, 1)), (1, 12, 0.4, (6, 2)), (1, 12, 13, (1, 12))],
)  # fmt: skip
def test_arrangement(layers: int, heads: int, shape: float, wanted: tuple[int, int]) -> None:
    assert arrangement(layers, heads, shape) == wanted


@given(
    low=st.floats(-1e308, 1e308), width=st.floats(1e-3, 1e300), most=st.integers(2, 6),
    cut=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
def test_ticks_are_few_and_on_the_bar(
    low: float, width: float, most: int, cut: tuple[bool, bool]
) -> None:
    high = low + max(width, abs(low) * 1e-6)
    ticks = Scale(low, high, cut=cut).ticks(most)
    assert 2 <= len(ticks) <= most + 3
    assert all(-1e-6 <= share <= 1 + 1e-6 for share, _ in ticks)
    assert [share for share, _ in ticks] == sorted(share for share, _ in ticks)


@pytest.mark.parametrize("least", [1e-300, 0.9e-3, 1.0, 7.3, 1e300])
def test_steps_are_nice(least: float) -> None:
    assert least * (1 - 1e-9) <= nice_step(least) < 2.6 * least
