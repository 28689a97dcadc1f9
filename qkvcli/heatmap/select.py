"""The selection: which matrices make each panel, and which queries and keys its cells."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError, did_you_mean
from qkvcli.heatmap.request import words
from qkvcli.heatmap.weights import check, check_same_shape, open_weights, rollout
from qkvcli.sources.matrices import open_matrices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.request import Request
    from qkvcli.heatmap.weights import Watch, Weights
    from qkvcli.sources.matrices import Matrices

    Members = tuple[tuple[int, int], ...]
    Positions = range | NDArray[np.intp]

PANEL_CAP = 1024
"""How many panels a picture may have."""

_PART = re.compile(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*")
# [CLS], <s>, </s>, <|endoftext|>: words of their own in every tokeniser's output.
SPECIAL = re.compile(r"\[[A-Z0-9]+\]|<[^<>\s]+>")
_STARTS_WORD = ("Ġ", "▁")
_CONTINUES = "##"


@dataclass(frozen=True)
class Axis:
    """What the cells along one axis are made of.

    Parameters
    ----------
    name
        ``"query"`` or ``"key"``.
    positions
        The positions along the file's axis that are used, in the order of drawing: a range where
        they run on, which takes no room however many they are.
    starts
        Where in ``positions`` each cell begins, where subwords were merged and some cells are made
        of several; None where every position is a cell.
    labels
        A label a cell, or None where cells are numbered.
    """

    name: str
    positions: Positions
    starts: NDArray[np.intp] | None = None
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.positions) if self.starts is None else len(self.starts)

    @property
    def highest(self) -> int:
        """The highest position."""
        at = self.positions
        return max(at[0], at[-1]) if isinstance(at, range) else int(at.max())

    def bounds(self, start: int, stop: int) -> tuple[int, int]:
        """Return where in ``positions`` some cells begin and end."""
        if self.starts is None:
            return start, stop
        ends = np.append(self.starts, len(self.positions))
        return int(ends[start]), int(ends[stop])

    def numbers(self, cells: Iterable[int]) -> list[int]:
        """Return the first position of the file in each of some cells."""
        if self.starts is None:
            return [int(self.positions[cell]) for cell in cells]
        return [int(self.positions[int(self.starts[cell])]) for cell in cells]

    def texts(self, cells: Iterable[int]) -> list[str]:
        """Return the labels of some cells, or their numbers."""
        if self.labels is None:
            return [str(number) for number in self.numbers(cells)]
        return [self.labels[cell] for cell in cells]

    def unique(self, cells: Sequence[int]) -> list[str]:
        """Return the labels of some cells, with numbers where others have the same labels."""
        texts = self.texts(cells)
        if self.labels is None:
            return texts
        counts = Counter(self.labels)
        numbered = zip(texts, self.numbers(cells), strict=True)
        return [f"{text} ({number})" if counts[text] > 1 else text for text, number in numbered]


@dataclass(frozen=True)
class Selection:
    """What is to be read, once headers and labels are known and before any weight is.

    Parameters
    ----------
    weights, other
        The weights, and those to subtract from them.
    watches
        What is odd about the files' weights, counted as they are read.
    members
        For each panel the matrices, as (layer, head), that are reduced to it.
    queries, keys
        The rows and columns of every panel.
    reduce
        ``"mean"``, ``"max"`` or ``"min"``, over the members of a panel.
    names
        What each panel is called; nothing where there is only one matrix to tell.
    """

    weights: Weights
    other: Weights | None
    watches: tuple[Watch, ...]
    members: tuple[Members, ...]
    queries: Axis
    keys: Axis
    reduce: str
    names: tuple[str, ...]

    @property
    def signed(self) -> bool:
        """Whether differences are drawn."""
        return self.other is not None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The panels as leading axes: (layers, heads), (layers,) of heads reduced, (heads,), ()."""
        rows = len({group[0][0] for group in self.members})
        columns = len(self.members) // rows
        if rows > 1:
            return (rows, columns) if len(self.members[0]) == 1 else (rows,)
        return (columns,) if columns > 1 else ()

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of the cells."""
        merged = self.queries.starts is not None or self.keys.starts is not None
        if merged or len(self.members[0]) > 1:
            return np.dtype(np.float64)
        return np.result_type(self.weights.dtype, (self.other or self.weights).dtype)


def select(request: Request) -> Selection:
    """Open the inputs and return what every panel is made of.

    Raises
    ------
    QkvError
        A file that is no array, an option that does not fit it, or too many panels.
    """
    reading = (request.name, request.delimiter, request.encoding)
    found = open_matrices(request.weights, *reading)
    against = None if request.diff is None else open_matrices(request.diff, *reading)
    return selection_of(request, found, against)


def selection_of(request: Request, found: Matrices, against: Matrices | None = None) -> Selection:
    """Return what a request chooses of a file that is open, and of one to subtract.

    Raises
    ------
    QkvError
        Arrays that are not weights, an option that does not fit them, or too many panels.
    """
    opened = [
        open_weights(one, request.batch, is_said=request.layers is not None)
        for one in (found, against)
        if one is not None
    ]
    if against is not None:
        check_same_shape(*opened)
    weights, watches = opened[0], tuple(one.watch for one in opened)
    queries, keys = _axes(request, found, weights)
    layers = numbered(request.layers, "layer", weights.layers, found.file)
    heads = numbered(request.heads, "head", weights.heads, found.file)
    if request.rollout:
        opened = [rollout(one, layers, heads) for one in opened]
        layers, heads = [0], [0]
    members: tuple[Members, ...]
    if request.reduce is None:
        members = tuple(((i, j),) for i in layers for j in heads)
    elif request.over == "heads":
        members = tuple(tuple((i, j) for j in heads) for i in layers)
    else:
        members = (tuple((i, j) for i in layers for j in heads),)
    if len(members) > PANEL_CAP:
        raise UsageError(
            f"{len(layers)} layers × {len(heads)} heads are {len(members)} panels, over the budget "
            f"of {PANEL_CAP}; choose some with --layers and --heads, or --reduce mean"
        )
    names = tuple(_name(group, weights, request.reduce or "") for group in members)
    if request.rollout:
        names = ("rollout",)
    other = opened[1] if len(opened) > 1 else None
    reduce = request.reduce or "mean"
    return Selection(opened[0], other, watches, members, queries, keys, reduce, names)


def numbered(text: str | None, what: str, numbers: tuple[int, ...], file: str) -> list[int]:
    """Return the places of the layers or heads that a list such as ``0,3-5`` names.

    Parameters
    ----------
    text
        The list, or None for all.
    what
        ``"layer"`` or ``"head"``.
    numbers
        What those in the file are called.
    file
        What errors call the file.

    Raises
    ------
    UsageError
        As of ``positions``.
    """
    if text is None:
        return list(range(len(numbers)))
    places = {number: place for place, number in enumerate(numbers)}
    wanted = [int(n) for n in positions(text, whole(what, max(numbers) + 1), file)]
    missing = next((n for n in wanted if n not in places), None)
    if missing is not None:
        held = ", ".join(map(str, numbers))
        raise UsageError(f"{file}: there is no {what} {missing}; it has {held}")
    return [places[number] for number in wanted]


def _name(group: Members, weights: Weights, reduce: str) -> str:
    layers, heads = sorted({layer for layer, _ in group}), sorted({head for _, head in group})
    many = [f"{len(n)} {what}" for n, what in ((layers, "layers"), (heads, "heads")) if len(n) > 1]
    parts = []
    if weights.layers != (0,) and len(layers) == 1:
        parts.append(f"layer {weights.layers[layers[0]]}")
    if weights.heads != (0,) and len(heads) == 1:
        parts.append(f"head {weights.heads[heads[0]]}")
    if many:
        parts.append(f"{reduce} of {' × '.join(many)}")
    return ", ".join(parts)


# --- Queries and keys ---


def whole(name: str, length: int, labels: tuple[str, ...] | None = None, source: str = "") -> Axis:
    """Return an axis of every position of the file.

    Raises
    ------
    UsageError
        There are not as many labels, which are of the file ``source``, as positions.
    """
    if labels is not None and len(labels) != length:
        plural = "queries" if name == "query" else "keys"
        raise UsageError(
            f"{source}: {len(labels)} {'label' if len(labels) == 1 else 'labels'} for "
            f"{length} {name if length == 1 else plural}; "
            f"give one for each with --{name}-labels"
        )
    return Axis(name, range(length), None, labels)


def _axes(request: Request, found: Matrices, weights: Weights) -> tuple[Axis, Axis]:
    """Return the queries and keys that are drawn: chosen, then merged, then without some."""
    axes = []
    read: dict[str, tuple[str, ...]] = {}  # a pipe can be read but once, and be for both axes
    for name, length, own, given, wanted in (
        ("query", weights.shape[3], found.query_labels, request.query_labels, request.queries),
        ("key", weights.shape[4], found.key_labels, request.key_labels, request.keys),
    ):
        file = given if given is not None else request.labels
        if file is not None and file not in read:
            from qkvcli.sources.labels import read_labels

            read[file] = read_labels(file, request.encoding)
        labels = own if file is None else read[file]
        axis = whole(name, length, labels, file or found.file)
        if wanted is not None:
            picked = positions(wanted, axis, found.file, merged=request.merge_subwords)
            kept = None if axis.labels is None else tuple(axis.labels[i] for i in picked)
            axis = Axis(name, picked, None, kept)
        axes.append(axis)
    queries, keys = axes
    if request.merge_subwords:
        if queries.labels is None and keys.labels is None:
            raise UsageError("--merge-subwords needs labels; pass --labels")
        queries, keys = merge_subwords(queries), merge_subwords(keys)
    if request.drop:
        _check_dropped(request.drop, [*(queries.labels or ()), *(keys.labels or ())])
        queries, keys = dropped(queries, request.drop), dropped(keys, request.drop)
    return queries, keys


def positions(text: str, axis: Axis, file: str, *, merged: bool = False) -> Positions:
    """Return the positions that a list such as ``0,3-5`` or ``cat,dog`` names, in its order.

    Parameters
    ----------
    text
        The list. A number is a position, and any other word a label, of which every position is
        meant that has it.
    axis
        All positions, of layers, heads, queries or keys.
    file
        What errors call the file.
    merged
        Whether a label may also be that of pieces of a word.

    Raises
    ------
    UsageError
        Not such a list, a position or label that is not there, or a position named twice.

    Examples
    --------
    >>> list(map(int, positions("0,3-5", whole("layer", 6), "a.npy")))
    [0, 3, 4, 5]
    """
    option = "--queries" if axis.name == "query" else f"--{axis.name}s"
    runs: list[Iterable[int]] = []
    for part in words(text, option) or ("",):
        match = _PART.fullmatch(part)
        if match is None:
            runs.append(_with_label(part, axis, f"{option} {text!r}", merged=merged))
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{option}: {part.strip()} runs backwards; write {last}-{first}")
        for number in (first, last):
            check(number, len(axis.positions), axis.name, file)
        runs.append(range(first, last + 1))
    found = np.concatenate([np.asarray(run, np.intp) for run in runs])
    ordered = np.sort(found)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise UsageError(f"{option} names {twice[0]} twice")
    if (np.diff(found) == 1).all():
        return range(int(found[0]), int(found[-1]) + 1)
    return found


def _with_label(part: str, axis: Axis, asked: str, *, merged: bool) -> list[int]:
    """Return the positions that have a label, be it that of merged pieces."""
    for one in (axis, merge_subwords(axis)) if merged else (axis,):
        cells = [cell for cell, label in enumerate(one.labels or ()) if label == part]
        if cells:
            return [at for cell in cells for at in range(*one.bounds(cell, cell + 1))]
    hint = did_you_mean(part, list(dict.fromkeys(axis.labels or ())))
    which = f", and no label is {part!r}{hint}" if axis.labels else ""
    raise UsageError(f"{asked} is not a list such as 0,3-5{which}")


def merge_subwords(axis: Axis) -> Axis:
    """Return an axis with pieces of words joined: ``##`` continues one, ``Ġ`` or ``▁`` starts one.

    Returns
    -------
    Axis
        A word a cell, labelled without the marks. Labels with neither mark are left alone.
    """
    if axis.labels is None:
        return axis
    starts = np.flatnonzero(_word_starts(axis.labels))
    stops = np.append(starts[1:], len(axis.labels))
    joined = tuple(
        _word(axis.labels[a:b]) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
    )
    return Axis(axis.name, axis.positions, _starts(stops - starts), joined)


def _starts(counts: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Return where cells of so many positions begin."""
    return np.cumsum(counts) - counts if (counts > 1).any() else None


