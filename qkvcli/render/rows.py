"""Tables of any columns rendered: drawn, as delimited rows, or as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qkvcli.render.machine import finite, shortest, write_delimited, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from qkvcli.render.style import Style

FORMATS = ("table", "tsv", "csv", "json", "jsonl")


class Rows(Protocol):
    """What has a header and lines: of text, numbers, and None where there is nothing."""

    def header(self) -> list[str]:
        """Return the names of the columns."""

    def lines(self) -> Iterable[list[Any]]:
        """Yield the rows."""


def write(stream: BinaryIO, found: Rows, style: Style, schema: str) -> None:
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
        rows = ([_cell(cell) for cell in line] for line in found.lines())
        write_delimited(stream, header, rows, style)
    else:
        items = [dict(zip(header, map(_item, line), strict=True)) for line in found.lines()]
        if style.form == "jsonl":
            write_json(stream, [{"schema": schema, **item} for item in items], style)
        else:
            write_json(stream, {"schema": schema, "rows": items}, style)


def _cell(cell: Any) -> str:  # noqa: ANN401 - text, a number or nothing
    if isinstance(cell, float):
        return shortest(cell)
    return "" if cell is None else str(cell)


def _item(cell: Any) -> Any:  # noqa: ANN401
    return finite(cell) if isinstance(cell, float) else cell


def _draw(stream: BinaryIO, found: Rows, style: Style) -> None:
    from qkvcli.render.console import drawing
    from qkvcli.render.tables import Column, brief, table

    lines = list(found.lines())
    columns = [
        Column(name, numeric=any(isinstance(line[i], int | float) for line in lines))
        for i, name in enumerate(found.header())
    ]
    rows = [
        [brief(repr(cell)) if isinstance(cell, float) else _cell(cell) for cell in line]
        for line in lines
    ]
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        screen.print(table(columns, rows, screen.width))
