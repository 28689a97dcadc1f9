"""The bad-input corpus: the whole contract, held for every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.corpus import CASES
from tests.support.contract import check

if TYPE_CHECKING:
    from pathlib import Path


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 300


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)
