"""Pooled values rendered: a table, rows, a document, or arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.answer import Runs, pooled
from qkvcli.render.machine import (
    bandwidth_item,
    distinct,
    finite,
    shortest,
    value_text,
    write_delimited,
    write_json,
    write_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from qkvcli.answer import Answer, Pool
    from qkvcli.render.style import Style

SCHEMA = "qkv.pool/1"
FORMATS = ("tsv", "csv", "json", "jsonl", "value", "npy", "npz")
_SHOWN = 6
"""How many shares of a text column a person is shown."""


def write(stream: BinaryIO, answer: Pool, style: Style) -> None:
    """Write pooled values in one of the formats."""
    if style.form in ("npy", "npz"):
        _write_arrays(stream, answer, style.form)
    elif style.form in ("tsv", "csv"):
        write_delimited(stream, _header(answer), _rows(answer), style)
    elif style.form == "value":
        write_lines(stream, _value_lines(answer), style)
    elif style.form == "table":
        _draw(stream, answer, style)
    elif style.form == "jsonl":
        items = _document(answer)["queries"]
        write_json(stream, [{"schema": SCHEMA, **item} for item in items], style)
    else:
        write_json(stream, _document(answer), style)


def _query_columns(answer: Pool) -> list[str]:
    """Return what a query's cells are called: the key columns of a table of numbers."""
    columns = answer.columns
    of_vectors = columns.key in (("key",), ("row",))  # of an array, or of a column of lists
    if columns.numeric_key and not of_vectors and any(answer.queries):
        return list(columns.key)
    return ["query"]


def _query_cells(answer: Pool, label: str) -> list[str]:
    columns = _query_columns(answer)
    cells = [cell.strip() for cell in label.split(",")]
    return cells if len(cells) == len(columns) else [label, *[""] * (len(columns) - 1)]


def _lead_columns(answer: Pool) -> list[str]:
    return {0: [], 1: ["head"], 2: ["batch", "head"]}[len(answer.lead)]


def _labels(answer: Pool) -> list[tuple[str, ...]]:
    """Return the labels of each text column over all heads, which share them."""
    return [share.labels if share else () for share in answer.answers[0].shares]


def _value_columns(answer: Pool) -> list[str]:
    columns = answer.columns
    labels = dict(zip(columns.texts, _labels(answer), strict=True))
    names = []
    for position, name in enumerate(columns.value):
        names.append(name)
        names += [f"{name}={label}" for label in labels.get(position, ())]
    return names


def _slope_columns(answer: Pool) -> list[str]:
    if answer.answers[0].jacobian is None:
        return []
    depth = answer.answers[0].jacobian.shape[2]
    keys = answer.columns.key if len(answer.columns.key) == depth else range(1, depth + 1)
    names = [answer.columns.value[i] for i in answer.columns.numbers]
    for position, labels in zip(answer.columns.texts, _labels(answer), strict=True):
        names += [f"{answer.columns.value[position]}={label}" for label in labels]
    return [f"d({name})/d({key})" for name in names for key in keys]


def _header(answer: Pool) -> list[str]:
    names = [*_lead_columns(answer), *_query_columns(answer), *_value_columns(answer)]
    has_keys = answer.answers[0].perplexity is not None
    return distinct([*names, *(["perplexity"] if has_keys else []), *_slope_columns(answer)])


def _rows(answer: Pool) -> Iterator[list[str]]:
    for head, one in zip(answer.heads, answer.answers, strict=True):
        for query, label in enumerate(answer.queries):
            cells = [
                *map(str, head),
                *_query_cells(answer, label),
                *_value_cells(answer, one, query),
            ]
            if one.perplexity is not None:
                cells.append(shortest(one.perplexity[query]))
            yield cells + [shortest(x) for x in _slopes(one, query)]


def _value_cells(answer: Pool, one: Answer, query: int) -> list[str]:
    shares = dict(zip(answer.columns.texts, one.shares, strict=True))
    cells = []
    for position, value in enumerate(pooled(one, query, answer.columns)):
        share = shares.get(position)
        if share is None:
            cells.append(shortest(value if isinstance(value, float) else None))
            continue
        cells.append(value_text(value) if isinstance(value, tuple) and value else "")
        cells += [shortest(weight) for weight in share.weights[query]]
    return cells


def _slopes(one: Answer, query: int) -> list[float]:
    if one.jacobian is None:
        return []
    parts = [one.jacobian[query], *(j[query] for j in one.share_jacobians if j is not None)]
    return [float(x) for part in parts for x in part.ravel()]


def _value_lines(answer: Pool) -> Iterator[str]:
    for one in answer.answers:
        for query in range(len(answer.queries)):
            values = pooled(one, query, answer.columns)
            yield "\t".join(value_text(v) if v is not None and v != () else "" for v in values)


