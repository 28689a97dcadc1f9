"""Kernel regression, beside statsmodels, R's locpoly and lowess: time and error in one run.

python -m benchmarks fits

Every program fits the same noisy curve at the rows themselves. A peer that is not installed is left
out. Ratios are of a program's time to that of qkv; the error is root mean square to the true curve.
The last lines hold sums of two key columns against NumPy's own ``exp`` of so many numbers.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qkvcli import Database

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 3
_LOCPOLY = """
library(KernSmooth)
rows <- read.csv("rows.csv")
for (turn in 1:3) {
  took <- system.time(fit <- locpoly(rows$x, rows$y, degree = 1, bandwidth = %r))[["elapsed"]]
  cat(took, "\\n")
}
write.table(approx(fit$x, fit$y, rows$x, rule = 2)$y, "fit.txt", row.names = FALSE, col.names = FALSE)
"""


def curve(x: np.ndarray) -> np.ndarray:
    """Return the book's curve."""
    return 2 * np.sin(x) + x


def timed(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the median time of some turns, and what was returned."""
    times, found = [], np.empty(0)
    for _ in range(TURNS):
        start = time.perf_counter()
        found = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), found


def locpoly(x: np.ndarray, y: np.ndarray, width: float) -> tuple[float, np.ndarray] | None:
    """Return the time and the fit of R's binned local line; None without R or KernSmooth."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        rows = np.column_stack([x, y])
        np.savetxt(Path(folder) / "rows.csv", rows, "%.17g", ",", header="x,y", comments="")
        (Path(folder) / "fit.R").write_text(_LOCPOLY % width)
        done = subprocess.run(
            ["Rscript", "fit.R"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None
        times = [float(word) for word in done.stdout.split()]
        return statistics.median(times), np.loadtxt(Path(folder) / "fit.txt")


def statsmodels(x: np.ndarray, y: np.ndarray, width: float) -> tuple[float, np.ndarray]:
    """Return the time and the fit of KernelReg's local line."""
    from statsmodels.nonparametric.kernel_regression import KernelReg

    model = KernelReg(y, x, "c", "ll", bw=[width])
    return timed(lambda: model.fit()[0])


def lowess(x: np.ndarray, y: np.ndarray, width: float) -> tuple[float, np.ndarray]:
    """Return the time and the fit of statsmodels' lowess, which seaborn draws."""
    from statsmodels.nonparametric.smoothers_lowess import lowess as smooth

    share = min(1.0, 4 * width / np.ptp(x))
    return timed(lambda: smooth(y, x, frac=share, it=0, return_sorted=False))


def main() -> None:
    """Measure fits of several sizes, and sums of two key columns."""
    print("| rows | program | time, s | ratio | error |\n| ---: | --- | ---: | ---: | ---: |")
    for count in (1_000, 10_000, 100_000):
        rng = np.random.default_rng(count)
        x = np.sort(rng.uniform(0, 5, count))
        y = curve(x) + rng.normal(0, 0.5, count)
        base = Database(x[:, None], y)
        width = 0.6 * count ** (-1 / 5)
        how = {"score": "gaussian", "bandwidth": width, "degree": 1, "perplexity": False}
        mine = timed(lambda base=base, x=x, how=how: base.attend(x[:, None], **how).output[:, 0])
        found = {"qkv": mine, "locpoly (binned)": locpoly(x, y, width)}
        if find_spec("statsmodels"):
            found["lowess, no robust turns"] = lowess(x, y, width)
            if count <= 1_000:
                found["KernelReg"] = statsmodels(x, y, width)
        for name, result in found.items():
            if result is None:
                print(f"(R with KernSmooth is not installed: {name} is left out)", file=sys.stderr)
                continue
            took, fit = result
            error = np.sqrt(np.mean((fit - curve(x)) ** 2))
            print(f"| {count:,} | {name} | {took:.3g} | {took / mine[0]:.2f} | {error:.4f} |")
    dense()


def dense() -> None:
    """Hold sums of two key columns against NumPy's ``exp`` of so many numbers."""
    rng = np.random.default_rng(0)
    keys, values = rng.uniform(0, 5, (30_000, 2)), rng.normal(size=30_000)
    base = Database(keys, values)
    how = {"score": "gaussian", "bandwidth": 0.3, "perplexity": False}
    numbers = -rng.uniform(0, 20, 1 << 18)
    out = np.empty_like(numbers)

    def plain() -> np.ndarray:
        for _ in range(len(keys) ** 2 >> 18):
            np.exp(numbers, out=out)
        return out

    ours, _ = timed(lambda: base.attend(keys, **how).output)
    theirs, _ = timed(plain)
    print(f"\ntwo columns, 30,000 x 30,000: {ours:.2f} s, {ours / theirs:.2f} of np.exp's time")
    for workers in (1, 2):
        ours, _ = timed(lambda n=workers: base.attend(keys, workers=n, **how).output)
        print(f"with {workers} workers: {ours:.2f} s, {ours / theirs:.2f} (reach: 1.5)")


if __name__ == "__main__":
    main()
