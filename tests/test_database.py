"""Attention from Python: lazy, strict, and with the same answers as the commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import qkvcli
from qkvcli.errors import QkvError
from tests.support.command import SAMPLES, run_qkv
from tests.support.folds import assert_same, attend

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.numeric

NAMES, SINE = str(SAMPLES / "names.csv"), str(SAMPLES / "sine.csv")
KEYS = ["Zhang", "Lipton", "Li", "Smola", "Hu", "Werness"]
VALUES = ["Aston", "Zachary", "Mu", "Alex", "Rachel", "Brent"]


def _random(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


# The module ----------------------------------------------------------------------------------


def test_importing_it_is_cheap() -> None:
    script = "import sys, qkvcli; qkvcli.__version__; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    loaded = run.stdout.decode().split()
    assert "qkvcli" in loaded
    assert not {"numpy", "typing", "qkvcli.database", "typer"} & (set(loaded) - _bare())
    script = "import qkvcli, sys; qkvcli.attend; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    assert not {"typer", "rich", "matplotlib"} & set(run.stdout.decode().split())


def _bare() -> set[str]:
    """Return what Python has loaded before anything is asked of it."""
    script = "import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    return set(run.stdout.decode().split())


def test_it_shows_what_it_has() -> None:
    assert {"Database", "attend", "lookup", "pool", "QkvError", "__version__"} <= set(dir(qkvcli))
    assert qkvcli.QkvError is QkvError
    with pytest.raises(AttributeError, match="no attribute 'attent'"):
        _ = qkvcli.attent


# The same answers as the commands ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "approximate", "softmax", "average"])
def test_lookup_finds_what_the_command_finds(mode: str) -> None:
    run = run_qkv("lookup", "Li", "Hu", "--mode", mode, "--top", "3", "--format", "json")
    assert run.status == 0
    found = qkvcli.lookup(["Li", "Hu"], mode=mode, top=3)
    for one, wanted in zip(found.found, json.loads(run.out)["queries"], strict=True):
        assert one.query == wanted["query"]
        assert [m.weights[0] for m in one.matches] == _numbers(wanted, "weight")
        assert [m.record.key[0] for m in one.matches] == _keys(wanted)


def _keys(query: dict[str, Any]) -> list[str]:
    found = [match["key"] for match in query["matches"]]
    return [next(iter(key.values())) if isinstance(key, dict) else key for key in found]


def _numbers(query: dict[str, Any], name: str) -> list[float]:
    found = [match.get(name, match.get(f"{name}s")) for match in query["matches"]]
    return [next(iter(x.values())) if isinstance(x, dict) else x for x in found]


def test_pool_answers_what_the_command_answers(tmp_path: Path) -> None:
    queries = _random(1, 9, 1)
    np.save(tmp_path / "q.npy", queries)
    cases: list[dict[str, Any]] = [
        {"bandwidth": 0.5, "jacobian": True},
        {"bandwidth": "silverman", "score": "laplacian", "neighbors": 5},
        {"mode": "approximate", "neighbors": 3},
        {"mode": "average"},
    ]
    for options in cases:
        words = [
            word
            for name, value in options.items()
            for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
        ]
        command = ["pool", "--data", SINE, "--queries", "q.npy", "-o", "o.npz", *words]
        run = run_qkv(*command, cwd=tmp_path)
        assert run.status == 0, run
        answer = qkvcli.pool(queries, SINE, **options)
        with np.load(tmp_path / "o.npz") as found:
            np.testing.assert_array_equal(found["pooled"], answer.output)
            np.testing.assert_array_equal(found["perplexity"], answer.perplexity)
            if answer.jacobian is not None:
                np.testing.assert_array_equal(found["jacobian"], answer.jacobian)


def test_attend_answers_what_the_commands_answer_of_the_same_rows(tmp_path: Path) -> None:
    table = np.loadtxt(SINE, delimiter=",", skiprows=1)
    of_table = qkvcli.pool([1.0, 2.0], SINE, bandwidth="scott")
    of_arrays = attend([1.0, 2.0], table[:, 0], table[:, 1], score="gaussian", bandwidth="scott")
    assert_same(replace(of_arrays, about=None), replace(of_table, about=None), 1e-13)
    of_names = qkvcli.pool(["Lee", "Li"], NAMES)
    assert_same(
        replace(attend(["Lee", "Li"], KEYS, VALUES), about=None), replace(of_names, about=None)
    )
    keys, values = _random(2, 3, 50, 4), _random(3, 3, 50, 2)
    queries = _random(4, 3, 6, 4)
    np.savez(tmp_path / "d.npz", keys=keys, values=values, queries=queries)
    of_file = qkvcli.pool(None, str(tmp_path / "d.npz"), causal=True)
    found = attend(queries, keys, values, causal=True)
    np.testing.assert_array_equal(found.output, of_file.output)
    np.testing.assert_array_equal(found.perplexity, of_file.perplexity)


def test_columns_of_a_table_are_chosen(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("name,x,y\na,1,2\nb,2,3\nc,4,9\n")
    answer = qkvcli.pool([1.5], str(path), key="x", value="y", bandwidth=1.0)
    wanted = attend([1.5], [1.0, 2.0, 4.0], [2.0, 3.0, 9.0], score="gaussian", bandwidth=1.0)
    np.testing.assert_array_equal(answer.output, wanted.output)
    by_number = qkvcli.pool([1.5], str(path), key=["2"], value=["3"], bandwidth=1.0)
    assert_same(by_number.output, answer.output)
    assert qkvcli.lookup("b", str(path)).found[0].matches[0].record.value == ("2", "3")


def test_a_lookup_without_a_match_is_an_answer() -> None:
    found = qkvcli.lookup(["Lipten", "Li"])
    assert [one.answered for one in found.found] == [False, True]
    (one,) = found.unmatched
    assert (one.query, one.matches, one.answers) == ("Lipten", (), (None,))
    assert one.closest is not None
    assert (one.closest.record.key, round(one.closest.score or 0, 3)) == (("Lipton",), 0.835)


# Shapes and kinds of input -------------------------------------------------------------------


def test_queries_in_every_shape() -> None:
    keys, values = _random(5, 8, 3), _random(6, 8, 2)
    many = attend(_random(7, 4, 3), keys, values)
    assert many.output.shape == (4, 2)
    one = attend(_random(7, 4, 3)[1], keys, values)  # a vector (D,) is one query
    np.testing.assert_allclose(one.output[0], many.output[1], rtol=1e-14)
    scalars = attend([0.5, 1.0, 2.0], keys[:, 0], values[:, 0])  # numbers are Q queries
    assert scalars.output.shape == (3, 1)
    empty = attend("", ["", "a"], [1.0, 2.0], mode="exact")  # an empty text is a query too
    assert empty.output.tolist() == [[1.0]]
    assert attend(np.array(1.0), keys[:, 0], values[:, 0]).output.shape == (1, 1)
    single = attend(1.0, keys[:, 0], values[:, 0])
    np.testing.assert_allclose(single.output, scalars.output[1:2], rtol=1e-14)
    assert attend([[1, 0, 2]], keys, values).output.shape == (1, 2)
    lists = attend([[1.0, 0.0, 2.0]], keys.tolist(), values.tolist())
    np.testing.assert_array_equal(attend([[1, 0, 2]], keys, values).output, lists.output)
    assert attend("Li", KEYS).labels[0].labels == tuple(KEYS)
    array = attend(np.array(["Li", "Hu"]), np.array(KEYS), np.array(VALUES))
    assert_same(array, attend(["Li", "Hu"], KEYS, VALUES))


def test_heads_are_stacked() -> None:
    keys, values, queries = _random(8, 2, 3, 9, 4), _random(9, 2, 3, 9, 5), _random(10, 2, 3, 7, 4)
    found = attend(
        queries, keys, values, top=2, weights=True, jacobian=True, valid_lens=[[1] * 7, [9] * 7]
    )
    assert found.output.shape == (2, 3, 7, 5)
    assert found.weights.shape == (2, 3, 7, 9)
    assert found.perplexity.shape == found.answered.shape == found.normalizer.shape == (2, 3, 7)
    assert found.jacobian.shape == (2, 3, 7, 5, 4)
    assert found.best_rows.shape == (2, 3, 7, 2)
    assert (found.best_rows[0, :, :, 1] == -1).all()
    lone = attend(queries[1, 2], keys[1, 2], values[1, 2], top=2, weights=True)
    np.testing.assert_array_equal(found.output[1, 2], lone.output)
    np.testing.assert_array_equal(found.best_rows[1, 2], lone.best_rows)


def test_records_of_the_best_keys() -> None:
    found = attend("Li", KEYS, VALUES, top=2)
    assert found.best_rows[0].tolist() == [2, 1]
    assert found.records[2] == (("Li",), ("Mu",))
    numbers = attend("Li", KEYS, [[i, 0.5] for i in range(6)], top=1)
    assert numbers.records[2] == (("Li",), ("2", "0.5"))
    vectors = attend([[1.0]], [[0.0], [2.0]], ["no", "yes"], score="dot", top=1)
    assert vectors.records == {1: (("1",), ("yes",))}


def test_one_narrow_array_is_not_copied() -> None:
    keys = np.zeros((400_000, 16), "f4")
    queries = np.zeros((4, 16), "f4")
    attend(queries, keys[:70_000])
    tracemalloc.start()
    attend(queries, keys, perplexity=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < keys.nbytes / 4


def test_what_was_not_asked_for_is_not_there() -> None:
    found = attend([1.0], [1.0, 2.0], perplexity=False)
    assert found.perplexity is found.jacobian is found.weights is None
    assert found.best_rows.shape == (1, 0)


# Bad input ------------------------------------------------------------------------------------

K2 = [[1.0, 2.0], [3.0, 4.0]]
BAD: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((["a"], K2), {}, "the `queries` are text, and the keys of keys are numbers"),
    ((K2, ["a", "b"]), {}, "the `queries` are numbers, and the keys of memory are text"),
    (([[1.0]], K2), {}, r"queries of shape \(1, 1\), and the keys have width 2"),
    ((K2, K2, [1.0, 2.0, 3.0]), {}, r"keys of shape \(2, 2\) and values of shape \(3, 1\)"),
    ((K2, K2, ["a"]), {}, "2 keys and 1 values"),
    ((["a"], ["a", "b"], [1.0]), {}, "2 keys and 1 values"),
    ((["a"], ["a", "b"], [[[1.0]], [[2.0]]]), {}, r"values: of shape \(2, 1, 1\)"),
    ((K2, np.zeros((0, 2))), {}, "nothing to attend to"),
    ((K2, np.array(K2, complex)), {}, "keys: is of dtype complex128"),
    ((np.array(K2, object), K2), {}, "queries: is of dtype object"),
    ((None, K2), {}, "no `queries`"),
    (([], K2), {}, "no `queries`"),
    (([], ["a"]), {}, "no `queries`"),
    ((np.zeros((0, 2)), K2), {}, "no `queries`"),
    ((["a"], []), {}, "nothing to attend to"),
    ((["a"], ["a"], []), {}, "1 keys and 0 values"),
    (([[1.0], [1.0, 2.0]], K2), {}, "queries: rows of different lengths"),
    ((K2, [[1.0], [1.0, 2.0]]), {}, "keys: rows of different lengths"),
    ((K2, K2), {"top": -1}, "`top` -1 is not a whole number from 0"),
    ((K2, K2), {"mode": "sofmax"}, "did you mean 'softmax'"),
    ((K2, K2), {"score": "dott"}, "did you mean 'dot'"),
    ((K2, K2), {"score": "indel"}, "`score='indel'` compares text"),
    ((["a"], ["a"]), {"score": "dot"}, "`score='dot'` compares numbers"),
    ((K2, K2), {"temperature": 0.0}, "`temperature` 0.0 is not a finite number above 0"),
    ((K2, K2), {"temperature": float("nan")}, "`temperature` nan"),
    ((K2, K2), {"neighbors": 0}, "`neighbors` 0"),
    ((K2, K2), {"neighbors": 3}, "`neighbors` 3, and keys has 2 keys"),
    ((K2, K2), {"score": "gaussian", "bandwidth": "skott"}, "did you mean 'scott'"),
    ((K2, K2), {"score": "gaussian", "bandwidth": 0.0}, "above 0"),
    ((K2, K2), {"score": "gaussian", "bandwidth": [1, 2, 3]}, "3 widths for 2 key columns"),
    ((K2, K2), {"mask": [[True, False, True]]}, r"`mask` of shape \(1, 3\)"),
    ((K2, K2), {"mask": [[1, 0], [0, 1]]}, "`mask` of dtype int64"),
    ((K2, K2), {"valid_lens": 3}, "has 3, and there are 2 keys"),
    ((K2, K2), {"valid_lens": 1.5}, "`valid_lens` of dtype float64"),
    ((["a"], ["a"]), {"jacobian": True}, "text keys and other modes have none"),
    (([[1.0, float("nan")]], K2), {}, r"queries: NaN or infinity at index \[0, 1\]"),
    ((["a"], ["a"], [float("nan")]), {}, r"values: NaN or infinity at index \[0, 0\]"),
    ((K2, [[1.0, 2.0], [3.0, float("inf")]], ["a", "b"]), {}, r"keys: NaN .* \[1, 1\]"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), BAD)
def test_bad_input_says_what_to_do(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(QkvError, match=message) as caught:
        attend(*arguments, **options)
    assert "\n" not in str(caught.value)
