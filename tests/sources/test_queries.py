"""Queries in files: lines, tables, JSON and arrays, by the names of the key columns."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.corpus.arrays import npy, npz
from tests.support.command import SAMPLES, run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SINE = str(SAMPLES / "sine.csv")
PLANE = "a,b,y\n1,2,3\n2,3,4\n3,5,9\n"


def pooled(*arguments: str, **how: Any) -> list[list[str]]:
    """Return the rows that pool writes, without the perplexity."""
    run = run_inside("pool", *arguments, **how)
    assert run.status == 0, run
    return [row[:-1] for row in csv.reader(io.StringIO(run.text), delimiter="\t")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.txt", b"1\n2.5\n"),
        ("q", b"1\r\n\r\n2.5"),
        ("q.csv", b"x\n1\n2.5\n"),
        ("q.csv", b"1\n2.5\n"),
        ("q.csv", b'"1"\n"2.5"\n'),
        ("q.csv", b"n,x,y\na,1,7\nb,2.5,8\n"),
        ("q.tsv", b"X\ty\n1\t7\n2.5\t8\n"),
        ("q.json", b"[1, 2.5]"),
        ("q.json", b"[[1], [2.5]]"),
        ("q.json", b'[{"y": 0, "x": 1}, {"x": 2.5}]'),
        ("q.jsonl", b'{"x": 1}\n{"x": 2.5}\n'),
        ("q.csv.gz", gzip.compress(b"x\n1\n2.5\n", mtime=0)),
        ("q.npy", npy([[1.0], [2.5]])),
        ("q.npz", npz(queries=[[1.0], [2.5]])),
    ],
    ids=str,
)
def test_numbers_in_any_file(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    found = pooled("--data", SINE, "--queries", name, cwd=tmp_path)
    assert found == pooled("1", "2.5", "--data", SINE)
    assert found[0] == ["x", "y"]
    if not name.endswith("npz"):
        assert found == pooled("--data", SINE, "--queries", name, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.txt", b"Li\nHu\n"),
        ("q.csv", b"last_name\nLi\nHu\n"),
        ("q.csv", b'age,LAST_NAME\n3,"Li"\n4,Hu\n'),
        ("q.json", b'["Li", "Hu"]'),
        ("q.jsonl", b'"Li"\n{"last_name": "Hu", "age": 4}\n'),
        ("q.txt", "Li\nHu\n".encode("utf-16")),
    ],
    ids=str,
)
def test_names_in_any_file(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    run = run_inside("lookup", "--queries", name, "--format", "value", cwd=tmp_path)
    assert (run.status, run.text) == (0, "Mu\nRachel\n"), run


def test_columns_go_by_their_names(put: Callable[[str, str], str]) -> None:
    plane = put("plane.csv", PLANE)
    asked = put("q.csv", "b,a\n1,2\n3,2\n")
    how = ("--data", plane, "--key", "a,b")
    assert pooled("--queries", asked, *how) == pooled("2,1", "2,3", *how)
    own = pooled("--self", *how)
    assert own[0] == ["a", "b", "y"]
    assert [row[:2] for row in own[1:]] == [["1", "2"], ["2", "3"], ["3", "5"]]
    assert pooled("--queries", plane, *how) == own
    assert pooled("-", *how, stdin=b"1,2\n2 3\n3 ; 5\n") == own


def test_arrays_come_through_pipes() -> None:
    keys = npz(keys=np.eye(3), values=np.eye(3))
    one = run_qkv("pool", "1,0,0", "--data", "-", stdin=keys)
    assert (one.status, one.text.split("\n")[1][:8]) == (0, "1,0,0\t0."), one
    asked = run_qkv("pool", "--queries", "-", "--data", SINE, stdin=npy([[1.0], [2.5]]))
    assert asked.text == run_qkv("pool", "1", "2.5", "--data", SINE).text


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"2.x5\n3\n", ":1: '2.x5' is not a finite number; ask with numbers such as 1.5,0.3"),
        (b"nan\n3\n", ":1: 'nan' is not a finite number"),
        (b"3\n1e999\n", ":2: '1e999' is not a finite number"),
        (b"2.5,\n", ":1: '' is not a finite number"),
        (b"1\n\n2 3\n", f":3: 2 numbers, and the keys of {SINE} have width 1"),
    ],
)
def test_no_line_is_passed_over(data: bytes, line: str, put: Callable[..., str]) -> None:
    run = run_inside("pool", "-", "--data", SINE, stdin=data)
    assert (run.status, run.out) == (2, b"")
    assert run.error.startswith(f"qkv: stdin{line}"), run.error
    path = put("q.csv", data)
    filed = run_inside("pool", "--queries", path, "--data", SINE)
    assert (filed.status, filed.out) == (2, b""), filed


def test_an_encoding_is_that_of_queries_and_labels(put: Callable[..., str]) -> None:
    table = put("t.csv", "name,v\nJosé,1\n".encode("latin-1"))
    asked = put("q.txt", "José\n".encode("latin-1"))
    run = run_inside("lookup", "--queries", asked, "--data", table, "--encoding", "latin-1")
    assert (run.status, run.text.split("\n")[1].split("\t")[2]) == (0, "José"), run
    arrays, labels = put("db.npz", npz(keys=np.eye(2))), put("l.txt", "é\nè\n".encode("latin-1"))
    how = ("--data", arrays, "--labels", labels, "--encoding", "latin-1", "-m", "exact")
    run = run_inside("lookup", "é", *how)
    assert (run.status, run.text.split("\n")[1].split("\t")[2]) == (0, "é"), run


@pytest.mark.parametrize("command", ["lookup", "pool"])
def test_one_end_of_input_is_enough_on_a_terminal(command: str) -> None:
    run = run_pty(command, "-", keys=[(1.0, b"Li\r"), (1.3, b"\x04")], timeout=20)
    assert run.status == 0, run
    assert b"Mu" in run.out


def test_a_dash_stands_alone() -> None:
    run = run_inside("lookup", "-", "Li", stdin=b"Hu\n")
    assert (run.status, run.error) == (
        2,
        "qkv: - reads queries from stdin and stands alone; put a query that is - in a file\n",
    )


ASKED = "id,who\n1,Lipten\n2,Smolla\n"


def test_a_table_without_the_key_column_is_refused(put: Callable[..., str]) -> None:
    how = ("-m", "approximate", "--format", "value")
    for name, text in (("q.csv", ASKED), ("q.json", '[{"id": 1, "who": "Lipten"}]')):
        run = run_inside("lookup", "--queries", put(name, text), *how)
        assert (run.status, run.out) == (2, b"")
        assert "has no column 'last_name', as the keys have; its columns are id, who" in run.error
        assert "--query-key" in run.error
    path = put("q.csv", ASKED)
    for column in ("who", "2", "WHO"):
        run = run_inside("lookup", "--queries", path, "--query-key", column, *how)
        assert (run.status, run.text) == (0, "Zachary\nAlex\n"), run
    missed = run_inside("lookup", "--queries", path, "--query-key", "whom", *how)
    assert (missed.status, missed.out) == (2, b"")
    assert "who" in missed.error


def test_a_query_key_needs_a_table(put: Callable[..., str]) -> None:
    words = run_inside("lookup", "Li", "--query-key", "1")
    assert (words.status, words.out) == (2, b"")
    lines = run_inside("lookup", "--queries", put("q.txt", "Li\n"), "--query-key", "1")
    assert (lines.status, lines.out) == (2, b"")


@pytest.mark.parametrize("name", ["q.csv", "q.tsv"])
def test_a_table_of_queries_without_a_header(name: str, put: Callable[..., str]) -> None:
    path = put(name, "Li\nHu\n")
    refused = run_inside("lookup", "--queries", path)
    assert (refused.status, refused.out) == (2, b"")
    assert "--no-header if its first line is a query" in refused.error
    run = run_inside("lookup", "--queries", path, "--no-header", "--format", "value")
    assert (run.status, run.text) == (0, "Mu\nRachel\n")


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("csv", "age,last_name\n3,Li\n"),
        ("tsv", "age\tlast_name\n3\tLi\n"),
        ("json", '[{"age": 3, "last_name": "Li"}]'),
        ("jsonl", '{"age": 3, "last_name": "Li"}\n'),
    ],
)
def test_a_table_comes_through_a_pipe(form: str, data: str) -> None:
    run = run_inside("lookup", "-", "--data-format", form, "-f", "value", stdin=data.encode())
    assert (run.status, run.text) == (0, "Mu\n"), run


@pytest.mark.parametrize("command", ["lookup", "pool"])
@pytest.mark.parametrize("word", ["-3", "-.5", "-1e1", "-2.5"])
def test_a_negative_number_is_a_query(command: str, word: str) -> None:
    how = ("--data", SINE) if command == "pool" else ("--data", SINE, "-m", "approximate")
    run = run_inside(command, word, *how)
    assert run.status == 0, run
    assert run.text.splitlines()[1].split("\t")[0] == word
    assert run.text == run_inside(command, *how, "--", word).text


@pytest.mark.parametrize("command", ["lookup", "pool"])
@pytest.mark.parametrize("option", ["--data", "-d", "--mode=exact", "--self", "-o"])
def test_an_option_after_the_end_of_options_is_told(command: str, option: str) -> None:
    run = run_inside(command, "--", "-3", option, "f.csv")
    assert (run.status, run.out) == (2, b"")
    assert run.error.startswith(f"qkv: {option!r} stands after --, behind which all is a query")


def test_it_is_said_that_the_bundled_names_answered() -> None:
    said = "no --data was given: the bundled names.csv answers"
    for asked in (["5"], ["-3"], ["1,2"], ["Li", "--key", "1"]):
        assert said in run_inside("lookup", *asked, "-m", "approximate").error
    for asked in (["Li"], ["Lipten"], ["4th"]):
        assert run_inside("lookup", *asked, "-m", "approximate").error == ""


@pytest.mark.parametrize("mode", ["exact", "approximate", "softmax"])
def test_more_neighbors_than_keys_are_refused(mode: str) -> None:
    for command in ("lookup", "pool"):
        run = run_inside(command, "Li", "-m", mode, "-k", "7")
        assert (run.status, run.out) == (2, b"")
        assert "has 6 keys; give at most 6" in run.error
