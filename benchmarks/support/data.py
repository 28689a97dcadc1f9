"""The data of the benchmarks, generated the same on every machine.

python benchmarks/support/data.py names OUT.csv 1000000
"""

from __future__ import annotations

import os
import random
import sys
from importlib.util import find_spec

LETTERS = "abcdefghijklmnopqrstuvwxyz"
AT_ONCE = 100_000


def _surnames() -> list[list[str]]:
    """Return the rows of the census of the package ``names``: name, percent, cumulative, rank."""
    place = find_spec("names")
    if place is None:
        sys.exit("the package names is not installed: pip install '.[bench]'")
    with open(os.path.join(os.path.dirname(place.origin), "dist.all.last")) as lines:
        return [line.split() for line in lines]


def census(path: str) -> None:
    """Write the 88,799 surnames of the census."""
    with open(path, "w") as out:
        out.write("name,percent,cumulative,rank\n")
        out.writelines(f"{name.title()},{','.join(row)}\n" for name, *row in _surnames())


def names(path: str, rows: int) -> None:
    """Write surnames with two letters more, and numbers."""
    known = [row[0].title() for row in _surnames()]
    chosen = random.Random(1)
    endings = [a + b for a in LETTERS for b in LETTERS]
    with open(path, "w") as out:
        out.write("name,number\n")
        for start in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - start)
            stems, ends = chosen.choices(known, k=count), chosen.choices(endings, k=count)
            both = zip(stems, ends, range(start, start + count), strict=True)
            out.writelines(f"{stem}{end},{number}\n" for stem, end, number in both)


def misspelt(path: str, count: int) -> None:
    """Write surnames with one letter wrong, a line each."""
    chosen = random.Random(2)
    with open(path, "w") as out:
        for name, *_ in chosen.sample(_surnames(), count):
            at = chosen.randrange(len(name))
            out.write(f"{name[:at].title()}{chosen.choice(LETTERS)}{name[at + 1 :].lower()}\n")


def _people(count: int) -> list[str]:
    """Return forenames with surnames, all different."""
    chosen, known = random.Random(4), [row[0].title() for row in _surnames()]
    found = dict[str, None]()
    while len(found) < count:
        found[f"{chosen.choice(known[:5000])} {chosen.choice(known)}"] = None
    return list(found)


def people(path: str, count: int) -> None:
    """Write different names of two words, a line each."""
    with open(path, "w") as out:
        out.write("name\n")
        out.writelines(f"{name}\n" for name in _people(count))


def examples(path: str, count: int, among: int) -> None:
    """Write some of so many people with two letters wrong, and as they are called."""
    chosen = random.Random(5)
    with open(path, "w") as out:
        out.write("typed,name\n")
        for name in chosen.sample(_people(among), count):
            typed = list(name)
            for at in chosen.sample(range(len(name)), 2):
                typed[at] = chosen.choice(("", chosen.choice(LETTERS), 2 * typed[at]))
            out.write(f"{''.join(typed)},{name}\n")


def numbers(path: str, rows: int, columns: int) -> None:
    """Write normal numbers with six decimals, without a header."""
    chosen = random.Random(3)
    with open(path, "w") as out:
        out.writelines(
            ",".join([f"{chosen.gauss(0, 1):.6f}" for _ in range(columns)]) + "\n"
            for _ in range(rows)
        )


def vectors(path: str, rows: int, columns: int, seed: int) -> None:
    """Write an ``.npy`` of normal float32 numbers, of shape (rows, columns)."""
    import numpy as np

    chosen = np.random.default_rng(seed)
    with open(path, "wb") as out:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(out, shape)
        for start in range(0, rows, AT_ONCE):
            size = (min(AT_ONCE, rows - start), columns)
            chosen.standard_normal(size, dtype=np.float32).tofile(out)


def weights(path: str, *shape: int) -> None:
    """Write rows of softmax weights of random scores: the least compressible there are."""
    import numpy as np

    scores = np.exp(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    with open(path, "wb") as out:
        np.save(out, scores / scores.sum(axis=-1, keepdims=True))


if __name__ == "__main__":
    makers = (census, names, misspelt, people, examples, numbers, vectors, weights)
    {make.__name__: make for make in makers}[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
