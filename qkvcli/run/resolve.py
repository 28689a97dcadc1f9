"""From what is asked to what is scored: the defaults that depend on a database, head by head."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from qkvcli.answer import About, Bandwidth, heads_of
from qkvcli.attention.fold import Plan
from qkvcli.attention.weights import (
    AVERAGE,
    EXACT,
    SOFTMAX,
    Mask,
    Weighting,
    temperature_of,
)
from qkvcli.blocks import Queries
from qkvcli.errors import InputError, UsageError
from qkvcli.scores import KERNELS, MODEL, TEXT_SCORES, WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Source
    from qkvcli.run.request import Request
    from qkvcli.run.work import Executor
    from qkvcli.scores import Score
    from qkvcli.scores.text import TextScore
    from qkvcli.sources.captured import Settings
    from qkvcli.sources.store import Asked, Store

TEXT_TEMPERATURE, VECTOR_TEMPERATURE = 0.1, 1.0
_DEFAULT_SCORES = {"text": "tokens", "table": "gaussian", "array": "scaled-dot"}


@dataclass(frozen=True, eq=False)
class Head:
    """What is asked of one head.

    Parameters
    ----------
    index
        Its index along the leading axes.
    source, queries
        Its keys and values, and its queries.
    plans
        What to keep, for each mode.
    """

    index: tuple[int, ...]
    source: Source
    queries: Queries
    plans: tuple[Plan, ...]


@dataclass(frozen=True, eq=False)
class Resolved:
    """A request resolved for a database."""

    store: Store
    request: Request
    heads: tuple[Head, ...]
    about: About

    def check_neighbors(self, rows: int) -> None:
        """Refuse more neighbours than there are keys, once these are counted.

        Raises
        ------
        UsageError
            With both numbers.
        """
        count = self.request.neighbors or 0
        if count > rows:
            raise UsageError(
                f"`neighbors` {count}, and {self.store.name} has {rows} keys; give at most {rows}"
            )


def resolve(store: Store, asked: Asked | None, request: Request, executor: Executor) -> Resolved:
    """Return what a request means for a database, with the widths of kernels worked out.

    Parameters
    ----------
    store, asked
        The database, and what it is asked; None where an average needs no query.
    request
        How it is asked.
    executor
        What runs the folds of cross-validation.

    Raises
    ------
    UsageError, InputError
        No queries where some are needed, a Jacobian of what has none, a mask or a score that does
        not fit the database, or more neighbours than keys.
    """
    asked = asked or _no_query(store, request)
    batch_shape, numbers = _heads_of_both(asked.batch_shape, store.batch_shape)
    _check_model(store, request)
    temperature = request.temperature or _temperature(store, request)
    if request.jacobian and (store.kind == "text" or request.modes != (SOFTMAX,)):
        raise UsageError(
            "`jacobian` is of softmax weights over vectors; text keys and other modes have none"
        )
    names = _score_names(store, request)
    if len(names) > 1 and store.kind != "text":
        raise UsageError(f"several `score` are of text, and the keys of {store.name} are numbers")
    null = _null_score(store, request)
    # An average alone needs no score: that of a pool has none, that of a lookup is shown.
    unscored = request.modes == (AVERAGE,) and not (request.top or request.scores)
    _check_fit(store, names, request)
    widths: dict[int, Bandwidth] = {}
    degree = request.degree or 0
    scores: dict[int, list[Score | None]] = {}
    for number in sorted(set(numbers)):
        if unscored:
            scores[number] = [None]
            continue
        source = store.heads[number]
        width, degree = _width(store, source, names[0], temperature, request, executor)
        if width is not None:
            widths[number] = width
        scale = asked.settings.scale if asked.settings else None
        if width is None:
            found = [_score(name, request, executor, scale) for name in names]
        else:
            from qkvcli.run.bandwidth import kernel_score

            is_listed = request.top or request.neighbors or request.modes != (SOFTMAX,)
            found = [kernel_score(names[0], width.widths, source.columns, ranked=bool(is_listed))]
        # Equal keys are found without a score; of a pipe the first keys must be seen before.
        if set(request.modes) != {EXACT} or request.explain or not source.reopenable:
            found = [counted(score, source) for score in found]
        scores[number] = list(found)
    count = len(asked.queries[0])
    masks = masks_of(request, (*batch_shape, count), store, asked.settings)
    if request.loo:
        masks = [_without_itself(count, store)]
    heads = []
    for place, (index, number) in enumerate(zip(heads_of(batch_shape), numbers, strict=True)):
        source = store.heads[number]
        queries = asked.queries[place if len(asked.queries) > 1 else 0]
        base = _plan(source, queries, request, degree)
        plans = tuple(
            _with(
                base,
                score,
                Weighting(mode, temperature, request.neighbors, null),
                masks[place],
            )
            for score in scores[number]
            for mode in request.modes
        )
        heads.append(Head(index, source, queries, plans))
    about = About(
        store.name,
        store.columns,
        batch_shape,
        asked.queries[0].labels,
        "" if unscored else ", ".join(names),
        temperature_of(request.modes[0], temperature),
        request.neighbors,
        null,
        tuple(widths[number] for number in numbers if number in widths),
        degree,
    )
    return Resolved(store, request, tuple(heads), about)


def _plan(source: Source, queries: Queries, request: Request, degree: int) -> Plan:
    """Return what is kept whatever the mode."""
    import numpy as np

    columns = source.columns
    dtype: Any = np.float64
    if not isinstance(queries.keys, list):
        dtype = np.result_type(source.dtype, queries.keys.dtype)
    return Plan(
        None,
        Weighting(SOFTMAX),
        top=request.top,
        records=bool(columns.text or request.top),
        perplexity=request.perplexity,
        jacobian=request.jacobian,
        matrix=request.weights,
        width=len(columns.numeric),
        text=columns.text,
        dtype=dtype,
        degree=degree,
        along=columns.along,
    )


def _check_fit(store: Store, names: Sequence[str], request: Request) -> None:
    """Refuse what is of a regression where there is none.

    Raises
    ------
    UsageError
        By name.
    """
    if request.loo and (store.batch_shape or request.causal or request.mask is not None):
        raise UsageError("`loo` asks the rows of one table, each without itself; take no mask")
    if not (request.degree or request.std_error):
        return
    asked = "degree" if request.degree else "band" if request.band else "std_error"
    if store.batch_shape or store.kind == "text" or names[0] not in KERNELS:
        raise UsageError(
            f"`{asked}` is of a kernel over columns of numbers, and `score={names[0]!r}` is none"
        )
    if store.columns.text:
        name = store.columns.value[store.columns.text[0]]
        raise UsageError(
            f"`{asked}` is of numbers, and the values {name!r} are text; choose with `value`"
        )


def _without_itself(count: int, store: Store) -> Mask:
    import numpy as np

    if count != store.count():
        raise UsageError("`loo` asks with the rows themselves, and other queries were given")
    return Mask(own=np.arange(count))


def _with(plan: Plan, score: Score | None, weighting: Weighting, mask: Mask | None) -> Plan:
    return replace(plan, score=score, weighting=weighting, mask=mask)


def _heads_of_both(
    asked: tuple[int, ...], stored: tuple[int, ...]
) -> tuple[tuple[int, ...], list[int]]:
    """Return the leading axes of the answer, and for each of its heads the number of the keys'.

    Queries or keys without leading axes are shared by all heads. Of the last axis keys may have
    fewer heads than queries, each for as many neighbours (grouped-query attention).
    """
    total = math.prod(stored)
    if not asked:
        return stored, list(range(total))
    if not stored:
        return asked, [0] * math.prod(asked)
    fits = len(asked) == len(stored) and asked[:-1] == stored[:-1] and not asked[-1] % stored[-1]
    if not fits:
        message = f"queries with leading axes {asked} for keys with leading axes {stored}; "
        message += "they must be the same, or none, or a multiple of heads in the last"
        raise InputError(message)
    group = asked[-1] // stored[-1]
    return asked, [head // group for head in range(math.prod(asked))]


def _no_query(store: Store, request: Request) -> Asked:
    import numpy as np

    from qkvcli.sources.store import Asked

    if request.modes != (AVERAGE,):
        raise UsageError("no `queries`; give one or more")
    nothing: Any = [""]
    if store.kind != "text":
        nothing = np.zeros((1, store.depth), store.heads[0].key_dtype)
    return Asked((), [Queries(("",), nothing)])


def _temperature(store: Store, request: Request) -> float:
    """Return the model's temperature, or what suits the keys."""
    if request.model is not None:
        return request.model.temperature
    return TEXT_TEMPERATURE if store.kind == "text" else VECTOR_TEMPERATURE


