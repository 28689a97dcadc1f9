"""Widths by cross-validation, held against leaving one row out by brute force."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial import distance

from qkvcli import QkvError
from qkvcli.fitted import Bandwidth
from qkvcli.run import cross_validation
from qkvcli.run.bandwidth import by_rule, given
from qkvcli.run.cross_validation import LeaveOneOut, cross_validated
from qkvcli.run.fit import LEAST_CHANCE
from qkvcli.run.work import Local
from qkvcli.scores import KERNELS
from qkvcli.sources.memory import store_of
from tests.support import reference
from tests.support.command import SAMPLES, run_qkv
from tests.support.folds import attend
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


def _left_out(
    keys: NDArray[Any], values: Any, widths: Sequence[float], kernel: str, temperature: float = 1.0
) -> float:
    """Return the leave-one-out error: mean squared, or the mean log-loss of text."""
    scores = reference.vector_scores(kernel, keys, keys, widths) / temperature
    np.fill_diagonal(scores, -np.inf)
    with np.errstate(invalid="ignore"):
        rows = special.softmax(scores, axis=1)
    if np.isnan(rows).any():
        return np.inf
    if isinstance(values, list):
        chances = (rows * np.equal.outer(values, values)).sum(axis=1)
        return float(-np.log(np.maximum(chances, LEAST_CHANCE)).mean())
    return float(np.square(rows @ values - values).sum(axis=1).mean())


def _chosen(
    keys: Any, values: Any, kernel: str = "gaussian", temperature: float = 1.0
) -> Bandwidth:
    source = store_of(keys, values).heads[0]
    return cross_validated(source, kernel, temperature, Local())


def _check(
    found: Bandwidth, keys: NDArray[Any], values: Any, kernel: str, temperature: float = 1.0
) -> None:
    """Hold the error against brute force, and the width against its neighbours."""
    assert found.rule == "cv"
    assert found.error is not None
    error = _left_out(keys, values, found.widths, kernel, temperature)
    np.testing.assert_allclose(found.error, error, rtol=1e-9)
    for factor in np.geomspace(0.8, 1.25, 11):
        for column in range(len(found.widths)):
            widths = list(found.widths)
            widths[column] *= factor
            trial = _left_out(keys, values, widths, kernel, temperature)
            assert trial >= error * (1 - 1e-3), (widths, trial, error)


def _sine() -> tuple[NDArray[Any], NDArray[Any]]:
    table = np.loadtxt(SAMPLES / "sine.csv", delimiter=",", skiprows=1)
    return table[:, :1], table[:, 1:]


@pytest.mark.numeric
@pytest.mark.parametrize("kernel", ["gaussian", "laplacian", "triangular", "epanechnikov"])
def test_cross_validation_of_the_book_s_points(kernel: str) -> None:
    keys, values = _sine()
    _check(_chosen(keys, values, kernel), keys, values, kernel)


@pytest.mark.numeric
def test_cross_validation_of_two_columns() -> None:
    rng = np.random.default_rng(1)
    keys = rng.uniform(-1, 1, (90, 2)) * [1, 100]
    values = (np.sin(4 * keys[:, :1]) + 0.002 * keys[:, 1:]) + rng.normal(0, 0.1, (90, 1))
    found = _chosen(keys, values)
    _check(found, keys, values, "gaussian")
    assert found.widths[1] / found.widths[0] > 100  # the second column says less


@pytest.mark.numeric
def test_cross_validation_of_several_values_and_a_temperature() -> None:
    rng = np.random.default_rng(2)
    keys = rng.normal(size=(60, 1))
    values = np.concatenate([keys**2, np.cos(3 * keys)], axis=1) + rng.normal(0, 0.2, (60, 2))
    _check(_chosen(keys, values), keys, values, "gaussian")
    warm = _chosen(keys, values, temperature=4.0)
    _check(warm, keys, values, "gaussian", 4.0)
    # A temperature of 4 is a width of 2 for a Gaussian.
    np.testing.assert_allclose(warm.widths[0] * 2, _chosen(keys, values).widths[0], rtol=1e-3)


@pytest.mark.numeric
@pytest.mark.parametrize("columns", [1, 2])
def test_cross_validation_of_text_values_by_log_loss(columns: int) -> None:
    rng = np.random.default_rng(3)
    keys = rng.normal(size=(80, columns))
    odds = keys.sum(axis=1) + rng.normal(0, 0.6, 80)
    texts = ["low" if x < -0.5 else "high" if x > 0.5 else "mid" for x in odds]
    _check(_chosen(keys, texts), keys, texts, "gaussian")


@pytest.mark.numeric
@pytest.mark.parametrize("columns", [1, 2, 9])  # beyond 8 distances come from products
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_errors_are_those_of_brute_force(kernel: str, text: bool, columns: int) -> None:
    rng = np.random.default_rng(6)
    keys = rng.normal(size=(40, columns)) * np.geomspace(1, 100, columns) + 1000
    keys[3] += 4 * keys.std(axis=0)  # far from all others
    values = np.sin(keys[:, :1]) + rng.normal(0, 0.2, (40, 1))
    # One text occurs once, and cannot be foretold.
    texts = ["once" if i == 7 else "up" if v > 0 else "down" for i, v in enumerate(values[:, 0])]
    shown = texts if text else values
    source = store_of(keys, shown).heads[0]
    scott = np.array(by_rule("scott", source).widths)
    left_out = LeaveOneOut(source, kernel, 0.7, Local())
    errors = []
    for factor in np.geomspace(0.02, 20, 12):
        errors.append(left_out.error(scott * factor))
        wanted = _left_out(keys, shown, scott * factor, kernel, 0.7)
        np.testing.assert_allclose(errors[-1], wanted, rtol=1e-9)
    assert np.isfinite(errors).any()


def _brute_errors(
    keys: NDArray[Any], values: Any, kernel: str, widths: NDArray[Any]
) -> NDArray[Any]:
    """Return leave-one-out errors of one key column by widths, with SciPy's distances."""
    apart = distance.cdist(keys, keys)
    found = []
    for width in widths:
        squares = np.square(apart / width)
        weights = {
            "gaussian": np.exp(-squares / 2),
            "laplacian": np.exp(-np.sqrt(squares)),
            "boxcar": (squares <= 1) * 1.0,
            "triangular": np.maximum(0, 1 - np.sqrt(squares)),
            "epanechnikov": np.maximum(0, 1 - squares),
        }[kernel]
        np.fill_diagonal(weights, 0)
        total = weights.sum(axis=1)
        if not total.all():
            found.append(np.inf)
        elif isinstance(values, list):
            chance = (weights * np.equal.outer(values, values)).sum(axis=1) / total
            found.append(-np.log(np.maximum(chance, LEAST_CHANCE)).mean())
        else:
            found.append(np.square(weights @ values / total[:, None] - values).sum(axis=1).mean())
    return np.array(found)


