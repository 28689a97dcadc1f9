"""From a selection of weights to the explorer's page, and from arrays for notebooks."""

from __future__ import annotations

import html
import json
import math
import os
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.attention.formulas import Tokens
from qkvcli.errors import UsageError
from qkvcli.heatmap.computed import Computed, band
from qkvcli.heatmap.html.codes import SIDE, Coding, Level, Pyramid, Room
from qkvcli.heatmap.html.halves import LARGEST, Halves
from qkvcli.heatmap.html.measures import CHANGES, NAMES, Measures
from qkvcli.heatmap.html.page import EVERYTHING, page, read
from qkvcli.heatmap.pixels import blocks
from qkvcli.heatmap.request import Request
from qkvcli.heatmap.scale import palette
from qkvcli.heatmap.select import Selection, select, selection_of, whole
from qkvcli.heatmap.weights import Watch
from qkvcli.render.escape import visible
from qkvcli.render.writer import open_target, target
from qkvcli.sources.matrices import Matrices, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from qkvcli.heatmap.select import Axis, Members
    from qkvcli.sources.captured import Captured

LIGHT, DARK = ("Reds", "RdBu_r"), ("magma", "berlin")
"""The colour maps of weights and of differences, on a light and on a dark page."""
_MAPS = ("Reds", "Blues", "Greys", "viridis", "magma", "cividis")
_DIVERGING = ("RdBu_r", "PuOr_r", "berlin")
_EVERY = 3  # of 256 colours the page has every third, and interpolates between them
_PICTURE = 512  # the longest side of what is kept of a matrix beside its queries and keys
_CROWD, _LOW = 0.9, 1 / 50  # as of the note of other pictures
_A_HEAD = 400  # characters of what is said of a head
_A_WEIGHT = 1.5  # about how many characters a weight of 8 bits takes


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """A page that shows itself in a notebook, and can be saved.

    Parameters
    ----------
    title
        What the window is called.
    data
        What the page is told.
    texts
        Its packed tiles, queries and keys.
    notes
        What the page leaves out, and how exact it is, a line each.
    """

    title: str
    data: dict[str, Any]
    texts: tuple[str, ...]
    notes: tuple[str, ...]

    def parts(self) -> Iterator[bytes]:
        """Yield the page in UTF-8."""
        return page(self.title, self.data, self.texts)

    @cached_property
    def html(self) -> str:
        """The page, one HTML document."""
        return b"".join(self.parts()).decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, whole or not at all.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        with open_target(target(os.fspath(path))) as stream:
            stream.writelines(self.parts())

    def _repr_html_(self) -> str:
        # Read as another encoding than UTF-8, the script would not be the one of its hash.
        page = html.escape(self.html).encode("ascii", "xmlcharrefreplace").decode()
        return (
            '<iframe sandbox="allow-scripts allow-downloads" title="Attention" width="100%" '
            f'height="760" style="border:0" srcdoc="{page}"></iframe>'
        )


@dataclass
class _Head:
    """One head: what is said of it, and its pyramid."""

    layer: int | None
    head: int | None
    name: str
    coding: Coding
    missing: bool
    measures: dict[str, float]
    low: int = 0
    levels: list[Level] = field(default_factory=list)


def explorer(selection: Selection, request: Request) -> Explorer:
    """Return the page of a selection.

    Each head is read twice: for its range and its measures, then for its codes.

    Raises
    ------
    QkvError
        A file that has become shorter, or an unknown colour map.
    """
    maps = _palettes(request.cmap)
    halves = _halves(selection)
    signed = selection.signed
    queries, keys = _axis(selection.queries), _axis(selection.keys)
    known = [*map(read, EVERYTHING), *(json.dumps(axis) for axis in (queries, keys))]
    fixed = sum(len(text.encode()) for text in known) + _A_HEAD * len(selection.members)
    budget = request.max_size * 1e6 - fixed - (halves.size if halves else 0)
    if budget <= 0:
        raise UsageError(
            f"--max-size {request.max_size:g} leaves no room for weights; the file takes "
            f"{request.max_size - budget / 1e6:.2f} MB without them"
        )
    share = budget / len(selection.members)
    found: list[_Head] = []
    for at, members in enumerate(selection.members):
        head = _surveyed(selection, at, members, request.bits)
        _encode(head, selection, members, Room(share, _PICTURE if halves else math.inf))
        found.append(head)
    names = [n for n in (CHANGES if signed else NAMES) if any(n in h.measures for h in found)]
    notes = _left_out(found, request.max_size, computed=halves is not None)
    bits = request.bits
    exactness = (
        f"weights are kept as {bits} bits in square-root scale, off by at most "
        f"{max(head.coding.error for head in found):.2g}"
    )
    if halves:
        exactness += (
            f"; those computed from queries and keys in float16 by at most {halves.error:.2g}"
        )
    cells = len(selection.queries) * len(selection.keys) * len(found)
    crowd = sum(head.low for head in found) / cells
    title = visible(request.title or os.path.basename(selection.weights.file) or "attention")
    data = {
        "version": 1,
        "title": title,
        "shape": [len(selection.queries), len(selection.keys)],
        "bits": bits,
        "side": SIDE,
        "queries": queries,
        "keys": None if keys == queries else keys,
        "measures": [[name, {**NAMES, **CHANGES}[name]] for name in names],
        "heads": [_told(head, names) for head in found],
        "halves": halves.about() if halves else None,
        "palettes": maps,
        "maps": {"light": LIGHT, "dark": DARK, "chosen": request.cmap, "diverging": _DIVERGING},
        "log": request.log,
        "crowded": int(100 * crowd) if crowd > _CROWD and not signed else 0,
        "panel": request.panel_scales,
        "command": _command(request),
        "notes": [exactness, *notes],
    }
    texts = [text for h in found for level in h.levels for text in level.tiles or ()]
    if halves:
        texts.extend(halves.texts)
    return Explorer(f"{title}: attention", data, tuple(texts), (exactness, *notes))


