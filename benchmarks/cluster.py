"""What runs a fold, side by side: one process, two threads, two processes, a Dask cluster of two.

    python -m benchmarks cluster [--rows 5000000] [--width 64] [--names 5000000] [--rounds 5]

Data is made in a temporary folder (rows x width x 4 bytes) and the cluster is local, so that only
the machinery is measured. Ratios are of medians, the rounds of all taken in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import dask
import numpy as np
from distributed import LocalCluster

from qkvcli.attention.fold import Plan
from qkvcli.attention.weights import Weighting
from qkvcli.blocks import Queries
from qkvcli.run.choose import Workers
from qkvcli.run.cluster import connected
from qkvcli.run.work import Local, fold
from qkvcli.scores.text import TextScore
from qkvcli.scores.vector import VectorScore
from qkvcli.sources.store import open_store
from qkvcli.sources.table import TableOptions

if TYPE_CHECKING:
    from qkvcli.run.work import Executor

CHUNK = 1 << 16


def vectors(folder: Path, rows: int, width: int) -> str:
    path = folder / "keys.npy"
    random = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    for start in range(0, rows, CHUNK):
        out[start : start + CHUNK] = random.random((min(CHUNK, rows - start), width), np.float32)
    out.flush()
    return str(path)


def names(folder: Path, rows: int) -> str:
    path = folder / "names.csv"
    random = np.random.default_rng(0)
    parts = np.array(
        [
            "ander",
            "berg",
            "char",
            "dahl",
            "ers",
            "feld",
            "gar",
            "hol",
            "ing",
            "jon",
            "kov",
            "lund",
            "man",
            "nor",
            "ov",
        ]
    )
    with path.open("w") as out:
        out.write("surname,number\n")
        for start in range(0, rows, CHUNK):
            some = parts[random.integers(0, len(parts), (min(CHUNK, rows - start), 3))]
            out.writelines(f"{a}{b}{c},{start}\n" for a, b, c in some.tolist())
    return str(path)


def timed(executor: Executor, path: str, queries: Queries, plan: Plan) -> tuple[float, Any]:
    (source,) = open_store(path, TableOptions(value_type="text"), keys=_keys(path)).heads
    began = time.perf_counter()
    (answer,) = fold(source.blocks(), queries, [plan], executor)
    return time.perf_counter() - began, (answer.output.tobytes(), answer.best_rows.tobytes())


def _keys(path: str) -> str | None:
    return path if path.endswith(".npy") else None


def compare(
    title: str, ways: dict[str, Executor], asked: tuple[str, Queries, Plan], rounds: int
) -> None:
    path, queries, plan = asked
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = set()
    for executor in ways.values():  # once untimed: processes import, and files are in the cache
        timed(executor, path, queries, plan)
    for _ in range(rounds):
        for name, executor in ways.items():
            took, answer = timed(executor, path, queries, plan)
            seconds[name].append(took)
            found.add(answer)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{title}: {'the same bytes' if len(found) == 1 else 'ANSWERS DIFFER'}")
    for name, median in medians.items():
        others = [f"{median / m:5.2f} of {other}" for other, m in medians.items() if other != name]
        print(f"  {name:13} {1000 * median:8.0f} ms   {', '.join(others)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("rows", 5_000_000), ("width", 64), ("names", 5_000_000)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(1)
    # Dask's nanny has malloc hand every freed buffer back, and fresh memory is slow to touch.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
    dask.config.set({"distributed.nanny.pre-spawn-environ": threads})
    with (
        tempfile.TemporaryDirectory() as place,
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as local,
        connected(local.scheduler_address) as cluster,
    ):
        folder = Path(place)
        ways: dict[str, Executor] = {
            "one thread": Local(),
            "two threads": Local(2),
            "Dask, two": cluster,
        }
        cut = {**ways, "two processes": Workers(2)}  # what is read in partitions
        if options.rows:
            keys = random.random((options.queries, options.width), np.float32)
            queries = Queries(tuple(map(str, range(len(keys)))), keys)
            plan = Plan(VectorScore("scaled-dot"), Weighting("softmax", 1.0), perplexity=True)
            asked = vectors(folder, options.rows, options.width), queries, plan
            compare(f"pool, {options.rows:,} x {options.width}", ways, asked, options.rounds)
        if options.names:
            path = names(folder, options.names)
            text = Queries(("q",), ["bergmanson"])
            plan = Plan(TextScore("indel-winkler"), Weighting("approximate", 0.1), records=True)
            title = f"lookup -m approximate, CSV of {options.names:,} names"
            compare(title, cut, (path, text, plan), options.rounds)
            plan = Plan(TextScore("indel-winkler"), Weighting("softmax", 0.1), top=10, records=True)
            title = f"lookup -m softmax, CSV of {options.names:,} names"
            compare(title, cut, (path, text, plan), options.rounds)


if __name__ == "__main__":
    main()
