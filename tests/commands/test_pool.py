"""``qkv pool``: real attention, other libraries' regressions, Jacobians, masks, heads, output."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qkvcli
from qkvcli.database import Database
from qkvcli.errors import OutputError
from qkvcli.run import matrix
from qkvcli.run.matrix import labelled_weights
from qkvcli.run.work import Local
from qkvcli.scores import KERNELS, VECTOR_SCORES
from tests.support import reference
from tests.support.command import SAMPLES, run_inside, run_qkv
from tests.support.contract import Case, check
from tests.support.folds import attend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SINE = str(SAMPLES / "sine.csv")
ANIMAL = str(SAMPLES / "animal_layer3_qkv.npz")


def _pool(*arguments: str, stdin: bytes = b"", **options: Any) -> dict[str, Any]:
    """Run the command and return its JSON document."""
    run = run_inside("pool", *arguments, "--format", "json", stdin=stdin, **options)
    assert run.status == 0, run
    document: dict[str, Any] = json.loads(run.out)
    return document


def _answers(document: dict[str, Any]) -> list[Any]:
    """Return the only value column's answers."""
    found = [item["answer"] for item in document["queries"]]
    return [None if one is None else next(iter(one.values())) for one in found]


def _sine() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table = np.loadtxt(SINE, delimiter=",", skiprows=1)
    return table[:, 0], table[:, 1]


def _random(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


# Real attention --------------------------------------------------------------------------------


@pytest.mark.numeric
def test_a_real_layer_gives_its_own_attention(tmp_path: Path) -> None:
    run = run_qkv(
        "pool", "--data", ANIMAL, "-o", "out.npz", "--weights", "weights.npy", cwd=tmp_path
    )
    assert (run.status, run.out, run.err) == (0, b"", b"")
    wanted = np.load(SAMPLES / "animal_layer3_attention.npy")
    weights = np.load(tmp_path / "weights.npy")
    assert weights.shape == wanted.shape == (12, 16, 16)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, wanted, rtol=0, atol=1e-6)
    with np.load(ANIMAL) as arrays, np.load(tmp_path / "out.npz") as found:
        values = wanted.astype("f8") @ arrays["values"]
        assert found["pooled"].dtype == np.float32
        np.testing.assert_allclose(found["pooled"], values, rtol=0, atol=2e-6)
        entropies = -(wanted.astype("f8") * np.log(wanted.astype("f8"))).sum(axis=2)
        np.testing.assert_allclose(found["perplexity"], np.exp(entropies), rtol=1e-5)


@pytest.mark.numeric
def test_python_gives_the_layers_attention_too() -> None:
    wanted = np.load(SAMPLES / "animal_layer3_attention.npy")
    with np.load(ANIMAL) as arrays:
        found = attend(arrays["queries"], arrays["keys"], arrays["values"], weights=True)
        assert found.output.shape == (12, 16, 32)
    np.testing.assert_allclose(found.weights, wanted, rtol=0, atol=1e-6)


# Other libraries' regressions --------------------------------------------------------------------


