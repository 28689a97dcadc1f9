"""Cross-validation: the widths of a kernel that predict each row best from all the others.

A prediction is an answer of the same fold, under a mask that hides the row itself.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.attention.fold import LABEL_CAP, Plan, finish
from qkvcli.attention.sorted_fold import SortedKeys, is_served
from qkvcli.attention.weights import SOFTMAX, Mask, Weighting
from qkvcli.blocks import Queries, rows_of
from qkvcli.errors import InputError
from qkvcli.fitted import Bandwidth
from qkvcli.run.bandwidth import by_rule, kernel_score, largest
from qkvcli.run.fit import LEAST_CHANCE
from qkvcli.run.work import fold
from qkvcli.scores.vector import VectorScore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.answer import Answer
    from qkvcli.blocks import Source
    from qkvcli.run.work import Executor

CAP = 50_000
"""How many rows of several key columns, or of weights that are no kernel's on a line, are taken at
most: each width compares every row with every other."""
LINE_CAP = 4_000_000
"""How many rows of one key column are taken at most, which are sorted."""
FEWEST = 10
"""Of fewer rows no width is sought unasked: their errors say more of chance than of widths."""
QUICK = 1_000_000
"""How many rows of one key column are few enough for widths to be sought unasked."""
_CLASSES = 50
"""How many distinct texts are few enough for the same."""
_SECOND = 1.5e9
"""How many differences of numbers two workers weigh in about a second."""
_MANY = 1 << 12
"""From how many rows on the error is smooth enough for larger steps, and one start; and how many
rows of one key column are a sample of which a width is sought first."""
_SMOOTH, _STAIRCASE = (2 ** (1 / 4), 3), (2 ** (1 / 16), 12)
"""By what the first widths that are tried differ, and from how many of the best among them the
search goes on; and the same where the error is a staircase, as a boxcar's is."""
_RIVAL = 1.5
"""How many times the least error is that of some rows at a width that is best of all, at most."""
_MOST = 640
"""How many of them are tried at most."""
_SOME = 512
"""How many rows are predicted to try those widths."""
_SEVERAL = 2048
"""From how many rows on each column's own width is sought by predicting as many, not all."""
_AT_ONCE = 4096
"""How many rows are predicted at a time: text values have a weight for each of them and label."""
_FINE, _COARSE = 1e-4, 2e-2
"""How near to the best width a search ends: a hundredth of a per cent, of many rows one."""
_FAR = 25.0
"""How far the logarithm of a column's own width may go: at e²⁵ a column has no say."""
_MOVES = 4
"""How often a search that ends at an end goes on from there."""
_STEPS = 16
"""How many widths are tried between neighbours where the error is a staircase."""


def cross_validated(  # noqa: PLR0913, PLR0917 - rows, and how they are predicted
    source: Source,
    kernel: str,
    temperature: float,
    executor: Executor,
    degree: int = 0,
    rule: str = "cv",
) -> Bandwidth:
    """Return the widths with the least leave-one-out error.

    Each row is predicted from all others; the error is the mean squared error of the numeric
    values, plus for text values the mean log-loss. First one factor on Scott's widths is sought:
    over all widths that tell rows apart with some rows, then with all rows from the best few of
    these by Brent's method. With several columns each column's own width is sought from there
    (Powell 1964).

    Parameters
    ----------
    source
        The rows.
    kernel
        A kernel's name.
    temperature
        What log-weights are divided by.
    executor
        What runs the folds; the widths do not depend on it.
    degree
        Whether rows are predicted by weighted means, 0, or by weighted lines, 1.
    rule
        ``"cv"``, or ``"aicc"``: the least corrected information criterion in the error's place.

    Raises
    ------
    InputError
        More rows than ``CAP``, text values under ``aicc``, or no width at which every row has an
        answer.
    """
    scott = np.array(by_rule("scott", source).widths)
    left_out = LeaveOneOut(source, kernel, temperature, executor, degree, rule)
    found = _one_factor(left_out, scott)
    own = _own_widths(left_out, found)
    return left_out.bandwidth(own if own.error < found.error else found)


