"""Blocks of vectors: where their rows lie, what they carry along, and what they are called."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qkvcli.errors import InputError
from qkvcli.sources import vectors
from qkvcli.sources.npy import open_array
from qkvcli.sources.vectors import Head, VectorSource, in_memory, nonfinite_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

KEYS = np.arange(3 * 10 * 2.0).reshape(3, 10, 2)
VALUES = -np.arange(3 * 10 * 1.0).reshape(3, 10, 1)
NAMES = tuple(f"name {i}" for i in range(25))


def _head(keys: NDArray[Any], values: NDArray[Any], **options: Any) -> Head:
    return Head(in_memory(keys, "keys"), in_memory(values, "values"), **options)


def _sent(block: Any) -> Any:
    return pickle.loads(pickle.dumps(block))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("rows", [3, 4, 10, 99])
def test_a_block_of_a_head_travels_with_its_rows_alone(
    monkeypatch: pytest.MonkeyPatch, number: int, rows: int
) -> None:
    monkeypatch.setattr(vectors, "ROWS", rows)
    # Two files follow one another; the second starts at row 10 of the database.
    first = _head(KEYS, VALUES, number=number, names=NAMES)
    second = _head(KEYS + 100, VALUES - 100, number=number, names=NAMES, first=10)
    source = VectorSource(first, second)
    assert (source.name, source.rows) == ("keys", 20)
    wanted = np.concatenate([KEYS[number], KEYS[number] + 100])
    numbers = np.concatenate([VALUES[number], VALUES[number] - 100])
    for row in range(20):
        np.testing.assert_array_equal(source.key(row), wanted[row])
    seen = 0
    for block in source.blocks():
        assert block.start == seen
        for one in (block, _sent(block), _sent(block.load()), _sent(_sent(block))):
            loaded = one.load()
            at = slice(block.start, block.start + len(block))
            np.testing.assert_array_equal(loaded.keys, wanted[at])
            np.testing.assert_array_equal(loaded.values(), numbers[at])
            np.testing.assert_array_equal(loaded.values([len(block) - 1]), numbers[at][-1:])
            last = block.start + len(block) - 1
            (record,) = loaded.records([len(block) - 1])
            assert record.key == (NAMES[last],)
            assert float(record.value[0]) == numbers[last, 0]
        small = _sent(block).head
        assert small.keys.data is not None
        assert small.values.data is not None
        assert len(small.keys.data) == 16 * len(block)
        assert len(small.values.data) == 8 * len(block)
        assert small.names == _sent(_sent(block)).head.names == NAMES[at]
        seen += len(block)
    assert seen == 20


def test_keys_that_are_the_values_travel_once() -> None:
    stored = in_memory(KEYS, "keys")
    (block,) = VectorSource(Head(stored, stored)).blocks()
    again = _sent(block)
    assert again.head.values is again.head.keys
    loaded = again.load()
    assert loaded.values() is loaded.keys
    assert loaded.records([3]) == [(("3",), ("6", "7"))]


def test_of_a_file_nothing_travels(put: Callable[..., str], tmp_path: Any) -> None:
    np.save(tmp_path / "k.npy", KEYS)
    np.save(tmp_path / "v.npy", VALUES)
    keys, values = (open_array(str(tmp_path / name)) for name in ("k.npy", "v.npy"))
    (block,) = VectorSource(Head(keys, values, number=2)).blocks()
    again = _sent(block.load())
    assert again.head.keys == keys
    assert again.keys is None
    assert again.values() is None
    np.testing.assert_array_equal(again.load().keys, KEYS[2])
    np.testing.assert_array_equal(again.load().values(), VALUES[2])


def test_columns_are_numbered_where_there_are_several() -> None:
    assert _head(KEYS, VALUES).columns.value == ("value",)
    columns = _head(VALUES, KEYS).columns
    assert (columns.key, columns.value) == (("key",), ("v1", "v2"))
    assert (columns.numeric, columns.numeric_key) == ((0, 1), True)


@pytest.mark.parametrize(
    ("shape", "head", "place"),
    [((4, 6), 0, "1, 2"), ((3, 4, 6), 2, "2, 1, 2"), ((2, 3, 4, 5, 6), 17, "1, 1, 1, 1, 2")],
)
def test_a_place_is_counted_along_every_axis(shape: tuple[int, ...], head: int, place: str) -> None:
    message = nonfinite_message(in_memory(np.zeros(shape), "keys"), (1, 2), head)
    assert message == f"NaN or infinity at index [{place}]; attention needs finite numbers"


@pytest.mark.parametrize("role", ["keys", "values"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_check_names_the_array_and_the_row_of_its_file(role: str, bad: float) -> None:
    arrays = {"keys": KEYS.copy(), "values": VALUES.copy()}
    arrays[role][1, 7, 0] = bad
    source = VectorSource(_head(KEYS, VALUES, number=1), _head(**arrays, number=1, first=10))
    good, block = (block.load() for block in source.blocks())
    good.check()
    with pytest.raises(InputError) as caught:
        block.check()
    message = "NaN or infinity at index [1, 7, 0]; attention needs finite numbers"
    assert str(caught.value) == f"{role}: {message}"


def test_what_is_no_array_of_numbers() -> None:
    for array in (np.zeros(2, complex), np.zeros(2, np.longdouble), np.array(["a"])):
        with pytest.raises(InputError) as caught:
            in_memory(array, "here")
        wanted = f"here: is of dtype {array.dtype}; use numbers of at most 64 bits"
        assert str(caught.value) == wanted
    strided = np.arange(24.0).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(in_memory(strided, "here").read(), strided)
    assert in_memory(np.zeros((2, 0)), "here").read().shape == (2, 0)