def _local_constant(
    values: NDArray[Any], keys: NDArray[Any], queries: NDArray[Any], width: list[float]
) -> NDArray[Any]:
    from statsmodels.nonparametric.kernel_regression import KernelReg

    kind = "c" * (1 if keys.ndim == 1 else keys.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KernelReg(values, keys, kind, reg_type="lc", bw=width)
        return np.asarray(model.fit(queries)[0])


@pytest.mark.numeric
def test_a_gaussian_regression_is_that_of_statsmodels() -> None:
    x, y = _sine()
    queries = np.linspace(0, 5, 23)
    for width in (0.1, 0.5, 3.0):
        wanted = _local_constant(y, x, queries, [width])
        arguments = [repr(float(q)) for q in queries]
        document = _pool(*arguments, "--data", SINE, "--bandwidth", str(width))
        np.testing.assert_allclose(_answers(document), wanted, rtol=1e-10)
        assert document["bandwidth"]["widths"] == [[width]]


@pytest.mark.numeric
def test_a_regression_on_two_columns_is_that_of_statsmodels(put: Callable[..., str]) -> None:
    keys, queries = _random(1, 80, 2) * [1, 10], _random(2, 9, 2) * [1, 10]
    values = np.sin(keys[:, 0]) + keys[:, 1]
    rows = np.column_stack([keys, values]).tolist()
    path = put("two.csv", "a,b,y\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))
    asked = put("queries.txt", "".join(f"{a!r} {b!r}\n" for a, b in queries.tolist()))
    wanted = _local_constant(values, keys, queries, [0.4, 5.0])
    document = _pool("--queries", asked, "--data", path, "--key", "a,b", "--bandwidth", "0.4,5")
    np.testing.assert_allclose(_answers(document), wanted, rtol=1e-10)
    found = attend(queries, keys, values, score="gaussian", bandwidth=(0.4, 5.0)).output[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.numeric
@pytest.mark.parametrize("neighbors", [1, 4, 40])
def test_equal_shares_of_the_nearest_are_those_of_scikit_learn(neighbors: int) -> None:
    from sklearn.neighbors import KNeighborsRegressor

    x, y = _sine()
    queries = np.linspace(0.013, 5, 9)
    model = KNeighborsRegressor(neighbors).fit(x[:, None], y)
    arguments = [repr(float(q)) for q in queries]
    mode = ["--mode", "approximate", "--neighbors", str(neighbors)]
    found = _answers(_pool(*arguments, "--data", SINE, *mode))
    np.testing.assert_allclose(found, model.predict(queries[:, None]), rtol=1e-12)
    keys, values, asked = _random(3, 200, 5), _random(4, 200, 2), _random(5, 20, 5)
    wanted = KNeighborsRegressor(neighbors).fit(keys, values).predict(asked)
    options: Any = {"mode": "approximate", "neighbors": neighbors}
    several = attend(asked, keys, values, score="gaussian", bandwidth=1.0, **options)
    np.testing.assert_allclose(several.output, wanted, rtol=1e-11)


@pytest.mark.numeric
@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_widths_are_those_of_scipy(rule: str) -> None:
    from scipy.stats import gaussian_kde

    x, _ = _sine()
    width = gaussian_kde(x, bw_method=rule).factor * x.std(ddof=1)
    document = _pool("1", "--data", SINE, "--bandwidth", rule)
    assert document["bandwidth"]["rule"] == rule
    np.testing.assert_allclose(document["bandwidth"]["widths"], [[width]], rtol=1e-12)


# The book's next section: 40 points of y = 2 sin x + x + noise ----------------------------------

BOOK: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "gaussian": lambda d: np.exp(-(d**2) / 2),
    "boxcar": lambda d: (np.abs(d) <= 1).astype(float),
    "triangular": lambda d: np.maximum(0, 1 - np.abs(d)),
    "epanechnikov": lambda d: np.maximum(0, 1 - d**2),
    "laplacian": lambda d: np.exp(-np.abs(d)),
}


@pytest.mark.numeric
@pytest.mark.parametrize("kernel", BOOK)
@pytest.mark.parametrize("width", [1.0, 0.25])
def test_the_regression_of_the_book(kernel: str, width: float) -> None:
    x, y = _sine()
    assert len(x) == 40
    queries = np.arange(0, 5, 0.1)
    kernels = BOOK[kernel]((queries[:, None] - x) / width)
    total = kernels.sum(axis=1)
    wanted = np.divide(kernels @ y, total, where=total > 0, out=np.full(50, np.nan))
    stdin = "".join(f"{q!r}\n" for q in queries.tolist()).encode()
    document = _pool("-", "--data", SINE, "--score", kernel, "--bandwidth", str(width), stdin=stdin)
    found = np.array([math.nan if one is None else one for one in _answers(document)])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    perplexities = [item["perplexity"] for item in document["queries"]]
    shares = kernels / np.where(total > 0, total, 1)[:, None]
    expected = reference.perplexity(shares)
    np.testing.assert_allclose(
        [math.nan if p is None else p for p in perplexities], expected, rtol=1e-12
    )


@pytest.mark.numeric
def test_a_constant_kernel_and_the_average() -> None:
    _, y = _sine()
    for arguments in (["0", "3"], []):
        document = _pool(*arguments, "--data", SINE, "--mode", "average")
        np.testing.assert_allclose(_answers(document), y.mean(), rtol=1e-14)
        assert document["queries"][0]["perplexity"] == 40
    np.testing.assert_allclose(attend(None, *_sine(), mode="average").output, [[y.mean()]])


def test_each_key_of_its_own_answers_its_own_value(tmp_path: Path) -> None:
    _, y = _sine()
    run = run_inside(
        *("pool", "--self", "--mode", "exact", "--data", SINE),
        *("-o", "out.npy", "--weights", "w.npz"),
        cwd=tmp_path,
    )
    assert run.status == 0, run
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy")[:, 0], y)
    with np.load(tmp_path / "w.npz") as found:
        np.testing.assert_array_equal(found["weights"], np.eye(40))
    keys = np.eye(10)
    one = attend(keys, keys, np.arange(10.0), temperature=1e-3, score="dot", weights=True)
    np.testing.assert_allclose(one.weights, np.eye(10), atol=1e-15)
    np.testing.assert_allclose(one.output[:, 0], np.arange(10), atol=1e-15)


# Jacobians ----------------------------------------------------------------------------------------


def _slopes(ask: Callable[[NDArray[Any]], NDArray[Any]], query: NDArray[Any]) -> NDArray[Any]:
    """Return central differences of an answer (Dv,) at a query (D,), of shape (Dv, D)."""
    step = 1e-5
    columns = []
    for axis in range(len(query)):
        move = np.zeros_like(query)
        move[axis] = step
        columns.append((ask(query + move) - ask(query - move)) / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.numeric
@pytest.mark.parametrize("neighbors", [None, 6])
@pytest.mark.parametrize("score", VECTOR_SCORES)
def test_a_jacobian_is_the_slope_of_the_answer(score: str, neighbors: int | None) -> None:
    keys, values, queries = _random(6, 30, 3), _random(7, 30, 2), _random(8, 4, 3)
    texts = [f"t{i % 4}" for i in range(30)]
    options: Any = {
        "score": score,
        "bandwidth": (3.0, 4.0, 5.0) if score in KERNELS else None,
        "temperature": 0.7,
        "neighbors": neighbors,
    }
    found = attend(queries, keys, values, jacobian=True, **options)
    shares = attend(queries, keys, texts, jacobian=True, **options)
    labels = shares.labels[0].labels
    for i, query in enumerate(queries):

        def pooled(q: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(attend(q, keys, values, **options).output[0])

        def shared(q: NDArray[Any]) -> NDArray[Any]:
            share = attend(q, keys, texts, **options).labels[0]
            weight = dict(zip(share.labels, share.weights[0], strict=True))
            return np.array([weight.get(label, 0.0) for label in labels])

        np.testing.assert_allclose(found.jacobian[i], _slopes(pooled, query), rtol=1e-5, atol=1e-8)
        slopes = _slopes(shared, query)
        np.testing.assert_allclose(shares.label_jacobians[0][i], slopes, rtol=1e-5, atol=1e-8)


@pytest.mark.numeric
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.3, 1.0, 4.0]))
def test_the_jacobian_of_dot_attention_is_the_covariance_of_the_keys(
    seed: int, depth: int, temperature: float
) -> None:
    keys, queries = _random(seed, 20, depth), _random(seed + 1, 3, depth)
    found = attend(queries, keys, score="dot", temperature=temperature, jacobian=True, weights=True)
    for query in range(3):
        wanted = np.cov(keys.T, aweights=found.weights[query], ddof=0).reshape(depth, depth)
        np.testing.assert_allclose(
            found.jacobian[query], wanted / temperature, rtol=1e-10, atol=1e-12
        )


@pytest.mark.numeric
def test_the_jacobian_of_a_gaussian_is_the_marginal_effect() -> None:
    x, y = _sine()
    h, q = 0.5, 1.3
    p = reference.weights(-((q - x[None]) ** 2) / (2 * h * h), "softmax")[0]
    wanted = (p * y * (x - q)).sum() / h**2 - (p * y).sum() * (p * (x - q)).sum() / h**2
    document = _pool(repr(q), "--data", SINE, "--bandwidth", repr(h), "--jacobian")
    slopes = document["queries"][0]["jacobian"]
    assert list(slopes) == ["d(y)/d(x)"]
    np.testing.assert_allclose(slopes["d(y)/d(x)"], wanted, rtol=1e-11)


@pytest.mark.numeric
def test_jacobians_are_blind_to_blocks_and_go_by_heads(tmp_path: Path) -> None:
    keys, values, queries = _random(9, 2, 3, 70, 4), _random(10, 2, 3, 70, 2), _random(11, 5, 4)
    np.savez(tmp_path / "d.npz", keys=keys, values=values, queries=queries)
    found = attend(queries, keys, values, jacobian=True)
    assert found.jacobian.shape == (2, 3, 5, 2, 4)
    run = run_inside("pool", "--data", "d.npz", "--jacobian", "-o", "out.npz", cwd=tmp_path)
    assert run.status == 0, run
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["jacobian"], found.jacobian)
        np.testing.assert_array_equal(arrays["pooled"], found.output)
    one = attend(queries, keys[1, 2], values[1, 2], jacobian=True)
    np.testing.assert_array_equal(found.jacobian[1, 2], one.jacobian)


