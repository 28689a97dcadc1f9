"""Lookups drawn as tables for a person: the matches, and below them what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.render.console import drawing
from qkvcli.render.escape import visible
from qkvcli.render.matches import cells, shown_values, weight_names
from qkvcli.render.steps import explanation
from qkvcli.render.tables import Column, brief, lines, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from rich.console import RenderableType
    from rich.text import Text

    from qkvcli.answer import Found, Lookup, Value
    from qkvcli.render.style import Style

_SHOWN = 4
"""How many shares of a text column the line below a table names."""


def draw_lookup(stream: BinaryIO, answer: Lookup, style: Style) -> None:
    """Draw a lookup as tables for a person, one a query."""
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        for number, found in enumerate(answer.found):
            if number:
                screen.print()
            for part in _panels(answer, found, screen.width, explain=style.explain):
                screen.print(part)


def _panels(answer: Lookup, found: Found, width: int, *, explain: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(visible(found.query), style="bold")
    if found.matches:
        rows = [row[1:] for row in cells(answer, found, explain=False)]
        columns = _columns(answer, rows)
        yield table(columns, _rounded(rows, columns), width)
    else:
        nothing = "no key has so much weight" if found.answered else "no key is attended to"
        yield Text(nothing, style="yellow")
    yield lines(list(_summary(answer, found)), width)
    if explain:
        yield from explanation(answer, found, width)


def _columns(answer: Lookup, rows: list[list[str]]) -> list[Column]:
    """Return the column of each cell."""
    columns = answer.about.columns
    found = [Column("rank", numeric=True)]
    for i, name in enumerate(columns.key, 1):
        found.append(Column(name, numeric=columns.numeric_key and _are_numbers(r[i] for r in rows)))
    found += [Column(columns.value[i], numeric=i in columns.numeric) for i in shown_values(answer)]
    found.append(Column("score", numeric=True, rounded=True))
    for name in weight_names(answer):
        found.append(Column(name.removeprefix("weight_"), numeric=True, rounded=True))
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
        answer.modes, found.answers, found.perplexities, found.left_out, strict=True
    ):
        label = mode if len(answer.modes) > 1 else ""
        if values is None:
            yield label, [Text("no answer", style="yellow")]
            continue
        named = zip(answer.about.columns.value, values, strict=True)
        shown = visible("; ".join(_shown_value(name, value) for name, value in named))
        parts = [Text("answer ", style="dim").append(shown, style="not dim bold")]
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
