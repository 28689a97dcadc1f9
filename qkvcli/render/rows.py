"""Tables of any columns rendered: drawn, as delimited rows, or as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qkvcli.render.machine import finite, write_delimited, write_json

if TYPE_CHECKING:
    from typing import BinaryIO

    from qkvcli.answer import Tabular
    from qkvcli.render.machine import Style

FORMATS = ("table", "tsv", "csv", "json", "jsonl")


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
    from qkvcli.render.tables import Column, brief, table

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