SPREADS: dict[str, Callable[[np.random.Generator], NDArray[Any]]] = {
    "even": lambda rng: rng.uniform(0, 5, (150, 1)),
    "Cauchy": lambda rng: np.tan(np.pi * (rng.random((150, 1)) - 0.5)),
    "clustered": lambda rng: np.concatenate(
        [rng.normal(at, 0.01, (50, 1)) for at in (0, 100, 1000)]
    ),
}


@pytest.mark.parametrize(
    ("text", "kernel", "spread"),
    mostly_slow(itertools.product([False, True], KERNELS, SPREADS), 7),  # each a few times
)
def test_no_width_of_a_wider_grid_does_better(kernel: str, spread: str, text: bool) -> None:
    rng = np.random.default_rng(7)
    keys = SPREADS[spread](rng)
    values = 2 * np.sin(3 * keys) + np.clip(keys, -5, 5) + rng.normal(0, 0.5, keys.shape)
    shown = ["up" if v > np.median(values) else "down" for v in values[:, 0]] if text else values
    found = _chosen(keys, shown, kernel)
    assert found.error is not None
    gaps = np.diff(np.sort(keys[:, 0]))
    grid = np.geomspace(gaps[gaps > 0].min(), 20 * np.ptp(keys), 2000)
    best = _brute_errors(keys, shown, kernel, grid).min()
    # A staircase has no slope to follow: its lowest step may be missed by a hundredth.
    slack = 0.01 if kernel == "boxcar" else 1e-4
    assert found.error <= best + slack * abs(best), (found, best)


@pytest.mark.numeric
def test_a_width_at_the_edge_says_so(put: Callable[..., str]) -> None:
    rng = np.random.default_rng(9)
    keys = rng.uniform(size=(60, 1))
    noise = rng.normal(size=(60, 1))
    assert _chosen(keys, noise).at_edge  # the widest is best where there is nothing to see
    assert not _chosen(*_sine()).at_edge
    rows = "".join(f"{k},{v}\n" for k, v in zip(keys[:, 0], noise[:, 0], strict=True))
    run = run_qkv("pool", "1", "--data", put("n.csv", "x,y\n" + rows), "--bandwidth", "cv")
    assert (run.status, run.error.count("\n")) == (0, 1)
    assert "it is at the edge of what is tried" in run.error


@pytest.mark.numeric
@pytest.mark.parametrize("text", [False, True])
def test_workers_do_not_change_the_width(text: bool) -> None:
    rng = np.random.default_rng(8)
    keys = rng.normal(size=(600, 2))
    values = np.sin(3 * keys[:, :1]) + rng.normal(0, 0.2, (600, 1))
    shown = ["up" if v > 0 else "down" for v in values[:, 0]] if text else values
    source = store_of(keys, shown).heads[0]
    one, three = (cross_validated(source, "gaussian", 1.0, Local(n)) for n in (1, 3))
    assert one == three


@pytest.mark.numeric
def test_numbers_that_are_not_finite_are_named() -> None:
    keys, values = _sine()
    values[5] = np.nan
    with pytest.raises(QkvError, match=r"values: NaN or infinity at index \[5, 0\]"):
        _chosen(keys, values)


