"""Draws the parts of the package, and which imports which, from the code itself.

``pictures.py`` calls it. A part is a module or a folder of ``qkvcli``. Parts stand above those
that they import; an import that follows from others is left out, and ``errors`` altogether, which
nearly all import.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
WAY = ("sources", "blocks", "scores", "attention", "answer", "render")
"""The way of the data, in order: these are numbered."""
LEFT_OUT = ("__init__", "errors")
WIDE, HIGH, GAP, DROP = 270, 56, 22, 36
_LETTERS = 48
"""How many letters fit on a line of a box."""
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img">
<title>The parts of qkvcli: each stands above what it imports</title>
<style>
text {{ font: 10.5px sans-serif; fill: #24292f; text-anchor: middle; }}
.name {{ font: bold 13px ui-monospace, monospace; }}
rect {{ fill: #f2f3f5; stroke: #6e7781; }}
.way {{ fill: #dcebff; stroke: #1f5fbf; }}
path {{ fill: none; stroke: #8a929b; stroke-width: 1.2; }}
</style>
<rect width="100%" height="100%" style="fill: #fff; stroke: none"/>
{body}
</svg>
"""


def part_of(name: str) -> str:
    """Return the part that a dotted name of the package belongs to."""
    names = name.split(".")
    return names[1] if len(names) > 1 else "__init__"


def parts() -> dict[str, str]:
    """Return the parts, each with the first sentence of its docstring."""
    found = {}
    for path in sorted((ROOT / "qkvcli").iterdir()):
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix == ".py" and source.exists() and path.stem not in LEFT_OUT:
            first = (ast.get_docstring(ast.parse(source.read_text())) or "").splitlines()[0]
            found[path.stem] = first
    return found


def imports() -> dict[str, set[str]]:
    """Return which parts each part imports."""
    found: dict[str, set[str]] = {part: set() for part in parts()}
    for path in sorted((ROOT / "qkvcli").rglob("*.py")):
        here = part_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qkvcli"):
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                for there in map(part_of, named):
                    if here in found and there in found and there != here:
                        found[here].add(there)
    return found


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return all that a part imports, directly or not."""
    found: set[str] = set()
    left = list(graph[start])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += graph[one]
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the imports that do not follow from others."""
    return {
        part: {to for to in below if not any(to in reached(graph, o) for o in below - {to})}
        for part, below in graph.items()
    }


def depth(graph: dict[str, set[str]], part: str) -> int:
    """Return how many imports lie below a part, along the longest way."""
    return 1 + max((depth(graph, to) for to in graph[part]), default=-1)


def rows(graph: dict[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the parts in rows, from the top, and each import as the places that it goes through.

    A place in a row between is named after the import.
    """
    depths = {part: depth(graph, part) for part in graph}
    found: dict[int, list[str]] = defaultdict(list)
    for part, at in depths.items():
        found[at].append(part)
    ways = []
    for part, below in graph.items():
        for to in sorted(below):
            between = range(depths[part] - 1, depths[to], -1)
            way = [f"{part}>{to}@{at}" for at in between]
            for at, name in zip(between, way, strict=True):
                found[at].append(name)
            ways.append([part, *way, to])
    ordered = [found[at] for at in sorted(found, reverse=True)]
    near: dict[str, list[str]] = defaultdict(list)
    for way in ways:
        for a, b in pairwise(way):
            near[a].append(b)
            near[b].append(a)
    for _ in range(24):  # each towards the middle of those that it is joined to
        for row in [*ordered, *ordered[::-1]]:
            x = places(ordered)
            row.sort(key=lambda name: sum(x[n] for n in near[name]) / max(1, len(near[name])))
    return ordered, ways


def places(ordered: list[list[str]]) -> dict[str, float]:
    """Return where the middle of each part is across the page, from the page's own middle."""
    found = {}
    for row in ordered:
        wide = [WIDE if ">" not in name else GAP for name in row]
        at = -(sum(wide) + GAP * (len(row) - 1)) / 2
        for name, width in zip(row, wide, strict=True):
            found[name] = at + width / 2
            at += width + GAP
    return found


def drawing() -> str:
    """Return the drawing as SVG."""
    about = parts()
    ordered, ways = rows(reduced(imports()))
    x = places(ordered)
    middle = max(map(abs, x.values())) + WIDE / 2 + GAP
    top = {name: GAP + i * (HIGH + DROP) for i, row in enumerate(ordered) for name in row}
    body = []
    for way in ways:
        start = f"M{middle + x[way[0]]:.0f} {top[way[0]] + HIGH:.0f}"
        curves = []
        for a, b in pairwise(way):
            if ">" in a:
                curves.append(f"V{top[a] + HIGH:.0f}")
            half = top[b] - DROP / 2
            (left, right), end = (middle + x[a], middle + x[b]), top[b]
            curves.append(f"C{left:.0f} {half:.0f} {right:.0f} {half:.0f} {right:.0f} {end:.0f}")
        body.append(f'<path d="{start}{"".join(curves)}"/>')
    for name, first in about.items():
        left, y = middle + x[name] - WIDE / 2, top[name]
        way_class = ' class="way"' if name in WAY else ""
        number = f"{WAY.index(name) + 1}  " if name in WAY else ""
        text = wrap(first.rstrip("."), _LETTERS)[:2]
        body += [
            f'<rect x="{left:.0f}" y="{y}" width="{WIDE}" height="{HIGH}" rx="6"{way_class}/>',
            f'<text class="name" x="{left + WIDE / 2:.0f}" y="{y + 19}">{number}{name}</text>',
        ]
        for i, line in enumerate(text):
            at = f'x="{left + WIDE / 2:.0f}" y="{y + 34 + 13 * i}"'
            body.append(f"<text {at}>{escape(line)}</text>")
    height = 2 * GAP + len(ordered) * (HIGH + DROP) - DROP
    return _SVG.format(width=round(2 * middle), height=height, body="\n".join(body))
