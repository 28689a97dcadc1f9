"""Every bad file on every command that can meet it, held against the whole contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from tests import test_sources_arrays as arrays
from tests import test_sources_delimited as delimited
from tests import test_sources_records as records
from tests.support.contract import Case, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERIES = {"q.npy": arrays.npy(np.ones((2, 4)))}


class Command(NamedTuple):
    """A command line that meets a bad file, and whether it is run on a terminal as well."""

    name: str
    arguments: tuple[str, ...]
    terminal: bool


def table(file: str) -> list[Command]:
    """Return the commands that read a table."""
    return [
        Command("lookup", ("lookup", "Li", "--data", file), terminal=True),
        Command("lookup -o", ("lookup", "Li", "-m", "softmax", "-d", file, "-o", "out.tsv"), False),
        Command("pool", ("pool", "Li", "--data", file, "--format", "json"), terminal=False),
    ]


NPY = [
    Command(
        "pool", ("pool", "--keys", "bad.npy", "--values", "bad.npy", "--queries", "q.npy"), True
    ),
    Command(
        "lookup -o", ("lookup", "--keys", "bad.npy", "--queries", "q.npy", "-o", "out.tsv"), False
    ),
]
NPZ = [Command("pool", ("pool", "--data", "bad.npz", "--queries", "q.npy"), terminal=False)]


def cases(file: str, refused: list[Any], commands: list[Command]) -> Iterator[Any]:
    """Return a case for each bad file and each command, by the table of the reader's own test."""
    for row in refused:
        data, line = row.values
        found = re.fullmatch(r"((?::\d+)*): (.*)", line, re.DOTALL)
        if not found:  # a row that is read right
            continue
        content = data if isinstance(data, bytes) else data.encode()
        for command in commands:
            case = Case(
                command.arguments,
                re.escape(found[2]),
                file + found[1],
                files={file: content, **QUERIES},
                output="out.tsv",
            )
            yield pytest.param(case, command.terminal, id=f"{file}, {row.id}, {command.name}")


@pytest.mark.parametrize(
    ("case", "terminal"),
    [
        *cases("bad.csv", delimited.REFUSED, table("bad.csv")),
        *cases("bad.json", records.REFUSED, table("bad.json")),
        *cases("bad.jsonl", records.REFUSED_LINES, table("bad.jsonl")),
        *cases("bad.npy", arrays.REFUSED, NPY),
        *cases("bad.npz", arrays.REFUSED, NPZ),
    ],
)
def test_bad_file(case: Case, terminal: bool, tmp_path: Path) -> None:
    check(case, tmp_path, terminal=terminal)
