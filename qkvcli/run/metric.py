"""Learning how vectors are mapped before they are compared: metrics, and projections of pairs.

Regression by the leave-one-out squared error (Weinberger and Tesauro 2007), classification by the
share of the right class (Goldberger and others 2004), pairs of queries and keys by −log α of the
right key (InfoNCE, van den Oord and others 2018). Each is a loss of the weights of one softmax;
what differs is its slope at every score, which goes back to the maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.attention.softmax import exponentials, log_weights, normalised, shift_of
from qkvcli.blocks import rows_of
from qkvcli.errors import InputError, UsageError
from qkvcli.run.choose import Workers
from qkvcli.run.learn import Learned, Training, Watched, check_count, interval, trained
from qkvcli.scores.model import VectorModel, array_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from qkvcli.attention.top import Floor
    from qkvcli.run.work import Executor, Tree
    from qkvcli.sources.store import Store

    Floats = NDArray[np.float64]

DIAGONAL, LOW_RANK, FULL, PAIRS = "diagonal", "low-rank", "full", "pairs"
MOST = 4096
"""How many rows are learned from at most: each is predicted from all the others."""
_CELLS = 1 << 20
_ALONE = Workers(1)
_STEPS = 200
_TELL = 100
"""How many rows held out tell which of two beginnings ends better."""
_FACTORS = np.geomspace(0.05, 20, 16)
"""By what a first metric is multiplied to find the best width."""


@dataclass(frozen=True, eq=False)
class _Added:
    """Sums of arrays over rows, as a fold of its own: gradients are such.

    Parameters
    ----------
    of
        Returns what some rows add.
    """

    of: Callable[[slice], tuple[Any, ...]]
    parts = (None,)
    is_sparse = is_text = holds_lock = False

    def __call__(self, rows: range, part: int, floor: Floor) -> tuple[Any, ...]:
        """Return what some rows add."""
        del part, floor
        return self.of(slice(rows.start, rows.stop))

    def share(self, rows: int, part: int) -> int:
        """Return how many rows are done: there is one part."""
        del part
        return rows

    def nothing(self) -> tuple[Any, ...]:
        """Return the sums of no rows."""
        return self.of(slice(0, 0))

    def merge(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the sums of neighbouring rows as one."""
        return tuple(x + y for x, y in zip(a, b, strict=True))

    def floor(self, tree: Tree[tuple[Any, ...]]) -> Floor:
        """Return that every row counts."""
        del tree
        return -np.inf


def _added(
    of: Callable[[slice], tuple[Any, ...]], parts: Iterable[slice], executor: Executor
) -> tuple[Any, ...]:
    """Return the sums over all rows of what ``of`` says that some rows add."""
    work: Any = _Added(of)  # of which an executor asks what it asks of Work
    blocks: Any = (range(part.start, part.stop) for part in parts)  # which have a length
    (sums,) = executor.run(work, blocks)
    return sums


class Slopes(NamedTuple):
    """A loss of some rows, its value at each, and its slope at every score, (Q, K)."""

    losses: Floats
    slope: Floats


def squared_error(weights: Floats, values: Floats, right: Floats) -> Slopes:
    """Return (ŷ − y)² of predictions ŷ = Σ α y, and its slope: 2 α (ŷ − y)·(yⱼ − ŷ).

    Parameters
    ----------
    weights
        α, (Q, K).
    values, right
        y of the keys (K, C) and of the queries (Q, C).
    """
    found = weights @ values
    apart = found - right
    slope = 2 * weights * (apart @ values.T - np.sum(apart * found, axis=1)[:, None])
    return Slopes(np.sum(apart * apart, axis=1), slope)


def wrong_share(weights: Floats, values: Floats, right: Floats) -> Slopes:
    """Return the share p of all classes but the right one, and its slope: α p − α on the right.

    ``values`` and ``right`` are one-hot, as of ``squared_error``.
    """
    same = right @ values.T
    share = np.sum(weights * same, axis=1)
    return Slopes(1 - share, weights * (share[:, None] - same))