def _surveyed(selection: Selection, at: int, members: Members, bits: int) -> _Head:
    """Read a head for its range and its measures."""
    queries, keys = selection.queries, selection.keys
    tokens = Tokens(len(queries), len(keys), queries.labels, keys.labels)
    measures = Measures(tokens, signed=selection.signed)
    missing = False
    for start, block in blocks(selection, members):
        measures.add(start, block)
        missing = missing or not bool(np.isfinite(block).all())
    low, high = measures.low, measures.high
    layers, heads = ({member[axis] for member in members} for axis in (0, 1))
    weights, is_whole = selection.weights, selection.names[at] == "rollout"
    return _Head(
        weights.layers[layers.pop()] if len(layers) == 1 and not is_whole else None,
        weights.heads[heads.pop()] if len(members) == 1 and not is_whole else None,
        selection.names[at] or "weights",
        Coding(max(high, -low), bits, signed=selection.signed or low < 0),
        missing,
        measures.found(),
    )


def _encode(head: _Head, selection: Selection, members: Members, room: Room) -> None:
    """Read a head for its codes."""
    quiet = _unwatched(selection)
    shape = len(selection.queries), len(selection.keys)
    pyramid = Pyramid(shape, head.coding, room)
    lowest = head.coding.zero + int(head.coding.steps * _LOW**0.5)
    for _, block in blocks(quiet, members):
        codes = head.coding.encode(block)
        if head.coding.top:
            head.low += int(np.count_nonzero((codes <= lowest) & (codes > 0)))
        pyramid.add(codes)
    head.levels = pyramid.finish()


def _unwatched(selection: Selection) -> Selection:
    """Return the selection, of which nothing that is odd is counted: it was, at first reading."""
    nobody = Watch("", (1, 1, 1), np.inf)
    other = selection.other and replace(selection.other, watch=nobody)
    return replace(selection, weights=replace(selection.weights, watch=nobody), other=other)


def _told(head: _Head, names: Sequence[str]) -> list[Any]:
    """Return what the page is told of a head."""
    return [
        head.layer,
        head.head,
        head.name,
        float(f"{head.coding.top:.9g}"),
        int(head.coding.signed),
        int(head.missing),
        [float(f"{head.measures.get(name, 0.0):.4g}") for name in names],
        [None if level.tiles is None else list(map(len, level.tiles)) for level in head.levels],
    ]


def _axis(axis: Axis) -> dict[str, Any]:
    """Return what the page is told of an axis; positions and starts where they are not plain."""
    plain = isinstance(axis.positions, range) and axis.positions.start == 0
    return {
        "labels": axis.labels,
        "positions": None if plain else [int(at) for at in axis.positions],
        "starts": None if axis.starts is None else [int(at) for at in axis.starts],
    }


def _left_out(heads: Sequence[_Head], size: float, *, computed: bool) -> list[str]:
    """Return what does not fit, a line for each number of levels that are missing."""
    if computed:
        return []
    counts: dict[int, int] = {}
    for head in heads:
        gone = sum(level.tiles is None for level in head.levels)
        if gone:
            counts[gone] = counts.get(gone, 0) + 1
    lines = []
    for gone, count in sorted(counts.items()):
        each = f"{2**gone} × {2**gone}"
        of = f"{count} of {len(heads)} heads" if len(heads) > 1 else "the matrix"
        every = len(heads[0].levels) == gone
        shown = "nothing is shown" if every else f"a cell is the maximum of {each} weights"
        lines.append(f"{size:g} MB do not hold every weight of {of}: there {shown} (--max-size)")
    return lines


def _palettes(chosen: str | None) -> dict[str, str]:
    """Return colour maps as stops, six digits each: all colours of the one that was chosen."""
    found = {
        name: bytes(palette(name).colours[::_EVERY].reshape(-1)).hex()
        for name in (*_MAPS, *_DIVERGING)
    }
    if chosen is not None:
        found[chosen] = bytes(palette(chosen).colours.reshape(-1)).hex()
    return found


# --- Queries and keys ---


