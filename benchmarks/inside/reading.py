"""Read a CSV of numbers by turns with NumPy and Polars: TURNS FILE COLUMNS."""

from __future__ import annotations

import os
import sys

import numpy as np
from turns import by_turns, show

from qkvcli.sources.store import open_table
from qkvcli.sources.table import TableOptions

os.environ["POLARS_MAX_THREADS"] = "2"
try:
    import polars as pl
except ImportError:
    pl = None
FILE, COLUMNS = sys.argv[2], int(sys.argv[3])
KEYS = tuple(str(i) for i in range(1, COLUMNS))


def qkv() -> float:
    """Read block after block."""
    blocks = open_table(FILE, TableOptions(key=KEYS, header=False)).blocks()
    return sum(float(block.keys.sum() + block.values().sum()) for block in blocks)


readers = {"qkv": qkv, "numpy.loadtxt": lambda: np.loadtxt(FILE, delimiter=",").sum()}
if pl:
    readers["Polars"] = lambda: pl.read_csv(FILE, has_header=False).to_numpy().sum()
sums = [read() for read in readers.values()]
assert np.allclose(sums, sums[0]), sums
show(by_turns(int(sys.argv[1]), readers))
