"""``0,3-5``: the numbers of layers, heads, queries and keys, as the command line gives them."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


class Positions:
    """Positions along an axis, in an order; all keys of a file are one run, and not millions.

    Parameters
    ----------
    firsts, stops
        Where each run of consecutive positions begins, and the position after its last.

    Examples
    --------
    >>> some = positions(np.array([7, 8, 9, 2]))
    >>> some.runs, len(some), some[2], list(some)
    ([(7, 10), (2, 3)], 4, 9, [7, 8, 9, 2])
    """

    def __init__(self, firsts: NDArray[np.intp], stops: NDArray[np.intp]) -> None:
        self.firsts, self.stops = firsts, stops

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """The runs, as (first, stop)."""
        return list(zip(self.firsts.tolist(), self.stops.tolist(), strict=True))

    @cached_property
    def _offsets(self) -> NDArray[np.intp]:
        """How many positions come before each run, and last how many there are."""
        return np.append(0, np.cumsum(self.stops - self.firsts))

    @cached_property
    def _places(self) -> list[int]:
        return list(map(int, self._offsets))  # Python finds a place among its own numbers sooner

    @property
    def highest(self) -> int:
        """The highest position."""
        return int(self.stops.max()) - 1

    def __len__(self) -> int:
        return self._places[-1]

    def __iter__(self) -> Iterator[int]:
        for first, stop in self.runs:
            yield from range(first, stop)

    def __getitem__(self, at: int) -> int:
        run = bisect_right(self._places, at) - 1
        return self.runs[run][0] + at - self._places[run]

    def part(self, start: int, stop: int) -> Positions:
        """Return some of them, by their places in the order."""
        shift = self.firsts - self._offsets[:-1]
        places = np.clip([self._offsets[:-1], self._offsets[1:]], start, stop)
        return _joined(*(places + shift))

    def within(self, start: int, stop: int) -> tuple[Positions, Positions]:
        """Return the positions from ``start`` to ``stop``, and their places in the order."""
        found = np.clip([self.firsts, self.stops], start, stop)
        shift = self._offsets[:-1] - self.firsts
        return _joined(*found), _joined(*(found + shift))

    def below(self, bounds: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return how many of them are below each of some bounds; they must ascend, and be some."""
        run = np.maximum(np.searchsorted(self.firsts, bounds, side="right") - 1, 0)
        within = np.clip(bounds - self.firsts[run], 0, self.stops[run] - self.firsts[run])
        return np.asarray(self._offsets[run] + within)

    def index(self, origin: int = 0) -> slice | NDArray[np.intp]:
        """Return what picks them out of an array that begins with ``origin``: a slice of a run."""
        if len(self.runs) == 1:
            return slice(self.runs[0][0] - origin, self.runs[0][1] - origin)
        shift = self.firsts - self._offsets[:-1] - origin
        return np.arange(len(self)) + np.repeat(shift, self.stops - self.firsts)


def _joined(firsts: NDArray[np.intp], stops: NDArray[np.intp]) -> Positions:
    """Return the positions of some runs: without empty ones, and each as long as can be."""
    some = firsts < stops
    firsts, stops = firsts[some], stops[some]
    apart = firsts[1:] != stops[:-1]
    ends = np.ones(min(1, len(firsts)), bool)
    return Positions(firsts[np.append(ends, apart)], stops[np.append(apart, ends)])


def positions(numbers: NDArray[np.intp]) -> Positions:
    """Return positions that are given one by one."""
    return _joined(numbers, numbers + 1)


def every(length: int) -> Positions:
    """Return all positions of an axis."""
    return Positions(np.array([0]), np.array([length]))


def numbers(text: str | None, length: int, what: str, file: str) -> Positions:
    """Return the numbers that a list such as ``0,3-5`` names, in its order.

    Parameters
    ----------
    text
        The list, or None for all.
    length
        How many there are.
    what, file
        ``"layer"``, ``"head"``, ``"query"`` or ``"key"``, and the file, for errors.

    Raises
    ------
    UsageError
        Not such a list, a number that is not there, or one named twice.

    Examples
    --------
    >>> list(numbers("0,3-5", 6, "layer", "a.npy"))
    [0, 3, 4, 5]
    """
    if text is None:
        return every(length)
    runs = np.array([_run(part, text, length, what, file) for part in text.split(",")])
    order = np.argsort(runs[:, 0], kind="stable")
    firsts, stops = runs[order].T
    twice = firsts[1:][firsts[1:] < np.maximum.accumulate(stops)[:-1]]
    if len(twice):
        raise UsageError(f"{_option(what)} names {twice[0]} twice")
    return _joined(*runs.T)


def _run(part: str, text: str, length: int, what: str, file: str) -> tuple[int, int]:
    match = _PART.fullmatch(part.strip())
    if match is None:
        raise UsageError(f"{_option(what)} {text!r} is not a list such as 0,3-5")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise UsageError(f"{_option(what)}: {part.strip()} runs backwards; write {last}-{first}")
    for number in (first, last):
        check(number, length, what, file)
    return first, last + 1


def check(number: int, length: int, what: str, file: str) -> None:
    """Refuse the number of a layer, head, query or key that is not there.

    Raises
    ------
    UsageError
        With how many there are.
    """
    if number >= length:
        there = "0" if length == 1 else f"0-{length - 1}"
        raise UsageError(f"{file}: there is no {what} {number}; it has {length} ({there})")


def _option(what: str) -> str:
    return "--queries" if what == "query" else f"--{what}s"
