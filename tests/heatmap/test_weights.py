"""Weights as they are read: what is odd about them, and every format, header and stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.heatmap.support import softmax

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Command, Draw, Save


WARNED = [
    (np.full((2, 4), 0.3), "2 of 2 rows do not sum to 1; the first at query 0: 1.2"),
    ([[1.5, -0.5]], "1 weight is negative; the first at query 0, key 1"),
    (
        [[0.5, 0.9, 1.0], [0.5, 0.1, 0.0]],
        "its columns sum to 1 and its rows do not; is it transposed?",
    ),
    (
        [[0.5, 0.5], [np.inf, 0.5]],
        "1 weight is NaN or infinite, drawn grey; the first at query 1, key 0",
    ),
]


@pytest.mark.parametrize(("weights", "line"), WARNED)
def test_odd_weights_are_drawn_with_one_warning_each(
    draw: Draw, save: Save, weights: Array, line: str
) -> None:
    svg = draw(save(weights))
    warned = [text for text in svg.stderr.splitlines() if "warning" in text]
    assert len(warned) == 1
    assert line in warned[0]


@pytest.mark.parametrize(
    ("dtype", "off", "is_said"),
    [("f4", 0.9e-3, False), ("f4", 1.2e-3, True), ("f2", 1.8e-2, False), ("f2", 2.2e-2, True)],
)
def test_how_far_from_one_a_row_may_sum(
    draw: Draw, save: Save, dtype: str, off: float, is_said: bool
) -> None:
    for sign in (1, -1):
        svg = draw(save(np.array([[1 + sign * off, 0]], dtype)))
        assert ("1 of 1 row does not sum to 1" in svg.stderr) is is_said


def test_good_weights_are_drawn_without_a_word(
    draw: Draw, attention_file: Path, save: Save, attention: Array
) -> None:
    assert "warning" not in draw(attention_file).stderr
    assert "warning" not in draw(save(attention.astype(np.float16))).stderr
    assert "warning" not in draw(attention_file, "--keys", "0-3").stderr


def test_formats_give_the_same_picture(
    draw: Draw, save: Save, tmp_path: Path, inside: Command, tokens: list[str]
) -> None:
    weights = np.array([[0.25, 0.75], [0.5, 0.5]])
    np.savez(tmp_path / "w.npz", weights=weights, other=np.eye(3),
             query_labels=np.array(["a", "b"]), key_labels=np.array(["c", "d"]))  # fmt: skip
    (tmp_path / "w.csv").write_text("0.25,0.75\n0.5,0.5\n")
    (tmp_path / "named.csv").write_text(",c,d\na,0.25,0.75\nb,0.5,0.5\n")
    (tmp_path / "w.tsv").write_text("0.25\t0.75\n0.5\t0.5\n")
    (tmp_path / "w.json").write_text(json.dumps(weights.tolist()))
    (tmp_path / "semi.csv").write_text("sep=;\n0.25;0.75\n0.5;0.5\n")
    big = weights.astype(">f4", order="F")
    for source in (save(weights), save(big, "f.npy"), *(
        tmp_path / name for name in ("w.npz", "w.csv", "named.csv", "w.tsv", "w.json", "semi.csv")
    )):  # fmt: skip
        assert np.array_equal(draw(source).matrix(), weights), source
    for name in ("w.npz", "named.csv"):
        assert [c.query + c.key for c in draw(tmp_path / name).cells] == ["ac", "ad", "bc", "bd"]
    assert len(draw(tmp_path / "w.npz", "--name", "other").cells) == 9
    for name in ("weights.npy", "w.npz", "w.csv", "w.tsv", "w.json"):
        piped = inside(
            "heatmap", "-", "--format", "svg", "-o", "-", stdin=(tmp_path / name).read_bytes()
        )
        assert piped.returncode == 0, piped.stderr
        assert piped.stdout.count(b": 0.75</title>") == 1


@pytest.mark.parametrize(
    ("text", "queries", "keys"),
    [
        ("the,cat,the\n1,0,0\n0.5,0.5,0\n", "0 1", "the (0) cat the (2)"),
        ("in,2023,the\n1,0,0\n0.5,0.5,0\n", "0 1", "in 2023 the"),
        (",0,1\n0,1,0\n1,0.5,0.5\n", "0 1", "0 1"),
        ("q,0,1,2\n7,1,0,0\n8,0.5,0.5,0\n", "7 8", "0 1 2"),
        ("0,1,2\n1,0,0\n0.5,0.5,0\n", "0 1", "0 1 2"),
        ("0,1,2\n1,0,0\n0,1,0\n", "0 1 2", "0 1 2"),
        ("0,1\n0.5,0.5\n", "0 1", "0 1"),
        ("x,0.2,0.8\ny,1,0\n", "x y", "0 1"),
    ],
    ids=[
        "words",
        "words and a year",
        "numbered",
        "a named index",
        "counted",
        "whole",
        "a row",
        "x",
    ],
)
def test_header_of_a_matrix(draw: Draw, tmp_path: Path, text: str, queries: str, keys: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    cells = draw(tmp_path / "w.csv").cells
    assert list(dict.fromkeys(c.query for c in cells)) == queries.split()
    found = " ".join(dict.fromkeys(c.key for c in cells))
    assert found == keys


def test_safetensors(draw: Draw, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="the extra is not installed")
    weights = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    path = tmp_path / "w.safetensors"
    for dtype in (np.float64, np.float32, np.float16):
        safetensors.save_file({"weights": weights.astype(dtype), "x": np.eye(3)}, str(path))
        assert np.array_equal(draw(path).matrix(), weights)
    upper = (weights.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = b'{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + upper)
    assert np.array_equal(draw(path).matrix(), weights)


def test_batch(draw: Draw, save: Save) -> None:
    weights = np.stack([np.stack([np.stack([np.eye(2), np.eye(2)[::-1]])] * 3)] * 2)
    assert weights.shape == (2, 3, 2, 2, 2)
    svg = draw(save(weights), "--batch", "1")
    assert {c.panel for c in svg.cells} == {f"layer {i}, head {j}" for i in (0, 1) for j in (0, 1)}
    assert np.array_equal(svg.matrix("layer 1, head 1"), np.eye(2)[::-1])


def test_a_batch_of_heads_is_not_taken_for_layers_without_a_word(
    draw: Draw, save: Save, attention: Array
) -> None:
    file = save(attention)
    note = "(6, 12, 16, 16) is read as (layers, heads, Q, K); if its first axis is a batch, pass --batch"
    assert f"qkv: note: {file}: {note}\n" in draw(file).stderr
    assert note in draw(file, "--rollout").stderr
    assert note not in draw(file, "--layers", "0-5").stderr
    entry = draw(file, "--batch", "4")
    assert note not in entry.stderr
    assert {c.panel for c in entry.cells} == {f"head {i}" for i in range(12)}
    assert np.allclose(entry.matrix("head 7"), attention[4, 7], rtol=1e-5)
    assert "is read as" not in draw(save(attention[0])).stderr


def layers(weights: Array, name: str) -> dict[str, Array]:
    """Return layers under names, in an order that is that of neither text nor numbers."""
    return {name.format(i): weights[i] for i in (10, 2, 0, 1, 9, *range(3, 9), 11)}


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("name", ["layer_{}", "attentions.{}", "bert.encoder.{}.weights"])
def test_an_array_a_layer_is_stacked_in_the_order_of_numbers(
    draw: Draw, tmp_path: Path, kind: str, name: str
) -> None:
    weights = softmax(np.random.default_rng(0).normal(size=(12, 2, 3, 3))).astype(np.float32)
    path = tmp_path / f"w.{kind}"
    if kind == "npz":
        np.savez(path, ids=np.arange(3), **layers(weights, name))  # type: ignore[arg-type]
    else:
        numpy = pytest.importorskip("safetensors.numpy", reason="the extra is not installed")
        numpy.save_file({"ids": np.arange(3), **layers(weights, name)}, str(path))
    svg = draw(path)
    for i, j in ((0, 0), (2, 1), (10, 1), (11, 0)):
        assert np.allclose(svg.matrix(f"layer {i}, head {j}"), weights[i, j], rtol=1e-5)
    stacked = f"{path}: {name.format(0)} to {name.format(11)} are layers 0 to 11"
    assert f"qkv: note: {stacked}\n" in svg.stderr
    one = draw(path, "--name", name.format(9))
    assert np.allclose(one.matrix("head 1"), weights[9, 1], rtol=1e-5)


def test_a_list_of_arrays_is_stacked(draw: Draw, tmp_path: Path) -> None:
    weights = softmax(np.random.default_rng(0).normal(size=(11, 1, 2, 3, 4)))
    np.savez(tmp_path / "w.npz", *weights)  # as a model gives them: (batch, heads, Q, K) a layer
    assert np.allclose(
        draw(tmp_path / "w.npz").matrix("layer 10, head 1"), weights[10, 0, 1], rtol=1e-5
    )
    np.savez(tmp_path / "m.npz", *weights[:, 0, 0])
    svg = draw(tmp_path / "m.npz")
    assert np.allclose(svg.matrix("layer 10"), weights[10, 0, 0], rtol=1e-5)


def test_a_first_line_of_any_length(draw: Draw, tmp_path: Path) -> None:
    long = "word " * 40_000
    (tmp_path / "w.csv").write_text(f'{long},"{long}"\n0.25,0.75\n')
    svg = draw(tmp_path / "w.csv")
    assert svg.matrix().tolist() == [[0.25, 0.75]]
    assert any(text.startswith("word word") and text.endswith("…") for text in svg.texts)
