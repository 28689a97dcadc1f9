"""Hostile data: nothing reaches a terminal unescaped, and nothing is lost on the way to a machine."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.corpus.arrays import npy
from tests.support.command import run_inside, run_pty, run_qkv
from tests.support.contract import check_error, check_terminal
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.command import Outcome

NAUGHTY = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;aGk=\x07",
    "a\x08\x08b",
    "c\x7fd",
    "e\x9b31mf\x85g",
    "over\rwritten",
    "two\nlines",
    "tab\there",
    "\u202etxt.exe",
    "\u2066a\u2069",
    "zero\u200fwidth\u200e",
    "\ufeffBOM",
    "line\u2028end",
    "\ufffe\uffff",
    "[/]",
    "[bold red]x[/]",
    ":smile:",
    "<script>alert(1)</script>",
    "$x^$ _ \\ & --",
    "=1+1",
    "@SUM(A1)",
    '"quoted", and',
    "'; DROP TABLE keys; --",
    "%s %n {0} ${x} `id`",
    "e\u0301 👩‍👩‍👧 北京",
    "  spaces  ",
    "NULL",
    "\uff21\uff22",
]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Return a CSV whose keys, values and headers are hostile."""
    path = tmp_path / "h.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["\x1b[1mk", "v\u202e"])
        writer.writerows((text, f"{text}!") for text in NAUGHTY)
    return str(path)


@pytest.mark.parametrize("form", ["table", "tsv", "csv", "json", "jsonl", "value"])
@pytest.mark.parametrize("command", ["lookup", "pool"])
def test_nothing_reaches_a_terminal(command: str, form: str, table: str) -> None:
    more = ("--top", "0", "--explain") if command == "lookup" else ()
    arguments = (
        command,
        *NAUGHTY[:3],
        "--data",
        table,
        "--mode",
        "softmax",
        "--format",
        form,
        *more,
    )
    for columns in (200, 40):
        run = run_pty(*arguments, columns=columns)
        assert run.status == 0
        check_terminal(run.out)
        for sign in ("\u202e", "\u2066", "\u2028", "\ufeff", "\u200f"):
            assert sign not in run.text
    if form == "json":
        found = json.loads(run.text)  # escaped as JSON escapes, so that it still says the same
        assert found["queries"][0]["query"] == NAUGHTY[0]


@pytest.mark.parametrize("run", [run_inside, pytest.param(run_qkv, marks=pytest.mark.slow)])
@pytest.mark.parametrize("text", NAUGHTY)
def test_nothing_is_lost_in_a_pipe(text: str, run: Callable[..., Outcome], table: str) -> None:
    arguments = ("lookup", "--data", table, "--format")
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        out = run(*arguments, form, "--", text).text
        lines = list(csv.reader(io.StringIO(out, newline=""), delimiter=delimiter, strict=True))
        assert lines[0][2:4] == ["\x1b[1mk", "v\u202e"]
        assert lines[1] == [text, "1", text, f"{text}!", "1", "1"]
    found = json.loads(run(*arguments, "json", "--", text).out)
    (match,) = found["queries"][0]["matches"]
    assert match["key"] == {"\x1b[1mk": text}
    assert match["value"] == {"v\u202e": f"{text}!"}


def test_what_is_written_is_read_again(table: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.csv")
    run_qkv("lookup", "--self", "--data", table, "-o", out)
    again = run_qkv("lookup", "--self", "--data", out, "--value", "query", "--format", "value")
    assert again.status == 0
    first = run_qkv("lookup", "--self", "--data", table, "--value", "1", "--format", "value")
    assert again.out == first.out


def refused(text: str) -> list[tuple[str, ...]]:
    """Return command lines whose error quotes a text."""
    return [
        ("lookup", "--", f"{text}?"),
        ("lookup", "x", "--data", f"{text}.csv".replace("/", "|")),
        ("lookup", f"--{text}"),
        (text,),
    ]


@pytest.mark.parametrize("text", NAUGHTY)
def test_no_error_shows_it_either(text: str, tmp_path: Path) -> None:
    for arguments in refused(text):
        run = run_inside(*arguments, cwd=tmp_path)
        assert run.status in (1, 2), run
        check_error(run, "", "")
        assert not run.out


@pytest.mark.parametrize("text", mostly_slow(NAUGHTY, 5))
def test_no_error_shows_it_on_a_terminal(text: str, tmp_path: Path) -> None:
    for arguments in refused(text):
        run = run_pty(*arguments, cwd=tmp_path, columns=300)
        assert run.status in (1, 2), run
        check_terminal(run.out)
        assert len(run.out.splitlines()) == 1


def test_csv_safe() -> None:
    cells = ["=1+1", "+x", "-y", "@z", "\tq", "\rw", "\uff1d1", "-1.5", "+2", "1e-5", "safe", "a=b"]
    data = "\n".join(json.dumps([cell, "v"]) for cell in cells).encode()
    arguments = ("lookup", "--self", "--data", "-", "--data-format", "jsonl", "--key-type", "text")
    plain = run_qkv(*arguments, "--format", "csv", stdin=data)
    safe = run_qkv(*arguments, "--format", "csv", "--csv-safe", stdin=data)

    def keys(text: str) -> list[str]:
        return [row[2] for row in list(csv.reader(io.StringIO(text, newline="")))[1:]]

    assert keys(plain.text) == cells
    assert keys(safe.text) == [f"'{cell}" for cell in cells[:7]] + cells[7:]


class Trap:
    """An object whose unpickling leaves a trace."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Trap()),
        npy(np.array([Trap()], object), allow_pickle=True),
        npy(np.zeros(1, [("a", "O")]), allow_pickle=True),
    ],
    ids=["a pickle", "an array of objects", "a structure with objects"],
)
def test_no_pickle_is_loaded(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    (tmp_path / "k.npy").write_bytes(npy(np.eye(2)))
    for arguments in (
        ("pool", "--keys", "x.npy", "--self"),
        ("pool", "--keys", "k.npy", "--values", "x.npy", "--self"),
        ("lookup", "--keys", "k.npy", "--queries", "x.npy"),
        ("pool", "--keys", "k.npy", "--self", "--mask", "x.npy"),
        ("heatmap", "x.npy"),
    ):
        run = run_qkv(*arguments, cwd=tmp_path)
        assert run.status == 2
        assert b"pickle" not in run.err.replace(b"allow_pickle", b"!")
    assert not (tmp_path / "pwned").exists()