def _null_score(store: Store, request: Request) -> float | None:
    """Return the score of the null key: as it was given, or the model's.

    Raises
    ------
    UsageError
        Beyond the scores of text.
    """
    null = request.null_score
    if null is not None and store.kind == "text" and not 0 <= null <= 1:
        raise UsageError(f"`null_score` {null!r} is beyond the scores of text, which are 0 to 1")
    return request.model.null_score if null is None and request.model is not None else null


def _score_names(store: Store, request: Request) -> list[str]:
    """Return the names of the scores that stand side by side."""
    if request.model is not None:
        return [MODEL]
    return [_score_name(store, name) for name in request.scores or (None,)]


def _score_name(store: Store, name: str | None) -> str:
    """Return the score's name, or the default one for the database's keys.

    Raises
    ------
    UsageError
        A score of text for numbers, or of numbers for text, with the line that made them text.
    """
    if name is None:
        return _DEFAULT_SCORES[store.kind]
    if store.columns.categories and name not in KERNELS:
        column = store.columns.key[store.columns.categories[0][0]]
        raise UsageError(
            f"the key column {column!r} is of categories, which `score={name!r}` does not "
            "compare; take a kernel, such as gaussian"
        )
    if (name in TEXT_SCORES) == (store.kind == "text"):
        return name
    if store.kind == "text":
        found, where, (kind, column) = store.first_text()
        message = f"{found}, and `score={name!r}` compares numbers; "
        mixed = ", of which all are numbers" if len(store.columns.key) > 1 else ""
        raise UsageError(
            f"{message}pass `{kind}={column!r}`, other `key` columns{mixed}, or a text score", where
        )
    raise UsageError(
        f"the keys of {store.name} are numbers, and `score={name!r}` compares text; "
        "pass `key_type='text'`, or a vector score"
    )


