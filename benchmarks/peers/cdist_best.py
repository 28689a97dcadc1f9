"""The best key of each query by RapidFuzz's cdist, a few hundred queries at a time: QUERIES KEYS."""

import sys

import numpy as np
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

with open(sys.argv[1]) as lines:
    queries = lines.read().split()[1:]
with open(sys.argv[2]) as lines:
    keys = lines.read().split()[1:]
best = []
for at in range(0, len(queries), 250):
    scores = cdist(
        queries[at : at + 250],
        keys,
        scorer=OSA.normalized_similarity,
        score_cutoff=0.8,
        dtype=np.float32,
        workers=2,
    )
    best += scores.argmax(axis=1).tolist()
with open("best.csv", "w") as out:
    out.writelines(f"{query},{keys[row]}\n" for query, row in zip(queries, best, strict=True))
