"""The file of a model's queries, keys and values: what it holds, read and written.

It is an ``.npz``, or a ``.safetensors``, of these arrays; what is absent is absent:

===================================  ==============================================================
``queries`` (L, Hq, Tq, D)           after rotary positions, as the scores are computed from them
``keys`` (L, Hk, Tk, D)              Hq is a multiple of Hk: grouped-query attention
``values`` (L, Hk, Tk, Dv)
``weights`` (L, Hq, Tq, Tk)          what the model itself computed
``scale``                            what q·k is multiplied by; 1/√D where it is absent
``causal``                           true where query i sees the keys 0 … i; or one a layer, (L,)
``window``                           how many of the last of these it sees, 0 for all; or (L,)
``mask``                             broadcasts to (L, Hq, Tq, Tk): True may attend; or floats to
                                     add to scores
``query_labels``, ``key_labels``     text, (Tq,) and (Tk,)
``model``, ``attention``             text: the model's name; ``self``, ``encoder``, ``decoder`` or
                                     ``cross``
``layers``, ``heads``                the model's numbers of those that are there, (L,) and (Hq,)
===================================  ==============================================================

Arrays of three axes are the heads of one layer, and of two one head. What is text stands in the
metadata of a ``.safetensors``, labels as JSON lists.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.errors import InputError
from qkvcli.sources.formats import KEYS, QUERIES, VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qkvcli.sources.npy import StoredArray

TEXTS = ("query_labels", "key_labels", "model", "attention")
"""The settings that are text."""
MASK_CAP = 256 << 20
"""How large a mask may be: it is held whole. ``causal`` and ``window`` need no room."""


class Settings(NamedTuple):
    """How the queries of a file attend to its keys.

    Parameters
    ----------
    scale
        What products are multiplied by; None for 1/√D.
    causal, windows
        For each layer, or one for all: whether keys after a query are hidden, and how many of the
        last keys it sees, 0 for all.
    mask
        Broadcasts to (L, Hq, Tq, Tk): True where a query may attend, or floats to add to scores.
    query_labels, key_labels
        What they are called.
    model
        The model's name.
    attention
        ``"self"``, ``"encoder"``, ``"decoder"``, ``"cross"`` or nothing.
    layers, heads
        The model's numbers of those in the file; nothing where these are 0, 1, ….
    """

    scale: float | None = None
    causal: tuple[bool, ...] = (False,)
    windows: tuple[int, ...] = (0,)
    mask: NDArray[Any] | None = None
    query_labels: tuple[str, ...] | None = None
    key_labels: tuple[str, ...] | None = None
    model: str = ""
    attention: str = ""
    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()

    def of_layer(self, layer: int) -> tuple[bool, int]:
        """Return whether a layer is causal, and its window."""
        return (
            self.causal[layer if len(self.causal) > 1 else 0],
            self.windows[layer if len(self.windows) > 1 else 0],
        )


@dataclass(frozen=True)
class Captured:
    """Queries and keys in a file, of which weights are to be computed.

    Parameters
    ----------
    name
        What errors call the file.
    queries, keys
        (…, Hq, Tq, D) and (…, Hk, Tk, D), of the same leading axes.
    values
        (…, Hk, Tk, Dv), or None.
    settings
        How the queries attend.
    """

    name: str
    queries: StoredArray
    keys: StoredArray
    values: StoredArray | None
    settings: Settings

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights, (…, Hq, Tq, Tk)."""
        return (*self.queries.shape[:-1], self.keys.shape[-2])

    @property
    def batch_shape(self) -> tuple[int, int]:
        """How many layers and heads of queries there are."""
        *layers, heads = (1, *self.shape[:-2])
        return math.prod(layers), heads

    @property
    def scale(self) -> float:
        """What products are multiplied by."""
        own = self.settings.scale
        return 1 / math.sqrt(self.queries.shape[-1]) if own is None else own

    def key_matrix(self, matrix: int) -> int:
        """Return which matrix of keys a matrix of queries meets, both counted over all axes."""
        group = math.prod(self.queries.shape[:-2]) // math.prod(self.keys.shape[:-2])
        return matrix // group

    def mask(self, matrix: int) -> NDArray[Any] | None:
        """Return the mask of a matrix, which broadcasts to (Tq, Tk)."""
        mask = self.settings.mask
        if mask is None:
            return None
        wide = np.broadcast_to(mask, (*self.queries.shape[:-2], *mask.shape[-2:]))
        found: NDArray[Any] = wide[np.unravel_index(matrix, wide.shape[:-2])]
        return found


