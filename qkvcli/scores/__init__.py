"""Scores a(q, k): how alike a query and a key are. Text and vectors each have scores of their own.

A score knows one kind of keys. It turns a block and queries into tiles of scores; the fold knows
nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Queries

TEXT_SCORES = (
    "tokens",
    "ngrams",
    "token-sort",
    "token-set",
    "indel-winkler",
    "jaro-winkler",
    "osa",
    "indel",
    "levenshtein",
    "damerau-levenshtein",
    "lcs",
    "prefix",
)
WEIGHTED = ("tokens", "ngrams")
"""The text scores by which what is rare among the keys counts more."""
KERNELS = ("gaussian", "laplacian", "boxcar", "triangular", "epanechnikov")
BANDWIDTH_RULES = ("scott", "silverman", "cv", "aicc")
VECTOR_SCORES = ("dot", "scaled-dot", "cosine", *KERNELS)
MODEL = "model"
"""What a learned score of text is called."""


class Tile(NamedTuple):
    """Scores of shape (Q, K) of the rows ``rows`` of a block, which may be overwritten.

    None of them is below ``low`` or above ``high``, as far as that is known.
    """

    rows: slice | NDArray[np.intp]
    scores: NDArray[np.floating]
    low: float = float("-inf")
    high: float = float("inf")


class Score(Protocol):
    """What turns a block and queries of its kind into tiles of scores."""

    @property
    def name(self) -> str:
        """One of ``TEXT_SCORES`` or ``VECTOR_SCORES``."""

    @property
    def reference(self) -> float:
        """A score near which the best keys lie; weights are relative to it where that will do."""

    @property
    def bounded(self) -> bool:
        """Whether the score is −∞ beyond a distance."""

    def tiles(
        self, block: Block, queries: Queries, floor: NDArray[np.floating] | float, stop: int
    ) -> Iterator[Tile]:
        """Yield the scores of a block; of rows in no tile no score reaches any query's floor.

        Parameters
        ----------
        block, queries
            K rows, and Q queries.
        floor
            Scores below it, of each query (Q,) or of all, need not be right.
        stop
            Rows from there on are not wanted.
        """

    def matches(self, block: Block, queries: Queries, *, scored: bool) -> Iterator[Tile]:
        """Yield the scores of keys that equal a query, −∞ where none is; others may be in no tile.

        Parameters
        ----------
        block, queries
            K rows, and Q queries.
        scored
            Whether the scores are wanted, and not only which keys are equal.
        """

    def widened(self, queries: Queries) -> Queries:
        """Return the queries with which scores have the most range."""
