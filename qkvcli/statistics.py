"""What each head does: one pass over its weights, band by band, from a file or from q and k."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.answer import Tabular
from qkvcli.attention.formulas import Band, Tokens, available
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.heatmap.select import SPECIAL, numbered
from qkvcli.heatmap.weights import open_weights
from qkvcli.sources.matrices import open_matrices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.weights import Watch, Weights
    from qkvcli.sources.captured import Captured
    from qkvcli.sources.matrices import Matrices

SINK = 0.3
"""From what weight on a key is a head's sink: the ε of Gu et al. 2024."""
_BAND_BYTES = 4 << 20
_DISTANCE_BYTES = 64 << 20
"""How much of all heads' rows, in float64, is held at a time for their distances."""


class Pair(NamedTuple):
    """A query, a key, and the weight between them."""

    weight: float
    query: int
    key: int


@dataclass(frozen=True)
class HeadRow:
    """One head: its numbers in the model, its statistics, and its strongest pairs."""

    layer: int
    head: int
    statistics: tuple[float, ...]
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, eq=False)
class Heads(Tabular):
    """The statistics of heads.

    Parameters
    ----------
    names
        What the statistics are called.
    rows
        The heads.
    tokens
        What queries and keys are called.
    sink
        The key that ``sink`` is of.
    """

    names: tuple[str, ...]
    rows: tuple[HeadRow, ...]
    tokens: Tokens
    sink: int = 0

    def header(self) -> list[str]:
        """Return the names of the columns."""
        pairs = ["pairs"] if any(row.pairs for row in self.rows) else []
        return ["layer", "head", *self.names, *pairs]

    def lines(self) -> Iterator[list[Any]]:
        """Yield the rows of the table."""
        has_pairs = any(row.pairs for row in self.rows)
        for row in self.rows:
            pairs = ["; ".join(map(self.text, row.pairs))] if has_pairs else []
            yield [row.layer, row.head, *row.statistics, *pairs]

    def text(self, pair: Pair) -> str:
        """Return a pair in words: ``it → animal 0.66``."""
        ends = (
            (self.tokens.query_labels, pair.query),
            (self.tokens.key_labels, pair.key),
        )
        query, key = (str(at) if labels is None else labels[at] for labels, at in ends)
        return f"{query} → {key} {pair.weight:.2f}"

    def sorted_by(self, name: str, *, ascending: bool = False) -> Heads:
        """Return them with the largest of a statistic first, or the smallest.

        Raises
        ------
        UsageError
            There is no such statistic.
        """
        at = self._place(name)
        sign = 1 if ascending else -1
        rows = sorted(self.rows, key=lambda row: sign * row.statistics[at])
        return Heads(self.names, tuple(rows), self.tokens, self.sink)

    def first(self, count: int | None) -> Heads:
        """Return the first of them; all where ``count`` is None."""
        return Heads(self.names, self.rows[:count], self.tokens, self.sink)

    def grid(self, name: str) -> tuple[NDArray[np.float64], list[int], list[int]]:
        """Return one statistic as layers × heads, and what these are called; NaN where none is."""
        at = self._place(name)
        layers = sorted({row.layer for row in self.rows})
        heads = sorted({row.head for row in self.rows})
        found = np.full((len(layers), len(heads)), np.nan)
        for row in self.rows:
            found[layers.index(row.layer), heads.index(row.head)] = row.statistics[at]
        return found, layers, heads

    @property
    def sinks(self) -> int | None:
        """How many heads have a sink: over ``SINK`` of their weight on that key."""
        if "sink" not in self.names:
            return None
        at = self.names.index("sink")
        return sum(row.statistics[at] > SINK for row in self.rows)

    def _place(self, name: str) -> int:
        if name not in self.names:
            hint = did_you_mean(name, list(self.names))
            raise UsageError(f"there is no statistic {name!r}{hint}")
        return self.names.index(name)


