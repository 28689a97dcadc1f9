"""The grammar of numbers in tables: what is a number, what is text, and what is a mistake."""

import re
from collections.abc import Sequence
from itertools import islice

# A key column is numeric when every cell is a plain decimal number: no exponent, no leading zero
# and no whole number of more than 15 digits, since 007, 1e3 and 9007199254740993 are as often codes
# as numbers, and of the last a double would make its neighbour.
PLAIN = r"-?(?:0|[1-9][0-9]{0,14}|(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)"
LARGEST = 1e15
"""What a plain whole number is below."""
# A value: the same with a sign and an exponent, which programs print for small and large numbers.
VALUE = rf"[+-]?{PLAIN.removeprefix('-?')}(?:[eE][+-]?[0-9]+)?"
# What --key-type number and --value-type number take: whatever spells a finite number.
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_DIGITS = 299
"""So many digits, without an exponent, are below the largest double."""
_SURE = rf"(?:[0-9]{{1,{_DIGITS}}}+(?:\.[0-9]*+)?+|\.[0-9]++)"
_SURE_PLAIN = r"-?+(?:(?:0|[1-9][0-9]{0,14}+)(?:\.[0-9]*+)?+|\.[0-9]++)"
SURE = {
    PLAIN: _SURE_PLAIN,
    VALUE: rf"[+-]?+{_SURE_PLAIN.removeprefix('-?+')}",
    NUMBER: rf"[+-]?+{_SURE}",
}
"""By grammar, what most of its numbers look like, all of them finite; quicker to match."""
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
