"""The width of a kernel: given, or by a rule of thumb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Bandwidth
from qkvcli.errors import InputError, UsageError
from qkvcli.scores.vector import ProductScore, VectorScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Columns, Source


def kernel_score(
    name: str, widths: Sequence[float], columns: Columns, *, ranked: bool = False
) -> VectorScore:
    """Return a kernel of some widths over the key columns, and those of its categories."""
    if not columns.categories:
        return VectorScore(name, tuple(widths), ranked=ranked)
    every = tuple(widths) * (len(columns.key) if len(widths) == 1 else 1)
    return ProductScore(name, every, ranked=ranked, categories=columns.categories)


def largest(levels: int) -> float:
    """Return the width λ at which a category says nothing, or for an ordered one least."""
    return (levels - 1) / levels if levels > 1 else 1.0


def given(widths: Sequence[float], depth: int, columns: Columns | None = None) -> Bandwidth:
    """Return widths as they were given: one for all key columns, or one for each.

    Raises
    ------
    UsageError
        Another number of them, or one beyond what a category has.
    """
    if len(widths) not in (1, depth):
        wanted = "1 key column; give 1" if depth == 1 else f"{depth} key columns; give 1 or {depth}"
        raise UsageError(f"`bandwidth` has {len(widths)} widths for {wanted}")
    for at, levels in columns.categories if columns else ():
        _check_share(widths[min(at, len(widths) - 1)], levels, columns.key[at] if columns else "")
    return Bandwidth(tuple(widths))


def _check_share(width: float, levels: int, name: str) -> None:
    """Refuse a width that a category cannot have, at which equal values would count least."""
    most = largest(levels)
    if width < most or (levels > 1 and width == most):
        return
    if levels:
        what = f"the categorical column {name!r}: of its {levels} values it is a share up to "
        raise UsageError(f"`bandwidth` {width:g} for {what}{most:.4g}")
    raise UsageError(f"`bandwidth` {width:g} for the ordered column {name!r}: it is below 1")


def by_rule(rule: str, source: Source) -> Bandwidth:
    """Return ``scott`` or ``silverman`` widths: SciPy's factor times each column's deviation.

    With n rows of D columns the factor is n^(−1/(D+4)) for Scott's rule and
    (n (D + 2) / 4)^(−1/(D+4)) for Silverman's, as in ``scipy.stats.gaussian_kde``. A category's
    width is n^(−2/(D+4)) of its largest, D being the columns of numbers: what it may shrink as
    (Racine and Li 2004).

    Raises
    ------
    InputError
        A column that is constant, by name; or a single row.
    """
    count, deviations = _deviations(source, np.float64)
    if not (np.isfinite(deviations) & (deviations > 0)).all():
        # Constant, or squares that are too large or too small for a double.
        count, deviations = _deviations(source, np.longdouble)
    every = len(deviations)
    named = dict(source.columns.categories)
    depth = every - len(named)
    if count < 2:
        raise InputError(
            f"one row has no spread for `bandwidth={rule!r}`; give a number", source.name
        )
    for column, deviation in enumerate(deviations):
        if not deviation > 0:
            names = source.columns.key
            label = repr(names[column]) if len(names) == every else str(column + 1)
            raise InputError(
                f"the key column {label} is constant, so {rule} gives no width; "
                "pass `bandwidth` with a number, or drop it",
                source.name,
            )
    factor = count ** (-1 / (depth + 4))
    if rule == "silverman":
        factor = (count * (depth + 2) / 4) ** (-1 / (depth + 4))
    widths = (factor * deviations).astype(np.float64)
    for at, levels in named.items():
        widths[at] = largest(levels) * count ** (-2 / (depth + 4))
    return Bandwidth(tuple(widths.tolist()), rule)


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
