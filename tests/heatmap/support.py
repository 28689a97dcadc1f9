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
