"""``qkv heads``: statistics held against public code's formulas, on the sample's 72 heads."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of

import qkvcli
from qkvcli.attention import formulas
from qkvcli.attention.formulas import Tokens, available
from qkvcli.errors import QkvError
from tests.support.command import SAMPLES, run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = str(SAMPLES / "animal_attention.npy")
TOKENS = str(SAMPLES / "animal_tokens.txt")


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    found: np.ndarray = np.load(SAMPLE).astype(np.float64)
    return found


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return (SAMPLES / "animal_tokens.txt").read_text().split("\n")[:16]


@pytest.fixture(scope="module")
def table(labels: list[str]) -> dict[str, np.ndarray]:
    found = qkvcli.heads(np.load(SAMPLE), tokens=labels)
    return {name: np.array(column).reshape(6, 12) for name, column in found.columns().items()}


def detected(weights: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Return the score of TransformerLens' head detector with error measure "mul"."""
    return np.asarray((weights * pattern).sum(axis=(-2, -1)) / weights.sum(axis=(-2, -1)))


def test_positional_and_token_heads_are_those_of_a_detector(
    weights: np.ndarray, labels: list[str], table: dict[str, np.ndarray]
) -> None:
    size = len(labels)
    before = np.zeros((size, size))
    before[1:, :-1] = np.eye(size - 1)
    same = np.array([[a == b for b in labels] for a in labels], float)
    duplicate = np.tril(same - np.eye(size))
    shifted = np.roll(duplicate, 1, axis=1)
    shifted[:, 0] = 0
    induction = np.tril(shifted)
    for name, pattern in (("previous", before), ("duplicate", duplicate), ("induction", induction)):
        assert np.abs(table[name] - detected(weights, pattern)).max() < 1e-6, name
    assert np.abs(table["current"] - detected(weights, np.eye(size))).max() < 1e-6
    assert np.abs(table["next"] - detected(weights, before.T)).max() < 1e-6


def test_entropy_and_confidence(weights: np.ndarray, table: dict[str, np.ndarray]) -> None:
    # Clark et al.: -(attn * log(attn)).sum(-1).mean(-1)
    rows = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=-1)
    assert np.abs(table["entropy"] - rows.mean(axis=-1)).max() < 1e-6
    assert np.abs(table["perplexity"] - np.exp(rows).mean(axis=-1)).max() < 1e-5
    assert np.abs(table["confidence"] - weights.max(axis=-1).mean(axis=-1)).max() < 1e-6


@pytest.mark.parametrize("key", [0, 4])
def test_sinks_are_those_of_gu(weights: np.ndarray, labels: list[str], key: int) -> None:
    found = qkvcli.heads(np.load(SAMPLE), ["sink"], tokens=labels, sink=key)
    # importance of key k: the mean of attn[k:, k]; a sink from 0.3 on
    wanted = weights[:, :, key:, key].mean(axis=-1)
    assert np.abs(np.array(found.columns()["sink"]).reshape(6, 12) - wanted).max() < 1e-6
    assert found.sinks == (wanted > 0.3).sum()


def test_distances_of_places(weights: np.ndarray, table: dict[str, np.ndarray]) -> None:
    total = np.zeros((6, 12))
    for query in range(16):
        for key in range(16):
            total += weights[:, :, query, key] * abs(query - key)
    assert np.abs(table["distance"] - total / 16).max() < 1e-5
    assert np.abs(table["diagonality"] + total / 256).max() < 1e-6


def test_values_are_weighed(weights: np.ndarray) -> None:
    path = str(SAMPLES / "animal_layer3_qkv.npz")
    run = run_inside("heads", path, "--statistics", "value_norm,sink_value", "-f", "json")
    rows = json.loads(run.text)["rows"]
    with np.load(path) as arrays:
        values = arrays["values"].astype(float)
    norms = np.sqrt((values**2).sum(axis=-1))
    long = np.einsum("hqk,hk->hqk", weights[3], norms)
    assert [row["value_norm"] for row in rows] == pytest.approx(
        long.sum(axis=-1).mean(axis=-1), abs=1e-5
    )
    share = long[:, :, 0] / long.sum(axis=-1)
    assert [row["sink_value"] for row in rows] == pytest.approx(share.mean(axis=-1), abs=1e-5)


