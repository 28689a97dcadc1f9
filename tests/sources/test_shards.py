"""One database in several files: the rows of one follow those of another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qkvcli.errors import QkvError
from qkvcli.sources.store import open_store
from qkvcli.sources.table import TableOptions
from tests.support import tables
from tests.support.command import run_inside
from tests.support.contract import Case, check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RANDOM = np.random.default_rng(3)
KEYS = RANDOM.normal(size=(100, 3)).astype(np.float32)
VALUES = RANDOM.normal(size=(100, 2))
CUTS = [(0, 40), (40, 41), (41, 100)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with one database whole and in three files of each kind."""
    monkeypatch.chdir(tmp_path)
    np.savez("all.npz", keys=KEYS, values=VALUES)
    np.save("heads.npy", np.stack([KEYS, 2 * KEYS]))
    for i, (a, b) in enumerate(CUTS):
        np.savez(f"p-{i}.npz", keys=KEYS[a:b], values=VALUES[a:b])
        np.savez_compressed(f"c-{i}.npz", keys=KEYS[a:b], values=VALUES[a:b])
        np.save(f"k-{i}.npy", KEYS[a:b])
        np.save(f"v-{i}.npy", VALUES[a:b])
        np.save(f"h-{i}.npy", np.stack([KEYS[a:b], 2 * KEYS[a:b]]))
    (tmp_path / "labels.txt").write_text("".join(f"n{i}\n" for i in range(100)))
    return tmp_path


def lookup(*arguments: str) -> Any:
    run = run_inside("lookup", "1,0,0", "-m", "softmax", "-f", "json", "--top", "0", *arguments)
    assert run.status == 0, run
    return json.loads(run.out)


def close(a: Any, b: Any) -> None:
    """Assert that two answers agree, numbers to rounding; where they came from may differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"source"}:
            close(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            close(one, other)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    else:
        assert a == b


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "p-*.npz"),
        ("--data", "c-*.npz"),
        ("--data", "[pq]-?.npz", "--workers", "2"),
        ("--keys", "k-*.npy", "--values", "v-*.npy"),
    ],
    ids=" ".join,
)
def test_files_answer_as_one(arguments: tuple[str, ...]) -> None:
    close(lookup("--data", "all.npz"), lookup(*arguments))


@pytest.mark.usefixtures("folder")
def test_labels_are_of_all_files() -> None:
    whole = lookup("--data", "all.npz", "--labels", "labels.txt")
    close(whole, lookup("--data", "p-*.npz", "--labels", "labels.txt"))
    run = run_inside("pool", "n70", "--data", "p-*.npz", "--labels", "labels.txt")
    assert run.status == 0, run
    assert run.text.splitlines()[1].startswith("n70\t")


@pytest.mark.usefixtures("folder")
def test_heads_go_through_all_files() -> None:
    whole, parts = (
        run_inside("pool", "1,0,0", "-f", "json", "--keys", name)
        for name in ("heads.npy", "h-*.npy")
    )
    close(json.loads(whole.out), json.loads(parts.out))


def test_rows_run_on(folder: Path) -> None:
    del folder
    database = open_store("p-*.npz", TableOptions())
    assert database.count() == 100
    assert [block.start for block in database.heads[0].blocks()] == [0, 40, 41]


def test_tables_follow_one_another(tmp_path: Path) -> None:
    rows = [(f"k{i}", str(i)) for i in range(9)]
    for i in range(3):
        part = "".join(f"{k},{v}\n" for k, v in rows[3 * i : 3 * i + 3])
        (tmp_path / f"part-{i}.csv").write_text("k,v\n" + part)
    assert tables.rows(str(tmp_path / "part-*.csv")) == rows


def refusal(data: str, **options: Any) -> str:
    with pytest.raises(QkvError) as caught:
        [b.load() for b in open_store(data, TableOptions(), **options).heads[0].blocks()]
    return str(caught.value)


def test_files_that_do_not_fit_name_one_another(folder: Path) -> None:
    np.save("k-3.npy", KEYS)
    lonely = refusal("", keys="k-*.npy", values="v-*.npy")
    assert lonely.startswith("k-3.npy: has no counterpart among the 3 files of v-*.npy")
    np.save("v-3.npy", VALUES[:99])
    assert "(100, 3) and values of shape (99, 2)" in refusal("", keys="k-*.npy", values="v-*.npy")
    np.save("k-3.npy", KEYS[:, :2])
    narrow = refusal("", keys="k-*.npy")
    assert narrow.startswith("k-3.npy: of shape (100, 2), and k-0.npy of (40, 3)")
    np.save("k-3.npy", KEYS.astype(np.float64))
    assert "of dtype float64, and k-0.npy of float32" in refusal("", keys="k-*.npy")
    assert refusal("x-*.npz").startswith("x-*.npz: no file has a name like this")
    for name, text in (("t-0.csv", "a,b\nx,1\n"), ("t-1.csv", "a,c\nx,1\n")):
        (folder / name).write_text(text)
    assert refusal("t-*.csv").startswith("t-1.csv: its value columns are 'c', and those of t-0.csv")
    (folder / "t-1.csv").write_text("a,b\nx,y\n")
    assert "t-1.csv: a value column is of numbers here and of text in t-0.csv" in refusal("t-*.csv")


def test_a_file_of_that_very_name_is_meant(put: Callable[[str, str], str]) -> None:
    assert tables.rows(put("a[1].csv", "k,v\nx,1\n")) == [("x", "1")]


@pytest.mark.parametrize(
    "case",
    [
        Case(("lookup", "x", "-d", "no-*.csv"), "no file has a name like this", "no-*.csv"),
        Case(
            ("lookup", "x", "-d", "a-*.csv", "-o", "a-1.csv"),
            "",
            files={"a-1.csv": b"k,v\nx,1\n", "a-2.csv": b"k,v\nx,1\n"},
        ),
    ],
    ids=["nothing", "output among them"],
)
def test_bad_patterns(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
