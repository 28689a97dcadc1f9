"""Types and helpers of the heatmap tests: an SVG read back, and what the fixtures are called as."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qkvcli.heatmap.picture import Grid, Panel, Picture
from qkvcli.heatmap.pixels import read_pixels
from qkvcli.heatmap.request import Request
from qkvcli.heatmap.scale import palette, scale_of
from qkvcli.heatmap.select import Axis, Selection, whole
from qkvcli.heatmap.weights import open_weights
from qkvcli.sources.matrices import Matrices, in_memory

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
_NAME = "{http://www.w3.org/2000/svg}"
_CELL = re.compile(r"(?:(?P<panel>.*), )?query (?P<query>.*), key (?P<key>.*): (?P<weight>\S+)")


@dataclass(frozen=True)
class Cell:
    """A cell as a reader of the SVG finds it by its title."""

    panel: str
    query: str
    key: str
    weight: float
    fill: str


@dataclass(frozen=True)
class Svg:
    """An SVG read back."""

    root: ET.Element
    stderr: str

    @property
    def title(self) -> str:
        """Its title, as a screen reader says it."""
        return self.root.findtext(f"{_NAME}title") or ""

    @property
    def description(self) -> str:
        """Its description."""
        return self.root.findtext(f"{_NAME}desc") or ""

    @property
    def cells(self) -> list[Cell]:
        """The cells of all panels, in the order of drawing."""
        found = []
        for rect in self.root.iter(f"{_NAME}rect"):
            match = _CELL.fullmatch(rect.findtext(f"{_NAME}title") or "")
            if match:
                weight = float(match["weight"])
                found.append(
                    Cell(
                        match["panel"] or "",
                        match["query"],
                        match["key"],
                        weight,
                        rect.get("fill", ""),
                    )
                )
        return found

    @property
    def texts(self) -> list[str]:
        """All texts on the page, in the order of drawing."""
        return [
            (element[-1].tail if len(element) else element.text) or ""
            for element in self.root.iter(f"{_NAME}text")
        ]

    @property
    def images(self) -> list[str]:
        """The embedded images, as data URLs."""
        link = "{http://www.w3.org/1999/xlink}href"
        return [image.get(link, "") for image in self.root.iter(f"{_NAME}image")]

    def matrix(self, panel: str = "") -> Array:
        """Return the weights of one panel."""
        cells = [cell for cell in self.cells if cell.panel == panel]
        queries = list(dict.fromkeys(cell.query for cell in cells))
        return np.array([cell.weight for cell in cells]).reshape(len(queries), -1)


Draw = Callable[..., Svg]
Save = Callable[..., Path]
Command = Callable[..., subprocess.CompletedProcess[bytes]]
Array = NDArray[Any]


def softmax(scores: Array) -> Array:
    """Return rows that sum to 1."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    rows: Array = powers / powers.sum(axis=-1, keepdims=True)
    return rows


def selection(
    weights: Array,
    members: Any,
    queries: Axis | None = None,
    keys: Axis | None = None,
    *,
    other: Array | None = None,
    reduce: str = "mean",
) -> Selection:
    """Return panels of weights in memory, less others where these are given."""
    opened = [
        open_weights(Matrices("x", in_memory(m, "x")), None)
        for m in (weights, other)
        if m is not None
    ]
    return Selection(
        opened[0],
        opened[1] if other is not None else None,
        tuple(one.watch for one in opened),
        members,
        queries or whole("query", weights.shape[-2]),
        keys or whole("key", weights.shape[-1]),
        reduce,
        ("",) * len(members),
    )


def pixels_of(
    chosen: Selection, shrink: str = "max", factors: tuple[int, int] = (1, 1)
) -> list[Array]:
    """Return what the pixels of every panel show, each of so many rows and columns."""
    return list(read_pixels(chosen, shrink, factors))


def grid_of(rows: int, columns: int, shape: tuple[int, int], labels: list[str] | None) -> Grid:
    """Return a grid of panels with titles; labels are repeated to the length of an axis."""
    names = tuple(f"layer {i}, head {j}" for i in range(rows) for j in range(columns))
    pairs = [(i, j) for i in range(rows) for j in range(columns)]
    shorter = (tuple(f"L{i} H{j}" for i, j in pairs), tuple(f"{i}.{j}" for i, j in pairs))
    titles = (names, *shorter) if len(names) > 1 else (("",),)
    queries, keys = (
        whole(name, n, tuple(labels[i % len(labels)] for i in range(n)) if labels else None, "t")
        for name, n in zip(("query", "key"), shape, strict=True)
    )
    return Grid(rows, columns, names, titles, queries, keys, rows > 1)


def picture_of(
    grid: Grid, values: Array | None = None, title: str = "", vmax: float | None = None
) -> Picture:
    """Return a picture whose panels all have the same weights, which are random if not given."""
    shape = (len(grid.queries), len(grid.keys))
    cells = np.random.default_rng(0).random(shape) if values is None else values
    scale = scale_of([cells], Request("", vmax=vmax), signed=False)
    panels = tuple(Panel(cells, *scale.levels(cells)) for _ in grid.names)
    every = (scale,) * len(panels)
    return Picture(grid, panels, (1, 1), every, False, palette("Reds"), title, False)
