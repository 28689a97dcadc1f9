"""Attention(q, D) = Σᵢ α(q, kᵢ) vᵢ as a fold: summarise a block, merge two states, finish.

The fold is the online softmax (Milakov and Gimelshein 2018; Rabe and Staats 2021). ``merge`` is
associative and the state of no rows is its identity, so the same three functions serve one block
in memory, a stream, threads and a cluster, and there is no other path to an answer.

What is kept of the values is their weighted mean, not their sum, and tiles are summed about a value
of their own. So the error does not grow with the number of keys, whatever the order in which a
matrix product adds, and equal values pool to themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.answer import Answer, LabelWeights
from qkvcli.attention.labels import LabelSums
from qkvcli.attention.softmax import (
    NotFiniteError,
    exponentials,
    log_weights,
    logits,
    shift_of,
    weights,
)
from qkvcli.attention.top import Top
from qkvcli.attention.weights import APPROXIMATE, AVERAGE, EXACT
from qkvcli.blocks import labels_of
from qkvcli.errors import InputError
from qkvcli.scores import Tile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

    from qkvcli.attention.gradients import Slopes
    from qkvcli.attention.top import Floor
    from qkvcli.attention.weights import Mask, Weighting
    from qkvcli.blocks import Block, Labels, Queries
    from qkvcli.scores import Score

LABEL_CAP = 10_000
"""How many distinct values of a text column are pooled by default."""
_SAMPLE = 64
"""Of how many of a tile's rows the mean is what its sums are about."""
_FEW = 16
"""Up to how many queries to read the values takes longer than to multiply them."""
_RUN, _SPREAD = 256, 0.01
"""How many rows are added in float32 one after another, and how far apart values that vary are."""
_FLAT = 1e-10
"""What part of where keys lie is their spread at least, for a line to have a slope along it."""
_ALIKE = 1e-8
"""What part of the largest spread of columns, each of which has 1, is a direction at least."""
_NOTHING = -1e4
"""A log-weight whose weight is 0, and is finite."""
_ROWS = 1 << 18
"""How many pairs a tile has where there are no scores."""
_OVERFLOW = (
    "a score or a sum overflows a double; scale the keys, queries or values down, or widen a kernel"
)