def _word_starts(labels: tuple[str, ...]) -> list[bool]:
    if any(label.startswith(_STARTS_WORD) for label in labels):
        begins = [label.startswith(_STARTS_WORD) for label in labels]
    else:
        begins = [not (label.startswith(_CONTINUES) and label != _CONTINUES) for label in labels]
    special = [SPECIAL.fullmatch(label) is not None for label in labels]
    after = [True, *special[:-1]]
    return [b or s or a for b, s, a in zip(begins, special, after, strict=True)]


def _word(pieces: tuple[str, ...]) -> str:
    first, *rest = pieces
    bare = first[1:] if first.startswith(_STARTS_WORD) else first
    # A mark alone, with no piece after it, is a word: that of a space.
    return bare + "".join(piece.removeprefix(_CONTINUES) for piece in rest) or first


def dropped(axis: Axis, labels: Sequence[str]) -> Axis:
    """Return an axis without the cells of these labels."""
    if axis.labels is None:
        return axis
    kept = np.array([label not in labels for label in axis.labels])
    if not kept.any():
        raise UsageError(f"--drop leaves no {axis.name} to draw")
    starts = np.arange(len(axis)) if axis.starts is None else axis.starts
    counts = np.diff(starts, append=len(axis.positions))
    found = np.asarray(axis.positions, np.intp)[np.repeat(kept, counts)]
    left = tuple(label for label in axis.labels if label not in labels)
    return Axis(axis.name, found, _starts(counts[kept]), left)


def _check_dropped(labels: Sequence[str], known: list[str]) -> None:
    """Refuse to drop a label that stands on no axis."""
    if not known:
        raise UsageError("--drop needs labels; pass --labels")
    for label in labels:
        if label not in known:
            hint = did_you_mean(label, list(dict.fromkeys(known)))
            raise UsageError(f"--drop: no label is {label!r}{hint}")
