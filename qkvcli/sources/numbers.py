"""The grammar of numbers in tables: what is a number, what is text, and what is a mistake."""

from __future__ import annotations

import io
import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# No leading zero and no whole number of more than 15 digits, since 007 and 9007199254740993 are as
# often codes as numbers, and of the last a double would make its neighbour.
_DECIMAL = r"(?:0|[1-9][0-9]{0,14}|(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)"
# A key column is numeric when every cell is a plain decimal number, or one as programs print it:
# 1.5e-07, 1e-05. Without a point and a sign, 1e3 is as often a code.
PLAIN = rf"-?(?:{_DECIMAL}|[0-9]\.[0-9]+[eE][+-]?[0-9]+|[0-9][eE][+-][0-9]+)"
LARGEST = 1e15
"""What a plain whole number is below."""
# A value: the same with a sign and an exponent, which programs print for small and large numbers.
VALUE = rf"[+-]?{_DECIMAL}(?:[eE][+-]?[0-9]+)?"
# What --key-type number and --value-type number take: whatever spells a finite number.
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_SLICE = 1 << 17
"""How many bytes are compared at a time where several comparisons are to meet in a cache."""
_DIGITS = 299
"""So many digits, without an exponent, are below the largest double."""
# What is a number elsewhere and a mistake here: never taken for text beside numbers.
_MISTAKEN = re.compile(
    r"[+-]?(?:nan|inf|infinity|[0-9]+(?:_[0-9]+)+|[0-9]+,[0-9]+|0x[0-9a-f]+)|[+-]?\d+(?:[.,]\d+)?",
    re.IGNORECASE,
)
_LEADING_ZERO = re.compile(r"-?0[0-9]")
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
"""What stands for a missing number, whatever its case."""


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty, or says that a number is missing."""
    return cell.strip(" \t").casefold() in _MISSING


def all_match(cells: Sequence[str], grammar: str) -> bool:
    """Return whether every cell is a number by this grammar; one match over all of them."""
    if not cells:
        return True
    lines = "\n".join(cells)
    if lines.count("\n") != len(cells) - 1:
        return False  # a cell of two lines is no number, though each of its lines may be one
    # Possessive: a line that has matched is not remembered, which would take 300 bytes a line.
    return re.fullmatch(f"(?:{grammar}\n)*+", lines + "\n") is not None


def first_mismatch(cells: Sequence[str], grammar: str) -> int | None:
    """Return the position of the first cell that is not a finite number by this grammar."""
    plain = all_match(cells, grammar) and max(map(len, cells), default=0) <= _DIGITS
    if plain and "e" not in "".join(cells).lower():
        return None
    return next(iter(mismatches(cells, grammar, most=1)), None)


def mismatches(cells: Sequence[str], grammar: str, most: int | None = None) -> list[int]:
    """Return the positions of the cells, or the first few, that are not finite numbers."""
    pattern = re.compile(grammar)
    odd = (
        position
        for position, cell in enumerate(cells)
        if not pattern.fullmatch(cell) or abs(float(cell)) == float("inf")
    )
    return list(islice(odd, most))


def mistaken(cell: str) -> bool:
    """Return whether a cell that is no number was surely meant as one (nan, 1_000, 1,5, 1e999).

    Examples
    --------
    >>> [mistaken(cell) for cell in ("nan", "1_000", "1,5", "1e999", "007", "", "Li", "1e3")]
    [True, True, True, True, False, False, False, False]
    """
    if _LEADING_ZERO.match(cell) and "," not in cell and "_" not in cell:
        return False
    if re.fullmatch(NUMBER, cell):
        return abs(float(cell)) == float("inf")
    return _MISTAKEN.fullmatch(cell) is not None


def matrix_in(
    data: bytes, delimiter: str, width: int, positions: Sequence[int], grammar: str
) -> NDArray[np.float64] | None:
    """Return columns of lines of numbers through NumPy's reader in C, (K, positions).

    That reader knows ``nan``, spaces and more; so it is only given bytes that can spell nothing but
    the numbers of the grammar. None where there is something else, which the general way names.
    """
    import numpy as np

    if not _spells_numbers(data, delimiter, width, plain=grammar == PLAIN):
        return None
    if grammar != NUMBER and _has_leading_zero(data):
        return None
    every = len(positions) == width
    try:
        found: NDArray[np.float64] = np.loadtxt(
            io.BytesIO(data),
            delimiter=delimiter,
            usecols=None if every else positions,
            ndmin=2,
            comments=None,
        )
    except ValueError:
        return None  # a cell such as '' or '--1'
    if every and found.shape[1] != width:
        return None
    # Beyond, perhaps a whole number of too many digits.
    most = np.inf if grammar == NUMBER else LARGEST
    if not max(found.max(initial=0), -found.min(initial=0)) < most:
        return None
    return found[:, positions] if every and list(positions) != list(range(width)) else found


def _spells_numbers(data: bytes, delimiter: str, width: int, *, plain: bool) -> bool:
    """Whether there is nothing but the characters of numbers, delimiters and line ends."""
    sign = delimiter.encode()
    if not plain or sign in b"-./0123456789":
        letters = b"0123456789-.\n" if plain else b"0123456789-.+eE\n"
        return not data.translate(None, letters + sign)
    import numpy as np

    # All but "/" between "-" and "9" are; to count them takes a third of the time.
    array = np.frombuffer(data, np.uint8)
    spelled = np.count_nonzero(array - ord("-") <= ord("9") - ord("-"))
    ends = np.count_nonzero(array == ord("\n")) * width
    return bool(spelled + ends == len(data)) and b"/" not in data


def _has_leading_zero(data: bytes) -> bool:
    """Whether a zero starts a number, of nothing but numbers, and a digit follows it."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    return re.match(rb"0[0-9]", data) is not None or any(
        _zero_and_digit(array[start : start + _SLICE + 2]) for start in range(0, len(array), _SLICE)
    )


def _zero_and_digit(array: NDArray[np.uint8]) -> bool:
    """Whether a delimiter, a line end or a sign comes before a zero, and a digit after it."""
    digit = (array - 48) < 10
    found = array[1:-1] == ord("0")
    found &= digit[2:]
    found &= ~digit[:-2]
    found &= array[:-2] != ord(".")
    return bool(found.any())
