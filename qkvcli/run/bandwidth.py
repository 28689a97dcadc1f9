"""The width of a kernel: a number, a rule of thumb, or what leave-one-out finds best."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention import Plan
from qkvcli.blocks import Queries
from qkvcli.errors import InputError, UsageError
from qkvcli.run.fold import fold
from qkvcli.weights import SOFTMAX, Mask, Weighting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Source
    from qkvcli.scores import Score

CV_CAP = 50_000
"""How many rows ``cv`` takes at most: each of its trials compares every row with every other."""

_SPAN = np.geomspace(0.02, 20, 25)
"""The first widths that ``cv`` tries, in units of Scott's."""
_GOLDEN = (math.sqrt(5) - 1) / 2
_ROUNDS = 30


@dataclass(frozen=True)
class Bandwidth:
    """A width and how it was come by.

    Parameters
    ----------
    widths
        One for each key column.
    rule
        ``scott``, ``silverman``, ``cv``, or nothing where it was given.
    error
        The leave-one-out error that ``cv`` reached: the mean squared error, or for text values the
        mean log-loss.
    """

    widths: tuple[float, ...]
    rule: str = ""
    error: float | None = None


def given(widths: Sequence[float], depth: int) -> Bandwidth:
    """Return widths as they were given: one for all key columns, or one for each.

    Raises
    ------
    UsageError
        Another number of them, or a width that is not above 0.
    """
    if len(widths) not in (1, depth):
        columns = (
            "1 key column; give 1" if depth == 1 else f"{depth} key columns; give 1 or {depth}"
        )
        message = f"--bandwidth has {len(widths)} widths for {columns}"
        raise UsageError(message)
    if not all(0 < h < math.inf for h in widths):
        message = f"--bandwidth {','.join(map(str, widths))}: a width must be above 0"
        raise UsageError(message)
    return Bandwidth(tuple(widths))


def by_rule(rule: str, source: Source) -> Bandwidth:
    """Return ``scott`` or ``silverman`` widths: SciPy's factor times each column's deviation.

    With n rows of D columns the factor is n^(−1/(D+4)) for Scott's rule and
    (n (D + 2) / 4)^(−1/(D+4)) for Silverman's, as in ``scipy.stats.gaussian_kde``.

    Raises
    ------
    InputError
        A column that is constant, by name; or a single row.
    """
    count, squares = _spread(source)
    depth = len(squares)
    if count < 2:  # noqa: PLR2004
        message = f"one row has no spread for --bandwidth {rule}; give a number"
        raise InputError(message, source.name)
    deviations = np.sqrt(squares / (count - 1))
    for column, deviation in enumerate(deviations):
        if not deviation > 0:
            names = source.columns.key
            label = repr(names[column]) if len(names) == depth else str(column + 1)
            message = f"the key column {label} is constant, so {rule} gives no width; "
            raise InputError(message + "pass --bandwidth with a number, or drop it", source.name)
    factor = count ** (-1 / (depth + 4))
    if rule == "silverman":
        factor = (count * (depth + 2) / 4) ** (-1 / (depth + 4))
    return Bandwidth(tuple((factor * deviations).tolist()), rule)


