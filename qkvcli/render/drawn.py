"""Lookups drawn as tables for a person: the matches, and below them what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.answer import by_mode
from qkvcli.render.console import drawing
from qkvcli.render.escape import visible
from qkvcli.render.machine import shortest
from qkvcli.render.steps import explanation
from qkvcli.render.tables import Column, brief, lines, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from rich.text import Text

    from qkvcli.answer import Found, Lookup, Value
    from qkvcli.render.machine import Style

_LABEL = 24
"""How many cells of a query are shown before what it comes to, where there are several."""
_SHOWN = 4
"""How many shares of a text column the line below a table names."""


def draw_lookup(stream: BinaryIO, answer: Lookup, style: Style) -> None:
    """Draw a lookup for a person: its matches as one table, and below it what they come to."""
    from rich.text import Text

    several = len(answer.found) > 1
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        if not several:
            screen.print(Text(visible(answer.found[0].query), style="bold"))
        if rows := [row for found in answer.found for row in _rows(answer, found)]:
            columns = [Column("query"), *_columns(answer, rows)]
            start = 0 if several else 1
            cut = [row[start:] for row in _rounded(rows, columns)]
            screen.print(table(columns[start:], cut, screen.width))
        labels = _labels([found.query for found in answer.found]) if several else [""]
        entries = [
            (f"{label}  {mode}".strip(), parts)
            for label, found in zip(labels, answer.found, strict=True)
            for mode, parts in _summary(answer, found)
        ]
        screen.print(lines(entries, screen.width))
        for found in answer.found if style.explain else ():
            if several:
                screen.print()
                screen.print(Text(visible(found.query), style="bold"))
            for part in explanation(answer, found, screen.width):
                screen.print(part)


def _labels(queries: list[str]) -> list[str]:
    """Return queries of one width, the long ones cut."""
    from rich.cells import cell_len, set_cell_size

    shown = [visible(query) for query in queries]
    width = min(max(map(cell_len, shown)), _LABEL)
    return [
        text + " " * (width - cell_len(text))
        if cell_len(text) <= width
        else f"{set_cell_size(text, width - 1)}…"
        for text in shown
    ]


def _rows(answer: Lookup, found: Found) -> list[list[str]]:
    """Return a row of cells for each match, the query in the first alone."""
    nulls = len(found.no_match)
    rows = [
        [cell if isinstance(cell, str) else shortest(cell) for cell in row[: len(row) - nulls]]
        for row in answer.lines_of(found)
    ]
    if any(found.no_match):
        keys = ["(no match)", *[""] * (len(answer.about.columns.key) - 1)]
        blank = [""] * len(answer.about.shown)
        score = [shortest(answer.about.null_score)] * len(answer.score_names)
        rows.append([found.query, "", *keys, *blank, *score, *map(shortest, found.no_match)])
    return rows[:1] + [["", *row[1:]] for row in rows[1:]]


def _columns(answer: Lookup, rows: list[list[str]]) -> list[Column]:
    """Return the column of each cell after the query's."""
    columns = answer.about.columns
    found = [Column("rank", numeric=True)]
    for i, name in enumerate(columns.key, 1):
        found.append(
            Column(name, numeric=columns.numeric_key and _are_numbers(r[i + 1] for r in rows))
        )
    found += [Column(columns.value[i], numeric=i in columns.numeric) for i in answer.about.shown]
    for name in answer.score_names:
        found.append(Column(name.removeprefix("score_"), numeric=True, rounded=True))
    for name in by_mode("weight", answer.names):
        short = ("α " if answer.scores else "") + name.removeprefix("weight_")
        found.append(Column(short, numeric=True, rounded=True))
    return found


def _are_numbers(texts: Iterator[str]) -> bool:
    """Return whether keys are numbers; those of arrays may have names."""
    try:
        return all(float(text) is not None for text in texts)
    except ValueError:
        return False


def _rounded(rows: list[list[str]], columns: list[Column]) -> list[list[str]]:
    return [
        [brief(cell) if c.rounded else cell for cell, c in zip(row, columns, strict=True)]
        for row in rows
    ]


def _summary(answer: Lookup, found: Found) -> Iterator[tuple[str, list[Text]]]:
    """Yield for each mode its name, where there are several, and what its weights come to."""
    from rich.text import Text

    for mode, values, perplexity, (rows, weight) in zip(
        answer.names, found.answers, found.perplexities, found.left_out, strict=True
    ):
        label = mode if len(answer.modes) > 1 else ""
        if values is None:
            nothing = "no answer" if found.matches else "no key is attended to"
            yield label, [Text(nothing, style="yellow")]
            continue
        parts = [] if found.matches else [Text("no key has so much weight", style="yellow")]
        named = zip(answer.about.columns.value, values, strict=True)
        shown = visible("; ".join(_shown_value(name, value) for name, value in named))
        parts.append(Text("answer ", style="dim").append(shown, style="not dim bold"))
        parts.append(Text(f"perplexity {perplexity:.3g}", style="dim"))
        if weight > 0:
            text = f"left out: {rows} rows, weight {brief(repr(weight))}"
            parts.append(Text(text, style="dim"))
        yield label, parts


def _shown_value(name: str, value: Value | None) -> str:
    if value is None:
        return f"{name}: too many distinct texts to pool"
    if isinstance(value, float):
        return f"{name} {value:.6g}"
    if len(value) == 1 or value[0][1] == 1:
        return value[0][0]
    shown = ", ".join(f"{text} {brief(repr(share))}" for text, share in value[:_SHOWN])
    return shown + (", …" if len(value) > _SHOWN else "")
