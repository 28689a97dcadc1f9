"""Learned metrics beside those of scikit-learn and metric-learn: how well, and how fast.

python -m benchmarks.metrics

Times are seconds of the processor in fits alone, medians.

Needs scikit-learn and metric-learn (``pip install scikit-learn metric-learn``); a peer that is not
installed is left out.
"""

from __future__ import annotations

import time
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.preprocessing import StandardScaler

import qkvcli

SEEDS, DIVISIONS = range(3), range(10)
"""Of digits, and of the small tables."""


def main() -> None:
    warnings.simplefilter("ignore")
    friedman = datasets.make_friedman1(500, noise=1.0, random_state=0)
    for name, (x, y) in (
        ("Friedman-1", friedman),
        ("diabetes", datasets.load_diabetes(return_X_y=True)),
    ):
        regression(name, x, y)
    for name in ("wine", "iris", "breast_cancer"):
        classes(name)
    digits()


def digits() -> None:
    """To two dimensions, three neighbours, half for training."""
    x, y = datasets.load_digits(return_X_y=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in SEEDS:
        a, b, c, d = train_test_split(x, y, test_size=0.5, stratify=y, random_state=seed)
        kept = a.std(axis=0) > 0
        a, b = a[:, kept], b[:, kept]
        for name, fit in _projections(2, len(set(y)) - 1).items():
            begun = time.process_time()
            project = fit(a, c)
            took = time.process_time() - begun
            score = KNeighborsClassifier(3).fit(project(a), c).score(project(b), d)
            found.setdefault(name, []).append((score, took))
    _show("digits to two dimensions, three neighbours", found)


def classes(name: str) -> None:
    """To two dimensions, three neighbours, a third for testing."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in DIVISIONS:
        a, b, c, d = train_test_split(x, y, test_size=0.33, stratify=y, random_state=seed)
        for peer, fit in _projections(2, len(set(y)) - 1).items():
            begun = time.process_time()
            project = fit(a, c)
            took = time.process_time() - begun
            score = KNeighborsClassifier(3).fit(project(a), c).score(project(b), d)
            found.setdefault(peer, []).append((score, took))
    _show(f"{name} to two dimensions, three neighbours", found)


def _projections(rank: int, most: int) -> dict[str, Any]:
    def scaled(made: Any) -> Any:
        def fit(x: Any, y: Any) -> Any:
            scaler = StandardScaler().fit(x)
            model = made().fit(scaler.transform(x), y)
            return lambda some: model.transform(scaler.transform(some))

        return fit

    def learned(x: Any, y: Any) -> Any:
        model: Any = qkvcli.Database(x, [str(label) for label in y]).learn(rank=rank)
        return lambda some: some @ model.key_map.T

    found = {
        "PCA": scaled(lambda: PCA(rank)),
        "LDA": scaled(lambda: LinearDiscriminantAnalysis(n_components=min(rank, most))),
        "scikit-learn's NCA": scaled(
            lambda: NeighborhoodComponentsAnalysis(rank, random_state=0, max_iter=100)
        ),
    }
    if find_spec("metric_learn"):
        from metric_learn import MLKR, NCA, _util

        for check in ("check_array", "check_X_y"):  # a parameter of another name since 1.8
            setattr(_util, check, _renamed(getattr(_util, check)))
        found["metric-learn's NCA"] = scaled(lambda: NCA(n_components=rank, random_state=0))
        found["metric-learn's MLKR"] = scaled(lambda: MLKR(n_components=rank, random_state=0))
    return found | {"qkv": learned}


def _renamed(check: Any) -> Any:
    """Return a check of scikit-learn that takes a parameter by its former name, too."""

    def call(*words: Any, **named: Any) -> Any:
        if "force_all_finite" in named:
            named["ensure_all_finite"] = named.pop("force_all_finite")
        return check(*words, **named)

    return call


def regression(name: str, x: Any, y: Any) -> None:
    """Five-fold R²."""
    found: dict[str, list[tuple[float, float]]] = {}
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        deviation = x[train].std(axis=0)
        ways: dict[str, Any] = {
            "ridge": lambda a, b, c, s=deviation: RidgeCV().fit(a / s, b).predict(c / s),
            "one width (cv)": lambda a, b, c, s=deviation: _one_width(a / s, b, c / s),
        }
        for label, how in (
            ("qkv diagonal", {"metric": "diagonal"}),
            ("qkv rank 2", {"rank": 2}),
            ("qkv rank 4", {"rank": 4}),
            ("qkv full", {"metric": "full"}),
        ):
            ways[label] = lambda a, b, c, how=how: _learned(a, b, c, how)
        for label, way in ways.items():
            begun = time.process_time()
            wrong = np.square(way(x[train], y[train], x[test]) - y[test]).sum()
            took = time.process_time() - begun
            spread = np.square(y[test] - y[test].mean()).sum()
            found.setdefault(label, []).append((1 - wrong / spread, took))
    _show(f"{name}, five-fold R²", found)


def _learned(x: Any, y: Any, asked: Any, how: dict[str, Any]) -> Any:
    database = qkvcli.Database(x, y)
    return database.attend(asked, model=database.learn(**how)).output[:, 0]


def _one_width(x: Any, y: Any, asked: Any) -> Any:
    """Return predictions by one width for all columns, the best by leave-one-out."""
    from qkvcli.run.metric import metric_loss, squared_error

    values = ((y - y.mean()) / y.std())[:, None]
    widths = np.geomspace(0.1, 10, 60)
    losses = [
        metric_loss(np.eye(x.shape[1]) / width, x, values, squared_error)[0] for width in widths
    ]
    best = float(widths[int(np.argmin(losses))])
    return qkvcli.Database(x, y).attend(asked, score="gaussian", bandwidth=best).output[:, 0]


def _show(title: str, found: dict[str, list[tuple[float, float]]]) -> None:
    print(title)
    for name, runs in found.items():
        scores, times = zip(*runs, strict=True)
        print(f"  {name}: {np.mean(scores):.3f} ({np.median(times):.2f} s)", flush=True)


if __name__ == "__main__":
    main()
