"""Makes the pictures of the README and the docs, from the commands that they show.

``python docs/pictures.py FOLDER NAME...`` writes those of these names, or all, to a folder, by
default ``docs/images``; a test holds those that are committed against new ones. What a browser has
to draw is made by ``screens.py``, and what is measured by ``python -m benchmarks``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import architecture  # beside this script

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SAMPLES = "sample_data/animal_attention.npy --labels sample_data/animal_tokens.txt"
IRIS = "sample_data/iris.csv"
MODES = """printf 'Li\\nLipten\\nSmolla\\nWernes\\nJones\\n' > asked.txt
cut -d, -f1 sample_data/names.csv | tail -n +2 > names.txt
for mode in exact approximate softmax average; do
    qkv lookup - -m $mode --temperature 0.2 --weights $mode.npy -o found.tsv < asked.txt || true
done
python -c "
import numpy as np
modes = 'exact', 'approximate', 'softmax', 'average'
np.savez('modes.npz', weights=[np.load(mode + '.npy') for mode in modes])"
qkv heatmap modes.npz --query-labels asked.txt --key-labels names.txt --size 7.2 \\
    --titles exact,approximate,softmax,average"""
"""Weights of a few names under the four modes."""
CHANNELS = """python -c "
import numpy as np
from matplotlib import cbook, image
photo = image.imread(cbook.get_sample_data('grace_hopper.jpg'))[::20, ::20] / 255
np.save('channels.npy', photo.transpose(2, 0, 1))"
qkv heatmap channels.npy --cmap Greys_r --titles red,green,blue \\
    --size 7.2 --xlabel column --ylabel row"""
"""A photograph as three channels."""
TOKENS = """printf 'word\\nMuller\\nSohne\\nGmbH\\n' > words.csv
printf 'soehne\\nmueller\\nlimited\\n' | qkv lookup - --data words.csv --mode softmax \\
    --temperature 0.2 --weights tokens.npz -o found.tsv
qkv heatmap tokens.npz --size 3.2 --annotate --no-colorbar --xlabel 'words of the key' \\
    --ylabel 'words of the query'"""
"""The attention inside a score."""
COMMANDS = {
    "models.svg": f"qkv heatmap {SAMPLES} --layers 0-1 --heads 2,8 --drop '[CLS],[SEP]' --size 6",
    "heads.svg": f"qkv heatmap {SAMPLES} --layers 3 --heads 0-3",
    "flow.svg": "qkv lookup Lipten --mode softmax --temperature 0.3",
    "li.svg": "qkv lookup Li --mode softmax",
    "without-li.svg": "qkv lookup Li --data sample_data/names-without-li.csv --mode softmax",
    "modes.svg": MODES,
    "identity.svg": """python -c "import numpy as np; np.save('eye.npy', np.eye(10))"
qkv heatmap eye.npy --size 3.3""",
    "channels.svg": CHANNELS,
    "tokens.svg": TOKENS,
    "nearest.svg": "qkv pool --data sample_data/sine.csv --mode approximate",
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

CONE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 250" width="320" height="250" \
role="img">
<title>Two values, the cone that they span, and the convex combinations on the line between</title>
<style>text { font: 12px Helvetica, Arial, 'DejaVu Sans', sans-serif }</style>
<rect width="100%" height="100%" fill="#fff"/>
<path d="M30 220V10H300V220Z" fill="#dcebff"/>
<path d="M30 220H310M30 220V4" stroke="#000" fill="none"/>
<path d="M30 120 130 220" stroke="#cb181d" stroke-width="3"/>
<path d="M30 220 80 70" stroke="#6e7781" stroke-dasharray="4 3"/>
<g fill="#08519c"><circle cx="130" cy="220" r="5"/><circle cx="30" cy="120" r="5"/></g>
<circle cx="55" cy="145" r="5" fill="#cb181d"/><circle cx="80" cy="70" r="5"/>
<text x="122" y="240">(1, 0)</text><text x="38" y="112">(0, 1)</text>
<text x="90" y="66">a point of the cone, (0.5, 1.5)</text>
<text x="66" y="144">normalised, (0.25, 0.75)</text>
<text x="110" y="190">sums to 1: convex</text><text x="230" y="160">the cone</text>
</svg>
"""
"""What two values span under weights that are not negative."""


def shown(command: str) -> str:
    """Return what a command shows with its colours."""
    env = {**os.environ, "COLORTERM": "truecolor", "TERM": "xterm-256color"}
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

    screen = Console(record=True, width=94, file=io.StringIO(), force_terminal=True)
    for command in TERMINAL:
        screen.print(Text(f"$ {command}", style="bold green"))
        screen.print(Text.from_ansi(shown(command)))
    style = {"theme": DIMMED_MONOKAI, "title": "", "unique_id": "qkv", "code_format": _SVG}
    return screen.export_svg(**style)  # type: ignore[arg-type]


DRAWN = {
    "terminal.svg": terminal,
    "architecture.svg": architecture.drawing,
    "cone.svg": lambda: CONE,
}
"""What is drawn here."""


def commanded(command: str, out: Path) -> None:
    """Have a command draw to a file, in a folder that has the samples."""
    env = {**os.environ}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "sample_data").symlink_to(ROOT / "sample_data")
        line = ["bash", "-ec", f"{command} -o '{out.resolve()}'"]
        subprocess.run(line, cwd=work, env=env, check=True, capture_output=True)


def main(folder: Path, names: list[str]) -> None:
    """Write pictures to a folder: those of some names, or all."""
    for name in names or [*COMMANDS, *DRAWN]:
        if name in DRAWN:
            (folder / name).write_text(DRAWN[name](), encoding="utf-8")
        else:
            commanded(COMMANDS[name], folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, sys.argv[2:])
