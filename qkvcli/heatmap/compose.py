"""From what the command line asks for to a picture: open, choose, read, colour."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from qkvcli.errors import UsageError
from qkvcli.heatmap import panels
from qkvcli.heatmap.axes import (
    Axis,
    Labels,
    check_dropped,
    chosen,
    dropped,
    merge_subwords,
    whole_axis,
)
from qkvcli.heatmap.checks import count
from qkvcli.heatmap.colours import DIVERGING, SEQUENTIAL, palette
from qkvcli.heatmap.layout import with_own_ranges
from qkvcli.heatmap.picture import (
    Grid,
    Panel,
    Picture,
    arrangement,
    check_panels,
    panel_titles,
)
from qkvcli.heatmap.ranges import numbers
from qkvcli.heatmap.scale import Scale, ScaleOptions, scales
from qkvcli.heatmap.stack import Stack, check_same_shape, rollout, stack
from qkvcli.sources.labels import read_labels
from qkvcli.sources.matrices import Matrices, ReadOptions, open_matrices

if TYPE_CHECKING:
    from qkvcli.heatmap.ranges import Positions

    Members = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Request:
    """What is to be drawn, as the command line says it; see ``qkv heatmap --help``."""

    weights: str
    diff: str | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    batch: int | None = None
    layers: str | None = None
    heads: str | None = None
    queries: str | None = None
    keys: str | None = None
    reduce: str | None = None
    over: str = "heads"
    rollout: bool = False
    labels: str | None = None
    query_labels: str | None = None
    key_labels: str | None = None
    merge_subwords: bool = False
    drop: tuple[str, ...] = ()
    shrink: str = "max"
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    cmap: str | None = None
    title: str = ""
    titles: tuple[str, ...] | None = None

    def inputs(self) -> tuple[str, ...]:
        """Return the files that are read."""
        files = (self.weights, self.diff, self.labels, self.query_labels, self.key_labels)
        return tuple(file for file in files if file is not None)


@dataclass(frozen=True)
class Prepared:
    """What is to be read, once the headers and the labels are known and before any weight is."""

    request: Request
    grid: Grid
    members: Members
    weights: Stack
    other: Stack | None
    watched: tuple[Stack, ...]

    def warnings(self, picture: Picture) -> list[str]:
        """Return what is odd about the weights that were read and the cells made of them."""
        watches = [s.watch for s in self.watched if s.watch is not None]
        lines = [line for watch in watches for line in watch.warnings()]
        cells = sum(panel.missing for panel in picture.panels)
        if cells and not any(watch.missing for watch in watches):
            lines.append(f"{count(cells, 'cell')} NaN or infinite, drawn grey, though no weight is")
        return lines


def prepare(request: Request) -> Prepared:
    """Open the inputs and decide what every panel is made of.

    Raises
    ------
    QkvError
        A file that is no array, an option that does not fit it, or too many panels.
    """
    _check(request)
    found = open_matrices(request.weights, request.read)
    opened = [stack(found.file, found.array, request.batch)]
    if request.diff is not None:
        against = open_matrices(request.diff, request.read)
        opened.append(stack(against.file, against.array, request.batch))
        check_same_shape(opened[0], opened[1])
    axes = _axes(request, found, opened[0])
    layers = numbers(request.layers, opened[0].layers, "layer", found.file)
    heads = numbers(request.heads, opened[0].heads, "head", found.file)
    drawn = opened
    if request.rollout:
        drawn = [rollout(one, layers, heads) for one in opened]
        members: Members = (((0, 0),),)
    else:
        members = _members(layers, heads, request)
    check_panels(len(members), len(layers), len(heads))
    grid = _grid(request, axes, members, drawn[0], found)
    other = drawn[1] if len(drawn) > 1 else None
    return Prepared(request, grid, members, drawn[0], other, tuple(opened))


def _check(request: Request) -> None:
    if sum(file == "-" for file in request.inputs()) > 1:
        raise UsageError("only one input can be read from stdin")
    if request.rollout and request.reduce is not None:
        raise UsageError("--rollout is the mean over heads already; leave --reduce out")
    if request.diff is not None and request.scale.log:
        raise UsageError("--log has no place for differences below 0; leave it or --diff out")


def _axes(request: Request, found: Matrices, weights: Stack) -> tuple[Axis, Axis]:
    axes = []
    read = cache(read_labels)  # a pipe can be read but once, and both axes may be of one file
    for name, length, own, given, wanted in (
        ("query", weights.shape[3], found.query_labels, request.query_labels, request.queries),
        ("key", weights.shape[4], found.key_labels, request.key_labels, request.keys),
    ):
        file = given if given is not None else request.labels
        labels = Labels(found.file, own) if own is not None else None
        if file is not None:
            labels = Labels(file, read(file, request.read.encoding))
        axis = whole_axis(name, length, labels)
        axes.append(chosen(axis, numbers(wanted, length, name, found.file)))
    return _worded(request, axes[0], axes[1])


def _worded(request: Request, queries: Axis, keys: Axis) -> tuple[Axis, Axis]:
    """Merge subwords and drop labels."""
    if request.merge_subwords:
        if queries.labels is None and keys.labels is None:
            raise UsageError("--merge-subwords needs labels; pass --labels")
        queries, keys = merge_subwords(queries), merge_subwords(keys)
    if request.drop:
        check_dropped(request.drop, (queries, keys))
        queries, keys = dropped(queries, request.drop), dropped(keys, request.drop)
    return queries, keys


def _members(layers: Positions, heads: Positions, request: Request) -> Members:
    if request.reduce is None:
        return tuple(((i, j),) for i in layers for j in heads)
    rows = tuple(tuple((i, j) for j in heads) for i in layers)
    return rows if request.over == "heads" else (tuple(pair for row in rows for pair in row),)


def _grid(
    request: Request, axes: tuple[Axis, Axis], members: Members, drawn: Stack, found: Matrices
) -> Grid:
    names = panels.names(members, drawn, request.reduce or "")
    if request.rollout:
        names = ["rollout"]
    rows = len({group[0][0] for group in members})
    rows, columns = arrangement(rows, len(members) // rows, found.array.ndim)
    title = len(members) > 1 or request.rollout or request.reduce is not None
    titles = panel_titles(request.titles, names if title else [""], columns)
    own = request.titles is None and len(members) > 1
    shorter = panels.short_names(members, drawn) if own else ()
    return Grid(rows, columns, tuple(names), titles, *axes, shorter=shorter)


def read_picture(prepared: Prepared, cap: tuple[float, float]) -> Picture:
    """Read the weights and colour them.

    Parameters
    ----------
    prepared
        What is to be read.
    cap
        The most pixels (rows, columns) that each panel can show.

    Raises
    ------
    QkvError
        A file that has become shorter, or a colour scale that does not fit the weights.
    """
    request, grid = prepared.request, prepared.grid
    signed = request.diff is not None
    shades = palette(request.cmap or (DIVERGING if signed else SEQUENTIAL))
    shape = (len(grid.queries), len(grid.keys))
    factors = panels.factors(shape, grid.panels, cap)
    choice = panels.Choice(
        prepared.members, grid.queries, grid.keys, request.reduce or "mean", request.shrink, factors
    )
    values = panels.read_panels(choice, prepared.weights, prepared.other)
    each = scales(values, request.scale, signed=signed)
    grid = replace(grid, factors=factors)
    own = request.scale.panel and grid.panels > 1
    if own:
        grid = with_own_ranges(grid, [_range(scale) for scale in each])
    drawn = tuple(
        Panel(value, scale.levels(value), scale) for value, scale in zip(values, each, strict=True)
    )
    return Picture(grid, drawn, shades, _title(request), signed, own)


def _range(scale: Scale) -> str:
    return f"{scale.low:.3g} to {scale.high:.3g}"


def _title(request: Request) -> str:
    if request.title or request.diff is None:
        return request.title
    names = [os.path.basename(path) if path != "-" else "stdin" for path in request.inputs()[:2]]
    return " − ".join(names)


def odd_labels(prepared: Prepared) -> list[str]:
    """Return a line where subwords were to be merged and no label is a piece of a word."""
    request, grid = prepared.request, prepared.grid
    if not request.merge_subwords or request.drop:
        return []
    if any(axis.merged for axis in (grid.queries, grid.keys)):
        return []
    return ["no label is a piece of a word (##, Ġ or ▁); --merge-subwords merged nothing"]
