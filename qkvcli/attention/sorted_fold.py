"""The same state as the fold's, of keys that are sorted once: another way to sum weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.fold import State, Sums
from qkvcli.attention.gradients import Slopes
from qkvcli.attention.labels import LabelSums
from qkvcli.attention.line import BOUNDED, Line, Targets
from qkvcli.attention.weights import SOFTMAX
from qkvcli.blocks import rows_of
from qkvcli.scores import KERNELS
from qkvcli.scores.vector import VectorScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Block, Labels, Queries

_CELLS = 1 << 26
"""How many numbers are summed at most, columns times rows: half a gigabyte."""


def is_served(plan: Plan) -> bool:
    """Return whether a plan is of weights that ``SortedKeys`` sums, if there is one key column.

    The entropy of triangular and Epanechnikov weights is no sum of powers, and has to be folded; so
    are powers of them that a temperature other than 1 or ½ makes.
    """
    score, mask = plan.score, plan.mask
    # A learned score, which is of another class, maps keys before it compares them.
    if type(score) is not VectorScore or score.name not in KERNELS:
        return False
    hides = mask is not None and (
        mask.causal
        or mask.window
        or any(x is not None for x in (mask.lengths, mask.allowed, mask.added))
    )
    kept = plan.top or plan.matrix or (plan.jacobian and not plan.degree)
    if plan.weighting.mode != SOFTMAX or plan.is_sparse or hides or kept:
        return False
    polynomial = score.name in ("triangular", "epanechnikov")
    return not polynomial or (not plan.perplexity and plan.weighting.temperature in (1.0, 0.5))


@dataclass(frozen=True, eq=False)
class SortedKeys:
    """All rows of a database of one key column, in the order of the keys.

    Parameters
    ----------
    line
        The keys, and what is summed of them: 1, the values about ``about``, labels' indicators.
    rows
        Which row of the database each is.
    places
        At which place each row of the database is.
    about
        What the values are summed about, (Dv,), so that equal values pool to themselves.
    labels
        The text value columns.
    """

    line: Line
    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    about: NDArray[np.float64]
    labels: tuple[Labels, ...]

    @staticmethod
    def of(blocks: Sequence[Block], label_cap: int) -> SortedKeys | None:
        """Return the rows of some blocks, which have one key column; None if they are not served.

        Those have more labels than fit, or numbers that are not finite or whose sums are not.
        """
        vectors, values, labels, _ = rows_of(blocks)
        keys = vectors[:, 0]
        count = 1 + values.shape[1] + sum(len(column.texts) for column in labels)
        cap = any(len(column.texts) > label_cap for column in labels)
        with np.errstate(over="ignore", invalid="ignore"):
            largest = max(np.abs(values).sum(), np.square(keys).sum())
        if cap or count * len(keys) > _CELLS or not len(keys) or not largest < 1e300:
            return None
        same = (values == values[:1]).all(axis=0)
        about = np.where(same, values[0], values.mean(axis=0))
        order = np.argsort(keys, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        channels = np.zeros((count, len(keys)))
        channels[0] = 1
        channels[1 : 1 + len(about)] = (values - about).T[:, order]
        at = 1 + len(about)
        for column in labels:
            channels[at + column.codes[order], np.arange(len(order))] = 1
            at += len(column.texts)
        return SortedKeys(Line(keys[order], channels), order, places, about, tuple(labels))

    def pick(self, rows: NDArray[np.intp]) -> SortedKeys:
        """Return some rows, which are in rising order, numbered from 0."""
        at = np.sort(self.places[rows])
        order = np.searchsorted(rows, self.rows[at])
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        labels = tuple(part._replace(codes=part.codes[rows]) for part in self.labels)
        line = Line(self.line.keys[at], self.line.channels[:, at])
        return SortedKeys(line, order, places, self.about, labels)

    def state(self, queries: Queries, plan: Plan) -> State:
        """Return the state of all rows, as the fold would."""
        score, weighting = plan.score, plan.weighting
        if not isinstance(score, VectorScore):
            raise TypeError(score)
        at = np.asarray(queries.keys, np.float64)[:, 0]
        own = None if plan.mask is None else plan.mask.own
        if own is None:
            order = np.argsort(at, kind="stable")
            targets = self.line.targets(at[order])
        else:
            own = self.places[own[queries.rows]]
            if len(own) == len(self.rows):  # every row once
                order = np.empty_like(own)
                order[own] = np.arange(len(own))
            else:
                order = np.argsort(own, kind="stable")
            targets = self.line.own(own[order])
        sums = self._sums(score, weighting.temperature, targets, plan)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return State(
            len(self.rows),
            replace(
                sums,
                shift=sums.shift[back],
                normalizer=sums.normalizer[back],
                mean=sums.mean[back],
                mean_log=None if sums.mean_log is None else sums.mean_log[back],
                labels=tuple(replace(part, sums=part.sums[back]) for part in sums.labels),
                slopes=sums.slopes and sums.slopes.pick(back),
            ),
        )

    def _sums(self, score: VectorScore, temperature: float, targets: Targets, plan: Plan) -> Sums:
        width = score.bandwidth[0]
        # What divides log-weights widens the kernel, or makes a power of it.
        scaling = {"gaussian": temperature**0.5, "laplacian": temperature}
        width *= scaling.get(score.name, 1.0)
        power = round(1 / temperature) if BOUNDED.get(score.name) else 1
        squares = plan.perplexity and score.name == "gaussian"
        most = 2 if squares or plan.degree else 0
        found = self.line.moments(score.name, width, targets, most=most, power=power)
        normalizer = np.maximum(found.sums[0, 0], 0)
        counts = normalizer > 0
        safe = np.where(counts, normalizer, 1)
        depth = len(self.about)
        mean = self.about + found.sums[0, 1 : 1 + depth].T / safe[:, None]
        mean = np.where(counts[:, None], mean, 0.0)
        mean_log = None
        if plan.perplexity:
            logs = np.zeros_like(safe)
            if score.name == "gaussian":
                logs = found.sums[2, 0] / -2
            elif found.distances is not None:
                logs = -found.distances
            mean_log = np.where(counts, logs / safe - found.shift, 0.0)
            if score.name == "boxcar":
                mean_log[:] = 0
        slopes = None
        if plan.degree:
            slopes = _slopes(found.sums[:, : 1 + depth] / safe, width)
            mean = np.concatenate([mean, targets.at[:, None] + slopes.mean], axis=1)
        labels, at = [], 1 + depth
        for column in self.labels if plan.text else ():
            part = np.maximum(found.sums[0, at : at + len(column.texts)].T, 0) * counts[:, None]
            labels.append(LabelSums(tuple(column.texts), part.copy(), plan.label_cap))
            at += len(column.texts)
        shift = found.shift * temperature
        return Sums(temperature, shift, normalizer, mean, mean_log, tuple(labels), slopes)


def _slopes(means: NDArray[np.float64], width: float) -> Slopes:
    """Return what a line is made of, from weighted means of 1, u, u² times each channel."""
    step = means[1, :1]
    with_values = means[1, 1:] - means[0, 1:] * step
    spread = np.maximum(means[2, :1] - np.square(step), 0)
    both = np.concatenate([with_values * width, spread * width**2])
    return Slopes(step.T * width, both.T[:, :, None], ())
