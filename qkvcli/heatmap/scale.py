"""The colour scale: from weights to levels and colours, and the ticks of its bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.request import Request

LEVELS = 256
MIDDLE = np.float32((LEVELS - 1) / 2)
"""The level of 0 on the scale of a difference."""
SEQUENTIAL, DIVERGING = "Reds", "RdBu_r"
MISSING = (189, 189, 189)
"""The grey of a cell without a weight."""
_NARROWEST = 1e-300
_NEAR = 1e-4  # how far past the end of the scale a tick may lie, in steps
# ColorBrewer (Cynthia Brewer, Pennsylvania State University), as Matplotlib has them.
_STOPS = {
    "Reds": "fff5f0 fee0d2 fcbba1 fc9272 fb6a4a ef3b2c cb181d a50f15 67000d",
    "RdBu": "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061",
}


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
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            first, last = math.ceil(low - _NEAR), math.floor(high + _NEAR)
            every = max(1, math.ceil((last - first + 1) / most))
            values = [10.0**power for power in range(first, last + 1, every) if last > first]
            step: float = every
        else:
            step = nice_step((self.high / 2 - self.low / 2) / max(1, most - 1) * 2)
            # 0.9999988 is shown as 1, and has the tick of 1.
            first, last = math.ceil(self.low / step - _NEAR), math.floor(self.high / step + _NEAR)
            values = [number * step for number in range(first, last + 1)]
        if values and any(self.cut):
            values = self._with_cut_ends(values, step)
        if len(values) < 2:
            values = [self.low, self.high]
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

    def _with_cut_ends(self, inner: list[float], step: float) -> list[float]:
        """Put a tick where weights are cut off, for the mark on it, ``step`` from the next."""
        at = math.log10 if self.log else float
        low, high = at(self.low), at(self.high)
        if self.cut[0]:
            inner = [self.low, *(tick for tick in inner if at(tick) - low > step / 2)]
        if self.cut[1]:
            inner = [*(tick for tick in inner if high - at(tick) > step / 2), self.high]
        return inner


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


def scale_of(panels: Sequence[NDArray[np.floating]], request: Request, *, signed: bool) -> Scale:
    """Return the colour scale of some panels.

    Parameters
    ----------
    panels
        The weights.
    request
        What is asked of the scale: its ends, and whether it is logarithmic.
    signed
        Whether the scale is centred at 0, as that of a difference is.

    Raises
    ------
    UsageError
        A range that is empty, or not positive where it is logarithmic.
    """
    finite = [values[np.isfinite(values)] for values in panels]
    some = [values for values in finite if len(values)] or [np.zeros(1)]
    least, most = (float(end) for end in (min(v.min() for v in some), max(v.max() for v in some)))
    vmin, vmax = request.vmin, request.vmax
    high = most if vmax is None else vmax
    if request.log:  # 0 has no place on it
        positive = [values[values > 0] for values in some]
        least = min((float(values.min()) for values in positive if len(values)), default=0.0)
        low = least if vmin is None else vmin
        if low <= 0:
            what = "--vmin must be over 0" if vmin is not None else "no weight is over 0"
            raise UsageError(f"--log: {what}")
        if low == high and vmin is None:
            low /= 10
    elif signed:
        given = [abs(end) for end in (vmin, vmax) if end is not None]
        high = max(given) if given else max(abs(least), abs(most)) or 1.0
        low = -high
    else:
        low = min(0.0, least) if vmin is None else vmin
        if vmin is None and vmax is None and high <= low:
            high = low + 1
    if low < high:
        cut = (least < low and not (request.log and least == 0), most > high)
        return Scale(low, max(high, low + _NARROWEST), request.log, cut)
    if vmin is not None and vmax is not None:
        raise UsageError(f"--vmin {vmin:g} is not below --vmax {vmax:g}")
    given_end = "--vmin" if vmin is not None else "--vmax"
    raise UsageError(
        f"{given_end}: the colour scale would run from {low:g} to {high:g}; give both ends"
    )


# --- Colours ---


@dataclass(frozen=True)
class Palette:
    """A colour map: 256 colours, and the stops between which they are interpolated.

    Parameters
    ----------
    name
        As Matplotlib calls it.
    stops
        Evenly spaced colours, shape (n, 3), uint8.
    colours
        The 256 levels, shape (256, 3), uint8.
    """

    name: str
    stops: NDArray[np.uint8]
    colours: NDArray[np.uint8]

    def shown(self, *, missing: bool) -> NDArray[np.uint8]:
        """Return the colours, with grey for level 0 where it stands for no weight."""
        if not missing:
            return self.colours
        return np.concatenate([[MISSING], self.colours[1:]]).astype(np.uint8)


def palette(name: str) -> Palette:
    """Return a colour map by its name in Matplotlib: Reds and RdBu from their stops.

    Raises
    ------
    UsageError
        There is none of that name, with the nearest.
    """
    base = name.removesuffix("_r")
    if base not in _STOPS:
        from qkvcli.heatmap.plain_matplotlib import matplotlib_colormaps

        maps = matplotlib_colormaps()
        if name not in maps:
            hint = did_you_mean(name, list(maps))
            raise UsageError(f"--cmap: there is no colour map {name!r}{hint}")
        colours = maps[name](np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
        return Palette(name, colours, colours)
    stops = np.array([list(bytes.fromhex(stop)) for stop in _STOPS[base].split()], np.uint8)
    if name != base:
        stops = stops[::-1]
    at = np.linspace(0, len(stops) - 1, LEVELS)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
    return Palette(name, stops, np.stack(channels, axis=1).round().astype(np.uint8))
