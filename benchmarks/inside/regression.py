"""Gaussian regression by turns with statsmodels: TURNS POINTS regress, or TURNS POINTS cv.

statsmodels answers 500 queries, and its cost is multiplied; cv is the width by leave-one-out.
"""

from __future__ import annotations

import sys

import numpy as np
from turns import by_turns, show

from qkvcli import attend

try:
    from statsmodels.nonparametric.kernel_regression import KernelReg
except ImportError:
    KernelReg = None
SOME = 500
WIDTH = 0.1


def main() -> None:
    """Measure one case."""
    runs, points, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    random = np.random.default_rng(0)
    x = 5 * random.random((points, 1))
    y = 2 * np.sin(x) + x + random.normal(0, 0.5, x.shape)
    (regress if what == "regress" else choose)(runs, x, y)


def regress(runs: int, x: np.ndarray, y: np.ndarray) -> None:
    """Ask as many queries as there are points."""
    narrow = [array.astype(np.float32) for array in (x[::-1], x, y)]
    how = {"score": "gaussian", "bandwidth": WIDTH, "workers": 2, "perplexity": False}
    costs = by_turns(runs, {"qkv": lambda: attend(*narrow, **how)}, warm=False)
    notes = []
    if KernelReg:
        theirs = KernelReg(y[:, 0], x, "c", "lc", bw=[WIDTH])
        some = narrow[0][:SOME].astype(np.float64)
        name = f"statsmodels, {SOME} queries × {len(x) // SOME}"
        spent = by_turns(1, {name: lambda: theirs.fit(some)}, warm=False)[name][0]
        costs[name] = [[spent[0] * len(x) / SOME, spent[1] * len(x) / SOME, spent[2]]]
        error = np.abs(attend(*narrow, **how).output[:SOME, 0] - theirs.fit(some)[0]).max()
        notes.append(f"largest difference from statsmodels' float64: {error:.0e}")
    show(costs, notes)


def choose(runs: int, x: np.ndarray, y: np.ndarray) -> None:
    """Choose a width, and answer one query with it."""
    query = x[:1]
    how = {"score": "gaussian", "bandwidth": "cv", "workers": 2}
    costs = by_turns(runs, {"qkv": lambda: attend(query, x, y, **how)})
    if KernelReg:
        name = "statsmodels, cv_ls"
        costs |= by_turns(
            1, {name: lambda: KernelReg(y[:, 0], x, "c", "lc", bw="cv_ls")}, warm=False
        )
    show(costs)


if __name__ == "__main__":
    main()
