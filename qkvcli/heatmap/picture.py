"""The picture: panels with their colours and names, before they have places on a page."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError
from qkvcli.heatmap.pixels import factors as factors_of
from qkvcli.heatmap.pixels import read_pixels, shrunk
from qkvcli.heatmap.scale import DIVERGING, MIDDLE, SEQUENTIAL, Palette, Scale, palette, scale_of
from qkvcli.heatmap.select import SPECIAL
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.request import Request
    from qkvcli.heatmap.select import Axis, Selection

_USUAL_SHAPE = 4 / 3
_A_ROW = 4  # as many panels stand beside each other, whatever the shape of the page
_HOLE = 0.15  # what a place without a panel weighs against the shape of the page
_CROWD, _LOW = 0.9, 1 / 50


@dataclass(frozen=True)
class Grid:
    """Panels in rows and columns that share their axes.

    Parameters
    ----------
    rows, columns
        How many there are; the last row may be shorter.
    names
        What each panel is called.
    titles
        What stands above each panel: a form for all panels, and shorter ones for narrow panels.
    queries, keys
        What the rows and columns of each panel are made of.
    layered
        Whether each row is a layer; else the panels may be broken into rows anywhere.
    """

    rows: int
    columns: int
    names: tuple[str, ...]
    titles: tuple[tuple[str, ...], ...]
    queries: Axis
    keys: Axis
    layered: bool = False

    def titles_in(self, fits: Callable[[str], bool]) -> tuple[str, ...]:
        """Return the titles of panels in the longest form that fits for all, else the shortest."""
        return next((form for form in self.titles if all(map(fits, form))), self.titles[-1])


@dataclass(frozen=True)
class Panel:
    """One panel.

    Parameters
    ----------
    values
        The weights, shape (rows, columns).
    levels
        The levels of their colours, 0 to 255.
    missing
        How many are NaN or infinite; level 0 stands for these where there are any.
    """

    values: NDArray[np.floating]
    levels: NDArray[np.uint8]
    missing: int

    def coarser(self, each: tuple[int, int], shrink: str, *, signed: bool) -> Panel:
        """Return the panel with fewer levels, each for so many rows and columns of them."""
        levels = self.levels.astype(np.float32) - MIDDLE
        if self.missing:
            levels[self.levels == 0] = np.nan
        fewer = shrunk(levels, each, shrink, signed=signed) + MIDDLE
        return replace(self, levels=np.nan_to_num(fewer.round()).astype(np.uint8))


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    Parameters
    ----------
    grid
        The panels' names and axes.
    panels
        Their weights and colours.
    factors
        How many queries and keys a cell stands for.
    scales
        The colour scale of each panel.
    own_scales
        Whether these differ.
    palette
        The colour map.
    title
        Stands above all panels; may be empty.
    signed
        Whether it is of a difference.
    """

    grid: Grid
    panels: tuple[Panel, ...]
    factors: tuple[int, int]
    scales: tuple[Scale, ...]
    own_scales: bool
    palette: Palette
    title: str
    signed: bool

    @property
    def scale(self) -> Scale:
        """The colour scale, where all panels share it."""
        return self.scales[0]

    @property
    def shape(self) -> tuple[int, int]:
        """The rows and columns of cells in a panel."""
        rows, columns = self.panels[0].levels.shape
        return rows, columns

    def names(self, axis: Axis) -> list[str]:
        """Return what each row of cells, or each column, is called."""
        factor = self.factors[axis is self.grid.keys]
        cells = range(len(axis))
        first = axis.unique(cells[::factor])
        if factor == 1:
            return first if axis.labels is None else [visible(text) for text in first]
        last = axis.unique([min(cell + factor, len(axis)) - 1 for cell in cells[::factor]])
        pairs = zip(first, last, strict=True)
        return [visible(a if a == b else f"{a} to {b}") for a, b in pairs]

    def description(self) -> str:
        """Return what the picture shows, for who cannot see it."""
        grid, scale = self.grid, self.scale
        what = "differences of attention weights" if self.signed else "attention weights"
        many = f"{len(self.panels)} panels, each of " if len(self.panels) > 1 else ""
        size = f"{many}{len(grid.queries)} queries (rows) by {len(grid.keys)} keys (columns)"
        ends = f"run from {scale.low:.4g} to {scale.high:.4g}"
        reach = "run over each panel's own range" if self.own_scales else ends
        log = ", logarithmically" if scale.log else ""
        said = f"A heatmap of {what}: {size}. The colours ({self.palette.name}) {reach}{log}."
        panels = [np.where(np.isfinite(p.values), p.values, -math.inf) for p in self.panels]
        tops = [values.max() for values in panels]
        at = int(np.argmax(tops))
        if tops[at] == -math.inf:
            return said
        row, column = np.unravel_index(int(np.argmax(panels[at])), panels[at].shape)
        name = f"{self.grid.names[at]}, " if self.grid.names[at] else ""
        query, key = self.names(self.grid.queries)[row], self.names(self.grid.keys)[column]
        return f"{said} The largest is {tops[at]:.4g}: {name}query {query}, key {key}."