def _check_model(store: Store, request: Request) -> None:
    """Refuse a learned score of another kind of keys, of other columns or of another folding.

    Raises
    ------
    UsageError
        With what the model is of.
    """
    model = request.model
    if model is None:
        return
    from qkvcli.scores.model import TextModel, array_columns

    if (model.kind == "text") != (store.kind == "text"):
        is_of, keys = ("text", "numbers") if model.kind == "text" else ("numbers", "text")
        raise UsageError(
            f"`model` scores {is_of}, and the keys of {store.name} are {keys}; "
            "pass a model that was learned of such keys"
        )
    if isinstance(model, TextModel):
        for name in ("case_sensitive", "keep_accents"):
            if getattr(request, name) and not getattr(model, name):
                raise UsageError(
                    f"`{name}` is not how `model` was learned; learn it so, or leave it"
                )
        return
    columns = tuple(store.columns.key) if store.kind == "table" else array_columns(store.depth)
    if columns != model.columns:
        message = f"`model` is of the key columns {', '.join(model.columns)}, and "
        message += f"{store.name} has {', '.join(columns)}; pass `key`, or learn it anew"
        raise UsageError(message)


def counted(score: Score, source: Source) -> Score:
    """Return a score that knows how rare words or n-grams are among the first keys."""
    if score.name not in (*WEIGHTED, MODEL):
        return score
    from qkvcli.scores.tokens import SAMPLE
    from qkvcli.sources.store import first_blocks

    return cast("TextScore", score).counted(first_blocks(source, SAMPLE))


def _score(name: str, request: Request, executor: Executor, scale: float | None) -> Score:
    workers = getattr(executor, "count", 1)
    if request.model is not None:
        return request.model.score(workers)
    if name in TEXT_SCORES:
        from qkvcli.scores.text import TextScore

        return TextScore(
            name,
            case_sensitive=request.case_sensitive,
            keep_accents=request.keep_accents,
            workers=workers,
        )
    from qkvcli.scores.vector import VectorScore

    return VectorScore(name, (1.0,), scale)


def _width(  # noqa: PLR0913, PLR0917 - what a width depends on
    store: Store,
    source: Source,
    name: str,
    temperature: float,
    request: Request,
    executor: Executor,
) -> tuple[Bandwidth | None, int]:
    """Return the width of a head's kernel, of other scores None, and the degree of its fit."""
    given, degree = request.bandwidth, request.degree or 0
    if name not in KERNELS:
        if given is not None:
            raise UsageError(f"`bandwidth` is the width of a kernel, and `score={name!r}` has none")
        return None, degree
    from qkvcli.run import bandwidth as rules  # NumPy, for kernels only

    if given in ("cv", "aicc"):
        from qkvcli.run.cross_validation import cross_validated

        rule = str(given)
        return cross_validated(source, name, temperature, executor, degree, rule), degree
    if given is not None and not isinstance(given, str):
        return rules.given(given, store.depth, source.columns), degree
    if given is None and _is_fit(source, request):
        found = _sought(source, name, temperature, request, executor)
        if found is not None:
            return found
    try:
        width = rules.by_rule(given or "scott", source)
        return replace(width, chosen=given is None and _is_fit(source, request)), degree
    except InputError:
        # No weight of these depends on a width.
        if given is not None or not set(request.modes) <= {EXACT, AVERAGE}:
            raise
        return rules.given((1.0,), store.depth), degree


