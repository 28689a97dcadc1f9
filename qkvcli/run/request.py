"""What is asked of a database: one value, whose every part is checked once, in Python's words."""

from __future__ import annotations

import math
import os
from dataclasses import InitVar, dataclass, field
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
    """What is asked of a database, every part of it checked and in one form.

    Parameters
    ----------
    mode, neighbors, temperature
        How scores become weights, by one mode or several; the temperature None for what suits the
        keys.
    score, bandwidth
        a(q, k), several to stand side by side or none for what suits the keys, and the width of a
        kernel, None for what suits them.
    null_score
        The score of a null key, which stands for no match.
    model
        A learned score or its file, in place of ``score`` and ``bandwidth``.
    case_sensitive, keep_accents
        Whether case and diacritics of text count.
    causal, valid_lens, mask
        What may be attended to; a mask of floats is added to the scores.
    top, min_weight
        How many keys to list, None for all, and of what weight at least.
    perplexity, jacobian, weights, explain
        Whether to work out the effective number of keys, ∂ answer / ∂ q, the whole matrix, and
        where scores of text come from.
    degree, std_error, band, loo
        Of a regression: weighted means or weighted lines, None for what predicts better; whether to
        work out standard errors, and what part of the time their band holds the truth; whether rows
        are asked without themselves.

    Raises
    ------
    UsageError
        An argument that cannot be used, by its name.
    """

    mode: InitVar[str | Sequence[str]] = SOFTMAX
    neighbors: int | None = None
    temperature: float | None = None
    score: InitVar[str | Sequence[str] | None] = None
    bandwidth: Any = None  # a rule's name, or a tuple of widths
    null_score: float | None = None
    model: Any = None  # a Model
    case_sensitive: bool = False
    keep_accents: bool = False
    causal: bool = False
    valid_lens: Any = None  # an array of whole numbers
    mask: Any = None  # an array of truth values or of floats
    top: Any = 0  # a whole number
    min_weight: float = 0.0
    perplexity: bool = True
    jacobian: bool = False
    weights: bool = False
    explain: bool = False
    degree: int | None = None
    std_error: bool = False
    band: float | None = None
    loo: bool = False
    modes: tuple[str, ...] = field(init=False)
    scores: tuple[str, ...] = field(init=False)

    def __post_init__(self, mode: str | Sequence[str], score: str | Sequence[str] | None) -> None:
        """Check what was given, and bring it into one form."""
        modes = (mode,) if isinstance(mode, str) else tuple(dict.fromkeys(mode)) or ("",)
        scores = (score,) if isinstance(score, str) else tuple(dict.fromkeys(score or ()))
        _check_words("mode", modes, MODES)
        _check_words("score", scores, (*TEXT_SCORES, *VECTOR_SCORES))
        if len(scores) > 1 and len(modes) > 1:
            raise UsageError("several `score` or several `mode` stand side by side, not both")
        temperature, neighbors, null = self.temperature, self.neighbors, self.null_score
        top, least = EVERY if self.top is None else self.top, self.min_weight
        for name, value, holds, what in (
            ("temperature", temperature, _is_number(temperature, 0), "a finite number above 0"),
            ("neighbors", neighbors, _is_whole(neighbors, 1), "a whole number from 1"),
            ("null_score", null, _is_number(null), "a finite number"),
            ("top", top, _is_whole(top, 0), "a whole number from 0"),
            ("min_weight", least, _is_number(least) and 0 <= least <= 1, "a number from 0 to 1"),
        ):
            if not holds and (value is not None or name == "min_weight"):
                raise UsageError(f"`{name}` {value!r} is not {what}")
        if null is not None and self.jacobian:
            raise UsageError(
                "`jacobian` is of weights that sum to 1, and `null_score` takes some of them"
            )
        found: dict[str, Any] = {
            "modes": modes,
            "scores": scores,
            "temperature": None if temperature is None else float(temperature),
            "neighbors": None if neighbors is None else int(neighbors),
            "null_score": None if null is None else float(null),
            "top": int(top),
            "min_weight": float(least),
        }
        for name, one_form in (
            ("bandwidth", _bandwidth),
            ("valid_lens", _valid_lens),
            ("mask", mask_of),
        ):
            if getattr(self, name) is not None:
                found[name] = one_form(getattr(self, name))
        if self.model is not None:
            found["model"] = _model(self.model, score=scores, bandwidth=self.bandwidth)
        if self.degree is not None or self.std_error or self.band is not None:
            found |= _fit(self, modes)
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def may_be_lines(self) -> bool:
        """Whether weighted lines may answer in the place of means, where they predict better.

        Nobody has said what is to be done, nor asked for what is of the means alone.
        """
        said = (self.degree, self.bandwidth, self.neighbors, self.null_score, self.model)
        of_means = self.jacobian or self.weights or self.top or self.causal
        masked = self.valid_lens is not None or self.mask is not None
        return said == (None,) * 5 and self.modes == (SOFTMAX,) and not of_means and not masked


