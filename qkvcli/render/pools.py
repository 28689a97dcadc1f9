"""Pooled values rendered: a table, rows, a document, or arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.answer import distinct, head_columns, pooled
from qkvcli.render.machine import (
    bandwidth_item,
    finite,
    value_text,
    write_delimited,
    write_json,
    write_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    from qkvcli.answer import About, Answer
    from qkvcli.render.arrays import Runs
    from qkvcli.render.machine import Style

SCHEMA = "qkv.pool/1"
FORMATS = ("tsv", "csv", "json", "jsonl", "value", "npy", "npz")
_SHOWN = 6
"""How many shares of a text column a person is shown."""


def write(stream: BinaryIO, answer: Answer, style: Style) -> None:
    """Write pooled values in one of the formats."""
    if style.form in ("npy", "npz"):
        _write_arrays(stream, answer, style.form)
    elif style.form in ("tsv", "csv"):
        write_delimited(stream, *_header_and_rows(answer), style)
    elif style.form == "value":
        write_lines(stream, _value_lines(answer), style)
    elif style.form == "table":
        _draw(stream, answer, style)
    elif style.form == "jsonl":
        items = _document(answer)["queries"]
        write_json(stream, [{"schema": SCHEMA, **item} for item in items], style)
    else:
        write_json(stream, _document(answer), style)


def _about(answer: Answer) -> About:
    """Return the question, which every answer of a database has."""
    if answer.about is None:
        raise TypeError(answer)
    return answer.about


def _heads(answer: Answer) -> Iterator[tuple[tuple[int, ...], Answer]]:
    """Yield each head's index and answer."""
    for head in _about(answer).heads:
        yield head, answer.head(head)


def _query_columns(answer: Answer) -> list[str]:
    """Return what a query's cells are called: the key columns of a table of numbers."""
    columns = _about(answer).columns
    of_vectors = columns.key in (("key",), ("row",))  # of an array, or of a column of lists
    if columns.numeric_key and not of_vectors and any(_about(answer).queries):
        return list(columns.key)
    return ["query"]


def _query_cells(label: str, width: int) -> list[str]:
    """Return a query's label as so many cells."""
    cells = [cell.strip() for cell in label.split(",")]
    return cells if len(cells) == width else [label, *[""] * (width - 1)]


def _head_columns(answer: Answer) -> list[str]:
    return head_columns(_about(answer).batch_shape)


def _slope_columns(answer: Answer) -> list[str]:
    if answer.jacobian is None:
        return []
    depth, columns = answer.jacobian.shape[-1], _about(answer).columns
    keys = columns.key if len(columns.key) == depth else range(1, depth + 1)
    names = _pooled_columns(answer)
    return [f"d({name})/d({key})" for name in names for key in keys]


def _pooled_columns(answer: Answer) -> list[str]:
    """Return what pooled numbers are called: numeric columns, and then each text and its label."""
    columns = _about(answer).columns
    names = [columns.value[i] for i in columns.numeric]
    for position, part in zip(columns.text, answer.labels, strict=True):
        names += [f"{columns.value[position]}={label}" for label in (part.labels if part else ())]
    return names


def _header_and_rows(answer: Answer) -> tuple[list[str], Iterable[Sequence[Any]]]:
    """Return the names of the columns, and a row for each query of each head."""
    about, names = _about(answer), _query_columns(answer)
    queries = [_query_cells(label, len(names)) for label in about.queries]
    columns: list[tuple[str, Sequence[Any]]] = [
        *zip(_head_columns(answer), answer.places, strict=True),
        *zip(names, zip(*queries * len(about.heads), strict=True), strict=True),
        *answer.value_columns,
    ]
    of_fit = [part for part in _FIT if getattr(answer, part) is not None]
    cells = [
        getattr(answer, part)[..., at].ravel().tolist()
        for at in range(len(about.columns.numeric))
        for part in of_fit
    ]
    columns += zip(_fit_columns(answer), cells, strict=True)
    for name in ("perplexity", "no_match"):
        if (part := getattr(answer, name)) is not None:
            columns.append((name, part.ravel().tolist()))
    if answer.jacobian is not None:
        slopes = _side_by_side(answer.jacobian, answer.label_jacobians, -2)
        flat = slopes.reshape(answer.answered.size, -1).T.tolist()
        columns += zip(_slope_columns(answer), flat, strict=True)
    header = distinct(name for name, _ in columns)
    return header, zip(*(cells for _, cells in columns), strict=True)


_FIT = {"std_error": "std_error", "lower": "lower", "upper": "upper", "residuals": "residual"}
"""What is known of a fit beside it: the parts of an answer, and what their columns are called."""


def _fit_columns(answer: Answer) -> list[str]:
    columns = _about(answer).columns
    parts = [word for part, word in _FIT.items() if getattr(answer, part) is not None]
    return [f"{columns.value[i]}_{word}" for i in columns.numeric for word in parts]


def _fit_cells(one: Answer, query: int) -> list[float]:
    parts = [found for part in _FIT if (found := getattr(one, part)) is not None]
    return [
        float(x) for column in zip(*(part[query] for part in parts), strict=True) for x in column
    ]


def _slopes(one: Answer, query: int) -> list[float]:
    if one.jacobian is None:
        return []
    parts = [one.jacobian[query], *(j[query] for j in one.label_jacobians if j is not None)]
    return [float(x) for part in parts for x in part.ravel()]


