"""Cross-validation: the widths of a kernel that predict each row best from all the others."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.blocks import categories
from qkvcli.errors import InputError
from qkvcli.run.bandwidth import Bandwidth, by_rule
from qkvcli.weights import SOFTMAX, Weighting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.scores import Score

CV_CAP = 50_000
"""How many rows ``cv`` takes at most: each of its trials compares every row with every other."""

_SPAN = 20 * 2 ** (-np.arange(21) / 2)
"""The first widths that ``cv`` tries, in units of Scott's: from 20 down to 0.02."""
_SQUARED = {"gaussian": 1, "laplacian": 2}
"""By kernel, how many steps down the span its weights are squared: no powers are taken anew."""
_PAIRS = 1 << 17
"""How many pairs of rows are compared at a time: what stays in a core's cache."""
_FAINTEST = -700.0
"""Log-weights below are as good as none; powers near the least double are ten times slower."""
_GOLDEN = (3 - math.sqrt(5)) / 2
_FINE = 1e-4
"""How near to the best width the search ends: a hundredth of a per cent."""
_TRIALS = 40
_REACH = math.log(4)
"""How far one column's width may move in a round, as a logarithm."""
_ROUNDS = 8
_GAIN = 1e-6
"""The part of the error that a round over the columns must gain for there to be another."""


def cross_validated(
    source: Source, score: Score, temperature: float, *, threads: int = 1
) -> Bandwidth:
    """Return the widths with the least leave-one-out error.

    Each row is predicted from all others; the error is the mean squared error of the numeric
    values, or for text values the mean log-loss. First one factor on Scott's widths is sought,
    over a span of a thousand and then by Brent's method; then, with several columns, each
    column's own width in turn.

    Parameters
    ----------
    source
        The rows.
    score
        A kernel, of any width.
    temperature
        What log-weights are divided by.
    threads
        How many share the rows; the widths do not depend on it.

    Raises
    ------
    InputError
        More rows than ``CV_CAP``, or no width at which every row has an answer.
    """
    start = by_rule("scott", source)
    with LeaveOneOut(source, score, temperature, threads=threads) as left_out:
        widths = np.array(start.widths)
        span = left_out.span(widths)
        best = int(np.argmin(span))
        if not math.isfinite(span[best]):
            message = "--bandwidth cv finds no width at which every row has a neighbour; "
            raise InputError(message + "give a number", source.name)
        near = slice(max(0, best - 1), best + 2)
        known = list(zip(np.log(_SPAN[near]).tolist(), span[near].tolist(), strict=True))[::-1]
        factor, least = _least(lambda x: left_out.error(widths * math.exp(x)), known)
        widths = widths * math.exp(factor)
        if len(widths) > 1:
            widths, least = _each_column(left_out.error, widths, least)
    return Bandwidth(tuple(widths.tolist()), "cv", least)


