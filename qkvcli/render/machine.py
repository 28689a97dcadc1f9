"""Formats for machines: TSV, CSV, JSON, JSON Lines and bare values, always UTF-8.

Columns and JSON keys are only ever added. The JSON documents name their schema:

* ``qkv.lookup/1`` since 0.1.0
* ``qkv.pool/1`` since 0.1.0
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qkvcli.render.escape import visible, visible_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from qkvcli.answer import About, Value

FORMATS = ("tsv", "csv", "json", "jsonl", "value")
_DELIMITERS = {"tsv": "\t", "csv": ","}
_QUOTED = re.compile('["\r\n]')
# What makes a spreadsheet take a cell for a formula (OWASP), and the numbers that it may take.
_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # wide too
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|inf)")


@dataclass(frozen=True)
class Style:
    """How an answer is to be shown.

    Parameters
    ----------
    form
        ``table`` or one of the formats for machines.
    explain
        Whether to say how each weight comes about.
    defuse
        Whether CSV and TSV cells must not be taken for formulas.
    color
        When a table has colour.
    terminal
        Whether a person sees it at once.
    """

    form: str
    explain: bool = False
    defuse: bool = False
    color: str = "auto"
    terminal: bool = False


def shortest(number: float | None) -> str:
    """Return the shortest text that reads back as the same number; nothing for NaN or None.

    Examples
    --------
    >>> shortest(0.1), shortest(2.0), shortest(float("nan"))
    ('0.1', '2', '')
    """
    if number is None or math.isnan(number):
        return ""
    return repr(float(number) + 0.0).removesuffix(".0")  # which makes −0 a plain 0


def value_text(value: Value) -> str:
    """Return a pooled value alone: the number, or the text with the largest share."""
    return shortest(value) if isinstance(value, float) else value[0][0]


def write_delimited(
    stream: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Any]], style: Style
) -> None:
    """Write a header and rows as CSV or TSV, a line end within a cell in quotes."""
    delimiter = _DELIMITERS[style.form]
    for row in itertools.chain([header], rows):
        cells = [cell if isinstance(cell, str) else shortest(cell) for cell in row]
        if style.terminal:
            cells = [visible(cell) for cell in cells]
        if style.defuse:
            cells = [_defused(cell) for cell in cells]
        stream.write(_line(cells, delimiter).encode())


def _line(cells: Sequence[str], delimiter: str) -> str:
    line = delimiter.join(cells)
    # Not the csv module: before Python 3.13 it leaves a carriage return without quotes.
    if _QUOTED.search(line) or line.count(delimiter) >= len(cells):
        line = delimiter.join(_quoted(cell, delimiter) for cell in cells)
    return (line or '""') + "\n"  # an empty line is no row


def _quoted(cell: str, delimiter: str) -> str:
    if delimiter not in cell and not _QUOTED.search(cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _defused(cell: str) -> str:
    harmless = not cell.startswith(_FORMULA) or _NUMBER.fullmatch(cell)
    return cell if harmless else "'" + cell


def write_lines(stream: BinaryIO, lines: Iterable[str], style: Style) -> None:
    """Write bare values, one a line."""
    shown = map(visible, lines) if style.terminal else lines
    stream.writelines(line.encode() + b"\n" for line in shown)


def write_json(stream: BinaryIO, document: Any, style: Style) -> None:  # noqa: ANN401
    """Write a document, or as JSON Lines each of its items on a line of its own."""
    import json  # a table and TSV never need it

    lines = style.form == "jsonl"
    for item in document if lines else [document]:
        text = json.dumps(item, ensure_ascii=False, allow_nan=False, indent=None if lines else 2)
        stream.write(visible_json(text, terminal=style.terminal).encode() + b"\n")


def bandwidth_item(about: About) -> dict[str, Any]:
    """Return what a document says of a kernel's widths, if there are any."""
    found = about.bandwidths
    if not found:
        return {}
    widths = {
        "rule": found[0].rule or None,
        "widths": [list(one.widths) for one in found],
        "error": [one.error for one in found if one.error is not None] or None,
    }
    return {"bandwidth": widths}


def finite(number: float | None) -> float | None:
    """Return a number as JSON has it: null for NaN, and no infinity."""
    return None if number is None or not math.isfinite(number) else float(number)
