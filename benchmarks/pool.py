"""Attention pooling of vectors, beside PyTorch's scaled_dot_product_attention.

python -m benchmarks pool

Both have two threads. In one process memory is what a call touches beyond its arguments.
"""

from __future__ import annotations

from benchmarks.support.paired import QKV, Bench, Reach, run, script

WIDTH = 64
MILLION = 1_000_000


def main() -> None:
    """Measure calls in one process, then whole processes."""
    with Bench(__doc__) as bench:
        if not bench.has("torch"):
            return
        bench.head()
        for kind, queries, keys, reach in (
            ("plain", 1, 5 * MILLION, Reach(ratio=0.65, mib=64)),
            # Somewhere above two million keys PyTorch's kernel takes a way ten times as slow.
            ("plain", 16, 2 * MILLION, Reach(ratio=0.8, mib=64)),
            ("plain", 16, 5 * MILLION, Reach(ratio=0.8, mib=64)),
            ("plain", 256, MILLION, Reach(ratio=1.0, mib=64)),
            ("plain", 4096, 100_000, Reach(ratio=1.2, mib=64)),
            ("peaked", 16, MILLION, Reach(ratio=2)),
            ("peaked", 256, 200_000, Reach(ratio=2)),
            ("perplexity", 256, MILLION, Reach()),
            ("causal", 2048, 2048, Reach()),
            ("masked", 512, 20_000, Reach()),
        ):
            case = f"{kind}, {queries} × {keys:,}"
            if bench.wants(case):
                bench.inside(case, "attention.py", queries, keys, kind, reach={"SDPA": reach})
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
