"""Attention(q, D) = Σᵢ α(q, kᵢ) vᵢ as a fold: summarise a block, merge two states, finish.

The fold is the online softmax (Milakov and Gimelshein 2018; Rabe and Staats 2021). ``merge`` is
associative and the state of no rows is its identity, so the same three functions serve one block
in memory, a stream, threads and a cluster, and there is no other path to an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Answer, Share
from qkvcli.attention.gradients import covariance, with_slopes
from qkvcli.attention.plan import LABEL_CAP, Plan
from qkvcli.attention.sums import Accumulator, NotFiniteError, Sums
from qkvcli.attention.survivors import sums_of_survivors
from qkvcli.attention.tiles import Tile, folds_factor, row_numbers, tiles_of
from qkvcli.attention.top import Top
from qkvcli.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.attention.shares import Shares
    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Categories, Queries

__all__ = ["LABEL_CAP", "Plan", "State", "finish", "merge", "summarise"]

_OVERFLOW = (
    "a score or a sum overflows a double; scale the keys, queries or values down, or widen a kernel"
)


@dataclass(frozen=True, eq=False)
class State:
    """What is known of some queries after some rows; ``State()`` is the identity of ``merge``.

    Parameters
    ----------
    rows
        How many rows were seen.
    sums
        The sums over them; None where only the best keys are attended to, or no key is.
    top
        The best keys; None where none are listed.
    """

    rows: int = 0
    sums: Sums | None = None
    top: Top | None = None

    @property
    def floor(self) -> Floor:
        """By query, a score below which a later row changes nothing."""
        return self.top.floor if self.top and self.sums is None else -np.inf

    def shifted(self, rows: int) -> State:
        """Return the state as it is where so many more rows come before its own."""
        return replace(self, top=self.top.shifted(rows)) if self.top and rows else self


def summarise(block: Block, queries: Queries, plan: Plan, floor: Floor = -np.inf) -> State:
    """Return the state of one block.

    Parameters
    ----------
    block
        K rows of keys and values.
    queries
        Q queries of the keys' kind.
    plan
        What to keep.
    floor
        Where only the best keys are attended to: a score that they are known to reach elsewhere,
        for each query (Q,) or for all. It saves work and changes no answer.

    Raises
    ------
    InputError
        NaN or infinity in the block, or scores that overflow a double.
    """
    block = block.load()
    if plan.overlooks:
        block.check()
    try:
        return _summarise(block, queries, plan, floor)
    except NotFiniteError:
        block.check()
        try:
            # Finite data whose scores, times log₂e / T, are not: so without that factor.
            return _summarise(block, queries.widened(), plan, floor)
        except NotFiniteError:
            raise InputError(_OVERFLOW, f"row {block.start}") from None


def _summarise(block: Block, queries: Queries, plan: Plan, floor: Floor) -> State:
    sparse = plan.weighting.survivors is not None
    top, folding = None, None
    with np.errstate(over="ignore", invalid="ignore"):  # found as scores that are not finite
        for tile in tiles_of(block, queries, plan, floor):
            if plan.listed:
                top = top or Top.empty(len(queries), plan.listed)
                top = top.offer(tile.scores, row_numbers(block, tile), floor)
            if not sparse:
                folding = folding or _Folding(block, queries, plan)
                folding.add(tile)
    if top is not None:
        if (top.scores == np.inf).any():
            raise NotFiniteError
        top = top.gathered(
            block, records=plan.records, numbers=sparse, vectors=sparse and plan.jacobian
        )
    return State(len(block), folding.sums() if folding else None, top)


class _Folding:
    """The sums of one block in the making."""

    def __init__(self, block: Block, queries: Queries, plan: Plan) -> None:
        self._block, self._queries, self._plan = block, queries, plan
        self._in_base_2 = folds_factor(plan, queries)
        self._texts: list[Categories] | None = None
        self._values: NDArray[np.floating] | None = None
        self._parts: list[Sums] = []
        self._logits: list[NDArray[np.float64]] = []
        self._accumulator = self._new_accumulator()

    def _new_accumulator(self) -> Accumulator:
        plan = self._plan
        return Accumulator(
            len(self._queries),
            len(self._block.columns.numbers),
            plan.weighting.divisor,
            in_base_2=self._in_base_2,
            level=plan.weighting.is_level,
            bounded=plan.bounded,
            perplexity=plan.perplexity,
            guard=not self._queries.is_wide,
        )

    def add(self, tile: Tile) -> None:
        if self._plan.matrix:
            self._logits.append(self._logits_of(tile))
        texts, values = self._texts_of(tile), self._values_of(tile)
        codes = [text.codes for text in texts]
        if not self._plan.jacobian:
            self._accumulator.pool_text(texts, self._plan.label_cap)
            self._accumulator.add(tile.scores, values, codes, tile.low, tile.high)
            return
        accumulator = self._new_accumulator()
        accumulator.pool_text(texts, self._plan.label_cap)
        weights = accumulator.add(tile.scores, values, codes)
        self._parts.append(self._sloped(accumulator.sums(), weights, tile, texts))

    def _logits_of(self, tile: Tile) -> NDArray[np.float64]:
        logits = tile.scores.T.astype(np.float64)
        if self._plan.weighting.is_level:
            logits = np.where(np.isneginf(logits), -np.inf, 0.0)
        return logits

    def _values_of(self, tile: Tile) -> NDArray[np.floating]:
        """Return the tile's numeric values as sums take them."""
        if not isinstance(tile.rows, slice):
            return self._accumulator.ready(self._block.pick_numbers(tile.rows.tolist()))
        if self._values is None:
            numbers = self._block.numbers
            numbers = numbers.astype(np.float64) if self._queries.is_wide else numbers
            self._values = self._accumulator.ready(numbers)
        return self._values[tile.rows]

    def _texts_of(self, tile: Tile) -> list[Categories]:
        """Return the tile's text values; their labels are those of the whole block."""
        if not self._plan.texts:
            return []
        if isinstance(tile.rows, slice):
            if self._texts is None:
                self._texts = self._block.categories()
            return [text._replace(codes=text.codes[tile.rows]) for text in self._texts]
        return self._block.categories(tile.rows.tolist())

    def _sloped(
        self,
        sums: Sums,
        weights: NDArray[np.floating],
        tile: Tile,
        texts: list[Categories],
    ) -> Sums:
        score = self._plan.score
        if score is None or isinstance(self._block.keys, list):
            message = "only vectors have a Jacobian"
            raise InputError(message)
        keys = self._block.keys[tile.rows]
        return with_slopes(
            sums,
            weights,
            score=score,
            queries=self._queries.vectors,
            keys=keys,
            values=self._block.numbers[tile.rows],
            texts=texts,
        )

    def sums(self) -> Sums:
        total = self._accumulator.sums()
        for number, part in enumerate(self._parts):
            total = part if number == 0 else total.merge(part)
        return replace(total, logits=tuple(self._logits)) if self._plan.matrix else total


