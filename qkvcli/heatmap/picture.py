"""The picture as plain data, before it is given a place on a page or in a window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.axes import Axis
    from qkvcli.heatmap.colours import Palette
    from qkvcli.heatmap.scale import Scale

PANEL_CAP = 1024
"""How many panels a picture may have."""


@dataclass(frozen=True)
class Grid:
    """Panels in rows and columns that share their axes.

    Parameters
    ----------
    rows, columns
        How many there are; the last row may be shorter.
    names, titles
        What each panel is called, and what stands above it.
    shorter
        Shorter titles for narrow panels, each a form for all panels, down to the shortest.
    queries, keys
        What the rows and columns of each panel are made of.
    factors
        How many queries and keys a cell stands for, where panels were shrunk.
    """

    rows: int
    columns: int
    names: tuple[str, ...]
    titles: tuple[str, ...]
    queries: Axis
    keys: Axis
    factors: tuple[int, int] = (1, 1)
    shorter: tuple[tuple[str, ...], ...] = ()

    @property
    def panels(self) -> int:
        """The number of panels."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int]:
        """The rows and columns of cells in a panel."""
        return (
            math.ceil(len(self.queries) / self.factors[0]),
            math.ceil(len(self.keys) / self.factors[1]),
        )

    def titles_in(self, fits: Callable[[str], bool]) -> tuple[str, ...]:
        """Return the titles of panels in the longest form that fits for all, else the shortest."""
        forms = (self.titles, *self.shorter)
        return next((form for form in forms if all(map(fits, form))), forms[-1])

    def query(self, row: int) -> str:
        """Return what a row of cells is called."""
        return _range(self.queries, row, self.factors[0])

    def key(self, column: int) -> str:
        """Return what a column of cells is called."""
        return _range(self.keys, column, self.factors[1])


def _range(axis: Axis, cell: int, factor: int) -> str:
    first, last = cell * factor, min((cell + 1) * factor, len(axis)) - 1
    text = axis.unique(first)
    return text if first == last else f"{text} to {axis.unique(last)}"


@dataclass(frozen=True)
class Panel:
    """The weights of one panel and the levels of their colours, 0 to 255, each (rows, columns)."""

    values: NDArray[np.floating]
    levels: NDArray[np.uint8]
    scale: Scale

    @cached_property
    def missing(self) -> int:
        """How many cells are NaN or infinite; level 0 stands for them where there are any."""
        return int(np.count_nonzero(~np.isfinite(self.values)))


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    Parameters
    ----------
    grid
        The panels' names and places.
    panels
        Their weights and colours.
    palette
        The colour map.
    title
        Stands above all panels; may be empty.
    signed
        Whether it is of a difference.
    own_scales
        Whether every panel has a colour scale of its own.
    """

    grid: Grid
    panels: tuple[Panel, ...]
    palette: Palette
    title: str
    signed: bool
    own_scales: bool

    @property
    def scale(self) -> Scale:
        """The colour scale, where all panels share it."""
        return self.panels[0].scale

    def description(self) -> str:
        """Return what the picture shows, for who cannot see it."""
        grid = self.grid
        what = "differences of attention weights" if self.signed else "attention weights"
        many = f"{grid.panels} panels, each of " if grid.panels > 1 else ""
        size = f"{many}{len(grid.queries)} queries (rows) by {len(grid.keys)} keys (columns)"
        return f"A heatmap of {what}: {size}. {self._colours()} {self._largest()}".strip()

    def _colours(self) -> str:
        name = self.palette.name
        log = ", logarithmically" if self.scale.log else ""
        if self.own_scales:
            return f"The colours ({name}) run over each panel's own range{log}."
        return f"The colours ({name}) run from {self.scale.low:.4g} to {self.scale.high:.4g}{log}."

    def _largest(self) -> str:
        panels = [np.where(np.isfinite(p.values), p.values, -math.inf) for p in self.panels]
        tops = [values.max() for values in panels]
        at = int(np.argmax(tops))
        if tops[at] == -math.inf:
            return ""
        row, column = np.unravel_index(int(np.argmax(panels[at])), panels[at].shape)
        name = f"{self.grid.names[at]}, " if self.grid.names[at] else ""
        query, key = self.grid.query(int(row)), self.grid.key(int(column))
        return f"The largest is {tops[at]:.4g}: {name}query {query}, key {key}."


def arrangement(rows: int, columns: int, axes: int) -> tuple[int, int]:
    """Return how many rows and columns of panels to draw for layers × heads.

    Layers × heads of a four-axis array stay as they are; a single row or column of panels is
    broken into several, as full as can be.

    Examples
    --------
    >>> arrangement(6, 12, 4), arrangement(1, 12, 3), arrangement(6, 1, 4)
    ((6, 12), (3, 4), (2, 3))
    """
    count = rows * columns
    if min(rows, columns) > 1:
        return rows, columns
    if count <= 4 or (axes >= 4 and rows == 1):  # noqa: PLR2004
        return 1, count
    low, high = math.ceil(math.sqrt(count)), math.ceil(math.sqrt(2 * count))
    best = min(range(low, high + 1), key=lambda width: (-count % width, width))
    return math.ceil(count / best), best


def check_panels(count: int, layers: int, heads: int) -> None:
    """Refuse more panels than a picture may have.

    Raises
    ------
    UsageError
        With the ways out.
    """
    if count > PANEL_CAP:
        raise UsageError(
            f"{layers} layers × {heads} heads are {count} panels, over the budget of {PANEL_CAP}; "
            "choose some with --layers and --heads, or --reduce mean"
        )


def panel_titles(
    given: Sequence[str] | None, names: Sequence[str], columns: int
) -> tuple[str, ...]:
    """Return the title of every panel: a title each, or one a column as in the book's figure.

    Raises
    ------
    UsageError
        Neither as many titles as panels nor as columns.
    """
    if given is None:
        return tuple(names)
    if len(given) == len(names):
        return tuple(given)
    if len(given) == columns:
        return tuple(given[i % columns] for i in range(len(names)))
    if not any(given):
        return ("",) * len(names)
    of = f"{len(names)} panels" + (f" in {columns} columns" if columns != len(names) else "")
    raise UsageError(f"--titles: there are {len(given)} titles for {of}")
