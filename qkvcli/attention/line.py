"""Sums over keys on a line, one key column, in less than the time of all pairs.

Keys are sorted once. What is wanted of a query t is Σ w(t − s) (s − t)^j c over the keys s, where w
is a kernel and c is 1, a value or a label's indicator. A bounded kernel is a polynomial on either
side of t: its sums are those of boxes as wide as the kernel, each summed from both ends. The
Laplacian's sums from the left and from the right are recursions. The Gaussian's come from Taylor
series of boxes of half its width (the fast Gauss transform of Greengard and Strain 1991, in the
form of Yang, Duraiswami and Gumerov 2003). Nothing is subtracted but what is known exactly, so that
small sums are as exact as large ones; where the Gaussian's would not be, and where a width is so
narrow that few keys are near, the pairs that matter are summed one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

BOUNDED = {"boxcar": 0, "triangular": 1, "epanechnikov": 2}
"""The kernels that are a polynomial in the distance on either side, and its degree."""
_TERMS = 14
"""Terms of a Taylor series: over a quarter of a width they leave 0.25¹⁴ / √14! = 1.3e-14."""
_BOX, _REACH = 0.5, 19
"""How wide a box is, in widths, and how many boxes are looked at to either side: 9 widths, beyond
which a key has a weight under 3e-18."""
_SURE = 1e-5
"""What part of the keys in reach a sum must come to, for its rounding to be below 1e-9."""
_NEGLIGIBLE = 40.0
"""The logarithm of what part of the largest weight is nothing, beside 10⁶ others: e⁻⁴⁰."""
_LOOKED_AT = 512
"""Of how many queries the pairs that matter are counted, to tell what they would cost."""
_WIDEST = 1 << 22
"""How many widths from end to end boxes are made of: beyond, their places lose digits."""
_PAIRS = 1 << 17
"""How many pairs are weighed at a time, and how many queries: what stays in a core's cache."""


