"""Results saved: what was selected, reduced, rolled out or subtracted, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.heatmap.test_select import reference_rollout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Command, Draw, Save


@pytest.mark.parametrize(
    ("arguments", "pick"),
    [
        ((), lambda a: a),
        (("--layers", "3,1", "--heads", "7", "--keys", "2-4"), lambda a: a[[3, 1]][:, [7], :, 2:5]),
        (("--layers", "3"), lambda a: a[3]),
        (("--layers", "3", "--heads", "7", "--queries", "9,1"), lambda a: a[3, 7][[9, 1]]),
    ],
    ids=["all", "some", "a layer", "a head"],
)
def test_what_was_selected_is_saved_as_it_is(
    inside: Command,
    attention_file: Path,
    attention: Array,
    tmp_path: Path,
    arguments: Any,
    pick: Any,
) -> None:
    done = inside("heatmap", attention_file, *arguments, "-o", "x.npy")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "x.npy")
    assert found.dtype == attention.dtype
    assert np.array_equal(found, pick(attention))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--reduce", "max"), lambda a: a.max(axis=1)),
        (("--reduce", "mean", "--over", "all"), lambda a: a.mean(axis=(0, 1))),
        (("--rollout",), reference_rollout),
    ],
    ids=["reduced", "over all", "rolled out"],
)
def test_what_was_computed_is_saved(
    inside: Command,
    attention_file: Path,
    attention: Array,
    tmp_path: Path,
    arguments: Any,
    wanted: Any,
) -> None:
    assert inside("heatmap", attention_file, *arguments, "-o", "x.npy").returncode == 0
    found = np.load(tmp_path / "x.npy")
    assert np.allclose(found, wanted(attention.astype(np.float64)), rtol=1e-12)


def test_a_difference_is_saved(inside: Command, save: Save, tmp_path: Path) -> None:
    one, other = save([[0.9, 0.1]], "a.npy"), save([[0.5, 0.5]], "b.npy")
    done = inside("heatmap", one, "--diff", other, "-o", "-", "--format", "csv")
    assert done.stdout == b"0.4,-0.4\n"


@pytest.mark.parametrize("name", ["x.npz", "x.csv"])
def test_labels_are_saved_and_drawn_again(
    inside: Command, draw: Draw, attention_file: Path, tokens_file: Path, tmp_path: Path, name: str
) -> None:
    chosen = ("--labels", tokens_file, "--layers", "3", "--heads", "7", "--drop", "the,[CLS],[SEP]")
    done = inside("heatmap", attention_file, *chosen, "-o", name)
    assert done.returncode == 0, done.stderr
    again, first = draw(tmp_path / name), draw(attention_file, *chosen)
    assert [(c.query, c.key, c.fill) for c in again.cells] == [
        (c.query, c.key, c.fill) for c in first.cells
    ]


def test_one_axis_of_labels_makes_a_table_with_both(
    inside: Command, save: Save, tmp_path: Path
) -> None:
    (tmp_path / "q.txt").write_text("a,b\nc\n")
    done = inside("heatmap", save([[0.5, 0.5], [1.0, 0.0]]), "--query-labels", "q.txt",
               "-o", "-", "--format", "csv")  # fmt: skip
    assert done.stdout == b',0,1\n"a,b",0.5,0.5\nc,1.0,0.0\n'


def test_larger_than_any_picture_and_what_is_odd_is_said(
    inside: Command, save: Save, tmp_path: Path
) -> None:
    weights = np.full((3000, 2500), 1 / 2500, np.float32)
    weights[7, 3] = -1
    done = inside("heatmap", save(weights), "-o", "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), weights)
    lines = done.stderr.decode().splitlines()
    assert [line.partition("; ")[0] for line in lines] == [
        f"qkv: warning: {tmp_path / 'weights.npy'}: 1 weight is negative",
        f"qkv: warning: {tmp_path / 'weights.npy'}: 1 of 3000 rows does not sum to 1",
    ]