def _fit(asked: Request, modes: tuple[str, ...]) -> dict[str, Any]:
    """Return what is asked of a regression, checked."""
    degree, band = asked.degree, asked.band
    if degree not in (None, 0, 1):
        raise UsageError(
            f"`degree` {degree!r} is neither 0 (a weighted mean) nor 1 (a weighted line)"
        )
    if band is not None and not (_is_number(band) and 0 < band < 1):
        raise UsageError(
            f"`band` {band!r} is not between 0 and 1; give 0.95 for a band of 95 per cent"
        )
    name = "degree" if degree else "band" if band is not None else "std_error"
    std_error = asked.std_error or band is not None
    if degree or std_error:
        if modes != (SOFTMAX,) or asked.neighbors is not None:
            raise UsageError(
                f"`{name}` is of a kernel's weights over all keys: leave `mode` softmax, and "
                "`neighbors` out"
            )
        if asked.null_score is not None:
            raise UsageError(
                f"`{name}` is of weights that sum to 1, and `null_score` takes some of them"
            )
    return {
        "degree": None if degree is None else int(degree),
        "std_error": std_error,
        "band": None if band is None else float(band),
    }


def _model(given: Any, **others: object) -> Model:  # noqa: ANN401 - a model, or its file
    """Return a learned score, read where it is a file."""
    for name, other in others.items():
        if other:
            raise UsageError(f"`model` is a score, and `{name}` says another; pass one of them")
    if not isinstance(given, str | os.PathLike):
        model: Model = given
        return model
    from qkvcli.scores.model import named

    return named(given)


def _check_words(name: str, words: Sequence[str], choices: tuple[str, ...]) -> None:
    for word in words:
        if word not in choices:
            hint = did_you_mean(str(word), choices)
            raise UsageError(f"`{name}`: there is no {word!r}{hint}")


def _is_number(value: Any, above: float = -math.inf) -> bool:  # noqa: ANN401
    """Return whether something is a finite number, of Python's or of NumPy's, above another."""
    real = hasattr(value, "__float__") and hasattr(value, "__lt__") and not isinstance(value, str)
    return real and bool(above < value < math.inf)


def _is_whole(value: Any, least: int) -> bool:  # noqa: ANN401
    return hasattr(value, "__index__") and not isinstance(value, bool) and value >= least


def _bandwidth(given: Any) -> str | tuple[float, ...]:  # noqa: ANN401
    if isinstance(given, str):
        if given in BANDWIDTH_RULES:
            return given
        hint = did_you_mean(given, BANDWIDTH_RULES)
        raise UsageError(f"`bandwidth`: there is no rule {given!r}{hint}")
    parts = (given,) if hasattr(given, "__float__") and not hasattr(given, "__len__") else given
    try:
        widths = tuple(float(h) for h in parts)
    except (TypeError, ValueError):
        raise UsageError(f"`bandwidth` {given!r} is neither a rule nor numbers") from None
    if not widths or not all(0 < h < math.inf for h in widths):
        shown = ",".join(map(str, widths))
        raise UsageError(f"`bandwidth` {shown}: a width must be above 0")
    return widths


def _valid_lens(given: Any) -> NDArray[np.int64]:  # noqa: ANN401 - whatever NumPy takes
    import numpy as np

    lengths = np.asarray(given)
    if lengths.dtype.kind not in "iu":
        raise UsageError(f"`valid_lens` of dtype {lengths.dtype}; they are whole numbers")
    return lengths.astype(np.int64)


def mask_of(given: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever NumPy takes
    """Return a mask of truth values, or of floats that are added to scores.

    Raises
    ------
    UsageError
        Another dtype; NaN or +∞; or floats 0 and 1, which are truth values by mistake.
    """
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
