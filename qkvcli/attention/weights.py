"""Weights: the four modes as log-weights of one softmax, and what may be attended to at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXACT, APPROXIMATE, SOFTMAX, AVERAGE = "exact", "approximate", "softmax", "average"
MODES = (EXACT, APPROXIMATE, SOFTMAX, AVERAGE)

RULES = {
    EXACT: "0 where q = k, else −∞; 1 on the match, shared equally among equal keys",
    APPROXIMATE: "a(q, k) / T as T → 0; 1 on the best-scoring key",
    SOFTMAX: "a(q, k) / T; exp(a/T) / Σ exp(a/T)",
    AVERAGE: "0; 1/m on every key",
}
"""The lines of the table of modes: the log-weight, and what its softmax is."""
NEIGHBORS_RULE = "a(q, k) / T as T → 0; equal shares on the {} best-scoring keys"
"""The line of ``approximate`` with several neighbours."""


def temperature_of(mode: str, temperature: float) -> float:
    """Return the temperature of which a mode is the softmax: 0 as T → 0, ∞ as T → ∞."""
    limits = {EXACT: 0.0, APPROXIMATE: 0.0, AVERAGE: math.inf}
    return limits.get(mode, temperature)


@dataclass(frozen=True)
class Weighting:
    """How scores become weights.

    Parameters
    ----------
    mode
        ``exact``, ``approximate``, ``softmax`` or ``average``.
    temperature
        T of the softmax, above 0; small is sharp.
    neighbors
        Attend to the K best-scoring keys alone; ``approximate`` means the one best by itself.
    null_score
        The score of a null key, which stands for no match: a key that has no value.
    """

    mode: str
    temperature: float = 1.0
    neighbors: int | None = None
    null_score: float | None = None

    @cached_property
    def null_logit(self) -> float | None:
        """The logit of the null key; None where it has no weight beside a key that has some.

        As T → 0 a key that scores less than it has none, and ``exact`` compares no scores.
        """
        if self.null_score is None or self.mode in (EXACT, APPROXIMATE):
            return None
        return 0.0 if self.uniform else self.null_score

    @cached_property
    def top_k(self) -> int | None:
        """How many best keys are attended to, or None for all; of ``exact`` and ``average`` all."""
        if self.mode == APPROXIMATE:
            return self.neighbors or 1
        return self.neighbors if self.mode == SOFTMAX else None

    @cached_property
    def uniform(self) -> bool:
        """Whether every key that is attended to has the same weight."""
        return self.mode != SOFTMAX

    @cached_property
    def effective_temperature(self) -> float:
        """The T by which log-weights are divided: 1 where all of them are 0 or −∞."""
        return 1.0 if self.uniform else self.temperature


@dataclass(frozen=True, eq=False)
class Mask:
    """Which keys each query may attend to; everything else has the log-weight −∞.

    Parameters
    ----------
    causal
        Query i attends to the keys 0 … i (lower-triangular from the top left).
    lengths
        Per query, how many leading keys may be attended to, of shape (Q,).
    allowed
        True where attention is allowed, of shape (Q, K).
    added
        Numbers that are added to the scores, of shape (Q, K); −∞ hides.
    own
        Per query, the row that it may not attend to, of shape (Q,), as in leave-one-out.
    window
        How many of the last keys 0 … i query i sees; 0 for all.
    """

    causal: bool = False
    lengths: NDArray[np.int64] | None = None
    allowed: NDArray[np.bool_] | None = None
    added: NDArray[np.floating] | None = None
    own: NDArray[np.int64] | None = None
    window: int = 0

    def reach(self, queries: NDArray[np.int64]) -> int | None:
        """Return how many leading keys any of these queries may attend to; None for all.

        What comes after them need not be scored: half the time of causal attention.
        """
        reaches = []
        if self.causal:
            reaches.append(int(queries[-1]) + 1)
        if self.lengths is not None:
            reaches.append(int(self.lengths[queries].max()))
        return min(reaches, default=None)

    def hide(
        self, scores: NDArray[np.floating], queries: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> None:
        """Set the scores (Q, K) of these queries and keys, by their rows, to −∞ where masked."""
        import numpy as np  # the command line asks of modes without it

        rows, part = queries[:, None], slice(queries[0], queries[-1] + 1)
        if self.added is not None:
            scores += self.added[part, keys]
        hidden: list[NDArray[np.bool_]] = []
        if self.causal and keys[-1] > queries[0]:
            # Of many keys only the last few may come after one of the queries.
            after = int(np.searchsorted(keys, queries[0], "right"))
            np.copyto(scores[:, after:], -math.inf, where=keys[after:] > rows)
        if self.lengths is not None:
            hidden.append(keys >= self.lengths[queries][:, None])
        if self.allowed is not None:
            hidden.append(~self.allowed[part, keys])
        if self.own is not None:
            hidden.append(keys == self.own[queries][:, None])
        if self.window:
            hidden.append(keys <= rows - self.window)
        for where in hidden:
            np.copyto(scores, -math.inf, where=where)
