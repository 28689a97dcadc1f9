"""What a model attends to: the queries, keys and values of every layer, as it computes them.

Fused kernels give no weights out, and need not: transformers' ``AttentionInterface`` hands every
layer's q, k and v, after rotary positions, with the mask and the scale, to one function.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkvcli.errors import InputError, QkvError, UsageError
from qkvcli.sources.captured import Settings, as_metadata, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

KINDS = ("self", "encoder", "decoder", "cross")
"""What attends to what: a text to itself, or the parts of an encoder-decoder model."""
_NAME = "qkv_capture"
_CROSS = re.compile(r"cross|encoder_attn|encdec", re.IGNORECASE)
_ROWS = 16
"""How many queries of a layer are computed anew, and held against what the model makes."""
_CLOSE, _CLOSE_HALF = 1e-4, 3e-2
"""How far from it they may be, beside the largest value: in float32, and in half as many bits."""


class _Call(NamedTuple):
    """What one layer was given, of one entry of the batch."""

    kind: str
    queries: NDArray[Any]
    keys: NDArray[Any]
    values: NDArray[Any]
    scale: float
    mask: NDArray[Any] | None
    weights: NDArray[Any] | None
    fits: bool


@dataclass(eq=False)
class Recording:
    """The layers of one forward pass.

    Parameters
    ----------
    dtype
        What queries, keys, values and weights are stored as.
    with_weights
        Whether the weights that the model computes are stored too.
    entry
        Which entry of the batch.
    layers
        The numbers of the layers that are stored, or None for all.
    heads
        The same of heads of queries.
    name
        What the model is called.
    query_labels, key_labels
        What the tokens are called.
    tell
        Told of each layer once it is done.
    """

    dtype: str = "float32"
    with_weights: bool = False
    entry: int = 0
    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    name: str = ""
    query_labels: tuple[str, ...] | None = None
    key_labels: tuple[str, ...] | None = None
    tell: Callable[[int], None] | None = None
    _calls: list[_Call] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _modules: set[int] = field(default_factory=set)
    _repeated: bool = False

    def meet(self, module: object) -> None:
        """Take note of a layer that is called."""
        self._repeated |= id(module) in self._modules
        self._modules.add(id(module))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which kinds of attention there were."""
        return tuple(dict.fromkeys(call.kind for call in self._calls))

    def arrays(self, kind: str | None = None) -> dict[str, NDArray[Any]]:
        """Return what is stored, as the arrays of a file (see ``qkvcli.sources.captured``).

        Parameters
        ----------
        kind
            Which of ``KINDS``; by default the only one, or ``"cross"``.

        Raises
        ------
        UsageError
            No layer was recorded, or none of this kind, or layers of different shapes.
        """
        if not self._calls:
            raise UsageError("no layer of attention was recorded; call the model once inside")
        if self._repeated:
            raise UsageError(
                "the model was called more than once; call it once, with `use_cache=False`"
            )
        kind = kind or ("cross" if "cross" in self.kinds else self.kinds[0])
        calls = [call for call in self._calls if call.kind == kind]
        if not calls:
            held = ", ".join(self.kinds)
            raise UsageError(f"`attention` {kind!r} is not what this model has: {held}")
        if len({(call.queries.shape, call.keys.shape, call.values.shape) for call in calls}) > 1:
            raise UsageError(
                "layers have queries or keys of different shapes; pass `layers` that agree"
            )
        names = ["queries", "keys", "values"] if self.has_queries else []
        if self.with_weights or not names or not all(call.fits for call in calls):
            names.append("weights")
        arrays = {name: np.stack([getattr(call, name) for call in calls]) for name in names[:3]}
        if "weights" in names:
            arrays["weights"] = np.stack([_weights(call) for call in calls])
        heads, rows = arrays[names[0]].shape[1:3]
        columns = arrays["keys" if self.has_queries else "weights"].shape[
            2 + (not self.has_queries)
        ]
        about = Settings(
            query_labels=_held(rows, self.query_labels),
            key_labels=_held(columns, self.key_labels),
            model=self.name,
            attention=kind,
            layers=_chosen(self.layers, len(calls)),
            heads=_chosen(self.heads, heads),
        )
        if self.has_queries:
            causal, windows, mask = _masks([call.mask for call in calls])
            scale = calls[0].scale
            # Where layers have scales of their own, the rest of it is the queries'.
            ratios = np.array([call.scale / scale for call in calls])
            if (ratios != 1).any():
                arrays["queries"] *= ratios.astype(self.dtype)[:, None, None, None]
            about = about._replace(scale=scale, causal=causal, windows=windows, mask=mask)
        return arrays | entries(about)

    def notes(self, kind: str | None = None) -> list[str]:
        """Return what one should know of what is stored."""
        if not self.has_queries:
            return ["the model does not hand its queries and keys out: its weights are stored"]
        kind = kind or ("cross" if "cross" in self.kinds else self.kinds[0])
        calls = [call for call in self._calls if call.kind == kind]
        numbers = self.layers or range(len(calls))
        odd = [str(at) for at, call in zip(numbers, calls, strict=True) if not call.fits]
        lines = []
        if odd:
            lines.append(
                f"in layers {', '.join(odd)} the weights are not softmax(scale · q kᵀ + mask), as "
                "where scores are capped: the model's own weights are stored too"
            )
        if any(len(call.keys) < len(call.queries) for call in calls):
            groups = f"{len(calls[0].queries)} heads of queries share {len(calls[0].keys)} of keys"
            lines.append(f"grouped-query attention: {groups}")
        return lines

    def save(self, stream: BinaryIO, *, safetensors: bool = False, kind: str | None = None) -> None:
        """Write what is stored as an ``.npz``, or as ``.safetensors``."""
        from qkvcli.render.arrays import whole, write_npz, write_safetensors

        arrays = self.arrays(kind)
        if safetensors:
            numbers = {name: a for name, a in arrays.items() if a.dtype.kind != "U"}
            write_safetensors(stream, numbers, as_metadata(arrays))
        else:
            write_npz(stream, {name: whole(array) for name, array in arrays.items()})

    def add(self, kind: str, given: _Given, output: Any, weights: Any) -> None:  # noqa: ANN401
        """Take note of what one layer was given, and of what it made of it."""
        at = self._seen[kind] = self._seen.get(kind, -1) + 1
        if self.tell is not None:
            self.tell(1)
        if self.layers is not None and at not in self.layers:
            return
        q, k, v = (_array(one[self.entry]) for one in (given.query, given.key, given.value))
        mask = _mask(given.mask, self.entry, (len(q), q.shape[1], k.shape[1]))
        scale = q.shape[-1] ** -0.5 if given.scale is None else float(given.scale)
        made = None if output is None else _array(output[self.entry]).swapaxes(0, 1)
        close = _CLOSE if given.query.element_size() > 2 else _CLOSE_HALF
        fits = made is None or _off(q, k, v, scale, mask, made) < close
        # Those of all layers would take more room than anything else: L × H × T².
        is_kept = weights is not None and (self.with_weights or not fits)
        kept = _array(weights[self.entry]) if is_kept else None
        queries, keys = _used(mask, q.shape[1], k.shape[1])
        if mask is not None:
            mask = mask[:, queries][:, :, keys]
        q, k, v = q[:, queries], k[:, keys], v[:, keys]
        kept = None if kept is None else kept[:, queries][:, :, keys]
        if self.heads is not None:
            own = [head // (len(q) // len(k)) for head in self.heads]
            q, k, v = q[list(self.heads)], k[own], v[own]
            kept = None if kept is None else kept[list(self.heads)]
            mask = mask[list(self.heads)] if mask is not None and len(mask) > 1 else mask
        q, k, v = (one.astype(self.dtype) for one in (q, k, v))
        kept = None if kept is None else kept.astype(self.dtype)
        self._calls.append(_Call(kind, q, k, v, scale, mask, kept, fits))

    def add_weights(self, kind: str, weights: Any) -> None:  # noqa: ANN401 - a tensor (B, H, Tq, Tk)
        """Take note of the weights of one layer, of which no more is known."""
        at = self._seen[kind] = self._seen.get(kind, -1) + 1
        if self.layers is None or at in self.layers:
            found = _array(weights[self.entry])
            found = found if self.heads is None else found[list(self.heads)]
            nothing = np.zeros((0, 0, 0), self.dtype)
            kept = found.astype(self.dtype)
            call = _Call(kind, nothing, nothing, nothing, 1.0, None, kept, fits=True)
            self._calls.append(call)

    @property
    def has_queries(self) -> bool:
        """Whether queries and keys are stored, and not weights alone."""
        return bool(self._calls and self._calls[0].queries.size)


class _Given(NamedTuple):
    query: Any
    key: Any
    value: Any
    mask: Any
    scale: float | None


@contextmanager
def capturing(model: Any, **options: Any) -> Iterator[Recording]:  # noqa: ANN401 - a transformers model
    """Record the queries, keys and values of a model of transformers while it is called once.

    Parameters
    ----------
    model
        A ``PreTrainedModel`` whose attention goes through ``AttentionInterface``.
    **options
        As of ``Recording``: ``name``, ``dtype``, ``with_weights``, ``entry``, ``layers``,
        ``heads``, ``query_labels``, ``key_labels``.

    Yields
    ------
    Recording
        Its ``arrays()`` are what a file holds, and ``save(stream)`` writes one.

    Raises
    ------
    UsageError
        A model that does not support the interface.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    if not supports(model):
        name = type(model).__name__
        raise UsageError(
            f"{name} does not hand its queries and keys out (AttentionInterface); "
            "call it with output_attentions=True and save the weights"
        )
    options.setdefault("name", getattr(model.config, "name_or_path", "") or type(model).__name__)
    recording = Recording(**options)
    kinds = _kinds(model)

    def attend(  # noqa: PLR0913, PLR0917 - as transformers calls it
        module: Any,  # noqa: ANN401
        query: Any,  # noqa: ANN401
        key: Any,  # noqa: ANN401
        value: Any,  # noqa: ANN401
        attention_mask: Any = None,  # noqa: ANN401
        scaling: float | None = None,
        **more: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise UsageError(f"{type(module).__name__} has no eager attention to be recorded")
        output, weights = eager(module, query, key, value, attention_mask, scaling=scaling, **more)
        bias, mask = more.get("position_bias"), attention_mask
        if bias is not None:
            mask = bias if mask is None else mask[..., : key.shape[-2]] + bias
        recording.meet(module)
        given = _Given(query, key, value, mask, scaling)
        recording.add(kinds.get(id(module), "self"), given, output, weights)
        return output, weights

    before = model.config._attn_implementation  # noqa: SLF001 - it has no other name
    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, eager_mask)
    model.set_attn_implementation(_NAME)
    try:
        yield recording
    finally:
        model.set_attn_implementation(before)


def supports(model: Any) -> bool:  # noqa: ANN401
    """Return whether a model hands its queries and keys out."""
    able = getattr(model, "_can_set_attn_implementation", None)
    return bool(able and able())


def _kinds(model: Any) -> dict[int, str]:  # noqa: ANN401
    """Return which kind of attention each module of a model is, by its place in the model."""
    if not getattr(model.config, "is_encoder_decoder", False):
        return {}
    found = {}
    for name, module in model.named_modules():
        within = "encoder" if re.search(r"(^|\.)encoder\.", f"{name}.") else "decoder"
        found[id(module)] = "cross" if _CROSS.search(name) else within
    return found


def _array(tensor: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return a tensor as an array in float32, which bfloat16 and float16 are part of."""
    found: NDArray[Any] = tensor.detach().float().cpu().numpy()
    return found


def _mask(given: Any, entry: int, shape: tuple[int, int, int]) -> NDArray[Any] | None:  # noqa: ANN401
    """Return a mask (1 or H, Tq, Tk), of truth where it hides or not, else of floats to add."""
    if given is None:
        return None
    tensor = given[entry if given.shape[0] > 1 else 0]
    if tensor.dtype.is_floating_point:
        lowest = np.finfo(str(tensor.dtype).removeprefix("torch.").replace("bfloat16", "float32"))
        found = _array(tensor)
        hidden = found <= lowest.min / 2
        found = ~hidden if not found[~hidden].any() else np.where(hidden, -np.inf, found)
    else:
        found = tensor.bool().cpu().numpy()
    found = found[..., : shape[2]]
    return np.broadcast_to(found, (found.shape[0], *shape[1:]))


def _used(
    mask: NDArray[Any] | None, queries: int, keys: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the queries and keys that are no padding: keys that some query may attend to."""
    if mask is None:
        return np.arange(queries), np.arange(keys)
    allowed = mask if mask.dtype == np.bool_ else np.isfinite(mask)
    seen = np.flatnonzero(allowed.any(axis=(0, 1)))
    return seen if queries == keys else np.arange(queries), seen


def _off(  # noqa: PLR0913, PLR0917 - what a layer is given
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    scale: float,
    mask: NDArray[Any] | None,
    made: NDArray[Any],
) -> float:
    """Return how far from softmax(scale · q kᵀ + mask) v it is what a layer makes, by some queries.

    It is far where a model caps its scores, or gives weight to no key at all.
    """
    from qkvcli.attention.softmax import normalised

    rows = np.unique(np.linspace(0, q.shape[1] - 1, _ROWS).astype(int))
    group, most = len(q) // len(k), 0.0
    for head in range(len(q)):
        scores = q[head, rows].astype(np.float64) @ k[head // group].T * scale
        if mask is not None:
            part = mask[head if len(mask) > 1 else 0, rows]
            scores = np.where(part, scores, -np.inf) if part.dtype == np.bool_ else scores + part
        some = ~np.isneginf(scores).all(axis=1)  # else padding, of which nothing is stored
        found = normalised(scores[some]) @ v[head // group] - made[head, rows][some]
        most = max(most, float(np.abs(found).max(initial=0)))
    return most / max(float(np.abs(v).max()), 1e-30)


def _held(count: int, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return labels where there is one for each; of what was padded there are more."""
    return labels if labels is not None and len(labels) == count else None


def _chosen(numbers: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return the numbers of what was chosen; nothing where they are 0, 1, …."""
    picked = tuple(numbers or ())
    return () if picked == tuple(range(count)) else picked


def _masks(
    masks: Sequence[NDArray[Any] | None],
) -> tuple[tuple[bool, ...], tuple[int, ...], NDArray[Any] | None]:
    """Return the masks of layers as causal, windows, and what is neither."""
    causal, windows, rest = [], [], []
    for mask in masks:
        shape = _causal(mask)
        causal.append(shape is not None)
        windows.append(shape or 0)
        is_all = mask is None or (mask.dtype == np.bool_ and mask.all())
        rest.append(None if is_all or shape is not None else mask)
    odd = next((mask for mask in rest if mask is not None), None)
    if odd is None:
        return tuple(causal), tuple(windows), None
    # What hides nothing is all true; beside masks of floats, those of truth are floats too.
    nothing = np.ones((1, *odd.shape[1:]), np.bool_)
    filled = [nothing if mask is None else mask for mask in rest]
    if any(mask.dtype != np.bool_ for mask in filled):
        filled = [_added(mask) for mask in filled]
    wide = (max(map(len, filled)), *odd.shape[1:])
    stacked = np.stack([np.broadcast_to(mask, wide) for mask in filled])
    one = stacked[:1] if (stacked == stacked[:1]).all() else stacked
    return tuple(causal), tuple(windows), one


def _added(mask: NDArray[Any]) -> NDArray[Any]:
    """Return a mask as floats to add to scores."""
    return np.where(mask, 0.0, -np.inf) if mask.dtype == np.bool_ else mask


def _weights(call: _Call) -> NDArray[Any]:
    """Return the weights of a layer: the model's own, or softmax(scale · q kᵀ + mask)."""
    if call.weights is not None:
        return call.weights
    from qkvcli.attention.softmax import normalised

    keys = np.repeat(call.keys, len(call.queries) // len(call.keys), axis=0)
    scores = call.queries.astype(np.float32) @ keys.astype(np.float32).swapaxes(-1, -2)
    scores *= np.float32(call.scale)
    if call.mask is not None:
        scores = scores + _added(call.mask).astype(np.float32)
    found = [normalised(np.array(head)) for head in scores]
    return np.stack(found).astype(call.queries.dtype)


def _causal(mask: NDArray[Any] | None) -> int | None:
    """Return the window of a causal mask, 0 where it has none; None of any other mask."""
    if mask is None or mask.dtype != np.bool_ or len(mask) > 1 or mask.all():
        return None
    queries, keys = np.arange(mask.shape[1])[:, None], np.arange(mask.shape[2])
    window = int(mask[0].sum(axis=1).max())
    full = window >= min(mask.shape[1:])
    wanted = (keys <= queries) & (full | (keys > queries - window))
    return (0 if full else window) if (mask[0] == wanted).all() else None


# --- From a model's name and a text ---


def load(path: str, *, download: bool) -> tuple[Any, Any]:
    """Return a model and its tokenizer, from a folder, a ``.gguf`` file or the local cache.

    Raises
    ------
    InputError
        There is no such model, or it cannot be read.
    """
    import os

    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of its own, which cannot be told otherwise
    if not download:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            f"`qkv capture` needs torch and transformers: pip install 'qkvcli[capture]' ({error})"
        ) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder, options = path, {}  # type: str, dict[str, Any]
    if path.lower().endswith(".gguf"):
        folder = os.path.dirname(path) or "."
        options = {"gguf_file": os.path.basename(path)}
    if options and not os.path.exists(path):
        raise InputError("there is no such file", path)
    options |= {"local_files_only": not download}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        model = transformers.AutoModel.from_pretrained(folder, dtype="float32", **options)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of it
        reason = " ".join(str(error).split())[:200]
        way = "" if os.path.exists(path) else "; it is no folder here, pass --download to fetch it"
        raise InputError(f"cannot be loaded as a model: {reason}{way}", path) from None
    return model.eval(), tokenizer


class Text(NamedTuple):
    """A text as a model's tokens: their numbers, and what they are called."""

    ids: tuple[int, ...]
    labels: tuple[str, ...]


def tokens(tokenizer: Any, text: str) -> Text:  # noqa: ANN401
    """Return a text as tokens, those among them that the tokenizer adds."""
    return _named(tokenizer, tokenizer(text)["input_ids"])


def random_tokens(tokenizer: Any, count: int) -> Text:  # noqa: ANN401
    """Return random tokens, and the same once more: what induction heads show on (Olsson 2022)."""
    special = set(tokenizer.all_special_ids)
    usual = [i for i in range(min(len(tokenizer), tokenizer.vocab_size)) if i not in special]
    if count > len(usual):
        raise UsageError(f"`random_tokens` {count}, and there are {len(usual)} to draw from")
    drawn = np.random.default_rng(0).choice(usual, count, replace=False).tolist()
    return _named(tokenizer, [*drawn, *drawn])


def _named(tokenizer: Any, ids: Sequence[int]) -> Text:  # noqa: ANN401
    pieces = map(str, tokenizer.convert_ids_to_tokens(ids))
    labels = (_readable(tokenizer, at, piece) for at, piece in zip(ids, pieces, strict=True))
    return Text(tuple(ids), tuple(labels))


def _readable(tokenizer: Any, at: int, piece: str) -> str:  # noqa: ANN401
    """Return a piece with its letters as they are read, where it spells the bytes of others."""
    mark = piece[:1] if piece[:1] in ("Ġ", "▁") else ""
    if piece.isascii() or mark + piece[1:].encode("ascii", "ignore").decode() == piece:
        return piece
    text = str(tokenizer.decode([at])).strip()
    return mark + text if text and "\ufffd" not in text else piece


def record(
    model: Any,  # noqa: ANN401
    text: Text,
    target: Text | None = None,
    *,
    kind: str | None = None,
    name: str = "",
    **options: Any,  # noqa: ANN401
) -> Recording:
    """Return what a model attends to in a text.

    Parameters
    ----------
    model
        A model of transformers.
    text, target
        What it reads, and for an encoder-decoder model what it writes.
    kind
        Which of ``KINDS`` is wanted: the labels are of its queries and keys.
    name
        What the model is called.
    **options
        As of ``Recording``.

    Raises
    ------
    UsageError
        A text that is longer than the model takes, a target that is missing or too much, or a
        model that has no attention.
    """
    import torch

    from qkvcli.run.choose import processors

    options["name"] = name or getattr(model.config, "name_or_path", "")

    torch.set_num_threads(processors())
    pair = bool(getattr(model.config, "is_encoder_decoder", False))
    if target is not None and not pair:
        raise UsageError("`target` is for encoder-decoder models, and this one has one part")
    if pair and target is None and kind != "encoder":
        raise UsageError(
            "an encoder-decoder model needs `target`, the text that it writes; "
            "or pass `attention=encoder`"
        )
    for part in (text, *([target] if target else [])):
        _check_length(model, part)
    kind = kind or ("cross" if pair else None)
    of = {"cross": (target, text), "decoder": (target, target)}.get(kind or "", (text, text))
    options["query_labels"], options["key_labels"] = (one and one.labels for one in of)
    batch = {"input_ids": torch.tensor([text.ids])}
    if target is not None:
        batch["decoder_input_ids"] = torch.tensor([target.ids])
    called = model.get_encoder() if pair and target is None else model
    if not supports(model):
        return _from_outputs(called, batch, kind, options)
    with torch.no_grad(), capturing(model, **options) as recording:
        try:
            called(**batch, **({} if pair and target is None else {"use_cache": False}))
        except QkvError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model makes of a text
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"{recording.name}: the model failed: {reason}") from None
    if not recording.kinds:
        raise UsageError(f"{recording.name}: no layer of attention was met; has it any?")
    return recording


def chosen(model: Any, layers: str | None, heads: str | None) -> dict[str, list[int] | None]:  # noqa: ANN401
    """Return the numbers of the layers and heads that lists such as ``0,3-5`` name.

    Raises
    ------
    UsageError
        One that the model does not have.
    """
    from qkvcli.heatmap.select import positions, whole

    about = model.config.get_text_config()
    counts = {"layer": "num_hidden_layers", "head": "num_attention_heads"}
    return {
        f"{what}s": None
        if text is None
        else [int(n) for n in positions(text, whole(what, getattr(about, name)), "the model")]
        for (what, name), text in zip(counts.items(), (layers, heads), strict=True)
    }


def _check_length(model: Any, text: Text) -> None:  # noqa: ANN401
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not text.ids:
        raise UsageError("the text has no tokens")
    if most and len(text.ids) > most:
        raise UsageError(
            f"{len(text.ids)} tokens, and the model takes {most}; pass `max_tokens` {most}"
        )


def _from_outputs(
    model: Any,  # noqa: ANN401
    batch: dict[str, Any],
    kind: str | None,
    options: dict[str, Any],
) -> Recording:
    """Return the weights alone, as a model without the interface gives them out."""
    import torch

    with torch.no_grad():
        found = model(**batch, output_attentions=True)
    names = {"cross": "cross_attentions", "decoder": "decoder_attentions"}
    names |= {"encoder": "encoder_attentions"}
    weights = getattr(found, names.get(kind or "", ""), None) or getattr(found, "attentions", None)
    if not weights or any(layer is None for layer in weights):
        message = "it gives out neither queries and keys nor weights; has it attention at all?"
        raise UsageError(f"{type(model).__name__}: {message}")
    recording = Recording(**options)
    for layer in weights:
        recording.add_weights(kind or "self", layer)
    return recording
