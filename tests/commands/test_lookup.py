"""``qkv lookup``: files, pipes and a terminal, through the command."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import names
import numpy as np
import pytest
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.process import cdist

from tests.support.command import QKV, SAMPLES, Outcome, environment, run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

WITHOUT_LI = str(SAMPLES / "names-without-li.csv")
ALL = ("exact", "approximate", "softmax", "average")
TSV_HEADER = ["query", "rank", "last_name", "first_name", "score", "weight"]


def answered(*arguments: str, **how: Any) -> Outcome:
    # What depends on the environment of a process has one of its own.
    run = (run_qkv if "env" in how else run_inside)("lookup", *arguments, **how)
    assert run.status == 0, run
    return run


def rows(*arguments: str, **how: Any) -> list[dict[str, str]]:
    """Return the rows that the command writes into a pipe."""
    return list(csv.DictReader(io.StringIO(answered(*arguments, **how).text), delimiter="\t"))


def document(*arguments: str, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answered(*arguments, "--format", "json", **how).text)
    return found


def by_shell(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user types it, with ``qkv`` on the path."""
    path = f"{Path(QKV).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=environment({"PATH": path, **env}),
        capture_output=True,
        check=False,
        text=True,
        cwd=SAMPLES,
        # As a shell has it; Python ignores SIGPIPE, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    )


def test_an_exact_key() -> None:
    run = answered("Li")
    assert run.text == "query\trank\tlast_name\tfirst_name\tscore\tweight\nLi\t1\tLi\tMu\t1\t1\n"
    assert run.error == ""


def test_no_such_key() -> None:
    run = run_qkv("lookup", "Li", "--data", WITHOUT_LI)
    assert (run.status, run.out) == (1, b"")
    assert run.error == (
        f"qkv: no key of {WITHOUT_LI} equals 'Li'; the closest is 'Lipton' (score 0.343): "
        "try --mode approximate\n"
    )


def test_a_missing_query_among_several() -> None:
    run = answered("Li", "Lipton", "Hu", "--data", WITHOUT_LI)
    assert [line.split("\t")[0] for line in run.text.splitlines()] == ["query", "Lipton", "Hu"]
    assert len(run.error.splitlines()) == 1
    assert "equals 'Li'; the closest is 'Lipton'" in run.error


def test_many_missing_queries_are_not_a_flood() -> None:
    run = answered("Li", *(f"x{i}" for i in range(30)))
    assert len(run.error.splitlines()) == 11
    assert run.error.endswith("and 20 more queries without a match\n")


@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_the_closest_key_of_a_pipe_too(stdin: bool) -> None:
    data = Path(WITHOUT_LI).read_bytes()
    run = run_inside("lookup", "Li", "--data", "-" if stdin else WITHOUT_LI, stdin=data)
    assert run.status == 1
    assert "the closest is 'Lipton' (score 0.343): try --mode approximate" in run.error


# 4 of 6 letters are missing; of Jaro-Winkler's (1 + 1/3 + 1) / 3 and its bonus there is a little.
LI_LIPTON = repr(((1 - 4 / 6) + 0.02 * (7 / 9 + 0.2 * (1 - 7 / 9))) / 1.02)


def test_approximate() -> None:
    (row,) = rows("Li", "--data", WITHOUT_LI, "--mode", "approximate")
    assert list(row.values()) == ["Li", "1", "Lipton", "Zachary", LI_LIPTON, "1"]


def test_neighbors_share_equally() -> None:
    found = rows("Li", "--mode", "approximate", "--neighbors", "3")
    assert [row["last_name"] for row in found] == ["Li", "Lipton", "Smola"]
    assert {row["weight"] for row in found} == {repr(1 / 3)}
    assert len(rows("Li", "--mode", "softmax", "-k", "2")) == 2


def test_softmax() -> None:
    found = rows("Li", "--mode", "softmax")
    assert found[0]["last_name"] == "Li"
    assert float(found[0]["weight"]) == pytest.approx(0.998, abs=0.0005)
    weights = [float(row["weight"]) for row in found]
    assert len(weights) == 6
    assert abs(math.fsum(weights) - 1) <= 1e-12
    scores = np.array([float(row["score"]) for row in found])
    wanted = np.exp(scores / 0.1) / np.exp(scores / 0.1).sum()
    assert weights == pytest.approx(wanted, rel=1e-14)


def test_a_cold_softmax_is_approximate_and_a_hot_one_average() -> None:
    def weights(*mode: str) -> list[float]:
        arguments = ("Li", "--data", WITHOUT_LI, "--top", "0", "--format", "json")
        found = json.loads(answered(*arguments, "--mode", *mode).text)["queries"][0]["matches"]
        seen = {match["row"]: next(iter(match["weights"].values())) for match in found}
        return [seen.get(row, 0.0) for row in range(5)]

    assert weights("softmax", "-T", "0.001") == pytest.approx(weights("approximate"), abs=1e-12)
    assert weights("softmax", "-T", "1e9") == pytest.approx(weights("average"), abs=1e-9)


def test_average() -> None:
    found = rows("x", "--mode", "average")
    assert {row["weight"] for row in found} == {repr(1 / 6)}
    assert len(found) == 6


