"""Matrices read tile by tile: the same picture and the same words as of the whole, in flat memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli.errors import UsageError
from qkvcli.heatmap import panels, tiles
from qkvcli.heatmap import stack as stacks
from qkvcli.heatmap.axes import Labels, chosen, merge_subwords, whole_axis
from qkvcli.heatmap.ranges import numbers, positions
from qkvcli.sources.matrices import in_memory
from tests.support.command import run_qkv

if TYPE_CHECKING:
    from pathlib import Path

    from qkvcli.heatmap.axes import Axis
    from tests.heatmap.support import Array, Draw, Save

# Sums of these are exact, in whatever order they are added.
WEIGHTS = [0.0, 0.125, 0.25, 0.5, 1.0, -0.5, np.nan, np.inf, -np.inf]


@st.composite
def axes(draw: st.DrawFn, name: str, length: int) -> Axis:
    """Draw an axis of some positions in any order, some of them merged."""
    labels = draw(
        st.none() | st.lists(st.sampled_from(["a", "##b"]), min_size=length, max_size=length)
    )
    axis = whole_axis(name, length, None if labels is None else Labels("x", tuple(labels)))
    if draw(st.booleans()):
        order = draw(st.permutations(range(length)))
        some = order[: draw(st.integers(1, length))]
        axis = chosen(axis, positions(np.array(some)))
    return merge_subwords(axis) if draw(st.booleans()) else axis


@st.composite
def choices(draw: st.DrawFn) -> tuple[panels.Choice, Array, Array | None]:
    """Draw two matrices of two heads, or one, and what is drawn of them."""
    shape = (2, draw(st.integers(1, 12)), draw(st.integers(1, 40)))
    seed = draw(st.integers(0, 1000))
    odd = draw(st.sampled_from([5, len(WEIGHTS)]))
    rng = np.random.default_rng(seed)
    dtypes = st.sampled_from([np.float16, np.float32, np.float64])
    one, other = (rng.choice(WEIGHTS[:odd], shape).astype(draw(dtypes)) for _ in range(2))
    choice = panels.Choice(
        draw(st.sampled_from([(((0, 0),), ((0, 1),)), (((0, 0), (0, 1)),)])),
        draw(axes("query", shape[1])),
        draw(axes("key", shape[2])),
        draw(st.sampled_from(["mean", "max", "min"])),
        draw(st.sampled_from(["mean", "max"])),
        (draw(st.integers(1, 5)), draw(st.integers(1, 9))),
    )
    return choice, one, other if draw(st.booleans()) else None


def seen(
    monkeypatch: pytest.MonkeyPatch,
    block_bytes: int,
    choice: panels.Choice,
    *matrices: Array | None,
) -> tuple[list[Array], list[str]]:
    """Return the pixels and the warnings of a choice, read in tiles of some bytes."""
    monkeypatch.setattr(tiles, "BLOCK_BYTES", block_bytes)
    opened = [None if m is None else stacks.stack("x", in_memory(m, "x"), None) for m in matrices]
    assert opened[0] is not None
    values = panels.read_panels(choice, opened[0], opened[1])
    watches = [one.watch for one in opened if one is not None]
    return values, [line for watch in watches if watch for line in watch.warnings()]


@given(choices(), st.sampled_from([1, 16, 64, 200]))
def test_tiles_change_neither_a_pixel_nor_a_warning(
    drawn: tuple[panels.Choice, Array, Array | None], block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole, said = seen(patch, 1 << 20, *drawn)
        cut, said_of_tiles = seen(patch, block_bytes, *drawn)
    for one, other in zip(whole, cut, strict=True):
        assert one.dtype == other.dtype
        # Where not all keys are drawn, a mean may be a sum of the sums of two tiles.
        every = len(drawn[0].keys.positions) == drawn[1].shape[2]
        exact = every or drawn[0].shrink == "max"
        np.testing.assert_allclose(one, other, rtol=0 if exact else 1e-12)
    assert said == said_of_tiles


def cells(weights: Array, choice: panels.Choice) -> Array:
    """Return the cells of a matrix by their definition: queries are averaged and keys summed."""
    queries, keys = choice.queries, choice.keys
    some: Array = weights.astype(float)[np.ix_(list(queries.positions), list(keys.positions))]
    if queries.starts is not None:
        some = np.stack([part.mean(0) for part in np.split(some, queries.starts[1:])])
    if keys.starts is not None:
        some = np.stack([part.sum(1) for part in np.split(some, keys.starts[1:], 1)], 1)
    return some


@given(choices())
def test_pixels_are_those_of_the_definition(
    drawn: tuple[panels.Choice, Array, Array | None],
) -> None:
    """A pixel shows the largest of its cells: of a difference that of the largest magnitude."""
    one, other = (m if m is None else np.nan_to_num(m, posinf=2, neginf=-2) for m in drawn[1:])
    assert one is not None
    choice = replace(drawn[0], members=(((0, 1),),), shrink="max")
    with pytest.MonkeyPatch.context() as patch:
        (found,), _ = seen(patch, 64, choice, one, other)
    wanted = cells(one[1], choice) - (0 if other is None else cells(other[1], choice))
    rows, columns = choice.factors
    for i, j in np.ndindex(found.shape):
        part = wanted[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns].ravel().tolist()
        largest = max(part) if other is None else max(part, key=lambda w: (abs(w), w))
        assert found[i, j] == pytest.approx(largest, rel=1e-6, abs=1e-6)


def test_a_difference_is_as_exact_as_the_more_exact_file(save: Save, draw: Draw) -> None:
    one = save(np.array([[0.25, 0.75]], np.float32), "a.npy")
    other = save([[0.25 + 2**-40, 0.75 - 2**-40]], "b.npy")
    assert draw(one, "--diff", other).matrix().ravel().tolist() == pytest.approx(
        [-(2**-40), 2**-40]
    )


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_a_transposed_matrix_is_told_by_its_tiles(
    save: Save, draw: Draw, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(tiles, "BLOCK_BYTES", block_bytes)
    weights = np.random.default_rng(0).random((6, 40))
    turned = weights / weights.sum(axis=0)
    hint = "its columns sum to 1 and its rows do not; is it transposed?"
    assert hint in draw(save(turned)).stderr
    assert hint in draw(save(np.stack([turned, turned[::-1]]))).stderr
    assert hint in draw(save(turned), "--keys", "39,3-5").stderr
    assert hint not in draw(save(turned), "--queries", "0-4").stderr
    for at in ((0, 0), (5, 39)):  # a column that does not, in the first tile and in the last
        odd = turned.copy()
        odd[at] += 0.5
        assert "6 of 6 rows do not sum to 1" in draw(save(odd)).stderr
        assert "12 of 12 rows do not" in draw(save(np.stack([turned, odd]))).stderr


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_the_first_place_is_that_of_the_first_query(
    save: Save, draw: Draw, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(tiles, "BLOCK_BYTES", block_bytes)
    weights = np.zeros((2, 5, 40))
    weights[..., 7] = 1
    weights[0, 3, 1], weights[0, 1, 30] = np.nan, np.inf
    weights[1, 2, 0], weights[1, 0, 39] = -0.5, -0.25
    said = draw(save(weights)).stderr
    assert "2 weights are NaN or infinite, drawn grey; the first at head 0, query 1, key 30" in said
    assert "2 weights are negative; the first at head 1, query 0, key 39" in said
    assert "2 of 10 rows do not sum to 1; the first at head 1, query 0: 0.75" in said
    turned = draw(save(weights), "--queries", "3,1", "--heads", "0").stderr
    assert "the first at head 0, query 3, key 1" in turned


@given(st.lists(st.integers(0, 30), unique=True, min_size=1), st.data())
def test_positions_are_a_list_of_numbers(some: list[int], data: st.DataObject) -> None:
    held = positions(np.array(some))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 31), st.integers(0, 31))))
    assert (list(held), len(held), held.highest) == (some, len(some), max(some))
    assert [held[i] for i in range(len(some))] == some
    assert list(held.part(start, stop)) == some[start:stop]
    found, places = held.within(start, stop)
    assert [some[i] for i in places] == list(found) == [n for n in some if start <= n < stop]
    assert np.arange(-1, 40)[held.index(-1)].tolist() == some
    ascending = positions(np.array(sorted(some)))
    below = ascending.below(np.arange(33)).tolist()
    assert below == [sum(n < bound for n in some) for bound in range(33)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), min_size=1, max_size=6))
def test_ranges_of_numbers(runs: list[tuple[int, int]]) -> None:
    listed = [n for first, more in runs for n in range(first, first + more + 1)]
    text = ",".join(f"{first}-{first + more}" if more else f"{first}" for first, more in runs)
    twice = sorted(n for n in set(listed) if listed.count(n) > 1)
    if twice:
        with pytest.raises(UsageError, match=f"--keys names {twice[0]} twice"):
            numbers(text, 30, "key", "x")
    else:
        assert list(numbers(text, 30, "key", "x")) == listed


def matrix(path: Path, shape: tuple[int, int], dtype: Any = np.float32) -> str:
    """Write a matrix whose rows are 1 at their first key, which takes no room on a disk."""
    np.lib.format.open_memmap(path, "w+", dtype, shape)[:, 0] = 1
    return str(path)


@pytest.mark.parametrize(
    ("shape", "more", "arguments"),
    [
        ((4, 1_000_000), (4, 4_000_000), []),
        ((4, 1_000_000), (4, 4_000_000), ["--shrink", "mean"]),
        ((4, 1_000_000), (4, 4_000_000), ["--diff"]),
        ((4, 1_000_000), (4, 4_000_000), ["--keys", "7-900000,999999"]),
        ((1_000_000, 4), (4_000_000, 4), []),
        ((1_000_000, 4), (4_000_000, 4), ["--queries", "900000-999999,0-800000"]),
    ],
    ids=["keys", "mean", "difference", "some keys", "queries", "some queries"],
)
def test_memory_grows_with_neither_keys_nor_queries(
    tmp_path: Path, shape: tuple[int, int], more: tuple[int, int], arguments: list[str]
) -> None:
    peaks = []
    for size in (shape, more):
        path = matrix(tmp_path / "w.npy", size)
        other = [matrix(tmp_path / "o.npy", size)] if "--diff" in arguments else []
        run = run_qkv("heatmap", path, *arguments, *other, "-o", str(tmp_path / "x.svg"))
        assert (run.status, "warning" in run.error) == (0, False), run.error
        peaks.append(run.peak)
    assert peaks[1] - peaks[0] < 6 << 20, [peak >> 20 for peak in peaks]
    assert max(peaks) < 80 << 20, [peak >> 20 for peak in peaks]
