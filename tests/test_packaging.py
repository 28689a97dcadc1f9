"""What is installed: the command, its data, its types, its dependencies, and what it imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import qkvcli
from qkvcli.database import sample
from tests.support.command import SAMPLES, environment, run_qkv

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_version_is_one() -> None:
    assert metadata.version("qkvcli") == qkvcli.__version__
    assert run_qkv("--version").text == f"qkv {qkvcli.__version__}\n"


def test_module_is_the_command() -> None:
    run = run_qkv("-m", "qkvcli", "--version", program=sys.executable)
    assert (run.status, run.text) == (0, f"qkv {qkvcli.__version__}\n")


def test_run_time_dependencies_are_few() -> None:
    names = [re.split(r"[<>=]", line)[0] for line in PROJECT["project"]["dependencies"]]
    assert names == ["typer", "numpy", "matplotlib", "rich", "rapidfuzz", "scipy", "threadpoolctl"]
    assert all(">=" in line for line in PROJECT["project"]["dependencies"])


def test_types_are_shipped() -> None:
    assert (resources.files("qkvcli") / "py.typed").is_file()


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
def test_samples_are_found(name: str) -> None:
    assert Path(sample(name)).read_bytes() == (SAMPLES / name).read_bytes()


def test_changelog_has_a_place_for_what_comes() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def imported_by(code: str) -> set[str]:
    """Return the top-level packages that a piece of code has imported."""
    told = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + told], capture_output=True, env=environment(), check=True
    )
    return set(done.stdout.decode().split())


def test_the_command_line_imports_nothing_slow() -> None:
    found = imported_by("import qkvcli.cli")
    assert not found & {"numpy", "matplotlib", "rich", "rapidfuzz", "pydantic", "scipy", "click"}


def test_a_table_of_text_is_read_without_drawing_or_a_terminal() -> None:
    code = "from qkvcli.database import *; from qkvcli.sources.store import *; list(open_table(sample('names.csv'), TableOptions()).blocks())"
    assert not imported_by(code) & {"typer", "rich", "matplotlib", "rapidfuzz", "pydantic"}
