"""Lookups drawn as tables for a person: the matches, and below them what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.render.console import drawing
from qkvcli.render.escape import visible
from qkvcli.render.machine import shortest
from qkvcli.render.matches import cells, explained, rule_of, shown_values, weight_names
from qkvcli.render.tables import Column, lines, table

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
        rows = [row[1:] for row in cells(answer, found, explain=explain)]
        columns = _columns(answer, rows, explain=explain)
        yield table([c for c in columns if c], _kept(rows, columns), width)
    else:
        nothing = "no key has so much weight" if found.answered else "no key is attended to"
        yield Text(nothing, style="yellow")
    yield lines(list(_summary(answer, found)), width)
    if explain:
        yield lines(list(_rules(answer)), width)


def _columns(answer: Lookup, rows: list[list[str]], *, explain: bool) -> list[Column | None]:
    """Return the column of each cell; None where it is the same for all, and stands below."""
    columns = answer.about.columns
    found: list[Column | None] = [Column("rank", numeric=True)]
    for i, name in enumerate(columns.key, 1):
        found.append(Column(name, numeric=columns.numeric_key and _are_numbers(r[i] for r in rows)))
    found += [Column(columns.value[i], numeric=i in columns.numeric) for i in shown_values(answer)]
    found.append(Column("score", numeric=True, rounded=True))
    for name in weight_names(answer):
        found.append(Column(name.removeprefix("weight_"), numeric=True, rounded=True))
    for name in explained(answer) if explain else ():
        log_weight = name.startswith("log_weight")
        found.append(Column(name, numeric=True, rounded=True) if log_weight else None)
    return found


def _are_numbers(texts: Iterator[str]) -> bool:
    """Return whether keys are numbers; those of arrays may have names."""
    try:
        return all(float(text) is not None for text in texts)
    except ValueError:
        return False


def _kept(rows: list[list[str]], columns: list[Column | None]) -> list[list[str]]:
    return [
        [brief(cell) if c.rounded else cell for cell, c in zip(row, columns, strict=True) if c]
        for row in rows
    ]


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
    if number and not 0.0005 <= abs(number) < 1e7:  # noqa: PLR2004
        return f"{number:.2e}"
    return f"{number:.3f}"


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


def _rules(answer: Lookup) -> Iterator[tuple[str, list[Text]]]:
    from rich.text import Text

    for mode, temperature in zip(answer.modes, answer.temperatures, strict=True):
        parts = [f"T = {shortest(temperature)}", f"log-weight {rule_of(answer, mode)}"]
        yield mode, [Text(part, style="dim") for part in parts]


def _shown_value(name: str, value: Value | None) -> str:
    if value is None:
        return f"{name}: too many distinct texts to pool"
    if isinstance(value, float):
        return f"{name} {value:.6g}"
    if len(value) == 1 or value[0][1] == 1:
        return value[0][0]
    shown = ", ".join(f"{text} {brief(repr(share))}" for text, share in value[:_SHOWN])
    return shown + (", …" if len(value) > _SHOWN else "")
