"""The long round, of new files each time: ``python -m tests.fuzz --rounds 100000``."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.harness import run
from tests.fuzz.seeds import SEEDS

STEP = 5_000


def _is_frame(line: str) -> bool:
    return line.startswith("  File ")


def main() -> int:
    """Fuzz and print what is found; return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100_000, help="files of each format")
    parser.add_argument("--first", type=int, help="the first seed; a new one each time, and said")
    parser.add_argument("--format", choices=sorted(SEEDS), action="append", dest="forms")
    given = parser.parse_args()
    start = random.SystemRandom().randrange(1 << 32) if given.first is None else given.first
    print(f"seeds from {start}: --first {start} breaks the same files", flush=True)
    kinds: set[str] = set()
    for form in given.forms or SEEDS:
        began = time.monotonic()
        for first in range(start, start + given.rounds, STEP):
            rounds = min(STEP, start + given.rounds - first)
            for finding in run(form, rounds, first):
                lines = finding.what.strip().splitlines()
                kind = lines[-1].partition(":")[0] + next(filter(_is_frame, lines[::-1]), "")
                if kind not in kinds:
                    kinds.add(kind)
                    print(f"--- {form}, seed {finding.seed}\n{finding.data!r}\n{finding.what}")
        print(f"{form}: {given.rounds} files in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
