"""How each weight of a lookup comes about, step by step: a score, ÷ T, exp, ÷ Σ, × value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qkvcli.answer import distinct
from qkvcli.attention.weights import APPROXIMATE, AVERAGE, EXACT, NEIGHBORS_RULE, RULES, SOFTMAX
from qkvcli.render.escape import visible
from qkvcli.render.machine import shortest
from qkvcli.render.tables import Column, brief, lines, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from qkvcli.answer import Found, Lookup, Match, Value

_ORIGINS = 3
"""Of how many keys it is shown where their scores come from."""
_LARGEST = 700.0
"""Up to which exponent exp is a double."""


def explained(answer: Lookup) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the lines of a lookup, with the columns that explain the weights."""
    names = ("temperature", "logit", "rule")
    columns = [f"{name}_{column}" for column in answer.names for name in names]
    header = distinct([*answer.header(), *(names if len(answer.modes) == 1 else columns)])
    lines = []
    matches = (match for found in answer.found for match in found.matches)
    for line, match in zip(answer.lines(), matches, strict=True):
        for at, (mode, heat) in enumerate(zip(answer.modes, answer.temperatures, strict=True)):
            line += [heat, logit(answer, at, match), rule_of(answer, mode)]
        lines.append(line)
    return header, lines


def rule_of(answer: Lookup, mode: str) -> str:
    """Return the line of the table of modes that applies."""
    if mode == APPROXIMATE and (answer.about.neighbors or 1) > 1:
        return NEIGHBORS_RULE.format(answer.about.neighbors)
    return RULES[mode]


def logit(answer: Lookup, at: int, match: Match) -> float:
    """Return what the softmax of a column is taken of for a key, as the table of modes has it.

    A key beyond the ``neighbors`` best has none; any other, however little its weight.
    """
    mode, weight = answer.modes[at], match.weights[at]
    if mode in (EXACT, APPROXIMATE) or (weight == 0 and answer.about.neighbors and mode == SOFTMAX):
        return 0.0 if weight > 0 else -math.inf
    score = score_of(answer, at, match)
    return 0.0 if mode == AVERAGE or score is None else score / answer.temperatures[at]


def score_of(answer: Lookup, at: int, match: Match) -> float | None:
    """Return the score that a column's weight of a key is of."""
    return match.scores[at] if answer.scores else match.score


def explanation(answer: Lookup, found: Found, width: int) -> Iterator[RenderableType]:
    """Yield the rule of each mode, and under a softmax's the steps of every listed key."""
    from rich.text import Text

    for at, (mode, temperature) in enumerate(zip(answer.modes, answer.temperatures, strict=True)):
        yield Text()
        parts = [f"T = {shortest(temperature)}", f"log-weight {rule_of(answer, mode)}"]
        yield lines([(answer.names[at], [Text(part, style="dim") for part in parts])], width)
        if mode == SOFTMAX and any(match.weights[at] > 0 for match in found.matches):
            yield table(_columns(answer), _rows(answer, found, at), width)
        if at == 0 or answer.scores:
            yield from _origins(found, at, width)


def _origins(found: Found, at: int, width: int) -> Iterator[RenderableType]:
    """Yield where the scores of the best keys come from: their words side by side, or edits."""
    from rich.text import Text

    for match in found.matches[:_ORIGINS]:
        if at >= len(match.origins):
            return
        one = match.origins[at]
        if one.shares:
            yield Text()
            columns = [Column("feature"), *(Column(n, numeric=True) for n in ("is", "adds"))]
            shares = [[name, brief(repr(x)), brief(repr(part))] for name, x, part in one.shares]
            total = brief(repr(min(1.0, math.fsum(part for _, _, part in one.shares))))
            shown = [*shares, [visible(f"score of {one.key[0]}"), "", total]]
            yield table(columns, shown, width)
            continue
        if not one.likeness:
            edits = ", ".join(one.edits) or "no edit"
            yield Text(visible(f"{one.query[0]} is made {one.key[0]} by: {edits}"), style="dim")
            continue
        yield Text()
        columns = [Column("takes"), *(Column(word, numeric=True) for word in one.key)]
        rows = []
        for word, row, weight in zip(one.query, one.likeness, one.query_weights, strict=True):
            best = max(row, default=0.0)
            cells = [f"{brief(repr(x))}{'*' if x == best else ''}" for x in row]
            rows.append([word, *cells, brief(repr(weight))])
        rare = [brief(repr(weight)) for weight in one.key_weights]
        yield table(
            [*columns, Column("rarity", numeric=True)], [*rows, ["rarity", *rare, ""]], width
        )


def _columns(answer: Lookup) -> list[Column]:
    columns = answer.about.columns
    steps = [Column(name, numeric=True) for name in ("score", "÷ T", "exp", "÷ Σ")]
    values = [Column(f"× {columns.value[i]}", i in columns.numeric) for i in answer.about.shown]
    return [Column(" ".join(columns.key)), *steps, *values]


def _rows(answer: Lookup, found: Found, at: int) -> list[list[str]]:
    """Return a row of cells for each listed key, and one for the sum over all keys."""
    temperature, shown = answer.temperatures[at], answer.about.shown
    rows: list[list[str]] = []
    total = -math.inf  # log Σ, as any weight tells it
    for match in found.matches:
        score = score_of(answer, at, match)
        if score is None or match.weights[at] <= 0:
            continue  # beyond the neighbours, or too faint for a double
        weight, exponent = match.weights[at], score / temperature
        if not rows:
            total = exponent - math.log(weight)
        steps = [
            brief(repr(score)),
            brief(repr(exponent)),
            _exp(exponent),
            brief(repr(weight)),
        ]
        values = [match.record.value[i] for i in shown]
        rows.append([" ".join(match.record.key), *steps, *values])
    null = answer.about.null_score
    if null is not None and found.no_match:
        if not rows:
            total = null / temperature - math.log(found.no_match[at])
        exponent = null / temperature
        steps = [brief(repr(x)) for x in (null, exponent)] + [_exp(exponent)]
        rows.append(["(no match)", *steps, brief(repr(found.no_match[at])), *[""] * len(shown)])
    few = answer.about.neighbors
    keys = "all keys" if few is None else f"the {few} best"
    pooled = found.answers[at] or ()
    sums = [_sum(pooled[i]) for i in shown] if pooled else [""] * len(shown)
    return [*rows, [f"Σ {keys}", "", "", _exp(total), "1", *sums]]


def _exp(exponent: float) -> str:
    """Return exp of a number, rounded, also where no double is so large or so small."""
    if abs(exponent) < _LARGEST:
        return brief(repr(math.exp(exponent)))
    digits = exponent / math.log(10)
    power = math.floor(digits)
    return f"{10 ** (digits - power):.2f}e{power:+03d}"


def _sum(value: Value | None) -> str:
    """Return what a column comes to: its mean, or the text with the most weight."""
    if value is None:
        return ""
    return (
        f"{value:.6g}" if isinstance(value, float) else f"{value[0][0]} {brief(repr(value[0][1]))}"
    )
