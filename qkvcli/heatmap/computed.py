"""Weights that no file holds: computed from queries and keys, some rows at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.attention.softmax import NotFiniteError, normalised
from qkvcli.attention.weights import Mask
from qkvcli.errors import InputError
from qkvcli.sources.npy import StoredArray, first_nonfinite, working_dtype
from qkvcli.sources.vectors import nonfinite_message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qkvcli.sources.captured import Captured

# The keys that a thread met last: bands of one head come after one another.
_last = threading.local()


@dataclass(frozen=True)
class Computed(StoredArray):
    """Weights (…, Hq, Tq, Tk) as an array that is read like a file's.

    Parameters
    ----------
    captured
        The queries and keys.
    """

    captured: Captured | None = None

    def rows(
        self,
        start: int,
        stop: int,
        *,
        columns: slice | None = None,
        buffer: str = "",  # noqa: ARG002 - all is computed anew
    ) -> NDArray[np.floating]:
        """Return some rows of one matrix of weights, counted over all of them, (n, columns)."""
        assert self.captured is not None  # noqa: S101 - which a dataclass cannot say
        count = self.shape[-2]
        matrix, first = divmod(start, count)
        found = band(self.captured, matrix, range(first, first + stop - start))
        return found if columns is None else found[:, columns]


def computed(captured: Captured) -> Computed:
    """Return the weights of queries and keys, of which none is computed before it is read."""
    dtype = np.result_type(*(working_dtype(a.dtype) for a in (captured.queries, captured.keys)))
    return Computed(captured.name, captured.shape, dtype, captured=captured)


def band(captured: Captured, matrix: int, queries: range) -> NDArray[np.floating]:
    """Return softmax(scale · q kᵀ, as masked) for some queries of a head, shape (n, Tk).

    Parameters
    ----------
    captured
        The queries and keys.
    matrix
        The head, counted over layers and heads.
    queries
        Which queries, one after another.

    Raises
    ------
    InputError
        NaN or infinity among the queries or keys, with its index, or scores that overflow.
    """
    count = captured.shape[-2]
    at = matrix * count + queries.start
    q = captured.queries.rows(at, at + len(queries))
    _check(captured.queries, q, matrix, queries.start)
    keys = _keys(captured, captured.key_matrix(matrix))
    mask, rows = mask_of(captured, matrix), np.arange(queries.start, queries.stop)
    reach = min(mask.reach(rows) or len(keys), len(keys)) if mask.causal else len(keys)
    first = max(0, queries.start - mask.window + 1) if mask.window else 0
    first = min(first, len(keys))
    dtype = np.result_type(q, keys)
    out = np.zeros((len(queries), len(keys)), dtype)
    if first >= reach:
        return out
    # A product with float64 keys would be of another width than the weights.
    scores = out[:, first:reach]
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(q * dtype.type(captured.scale), keys[first:reach].T, out=scores)
    mask.hide(scores, rows, np.arange(first, reach))
    try:
        normalised(scores)
    except NotFiniteError:
        raise InputError(
            "the products of queries and keys overflow; save them as float64", captured.name
        ) from None
    return out


def mask_of(captured: Captured, matrix: int) -> Mask:
    """Return what the queries of a head may attend to."""
    causal, window = captured.settings.of_layer(matrix // captured.batch_shape[1])
    allowed = captured.mask(matrix)
    wide: Any = None if allowed is None else np.broadcast_to(allowed, captured.shape[-2:])
    if wide is not None and wide.dtype.kind == "f":
        return Mask(causal, added=wide, window=window)
    return Mask(causal, allowed=wide, window=window)


def _keys(captured: Captured, matrix: int) -> NDArray[np.floating]:
    """Return the keys (Tk, D) of a head, read once by each thread."""
    held = getattr(_last, "keys", None)
    if held is None or held[0] is not captured.keys or held[1] != matrix:
        count = captured.keys.shape[-2]
        keys = captured.keys.rows(matrix * count, (matrix + 1) * count)
        _check(captured.keys, keys, matrix, 0)
        held = _last.keys = (captured.keys, matrix, keys)
    found: NDArray[np.floating] = held[2]
    return found


def _check(array: StoredArray, part: NDArray[np.floating], matrix: int, first: int) -> None:
    index = None if np.isfinite(part).all() else first_nonfinite(part, first)
    if index is not None:
        raise InputError(nonfinite_message(array, index, matrix), array.name)
