"""Which weights are drawn: choosing, reducing, rollout, subwords, and blocks of large arrays."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qkvcli.heatmap import pixels
from qkvcli.heatmap.select import dropped, merge_subwords, whole
from tests.heatmap.support import pixels_of, selection

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
