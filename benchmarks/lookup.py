"""Lookups of text in CSV files, beside scripts with csv and RapidFuzz, and beside DuckDB.

python -m benchmarks lookup

DuckDB and ``extract`` score by Jaro-Winkler, ``csv + cdist`` by the very scorer of qkv.
"""

from __future__ import annotations

import sys

from benchmarks.support.paired import QKV, Bench, Command, Reach, run, script

QUERY = "lipten"
NEAREST = ("--mode", "approximate", "--neighbors", "10", "--score", "indel-winkler")
MILLION = 1_000_000


def main() -> None:
    """Measure whole processes."""
    with Bench(__doc__) as bench:
        bench.has("names") or sys.exit("the data are made from the package names")
        bench.head()
        for case, path in (
            ("census, approximate", bench.data("census.csv")),
            ("1M rows, approximate", bench.data("names.csv", MILLION)),
        ):
            if bench.wants(case):
                streamed(bench, case, path)
        memory(bench)
        large(bench)
        bench.foot()


def nearest(path: str) -> Command:
    """Return the command for the ten nearest keys."""
    return [QKV, "lookup", QUERY, "--data", path, *NEAREST]


def streamed(bench: Bench, case: str, path: str) -> None:
    """Hold one approximate query against a script that holds all rows."""
    ours, theirs = nearest(path), script("peers/csv_cdist.py", path, QUERY)
    _check([ours, theirs])
    bench.compare(case, ours, {"csv + cdist": (theirs, Reach(ratio=1.3))})


def memory(bench: Bench) -> None:
    """Say how the peak of memory grows from one to five million rows."""
    if not bench.wants("memory"):
        return
    one, five = (
        min(run(nearest(bench.data("names.csv", rows)))[0].mib for _ in range(3))
        for rows in (MILLION, 5 * MILLION)
    )
    verdict = "held" if five - one <= 30 else "missed"
    bench.note(
        f"peak memory of one approximate query: {one:.0f} MiB at 1M rows, {five:.0f} MiB at 5M "
        f"(reach: at most 30 MiB more): {verdict}"
    )


def large(bench: Bench) -> None:
    """Ask five million rows exactly, approximately, and a hundred times at once."""
    path = bench.data("names.csv", 5 * MILLION)
    with open(path) as lines:
        key = next(line for row, line in enumerate(lines) if row == 4 * MILLION).split(",")[0]
    duckdb = bench.has("duckdb")
    if bench.wants("5M rows, exact"):
        ours = [QKV, "lookup", key, "--data", path, "--top", "0"]
        peers = {"csv.reader": (script("peers/csv_scan.py", path, key), Reach())}
        if duckdb:
            there = script("peers/duckdb_names.py", "exact", path, key)
            peers = {"DuckDB": (there, Reach(ratio=0.5, mib=40)), **peers}
        _check([ours, *(command for command, _ in peers.values())])
        bench.compare("5M rows, exact", ours, peers)
    if bench.wants("5M rows, approximate"):
        peers = {
            "csv + cdist": (script("peers/csv_cdist.py", path, QUERY), Reach(ratio=1.3)),
            "csv + extract": (script("peers/csv_extract.py", path, QUERY), Reach()),
        }
        if duckdb:
            there = script("peers/duckdb_names.py", "nearest", path, QUERY.title())
            peers = {"DuckDB": (there, Reach(ratio=0.9, mib=64)), **peers}
        bench.compare("5M rows, approximate", nearest(path), peers)
        two = [*nearest(path), "--workers", "2"]
        peers = {name: peers[name] for name in ("DuckDB",) if name in peers}
        bench.compare("5M rows, approximate, --workers 2", two, peers)
        tokens = [QKV, "lookup", QUERY, "--data", path, *NEAREST[:4], "--score", "tokens"]
        if duckdb:
            peers = {"DuckDB": (there, Reach(ratio=1.2, mib=64))}
        bench.compare("5M rows, approximate, tokens", tokens, peers)
    if duckdb and bench.wants("5M rows, 100 queries"):
        asked = bench.data("misspelt.txt", 100)
        ours = [QKV, "lookup", "--queries", asked, "--data", path, *NEAREST]
        there = script("peers/duckdb_names.py", "many", path, asked)
        few = min(bench.runs, 3)
        bench.compare("5M rows, 100 queries", ours, {"DuckDB": (there, Reach(ratio=0.3))}, runs=few)


def _check(commands: list[Command]) -> None:
    """See to it that all find the same row first, before they are measured."""
    found = set()
    for command in commands:
        _, output = run(command)
        rows = [line.split("\t") for line in output.decode().splitlines()]
        found.add(rows[1][2] if command[0] == QKV else rows[0][0])
    if len(found) > 1:
        sys.exit(f"answers differ: {found}")


if __name__ == "__main__":
    main()