def test_modes_side_by_side() -> None:
    several = rows("Lipten", *(word for mode in ALL for word in ("--mode", mode)))
    assert list(several[0]) == [*TSV_HEADER[:-1], *(f"weight_{mode}" for mode in ALL)]
    for mode in ALL[1:]:
        alone = {row["last_name"]: row["weight"] for row in rows("Lipten", "-m", mode)}
        for row in several:
            shown = row[f"weight_{mode}"]
            assert float(shown) == pytest.approx(float(alone.get(row["last_name"], "0")), rel=1e-14)
    assert {row["weight_exact"] for row in several} == {"0"}


def test_scores_side_by_side() -> None:
    names = ("tokens", "osa", "jaro-winkler")
    how = ("-m", "softmax", "--top", "0")
    several = rows("Lipten", *how, *(word for name in names for word in ("--score", name)))
    assert list(several[0])[4:] == [f"{c}_{n}" for c in ("score", "weight") for n in names]
    for name in names:
        alone = {row["last_name"]: row for row in rows("Lipten", *how, "--score", name)}
        for row in several:
            for column in ("score", "weight"):
                wanted = float(alone[row["last_name"]][column])
                assert float(row[f"{column}_{name}"]) == pytest.approx(wanted, rel=1e-12)
    # Each has a best key of its own, and the score of one that only another lists is known too.
    found = rows("Hz", "-m", "approximate", "-s", "prefix", "-s", "indel")
    assert len(found) == len({row["last_name"] for row in found})
    assert all(row["score_prefix"] and row["score_indel"] for row in found)
    item = document("Lipten", "-m", "softmax", "-s", "tokens", "-s", "osa")["queries"][0]
    assert set(item["matches"][0]["scores"]) == set(item["perplexity"]) == {"tokens", "osa"}
    drawn = answered("Lipten", *how, "-s", "tokens", "-s", "osa", "--format", "table").text
    assert drawn.splitlines()[1].split()[3:] == ["tokens", "osa", "α", "tokens", "α", "osa"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-s", "osa", "-s", "tokens", "-m", "exact", "-m", "average"), "side by side, not both"),
        (("-s", "osa", "-s", "tokens", "--join"), "--join has one --score"),
    ],
)
def test_several_scores_refused(arguments: tuple[str, ...], line: str) -> None:
    run = run_inside("lookup", "Li", *arguments)
    assert (run.status, run.text) == (2, "")
    assert line in run.error


def test_it_is_explained_where_a_score_comes_from() -> None:
    keys = b"name\nMuller & Sohne GmbH\nAcme Holding\n"
    how = ("--data", "-", "-m", "softmax", "--explain", "--top", "1")
    shown = run_inside("lookup", "Sohne Mueller", *how, "--format", "table", stdin=keys).text
    head, mueller, sohne, rarity = shown.strip().splitlines()[-4:]
    assert head.split() == ["takes", "gmbh", "muller", "sohne", "rarity"]
    assert sohne.split()[3] == "1.000*"
    assert mueller.split()[2].endswith("*")
    assert rarity.split()[1:] == ["1.099"] * 3  # each of one key among two: log(1 + 2)
    run = run_inside("lookup", "Sohne Mueller", *how, "--format", "json", stdin=keys)
    origin = json.loads(run.text)["queries"][0]["matches"][0]["origins"]["softmax"]
    assert origin["query"] == ["mueller", "sohne"]
    edits = answered("Lipten", "-m", "approximate", "-s", "osa", "--explain", "--format", "table")
    assert "lipten is made lipton by: e→o" in edits.text


def test_a_mode_named_twice_is_shown_once() -> None:
    assert list(rows("Li", "-m", "exact", "-m", "exact")[0]) == TSV_HEADER


def test_what_is_left_out_is_told() -> None:
    run = answered("Li", "--mode", "softmax", "--top", "2")
    assert len(run.text.splitlines()) == 3
    assert run.error == (
        "qkv: note: left out: 4 rows with 0.000458 of the weight; --top 0 lists all\n"
    )
    found = document("Li", "--mode", "softmax", "--top", "2")["queries"][0]
    assert found["left_out"]["softmax"]["rows"] == 4
    shown = [match["weights"]["softmax"] for match in found["matches"]]
    assert math.fsum(shown) + found["left_out"]["softmax"]["weight"] == pytest.approx(1, abs=1e-12)
    assert answered("Li", "--mode", "softmax", "--top", "0").error == ""


def test_top_is_ten_or_all() -> None:
    keys = "k\n" + "".join(f"key{i:02}\n" for i in range(25))
    assert len(rows("key", "-m", "average", "--data", "-", stdin=keys.encode())) == 10
    arguments = ("key", "-m", "average", "--top", "0", "--data", "-")
    assert len(rows(*arguments, stdin=keys.encode())) == 25


def test_min_weight() -> None:
    found = document("Li", "-m", "softmax", "--min-weight", "0.001")["queries"][0]
    assert [match["key"]["last_name"] for match in found["matches"]] == ["Li", "Lipton"]
    assert found["left_out"]["softmax"]["rows"] == 4


def test_explain() -> None:
    found = rows("Li", "-m", "softmax", "--explain")
    for row in found:
        assert row["temperature"] == "0.1"
        assert float(row["logit"]) == pytest.approx(float(row["score"]) / 0.1)
        assert row["rule"] == "a(q, k) / T; exp(a/T) / Σ exp(a/T)"
    sides = rows("Li", "-m", "exact", "-m", "average", "--explain")
    assert (sides[0]["logit_exact"], sides[1]["logit_exact"]) == ("0", "-inf")
    assert (sides[0]["temperature_exact"], sides[0]["temperature_average"]) == ("0", "inf")
    assert sides[0]["rule_average"] == "0; 1/m on every key"


