"""Whole files: the same bytes everywhere, gold files, PNG and PDF, the pipe, and a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

if TYPE_CHECKING:
    from tests.heatmap.support import Command, Draw, Save

GOLD = Path(__file__).parent / "gold"
FORMS = ("svg", "png", "pdf", "terminal")


def test_lookup_draws_the_identity(inside: Command, draw: Draw, tmp_path: Path) -> None:
    weights = inside("lookup", "--self", "--mode", "exact", "--weights", "-")
    assert weights.returncode == 0, weights.stderr
    drawn = inside("heatmap", "-", "-o", "out.svg", stdin=weights.stdout)
    assert drawn.returncode == 0, drawn.stderr
    assert b"warning" not in drawn.stderr
    (tmp_path / "w.npz").write_bytes(weights.stdout)
    svg = draw(tmp_path / "w.npz")
    assert np.array_equal(svg.matrix(), np.eye(len(svg.matrix())))
    assert svg.cells[0].query == svg.cells[0].key
    assert not svg.cells[0].query.isdigit()  # the labels came along


@pytest.mark.parametrize(
    "form",  # PNG and PDF come from the same figure
    [pytest.param(form, marks=pytest.mark.slow) if form == "pdf" else form for form in FORMS],
)
def test_same_bytes_from_anywhere(
    qkv: Command, attention_file: Path, tokens_file: Path, tmp_path: Path, form: str
) -> None:
    hostile = tmp_path / "hostile"
    (hostile / "home" / ".config" / "matplotlib").mkdir(parents=True)
    for place in (hostile, hostile / "home" / ".config" / "matplotlib"):
        (place / "matplotlibrc").write_text(
            "font.size: 30\naxes.facecolor: black\ntext.usetex: True\nbackend: TkAgg\nnonsense: 1\n"
        )
    arguments = ("heatmap", attention_file, "--labels", tokens_file, "--layers", "0",
                 "--heads", "0-1", "--format", form, "-o", "-")  # fmt: skip
    there = {"MPLCONFIGDIR": str(tmp_path / "cache")}
    plain = qkv(*arguments, env=there)
    assert plain.returncode == 0, plain.stderr
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8", "HOME": str(hostile / "home"),
             "MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(hostile), "PYTHONHASHSEED": "7",
             "SOURCE_DATE_EPOCH": "1"}  # fmt: skip
    odd = qkv(*arguments, env={**there, **other}, cwd=hostile)
    assert odd.returncode == 0, odd.stderr
    assert odd.stdout == plain.stdout
    assert odd.stderr == plain.stderr


def test_a_folder_of_matplotlibs_settings_stays(qkv: Command, save: Save, tmp_path: Path) -> None:
    """Only one that Matplotlib made for itself is removed."""
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "kept").touch()
    done = qkv("heatmap", save(np.eye(2)), "-o", "w.png", env={"MPLCONFIGDIR": "settings"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "settings" / "kept").exists()


@pytest.mark.parametrize(
    "name", ["identity.svg", "tokens.svg", "difference.svg", "image.svg", "tokens.txt"]
)
def test_gold(
    name: str,
    attention_file: Path,
    tokens_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run with QKV_GOLD=1 to write the files anew; look at them before they are committed."""
    from qkvcli.cli import run

    monkeypatch.chdir(tmp_path)
    np.save("identity.npy", np.eye(10))
    halves = (np.eye(10) + np.roll(np.eye(10), 1, axis=1)) / 2
    np.save("halves.npy", halves)
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 9, (70, 70))
    np.save("image.npy", steps / steps.sum(axis=1, keepdims=True))
    real, tokens = str(attention_file), str(tokens_file)
    arguments = {
        "identity.svg": ["identity.npy"],
        "tokens.svg": [
            real,
            "--labels",
            tokens,
            "--layers",
            "2",
            "--heads",
            "0-2",
            "--title",
            "Layer 2",
        ],
        "difference.svg": ["identity.npy", "--diff", "halves.npy", "--annotate"],
        "image.svg": ["image.npy"],
        "tokens.txt": [
            real,
            "--labels",
            tokens,
            "--rollout",
            "--format",
            "terminal",
            "--color",
            "never",
        ],
    }[name]
    assert run(["heatmap", *arguments, "-o", name]) == 0
    # zlib's packing may differ from one version to another; its pixels are held elsewhere.
    found = re.sub(r"base64,[^\"]*", "base64,", Path(name).read_text())
    if "QKV_GOLD" in os.environ:
        GOLD.mkdir(exist_ok=True)
        (GOLD / name).write_text(found)
    assert found == (GOLD / name).read_text()


