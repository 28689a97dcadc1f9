"""Mutation testing as a task: ``python -m tests.mutation``, all of it or a seeded sample per file."""

from __future__ import annotations

import argparse
import glob
import json
import math
import os
import random
import subprocess
import sys

_NOT_KILLED = {0, 2, 5, 33, 34}
"""mutmut's exit statuses of a mutant that survived, was not reached or was not tried to the end;
any other is that of a test that failed or hung."""


def _results() -> dict[str, dict[str, int | None]]:
    """Return what became of each mutant, by source file."""
    found = {}
    for path in sorted(glob.glob("mutants/qkvcli/**/*.meta", recursive=True)):
        with open(path, encoding="utf-8") as stream:
            statuses = json.load(stream)["exit_code_by_key"]
        if statuses:
            found[path.removeprefix("mutants/").removesuffix(".meta")] = statuses
    return found


def _mutmut(*names: str) -> None:
    command = [os.path.join(os.path.dirname(sys.executable), "mutmut"), "run", *names]
    subprocess.run(command, check=True)


def _counts(statuses: dict[str, int | None]) -> tuple[int, int, int]:
    """Return how many mutants there are, were tried and were killed."""
    tried = [status for status in statuses.values() if status is not None]
    return len(statuses), len(tried), sum(status not in _NOT_KILLED for status in tried)


def _report() -> None:
    """Show each file's share of killed mutants, and that of all, each file counted by its size.

    What a random sample leaves open is shown at 95 %; it is nothing where all were tried.
    """
    print(f"{'':34} {'all':>6} {'tried':>6} {'killed':>6}")
    total = tried_in_all = killed_in_all = 0
    expected = variance = 0.0
    for name, statuses in _results().items():
        count, tried, killed = _counts(statuses)
        share = killed / tried if tried else 0.0
        spread = share * (1 - share) / tried * (1 - tried / count) if tried else 0.25
        print(f"{name:34} {count:6} {tried:6} {killed:6} {_percent(share, spread)}")
        total, tried_in_all, killed_in_all = (
            total + count,
            tried_in_all + tried,
            killed_in_all + killed,
        )
        expected += count * share
        variance += count**2 * spread
    share, spread = expected / total, variance / total**2
    print(f"{'':34} {total:6} {tried_in_all:6} {killed_in_all:6} {_percent(share, spread)}")


def _percent(share: float, variance: float) -> str:
    return f"{100 * share:6.1f} % ± {196 * math.sqrt(variance):4.1f}"


def main() -> None:
    """Try mutants and show how many of each file's were killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants of each file, not all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--report", action="store_true", help="show the last results alone")
    options = parser.parse_args()
    if options.report:
        _report()
        return
    if options.sample is None:
        _mutmut()
    else:
        if not _results():
            _mutmut("qkvcli.weights.*")  # makes the mutants of all files
        chance = random.Random(options.seed)
        names: list[str] = []
        for statuses in _results().values():
            names += chance.sample(sorted(statuses), min(options.sample, len(statuses)))
        _mutmut(*names)
    _report()


if __name__ == "__main__":
    main()