@pytest.mark.parametrize(
    ("arguments", "temperature"),
    [
        (("Lipten",), 0.1),
        (("Li", "-T", "0.5"), 0.5),
        (("Li", "-k", "2"), 0.1),
        (("Hu", "-T", "9"), 9),
    ],
    ids=str,
)
def test_the_steps_are_those_of_a_softmax(arguments: tuple[str, ...], temperature: float) -> None:
    """Each column follows from the one before, as a person would work it out."""
    how = ("-m", "softmax", "--top", "0", "--explain", "--format", "table")
    run = answered(*arguments, *how)
    assert max(map(len, run.text.split("\n\n")[1].splitlines())) <= 80
    head, *lines, total = run.text.split("\n\n")[1].splitlines()[1:]
    assert head.split() == ["last_name", "score", "÷", "T", "exp", "÷", "Σ", "×", "first_name"]
    steps = [[float(cell) for cell in line.split()[1:5]] for line in lines]
    every = {row["last_name"]: row for row in rows(*arguments, "-m", "softmax", "--top", "0")}
    for line, (score, divided, exponential, weight) in zip(lines, steps, strict=True):
        wanted = every[line.split()[0]]
        assert score == pytest.approx(float(wanted["score"]), abs=5e-4)
        assert divided == pytest.approx(float(wanted["score"]) / temperature, abs=6e-4)
        assert exponential == pytest.approx(
            math.exp(float(wanted["score"]) / temperature), rel=6e-3
        )
        assert weight == pytest.approx(float(wanted["weight"]), rel=6e-3, abs=5e-4)
        assert line.split()[5] == wanted["first_name"]
    assert total.startswith("Σ the 2 best" if "-k" in arguments else "Σ all keys")
    numbers = [cell for cell in total.split() if re.fullmatch(r"[0-9.]+", cell)]
    assert float(numbers[-3]) == pytest.approx(sum(step[2] for step in steps), rel=6e-3)
    assert numbers[-2] == "1"


def test_the_steps_of_what_no_double_holds() -> None:
    run = answered("Li", "-m", "softmax", "-T", "0.001", "--explain", "--format", "table")
    assert "1.97e+434" in run.text  # exp(1000)


def test_many_queries_are_one_table() -> None:
    long = "a name that is far too long to stand before its answer"
    how = ("-m", "softmax", "-m", "average", "--top", "2", "--format", "table")
    run = answered("Li", "Lipten", long, *how)
    assert run.text.count("last_name") == 1
    table, summary = run.text.splitlines()[:7], run.text.splitlines()[7:]
    assert [line.split()[:3] for line in table[1:5]] == [
        ["Li", "1", "Li"],
        ["2", "Lipton", "Zachary"],
        ["Lipten", "1", "Lipton"],
        ["2", "Li", "Mu"],
    ]
    named = [line for line in summary if " answer " in line]
    assert len(named) == 6
    assert len({line.index("answer") for line in named}) == 1
    assert named[4].startswith("a name that is far too …  softmax")
    alone = run_inside("lookup", "Li", "Qux", "--format", "table")
    assert any(line.split()[:2] == ["Qux", "no"] for line in alone.text.splitlines())


def test_four_modes_stay_a_table() -> None:
    modes = ("-m", "exact", "-m", "approximate", "-m", "softmax", "-m", "average")
    run = run_pty("lookup", "Lipten", *modes, "--explain", "--color", "never", columns=80)
    shown = run.text.replace("\r", "").splitlines()
    assert shown[1].split()[-4:] == ["exact", "approximate", "softmax", "average"]
    assert max(map(len, shown)) <= 80


def test_values_alone() -> None:
    assert answered("Li", "--format", "value").text == "Mu\n"
    done = by_shell('name=$(qkv lookup Li --format value); echo "<$name>"')
    assert (done.stdout, done.stderr) == ("<Mu>\n", "")


def test_the_readme_pipeline() -> None:
    done = by_shell(
        r"printf 'Lipten\nSmolla\n' | qkv lookup - --mode approximate --format tsv | cut -f3"
    )
    assert done.stdout == "last_name\nLipton\nSmola\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_head_ends_it_silently(put: Callable[[str, str], str]) -> None:
    path = put("k.csv", "k\n" + "".join(f"key{i}\n" for i in range(100_000)))
    done = by_shell(
        f"qkv lookup key -m average --top 0 --data {path} | head -1; echo ${{PIPESTATUS[0]}}"
    )
    assert done.stdout.splitlines() == ["query\trank\tk\tscore\tweight", "141"]
    assert done.stderr == ""


def test_full_and_closed_outputs() -> None:
    for redirect, line in (
        (">/dev/full", "qkv: stdout: not written: No space left on device\n"),
        (">&-", "qkv: stdout: is closed\n"),
    ):
        done = by_shell(f"qkv lookup Li {redirect}")
        assert (done.returncode, done.stderr) == (2, line)
    assert by_shell("qkv lookup nobody 2>&-").returncode == 1