def test_png_shows_every_cell(
    draw: Draw, save: Save, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from qkvcli.cli import run

    rng = np.random.default_rng(0)
    weights = rng.random((7, 9))
    weights /= weights.sum(axis=1, keepdims=True)
    out = tmp_path / "out.png"
    assert run(["heatmap", str(save(weights)), "-o", str(out), "--dpi", "144"]) == 0
    pixels = imread(out)[:, :, :3]
    wanted = mpl.colormaps["Reds"](weights / weights.max())[:, :, :3]
    for colour in wanted.reshape(-1, 3):
        near = np.abs(pixels - colour).max(axis=-1) < 1.5 / 255
        assert near.sum() > 1000
    assert (pixels[[0, -1]] == 1).all()  # nothing touches the edges: nothing is cut
    assert (pixels[:, [0, -1]] == 1).all()


def test_png_keeps_every_weight_of_a_matrix_as_large_as_itself(save: Save, tmp_path: Path) -> None:
    from qkvcli.cli import run

    weights = np.full((900, 900), 1 / 900)
    lone = np.random.default_rng(0).integers(0, 900, (50, 2))
    weights[lone[:, 0], lone[:, 1]] = 1
    out = tmp_path / "out.png"
    assert run(["heatmap", str(save(weights)), "-o", str(out)]) == 0
    pixels = imread(out)[:, :1300, :3]
    dark = np.abs(pixels - np.array([103, 0, 13]) / 255).max(axis=-1) < 0.01
    assert dark.sum() >= 50


def test_font_without_a_sign_is_said_once(inside: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("查\n询\nb\n")
    done = inside("heatmap", save(np.eye(3)), "--labels", "labels.txt", "-o", "x.png")
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "qkv: warning: the font of PNG and PDF has no 查询; boxes stand for it; try SVG\n"
    )


def test_pdf_is_vector_with_text(
    inside: Command, attention_file: Path, tokens_file: Path, tmp_path: Path
) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    done = inside("heatmap", attention_file, "--labels", tokens_file, "--layers", "0", "--heads", "0",
               "-o", "x.pdf")  # fmt: skip
    assert done.returncode == 0
    text = subprocess.run(
        ["pdftotext", "x.pdf", "-"], cwd=tmp_path, capture_output=True, check=True
    )
    assert {b"animal", b"Queries", b"Keys"} <= set(text.stdout.split())


@pytest.fixture(scope="module")
def chromium() -> str:
    """Return the path of a Chromium, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if found is None:
        pytest.skip("no chromium on PATH (apt-get install chromium)")
    return found


PAGE = """<!doctype html><body><script>
document.addEventListener("DOMContentLoaded", () => {
  const cells = [...document.querySelectorAll("svg rect")];
  const title = "layer 0, head 2, query didn, key animal: ";
  const cell = cells.find(r => r.querySelector("title")?.textContent.startsWith(title));
  const box = cell.getBoundingClientRect();
  const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  document.body.dataset.hit = hit.querySelector("title").textContent;
  document.body.dataset.fill = getComputedStyle(hit).fill;
});
</script>%s</body>"""


def browse(chromium: str, folder: Path, *arguments: str) -> bytes:
    """Run a headless Chromium with a profile of its own."""
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update",
         f"--user-data-dir={folder / 'profile'}", *arguments],
        capture_output=True, timeout=60, check=True, cwd=folder,
    )  # fmt: skip
    return done.stdout


def test_browser_finds_a_cell_by_its_title(
    chromium: str, draw: Draw, attention_file: Path, tokens_file: Path, tmp_path: Path
) -> None:
    draw(attention_file, "--labels", tokens_file, "--layers", "0", "--heads", "2-3")
    (tmp_path / "page.html").write_text(PAGE % (tmp_path / "out.svg").read_text())
    dom = browse(
        chromium, tmp_path, "--window-size=1600,900", "--virtual-time-budget=2000", "--dump-dom",
        f"file://{tmp_path / 'page.html'}",
    ).decode()  # fmt: skip
    hit = re.search(r'data-hit="layer 0, head 2, query didn, key animal: ([0-9.e-]+)"', dom)
    assert hit, dom[:300]
    assert float(hit[1]) > 0.9
    assert 'data-fill="rgb(10' in dom


def test_browser_draws_a_picture_that_is_not_blank(
    chromium: str, draw: Draw, save: Save, tmp_path: Path
) -> None:
    draw(save(np.eye(10)))
    shot = tmp_path / "shot.png"
    browse(chromium, tmp_path, "--window-size=600,500", f"--screenshot={shot}",
           f"file://{tmp_path / 'out.svg'}")  # fmt: skip
    pixels = imread(shot)[:, :, :3]
    dark = np.abs(pixels - np.array([103, 0, 13]) / 255).max(axis=-1) < 0.02
    assert dark.mean() > 0.02  # a tenth of the panel
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
