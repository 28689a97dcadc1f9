"""Databases of what Python holds: data frames, Arrow tables, dictionaries, lists and records."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import qkvcli
from qkvcli import Database, QkvError
from tests.support.command import SAMPLES, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

SINE, NAMES = str(SAMPLES / "sine.csv"), str(SAMPLES / "names.csv")

FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas of objects": lambda frame: frame.astype(object),
    "pandas of its own types": lambda frame: frame.convert_dtypes(),
    "Polars": pl.from_pandas,
    "Arrow": pa.Table.from_pandas,
    "dictionary of lists": lambda frame: frame.to_dict("list"),
    "dictionary of arrays": lambda frame: {name: frame[name].to_numpy() for name in frame},
    "records": lambda frame: frame.to_dict("records"),
}


class Stream:
    """Something with an Arrow C stream, and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


FRAMES["Arrow C stream"] = lambda frame: Stream(pa.Table.from_pandas(frame))


@pytest.mark.parametrize("kind", FRAMES)
def test_numbers_answer_as_their_file_does(kind: str) -> None:
    data = FRAMES[kind](pd.read_csv(SINE))
    wanted = Database.open(SINE, key="x", value="y").pool([[1.0], [2.5]], jacobian=True)
    found = Database.open(data, key="x", value="y").pool([[1.0], [2.5]], jacobian=True)
    assert np.array_equal(found.output, wanted.output)
    assert wanted.jacobian is not None
    assert np.array_equal(found.jacobian, wanted.jacobian)  # type: ignore[arg-type]
    lines = Database.open(SINE, key="x", value="y").pool([[1.0], [2.5]])
    assert np.array_equal(qkvcli.pool([[1.0], [2.5]], data).output, lines.output)


@pytest.mark.parametrize("kind", FRAMES)
def test_texts_answer_as_their_file_does(kind: str) -> None:
    data = FRAMES[kind](pd.read_csv(NAMES))
    wanted = Database.open(NAMES).lookup(["Lipten", "Li"], mode="softmax")
    found = Database.open(data).lookup(["Lipten", "Li"], mode="softmax")
    assert found.to_pandas().equals(wanted.to_pandas())
    assert found.to_arrow().equals(wanted.to_arrow())


@pytest.mark.parametrize(
    "data",
    [
        {"Lipton": "Zachary", "Smola": "Alex"},
        [("Lipton", "Zachary"), ("Smola", "Alex")],
        [["Lipton", "Zachary"], ["Smola", "Alex"]],
        Database(["Lipton", "Smola"], ["Zachary", "Alex"]),
        Database(np.array(["Lipton", "Smola"]), np.array(["Zachary", "Alex"], object)),
        Database(pd.Series(["Lipton", "Smola"]), pl.Series(["Zachary", "Alex"])),
    ],
    ids=["dictionary", "pairs", "lists", "Database", "arrays", "series"],
)
def test_keys_and_their_values(data: Any) -> None:
    database = data if isinstance(data, Database) else Database.open(data)
    found = database.lookup(["Lipten"], mode="approximate").found[0].matches[0]
    assert (found.record.key, found.record.value) == (("Lipton",), ("Zachary",))


def test_paths_and_open_files(tmp_path: Path) -> None:
    wanted = Database.open(SINE).pool([[1.0]]).output
    assert np.array_equal(Database.open(Path(SINE)).pool([[1.0]]).output, wanted)
    with open(SINE, "rb") as stream:
        assert np.array_equal(Database.open(stream).pool([[1.0]]).output, wanted)
    with io.BytesIO(Path(SINE).read_bytes()) as stream:
        assert np.array_equal(Database.open(stream).pool([[1.0]]).output, wanted)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 has it")
def test_strings_of_any_length() -> None:
    keys = np.array(["Lipton", "Smola"], np.dtypes.StringDType())
    found = Database(keys, [1.0, 2.0]).lookup(["Lipten"], mode="approximate").found[0].matches[0]
    assert found.record.key == ("Lipton",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "holds no rows"),
        (pd.DataFrame({"a": []}), "holds no rows"),
        ({"a": [1, 2], "b": [1]}, "columns of [1, 2] rows"),
        ([{"a": 1}, {"b": 2}], "row 1: this record has another shape"),
        ({"a": [1.0], "b": [object()]}, "in the column 'b' is neither a number nor text"),
        ({"a": [1.0, 2.0], "b": [1.0, None]}, "in the column 'b', which has numbers"),
        ({"a": [1.0], "b": [1 + 2j]}, "in the column 'b'|the column 'b'"),
        (pd.DataFrame({"a": [1.0], "b": pd.to_datetime(["2020-01-01"])}), "the column 'b'"),
    ],
)
def test_what_is_no_table_is_told(data: Any, message: str) -> None:
    with pytest.raises(QkvError) as caught:
        Database.open(data).pool([[1.0]])
    assert any(part in str(caught.value) for part in message.split("|"))
    assert isinstance(caught.value, ValueError)
    assert "--" not in str(caught.value)


def test_a_column_that_is_named_twice_is_told() -> None:
    with pytest.raises(QkvError, match="`key` names the column 'a' of memory twice"):
        Database.open({"a": [1.0], "b": [2.0]}, key=["a", "1"])


def test_codes_stay_text() -> None:
    for codes in ([9007199254740993, 2], np.array([9007199254740993, 2]), [10**30, 2]):
        frame = {"k": ["Li", "Hu"], "id": codes}
        found = Database.open(frame).lookup(["Li"], mode="exact").found[0].matches[0]
        assert found.record.value == (str(codes[0]),)


def test_a_frame_is_read_without_the_libraries_of_others() -> None:
    program = (
        "import sys, qkvcli\n"
        "print(qkvcli.pool([[2.0]], {'x': [1.0, 3.0], 'y': [2.0, 4.0]}).output)\n"
        "print([name for name in ('pandas', 'polars', 'pyarrow') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[[3.]]\n[]\n"


def test_answers_are_shown_and_handed_on() -> None:
    answer = Database.open(SINE).pool([[1.0], [2.5]])
    frame = answer.to_pandas()
    assert frame.shape[0] == 2
    assert np.array_equal(frame["y"], answer.output[:, 0])
    assert answer.to_arrow().num_rows == 2
    assert len(repr(answer)) < 500
    assert "<table" in answer._repr_html_()
    command = run_qkv("pool", "1", "2.5", "--data", SINE).text.splitlines()[1:]
    assert [float(line.split("\t")[1]) for line in command] == answer.output[:, 0].tolist()
    found = Database.open(NAMES).lookup(["Li"], mode=["exact", "softmax"])
    assert len(repr(found)) < 500
    assert "<table" in found._repr_html_()
