"""Scores of vectors against their formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli import Database
from qkvcli.blocks import Queries
from qkvcli.scores import KERNELS, VECTOR_SCORES
from qkvcli.scores.vector import VectorScore
from tests.support import folds, reference

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.numeric
@pytest.mark.parametrize("depth", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("name", VECTOR_SCORES)
def test_vector_scores_are_their_formulas(name: str, depth: int) -> None:
    rng = np.random.default_rng(depth)
    queries, keys = rng.normal(size=(7, depth)), rng.normal(size=(50, depth))
    queries[0] = keys[3]
    queries[1] = keys[4] + 1e-9
    queries[2] = 0
    for width in (2.0 * math.sqrt(depth), tuple(rng.uniform(1, 5, depth))):
        widths = width if isinstance(width, tuple) else (width,)
        wanted = reference.vector_scores(name, queries, keys, width)
        found = VectorScore(name, widths).scores(queries, keys)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
        narrow = VectorScore(name, widths).scores(queries.astype("f4"), keys.astype("f4"))
        assert narrow.dtype == np.float32
        edge = ~np.isfinite(wanted) | (wanted < -8)  # near a kernel's edge a logarithm is steep
        np.testing.assert_allclose(narrow[~edge], wanted[~edge], rtol=2e-4, atol=2e-4)


@pytest.mark.numeric
def test_equally_far_keys_are_listed_in_the_order_of_rows() -> None:
    grid = np.array([(x, y) for x in range(20) for y in range(20)], np.float64)
    found = Database(grid, grid[:, 0]).attend(grid, score="gaussian", bandwidth=0.7, top=9)
    squares = np.square(grid[:, None] - grid).sum(axis=2)  # whole numbers
    wanted = np.argsort(squares, axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(found.best_rows, wanted)


@pytest.mark.numeric
@given(
    depth=st.integers(1, 8),
    width=st.floats(-6, 3).map(lambda power: 10**power),
    origin=st.sampled_from([0.0, 1.0, 1e6, 1.7e9, -1e15]),
    count=st.sampled_from([7, 30, 70]),
    seed=st.integers(0, 99),
)
def test_a_gaussian_that_ranks_nothing_is_its_formula(
    depth: int, width: float, origin: float, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    queries, keys = (rng.normal(size=(n, depth)) + origin for n in (count, 40))
    queries[0] = keys[3]
    widths = tuple(width * rng.uniform(1, 2, depth))
    found = np.exp(VectorScore("gaussian", widths, ranked=False).scores(queries, keys))
    with np.errstate(over="ignore", under="ignore"):
        wanted = np.exp(reference.vector_scores("gaussian", queries, keys, widths))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.numeric
@given(
    name=st.sampled_from(VECTOR_SCORES),
    depth=st.sampled_from([1, 3, 8, 9, 40]),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e18, 1e25, 1e160]),
    dtype=st.sampled_from(["f4", "f8"]),
    count=st.sampled_from([1, 5, 50]),
    ranked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_all_scores_lie_between_the_limits(
    name: str, depth: int, size: float, dtype: str, count: int, ranked: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.normal(size=(30, depth))
    with np.errstate(over="ignore", invalid="ignore"):
        asked = Queries(("q",) * count, rng.normal(size=(count, depth)).astype(dtype))
        keys = (size * keys).astype(dtype)
        (block,) = folds.blocks(keys, np.zeros(30))
        for tile in VectorScore(name, (1.5,), ranked=ranked).tiles(block.load(), asked):
            assert (tile.scores >= tile.low).all() or tile.low == -math.inf
            assert (tile.scores <= tile.high).all() or tile.high == math.inf
        keys[7, -1] = rng.choice([np.nan, np.inf, -np.inf])
        (block,) = folds.blocks(keys, np.zeros(30))
        tiles = list(VectorScore(name, (1.5,), ranked=ranked).tiles(block.load(), asked))
        assert any(tile.high == math.inf for tile in tiles)  # so that scores are looked at


@pytest.mark.numeric
def test_many_ordinary_scores_have_limits() -> None:
    keys = np.random.default_rng(0).normal(size=(30, 4))
    (block,) = folds.blocks(keys, np.zeros(30))
    for name in ("dot", "scaled-dot", "cosine"):
        (tile,) = VectorScore(name).tiles(block.load(), Queries(("q",) * 30, keys))
        assert tile.high - tile.low < 100


@pytest.mark.numeric
def test_kernels_at_their_edges() -> None:
    queries, keys = np.array([[0.0]]), np.array([[0.0], [1.0], [2.0], [-2.0], [2.5]])
    edge = math.nextafter(2.0, 3)
    keys = np.append(keys, [[edge]], axis=0)
    none = -math.inf
    wanted = {
        "boxcar": [0, 0, 0, 0, none, none],
        "triangular": [0, math.log(0.5), none, none, none, none],
        "epanechnikov": [0, math.log(0.75), none, none, none, none],
        "gaussian": [0, -1 / 8, -1 / 2, -1 / 2, -(1.25**2) / 2, -1 / 2],
        "laplacian": [0, -1 / 2, -1, -1, -1.25, -1],
    }
    for name in KERNELS:
        found = VectorScore(name, (2.0,)).scores(queries, keys)[0]
        np.testing.assert_allclose(found, wanted[name], rtol=1e-15)


@pytest.mark.numeric
def test_the_cosine_of_odd_lengths() -> None:
    keys = np.array([[0.0, 0.0], [1e300, 1e300], [1e-300, 0.0], [-3.0, 0.0], [5e-324, 0.0]])
    found = VectorScore("cosine").scores(np.array([[2.0, 0.0], [0.0, 0.0]]), keys)
    np.testing.assert_allclose(found[0], [0, math.sqrt(0.5), 1, -1, 1], rtol=1e-15)
    assert not found[1].any()


@pytest.mark.numeric
@pytest.mark.parametrize("depth", [1, 9, 30])
def test_no_kernel_is_above_that_of_a_key_itself(depth: int) -> None:
    keys = np.random.default_rng(5).normal(size=(60, depth)) + 10
    for name in KERNELS:
        for dtype in ("f4", "f8"):
            same = keys.astype(dtype)
            assert VectorScore(name, (3.0 * depth,)).scores(same, same).max() <= 0


@pytest.mark.numeric
def test_no_cosine_is_beyond_one() -> None:
    vectors = np.random.default_rng(4).normal(size=(500, 3))
    for dtype in ("f4", "f8"):
        keys = vectors.astype(dtype)
        found = VectorScore("cosine").scores(np.concatenate([keys, -keys]), keys)
        assert found.min() == -1
        assert found.max() == 1


@pytest.mark.numeric
@given(st.integers(0, 2**32 - 1), st.sampled_from(VECTOR_SCORES), st.sampled_from([1, 3, 11]))
def test_gradients_are_central_differences(seed: int, name: str, depth: int) -> None:
    rng = np.random.default_rng(seed)
    query, keys = rng.normal(size=depth), rng.normal(size=(8, depth))
    width = tuple(rng.uniform(1, 2, depth) * (4 * math.sqrt(depth)))
    found = VectorScore(name, width).gradient(query, keys)
    wanted = np.zeros_like(found)
    step = 1e-6
    for axis in range(depth):
        ends: list[NDArray[Any]] = []
        for sign in (1, -1):
            moved = query.copy()
            moved[axis] += sign * step
            ends.append(reference.vector_scores(name, moved[None], keys, width)[0])
        with np.errstate(invalid="ignore"):
            wanted[:, axis] = (ends[0] - ends[1]) / (2 * step)
    inside = np.isfinite(wanted).all(axis=1)
    np.testing.assert_allclose(found[inside], wanted[inside], rtol=1e-5, atol=1e-6)


@pytest.mark.numeric
def test_gradients_are_zero_where_a_kernel_has_a_corner() -> None:
    keys = np.array([[1.0], [3.0], [9.0]])
    for name in KERNELS:
        found = VectorScore(name, (2.0,)).gradient(np.array([1.0]), keys)
        assert np.isfinite(found).all()
        assert found[0, 0] == 0
        if name in ("boxcar", "triangular", "epanechnikov"):
            assert not found.any()
    assert not VectorScore("cosine").gradient(np.zeros(2), np.ones((3, 2))).any()