def by_default(
    source: Source, kernel: str, temperature: float, executor: Executor
) -> tuple[Bandwidth, int]:
    """Return the widths and the degree of a regression, where neither was asked for.

    One factor on Scott's widths is sought for weighted means and for weighted lines, and what
    predicts rows better is taken. Each column's own width, of means, is taken in its place where
    that is better by more than a standard error: it has more to be fitted to the rows (the rule of
    one standard error, Breiman and others 1984).

    Raises
    ------
    InputError
        As of ``cross_validated``.
    """
    scott = np.array(by_rule("scott", source).widths)
    means = LeaveOneOut(source, kernel, temperature, executor)
    lines = means.of_degree(1)
    # Of many rows some tell which of both it is.
    few, of_lines = means.sample(), lines.sample()
    found = _one_factor(few, scott)
    try:
        other = _one_factor(of_lines, scott)
    except InputError:  # no width at which every row has a neighbour beside it
        other = found._replace(error=math.inf)
    is_lines = other.error < found.error
    simple, left_out = (other, lines) if is_lines else (found, means)
    if few is not means:
        simple = _refined(left_out, of_lines if is_lines else few, simple)
        return _chosen(left_out, simple)
    own = _own_widths(means, found, _SOME)
    if own.error < simple.error:
        gain = left_out.errors(simple.sought) - means.errors(own.sought)
        if gain.mean() > gain.std() / math.sqrt(len(gain)):
            return _chosen(means, own)
    return _chosen(left_out, simple, is_common=len(simple.sought) > 1)


def _chosen(
    left_out: LeaveOneOut, found: _Found, *, is_common: bool = False
) -> tuple[Bandwidth, int]:
    width = left_out.bandwidth(found)
    width = replace(width, chosen=True, with_degree=True, is_common=is_common)
    return width, left_out.degree


class _Found(NamedTuple):
    """Widths as they are sought, their error, and whether they are the ends of what is tried."""

    sought: NDArray[np.float64]
    error: float
    at_edge: bool = False


def _one_factor(left_out: LeaveOneOut, widths: NDArray[np.float64]) -> _Found:
    """Return the best of all multiples of some widths.

    Raises
    ------
    InputError
        None at which every row has an answer.
    """
    few = left_out.sample()
    if few is not left_out:
        return _refined(left_out, few, _one_factor(few, widths))
    unit = left_out.sought(widths)
    factors = left_out.span(unit)
    some = left_out.some(_SOME)
    errors = [left_out.error(unit * factor, some) for factor in factors]
    if left_out.rule == "aicc":  # a logarithm
        with np.errstate(over="ignore"):
            errors = np.exp(errors).tolist()

    def along(log_factor: float) -> float:
        return left_out.error(unit * math.exp(log_factor))

    logs = np.log(factors)
    last, kernel = len(logs) - 1, left_out.kernel
    starts = _starts(errors, kernel)
    if left_out.is_smooth and len(starts) > 1:  # some rows may mistake one for another
        starts = [min(starts, key=lambda at: along(float(logs[at])))]
    fine = _COARSE if left_out.is_smooth else _FINE
    found = [
        _least(along, logs[max(0, at - 1)], logs[min(at + 1, last)], kernel, fine) for at in starts
    ]
    log_factor, least = min(found, key=lambda pair: pair[1], default=(logs[-1], math.inf))
    if not math.isfinite(least):  # of the rows that were not tried some has no neighbour
        wider = ((x, along(x)) for x in logs[logs >= log_factor])
        log_factor, least = next((pair for pair in wider if math.isfinite(pair[1])), (0, math.inf))
    if not math.isfinite(least):
        differ = " and residuals differ" if left_out.rule == "aicc" else ""
        raise InputError(
            f"`bandwidth={left_out.rule!r}` finds no width at which every row has a neighbour"
            f"{differ}; give a number",
            left_out.name,
        )
    at_edge = not logs[1] < log_factor < logs[-2]
    return _Found(unit * math.exp(log_factor), least, at_edge)


def _refined(left_out: LeaveOneOut, few: LeaveOneOut, found: _Found) -> _Found:
    """Return the best width near that of a sample, which is larger as n^(−1/5) is.

    So does a sample's width become that of all rows (Hall and Robinson 2009).
    """
    sought = found.sought * (len(few) / len(left_out)) ** (1 / 5)

    def along(log_factor: float) -> float:
        return left_out.error(sought * math.exp(log_factor))

    log_factor, least = _least(along, -0.7, 0.7, "", _COARSE)
    return _Found(sought * math.exp(log_factor), least, found.at_edge)