def test_the_heads_that_are_known(table: dict[str, np.ndarray]) -> None:
    # Found by hand with ten lines of NumPy.
    best = {
        name: divmod(int(table[name].argmax()), 12) for name in ("previous", "next", "duplicate")
    }
    assert best == {"previous": (0, 2), "next": (1, 8), "duplicate": (0, 8)}


def test_weights_and_queries_and_keys_are_told_alike() -> None:
    one = run_inside("heads", SAMPLE, "--layers", "3", "--labels", TOKENS, "-f", "csv")
    other = run_inside(
        "heads", str(SAMPLES / "animal_layer3_qkv.npz"), "--labels", TOKENS, "-f", "csv"
    )
    for a, b in zip(
        csv.DictReader(io.StringIO(one.text)), csv.DictReader(io.StringIO(other.text)), strict=True
    ):
        for name in set(a) - {"layer"}:
            assert float(a[name]) == pytest.approx(float(b[name]), abs=1e-5)


def test_a_sink_after_all_queries_has_no_value(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.full((2, 8), 1 / 8))
    run = run_qkv("heads", str(tmp_path / "w.npy"), "--sink-key", "5", "--statistics", "sink")
    assert run.text == "layer\thead\tsink\n0\t0\t\n"
    assert run.error == "qkv: 0 of 1 heads have a sink: more than 0.3 of their weight on key 5\n"


def test_sorted_in_part_and_in_words() -> None:
    run = run_qkv(
        *("heads", SAMPLE, "--labels", TOKENS, "--sort", "duplicate", "-n", "1", "--pairs", "2"),
        *("--label", "[SEP]", "--label", "the", "-f", "tsv"),
    )
    (row,) = csv.DictReader(io.StringIO(run.text), delimiter="\t")
    assert (row["layer"], row["head"]) == ("0", "8")
    assert row["pairs"] == "the → the 0.39; tired → tired 0.36"
    assert 0 < float(row["on [SEP]"]) < float(row["on the"]) < 1
    assert run.error == (
        "qkv: 57 of 72 heads have a sink: more than 0.3 of their weight on key 0 ([CLS])\n"
    )


def test_a_terminal_shows_few_columns() -> None:
    run = run_pty(
        "heads",
        SAMPLE,
        "--labels",
        TOKENS,
        "--sort",
        "next",
        "-n",
        "2",
        "--color",
        "never",
        columns=80,
    )
    lines = run.text.splitlines()
    assert lines[0].split() == [
        *("layer", "head", "entropy", "sink", "previous", "next", "distance"),
        *("duplicate", "induction"),
    ]
    assert lines[1].split()[:2] == ["1", "8"]
    assert all(len(line.rstrip()) <= 80 for line in lines[:3])
    assert "--statistics names more: perplexity" in run.text


def test_one_statistic_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "next.svg"
    run = run_inside(
        "heads", SAMPLE, "--sort", "next", "--plot", str(path), "-o", str(tmp_path / "t.tsv")
    )
    assert run.status == 0, run.error
    text = path.read_text()
    assert text.count("<svg") == 1
    assert all(f">{word}<" in text for word in ("Layer", "Head", "next", "11"))


