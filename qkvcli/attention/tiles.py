"""Tiles: the scores of some of a block's rows against all queries of a fold, −∞ where hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.attention.sums import LOG2E, UNITS, NotFiniteError
from qkvcli.blocks import casefold_all
from qkvcli.errors import InputError
from qkvcli.scores.vector import NARROW
from qkvcli.weights import AVERAGE, EXACT, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.attention.plan import Plan
    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Keys, Queries
    from qkvcli.scores import Score
    from qkvcli.weights import Mask

_PAIRS = 1 << 18
"""How many pairs of vectors are scored at a time: what stays in a core's cache."""
_TEXT_PAIRS = 1 << 21
"""How many pairs of texts are scored at a time."""

_LOOKS, _FEW = 8, 8
"""For up to how many queries a block is looked at before it is split, and what part of its rows
is few."""


class Tile(NamedTuple):
    """Scores of shape (K, Q) of the rows ``rows`` of a block, which may be overwritten.

    None of them is below ``low`` or above ``high``, as far as that is known.
    """

    rows: slice | NDArray[np.intp]
    scores: NDArray[np.floating]
    low: float = -np.inf
    high: float = np.inf


def folds_factor(plan: Plan, queries: Queries) -> bool:
    """Whether log₂e / T can be multiplied into the queries, so that scores come in base 2."""
    score, weighting = plan.score, plan.weighting
    if score is None or not score.takes_factor or weighting.mode != SOFTMAX:
        return False
    plain = not (plan.listed or plan.matrix or queries.is_wide)
    return plain and UNITS[0] < LOG2E / weighting.divisor < UNITS[1]