def read_captured(arrays: Mapping[str, StoredArray], name: str) -> Captured:
    """Return the queries and keys of a file.

    Parameters
    ----------
    arrays
        The arrays of the file.
    name
        What errors call it.

    Raises
    ------
    InputError
        Queries without keys, shapes that do not fit together, or settings of another kind.
    """
    queries = _named(arrays, QUERIES, name, "queries")
    keys = _named(arrays, KEYS, name, "keys")
    values = next((arrays[one] for one in VALUES if one in arrays), None)
    for array in (queries, keys, *([values] if values else [])):
        if array.dtype.kind == "U" or not 2 <= array.ndim <= 4 or 0 in array.shape:
            raise InputError(
                f"is of shape {array.shape} and dtype {array.dtype}; it is (L, H, T, D)", array.name
            )
    check_pair(queries, keys)
    if values is not None and values.shape[:-1] != keys.shape[:-1]:
        raise InputError(
            f"values of shape {values.shape} for keys of shape {keys.shape}"
            "; they must agree but for the last axis",
            values.name,
        )
    found = Captured(name, queries, keys, values, read_settings(arrays, name, queries.shape))
    labels = (found.settings.query_labels, found.settings.key_labels)
    for what, texts, count in zip(("query", "key"), labels, found.shape[-2:], strict=True):
        if texts is not None and len(texts) != count:
            raise InputError(
                f"{len(texts)} {what}_labels for {count}; there must be one for each", name
            )
    return found


def check_pair(queries: StoredArray, keys: StoredArray) -> None:
    """Refuse queries and keys of shapes that do not fit together.

    Raises
    ------
    InputError
        With both shapes.
    """
    shown = f"queries of shape {queries.shape} and keys of shape {keys.shape}"
    if queries.shape[-1] != keys.shape[-1] or queries.ndim != keys.ndim:
        raise InputError(f"{shown} do not fit; both are (L, H, T, D), of one D", queries.name)
    if queries.ndim == 2:
        return
    (*leading, ours), (*others, theirs) = queries.shape[:-2], keys.shape[:-2]
    if leading != others:
        raise InputError(f"{shown} are not of as many layers", queries.name)
    if ours % theirs:
        raise InputError(
            f"{ours} heads of queries do not divide among {theirs} of keys", queries.name
        )


def read_settings(arrays: Mapping[str, StoredArray], name: str, shape: tuple[int, ...]) -> Settings:
    """Return how the queries of a file, of a shape (L, Hq, Tq, D), attend to its keys.

    Raises
    ------
    InputError
        A setting of another kind or shape.
    """
    layers = math.prod(shape[:-3])
    causal = _per_layer(arrays, "causal", name, layers)
    windows = _per_layer(arrays, "window", name, layers)
    scale = _per_layer(arrays, "scale", name, 1)[0] if "scale" in arrays else None
    if scale is not None and not math.isfinite(scale):
        raise InputError(f"scale {scale!r} is not a finite number", name)
    odd = [n for n in windows if n < 0 or n % 1]
    if odd:
        raise InputError(f"window {odd[0]!r} is not a whole number from 0", name)
    texts = {label: _texts(arrays, label, name) for label in TEXTS}
    return Settings(
        scale,
        tuple(map(bool, causal)),
        tuple(map(int, windows)),
        _mask(arrays, name),
        texts["query_labels"],
        texts["key_labels"],
        (texts["model"] or ("",))[0],
        (texts["attention"] or ("",))[0],
        _numbers(arrays, "layers", name, layers),
        _numbers(arrays, "heads", name, shape[-3] if len(shape) > 2 else 1),
    )


