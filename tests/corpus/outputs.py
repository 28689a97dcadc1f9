"""Outputs that cannot be written, refused before any work."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.corpus.arrays import npz
from tests.support.contract import Case

TABLE = {"in.csv": b"k,v\nLi,Mu\nHu,Rachel\n"}
ASK = ("Li", "--data", "in.csv", "--mode", "softmax")

# The option, its value, what the line says; {} stands for the value.
ANY: dict[str, tuple[str, str]] = {
    "a directory": ("sub", "{}: is a directory; name a file in it"),
    "a missing directory": ("gone/out.EXT", "{}: there is no directory"),
    "a directory that is a file": ("in.csv/out.EXT", "{}: Not a directory"),
    "the input": ("in.csv", "{}: is also an input; write to another file"),
    "the input by another way": ("./sub/../in.csv", "{}: is also an input; write to another file"),
    "an unknown extension": ("out.xlsx", ""),
    "a name too long": ("a" * 300 + ".EXT", "{}: File name too long"),
    "an escape in its name": (
        "gone\x1b[31m/out.EXT",
        "gone\\x1b[31m/out.EXT: there is no directory",
    ),
}
UNKNOWN = {
    "--output": "--output out.xlsx: the extension names no format",
    "--weights": "--weights out.xlsx: name a .npz (with labels) or .npy file, or -",
}
EXTENSIONS = {"--output": "tsv", "--weights": "npy"}


def _case(command: str, option: str, place: str, line: str) -> Case:
    place = place.replace("EXT", EXTENSIONS[option])
    line = (line or UNKNOWN[option]).replace("{}", place).replace("EXT", EXTENSIONS[option])
    files = {**TABLE, "sub/x": b""}
    return Case((command, *ASK, option, place), "^" + re.escape(line), "", files)


CASES: dict[str, Case] = {
    f"{command}: {option}: {name}": _case(command, option, *bad)
    for command in ("lookup", "pool")
    for option in ("--output", "--weights")
    for name, bad in ANY.items()
    if not (name.startswith("the input") and option == "--weights")
}
CASES |= {
    f"{command}: {option}: full disk": Case(
        (command, *ASK, option, "/dev/full", *more),
        "not written: No space left on device",
        "/dev/full",
        TABLE,
    )
    for command in ("lookup", "pool")
    for option, more in (("--output", ()), ("--output", ("--format", "json")))
}
CASES |= {
    f"{command}: the answer and its weights in one file": Case(
        (command, *ASK, "--output", "x.npy", "--weights", "x.npy", "--format", "tsv"),
        "--weights and --output are both x.npy; name two files",
        "",
        TABLE,
    )
    for command in ("lookup", "pool")
}
# What fails while it works leaves the old file as it was.
OLD = Case(("lookup",), "", "", TABLE, output="out.tsv")
CASES |= {
    f"{command}: the old file stands: {name}": replace(
        OLD,
        arguments=(command, *arguments, "--output", "out.tsv"),
        message=line,
        files=files,
        status=status,
    )
    for command in ("lookup", "pool")
    for name, arguments, line, files, status in (
        (
            "a ragged row",
            ("x", "--data", "bad.csv"),
            "bad.csv:300002: 1 field",
            {"bad.csv": b"k,v\n" + b"a,b\n" * 300_000 + b"c\n"},
            2,
        ),
        ("no match", ("x", "--data", "in.csv", "--mode", "exact"), "(no key|to no key)", TABLE, 1),
        (
            "NaN in the last row",
            ("1,2", "--data", "db.npz", "--mode", "softmax"),
            "NaN or infinity",
            {"db.npz": npz(keys=[[1.0, 2], [3, float("nan")]])},
            2,
        ),
        ("a mistyped option", ("x", "--mode", "z"), "--mode: there is no 'z'", {}, 2),
    )
    if (command, name) != ("pool", "no match")  # which writes that there is no answer
}
CASES |= {
    f"{command}: the old weights stand": Case(
        (command, "x", "--data", "bad.csv", "--mode", "softmax", "--weights", "w.npz"),
        "1 field where the header has 2",
        "bad.csv:3",
        {"bad.csv": b"k,v\na,b\nc\n"},
        output="w.npz",
    )
    for command in ("lookup", "pool")
}