@pytest.mark.numeric
def test_cross_validation_agrees_with_statsmodels() -> None:
    import warnings

    from statsmodels.nonparametric.kernel_regression import KernelReg

    keys, values = _sine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = KernelReg(values[:, 0], keys[:, 0], "c", reg_type="lc", bw="cv_ls").bw[0]
    found = _chosen(keys, values)
    ours, theirs = (_left_out(keys, values, [h], "gaussian") for h in (found.widths[0], peer))
    assert ours <= theirs * (1 + 1e-6)


def test_the_command_says_the_width_and_its_error() -> None:
    keys, values = _sine()
    chosen = _chosen(keys, values)
    assert chosen.error is not None
    path = str(SAMPLES / "sine.csv")
    run = run_qkv("pool", "1", "--data", path, "--bandwidth", "cv", "--format", "json")
    assert run.status == 0
    (line,) = run.error.splitlines()
    match = re.search(
        r"cv chose ([0-9.]+) for x \(leave-one-out mean squared error ([0-9.]+)\)", line
    )
    assert match
    np.testing.assert_allclose(float(match[1]), chosen.widths[0], rtol=1e-5)
    np.testing.assert_allclose(float(match[2]), chosen.error, rtol=1e-5)
    document = json.loads(run.out)
    assert document["bandwidth"] == {
        "rule": "cv",
        "widths": [list(chosen.widths)],
        "error": [chosen.error],
    }
    found = attend([[1.0]], keys, values, score="gaussian", bandwidth="cv")
    answer = document["queries"][0]["answer"]["y"]
    np.testing.assert_allclose(answer, found.output[0, 0], rtol=1e-13)


@pytest.mark.numeric
def test_each_head_has_a_width_of_its_own() -> None:
    rng = np.random.default_rng(4)
    keys = rng.normal(size=(2, 50, 1)) * [[[1.0]], [[10.0]]]
    values = np.sin(keys) + rng.normal(0, 0.1, (2, 50, 1))
    for rule in ("scott", "cv"):
        whole = attend([[0.5]], keys, values, score="gaussian", bandwidth=rule)
        for head in range(2):
            one = attend([[0.5]], keys[head], values[head], score="gaussian", bandwidth=rule)
            np.testing.assert_array_equal(whole.output[head], one.output)


@pytest.mark.numeric
@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("columns", [1, 3])
def test_rules_are_scipys_over_blocks_of_a_large_array(rule: str, columns: int) -> None:
    rng = np.random.default_rng(5)
    keys = rng.normal(1e6, 1, size=(150_000, columns)) * np.arange(1, columns + 1)
    found = by_rule(rule, store_of(keys).heads[0])
    factor = stats.gaussian_kde(keys.T, bw_method=rule).factor
    np.testing.assert_allclose(found.widths, factor * keys.std(axis=0, ddof=1), rtol=1e-9)
    assert found.rule == rule


@pytest.mark.numeric
@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1, -3.3e-7, 0.0])
@pytest.mark.parametrize("rule", ["scott", "silverman", "cv"])
def test_a_constant_column_is_named_whatever_its_rounding(rule: str, constant: float) -> None:
    keys = np.column_stack([np.arange(70_001.0), np.full(70_001, constant)])
    with pytest.raises(QkvError, match=r"^keys: the key column 2 is constant, so .* give"):
        attend([[1.0, 1.0]], keys, keys[:, 0], score="gaussian", bandwidth=rule)


@pytest.mark.numeric
def test_widths_that_are_given() -> None:
    assert given([0.5], 3) == Bandwidth((0.5,))
    assert given([0.5, 1, 2], 3) == Bandwidth((0.5, 1, 2))
    with pytest.raises(QkvError, match="`bandwidth` has 2 widths for 3 key columns"):
        given([1.0, 2.0], 3)
    for widths in ([0.0], [-1.0], [float("nan")], [float("inf")], [], 0, "wide", [[1.0]]):
        with pytest.raises(QkvError, match=r"^`bandwidth`"):
            attend([1.0], [1.0, 2.0], score="gaussian", bandwidth=widths)


@pytest.mark.numeric
@pytest.mark.slow
def test_a_row_far_from_all_others_gets_a_neighbour(put: Callable[..., str]) -> None:
    path = put("far.csv", "x,y\n" + "".join(f"{x},{x % 3}\n" for x in [*range(1000), 10**9]))
    run = run_qkv("pool", "1", "--data", path, "--score", "boxcar", "--bandwidth", "cv")
    assert run.status == 0
    width = float(re.findall(r"cv chose (\S+) ", run.error)[0])
    assert width > 10**9 - 1000


def test_too_many_rows_for_cross_validation_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_validation, "LINE_CAP", 39)
    with pytest.raises(QkvError, match=r"40 rows are over the cap of 39 for `bandwidth='cv'`"):
        _chosen(*_sine())