def _sought(
    source: Source, name: str, temperature: float, request: Request, executor: Executor
) -> tuple[Bandwidth, int] | None:
    """Return the width and the degree that predict rows best, where that is quickly known."""
    from qkvcli.run.cross_validation import by_default, cross_validated, is_quick

    try:
        if not is_quick(source, name, temperature):
            return None
        if request.may_be_lines and not source.columns.text:
            return by_default(source, name, temperature, executor)
        degree = request.degree or 0
        found = cross_validated(source, name, temperature, executor, degree)
        return replace(found, chosen=True), degree
    except InputError:
        return None  # no width leaves every row a neighbour: the rule says what it can


def _is_fit(source: Source, request: Request) -> bool:
    """Return whether values are predicted from columns of numbers: a regression or classes."""
    columns = source.columns
    named = columns.value != columns.key
    return source.kind == "table" and named and request.modes == (SOFTMAX,) and not request.top


def masks_of(
    request: Request, shape: tuple[int, ...], store: Store, settings: Settings | None = None
) -> list[Mask | None]:
    """Return the mask of each head, of queries of shape (…, Q).

    What the queries came with holds, and what is asked beside it; of masks that which is asked.

    ``valid_lens`` is one number for all; one for each entry of the first leading axis, a batch; of
    shape (B, Q); or, without a batch, one for each query. ``mask`` broadcasts to (…, Q, K).

    Raises
    ------
    InputError
        A shape that does not fit, with both shapes; or more leading keys than there are.
    """
    *batch_shape, count = shape
    heads = math.prod(batch_shape)
    layers = [_layer(settings, head, heads, batch_shape) for head in range(heads)]
    given = request.mask if request.mask is not None or not settings else settings.mask
    asked = request.causal or request.valid_lens is not None or given is not None
    if not asked and not any(causal or window for causal, window in layers):
        return [None] * heads
    keys = store.count()
    lengths = _lengths(request.valid_lens, tuple(batch_shape), count, keys)
    allowed, added = _mask_parts(given, (*shape, keys), heads)
    return [
        Mask(request.causal or causal, lengths[head], allowed[head], added[head], window=window)
        for head, (causal, window) in enumerate(layers)
    ]


def _layer(
    settings: Settings | None, head: int, heads: int, batch_shape: Sequence[int]
) -> tuple[bool, int]:
    """Return whether the layer of a head is causal, and its window."""
    if settings is None:
        return False, 0
    return settings.of_layer(head * math.prod(batch_shape[:-1]) // heads)


def _lengths(
    lengths: NDArray[Any] | None, batch_shape: tuple[int, ...], count: int, keys: int
) -> list[NDArray[Any]] | list[None]:
    heads = math.prod(batch_shape)
    if lengths is None:
        return [None] * heads
    import numpy as np

    odd = lengths[(lengths > keys) | (lengths < 0)]
    if odd.size:
        raise InputError(
            f"`valid_lens` has {odd.flat[0]}, and there are {keys} keys; give 0 to {keys}"
        )
    shape, batch = lengths.shape, batch_shape[:1]
    inner = (1,) * (len(batch_shape) - 1)
    if shape in ((), (1,)):
        wide = lengths.reshape(())
    elif batch and shape == batch:
        wide = lengths.reshape(-1, *inner, 1)
    elif batch and shape == (*batch, count):
        wide = lengths.reshape(-1, *inner, count)
    elif shape == (count,):
        wide = lengths
    else:
        raise InputError(
            f"`valid_lens` of shape {shape} for {count} queries and leading axes {batch_shape}"
            "; give one for all, for each batch entry or for each query"
        )
    return list(np.broadcast_to(wide, (*batch_shape, count)).reshape(heads, count))


def _mask_parts(
    mask: NDArray[Any] | None, shape: tuple[int, ...], heads: int
) -> tuple[Sequence[NDArray[Any] | None], Sequence[NDArray[Any] | None]]:
    """Return for each head where may be attended, and what is added to scores."""
    nothing = [None] * heads
    if mask is None:
        return nothing, nothing
    import numpy as np

    try:
        wide = np.broadcast_to(mask, shape)
    except ValueError:
        raise InputError(
            f"`mask` of shape {mask.shape}, and the weights are of shape {shape}; "
            "give that, or what broadcasts to it"
        ) from None
    # Not reshaped, which would copy what is broadcast.
    parts = [wide[index] for index in heads_of(shape[:-2])]
    return (parts, nothing) if mask.dtype == np.bool_ else (nothing, parts)