@pytest.mark.parametrize("form", ["tsv", "csv", "json", "jsonl", "value"])
def test_every_machine_format(form: str, tmp_path: Path) -> None:
    arguments = ("Li", "Hu", "-m", "softmax", "--top", "2")
    run = answered(*arguments, "--format", form)
    if form in ("tsv", "csv"):
        lines = list(csv.reader(io.StringIO(run.text), delimiter="\t" if form == "tsv" else ","))
        assert lines[0] == TSV_HEADER
        assert [line[:4] for line in lines[1:4:2]] == [
            ["Li", "1", "Li", "Mu"],
            ["Hu", "1", "Hu", "Rachel"],
        ]
    elif form == "json":
        assert [one["query"] for one in json.loads(run.text)["queries"]] == ["Li", "Hu"]
    elif form == "jsonl":
        items = [json.loads(line) for line in run.text.splitlines()]
        assert [(one["schema"], one["query"]) for one in items] == [
            ("qkv.lookup/1", "Li"),
            ("qkv.lookup/1", "Hu"),
        ]
    else:
        assert run.text == "Mu\nRachel\n"
    # The file's extension says the same as --format, and the bytes are the same.
    extension = "txt" if form == "value" else form
    path = tmp_path / f"out.{extension}"
    assert answered(*arguments, "--output", str(path)).out == b""
    assert path.read_bytes() == run.out


def test_json_schema() -> None:
    found = document("Li", "-m", "softmax", "-m", "exact", "--top", "1", "--explain")
    every = document("Li", "-m", "softmax", "--top", "6")["queries"][0]["answers"]["softmax"]
    assert list(found) == ["schema", "source", "rows", "score", "modes", "queries"]
    assert (found["schema"], found["rows"], found["score"]) == ("qkv.lookup/1", 6, "tokens")
    assert found["modes"] == [
        {"mode": "softmax", "temperature": 0.1},
        {"mode": "exact", "temperature": 0.0},
    ]
    (one,) = found["queries"]
    assert (one["query"], one["answered"]) == ("Li", True)
    (match,) = one["matches"]
    assert match["key"] == {"last_name": "Li"}
    assert match["value"] == {"first_name": "Mu"}
    assert (match["rank"], match["row"], match["score"]) == (1, 2, 1.0)
    assert match["weights"] == {"softmax": pytest.approx(0.99814, abs=1e-5), "exact": 1.0}
    assert match["explain"]["softmax"]["logit"] == 10
    assert one["answers"]["exact"] == {"first_name": {"Mu": 1.0}}
    assert list(one["answers"]["softmax"]["first_name"]) == ["Mu"]  # as many as --top
    shares = every["first_name"]
    assert list(shares) == ["Mu", "Zachary", "Alex", "Aston", "Rachel", "Brent"]
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert one["perplexity"]["exact"] == 1
    p = np.array(list(shares.values()))
    assert one["perplexity"]["softmax"] == pytest.approx(math.exp(-(p * np.log(p)).sum()))


