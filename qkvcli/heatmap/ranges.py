"""``0,3-5``: the numbers of layers, heads, queries and keys, as the command line gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def numbers(text: str | None, length: int, what: str, file: str) -> NDArray[np.intp]:
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
    >>> numbers("0,3-5", 6, "layer", "a.npy").tolist()
    [0, 3, 4, 5]
    """
    if text is None:
        return np.arange(length)
    found = np.concatenate([_run(part, text, length, what, file) for part in text.split(",")])
    values, counts = np.unique(found, return_counts=True)
    if len(values) < len(found):
        raise UsageError(f"{_option(what)} names {values[counts > 1][0]} twice")
    return found


def _run(part: str, text: str, length: int, what: str, file: str) -> NDArray[np.intp]:
    match = _PART.fullmatch(part.strip())
    if match is None:
        raise UsageError(f"{_option(what)} {text!r} is not a list such as 0,3-5")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise UsageError(f"{_option(what)}: {part.strip()} runs backwards; write {last}-{first}")
    for number in (first, last):
        check(number, length, what, file)
    return np.arange(first, last + 1)


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
