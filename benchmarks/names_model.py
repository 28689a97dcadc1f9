"""Train the model ``names`` that comes with the package, and measure it.

python -m benchmarks.names_model [OUT]

The examples are the 25 tables of AutoFJ at odd places of the alphabet (``pip install --no-deps
autofj``), of which each counts alike, and typing errors made in surnames of the US census that are
rarer than the 30,000 most frequent (``pip install names``). Measured on the 25 other tables. With
OUT the model is written there, else to ``qkvcli/models/names.json``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import qkvcli
from benchmarks.support.matching import figures_of_autofj, tables
from qkvcli.run import learn
from qkvcli.run.choose import executor
from qkvcli.run.examples import Examples
from qkvcli.scores.model import TextModel, write

TYPOS, TYPOS_COUNT = 1_000, 3
"""How many typing errors are made, and as how many tables they count."""
FREQUENT = 30_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    start = time.perf_counter()
    parts = [
        (_examples(qkvcli.Database.open(data, key="title", value="id"), asked, "title", "id=id"), 1)
        for data, asked in tables()[0::2]
    ]
    parts.append((_typos(), TYPOS_COUNT))
    found = [replace(some, weight=some.weight * count / len(some)) for some, count in parts]
    print(f"features of examples: {time.perf_counter() - start:.1f} s", flush=True)
    training = learn.Training(validate=0.1)
    first = TextModel(learn.FIRST, learn.TEMPERATURE)
    learned = learn.learn_text(Examples.joined(found), first, training)
    print(f"learned after {time.perf_counter() - start:.1f} s from {learned.examples} examples")
    for name, after in learned.after.items():
        print(f"  {name}: {learned.before[name]:.3f} before, {after:.3f} after")
    data = "25 tables of AutoFJ at odd places, and made typing errors of US census surnames"
    model = replace(learned.model, trained={"data": data, **learned.model.trained})
    out = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "qkvcli" / "models" / "names.json")
    with open(out, "w") as file:
        file.write(write(model))
    for name, scoring in (("tokens", {}), ("names, every best key", {"model": out, "null_score": 0.0}),
                          ("names, with its null score", {"model": out})):  # fmt: skip
        begun = time.perf_counter()
        figures = figures_of_autofj(places=slice(1, None, 2), **scoring)
        print(f"{name}: {figures} ({time.perf_counter() - begun:.1f} s)", flush=True)


def _examples(
    database: qkvcli.Database, asked: dict[str, list[str]], key: str, truth: str
) -> Examples:
    with executor(1) as runner:
        found = database.examples(asked, truth, runner, query_key=key)
    return found[0]


def _typos() -> Examples:
    import names

    lines = (Path(names.__file__).parent / "dist.all.last").read_text().splitlines()
    known = [line.split()[0].lower() for line in lines]
    draw, every = random.Random(16), set(known)
    chosen = draw.sample(known[FREQUENT:], TYPOS)
    pairs = [(typo, name) for name in chosen if (typo := _typo(draw, name)) not in every]
    draw.shuffle(known)
    asked = {"name": [typo for typo, _ in pairs], "right": [name for _, name in pairs]}
    return _examples(qkvcli.Database(known), asked, "name", "right")


def _typo(draw: random.Random, word: str) -> str:
    """Return a word with a letter more, less, replaced, doubled, swapped, or a vowel replaced."""
    at, letter = draw.randrange(len(word)), draw.choice(LETTERS)
    swap = min(at, len(word) - 2)
    vowels = [i for i, one in enumerate(word) if one in "aeiou"]
    vowel = draw.choice(vowels) if vowels else at
    changed = (
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:swap] + word[swap : swap + 2][::-1] + word[swap + 2 :],
        word[:vowel] + draw.choice("aeiou") + word[vowel + 1 :],
    )
    return draw.choice(changed)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
