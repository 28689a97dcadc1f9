"""Tables in every format; for people columns where they fit, else a few lines a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qkvcli.render.escape import visible
from qkvcli.render.machine import finite, write_delimited, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from qkvcli.answer import Tabular
    from qkvcli.render.machine import Style

FORMATS = ("table", "tsv", "csv", "json", "jsonl")
_GAP = 2
_NARROWEST = 10
"""How narrow a column of text may become before the rows are stacked instead."""


@dataclass(frozen=True)
class Column:
    """A column's name, whether it holds numbers, never cut or wrapped, and may be rounded."""

    name: str
    numeric: bool = False
    rounded: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> RenderableType:
    """Return rows as a table that fits a width without cutting a number.

    Parameters
    ----------
    columns, rows
        The columns, and each row's cells.
    width
        How many cells of the terminal there are.
    """
    from rich.text import Text

    shown = [[visible(cell) for cell in row] for row in rows]
    narrowest = _narrowest(columns, shown)
    if sum(narrowest) + _GAP * (len(columns) - 1) > width:
        return _stacked(columns, shown, width)
    found = _plain(header=True)
    for column, least in zip(columns, narrowest, strict=True):
        found.add_column(
            Text(visible(column.name), style="dim"),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",
            min_width=least,
        )
    for row in shown:
        found.add_row(*(Text(cell) for cell in row))
    return found


def brief(text: str) -> str:
    """Return a number rounded for a person; the machine formats keep all of it.

    Examples
    --------
    >>> brief("0.6"), brief("0.00000123"), brief("-inf"), brief("12345.678")
    ('0.600', '1.23e-06', '-inf', '12345.678')
    >>> brief("1e+300")
    '1.00e+300'
    """
    if text in ("", "-inf", "inf"):
        return text
    number = float(text)
    if number and not 0.0005 <= abs(number) < 1e7:
        return f"{number:.2e}"
    return f"{number:.3f}"


def lines(entries: Sequence[tuple[str, Sequence[Text]]], width: int) -> RenderableType:
    """Return named lines of a few parts each, a part a line where they do not fit side by side."""
    from rich.text import Text

    label = max(len(name) for name, _ in entries)
    label += _GAP * bool(label)
    found = _plain()
    found.add_column(no_wrap=True, style="dim")
    found.add_column(overflow="fold")
    for name, parts in entries:
        side_by_side = Text(" " * 3).join(parts)
        fits = label + side_by_side.cell_len + _GAP <= width  # a cell has its gap after it
        found.add_row(Text(name), side_by_side if fits else Text("\n").join(parts))
    if not label:
        found.columns.pop(0)
    return found


def _plain(*, header: bool = False) -> Table:
    from rich.table import Table

    return Table(box=None, show_header=header, pad_edge=False, padding=(0, _GAP, 0, 0))


def _narrowest(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    found = []
    for position, column in enumerate(columns):
        widest = max(_widest(row[position] for row in rows), _widest([visible(column.name)]))
        found.append(widest if column.numeric else min(widest, _NARROWEST))
    return found


def _widest(texts: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)


def _stacked(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> RenderableType:
    """Return each row as lines of a name and a cell, for a terminal too narrow for columns."""
    from rich.text import Text

    names = [visible(column.name) for column in columns]
    numbers = [i for i, column in enumerate(columns) if column.numeric]
    widest_number = _widest(row[i] for row in rows for i in numbers)
    found = _plain()
    # A long name gives way to a long number.
    room = max(_NARROWEST, width - _GAP - widest_number)
    found.add_column(overflow="fold", style="dim", max_width=min(_widest(names), room))
    found.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            found.add_row()
        for name, cell in zip(names, row, strict=True):
            found.add_row(Text(name), Text(cell))
    return found


def write(stream: BinaryIO, found: Tabular, style: Style, schema: str) -> None:
    """Write a table in one of ``FORMATS``.

    Parameters
    ----------
    stream, found, style
        Where to, what and how.
    schema
        The name of the schema of JSON.
    """
    header = found.header()
    if style.form == "table":
        _draw(stream, found, style)
    elif style.form in ("tsv", "csv"):
        write_delimited(stream, header, found.lines(), style)
    else:
        items = [dict(zip(header, map(_item, line), strict=True)) for line in found.lines()]
        if style.form == "jsonl":
            write_json(stream, [{"schema": schema, **item} for item in items], style)
        else:
            write_json(stream, {"schema": schema, "rows": items}, style)


def _item(cell: Any) -> Any:  # noqa: ANN401
    return finite(cell) if isinstance(cell, float) else cell


def _draw(stream: BinaryIO, found: Tabular, style: Style) -> None:
    from qkvcli.render.console import drawing

    lines = list(found.lines())
    columns = [
        Column(name, numeric=any(isinstance(line[i], int | float) for line in lines))
        for i, name in enumerate(found.header())
    ]
    rows = [
        [
            brief(repr(cell)) if isinstance(cell, float) else "" if cell is None else str(cell)
            for cell in line
        ]
        for line in lines
    ]
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        screen.print(table(columns, rows, screen.width))
