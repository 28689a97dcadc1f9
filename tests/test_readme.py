"""The README's commands do what the README says; so do those of the other documents."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support import readme
from tests.support.command import QKV, SAMPLES, environment
from tests.support.slow import mostly_slow

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRANSLATED = {"docs/id/index.md": "README.md", "docs/id/chapter.md": "docs/chapter.md"}
"""Documents in another language, and those whose sessions they have."""
SECONDS = 120


def run_at(document: Path) -> Any:
    """Return a document with its name; what is run in another language already is slow."""
    name = str(document.relative_to(ROOT))
    return pytest.param(document, id=name, marks=[pytest.mark.slow] * (name in TRANSLATED))


@pytest.mark.skipif(not shutil.which("bash"), reason="bash runs the documents' commands")
@pytest.mark.parametrize("document", [*map(run_at, DOCUMENTS)])
def test_commands_show_what_the_document_shows(
    document: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    # One folder for the whole document: what one session writes, the next may read.
    shutil.copytree(SAMPLES, tmp_path / "sample_data")
    for fence in readme.fences(document.read_text()):
        if not fence.is_run:
            continue
        steps = readme.steps(fence)
        answers = run_session([step.command for step in steps], tmp_path)
        for step, (shown, status) in zip(steps, answers, strict=True):
            with subtests.test(msg=f"{document.name}:{step.line}", command=step.command):
                assert readme.matches(step.shown, shown), f"it shows:\n{shown}"
                says_so = re.search(r"^qkv: |^\.\.\.$", step.shown, re.MULTILINE)
                assert status == 0 or says_so, f"status {status}"


def run_session(commands: list[str], folder: Path) -> list[tuple[str, int]]:
    """Run commands in one shell, as typed; return what each shows and its exit status."""
    mark = uuid.uuid4().hex
    # The status is handed on, so that a next line `echo $?` shows it.
    told = f"\n{{ _s=$?; printf '\\n{mark} %s\\n' $_s; (exit $_s); }}\n"
    script = "".join(command + told for command in commands)
    path = os.pathsep.join([str(Path(QKV).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment({"PATH": path, "COLUMNS": "80", "HOME": str(folder)}),
        cwd=folder,
        timeout=SECONDS,
        check=False,
    )
    parts = re.split(rf"\n{mark} (\d+)\n", done.stdout.decode())
    return [(shown, int(status)) for shown, status in zip(parts[::2], parts[1::2], strict=False)]


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_of_a_document_runs(name: str, tmp_path: Path) -> None:
    """One program a document: what one block makes, the next may use."""
    shutil.copytree(SAMPLES, tmp_path / "sample_data")
    found = readme.fences((ROOT / name).read_text())
    code = "\n".join(fence.body for fence in found if fence.kind == "python")
    assert "qkvcli" in code
    line = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr


def test_two_set_up_commands_need_only_pip() -> None:
    text = (ROOT / "README.md").read_text()
    commands = [fence.body for fence in readme.fences(text) if "pip install" in fence.body]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert readme.ci_command(ROOT / "README.md") == commands[1]


@pytest.mark.parametrize(
    ("shown", "actual", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\nc\n", False),
        ("a", "a\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("a\n...", "b\n", False),
        ("qkv ...", "qkv 0.1.0\n", True),
        ("a...z", "a\nz\n", False),
        ("", "", True),
        ("", "noise\n", False),
    ],
)
def test_comparison(shown: str, actual: str, same: bool) -> None:
    assert readme.matches(shown, actual) is same


def test_session_keeps_variables_and_statuses(tmp_path: Path) -> None:
    answers = run_session(["x=1", 'echo "$x"', "false", "echo $?", "printf 'no end'"], tmp_path)
    assert answers == [("", 0), ("1\n", 0), ("", 1), ("1\n", 0), ("no end", 0)]


def test_sessions_are_found() -> None:
    session = "```console\n$ echo a \\\n> b\na b\n$ true\n```\n"
    text = session + "\n<!-- not run: slow -->\n\n```console\n$ x\n```\n"
    first, second = readme.fences(text)
    assert first.is_run
    assert not second.is_run
    assert readme.steps(first) == [
        readme.Step("echo a \\\nb", "a b", 2),
        readme.Step("true", "", 5),
    ]


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_has_the_sessions_of_the_original(name: str) -> None:
    """So all that it shows is run with the original."""
    here, there = ((ROOT / path).read_text() for path in (name, TRANSLATED[name]))
    own, known = ([f.body for f in readme.fences(text) if f.is_run] for text in (here, there))
    assert own == known[: len(own)]
    assert len(own) > 3


PICTURES = sorted(
    path.name
    for path in (ROOT / "docs" / "images").glob("*.svg")
    if path.name != "scale.svg"  # which is measured
)


@pytest.mark.parametrize("name", mostly_slow(PICTURES, 6))
def test_a_picture_is_that_of_its_command(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "pictures.py", tmp_path, name],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    now, then = ((d / name).read_text() for d in (tmp_path, ROOT / "docs" / "images"))
    # Numbers may differ in their last digit from processor to processor.
    digits = re.compile(r"-?[0-9.]+(?:e-?[0-9]+)?")
    assert digits.sub("#", now) == digits.sub("#", then)
    pairs = zip(digits.findall(now), digits.findall(then), strict=True)
    assert not [(a, b) for a, b in pairs if a != b and abs(float(a) - float(b)) > 0.02][:3]


def test_links_resolve() -> None:
    for document in [*DOCUMENTS, *ROOT.glob("*.md")]:
        text = document.read_text()
        for target, part in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", text):
            if "://" in target:
                continue
            there = document.parent / target if target else document
            assert there.exists(), (document.name, target)
            assert not part or part in headings(there.read_text()), (document.name, target, part)


def headings(text: str) -> set[str]:
    """Return what a link to a heading of a document may end in."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in found}
