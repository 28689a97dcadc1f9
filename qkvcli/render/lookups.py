"""Lookups rendered: a table for a person, rows for a pipe, a document for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qkvcli.render.machine import (
    bandwidth_item,
    finite,
    value_text,
    write_delimited,
    write_json,
    write_lines,
)

if TYPE_CHECKING:
    from typing import BinaryIO

    from qkvcli.answer import Found, Lookup, Match, Value
    from qkvcli.render.machine import Style

SCHEMA = "qkv.lookup/1"
_SHARES = 1_000
"""How many shares of a text column a document lists, the largest first."""


def write(stream: BinaryIO, answer: Lookup, style: Style) -> None:
    """Write a lookup in one of the formats."""
    if style.form in ("tsv", "csv"):
        if style.explain:
            from qkvcli.render.steps import explained

            write_delimited(stream, *explained(answer), style)
        else:
            write_delimited(stream, answer.header(), answer.lines(), style)
    elif style.form == "value":
        lines = (value_line(one) for one in answer.found)
        write_lines(stream, (line for line in lines if line is not None), style)
    elif style.form == "table":
        from qkvcli.render.drawn import draw_lookup  # for people only

        draw_lookup(stream, answer, style)
    else:
        write_json(stream, _document(answer, style), style)


def _document(answer: Lookup, style: Style) -> Any:  # noqa: ANN401
    items = [_item(answer, found, explain=style.explain) for found in answer.found]
    if style.form == "jsonl":
        return [{"schema": SCHEMA, **item} for item in items]
    return {**_head(answer), "queries": items}


def value_line(found: Found) -> str | None:
    """Return the answer alone: each value column's pooled number or likeliest text."""
    answer = next((answer for answer in found.answers if answer is not None), None)
    if answer is None:
        return None
    return "\t".join("" if value is None else value_text(value) for value in answer)


def _head(answer: Lookup) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "source": answer.about.source,
        "rows": answer.rows,
        "score": answer.about.score,
        "modes": [
            {"mode": mode, "temperature": finite(temperature)}
            for mode, temperature in zip(answer.modes, answer.temperatures, strict=True)
        ],
        **bandwidth_item(answer.about),
    }


def _item(answer: Lookup, found: Found, *, explain: bool) -> dict[str, Any]:
    per_mode = list(zip(answer.names, found.answers, strict=True))
    return {
        "query": found.query,
        "answered": found.answered,
        "matches": [
            _match_item(answer, match, rank, explain=explain)
            for rank, match in enumerate(found.matches, 1)
        ],
        "answers": {mode: _answer_item(answer, value) for mode, value in per_mode},
        "perplexity": {
            mode: finite(p) for mode, p in zip(answer.names, found.perplexities, strict=True)
        },
        **(
            {"no_match": dict(zip(answer.names, found.no_match, strict=True))}
            if found.no_match
            else {}
        ),
        "left_out": {
            mode: {"rows": rows, "weight": weight}
            for mode, (rows, weight) in zip(answer.names, found.left_out, strict=True)
        },
    }


def _match_item(answer: Lookup, match: Match, rank: int, *, explain: bool) -> dict[str, Any]:
    columns = answer.about.columns
    item: dict[str, Any] = {
        "rank": rank,
        "row": match.row,
        "key": dict(zip(columns.key, match.record.key, strict=True)),
        "value": dict(zip(columns.value, match.record.value, strict=True)),
        "score": finite(match.score),
        "weights": dict(zip(answer.names, match.weights, strict=True)),
    }
    if answer.scores:
        item["scores"] = dict(zip(answer.scores, match.scores, strict=True))
    if explain:
        from qkvcli.render.steps import logit, rule_of

        item["explain"] = {
            name: {
                "temperature": finite(answer.temperatures[at]),
                "logit": finite(logit(answer, at, match)),
                "rule": rule_of(answer, answer.modes[at]),
            }
            for at, name in enumerate(answer.names)
        }
    if explain and match.origins:
        names = answer.scores or answer.modes
        item["origins"] = {
            name: origin._asdict() for name, origin in zip(names, match.origins, strict=False)
        }
    return item


def _answer_item(answer: Lookup, values: tuple[Value | None, ...] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {
        name: dict(value[: min(answer.top, _SHARES)]) if isinstance(value, tuple) else finite(value)
        for name, value in zip(answer.about.columns.value, values, strict=True)
    }