def _spread(source: Source) -> tuple[int, NDArray[np.float64]]:
    """Return n and the sums of squared deviations, by column."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    origin: NDArray[np.float64] | None = None
    for reference in source.blocks():
        block = reference.load()
        keys = np.array(block.keys, np.float64)
        if not np.isfinite(keys).all():
            block.check()
        origin = keys[0].copy() if origin is None else origin
        keys -= origin  # what is constant is 0, and has no spread by rounding
        own_mean = keys.mean(axis=0)
        own = np.square(keys - own_mean).sum(axis=0)
        total = count + len(keys)
        shift = own_mean - mean
        squares = squares + own + np.square(shift) * (count * len(keys) / total)
        mean = mean + shift * (len(keys) / total)
        count = total
    return count, squares


def cross_validated(
    source: Source, score: Score, temperature: float, *, threads: int = 1
) -> Bandwidth:
    """Return the widths with the least leave-one-out error.

    Each row is predicted from all others by the same fold that answers queries, with the row
    itself masked; the error is the mean squared error of the numeric values, or for text values
    the mean log-loss. First one factor on Scott's widths is sought, over a span of a thousand and
    then by golden section; then, with several columns, each column's own width in turn.

    Raises
    ------
    InputError
        More rows than ``CV_CAP``, or no width at which every row has an answer.
    """
    start = by_rule("scott", source)
    blocks = list(source.blocks())  # a table's blocks keep what they have read
    count = sum(len(block) for block in blocks)
    if count > CV_CAP:
        message = f"{count} rows are over the cap of {CV_CAP} for --bandwidth cv; use scott"
        raise InputError(message, source.name)
    keys, truth, texts = _truth(blocks)
    queries = Queries(tuple(map(str, range(count))), keys)

    def error(widths: NDArray[np.float64]) -> float:
        plan = Plan(
            replace(score, bandwidth=tuple(widths.tolist())),
            Weighting(SOFTMAX, temperature),
            Mask(distinct=True),
            label_cap=len(keys),
        )
        answer = fold(blocks, queries, [plan], threads=threads)[0]
        loss = np.square(answer.numbers - truth).sum(axis=1)
        for share, labels in zip(answer.shares, texts, strict=True):
            if share is not None:
                place = {label: i for i, label in enumerate(share.labels)}
                chances = share.weights[np.arange(len(keys)), [place[label] for label in labels]]
                loss += -np.log(np.maximum(chances, np.finfo(np.float64).tiny))
        return float(loss.mean()) if answer.answered.all() else math.inf

    widths = np.array(start.widths)
    span = [error(widths * factor) for factor in _SPAN]
    best = int(np.argmin(span))
    if not math.isfinite(span[best]):
        message = "--bandwidth cv finds no width at which every row has a neighbour; give a number"
        raise InputError(message, source.name)
    low, high = _SPAN[max(0, best - 1)], _SPAN[min(len(_SPAN) - 1, best + 1)]
    factor, least = _golden(lambda f: error(widths * f), low, high, (_SPAN[best], span[best]))
    widths = widths * factor
    if len(widths) > 1:
        widths, least = _each_column(error, widths, least)
    return Bandwidth(tuple(widths.tolist()), "cv", least)


def _truth(
    blocks: Sequence[Block],
) -> tuple[NDArray[np.floating], NDArray[np.floating], list[list[str]]]:
    """Return the keys, the numeric values and the text values of every row."""
    keys, values = [], []
    columns: list[list[str]] = [[] for _ in blocks[0].columns.texts]
    for reference in blocks:
        block = reference.load()
        keys.append(np.array(block.keys))
        values.append(np.array(block.numbers))
        for column, text in zip(columns, block.categories(), strict=True):
            column += [text.labels[code] for code in text.codes]
    return np.concatenate(keys), np.concatenate(values), columns


def _golden(
    error: Callable[[float], float], low: float, high: float, known: tuple[float, float]
) -> tuple[float, float]:
    """Return the least point found in an interval by golden section on a log scale."""
    a, b = math.log(low), math.log(high)
    x, y = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_x, at_y = error(math.exp(x)), error(math.exp(y))
    tried = [known, (math.exp(x), at_x), (math.exp(y), at_y)]
    for _ in range(_ROUNDS):
        if at_x <= at_y:
            b, y, at_y = y, x, at_x
            x = b - _GOLDEN * (b - a)
            at_x = error(math.exp(x))
            tried.append((math.exp(x), at_x))
        else:
            a, x, at_x = x, y, at_y
            y = a + _GOLDEN * (b - a)
            at_y = error(math.exp(y))
            tried.append((math.exp(y), at_y))
        if b - a < 1e-4:  # noqa: PLR2004 - a hundredth of a per cent of a width
            break
    return min(tried, key=lambda point: point[1])


def _each_column(
    error: Callable[[NDArray[np.float64]], float], widths: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], float]:
    """Improve one column's width after another, until a round gains nothing to speak of."""
    for _ in range(8):
        before = least
        for column in range(len(widths)):
            along = partial(_along, error, widths, column)
            factor, least = _golden(along, 0.25, 4.0, (1.0, least))
            widths = _scaled(widths, column, factor)
        if before - least <= 1e-4 * abs(before):
            break
    return widths, least


def _along(
    error: Callable[[NDArray[np.float64]], float],
    widths: NDArray[np.float64],
    column: int,
    factor: float,
) -> float:
    return error(_scaled(widths, column, factor))


def _scaled(widths: NDArray[np.float64], column: int, factor: float) -> NDArray[np.float64]:
    scaled = widths.copy()
    scaled[column] *= factor
    return scaled
