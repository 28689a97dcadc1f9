"""Cells without a number among numbers: refused with the ways out, or left out and counted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from qkvcli import Database, QkvError
from tests.support.command import run_inside

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = ["", "NA", "N/A", "nan", "NaN", "null", "None", "-", " na "]
WHOLE = "x,y\n-3,10\n-1,30\n11,20\n12,5\n"


@pytest.mark.parametrize("cell", MISSING)
@pytest.mark.parametrize("row", [2, 3, 5])
def test_a_missing_key_is_refused_or_left_out(cell: str, row: int, put: Callable[..., str]) -> None:
    lines = WHOLE.splitlines()
    lines.insert(row - 1, f"{cell},7")
    path, whole = put("t.csv", "\n".join(lines)), put("whole.csv", WHOLE)
    refused = run_inside("pool", "10", "--data", path)
    assert (refused.status, refused.out) == (2, b"")
    assert refused.error == (
        f"qkv: {path}:{row}: {cell!r} in the key column 'x', which has numbers: pass --missing skip "
        "to leave such rows out, or --key-type text\n"
    )
    skipped = run_inside("pool", "10", "--data", path, "--missing", "skip")
    assert skipped.error.startswith("qkv: 1 row left out, in which a number is missing\n")
    assert skipped.text == run_inside("pool", "10", "--data", whole).text


def test_keys_of_which_all_the_first_are_missing_are_numbers(put: Callable[..., str]) -> None:
    path = put("t.csv", "x,y\n" + ",1\n" * 300_000 + WHOLE.partition("\n")[2])
    skipped = run_inside("pool", "10", "--data", path, "--missing", "skip")
    assert skipped.error.startswith("qkv: 300000 rows left out, in which a number is missing\n")
    assert skipped.text == run_inside("pool", "10", "--data", put("w.csv", WHOLE)).text


@pytest.mark.parametrize("cell", MISSING)
def test_a_missing_value_is_refused_or_left_out(cell: str, put: Callable[..., str]) -> None:
    path, whole = put("t.csv", f"x,y\n1,10\n2,{cell}\n3,30\n"), put("w.csv", "x,y\n1,10\n3,30\n")
    refused = run_inside("pool", "2", "--data", path)
    assert (refused.status, refused.out) == (2, b"")
    assert f"{path}:3: {cell!r} in the value column 'y', which has numbers" in refused.error
    assert "--missing skip" in refused.error
    assert "--value-type text" in refused.error
    skipped = run_inside("pool", "2", "--data", path, "--missing", "skip")
    assert skipped.text == run_inside("pool", "2", "--data", whole).text
    text = run_inside("pool", "2", "--data", path, "--value-type", "text", "--format", "json")
    assert text.status == 0
    assert cell in text.text


def test_text_may_be_empty(put: Callable[..., str]) -> None:
    path = put("t.csv", "name,town\nLi,Rome\nHu,\n-,Oslo\n")
    for more in ([], ["--missing", "skip"]):
        run = run_inside(
            "lookup", "-m", "exact", "-d", path, *more, "-f", "value", "--", "Hu", "Li"
        )
        assert (run.status, run.text, run.error) == (0, "\nRome\n", "")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_nulls_in_json(form: str, put: Callable[..., str]) -> None:
    records: list[dict[str, Any]] = [{"x": 1, "y": 2}, {"x": 2, "y": None}, {"x": 3, "y": 4}]
    text = json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))
    path, whole = put(f"t.{form}", text), put("whole.csv", "x,y\n1,2\n3,4\n")
    refused = run_inside("pool", "2", "--data", path)
    assert refused.status == 2
    assert "in the value column 'y', which has numbers: pass --missing skip" in refused.error
    skipped = run_inside("pool", "2", "--data", path, "--missing", "skip", "--format", "jsonl")
    assert skipped.error.startswith("qkv: 1 row left out, in which a number is missing\n")
    assert skipped.text == run_inside("pool", "2", "--data", whole, "--format", "jsonl").text


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, np.nan, 4.0]}),
        pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, None, 4.0]}),
        pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, None, 4.0]}),
        {"x": [1.0, 2.0, 3.0], "y": [2.0, None, 4.0]},
    ],
    ids=["pandas", "Polars", "Arrow", "dictionary"],
)
def test_data_frames(frame: Any) -> None:
    with pytest.raises(QkvError, match="'y'"):
        Database.open(frame, key="x", value="y").pool([2.0])
    database = Database.open(frame, key="x", value="y", missing="skip")
    answer = database.pool([2.0])
    assert (answer.output.tolist(), answer.skipped) == ([[3.0]], 1)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_columnar_files(name: str, workers: str, tmp_path: Path) -> None:
    path, clean = str(tmp_path / name), str(tmp_path / "clean.csv")
    table = pa.table(
        {
            "x": [-3.0, -1.0, 11.0, None, math.nan, 12.0],
            "y": [10, 30, 20, 7, 8, None],
            "e": [[1.0], [2.0], None, [1.0], [3.0], [4.0]],
        }
    )
    if name == "t.parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        pa.feather.write_feather(table, path, chunksize=2)
    Path(clean).write_text("x,y\n-3,10\n-1,30\n11,20\n")
    asked = ("pool", "1", "--value", "y", "--workers", workers, "--data")
    wanted, refused = run_inside(*asked, clean), run_inside(*asked, path)
    assert (refused.status, refused.out) == (2, b"")
    assert f"{path}: row 3: null in the column 'x'" in refused.error
    assert "pass --missing skip" in refused.error
    skipped = run_inside(*asked, path, "--missing", "skip")
    assert (skipped.status, wanted.status) == (0, 0)
    answers = [float(run.text.split()[4]) for run in (skipped, wanted)]
    assert answers[0] == pytest.approx(answers[1], rel=1e-12)
    assert "3 rows left out" in skipped.error
    vectors = run_inside("pool", "2", "-d", path, "--key", "e", "--value", "y", "--missing", "skip")
    assert "2 rows left out" in vectors.error, vectors


def test_nothing_but_missing_numbers(put: Callable[..., str]) -> None:
    path = put("t.csv", "x,y\n1,NA\n2,NA\n")
    run = run_inside("pool", "1", "--data", path, "--value-type", "number", "--missing", "skip")
    assert (run.status, run.out) == (2, b""), run
    assert run.error == f"qkv: {path}: in every row a number is missing, and none is left\n"


ZIPS = "k,zip,id\nLi,02139,9007199254740993\nHu,10001,12345678901234567890\n"


def test_values_that_are_codes_stay_as_they_are_written(put: Callable[..., str]) -> None:
    path = put("v.csv", ZIPS)
    found = run_inside("lookup", "Li", "Hu", "--data", path, "--format", "value")
    assert found.text == "02139\t9007199254740993\n10001\t12345678901234567890\n"
    asked = ("pool", "Li", "--data", path, "-T", "0.01", "--value", "zip")
    assert "02139" in run_inside(*asked, "--format", "json").text
    number = run_inside(*asked, "--value-type", "number")
    assert float(number.text.split("\n")[1].split("\t")[1]) == pytest.approx(2139)


def test_values_that_are_codes_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"k": ["Li", "Hu"], "id": [9007199254740993, 2]}), path)
    run = run_inside("lookup", "Li", "--data", str(path), "--format", "value")
    assert run.text == "9007199254740993\n"


def test_it_is_said_which_column_is_the_key(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "a,b,target\n1,2,3\n2,3,4\n4,1,2\n")
    run = run_inside("pool", "2.5", "--data", path, "--value", "target")
    assert run.status == 0
    assert f"qkv: {path}: the key is the column 'a', the first of 2\n" in run.error
    for said in (["--key", "a"], ["--key", "a,b"]):
        asked = "2.5" if said[1] == "a" else "2.5,2"
        found = run_inside("pool", asked, "--data", path, "--value", "target", *said)
        assert "the key is" not in found.error
    two = put("u.csv", "a,target\n1,3\n2,4\n4,2\n")
    assert "the key is" not in run_inside("pool", "2.5", "--data", two, "--value", "target").error


def test_a_date_under_a_kernel_is_told_as_one(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "day,y\n2024-01-05,1\n2024-01-06,2\n")
    run = run_inside("pool", "1", "--data", path, "--score", "gaussian")
    assert (run.status, run.text) == (2, "")
    assert f"{path}:2: the key '2024-01-05' is a date, and so text" in run.error
    assert "pass --date day" in run.error