def _halves(selection: Selection) -> Halves | None:
    """Return the queries and keys, where they take less room than weights."""
    captured = _whole(selection)
    if captured is None:
        return None
    (rows, width), columns = captured.queries.shape[-2:], captured.keys.shape[-2]
    halves = Halves(width, captured.scale)
    for ((layer, head),) in selection.members:
        matrix = layer * captured.batch_shape[1] + head
        group = captured.key_matrix(matrix)
        causal, window = captured.settings.of_layer(layer)
        # What is read is good until the next is.
        q = captured.queries.rows(matrix * rows, (matrix + 1) * rows).copy()
        k = captured.keys.rows(group * columns, (group + 1) * columns).copy()
        if max(np.abs(q).max(), np.abs(k).max()) > LARGEST:
            return None
        exact = partial(band, captured, matrix)
        halves.add(q, k, group, exact, causal=causal, window=window)
    return halves


def _whole(selection: Selection) -> Captured | None:
    """Return what weights are computed from, where the page can do so and it is worth its room."""
    array, shape = selection.weights.array, selection.weights.shape
    axes = (selection.queries, selection.keys)
    if not isinstance(array, Computed) or array.captured is None or selection.signed:
        return None
    if any(axis.starts is not None for axis in axes) or any(len(m) > 1 for m in selection.members):
        return None
    if [axis.positions for axis in axes] != [range(shape[3]), range(shape[4])]:
        return None
    captured = array.captured
    rows, width = captured.queries.shape[-2:]
    columns = captured.keys.shape[-2]
    groups = len(
        {captured.key_matrix(a * captured.batch_shape[1] + b) for ((a, b),) in selection.members}
    )
    numbers = width * (rows * len(selection.members) + columns * groups)
    weights = len(selection.members) * rows * columns
    if captured.settings.mask is not None or numbers * 2 * 4 / 3 > weights * _A_WEIGHT:
        return None
    return captured


def _command(request: Request) -> dict[str, Any]:
    """Return the command line that reads what the page was made of, as options by name.

    A switch is true. What the page lets choose, such as heads, it adds itself.
    """
    options: dict[str, Any] = {
        "--name": request.name,
        "--delimiter": request.delimiter,
        "--encoding": request.encoding,
        "--labels": request.labels,
        "--query-labels": request.query_labels,
        "--key-labels": request.key_labels,
        "--batch": None if request.batch is None else str(request.batch),
        "--diff": request.diff,
        "--reduce": request.reduce,
        "--over": "all" if request.over == "all" else None,
        "--rollout": request.rollout or None,
        "--merge-subwords": request.merge_subwords or None,
        "--layers": request.layers,
        "--heads": request.heads,
        "--queries": request.queries,
        "--keys": request.keys,
    }
    said = {name: value for name, value in options.items() if value is not None}
    # Whether layers and heads are the page's to choose, or what is computed is made of them.
    single = request.reduce is None and not request.rollout
    return {"file": request.weights, "options": said, "drop": request.drop, "single": single}


# --- Notebooks ---


def explore(  # noqa: PLR0913 - each is an option of the command
    weights: ArrayLike | str | os.PathLike[str],
    labels: Sequence[str] | None = None,
    *,
    query_labels: Sequence[str] | None = None,
    key_labels: Sequence[str] | None = None,
    title: str = "",
    cmap: str | None = None,
    bits: int = 8,
    max_size: float = Request.max_size,
) -> Explorer:
    """Return a page in which attention is looked at; a notebook shows it.

    Parameters
    ----------
    weights
        (Q, K), (H, Q, K), (layers, heads, Q, K), or (layers, 1, heads, Q, K), such as a model's
        list of one array a layer; or the path of a file that ``qkv heatmap`` reads.
    labels, query_labels, key_labels
        What queries and keys are called.
    title
        Stands above all.
    cmap
        A colour map of Matplotlib's.
    bits
        8 or 16 for each weight.
    max_size
        How large the page may be, in MB.

    Raises
    ------
    QkvError
        An array of another shape, labels that are not as many, an option that is not there.

    Examples
    --------
    >>> page = explore([[0.75, 0.25], [0.5, 0.5]], ["it", "rains"])
    >>> page.html[:15]
    '<!doctype html>'
    """
    options: dict[str, Any] = {"title": title, "cmap": cmap, "bits": bits, "max_size": max_size}
    if isinstance(weights, str | os.PathLike):
        request = Request(os.fspath(weights), **options)
        selection = select(request)
    else:
        request = Request("weights.npy", **options)
        selection = selection_of(request, _in_memory(weights))
    queries, keys = (
        axis if given is None else whole(axis.name, len(axis), tuple(map(str, given)), "explore")
        for axis, given in (
            (selection.queries, labels if query_labels is None else query_labels),
            (selection.keys, labels if key_labels is None else key_labels),
        )
    )
    return explorer(replace(selection, queries=queries, keys=keys), request)


def _in_memory(weights: ArrayLike) -> Matrices:
    parts = [np.asarray(part) for part in weights] if isinstance(weights, list | tuple) else weights
    try:
        array = np.asarray(parts)
    except ValueError:
        raise UsageError("weights: lists of different lengths are no array") from None
    if array.dtype.kind not in "biuf":
        raise UsageError(f"weights: of dtype {array.dtype}; they are numbers")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    return Matrices("weights", in_memory(array, "weights"))
