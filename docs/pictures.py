"""Makes the pictures of the README and the docs, from the commands that they show.

``python docs/pictures.py FOLDER`` writes them to a folder, by default ``docs/images``; a test holds
those that are committed against new ones. What a browser has to draw is made by
``tests/explorer``, and what is measured by ``benchmarks``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import architecture  # beside this script

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SAMPLES = "sample_data/animal_attention.npy --labels sample_data/animal_tokens.txt"
IRIS = "sample_data/iris.csv"
COMMANDS = {
    "models.svg": f"qkv heatmap {SAMPLES} --layers 0-1 --heads 2,8 --drop '[CLS],[SEP]' --size 6",
    "heads.svg": f"qkv heatmap {SAMPLES} --layers 3 --heads 0-3",
    "flow.svg": "qkv lookup Lipten --mode softmax --temperature 0.3",
    "fit.svg": "qkv pool --data sample_data/sine.csv --bandwidth 0.3",
    "band.svg": "qkv pool --data sample_data/sine.csv --degree 1 --band 0.95",
    "pool.svg": "qkv pool --data sample_data/sine.csv --band 0.95",
    "classes.svg": f"qkv pool --data {IRIS} --key petal_length --value species",
    "map.svg": f"qkv pool --data {IRIS} --key petal_length,petal_width --value sepal_length",
    **{
        f"{kernel}.svg": f"qkv pool --data sample_data/sine.csv --score {kernel} --bandwidth 1"
        for kernel in ("gaussian", "laplacian", "boxcar", "triangular", "epanechnikov")
    },
}
"""What is drawn, with ``-o`` and the picture's name behind it."""
TERMINAL = (
    "qkv lookup Lipten -m exact -m approximate -m softmax -m average --format table",
    "qkv pool 1 2.5 4 --data sample_data/sine.csv --bandwidth 0.3 --format table",
    "qkv heads sample_data/animal_attention.npy --sort next --top 3 --format table",
)
"""What the picture of a terminal shows."""
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img">
<title>qkv in a terminal</title>
<style>{styles}
text {{ font: 20px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; }}
</style>
<rect width="100%" height="100%" rx="8" fill="#1b1e24"/>
<g transform="translate(16 14)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
<defs>{lines}</defs>
</svg>
"""


def shown(command: str) -> str:
    """Return what a command shows on a terminal of 78 columns, with its colours."""
    env = {**os.environ, "COLUMNS": "78", "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", f"{command} --color always 2>&1"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def terminal() -> str:
    """Return an SVG of a terminal with some commands and what they show."""
    import io

    from rich.console import Console
    from rich.terminal_theme import DIMMED_MONOKAI
    from rich.text import Text

    screen = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    for command in TERMINAL:
        screen.print(Text(f"$ {command}", style="bold green"))
        screen.print(Text.from_ansi(shown(command)))
    style = {"theme": DIMMED_MONOKAI, "title": "", "unique_id": "qkv", "code_format": _SVG}
    return screen.export_svg(**style)  # type: ignore[arg-type]


def main(folder: Path) -> None:
    """Write all pictures to a folder."""
    for name, command in COMMANDS.items():
        env = {**os.environ}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
        line = f"{command} -o '{folder / name}'"
        subprocess.run(["bash", "-c", line], cwd=ROOT, env=env, check=True, capture_output=True)
    (folder / "terminal.svg").write_text(terminal(), encoding="utf-8")
    (folder / "architecture.svg").write_text(architecture.drawing(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
