"""What is asked of a database: one value, whose every part is checked once, in Python's words."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qkvcli.attention.weights import MODES, SOFTMAX
from qkvcli.errors import UsageError, did_you_mean
from qkvcli.scores import BANDWIDTH_RULES, TEXT_SCORES, VECTOR_SCORES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.scores.model import Model


EVERY = 1 << 40
"""A list long enough for every row."""


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of a database; ``request`` makes it.

    Parameters
    ----------
    modes, neighbors, temperature
        How scores become weights; the temperature None for what suits the keys.
    scores, bandwidth
        a(q, k), several to stand side by side or none for what suits the keys, and the width of a
        kernel, None for what suits them.
    null_score
        The score of a null key, which stands for no match.
    model
        A learned score, in place of ``scores`` and ``bandwidth``.
    case_sensitive, keep_accents
        Whether case and diacritics of text count.
    causal, valid_lens, mask
        What may be attended to; a mask of floats is added to the scores.
    top, min_weight
        How many keys to list, and of what weight at least.
    perplexity, jacobian, weights, explain
        Whether to work out the effective number of keys, ∂ answer / ∂ q, the whole matrix, and
        where scores of text come from.
    degree, std_error, band, loo
        Of a regression: weighted means or weighted lines, None for what predicts better; whether to
        work out standard errors, and what part of the time their band holds the truth; whether rows
        are asked without themselves.
    """

    modes: tuple[str, ...] = (SOFTMAX,)
    neighbors: int | None = None
    temperature: float | None = None
    scores: tuple[str, ...] = ()
    bandwidth: str | tuple[float, ...] | None = None
    null_score: float | None = None
    model: Model | None = None
    case_sensitive: bool = False
    keep_accents: bool = False
    causal: bool = False
    valid_lens: NDArray[np.int64] | None = None
    mask: NDArray[Any] | None = None
    top: int = 0
    min_weight: float = 0.0
    perplexity: bool = True
    jacobian: bool = False
    weights: bool = False
    explain: bool = False
    degree: int | None = None
    std_error: bool = False
    band: float | None = None
    loo: bool = False

    @property
    def may_be_lines(self) -> bool:
        """Whether weighted lines may answer in the place of means, where they predict better.

        Nobody has said what is to be done, nor asked for what is of the means alone.
        """
        said = (self.degree, self.bandwidth, self.neighbors, self.null_score, self.model)
        of_means = self.jacobian or self.weights or self.top or self.causal
        masked = self.valid_lens is not None or self.mask is not None
        return said == (None,) * 5 and self.modes == (SOFTMAX,) and not of_means and not masked


def request(  # noqa: PLR0913 - one argument for each thing that may be asked
    *,
    mode: str | Sequence[str] = SOFTMAX,
    neighbors: int | None = None,
    temperature: float | None = None,
    score: str | Sequence[str] | None = None,
    bandwidth: str | float | Sequence[float] | None = None,
    null_score: float | None = None,
    model: Model | str | os.PathLike[str] | None = None,
    case_sensitive: bool = False,
    keep_accents: bool = False,
    causal: bool = False,
    valid_lens: Any = None,  # noqa: ANN401 - whatever NumPy takes
    mask: Any = None,  # noqa: ANN401
    top: int | None = 0,
    min_weight: float = 0.0,
    perplexity: bool = True,
    jacobian: bool = False,
    weights: bool = False,
    explain: bool = False,
    degree: int | None = None,
    std_error: bool = False,
    band: float | None = None,
    loo: bool = False,
) -> Request:
    """Return what is asked, if it can be asked of any database; ``top`` None lists all keys.

    Raises
    ------
    UsageError
        An argument that cannot be used, by its name.
    """
    modes = (mode,) if isinstance(mode, str) else tuple(dict.fromkeys(mode))
    for one in modes or ("",):
        _check_choice("mode", one, MODES)
    scores = (score,) if isinstance(score, str) else tuple(dict.fromkeys(score or ()))
    for one in scores:
        _check_choice("score", one, (*TEXT_SCORES, *VECTOR_SCORES))
    if len(scores) > 1 and len(modes) > 1:
        raise UsageError("several `score` or several `mode` stand side by side, not both")
    if temperature is not None and not (_is_number(temperature) and 0 < temperature < math.inf):
        raise UsageError(f"`temperature` {temperature!r} is not a finite number above 0")
    if neighbors is not None and not (_is_whole(neighbors) and neighbors > 0):
        raise UsageError(f"`neighbors` {neighbors!r} is not a whole number from 1")
    if null_score is not None and not (_is_number(null_score) and math.isfinite(null_score)):
        raise UsageError(f"`null_score` {null_score!r} is not a finite number")
    if null_score is not None and jacobian:
        raise UsageError(
            "`jacobian` is of weights that sum to 1, and `null_score` takes some of them"
        )
    top = EVERY if top is None else top
    if not (_is_whole(top) and top >= 0):
        raise UsageError(f"`top` {top!r} is not a whole number from 0")
    if not (_is_number(min_weight) and 0 <= min_weight <= 1):
        raise UsageError(f"`min_weight` {min_weight!r} is not a number from 0 to 1")
    return Request(
        modes,
        None if neighbors is None else int(neighbors),
        None if temperature is None else float(temperature),
        scores,
        _bandwidth(bandwidth),
        None if null_score is None else float(null_score),
        _model(model, scores=scores, bandwidth=bandwidth),
        case_sensitive,
        keep_accents,
        causal,
        _valid_lens(valid_lens),
        mask_of(mask),
        int(top),
        float(min_weight),
        perplexity,
        jacobian,
        weights,
        explain,
        *_fit(modes, neighbors, null_score, degree, std_error=std_error, band=band),
        loo,
    )