def _own_widths(left_out: LeaveOneOut, found: _Found, most: int = _SEVERAL) -> _Found:
    """Return each column's own width, sought from those that one factor gave.

    Of more than ``most`` rows some are predicted.
    """
    if len(found.sought) < 2:
        return found
    few = left_out.some(_SOME) if len(left_out) > most else None
    own, error = _each_column(
        lambda h: left_out.error(h, few), found.sought, found.error if few is None else math.inf
    )
    return _Found(own, error if few is None else left_out.error(own), found.at_edge)


def is_quick(source: Source, kernel: str, temperature: float) -> bool:
    """Return whether widths are sought in about a second, as far as that is known unread."""
    line = _is_line(source, kernel, temperature)
    rows = source.rows if source.rows is not None else sum(map(len, source.blocks()))
    if rows < FEWEST or rows > max(CAP, QUICK) or _classes(source) > _CLASSES:
        return False
    if line:
        return rows <= QUICK
    if rows > CAP:
        return False
    depth = source.depth
    own = 60 * depth if depth > 1 else 0
    predicted = min(rows, _SOME) * (110 + own) + rows * 18  # in all trials, of means and of lines
    return predicted * rows * (5 + depth) < _SECOND


def _is_line(source: Source, kernel: str, temperature: float) -> bool:
    """Return whether the keys are sorted, and the sums do not take all pairs."""
    plan = Plan(VectorScore(kernel), Weighting(SOFTMAX, temperature), Mask(own=np.arange(0)))
    return source.depth == 1 and not source.columns.categories and is_served(plan)


def _classes(source: Source) -> int:
    """Return how many distinct texts the value column with the most of them has, up to some."""
    seen: list[set[str]] = [set() for _ in source.columns.text]
    for block in source.blocks() if seen else ():
        for texts, part in zip(seen, block.load().labels(), strict=True):
            texts.update(part.texts)
        if max(map(len, seen)) > _CLASSES:
            break
    return max(map(len, seen), default=0)


def _search(kernel: str) -> tuple[float, int]:
    return _STAIRCASE if kernel == "boxcar" else _SMOOTH


def _starts(errors: Sequence[float], kernel: str) -> list[int]:
    """Return the places of the best local minima, of those that may be the least of all rows."""
    padded = [math.inf, *errors, math.inf]
    worst = _RIVAL * min(errors)
    places = [
        i
        for i in range(len(errors))
        if padded[i + 1] < math.inf
        and padded[i] >= padded[i + 1] <= padded[i + 2]
        and padded[i + 1] <= worst
    ]
    return sorted(places, key=lambda i: errors[i])[: _search(kernel)[1]]


def _least(
    error: Callable[[float], float], low: float, high: float, kernel: str, fine: float
) -> tuple[float, float]:
    """Return the best logarithm of a factor between two or beyond an end, and its error."""
    reach, best = high - low, (0.0, math.inf)
    for _ in range(_MOVES):
        best = _least_between(error, low, high, kernel, _COARSE)
        if not math.isfinite(best[1]) or low + reach / 50 < best[0] < high - reach / 50:
            break
        low, high = best[0] - reach / 2, best[0] + reach / 2
    if fine >= _COARSE or not math.isfinite(best[1]) or _search(kernel) is _STAIRCASE:
        return best
    ends = best[0] - 2 * _COARSE, best[0] + 2 * _COARSE
    return min(best, _least_between(error, *ends, kernel, fine), key=lambda pair: pair[1])


def _least_between(
    error: Callable[[float], float], low: float, high: float, kernel: str, fine: float
) -> tuple[float, float]:
    from scipy.optimize import minimize_scalar  # 200 ms, for cross-validation only

    ends = low, high
    if _search(kernel) is _STAIRCASE:
        trials = np.linspace(*ends, _STEPS).tolist()
        return min(((x, error(x)) for x in trials), key=lambda pair: pair[1])
    with np.errstate(invalid="ignore"):
        found = minimize_scalar(
            lambda x: error(float(x)), bounds=ends, method="bounded", options={"xatol": fine / 2}
        )
    return float(found.x), float(found.fun)