def metric_loss(
    projection: Floats,
    keys: Floats,
    values: Floats,
    loss: Callable[[Floats, Floats, Floats], Slopes],
    executor: Executor = _ALONE,
) -> tuple[float, Floats]:
    """Return the mean loss of each row, predicted from all others, and its gradient (R, D).

    Parameters
    ----------
    projection
        L, (R, D), of the score a = −‖L (q − k)‖² / 2.
    keys, values
        (N, D) and (N, C).
    loss
        ``squared_error`` or ``wrong_share``.
    executor
        What runs the sums over rows.

    Notes
    -----
    ∂a/∂L = −L (q − k)(q − k)ᵀ, summed under the slopes without forming differences.
    """
    mapped = keys @ projection.T

    def of(rows: slice) -> tuple[float, Floats, Floats]:
        found = loss(_weights(mapped[rows], mapped, own=rows), values, values[rows])
        some = keys[rows]
        cross = some.T @ (found.slope @ keys)
        spread = (some.T * found.slope.sum(axis=1)) @ some - cross - cross.T
        return float(found.losses.sum()), spread, found.slope.sum(axis=0)

    total, spread, column = _added(of, _parts(len(keys), len(keys)), executor)
    spread += (keys.T * column) @ keys
    return total / len(keys), -(projection @ spread) / len(keys)


def pair_loss(  # noqa: PLR0913, PLR0917 - what pairs are
    query_map: Floats,
    key_map: Floats,
    queries: Floats,
    keys: Floats,
    right: NDArray[np.intp],
    executor: Executor = _ALONE,
) -> tuple[float, Floats, Floats]:
    """Return the mean −log α of the right keys, and its gradients by both maps (R, D).

    The score is (W q) · (V k) / √R; its gradient by W is V k qᵀ / √R, by V it is W q kᵀ / √R.
    """
    scale = 1 / np.sqrt(len(query_map))
    mapped = keys @ key_map.T * scale

    def of(rows: slice) -> tuple[float, Floats, Floats]:
        asked = queries[rows] @ query_map.T
        slope, losses = _log_loss(asked @ mapped.T, right[rows])
        slope[np.arange(len(asked)), right[rows]] -= 1
        of_query = (slope @ mapped).T @ queries[rows]
        return float(losses.sum()), of_query, scale * (asked.T @ slope) @ keys

    total, of_query, of_key = _added(of, _parts(len(queries), len(keys)), executor)
    return total / len(queries), of_query / len(queries), of_key / len(queries)


