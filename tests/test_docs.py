"""The documents say all that there is: commands, options, names; and what is made is today's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qkvcli.cli import COMMANDS
from tests.support import readme
from tests.support.command import SAMPLES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def changed(fence: readme.Fence, folder: Path) -> None:
    """Make a change that a document shows to the files of a folder."""
    for part in re.split(r"^--- ", fence.body, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        path = folder / name
        for place in body.split("@@\n"):
            lines = place.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
            after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
            text = path.read_text() if path.exists() else ""
            assert text.count(before) == 1 or not text, f"{name} has no one place of:\n{before}"
            path.write_text(text.replace(before, after) if text else after)


def test_what_is_to_be_added_can_be(tmp_path: Path, subtests: pytest.Subtests) -> None:
    from tests.test_readme import run_session

    shutil.copytree(SAMPLES, tmp_path / "sample_data")
    shutil.copytree(ROOT / "qkvcli", tmp_path / "qkvcli", ignore=shutil.ignore_patterns("__py*"))
    shell = f'qkv() {{ PYTHONPATH="{tmp_path}" "{sys.executable}" -m qkvcli "$@"; }}'
    changes = 0
    for fence in readme.fences((DOCS / "adding.md").read_text()):
        if fence.kind == "diff":
            added = [line for line in fence.body.splitlines() if line.startswith("+") and line != "+"]
            assert len(added) < 50
            changed(fence, tmp_path)
            changes += 1
        elif fence.kind == "console":
            steps = readme.steps(fence)
            answers = run_session([shell, *(step.command for step in steps)], tmp_path)
            for step, (shown, _) in zip(steps, answers[1:], strict=True):
                with subtests.test(command=step.command):
                    assert readme.matches(step.shown, shown), f"it shows:\n{shown}"
    assert changes == 4
