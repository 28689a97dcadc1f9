"""The colour scale: from weights to levels, and the ticks of its bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.request import ScaleOptions

LEVELS = 256
MIDDLE = np.float32((LEVELS - 1) / 2)
"""The level of 0 on the scale of a difference."""
_NARROWEST = 1e-300
_NEAR = 1e-4  # how far past the end of the scale a tick may lie, in steps


@dataclass(frozen=True)
class Scale:
    """A colour scale from ``low`` to ``high``.

    Parameters
    ----------
    low, high
        The weights of the first and the last level.
    log
        Whether levels are even in the logarithm.
    cut
        Whether there are weights below ``low``, and above ``high``.
    """

    low: float
    high: float
    log: bool = False
    cut: tuple[bool, bool] = (False, False)

    def levels(self, values: NDArray[np.floating]) -> tuple[NDArray[np.uint8], int]:
        """Return the level, 0 to 255, of every weight, as Matplotlib's ``Normalize`` would.

        With it comes how many are NaN or infinite: those are level 0, and the lowest weights
        beside them level 1.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.clip(self._share(values) * LEVELS, 0, LEVELS - 1)
            missing = ~np.isfinite(values)
            count = int(np.count_nonzero(missing))
            if count:
                share = np.where(missing, 0, np.maximum(share, 1))
        return share.astype(np.uint8), count

    def _share(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        if max(-self.low, self.high) > float(np.finfo(values.dtype).max):  # as the user may say
            values = values.astype(np.float64)
        if not self.log:
            # Halved, so that a range from -1e308 to 1e308 has a width.
            return (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        low, high = math.log(self.low), math.log(self.high)
        shares: NDArray[np.floating] = (np.log(np.maximum(values, 0)) - low) / (high - low)
        return shares

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Return at most about ``most`` ticks, as (share of the bar from its foot, label)."""
        values = self._log_ticks(most) if self.log else self._linear_ticks(most)
        texts = self.texts(values)
        if self.cut[0] and values[0] == self.low:
            texts[0] = f"≤{texts[0]}"
        if self.cut[1] and values[-1] == self.high:
            texts[-1] = f"≥{texts[-1]}"
        shares = np.clip(self._share(np.array(values, dtype=np.float64)), 0, 1)
        return list(zip(shares.tolist(), texts, strict=True))

    def texts(self, values: Sequence[float]) -> list[str]:
        """Return weights as short texts; what is next to nothing of a linear scale is 0.

        Examples
        --------
        >>> Scale(0, 0.5).texts([1e-12, 0.25, 0.5])
        ['0', '0.25', '0.5']
        """
        floor = 0.0 if self.log else max(abs(value) for value in values) * 1e-9
        texts = [f"{0.0 if abs(value) < floor else value:.4g}" for value in values]
        return [text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") for text in texts]

    def _linear_ticks(self, most: int) -> list[float]:
        step = nice_step((self.high / 2 - self.low / 2) / max(1, most - 1) * 2)
        # 0.9999988 is shown as 1, and has the tick of 1.
        first, last = math.ceil(self.low / step - _NEAR), math.floor(self.high / step + _NEAR)
        inner = [number * step for number in range(first, last + 1)]
        return self._with_cut_ends(inner, step, float)

    def _log_ticks(self, most: int) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        first, last = math.ceil(low - _NEAR), math.floor(high + _NEAR)
        if last - first < 1:
            return [self.low, self.high]
        every = math.ceil((last - first + 1) / most)
        inner = [10.0**power for power in range(first, last + 1, every)]
        return self._with_cut_ends(inner, every, math.log10)

    def _with_cut_ends(
        self, inner: list[float], step: float, at: Callable[[float], float]
    ) -> list[float]:
        """Put a tick where weights are cut off, for the mark on it, ``step`` from the next."""
        low, high = at(self.low), at(self.high)
        if self.cut[0]:
            inner = [self.low, *(tick for tick in inner if at(tick) - low > step / 2)]
        if self.cut[1]:
            inner = [*(tick for tick in inner if high - at(tick) > step / 2), self.high]
        return inner if len(inner) > 1 else [self.low, self.high]


def nice_step(least: float) -> float:
    """Return the least of 1, 2, 2.5 or 5 times a power of ten that is not below a number.

    Examples
    --------
    >>> nice_step(0.13), nice_step(0.21), nice_step(3)
    (0.2, 0.25, 5.0)
    """
    power = math.floor(math.log10(least))
    for factor in (1, 2, 2.5, 5, 10):
        step = float(f"{factor}e{power}")
        if step >= least * (1 - 1e-9):
            return step
    return math.inf


def scales(
    panels: Sequence[NDArray[np.floating]], options: ScaleOptions, *, signed: bool
) -> list[Scale]:
    """Return the colour scale of every panel: one object for all, or one each.

    Parameters
    ----------
    panels
        The weights.
    options
        As the command line says.
    signed
        Whether the scale is centred at 0, as that of a difference is.

    Raises
    ------
    UsageError
        A range that is empty, or not positive where it is logarithmic.
    """
    if options.panel:
        return [_scale([values], options, signed=signed) for values in panels]
    return [_scale(panels, options, signed=signed)] * len(panels)


def _scale(panels: Sequence[NDArray[np.floating]], options: ScaleOptions, *, signed: bool) -> Scale:
    finite = [values[np.isfinite(values)] for values in panels]
    some = [values for values in finite if len(values)] or [np.zeros(1)]
    least, most = (float(end) for end in (min(v.min() for v in some), max(v.max() for v in some)))
    if options.log:
        return _log_scale(some, options, most)
    if signed:
        given = [abs(end) for end in (options.vmin, options.vmax) if end is not None]
        high = max(given) if given else max(abs(least), abs(most)) or 1.0
        low = -high
    else:
        low = min(0.0, least) if options.vmin is None else options.vmin
        high = most if options.vmax is None else options.vmax
        if options.vmin is None and options.vmax is None and high <= low:
            high = low + 1
    return _checked(low, high, options, (least < low, most > high))


def _log_scale(some: Sequence[NDArray[np.floating]], options: ScaleOptions, most: float) -> Scale:
    """Return a logarithmic scale, on which 0 has no place."""
    positive = [values[values > 0] for values in some]
    least = min((float(values.min()) for values in positive if len(values)), default=0.0)
    low = least if options.vmin is None else options.vmin
    high = most if options.vmax is None else options.vmax
    if low <= 0:
        what = "--vmin must be over 0" if options.vmin is not None else "no weight is over 0"
        raise UsageError(f"--log: {what}")
    if low == high and options.vmin is None:
        low /= 10
    return _checked(low, high, options, (0 < least < low, most > high))


def _checked(low: float, high: float, options: ScaleOptions, cut: tuple[bool, bool]) -> Scale:
    if low < high:
        return Scale(low, max(high, low + _NARROWEST), options.log, cut)
    if options.vmin is not None and options.vmax is not None:
        raise UsageError(f"--vmin {options.vmin:g} is not below --vmax {options.vmax:g}")
    given = "--vmin" if options.vmin is not None else "--vmax"
    raise UsageError(
        f"{given}: the colour scale would run from {low:g} to {high:g}; give both ends"
    )