class Targets(NamedTuple):
    """Queries on the line, in rising order.

    Parameters
    ----------
    at
        Where they are, (Q,).
    left, right
        Keys before ``left`` are to the left or at the query; those from ``right`` on to the right
        or at it, (Q,). Between them is what is left out: nothing, or the query's own row.
    """

    at: Floats
    left: Places
    right: Places

    def pick(self, places: Places | NDArray[np.bool_]) -> Targets:
        """Return some of them."""
        return Targets(self.at[places], self.left[places], self.right[places])


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of each query.

    Parameters
    ----------
    shift
        What the logarithms of weights are relative to, (Q,).
    sums
        Σ w (s − t)^j c in units of the width, (J + 1, C, Q).
    distances
        Σ w |s − t| of the weights alone, in units of the width, where the kernel is Laplacian.
    """

    shift: Floats
    sums: Floats
    distances: Floats | None = None


@dataclass(frozen=True, eq=False)
class Line:
    """Keys in rising order (K,), and what is summed of them (C, K), the first row being ones."""

    keys: Floats
    channels: Floats

    @cached_property
    def distinct(self) -> tuple[Floats, Places]:
        """The distinct keys, and at which place each begins, with the count of all at the end."""
        new = np.flatnonzero(np.diff(self.keys, prepend=-np.inf) > 0)
        return self.keys[new], np.append(new, len(self.keys))

    def targets(self, at: Floats) -> Targets:
        """Return queries, which are in rising order, that attend to all keys."""
        places = np.searchsorted(self.keys, at, "right")
        return Targets(at, places, places)

    def own(self, places: Places) -> Targets:
        """Return the keys at some places, rising, as queries that do not attend to themselves."""
        return Targets(self.keys[places], places, places + 1)

    def moments(
        self, kernel: str, width: float, targets: Targets, *, most: int = 0, power: int = 1
    ) -> Moments:
        """Return the sums of each query, of moments 0 to ``most``.

        ``power`` is that of a bounded kernel's weights, 1 or 2.
        """
        if kernel in BOUNDED:
            return self._bounded(kernel, width, targets, most, power)
        return (self._laplacian if kernel == "laplacian" else self._gaussian)(width, targets, most)

    def _window(
        self,
        targets: Targets,
        radius: Floats | float,
        inside: Callable[[Floats], NDArray[np.bool_]],
    ) -> tuple[Places, Places]:
        """Return the run of keys of each query that are not farther than its radius.

        ``inside`` says of differences exactly which are, as of a boxcar it matters at the edge.
        """
        keys, starts = self.distinct
        last = len(keys) - 1
        low = np.searchsorted(keys, targets.at - radius, "left")
        high = np.searchsorted(keys, targets.at + radius, "right")
        for ends, inner, outer in ((low, 0, -1), (high, -1, 0)):
            step = outer - inner
            for _ in range(2):  # rounding displaces an end by one key at most
                ends[...] += (
                    step
                    * inside(targets.at - keys[np.clip(ends + outer, 0, last)])
                    * ((ends + outer >= 0) & (ends + outer <= last))
                )
            outside = ~inside(targets.at - keys[np.clip(ends + inner, 0, last)])
            ends[...] -= step * outside * (low < high)
        return starts[low], starts[np.maximum(low, high)]

    def _bounded(
        self, kernel: str, width: float, targets: Targets, most: int, power: int
    ) -> Moments:
        factor = 1 / width**2

        def inside(apart: Floats) -> NDArray[np.bool_]:
            squares = np.square(apart) * factor  # as in the score
            if kernel == "boxcar":
                return squares <= 1
            return (np.sqrt(squares) if kernel == "triangular" else squares) < 1

        low, high = self._window(targets, width, inside)
        degree = BOUNDED[kernel] * power
        total = np.zeros((most + degree + 1, *self._shape(targets)))
        right = total.copy()
        wide = np.ptp(self.keys) > _WIDEST * width
        if not wide:
            box = np.floor((self.keys - self.keys[0]) / width).astype(np.int64)
            own = np.floor((targets.at - self.keys[0]) / width).astype(np.int64)
            same = box[1:] == box[:-1]
            sums = _scanned(self._scaled_steps(width), self.channels, most + degree, same=same)
            for into, ends, other in (
                (total, (low, targets.left), (own - 1, own)),
                (right, (targets.right, high), (own, own + 1)),
            ):
                for scan, place, where in (
                    (sums[1], ends[0], other[0]),
                    (sums[0], ends[1] - 1, other[1]),
                ):
                    self._add(into, scan, place, targets.at, width, box, where, ends)
        sign = {"boxcar": [1.0], "triangular": [1.0, 1.0], "epanechnikov": [1.0, 0.0, -1.0]}[kernel]
        found = []
        for part, mirrored in ((total, 1), (right, -1)):
            terms = [c * mirrored**i for i, c in enumerate(sign)]
            polynomial = terms if power == 1 else np.convolve(terms, terms)
            found.append(
                [sum(c * part[j + i] for i, c in enumerate(polynomial)) for j in range(most + 1)]
            )
        result = Moments(np.zeros(len(targets.at)), np.asarray(found[0]) + np.asarray(found[1]))
        count = high - low - (targets.right - targets.left)
        doubtful = (count > 0) & (result.sums[0, 0] < _SURE * count)
        if wide:
            doubtful[:] = True
        else:
            # A key that rounding put two boxes away is summed with its own box alone.
            last = len(self.keys) - 1
            doubtful |= (high > low) & (box[np.minimum(low, last)] < own - 1)
            doubtful |= (high > low) & (box[np.maximum(high - 1, 0)] > own + 1)
        return self._mended(result, kernel, width, targets, (low, high), doubtful, power)

    def _add(  # noqa: PLR0913, PLR0917 - a run's end, and where it lies
        self,
        into: Floats,
        scan: Floats,
        place: Places,
        at: Floats,
        width: float,
        box: NDArray[np.int64],
        where: NDArray[np.int64],
        run: tuple[Places, Places],
    ) -> None:
        """Add the sums of that part of a run of keys which lies in one box, moved to the query."""
        safe = np.clip(place, 0, len(box) - 1)
        some = np.flatnonzero((run[0] < run[1]) & (box[safe] == where))
        for start in range(0, len(some), _PAIRS):
            part = some[start : start + _PAIRS]
            apart = (self.keys[safe[part]] - at[part]) / width
            into[..., part] += _moved(scan[..., safe[part]], apart)

    def _shape(self, targets: Targets) -> tuple[int, int]:
        return len(self.channels), len(targets.at)

    def _scaled_steps(self, width: float) -> Floats:
        return np.diff(self.keys) / width

    def _laplacian(self, width: float, targets: Targets, most: int) -> Moments:
        forward, backward = _scanned(self._scaled_steps(width), self.channels, max(1, most))
        last = len(self.keys) - 1
        sums = []
        apart = []
        for scan, place, there in (
            (forward, targets.left - 1, targets.left > 0),
            (backward, targets.right, targets.right <= last),
        ):
            safe = np.clip(place, 0, last)
            steps = np.where(there, (self.keys[safe] - targets.at) / width, np.inf)
            apart.append(np.abs(steps))
            moved = _moved(scan[..., safe], np.where(there, steps, 0))
            moved *= there
            sums.append(moved)
        shift = -np.minimum(*apart)
        shift[~np.isfinite(shift)] = 0
        total = np.zeros_like(sums[0])
        distances = np.zeros(len(shift))
        for part, far, sign in zip(sums, apart, (-1, 1), strict=True):
            weighed = part * np.exp(-far - shift)
            total += weighed
            distances += sign * weighed[1, 0]
        return Moments(shift, total[: most + 1], distances)

    def _gaussian(self, width: float, targets: Targets, most: int) -> Moments:
        count = len(targets.at)
        some = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.intp))
        low, high = self._neighbours(width, targets.pick(some))
        pairs = float((high - low).mean()) * count if count else 0.0
        boxes = min(float(np.ptp(self.keys) / width / _BOX), len(self.keys)) + 1
        series = 40e-9 * boxes * (2 * _REACH + 1) * len(self.channels) * 4
        series += 3e-9 * (len(self.keys) + count) * _TERMS * len(self.channels)
        result = Moments(np.zeros(count), np.zeros((most + 1, *self._shape(targets))))
        doubtful = np.ones(count, np.bool_)
        if pairs * 60e-9 >= series and boxes * _BOX <= _WIDEST:
            result.sums[...] = _series(self, width, targets.at, most)
            left_out = targets.right > targets.left
            if left_out.any():  # at a distance of 0 they have the weight 1
                some = np.flatnonzero(left_out)
                result.sums[0][:, some] -= self.channels[:, targets.left[some]]
            doubtful = ~(result.sums[0, 0] >= _SURE * len(self.keys) + 1e-3)
        low, high = np.zeros((2, count), np.intp)
        some = np.flatnonzero(doubtful)
        low[some], high[some] = self._neighbours(width, targets.pick(some))
        doubtful[some] = ~(result.sums[0, 0, some] >= _SURE * (high - low)[some] + 1e-3)
        return self._mended(result, "gaussian", width, targets, (low, high), doubtful, 1)

    def _neighbours(self, width: float, targets: Targets) -> tuple[Places, Places]:
        """Return the run of keys that have any weight beside the nearest that is attended to."""
        last = len(self.keys) - 1
        near = np.full(len(targets.at), np.inf)
        for place, there in (
            (targets.left - 1, targets.left > 0),
            (targets.right, targets.right <= last),
        ):
            apart = np.abs(self.keys[np.clip(place, 0, last)] - targets.at) / width
            near = np.minimum(near, np.where(there, apart, np.inf))
        near[~np.isfinite(near)] = 0
        radius = np.sqrt(np.square(near) + 2 * _NEGLIGIBLE) * width
        low = np.searchsorted(self.keys, targets.at - radius, "left")
        return low, np.searchsorted(self.keys, targets.at + radius, "right")

    def _mended(  # noqa: PLR0913, PLR0917 - what is known of a sum
        self,
        result: Moments,
        kernel: str,
        width: float,
        targets: Targets,
        window: tuple[Places, Places],
        doubtful: NDArray[np.bool_],
        power: int,
    ) -> Moments:
        """Return sums of which those in doubt are made pair by pair."""
        some = np.flatnonzero(doubtful)
        low, high = window
        result.sums[..., some] = 0
        for part, starts, pairs, keys in _ragged(some, low, high):
            apart = (self.keys[keys] - targets.at[pairs]) / width
            logs = _log_kernel(kernel, np.square(apart)) * power
            logs[(keys >= targets.left[pairs]) & (keys < targets.right[pairs])] = -np.inf
            shift = np.maximum.reduceat(logs, starts)
            shift[shift == -np.inf] = 0
            result.shift[part] = shift
            logs -= np.repeat(shift, np.diff(starts, append=len(logs)))
            found = np.exp(np.maximum(logs, -700, out=logs), where=logs > -700, out=logs * 0)
            for moment in result.sums:
                for sums, channel in zip(moment, self.channels, strict=True):
                    sums[part] = np.add.reduceat(found * channel[keys], starts)
                found = found * apart
        return result


def _log_kernel(kernel: str, squares: Floats) -> Floats:
    if kernel == "gaussian":
        return squares * -0.5
    if kernel == "boxcar":
        return np.zeros_like(squares)
    inside = 1 - (np.sqrt(squares) if kernel == "triangular" else squares)
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.maximum(inside, 0))
    return logs


def _ragged(
    some: Places, low: Places, high: Places
) -> Iterator[tuple[Places, Places, Places, Places]]:
    """Yield queries, where the pairs of each begin, and the query and the key of each pair."""
    some = some[high[some] > low[some]]
    counts = high[some] - low[some]
    ends = np.cumsum(counts)
    start = 0
    while start < len(some):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, "right")))
        part, own = some[start:stop], counts[start:stop]
        starts = np.cumsum(own) - own
        keys = np.arange(own.sum()) + np.repeat(low[part] - starts, own)
        yield part, starts, np.repeat(part, own), keys
        start = stop


def _moved(moments: Floats, apart: Floats) -> Floats:
    """Return moments (J + 1, C, …) about points that lie ``apart`` below those they are about."""
    moved = np.empty_like(moments)
    powers = [np.ones_like(apart)]
    for _ in moments[1:]:
        powers.append(powers[-1] * apart)
    for j in range(len(moments)):
        moved[j] = moments[j]
        for i in range(j):
            moved[j] += math.comb(j, i) * powers[j - i] * moments[i]
    return moved


def _scanned(
    steps: Floats, channels: Floats, most: int, same: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """Return at each key the moments of the keys up to it, and of those from it on.

    They are about the key itself; of keys in one box where ``same`` says which neighbours are, else
    with weights that fall as e to the distance. Each is a scan by doubling, in which runs that are
    known are put together (Hillis and Steele 1986).
    """
    decay = np.exp(-steps) if same is None else same.astype(np.float64)
    after = _scan(steps[::-1], decay[::-1], channels[:, ::-1], most)[..., ::-1].copy()
    after[1::2] *= -1
    return _scan(steps, decay, channels, most), after


def _scan(steps: Floats, decay: Floats, channels: Floats, most: int) -> Floats:
    count = channels.shape[1]
    moments = np.zeros((most + 1, *channels.shape))
    moments[0] = channels
    reach = 1
    # What lies between a key and that ``reach`` before it, and the weight of that.
    steps, decay = steps.copy(), decay.copy()
    while reach < count and decay.any():
        near = np.flatnonzero(decay)
        new = np.empty((most + 1, len(channels), len(near)))
        for start in range(0, len(near), _PAIRS):
            at = near[start : start + _PAIRS]
            part = _moved(moments[..., at], -steps[at])
            part *= decay[at]
            new[..., start : start + _PAIRS] = part
        moments[..., near + reach] += new
        steps = steps[reach:] + steps[:-reach] if len(steps) > reach else steps[:0]
        decay = decay[reach:] * decay[:-reach] if len(decay) > reach else decay[:0]
        decay[decay < math.exp(-_NEGLIGIBLE - 10)] = 0
        reach *= 2
    return moments


@cache
def _transfers() -> Floats:
    """Return for each offset of a source's box what turns its moments into a Taylor series.

    A source at c + a and a target at c' + b, D = c' − c, have
    g(D + b − a) = Σ (−a)^k b^j g⁽ᵏ⁺ʲ⁾(D) / (k! j!), and the derivatives of g(x) = exp(−x²/2) are
    (−1)ⁿ Heₙ(x) g(x).
    """
    found = np.empty((2 * _REACH + 1, _TERMS, _TERMS))
    for offset in range(-_REACH, _REACH + 1):
        x = -offset * _BOX
        hermite = [1.0, x]
        for n in range(1, 2 * _TERMS - 2):
            hermite.append(x * hermite[n] - n * hermite[n - 1])
        g = math.exp(-x * x / 2)
        for k in range(_TERMS):
            for j in range(_TERMS):
                sign = (-1) ** (k + j) * (-1) ** k
                value = sign * hermite[k + j] * g / (math.factorial(k) * math.factorial(j))
                found[offset + _REACH, k, j] = value
    return found


def _series(line: Line, width: float, at: Floats, most: int) -> Floats:
    """Return Σ exp(−u²/2) u^j c over all keys, u = (s − t)/h, by the fast Gauss transform."""
    origin, box = line.keys[0], width * _BOX
    channels = len(line.channels)

    def boxed(places: Floats) -> tuple[NDArray[np.int64], Floats, Places]:
        apart = (places - origin) / box
        index = np.floor(apart)
        apart -= index + 0.5
        new = np.flatnonzero(np.diff(index, prepend=index[:1] - 1))
        return index[new].astype(np.int64), apart * _BOX, new

    sources, sigma, starts = boxed(line.keys)
    sums = np.empty((_TERMS, channels, len(sources)))
    for c, channel in enumerate(line.channels):
        term = channel.copy()
        for k in range(_TERMS):
            sums[k, c] = np.add.reduceat(term, starts)
            term *= sigma
    inside = np.clip(at, line.keys[0] - 20 * width, line.keys[-1] + 20 * width)
    itself = len(at) == len(line.keys) and np.array_equal(inside, line.keys)
    boxes, tau, firsts = (sources, sigma, starts) if itself else boxed(inside)
    local = np.zeros((channels, len(boxes), _TERMS))
    flat = sums.transpose(1, 2, 0).copy()
    for offset, matrix in zip(range(-_REACH, _REACH + 1), _transfers(), strict=True):
        place = np.minimum(np.searchsorted(sources, boxes + offset), len(sources) - 1)
        found = np.flatnonzero(sources[place] == boxes + offset)
        if len(found) == len(boxes) and len(found):
            local += flat[:, place] @ matrix
        elif len(found):
            local[:, found] += flat[:, place[found]] @ matrix
    owner = np.repeat(np.arange(len(boxes)), np.diff(firsts, append=len(at)))
    return _evaluated(local.transpose(2, 0, 1).copy(), owner, tau, most)


def _evaluated(coefficients: Floats, owner: Places, tau: Floats, most: int) -> Floats:
    """Return the Taylor series of each query's box at the query, with ``most`` moments more.

    For each channel they are the value, the first derivative and half the second, by Horner's rule.
    """
    channels, count = coefficients.shape[1], len(tau)
    result = np.empty((most + 1, channels, count))
    for start in range(0, count, _PAIRS):
        part = slice(start, start + _PAIRS)
        own, x = owner[part], tau[part]
        for c in range(channels):
            found: list[Floats] = [np.zeros_like(x) for _ in range(most + 1)]
            for k in reversed(range(_TERMS)):
                for j in range(most, 0, -1):
                    found[j] = found[j] * x + found[j - 1]
                found[0] = found[0] * x + coefficients[k, c][own]
            result[0, c, part] = found[0]
            if most:  # Σ g u = G'
                result[1, c, part] = found[1]
            if most > 1:  # Σ g u² = G'' + G
                result[2, c, part] = 2 * found[2] + found[0]
    return result