# Masks, lengths, heads ---------------------------------------------------------------------------


def _masked(
    queries: NDArray[Any], keys: NDArray[Any], values: NDArray[Any], shown: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weights and the pooled values of scaled-dot attention over (…, Q, D)."""
    scores = queries @ np.swapaxes(keys, -1, -2) / math.sqrt(keys.shape[-1])
    scores = np.where(shown, scores, -np.inf)
    rows = reference.weights(scores.reshape(-1, scores.shape[-1]), "softmax").reshape(scores.shape)
    pooled = np.where(rows.sum(axis=-1, keepdims=True) > 0, rows @ values, np.nan)
    return rows, pooled


B, H, Q, K = 2, 3, 4, 6
LENGTHS = {
    "one": np.array(4),
    "batch": np.array([6, 2]),
    "query": np.array([1, 0, 6, 3]),
    "batch and query": np.array([[1, 2, 3, 4], [6, 0, 5, 1]]),
}


def _lengths_shown(lengths: NDArray[Any], name: str) -> NDArray[np.bool_]:
    shape = {"batch": (B, 1, 1, 1), "batch and query": (B, 1, Q, 1), "query": (Q, 1), "one": ()}
    shown: NDArray[np.bool_] = np.arange(K) < lengths.reshape(shape[name])
    return shown


@pytest.mark.numeric
@pytest.mark.parametrize("name", LENGTHS)
def test_valid_lengths(name: str, tmp_path: Path) -> None:
    keys, values = _random(12, B, H, K, 5), _random(13, B, H, K, 2)
    queries = _random(14, B, H, Q, 5)
    lengths = LENGTHS[name]
    shown = np.broadcast_to(_lengths_shown(lengths, name), (B, H, Q, K))
    rows, pooled = _masked(queries, keys, values, shown)
    found = attend(queries, keys, values, valid_lens=lengths, weights=True)
    np.testing.assert_allclose(found.weights, rows, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.output, pooled, rtol=1e-12, atol=1e-15)
    found = attend(queries, keys, values, valid_lens=lengths)
    np.savez(tmp_path / "d.npz", keys=keys, values=values, queries=queries)
    np.save(tmp_path / "l.npy", lengths)
    lines = [" ".join(map(str, row)) for row in lengths.reshape(-1, 1 if lengths.ndim < 2 else Q)]
    (tmp_path / "l.txt").write_text("\n".join(lines) + "\n")
    ways = ["l.npy", "l.txt"]
    ways += [",".join(map(str, lengths.reshape(-1)))] if lengths.ndim < 2 else []
    for way in ways:
        arguments = ["pool", "--data", "d.npz", "-o", "o.npy", "--valid-lens", way]
        run = run_inside(*arguments, cwd=tmp_path)
        assert run.status == 0, run
        np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), found.output)
        none = int((~rows.any(axis=-1)).sum())
        assert (f"{none} quer" in run.error) == bool(none)


@pytest.mark.numeric
@pytest.mark.parametrize("shape", [(Q, K), (B, H, Q, K)])
@pytest.mark.parametrize("causal", [False, True])
def test_masks(shape: tuple[int, ...], causal: bool, tmp_path: Path) -> None:
    keys, values, queries = _random(15, B, H, K, 5), _random(16, B, H, K, 2), _random(17, Q, 5)
    mask = np.random.default_rng(18).random(shape) < 0.6
    shown = np.broadcast_to(mask, (B, H, Q, K)) & (np.tri(Q, K, dtype=np.bool_) | (not causal))
    rows, pooled = _masked(np.broadcast_to(queries, (B, H, Q, 5)), keys, values, shown)
    found = attend(queries, keys, values, mask=mask, causal=causal, weights=True)
    np.testing.assert_allclose(found.weights, rows, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.output, pooled, rtol=1e-12, atol=1e-15)
    found = attend(queries, keys, values, mask=mask, causal=causal)
    np.savez(tmp_path / "d.npz", k=keys, v=values, q=queries)
    np.save(tmp_path / "m.npy", mask.astype(np.uint8) if causal else mask)
    run = run_inside(
        *("pool", "--data", "d.npz", "--mask", "m.npy", "-o", "o.npy", "--weights", "w.npy"),
        *(["--causal"] if causal else []),
        cwd=tmp_path,
    )
    assert run.status == 0, run
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), found.output)
    np.testing.assert_allclose(np.load(tmp_path / "w.npy"), rows, rtol=1e-12, atol=1e-15)


def test_where_no_query_has_an_answer_empty_ones_are_written(tmp_path: Path) -> None:
    arguments = ["50", "--data", SINE, "--score", "boxcar", "--bandwidth", "0.5"]
    run = run_inside("pool", *arguments)
    assert (run.status, run.text) == (1, "x\ty\tperplexity\n50\t\t\n")
    assert run.error == (
        "qkv: 1 query attends to no key and has no answer: 50; widen --bandwidth, or mask less\n"
    )
    document = json.loads(run_inside("pool", *arguments, "--format", "json").text)
    assert document["queries"][0]["answer"] is None
    assert run_inside("pool", *arguments, "-o", "o.npy", cwd=tmp_path).status == 1
    assert np.isnan(np.load(tmp_path / "o.npy")).all()
    table = run_inside("pool", *arguments, "1", "--jacobian", "--format", "table")
    assert "nan" not in table.text


@pytest.mark.numeric
@pytest.mark.parametrize("score", KERNELS)
@pytest.mark.parametrize("width", ["1e308", "1e160", "1e-160", "1e-200"])
def test_widths_whose_squares_are_no_doubles(score: str, width: str) -> None:
    run = run_inside("pool", "1", "--data", SINE, "--score", score, "--bandwidth", width)
    if width.startswith("1e-"):
        assert run.status in (1, 2)
        assert run.error.count("\n") == 1
        assert "Traceback" not in run.error
    else:
        found = float(run.text.split("\n")[1].split("\t")[1])
        assert found == pytest.approx(_sine()[1].mean(), rel=1e-12)


@pytest.mark.numeric
def test_keys_whose_squares_are_no_doubles(put: Callable[..., str]) -> None:
    for scale in (1e200, 1e-200):
        table = put("t.csv", f"x,y\n{scale!r},2\n0,3\n{-scale!r},4\n")
        run = run_inside("pool", "0", "-d", table, "--key-type", "number", "--bandwidth", "scott")
        assert (run.status, run.error) == (0, "")
        assert float(run.text.split("\n")[1].split("\t")[1]) == pytest.approx(3)


def test_an_exact_pooling_needs_no_width(put: Callable[..., str]) -> None:
    for rows in ("5,1\n", "5,1\n5,3\n"):
        run = run_inside("pool", "5", "--mode", "exact", "--data", put("t.csv", "k,v\n" + rows))
        assert (run.status, run.text.split("\t")[3][:1]) == (0, "1" if rows == "5,1\n" else "2")


def test_one_mode_is_pooled() -> None:
    run = run_inside("pool", "Li", "-m", "softmax", "-m", "average")
    assert (run.status, run.error) == (
        2,
        "qkv: pool has one --mode; lookup shows several side by side\n",
    )
    assert run_inside("pool", "Li", "-m", "exact", "-k", "6").status == 0


@pytest.mark.numeric
def test_masks_reach_over_blocks_and_runs_of_queries() -> None:
    count, asked = 70_000, 600
    keys, values, queries = _random(19, count, 2), _random(20, count, 1), _random(21, asked, 2)
    lengths = np.random.default_rng(22).integers(0, count, asked)
    found = attend(queries, keys, values, valid_lens=lengths, workers=2).output
    for query in (0, 511, 512, 599):
        shown = lengths[query]
        one = attend(queries[query], keys[:shown], values[:shown]).output
        np.testing.assert_allclose(found[query], one[0], rtol=1e-11, atol=1e-13)


def test_a_row_with_nothing_to_attend_to_is_empty_null_or_nan(tmp_path: Path) -> None:
    arguments = ["1", "50", "--data", SINE, "--score", "boxcar", "--bandwidth", "0.5"]
    table = run_inside("pool", *arguments)
    assert table.status == 0
    rows = list(csv.reader(io.StringIO(table.text), delimiter="\t"))
    assert rows[2] == ["50", "", ""]
    assert "50" in table.error
    assert table.error.count("\n") == 1
    document = _pool(*arguments)
    assert _answers(document)[1] is None
    assert document["queries"][1]["perplexity"] is None
    run_inside("pool", *arguments, "-o", "o.npy", cwd=tmp_path)
    found = np.load(tmp_path / "o.npy")
    assert np.isnan(found[1, 0])
    assert not np.isnan(found[0, 0])


@pytest.mark.numeric
def test_heads_are_pooled_on_their_own(tmp_path: Path) -> None:
    keys, values = _random(23, H, K, 5).astype("f4"), _random(24, H, K, 2).astype("f4")
    queries = _random(25, H, Q, 5).astype("f4")
    for name, array in (("k", keys), ("v", values), ("q", queries)):
        np.save(tmp_path / f"{name}.npy", array)
    files = ["--keys", "k.npy", "--values", "v.npy", "--queries", "q.npy"]
    document = _pool(*files, cwd=tmp_path)
    assert [(item["head"], item["query"]) for item in document["queries"]] == [
        (head, str(query)) for head in range(H) for query in range(Q)
    ]
    found = attend(queries, keys, values)
    for head in range(H):
        one = attend(queries[head], keys[head], values[head])
        np.testing.assert_array_equal(found.output[head], one.output)
    listed = [list(item["answer"].values()) for item in document["queries"]]
    # A narrow number is shown by the digits that it takes to read it back.
    np.testing.assert_array_equal(np.array(listed, "f4").reshape(H, Q, 2), found.output)


def test_the_keys_may_be_the_queries(tmp_path: Path) -> None:
    keys = _random(26, 9, 4)
    np.save(tmp_path / "k.npy", keys)
    run = run_inside("pool", "--self", "--keys", "k.npy", "--causal", "-o", "o.npy", cwd=tmp_path)
    assert run.status == 0, run
    wanted = _masked(keys, keys, keys, np.tri(9, dtype=np.bool_))[1]
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), wanted, rtol=1e-12)
    text = _pool("--self", "--mode", "softmax")
    assert [item["query"] for item in text["queries"]][:2] == ["Zhang", "Lipton"]


# Text ---------------------------------------------------------------------------------------------


def test_each_first_name_has_its_share() -> None:
    with open(SAMPLES / "names.csv") as lines:
        rows = list(csv.reader(lines))[1:]
    keys, values = [row[0] for row in rows], [row[1] for row in rows]
    wanted = reference.weights(reference.text_scores("tokens", ["Lee"], keys), "softmax", 0.1)
    (item,) = _pool("Lee", "--mode", "softmax")["queries"]
    shares = item["answer"]["first_name"]
    assert set(shares) == set(values)
    np.testing.assert_allclose([shares[v] for v in values], wanted[0], rtol=1e-12)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    np.testing.assert_allclose(item["perplexity"], reference.perplexity(wanted), rtol=1e-12)


def test_classification_by_kernel_regression(put: Callable[..., str]) -> None:
    rng = np.random.default_rng(27)
    x = np.concatenate([rng.normal(-1, 0.5, 20), rng.normal(1, 0.5, 20)]).tolist()
    kinds = ["left"] * 20 + ["right"] * 20
    rows = "".join(f"{a!r},{kind},{a * 2!r}\n" for a, kind in zip(x, kinds, strict=True))
    path = put("kinds.csv", "x,kind,double\n" + rows)
    run = run_inside(
        *("pool", "--data", path, "--bandwidth", "0.3", "--format", "json", "--", "-1", "0.1")
    )
    assert run.status == 0, run
    kernels = np.exp(-((np.array([[-1.0], [0.1]]) - x) ** 2) / (2 * 0.3**2))
    kernels /= kernels.sum(axis=1, keepdims=True)
    for item, weights in zip(json.loads(run.out)["queries"], kernels, strict=True):
        assert list(item["answer"]) == ["kind", "double"]
        np.testing.assert_allclose(item["answer"]["kind"]["left"], weights[:20].sum(), rtol=1e-11)
        np.testing.assert_allclose(item["answer"]["kind"]["right"], weights[20:].sum(), rtol=1e-11)
        np.testing.assert_allclose(item["answer"]["double"], weights @ x * 2, rtol=1e-10)
    run = run_inside("pool", "0.1", "--data", path, "--bandwidth", "0.3", "--jacobian")
    header = run.text.split("\n")[0].split("\t")
    assert header[-3:] == ["d(double)/d(x)", "d(kind=left)/d(x)", "d(kind=right)/d(x)"]


def test_too_many_texts_to_pool_are_refused(put: Callable[..., str]) -> None:
    path = put("many.csv", "x,name\n" + "".join(f"{i},n{i}\n" for i in range(10_001)))
    run = run_inside("pool", "3", "--data", path)
    assert run.status == 2
    assert "'name' has over 10,000 distinct texts" in run.error
    assert run.error.count("\n") == 1


# Output -------------------------------------------------------------------------------------------


@pytest.mark.numeric
def test_every_format_holds_the_same_numbers(tmp_path: Path) -> None:
    asked = ["1", "2.5", "--data", SINE, "--bandwidth", "0.3"]
    wanted = _answers(_pool(*asked))
    for name in ("o.npy", "o.npz", "o.csv", "o.tsv", "o.json", "o.jsonl"):
        run = run_inside("pool", *asked, "-o", name, cwd=tmp_path)
        assert (run.status, run.out, run.err) == (0, b"", b"")
    assert np.load(tmp_path / "o.npy").tolist() == [[x] for x in wanted]
    with np.load(tmp_path / "o.npz") as found:
        assert found["pooled"].tolist() == [[x] for x in wanted]
        assert found["query_labels"].tolist() == ["1", "2.5"]
        assert found["value_labels"].tolist() == ["y"]
        perplexity = found["perplexity"].tolist()
    for name, delimiter in (("o.csv", ","), ("o.tsv", "\t")):
        with open(tmp_path / name, newline="") as lines:
            rows = list(csv.reader(lines, delimiter=delimiter))
        assert rows[0] == ["x", "y", "perplexity"]
        assert [float(row[1]) for row in rows[1:]] == wanted
        assert [float(row[2]) for row in rows[1:]] == perplexity
    assert _answers(json.loads((tmp_path / "o.json").read_text())) == wanted
    documents = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert [document["answer"]["y"] for document in documents] == wanted
    value = run_inside("pool", *asked, "--format", "value")
    assert [float(line) for line in value.text.split()] == wanted


def test_weights_carry_their_labels(tmp_path: Path) -> None:
    asked = ["pool", "Lee", "Li", "--weights"]
    for name in ("w.npz", "w.npy"):
        assert run_inside(*asked, name, "-o", "o.json", cwd=tmp_path).status == 0
    with np.load(tmp_path / "w.npz") as found:
        assert found["query_labels"].tolist() == ["Lee", "Li"]
        assert found["key_labels"].tolist() == ["Zhang", "Lipton", "Li", "Smola", "Hu", "Werness"]
        weights = found["weights"]
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), weights)
    scores = reference.text_scores(
        "tokens", ["Lee", "Li"], ["Zhang", "Lipton", "Li", "Smola", "Hu", "Werness"]
    )
    np.testing.assert_allclose(weights, reference.weights(scores, "softmax", 0.1), rtol=1e-12)
    piped = run_inside(*asked, "-")
    assert piped.status == 0
    with np.load(io.BytesIO(piped.out)) as found:
        np.testing.assert_array_equal(found["weights"], weights)


def test_weights_of_names_given_by_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", _random(28, 3, 2))
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    run = run_inside(
        *("pool", "two", "--keys", "k.npy", "--labels", "names.txt", "--weights", "w.npz"),
        *("-o", "o.npy"),
        cwd=tmp_path,
    )
    assert run.status == 0, run
    with np.load(tmp_path / "w.npz") as found:
        assert found["key_labels"].tolist() == ["one", "two", "three"]
        assert found["query_labels"].tolist() == ["two"]


def test_a_matrix_over_the_cap_is_refused_before_it_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        OutputError, match=r"^w\.npz: weights of shape \(70000, 70000\) would take "
    ):
        matrix.check_size((70_000, 70_000), 4, "w.npz")
    matrix.check_size((32_768, 65_536), 4, "w.npz")  # 8 GiB exactly
    monkeypatch.setattr(matrix, "CAP", 1000)
    with pytest.raises(qkvcli.QkvError, match=r"weights of shape \(12, 12\) would take"):
        attend(_random(29, 12, 2), _random(30, 12, 2), weights=True)
    assert attend(_random(29, 11, 2), _random(30, 11, 2), weights=True).weights.shape == (11, 11)


def test_weights_go_down_a_pipe_to_be_drawn(tmp_path: Path) -> None:
    piped = run_inside("pool", "--data", ANIMAL, "--weights", "-")
    assert piped.status == 0, piped
    drawn = run_inside("heatmap", "-", "-o", "out.svg", stdin=piped.out, cwd=tmp_path)
    assert drawn.status == 0, drawn
    assert (tmp_path / "out.svg").read_text().startswith(("<?xml", "<svg"))


@pytest.mark.numeric
@pytest.mark.parametrize("form", ["npy", "npz", "json"])
def test_threads_change_no_byte(form: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", keys=_random(33, 200_000, 3), queries=_random(34, 5, 3))
    found = set()
    for threads in ("1", "2", "4"):
        name = f"{threads}.{form}"
        run = run_qkv("pool", "--data", "d.npz", "--workers", threads, "-o", name, cwd=tmp_path)
        assert run.status == 0, run
        found.add((tmp_path / name).read_bytes())
    assert len(found) == 1


@pytest.mark.numeric
def test_the_matrix_comes_in_runs_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, queries = _random(31, 2, 50, 3), _random(32, 2, 20, 3)
    whole = attend(queries, keys, causal=True, weights=True).weights
    for cells in (1, 130, 1 << 23):
        monkeypatch.setattr(matrix, "_CELLS", cells)
        question = Database(keys).ask(queries, Local(), causal=True)
        runs = labelled_weights(question, "w.npy")["weights"]
        parts = list(runs.parts)
        assert runs.shape == (2, 20, 50)
        found = np.concatenate(parts).reshape(2, 20, 50)
        np.testing.assert_allclose(found, whole, rtol=1e-13, atol=0)
        assert len(parts) == {1: 40, 130: 20, 1 << 23: 2}[cells]


# Bad input ----------------------------------------------------------------------------------------


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


XY = b"x,y\n1,2\n2,3\n3,5\n"
AB = b"a,b,y\n0.1,1,2\n0.1,2,3\n0.1,5,3\n0.1,4,3\n0.1,7,1\n0.1,3,3\n"
BAD: dict[str, Case] = {
    "a query too wide": Case(
        ("pool", "1,2", "--data", "t.csv"), "width 2, .* width 1", files={"t.csv": XY}
    ),
    "queries too wide": Case(
        ("pool", "--keys", "k.npy", "--queries", "q.npy"),
        r"shape \(2, 2\), .* width 3",
        "q.npy",
        files={"k.npy": _npy(np.ones((5, 3))), "q.npy": _npy(np.ones((2, 2)))},
    ),
    "no bandwidth": Case(
        ("pool", "1", "--data", "t.csv", "--bandwidth", "0"),
        "--bandwidth '0'.* above 0",
        files={"t.csv": XY},
    ),
    "a negative bandwidth": Case(
        ("pool", "1", "--data", "t.csv", "--bandwidth=-1.5"),
        "--bandwidth '-1.5'.* above 0",
        files={"t.csv": XY},
    ),
    "too many bandwidths": Case(
        ("pool", "1", "--data", "t.csv", "--bandwidth", "1,2"),
        "2 widths for 1 key column; give 1$",
        files={"t.csv": XY},
    ),
    "no temperature": Case(
        ("pool", "1", "--data", "t.csv", "--temperature", "0"),
        "--temperature.*'0' is not above 0",
        files={"t.csv": XY},
    ),
    "a negative temperature": Case(
        ("pool", "1", "--data", "t.csv", "--temperature=-1"),
        "--temperature.*'-1' is not above 0",
        files={"t.csv": XY},
    ),
    "more neighbours than keys": Case(
        ("pool", "1", "--data", "t.csv", "--neighbors", "4"),
        "--neighbors 4, and t.csv has 3 keys",
        files={"t.csv": XY},
    ),
    "a mask of another shape": Case(
        ("pool", "1", "2", "--data", "t.csv", "--mask", "m.npy"),
        r"\(3, 2\), .* \(2, 3\); give that, or what broadcasts to it$",
        files={"t.csv": XY, "m.npy": _npy(np.ones((3, 2), np.bool_))},
    ),
    "a mask of numbers": Case(
        ("pool", "1", "--data", "t.csv", "--mask", "m.npy"),
        "holds 0 and 1 as float64, which would be added to the scores; save it as bool",
        "m.npy",
        files={"t.csv": XY, "m.npy": _npy(np.ones((1, 3)))},
    ),
    "a constant column": Case(
        ("pool", "0.1,2", "--data", "t.csv", "--key", "a,b"),
        "column 'a' is constant, so scott .*--bandwidth",
        "t.csv",
        files={"t.csv": AB},
    ),
    "one row": Case(
        ("pool", "0.1", "--data", "t.csv"),
        "one row has no spread .*give a number",
        "t.csv",
        files={"t.csv": b"x,y\n1,2\n"},
    ),
    "text keys under a vector score": Case(
        ("pool", "1", "--data", "t.csv", "--score", "gaussian"),
        "the key '2b' is text, and --score gaussian .*--categorical x",
        "t.csv:3",
        files={"t.csv": b"x,y\n1,2\n2b,3\n"},
    ),
    "numbers under a text score": Case(
        ("pool", "1", "--data", "t.csv", "--score", "indel"),
        "numbers, and --score indel .*--key-type text",
        files={"t.csv": XY},
    ),
    "a width without a kernel": Case(
        ("pool", "1", "--data", "t.csv", "--score", "dot", "--bandwidth", "1"),
        "--score dot has none",
        files={"t.csv": XY},
    ),
    "lengths past the keys": Case(
        ("pool", "1", "--data", "t.csv", "--valid-lens", "4"),
        "--valid-lens has 4, and there are 3 keys",
        files={"t.csv": XY},
    ),
    "lengths of another shape": Case(
        ("pool", "1", "--data", "t.csv", "--valid-lens", "1,2"),
        r"--valid-lens of shape \(2,\) for 1 quer",
        files={"t.csv": XY},
    ),
    "lengths below 0": Case(
        ("pool", "1", "--data", "t.csv", "--valid-lens", "l.npy"),
        "--valid-lens has -2, ",
        files={"t.csv": XY, "l.npy": _npy(np.array([-2]))},
    ),
    "a Jacobian of an average": Case(
        ("pool", "1", "--data", "t.csv", "--jacobian", "--mode", "average"),
        "--jacobian is of softmax",
        files={"t.csv": XY},
    ),
    "no query": Case(("pool", "--data", "t.csv"), "no query; give", files={"t.csv": XY}),
    "a matrix over the cap": Case(
        ("pool", "--self", "--keys", "k.npy", "--weights", "w.npy"),
        r"weights of shape \(70000, 70000\) would take 18.3 GiB, over the cap of 8 GiB",
        "w.npy",
        files={"k.npy": _npy(np.ones((70_000, 1), np.float32))},
        output="w.npy",
    ),
    "a key that is no number": Case(
        ("pool", "1", "--keys", "k.npy", "-o", "out.npy"),
        r"NaN or infinity at index \[1, 0\]",
        "k.npy",
        files={"k.npy": _npy(np.array([[1.0], [math.nan]]))},
        output="out.npy",
    ),
    "a value that is no number": Case(
        ("pool", "1", "--keys", "k.npy", "--values", "v.npy"),
        r"NaN or infinity at index \[1, 0\]",
        "v.npy",
        files={"k.npy": _npy(np.ones((2, 1))), "v.npy": _npy(np.array([[1.0], [math.inf]]))},
    ),
    "a query that is no number": Case(
        ("pool", "--keys", "k.npy", "--queries", "q.npy"),
        r"NaN or infinity at index \[0, 0\]",
        "q.npy",
        files={"k.npy": _npy(np.ones((2, 1))), "q.npy": _npy(np.array([[math.nan]]))},
    ),
    "shapes that do not fit": Case(
        ("pool", "1", "--keys", "k.npy", "--values", "v.npy"),
        r"\(2, 1\) and values of shape \(3, 1\)",
        "v.npy",
        files={"k.npy": _npy(np.ones((2, 1))), "v.npy": _npy(np.ones((3, 1)))},
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line(name: str, tmp_path: Path) -> None:
    check(BAD[name], tmp_path, terminal=False)
