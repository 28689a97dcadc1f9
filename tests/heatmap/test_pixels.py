"""Matrices read some rows at a time: the picture and the words of the whole, in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli.errors import UsageError
from qkvcli.heatmap import pixels
from qkvcli.heatmap.select import Axis, merge_subwords, positions, whole
from tests.heatmap.support import pixels_of, selection
from tests.support.command import run_qkv

if TYPE_CHECKING:
    from pathlib import Path

    from qkvcli.heatmap.select import Selection
    from tests.heatmap.support import Array, Draw, Save

# Sums of these are exact, in whatever order they are added.
WEIGHTS = [0.0, 0.125, 0.25, 0.5, 1.0, -0.5, np.nan, np.inf, -np.inf]


@st.composite
def axes(draw: st.DrawFn, name: str, length: int) -> Axis:
    """Draw an axis of some positions in any order, some of them merged."""
    labels = draw(
        st.none() | st.lists(st.sampled_from(["a", "##b"]), min_size=length, max_size=length)
    )
    axis = whole(name, length, None if labels is None else tuple(labels), "x")
    if draw(st.booleans()):
        order = draw(st.permutations(range(length)))
        some = order[: draw(st.integers(1, length))]
        kept = None if labels is None else tuple(labels[i] for i in some)
        axis = Axis(name, np.array(some), None, kept)
    return merge_subwords(axis) if draw(st.booleans()) else axis


Drawn = tuple[dict[str, Any], Any, Any]


@st.composite
def choices(draw: st.DrawFn) -> Drawn:
    """Draw what is drawn of two matrices of two heads, or one, and these."""
    shape = (2, draw(st.integers(1, 12)), draw(st.integers(1, 40)))
    seed = draw(st.integers(0, 1000))
    odd = draw(st.sampled_from([5, len(WEIGHTS)]))
    rng = np.random.default_rng(seed)
    dtypes = st.sampled_from([np.float16, np.float32, np.float64])
    one, other = (rng.choice(WEIGHTS[:odd], shape).astype(draw(dtypes)) for _ in range(2))
    choice = {
        "members": draw(st.sampled_from([(((0, 0),), ((0, 1),)), (((0, 0), (0, 1)),)])),
        "queries": draw(axes("query", shape[1])),
        "keys": draw(axes("key", shape[2])),
        "reduce": draw(st.sampled_from(["mean", "max", "min"])),
        "shrink": draw(st.sampled_from(["mean", "max"])),
        "factors": (draw(st.integers(1, 5)), draw(st.integers(1, 9))),
    }
    return choice, one, other if draw(st.booleans()) else None


def seen(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, drawn: Drawn
) -> tuple[list[Array], list[str]]:
    """Return the pixels and the warnings of a choice, read in blocks of some bytes."""
    monkeypatch.setattr(pixels, "BLOCK_BYTES", block_bytes)
    choice, one, other = dict(drawn[0]), drawn[1], drawn[2]
    shrink, factors = choice.pop("shrink"), choice.pop("factors")
    chosen: Selection = selection(one, other=other, **choice)
    values = pixels_of(chosen, shrink, factors)
    return values, [line for watch in chosen.watches for line in watch.warnings()]


@given(choices(), st.sampled_from([1, 16, 64, 200]))
def test_blocks_change_neither_a_pixel_nor_a_warning(drawn: Drawn, block_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_once, said = seen(patch, 1 << 20, drawn)
        cut, said_of_blocks = seen(patch, block_bytes, drawn)
    for one, other in zip(at_once, cut, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert said == said_of_blocks


def cells(weights: Array, queries: Axis, keys: Axis) -> Array:
    """Return the cells of a matrix by their definition: queries are averaged and keys summed."""
    some: Array = weights.astype(float)[np.ix_(list(queries.positions), list(keys.positions))]
    if queries.starts is not None:
        some = np.stack([part.mean(0) for part in np.split(some, queries.starts[1:])])
    if keys.starts is not None:
        some = np.stack([part.sum(1) for part in np.split(some, keys.starts[1:], 1)], 1)
    return some


@given(choices())
def test_pixels_are_those_of_the_definition(drawn: Drawn) -> None:
    """A pixel shows the largest of its cells: of a difference that of the largest magnitude."""
    one, other = (m if m is None else np.nan_to_num(m, posinf=2, neginf=-2) for m in drawn[1:])
    assert one is not None
    choice = {**drawn[0], "members": (((0, 1),),), "shrink": "max"}
    with pytest.MonkeyPatch.context() as patch:
        (found,), _ = seen(patch, 64, (choice, one, other))
    both = [cells(m[1], choice["queries"], choice["keys"]) for m in (one, other) if m is not None]
    wanted = both[0] if other is None else both[0] - both[1]
    rows, columns = choice["factors"]
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
    monkeypatch.setattr(pixels, "BLOCK_BYTES", block_bytes)
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
def test_the_first_place_is_the_first_of_the_file(
    save: Save, draw: Draw, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(pixels, "BLOCK_BYTES", block_bytes)
    weights = np.zeros((2, 5, 40))
    weights[..., 7] = 1
    weights[0, 3, 1], weights[0, 1, 30] = np.nan, np.inf
    weights[1, 2, 0], weights[1, 0, 39] = -0.5, -0.25
    said = draw(save(weights)).stderr
    assert "2 weights are NaN or infinite, drawn grey; the first at head 0, query 1, key 30" in said
    assert "2 weights are negative; the first at head 1, query 0, key 39" in said
    assert "2 of 10 rows do not sum to 1; the first at head 1, query 0: 0.75" in said
    turned = draw(save(weights), "--queries", "3,1", "--heads", "0").stderr
    assert "the first at head 0, query 1, key 30" in turned


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), min_size=1, max_size=6))
def test_ranges_of_numbers(runs: list[tuple[int, int]]) -> None:
    listed = [n for first, more in runs for n in range(first, first + more + 1)]
    text = ",".join(f"{first}-{first + more}" if more else f"{first}" for first, more in runs)
    twice = sorted(n for n in set(listed) if listed.count(n) > 1)
    if twice:
        with pytest.raises(UsageError, match=f"--keys names {twice[0]} twice"):
            positions(text, whole("key", 30), "x")
    else:
        assert list(positions(text, whole("key", 30), "x")) == listed


def matrix(path: Path, shape: tuple[int, int], dtype: Any = np.float32) -> str:
    """Write a matrix whose rows are 1 at their first key, which takes no room on a disk."""
    np.lib.format.open_memmap(path, "w+", dtype, shape)[:, 0] = 1
    return str(path)


def idle_peak(folder: Path) -> int:
    """Return the memory of a picture of one weight, measured like those of many."""
    path = matrix(folder / "one.npy", (1, 1))
    run = run_qkv("heatmap", path, "-o", str(folder / "x.svg"))
    assert run.status == 0, run.error
    return run.peak


@pytest.mark.parametrize(
    ("shape", "more", "arguments"),
    [
        ((1_000_000, 4), (4_000_000, 4), []),
        ((1_000_000, 4), (4_000_000, 4), ["--shrink", "mean"]),
        ((1_000_000, 4), (4_000_000, 4), ["--diff"]),
        ((1_000_000, 4), (4_000_000, 4), ["--queries", "900000-999999,0-800000"]),
    ],
    ids=["queries", "mean", "difference", "some queries"],
)
def test_memory_does_not_grow_with_queries(
    tmp_path: Path, shape: tuple[int, int], more: tuple[int, int], arguments: list[str]
) -> None:
    peaks = []
    small = idle_peak(tmp_path)
    for size in (shape, more):
        path = matrix(tmp_path / "w.npy", size)
        other = [matrix(tmp_path / "o.npy", size)] if "--diff" in arguments else []
        run = run_qkv("heatmap", path, *arguments, *other, "-o", str(tmp_path / "x.svg"))
        assert (run.status, "warning" in run.error) == (0, False), run.error
        peaks.append(run.peak)
    assert peaks[1] - peaks[0] < 6 << 20, [peak >> 20 for peak in peaks]
    assert max(peaks) < small + (45 << 20), [peak >> 20 for peak in (small, *peaks)]


@pytest.mark.parametrize("arguments", [[], ["--shrink", "mean"], ["--diff"]], ids=str)
def test_no_more_than_some_rows_are_held(tmp_path: Path, arguments: list[str]) -> None:
    keys = 1_000_000
    path = matrix(tmp_path / "w.npy", (4, keys))
    more = matrix(tmp_path / "more.npy", (40, keys))
    peaks = []
    for name in (path, more):
        other = [name] if "--diff" in arguments else []
        run = run_qkv("heatmap", name, *arguments, *other, "-o", str(tmp_path / "x.svg"))
        assert run.status == 0, run.error
        peaks.append(run.peak)
    assert peaks[1] - peaks[0] < 6 << 20, [peak >> 20 for peak in peaks]
    most = idle_peak(tmp_path) + (28 << 20) + 10 * 4 * keys
    assert max(peaks) < most, [peak >> 20 for peak in (most, *peaks)]


def test_rows_too_long_to_be_held_are_refused(tmp_path: Path) -> None:
    path = matrix(tmp_path / "w.npy", (2, 70_000_000))
    run = run_qkv("heatmap", path, "-o", str(tmp_path / "x.svg"))
    assert run.status == 2
    assert run.error == (
        f"qkv: {path}: 1 × 70000000 weights are 267 MiB, over the cap of 256 MiB to be held at "
        "once; save a part of the keys\n"
    )
    assert run.peak < idle_peak(tmp_path) + (45 << 20)