@dataclass(frozen=True, eq=False)
class Model:
    """The heads of a file, opened and chosen.

    Parameters
    ----------
    weights
        Their weights.
    members
        The places of the heads that are chosen, as (layer, head).
    tokens
        What queries and keys are called.
    captured
        Queries, keys and values, where there are some.
    """

    weights: Weights
    members: tuple[tuple[int, int], ...]
    tokens: Tokens
    captured: Captured | None

    @property
    def statistics(self) -> tuple[str, ...]:
        """What can be computed of them."""
        values = bool(self.captured and self.captured.values)
        return tuple(available(self.tokens, values=values))

    @property
    def watch(self) -> Watch:
        """What is odd about the weights that were read."""
        return self.weights.watch

    def bands(self, room: int = _BAND_BYTES) -> Iterator[range]:
        """Yield runs of queries whose rows take no more than ``room`` in float64."""
        step = max(1, room // (8 * self.tokens.keys))
        for start in range(0, self.tokens.queries, step):
            yield range(start, min(start + step, self.tokens.queries))

    def read(self, member: tuple[int, int], queries: range) -> NDArray[np.float64]:
        """Return some rows of a head's weights.

        Raises
        ------
        InputError
            NaN or infinity among them.
        """
        found = self.weights.read(*member, queries).astype(np.float64)
        if not np.isfinite(found).all():
            row, key = (int(n) for n in np.argwhere(~np.isfinite(found))[0])
            place = [*member, queries[row], key]
            raise InputError(f"NaN or infinity at index {place}", self.weights.file)
        return found

    def norms(self, member: tuple[int, int]) -> NDArray[np.float64] | None:
        """Return ‖v‖ of each key of a head, where there are values."""
        captured = self.captured
        if captured is None or captured.values is None:
            return None
        matrix = captured.key_matrix(member[0] * captured.batch_shape[1] + member[1])
        keys = self.tokens.keys
        found = captured.values.rows(matrix * keys, (matrix + 1) * keys)
        norms: NDArray[np.float64] = np.linalg.norm(found.astype(np.float64), axis=1)
        return norms


def open_model(  # noqa: PLR0913 - what is asked of a file
    path: str | Matrices,
    *,
    name: str | None = None,
    batch: int | None = None,
    layers: str | None = None,
    heads: str | None = None,
    labels: str | None = None,
) -> Model:
    """Open a file of weights, or of queries and keys, and choose some of its heads.

    Raises
    ------
    QkvError
        As of a heatmap.
    """
    found = open_matrices(path, name) if isinstance(path, str) else path
    weights = open_weights(found, batch)
    queries, keys = weights.shape[3:]
    own = [found.query_labels, found.key_labels]
    if labels is not None:
        from qkvcli.sources.labels import labels_of

        given = labels_of(labels, keys, "keys")
        own = [given if queries == keys else own[0], given]
    members = tuple(
        (layer, head)
        for layer in numbered(layers, "layer", weights.layers, found.file)
        for head in numbered(heads, "head", weights.heads, found.file)
    )
    return Model(weights, members, Tokens(queries, keys, *own), found.captured)


def heads(  # noqa: PLR0913 - what is asked
    model: Model,
    names: Sequence[str] | None = None,
    *,
    labels: Sequence[str] = (),
    sink: int = 0,
    pairs: int = 0,
    tell: Callable[[int], None] | None = None,
) -> Heads:
    """Return the statistics of the heads of a model.

    Parameters
    ----------
    model
        The heads.
    names
        Which statistics; None for all that can be computed.
    labels
        Of keys: the weight on each is a statistic too, called ``on LABEL``.
    sink
        The key that ``sink`` is of.
    pairs
        How many of the strongest pairs of query and key are listed; special tokens are left out.
    tell
        Told of each head that is done.

    Raises
    ------
    UsageError
        A statistic, a label or a key that is not there.
    """
    tokens = model.tokens
    known = available(tokens, values=bool(model.captured and model.captured.values))
    wanted = _wanted(names, known, tokens)
    if sink >= tokens.keys:
        raise UsageError(f"`sink_key` {sink}, and there are {tokens.keys} keys")
    shares = {}
    for label in labels:
        shares[f"on {label}"] = keys = tokens.called(label)
        if not keys.any():
            hint = did_you_mean(label, list(dict.fromkeys(tokens.key_labels or ())))
            raise UsageError(f"`label`: no key is called {label!r}{hint}")
    usual = _usual(tokens) if pairs else None
    rows = []
    for member in model.members:
        norms = model.norms(member)
        values: list[list[NDArray[np.float64]]] = [[] for _ in (*wanted, *shares)]
        best: list[Pair] = []
        for queries in model.bands():
            band = Band(
                model.read(member, queries),
                np.arange(queries.start, queries.stop),
                tokens,
                sink,
                norms,
            )
            found = [known[name](band) for name in wanted]
            found += [band.weights @ keys for keys in shares.values()]
            for column, part in zip(values, found, strict=True):
                column.append(part)
            if usual is not None:
                best = heapq.nlargest(pairs, [*best, *_strongest(band, pairs, usual)], _order)
        means = tuple(_mean(np.concatenate(column)) for column in values)
        numbers = model.weights.layers[member[0]], model.weights.heads[member[1]]
        rows.append(HeadRow(*numbers, means, tuple(best)))
        if tell is not None:
            tell(1)
    return Heads((*wanted, *shares), tuple(rows), tokens, sink)


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the queries that have a value; NaN where none has one."""
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else math.nan


def _wanted(
    names: Sequence[str] | None, known: dict[str, Callable[[Band], Any]], tokens: Tokens
) -> tuple[str, ...]:
    for name in names or ():
        if name not in known:
            everything = available(Tokens(1, 1, ("",), ("",)), values=True)
            if name in everything:
                needs = "labels, of queries and keys that are one text"
                needs = "values" if name.endswith(("value", "value_norm")) else needs
                needs = needs if tokens.are_one or "value" in needs else "queries that are the keys"
                raise UsageError(f"`statistics`: {name} needs {needs}")
            raise UsageError(f"`statistics`: there is no {name!r}{did_you_mean(name, list(known))}")
    return tuple(names or known)


def _usual(tokens: Tokens) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which queries and which keys are no special tokens."""
    ends = ((tokens.query_labels, tokens.queries), (tokens.key_labels, tokens.keys))
    query, key = (
        np.ones(count, np.bool_)
        if labels is None
        else np.array([SPECIAL.fullmatch(label) is None for label in labels])
        for labels, count in ends
    )
    return query, key


def _strongest(
    band: Band, count: int, usual: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> list[Pair]:
    queries, keys = usual
    shown = np.where(queries[band.queries][:, None] & keys, band.weights, -1).reshape(-1)
    count = min(count, len(shown))
    least = np.partition(shown, len(shown) - count)[len(shown) - count]
    at = np.flatnonzero(shown >= max(least, 0))
    at = at[np.argsort(-shown[at], kind="stable")][:count]
    rows, columns = np.unravel_index(at, band.weights.shape)
    return [
        Pair(float(shown[i]), int(band.queries[row]), int(key))
        for i, row, key in zip(at, rows, columns, strict=True)
    ]


def _order(pair: Pair) -> tuple[float, int, int]:
    return pair.weight, -pair.query, -pair.key


def distances(model: Model, tell: Callable[[int], None] | None = None) -> NDArray[np.float64]:
    """Return the Jensen-Shannon divergence between heads, (N, N), in nats.

    It is the mean over queries of H((α + β) / 2) − (H(α) + H(β)) / 2: 0 where two heads attend
    alike, ln 2 where they attend to nothing that the other does. Source: Clark et al. 2019.

    Raises
    ------
    UsageError
        So many heads that not even one row of each can be held.
    """
    count, tokens = len(model.members), model.tokens
    room = _DISTANCE_BYTES // max(1, count)
    if room < 8 * tokens.keys:
        raise UsageError(
            f"{count} heads of {tokens.keys} keys are more than are compared at once; "
            "choose some with `layers` and `heads`"
        )
    total = np.zeros((count, count))
    for queries in model.bands(room):
        rows = np.stack([model.read(member, queries) for member in model.members])
        own = _entropies(rows)
        for i in range(count):
            mixed = _entropies((rows[i] + rows[i:]) / 2)
            total[i, i:] += mixed - (own[i] + own[i:]) / 2
        if tell is not None:
            tell(len(queries))
    found = np.maximum(total, total.T) / tokens.queries
    np.fill_diagonal(found, 0)
    return np.maximum(found, 0)


def _entropies(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over queries of the entropy of each head's rows (N, n, K), (N,)."""
    logs = np.log(rows, out=np.zeros_like(rows), where=rows > 0)
    found: NDArray[np.float64] = -(rows * logs).sum(axis=(1, 2))
    return found


def heads_of(
    weights: Any,  # noqa: ANN401 - a path, an array, or arrays by their names
    statistics: Sequence[str] | None = None,
    *,
    tokens: Sequence[str] | None = None,
    **options: Any,  # noqa: ANN401 - of ``open_model`` and ``heads``
) -> Heads:
    """Return what each head of a model does, as ``qkv heads`` does.

    Parameters
    ----------
    weights
        A file; weights (Q, K), (H, Q, K) or (L, H, Q, K); or a dictionary of the arrays of a file
        of queries and keys (``qkvcli.sources.captured``), such as ``Recording.arrays()``.
    statistics
        Their names; None for all that can be computed.
    tokens
        What the tokens of an array are called.
    **options
        ``batch``, ``layers``, ``heads``, ``sink``, ``pairs`` and ``labels`` of keys.

    Returns
    -------
    Heads
        With ``columns()``, ``to_pandas()``, ``sorted_by(name)`` and ``grid(name)``.

    Raises
    ------
    QkvError
        What cannot be read or computed.
    """
    from qkvcli.sources.matrices import matrices_of

    chosen = {name: options.pop(name, None) for name in ("batch", "layers", "heads")}
    given = weights if isinstance(weights, str) else matrices_of(weights, tokens)
    return heads(open_model(given, **chosen), statistics, **options)
