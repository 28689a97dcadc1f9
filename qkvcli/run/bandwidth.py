"""The width of a kernel: given, or by a rule of thumb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Bandwidth
from qkvcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Source


def given(widths: Sequence[float], depth: int) -> Bandwidth:
    """Return widths as they were given: one for all key columns, or one for each.

    Raises
    ------
    UsageError
        Another number of them.
    """
    if len(widths) not in (1, depth):
        columns = (
            "1 key column; give 1" if depth == 1 else f"{depth} key columns; give 1 or {depth}"
        )
        message = f"`bandwidth` has {len(widths)} widths for {columns}"
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
    count, deviations = _deviations(source, np.float64)
    if not (np.isfinite(deviations) & (deviations > 0)).all():
        # Constant, or squares that are too large or too small for a double.
        count, deviations = _deviations(source, np.longdouble)
    depth = len(deviations)
    if count < 2:
        message = f"one row has no spread for `bandwidth={rule!r}`; give a number"
        raise InputError(message, source.name)
    for column, deviation in enumerate(deviations):
        if not deviation > 0:
            names = source.columns.key
            label = repr(names[column]) if len(names) == depth else str(column + 1)
            message = f"the key column {label} is constant, so {rule} gives no width; "
            raise InputError(message + "pass `bandwidth` with a number, or drop it", source.name)
    factor = count ** (-1 / (depth + 4))
    if rule == "silverman":
        factor = (count * (depth + 2) / 4) ** (-1 / (depth + 4))
    return Bandwidth(tuple((factor * deviations).astype(np.float64).tolist()), rule)


def _deviations(source: Source, dtype: type[np.floating]) -> tuple[int, NDArray[np.floating]]:
    """Return n and the standard deviation of each column."""
    count, mean, squares = 0, np.zeros(1, dtype), np.zeros(1, dtype)
    origin: NDArray[np.floating] | None = None
    for reference in source.blocks():
        block = reference.load()
        keys = np.array(block.keys, dtype)
        if not np.isfinite(keys).all():
            block.check()
        origin = keys[0].copy() if origin is None else origin
        with np.errstate(over="ignore", invalid="ignore"):
            keys -= origin  # what is constant is 0, and has no spread by rounding
            own_mean = keys.mean(axis=0)
            own = np.square(keys - own_mean).sum(axis=0)
            total = count + len(keys)
            shift = own_mean - mean
            squares = squares + own + np.square(shift) * (count * len(keys) / total)
            mean = mean + shift * (len(keys) / total)
        count = total
    return count, np.sqrt(squares / max(1, count - 1))