def test_distances_are_those_of_jensen_and_shannon(weights: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    run = run_inside("heads", SAMPLE, "--distances", str(path), "--layers", "0-1", "-f", "tsv")
    assert run.status == 0, run.error
    heads = weights[:2].reshape(24, 16, 16)
    wanted = np.zeros((24, 24))
    for i, a in enumerate(heads):
        for j, b in enumerate(heads):
            mean = (a + b) / 2
            wanted[i, j] = (a * np.log(a / mean) + b * np.log(b / mean)).sum(axis=-1).mean() / 2
    with np.load(path) as found:
        assert np.abs(found["distances"] - wanted).max() < 1e-6
        assert found["query_labels"].tolist()[:13] == [*(f"0.{n}" for n in range(12)), "1.0"]
    drawn = run_inside("heatmap", str(path), "-o", str(tmp_path / "d.svg"))
    assert (drawn.status, "sum to 1" in drawn.error) == (0, False)


@given(
    arrays_of(np.float64, (5, 5), elements=st.floats(0, 1)).filter(lambda a: (a.sum(1) > 0).all())
)
def test_bounds(scores: np.ndarray) -> None:
    weights = scores / scores.sum(axis=1, keepdims=True)
    row = qkvcli.heads(weights, tokens=list("abcab")).columns()
    assert 0 <= row["entropy"][0] <= np.log(5) + 1e-9
    assert 1 - 1e-9 <= row["perplexity"][0] <= 5 + 1e-9
    shares = [row[n][0] for n in ("sink", "previous", "current", "next", "duplicate", "induction")]
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    assert row["previous"][0] + row["current"][0] + row["next"][0] <= 1 + 1e-9
    assert -0.8 <= row["diagonality"][0] <= 0


def test_every_statistic_says_what_it_is() -> None:
    for name in available(Tokens(1, 1, ("",), ("",)), values=True):
        text = getattr(formulas, name).__doc__
        assert text.startswith("Return ")
        assert "Source" in text or "et al." in text or name in {"perplexity", "distance"}


def test_what_is_not_there_is_not_said(tmp_path: Path) -> None:
    cross = np.full((2, 3, 4), 0.25)
    names = qkvcli.heads(cross).names
    assert names == ("entropy", "perplexity", "confidence", "sink")
    with pytest.raises(QkvError, match="duplicate needs queries that are the keys"):
        qkvcli.heads(cross, ["duplicate"])
    with pytest.raises(QkvError, match="duplicate needs labels"):
        qkvcli.heads(np.full((2, 3, 3), 1 / 3), ["duplicate"])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--sort", "entrpy"], "there is no statistic 'entrpy'; did you mean 'entropy'?"),
        (["--statistics", "nxt"], "--statistics: there is no 'nxt'; did you mean 'next'?"),
        (["--statistics", "value_norm"], "--statistics: value_norm needs values"),
        (["--label", "[SEPP]"], "--label: no key is called '[SEPP]'"),
        (["--sink-key", "16"], "--sink-key 16, and there are 16 keys"),
        (["--layers", "6"], "there is no layer 6"),
        (["--plot", "x.html"], "x.html: --plot names a .svg, .png, .pdf file"),
        (["--distances", "x.csv"], "x.csv: --distances names a .npz file"),
        (["--ascending"], "--ascending is of --sort"),
    ],
)
def test_refused(options: list[str], line: str) -> None:
    run = run_inside("heads", SAMPLE, *options)
    assert (run.status, run.text) == (2, "")
    assert line in run.error
    assert len(run.error.splitlines()) == 1


def test_nan_is_named(tmp_path: Path) -> None:
    weights = np.full((2, 3, 4, 4), 0.25)
    weights[1, 2, 3, 0] = np.nan
    np.save(tmp_path / "w.npy", weights)
    run = run_inside("heads", str(tmp_path / "w.npy"))
    assert (run.status, run.text) == (2, "")
    assert "NaN or infinity at index [1, 2, 3, 0]" in run.error


# Queries and keys ----------------------------------------------------------------------------


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "c.npz", **arrays)
    return str(folder / "c.npz")