def _fit(  # noqa: PLR0913 - what a fit does not go with
    modes: tuple[str, ...],
    neighbors: int | None,
    null_score: float | None,
    degree: int | None,
    *,
    std_error: bool,
    band: float | None,
) -> tuple[int | None, bool, float | None]:
    if degree not in (None, 0, 1):
        raise UsageError(
            f"`degree` {degree!r} is neither 0 (a weighted mean) nor 1 (a weighted line)"
        )
    if band is not None and not (_is_number(band) and 0 < band < 1):
        raise UsageError(
            f"`band` {band!r} is not between 0 and 1; give 0.95 for a band of 95 per cent"
        )
    asked = "degree" if degree else "band" if band is not None else "std_error"
    if degree or std_error or band is not None:
        if modes != (SOFTMAX,) or neighbors is not None:
            raise UsageError(
                f"`{asked}` is of a kernel's weights over all keys: leave `mode` softmax, and "
                "`neighbors` out"
            )
        if null_score is not None:
            raise UsageError(
                f"`{asked}` is of weights that sum to 1, and `null_score` takes some of them"
            )
    degree = None if degree is None else int(degree)
    return degree, std_error or band is not None, None if band is None else float(band)


def _model(
    given: Model | str | os.PathLike[str] | None,
    *,
    scores: tuple[str, ...],
    bandwidth: object,
) -> Model | None:
    """Return a learned score, read where it is a file."""
    if given is None:
        return None
    for name, other in (("score", scores), ("bandwidth", bandwidth)):
        if other:
            raise UsageError(f"`model` is a score, and `{name}` says another; pass one of them")
    if not isinstance(given, str | os.PathLike):
        return given
    from qkvcli.scores.model import named

    return named(given)


def _check_choice(name: str, word: object, choices: tuple[str, ...]) -> None:
    if word not in choices:
        raise UsageError(f"`{name}`: there is no {word!r}{did_you_mean(str(word), choices)}")


def _is_number(value: object) -> bool:
    """Return whether something is a real number, of Python's or of NumPy's."""
    return hasattr(value, "__float__") and hasattr(value, "__lt__") and not isinstance(value, str)


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _bandwidth(given: Any) -> str | tuple[float, ...] | None:  # noqa: ANN401
    if isinstance(given, str) and given not in BANDWIDTH_RULES:
        raise UsageError(
            f"`bandwidth`: there is no rule {given!r}{did_you_mean(given, BANDWIDTH_RULES)}"
        )
    if given is None or isinstance(given, str):
        return given
    parts = (given,) if _is_number(given) and not hasattr(given, "__len__") else given
    try:
        widths = tuple(float(h) for h in parts)
    except (TypeError, ValueError):
        raise UsageError(f"`bandwidth` {given!r} is neither a rule nor numbers") from None
    if not widths or not all(0 < h < math.inf for h in widths):
        shown = ",".join(map(str, widths))
        raise UsageError(f"`bandwidth` {shown}: a width must be above 0")
    return widths


def _valid_lens(given: Any) -> NDArray[np.int64] | None:  # noqa: ANN401
    if given is None:
        return None
    import numpy as np

    lengths = np.asarray(given)
    if lengths.dtype.kind not in "iu":
        raise UsageError(f"`valid_lens` of dtype {lengths.dtype}; they are whole numbers")
    return lengths.astype(np.int64)


def mask_of(given: Any) -> NDArray[Any] | None:  # noqa: ANN401 - whatever NumPy takes
    """Return a mask of truth values, or of floats that are added to scores.

    Raises
    ------
    UsageError
        Another dtype; NaN or +∞; or floats 0 and 1, which are truth values by mistake.
    """
    if given is None:
        return None
    import numpy as np

    mask = np.asarray(given)
    if mask.dtype == np.bool_:
        return mask
    if mask.dtype.kind != "f":
        raise UsageError(
            f"`mask` of dtype {mask.dtype}; it is True where a query may attend, or floats "
            "that are added to the scores"
        )
    odd = np.argwhere(np.isnan(mask) | (mask == np.inf))
    if len(odd):
        place = ", ".join(map(str, odd[0].tolist()))
        raise UsageError(f"`mask` has NaN or +∞ at index [{place}]; it is added to the scores")
    if mask.any() and np.isin(mask, (0, 1)).all():
        raise UsageError(
            f"`mask` holds 0 and 1 as {mask.dtype}, which would be added to the scores; "
            "save it as bool, or as 0 and −∞"
        )
    return mask
