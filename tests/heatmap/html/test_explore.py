"""What is in an explorer's file, read back without its scripts."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

import qkvcli
from qkvcli.heatmap.html.codes import SIDE, Coding, Pyramid, Room
from qkvcli.heatmap.html.measures import NAMES
from tests.heatmap.html.support import NAUGHTY, File, read, softmax
from tests.support.command import SAMPLES, run_inside, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTENTION, TOKENS = SAMPLES / "animal_attention.npy", SAMPLES / "animal_tokens.txt"
Explored = "Callable[..., tuple[File, str]]"


@pytest.fixture
def explored(tmp_path: Path) -> Callable[..., tuple[File, str]]:
    """Return a function that writes a page by the command, and reads it back with what was said."""

    def run(*arguments: object) -> tuple[File, str]:
        out = tmp_path / "out.html"
        done = run_inside("heatmap", *map(str, arguments), "-o", str(out))
        assert done.status == 0, done.error
        return read(out.read_text()), done.error

    return run


def save(tmp_path: Path, weights: Any, name: str = "weights.npy") -> Path:
    path = tmp_path / name
    np.save(path, np.asarray(weights))
    return path


def bound(weights: Any, steps: int) -> Any:
    """Return by how much each weight may be off: half a step in the root, squared."""
    top = np.abs(weights).max()
    return top * (np.sqrt(np.abs(weights) / top) / steps + 0.25 / steps**2) * 1.000001


def test_the_weights_of_the_sample_are_in_it_within_the_stated_error(
    explored: Callable[..., tuple[File, str]],
) -> None:
    found, said = explored(ATTENTION, "--labels", TOKENS)
    wanted = np.load(ATTENTION).reshape(72, 16, 16).astype(np.float64)
    for head in range(72):
        assert (np.abs(found.matrix(head) - wanted[head]) <= bound(wanted[head], 254)).all()
    assert "weights are kept as 8 bits in square-root scale, off by at most 0.0039" in said
    assert found.data["queries"]["labels"] == TOKENS.read_text().split("\n")[:16]
    assert found.data["keys"] is None
    assert len(found.packed) <= 1.5 * wanted.size
    assert len(json.dumps(found.data["heads"])) + len(found.packed) < 2 * wanted.size


def test_16_bits_are_finer(explored: Callable[..., tuple[File, str]]) -> None:
    found, said = explored(ATTENTION, "--bits", 16, "--layers", 2, "--heads", 7)
    wanted = np.load(ATTENTION)[2, 7]
    assert (np.abs(found.matrix() - wanted) <= bound(wanted, 65534) + 1e-7).all()
    assert "16 bits" in said


def test_signs_and_missing_weights_are_kept(
    explored: Callable[..., tuple[File, str]], tmp_path: Path
) -> None:
    wanted = np.random.default_rng(1).normal(size=(5, 7))
    wanted[2, 3] = np.nan
    found, said = explored(save(tmp_path, wanted))
    assert np.isnan(found.matrix()[2, 3])
    rest = np.isfinite(wanted)
    assert (np.abs(found.matrix() - wanted)[rest] <= bound(wanted[rest], 127)).all()
    assert "negative" in said
    assert "NaN" in said


def test_a_difference_of_two_files(
    explored: Callable[..., tuple[File, str]], tmp_path: Path
) -> None:
    a, b = softmax(np.random.default_rng(2).normal(size=(2, 2, 6, 6)))
    one, other = save(tmp_path, a, "a.npy"), save(tmp_path, b, "b.npy")
    found, _ = explored(one, "--diff", other)
    assert (np.abs(found.matrix(1) - (a - b)[1]) <= bound((a - b)[1], 127)).all()
    assert [name for name, _ in found.data["measures"]] == ["change", "most"]
    assert found.data["heads"][0][6][0] == pytest.approx(np.abs(a - b)[0].mean(), rel=1e-3)


@pytest.mark.parametrize("shape", [(600, 300), (257, 1), (1, 700), (512, 512)])
@pytest.mark.parametrize("signed", [False, True])
def test_every_level_is_the_maxima_of_the_one_below(
    explored: Callable[..., tuple[File, str]], tmp_path: Path, shape: Any, signed: bool
) -> None:
    random = np.random.default_rng(3)
    weights = random.normal(size=shape) if signed else softmax(random.normal(size=shape) * 3)
    found, _ = explored(save(tmp_path, weights))
    levels = found.levels(0)
    assert levels[-1] is not None
    assert max(levels[-1].shape) <= SIDE
    for finer, coarser in itertools.pairwise(levels):
        assert finer is not None
        assert coarser is not None
        for (row, column), value in np.ndenumerate(coarser):
            cells = finer[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()
            assert value == max(cells, key=lambda cell: (abs(cell), cell))


def test_what_does_not_fit_is_left_out_and_said(
    explored: Callable[..., tuple[File, str]], tmp_path: Path
) -> None:
    weights = softmax(np.random.default_rng(4).normal(size=(2, 1024, 1024)).astype(np.float32) * 2)
    path = save(tmp_path, weights)
    found, said = explored(path, "--max-size", 1.5)
    assert len(found.text) <= 1.5e6
    levels = found.levels(1)
    assert levels[0] is None
    assert levels[1] is not None
    assert levels[1].max() == pytest.approx(weights[1].max(), rel=1e-5)
    line = (
        "1.5 MB do not hold every weight of 2 of 2 heads: there a cell is the maximum of 2 × 2"
        " weights (--max-size)"
    )
    assert line in said
    assert line in found.data["notes"][1]


def test_the_measures_are_means_over_queries(explored: Callable[..., tuple[File, str]]) -> None:
    found, _ = explored(ATTENTION, "--labels", TOKENS)
    names = [name for name, _ in found.data["measures"]]
    assert names == list(NAMES)
    weights = np.load(ATTENTION).reshape(72, 16, 16).astype(np.float64)
    at, labels = np.arange(16), found.data["queries"]["labels"]
    for head, (*_, measures, _) in enumerate(found.data["heads"]):
        w = weights[head]
        same = np.array([[a == b for b in labels] for a in labels]) & (at < at[:, None])
        after = np.roll(same, 1, axis=1) & (at > 0)
        wanted = {
            "entropy": -np.mean([sum(x * np.log(x) for x in row if x > 0) for row in w]),
            "confidence": w.max(1).mean(),
            "sink": w[:, 0].mean(),
            "previous": np.diag(w, -1).sum() / 16,
            "current": np.diag(w).mean(),
            "next": np.diag(w, 1).sum() / 16,
            "distance": (w * np.abs(at[:, None] - at)).sum(1).mean(),
            "duplicate": (w * same).sum() / 16,
            "induction": (w * after).sum() / 16,
            "punctuation": w[:, [labels.index("'"), labels.index(".")]].sum() / 16,
        }
        assert measures == pytest.approx([wanted[name] for name in names], rel=1e-3, abs=1e-6)


def test_the_same_bytes_for_the_same_input(tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        run = run_qkv("heatmap", str(ATTENTION), "-o", str(tmp_path / name), cwd=tmp_path)
        assert run.status == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_its_policy_lets_this_script_and_these_styles_in_and_no_request_out(
    explored: Callable[..., tuple[File, str]],
) -> None:
    found, _ = explored(ATTENTION)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', found.text)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", found.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", found.text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert " style=" not in found.text
    assert not re.search(r"\son[a-z]+=", found.text)


def test_labels_are_data(explored: Callable[..., tuple[File, str]], tmp_path: Path) -> None:
    assert len(NAUGHTY) >= 300
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(NAUGHTY))
    path = save(tmp_path, np.eye(len(NAUGHTY)))
    found, _ = explored(path, "--labels", labels, "--title", "</title><script>alert(1)</script>")
    assert found.data["queries"]["labels"] == NAUGHTY
    assert found.text.count("<script") == 3
    assert found.text.count("</script>") == 3
    inside = re.search(r'id="data">(.*?)</script>', found.text, re.DOTALL)
    assert inside
    assert not re.search(r"[^\x20-\x7e]|[<>&]", inside[1])


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40),
    st.sampled_from([8, 16]),
    st.booleans(),
)
def test_codes_are_off_by_no_more_than_is_said(
    weights: list[float], bits: int, signed: bool
) -> None:
    values = np.array([weights]) * (np.where(np.arange(len(weights)) % 2, -1, 1) if signed else 1)
    coding = Coding(float(np.abs(values).max()), bits, signed=signed)
    found = coding.decode(coding.encode(values))
    assert np.abs(found - values).max() <= coding.error * 1.000001
    assert (np.sign(found) * np.sign(values) >= 0).all()


def test_a_pyramid_takes_rows_however_many_at_a_time() -> None:
    coding = Coding(1.0)
    codes = coding.encode(np.random.default_rng(5).random((700, 520)))
    made = []
    for step in (1, 37, 256, 700):
        pyramid = Pyramid(codes.shape, coding, Room(1e9))
        for start in range(0, 700, step):
            pyramid.add(codes[start : start + step])
        made.append([level.tiles for level in pyramid.finish()])
    assert made[0] == made[1] == made[2] == made[3]


def test_colour_maps_are_matplotlibs(explored: Callable[..., tuple[File, str]]) -> None:
    found, _ = explored(ATTENTION, "--cmap", "plasma")
    assert found.data["maps"]["chosen"] == "plasma"
    for name, stops in found.data["palettes"].items():
        colours = np.frombuffer(bytes.fromhex(stops), np.uint8).reshape(-1, 3).astype(float)
        at = np.linspace(0, len(colours) - 1, 256)
        ours = np.stack([np.interp(at, np.arange(len(colours)), c) for c in colours.T], 1)
        theirs = colormaps[name](np.arange(256), bytes=True)[:, :3]
        assert np.abs(ours - theirs).max() <= 3, name


def test_the_command_line_is_kept_for_the_page(
    explored: Callable[..., tuple[File, str]],
) -> None:
    found, _ = explored(
        ATTENTION, "--labels", TOKENS, "--drop", "[CLS]", "--layers", "1,3", "--queries", "4-9"
    )
    command = found.data["command"]
    assert command["file"] == str(ATTENTION)
    assert command["options"] == {"--labels": str(TOKENS), "--layers": "1,3", "--queries": "4-9"}
    assert command["drop"] == ["[CLS]"]
    assert found.data["queries"]["positions"] == list(range(4, 10))
    assert found.data["keys"]["positions"] == list(range(1, 16))
    assert [head[0] for head in found.data["heads"]] == [1] * 12 + [3] * 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.html", "--vmin", "0.1"], "--vmin is for pictures; leave it out for HTML"),
        (["-o", "x.html", "--titles", "a"], "--titles is for pictures"),
        (["-o", "x.html", "--shrink", "mean"], "--shrink is for pictures"),
        (["-o", "x.html", "--size", "3"], "--size is for SVG, PNG and PDF"),
        (["-o", "x.html", "--cmap", "Redz"], "there is no colour map 'Redz'"),
        (["-o", "x.svg", "--bits", "16"], "--bits is for HTML"),
        (["-o", "x.npy", "--max-size", "3"], "--max-size is for HTML"),
        (["-o", "x.html", "--bits", "12"], "12"),
        (["-o", "x.html", "--max-size", "0"], "--max-size"),
        (["-o", "x.html", "--max-size", "0.05"], "--max-size 0.05 leaves no room for weights"),
        (["-o", "missing/x.html"], "there is no directory"),
    ],
)
def test_what_cannot_be_asked_is_an_error(tmp_path: Path, arguments: list[str], said: str) -> None:
    run = run_inside("heatmap", str(ATTENTION), *arguments, cwd=tmp_path)
    assert (run.status, run.text) == (2, "")
    assert said in run.error
    assert run.error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_html_goes_to_a_pipe() -> None:
    run = run_inside("heatmap", str(ATTENTION), "--format", "html", "-o", "-", "--layers", "0")
    assert run.status == 0
    assert read(run.text).data["heads"][3][2] == "layer 0, head 3"


def test_queries_and_keys_stand_in_for_weights(
    explored: Callable[..., tuple[File, str]], tmp_path: Path
) -> None:
    random = np.random.default_rng(6)
    q, k = random.normal(size=(2, 4, 700, 8)), random.normal(size=(2, 2, 700, 8))
    path = tmp_path / "captured.npz"
    np.savez(path, queries=q, keys=k, causal=True, scale=0.4)
    found, said = explored(path)
    assert "computed from queries and keys in float16" in said
    halves = found.data["halves"]
    assert len(halves["heads"]) == 8
    assert len({keys for _, _, keys, _ in halves["heads"]}) == 4  # two heads share their keys
    levels = found.levels(5)
    assert levels[0] is None
    assert levels[1] is not None
    scores = np.where(np.tri(700) > 0, q[1, 1] @ k[1, 0].T * 0.4, -np.inf)
    wanted = softmax(scores)
    coarse = np.maximum.reduceat(np.maximum.reduceat(wanted, range(0, 700, 2)), range(0, 700, 2), 1)
    assert (np.abs(levels[1] - coarse) <= bound(coarse, 254) + 1e-6).all()
    assert len(found.text) < 8 * 700 * 700


def test_few_tokens_are_kept_as_weights(
    explored: Callable[..., tuple[File, str]], tmp_path: Path
) -> None:
    q = np.random.default_rng(7).normal(size=(1, 2, 9, 32))
    np.savez(tmp_path / "captured.npz", queries=q, keys=q)
    found, _ = explored(tmp_path / "captured.npz")
    assert found.data["halves"] is None
    assert np.abs(found.matrix(1) - softmax(q[0, 1] @ q[0, 1].T / 32**0.5)).max() < 0.004


def test_a_notebook_shows_the_same_page(tmp_path: Path) -> None:
    weights = np.load(ATTENTION)
    tokens = TOKENS.read_text().split()
    page = qkvcli.explore(weights, tokens, title="Animal")
    shown = page._repr_html_()
    inside = re.fullmatch(r'<iframe [^>]* srcdoc="([^"]*)"></iframe>', shown, re.DOTALL)
    assert inside
    assert html.unescape(inside[1]) == page.html
    found = read(page.html)
    assert found.data["queries"]["labels"] == tokens
    assert (np.abs(found.matrix(40) - weights[3, 4]) <= bound(weights[3, 4], 254)).all()
    page.save(tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text() == page.html


@pytest.mark.parametrize(
    ("weights", "labels", "said"),
    [
        ([["a"]], None, "numbers"),
        ([[1.0, 2.0], [1.0]], None, "different lengths"),
        (np.zeros(3), None, "shape"),
        (np.eye(2), ["a"], "1 label for 2"),
        (np.zeros((2, 3, 2, 4, 4)), None, "batch"),
    ],
)
def test_what_cannot_be_explored_is_an_error(weights: Any, labels: Any, said: str) -> None:
    with pytest.raises(qkvcli.QkvError, match=said):
        qkvcli.explore(weights, labels)


def test_a_models_list_of_layers_is_explored() -> None:
    layers = [softmax(np.random.default_rng(i).normal(size=(1, 3, 5, 5))) for i in range(2)]
    found = read(qkvcli.explore(layers, list("abcde")).html)
    assert [head[2] for head in found.data["heads"]][3] == "layer 1, head 0"
    assert np.abs(found.matrix(4) - layers[1][0, 1]).max() < 0.004
