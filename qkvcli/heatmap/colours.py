"""Colour maps: Reds and RdBu from their stops, any other from Matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError, did_you_mean
from qkvcli.heatmap.scale import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEQUENTIAL, DIVERGING = "Reds", "RdBu_r"
MISSING = (189, 189, 189)
"""The grey of a cell without a weight."""

# ColorBrewer (Cynthia Brewer, Pennsylvania State University), as Matplotlib has them.
_STOPS = {
    "Reds": "fff5f0 fee0d2 fcbba1 fc9272 fb6a4a ef3b2c cb181d a50f15 67000d",
    "RdBu": "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061",
}


@dataclass(frozen=True)
class Palette:
    """A colour map: 256 colours, and the stops between which they are interpolated.

    Parameters
    ----------
    name
        As Matplotlib calls it.
    stops
        Evenly spaced colours, shape (n, 3), uint8.
    colours
        The 256 levels, shape (256, 3), uint8.
    """

    name: str
    stops: NDArray[np.uint8]
    colours: NDArray[np.uint8]

    def shown(self, *, missing: bool) -> NDArray[np.uint8]:
        """Return the colours, with grey for level 0 where it stands for no weight."""
        if not missing:
            return self.colours
        return np.concatenate([[MISSING], self.colours[1:]]).astype(np.uint8)

    def hexes(self, *, missing: bool) -> list[str]:
        """Return the same as ``#rrggbb``."""
        return [f"#{colour.hex()}" for colour in map(bytes, self.shown(missing=missing))]


def hex_of(colour: tuple[int, int, int] | list[int]) -> str:
    """Return a colour as ``#rrggbb``."""
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def is_light(colour: NDArray[np.uint8]) -> bool:
    """Return whether black reads better on a colour than white."""
    red, green, blue = (int(part) for part in colour)
    return 299 * red + 587 * green + 114 * blue > 140_000  # ITU-R BT.601 luma


def palette(name: str) -> Palette:
    """Return a colour map by its name in Matplotlib.

    Raises
    ------
    UsageError
        There is none of that name, with the nearest.
    """
    base = name.removesuffix("_r")
    if base not in _STOPS:
        return _from_matplotlib(name)
    stops = np.array([list(bytes.fromhex(stop)) for stop in _STOPS[base].split()], np.uint8)
    if name != base:
        stops = stops[::-1]
    at = np.linspace(0, len(stops) - 1, LEVELS)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
    return Palette(name, stops, np.stack(channels, axis=1).round().astype(np.uint8))


def _from_matplotlib(name: str) -> Palette:
    from qkvcli.heatmap.plain_matplotlib import matplotlib_colormaps

    maps = matplotlib_colormaps()
    if name not in maps:
        hint = did_you_mean(name, list(maps))
        raise UsageError(f"--cmap: there is no colour map {name!r}{hint}")
    colours = maps[name](np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
    return Palette(name, colours, colours)
