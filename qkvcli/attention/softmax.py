"""The softmax: scores become weights exp((a − shift) / T) / normalizer, here and nowhere else.

Every part that needs weights calls this module: the sums of a block, the lists of best keys,
sparse attention, the matrix, and leave-one-out. So a listed weight is the pooled weight.

The shift of a query keeps its exponents in range (Milakov and Gimelshein 2018). It need not be the
largest score: the score's own ``reference`` will do as long as every exponent stays within reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.attention.weights import Weighting

_REACH = {4: 40.0, 8: 300.0}
"""How far from 0 the largest exponent of a query may be, by the bytes of a float: sums stay in
range."""
_FAINTEST = -700.0
"""Weights below exp of this are 0 in float64, where ``exp`` of what underflows is slow: a
regression of 4,000 rows with a cross-validated width takes 0.71 of the time so (AVX-512; 0.77 with
AVX2 alone)."""
_TEMPERATURES = (1e-30, 1e30)
"""Between which a temperature divides float32 scores; else they are divided in float64."""


class NotFiniteError(ArithmeticError):
    """A score or a sum that is NaN or infinite: there is NaN in the data, or an overflow."""


def logits(scores: NDArray[np.floating], weighting: Weighting) -> NDArray[np.floating]:
    """Return what is divided by T and exponentiated: the scores, or 0 where all keys count alike.

    A score of −∞ stays: such a key has no weight. This is where ``exact``, ``approximate`` and
    ``average`` become a softmax.
    """
    if not weighting.uniform:
        return scores
    return np.where(np.isneginf(scores), scores, scores.dtype.type(0))


def shift_of(  # noqa: PLR0913 - what is known of the scores
    scores: NDArray[np.floating],
    temperature: float,
    reference: float = 0.0,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    hidden: bool = True,
    exact: bool = False,
) -> NDArray[np.float64]:
    """Return the shift of each query, of shape (Q,): ``reference``, or the largest of its scores.

    Parameters
    ----------
    scores
        Logits of shape (Q, K).
    temperature
        T.
    reference
        The shift that is wanted, so that blocks have the same one.
    low, high
        Between which numbers all scores are known to lie. To look for the largest scores takes an
        eighth of the time of attention with 64 columns (AVX-512 and AVX2).
    hidden
        Whether scores may be −∞.
    exact
        Whether to take no other shift than the largest score, so that no weight is above 1.

    Raises
    ------
    NotFiniteError
        A query's largest score is no number that can be a shift.
    """
    reach = 0.0 if exact else _REACH[scores.itemsize] * temperature
    if reference - reach <= low and high <= reference + reach:
        return np.full(len(scores), reference)
    highest = scores.max(axis=1, initial=-np.inf).astype(np.float64)
    nothing = np.isneginf(highest)
    if not (highest < np.inf).all() or (nothing.any() and not hidden):
        raise NotFiniteError
    near = nothing | (np.abs(np.where(nothing, 0, highest) - reference) <= reach)
    return np.where(near, reference, highest)


def log_weights(
    scores: NDArray[np.floating], shift: NDArray[np.float64], temperature: float
) -> NDArray[np.floating]:
    """Return (a − shift) / T of logits (Q, K), which may be overwritten."""
    narrow = scores.itemsize == 4
    if narrow and not _TEMPERATURES[0] < temperature < _TEMPERATURES[1]:
        scores = scores.astype(np.float64)
    with np.errstate(over="ignore"):  # what is too far apart for a float is −∞
        if shift.any():
            scores = np.subtract(scores, shift.astype(scores.dtype)[:, None], out=scores)
        if temperature != 1:
            scores = np.divide(scores, scores.dtype.type(temperature), out=scores)
    return scores


def exponentials(
    logs: NDArray[np.floating], out: NDArray[np.floating] | None = None, least: float = -np.inf
) -> NDArray[np.floating]:
    """Return the weights exp(logs) (Q, K) before they are normalised, by default in place.

    No logarithm is below ``least``.
    """
    out = logs if out is None else out
    if logs.itemsize == 4 or least >= _FAINTEST or not logs.min(initial=0) < _FAINTEST:
        with np.errstate(under="ignore"):
            np.exp(logs, out=out)
        return out
    faint = logs < _FAINTEST
    np.maximum(logs, _FAINTEST, out=out)
    np.exp(out, out=out)
    np.copyto(out, 0, where=faint)
    return out


def weights(
    scores: NDArray[np.floating],
    shift: NDArray[np.float64],
    normalizer: NDArray[np.float64],
    weighting: Weighting,
) -> NDArray[np.float64]:
    """Return the weights (Q, N) of scores (Q, N); all are 0 where nothing is attended to.

    Parameters
    ----------
    scores
        a(q, k) of some keys, −∞ where there is none.
    shift, normalizer
        As all keys together have them, (Q,).
    weighting
        How scores become weights.
    """
    found = logits(scores, weighting).copy()
    found = exponentials(log_weights(found, shift, weighting.effective_temperature))
    total = normalizer[:, None]
    wide = np.minimum(found, total)  # no weight is above 1 by its rounding
    shares: NDArray[np.float64] = np.zeros(wide.shape)
    np.divide(wide, total, out=shares, where=total > 0)
    return shares


def normalised(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the weights (Q, K) of all the scores of some queries, in their own dtype and place.

    A row whose scores are all −∞ attends to nothing: its weights are 0.

    Raises
    ------
    NotFiniteError
        A score is NaN, or +∞.
    """
    found = exponentials(log_weights(scores, shift_of(scores, 1.0, exact=True), 1.0))
    total = found.sum(axis=1, dtype=np.float64)
    found /= np.where(total > 0, total, 1).astype(found.dtype)[:, None]
    return found
