"""Arithmetic: bounds that hold on every processor, and numbers that are the same wherever shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qkvcli import QkvError
from tests.support import reference
from tests.support.command import run_qkv
from tests.support.folds import attend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.numeric

NARROW = ["f2", "f4"]


def _random(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


# Sums over many keys -------------------------------------------------------------------------


def _ulps(found: NDArray[Any], wanted: Any) -> float:
    """Return how far numbers are from a value, in units of the last place of their own type."""
    exact = np.asarray(wanted, found.dtype)
    return float(np.abs((found.astype("f8") - exact.astype("f8")) / np.spacing(exact)).max())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize(
    "width", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (16, 64))]
)
@pytest.mark.parametrize("queries", [1, 40])
def test_a_million_equal_values_pool_to_themselves(queries: int, width: int, dtype: str) -> None:
    value = np.array(0.1, dtype)
    keys = np.full((1_000_000, 1), 0.7, dtype)
    values = np.broadcast_to(value, (1_000_000, width))
    asked = np.linspace(0.3, 3, queries)[:, None].astype(dtype)
    found = attend(asked, keys, values, score="dot")
    assert found.output.dtype == np.dtype("f8" if dtype == "f8" else "f4")
    assert _ulps(found.output, value) <= 4
    np.testing.assert_allclose(found.perplexity, 1e6, rtol=1e-6)
    # And so they do where keys differ, and where one key has half of the weight.
    keys = keys.copy()
    keys[::3] += np.array(0.5, dtype)
    keys[500_000] = 0.7 + np.log(1e6) / 3
    assert _ulps(attend(asked, keys, values, score="dot").output, value) <= 4


@pytest.mark.parametrize("queries", [1, 40])
def test_one_key_has_half_of_the_weight_of_a_million(queries: int) -> None:
    keys = np.zeros((1_000_001, 1), "f4")
    keys[7] = np.log(1e6)
    values = np.zeros((1_000_001, 2), "f4")
    values[:, 0], values[7] = 0.1, 0.7
    found = attend(np.ones((queries, 1), "f4"), keys, values, score="dot", top=1)
    weight = np.exp(float(keys[7, 0])) / (np.exp(float(keys[7, 0])) + 1e6)
    wanted = weight * values[7].astype("f8") + (1 - weight) * values[0].astype("f8")
    np.testing.assert_allclose(found.output, np.tile(wanted, (queries, 1)), atol=1e-6 * 0.7)
    np.testing.assert_allclose(found.best_weights, weight, rtol=1e-6)


KINDS: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "positive": lambda rng, width: rng.uniform(0, 1, (400_000, width)),
    "mixed": lambda rng, width: rng.normal(size=(400_000, width)),
    "large beside small": lambda rng, width: 1000 + rng.normal(size=(400_000, width)),
    "two values": lambda rng, width: rng.choice([0.1, 0.7], (400_000, width)),
    "sorted steps": lambda rng, width: np.sort(rng.integers(0, 7, (400_000, width)), axis=0) / 10,
}


@pytest.mark.parametrize("width", [1, 3, 16, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize("equal", [False, True])
def test_the_error_does_not_grow_with_the_keys(equal: bool, queries: int, width: int) -> None:
    rng = np.random.default_rng(3)
    keys = np.full((400_000, 4), 0.3) if equal else rng.normal(size=(400_000, 4))
    asked = rng.normal(size=(queries, 4))
    for dtype in NARROW if width == 3 else NARROW[1:]:
        narrow = [x.astype(dtype) for x in (asked, keys)]
        q, k = (x.astype("f8") for x in narrow)
        scores = q @ k.T / 2
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        for kind, made in KINDS.items():
            values = made(rng, width).astype(dtype)
            exact = weights @ values.astype("f8")
            largest = float(np.abs(values).max())
            found = attend(*narrow, values).output
            assert np.abs(found - exact).max() <= 1e-6 * largest, kind
            wide = attend(q, k, values.astype("f8")).output
            assert np.abs(wide - exact).max() <= 1e-12 * largest, kind


SCRIPT = """
import hashlib, sys, numpy as np, qkvcli
rng = np.random.default_rng(0)
q, k, v = (rng.normal(size=(n, 64)).astype("f4") for n in (300, 120_000, 120_000))
found = qkvcli.attend(q, k, v, workers=int(sys.argv[1]), top=3)
parts = (found.output, found.perplexity, found.best_weights)
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_the_same_bytes_whatever_threads_blas_was_given() -> None:
    told = set()
    for threads, workers in (("1", "1"), ("2", "2"), ("4", "1"), ("", "2")):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        env = env if threads else {k: v for k, v in env.items() if "NUM_THREADS" not in k}
        command = [sys.executable, "-c", SCRIPT, workers]
        told.add(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert len(told) == 1


def test_the_command_gives_the_same_bytes_whatever_threads_blas_was_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    keys, values = (rng.normal(size=(70_000, 16)).astype("f4") for _ in "kv")
    np.savez(tmp_path / "d.npz", queries=keys[:300], keys=keys, values=values)
    told = set()
    for threads in ("1", "3"):
        env = {"OPENBLAS_NUM_THREADS": threads}
        run = run_qkv("pool", "--data", "d.npz", "-o", "o.npy", cwd=tmp_path, env=env)
        assert run.status == 0, run
        told.add((tmp_path / "o.npy").read_bytes())
    assert len(told) == 1


# Types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("queries", ["f2", "f4", "f8", None])
@pytest.mark.parametrize("keys", ["f2", "f4", "f8", "i4"])
@pytest.mark.parametrize("values", ["f2", "f4", "f8", "i8"])
def test_outputs_are_as_wide_as_the_widest(values: str, keys: str, queries: str | None) -> None:
    rng = np.random.default_rng(2)
    k, v = rng.integers(1, 9, (6, 2)).astype(keys), rng.integers(1, 9, (6, 1)).astype(values)
    q = None if queries is None else rng.integers(1, 9, (3, 2)).astype(queries)
    kinds = [kind for kind in (queries, keys, values) if kind is not None]
    narrow = all(kind in NARROW for kind in kinds)
    for mode in ("average",) if q is None else ("softmax", "approximate", "average", "exact"):
        found = attend(q, k, v, mode=mode)
        assert found.output.dtype == (np.float32 if narrow else np.float64), mode


def test_wide_values_are_not_narrowed_by_narrow_queries() -> None:
    keys, asked = np.zeros((3, 2), "f4"), np.zeros((1, 2), "f4")
    for value in (1e300, 16777219.0, 16777219):
        values = np.full((3, 1), value)
        for mode in ("softmax", "average", "approximate"):
            assert attend(asked, keys, values, mode=mode).output.tolist() == [[value]]
        assert attend(None, keys, values, mode="average").output.tolist() == [[value]]
    assert attend(["a"], ["a"], [1e300]).output.tolist() == [[1e300]]


def test_wide_values_beside_narrow_queries_in_files(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz",
        keys=np.zeros((2, 1), "f4"),
        queries=np.zeros((1, 1), "f4"),
        values=np.array([[1e300, 16777219.0]] * 2),
    )
    run = run_qkv("pool", "--data", "d.npz", "-f", "tsv", cwd=tmp_path)
    assert (run.status, run.error) == (0, "")
    assert run.text.splitlines()[1].split("\t")[1:3] == ["1e+300", "16777219"]


def test_narrow_outputs_are_shown_by_the_digits_that_they_have(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", keys=np.zeros((2, 1), "f4"), values=np.full((2, 1), 0.1, "f4"))
    run = run_qkv("pool", "0", "--data", "d.npz", "-f", "json", cwd=tmp_path)
    assert json.loads(run.out)["queries"][0]["answer"] == {"value": 0.1}


# One softmax ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("neighbors", [None, 4])
def test_a_weight_is_the_same_number_wherever_it_is_shown(
    neighbors: int | None, dtype: str
) -> None:
    keys, asked = _random(1, 50, 3).astype(dtype), _random(2, 5, 3).astype(dtype)
    labels = [f"label {i}" for i in range(50)]
    for temperature in (0.1, 1.0):
        found = attend(
            asked, keys, labels, top=50, weights=True, neighbors=neighbors, temperature=temperature
        )
        share = found.labels[0]
        for query in range(5):
            listed = dict(zip(found.best_rows[query], found.best_weights[query], strict=True))
            for place, label in enumerate(share.labels):
                row = int(label.split()[1])
                pooled = share.weights[query, place]
                assert pooled == found.weights[query, row] == listed.get(row, 0.0)


def test_a_lookup_shows_one_weight(put: Callable[..., str]) -> None:
    run = run_qkv("lookup", "Li", "Lipten", "-m", "softmax", "-f", "json")
    for query in json.loads(run.out)["queries"]:
        pooled = query["answers"]["softmax"]["first_name"]
        for match in query["matches"]:
            assert pooled[match["value"]["first_name"]] == match["weights"]["softmax"]
    # Across blocks too, whose references are the same.
    rows = "".join(f"name{i * 7919 % 150_001},{i}x\n" for i in range(150_001))
    path = put("t.csv", "k,v\n" + rows)
    run = run_qkv("lookup", "name77", "-m", "softmax", "-n", "20", "-f", "json", "--data", path)
    (query,) = json.loads(run.out)["queries"]
    pooled = query["answers"]["softmax"]["v"]
    for match in query["matches"]:
        shown = pooled.get(match["value"]["v"])
        assert shown in (None, match["weights"]["softmax"])


def test_a_key_of_just_the_least_weight_is_listed() -> None:
    run = run_qkv("lookup", "Lipten", "-m", "average", "-f", "json")
    weight = json.loads(run.out)["queries"][0]["matches"][0]["weights"]["average"]
    for least, count in ((weight, 6), (np.nextafter(weight, 1), 0)):
        run = run_qkv(
            *("lookup", "Lipten", "-m", "average", "--min-weight", repr(float(least)), "-f", "json")
        )
        assert len(json.loads(run.out)["queries"][0]["matches"]) == count


# What a transposition would pass ------------------------------------------------------------------


def test_a_jacobian_of_as_many_values_as_columns_is_not_transposed() -> None:
    keys, values, asked = _random(3, 20, 3), _random(4, 20, 3), _random(5, 4, 3)
    found = attend(asked, keys, values, score="dot", jacobian=True).jacobian
    step = 1e-6
    for column in range(3):
        ends = []
        for sign in (1, -1):
            moved = asked.copy()
            moved[:, column] += sign * step
            ends.append(attend(moved, keys, values, score="dot").output)
        slopes = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], slopes, rtol=1e-6, atol=1e-8)
    assert np.abs(found - found.swapaxes(1, 2)).max() > 0.1