def grid_of(selection: Selection, request: Request) -> Grid:
    """Return the panels in rows and columns, with their titles.

    Raises
    ------
    UsageError
        Titles that are as many as neither panels nor columns.
    """
    queries, keys, names = selection.queries, selection.keys, selection.names
    layers = len({group[0][0] for group in selection.members})
    heads = len(names) // layers
    width, height = request.width, request.height
    shape = width / height if width and height else _USUAL_SHAPE
    rows, columns = arrangement(layers, heads, shape * len(queries) / len(keys))
    if request.titles is not None:
        titles: tuple[tuple[str, ...], ...] = (_given(request.titles, len(names), columns),)
    elif len(names) > 1:
        titles = (names, *_shorter(selection))
    else:
        own = request.rollout or request.reduce is not None
        titles = (names if own else ("",),)
    return Grid(rows, columns, names, titles, queries, keys, min(layers, heads) > 1)


def arrangement(rows: int, columns: int, shape: float) -> tuple[int, int]:
    """Return how many rows and columns of panels to draw for layers × heads.

    Several layers of several heads stay as they are. A single row or column of panels is broken
    into several, as near as can be to a page ``shape`` times as wide as high, in panels.

    Examples
    --------
    >>> arrangement(6, 12, 1.33), arrangement(1, 12, 1.33), arrangement(6, 1, 1.33)
    ((6, 12), (3, 4), (2, 3))
    """
    count = rows * columns
    if min(rows, columns) > 1:
        return rows, columns
    if count <= _A_ROW:
        return 1, count

    def misfit(width: int) -> float:
        return abs(math.log(width / math.ceil(count / width) / shape)) + _HOLE * (-count % width)

    best = min(range(1, count + 1), key=misfit)
    return math.ceil(count / best), best


def _given(given: Sequence[str], panels: int, columns: int) -> tuple[str, ...]:
    """Return the title of every panel: a title each, or one a column as in the book's figure."""
    if len(given) == panels:
        return tuple(given)
    if len(given) == columns:
        return tuple(given[i % columns] for i in range(panels))
    if not any(given):
        return ("",) * panels
    of = f"{panels} panels" + (f" in {columns} columns" if columns != panels else "")
    raise UsageError(f"--titles: there are {len(given)} titles for {of}")


