"""Heatmaps of the same weights, beside the book's ``show_heatmaps`` with pyplot.

python -m benchmarks heatmap
"""

from __future__ import annotations

import os

from benchmarks.support.paired import PYTHON, QKV, Bench, Reach

# Dive into Deep Learning, 11.1, `show_heatmaps`, saved to a file instead of shown; each panel is
# given the 2.5 inches a side that the book's figure of one panel has.
PEER = """
import sys
import numpy as np
from matplotlib import pyplot as plt

def show_heatmaps(matrices, xlabel, ylabel, titles=None, figsize=(2.5, 2.5), cmap="Reds"):
    num_rows, num_cols, _, _ = matrices.shape
    fig, axes = plt.subplots(num_rows, num_cols, figsize=figsize, sharex=True, sharey=True,
                             squeeze=False)
    for i, (row_axes, row_matrices) in enumerate(zip(axes, matrices)):
        for j, (ax, matrix) in enumerate(zip(row_axes, row_matrices)):
            pcm = ax.imshow(matrix, cmap=cmap)
            if i == num_rows - 1:
                ax.set_xlabel(xlabel)
            if j == 0:
                ax.set_ylabel(ylabel)
            if titles:
                ax.set_title(titles[j])
    fig.colorbar(pcm, ax=axes, shrink=0.6)

matrices = np.load(sys.argv[1])
rows, columns = matrices.shape[:2]
show_heatmaps(matrices, "Keys", "Queries",
              figsize=(2.5 * columns, 2.5 * rows))
plt.savefig(sys.argv[2])
"""

# rows, columns, Q, K; the format; at most this share of the peer's time, and of its file
CASES = (
    ((1, 1, 10, 10), "svg", 0.35, None),
    ((1, 1, 64, 64), "svg", 0.35, None),
    ((1, 1, 512, 512), "svg", None, None),
    ((1, 1, 2048, 2048), "svg", 0.5, None),
    ((12, 12, 64, 64), "svg", 0.05, 0.2),
    ((1, 1, 10, 10), "png", 1.1, None),
    ((12, 12, 64, 64), "png", 0.3, None),
)


def main() -> None:
    """Draw every case by turns; the sizes of the files stand under the table."""
    with Bench(__doc__, runs=7) as bench:
        bench.head()
        for shape, form, slowest, largest in CASES:
            case = f"{shape[0] * shape[1]} of {shape[2]} × {shape[3]}, {form}"
            if not bench.wants(case):
                continue
            source = bench.data("weights.npy", *shape)
            ours, theirs = f"qkv.{form}", f"pyplot.{form}"
            there = [PYTHON, "-c", PEER, source, theirs]
            reach = Reach(ratio=slowest)
            bench.compare(case, [QKV, "heatmap", source, "-o", ours], {"pyplot": (there, reach)})
            sizes = [os.path.getsize(path) for path in (ours, theirs)]
            share = sizes[0] / sizes[1]
            verdict = "" if largest is None else " (missed)" if share > largest else " (held)"
            bench.note(
                f"{case}: {sizes[0] / 1e3:,.0f} kB, pyplot's {sizes[1] / 1e3:,.0f} kB, "
                f"ratio {share:.2f}{verdict}"
            )
        bench.foot()


if __name__ == "__main__":
    main()
