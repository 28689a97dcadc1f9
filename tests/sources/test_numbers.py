"""The grammar of numbers, cell by cell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli import Database, attend
from qkvcli.sources.numbers import NUMBER, PLAIN, all_match, first_mismatch, mismatches, mistaken

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        *[(cell, True) for cell in ("nan", "NaN", "-inf", "+Infinity", "INF", "1_000", "01_000")],
        *[(cell, True) for cell in ("1,5", "01,5", "0x1F", "1e999", "-1e999", "١٢", "-٣.٤")],
        *[
            (cell, False)
            for cell in ("007", "-007", "+1", "", " ", "Li", "1e3", "1_", "_1", "1,", "x1")
        ],
        *[(cell, False) for cell in ("nano", "info", "0x", "1.2.3", "1,2,3", "1__0", "00")],
    ],
)
def test_what_was_meant_as_a_number(cell: str, wanted: bool) -> None:
    assert mistaken(cell) is wanted


PLAINS = ["0", "-0", "1", "10", "-10.", "0.5", "-.5", "1.50", "1E-3", "-1.5e-07", "1.0E5"]
NUMBERS = [*PLAINS, "007", "+1", "1e3", "12e-3", ".5e+3", "-1.e0"]
NEITHER = ["", " 1", "1 ", ".", "-", "e3", "1e", "1e+", "--1", "1-", "1.2.3", "nan", "0x1", "1\n2"]


def test_the_two_grammars() -> None:
    for grammar, good in ((PLAIN, PLAINS), (NUMBER, NUMBERS)):
        bad = [cell for cell in NUMBERS + NEITHER if cell not in good]
        assert all_match(good, grammar)
        assert first_mismatch(good, grammar) is None
        assert mismatches(good, grammar) == []
        for cell in bad:
            assert not all_match([cell], grammar), cell
            assert not all_match(["1", cell, "2"], grammar), cell
            assert first_mismatch(["1", cell, "2", cell], grammar) == 1
            assert mismatches(["1", cell, "2", cell], grammar) == [1, 3]
            assert mismatches(["1", cell, "2", cell], grammar, most=1) == [1]


def test_no_cells_are_all_numbers() -> None:
    assert all_match([], PLAIN)
    assert first_mismatch([], PLAIN) is None


def test_a_number_past_the_range_of_a_double_is_none() -> None:
    for cell in ("1e309", "-1e309", "1E309", "9" * 310, "-" + "9" * 310):
        assert first_mismatch(["1", cell], NUMBER) == 1
    for cell in ("1e308", "9" * 308, "0" * 400 + "1", "1e-999"):
        assert first_mismatch(["1", cell], NUMBER) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_programs_print_of_a_float_is_a_number(value: float) -> None:
    printed = [repr(value), f"{value:.18e}", f"{value:.3E}", json.dumps(value)]
    assert all_match(printed, PLAIN)


def test_keys_as_numpy_saves_them_are_numbers(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2)) * [1e-6, 1]
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",", header="x,y", comments="")
    found = Database.open(tmp_path / "x.csv").pool(rows[:3, :1], bandwidth=1e-7)
    np.testing.assert_array_equal(
        found.output,
        attend(rows[:3, :1], *np.hsplit(rows, 2), score="gaussian", bandwidth=1e-7).output,
    )