def _shorter(selection: Selection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return two shorter forms of what tells panels apart: ``L3 H0`` and ``3.0``.

    Where each panel is all heads of a layer, or there is but one layer, one number does that.
    """
    shape, parts = selection.weights.shape, []
    for (layer, head), *others in selection.members:
        layers = [("L", layer)] if shape[0] > 1 else []
        parts.append(layers + ([("H", head)] if shape[2] > 1 and not others else []))
    return (
        tuple(" ".join(f"{letter}{number}" for letter, number in part) for part in parts),
        tuple(".".join(str(number) for _, number in part) for part in parts),
    )


def compose(selection: Selection, grid: Grid, request: Request, cap: tuple[int, int]) -> Picture:
    """Read the weights and return them with their colours.

    Parameters
    ----------
    selection, grid, request
        What is drawn.
    cap
        The most rows and columns of cells that each panel can show.

    Raises
    ------
    QkvError
        A file that has become shorter, or a colour scale that does not fit the weights.
    """
    signed, title = selection.signed, request.title
    if signed and not title:
        names = ["stdin" if f == "-" else os.path.basename(f) for f in request.inputs()[:2]]
        title = " − ".join(names)
    name = request.cmap or (DIVERGING if signed else SEQUENTIAL)
    colours = palette(name)  # which may not be there, and is looked at before weights are read
    shape = len(selection.queries), len(selection.keys)
    each = factors_of(shape, len(selection.members), cap)
    values = list(read_pixels(selection, request.shrink, each))
    return coloured(grid, values, request, colours, factors=each, title=title, signed=signed)


def coloured(  # noqa: PLR0913 - what a picture is made of
    grid: Grid,
    values: Sequence[NDArray[np.floating]],
    request: Request,
    colours: Palette,
    *,
    factors: tuple[int, int] = (1, 1),
    title: str = "",
    signed: bool = False,
) -> Picture:
    """Return panels of weights with their colours.

    Raises
    ------
    UsageError
        A colour scale that does not fit the weights.
    """
    own = request.panel_scales and len(values) > 1
    if own:
        scales = [scale_of([value], request, signed=signed) for value in values]
        grid = _with_ranges(grid, scales)
    else:
        scales = [scale_of(values, request, signed=signed)] * len(values)
    panels = tuple(
        Panel(value, *scale.levels(value)) for value, scale in zip(values, scales, strict=True)
    )
    return Picture(grid, panels, factors, tuple(scales), own, colours, visible(title), signed)


def _with_ranges(grid: Grid, scales: Sequence[Scale]) -> Grid:
    """Return a grid whose titles say the range of each panel's own colour scale.

    The shortest do without: what tells panels apart goes before their ranges.
    """
    texts = [f"{scale.low:.3g} to {scale.high:.3g}" for scale in scales]
    ranged = tuple(
        tuple(
            f"{title}: {text}" if title else text for title, text in zip(form, texts, strict=True)
        )
        for form in grid.titles
    )
    return replace(grid, titles=(*ranged, *grid.titles[1:][-2:]))


def crowded(picture: Picture, request: Request) -> str:
    """Return a line where nearly all weights have nearly the lowest colour, else nothing."""
    if picture.signed or picture.scale.log:
        return ""
    cells, near = 0, []
    for panel, scale in zip(picture.panels, picture.scales, strict=True):
        values = panel.values[np.isfinite(panel.values)]
        cells += len(values)
        # Limits that the user gave may be beyond what the weights' own dtype holds.
        low = np.float64(scale.low + (scale.high - scale.low) * _LOW)
        near.append(values[values < low])
    share = sum(map(len, near)) / max(1, cells)
    shown = [values[values > 0] for values in near if (values > 0).any()]
    if share <= _CROWD or not shown:  # where all are 0 there is nothing to see
        return ""
    high = max(scale.high for scale in picture.scales)
    # On a scale from the least weight of all, which may be 1e-20, most would be alike again.
    middle = max(float(np.median([np.median(values) for values in shown])), high / 1e3)
    ways = [f"--log --vmin {10.0 ** math.floor(math.log10(middle)):g}"]
    if len(near) > 1 and not request.panel_scales:
        ways.append("--scale panel")
    special = dict.fromkeys(t for t in picture.grid.keys.labels or () if SPECIAL.fullmatch(t))
    if special:
        ways.append(f"--drop '{','.join(special)}'")
    return (
        f"{math.floor(100 * share)}% of the cells lie in the lowest fiftieth of the colour scale; "
        f"to tell them apart pass {' or '.join(ways)}"
    )
