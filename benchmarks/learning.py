"""What it costs to learn a score of text: whole processes, and a step of the minimiser.

python -m benchmarks learning
"""

from __future__ import annotations

import time

from benchmarks.support.paired import QKV, Bench, run

EXAMPLES, KEYS = 10_000, 100_000
SECONDS, MIB = 300, 512
QUERIES, LISTED, WIDTH = (1_000, 2_000, 4_000, 8_000, 16_000), (25, 50, 100), 28
_TURNS = 5


def main() -> None:
    """Measure 10,000 misspelt names learned among 100,000, and steps of several sizes."""
    with Bench(__doc__, runs=1) as bench:
        if bench.wants("process"):
            process(bench)
        if bench.wants("step"):
            steps()


def process(bench: Bench) -> None:
    """Learn from misspelt names, read from files."""
    keys = bench.data("people.csv", KEYS)
    asked = bench.data("examples.csv", EXAMPLES, KEYS)
    out = f"{bench.folder}/model.json"
    where = ("--data", keys, "--key", "name", "--queries", asked, "--query-key", "typed")
    cost, _ = run([QKV, "learn", *where, "--truth", "name", "-o", out])
    verdict = "held" if cost.wall <= SECONDS and cost.mib <= MIB else "missed"
    print(f"{EXAMPLES:,} examples among {KEYS:,} keys: {cost.wall:.0f} s, {cost.cpu:.0f} s of CPU, "
          f"{cost.mib:.0f} MiB (≤ {SECONDS} s, ≤ {MIB} MiB: {verdict})", flush=True)  # fmt: skip


def steps() -> None:
    """Print the time of a loss and its gradient by examples and candidates, and its slope."""
    import numpy as np

    from qkvcli.run.examples import Examples

    draw, sizes, times = np.random.default_rng(0), [], []
    print("\n| examples | candidates | a step, ms | a pair, ns |\n| ---: | ---: | ---: | ---: |")
    for queries in QUERIES:
        for listed in LISTED:
            pairs = queries * listed
            some = Examples(
                draw.random((pairs, WIDTH), np.float32),
                np.full(queries, listed),
                np.arange(pairs) % listed == 0,
                np.ones(queries, np.bool_),
                np.ones(queries),
            )
            taken = []
            for _ in range(_TURNS):
                begun = time.process_time()
                some.loss(np.ones(WIDTH + 1), 1.0)
                taken.append(time.process_time() - begun)
            sizes.append(pairs)
            times.append(float(np.median(taken)))
            print(f"| {queries:,} | {listed} | {1e3 * times[-1]:.1f} "
                  f"| {1e9 * times[-1] / pairs:.0f} |", flush=True)  # fmt: skip
    slope = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    print(f"\nThe time of a step grows as (examples × candidates)^{slope:.2f}.")


if __name__ == "__main__":
    main()
