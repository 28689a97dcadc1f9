"""Print the ten keys of FILE.csv nearest to QUERY by rapidfuzz.process.extract."""

import csv
import sys

from rapidfuzz.distance import JaroWinkler
from rapidfuzz.process import extract

with open(sys.argv[1], newline="") as lines:
    reader = csv.reader(lines)
    next(reader)
    keys = [row[0] for row in reader]
for key, score, row in extract(sys.argv[2], keys, scorer=JaroWinkler.similarity, limit=10):
    print(key, row, score, sep="\t")
