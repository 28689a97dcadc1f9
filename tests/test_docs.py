"""The documents say all that there is: commands, options, names; and what is made is today's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from qkvcli.attention.formulas import Tokens, available
from qkvcli.attention.weights import MODES
from qkvcli.cli import COMMANDS, _command, app
from qkvcli.heatmap.request import FORMS
from qkvcli.render.machine import FORMATS
from qkvcli.scores import BANDWIDTH_RULES, TEXT_SCORES, VECTOR_SCORES
from qkvcli.sources.formats import ENDINGS, TABLES
from tests.support import readme
from tests.support.browser import find_chromium
from tests.support.command import SAMPLES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


WRITTEN = "".join(
    path.read_text()
    for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    if path.name not in ("help.md", "api.md")  # they are made of the code
)
"""What people wrote about it."""


def said(name: str, text: str = WRITTEN) -> bool:
    """Return whether a name stands in a text as code, and not as a part of another."""
    lines = (line for line in text.splitlines() if not line.startswith("```"))
    code = (part for line in lines for part in line.split("`")[1::2])
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", part) for part in code)


def names() -> list[tuple[str, str]]:
    """Return all that must be documented, each with what it is."""
    everything = available(Tokens(1, 1, ("",), ("",)), values=True)
    known = {
        "command": [f"qkv {name}" for name in COMMANDS],
        "score": [*TEXT_SCORES, *VECTOR_SCORES],
        "mode": MODES,
        "rule": BANDWIDTH_RULES,
        "statistic": everything,
        "format": [*TABLES, *FORMATS, *FORMS],
        "ending": ENDINGS,
        "variable": variables(),
    }
    return [(kind, name) for kind, found in known.items() for name in found]


def variables() -> list[str]:
    """Return the environment variables that the code names where it looks at the environment."""
    found: set[str] = set()
    for path in (ROOT / "qkvcli").rglob("*.py"):
        text = path.read_text()
        found |= set(re.findall(r'envvar="(\w+)"', text))
        if "os.environ" in text:
            found |= set(re.findall(r'"(_?[A-Z]{3,}[A-Z_]*)"', text))
    return sorted(found - {"O_PATH"})


@pytest.mark.parametrize(("kind", "name"), names())
def test_every_name_is_documented(kind: str, name: str) -> None:
    assert said(name), f"the {kind} {name} stands in no document"


PAGES = {
    "lookup": ["lookup", "tables"],
    "pool": ["pool", "lookup", "tables"],
    "heatmap": ["heatmap"],
    "heads": ["models"],
    "capture": ["models"],
    "learn": ["learn", "lookup", "tables"],
}
"""Where the options of a command are told."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command: str) -> None:
    text = "".join((DOCS / f"{page}.md").read_text() for page in PAGES[command])
    options = [p.opts + p.secondary_opts for p in _command(command).params]
    long = [[name for name in one if name.startswith("--")] for one in options]
    missing = [one for one in long if one and not any(said(name, text) for name in one)]
    assert len(long) > 10
    assert not missing


def test_every_option_of_no_command_is_documented() -> None:
    options = [max(p.opts, key=len) for p in typer.main.get_command(app).params]
    assert len(options) >= 3
    assert not [name for name in options if not said(name)]


def test_each_persons_section_of_the_readme_is_short() -> None:
    sections = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    found = [s for s in sections if s.startswith(("At a shell", "With "))]
    assert len(found) == 4
    for section in found:
        assert len([line for line in section.splitlines() if line]) < 20, section[:30]


def test_what_is_made_of_the_code_is_todays(tmp_path: Path) -> None:
    line = [sys.executable, str(DOCS / "pages.py"), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for path in tmp_path.iterdir():
        assert path.read_text() == (DOCS / path.name).read_text(), "run python docs/pages.py"


def changed(fence: readme.Fence, folder: Path) -> None:
    """Make a change that a document shows to the files of a folder."""
    for part in re.split(r"^=== ", fence.body, flags=re.MULTILINE)[1:]:
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
            added = [
                line for line in fence.body.splitlines() if line.startswith("+") and line != "+"
            ]
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


@pytest.mark.slow
def test_the_site_is_built_and_asks_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # those of the root, too
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*https?://[^>]*>", page.read_text())
        assert not loaded, page.name
    for image in (DOCS / "images").iterdir():
        assert (tmp_path / "images" / image.name).exists()


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="no chromium on PATH")
def test_the_pictures_of_the_explorer_are_todays(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "docs.screens", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in ("explore.png", "explore-head.png"):
        now, then = (Image.open(d / name).convert("RGB") for d in (tmp_path, DOCS / "images"))
        assert now.size == then.size
        # Fonts, and with them places, differ from machine to machine.
        apart = np.abs(np.asarray(now, float) - np.asarray(then, float))
        assert apart.mean() < 20, name


@pytest.mark.slow
def test_the_notebook_shows_what_it_holds(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    line = [sys.executable, str(DOCS / "notebook.py"), str(tmp_path / "tour.ipynb")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    held, shown = outputs(DOCS / "tour.ipynb"), outputs(tmp_path / "tour.ipynb")
    assert len(held) >= 8
    assert [(sorted(one), one["text/plain"]) for one in held] == [
        (sorted(one), one["text/plain"]) for one in shown
    ]
    pictures = [one for one in shown if "image/svg+xml" in one]
    assert len(pictures) == 2
    assert all("<path" in "".join(one["image/svg+xml"]) for one in pictures)
    assert "<iframe" in "".join(shown[-1]["text/html"])


def outputs(notebook: Path) -> list[dict[str, Any]]:
    """Return what the cells of a notebook show, by kinds, without addresses in memory."""
    text = re.sub(r"0x[0-9a-f]+", "0x", notebook.read_text())
    cells = json.loads(text)["cells"]
    return [out["data"] for cell in cells for out in cell.get("outputs", ()) if "data" in out]
