"""Which weights are drawn: choosing, reducing, rollout, subwords, and blocks of large arrays."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qkvcli.heatmap import pixels
from qkvcli.heatmap.select import dropped, merge_subwords, whole
from tests.heatmap.support import pixels_of, selection, softmax

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Command, Draw, Save


def test_layers_heads_queries_and_keys(draw: Draw, attention_file: Path, attention: Array) -> None:
    svg = draw(
        attention_file, "--layers", "5,0-1", "--heads", "3", "--queries", "2-4", "--keys", "9,1"
    )
    assert list(dict.fromkeys(c.panel for c in svg.cells)) == [
        "layer 5, head 3", "layer 0, head 3", "layer 1, head 3"
    ]  # fmt: skip
    assert np.allclose(svg.matrix("layer 5, head 3"), attention[5, 3, 2:5][:, [9, 1]], rtol=1e-5)
    assert [c.query for c in svg.cells][::2][:3] == ["2", "3", "4"]


def test_queries_and_keys_by_their_labels(
    draw: Draw, attention_file: Path, attention: Array, tokens_file: Path
) -> None:
    svg = draw(attention_file, "--layers", "5", "--heads", "3", "--labels", tokens_file,
               "--queries", "the,2", "--keys", "it,0-1,animal")  # fmt: skip
    wanted = attention[5, 3][[1, 7, 2]][:, [10, 0, 1, 2]]
    assert np.allclose(svg.matrix("layer 5, head 3"), wanted, rtol=1e-5)
    assert list(dict.fromkeys(c.key for c in svg.cells)) == ["it", "[CLS]", "the", "animal"]


def test_a_merged_word_is_chosen_by_its_label(draw: Draw, save: Save, tmp_path: Path) -> None:
    weights = np.arange(64.0).reshape(8, 8)
    (tmp_path / "pieces.txt").write_text("\n".join(PIECES))
    svg = draw(save(weights), "--labels", tmp_path / "pieces.txt", "--merge-subwords",
               "--queries", "unbelievable", "--keys", "cats,unbelievable")  # fmt: skip
    assert [c.key for c in svg.cells] == ["cats", "unbelievable"]
    assert svg.matrix().ravel().tolist() == [weights[1:4, 4].mean(), weights[1:4, 1:4].sum() / 3]


@pytest.mark.parametrize("how", ["mean", "max", "min"])
def test_reduce_over_heads_or_over_all(
    draw: Draw, attention_file: Path, attention: Array, how: str
) -> None:
    reduced = getattr(attention.astype(np.float64), how)
    one = draw(attention_file, "--reduce", how, "--layers", "2").matrix(
        f"layer 2, {how} of 12 heads"
    )
    assert np.allclose(one, reduced(axis=1)[2], rtol=1e-5)
    both = draw(attention_file, "--reduce", how, "--over", "all")
    assert np.allclose(
        both.matrix(f"{how} of 6 layers × 12 heads"), reduced(axis=(0, 1)), rtol=1e-5
    )


def reference_rollout(attention: Array) -> Array:
    """Attention rollout as Abnar and Zuidema (2020) describe it."""
    rolled = np.eye(attention.shape[-1])
    for layer in attention.astype(np.float64).mean(axis=1):
        mixed = (layer + np.eye(len(layer))) / 2
        rolled = (mixed / mixed.sum(axis=1, keepdims=True)) @ rolled
    return rolled


def test_rollout(draw: Draw, attention_file: Path, attention: Array) -> None:
    assert np.allclose(
        draw(attention_file, "--rollout").matrix("rollout"), reference_rollout(attention), rtol=1e-5
    )
    some = draw(attention_file, "--rollout", "--layers", "0-2", "--queries", "4")
    assert np.allclose(some.matrix("rollout")[0], reference_rollout(attention[:3])[4], rtol=1e-5)


def test_rollout_of_rows_that_do_not_sum_to_one(draw: Draw, save: Save) -> None:
    weights = (
        np.random.default_rng(0).random((3, 2, 5, 5)) * np.array([0.2, 3, 0.5])[:, None, None, None]
    )
    found = draw(save(weights), "--rollout").matrix("rollout")
    assert np.allclose(found, reference_rollout(weights), rtol=1e-5)
    assert np.allclose(found.sum(axis=1), 1, rtol=1e-5)


PIECES = ["[CLS]", "un", "##believ", "##able", "cats", "##", ".", "[SEP]"]
GPT = ["<s>", "The", "Ġcat", "s", "Ġsat", ".", "</s>", "So"]


def test_subwords_are_averaged_and_summed(draw: Draw, save: Save, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.random((8, 8))
    weights /= weights.sum(1, keepdims=True)
    (tmp_path / "pieces.txt").write_text("\n".join(PIECES) + "\n")
    svg = draw(save(weights), "--labels", tmp_path / "pieces.txt", "--merge-subwords")
    words = ["[CLS]", "unbelievable", "cats", "##", ".", "[SEP]"]
    assert [c.query for c in svg.cells][::6] == words
    found = svg.matrix()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)  # titles have six digits
    assert found[1, 1] == pytest.approx(weights[1:4, 1:4].sum() / 3, rel=1e-5)


def test_merged_rows_sum_to_one(attention: Array) -> None:
    labels = tuple(f"##{i}" if i % 3 else f"w{i}" for i in range(16))
    axes = [merge_subwords(whole(name, 16, labels, "t")) for name in ("query", "key")]
    chosen = selection(attention, (((0, 0),), ((5, 11),)), *axes)
    for values in pixels_of(chosen):
        assert values.shape == (6, 6)
        assert np.abs(values.sum(axis=1) - 1).max() < 1e-6


def test_words_begin_at_a_mark_or_after_a_special_token() -> None:
    axis = merge_subwords(whole("key", 8, tuple(GPT), "t"))
    assert axis.labels == ("<s>", "The", "cats", "sat.", "</s>", "So")
    assert [b - a for a, b in (axis.bounds(i, i + 1) for i in range(6))] == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [(("▁", "ani", "mal", "▁cat"), ("animal", "cat")), (("▁", "▁cat"), ("▁", "cat"))],
)
def test_a_mark_of_its_own_starts_a_word(pieces: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert merge_subwords(whole("key", len(pieces), pieces, "t")).labels == words


def test_labels_of_both_axes_come_from_one_pipe(
    inside: Command, save: Save, tmp_path: Path
) -> None:
    weights = save(np.eye(2))
    arguments = ("heatmap", weights, "--format", "svg", "-o", "-")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    wanted = inside(*arguments, "--labels", "labels.txt")
    piped = inside(*arguments, "--labels", "-", stdin=b"a\nb\n")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == wanted.stdout
    script = (
        f"{sys.executable} -m qkvcli {' '.join(map(str, arguments))} --labels <(printf 'a\\nb\\n')"
    )
    named = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert named.stdout == wanted.stdout


def test_drop(
    draw: Draw, attention_file: Path, attention: Array, tokens_file: Path, tokens: list[str]
) -> None:
    svg = draw(attention_file, "--layers", "0", "--heads", "0", "--labels", tokens_file,
               "--drop", "[CLS],[SEP]")  # fmt: skip
    assert np.allclose(svg.matrix("layer 0, head 0"), attention[0, 0, 1:-1, 1:-1], rtol=1e-5)
    assert [c.query for c in svg.cells][::14][:2] == ["the (1)", "animal"]  # there are two "the"
    assert svg.texts[:14] == tokens[1:-1]


def test_drop_after_merging_keeps_the_pieces_of_words_together() -> None:
    axis = dropped(merge_subwords(whole("key", 8, tuple(GPT), "t")), ("<s>", "sat."))
    assert axis.labels == ("The", "cats", "</s>", "So")
    assert list(axis.positions) == [1, 2, 3, 6, 7]
    assert axis.starts is not None
    assert axis.starts.tolist() == [0, 1, 3, 4]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, attention: Array) -> None:
    def read(block_bytes: int, factors: tuple[int, int], shrink: str) -> Array:
        monkeypatch.setattr(pixels, "BLOCK_BYTES", block_bytes)
        chosen = selection(attention, (((0, 0), (1, 1)),))
        return pixels_of(chosen, shrink, factors)[0]

    for shrink in ("max", "mean"):
        for factors in ((1, 1), (3, 5), (7, 2)):
            whole, cut = read(1 << 20, factors, shrink), read(64, factors, shrink)
            assert np.array_equal(whole, cut)
    mean = (attention[0, 0].astype(float) + attention[1, 1]) / 2
    assert read(64, (16, 16), "max")[0, 0] == mean.max()
    assert read(64, (3, 5), "mean")[5, 3] == pytest.approx(mean[15:, 15:].mean())


def test_titles_of_narrow_panels_are_shorter(draw: Draw, attention_file: Path) -> None:
    many = draw(attention_file, "--size", "5x4")
    assert {"3.0", "5.11"} <= set(many.texts)
    assert {cell.panel for cell in many.cells} >= {"layer 3, head 0", "layer 5, head 11"}
    assert "L5" in draw(attention_file, "--reduce", "mean", "--size", "4x2").texts
    given = draw(attention_file, "--size", "6x4", "--titles", ",".join("abcdefghijkl"))
    assert given.texts.count("l") == 6


def test_large_matrix_is_reduced_to_pixels(draw: Draw, save: Save) -> None:
    weights = np.zeros((5000, 3000), np.float32)
    weights[np.arange(5000), np.arange(5000) * 3 // 5] = 1
    svg = draw(save(weights))
    assert "a cell is the max of 3 × 2 weights" in svg.stderr
    assert "1667 × 1500 cells as an image" in svg.stderr


def test_largest_difference_of_either_sign_survives_shrinking(save: Save, draw: Draw) -> None:
    one, other = np.zeros((4096, 1)), np.zeros((4096, 1))
    one[0], one[1], one[2] = 1, 1.5, 1
    other[0], other[1], other[2] = 0.5, 3.5, 0.7
    svg = draw(save(one, "a.npy"), "--diff", save(other, "b.npy"), "--queries", "0-2")
    assert np.allclose(svg.matrix().ravel(), [0.5, -2, 0.3])
    chosen = selection(one, (((0, 0),),), other=other)
    assert pixels_of(chosen, "max", (4, 1))[0][0, 0] == -2


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
