"""Makes the pictures of the explorer, in a Chromium with the network off.

``python -m docs.screens FOLDER`` writes them to a folder, by default ``docs/images``. Fonts differ
from machine to machine, so a test looks at what they show and not at their bytes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.support.browser import Browser, browser

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_data"
WIDTH = 1180
HEAD, QUERY, COLUMN = 37, "it", 2
"""Layer 3, head 1, in which "it" looks at "animal"."""


def page(folder: Path) -> Path:
    """Return the explorer of the sample."""
    out = folder / "attention.html"
    line = [sys.executable, "-m", "qkvcli", "heatmap", str(SAMPLES / "animal_attention.npy")]
    line += ["--labels", str(SAMPLES / "animal_tokens.txt"), "-o", str(out)]
    subprocess.run(line, check=True, capture_output=True)
    return out


def shot(tab: Browser, height: int, out: Path) -> None:
    """Save what is seen, in 256 colours, which are enough."""
    tab.resize(WIDTH, height)
    tab.run("new Promise((done) => setTimeout(done, 300))")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        tab.shot(file.name, whole=False)
        picture = Image.open(io.BytesIO(Path(file.name).read_bytes()))
        picture.convert("RGB").quantize(256).save(out, optimize=True)


def main(folder: Path) -> None:
    """Write the overview, and one head with a row locked."""
    with tempfile.TemporaryDirectory() as work, browser(work, WIDTH, 940) as tab:
        tab.open(page(Path(work)))
        shot(tab, 940, folder / "explore.png")
        tab.run(f"document.querySelectorAll('.thumb')[{HEAD}].click()")
        tab.wait("document.body.dataset.ready.startsWith('head')")
        tab.resize(WIDTH, 980)
        tab.run("new Promise((done) => setTimeout(done, 300))")
        tab.press("/")
        tab.type(QUERY)
        tab.press("Enter")
        tab.run("document.querySelector('canvas.matrix').focus()")
        tab.press("Home")
        for _ in range(COLUMN):
            tab.press("ArrowRight")
        tab.press("Enter")
        tab.wait("document.querySelectorAll('.bars li').length === 16")
        tab.run("document.activeElement.blur()")
        shot(tab, 980, folder / "explore-head.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
