"""The running sums of the online softmax, and how a tile of scores is added to them.

Per query the sums are relative to a reference score, ``peak``, which need not be the maximum: as
long as no exponent passes a guard, 0 will do, and subtracting it costs nothing. Tiles are scored
in base 2, in place, and meet the values in three matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.attention.shares import Shares, merge_all

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from qkvcli.blocks import Categories

LOG2E = math.log2(math.e)
_HIGHEST, _LOWEST = 60.0, -20.0
"""The base-2 exponents between which the reference 0 will do."""
_CLAMP: dict[int, float] = {4: -100.0, 8: -1000.0}
"""By the size of a float: exponents below are as good as none, and subnormal results are
13 to 200 times slower to compute."""
UNITS = (1e-30, 1e30)
"""The factors log₂e / T that float32 scores, or their queries, may be multiplied by."""


_NARROW, _MANY = 8, 128
"""Up to how many columns values are narrow; from how many queries on tiles are short enough for one
product to sum them as exactly as others do."""
_TOGETHER = 8
"""How many tiles' sums of values are added before they are converted."""
_SHARED = 1 << 16
"""How many equal numbers are kept for all tiles to use."""


class NotFiniteError(ArithmeticError):
    """A score that is NaN or +∞: there is NaN in the data, or the arithmetic overflowed."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the rows seen so far, each term weighted by exp((a − peak) / divisor).

    Parameters
    ----------
    divisor
        What scores are divided by.
    peak
        The reference score, of shape (Q,); of no meaning where ``mass`` is 0.
    mass
        The sum of the weights, (Q,); 0 where nothing was attended to.
    total
        The sum of the values, (Q, Dv).
    moment
        The sum of (a − peak) / divisor, (Q,), for the entropy.
    shares
        The sums by distinct value of each text column.
    slope, products, share_products
        The sums of ∂a/∂q (Q, D), of v ∂a/∂q (Q, Dv, D) and of the same by distinct text value.
    logits
        The scores themselves, where the whole matrix is wanted: (Q, K) in parts.
    """

    divisor: float
    peak: NDArray[np.float64]
    mass: NDArray[np.float64]
    total: NDArray[np.float64]
    moment: NDArray[np.float64] | None = None
    shares: tuple[Shares, ...] = ()
    slope: NDArray[np.float64] | None = None
    products: NDArray[np.float64] | None = None
    share_products: tuple[Shares, ...] = ()
    logits: tuple[NDArray[np.float64], ...] | None = None

    def merge(self, other: Sums) -> Sums:
        """Return the sums over the rows of both, this one's coming first."""
        peak = np.where(other.mass > 0, np.maximum(self.peak, other.peak), self.peak)
        peak = np.where(self.mass > 0, peak, other.peak)
        a, b = self._scale(peak), other._scale(peak)
        return Sums(
            self.divisor,
            peak,
            self.mass * a + other.mass * b,
            self.total * a[:, None] + other.total * b[:, None],
            _maybe(np.add, self._moment(peak, a), other._moment(peak, b)),
            merge_all(self.shares, other.shares, a, b),
            _scaled_sum(self.slope, other.slope, a, b),
            _scaled_sum(self.products, other.products, a, b),
            merge_all(self.share_products, other.share_products, a, b),
            None if self.logits is None else self.logits + (other.logits or ()),
        )

    def _scale(self, peak: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", under="ignore"):
            return np.where(self.mass > 0, np.exp((self.peak - peak) / self.divisor), 0.0)

    def _moment(
        self, peak: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        if self.moment is None:
            return None
        with np.errstate(over="ignore"):
            shift = np.where(scale > 0, (self.peak - peak) / self.divisor, 0.0)
        return scale * (self.moment + self.mass * shift)

    @property
    def perplexity(self) -> NDArray[np.float64] | None:
        """The effective number of keys, exp(entropy of the weights); NaN where there is none."""
        if self.moment is None:
            return None
        mass = np.where(self.mass > 0, self.mass, np.nan)
        found: NDArray[np.float64] = mass * np.exp(-self.moment / mass)  # exact for equal weights
        return np.where(found < 1, 1.0, found)


def _maybe(
    add: np.ufunc, a: NDArray[np.float64] | None, b: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    return None if a is None or b is None else add(a, b)


def _scaled_sum(
    a: NDArray[np.float64] | None,
    b: NDArray[np.float64] | None,
    mine: NDArray[np.float64],
    others: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    if a is None or b is None:
        return None
    axes = (-1, *(1,) * (a.ndim - 1))
    return a * mine.reshape(axes) + b * others.reshape(axes)


class Accumulator:
    """Sums in the making: tiles of scores of one block, added one after another.

    Parameters
    ----------
    queries, width
        Q, and Dv.
    divisor
        What scores are divided by to give log-weights.
    in_base_2
        Whether scores come as log₂ of the weights already.
    level
        Whether every score is 0 or −∞.
    bounded
        Whether scores may be −∞.
    perplexity
        Whether to keep the moment.
    guard
        Whether exponents may rise to the guard; else weights are at most 1, so that sums of large
        values stay finite.
    """

    def __init__(  # noqa: PLR0913 - what a sum is of
        self,
        queries: int,
        width: int,
        divisor: float,
        *,
        in_base_2: bool = False,
        level: bool = False,
        bounded: bool = False,
        perplexity: bool = False,
        guard: bool = True,
    ) -> None:
        self._divisor = divisor
        self._factor = LOG2E / divisor
        self._unit = 1.0 if in_base_2 else self._factor
        self._in_base_2 = in_base_2
        self._level = level
        self._bounded = bounded
        self._clamps = False
        self._peak = np.zeros(queries)
        self._ends = 0.0, 0.0  # the least and the largest of the references
        self._is_narrow = width <= _NARROW and queries >= _MANY
        self._mass, self._total = np.zeros(queries), np.zeros((queries, width))
        if self._is_narrow:  # the sums of 1 and of the values, side by side
            self._sums = np.zeros((queries, 1 + width))
            self._mass, self._total = self._sums[:, 0], self._sums[:, 1:]
        self._moment = np.zeros(queries) if perplexity else None
        self._shares: list[Shares] = []
        self._held: NDArray[np.floating] | None = None
        self._tiles_held = 0
        self._fresh = True
        self._highest = _HIGHEST if guard else 0.0

    def pool_text(self, columns: list[Categories], cap: int) -> None:
        """Get ready to pool the text columns of the block, once."""
        self._shares = self._shares or [
            Shares.of(column, len(self._mass), cap) for column in columns
        ]

    def ready(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return values (K, Dv) as ``add`` takes them: narrow ones with a column of 1 before them.

        One product sums the weights and the weighted values then.
        """
        if not self._is_narrow:
            return values
        return np.concatenate([np.ones((len(values), 1), values.dtype), values], axis=1)

    def add(
        self,
        scores: NDArray[np.floating],
        values: NDArray[np.floating],
        codes: list[NDArray[np.intp]],
        low: float = -math.inf,
        high: float = math.inf,
    ) -> NDArray[np.floating]:
        """Add a tile: scores (K, Q), which are overwritten, values and codes of texts.

        Values are as ``ready`` returns them. Where no score is below ``low`` or above ``high``,
        there is less to look for.

        Returns
        -------
        ndarray
            The weights (K, Q) relative to the peaks as they are now.
        """
        if self._level:
            weights = self._level_weights(scores)
        else:
            weights = self._softmax_weights(scores, low, high)
        # Unlike ``@``, ``dot`` always lets other threads run, also for few queries.
        if self._is_narrow:
            self._sums += np.dot(weights.T, values)
        else:
            self._mass += constants(1.0, len(weights), weights.dtype) @ weights
            self._hold(np.dot(weights.T, values))
        for share, code in zip(self._shares, codes, strict=True):
            share.add(weights, code)
        self._fresh = self._fresh and not self._mass.all()
        return weights

    def _hold(self, total: NDArray[np.floating]) -> None:
        """Add a tile's sums of values to those of some others, before all are added in float64.

        That they are converted takes five times as long as to add them.
        """
        if self._held is None:
            self._held = total
        else:
            self._held += total
        self._tiles_held += 1
        if self._tiles_held == _TOGETHER:
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._total += self._held
            self._held, self._tiles_held = None, 0

    def _level_weights(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        np.isfinite(scores, out=scores, casting="unsafe")
        return scores

    def _softmax_weights(
        self, scores: NDArray[np.floating], low: float, high: float
    ) -> NDArray[np.floating]:
        if scores.itemsize == 4 and not UNITS[0] < self._unit < UNITS[1]:  # noqa: PLR2004
            scores = scores.astype(np.float64)
        if not self._suits(low, high):
            self._set_peaks(scores, low)
        if self._ends != (0.0, 0.0):
            with np.errstate(over="ignore"):  # 1e308 − (−1e308) is far enough apart as −∞
                scores -= self._peak
        if self._unit != 1:
            with np.errstate(over="ignore"):
                scores *= self._unit
        hidden = np.isneginf(scores) if self._bounded else None
        if (low - self._ends[1]) * self._unit < _CLAMP[scores.itemsize]:
            self._clamp(scores)
        weights = scores if self._moment is None else np.empty_like(scores)
        np.exp2(scores, out=weights)
        if hidden is not None:
            weights[hidden] = 0
        if self._moment is not None:
            self._moment += np.einsum("kq,kq->q", weights, scores) / LOG2E
        return weights

    def _clamp(self, exponents: NDArray[np.floating]) -> None:
        """Raise what is too low for ``exp2``, once anything is: to look is half the work."""
        lowest = _CLAMP[exponents.itemsize]
        self._clamps = self._clamps or bool(exponents.min(initial=0) < lowest)
        if self._clamps:
            # With an array in its order np.maximum is twice as fast as with one number.
            size = exponents.size
            row = size if size % _SHARED else _SHARED
            rows = exponents.reshape(-1, order="A").reshape(-1, row)  # as it lies in memory
            np.maximum(rows, constants(lowest, row, rows.dtype), out=rows)

    def _suits(self, low: float, high: float) -> bool:
        """Whether scores between these need no other references."""
        if (high - self._ends[0]) * self._unit > self._highest:
            return False
        return not self._fresh or (low - self._ends[1]) * self._unit >= _LOWEST

    def _set_peaks(self, scores: NDArray[np.floating], low: float) -> None:
        """Move the references where this tile's exponents would pass the guard."""
        highest = float(scores.max(initial=-np.inf))
        if not highest < np.inf:
            raise NotFiniteError
        if self._suits(low, highest):
            return
        tops = scores.max(axis=0, initial=-np.inf).astype(np.float64)
        if not self._bounded and np.isneginf(tops).any():
            raise NotFiniteError  # every score of a query is below what its floats can hold
        with np.errstate(over="ignore", invalid="ignore"):
            exponents = (tops - self._peak) * self._unit
            fresh = (self._mass == 0) & (tops > -np.inf)
            high = exponents > self._highest
        moved = np.where(fresh & ~((exponents >= _LOWEST) & ~high), tops, self._peak)
        moved = np.where(high, tops, moved)
        if (moved != self._peak).any():
            self._rescale(moved)

    def _rescale(self, peak: NDArray[np.float64]) -> None:
        self._release()
        with np.errstate(over="ignore"):
            shift = np.where(self._mass > 0, (self._peak - peak) * self._unit, 0.0)
        scale = np.where(self._mass > 0, np.exp2(shift), 0.0)
        if self._moment is not None:
            logs = np.where(scale > 0, shift, 0.0) / LOG2E
            self._moment = scale * (self._moment + self._mass * logs)
        self._mass *= scale
        self._total *= scale[:, None]
        for share in self._shares:
            share.sums[...] *= scale[:, None]
        self._peak = peak
        self._ends = float(peak.min()), float(peak.max())

    def sums(self) -> Sums:
        """Return what was added, if it is finite."""
        self._release()
        if not np.isfinite(self._total).all():
            raise NotFiniteError
        peak = self._peak / self._factor if self._in_base_2 else self._peak
        return Sums(self._divisor, peak, self._mass, self._total, self._moment, tuple(self._shares))


def constants(value: float, count: int, dtype: DTypeLike) -> NDArray[np.floating]:
    """Return an array of equal numbers, which is not to be written to."""
    if count > _SHARED:
        return np.full(count, value, dtype)
    return _kept(value, np.dtype(dtype))[:count]


@cache
def _kept(value: float, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    kept = np.full(_SHARED, value, dtype)
    kept.flags.writeable = False
    return kept
