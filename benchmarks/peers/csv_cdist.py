"""One query as a short script would ask it: csv.reader, cdist, the bonus; the scorer is qkv's.

FILE.csv QUERY
"""

import csv
import sys

import numpy as np
from rapidfuzz.distance import Indel, Prefix
from rapidfuzz.process import cdist

with open(sys.argv[1], newline="") as lines:
    reader = csv.reader(lines)
    next(reader)
    rows = list(reader)
query, keys = sys.argv[2].casefold(), [row[0].casefold() for row in rows]
how = {"dtype": np.float64, "workers": 2}
scores = cdist([query], keys, scorer=Indel.normalized_similarity, **how)[0]
prefix = cdist([query], keys, scorer=Prefix.similarity, **how)[0]
scores += 0.1 * np.minimum(prefix, 4) * (1 - scores)
for row in np.argsort(-scores, kind="stable")[:10]:
    print(*rows[row], f"{scores[row]:.6f}", sep="\t")
