"""The bad-input corpus: the whole contract, held for every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.corpus import CASES
from tests.support.contract import check, check_inside
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, tmp_path: Path) -> None:
    check_inside(CASES[name], tmp_path)


@pytest.mark.parametrize("name", mostly_slow(list(CASES)[::4], 60))
def test_bad_input_as_a_user_gives_it(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)
