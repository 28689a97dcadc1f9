"""``qkv capture``: what does a model attend to?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from qkvcli.commands.options import choice, counting
from qkvcli.errors import OutputError, UsageError
from qkvcli.render.console import is_terminal, note

if TYPE_CHECKING:
    from qkvcli.capture import Text

_EXTENSIONS = (".npz", ".safetensors")


def capture(  # noqa: PLR0913 - an argument an option
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder, a .gguf file, or a name in the local cache.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="The text; - is stdin.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to: .npz or .safetensors; - is stdout, as .npz.",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="A file with the text.")
    ] = None,
    random_tokens: Annotated[
        int | None,
        typer.Option(
            parser=counting,
            metavar="N",
            help="No text, but N random tokens and the same once more.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What an encoder-decoder model writes."),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            **choice("cross", "encoder", "decoder"),
            metavar="cross|encoder|decoder",
            help="Which attention of an encoder-decoder model.  [default: cross]",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(parser=counting, metavar="N", help="Take no more than the first N tokens."),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which layers to store.")
    ] = None,
    heads: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which heads to store.")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            **choice("float16", "float32"),
            metavar="float16|float32",
            help="What numbers are stored as.",
        ),
    ] = "float32",
    with_weights: Annotated[
        bool, typer.Option("--with-weights", help="Store the model's own weights too.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the model, if it is not here.")
    ] = False,
) -> None:
    """Store what a model attends to in a text.

    Every layer's queries, keys and values, after rotary positions, with the mask. The file is
    read by qkv heatmap, qkv heads and qkv pool; weights are computed from it.
    """
    from qkvcli.render.console import progress
    from qkvcli.render.writer import open_target
    from qkvcli.render.writer import target as place_of

    if output is None:
        raise UsageError("capture writes an array file; name one with -o, such as -o out.npz")
    if output != "-" and not output.lower().endswith(_EXTENSIONS):
        raise OutputError("name a .npz or .safetensors file", output)
    place = place_of(output, inputs=[file] if file else [])
    if place.is_stdout and is_terminal(sys.stdout):
        raise UsageError("-o - is not text, and stdout is a terminal; redirect it, or name a file")
    words = _text(text, file, random_tokens)
    from qkvcli import capture as capturing

    with progress("loading the model"):
        loaded, tokenizer = capturing.load(model, download=download)
    if words is None:
        asked = capturing.random_tokens(tokenizer, random_tokens or 0)
    else:
        asked = _shortened(capturing.tokens(tokenizer, words), max_tokens)
    wanted = None if target is None else capturing.tokens(tokenizer, target)
    with progress("running", unit="layers") as tell:
        recording = capturing.record(
            loaded,
            asked,
            wanted,
            kind=attention,
            name=model.rstrip("/").rpartition("/")[2],
            dtype=dtype,
            with_weights=with_weights,
            tell=tell,
            **capturing.chosen(loaded, layers, heads),
        )
    with open_target(place) as stream:
        is_tensors = output.lower().endswith(".safetensors")
        recording.save(stream, safetensors=is_tensors, kind=attention)
    for line in recording.notes(attention):
        note(line)


def _text(text: str | None, file: str | None, random_tokens: int | None) -> str | None:
    """Return the text, or None where random tokens are asked for."""
    if sum(one is not None for one in (text, file, random_tokens)) != 1:
        raise UsageError(
            "give one text: an argument, - for stdin, --file FILE or --random-tokens N"
        )
    if random_tokens is not None:
        return None
    if file is not None or text == "-":
        from qkvcli.sources import bytes_in

        text = "\n".join(bytes_in.read_lines(file or "-"))
    if not text or not text.strip():
        raise UsageError("the text is empty")
    return text


def _shortened(asked: Text, most: int | None) -> Text:
    """Return a text with no more than so many tokens."""
    if most is None or len(asked.ids) <= most:
        return asked
    note(f"the first {most} of {len(asked.ids)} tokens are taken")
    return asked._replace(ids=asked.ids[:most], labels=asked.labels[:most])
