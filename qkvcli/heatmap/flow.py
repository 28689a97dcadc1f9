"""One lookup as a drawing: a query, keys, scores, weights, values, and the answer they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError
from qkvcli.heatmap.chart import COLOURS, Area, Chart, Mark, Polyline
from qkvcli.heatmap.layout import Box, Line, Text, fitted
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.answer import Lookup, Value

_WIDTH, _ROW, _SIZE, _TOP, _PAD = 520.0, 24.0, 9.0, 30.0, 6.0
_QUERY, _KEYS, _SCORE, _BAR, _VALUES, _ANSWER = 8.0, 120.0, 206.0, 254.0, 340.0, 450.0
_BOX, _TALL, _LONG = 74.0, 16.0, 50.0
_GREY, _THICK = "#9a9a9a", 6.0


def flow(answer: Lookup) -> Chart:
    """Return one query's lookup as a page: who is compared with whom, and how much each counts.

    Raises
    ------
    UsageError
        Several queries, or several modes or scores.
    """
    if len(answer.found) != 1 or len(answer.names) != 1:
        what = "query" if len(answer.found) != 1 else "--mode and one --score"
        raise UsageError(f"a drawing of a lookup is of one {what}")
    found = answer.found[0]
    texts: list[Text] = []
    lines: list[Line] = []
    marks: list[Mark] = []
    rows, weight = found.left_out[0]
    height = _TOP + _ROW * (len(found.matches) + bool(rows)) + 2 * _PAD
    height = max(height, _TOP + 3 * _ROW)
    middle = (_TOP + height - _PAD) / 2
    for title, place in (
        ("query", _QUERY + _BOX / 2),
        ("keys", _KEYS + _BOX / 2),
        ("scores a(q, k)", _SCORE + 14),
        ("weights α", _BAR + _LONG / 2),
        ("values", _VALUES + _BOX / 2 - 6),
        ("answer Σ α v", _ANSWER + _BOX / 2 - 6),
    ):
        texts.append(Text(title, place, 14, _SIZE - 1, colour="#595959"))
    query = Box(_QUERY, middle - _TALL / 2, _BOX, _TALL)
    _add_box(query, found.query, texts, lines)
    width = _BOX - 12
    end = Box(_ANSWER, middle - _TALL / 2, width, _TALL)
    said = _shown(found.answers[0])
    _add_box(end, said, texts, lines)
    # The drawing is of the first value column; the key's own text where there is no other.
    for at, match in enumerate(found.matches):
        y = _TOP + _ROW * (at + 0.5)
        share = match.weights[0]
        key = Box(_KEYS, y - _TALL / 2, _BOX, _TALL)
        value = Box(_VALUES, y - _TALL / 2, width, _TALL)
        marks.append(Polyline(_bent(query.right, middle, key.x, y), _GREY, 0.6))
        if share > 0:
            thick = max(0.4, _THICK * share)
            marks.append(Polyline(_bent(value.right, y, end.x, middle), COLOURS[0], thick))
            long = max(0.5, _LONG * share)
            bar = [(_BAR, y - 4), (_BAR + long, y - 4), (_BAR + long, y + 4), (_BAR, y + 4)]
            marks.append(Area(np.array(bar), COLOURS[0], 1.0))
        _add_box(key, " ".join(match.record.key), texts, lines)
        _add_box(value, match.record.value[0] if match.record.value else "", texts, lines)
        score = "" if match.score is None else f"{match.score + 0.0:.3f}"
        texts.append(Text(score, _SCORE + 26, y + 3, _SIZE, "end"))
        texts.append(Text(_number(share), _BAR + _LONG + 4, y + 3, _SIZE - 1, "start"))
    if rows:
        line = f"and {rows} more keys, weight {_number(weight)}"
        y = _TOP + _ROW * (len(found.matches) + 0.5)
        texts.append(Text(line, _KEYS, y, _SIZE - 1, "start", colour="#595959"))
    title = f"{found.query}: {answer.modes[0]} lookup"
    text = f"The query {found.query} among {answer.rows} keys; the answer is {said}."
    shown = visible(title), visible(text)
    return Chart(_WIDTH, height, *shown, tuple(texts), tuple(lines), tuple(marks))


def _number(share: float) -> str:
    return f"{share:.3f}" if share >= 0.0005 or not share else f"{share:.0e}"


def _shown(values: tuple[Value | None, ...] | None) -> str:
    """Return the answer in short: the number, or the likeliest text."""
    value = values[0] if values else None
    if value is None or value == ():
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else value[0][0]


def _add_box(box: Box, text: str, texts: list[Text], lines: list[Line]) -> None:
    x, y, right, bottom = box.x, box.y, box.right, box.bottom
    lines += [(x, y, right, y), (x, bottom, right, bottom)]
    lines += [(x, y, x, bottom), (right, y, right, bottom)]
    short = fitted(text, _SIZE, box.width - 6)
    texts.append(Text(short, x + box.width / 2, y + box.height / 2 + 3, _SIZE, full=visible(text)))


def _bent(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
    """Return a curve from one point to another, which leaves and arrives level."""
    t = np.linspace(0, 1, 24)
    smooth = t * t * (3 - 2 * t)
    return np.column_stack([x1 + (x2 - x1) * t, y1 + (y2 - y1) * smooth])