# Masks and heads ------------------------------------------------------------------------------------

MASKS = [(2, 3, 4, 5), (2, 1, 4, 5), (1, 3, 4, 5), (3, 4, 5), (4, 5), (1, 5), (4, 1), (2, 3, 1, 5)]


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("shape", MASKS)
def test_masks_broadcast_as_in_numpy(shape: tuple[int, ...], kind: str) -> None:
    keys, values, asked = _random(6, 2, 3, 5, 3), _random(7, 2, 3, 5, 2), _random(8, 2, 3, 4, 3)
    rng = np.random.default_rng(9)
    mask: NDArray[Any] = rng.random(shape) < 0.7
    added = np.where(mask, 0.0, -np.inf)
    if kind == "float":
        mask = added = np.where(mask, rng.normal(size=shape), -np.inf)
    found = attend(asked, keys, values, mask=mask, weights=True, score="dot")
    scores = np.einsum("bhqd,bhkd->bhqk", asked, keys) + np.broadcast_to(added, (2, 3, 4, 5))
    for head in np.ndindex(2, 3):
        wanted = reference.weights(scores[head], "softmax")
        np.testing.assert_allclose(found.weights[head], wanted, rtol=1e-12, atol=1e-12)
        expected = reference.pooled(wanted, values[head])
        np.testing.assert_allclose(found.output[head], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("of_queries", "of_keys"),
    [((6,), (2,)), ((6,), (1,)), ((6,), ()), ((2, 6), (2, 3)), ((), (3,)), ((2, 2, 4), (2, 2, 2))],
)
def test_fewer_heads_of_keys_than_of_queries(
    of_queries: tuple[int, ...], of_keys: tuple[int, ...]
) -> None:
    keys, values = _random(1, *of_keys, 7, 3), _random(2, *of_keys, 7, 2)
    asked = _random(3, *of_queries, 4, 3)
    found = attend(asked, keys, values, top=2, causal=True)
    shape = of_queries or of_keys
    assert found.output.shape == (*shape, 4, 2)
    group = shape[-1] // of_keys[-1] if of_keys and of_queries else 1
    for index in np.ndindex(shape):
        at = (*index[:-1], index[-1] // group) if of_keys else ()
        one = attend(asked[index] if of_queries else asked, keys[at], values[at], causal=True)
        np.testing.assert_array_equal(found.output[index], one.output)


@pytest.mark.parametrize("queries", [1, 3, 7])
def test_valid_lens_of_a_batch_whatever_the_queries(queries: int) -> None:
    keys, values, asked = (
        _random(1, 3, 2, 5, 2),
        _random(2, 3, 2, 5, 1),
        _random(3, 3, 2, queries, 2),
    )
    lengths = np.array([1, 3, 5])
    found = attend(asked, keys, values, valid_lens=lengths)
    each = attend(asked, keys, values, valid_lens=np.repeat(lengths[:, None], queries, axis=1))
    np.testing.assert_array_equal(found.output, each.output)
    for entry, length in enumerate(lengths):
        one = attend(asked[entry], keys[entry, :, :length], values[entry, :, :length])
        np.testing.assert_allclose(found.output[entry], one.output, rtol=1e-12)


@pytest.mark.parametrize(
    ("of_queries", "of_keys"), [((3,), (2,)), ((2,), (3,)), ((2, 4), (3, 2)), ((4,), (2, 2))]
)
def test_heads_that_do_not_divide(of_queries: tuple[int, ...], of_keys: tuple[int, ...]) -> None:
    with pytest.raises(QkvError, match=r"^queries with leading axes \(.*a multiple of heads"):
        attend(_random(1, *of_queries, 2, 3), _random(2, *of_keys, 4, 3))


def test_a_mask_of_numbers_that_were_truth_values() -> None:
    for mask, message in (
        (np.ones((2, 4)), "holds 0 and 1 as float64"),
        (np.full((2, 4), np.nan), "has NaN or"),
        (np.full((2, 4), np.inf), "has NaN or"),
        (np.ones((2, 4), "i4"), "of dtype int32"),
    ):
        with pytest.raises(QkvError, match=f"^`mask` {message}"):
            attend(_random(1, 2, 3), _random(2, 4, 3), mask=mask)
    hidden = attend(_random(1, 2, 3), _random(2, 4, 3), mask=np.full((2, 4), -np.inf))
    assert not hidden.answered.any()
