"""Key columns that are dates, categories or grades: what they are read as, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import re
import warnings
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli import Database
from qkvcli.coded import date_text, days
from qkvcli.errors import QkvError
from tests.support.command import run_inside, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(7)
COUNT = 120
C = np.round(RNG.uniform(0, 5, COUNT), 3)
U, V, GRADES = (RNG.integers(low, high, COUNT) for low, high in ((0, 4), (0, 3), (1, 6)))
DAYS = RNG.integers(19_000, 19_400, COUNT)
Y = np.round(np.sin(C) + U * 0.5 + GRADES * 0.2 + RNG.normal(0, 0.2, COUNT), 3)
DATES = [str(np.datetime64(int(day), "D")) for day in DAYS]
FRUITS = [["apple", "fig", "pear", "quince"][code] for code in U]
SHOPS = [["a,b", "", "c"][code] or "b" for code in V]
WORDS: tuple[str, ...] = ("--key", "day,fruit,grade", "--value", "y", "--date", "day")
WORDS = (*WORDS, "--categorical", "fruit", "--ordered", "grade")


def _columns() -> dict[str, Any]:
    return {"day": DATES, "fruit": FRUITS, "grade": GRADES.tolist(), "y": Y.tolist()}


def _csv() -> str:
    rows = zip(*_columns().values(), strict=True)
    return "day,fruit,grade,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("kinds", "widths"),
    [("cu", [0.5, 0.3]), ("co", [0.5, 0.4]), ("uv", [0.3, 0.2]), ("cuo", [0.5, 0.3, 0.4])],
)
def test_products_are_those_of_statsmodels(kinds: str, widths: list[float]) -> None:
    from statsmodels.nonparametric.kernel_regression import KernelReg

    codes: dict[str, NDArray[Any]] = {"c": C, "u": U, "v": V, "o": GRADES}
    cells = {"c": C, "u": FRUITS, "v": SHOPS, "o": GRADES}
    numbers = np.column_stack([codes[kind] for kind in kinds])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KernelReg(Y, numbers, kinds.replace("v", "u"), "lc", bw=widths)
        wanted, _ = model.fit(numbers)
    table: Any = {kind: cells[kind] for kind in kinds}
    base = Database.open(
        {**table, "y": Y},
        key=list(kinds),
        value="y",
        categorical=[kind for kind in kinds if kind in "uv"],
        ordered=[kind for kind in kinds if kind == "o"],
    )
    found = base.pool(table, bandwidth=widths)
    np.testing.assert_allclose(found.output[:, 0], wanted, rtol=0, atol=1e-8)


def test_widths_by_leaving_out_are_as_good_as_those_of_statsmodels() -> None:
    from statsmodels.nonparametric.kernel_regression import KernelReg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KernelReg(Y, [C, U], "cu", "lc", bw="cv_ls")
        theirs = float(np.squeeze(model.cv_loo(model.bw, model.est["lc"])))
    base = Database.open({"c": C, "u": FRUITS, "y": Y}, key=["c", "u"], value="y", categorical="u")
    (width,) = base.pool(base.own_keys()).about.bandwidths  # type: ignore[union-attr]
    assert width.error is not None
    assert width.error <= theirs * 1.001
    assert width.widths[0] == pytest.approx(model.bw[0], rel=0.05)


def test_a_line_is_along_the_numbers_alone() -> None:
    y = 3 * C + 10 * U
    base = Database.open({"c": C, "u": FRUITS, "y": y}, key=["c", "u"], value="y", categorical="u")
    asked: Any = {"c": [1.0, 2.0], "u": ["apple", "pear"]}
    found = base.pool(asked, degree=1, bandwidth=[1, 1e-12])
    np.testing.assert_allclose(found.output[:, 0], [3, 26], atol=1e-8)
    np.testing.assert_allclose(found.jacobian, np.full((2, 1, 1), 3), atol=1e-8)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet", "arrow", "stdin"])
def test_every_format_gives_one_answer(form: str, tmp_path: Path) -> None:
    name, piped = tmp_path / f"t.{form}", b""
    columns = _columns()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if form in {"csv", "stdin"}:
        name.write_text(_csv())
        piped = name.read_bytes()
    elif form == "json":
        name.write_text(json.dumps(rows))
    elif form == "jsonl":
        name.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow import feather

        kind = pa.date32() if form == "parquet" else pa.timestamp("ns")
        moments = pa.array([dt.date.fromisoformat(day) for day in DATES]).cast(kind)
        fruits = pa.array(FRUITS).dictionary_encode()
        table = pa.table({"day": moments, "fruit": fruits, "grade": GRADES, "y": Y})
        pq.write_table(table, name) if form == "parquet" else feather.write_feather(table, name)
    data = "-" if form == "stdin" else str(name)
    run = run_qkv(
        *("pool", "2022-02-05,fig,3", "--data", data, *WORDS, "--bandwidth", "9,0.2,0.3"),
        stdin=piped if form == "stdin" else b"",
    )
    apart = (19028 - DAYS) / 9
    weights = np.exp(-np.square(apart) / 2) * np.where(U == 1, 1, 0.2 / 3 / 0.8)
    weights *= np.where(GRADES == 3, 1, 0.3 ** np.abs(GRADES - 3) / 2)
    header, row = run.text.splitlines()
    assert header.split("\t")[:4] == ["day", "fruit", "grade", "y"]
    assert row.split("\t")[:3] == ["2022-02-05", "fig", "3"]
    assert float(row.split("\t")[3]) == pytest.approx(weights @ Y / weights.sum(), rel=1e-12)


def test_queries_come_from_a_table_and_from_python(put: Callable[[str, str], str]) -> None:
    data = put("t.csv", _csv())
    asked = put("q.csv", "fruit,grade,day\nfig,3,2022-02-05\npear,2,2022-02-05T12:00+12:00\n")
    how = ("--bandwidth", "9,0.2,0.3")
    run = run_inside("pool", "--queries", asked, "--data", data, *WORDS, *how, "-f", "value")
    assert run.status == 0, run.error
    kinds: dict[str, Any] = {"date": "day", "categorical": "fruit", "ordered": "grade"}
    base = Database.open(data, key=["day", "fruit", "grade"], value="y", **kinds)
    days_of = [dt.date(2022, 2, 5), dt.datetime(2022, 2, 5, tzinfo=dt.UTC)]
    rows: Any = [
        [day, fruit, grade]
        for day, fruit, grade in zip(days_of, ("fig", "pear"), (3, 2), strict=True)
    ]
    found = base.pool(rows, bandwidth=[9, 0.2, 0.3])
    assert [float(line) for line in run.text.split()] == found.output[:, 0].tolist()


def test_notes_and_pictures_say_dates(put: Callable[[str, str], str], tmp_path: Path) -> None:
    data = put("t.csv", _csv())
    out = tmp_path / "t.svg"
    run = run_inside(
        *("pool", "--data", data, "--value", "y", "--key", "day", "--date", "day"), "-o", str(out)
    )
    assert re.search(r"cv chose [0-9.]+ days for day", run.error)
    texts = {x.text or "" for x in ET.fromstring(out.read_text()).iter() if x.text}  # noqa: S314
    assert {"2022-04", "2022-07", "2022-10"} <= texts
    assert any(re.fullmatch(r"h = [0-9.]+ days|y by day, .* days", text) for text in texts)
    run = run_inside(
        "pool", "--data", data, "--value", "y", "--key", "day", "--date", "day", "--plot"
    )
    assert re.search(r"2022-\d\d-\d\d +2023-\d\d-\d\d", run.text)


@pytest.mark.parametrize(
    ("table", "words", "line"),
    [
        ("d,y\n2024-01-01,1\n2024-02-30,2\n", ("--date", "d"), r"t.csv:3: '2024-02-30' in the date column 'd' is no date"),
        ("d,y\n2024-01-01,1\n,2\n", ("--date", "d"), r"t.csv:3: '' in the date column 'd'; pass --missing skip"),
        ("d,y\n2024-01-01,1\n5,2\n", ("--date", "d"), r"t.csv:3: '5' in the date column"),
        ("d,y\n2024-01-01,1\n2024-01-02,2\n", ("--score", "gaussian"), "pass --date d,"),
        ("d,y\nfig,1\npear,2\n", ("--score", "gaussian"), "pass --categorical d,"),
        ("d,y\nfig,1\npear,2\n", ("--categorical", "d"), r"'2024-01-01' is none of the 2 values .* there is fig, pear"),
        ("d,y\nfig,1\npear,2\n", ("--ordered", "d"), r"'2024-01-01' in the ordered column 'd' is no number; write grades"),
        ("d,y\nfig,1\npear,2\n", ("--date", "x"), "--date: .* has no column 'x'"),
        ("d,y\nfig,1\npear,2\n", ("--date", "y"), "--date names the column 'y', and the key of .* is d"),
        ("d,y\nfig,1\npear,2\n", ("--date", "d", "--categorical", "d"), "--date and --categorical both name"),
        ("d,y\nfig,1\npear,2\n", ("--date", "d", "--key-type", "text"), "--key-type is of all key columns"),
        ("d,e,y\n2024-01-01,a,1\n2024-01-02,b,2\n", ("--key", "d,e", "--value", "y", "--date", "d"), "'e' is text, beside .* pass --categorical e"),
        ("d,y\n2024-01-01,1\n2024-01-02,2\n", ("--categorical", "d", "--bandwidth", "0.6"), "of its 2 values it is a share up to 0.5"),
        ("d,y\n2024-01-01,1\n2024-01-02,2\n", ("--categorical", "d", "--score", "dot"), "--score dot does not compare"),
        ("d,y\n2024-01-01,1\n2024-01-01,2\n", ("--categorical", "d"), "'d' is constant, so scott gives no width"),
    ],
)  # fmt: skip
def test_refused(
    table: str, words: tuple[str, ...], line: str, put: Callable[[str, str], str]
) -> None:
    run = run_inside("pool", "2024-01-01", "--data", put("t.csv", table), *words)
    assert (run.status, run.text) == (2, "")
    assert len(run.error.splitlines()) == 1
    assert re.search(line, run.error), run.error


def test_rows_without_a_date_are_left_out(put: Callable[[str, str], str]) -> None:
    data = put("t.csv", "d,u,y\n2024-01-01,a,1\n,a,5\n2024-01-03,,5\n2024-01-03,NA,3\n")
    words: tuple[str, ...] = ("--key", "d,u", "--value", "y", "--date", "d", "--categorical", "u")
    words = (*words, "--missing", "skip", "--bandwidth", "1,0.5", "-f", "value")
    run = run_inside("pool", "2024-01-02,NA", "2024-01-02,a", "--data", data, *words)
    assert run.text.split() == ["2", "2"]
    assert run.error == "qkv: 2 rows left out, in which a number is missing\n"


def test_dates_as_text_are_said(put: Callable[[str, str], str]) -> None:
    data = put("t.csv", "d,y\n2024-01-01,1\n2024-01-03,3\n")
    run = run_inside("pool", "2024-01-02", "--data", data)
    assert "keys are compared as text; --date d makes it a regression" in run.error


@settings(max_examples=80, deadline=None)
@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_days_are_those_of_the_calendar(moment: dt.datetime) -> None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    found = days(moment.isoformat())
    assert found == pytest.approx((moment - epoch).total_seconds() / 86400, abs=1e-9)
    whole = moment.replace(microsecond=0)
    assert days(date_text(days(whole.isoformat()) or 0.0)) == days(whole.isoformat())


@pytest.mark.parametrize(
    "cell",
    [
        "2024-1-1",
        "20240101",
        "2024-W01-1",
        "01.02.2024",
        "2024-01-01T24:00",
        "2024-01-01 x",
        "today",
        "2024-01-0\u0661",
    ],
)
def test_what_is_no_date(cell: str) -> None:
    assert days(cell) is None


def test_processes_and_shards_know_all_values(tmp_path: Path) -> None:
    head, *rows = _csv().splitlines(keepends=True)
    (tmp_path / "a.csv").write_text(head + "".join(rows[:50]))
    (tmp_path / "b.csv").write_text(head + "".join(rows[50:]))
    (tmp_path / "all.csv").write_text(head + "".join(rows))
    how = (*WORDS, "--bandwidth", "9,0.2,0.3", "-f", "value")
    asked = ("2022-02-05,quince,3", "2022-08-05,apple,1")
    whole = run_inside("pool", *asked, "--data", str(tmp_path / "all.csv"), *how)
    parts = run_inside("pool", *asked, "--data", str(tmp_path / "[ab].csv"), *how)
    assert whole.status == 0, whole.error
    np.testing.assert_allclose(
        [float(x) for x in parts.text.split()], [float(x) for x in whole.text.split()], rtol=1e-12
    )


def test_a_picture_and_learning_are_of_numbers() -> None:
    base = Database.open(_columns(), key="fruit", value="y", categorical="fruit")
    with pytest.raises(QkvError, match="dates or categories"):
        base.learn()
    with pytest.raises(QkvError, match="ask with a table"):
        base.pool(np.array([[1.0]]))
