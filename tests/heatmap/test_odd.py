"""Odd weights that are drawn, and outputs that a shell connects: what no row of the corpus can say."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.command import run_pty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Array, Command, Draw, Save


def test_disk_full_and_closed_pipe(save: Save, tmp_path: Path) -> None:
    save(np.full((6, 12, 4, 4), 0.25), "four.npy")
    command = f"{sys.executable} -m qkvcli heatmap four.npy --layers 0-5 -o - --format svg"
    full = subprocess.run(  # noqa: S602 - redirections are the shell's
        f"{command} > /dev/full", shell=True, cwd=tmp_path, capture_output=True, check=False
    )
    assert full.returncode == 2
    assert b"stdout: not written: No space left on device\n" in full.stderr
    script = f"set -o pipefail; {command} 2>err | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    piped = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert piped.stdout == b"141\n"
    assert (tmp_path / "err").read_bytes() == b""
    closed = subprocess.run(  # noqa: S602 - redirections are the shell's
        f"{command} >&-", shell=True, cwd=tmp_path, capture_output=True, check=False
    )
    assert closed.returncode == 2
    assert closed.stderr.count(b"\n") == 1


@pytest.mark.parametrize("form", ["png", "pdf", "npy", "npz"])
def test_what_is_no_text_is_not_written_to_a_terminal(save: Save, form: str) -> None:
    shown = run_pty("heatmap", str(save(np.eye(3))), "-o", "-", "--format", form)
    assert shown.status == 2
    line = f"qkv: {form} is not text, and stdout is a terminal; redirect it, or name a file with -o"
    assert shown.text.split() == line.split()


def test_links_and_modes_stay(save: Save, tmp_path: Path, inside: Command) -> None:
    save(np.eye(3), "ok.npy")
    (tmp_path / "real.svg").write_text("old")
    (tmp_path / "real.svg").chmod(0o640)
    (tmp_path / "link.svg").symlink_to("real.svg")
    assert inside("heatmap", "ok.npy", "-o", "link.svg").returncode == 0
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "real.svg").read_text().startswith("<svg")
    assert stat.S_IMODE((tmp_path / "real.svg").stat().st_mode) == 0o640
    shown = inside("heatmap", "ok.npy", "-o", "/dev/stdout", "--format", "svg")
    assert shown.stdout.startswith(b"<svg")


@pytest.mark.parametrize("dtype", ["f8", "?", "i1", "f2", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_number_is_read(save: Save, draw: Draw, dtype: str, order: str) -> None:
    weights = np.array([[1, 0, 0], [0, 0, 1]]).astype(dtype, order)  # type: ignore[call-overload]
    assert np.array_equal(draw(save(weights)).matrix(), weights)


@pytest.mark.parametrize(("weights", "arguments"), [
    (-np.eye(3), ["--rollout"]),
    (np.full((2, 3, 3, 3), 1e308), ["--rollout"]),
    (np.full((2, 3, 3, 3), 1e308), ["--reduce", "mean"]),
    (np.full((3, 3), 1e308), ["--merge-subwords", "--labels", "labels.txt"]),
], ids=["cancelling", "rolled out", "summed", "merged"])  # fmt: skip
@pytest.mark.parametrize("form", ["svg", "png", "pdf", "terminal"])
def test_cells_that_overflow_are_grey_and_said(
    save: Save, inside: Command, tmp_path: Path, weights: Array, arguments: list[str], form: str
) -> None:
    (tmp_path / "labels.txt").write_text("a\n##b\n##c\n")
    shown = inside("heatmap", save(weights), *arguments, "--format", form, "-o", "x")
    assert shown.returncode == 0
    lines = shown.stderr.decode().splitlines()
    assert all(line.startswith("qkv: ") for line in lines)
    assert sum("NaN or infinite, drawn grey, though no weight is" in line for line in lines) == 1


@pytest.mark.parametrize("limits", [("-1e308", "1e308"), ("0", "1e300")], ids=str)
def test_limits_beyond_the_dtype_of_the_weights(
    save: Save, qkv: Command, limits: tuple[str, str]
) -> None:
    weights = np.eye(3, dtype=np.float32)
    low, high = limits
    shown = qkv("heatmap", save(weights), "--vmin", low, "--vmax", high, "-o", "x.svg")
    assert shown.returncode == 0
    assert all(line.startswith("qkv: ") for line in shown.stderr.decode().splitlines())


def test_infinities_are_called_so(save: Save, draw: Draw) -> None:
    svg = draw(save([[np.inf, -np.inf, np.nan, 0.5]]), "--annotate")
    assert [cell.weight for cell in svg.cells[:2]] == [np.inf, -np.inf]
    assert {"inf", "-inf", "nan", "0.50"} <= set(svg.texts)
    assert [cell.fill for cell in svg.cells[:3]] == ["#bdbdbd"] * 3
    assert "run from 0 to 0.5" in svg.description
    assert "The largest is 0.5: query 0, key 3." in svg.description


@pytest.mark.parametrize("weights", [
    [[5e-324]], [[1e308, -1e308]], [[np.nan]], [[np.inf, -np.inf]], [[0.0]], [[-1.0]],
    [[1e-320, 1e-310]], np.full((2, 2), np.nan),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("form", ["svg", "png", "pdf", "terminal"])
def test_extreme_weights_are_drawn(
    save: Save, tmp_path: Path, capfd: pytest.CaptureFixture[str], weights: Array, form: str
) -> None:
    from qkvcli.cli import run

    for extra in (
        [],
        ["--scale", "panel"],
        ["--diff", str(save(np.zeros_like(weights), "o.npy"))],
    ):
        out = str(tmp_path / "out")
        assert run(["heatmap", str(save(weights)), "-o", out, "--format", form, *extra]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert all(line.startswith("qkv: ") for line in lines)
    json.dumps(lines)
