"""``qkvcli.attend`` by turns with PyTorch's kernel, on the same arrays, with two threads each.

TURNS QUERIES KEYS KIND, a kind being plain, peaked, causal, masked or perplexity.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import numpy as np

# Threads of PyTorch's that wait by turning would take the processor from the next turn, ours. Its
# own time stays the same.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from turns import by_turns, show

from qkvcli import attend

WIDTH = 64


def main() -> None:
    """Measure one case."""
    runs, queries, keys = map(int, sys.argv[1:4])
    kind = sys.argv[4]
    torch.set_num_threads(2)
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((n, WIDTH), np.float32) for n in (queries, keys, keys))
    if kind == "peaked":
        q *= 100
    mask = random.random((queries, keys)) < 0.5 if kind == "masked" else None
    causal = kind == "causal"
    ours = partial(
        attend,
        *(q, k, v),
        workers=2,
        perplexity=kind == "perplexity",
        mask=mask,
        causal=causal,
    )
    theirs = partial(
        torch.nn.functional.scaled_dot_product_attention,
        *(torch.from_numpy(array)[None, None] for array in (q, k, v)),
        attn_mask=None if mask is None else torch.from_numpy(mask)[None, None],
        is_causal=causal,
    )
    costs = by_turns(runs, {"qkv": ours, "SDPA": theirs})
    some = slice(0, min(64, queries))
    exact = reference(q[some], k, v, mask, causal=causal)
    found = {"qkv": ours().output, "SDPA": theirs()[0, 0].numpy()}
    scale = np.abs(exact).max()
    errors = [f"{who} {np.abs(x[some] - exact).max() / scale:.0e}" for who, x in found.items()]
    show(costs, [f"largest error over the largest value, against float64: {', '.join(errors)}"])


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, *, causal: bool
) -> np.ndarray:
    """Return the answer to some queries in float64, one at a time."""
    rows = []
    for number, query in enumerate(q.astype(np.float64)):
        scores = np.concatenate([part @ query for part in np.array_split(k, 64)]) / WIDTH**0.5
        if mask is not None:
            scores[~mask[number]] = -np.inf
        if causal:
            scores[number + 1 :] = -np.inf
        weights = np.exp(scores - scores.max())
        total = sum(
            w @ x for w, x in zip(np.array_split(weights, 64), np.array_split(v, 64), strict=True)
        )
        rows.append(total / weights.sum())
    return np.array(rows)


if __name__ == "__main__":
    main()
