"""Which of many cases run every time, and which with the slow tests: ``make slow`` and CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def mostly_slow(cases: Iterable[Any], often: int) -> list[Any]:
    """Return cases to be parametrized by, all marked as slow but about so many, evenly spread.

    Cases of one family stand together, so that those that run every time are of many kinds.
    """
    found = list(cases)
    step = max(1, len(found) // often)
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        if number % step
        else case
        for number, case in enumerate(found)
    ]