@pytest.mark.numeric
@pytest.mark.parametrize("setting", [{}, {"causal": True}, {"causal": True, "window": 5}])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_heatmaps_of_queries_and_keys(setting: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    q, k = (draw.standard_normal((2, heads, 40, 8)).astype(dtype) for heads in (4, 2))
    path = saved(tmp_path, queries=q, keys=k, scale=0.5, **setting)
    run = run_inside("heatmap", path, "-o", str(tmp_path / "w.npy"))
    assert run.status == 0, run.error
    scores = q.astype(float) @ np.repeat(k, 2, axis=1).astype(float).swapaxes(-1, -2) / 2
    i, j = np.indices((40, 40))
    hidden = (j > i) & ("causal" in setting) | (j <= i - setting.get("window", 99))
    scores[:, :, hidden] = -np.inf
    wanted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    assert np.abs(np.load(tmp_path / "w.npy") - wanted).max() < 1e-6


@pytest.mark.parametrize("added", [False, True])
def test_masks_of_a_file(added: bool, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    q, k = draw.standard_normal((2, 3, 6, 4)).astype(np.float32)
    allowed = draw.random((6, 6)) < 0.6
    allowed[2] = False  # a query that may attend to nothing
    mask = np.where(allowed, 0.5, -np.inf) if added else allowed
    path = saved(tmp_path, queries=q, keys=k, mask=mask)
    assert run_inside("heatmap", path, "-o", str(tmp_path / "w.npy")).status == 0
    scores = np.where(allowed, q.astype(float) @ k.astype(float).swapaxes(-1, -2) / 2, -np.inf)
    wanted = np.exp(scores)
    wanted /= np.maximum(wanted.sum(axis=-1, keepdims=True), 1e-300)
    assert np.abs(np.load(tmp_path / "w.npy") - wanted).max() < 1e-6


@pytest.mark.parametrize("shrink", ["max", "mean"])
def test_pixels_come_in_parts(shrink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    q, k = draw.standard_normal((2, 50, 4)).astype(np.float32)
    path = saved(tmp_path, queries=q, keys=k)
    monkeypatch.setattr("qkvcli.heatmap.pixels.AXIS_PIXELS", 6)
    pictures = []
    for room in (1, 1 << 20):  # a row at a time, and all at once
        monkeypatch.setattr("qkvcli.heatmap.pixels.COMPUTED_BYTES", room)
        out = tmp_path / f"{room}.svg"
        assert run_inside("heatmap", path, "--shrink", shrink, "-o", str(out)).status == 0
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]


NAN = np.ones((1, 2, 3, 4), np.float32)
NAN[0, 1, 2, 3] = np.nan
FINE = np.ones((1, 2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"queries": FINE}, "holds queries and no keys"),
        ({"keys": FINE, "values": FINE}, "holds keys and no queries"),
        ({"queries": FINE[:, [0, 1, 0]], "keys": FINE}, "3 heads of queries do not divide among 2"),
        ({"queries": FINE, "keys": FINE[..., :3]}, "do not fit; both are (L, H, T, D), of one D"),
        ({"queries": NAN, "keys": FINE}, "[queries]: NaN or infinity at index [0, 1, 2, 3]"),
        ({"queries": FINE, "keys": NAN}, "[keys]: NaN or infinity at index [0, 1, 2, 3]"),
        ({"queries": FINE, "keys": FINE, "window": -1}, "window -1 is not a whole number from 0"),
        ({"queries": FINE, "keys": FINE, "scale": np.nan}, "scale nan is not a finite number"),
        ({"queries": FINE, "keys": FINE, "causal": [True, True]}, "causal of shape (2,)"),
        ({"queries": FINE, "keys": FINE, "mask": np.ones(3)}, "a mask of shape (3,)"),
        ({"queries": FINE, "keys": FINE, "key_labels": ["a"]}, "1 key_labels for 3"),
        (
            {"queries": FINE * 1e30, "keys": FINE * 1e30},
            "the products of queries and keys overflow",
        ),
    ],
)
@pytest.mark.parametrize("command", ["heatmap", "heads"])
def test_odd_files(arrays: dict[str, Any], line: str, command: str, tmp_path: Path) -> None:
    run = run_inside(command, saved(tmp_path, **arrays))
    assert (run.status, run.text) == (2, "")
    assert line in run.error
    assert len(run.error.splitlines()) == 1


@pytest.mark.parametrize("command", ["heatmap", "heads"])
def test_layers_are_no_batch(command: str, tmp_path: Path) -> None:
    path = saved(tmp_path, queries=FINE, keys=FINE)
    run = run_inside(command, path, "--batch", "0")
    assert (run.status, run.text) == (2, "")
    assert "holds the layers of one text; choose with --layers" in run.error


def test_pool_takes_what_the_file_says(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    q, k = (draw.standard_normal((2, heads, 7, 8)).astype(np.float32) for heads in (4, 2))
    v = draw.standard_normal((2, 2, 7, 3)).astype(np.float32)
    how = {"scale": 0.7, "causal": True, "window": [0, 3]}
    names = list("abcdefg")
    path = saved(tmp_path, queries=q, keys=k, values=v, query_labels=names, key_labels=names, **how)
    run = run_inside(
        *("pool", "--data", path, "-f", "npy", "-o", str(tmp_path / "p.npy")),
        *("--weights", str(tmp_path / "w.npz")),
    )
    assert run.status == 0, run.error
    assert run_inside("heatmap", path, "-o", str(tmp_path / "h.npz")).status == 0
    with np.load(tmp_path / "w.npz") as pooled, np.load(tmp_path / "h.npz") as drawn:
        assert np.abs(pooled["weights"] - drawn["weights"]).max() < 1e-6
        assert pooled["query_labels"].tolist() == drawn["key_labels"].tolist() == names
        wanted = drawn["weights"].astype(float) @ np.repeat(v, 2, axis=1)
    assert np.abs(np.load(tmp_path / "p.npy") - wanted).max() < 1e-5
