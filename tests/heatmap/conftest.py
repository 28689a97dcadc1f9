"""What the heatmap tests share: the command, its SVGs read back, and the real attention."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from qkvcli.cli import run
from tests.heatmap.support import SAMPLES, Array, Command, Draw, Save, Svg, softmax
from tests.support.command import run_inside

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def draw(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Draw:
    """Draw an SVG with the command, and read it back."""

    def drawn(*arguments: object) -> Svg:
        out = tmp_path / "out.svg"
        status = run(["heatmap", *map(str, arguments), "-o", str(out)])
        stderr = capfd.readouterr().err
        assert status == 0, stderr
        return Svg(ET.fromstring(out.read_bytes()), stderr)  # noqa: S314 - our own

    return drawn


@pytest.fixture
def qkv(tmp_path: Path) -> Command:
    """Run the installed command as a process of its own, in an empty folder."""

    def called(
        *arguments: object,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        cwd: Path = tmp_path,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "qkvcli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=60,
            check=False,
        )

    return called


@pytest.fixture
def inside(tmp_path: Path) -> Command:
    """Run the command in this process, in an empty folder: all but its start."""

    def called(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        words = list(map(str, arguments))
        done = run_inside(*words, stdin=stdin, cwd=tmp_path)
        return subprocess.CompletedProcess(words, done.status, done.out, done.err)

    return called


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save an array as .npy, under a name."""

    def saved(array: object, name: str = "weights.npy") -> Path:
        np.save(tmp_path / name, np.asarray(array))
        return tmp_path / name

    return saved


@pytest.fixture(scope="session")
def attention() -> Array:
    """Return the self-attention of a sentence encoder: 6 layers, 12 heads, 16 tokens."""
    weights: Array = np.load(SAMPLES / "animal_attention.npy")
    return weights


@pytest.fixture(scope="session")
def attention_file() -> Path:
    """Return the file of ``attention``."""
    return SAMPLES / "animal_attention.npy"


@pytest.fixture(scope="session")
def tokens_file() -> Path:
    """Return the file of its tokens."""
    return SAMPLES / "animal_tokens.txt"


@pytest.fixture(scope="session")
def tokens(tokens_file: Path) -> list[str]:
    """Its tokens."""
    return tokens_file.read_text().split()


@pytest.fixture(scope="session")
def book() -> Array:
    """Return a tensor as the book's ``show_heatmaps`` takes it: 2 rows, 3 columns."""
    return softmax(np.random.default_rng(0).normal(size=(2, 3, 5, 7)))