def _log_loss(scores: Floats, right: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the weights of scores (Q, K), in their place, and −log of the right key's, (Q,)."""
    logs = log_weights(scores, shift_of(scores, 1.0, exact=True), 1.0)
    own = logs[np.arange(len(logs)), right]
    weights: Floats = np.asarray(exponentials(logs), np.float64)
    total = weights.sum(axis=1)
    weights /= total[:, None]
    return weights, np.log(total) - own


def _parts(queries: int, keys: int) -> Iterator[slice]:
    """Yield runs of queries whose scores are some megabytes."""
    step = max(1, _CELLS // max(1, keys))
    for start in range(0, queries, step):
        yield slice(start, min(queries, start + step))


def _weights(queries: Floats, keys: Floats, own: slice | None = None) -> Floats:
    """Return softmax(−‖q − k‖² / 2), (Q, K); with ``own`` the queries are those rows, hidden."""
    found = queries @ keys.T
    found -= np.vecdot(keys, keys) / 2
    found -= (np.vecdot(queries, queries) / 2)[:, None]
    if own is not None:
        found[np.arange(len(queries)), np.arange(own.start, own.stop)] = -np.inf
    return np.asarray(normalised(found), np.float64)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers and what each answers, as they are learned from.

    Parameters
    ----------
    keys
        (N, D), with a mean of 0 and a standard deviation of 1.
    values
        (N, C): numbers of mean 0 and deviation 1, or one-hot classes.
    scale
        By what key columns were divided.
    is_class
        Whether values are classes.
    skipped
        How many rows were left out, as a number was missing in them.
    """

    keys: Floats
    values: Floats
    scale: Floats
    is_class: bool
    skipped: int = 0

    def pick(self, rows: NDArray[np.intp]) -> Table:
        """Return some of the rows."""
        return replace(self, keys=self.keys[rows], values=self.values[rows])

    @property
    def loss(self) -> Callable[[Floats, Floats, Floats], Slopes]:
        """What is made small."""
        return wrong_share if self.is_class else squared_error

    def errors_of(self, held: Table, projection: Floats) -> Floats:
        """Return the loss of other rows, predicted from these, (Q,)."""
        mapped, asked = self.keys @ projection.T, held.keys @ projection.T
        parts = [
            self.loss(_weights(asked[rows], mapped), self.values, held.values[rows]).losses
            for rows in _parts(len(asked), len(mapped))
        ]
        return np.concatenate(parts)

    def left_out(self, projection: Floats) -> float:
        """Return the mean loss of these rows, each predicted from all others."""
        mapped = self.keys @ projection.T
        parts = [
            self.loss(_weights(mapped[rows], mapped, own=rows), self.values, self.values[rows])
            for rows in _parts(len(mapped), len(mapped))
        ]
        return float(np.mean(np.concatenate([part.losses for part in parts])))

    def figures(self, held: Table, projection: Floats) -> dict[str, float]:
        """Return how well other rows are predicted from these."""
        mapped, asked = self.keys @ projection.T, held.keys @ projection.T
        found = np.concatenate(
            [
                _weights(asked[rows], mapped) @ self.values
                for rows in _parts(len(asked), len(mapped))
            ]
        )
        if self.is_class:
            hits = found.argmax(axis=1) == held.values.argmax(axis=1)
            share = np.sum(found * held.values, axis=1)
            logs = -np.log(np.maximum(share, np.finfo(np.float64).tiny))
            return {"accuracy": float(hits.mean()), "log-loss": float(logs.mean())}
        error = float(np.square(found - held.values).sum())
        spread = float(np.square(held.values - held.values.mean(axis=0)).sum())
        squares = error / held.values.size
        return {"R²": 1 - error / spread if spread > 0 else 0.0, "squared error": squares}


def table_of(store: Store) -> Table:
    """Return the rows of a table or of an array, all of them held.

    Raises
    ------
    InputError, UsageError
        NaN or infinity, a key column that is constant, values of both kinds or of one class.
    """
    if store.batch_shape:
        raise UsageError("`learn` is of one table, and these are heads of arrays")
    source = store.heads[0]
    keys, values, labels, skipped = rows_of(source.blocks(), checked=True)
    check_count(len(keys))
    columns = store.columns
    if columns.text and columns.numeric:
        names = ", ".join(columns.value)
        raise InputError(
            f"values are numbers and text ({names}); choose columns of one kind with `value`",
            store.name,
        )
    if columns.text:
        if len(columns.text) > 1:
            raise InputError("has several text columns; choose one with `value`", store.name)
        classes, codes = np.unique(labels[0].texts, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"all values are {str(classes[0])[:40]!r}; give classes", store.name)
        if len(classes) > len(keys) // 2:
            raise InputError(
                f"has {len(classes)} distinct values in {len(keys)} rows, which are no "
                "classes; choose a column with `value`",
                store.name,
            )
        values = np.eye(len(classes))[codes[labels[0].codes]]
    else:
        spread = values.std(axis=0)
        if not (spread > 0).all():
            name = columns.value[columns.numeric[int(np.argmin(spread))]]
            raise InputError(f"the value column {name!r} is constant; choose another", store.name)
        values = (values - values.mean(axis=0)) / spread
    scale = keys.std(axis=0)
    # Of equal numbers the deviation is rounding, or nothing.
    flat = np.ptp(keys, axis=0) == 0
    if flat.any():
        name = (
            store.columns.key[int(np.argmax(flat))]
            if store.kind == "table"
            else str(int(np.argmax(flat)) + 1)
        )
        raise InputError(
            f"the key column {name!r} is constant, so there is no scale of it; "
            "choose others with `key`",
            store.name,
        )
    return Table((keys - keys.mean(axis=0)) / scale, values, scale, bool(columns.text), skipped)


def learn_metric(
    store: Store, training: Training, metric: str, rank: int | None, executor: Executor = _ALONE
) -> Learned:
    """Return the metric that predicts each row best from all others.

    Parameters
    ----------
    store
        Rows of numbers, and values.
    training
        How it is learned.
    metric, rank
        ``"diagonal"`` or ``"full"``, or a projection to so many dimensions.
    executor
        What runs the sums over rows.

    Raises
    ------
    InputError, UsageError
        What cannot be learned from, or a rank above the number of columns.
    """
    table = table_of(store)
    depth = table.keys.shape[1]
    if rank is not None and rank > depth:
        raise UsageError(f"`rank` {rank}, and there are {depth} key columns; give at most {depth}")
    rows = np.arange(len(table.keys))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(training.seed).permutation(len(rows))[:MOST])
        table = table.pick(rows)
    learning, held_out = training.split(len(rows))
    some, held = table.pick(learning), table.pick(held_out)
    kind = LOW_RANK if rank is not None else metric
    start = _best_width(some, np.eye(depth))
    end = _sought(some, held, training, kind, rank, start, executor)
    after, before = some.errors_of(held, end), some.errors_of(held, start)
    if rank is None and after.mean() > before.mean():
        end, after = start, before
    columns = tuple(store.columns.key) if store.kind == "table" else array_columns(depth)
    shown = end / table.scale
    model = VectorModel("gaussian", columns, shown, shown, kind)
    figures = some.figures(held, start), some.figures(held, end)
    gain = interval(before - after, training.seed)
    learned = Learned(model, *figures, len(rows), len(held.keys), gain, table.skipped)
    return learned._replace(
        model=VectorModel(
            "gaussian", columns, shown, shown, kind, trained=trained(learned, training)
        )
    )


def _best_width(table: Table, projection: Floats) -> Floats:
    """Return a projection times the factor with the least leave-one-out loss."""
    best = min(_FACTORS, key=lambda factor: table.left_out(projection * factor))
    near = best * np.geomspace(0.8, 1.25, 9)
    return projection * float(min(near, key=lambda factor: table.left_out(projection * factor)))


def _sought(  # noqa: PLR0913, PLR0917 - what a search depends on
    some: Table,
    held: Table,
    training: Training,
    kind: str,
    rank: int | None,
    start: Floats,
    executor: Executor,
) -> Floats:
    """Return the metric with the least loss on held-out rows, along the ways down."""

    def way(begun: Floats, *, diagonal: bool = False) -> Watched:
        return _descended(some, held, training, begun, executor, diagonal=diagonal)

    def projected(*beginnings: Floats) -> Floats:
        ways = [way(_best_width(some, one)) for one in beginnings]
        return min(ways, key=lambda one: one.least).point

    if kind == LOW_RANK and some.is_class:
        telling = _telling(some, rank or 1)
        if len(held.keys) < _TELL:
            return projected(telling)
        return projected(telling, _principal(some.keys, rank or 1))
    scales = way(start, diagonal=True)
    if kind == DIAGONAL:
        return scales.point
    if kind == FULL:
        return min(way(scales.point), scales, key=lambda one: one.least).point
    by = scales.point
    return projected(_principal(some.keys, rank or 1), _principal(some.keys @ by, rank or 1) @ by)


def _principal(keys: Floats, rank: int) -> Floats:
    """Return the axes along which keys are spread most, (R, D)."""
    axes: Floats = np.linalg.eigh(keys.T @ keys)[1].T[::-1]
    return axes[:rank]


def _telling(table: Table, rank: int) -> Floats:
    """Return the axes along which classes lie apart (Fisher), and beyond these principal ones."""
    keys, values = table.keys, table.values
    means = (values / values.sum(axis=0)).T @ keys
    within = keys - values @ means
    inside = within.T @ within / len(keys) + 1e-3 * np.eye(keys.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(inside))
    apart = _principal((values @ means) @ root.T, min(rank, values.shape[1] - 1)) @ root
    found: Floats = np.concatenate([apart, _principal(keys, rank)])[:rank]
    return found


def _descended(  # noqa: PLR0913 - what a way down depends on
    some: Table,
    held: Table,
    training: Training,
    start: Floats,
    executor: Executor,
    *,
    diagonal: bool,
) -> Watched:
    from scipy.optimize import minimize

    shape = start.shape
    penalty = training.penalty / len(some.keys)
    near = np.diag(start) if diagonal else start.ravel()

    def whole(point: Floats) -> Floats:
        return np.diag(point) if diagonal else point.reshape(shape)

    def cost(point: Floats) -> tuple[float, Floats]:
        total, gradient = metric_loss(whole(point), some.keys, some.values, some.loss, executor)
        flat = np.diag(gradient) if diagonal else gradient.ravel()
        # Of numbers squares of the way from the start cost, of classes those of the metric.
        apart = point if some.is_class else point - near
        return total + penalty * float(apart @ apart), flat + 2 * penalty * apart

    watched = Watched(near, lambda point: float(some.errors_of(held, whole(point)).mean()))
    minimize(cost, near, jac=True, method="L-BFGS-B", callback=watched, options={"maxiter": _STEPS})
    watched.point = whole(watched.point)
    return watched


def learn_pairs(  # noqa: PLR0913, PLR0917 - what pairs are
    queries: Floats,
    keys: Floats,
    right: NDArray[np.intp],
    training: Training,
    rank: int | None,
    name: str,
    executor: Executor = _ALONE,
) -> Learned:
    """Return projections of queries and keys that give the right keys the most weight.

    Parameters
    ----------
    queries, keys
        (Q, D) and (K, D).
    right
        Which key is right for each query.
    training, rank
        How it is learned, and to how many dimensions.
    name
        What the database is called.
    executor
        What runs the sums over queries.
    """
    check_count(len(queries))
    depth = keys.shape[1]
    rank = min(depth, queries.shape[1]) if rank is None else rank
    if rank > min(depth, queries.shape[1]):
        raise UsageError(
            f"`rank` {rank}, and vectors have {min(depth, queries.shape[1])} numbers; "
            "give at most that"
        )
    learning, held = training.split(len(queries))
    left, sizes, other = np.linalg.svd(queries[learning].T @ keys[right[learning]])
    if not sizes[0] > 0:
        raise InputError("queries and keys are constant 0, so nothing tells them apart", name)
    unit = np.sqrt(np.sqrt(rank) / max(1e-300, np.abs(queries @ left[:, :1]).mean()
                                       * np.abs(keys @ other[:1].T).mean()))  # fmt: skip
    start = np.concatenate([left.T[:rank].ravel(), other[:rank].ravel()]) * unit
    cut = rank * queries.shape[1]

    def maps(point: Floats) -> tuple[Floats, Floats]:
        return point[:cut].reshape(rank, -1), point[cut:].reshape(rank, -1)

    penalty = training.penalty / len(learning)

    def cost(point: Floats) -> tuple[float, Floats]:
        total, a, b = pair_loss(*maps(point), queries[learning], keys, right[learning], executor)
        apart = point - start
        gradient = np.concatenate([a.ravel(), b.ravel()]) + 2 * penalty * apart
        return total + penalty * float(apart @ apart), gradient

    from scipy.optimize import minimize

    watched = Watched(start, lambda p: pair_loss(*maps(p), queries[held], keys, right[held])[0])
    minimize(
        cost, start, jac=True, method="L-BFGS-B", callback=watched, options={"maxiter": _STEPS}
    )
    as_it_is = np.eye(depth), np.eye(depth)
    known = queries.shape[1] == depth
    before = _pair_losses(*(as_it_is if known else maps(start)), queries[held], keys, right[held])
    end = maps(watched.point)
    after = _pair_losses(*end, queries[held], keys, right[held])
    if known and after[0].mean() > before[0].mean():
        end, after = as_it_is, before
    model = VectorModel("scaled-dot", array_columns(depth), *end, PAIRS)
    learned = Learned(
        model,
        _figures(before),
        _figures(after),
        len(queries),
        len(held),
        interval(before[0] - after[0], training.seed),
    )
    return learned._replace(
        model=VectorModel(
            "scaled-dot", array_columns(depth), *end, PAIRS, trained=trained(learned, training)
        )
    )


def _pair_losses(
    query_map: Floats, key_map: Floats, queries: Floats, keys: Floats, right: NDArray[np.intp]
) -> tuple[Floats, NDArray[np.intp]]:
    """Return −log α of the right key of each query, and its rank from 1."""
    losses, ranks = [], []
    mapped = keys @ key_map.T / np.sqrt(len(query_map))
    for rows in _parts(len(queries), len(keys)):
        logits = (queries[rows] @ query_map.T) @ mapped.T
        own = logits[np.arange(len(logits)), right[rows]]
        ranks.append(1 + np.sum(logits > own[:, None], axis=1))
        losses.append(_log_loss(logits, right[rows])[1])
    return np.concatenate(losses), np.concatenate(ranks)


def _figures(found: tuple[Floats, NDArray[np.intp]]) -> dict[str, float]:
    losses, ranks = found
    return {
        "top-1": float((ranks == 1).mean()),
        "mean reciprocal rank": float((1 / ranks).mean()),
        "log-loss": float(losses.mean()),
    }
