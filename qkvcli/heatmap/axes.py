"""The rows and columns of a panel: which queries and keys of the file each is made of."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError, did_you_mean
from qkvcli.heatmap.ranges import Positions, every, positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# [CLS], <s>, </s>, <|endoftext|>: words of their own in every tokeniser's output.
_SPECIAL = re.compile(r"\[[A-Z0-9]+\]|<[^<>\s]+>")
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
        The positions along the file's axis that are used, in the order of drawing.
    starts
        Where in ``positions`` each cell begins, where subwords were merged and some cells are made
        of several; None where every position is a cell.
    labels
        A label a cell, or None where cells are numbered.
    """

    name: str
    positions: Positions
    starts: NDArray[np.intp] | None
    labels: tuple[str, ...] | None

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.positions) if self.starts is None else len(self.starts)

    @property
    def counts(self) -> NDArray[np.intp]:
        """How many positions of the file each cell is made of."""
        if self.starts is None:
            return np.ones(len(self), np.intp)
        return np.diff(self.starts, append=len(self.positions))

    @property
    def merged(self) -> bool:
        """Whether any cell is made of several positions."""
        return self.starts is not None

    def part(self, start: int, stop: int) -> Axis:
        """Return some of the cells, without their labels."""
        if self.starts is None:
            return Axis(self.name, self.positions.part(start, stop), None, None)
        first = self.first(start)
        found = self.positions.part(first, self.first(stop))
        return Axis(self.name, found, self.starts[start:stop] - first, None)

    def first(self, cell: int) -> int:
        """Return how many positions come before a cell."""
        if self.starts is None:
            return cell
        return int(self.starts[cell]) if cell < len(self) else len(self.positions)

    def number(self, cell: int) -> int:
        """Return the first position of the file in a cell."""
        return self.positions[self.first(cell)]

    def text(self, cell: int) -> str:
        """Return a cell's label, or its number."""
        return str(self.number(cell)) if self.labels is None else self.labels[cell]

    def unique(self, cell: int) -> str:
        """Return a cell's label, with its number where another cell has the same label."""
        text = self.text(cell)
        return f"{text} ({self.number(cell)})" if text in self._repeated else text

    @cached_property
    def _repeated(self) -> frozenset[str]:
        counts = Counter(self.labels or ())
        return frozenset(label for label, count in counts.items() if count > 1)


@dataclass(frozen=True)
class Labels:
    """Labels for one axis, and the file or array they came from."""

    source: str
    texts: tuple[str, ...]


def whole_axis(name: str, length: int, labels: Labels | None) -> Axis:
    """Return an axis of every position of the file.

    Raises
    ------
    UsageError
        There are not as many labels as positions.
    """
    plural = "queries" if name == "query" else "keys"
    if labels is None:
        return Axis(name, every(length), None, None)
    found = len(labels.texts)
    if found != length:
        raise UsageError(
            f"{labels.source}: {found} {'label' if found == 1 else 'labels'} for "
            f"{length} {name if length == 1 else plural}; "
            f"give one for each with --{name}-labels"
        )
    return Axis(name, every(length), None, labels.texts)


def chosen(axis: Axis, wanted: Positions) -> Axis:
    """Return some positions of a whole axis, in the order wanted."""
    labels = None if axis.labels is None else tuple(axis.labels[i] for i in wanted)
    return Axis(axis.name, wanted, None, labels)


def merge_subwords(axis: Axis) -> Axis:
    """Join the pieces of words: WordPiece's ``##`` and the ``Ġ`` or ``▁`` that starts a word.

    Returns
    -------
    Axis
        A word a cell, labelled without the marks. Labels with neither mark are left alone.
    """
    if axis.labels is None:
        return axis
    begins = _word_starts(axis.labels)
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(axis.labels))
    words = tuple(
        _word(axis.labels[a:b]) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
    )
    return Axis(axis.name, axis.positions, _starts(stops - starts), words)


def _starts(counts: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Return where cells of so many positions begin."""
    return np.cumsum(counts) - counts if (counts > 1).any() else None


def _word_starts(labels: tuple[str, ...]) -> list[bool]:
    if any(label.startswith(_STARTS_WORD) for label in labels):
        begins = [label.startswith(_STARTS_WORD) for label in labels]
    else:
        begins = [not (label.startswith(_CONTINUES) and label != _CONTINUES) for label in labels]
    special = [_SPECIAL.fullmatch(label) is not None for label in labels]
    after = [True, *special[:-1]]
    return [b or s or a for b, s, a in zip(begins, special, after, strict=True)]


def _word(pieces: tuple[str, ...]) -> str:
    first, *rest = pieces
    bare = first[1:] if first.startswith(_STARTS_WORD) else first
    # A mark alone, with no piece after it, is a word: that of a space.
    return bare + "".join(piece.removeprefix(_CONTINUES) for piece in rest) or first


def dropped(axis: Axis, words: Sequence[str]) -> Axis:
    """Return an axis without the cells of these labels."""
    if axis.labels is None:
        return axis
    kept = np.array([label not in words for label in axis.labels])
    if not kept.any():
        raise UsageError(f"--drop leaves no {axis.name} to draw")
    found = np.fromiter(axis.positions, np.intp)[np.repeat(kept, axis.counts)]
    labels = tuple(label for label in axis.labels if label not in words)
    return Axis(axis.name, positions(found), _starts(axis.counts[kept]), labels)


def check_dropped(words: Sequence[str], axes: Sequence[Axis]) -> None:
    """Refuse to drop a label that stands on no axis.

    Raises
    ------
    UsageError
        With the nearest label that does.
    """
    known = [label for axis in axes for label in axis.labels or ()]
    if not known:
        raise UsageError("--drop needs labels; pass --labels")
    for word in words:
        if word not in known:
            hint = did_you_mean(word, list(dict.fromkeys(known)))
            raise UsageError(f"--drop: no label is {word!r}{hint}")