def tiles_of(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    """Score a block in tiles, with what the plan's mask hides set to −∞.

    Rows that are in no tile have no weight, and are on no list.
    """
    found = _text_tiles if isinstance(queries.keys, list) else _vector_tiles
    if plan.score is None or (plan.weighting.mode == AVERAGE and not plan.listed):
        found = _level_tiles
    made = found(block, queries, plan, floor)
    return made if plan.mask is None else _masked(made, block, queries, plan.mask)


def _masked(made: Iterator[Tile], block: Block, queries: Queries, mask: Mask) -> Iterator[Tile]:
    for tile in made:
        mask.hide(tile.scores, row_numbers(block, tile), queries.numbers)
        yield tile._replace(low=-np.inf)


def row_numbers(block: Block, tile: Tile) -> NDArray[np.int64]:
    """Return the rows of the database that a tile's rows are."""
    if isinstance(tile.rows, slice):
        return np.arange(block.start + tile.rows.start, block.start + tile.rows.stop)
    return tile.rows + block.start


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _level_tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    del plan, floor
    dtype = block.numbers.dtype if block.columns.numbers else np.dtype(np.float64)
    for rows in _slices(len(block), _step(len(block), len(queries))):
        yield Tile(rows, np.zeros((rows.stop - rows.start, len(queries)), dtype), 0.0, 0.0)


def _text_tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    if plan.weighting.mode == EXACT:
        yield from _equal_texts(block, queries, every_row=plan.matrix)
        return
    score = plan.score
    if score is None:
        raise AssertionError
    fold = not score.case_sensitive
    asked = casefold_all(_texts(queries.keys)) if fold else _texts(queries.keys)
    near = _near(block, asked, score, floor)
    if near is not None:
        few, some = near
        some = casefold_all(some) if fold else some
        if some:
            scores = score.text(asked, some, np.maximum(0.0, floor), folded=True)
            yield Tile(few, scores, 0.0, 1.0)
        return
    keys = block.folded if fold else _texts(block.keys)
    for rows in _slices(len(block), max(1, _TEXT_PAIRS // len(queries))):
        scores = score.text(asked, keys[rows], np.maximum(0.0, floor), folded=True)
        yield Tile(rows, scores, 0.0, 1.0)


def _near(
    block: Block, queries: list[str], score: Score, floor: Floor
) -> tuple[NDArray[np.intp], list[str]] | None:
    """Return the rows that may score at least the floor of any query, and their keys, if few.

    To see that takes less time than to split the block into strings.
    """
    if len(queries) > _LOOKS or not np.min(floor) > 0:
        return None
    outline = block.outline()
    if outline is None:
        return None
    near = np.zeros(len(block), np.bool_) if outline.is_odd is None else outline.is_odd
    for query, least in zip(queries, np.broadcast_to(floor, len(queries)), strict=True):
        near = near | score.near(query, outline, float(least))
    rows = np.flatnonzero(near)
    return (rows, outline.keys(rows)) if len(rows) <= len(block) // _FEW else None


def _texts(keys: Keys) -> list[str]:
    if not isinstance(keys, list):
        message = "queries of text, and keys of numbers"
        raise InputError(message)
    return keys


def _equal_texts(block: Block, queries: Queries, *, every_row: bool) -> Iterator[Tile]:
    """Look keys up as a dictionary does; only rows that some query equals make the tile, if any."""
    wanted: dict[str, list[int]] = {}
    for column, text in enumerate(_texts(queries.keys)):
        wanted.setdefault(text, []).append(column)
    hits = _hits(block, list(wanted))
    rows = np.sort(np.concatenate([np.empty(0, np.intp), *hits.values()]))
    if not rows.size and not every_row:
        return
    scores = np.full((len(block) if every_row else len(rows), len(queries)), -np.inf)
    for text, equal in hits.items():
        places = equal if every_row else np.searchsorted(rows, equal)
        scores[places[:, None], wanted[text]] = 1.0
    yield Tile(slice(0, len(block)) if every_row else rows, scores)


def _hits(block: Block, texts: list[str]) -> dict[str, NDArray[np.intp]]:
    """Return for each text the rows whose key it is, if it is any row's."""
    if not block.may_hold(texts):
        return {}
    outline = block.outline() if len(texts) <= _LOOKS else None
    if outline is not None:
        return {text: outline.equal(text) for text in texts}
    hits: dict[str, list[int]] = {text: [] for text in texts}
    for row, key in enumerate(_texts(block.keys)):
        if key in hits:
            hits[key].append(row)
    return {text: np.array(rows, np.intp) for text, rows in hits.items()}


def _vector_tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    del floor
    keys, score = np.asarray(block.keys), plan.score
    if score is None:
        raise AssertionError
    if plan.weighting.mode == EXACT:
        yield from _equal_vectors(keys, queries, score if plan.listed else None)
        return
    dtype = np.result_type(keys, queries.vectors)
    vectors = queries.vectors.astype(dtype, copy=False)
    if folds_factor(plan, queries):
        score, vectors = score.times(LOG2E / plan.weighting.divisor, vectors)
    scorer = score.scorer(vectors, mend=queries.is_wide)
    # Where keys are fewer numbers than scores, a look at them says enough of the scores. All are
    # looked at once, as threads wait for each other after every call, if none need be converted.
    looks = len(queries) > keys.shape[1]
    whole = keys.shape[1] <= NARROW or keys.dtype == dtype
    ready = scorer.ready(keys) if whole else None
    limits = scorer.limits(keys) if whole and looks else None
    step = _step(len(keys), len(queries))
    out = np.empty((step, len(queries)), dtype)
    for rows in _slices(len(keys), step):
        part = scorer.ready(keys[rows]) if ready is None else ready[rows]
        if looks and not whole:
            limits = scorer.limits(part)
        scores = scorer.scores(part, out[: len(part)])
        yield Tile(rows, scores, *(limits or _limits(scores, score, plan)))


def _step(keys: int, queries: int) -> int:
    """Return how many keys of a block are scored at a time, so that tiles are of one size."""
    return max(1, math.ceil(keys / max(1, math.ceil(keys * queries / _PAIRS))))


def _limits(scores: NDArray[np.floating], score: Score, plan: Plan) -> tuple[float, float]:
    """Return between what numbers the scores lie, looked at as far as lists and sums will not.

    Raises
    ------
    NotFiniteError
        Scores of −∞, by overflow or of an infinite key.
    """
    high = np.inf if score.highest is None else score.highest
    if plan.weighting.mode == AVERAGE or score.has_bounds:
        return -np.inf, high
    low = float(scores.min(initial=0))
    if not low > -np.inf:  # which NaN is not either
        raise NotFiniteError
    return low, high


def _equal_vectors(
    keys: NDArray[np.floating], queries: Queries, score: Score | None
) -> Iterator[Tile]:
    """Yield the scores of keys, or 0 without a score; −∞ where key and query differ."""
    vectors = queries.vectors
    dtype = np.result_type(keys, vectors)
    scorer = score.scorer(vectors.astype(dtype, copy=False)) if score else None
    for rows in _slices(len(keys), _step(len(keys), len(queries))):
        part = keys[rows]
        scores = scorer(part) if scorer else np.zeros((len(part), len(queries)), dtype)
        equal = np.ones(scores.shape, np.bool_)
        for column in range(keys.shape[1]):
            equal &= part[:, column, None] == vectors[:, column]
        scores[~equal] = -np.inf
        yield Tile(rows, scores)