def _value_lines(answer: Answer) -> Iterator[str]:
    for _, one in _heads(answer):
        for query in range(len(_about(answer).queries)):
            values = pooled(one, query, _about(answer).columns)
            yield "\t".join(value_text(v) if v is not None and v != () else "" for v in values)


def _document(answer: Answer) -> dict[str, Any]:
    items = [
        _item(answer, head, one, query, label)
        for head, one in _heads(answer)
        for query, label in enumerate(_about(answer).queries)
    ]
    about = _about(answer)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "source": about.source,
        "rows": answer.rows,
        "mode": answer.mode,
        "score": about.score or None,
        "temperature": finite(about.temperature),
    }
    if about.degree:
        document["degree"] = about.degree
    if answer.measures is not None:
        document["leave_one_out"] = {name: m.known for name, m in answer.measures.items()}
    return {**document, **bandwidth_item(about), "queries": items}


def _item(
    answer: Answer, head: tuple[int, ...], one: Answer, query: int, label: str
) -> dict[str, Any]:
    answered = bool(one.answered[query])
    columns = _about(answer).columns
    values = zip(columns.value, pooled(one, query, columns), strict=True)
    item: dict[str, Any] = dict(zip(_head_columns(answer), head, strict=True))
    item["query"] = label
    item["answer"] = {name: _json_value(value) for name, value in values} if answered else None
    if one.perplexity is not None:
        item["perplexity"] = finite(one.perplexity[query])
    if one.no_match is not None:
        item["no_match"] = finite(one.no_match[query])
    item |= dict(zip(_fit_columns(answer), map(finite, _fit_cells(one, query)), strict=True))
    if one.jacobian is not None:
        names = _slope_columns(answer)
        item["jacobian"] = dict(zip(names, map(finite, _slopes(one, query)), strict=True))
    return item


def _json_value(value: float | tuple[tuple[str, float], ...] | None) -> Any:  # noqa: ANN401
    return dict(value) if isinstance(value, tuple) else finite(value)


def _write_arrays(stream: BinaryIO, answer: Answer, form: str) -> None:
    from qkvcli.render.arrays import texts, whole, write_npy, write_npz

    values = _side_by_side(
        answer.output, (part.weights if part else None for part in answer.labels), -1
    )
    if form == "npy":
        write_npy(stream, whole(values))
        return
    arrays: dict[str, Runs] = {"pooled": whole(values)}
    narrow = answer.output.dtype
    if answer.perplexity is not None:
        arrays["perplexity"] = whole(answer.perplexity.astype(narrow))
    if answer.no_match is not None:
        arrays["no_match"] = whole(answer.no_match)
    parts = (part for part in _FIT if getattr(answer, part) is not None)
    arrays |= {part: whole(getattr(answer, part)) for part in parts}
    if answer.jacobian is not None:
        slopes = _side_by_side(answer.jacobian, answer.label_jacobians, -2)
        arrays["jacobian"] = whole(slopes.astype(narrow))
    arrays["query_labels"] = texts(_about(answer).queries)
    arrays["value_labels"] = texts(_pooled_columns(answer))
    write_npz(stream, arrays)


def _side_by_side(
    numbers: NDArray[Any], of_labels: Iterable[NDArray[Any] | None], axis: int
) -> NDArray[Any]:
    """Return what there is of numbers and of each label along one axis."""
    return np.concatenate([numbers, *(part for part in of_labels if part is not None)], axis=axis)


def _draw(stream: BinaryIO, answer: Answer, style: Style) -> None:
    from qkvcli.render.console import drawing
    from qkvcli.render.tables import Column, table

    has_keys = answer.perplexity is not None
    columns = [Column(name, numeric=True) for name in _head_columns(answer)]
    columns += [Column(name) for name in _query_columns(answer)]
    columns += [
        Column(name, numeric=i in _about(answer).columns.numeric)
        for i, name in enumerate(_about(answer).columns.value)
    ]
    columns += [Column(name, numeric=True) for name in _fit_columns(answer)]
    columns += [Column("perplexity", numeric=True)] if has_keys else []
    columns += [Column("no match", numeric=True)] if answer.no_match is not None else []
    columns += [Column(name, numeric=True) for name in _slope_columns(answer)]
    width = len(_query_columns(answer))
    rows = [
        [*map(str, head), *_query_cells(label, width), *_drawn(answer, one, query)]
        for head, one in _heads(answer)
        for query, label in enumerate(_about(answer).queries)
    ]
    with drawing(stream, style.color, terminal=style.terminal) as screen:
        screen.print(table(columns, rows, screen.width))


def _drawn(answer: Answer, one: Answer, query: int) -> list[str]:
    cells = []
    for value in pooled(one, query, _about(answer).columns):
        if isinstance(value, tuple):
            more = ", …" if len(value) > _SHOWN else ""
            cells.append(", ".join(f"{t} {share:.3f}" for t, share in value[:_SHOWN]) + more)
        else:
            cells.append("" if value is None or math.isnan(value) else f"{value:.6g}")
    cells += ["" if math.isnan(x) else f"{x:.6g}" for x in _fit_cells(one, query)]
    if one.perplexity is not None:
        number = one.perplexity[query]
        cells.append("" if math.isnan(number) else f"{number:.4g}")
    if one.no_match is not None:
        cells.append(f"{one.no_match[query]:.3g}")
    return cells + ["" if math.isnan(x) else f"{x:.4g}" for x in _slopes(one, query)]
