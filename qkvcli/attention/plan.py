"""What is asked of a fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkvcli.weights import SOFTMAX

if TYPE_CHECKING:
    from qkvcli.scores import Score
    from qkvcli.weights import Mask, Weighting


LABEL_CAP = 10_000
"""How many distinct values of a text column are pooled by default."""


@dataclass(frozen=True)
class Plan:
    """How queries and keys become weights, and what to keep of them.

    Parameters
    ----------
    score, weighting, mask
        a(q, k), log α, and what may be attended to; no score is needed where every key counts
        the same.
    top
        How many of the best-scoring keys to list for each query.
    records
        Whether to keep those as text.
    perplexity, jacobian, matrix
        Whether to keep the effective number of keys, ∂ answer / ∂ q, the whole matrix.
    numbers
        How many numeric values a row has, Dv.
    texts
        Which of a record's values are pooled as text, by position.
    label_cap
        How many distinct values of a text column are pooled at most.
    """

    score: Score | None
    weighting: Weighting
    mask: Mask | None = None
    top: int = 0
    records: bool = False
    perplexity: bool = False
    jacobian: bool = False
    matrix: bool = False
    numbers: int = 0
    texts: tuple[int, ...] = ()
    label_cap: int = LABEL_CAP

    @property
    def listed(self) -> int:
        """How many best keys a state lists."""
        return self.weighting.survivors or self.top

    @property
    def bounded(self) -> bool:
        """Whether a key may have no weight at all."""
        return self.mask is not None or (self.score is not None and self.score.has_bounds)

    @property
    def overlooks(self) -> bool:
        """Whether the arithmetic may pass a number by, so that NaN has to be looked for."""
        weighting = self.weighting
        return self.bounded or weighting.mode != SOFTMAX or weighting.survivors is not None
