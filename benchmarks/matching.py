"""Joins of names: how fast, beside RapidFuzz's cdist, and how well, on tables with known answers.

python -m benchmarks matching

The names are US surnames and as many random words; a hundred thousand of them are mistyped and
joined to all of them with ``--min-score 0.8``. ``cdist`` compares every pair, with the same
cut-off and two threads. The fifty tables of the package ``autofj`` are measured where it is
installed (``pip install --no-deps autofj``).
"""

from __future__ import annotations

import os
import random
from importlib.util import find_spec

from benchmarks.support.paired import QKV, Bench, Reach, script

ROWS = 100_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main() -> None:
    """Measure whole processes, and then how well names are found."""
    with Bench(__doc__) as bench:
        bench.has("names") or bench.note("the data are made from the package names")
        bench.head()
        clean = bench.data("census.csv")
        with open(clean) as lines:
            names = [line.split(",")[0].strip().lower() for line in lines][1:]
        draw = random.Random(3)
        names += ["".join(draw.choices(LETTERS, k=draw.randint(5, 10))) for _ in range(ROWS)]
        keys = _written("keys.csv", names[:ROWS])
        for count in (5_000, ROWS):
            queries = _written(
                "queries.csv", [_typo(draw, draw.choice(names[:ROWS])) for _ in range(count)]
            )
            ours = [QKV, "lookup", "--queries", queries, "--data", keys, "--key", "name"]
            ours += ["--min-score", "0.8", "--join", "-o", "joined.csv"]
            peer = {
                "cdist": (
                    script("peers/cdist_best.py", queries, keys),
                    Reach(ratio=0.2 if count == ROWS else None),
                )
            }
            case = f"join, {count:,} × {ROWS:,}"
            if bench.wants(case):
                bench.compare(case, ours, peer, runs=1 if count == ROWS else 3)
        bench.foot()
    if find_spec("autofj") is None:
        print("(AutoFJ's tables are left out: pip install --no-deps autofj)")
        return
    from benchmarks.support.matching import figures_of_autofj

    for score in ("tokens", "ngrams", "token-set", "indel-winkler", "jaro-winkler", "osa"):
        print(f"{score}: {figures_of_autofj(score=score)}", flush=True)


def _typo(draw: random.Random, word: str) -> str:
    at, letter = draw.randrange(len(word)), draw.choice(LETTERS)
    changed = (
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at + 1 :],
    )
    return draw.choice(changed) or word


def _written(name: str, words: list[str]) -> str:
    with open(name, "w") as out:
        out.write("name\n" + "\n".join(words) + "\n")
    return os.path.abspath(name)


if __name__ == "__main__":
    main()
