"""Numeric tables and kernel regression, beside NumPy, Polars and statsmodels.

python -m benchmarks numbers
"""

from __future__ import annotations

from benchmarks.support.paired import QKV, Bench, Reach, script

ROWS, COLUMNS = 1_000_000, 9


def main() -> None:
    """Measure reading alone, a process that reads and answers, a regression, and a width."""
    with Bench(__doc__) as bench:
        bench.has("polars")
        bench.has("statsmodels")
        bench.head()
        if bench.wants("reading"):
            reading(bench)
        if bench.wants("regression"):
            points = 100_000
            costs = bench.inside(
                f"regression, {points:,} × {points:,}", "regression.py", points, "regress"
            )
            seconds, cpu, _ = costs["qkv"]
            verdict = "held" if seconds <= 6 else "missed"
            bench.note(f"regression: {seconds:.1f} s, {cpu:.1f} s of CPU (≤ 6 s: {verdict})")
        if bench.wants("width by cv"):
            bench.inside(
                "width by cv, 2,000 points",
                *("regression.py", 2_000, "cv"),
                reach={"statsmodels, cv_ls": Reach(ratio=0.05)},
            )
        bench.foot()


def reading(bench: Bench) -> None:
    """Read a million rows of nine numbers."""
    path = bench.data("numbers.csv", ROWS, COLUMNS)
    reach = {"numpy.loadtxt": Reach(ratio=1.3)}
    bench.inside("reading 1M × 9", "reading.py", path, COLUMNS, reach=reach)
    query = ",".join("0" * (COLUMNS - 1))
    keys = ",".join(map(str, range(1, COLUMNS)))
    ours = [QKV, "pool", query, "--data", path, "--no-header", "--key", keys, "--bandwidth", "1"]
    theirs = script("peers/loadtxt_gaussian.py", path, 1, query)
    bench.compare(
        "process: reading 1M × 9, one answer",
        ours,
        {"loadtxt and NumPy": (theirs, Reach(ratio=1.3))},
    )


if __name__ == "__main__":
    main()
