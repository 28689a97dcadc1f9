"""Start-up: a small lookup, the version, the help and completion, beside bare imports.

python -m benchmarks startup
"""

from __future__ import annotations

import os

from benchmarks.support.paired import BIN, PYTHON, QKV, Bench, Reach, run

LATER = Reach(more=0.020)
IMPORTS = "import typer, numpy, rapidfuzz"
MODES = ("exact", "approximate", "softmax", "average")
TABLE = "name,first\nZhang,Aston\nLipton,Zachary\nLi,Mu\nSmola,Alex\nHu,Rachel\nWerness,Brent\n"


def main() -> None:
    """Measure whole processes."""
    with Bench(__doc__, runs=21) as bench:
        with open("names.csv", "w") as out:
            out.write(TABLE)
        bench.head()
        lookups(bench)
        bare(bench)
        bench.foot()


def lookups(bench: Bench) -> None:
    """Look a name up in a pipe, beside what the imports alone take and beside other programs."""
    if not bench.wants("lookup Li"):
        return
    peers = {
        "python -c pass": ([PYTHON, "-c", "pass"], Reach()),
        IMPORTS: (
            [PYTHON, "-c", IMPORTS],
            LATER,
        ),
        "the same, one BLAS thread": (
            [PYTHON, "-c", f"import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'; {IMPORTS}"],
            LATER,
        ),
    }
    if bench.has("csvkit"):
        grep = [os.path.join(BIN, "csvgrep"), "-c", "name", "-r", "^Li$", "names.csv"]
        peers["csvgrep"] = (grep, Reach())
    if bench.has("sqlite_utils"):
        sql = "select first from names where name = 'Li'"
        memory = [os.path.join(BIN, "sqlite-utils"), "memory", "names.csv", sql]
        peers["sqlite-utils memory"] = (memory, Reach())
    ours = [QKV, "lookup", "Li", "--data", "names.csv"]
    for command in (ours, *(c for name, (c, _) in peers.items() if name[:3] in ("csv", "sql"))):
        _, output = run(command)
        assert b"Mu" in output, (command, output)
    bench.compare("lookup Li", ours, peers)
    modes = [word for mode in MODES for word in ("--mode", mode)]
    bench.compare("lookup Li, four modes", [*ours, *modes], {IMPORTS: peers[IMPORTS]})


def bare(bench: Bench) -> None:
    """Ask for what needs no data."""
    typer = {"import typer": ([PYTHON, "-c", "import typer"], LATER)}
    complete = {
        "_QKV_COMPLETE": "complete_bash",
        "_TYPER_COMPLETE_ARGS": "qkv loo",
        "COMP_WORDS": "qkv loo",
        "COMP_CWORD": "1",
    }
    for case, ours, env in (
        ("--version", [QKV, "--version"], {}),
        ("--help", [QKV, "--help"], {}),
        ("lookup --help", [QKV, "lookup", "--help"], {}),
        ("completion of qkv loo", [QKV], complete),
    ):
        if bench.wants(case):
            bench.compare(case, ours, typer, env=env)


if __name__ == "__main__":
    main()
