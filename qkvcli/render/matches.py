"""The rows of a lookup as text, for whoever writes or draws them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qkvcli.answer import by_mode, distinct
from qkvcli.attention.weights import APPROXIMATE, AVERAGE, EXACT, NEIGHBORS_RULE, RULES, SOFTMAX
from qkvcli.render.machine import shortest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.answer import Found, Lookup, Match


def shown_values(answer: Lookup) -> list[int]:
    """Return the value columns worth showing: a bare list of keys is its own values."""
    columns = answer.about.columns
    return [] if columns.value == columns.key else list(range(len(columns.value)))


def weight_names(answer: Lookup) -> list[str]:
    """Return what the columns of weights are called."""
    return by_mode("weight", answer.names)


def null_names(answer: Lookup) -> list[str]:
    """Return what the columns of the null key's weights are called, where there is one."""
    return by_mode("no_match", answer.names) if answer.has_null else []


def explained(answer: Lookup) -> list[str]:
    """Return what the columns that explain the weights are called."""
    names = ("temperature", "logit", "rule")
    if len(answer.modes) == 1:
        return list(names)
    return [f"{name}_{column}" for column in answer.names for name in names]


def header(answer: Lookup, *, explain: bool) -> list[str]:
    """Return the names of the columns of a machine's rows, all different."""
    values = [answer.about.columns.value[i] for i in shown_values(answer)]
    names = ["query", "rank", *answer.about.columns.key, *values]
    names += [*answer.score_names, *weight_names(answer)]
    names += null_names(answer)
    return distinct(names + (explained(answer) if explain else []))


def cells(answer: Lookup, found: Found, *, explain: bool) -> Iterator[list[str]]:
    """Yield a row of text for each match."""
    shown = shown_values(answer)
    for rank, match in enumerate(found.matches, 1):
        row = [found.query, str(rank), *match.record.key]
        row += [match.record.value[i] for i in shown]
        scores = match.scores if answer.scores else (match.score,)
        row += [*map(shortest, scores), *map(shortest, match.weights)]
        row += map(shortest, found.no_match)
        yield row + (_explanation(answer, match) if explain else [])


def _explanation(answer: Lookup, match: Match) -> list[str]:
    found = []
    for at, (mode, temperature) in enumerate(zip(answer.modes, answer.temperatures, strict=True)):
        found += [shortest(temperature), shortest(logit(answer, at, match)), rule_of(answer, mode)]
    return found


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