@dataclass(frozen=True)
class Plan:
    """How queries and keys become weights, and what to keep of them.

    Parameters
    ----------
    score, weighting, mask
        a(q, k), log α, and what may be attended to; no score is needed for an average.
    top
        How many of the best-scoring keys to list for each query.
    records
        Whether to keep those as text.
    perplexity, jacobian, matrix
        Whether to keep the effective number of keys, ∂ answer / ∂ q, the whole matrix.
    width
        How many numeric values a row has, Dv.
    text
        Which of a record's values are pooled as text, by position.
    label_cap
        How many distinct values of a text column are pooled at most.
    dtype
        What pooled numbers are returned as.
    degree
        0 for the weighted mean, 1 for a weighted line in the keys, at the query.
    along
        The columns of keys along which there are slopes, None for all; categories have none.
    """

    score: Score | None
    weighting: Weighting
    mask: Mask | None = None
    top: int = 0
    records: bool = False
    perplexity: bool = False
    jacobian: bool = False
    matrix: bool = False
    width: int = 0
    text: tuple[int, ...] = ()
    label_cap: int = LABEL_CAP
    dtype: DTypeLike = np.float64
    degree: int = 0
    along: tuple[int, ...] | None = None

    @cached_property
    def listed(self) -> int:
        """How many best keys a state lists."""
        return self.weighting.top_k or self.top

    @cached_property
    def is_sparse(self) -> bool:
        """Whether only the best keys are attended to."""
        return self.weighting.top_k is not None

    @cached_property
    def hides(self) -> bool:
        """Whether a key may have no weight at all."""
        exact = self.weighting.mode == EXACT
        return exact or self.mask is not None or (self.score is not None and self.score.bounded)

    def sloping(self, vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the columns of queries or keys (…, D) along which there are slopes."""
        return vectors if self.along is None else vectors[..., self.along]


@dataclass(frozen=True, eq=False)
class Sums:
    """What is known of the weights of the rows seen so far, each exp((a − shift) / T).

    Parameters
    ----------
    temperature
        T.
    shift
        What scores are relative to, of shape (Q,); of no meaning where ``normalizer`` is 0.
    normalizer
        The sum of the weights, (Q,); 0 where nothing was attended to.
    mean
        The weighted mean of the values, (Q, Dv).
    mean_log
        The weighted mean of (a − shift) / T, (Q,), for the entropy.
    labels
        The sums of weights by distinct value of each text column.
    slopes
        What is known of ∂a/∂q.
    scores
        The scores (Q, K) with the rows that they are of, where the whole matrix is wanted.
    """

    temperature: float
    shift: NDArray[np.float64]
    normalizer: NDArray[np.float64]
    mean: NDArray[np.float64]
    mean_log: NDArray[np.float64] | None = None
    labels: tuple[LabelSums, ...] = ()
    slopes: Slopes | None = None
    scores: tuple[tuple[NDArray[np.int64], NDArray[np.floating]], ...] = ()

    def merge(self, other: Sums) -> Sums:
        """Return the sums over the rows of both, this one's coming first."""
        shift = np.where(other.normalizer > 0, np.maximum(self.shift, other.shift), self.shift)
        shift = np.where(self.normalizer > 0, shift, other.shift)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            (mine, my_log), (others, their_log) = self._moved_to(shift), other._moved_to(shift)
            more = other.normalizer * others
            normalizer = self.normalizer * mine + more
            part = np.divide(more, normalizer, out=np.zeros_like(more), where=normalizer > 0)
            apart = other.mean - self.mean
            mean = self.mean + apart * part[:, None]
            mean_log = None
            if self.mean_log is not None and other.mean_log is not None:
                mean_log = (self.mean_log + my_log) * (1 - part)
                mean_log += (other.mean_log + their_log) * part
            slopes = None
            if self.slopes is not None and other.slopes is not None:
                slopes = self.slopes.merge(other.slopes, apart, part, mine, others)
        pairs = zip(self.labels, other.labels, strict=True)
        return Sums(
            self.temperature,
            shift,
            normalizer,
            mean,
            mean_log,
            tuple(a.merge(b, mine, others) for a, b in pairs),
            slopes,
            self.scores + other.scores,
        )

    def _moved_to(self, shift: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return by what weights are multiplied under another shift, and its logarithm."""
        counts = self.normalizer > 0
        logs = np.where(counts, (self.shift - shift) / self.temperature, 0.0)
        factor = np.where(counts, np.exp(logs), 0.0)
        return factor, np.where(factor > 0, logs, 0.0)

    @property
    def perplexity(self) -> NDArray[np.float64] | None:
        """The effective number of keys, exp(entropy of the weights); NaN where there is none."""
        if self.mean_log is None:
            return None
        found = np.where(self.normalizer > 0, self.normalizer * np.exp(-self.mean_log), np.nan)
        return np.where(found < 1, 1.0, found)

    def beside(self, null_logit: float) -> tuple[Sums, NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums in the range of a null key, its weight and the effective number of all.

        The null key has no value: the mean stays that of the keys. Its weight, of shape (Q,), is
        how likely it is that nothing matches.
        """
        shift = np.maximum(self.shift, null_logit)
        factor, _ = self._moved_to(shift)
        null = np.exp((null_logit - shift) / self.temperature)
        normalizer = self.normalizer * factor + null
        share = null / normalizer
        with np.errstate(divide="ignore", invalid="ignore"):
            # H = h(share) + (1 − share) H(keys), h being the entropy of two.
            of_two = [np.where(p > 0, -p * np.log(p), 0.0) for p in (share, 1 - share)]
            keys = np.ones(len(shift)) if self.perplexity is None else self.perplexity
            perplexity = np.exp(sum(of_two) + np.where(share < 1, (1 - share) * np.log(keys), 0.0))
        labels = tuple(part.times(factor) for part in self.labels)
        return replace(self, shift=shift, normalizer=normalizer, labels=labels), share, perplexity


@dataclass(frozen=True, eq=False)
class State:
    """What is known of some queries after some rows; ``State()`` is the identity of ``merge``.

    Parameters
    ----------
    rows, skipped
        How many rows were seen, and how many were left out as a number was missing in them.
    sums
        The sums over them; None where only the best keys are attended to, or no key is.
    top
        The best keys; None where none are listed.
    """

    rows: int = 0
    sums: Sums | None = None
    top: Top | None = None
    skipped: int = 0

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
    # Where the arithmetic may pass a number by, NaN has to be looked for.
    if plan.hides or plan.weighting.uniform or plan.is_sparse:
        block.check()
    try:
        return _summarise(block, queries, plan, floor)
    except NotFiniteError:
        block.check()
    # Finite data, whose scores or sums are not: in float64, and with no weight above 1.
    wider = plan.score.widened(queries) if plan.score else queries
    try:
        return _summarise(block, wider, plan, floor, exact=True)
    except NotFiniteError:
        raise InputError(_OVERFLOW, block.where(_overflowing(block, wider, plan))) from None


def _overflowing(block: Block, queries: Queries, plan: Plan) -> int:
    """Return the first row whose score overflows; where a sum does, that of the largest value."""
    with np.errstate(over="ignore", invalid="ignore"):
        for tile in plan.score.tiles(block, queries, -np.inf, len(block)) if plan.score else ():
            odd = np.isnan(tile.scores) | (tile.scores == np.inf)
            odd |= (tile.scores == -np.inf) & (not plan.score or not plan.score.bounded)
            rows = np.flatnonzero(odd.any(axis=0))
            if len(rows):
                return int(np.arange(len(block))[tile.rows][rows[0]])
    values = np.abs(block.values())
    return int(values.max(axis=1).argmax()) if values.size else 0


def _summarise(
    block: Block, queries: Queries, plan: Plan, floor: Floor, *, exact: bool = False
) -> State:
    top, sums = None, None
    texts: list[Labels] = []
    with np.errstate(over="ignore", invalid="ignore"):  # found as scores that are not finite
        for tile in _tiles(block, queries, plan, floor):
            if plan.listed:
                top = top or Top.empty(len(queries), plan.listed)
                top = top.offer(tile.scores, _rows_of(block, tile), floor)
            if not plan.is_sparse:
                if plan.text and not texts and isinstance(tile.rows, slice):
                    texts = block.labels()
                found = _sums_of(tile, block, queries, plan, texts, exact=exact)
                sums = found if sums is None else sums.merge(found)
    if sums is not None and not np.isfinite(sums.mean).all():
        raise NotFiniteError
    if top is not None:
        if (top.scores == np.inf).any():
            raise NotFiniteError
        top = top.gathered(
            block,
            records=plan.records,
            values=plan.is_sparse,
            keys=plan.is_sparse and plan.jacobian,
        )
    return State(len(block), sums, top, block.skipped)


def _tiles(block: Block, queries: Queries, plan: Plan, floor: Floor) -> Iterator[Tile]:
    """Yield a block's scores with what the mask hides set to −∞; other rows have no weight.

    Raises
    ------
    NotFiniteError
        A score that is not finite: by overflow, or of a key or a query that is not.
    """
    score, mode = plan.score, plan.weighting.mode
    if score is None or (mode == AVERAGE and not plan.listed):
        tiles = _equal_tiles(len(block), len(queries))
    elif mode == EXACT:
        tiles = score.matches(block, queries, scored=plan.listed > 0)
    else:
        reach = plan.mask.reach(queries.rows) if plan.mask else None
        stop = len(block) if reach is None else max(1, reach - block.start)
        tiles = score.tiles(block, queries, floor, stop)
    bounded = score is not None and score.bounded
    for tile in tiles:
        found = tile
        if tile.high == np.inf and mode != EXACT:  # nothing is known of its scores
            low, high = float(tile.scores.min()), float(tile.scores.max())
            if not high < np.inf or not (low > -np.inf or bounded):  # which NaN is not either
                raise NotFiniteError
            found = tile._replace(low=low, high=high)
        if plan.mask is not None:
            plan.mask.hide(found.scores, queries.rows, _rows_of(block, found))
            # What is hidden has no weight whatever it is relative to; the rest lies where it lay.
            if plan.mask.added is not None:
                found = found._replace(low=-np.inf, high=np.inf)
        yield found


def _equal_tiles(keys: int, queries: int) -> Iterator[Tile]:
    """Yield scores of 0: an average needs no others."""
    step = max(1, _ROWS // queries)
    for start in range(0, keys, step):
        rows = slice(start, min(start + step, keys))
        yield Tile(rows, np.zeros((queries, rows.stop - start)), 0.0, 0.0)


def _rows_of(block: Block, tile: Tile) -> NDArray[np.int64]:
    """Return the rows of the database that a tile's rows are."""
    if isinstance(tile.rows, slice):
        return np.arange(block.start + tile.rows.start, block.start + tile.rows.stop)
    return tile.rows + block.start


def _sums_of(  # noqa: PLR0913 - a tile, and what it is of
    tile: Tile,
    block: Block,
    queries: Queries,
    plan: Plan,
    texts: list[Labels],
    *,
    exact: bool,
) -> Sums:
    """Return the sums of one tile, whose scores are overwritten.

    ``texts`` are the text value columns of the whole block, of which tiles are neighbouring rows.
    """
    kept: tuple[tuple[NDArray[np.int64], NDArray[np.floating]], ...] = ()
    if plan.matrix:
        kept = ((_rows_of(block, tile), tile.scores.copy()),)
    scores = logits(tile.scores, plan.weighting)
    low, high = (tile.low, tile.high) if scores is tile.scores else (-np.inf, 0.0)
    temperature = plan.weighting.effective_temperature
    reference = plan.score.reference if plan.score and not plan.weighting.uniform else 0.0
    shift = shift_of(scores, temperature, reference, low, high, hidden=plan.hides, exact=exact)
    logs = log_weights(scores, shift, temperature)
    least = (low - shift.max()) / temperature
    found = exponentials(logs, np.empty_like(logs) if plan.perplexity else None, least)
    rows = tile.rows
    if isinstance(rows, slice):
        values = block.values()[rows]
        columns = [text._replace(codes=text.codes[rows]) for text in texts]
    else:
        values = block.values(rows.tolist())
        columns = block.labels(rows.tolist()) if plan.text else []
    labels = tuple(LabelSums.of(column, len(queries), plan.label_cap) for column in columns)
    for share, column in zip(labels, columns, strict=True):
        share.add(found, column.codes)
    if plan.degree:  # whose covariances with the keys a line is made of
        values = np.concatenate([values, plan.sloping(block.keys[rows])], axis=1)
    sums = _pooled(found, logs if plan.perplexity else None, shift, temperature, values)
    slopes = None
    if plan.jacobian or plan.degree:
        from qkvcli.attention.gradients import STEPS, slopes_of  # few ask for them

        slopes = slopes_of(
            STEPS if plan.degree else plan.score,  # type: ignore[arg-type]  # of vectors alone
            plan.sloping(queries.keys),
            plan.sloping(block.keys[rows]),
            found,
            values,
            sums.mean,
            list(zip(columns, labels, strict=True)),
        )
    return replace(sums, labels=labels, slopes=slopes, scores=kept)


def _pooled(
    found: NDArray[np.floating],
    logs: NDArray[np.floating] | None,
    shift: NDArray[np.float64],
    temperature: float,
    values: NDArray[np.floating],
) -> Sums:
    """Return the sums of weights (Q, N) over values (N, Dv), or those of each query (Q, N, Dv).

    ``logs``, where given, are the logarithms of the weights, and are overwritten.
    """
    normalizer = found.sum(axis=1).astype(np.float64)  # NumPy adds pairwise
    counts = normalizer > 0
    safe = np.where(counts, normalizer, 1)
    mean_log = None
    if logs is not None:  # about the logarithm of the mean weight, of which little is rounded
        centre = np.log(safe / max(1, found.shape[1])).astype(logs.dtype)
        np.maximum(logs, _NOTHING, out=logs)
        logs -= centre[:, None]
        logs *= found
        mean_log = centre + logs.sum(axis=1).astype(np.float64) / safe
    if values.ndim == 2:
        about, total = _weighted_sum(found, values)
    else:
        about = values[:, 0] if values.shape[1] else np.zeros((1, values.shape[2]))
        total = np.einsum("qn,qnd->qd", found, values - about[:, None])
    mean = np.where(counts[:, None], about + total / safe[:, None], 0.0)
    return Sums(temperature, shift, normalizer, mean, mean_log)


def _weighted_sum(
    found: NDArray[np.floating], values: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return a row ``about`` and Σ w (v − about), (Q, Dv), of weights (Q, K) and values (K, Dv).

    Of equal terms every addition rounds the same way, and the error grows with their number; about
    one of them, or about their mean, there are none.
    """
    few = len(found) <= _FEW and values.size > 0
    about = _about(values, few=few)
    apart = values - about if about.any() else values
    # Unlike ``@``, ``dot`` always lets other threads run.
    return about, _sum_in_runs(found, apart) if few else np.dot(found, apart)


def _about(values: NDArray[np.floating], *, few: bool) -> NDArray[np.floating]:
    """Return what values (K, Dv) are summed about, of shape (1, Dv).

    In float64 only a column of one value needs it. In float32 it is the mean of some rows; but for
    few queries values that differ from row to row are summed as they are, in short runs: one query
    among two million keys takes 0.46 of the time so (AVX-512; 0.58 with AVX2 alone).
    """
    step = max(1, len(values) // _SAMPLE)
    sample = values[: step * _SAMPLE : step]
    if not sample.size:
        return np.zeros((1, values.shape[1]), values.dtype)
    if values.itemsize == 8:
        return np.where((sample == sample[0]).all(axis=0), sample[:1], 0)
    steps = np.abs(sample[1:] - sample[:-1])
    largest = _SPREAD * np.abs(sample).max(axis=0)
    if few and len(steps) and (steps > 0).all() and (steps.max(axis=0) > largest).all():
        return sample[:1] * 0
    about = sample.sum(axis=0, keepdims=True) / len(sample)
    return np.where(np.isfinite(about), about, values.dtype.type(0))


def _sum_in_runs(found: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Σ w v, added in runs of rows, and these in float64."""
    cut = len(values) - len(values) % _RUN
    runs = values[:cut].reshape(-1, _RUN, values.shape[1])
    parts = found[:, :cut].reshape(len(found), -1, _RUN).swapaxes(0, 1)
    total: NDArray[np.float64] = np.matmul(parts, runs).sum(axis=0, dtype=np.float64)
    total += np.dot(found[:, cut:], values[cut:])
    return total


def _sums_of_top(top: Top, plan: Plan, queries: Queries) -> Sums:
    """Return the sums over the keys that are listed, and no others: sparse attention."""
    temperature = plan.weighting.effective_temperature
    scores = logits(top.scores, plan.weighting).copy()
    reference = plan.score.reference if plan.score and not plan.weighting.uniform else 0.0
    shift = shift_of(scores, temperature, reference)
    logs = log_weights(scores, shift, temperature)
    found = exponentials(logs, np.empty_like(logs))
    values = np.zeros((*found.shape, plan.width)) if top.values is None else top.values
    sums = _pooled(found, logs, shift, temperature, values)
    columns = [_listed_labels(top, position) for position in plan.text]
    labels = tuple(LabelSums.of(c, len(queries), len(c.texts)) for c in columns)
    for share, column in zip(labels, columns, strict=True):
        np.add.at(
            share.sums, (np.nonzero(top.present)[0], column.codes[top.present]), found[top.present]
        )
    slopes = None
    if plan.jacobian and top.keys is not None:
        from qkvcli.attention.gradients import slopes_of

        slopes = slopes_of(
            plan.score,  # type: ignore[arg-type]  # a Jacobian is asked of vectors alone
            plan.sloping(queries.keys),
            plan.sloping(top.keys),
            found,
            values,
            sums.mean,
            list(zip(columns, labels, strict=True)),
        )
    return replace(sums, labels=labels, slopes=slopes)


def _listed_labels(top: Top, position: int) -> Labels:
    """Return a text value column of the listed rows, with codes of shape (Q, N)."""
    rows = top.rows[top.present].tolist()
    found = labels_of([top.records[row].value[position] for row in rows])
    codes = np.zeros(top.rows.shape, np.intp)
    codes[top.present] = found.codes
    return found._replace(codes=codes)


def merge(a: State, b: State) -> State:
    """Return the state of the rows of both, those of ``a`` coming first."""
    if not a.rows or not b.rows:
        return b if not a.rows else a
    sums = a.sums.merge(b.sums) if a.sums and b.sums else a.sums or b.sums
    top = a.top.merge(b.top) if a.top and b.top else a.top or b.top
    return State(a.rows + b.rows, sums, top, a.skipped + b.skipped)


def finish(state: State, plan: Plan, queries: Queries) -> Answer:
    """Return the answer that a state of all rows comes to.

    A query whose every log-weight is −∞ has no answer: ``answered`` is False, its pooled values
    are NaN and its list is empty.

    Raises
    ------
    InputError
        A mean that overflows.
    """
    if plan.degree and state.sums is not None:
        return _line(state, state.sums, plan, queries)
    weighting = plan.weighting
    top = state.top or Top.empty(len(queries), 0)
    if weighting.mode == APPROXIMATE and weighting.null_score is not None:
        top = top.above(weighting.null_score)
    top = top.trimmed
    sums = state.sums or _sums_of_top(top, plan, queries)
    answered = sums.normalizer > 0
    perplexity = sums.perplexity
    no_match = None if weighting.null_score is None else np.where(answered, 0.0, 1.0)
    if weighting.null_logit is not None:
        sums, share, effective = sums.beside(weighting.null_logit)
        no_match = np.where(answered, share, 1.0)
        perplexity = None if perplexity is None else np.where(answered, effective, np.nan)
    if not np.isfinite(sums.mean[answered]).all():
        raise InputError(_OVERFLOW)
    normalizer = np.where(answered, sums.normalizer, np.nan)
    labels = tuple(
        LabelWeights(part.labels, part.sums / normalizer[:, None])
        if part.labels is not None
        else None
        for part in sums.labels
    )
    answer = Answer(
        mode=plan.weighting.mode,
        rows=state.rows,
        answered=answered,
        output=np.where(answered[:, None], sums.mean, np.nan).astype(plan.dtype),
        labels=labels,
        perplexity=perplexity,
        best_rows=top.rows,
        best_scores=top.scores.astype(np.float64),
        best_weights=weights(top.scores, sums.shift, sums.normalizer, plan.weighting),
        records=top.records,
        shift=sums.shift,
        normalizer=normalizer,
        no_match=no_match,
        skipped=state.skipped,
    )
    if sums.slopes is not None:
        answer = _with_jacobian(answer, sums.slopes, plan.weighting.effective_temperature)
    return replace(answer, weights=_matrix(answer, sums, plan)) if plan.matrix else answer


def _line(state: State, sums: Sums, plan: Plan, queries: Queries) -> Answer:
    """Return the answer of local lines: least squares in d = x − q, at d = 0.

    With means and covariances under the weights the slope is S⁻¹ Cov(d, v) and the answer is
    v̄ − slope·d̄. Where the keys in reach do not span a direction, the slope along it is 0.
    """
    slopes = sums.slopes
    if slopes is None:
        raise TypeError(sums)
    width = plan.width
    spread, both = slopes.covariance[:, width:], slopes.covariance[:, :width]
    # Scaled to correlations, so that what is no spread is seen whatever the units.
    scale = np.sqrt(np.maximum(np.einsum("qdd->qd", spread), 0))
    reach = np.abs(slopes.mean) + np.abs(plan.sloping(queries.keys))
    flat = scale <= _FLAT * np.maximum(reach, np.finfo(np.float64).tiny)
    safe = np.where(flat, 1.0, scale)
    kept = ~flat[:, :, None] & ~flat[:, None]
    correlation = np.where(kept, spread / (safe[:, :, None] * safe[:, None]), 0.0)
    inverse = np.linalg.pinv(correlation, rcond=_ALIKE, hermitian=True)
    inverse /= safe[:, :, None] * safe[:, None]
    slope = both @ inverse
    mean = sums.mean[:, :width] - np.einsum("qvd,qd->qv", slope, slopes.mean)
    plain = replace(plan, degree=0, jacobian=False)
    answer = finish(replace(state, sums=replace(sums, mean=mean, slopes=None)), plain, queries)
    toward = np.einsum("qde,qe->qd", inverse, slopes.mean)
    steps = np.concatenate([slopes.mean[:, None], spread, toward[:, None]], axis=1)
    slope = np.where(answer.answered[:, None, None], slope, np.nan)
    return replace(answer, jacobian=slope, steps=steps)


def _with_jacobian(answer: Answer, slopes: Slopes, temperature: float) -> Answer:
    """Return an answer with Cov(v, ∂a/∂q) / T, of numbers and of each label's indicator."""
    jacobian = np.where(answer.answered[:, None, None], slopes.covariance, np.nan) / temperature
    of_labels: list[NDArray[np.float64] | None] = []
    for found, sums in zip(answer.labels, slopes.labels, strict=True):
        if found is None:
            of_labels.append(None)
            continue
        joint = sums.sums / answer.normalizer[:, None, None]
        alone = found.weights[:, :, None] * slopes.mean[:, None, :]
        of_labels.append((joint - alone) / temperature)
    return replace(answer, jacobian=jacobian, label_jacobians=tuple(of_labels))


def _matrix(answer: Answer, sums: Sums, plan: Plan) -> NDArray[np.float64]:
    """Return the whole matrix of weights, (Q, K); a row without an answer is 0."""
    matrix = np.zeros((len(answer.answered), answer.rows))
    if plan.is_sparse:
        queries, places = np.nonzero(answer.best_rows >= 0)
        matrix[queries, answer.best_rows[queries, places]] = answer.best_weights[queries, places]
    for rows, scores in sums.scores:
        matrix[:, rows] = weights(scores, sums.shift, sums.normalizer, plan.weighting)
    return matrix
