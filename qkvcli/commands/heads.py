"""``qkv heads``: what does each head do?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkvcli.commands import options, outputs
from qkvcli.commands.options import counting, whole
from qkvcli.errors import OutputError, UsageError
from qkvcli.heatmap import PICTURES
from qkvcli.render.console import note

if TYPE_CHECKING:
    from qkvcli.render.writer import Target
    from qkvcli.statistics import Heads, Model

FORMATS = ("tsv", "csv", "json", "jsonl")
EXTENSIONS = {f".{name}": name for name in FORMATS}


def heads(  # noqa: PLR0913 - an argument an option
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A file of weights, or of queries and keys as qkv capture writes them.",
            show_default=False,
        ),
    ],
    *,
    statistics: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Which statistics; by default all that there are."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="NAME", help="The largest of this statistic first.")
    ] = None,
    ascending: Annotated[
        bool, typer.Option("--ascending", help="The smallest first, with --sort.")
    ] = False,
    top: Annotated[
        int | None, typer.Option("--top", "-n", parser=counting, metavar="N", help="N heads alone.")
    ] = None,
    pairs: Annotated[
        int,
        typer.Option(
            parser=whole,
            metavar="N",
            help="Also the N strongest pairs of query and key, without special tokens.",
        ),
    ] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Also the weight on keys of this label; may be repeated."
        ),
    ] = None,
    sink_key: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="The key that sink is of.")
    ] = 0,
    layers: Annotated[str | None, typer.Option(metavar="0,3-5", help="Which layers.")] = None,
    heads: Annotated[str | None, typer.Option(metavar="0,3-5", help="Which heads.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="N", help="Which entry of the batch."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which array of the file; by default 'weights'."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labels of the tokens: a line each, or JSON."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Draw one statistic, layers × heads: .svg, .png or .pdf."
        ),
    ] = None,
    distances: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npz", help="Jensen-Shannon distances between heads, for qkv heatmap."
        ),
    ] = None,
    form: Annotated[str, options.format_of(*FORMATS)] = options.AUTO,
    output: options.Output = "-",
    color: options.Color = "auto",
) -> None:
    """Say what each head of a model does.

    A row a head: entropy, sinks, places, duplicate tokens, induction. The docs have the formulas.
    """
    from qkvcli import statistics as statistics_of
    from qkvcli.attention.formulas import FEW
    from qkvcli.render.console import progress
    from qkvcli.render.machine import Style
    from qkvcli.render.tables import write
    from qkvcli.render.writer import target

    if ascending and sort is None:
        raise UsageError("--ascending is of --sort; name a statistic with it")
    files = [file for file in (weights, labels) if file is not None]
    sink = outputs.planned(output, form, extensions=EXTENSIONS, color=color, inputs=files)
    drawn = None if plot is None else target(plot, inputs=files)
    endings = tuple(f".{form}" for form in PICTURES)
    if plot is not None and not plot.lower().endswith(endings):
        raise OutputError(f"--plot names a {', '.join(endings)} file", plot)
    apart = None if distances is None else target(distances, inputs=files)
    if distances is not None and not distances.lower().endswith(".npz"):
        raise OutputError("--distances names a .npz file", distances)
    wanted = None if statistics is None else [one.strip() for one in statistics.split(",")]
    model = statistics_of.open_model(
        weights, name=name, batch=batch, layers=layers, heads=heads, labels=labels
    )
    few = sink.form == "table" and wanted is None
    if few:  # what fits on a terminal
        wanted = [one for one in FEW if one in model.statistics]
    if sort is not None and wanted is not None and sort not in wanted:
        wanted.append(sort)
    with progress("reading", len(model.members), "heads") as tell:
        found = statistics_of.heads(
            model, wanted, labels=label or (), sink=sink_key, pairs=pairs, tell=tell
        )
    shown = found if sort is None else found.sorted_by(sort, ascending=ascending)
    style = Style(sink.form, color=sink.color, terminal=sink.on_terminal)
    sink.write(lambda stream: write(stream, shown.first(top), style, "qkv.heads/1"))
    if drawn is not None:
        _draw(found, sort or found.names[0], drawn)
    if apart is not None:
        with progress("comparing", model.tokens.queries, "queries") as tell:
            _write_distances(model, statistics_of.distances(model, tell), apart)
    for line in _notes(model, found):
        note(line)
    if few:
        more = [one for one in model.statistics if one not in found.names]
        note(f"--statistics names more: {', '.join(more)}")


def _draw(found: Heads, name: str, place: Target) -> None:
    from qkvcli.heatmap.draw import draw_grid

    values, layers, heads = found.grid(name)
    names = [str(n) for n in layers], [str(n) for n in heads]
    draw_grid(values, place, names, ("Layer", "Head", name))


def _write_distances(model: Model, found: Any, place: Target) -> None:  # noqa: ANN401 - an array
    from qkvcli.render.arrays import texts, write_npz
    from qkvcli.render.arrays import whole as run
    from qkvcli.render.writer import open_target

    numbers = model.weights
    names = [f"{numbers.layers[layer]}.{numbers.heads[head]}" for layer, head in model.members]
    arrays = {"distances": run(found), "query_labels": texts(names), "key_labels": texts(names)}
    with open_target(place) as stream:
        write_npz(stream, arrays)


def _notes(model: Model, found: Heads) -> list[str]:
    lines = [f"warning: {line}" for line in model.watch.warnings()]
    if found.sinks is not None:
        labels = model.tokens.key_labels
        called = f" ({labels[found.sink]})" if labels else ""
        lines.append(
            f"{found.sinks} of {len(found.rows)} heads have a sink: more than 0.3 of their weight "
            f"on key {found.sink}{called}"
        )
    return lines
