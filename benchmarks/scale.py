"""Cost against size: time and memory of whole processes from 10⁴ to 10⁷ keys.

python -m benchmarks scale --figure docs/images/scale.svg

The slope is that of what keys cost beyond the first 10⁵, by which threads run and buffers have
been touched, fitted from 10⁶ keys on, on logarithmic scales: 1 is linear. An approximate lookup may
cost less: the best keys so far spare work on later ones.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.support.paired import QKV, Bench, Command, Cost, medians, run

SIZES = (10_000, 100_000, 1_000_000, 3_000_000, 6_000_000, 10_000_000)
BASE, LARGE = 100_000, 1_000_000
QUERIES, WIDTH = 64, 16
HEATMAP_QUERIES = 64
SLOPE, FLAT = 0.05, 30


def softmax(bench: Bench, keys: int) -> Command:
    """Return a lookup of one name in a CSV file, to which every key matters."""
    return [QKV, "lookup", "lipten", "--data", bench.data("names.csv", keys), "--mode", "softmax"]


def approximate(bench: Bench, keys: int) -> Command:
    """Return a lookup of the ten names nearest to one."""
    command = softmax(bench, keys)
    return [*command[:-1], "approximate", "--neighbors", "10"]


def pool(bench: Bench, keys: int) -> Command:
    """Return attention pooling of 64 queries on vectors of width 16."""
    sizes = ((keys, WIDTH, 1), (keys, WIDTH, 2), (QUERIES, WIDTH, 3))
    k, v, q = (bench.data("vectors.npy", *size) for size in sizes)
    return [QKV, "pool", "--keys", k, "--values", v, "--queries", q, "-o", "pooled.npy"]


def heatmap(bench: Bench, keys: int) -> Command:
    """Return a drawing of the weights of 64 queries on all keys."""
    return [QKV, "heatmap", bench.data("weights.npy", HEATMAP_QUERIES, keys), "-o", "drawn.svg"]


COMMANDS = {
    "lookup": softmax,
    "lookup, approximate": approximate,
    "pool": pool,
    "heatmap": heatmap,
}


def main() -> None:
    """Measure each command at each size, fit, print and plot."""
    with Bench(__doc__, runs=9, figure="draw time and memory against size here") as bench:
        found = {
            name: measure(bench, name, command)
            for name, command in COMMANDS.items()
            if bench.wants(name)
        }
        bench.foot()
    if bench.extra["figure"]:
        draw(found, bench.extra["figure"])


def measure(bench: Bench, name: str, command: object) -> dict[int, Cost]:
    """Return the costs by size; print them, the slope and the growth of memory."""
    print(f"\n| {name}: keys | time, s | CPU, s | CPU a key, µs | peak, MiB |")
    print("| ---: | ---: | ---: | ---: | ---: |", flush=True)
    commands = {keys: command(bench, keys) for keys in SIZES}
    for keys in SIZES:
        run(commands[keys])
    turns = [{keys: run(commands[keys])[0] for keys in SIZES} for _ in range(bench.runs)]
    costs = {keys: medians(turn[keys] for turn in turns) for keys in SIZES}
    start = costs[SIZES[0]]
    for keys, cost in costs.items():
        each = 1e6 * (cost.cpu - start.cpu) / keys if keys > SIZES[0] else math.nan
        print(f"| {keys:,} | {cost.wall:.2f} | {cost.cpu:.2f} | {each:.3f} | {cost.mib:.0f} |")
    large = [keys for keys in SIZES if keys >= LARGE]
    fitted = [BASE, *large]
    slopes = {
        "time": slope(fitted, [costs[keys].wall for keys in fitted]),
        "CPU": slope(fitted, [costs[keys].cpu for keys in fitted]),
    }
    grown = costs[large[-1]].mib - costs[large[0]].mib
    verdicts = [f"{what} slope {found:.2f} ({verdict(found)})" for what, found in slopes.items()]
    flat = "held" if abs(grown) <= FLAT else "missed"
    bench.note(f"{name}: {', '.join(verdicts)}; memory {grown:+.0f} MiB from 10⁶ to 10⁷ ({flat})")
    return costs


def verdict(found: float) -> str:
    """Say whether a slope is that of a line."""
    if round(abs(found - 1), 2) <= SLOPE:
        return "held"
    return "below linear" if found < 1 else "missed"


def slope(sizes: list[int], costs: list[float]) -> float:
    """Return the least-squares slope of log cost on log size, both beyond those of the first."""
    size, cost = np.array(sizes[1:]) - sizes[0], np.array(costs[1:]) - costs[0]
    return float(np.polyfit(np.log(size), np.log(cost), 1)[0]) if cost.min() > 0 else math.nan


def draw(found: dict[str, dict[int, Cost]], path: str) -> None:
    """Draw processor time and peak memory against the number of keys."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "qkv", "svg.fonttype": "none"})
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for name, costs in found.items():
        keys = list(costs)
        time.loglog(keys, [cost.cpu for cost in costs.values()], marker="o", label=name)
        memory.semilogx(keys, [cost.mib for cost in costs.values()], marker="o", label=name)
    time.set(xlabel="keys", ylabel="processor time, s", title="Time of a whole process")
    memory.set(xlabel="keys", ylabel="peak, MiB", title="Memory of a whole process", ylim=(0, None))
    time.legend(frameon=False)
    for axes in (time, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