def _each_column(
    error: Callable[[NDArray[np.float64]], float], widths: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], float]:
    """Return each column's own width, sought from one factor for all, and the error."""
    from scipy.optimize import minimize

    start = np.log(widths)

    def within(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return widths, none of them so far from the start that it is no number of any use."""
        return np.exp(np.clip(logs, start - _FAR, start + _FAR))

    with np.errstate(invalid="ignore", over="ignore"):
        found = minimize(
            lambda logs: min(error(within(logs)), 1e300),
            start,
            method="Powell",
            options={"xtol": 1e-2, "ftol": 1e-5, "maxfev": 400 * len(widths)},
        )
    if not found.fun < least:
        return widths, least
    return within(found.x), float(found.fun)


class LeaveOneOut:
    """The error of predicting each row from all others, by the width of the kernel.

    Parameters
    ----------
    source
        The rows, all of which are held.
    kernel
        A kernel's name.
    temperature
        What log-weights are divided by.
    executor
        What runs the folds; the errors do not depend on it.
    degree
        Whether rows are predicted by weighted means, 0, or by weighted lines, 1.
    rule
        ``"cv"``, or ``"aicc"``, whose error is the criterion of rows that predict themselves too.

    Raises
    ------
    InputError
        More rows than ``CAP``, text values under ``aicc``, or NaN or infinity among them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - rows, and how they are predicted
        self,
        source: Source,
        kernel: str,
        temperature: float,
        executor: Executor,
        degree: int = 0,
        rule: str = "cv",
    ) -> None:
        blocks = list(source.blocks())
        count = sum(map(len, blocks))
        line = _is_line(source, kernel, temperature)
        if count > (cap := LINE_CAP if line else CAP):
            raise InputError(
                f"{count} rows are over the cap of {cap} for `bandwidth='cv'`; use scott",
                source.name,
            )
        self._blocks = [block.load() for block in blocks]
        for block in self._blocks:
            block.check()
        self._sorted = SortedKeys.of(self._blocks, LABEL_CAP) if line else None
        keys, self._values, self._labels, _ = rows_of(self._blocks)
        # Distances stay, and lose nothing when divided by a width.
        self._queries = Queries(tuple(map(str, range(count))), keys)
        self.name, self.kernel, self.degree = source.name, kernel, degree
        self.rule, self._executor = rule, executor
        self._columns, self._along = source.columns, source.columns.along
        self._most = {at: largest(levels) for at, levels in source.columns.categories}
        self._criterion = rule == "aicc"
        if self._criterion and (self._labels or not self._values.shape[1]):
            raise InputError(
                "`bandwidth='aicc'` is of numbers, and there are values that are text; use cv",
                source.name,
            )
        self._weighting = Weighting(SOFTMAX, temperature)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._queries)

    @property
    def is_smooth(self) -> bool:
        """Whether the error has one minimum worth a search, as of a smooth kernel and many rows."""
        return self.kernel != "boxcar" and len(self._queries) > _MANY

    def widths(self, sought: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return widths (D,) from what is sought: a w in place of a λ of most · w / (1 + w)."""
        found = sought.copy()
        for at, most in self._most.items():
            found[at] = most * (sought[at] / (1 + sought[at]))
        return found

    def sought(self, widths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is sought in the place of widths (D,)."""
        found = widths.copy()
        for at, most in self._most.items():
            found[at] = widths[at] / (most - widths[at])
        return found

    def of_degree(self, degree: int) -> LeaveOneOut:
        """Return the same rows, predicted otherwise."""
        other = copy.copy(self)
        other.degree = degree
        return other

    def sample(self) -> LeaveOneOut:
        """Return some rows predicted from one another, where keys are sorted and many; else all."""
        if self._sorted is None or len(self) <= _MANY:
            return self
        other = copy.copy(self)
        other.keep(self.some(_MANY))
        return other

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Leave all but some rows out."""
        self._sorted = None if self._sorted is None else self._sorted.pick(rows)
        self._queries, self._values = self._queries.pick(rows.tolist()), self._values[rows]
        self._labels = [part._replace(codes=part.codes[rows]) for part in self._labels]

    def span(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return factors on widths (D,): from what tells neighbours apart to what all share.

        The least is half the distance to the nearest other row, of all but a hundredth of rows; the
        largest is four times the extent of the rows.
        """
        if self._along is not None and not self._along:
            return np.geomspace(1e-3, 1e3, 25)  # of categories alone
        some = slice(None) if self._along is None else list(self._along)
        keys = self._queries.keys[:, some] / unit[some]
        if keys.shape[1] == 1:
            gaps = np.pad(np.diff(np.sort(keys[:, 0])), 1, constant_values=np.inf)
            nearest = np.minimum(gaps[1:], gaps[:-1])
        else:
            from scipy.spatial import KDTree  # 100 ms, for several columns only

            # A line among D columns needs so many neighbours; its error is no use with fewer.
            count = min(len(keys), 2 + self.degree * keys.shape[1])
            nearest = KDTree(keys).query(keys, k=[count])[0][:, 0]
        apart = nearest[nearest > 0]
        extent = math.hypot(*np.ptp(keys, axis=0))
        least = min(np.quantile(apart, 0.01) / 2 if len(apart) else extent, extent / 4)
        step, _ = _search(self.kernel)
        step = 2.0 if self.is_smooth else step
        count = math.ceil(math.log(4 * extent / least) / math.log(step))
        return np.geomspace(least, 4 * extent, min(count, _MOST) + 1)

    def some(self, count: int) -> NDArray[np.int64]:
        """Return some rows, evenly spread, or all if there are no more."""
        return np.unique(np.linspace(0, len(self._queries) - 1, count).astype(np.int64))

    def bandwidth(self, found: _Found) -> Bandwidth:
        """Return widths that were sought, with their error."""
        widths = tuple(self.widths(found.sought).tolist())
        return Bandwidth(widths, self.rule, found.error, found.at_edge)

    def error(self, widths: NDArray[np.float64], rows: NDArray[np.int64] | None = None) -> float:
        """Return the mean error of some rows or all; it is infinite where one has no neighbour."""
        if self._criterion:
            return self._aicc(widths, np.arange(len(self)) if rows is None else rows)
        return float(self.errors(widths, rows).mean())

    def errors(
        self, widths: NDArray[np.float64], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return the error of some rows or all, (N,); one is infinite where one is no neighbour."""
        rows = np.arange(len(self)) if rows is None else rows
        step = len(rows) if self._sorted is not None else _AT_ONCE
        starts = range(0, len(rows), step)
        return np.concatenate([self._errors_of(widths, rows[at : at + step]) for at in starts])

    def _aicc(self, widths: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
        """Return log σ² + (1 + t/n) / (1 − (t + 2)/n) (Hurvich, Simonoff and Tsai 1998).

        σ² is the mean squared residual and t is the trace of what makes predictions of values: each
        row's own weight. Of several value columns it is the mean.
        """
        squares, trace = np.zeros(self._values.shape[1]), 0.0
        runs = range(0, len(rows), _AT_ONCE if self._sorted is None else len(rows))
        for start in runs:
            part = rows[start : start + (runs.step or 1)]
            answer = self._answer(widths, part, None)
            with np.errstate(over="ignore"):
                squares += np.square(answer.output - self._values[part]).sum(axis=0)
            own = np.exp(-answer.shift / self._weighting.temperature) / answer.normalizer
            if answer.steps is not None:
                own *= 1 + np.einsum("qd,qd->q", answer.steps[:, 0], answer.steps[:, -1])
            trace += float(own.sum())
        count = len(rows)
        left = 1 - (trace + 2) / count
        if not left > 0 or not (squares > 0).all():
            return math.inf
        return float(np.log(squares / count).mean() + (1 + trace / count) / left)

    def _answer(
        self, widths: NDArray[np.float64], rows: NDArray[np.int64], mask: Mask | None
    ) -> Answer:
        plan = Plan(
            kernel_score(self.kernel, tuple(self.widths(widths).tolist()), self._columns),
            self._weighting,
            mask,
            width=self._values.shape[1],
            text=self._blocks[0].columns.text,
            label_cap=len(self._queries),
            degree=self.degree,
            along=self._along,
        )
        if self._sorted is None:
            queries = self._queries.pick(rows.tolist())
            return fold(self._blocks, queries, [plan], self._executor)[0]
        every = len(rows) == len(self._queries)
        queries = self._queries if every else self._queries.pick(rows.tolist())
        return finish(self._sorted.state(queries, plan), plan, queries)

    def _errors_of(
        self, widths: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        answer = self._answer(widths, rows, Mask(own=rows))
        if not answer.answered.all():
            return np.full(len(rows), np.inf)
        with np.errstate(over="ignore"):
            errors: NDArray[np.float64] = np.square(answer.output - self._values[rows]).sum(axis=1)
        for found, labels in zip(answer.labels, self._labels, strict=True):
            if found is None:
                continue
            place = {label: i for i, label in enumerate(found.labels)}
            own = [place[labels.texts[code]] for code in labels.codes[rows]]
            chance = found.weights[np.arange(len(rows)), own]
            errors -= np.log(np.maximum(chance, LEAST_CHANCE))
        return errors
