"""``qkv lookup --join`` and ``--dedupe``: messy lists against clean tables, from the command."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import qkvcli
from qkvcli.errors import QkvError
from tests.scores.companies import companies, messy, strangers
from tests.support.command import run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Outcome

CLEAN = "name,id,city\nMüller & Söhne GmbH,1,Köln\nAcme Corp,2,Roma\nAcme Holding,3,Milano\n"
MESSY = (
    "company,city,right\nMuller Soehne,Bonn,Müller & Söhne GmbH\nAcme Cop,Rome,Acme Corp\n"
    "Nobody Inc,Oslo,\n,Nowhere,\n"
)


@pytest.fixture
def ask(put: Callable[[str, str], str]) -> Callable[..., Outcome]:
    messy_path, clean_path = put("messy.csv", MESSY), put("clean.csv", CLEAN)

    def run(*options: str, how: Any = run_inside) -> Outcome:
        found: Outcome = how(
            *("lookup", "--queries", messy_path, "--query-key", "company"),
            *("--data", clean_path, "--key", "name", *options),
        )
        return found

    return run


def table(run: Outcome) -> list[dict[str, str]]:
    assert run.status == 0, run.error
    return list(csv.DictReader(io.StringIO(run.text)))


def test_a_row_for_each_row_of_the_queries(ask: Callable[..., Outcome]) -> None:
    run = ask("--mode", "approximate", "--min-score", "0.6", "--join", "-f", "csv", how=run_qkv)
    rows = table(run)
    assert list(rows[0]) == [
        *("company", "city", "right", "name", "id", "city_match", "score", "margin"),
    ]
    assert [row["company"] for row in rows] == ["Muller Soehne", "Acme Cop", "Nobody Inc", ""]
    assert [row["id"] for row in rows] == ["1", "2", "", ""]
    assert [row["city"] for row in rows] == ["Bonn", "Rome", "Oslo", "Nowhere"]
    assert [row["city_match"] for row in rows] == ["Köln", "Roma", "", ""]
    assert run.error == "qkv: 2 matched, 2 unmatched, 0 ambiguous (margin under 0.05)\n"
    scores = {
        row["query"]: float(row["score"])
        for row in csv.DictReader(
            io.StringIO(
                run_inside(
                    *("lookup", "Acme Cop", "-m", "softmax", "-n", "2", "-f", "csv", "--data"),
                    run.arguments[run.arguments.index("--data") + 1],
                ).text
            )
        )
        if row["rank"] == "2"
    }
    assert float(rows[1]["margin"]) == pytest.approx(float(rows[1]["score"]) - scores["Acme Cop"])
    # Beside no other key that scores so much, the margin is to the null key.
    assert float(rows[0]["margin"]) == pytest.approx(float(rows[0]["score"]) - 0.6)


def test_inner_leaves_out_what_nothing_matches(ask: Callable[..., Outcome]) -> None:
    rows = table(ask("--min-score", "0.6", "--join", "inner", "--format", "csv"))
    assert [row["id"] for row in rows] == ["1", "2"]


def test_candidates_for_review(ask: Callable[..., Outcome]) -> None:
    rows = table(ask("--top", "2", "--join", "--format", "csv"))
    found = [(row["company"], row["rank"], row["id"]) for row in rows]
    assert found[:4] == [
        ("Muller Soehne", "1", "1"),
        ("Muller Soehne", "2", found[1][2]),
        ("Acme Cop", "1", "2"),
        ("Acme Cop", "2", "3"),
    ]
    assert found[-1] == ("", "", "")


def test_formats(ask: Callable[..., Outcome], tmp_path: Path) -> None:
    how = ("--min-score", "0.6", "--join")
    lines = [json.loads(line) for line in ask(*how, "-f", "jsonl").text.splitlines()]
    assert [line["id"] for line in lines] == ["1", "2", None, None]
    assert {line["schema"] for line in lines} == {"qkv.join/1"}
    assert isinstance(lines[0]["score"], float)
    assert json.loads(ask(*how, "-f", "json").text)["rows"][0]["name"] == "Müller & Söhne GmbH"
    path = tmp_path / "joined.tsv"
    assert ask(*how, "-o", str(path)).text == ""
    assert path.read_text().splitlines()[1].startswith("Muller Soehne\tBonn\t")
    drawn = ask(*how, "-f", "table").text.splitlines()
    assert drawn[0].split()[:3] == ["company", "city", "right"]


def test_a_person_sees_how_scores_are_spread(ask: Callable[..., Outcome]) -> None:
    run = ask("--min-score", "0.6", "--join", how=lambda *a: run_pty(*a, columns=160))
    assert re.search(r"scores 0\.87 [▁▂▃▄▅▆▇█ ]{20} 1\.00", run.text)


def test_softmax_weighs_candidates(ask: Callable[..., Outcome]) -> None:
    rows = table(ask("-m", "softmax", "--min-score", "0.6", "--join", "-f", "csv"))
    assert list(rows[0])[-2:] == ["weight", "no_match"]
    assert float(rows[1]["weight"]) + float(rows[1]["no_match"]) < 1
    assert float(rows[2]["no_match"]) > 0.9


def test_no_match_at_all_is_told_and_written(ask: Callable[..., Outcome]) -> None:
    run = ask("--min-score", "1", "--join")
    assert run.status == 1
    assert len(run.text.splitlines()) == 5
    assert run.error.endswith("qkv: no query has a match; try a lower --min-score\n")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--one-to-one"], "--one-to-one is of a join; pass --join with it"),
        (["--truth", "right"], "--truth is of a join; pass --join with it"),
        (["--join", "--truth", "rigth"], "--truth: the table of queries has no column 'rigth'"),
        (["--join", "--truth", "right=idd"], "has no column 'idd'; did you mean 'id'?"),
        (["--join", "--query-key", "firm"], "--query-key is given twice; name several in one"),
        (["--join", "--min-score", "2"], "--min-score 2.0 is beyond the scores of text"),
        (["--join", "-m", "average"], "--join takes the best keys"),
        (["--join", "-m", "exact", "-m", "softmax"], "--join has one --mode"),
        (["--join", "--explain"], "--explain does not go with --join"),
        (["--join", "--top", "0"], "--top 0 of a join"),
        (["--join", "outer"], "--join is left or inner, not 'outer'"),
        (["--join", "-f", "value"], "--join is a table"),
        (["--dedupe"], "--dedupe asks with the table's own rows; pass no queries"),
    ],
)
def test_refused(ask: Callable[..., Outcome], options: list[str], line: str) -> None:
    run = ask(*options)
    assert run.status == 2
    assert run.text == ""
    assert line in run.error
    assert len(run.error.splitlines()) == 1


def test_vectors_are_joined_and_heads_are_not(
    put: Callable[[str, str], str], tmp_path: Path
) -> None:
    path = put("n.csv", "x,y,id\n1,2,a\n3,4.5,b\n9,9,c\n")
    run = run_inside("lookup", "1,2", "8,8", "--data", path, "--key", "x,y", "--join", "-f", "csv")
    assert [row["id"] for row in table(run)] == ["a", "c"]
    own = run_inside("lookup", "--self", "--data", path, "--key", "x,y", "--join", "-f", "csv")
    assert [row["id"] for row in table(own)] == ["a", "b", "c"]
    np.savez(tmp_path / "h.npz", keys=np.ones((2, 3, 2)), values=np.ones((2, 3, 1)))
    for words in (["1,0", "--join"], ["--dedupe", "--min-score", "1"]):
        heads = run_inside("lookup", "--data", str(tmp_path / "h.npz"), *words)
        assert (heads.status, heads.text) == (2, "")
        assert "is of one table, and these are heads of arrays" in heads.error


def test_what_has_nothing_in_common_is_no_match() -> None:
    run = run_inside("lookup", "Lipten", "=1+1", "--join", "-f", "csv")
    assert [row["first_name"] for row in table(run)] == ["Zachary", ""]


def test_too_many_candidates_for_one_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkvcli.run.join.MOST", 3)
    names = qkvcli.Database.open({"a": 1, "ab": 2, "abc": 3})
    with pytest.raises(QkvError, match=r"6 candidates, and `one_to_one` weighs 3 at most"):
        names.join(["a", "ab"], one_to_one=True)


# From Python ---------------------------------------------------------------------------------

WORDS = st.text("abc", min_size=1, max_size=4)


@given(
    st.lists(WORDS, min_size=1, max_size=7),
    st.lists(WORDS, min_size=1, max_size=7, unique=True),
    st.floats(0.1, 0.9),
)
def test_one_to_one_has_the_largest_sum(queries: list[str], keys: list[str], least: float) -> None:
    database = qkvcli.Database.open({key: row for row, key in enumerate(keys)})
    found = database.join(queries, one_to_one=True, null_score=least)
    used = [row.candidates[0].row for row in found.matched]
    assert len(used) == len(set(used))
    scores = np.array(
        [
            [match.score or 0 for match in sorted(one.matches, key=lambda m: m.row)]
            for one in database.lookup(queries, mode="average", top=99).found
        ]
    )
    scores[scores < least] = 0
    rows, columns = linear_sum_assignment(-scores)
    total = sum(row.candidates[0].score for row in found.matched)
    assert total == pytest.approx(scores[rows, columns].sum(), abs=1e-9)


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    st.lists(st.floats(-3, 3), min_size=1, max_size=6, unique=True),
    st.sampled_from(["dot", "gaussian"]),
)
def test_one_to_one_of_numbers(queries: list[float], keys: list[float], score: str) -> None:
    database = qkvcli.Database.open({"k": keys, "v": list(range(len(keys)))})
    width: Any = {"bandwidth": 1} if score == "gaussian" else {}
    found = database.join(np.array(queries)[:, None], one_to_one=True, score=score, **width)
    a, b = np.array(queries)[:, None], np.array(keys)[None]
    scores = a * b if score == "dot" else -((a - b) ** 2) / 2
    rows, columns = linear_sum_assignment(-scores)
    assert len(found.matched) == min(len(queries), len(keys))
    total = sum(row.candidates[0].score for row in found.matched)
    assert total == pytest.approx(scores[rows, columns].sum(), rel=1e-5, abs=1e-5)


def test_a_score_of_two_costs_as_another() -> None:
    database = qkvcli.Database.open({"k": [1.0, 2.0], "v": ["one", "two"]})
    found = database.join(np.array([[1.0], [0.5]]), one_to_one=True, score="dot")
    assert found.columns()["v"] == ["two", "one"]


def test_equal_names_are_shared_out_to_the_last() -> None:
    database = qkvcli.Database.open({"name": ["Smith"] * 120 + ["Smyth"], "id": list(range(121))})
    found = database.join(["Smith"] * 120 + ["Smith"], one_to_one=True)
    assert len({row.candidates[0].row for row in found.matched}) == 121


def test_what_is_measured_is_what_is_written() -> None:
    database = qkvcli.Database.open({"name": ["Smith", "Smyth"], "id": [1, 2]})
    asked = {"q": ["Smith", "Smith"], "right": ["Smith", "Smith"]}
    plain = database.join(asked, query_key="q", truth="right").measures
    shared = database.join(asked, query_key="q", truth="right", one_to_one=True).measures
    assert plain is not None
    assert shared is not None
    assert (plain.top_1, shared.top_1, shared.reciprocal_rank) == (1, 0.5, 0.5)


def test_truth_that_names_no_key_is_told(put: Callable[[str, str], str]) -> None:
    clean = put("c.csv", "name,id\nAcme,1\nZenith,2\n")
    asked = put("q.csv", "q,want,score\nAcme,1,x\n")
    how = ("lookup", "--queries", asked, "--query-key", "q", "--data", clean, "--join", "-f", "csv")
    run = run_inside(*how, "--truth", "want")
    assert "none of 1 right answers is among the 1 best keys" in run.error
    assert "--truth COL=ID" in run.error
    run = run_inside(*how, "--truth", "want=id")
    assert "top-1 1.000" in run.error
    # Only a mode with weights has columns of them, and no name is there twice.
    assert run.text.splitlines()[0] == "q,want,score,name,id,score_match,margin"


def test_an_exact_join_without_a_match(put: Callable[[str, str], str]) -> None:
    run = run_inside("lookup", "Lipten", "--join", "--mode", "exact", "-f", "csv")
    assert run.status == 1
    assert "no query has a match; try --mode approximate" in run.error


def test_frames_and_strings_are_joined() -> None:
    import pandas as pd

    clean = pd.DataFrame({"name": ["Acme Corp", "Zenith"], "id": [7, 8]})
    asked = pd.DataFrame({"firm": ["acme corp.", None], "n": [1.5, 2]})
    found = qkvcli.Database.open(clean).join(asked, query_key="firm").to_pandas()
    assert found["name"].isna().tolist() == [False, True]
    assert found["n"].tolist() == ["1.5", "2"]
    assert qkvcli.Database.open(clean).join(["zenit"]).columns()["id"] == ["8"]
    assert repr(qkvcli.Database.open(clean).join(["zenit", ""])) == "Join(2 queries, 1 matched)"


def test_measures_are_those_of_their_definitions() -> None:
    pairs = [*messy(), *((name, "") for name in strangers())]
    names = qkvcli.Database.open({"name": companies(), "id": list(range(300))})
    asked = {"text": [text for text, _ in pairs], "right": [name for _, name in pairs]}
    join = names.join(asked, query_key="text", truth="right", top=3)
    found = join.measures
    assert found is not None
    best = [row.candidates[0] for row in join.rows]
    hits = [one.record.key[0] == right for one, (_, right) in zip(best, pairs, strict=True)]
    assert found.answerable == 100
    assert found.top_1 == pytest.approx(sum(hits) / 100)
    places = [
        [c.record.key[0] for c in row.candidates].index(right) + 1
        for row, (_, right) in zip(join.rows, pairs, strict=True)
        if right and right in [c.record.key[0] for c in row.candidates]
    ]
    assert found.recall == pytest.approx(len(places) / 100)
    assert found.reciprocal_rank == pytest.approx(sum(1 / place for place in places) / 100)
    sys.path.insert(0, str(Path(__file__).parents[3] / "shared" / "tools"))
    matching = pytest.importorskip("matching", reason="../shared/tools is not beside the checkout")
    wanted = matching.figures(
        [(one.score, one.record.key[0]) for one in best], [right or None for _, right in pairs]
    )
    assert (found.top_1, found.average_precision, found.threshold_recall) == pytest.approx(wanted)
    assert found.threshold is not None
    above = [hit for one, hit in zip(best, hits, strict=True) if one.score >= found.threshold]
    assert sum(above) >= 0.9 * len(above)


def test_truth_by_the_value_of_a_column(ask: Callable[..., Outcome]) -> None:
    by_name = ask("--join", "--truth", "right", "--min-score", "0.5")
    assert "of 2 queries with a right answer: top-1 1.000, recall at 1 1.000" in by_name.error
    asked = {"q": ["acme cop", "x"], "want": ["2", ""]}
    database = qkvcli.Database.open({"name": ["Acme Corp", "Bolt"], "id": ["2", "9"]})
    found = database.join(asked, query_key="q", truth="want=id").measures
    assert found is not None
    assert (found.answerable, found.top_1) == (1, 1)


# Groups --------------------------------------------------------------------------------------


def test_rows_that_match_are_a_group(put: Callable[[str, str], str]) -> None:
    path = put(
        "t.csv", "name,n\nAcme Corp,1\nZenith,2\nACME Corp.,3\nAcme Crop,4\nZenit,5\nLone,6\n"
    )
    run = run_inside("lookup", "--data", path, "--dedupe", "--min-score", "0.8", "-f", "csv")
    assert [row["group"] for row in table(run)] == ["1", "2", "1", "1", "2", "3"]
    assert run.error == "qkv: 6 rows; groups of more than one: 2\n"
    assert [row["n"] for row in table(run)] == ["1", "2", "3", "4", "5", "6"]


def test_equal_rows_are_grouped_with_their_near_copies() -> None:
    names = ["Acme Corp", "Acme Crop"] * 60
    found = qkvcli.Database.open({"name": names, "id": list(range(120))}).groups(null_score=0.8)
    assert set(found.groups) == {1}


@given(st.lists(WORDS, min_size=1, max_size=12), st.floats(0.1, 1))
def test_groups_are_connected_components(keys: list[str], least: float) -> None:
    database = qkvcli.Database.open({"key": keys, "value": keys})
    found = database.groups(null_score=least).groups
    scores = np.array(
        [
            [match.score or 0 for match in sorted(one.matches, key=lambda m: m.row)]
            for one in database.lookup(keys, mode="average", top=99).found
        ]
    )
    wanted = list(range(len(keys)))
    for _ in keys:
        for i, j in zip(*np.nonzero(scores >= least), strict=True):
            wanted[i] = wanted[j] = min(wanted[i], wanted[j])
    assert [[a == b for a in found] for b in found] == [[a == b for a in wanted] for b in wanted]


def test_groups_need_a_score() -> None:
    run = run_inside("lookup", "--dedupe")
    assert (run.status, run.text) == (2, "")
    assert "--dedupe needs --min-score" in run.error
