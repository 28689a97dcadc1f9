"""Fits: sums over sorted keys, local lines, errors and bands, rows without themselves, pictures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli import Database
from qkvcli.attention.fold import Plan, finish, summarise
from qkvcli.attention.sorted_fold import SortedKeys, is_served
from qkvcli.attention.weights import SOFTMAX, Mask, Weighting
from qkvcli.blocks import Queries
from qkvcli.run.cross_validation import cross_validated
from qkvcli.run.work import Local
from qkvcli.scores import KERNELS
from qkvcli.scores.vector import VectorScore
from qkvcli.sources.memory import store_of
from tests.support.command import SAMPLES, run_inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.numeric

SINE = str(SAMPLES / "sine.csv")


def _sine() -> tuple[NDArray[Any], NDArray[Any]]:
    return np.loadtxt(SINE, delimiter=",", skiprows=1).T  # type: ignore[return-value]


def _both(keys: Any, values: Any, at: Any, plan: Plan) -> tuple[Any, Any]:
    """Return what the fold and what sorted keys answer."""
    (source,) = store_of(keys, values).heads
    blocks = [block.load() for block in source.blocks()]
    queries = Queries(tuple(map(str, range(len(at)))), np.asarray(at, np.float64)[:, None])
    (block,) = blocks
    rows = SortedKeys.of(blocks, 10_000)
    assert rows is not None
    folded = finish(summarise(block, queries, plan), plan, queries)
    return folded, finish(rows.state(queries, plan), plan, queries)


# Sums that do not take all pairs, held against those that do ---------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kernel=st.sampled_from(sorted(KERNELS)),
    log_width=st.floats(-3, 2),
    own=st.booleans(),
    whole=st.booleans(),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    degree=st.integers(0, 1),
)
def test_sorted_keys_answer_what_the_fold_answers(
    seed: int,
    kernel: str,
    log_width: float,
    own: bool,
    whole: bool,
    temperature: float,
    degree: int,
) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 300))
    keys = rng.normal(size=count) * 10 + rng.choice([0, 1e6])
    keys = np.round(keys) if whole else keys  # ties, and keys at the edge of a boxcar
    width = 10**log_width if not whole else float(max(1, round(10**log_width)))
    texts = [f"c{n}" for n in rng.integers(0, 3, count)]
    values: Any = rng.normal(size=(count, 2)) * [1, 1e6]
    if not degree and rng.random() < 0.3:
        values = texts
    at = keys if own else rng.uniform(keys.min() - 30, keys.max() + 30, 40)
    plan = Plan(
        VectorScore(kernel, (width,)),
        Weighting(SOFTMAX, temperature),
        Mask(own=np.arange(count)) if own else None,
        perplexity=kernel in {"gaussian", "laplacian", "boxcar"},
        width=0 if isinstance(values, list) else 2,
        text=(0,) if isinstance(values, list) else (),
        degree=degree,
    )
    if not is_served(plan):
        return
    folded, found = _both(keys, values, at, plan)
    np.testing.assert_array_equal(found.answered, folded.answered)
    some = folded.answered
    if degree:  # where a few keys span next to nothing a line is next to anything
        some = some & (np.nan_to_num(folded.steps[:, 1, 0]) > 1e-3 * width**2)
    scale = np.abs(np.asarray(values)).max(axis=0) if folded.output.shape[1] else 1
    np.testing.assert_allclose(
        found.output[some] / scale,
        folded.output[some] / scale,
        rtol=0,
        atol=1e-6 if degree else 1e-9,
    )
    for one, other in zip(found.labels, folded.labels, strict=True):
        np.testing.assert_allclose(one.weights[some], other.weights[some], atol=1e-9)
    if plan.perplexity:
        np.testing.assert_allclose(found.perplexity[some], folded.perplexity[some], rtol=1e-8)


def test_equal_values_pool_to_themselves() -> None:
    rng = np.random.default_rng(1)
    plan = Plan(VectorScore("gaussian", (0.3,)), Weighting(SOFTMAX), width=1)
    _, found = _both(rng.normal(size=5000), np.full(5000, 0.1), rng.normal(size=3000), plan)
    np.testing.assert_array_equal(found.output, 0.1)


def test_values_far_apart_leave_others_alone() -> None:
    rng = np.random.default_rng(2)
    keys = np.sort(rng.uniform(0, 100, 4000))
    values = np.where(keys < 20, 1e12, 1.0) * rng.uniform(1, 2, 4000)
    for kernel in ("boxcar", "epanechnikov", "triangular"):
        plan = Plan(VectorScore(kernel, (0.5,)), Weighting(SOFTMAX), width=1)
        folded, found = _both(keys, values, np.linspace(30, 90, 500), plan)
        # About their mean, values of 1 keep four digits less than alone.
        np.testing.assert_allclose(found.output, folded.output, rtol=1e-3)


def test_many_queries_are_answered_as_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    keys, values = rng.uniform(0, 10, 3000), rng.normal(size=3000)
    base = Database(keys[:, None], values)
    many = base.attend(keys[:, None], score="gaussian", bandwidth=0.2)
    few = base.attend(keys[:100, None], score="gaussian", bandwidth=0.2)
    np.testing.assert_allclose(many.output[:100], few.output, atol=1e-12)
    np.testing.assert_allclose(many.perplexity[:100], few.perplexity, rtol=1e-10)  # type: ignore[index, arg-type]


# Local lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2])
def test_local_lines_are_those_of_statsmodels(columns: int) -> None:
    from statsmodels.nonparametric.kernel_regression import KernelReg

    rng = np.random.default_rng(4)
    keys = rng.uniform(0, 5, (80, columns))
    values = np.sin(keys).sum(axis=1) + rng.normal(0, 0.3, 80)
    widths = [0.6, 0.9][:columns]
    at = rng.uniform(0, 5, (600, columns))  # more than are folded together
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KernelReg(values, keys, "c" * columns, "ll", bw=widths)
        wanted, slopes = model.fit(at)
    found = Database(keys, values).attend(at, score="gaussian", bandwidth=widths, degree=1)
    np.testing.assert_allclose(found.output[:, 0], wanted, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.jacobian[:, 0], slopes.reshape(600, -1), rtol=1e-6, atol=1e-7)  # type: ignore[index]


_LOCPOLY = """
library(KernSmooth)
rows <- read.csv("t.csv")
for (how in list(c(0, 0), c(1, 0), c(1, 1))) {
  fit <- locpoly(rows$x, rows$y, drv = how[2], degree = how[1], bandwidth = 1.5,
                 gridsize = 501, range.x = c(0, 5))
  write.table(format(fit$y, digits = 17), paste0(how[1], how[2], ".txt"),
              row.names = FALSE, col.names = FALSE, quote = FALSE)
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Rscript") is None, reason="there is no R here")
def test_local_lines_are_those_of_locpoly(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    # It puts rows in bins and cuts the Gaussian off at four widths: neither changes rows that lie
    # on its grid, all within four widths.
    x = np.sort(rng.choice(501, 80, replace=False)) / 100
    y = np.sin(x) + rng.normal(0, 0.2, 80)
    np.savetxt(tmp_path / "t.csv", np.column_stack([x, y]), "%.17g", ",", header="x,y", comments="")
    (tmp_path / "fit.R").write_text(_LOCPOLY)
    done = subprocess.run(
        ["Rscript", "fit.R"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if "there is no package called" in done.stderr:
        pytest.skip("KernSmooth is not installed")
    assert done.returncode == 0, done.stderr
    means, lines, slopes = (np.loadtxt(tmp_path / f"{how}.txt") for how in ("00", "10", "11"))
    at = np.linspace(0, 5, 501)[:, None]
    base, how = Database(x[:, None], y), {"score": "gaussian", "bandwidth": 1.5}
    found = base.attend(at, degree=1, **how)  # type: ignore[arg-type]
    np.testing.assert_allclose(base.attend(at, **how).output[:, 0], means, atol=1e-8)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.output[:, 0], lines, rtol=0, atol=1e-8)
    assert found.jacobian is not None
    np.testing.assert_allclose(found.jacobian[:, 0, 0], slopes, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_local_lines_are_least_squares(kernel: str) -> None:
    x, y = _sine()
    at = np.linspace(0.2, 4.8, 300)
    found = Database(x[:, None], y).attend(at[:, None], score=kernel, bandwidth=1.2, degree=1)
    for query, answer in zip(at, found.output[:, 0], strict=True):
        scores = VectorScore(kernel, (1.2,)).scores(np.array([[query]]), x[:, None])[0]
        root = np.sqrt(np.exp(scores))
        design = np.stack([np.ones_like(x), x - query], axis=1) * root[:, None]
        wanted = np.linalg.lstsq(design, y * root, rcond=None)[0]
        assert answer == pytest.approx(wanted[0], rel=1e-8)


def test_a_line_is_fitted_by_a_line_and_ends_without_a_bias() -> None:
    keys = np.linspace(0, 1, 50)
    found = Database(keys[:, None], 3 * keys + 1).attend(
        [[-0.5], [0.0], [1.0]], score="gaussian", bandwidth=0.2, degree=1
    )
    np.testing.assert_allclose(found.output[:, 0], [-0.5, 1, 4], atol=1e-9)
    np.testing.assert_allclose(found.jacobian[:, 0, 0], 3, atol=1e-9)  # type: ignore[index]


# Standard errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov", "triangular", "laplacian"])
def test_standard_errors_by_brute_force(kernel: str, degree: int) -> None:
    x, y = _sine()
    at = np.linspace(0.2, 4.8, 7)

    def lines(queries: NDArray[Any], width: float, degree: int, *, own: bool) -> NDArray[Any]:
        scores = VectorScore(kernel, (width,)).scores(queries[:, None], x[:, None])
        weights = np.exp(scores)
        if own:
            np.fill_diagonal(weights, 0)
        rows = []
        for query, weight in zip(queries, weights, strict=True):
            design = np.stack([np.ones_like(x), x - query][: degree + 1])
            rows.append(np.linalg.solve(design * weight @ design.T, design * weight)[0])
        return np.array(rows)

    left_out = lines(x, 1.0, degree, own=True)
    squares = np.square(left_out @ y - y) / (1 + np.square(left_out).sum(axis=1))
    variance = lines(at, 2.0, 0, own=False) @ squares
    wanted = np.sqrt(np.square(lines(at, 1.0, degree, own=False)).sum(axis=1) * variance)
    found = Database(x[:, None], y).attend(
        at[:, None], score=kernel, bandwidth=1.0, degree=degree, std_error=True
    )
    np.testing.assert_allclose(found.std_error[:, 0], wanted, rtol=1e-8)  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("degree", [0, 1])
def test_bands_hold_the_truth_as_often_as_they_say(degree: int) -> None:
    rng = np.random.default_rng(5)
    functions: list[Callable[[Any], Any]] = [
        lambda x: x - x,
        lambda x: x,
        lambda x: np.sin(2 * x),
        lambda x: x**2 / 4,
        lambda x: np.exp(-x),
    ]
    for truth in functions:
        held = []
        for _ in range(60):
            x = rng.uniform(0, 3, 400)
            y = truth(x) + rng.normal(0, 0.3, 400)
            at = np.linspace(0.5, 2.5, 20)[:, None]
            options: Any = {"bandwidth": 0.1, "degree": degree, "band": 0.95}
            found = Database(x[:, None], y).attend(at, score="gaussian", **options)
            inside = (found.lower <= truth(at)) & (truth(at) <= found.upper)
            held.append(inside.mean())
        assert 0.925 <= np.mean(held) <= 0.975


# Rows without themselves ---------------------------------------------------------------------------


def test_every_row_without_itself() -> None:
    x, y = _sine()
    run = run_inside("pool", "--loo", "--data", SINE, "--bandwidth", "0.5", "--format", "json")
    document = json.loads(run.text)
    weights = np.exp(-np.square((x[:, None] - x) / 0.5) / 2)
    np.fill_diagonal(weights, 0)
    wanted = weights @ y / weights.sum(axis=1)
    np.testing.assert_allclose([q["answer"]["y"] for q in document["queries"]], wanted, rtol=1e-9)
    residuals = [q["y_residual"] for q in document["queries"]]
    np.testing.assert_allclose(residuals, y - wanted, atol=1e-9)
    error = np.square(y - wanted).mean()
    measures = document["leave_one_out"]["y"]
    assert measures["mean_squared_error"] == pytest.approx(error)
    assert measures["r2"] == pytest.approx(1 - error / y.var())
    assert f"mean squared error {error:.6g}, R² {measures['r2']:.6g}" in run.error


def test_classes_have_an_accuracy(tmp_path: Path) -> None:
    path = _iris(tmp_path)
    run = run_inside(
        "pool", "--loo", "--data", path, "--key", "pl,pw", "--value", "species", "--format", "json"
    )
    measures = json.loads(run.text)["leave_one_out"]["species"]
    assert measures["accuracy"] >= 0.93
    assert f"accuracy {measures['accuracy']:.6g}, log loss" in run.error


def _iris(folder: Path) -> str:
    from sklearn.datasets import load_iris

    data = load_iris()
    rows = [
        ",".join([*(f"{x:.1f}" for x in row), data.target_names[kind]])
        for row, kind in zip(data.data, data.target, strict=True)
    ]
    path = folder / "iris.csv"
    path.write_text("\n".join(["sl,sw,pl,pw,species", *rows]) + "\n")
    return str(path)


# The width by itself --------------------------------------------------------------------------------


def test_the_default_width_finds_the_curve_of_the_book() -> None:
    x, _ = _sine()
    queries = [f"{q:g}" for q in np.linspace(x.min(), x.max(), 60)]
    run = run_inside("pool", *queries, "--data", SINE, "--format", "value")
    assert "the default, local lines (--degree 1): --bandwidth cv chose 0.34" in run.error
    assert " for x (leave-one-out mean squared error 0.2358" in run.error
    at = np.array(queries, float)
    mine = np.square(np.array(run.text.split(), float) - (2 * np.sin(at) + at)).mean()
    scott = run_inside(
        "pool", *queries, "--data", SINE, "--format", "value", "--bandwidth", "scott"
    )
    theirs = np.square(np.array(scott.text.split(), float) - (2 * np.sin(at) + at)).mean()
    assert mine < theirs


def test_lines_or_means_whichever_predict_better(put: Callable[[str, str], str]) -> None:
    rng = np.random.default_rng(12)
    keys = np.round(rng.normal(size=(120, 3)), 4)
    level = 3 * keys[:, 0] - keys[:, 1] + rng.normal(0, 0.5, 120)
    steps = np.where(keys[:, 2] > 0, 5.0, 0.0) + np.round(rng.normal(0, 0.1, 120), 3)
    for values, degree, said in ((level, 1, "local lines"), (steps, 0, "the default width")):
        rows = np.column_stack([keys, values]).tolist()
        path = put("t.csv", "a,b,c,y\n" + "".join(",".join(map(str, r)) + "\n" for r in rows))
        run = run_inside(
            "pool", "1,0,0.5", "--data", path, "--key", "*", "--value", "y", "-f", "json"
        )
        assert said in run.error
        document = json.loads(run.text)
        assert document.get("degree", 0) == degree
        same = run_inside(
            *("pool", "1,0,0.5", "--data", path, "--key", "*", "--value", "y", "-f", "json"),
            *("--degree", str(degree), "--bandwidth"),
            ",".join(map(str, document["bandwidth"]["widths"][0])),
        )
        assert json.loads(same.text)["queries"][0]["answer"] == document["queries"][0]["answer"]
        assert "jacobian" not in document["queries"][0]


@pytest.mark.parametrize("asked", ["--weights", "--jacobian", "--causal", "--bandwidth"])
def test_where_weights_are_asked_means_answer(asked: str, tmp_path: Path) -> None:
    more = {"--weights": [str(tmp_path / "w.npz")], "--bandwidth": ["cv"]}.get(asked, [])
    run = run_inside("pool", "2.5", "--data", SINE, "--format", "json", asked, *more)
    assert run.status == 0, run.error
    assert "degree" not in json.loads(run.text)
    if asked == "--weights":
        arrays = np.load(tmp_path / "w.npz")
        x, y = _sine()
        answer = json.loads(run.text)["queries"][0]["answer"]["y"]
        assert (arrays["weights"].reshape(-1) @ y) == pytest.approx(answer)
        assert len(x) == arrays["weights"].size


@pytest.mark.parametrize("kernel", ["gaussian", pytest.param("boxcar", marks=pytest.mark.slow)])
def test_a_sample_finds_the_width_of_many_rows(kernel: str) -> None:
    rng = np.random.default_rng(13)
    x = rng.uniform(0, 5, 8_000)
    y = 2 * np.sin(x) + x + rng.normal(0, 0.5, len(x))
    (source,) = store_of(x[:, None], y).heads
    found = cross_validated(source, kernel, 1.0, Local())
    assert found.error is not None
    base = Database(x[:, None], y)
    for factor in (0.5, 0.8, 1.25, 2):
        width = found.widths[0] * factor
        loo: Any = {"score": kernel, "bandwidth": width, "loo": True, "perplexity": False}
        (measured,) = (base.attend(**loo).measures or {}).values()
        error = measured.mean_squared_error
        assert error is None or error >= found.error * (1 - 1e-6)


def test_where_no_width_can_be_sought_scott_stands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,1\n1,2\n3,4\n")
    run = run_inside("pool", "1", "--data", str(path))
    assert run.status == 0
    assert "default width" in run.error


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_criterion_by_brute_force(columns: int, degree: int) -> None:
    rng = np.random.default_rng(6)
    keys = rng.uniform(0, 5, (60, columns))
    values = np.sin(2 * keys[:, 0]) + rng.normal(0, 0.3, 60)
    (source,) = store_of(keys, values).heads
    found = cross_validated(source, "gaussian", 1.0, Local(), degree, "aicc")

    def criterion(widths: NDArray[Any]) -> float:
        rows = []
        for key in keys:
            step = keys - key
            weight = np.exp(-np.square(step / widths).sum(axis=1) / 2)
            design = np.column_stack([np.ones(60), step])[:, : 1 + columns * degree].T
            rows.append(np.linalg.solve(design * weight @ design.T, design * weight)[0])
        hat = np.array(rows)
        trace, variance = hat.trace(), np.square(values - hat @ values).mean()
        return float(np.log(variance) + (1 + trace / 60) / (1 - (trace + 2) / 60))

    widths = np.array(found.widths)
    assert found.error == pytest.approx(criterion(widths), rel=1e-8)
    assert criterion(widths) <= min(criterion(widths * factor) for factor in (0.9, 1.1))
    if not degree:  # of a line statsmodels takes the trace of a mean
        from statsmodels.nonparametric.kernel_regression import KernelReg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = KernelReg(values, keys, "c" * columns, "lc", bw=list(found.widths))
            theirs = model.aic_hurvich(widths, model.est["lc"])
        assert found.error == pytest.approx(float(np.squeeze(theirs)), rel=1e-8)


# Pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        ("x,y\n1,a\n2,b\n", ("1", "--degree", "1"), "the values 'y' are text"),
        ("x,y\n1,2\n2,3\n", ("1", "--band", "0.9", "--bandwidth", "1"), "it takes 3"),
    ],
)
def test_tables_that_do_not_fit(
    tmp_path: Path, table: str, arguments: tuple[str, ...], message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table)
    run = run_inside("pool", *arguments, "--data", str(path))
    assert run.status == 2
    lines = run.error.splitlines()
    assert re.search(message, lines[-1]), run.error


@pytest.mark.parametrize(
    "table", ["x,y\n1,5\n1,7\n1,6\n", "x,y\n1,5\n2,5\n3,5\n", "x,y\n1,5\n1,7\n2,6\n2,9\n"]
)
@pytest.mark.parametrize("degree", ["0", "1"])
def test_ties_and_equal_values_have_answers(tmp_path: Path, table: str, degree: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table)
    common = ("--data", str(path), "--bandwidth", "0.5", "--degree", degree, "--band", "0.9")
    run = run_inside("pool", "1", "1.4", *common, "--format", "json")
    assert run.status == 0, run.error
    for query in json.loads(run.text)["queries"]:
        assert query["answer"]["y"] is not None
        assert query["y_std_error"] is not None


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_values_whose_squares_are_no_doubles(size: float) -> None:
    keys, values = np.arange(5.0), np.array([3.0, -2, 1, 5, 2])
    asked: Any = {"score": "gaussian", "bandwidth": 1.0, "std_error": True, "degree": 0}
    wanted, found = (
        Database(keys[:, None], values[:, None] * by).pool([[1.5]], **asked) for by in (1.0, size)
    )
    assert wanted.std_error is not None
    assert found.std_error is not None
    assert found.std_error / size == pytest.approx(wanted.std_error, rel=1e-12)


def test_an_error_whose_square_is_no_double_is_refused(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "x,y\n1,1e200\n2,-1e200\n3,1e200\n4,5\n")
    run = run_inside("pool", "--data", path, "--loo")
    assert (run.status, run.text) == (2, "")
    assert run.error == f"qkv: {path}: the squares of its values overflow a double; scale them\n"
