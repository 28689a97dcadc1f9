"""Parquet and Arrow files, and names of such, that cannot be read or scored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from tests.support.contract import Case

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = {"name": ["Li", "Hu", "Smola"], "dog": ["Rex", "Ada", None], "n": [1, 2, 3]}


def parquet(columns: Any) -> bytes:
    """Return columns as a Parquet file."""
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), out)
    data: bytes = out.getvalue().to_pybytes()
    return data


def arrow(columns: Any) -> bytes:
    """Return columns as an Arrow file."""
    out = pa.BufferOutputStream()
    pa.feather.write_feather(pa.table(columns), out, compression="uncompressed")
    data: bytes = out.getvalue().to_pybytes()
    return data


WRITERS: dict[str, Callable[[Any], bytes]] = {"t.parquet": parquet, "t.arrow": arrow}

DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"name,dog\nLi,Rex\n",
    "half of it": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "without its end": lambda data: data[:-20],
    "without its start": lambda data: data[8:],
    "another format's magic": lambda data: b"\x93NUMPY" + data[6:-6] + b"\x93NUMPY",
    "an end of 0xff": lambda data: data[:-40] + b"\xff" * 32 + data[-8:],
}

COLUMNS: dict[str, tuple[Any, str, str]] = {
    "null among numbers": (
        {"k": ["a", "b"], "v": [1, None]},
        ": row 1",
        "null in the column 'v', whose values are numbers",
    ),
    "null among numeric keys": (
        {"k": [None, 1.5], "v": [1, 2]},
        ": row 0",
        "null in the column 'k', whose keys are numbers",
    ),
    "NaN": ({"k": ["a", "b"], "v": [1, float("nan")]}, ": row 1", "nan in the column 'v'"),
    "infinity": ({"k": [float("-inf")], "v": [1]}, ": row 0", "-inf in the column 'k'"),
    "dates": (
        {"k": pa.array([0], pa.date32()), "v": [1]},
        "",
        "the column 'k' is of type date32[day], which is neither numbers nor text",
    ),
    "times": (
        {"k": ["a"], "v": pa.array([0], pa.timestamp("us"))},
        "",
        "the column 'v' is of type timestamp[us]",
    ),
    "bytes": ({"k": [b"a"], "v": [1]}, "", "the column 'k' is of type binary"),
    "nested": ({"k": ["a"], "v": [{"x": 1}]}, "", "the column 'v' is of type struct<x: int64>"),
    "lists of texts": ({"k": [["a"]], "v": [1]}, "", "the column 'k' is of type list"),
    "ragged vectors": (
        {"k": [[1.0, 2.0], [1.0]], "v": [1, 2]},
        ": row 1",
        "1 numbers in the column 'k', and 2 before; vectors are of one width",
    ),
    "a vector that is null": ({"k": [[1.0], None]}, ": row 1", "null in the column 'k'"),
    "a vector that is empty": ({"k": [[], [1.0]]}, ": row 0", "the first vector of the column 'k'"),
    "a null in a vector": ({"k": [[1.0], [None]]}, ": row 1", "null in the column 'k'"),
    "no rows": ({"k": pa.array([], pa.string())}, "", "has no rows"),
}

NAMES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a column that is missing": (
        ("--data", "t.parquet", "--value", "dgo"),
        "",
        "--value: t.parquet has no column 'dgo'; did you mean 'dog'?",
    ),
    "a key that is missing": (
        ("--data", "t.parquet", "--key", "nmae"),
        "",
        "--key: t.parquet has no column 'nmae'; did you mean 'name'?",
    ),
    "text as numbers": (
        ("--data", "t.parquet", "--key-type", "number"),
        "t.parquet: row 0",
        "'Li' is not a plain decimal number",
    ),
    "a folder without such files": (("--data", "empty"), "empty", "holds no Parquet or Arrow file"),
    "a pattern without a match": (("--data", "no-*.parquet"), "no-*.parquet", "no file has a name"),
    "a file that is missing": (("--data", "no.arrow"), "no.arrow", "no such file"),
    "a URL of a missing file": (
        ("--data", "file:///no/such/t.parquet"),
        "file:///no/such/t.parquet",
        "no such file",
    ),
    "a URL of an unknown kind": (
        ("--data", "what://b/t.parquet"),
        "what://b/t.parquet",
        "there is no file system for what://",
    ),
    "a URL of a table": (("--data", "s3://b/t.csv"), "s3://b/t.csv", "by URL only Parquet and"),
    "a URL without credentials": (
        ("--data", "abfs://c@127.0.0.1/t.parquet"),
        "abfs://c@127.0.0.1/t.parquet",
        "no credentials; set AZURE_TENANT_ID",
    ),
    "stdin": (("--data", "-", "--data-format", "parquet"), "", "--data - is a stream"),
    "another format than it says": (
        ("--data", "t.parquet", "--data-format", "arrow"),
        "t.parquet",
        "cannot be read: ",
    ),
    "a folder in which the output is": (
        ("--data", "d", "--output", "d/t.parquet", "--format", "tsv"),
        "d/t.parquet",
        "is also an input; write to another file",
    ),
    "a URL of the output": (
        ("--data", "file://t.parquet", "--output", "t.parquet", "--format", "tsv"),
        "t.parquet",
        "is also an input; write to another file",
    ),
    "a scheduler's address that is none": (
        ("--data", "t.parquet", "--scheduler", "nonsense://x"),
        "",
        "--scheduler 'nonsense://x' is no address|pip install 'qkvcli[cluster]'",
    ),
}
_FILES = {"t.parquet": parquet(TABLE), "d/t.parquet": parquet(TABLE), "empty/x.txt": b"Li\n"}


def _query(columns: Any) -> str:
    """Return a query that fits the keys: two numbers where the first key is of two."""
    return "1,2" if columns["k"][:1] == [[1.0, 2.0]] else "1"


CASES: dict[str, Case] = {
    f"{command}: {name}: {what}": Case(
        (command, "Li", "--data", name), "^cannot be read: ", name, {name: damage(write(TABLE))}
    )
    for command in ("lookup", "pool")
    for name, write in WRITERS.items()
    for what, damage in DAMAGED.items()
}
CASES |= {
    f"{command}: {name}: {what}": Case(
        (command, _query(columns), "--mode", "softmax", "--data", name),
        f"^{re.escape(message)}",
        f"{name}{place}",
        {name: write(columns)},
    )
    for command in ("lookup", "pool")
    for name, write in WRITERS.items()
    for what, (columns, place, message) in COLUMNS.items()
}
CASES |= {
    f"{command}: columnar: {what}": Case(
        (command, "1", *arguments),
        "|".join(f"^{re.escape(part)}" for part in message.split("|")),
        where,
        _FILES,
    )
    for command in ("lookup", "pool")
    for what, (arguments, where, message) in NAMES.items()
}