def _document(answer: Pool) -> dict[str, Any]:
    items = [
        _item(answer, head, one, query, label)
        for head, one in zip(answer.heads, answer.answers, strict=True)
        for query, label in enumerate(answer.queries)
    ]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "source": answer.source,
        "rows": answer.answers[0].rows,
        "mode": answer.mode,
        "score": answer.score or None,
        "temperature": finite(answer.temperature),
    }
    return {**document, **bandwidth_item(answer), "queries": items}


def _item(
    answer: Pool, head: tuple[int, ...], one: Answer, query: int, label: str
) -> dict[str, Any]:
    answered = bool(one.answered[query])
    values = zip(answer.columns.value, pooled(one, query, answer.columns), strict=True)
    item: dict[str, Any] = dict(zip(_lead_columns(answer), head, strict=True))
    item["query"] = label
    item["answer"] = {name: _json_value(value) for name, value in values} if answered else None
    if one.perplexity is not None:
        item["perplexity"] = finite(one.perplexity[query])
    if one.jacobian is not None:
        names = _slope_columns(answer)
        item["jacobian"] = dict(zip(names, map(finite, _slopes(one, query)), strict=True))
    return item


def _json_value(value: float | tuple[tuple[str, float], ...] | None) -> Any:  # noqa: ANN401
    return dict(value) if isinstance(value, tuple) else finite(value)


def _write_arrays(stream: BinaryIO, answer: Pool, form: str) -> None:
    from qkvcli.render.arrays import texts, whole, write_npy, write_npz

    values = _stacked(answer, [_columns_of(one) for one in answer.answers])
    if form == "npy":
        write_npy(stream, whole(values))
        return
    first = answer.answers[0]
    arrays: dict[str, Runs] = {"pooled": whole(values)}
    if first.perplexity is not None:
        found = [one.perplexity for one in answer.answers if one.perplexity is not None]
        arrays["perplexity"] = whole(_stacked(answer, found))
    if first.jacobian is not None:
        arrays["jacobian"] = whole(_stacked(answer, [_jacobian_of(one) for one in answer.answers]))
    arrays["query_labels"] = texts(answer.queries)
    columns = answer.columns
    names = [columns.value[i] for i in columns.numbers]
    for position, labels in zip(columns.texts, _labels(answer), strict=True):
        names += [f"{columns.value[position]}={label}" for label in labels]
    arrays["value_labels"] = texts(names)
    write_npz(stream, arrays)


def _columns_of(one: Answer) -> NDArray[np.float64]:
    """Return the numbers and the shares side by side, (Q, Dv + C)."""
    return np.concatenate([one.numbers, *(s.weights for s in one.shares if s)], axis=1)


def _jacobian_of(one: Answer) -> NDArray[np.float64]:
    if one.jacobian is None:
        raise AssertionError
    return np.concatenate(
        [one.jacobian, *(j for j in one.share_jacobians if j is not None)], axis=1
    )


def _stacked(answer: Pool, parts: list[NDArray[np.float64]]) -> NDArray[np.floating]:
    stack = np.stack(parts).astype(answer.dtype)
    return stack.reshape(*answer.lead, *stack.shape[1:])


def _draw(stream: BinaryIO, answer: Pool, style: Style) -> None:
    from qkvcli.render.console import drawing
    from qkvcli.render.tables import Column, table

    has_keys = answer.answers[0].perplexity is not None
    columns = [Column(name, numeric=True) for name in _lead_columns(answer)]
    columns += [Column(name) for name in _query_columns(answer)]
    columns += [
        Column(name, numeric=i in answer.columns.numbers)
        for i, name in enumerate(answer.columns.value)
    ]
    columns += [Column("effective keys", numeric=True)] if has_keys else []
    columns += [Column(name, numeric=True) for name in _slope_columns(answer)]
    rows = [
        [*map(str, head), *_query_cells(answer, label), *_drawn(answer, one, query)]
        for head, one in zip(answer.heads, answer.answers, strict=True)
        for query, label in enumerate(answer.queries)
    ]
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        screen.print(table(columns, rows, screen.width))


def _drawn(answer: Pool, one: Answer, query: int) -> list[str]:
    cells = []
    for value in pooled(one, query, answer.columns):
        if isinstance(value, tuple):
            more = ", …" if len(value) > _SHOWN else ""
            cells.append(", ".join(f"{t} {share:.3f}" for t, share in value[:_SHOWN]) + more)
        else:
            cells.append("" if value is None or math.isnan(value) else f"{value:.6g}")
    if one.perplexity is not None:
        number = one.perplexity[query]
        cells.append("" if math.isnan(number) else f"{number:.4g}")
    return cells + ["" if math.isnan(x) else f"{x:.4g}" for x in _slopes(one, query)]
