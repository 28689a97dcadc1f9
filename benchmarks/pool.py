"""Attention pooling of vectors, beside PyTorch's scaled_dot_product_attention.

python -m benchmarks pool

Both have two threads. In one process memory is what a call touches beyond its arguments.
"""

from __future__ import annotations

from benchmarks.support.paired import (
    QKV,
    Bench,
    Reach,
    instruction_sets,
    run,
    script,
    shown_sets,
)

WIDTH = 64
MILLION = 1_000_000


# A peer's time to reach on this machine, and with AVX2 only.
CASES: tuple[tuple[str, int, int, float | None, float | None], ...] = (
    ("plain", 1, 5 * MILLION, 0.65, 0.65),
    # Somewhere above two million keys PyTorch's kernel takes a way ten times as slow.
    ("plain", 16, 2 * MILLION, 0.85, 0.85),
    ("plain", 16, 5 * MILLION, 0.85, 0.85),
    ("plain", 256, MILLION, 1.0, 1.2),
    ("plain", 4096, 100_000, 1.2, 1.4),
    ("causal", 2048, 2048, 2, 2),
    ("peaked", 16, MILLION, 2, 2),
    ("peaked", 256, 200_000, 2, 2),
    ("perplexity", 256, MILLION, None, None),
    ("masked", 512, 20_000, None, None),
)


def main() -> None:
    """Measure calls in one process, on what the machine has and as with AVX2, then processes."""
    with Bench(__doc__) as bench:
        if not bench.has("torch"):
            return
        for number, (name, env) in enumerate(instruction_sets().items()):
            print(f"### {name}: {shown_sets(env)}\n")
            bench.head()
            for kind, queries, keys, *ratios in CASES:
                case = f"{kind}, {queries} × {keys:,}"
                if bench.wants(case):
                    reach = Reach(ratio=ratios[min(number, 1)], mib=64 if kind == "plain" else None)
                    bench.inside(
                        case, "attention.py", queries, keys, kind, reach={"SDPA": reach}, env=env
                    )
            bench.foot()
        bench.head()
        for queries in (1, 16, 256):
            case = f"processes on .npy, {queries} × 1,000,000"
            if bench.wants(case):
                files = _files(bench, queries, MILLION)
                peers = {"np.load and SDPA": (_theirs(files), Reach(ratio=0.35))}
                bench.compare(case, _ours(files), peers)
        memory(bench)
        bench.foot()


def memory(bench: Bench) -> None:
    """Say how the peak of memory of a process grows with the keys."""
    if not bench.wants("memory"):
        return
    for queries in (1, 256):
        peaks = [
            run(_ours(_files(bench, queries, keys)))[0].mib
            for keys in (1_000, MILLION, 5 * MILLION)
        ]
        verdict = "held" if max(peaks) - peaks[0] <= 64 else "missed"
        bench.note(
            f"peak memory of a process, {queries} queries: {peaks[0]:.0f}, {peaks[1]:.0f} and "
            f"{peaks[2]:.0f} MiB at 1 thousand, 1 million and 5 million keys "
            f"(reach: at most 64 MiB more): {verdict}"
        )


def _files(bench: Bench, queries: int, keys: int) -> list[str]:
    sizes = ((keys, WIDTH, 1), (keys, WIDTH, 2), (queries, WIDTH, 3))
    return [bench.data("vectors.npy", *size) for size in sizes]


def _ours(files: list[str]) -> list[str]:
    k, v, q = files
    return [QKV, "pool", "--keys", k, "--values", v, "--queries", q, "-o", "ours.npy"]


def _theirs(files: list[str]) -> list[str]:
    return script("peers/sdpa_files.py", *files, "theirs.npy")


if __name__ == "__main__":
    main()
