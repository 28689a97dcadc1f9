"""Tiles: the scores of some of a block's rows against all queries of a fold, −∞ where hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qkvcli.attention.sums import LOG2E, UNITS, NotFiniteError, constants
from qkvcli.blocks import casefold_all
from qkvcli.errors import InputError
from qkvcli.weights import AVERAGE, EXACT, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qkvcli.attention.plan import Plan
    from qkvcli.attention.top import Floor
    from qkvcli.blocks import Block, Keys, Queries
    from qkvcli.scores import Score

_ROWS = ((1, 65_536), (16, 4_096), (128, 2_048), (256, 1_024))
_ROWS_FOR_MORE = 512
"""How many keys are scored at a time, by the number of queries: what stays in a core's cache."""
_TEXT_PAIRS = 1 << 21
"""How many pairs of texts are scored at a time."""

_LOOKS, _FEW = 8, 8
"""For up to how many queries a block is looked at before it is split, and what part of its rows
is few."""


class Tile(NamedTuple):
    """Scores of shape (K, Q) of the rows ``rows`` of a block, which may be overwritten.

    ``lowest`` is the least of them, where it was looked at.
    """

    rows: slice | NDArray[np.intp]
    scores: NDArray[np.floating]
    lowest: float | None = None


def folds_factor(plan: Plan, queries: Queries) -> bool:
    """Whether log₂e / T can be multiplied into the queries, so that scores come in base 2."""
    score, weighting = plan.score, plan.weighting
    if score is None or not score.takes_factor or weighting.mode != SOFTMAX:
        return False
    plain = not (plan.listed or plan.matrix or queries.is_wide)
    return plain and UNITS[0] < LOG2E / weighting.divisor < UNITS[1]


def tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    """Score a block in tiles, with what the plan's mask hides set to −∞."""
    found = _text_tiles if isinstance(queries.keys, list) else _vector_tiles
    if plan.score is None:
        found = _constant_tiles
    for tile in found(block, queries, plan, floor):
        if plan.mask is not None:
            plan.mask.hide(tile.scores, row_numbers(block, tile), queries.numbers)
        yield tile


def row_numbers(block: Block, tile: Tile) -> NDArray[np.int64]:
    """Return the rows of the database that a tile's rows are."""
    if isinstance(tile.rows, slice):
        return np.arange(block.start + tile.rows.start, block.start + tile.rows.stop)
    return tile.rows + block.start


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _constant_tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    del plan, floor
    for rows in _slices(len(block), max(1, _TEXT_PAIRS // len(queries))):
        yield Tile(rows, np.zeros((rows.stop - rows.start, len(queries))))


def _text_tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    if plan.weighting.mode == EXACT:
        yield _equal_texts(block, queries, every_row=plan.matrix)
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
        yield Tile(few, score.text(asked, some, np.maximum(0.0, floor), folded=True))
        return
    keys = block.folded if fold else _texts(block.keys)
    for rows in _slices(len(block), max(1, _TEXT_PAIRS // len(queries))):
        yield Tile(rows, score.text(asked, keys[rows], np.maximum(0.0, floor), folded=True))


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


def _equal_texts(block: Block, queries: Queries, *, every_row: bool) -> Tile:
    """Look keys up as a dictionary does; only rows that some query equals make the tile."""
    wanted: dict[str, list[int]] = {}
    for column, text in enumerate(_texts(queries.keys)):
        wanted.setdefault(text, []).append(column)
    hits = _hits(block, list(wanted))
    rows = np.sort(np.concatenate([np.empty(0, np.intp), *hits.values()]))
    scores = np.full((len(block) if every_row else len(rows), len(queries)), -np.inf)
    for text, equal in hits.items():
        places = equal if every_row else np.searchsorted(rows, equal)
        scores[places[:, None], wanted[text]] = 1.0
    return Tile(slice(0, len(block)) if every_row else rows, scores)


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
    keys, wanted = block.keys, queries.keys
    dtype = np.result_type(keys, wanted)
    vectors = np.asarray(wanted, dtype)
    score = plan.score
    if score is not None and folds_factor(plan, queries):
        score, vectors = score.times(LOG2E / plan.weighting.divisor, vectors)
    step = next((rows for most, rows in _ROWS if len(queries) <= most), _ROWS_FOR_MORE)
    out = np.empty((min(step, len(keys)), len(queries)), dtype)
    for rows in _slices(len(keys), step):
        part = np.asarray(keys[rows], dtype)
        held = out[: len(part)]
        scores = _vector_scores(part, vectors, score, plan, held, mend=queries.is_wide)
        lowest = None
        if plan.score is not None and not queries.is_wide:
            lowest = _lowest_if_finite(scores, part, plan)
        yield Tile(rows, scores, lowest if plan.mask is None else None)


def _lowest_if_finite(
    scores: NDArray[np.floating], keys: NDArray[np.floating], plan: Plan
) -> float | None:
    """Find what the sums and lists would not: scores of −∞ by overflow or an infinite key.

    Return the least score, if that is what was looked at.
    """
    if plan.weighting.mode in (EXACT, AVERAGE) or (plan.score and plan.score.has_bounds):
        return None
    if plan.listed or plan.mask is not None or scores.shape[1] <= keys.shape[1]:
        lowest = float(scores.min(initial=0))
        if not lowest > -np.inf:  # which NaN is not either
            raise NotFiniteError
        return lowest
    if not np.isfinite(constants(1.0, len(keys), keys.dtype) @ keys).all():
        raise NotFiniteError  # the keys are fewer numbers to look at than the scores
    return None


def _vector_scores(  # noqa: PLR0913 - two sides, and how they meet
    keys: NDArray[np.floating],
    queries: NDArray[np.floating],
    score: Score | None,
    plan: Plan,
    out: NDArray[np.floating],
    *,
    mend: bool,
) -> NDArray[np.floating]:
    if score is None or (plan.weighting.mode == AVERAGE and not plan.listed):
        out[...] = 0
        return out
    scores = out
    if plan.weighting.mode == EXACT and not plan.listed:
        scores[...] = 0
    else:
        scores = score.vectors(queries, keys, out, mend=mend)
    if plan.weighting.mode == EXACT:
        equal = np.ones(out.shape, np.bool_)
        for column in range(keys.shape[1]):
            equal &= keys[:, column, None] == queries[:, column]
        scores[~equal] = -np.inf
    return scores
