"""Queries and keys in the page, from which its weights are computed when they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.attention.softmax import normalised
from qkvcli.attention.weights import Mask
from qkvcli.heatmap.html.codes import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LARGEST = 65504.0
"""The largest number of float16."""
_AT_ONCE = 4 << 20


class Halves:
    """Queries and keys of some heads in float16, packed.

    Parameters
    ----------
    width
        D, the numbers of a query.
    scale
        What products are multiplied by.

    Attributes
    ----------
    error
        By how much a weight that is computed from float16 is off at most.
    """

    def __init__(self, width: int, scale: float) -> None:
        self.texts: list[str] = []
        self.error = 0.0
        self._width, self._scale = width, scale
        self._heads: list[list[Any]] = []
        self._keys: dict[int, int] = {}

    def add(  # noqa: PLR0913 - what a head is
        self,
        q: NDArray[np.floating],
        k: NDArray[np.floating],
        group: int,
        exact: Callable[[range], NDArray[np.floating]],
        *,
        causal: bool = False,
        window: int = 0,
    ) -> None:
        """Add a head.

        Parameters
        ----------
        q, k
            (Tq, D) and (Tk, D), none larger than ``LARGEST``.
        group
            A number of the keys: heads of one group share theirs, which are kept once.
        exact
            Returns weights (n, Tk) of some rows, as they are without float16.
        causal, window
            Whether query i sees the keys 0 … i alone, and how many of the last of these; 0 for all.
        """
        if group not in self._keys:
            self._keys[group] = len(self.texts)
            self.texts.append(packed(_by_byte(k.astype(np.float16))))
        self._heads.append([int(causal), window, self._keys[group], len(self.texts)])
        norms = []
        for start, weights, norm in bands(q, k, self._scale, causal=causal, window=window):
            off = float(np.abs(exact(range(start, start + len(weights))) - weights).max())
            self.error = max(self.error, float(f"{off:.2g}"))
            norms.append(norm)
        self.texts.append(packed(_by_byte(q.astype(np.float16))))
        self.texts.append(packed(_by_byte(np.concatenate(norms))))

    @property
    def size(self) -> int:
        """How many characters the texts take."""
        return sum(map(len, self.texts))

    def about(self) -> dict[str, Any]:
        """Return what the page is told.

        A head is whether it is causal, its window, and which texts are its keys and its queries,
        after which comes the logarithm of each row's normalizer.
        """
        lengths = list(map(len, self.texts))
        return {
            "width": self._width,
            "scale": self._scale,
            "heads": self._heads,
            "lengths": lengths,
            "error": self.error,
        }


def bands(
    q: NDArray[np.floating],
    k: NDArray[np.floating],
    scale: float,
    *,
    causal: bool,
    window: int,
) -> Iterator[tuple[int, NDArray[np.floating], NDArray[np.float32]]]:
    """Yield weights of queries and keys as rounded to float16, some rows at a time.

    Returns
    -------
    Iterator
        The number of the first row, weights (n, Tk), and log Σ exp(scale · q kᵀ) over the keys that
        each query sees (n,), infinite where it sees none.
    """
    mask = Mask(causal, window=window)
    low, high = (part.astype(np.float16).astype(np.float32) for part in (q, k))
    columns, step = np.arange(len(k)), max(1, _AT_ONCE // len(k))
    for start in range(0, len(q), step):
        rows = np.arange(start, min(start + step, len(q)))
        scores = (low[rows] @ high.T * np.float32(scale)).astype(np.float64)
        mask.hide(scores, rows, columns)
        most = scores.max(axis=1)
        seen = np.isfinite(most)
        weights = normalised(scores)
        norms: NDArray[np.float32] = np.full(len(rows), np.inf, np.float32)
        # A weight is exp(score - norm); the largest of a row is the most exact.
        norms[seen] = most[seen] - np.log(weights.max(axis=1)[seen])
        yield start, weights, norms


def _by_byte(values: NDArray[Any]) -> bytes:
    """Return the bytes of numbers, the lowest of all first: alike beside alike, they pack well."""
    size = values.dtype.itemsize
    plain = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(plain).view(np.uint8).reshape(-1, size).T.tobytes()
