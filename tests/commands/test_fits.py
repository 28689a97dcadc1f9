"""``qkv pool -o fit.svg`` and ``--plot``: pictures of what a table answers along its key."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest

import qkvcli
from tests.support.command import SAMPLES, run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SINE = str(SAMPLES / "sine.csv")
SVG = "{http://www.w3.org/2000/svg}"


def parts(text: str, kind: str) -> list[ET.Element]:
    return list(ET.fromstring(text).iter(f"{SVG}{kind}"))  # noqa: S314 - our own


def paths(text: str) -> list[dict[str, str]]:
    return [dict(path.attrib) for path in parts(text, "path")]


def texts_of(out: Path) -> set[str]:
    return {text.text or "" for text in parts(out.read_text(), "text")}


def points(path: str) -> np.ndarray:
    return np.array([float(n) for n in re.findall(r"-?[0-9.]+(?:e-?\d+)?", path)]).reshape(-1, 2)


def test_the_line_is_what_is_answered(tmp_path: Path) -> None:
    out = tmp_path / "fit.svg"
    run = run_qkv("pool", "--data", SINE, "--bandwidth", "0.3", "-o", str(out))
    assert (run.status, run.text, run.error) == (0, "", "")
    found = paths(out.read_text())
    (line,) = [path for path in found if path.get("stroke") == "#08519c"]
    dots = next(path for path in found if path.get("stroke-linecap") == "round")
    # Of the rows both ends of each axis are known: so the places on the page are read as data.
    rows = np.loadtxt(SINE, delimiter=",", skiprows=1)
    drawn = points(dots["d"].replace("h0", " "))
    (a, b), (c, d) = (np.polyfit(drawn[:, i], rows[:, i], 1) for i in (0, 1))
    along = points(line["d"])
    x, y = along[:, 0] * a + b, along[:, 1] * c + d
    assert len(drawn) == len(rows)
    weights = np.exp(-((x[:, None] - rows[:, 0]) ** 2) / 2 / 0.3**2)
    wanted = weights @ rows[:, 1] / weights.sum(axis=1)
    assert np.abs(y - wanted).max() < 0.01 * np.ptp(rows[:, 1])
    assert {"x", "y", "h = 0.3", "y by x, gaussian of width 0.3"} <= texts_of(out)


@pytest.mark.parametrize(("name", "start"), [("fit.png", b"\x89PNG"), ("fit.pdf", b"%PDF")])
def test_forms(name: str, start: bytes, tmp_path: Path) -> None:
    out = tmp_path / name
    bytes_of = []
    for _ in range(2):
        assert run_inside("pool", "--data", SINE, "-o", str(out)).status == 0
        bytes_of.append(out.read_bytes())
    assert bytes_of[0].startswith(start)
    assert bytes_of[0] == bytes_of[1]


def test_classes_have_a_line_each(put: Callable[[str, str], str], tmp_path: Path) -> None:
    path = put("c.csv", "x,kind\n" + "".join(f"{i / 10},{'ab<'[i // 20]}\n" for i in range(60)))
    out = tmp_path / "c.svg"
    assert run_inside("pool", "--data", path, "-o", str(out)).status == 0
    colours = {path.get("stroke") for path in paths(out.read_text())}
    assert {"#08519c", "#cb181d", "#238b45"} <= colours
    assert {"a", "b", "<"} <= texts_of(out)


def test_two_columns_are_a_map(put: Callable[[str, str], str], tmp_path: Path) -> None:
    path = put("m.csv", "u,v,z\n" + "".join(f"{i},{j},{i}\n" for i in range(6) for j in range(4)))
    out = tmp_path / "m.svg"
    run = run_inside("pool", "--data", path, "--key", "u,v", "--value", "z", "-o", str(out))
    assert run.status == 0, run.error
    assert {"u", "v", "z"} <= texts_of(out)


def test_a_terminal_shows_the_fit() -> None:
    run = run_pty("pool", "--data", SINE, "--bandwidth", "0.3", "--plot", columns=60)
    lines = run.text.splitlines()
    assert lines[0] == "y by x, gaussian of width 0.3"
    assert all(len(line) <= 60 for line in lines)
    assert any("\u2801" <= sign <= "\u28ff" for sign in run.text)
    assert "·" in run.text
    run = run_qkv(
        *("pool", "--data", SINE, "--bandwidth", "0.3", "--plot"), env={"PYTHONIOENCODING": "ascii"}
    )
    assert run.status == 0
    assert run.out.isascii()
    assert b"*" in run.out


def test_many_rows_are_drawn_in_part(put: Callable[[str, str], str], tmp_path: Path) -> None:
    path = put("n.csv", "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(6000)))
    run = run_inside("pool", "--data", path, "--bandwidth", "90", "-o", str(tmp_path / "n.svg"))
    assert run.error == "qkv: 5,000 of 6,000 rows are drawn as points\n"


def test_where_there_is_no_answer_nothing_is_drawn(
    put: Callable[[str, str], str], tmp_path: Path
) -> None:
    path = put("g.csv", "x,y\n0,1\n0.5,1\n9.5,2\n10,2\n")
    out = tmp_path / "g.svg"
    run = run_inside(
        *("pool", "--data", path, "--score", "boxcar", "--bandwidth", "1", "-o", str(out))
    )
    assert run.status == 0, run.error
    assert len([p for p in paths(out.read_text()) if p.get("stroke") == "#08519c"]) == 2
    assert "NaN" not in out.read_text()
    assert "nan" not in out.read_text()


def test_a_star_is_every_column_but_the_values(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", "a,y,b\n1,5,2\n3,6,4\n8,9,1\n")
    how = ("pool", "2,3", "--data", path, "--bandwidth", "1")
    star = run_inside(*how, "--key", "*", "--value", "y")
    assert star.status == 0, star.error
    assert star.text == run_inside(*how, "--key", "a,b", "--value", "y").text
    none = run_inside(*how, "--key", "*")
    assert (none.status, none.text) == (2, "")
    assert "name those with --value" in none.error
    frame = {"a": [1.0, 3], "y": [5.0, 6], "b": [2.0, 4]}
    assert qkvcli.Database.open(frame, key="*", value="y").columns.key == ("a", "b")


# A lookup as a drawing ----------------------------------------------------------------------


def test_a_lookup_is_drawn_with_its_numbers(tmp_path: Path) -> None:
    out = tmp_path / "flow.svg"
    run = run_qkv("lookup", "Lipten", "--mode", "softmax", "--temperature", "0.3", "-o", str(out))
    assert (run.status, run.text, run.error) == (0, "", "")
    shown = run_inside(
        *("lookup", "Lipten", "-m", "softmax", "--temperature", "0.3", "-f", "csv")
    ).text.splitlines()
    for line in shown[1:]:
        _, _, key, value, score, weight = line.split(",")
        numbers = {f"{float(score):.3f}", f"{float(weight):.3f}"}
        assert {key, value} | numbers <= texts_of(out)
    widths = sorted(
        float(p["stroke-width"]) for p in paths(out.read_text()) if p.get("stroke") == "#08519c"
    )
    assert widths[-1] == pytest.approx(6 * 0.675, rel=0.01)


@pytest.mark.parametrize(
    "words", [["Li", "Hu"], ["Li", "-m", "softmax", "-m", "exact"], ["Li", "--join"]]
)
def test_what_is_no_drawing(words: list[str], tmp_path: Path) -> None:
    run = run_inside("lookup", *words, "-o", str(tmp_path / "x.svg"))
    assert (run.status, run.text) == (2, "")
    assert len(run.error.splitlines()) == 1
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pool", "-o", "x.svg"], "these are text; choose with --key"),
        (["pool", "1", "--data", SINE, "-o", "x.svg"], "and a query does not go with it"),
        (["pool", "--self", "--data", SINE, "--plot"], "and --self does not go with it"),
        (["pool", "--data", SINE, "--plot", "-o", "x.tsv"], "--plot draws in the terminal"),
        (["pool", "--data", SINE, "--plot", "-f", "csv"], "and --format says another form"),
        (["pool", "--data", SINE, "--plot", "--causal"], "and --causal does not go with it"),
        (
            ["pool", "--data", str(SAMPLES / "animal_layer3_qkv.npz"), "--plot"],
            "is of one table, and these are heads of arrays",
        ),
    ],
)
def test_refused(words: list[str], line: str, tmp_path: Path) -> None:
    run = run_inside(*words, cwd=tmp_path) if "x.svg" in words else run_inside(*words)
    assert (run.status, run.text) == (2, "")
    assert line in run.error
    assert len(run.error.splitlines()) == 1