def merge(a: State, b: State) -> State:
    """Return the state of the rows of both, those of ``a`` coming first."""
    if not a.rows or not b.rows:
        return b if not a.rows else a
    sums = a.sums.merge(b.sums) if a.sums and b.sums else a.sums or b.sums
    top = a.top.merge(b.top) if a.top and b.top else a.top or b.top
    return State(a.rows + b.rows, sums, top)


def finish(state: State, plan: Plan, queries: Queries) -> Answer:
    """Return the answer that a state of all rows comes to.

    A query whose every log-weight is −∞ has no answer: ``answered`` is False, its pooled values
    are NaN and its list is empty.
    """
    top = (state.top or Top.empty(len(queries), 0)).trimmed
    sums = state.sums or sums_of_survivors(top, plan, queries)
    answered = sums.mass > 0
    mass = np.where(answered, sums.mass, np.nan)
    numbers = sums.total / mass[:, None]
    if not np.isfinite(numbers[answered]).all():
        raise InputError(_OVERFLOW)
    shares = tuple(_share(share, mass) for share in sums.shares)
    answer = Answer(
        mode=plan.weighting.mode,
        rows=state.rows,
        answered=answered,
        numbers=numbers,
        shares=shares,
        perplexity=sums.perplexity,
        best_rows=top.rows,
        best_scores=top.scores,
        best_weights=_weights_of(top.scores, top.rows >= 0, sums, plan),
        records=top.records,
        peak=sums.peak,
        mass=mass,
        divisor=sums.divisor,
    )
    if plan.jacobian:
        answer = _with_jacobian(answer, sums, mass)
    return replace(answer, weights=_matrix(answer, sums, plan)) if plan.matrix else answer


def _weights_of(
    scores: NDArray[np.float64], present: NDArray[np.bool_], sums: Sums, plan: Plan
) -> NDArray[np.float64]:
    """Return exp((a − peak) / T) / mass, and 0 where a list is padded."""
    logits = np.zeros_like(scores) if plan.weighting.is_level else scores
    mass = np.where(sums.mass > 0, sums.mass, np.nan)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        found = np.exp((logits - sums.peak[:, None]) / sums.divisor) / mass[:, None]
    return np.where(present, np.minimum(found, 1.0), 0.0)


def _share(share: Shares, mass: NDArray[np.float64]) -> Share | None:
    return Share(share.labels, share.sums / mass[:, None]) if share.labels is not None else None


def _with_jacobian(answer: Answer, sums: Sums, mass: NDArray[np.float64]) -> Answer:
    if sums.slope is None or sums.products is None:
        return answer
    slope, divisor = sums.slope, sums.divisor
    jacobian = covariance(answer.numbers, sums.products, slope, mass, divisor)
    of_shares = tuple(
        covariance(share.weights, products.sums, slope, mass, divisor) if share else None
        for share, products in zip(answer.shares, sums.share_products, strict=True)
    )
    return replace(answer, jacobian=jacobian, share_jacobians=of_shares)


def _matrix(answer: Answer, sums: Sums, plan: Plan) -> NDArray[np.float64]:
    """Return the whole matrix of weights, (Q, K); a row without an answer is 0."""
    if sums.logits is None:
        matrix = np.zeros((len(answer.answered), answer.rows))
        queries, places = np.nonzero(answer.best_rows >= 0)
        matrix[queries, answer.best_rows[queries, places]] = answer.best_weights[queries, places]
        return matrix
    logits = np.concatenate(sums.logits, axis=1)
    return _weights_of(logits, np.isfinite(logits), sums, plan)