def entries(settings: Settings) -> dict[str, NDArray[Any]]:
    """Return the settings as arrays of an ``.npz``; what is not said is absent."""
    found: dict[str, Any] = {"scale": settings.scale}
    found |= {"causal": settings.causal if any(settings.causal) else None}
    found |= {"window": settings.windows if any(settings.windows) else None}
    found |= {"mask": settings.mask}
    found |= {"layers": settings.layers or None, "heads": settings.heads or None}
    found |= {label: getattr(settings, label) or None for label in TEXTS}
    arrays = {label: np.asarray(value) for label, value in found.items() if value is not None}
    single = {label: a[0] for label, a in arrays.items() if label in ("causal", "window")}
    same = {label: np.asarray(one) for label, one in single.items() if (arrays[label] == one).all()}
    return arrays | same


def as_metadata(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Return what is text among the arrays as the metadata of a ``.safetensors``."""
    return {
        label: json.dumps(array.tolist(), ensure_ascii=False)
        for label, array in arrays.items()
        if array.dtype.kind == "U"
    }


def from_metadata(found: Mapping[str, Any], name: str) -> dict[str, NDArray[np.str_]]:
    """Return what the metadata of a ``.safetensors`` says of its arrays, as arrays of text."""
    texts: dict[str, NDArray[np.str_]] = {}
    for label in TEXTS:
        if label not in found:
            continue
        try:
            value = json.loads(found[label])
        except (ValueError, TypeError, RecursionError):
            value = found[label]
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            raise InputError(f"its metadata has {label} that is no text", name)
        texts[label] = np.array(value, dtype=np.str_)
    return texts


def _named(
    arrays: Mapping[str, StoredArray], names: tuple[str, ...], file: str, what: str
) -> StoredArray:
    for one in names:
        if one in arrays:
            return arrays[one]
    other = "keys" if what == "queries" else "queries"
    raise InputError(f"holds {other} and no {what}; weights are computed from both", file)


def _per_layer(
    arrays: Mapping[str, StoredArray], label: str, name: str, layers: int
) -> tuple[float, ...]:
    if label not in arrays:
        return (0,)
    array = arrays[label]
    if array.dtype.kind not in "biuf" or array.shape not in ((), (1,), (layers,)):
        message = f"{label} of shape {array.shape} and dtype {array.dtype}; it is one number"
        raise InputError(message + (f", or one for each of {layers} layers" * (layers > 1)), name)
    return tuple(array.read().reshape(-1).tolist())


def _numbers(
    arrays: Mapping[str, StoredArray], label: str, name: str, count: int
) -> tuple[int, ...]:
    if label not in arrays:
        return ()
    array = arrays[label]
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise InputError(
            f"{label} of shape {array.shape} and dtype {array.dtype}; they are whole numbers"
            f", one for each of {count}",
            name,
        )
    return tuple(array.read().tolist())


def _texts(arrays: Mapping[str, StoredArray], label: str, name: str) -> tuple[str, ...] | None:
    if label not in arrays:
        return None
    array = arrays[label]
    if array.dtype.kind != "U" or array.ndim > 1:
        raise InputError(
            f"{label} of shape {array.shape} and dtype {array.dtype}; they are text, (T,)", name
        )
    return tuple(map(str, array.read().reshape(-1)))


def _mask(arrays: Mapping[str, StoredArray], name: str) -> NDArray[Any] | None:
    if "mask" not in arrays:
        return None
    stored = arrays["mask"]
    if stored.size > MASK_CAP:
        raise InputError(
            f"a mask of {stored.size >> 20} MiB, over the cap of {MASK_CAP >> 20} MiB"
            "; write causal and window instead",
            name,
        )
    if stored.ndim < 2 or stored.dtype.kind not in "bf":
        raise InputError(
            f"a mask of shape {stored.shape} and dtype {stored.dtype}; it is (…, Tq, Tk), "
            "True where a query may attend, or floats to add",
            name,
        )
    mask = stored.read()
    if mask.dtype.kind == "f" and (np.isnan(mask) | (mask == np.inf)).any():
        raise InputError("its mask has NaN or +∞; it is added to the scores", name)
    return mask
