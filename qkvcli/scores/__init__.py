"""Scores a(q, k): how alike a query and a key are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Outline
    from qkvcli.scores.vector import Scorer

TEXT_SCORES = (
    "indel-winkler",
    "jaro-winkler",
    "indel",
    "levenshtein",
    "damerau-levenshtein",
    "lcs",
    "prefix",
)
KERNELS = ("gaussian", "laplacian", "boxcar", "triangular", "epanechnikov")
BANDWIDTH_RULES = ("scott", "silverman", "cv")
VECTOR_SCORES = ("dot", "scaled-dot", "cosine", *KERNELS)

_ROUNDING = 1e-9
"""How far a score may be from what its formula says."""
_LARGEST_TABLE = 1 << 20


@dataclass(frozen=True)
class Score:
    """A named score and what it needs to know.

    Parameters
    ----------
    name
        One of ``TEXT_SCORES`` or ``VECTOR_SCORES``.
    bandwidth
        The width h of a kernel: one number, or one per key column.
    case_sensitive
        Whether text is scored as it is; by default it is case-folded first.
    workers
        How many threads RapidFuzz may use over the queries; the scores do not depend on it.
    """

    name: str
    bandwidth: tuple[float, ...] = (1.0,)
    case_sensitive: bool = False
    workers: int = 1

    @property
    def of_text(self) -> bool:
        """Whether this score compares text."""
        return self.name in TEXT_SCORES

    @property
    def has_bounds(self) -> bool:
        """Whether this score is −∞ beyond a distance."""
        return self.name in ("boxcar", "triangular", "epanechnikov")

    @property
    def highest(self) -> float | None:
        """What no score passes; None where there is no such number."""
        if self.is_product:
            return None
        return 0.0 if self.name in KERNELS else 1.0

    @property
    def is_product(self) -> bool:
        """Whether this score is a multiple of q·k."""
        return self.name in ("dot", "scaled-dot")

    def times(
        self, factor: float, queries: NDArray[np.floating]
    ) -> tuple[Score, NDArray[np.floating]]:
        """Return a score and queries (Q, D) whose scores are these times a factor, at no cost.

        Raises
        ------
        ValueError
            There is no such score; see ``takes_factor``.
        """
        if self.is_product:
            scale = math.sqrt(queries.shape[1]) if self.name == "scaled-dot" else 1.0
            return replace(self, name="dot"), queries * queries.dtype.type(factor / scale)
        if self.name == "gaussian":
            narrower = tuple(h / math.sqrt(factor) for h in self.bandwidth)
            return replace(self, bandwidth=narrower), queries
        raise ValueError(self.name)

    @property
    def takes_factor(self) -> bool:
        """Whether a factor can be folded into the queries or the width."""
        return self.is_product or self.name == "gaussian"

    def text(
        self,
        queries: list[str],
        keys: list[str],
        cutoff: NDArray[np.float64] | float = 0.0,
        *,
        folded: bool = False,
    ) -> NDArray[np.float64]:
        """Return the scores (K, Q) of text, which may be case-folded already.

        What is surely below ``cutoff``, of each query (Q,) or of all, may come out as less.
        """
        from qkvcli.scores.text import text_scores

        as_is = folded or self.case_sensitive
        return text_scores(self.name, queries, keys, as_is, cutoff, workers=self.workers).T

    def near(self, query: str, keys: Outline, floor: float) -> NDArray[np.bool_]:
        """Return which keys (K,) may score at least so much, of those that are not odd.

        Parameters
        ----------
        query
            Case-folded, unless this score is case-sensitive.
        keys, floor
            What is seen of the keys, and the least score of interest.
        """
        import numpy as np

        from qkvcli.scores.text import ceilings

        size, longest = len(query), int(keys.lengths.max(initial=0))
        if (size + 1) * (longest + 1) > _LARGEST_TABLE:
            return np.ones(len(keys.lengths), np.bool_)
        letters, first = (
            part if self.case_sensitive else part + part.upper() for part in (query, query[:1])
        )
        # By whether the first letter is the query's, how many letters are, and how many there are.
        most = ceilings(self.name, size, *np.ogrid[:2, : size + 1, : longest + 1])
        may_be = most >= floor - _ROUNDING
        begins = keys.begins(first).view(np.uint8)
        every = np.arange(longest + 1)
        by_length = may_be[:, np.minimum(every, size), every]
        near: NDArray[np.bool_] = by_length.ravel()[begins * np.intp(longest + 1) + keys.lengths]
        rows = np.flatnonzero(near)
        common = np.minimum(keys.common(rows, letters), size)
        near[rows] = may_be[begins[rows], common, keys.lengths[rows]]
        return near

    def scorer(self, queries: NDArray[np.floating], *, mend: bool = False) -> Scorer:
        """Return what scores keys (K, D) against vectors (Q, D), and can be used again and again.

        With ``mend`` products whose terms overflow and cancel are worked out anew.
        """
        from qkvcli.scores.vector import Scorer

        return Scorer(self.name, queries, self.bandwidth, mend=mend)