def test_weights_with_labels(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    answered("Li", "Hu", "-m", "softmax", "--weights", str(path))
    with np.load(path) as arrays:
        assert sorted(arrays) == ["key_labels", "query_labels", "weights"]
        assert arrays["weights"].shape == (2, 6)
        assert np.abs(arrays["weights"].sum(1) - 1).max() <= 1e-12
        assert list(arrays["query_labels"]) == ["Li", "Hu"]
        assert list(arrays["key_labels"])[:3] == ["Zhang", "Lipton", "Li"]
        weights = arrays["weights"]
    answered("Li", "Hu", "-m", "softmax", "--weights", str(tmp_path / "w.npy"))
    assert np.array_equal(np.load(tmp_path / "w.npy"), weights)
    # With - the matrix takes the place of the answer.
    piped = answered("Li", "Hu", "-m", "softmax", "--weights", "-")
    with np.load(io.BytesIO(piped.out)) as arrays:
        assert np.array_equal(arrays["weights"], weights)
        assert list(arrays["query_labels"]) == ["Li", "Hu"]


def test_weights_and_answer_at_once(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    run = answered("Li", "-m", "average", "--weights", "-", "-o", str(path))
    assert np.load(io.BytesIO(run.out))["weights"].tolist() == [[1 / 6] * 6]
    assert json.loads(path.read_text())["rows"] == 6


@pytest.mark.parametrize("widths", [[], ["--bandwidth", "silverman"], ["--bandwidth", "0.3"]])
def test_numbers_in_a_pipe(widths: list[str]) -> None:
    path = SAMPLES / "sine.csv"
    ask = ["2.5", "--mode", "softmax", "--top", "3", *widths]
    piped = answered(*ask, "--data", "-", stdin=path.read_bytes())
    assert piped.out == answered(*ask, "--data", str(path)).out
    assert piped.out.count(b"\n") == 4


def test_queries_from_a_file_stdin_and_the_keys(put: Callable[[str, str], str]) -> None:
    path = put("queries.txt", "Li\n\nHu\r\n")
    wanted = answered("Li", "Hu").out
    assert answered("--queries", path).out == wanted
    assert answered("-", stdin=b"Li\nHu\n").out == wanted
    assert answered("--queries", "-", stdin=b"Li\nHu").out == wanted
    own = rows("--self")
    assert [row["query"] for row in own] == [row["last_name"] for row in own]
    assert len(own) == 6


def test_data_from_the_environment() -> None:
    run = run_inside("lookup", "Li", env={"QKV_DATA": WITHOUT_LI})
    assert run.status == 1
    answered("Li", "--data", str(SAMPLES / "names.json"), env={"QKV_DATA": WITHOUT_LI})


@pytest.mark.parametrize("word", ["-5", "-Li", "--other"])
def test_queries_that_look_like_options(word: str, put: Callable[[str, str], str]) -> None:
    path = put("k.csv", f"k,v\n{word},found\n")
    assert (
        answered("--data", path, "--key-type", "text", "--format", "value", "--", word).text
        == "found\n"
    )


def test_all_equal_keys_are_matches_in_order(put: Callable[[str, str], str]) -> None:
    path = put("k.csv", "k,v\nLi,a\nHu,b\nLi,c\n")
    found = rows("Li", "--data", path)
    assert [(row["v"], row["weight"]) for row in found] == [("a", "0.5"), ("c", "0.5")]


def test_keys_stay_as_they_are_written(put: Callable[[str, str], str]) -> None:
    path = put("k.csv", "k,v\n007,a\n1e3,b\n Li ,c\n,d\n")
    for key, value in (("007", "a"), ("1e3", "b"), (" Li ", "c"), ("", "d")):
        assert answered(key, "--data", path, "--format", "value").text == f"{value}\n"
    assert run_inside("lookup", "7", "--data", path).status == 1


def test_columns_by_name_and_number() -> None:
    for columns in (("first_name", "last_name"), ("2", "1")):
        run = answered("Mu", "--key", columns[0], "--value", columns[1], "--format", "value")
        assert run.text == "Li\n"


def test_a_value_column_of_any_name(put: Callable[[str, str], str]) -> None:
    """Names that the output itself uses are told apart, and drawn as what they hold."""
    path = put("k.csv", "score,weight,rank,rule\nLi,abc,x,y\nHu,d,e,f\n")
    (row,) = rows("Li", "--data", path)
    assert list(row.values()) == ["Li", "1", "Li", "abc", "x", "y", "1", "1"]
    assert len(set(row)) == len(row)
    shown = run_pty("lookup", "Li", "--data", path, "--explain", columns=120)
    assert shown.status == 0
    assert b"abc" in shown.out


class TestVectors:
    @pytest.fixture
    def arrays(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(7)
        keys = rng.normal(size=(5, 3))
        np.savez(tmp_path / "db.npz", keys=keys, values=rng.normal(size=(5, 2)))
        np.save(tmp_path / "k.npy", keys.astype("f4"))
        np.save(tmp_path / "v.npy", np.arange(10.0).reshape(5, 2))
        np.savez(tmp_path / "heads.npz", k=rng.normal(size=(2, 5, 3)), v=rng.normal(size=(2, 5, 2)))
        (tmp_path / "names.txt").write_text("king\nqueen\nman\nwoman\nLi\n")
        (tmp_path / "names.json").write_text(json.dumps(["king", "queen", "man", "woman", "Li"]))
        return tmp_path

    def test_names_of_embeddings(self, arrays: Path) -> None:
        keys = np.load(arrays / "db.npz")["keys"]
        query = ",".join(map(repr, keys[1].tolist()))
        for labels in ("names.txt", "names.json"):
            arguments = ("--data", str(arrays / "db.npz"), "--labels", str(arrays / labels))
            found = rows(*arguments, "--mode", "softmax", "--score", "cosine", "--", query)
            assert found[0]["key"] == "queen"
            assert float(found[0]["score"]) == pytest.approx(1)
            alike = rows(*arguments, "--mode", "softmax", "--score", "cosine", "queen")
            assert [row["key"] for row in alike] == [row["key"] for row in found]

    def test_keys_and_values_apart(self, arrays: Path) -> None:
        keys = np.load(arrays / "k.npy")
        arguments = ("--keys", str(arrays / "k.npy"), "--values", str(arrays / "v.npy"))
        found = rows(*arguments, "-m", "softmax", "--", "0.5,-1,2")
        scores = keys @ np.array([0.5, -1, 2], "f4") / math.sqrt(3)
        order = np.argsort(-scores, kind="stable")
        assert [int(row["key"]) for row in found] == order.tolist()
        assert [float(row["v1"]) for row in found] == [2.0 * i for i in order]
        assert [float(row["score"]) for row in found] == pytest.approx(scores[order], rel=1e-5)

    def test_heads(self, arrays: Path) -> None:
        found = rows("1,0,0", "--data", str(arrays / "heads.npz"), "-m", "approximate")
        assert [row["query"] for row in found] == ["0/1,0,0", "1/1,0,0"]

    def test_self_attention(self, arrays: Path) -> None:
        arguments = ("--data", str(arrays / "db.npz"), "--labels", str(arrays / "names.txt"))
        found = rows(
            *arguments, "--self", "--score", "gaussian", "--bandwidth", "1", "-m", "approximate"
        )
        assert [(row["query"], row["key"]) for row in found] == [
            (name, name) for name in ("king", "queen", "man", "woman", "Li")
        ]

    def test_exact_vectors(self, arrays: Path) -> None:
        vector = ",".join(map(repr, np.load(arrays / "db.npz")["keys"][3].tolist()))
        (row,) = rows("--data", str(arrays / "db.npz"), "--", vector)
        assert (row["key"], row["weight"]) == ("3", "1")
        run = run_inside("lookup", "9,9,9", "--data", str(arrays / "db.npz"))
        assert (run.status, run.out) == (1, b"")
        assert "the closest is" in run.error

    def test_queries_in_an_array(self, arrays: Path) -> None:
        np.save(arrays / "q.npy", np.load(arrays / "db.npz")["keys"][[4, 0]])
        arguments = ("--data", str(arrays / "db.npz"), "--queries", str(arrays / "q.npy"))
        assert [row["key"] for row in rows(*arguments)] == ["4", "0"]

    def test_a_number_of_labels_that_does_not_fit(self, arrays: Path) -> None:
        (arrays / "few.txt").write_text("a\nb\n")
        arguments = ("--data", str(arrays / "db.npz"), "--labels", str(arrays / "few.txt"))
        run = run_inside("lookup", "king", *arguments)
        assert run.status == 2
        assert "2 labels for 5 keys" in run.error


def test_a_table_of_numbers(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "x,y\n1,10\n2,20\n4,40\n")
    (row,) = rows("2", "--data", path)
    assert row == {"query": "2", "rank": "1", "x": "2", "y": "20", "score": "0", "weight": "1"}
    found = rows("2", "--data", path, "-m", "softmax", "--bandwidth", "1")
    weights = np.exp([0, -0.5, -2])
    assert [float(row["weight"]) for row in found] == pytest.approx(weights / weights.sum())
    assert answered("3", "--data", path, "-m", "average", "--format", "value").text == f"{70 / 3}\n"
    run = run_inside("lookup", "3", "--data", path)
    assert run.status == 1
    assert "no key of" in run.error


def test_an_exact_number_needs_no_width(put: Callable[[str, str], str]) -> None:
    assert rows("5", "--data", put("one.csv", "k,v\n5,a\n"))[0]["v"] == "a"
    same = put("same.csv", "k,v\n1,a\n1,b\n")
    assert [row["weight"] for row in rows("1", "--data", same)] == ["0.5", "0.5"]
    run = run_inside("lookup", "1", "--data", same, "-m", "softmax")
    assert (run.status, "is constant" in run.error) == (2, True)


def test_whole_numbers_of_many_digits_are_names(put: Callable[[str, str], str]) -> None:
    ids = ["9007199254740992", "9007199254740993", "1"]
    path = put("t.csv", "id,v\n" + "".join(f"{i},{v}\n" for i, v in zip(ids, "abc", strict=True)))
    assert [row["v"] for row in rows(ids[1], "--data", path)] == ["b"]
    numbers = put("u.csv", "x,y\n" + "".join(f"{k},1\n" for k in (1, 2, 999999999999999)))
    assert rows("2", "--data", numbers)[0]["x"] == "2"  # 15 digits are a number


def test_a_width_by_cross_validation_is_told() -> None:
    arguments = ("1", "--data", str(SAMPLES / "sine.csv"), "--bandwidth", "cv", "-m", "softmax")
    run = answered(*arguments, "--top", "0")
    assert re.fullmatch(
        r"qkv: note: --bandwidth cv chose 0\.32\d* for x \(leave-one-out mean squared error 0\.2499\d*\)\n",
        run.error,
    ), run.error
    found = document(*arguments)["bandwidth"]
    assert found["rule"] == "cv"
    assert found["widths"][0][0] == pytest.approx(0.328, abs=1e-3)


def test_an_explanation_holds_however_small_a_weight_is() -> None:
    how = ("-m", "softmax", "-m", "average", "-T", "0.001", "--explain", "--top", "0")
    found = {row["last_name"]: row for row in rows("Li", *how)}
    assert found["Hu"]["weight_softmax"] == "0"  # exp(−1000), which no double holds
    assert found["Hu"]["logit_softmax"] == "0"
    assert float(found["Lipton"]["logit_softmax"]) == pytest.approx(1000 * float(LI_LIPTON))
    (best, *_) = rows("Li", "-m", "approximate", "-k", "3", "--explain")
    assert best["rule"].endswith("equal shares on the 3 best-scoring keys")


def test_a_least_weight_hides_keys_and_says_no_more() -> None:
    shown = answered("Lipten", "-m", "softmax", "--min-weight", "1", "--format", "table").text
    assert "no key has so much weight" in shown
    assert "answer Zachary 0.991" in shown
    run = answered("Lipten", "-m", "softmax", "--min-weight", "0.01", "--top", "0")
    assert run.error.endswith("; a lower --min-weight lists more\n")


class TestManyTexts:
    """What text values come to is told as far as it is known, and never made up."""

    def test_the_answer_of_many_texts_is_that_of_all(self, put: Callable[[str, str], str]) -> None:
        few = "".join(f"name{i},val{i}\n" for i in range(1_200))
        path = put("t.csv", "k,v\n" + few + "".join(f"other{i},COMMON\n" for i in range(3_000)))
        for mode in (("average",), ("softmax", "-T", "1")):
            run = answered("name5", "-d", path, "-m", *mode, "--format", "value")
            assert run.text == "COMMON\n"
        how = ("name5", "-d", path, "-m", "average", "--top", "4200")
        found = document(*how)["queries"][0]["answers"]["average"]
        assert len(found["v"]) == 1_000
        assert found["v"]["COMMON"] == pytest.approx(3_000 / 4_200)

    def test_more_texts_than_are_pooled_have_no_answer(
        self, put: Callable[[str, str], str]
    ) -> None:
        path = put("t.csv", "k,v\n" + "".join(f"n{i},v{i}\n" for i in range(200_001)))
        how = ("n5", "-d", path, "-m", "softmax", "-m", "approximate")
        found = document(*how)["queries"][0]["answers"]
        assert found == {"softmax": {"v": None}, "approximate": {"v": {"v5": 1.0}}}
        run = answered(*how, "--format", "tsv")
        assert "'v' of" in run.error
        assert "has more distinct texts than are pooled; attend to few keys" in run.error
        shown = answered(*how, "--format", "table").text
        assert "v: too many distinct texts to pool" in shown
        bare = run_inside("lookup", "n5", "-d", path, "-m", "softmax", "--format", "value")
        assert (bare.status, bare.out) == (2, b"")
        assert bare.error.startswith(f"qkv: 'v' of {path} has more distinct texts than are pooled")
        assert answered("n5", "-d", path, "-m", "approximate", "--format", "value").text == "v5\n"


def test_a_matrix_over_the_cap_is_refused_before_any_work(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "k\n" + "".join(f"name{i:06}\n" for i in range(40_000)))
    run = run_qkv("lookup", "--self", "-d", path, "-m", "softmax", "--weights", "w.npy", timeout=20)
    assert run.status == 2
    assert "weights of shape (40000, 40000) would take 11.9 GiB, over the cap of 8 GiB" in run.error


@pytest.mark.slow
def test_a_bar_appears_by_itself(put: Callable[[str, str], str]) -> None:
    """Where one block is all of the work, nothing else would tell that it goes on."""
    path = put("t.csv", "k,v\n" + "".join(f"name{i:05},1\n" for i in range(12_000)))
    how = ("lookup", "--self", "-d", path, "-m", "softmax", "--top", "1", "-o", os.devnull)
    run = run_pty(*how, err_apart=False)
    assert run.status == 0, run
    assert run.seconds < 1 or b"looking up" in run.out


MISSPELT = [
    "smtih",
    "jonson",
    "wiliams",
    "browm",
    "jonse",
    "garica",
    "miler",
    "davies",
    "rodrigez",
    "martines",
    "hernandes",
    "lopes",
    "gonzales",
    "wilsen",
    "andersen",
    "thomsa",
    "tayler",
    "moor",
    "jackosn",
    "marten",
]


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Return the 88,799 surnames of the census as a CSV, and as a list."""
    found = (Path(names.__file__).parent / "dist.all.last").read_text().split()[::4]
    path = tmp_path_factory.mktemp("census") / "surnames.csv"
    path.write_text("surname,rank\n" + "".join(f"{n},#{i}\n" for i, n in enumerate(found)))
    return str(path), found


@pytest.fixture(scope="module")
def census_scores(census: tuple[str, list[str]]) -> np.ndarray:
    """Return the scores of the misspelt names by RapidFuzz itself, (20, 88799)."""
    keys = [name.casefold() for name in census[1]]
    osa = cdist(MISSPELT, keys, scorer=OSA.normalized_similarity, dtype=np.float64)
    jaro_winkler = cdist(MISSPELT, keys, scorer=JaroWinkler.normalized_similarity, dtype=np.float64)
    scores: np.ndarray = (osa + 0.02 * jaro_winkler) / 1.02
    return scores


def test_the_census_exact(census: tuple[str, list[str]]) -> None:
    path, keys = census
    assert len(keys) == 88_799
    known = set(keys)
    run = run_inside(
        "lookup", *(name.upper() for name in MISSPELT), "Smith", "SMITH", "--data", path
    )
    found = {line.split("\t")[0] for line in run.text.splitlines()[1:]}
    assert found == {name.upper() for name in MISSPELT if name.upper() in known} | {"SMITH"}
    assert run.status == 0


def test_the_census_approximate(census: tuple[str, list[str]], census_scores: np.ndarray) -> None:
    path, keys = census
    found = rows(*MISSPELT, "--data", path, "-m", "approximate")
    best = census_scores.argmax(1)  # the first of equals
    assert [row["surname"] for row in found] == [keys[i] for i in best]
    assert [float(row["score"]) for row in found] == pytest.approx(census_scores.max(1), rel=1e-14)


def test_the_census_softmax(census: tuple[str, list[str]], census_scores: np.ndarray) -> None:
    path, keys = census
    found = rows(
        "--queries", "-", "--data", path, "-m", "softmax", stdin="\n".join(MISSPELT).encode()
    )
    weights = np.exp(census_scores / 0.1)
    weights /= weights.sum(1, keepdims=True)
    order = np.argsort(-census_scores, axis=1, kind="stable")[:, :10]
    assert [row["surname"] for row in found] == [keys[i] for i in order.ravel()]
    wanted = np.take_along_axis(weights, order, 1).ravel()
    assert [float(row["weight"]) for row in found] == pytest.approx(wanted, rel=1e-9)


# On a terminal

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def screen(*arguments: str, columns: int = 80, **how: Any) -> list[str]:
    """Return the lines of a pseudo-terminal, without colours."""
    run = run_pty("lookup", *arguments, columns=columns, **how)
    assert run.status == 0, run
    return [ANSI.sub("", line).rstrip() for line in run.text.splitlines()]


def test_a_table_on_a_terminal() -> None:
    assert screen("Lipten", "-m", "softmax", "--top", "2") == [
        "Lipten",
        "rank  last_name  first_name  score  weight",
        "   1  Lipton     Zachary     0.835   0.991",
        "   2  Li         Mu          0.343   0.007",
        "answer Zachary 0.991, Mu 0.007, Brent 0.001, Aston 2.55e-04, …",
        "perplexity 1.06",
        "left out: 4 rows, weight 0.002",
    ]


def test_modes_side_by_side_on_a_terminal() -> None:
    lines = screen("Li", *(word for mode in ALL for word in ("-m", mode)))
    assert lines[1].split() == ["rank", "last_name", "first_name", "score", *ALL]
    assert "exact        answer Mu   perplexity 1" in lines


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
@pytest.mark.parametrize("modes", [("softmax",), ALL])
def test_no_number_is_cut(
    columns: int, modes: tuple[str, ...], put: Callable[[str, str], str]
) -> None:
    values = [-1234567.891, 0.1 + 0.2, 5.5e-10]
    path = put(
        "t.csv", "k,a,b,c\n" + "".join(f"key{i},{','.join(map(repr, values))}\n" for i in range(3))
    )
    lines = screen("key1", "--data", path, *(w for m in modes for w in ("-m", m)), columns=columns)
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    if columns >= 40:
        for value in values:
            assert repr(value) in words
    assert "1.000" in words


def test_wide_letters_and_long_cells(put: Callable[[str, str], str]) -> None:
    name, cell = "北京市朝阳区", "値" * 200 + "é" * 50
    path = put("t.csv", f"k,v\n{name},{cell}\n[/]:smile:[li],x\n")
    for columns in (40, 80):
        text = "".join(screen(name, "--data", path, columns=columns)).replace(" ", "")
        assert name in text
        assert cell in text.replace("v", "")
    assert "[/]:smile:[li]" in " ".join(screen("[/]:smile:[li]", "--data", path))


@pytest.mark.parametrize(
    ("env", "arguments", "coloured"),
    [
        ({}, (), True),
        ({"NO_COLOR": "1"}, (), False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, (), False),
        ({"NO_COLOR": "1"}, ("--color", "always"), True),
        ({"FORCE_COLOR": "0"}, (), False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, (), True),
        ({"TERM": "dumb"}, (), False),
        ({}, ("--color", "never"), False),
        ({"FORCE_COLOR": "1"}, ("--color", "never"), False),
    ],
)
def test_colour(env: dict[str, str], arguments: tuple[str, ...], coloured: bool) -> None:
    run = run_pty("lookup", "Li", *arguments, env=env)
    assert (b"\x1b[" in run.out) is coloured
    assert b"Mu" in run.out


def test_colour_in_a_pipe() -> None:
    assert b"\x1b[" not in answered("Li", "--format", "table").out
    assert b"\x1b[" in answered("Li", "--format", "table", "--color", "always").out
    assert b"\x1b[" in answered("Li", "--format", "table", env={"FORCE_COLOR": "1"}).out
    assert b"\x1b[" not in answered("Li", "--color", "always").out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_narrow_encoding(encoding: str, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "k,v\nŁukasz,日本 é\n")
    env = {"PYTHONIOENCODING": encoding}
    for form in ("tsv", "csv", "json", "jsonl", "value"):
        assert "日本 é" in answered("Łukasz", "--data", path, "--format", form, env=env).text
    shown = run_pty("lookup", "Łukasz", "--data", path, env=env)
    assert shown.status == 0
    assert rb"\u65e5" in shown.out
    missing = run_qkv("lookup", "日本", "--data", path, env=env)
    assert missing.status == 1
    assert "'日本'" in missing.error


def test_c_locale() -> None:
    run = run_qkv("lookup", "Łukasz", "-m", "average", "--format", "json", env={"LC_ALL": "C"})
    assert run.status == 0
    assert json.loads(run.text)["queries"][0]["query"] == "Łukasz"


def test_binary_never_goes_to_a_terminal() -> None:
    run = run_pty("lookup", "Li", "-m", "softmax", "--weights", "-")
    assert run.status == 2
    assert b"--weights - is not text, and stdout is a terminal; redirect it" in run.out


def test_a_bar_only_for_who_watches_and_waits(put: Callable[[str, str], str]) -> None:
    path = put("k.csv", "k\n" + "".join(f"key{i}\n" for i in range(300_000)))
    queries = [f"key{i}" for i in range(40)]
    arguments = (
        "lookup",
        *queries,
        "--data",
        path,
        "-m",
        "softmax",
        "--workers",
        "1",
        "--top",
        "1",
    )
    slow = run_pty(*arguments, "--format", "tsv")
    quick = run_pty("lookup", "Li", "--format", "value")
    assert quick.out == b"Mu\r\n"
    if slow.seconds > 2.5:
        assert b"looking up" in slow.out
    apart = run_pty(*arguments, "--format", "tsv", err_apart=True)
    assert b"looking up" not in apart.out + apart.err
    assert b"\x1b" not in apart.err


def test_ctrl_c_dies_by_the_signal(put: Callable[[str, str], str]) -> None:
    path = put("k.csv", "k\n" + "".join(f"key{i}\n" for i in range(1_000_000)))
    queries = [f"key{i}" for i in range(100)]
    run = run_pty("lookup", *queries, "--data", path, "-m", "softmax", keys=[(1.0, b"\x03")])
    assert run.status == 130
    left = run.out.rpartition(b"\x1b[2K")[2]  # a bar that had just appeared is gone
    assert left.replace(b"\x1b[?25h", b"").replace(b"^C", b"").replace(b"\r\n", b"") == b""
    assert b"qkv:" not in run.out


@pytest.mark.parametrize("value", ["Oslo,3", ",", "a,b,c", 'say "x"', " ,", "a\tb", "\t"])
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_cell_with_delimiters_stays_one(
    value: str, form: str, delimiter: str, put: Callable[[str, str], str]
) -> None:
    path = put("t.json", json.dumps([{"k": "Li", "v": value}]))
    run = answered("Li", "-d", path, "--format", form)
    header, row = csv.reader(io.StringIO(run.text, newline=""), delimiter=delimiter)
    assert dict(zip(header, row, strict=True))["v"] == value
