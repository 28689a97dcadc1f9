"""A short round of fuzzing, the same each time; ``python -m tests.fuzz`` breaks other files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz import harness
from tests.fuzz.findings import FINDINGS
from tests.fuzz.seeds import SEEDS

if TYPE_CHECKING:
    from pathlib import Path

FEW, MANY = 100, 2_000
"""How many files of each format are broken every time, and in the slow tests."""


@pytest.mark.parametrize("form", SEEDS)
def test_seeds_are_valid(form: str, tmp_path: Path) -> None:
    for number, data in enumerate(SEEDS[form]):
        path = tmp_path / f"{number}.{form}"
        path.write_bytes(data)
        harness.read(form, str(path))


@pytest.mark.parametrize("form", SEEDS)
def test_broken_files_are_read_or_refused(form: str) -> None:
    assert harness.run(form, FEW) == []


@pytest.mark.slow
@pytest.mark.parametrize("form", SEEDS)
def test_many_broken_files_are_read_or_refused(form: str) -> None:
    assert harness.run(form, MANY, first=FEW) == []


@pytest.mark.parametrize("name", FINDINGS)
def test_findings_stay_mended(name: str, tmp_path: Path) -> None:
    form, data, _ = FINDINGS[name]
    assert harness.try_file(form, 0, data, tmp_path / f"found.{form}") is None


def test_a_seed_gives_the_same_file() -> None:
    assert harness.broken("npz", 7) == harness.broken("npz", 7)


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    def hang(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(harness, "read", fail)
    found = harness.try_file("csv", 1, b"", tmp_path / "x.csv")
    assert found is not None
    assert "ZeroDivisionError" in found.what
    monkeypatch.setattr(harness, "read", hang)
    monkeypatch.setattr(harness, "SECONDS", 1)
    found = harness.try_file("csv", 1, b"", tmp_path / "x.csv")
    assert found is not None
    assert "TimeoutError" in found.what