class LeaveOneOut:
    """The error of predicting each row from all others, by the width of the kernel.

    Rows are compared with all rows in strips that stay in a core's cache, a row's softmax relative
    to its nearest neighbour, so that memory is bounded and no width is too narrow.

    Parameters
    ----------
    source
        The rows, all of which are held.
    score
        A kernel, of any width.
    temperature
        What log-weights are divided by.
    threads
        How many share the strips; the errors do not depend on it.

    Raises
    ------
    InputError
        More rows than ``CV_CAP``, or NaN or infinity among them.
    """

    def __init__(
        self, source: Source, score: Score, temperature: float, *, threads: int = 1
    ) -> None:
        blocks = list(source.blocks())
        count = sum(map(len, blocks))
        if count > CV_CAP:
            message = f"{count} rows are over the cap of {CV_CAP} for --bandwidth cv; use scott"
            raise InputError(message, source.name)
        blocks = [block.load() for block in blocks]
        for block in blocks:
            block.check()
        keys = np.concatenate([np.asarray(block.keys, np.float64) for block in blocks])
        self._keys = keys - keys[0]  # distances stay, and lose nothing when divided by a width
        numbers = np.concatenate([np.asarray(block.numbers, np.float64) for block in blocks])
        # By column, in which order the product with weights is a third faster.
        self._values = np.asfortranarray(np.concatenate([np.ones((count, 1)), numbers], axis=1))
        texts = zip(*(block.categories() for block in blocks), strict=True)
        self._codes = [
            categories([part.labels[code] for part in column for code in part.codes]).codes
            for column in texts
        ]
        self._score = replace(score, bandwidth=(1.0,))
        self._divisor = Weighting(SOFTMAX, temperature).divisor
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def error(self, widths: NDArray[np.float64]) -> float:
        """Return the error at widths (D,); it is infinite where a row has no neighbour."""
        return float(self._errors(widths, 1)[0])

    def span(self, widths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the errors at widths (D,) times each factor of ``_SPAN``."""
        step = _SQUARED.get(self._score.name, len(_SPAN))
        errors = np.empty(len(_SPAN))
        for first in range(step):
            errors[first::step] = self._errors(widths * _SPAN[first], len(errors[first::step]))
        return errors

    def _errors(self, widths: NDArray[np.float64], powers: int) -> NDArray[np.float64]:
        """Return the errors of the weights at these widths, their squares, and so on."""
        keys = self._keys / widths
        losses = np.empty((powers, len(keys)))
        step = max(1, _PAIRS // len(keys))
        scorer = self._score.scorer(keys)
        ready = scorer.ready(keys)

        def work(share: int) -> None:
            out = np.empty((step, len(keys)))  # kept: memory that is new costs more than its use
            for first in range(share * step, len(keys), self._threads * step):
                rows = slice(first, first + step)
                scores = scorer.scores(ready[rows], out[: len(keys[rows])])
                losses[:, rows] = self._losses(scores, rows, powers)

        list(self._pool.map(work, range(self._threads)))  # few tasks: each is a wait
        errors: NDArray[np.float64] = losses.mean(axis=1)
        return errors

    def _losses(
        self, weights: NDArray[np.floating], rows: slice, powers: int
    ) -> NDArray[np.float64]:
        """Return the losses (powers, rows) of some rows, whose scores are overwritten."""
        itself = np.arange(len(weights))
        weights[itself, rows.start + itself] = -np.inf
        nearest = weights.max(axis=1, keepdims=True)
        alone = np.isneginf(nearest)
        with np.errstate(over="ignore"):
            weights -= np.where(alone, 0, nearest)
            if self._divisor != 1:
                weights /= self._divisor
        np.maximum(weights, _FAINTEST, out=weights)
        np.exp(weights, out=weights)
        alike = [np.equal.outer(codes[rows], codes).astype(np.float64) for codes in self._codes]
        for same in alike:
            same[itself, rows.start + itself] = 0
        losses = np.empty((powers, len(weights)))
        for power, loss in enumerate(losses):
            if power:
                np.maximum(weights, math.exp(_FAINTEST / 2), out=weights)
                weights *= weights
            loss[:] = self._loss(weights, rows, alike)
        losses[:, alone[:, 0]] = np.inf
        return losses

    def _loss(
        self, weights: NDArray[np.floating], rows: slice, alike: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Return the squared errors, or the log-losses, of rows with these weights (rows, K)."""
        sums = weights @ self._values
        mass = sums[:, 0]
        with np.errstate(over="ignore"):
            loss: NDArray[np.float64]
            loss = np.square(sums[:, 1:] / mass[:, None] - self._values[rows, 1:]).sum(axis=1)
        for same in alike:
            chance = np.vecdot(weights, same) - math.exp(_FAINTEST) * same.sum(axis=1)
            loss -= np.log(np.maximum(chance / mass, np.finfo(np.float64).tiny))
        return loss


def _least(
    error: Callable[[float], float],
    known: Sequence[tuple[float, float]],
    reach: float = 0.0,
    fine: float = _FINE,
) -> tuple[float, float]:
    """Return the least point found, and its error, by parabolas and golden sections.

    Parameters
    ----------
    error
        What is to be least.
    known
        Points and their errors; the search stays between the first and the last.
    reach
        How far beyond these it may go.
    fine
        How near to the least point it ends.

    Notes
    -----
    The function ``localmin`` of R. P. Brent, Algorithms for Minimization without Derivatives
    (1973), chapter 5, which starts from one point; of several the best three make a parabola.
    """
    low, high = known[0][0] - reach, known[-1][0] + reach
    best = sorted(known, key=_error_of)
    step = before = high - low
    for _ in range(_TRIALS):
        x, middle = best[0][0], (low + high) / 2
        if abs(x - middle) <= 2 * fine - (high - low) / 2:
            break
        move = _to_vertex(best)
        if abs(move) < abs(before) / 2 and low < x + move < high:
            before, step = step, move
            if min(x + move - low, high - x - move) < 2 * fine:
                step = math.copysign(fine, middle - x)
        else:
            before = (high if x < middle else low) - x
            step = _GOLDEN * before
        trial = x + (step if abs(step) >= fine else math.copysign(fine, step))
        point = (trial, error(trial))
        left, right = sorted((x, trial))
        if (point[1] <= best[0][1]) == (trial < x):
            high = right
        else:
            low = left
        best = sorted([point, *best], key=_error_of)[:3]
    return best[0]


def _error_of(point: tuple[float, float]) -> float:
    return point[1]


def _to_vertex(points: Sequence[tuple[float, float]]) -> float:
    """Return how far from the first of three points their parabola is least; NaN if nowhere."""
    if len(points) < 3 or not all(math.isfinite(error) for _, error in points):  # noqa: PLR2004
        return math.nan
    (x, at_x), (w, at_w), (v, at_v) = points
    r, q = (x - w) * (at_x - at_v), (x - v) * (at_x - at_w)
    return ((x - v) * q - (x - w) * r) / (2 * (r - q)) if r != q else math.nan


def _each_column(
    error: Callable[[NDArray[np.float64]], float], widths: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], float]:
    """Improve one column's width after another, until a round gains nothing to speak of."""
    reach = np.full(len(widths), _REACH)
    for _ in range(_ROUNDS):
        before = least
        for column in range(len(widths)):
            along = partial(_along, error, widths, column)
            fine = max(_FINE, reach[column] / 100)
            move, least = _least(along, [(0.0, least)], reach[column], fine)
            widths = _moved(widths, column, move)
            reach[column] = min(_REACH, max(4 * abs(move), 100 * _FINE))
        if before - least <= _GAIN * abs(before):
            break
    return widths, least


def _along(
    error: Callable[[NDArray[np.float64]], float],
    widths: NDArray[np.float64],
    column: int,
    move: float,
) -> float:
    return error(_moved(widths, column, move))


def _moved(widths: NDArray[np.float64], column: int, move: float) -> NDArray[np.float64]:
    moved = widths.copy()
    moved[column] *= math.exp(move)
    return moved
