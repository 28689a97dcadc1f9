"""Learned scores: what `qkv learn` finds, as a value, as a file and as a score.

A model file is JSON, small and readable. It is data: nothing in it is executed.
"""

from __future__ import annotations

import json
import math
import os
import threading
import zlib
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qkvcli.answer import Origin
from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.scores import MODEL, Tile
from qkvcli.scores.text import TextScore
from qkvcli.scores.tokens import NOTHING, SAMPLE, Frequencies, words_of
from qkvcli.scores.vector import VectorScore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qkvcli.blocks import Block, Queries
    from qkvcli.scores.features import Keys

SCHEMA, VERSION = "qkv.model", 1
# 1: text, metric and pairs.
MOST_BYTES = 1 << 26
"""How large a model file may be."""
_CELLS = 1 << 21
"""How many scores are in a tile at most."""
_lock = threading.Lock()
_kept: dict[str, Any] = {}
"""The keys of the block that was scored last, ready to be compared; all threads share them."""


@dataclass(frozen=True)
class TextModel:
    """A score of text, Σ wⱼ fⱼ(q, k) over named features.

    Parameters
    ----------
    weights
        What each of ``qkvcli.scores.features.FEATURES`` counts, from 0; together 1, so that equal
        texts score 1.
    temperature, null_score
        T of the softmax, and the score of the null key; None where no match was ever right.
    case_sensitive, keep_accents
        Whether case and diacritics count.
    trained
        How it was trained, and what it reached.
    """

    kind: ClassVar[str] = "text"
    weights: Mapping[str, float]
    temperature: float
    null_score: float | None = None
    case_sensitive: bool = False
    keep_accents: bool = False
    trained: Mapping[str, Any] = field(default_factory=dict)

    def score(self, workers: int = 1) -> LearnedText:
        """Return the score."""
        some = tuple((name, weight) for name, weight in self.weights.items() if weight > 0)
        return LearnedText(
            MODEL, self.case_sensitive, self.keep_accents, workers=workers, weights=some
        )

    def content(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        return {
            "case_sensitive": self.case_sensitive,
            "keep_accents": self.keep_accents,
            "weights": dict(self.weights),
            "temperature": self.temperature,
            "null_score": self.null_score,
        }


@dataclass(frozen=True, eq=False)
class VectorModel:
    """A score of vectors that are mapped before they are compared.

    Parameters
    ----------
    score_name
        ``"gaussian"``, −‖L (q − k)‖² / 2, or ``"scaled-dot"``, (W q) · (V k) / √R.
    columns
        The key columns that it is for, or of arrays their numbers.
    query_map, key_map
        (R, D): what queries and keys are multiplied by; of a metric both are L.
    metric
        ``"diagonal"``, ``"low-rank"``, ``"full"``, or ``"pairs"`` where the maps are two.
    temperature
        T of the softmax.
    trained
        How it was trained, and what it reached.
    """

    kind: ClassVar[str] = "vectors"
    null_score: ClassVar[None] = None
    score_name: str
    columns: tuple[str, ...]
    query_map: NDArray[np.float64]
    key_map: NDArray[np.float64]
    metric: str
    temperature: float = 1.0
    trained: Mapping[str, Any] = field(default_factory=dict)

    def score(self, workers: int = 1) -> LearnedVectors:
        """Return the score."""
        del workers
        return LearnedVectors(self.score_name, query_map=self.query_map, key_map=self.key_map)

    def content(self) -> dict[str, Any]:
        """Return what a file holds of it."""
        found: dict[str, Any] = {
            "score": self.score_name,
            "columns": list(self.columns),
            "metric": self.metric,
        }
        if self.metric == "diagonal":
            found["scales"] = np.diag(self.query_map).tolist()
        elif self.metric == "pairs":
            found |= {"queries": self.query_map.tolist(), "keys": self.key_map.tolist()}
        else:
            found["projection"] = self.query_map.tolist()
        return found | {"temperature": self.temperature}


Model = TextModel | VectorModel


def array_columns(depth: int) -> tuple[str, ...]:
    """Return what the columns of arrays of this width are called."""
    return tuple(map(str, range(1, depth + 1)))


@dataclass(frozen=True)
class LearnedText(TextScore):
    """A learned score of text, of the candidates of each query in a block.

    What is no candidate has no weight: its score is −∞.

    Parameters
    ----------
    weights
        The features that count, and how much.
    grams
        How many keys have each piece of letters.
    """

    weights: tuple[tuple[str, float], ...] = ()
    grams: Frequencies = NOTHING
    bounded = True

    def tiles(
        self,
        block: Block,
        queries: Queries,
        floor: NDArray[np.floating] | float = -np.inf,
        stop: int | None = None,
    ) -> Iterator[Tile]:
        """Yield the scores of the candidates of a block, as ``Score.tiles`` says."""
        from qkvcli.scores.features import Texts

        del floor
        keys, asked = self._keys(block, stop), Texts(self._folded(queries.keys))
        at, to = keys.candidates(asked)
        scores = self._of(keys.features(asked, at, to, self._names))
        rows = np.unique(to)
        step = max(1, _CELLS // len(queries))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            mine = (to >= some[0]) & (to <= some[-1])
            tile = np.full((len(queries), len(some)), -np.inf)
            tile[at[mine], np.searchsorted(some, to[mine])] = scores[mine]
            yield Tile(some, tile, -np.inf, 1.0)

    @property
    def _names(self) -> list[str]:
        return [name for name, _ in self.weights]

    def _of(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of features (N, F)."""
        found: NDArray[np.float64] = features @ np.array([weight for _, weight in self.weights])
        found[features.min(axis=1, initial=1.0) >= 1] = 1.0
        return np.minimum(found, 1.0, out=found)

    def _keys(self, block: Block, stop: int | None) -> Keys:
        """Return a block's keys ready to be compared; those of the last block are kept."""
        from qkvcli.scores.features import Keys

        with _lock:
            if _kept.get("block") is not block or _kept["wanted"] != (self, stop):
                _kept.clear()  # one block's keys are enough to hold
                keys = Keys(self._folded(block.keys[:stop]), self.frequencies, self.grams)
                keys.index_words()
                _kept.update(block=block, wanted=(self, stop), keys=keys)
            found: Keys = _kept["keys"]
            return found

    def counted(self, blocks: Iterable[Block]) -> LearnedText:
        """Return the score with the frequencies of words and pieces among the first keys."""
        from qkvcli.scores.features import pieces_of

        keys = list(islice(chain.from_iterable(block.load().keys for block in blocks), SAMPLE))
        folded = self._folded(keys)
        return replace(
            self,
            frequencies=Frequencies.of(map(words_of, folded)),
            grams=Frequencies.of(map(pieces_of, folded)),
        )

    def features(
        self,
        queries: list[str],
        keys: list[str],
        at: NDArray[np.intp],
        to: NDArray[np.intp],
        dtype: type[np.floating] = np.float64,
    ) -> NDArray[np.floating]:
        """Return the features (N, F) of pairs of these texts."""
        from qkvcli.scores.features import Keys, Texts

        with _lock:
            _kept.clear()  # the last block's keys would be held beside these
        known = Keys(self._folded(keys), self.frequencies, self.grams)
        return known.features(Texts(self._folded(queries)), at, to, self._names, dtype)

    def gradient(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ∂a/∂w (N, F): the features themselves."""
        return features

    def explained(self, query: str, key: str) -> Origin:
        """Return where the score of a query and a key comes from: each feature's share."""
        one = np.zeros(1, np.intp)
        (values,) = self.features([query], [key], one, one).tolist()
        shares = [
            (name, value, weight * value)
            for (name, weight), value in zip(self.weights, values, strict=True)
        ]
        shares.sort(key=lambda share: -share[2])
        return Origin((query,), (key,), shares=tuple(shares))

    def _scores(
        self, queries: list[str], keys: list[str], cutoff: NDArray[np.floating] | float
    ) -> NDArray[np.float64]:
        from qkvcli.scores.features import Keys, Texts

        del cutoff
        if not queries or not keys:
            return np.zeros((len(queries), len(keys)))
        at, to = np.divmod(np.arange(len(queries) * len(keys)), len(keys))
        known = Keys(keys, self.frequencies, self.grams)
        found = self._of(known.features(Texts(queries), at, to, self._names))
        return found.reshape(len(queries), len(keys))


@dataclass(frozen=True)
class _Mapped:
    """Keys of a block, mapped."""

    keys: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class LearnedVectors(VectorScore):
    """A score of vectors that are mapped before they are compared.

    Parameters
    ----------
    query_map, key_map
        (R, D): what queries and keys are multiplied by.
    """

    query_map: NDArray[np.float64] = field(default_factory=lambda: np.eye(1))
    key_map: NDArray[np.float64] = field(default_factory=lambda: np.eye(1))

    def tiles(
        self,
        block: Block,
        queries: Queries,
        floor: NDArray[np.floating] | float = -np.inf,
        stop: int | None = None,
    ) -> Iterator[Tile]:
        """Yield the scores of a block, as ``Score.tiles`` says."""
        mapped: Any = _Mapped(block.keys[:stop] @ self.key_map.T)
        asked = replace(queries, keys=queries.keys @ self.query_map.T)
        yield from super().tiles(mapped, asked, floor)

    def gradient(
        self, query: NDArray[np.floating], keys: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return ∂a/∂q of one query (D,) at every key (K, D), of shape (K, D)."""
        mapped = super().gradient(self.query_map @ query, keys @ self.key_map.T)
        return mapped @ self.query_map


def write(model: Model) -> str:
    """Return a model as the text of a file.

    Examples
    --------
    >>> model = TextModel({"tokens": 1.0}, 0.1)
    >>> read_text(write(model), "a file") == model
    True
    """
    content = {
        "schema": f"{SCHEMA}/{VERSION}",
        "kind": model.kind,
        **model.content(),
        "trained": dict(model.trained),
    }
    lines = [
        f"  {json.dumps(name)}: {_indented(value)}"
        for name, value in {**content, "checksum": _checksum(content)}.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _indented(value: Any) -> str:  # noqa: ANN401 - what JSON may be
    """Return a value as JSON: what holds numbers alone on a line, other objects on several."""
    if isinstance(value, dict) and value:
        lines = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + "\n  }"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
    return json.dumps(value)


def _checksum(content: Mapping[str, Any]) -> str:
    """Return by what it is seen that a file was changed since it was learned."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x}"


def named(model: str | os.PathLike[str]) -> Model:
    """Return the model of a file, or the one that comes with the package: ``"names"``.

    Raises
    ------
    InputError
        What is no model, of a later version, or changed since it was learned.
    """
    path = os.fspath(model)
    if path == "names":
        path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "models", "names.json")
    elif path == "":
        raise UsageError("`model` needs a file name, or names")
    try:
        if not os.path.isfile(path) and os.path.exists(path) and os.path.isdir(path):
            raise InputError("is a folder; give a model file, or names", path)
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError("there is no such model file; qkv learn makes one", path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from None
    if len(data) > MOST_BYTES:
        raise InputError("is over 64 MiB, and no model file", path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InputError("is not UTF-8, and no model file; qkv learn makes one", path) from None
    return read_text(text, path)


def read_text(text: str, where: str) -> Model:
    """Return the model that a file's text holds, looked at strictly.

    Raises
    ------
    InputError
        What is no model, of a later version, or changed since it was learned.
    """
    try:
        content = json.loads(text, parse_constant=_refused, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise InputError(
            "is no model file: it is not JSON as qkv learn writes it; learn it anew", where
        ) from None
    schema = content.get("schema") if isinstance(content, dict) else None
    name, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if name != SCHEMA or not (version.isascii() and version.isdigit()):
        raise InputError(
            f"is no model file: it has no schema {SCHEMA}/{VERSION}; qkv learn makes one", where
        )
    if int(version[:9]) != VERSION:
        raise InputError(
            f"is a model of version {version[:9]}, and this qkv reads version {VERSION}; "
            "use the qkv that wrote it, or learn it anew",
            where,
        )
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise InputError(
            "was changed since it was learned: its checksum differs; learn it anew", where
        )
    try:
        kinds: dict[str, Callable[[Mapping[str, Any]], Model]] = {
            "text": _text_model,
            "vectors": _vector_model,
        }
        return kinds[content["kind"]](content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            "is a model file with something missing or wrong in it; learn it anew", where
        ) from None


def _refused(word: str) -> float:
    raise ValueError(word)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _number(value: object) -> float:
    """Return a finite number that is no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _text_model(content: Mapping[str, Any]) -> TextModel:
    from qkvcli.scores.features import FEATURES

    weights = {name: _number(weight) for name, weight in content["weights"].items()}
    unknown = [name for name in weights if name not in FEATURES]
    if unknown or not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(did_you_mean(unknown[0], list(FEATURES)) if unknown else "weights")
    null = content["null_score"]
    flags = content["case_sensitive"], content["keep_accents"]
    temperature = _number(content["temperature"])
    if not all(isinstance(flag, bool) for flag in flags) or not temperature > 0:
        raise ValueError("flags")
    null = null if null is None else _number(null)
    return TextModel(weights, temperature, null, *flags, trained=dict(content["trained"]))


def _vector_model(content: Mapping[str, Any]) -> VectorModel:
    score, metric = content["score"], content["metric"]
    columns = tuple(map(str, content["columns"]))
    if metric == "diagonal":
        maps = [np.diag(_matrix([content["scales"]])[0])] * 2
    elif metric == "pairs":
        maps = [_matrix(content[name]) for name in ("queries", "keys")]
    elif metric in ("low-rank", "full"):
        maps = [_matrix(content["projection"])] * 2
    else:
        raise ValueError(metric)
    temperature = _number(content["temperature"])
    fits = len(maps[0]) == len(maps[1]) and maps[1].shape[1] == len(columns) and temperature > 0
    if score not in ("gaussian", "scaled-dot") or not fits:
        raise ValueError(score)
    trained = dict(content["trained"])
    return VectorModel(score, columns, maps[0], maps[1], metric, temperature, trained)


def _matrix(rows: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
    """Return rows of numbers as a matrix."""
    found = np.array([[_number(x) for x in row] for row in rows], np.float64)
    if found.ndim != 2 or not found.size:
        raise ValueError("matrix")
    return found
