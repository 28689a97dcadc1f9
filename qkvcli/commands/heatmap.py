"""``qkv heatmap``: what do many queries' weights look like?"""

from __future__ import annotations

from typing import Annotated

import typer

from qkvcli.commands.options import number, one_of, whole

_FILES = "Files"
_CHOICE = "What is drawn"
_LOOKS = "How it looks"


def heatmap(  # noqa: PLR0913 - an argument an option
    weights: Annotated[
        str,
        typer.Argument(
            help="A .npy, .npz, .safetensors, CSV, TSV or JSON file of weights; - is stdin.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Where to: .svg, .png or .pdf; - is stdout.", metavar="FILE"
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            parser=one_of("svg", "png", "pdf", "terminal"),
            metavar="svg|png|pdf|terminal",
            help="By default what the output's name says; without an output, the terminal.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Which array of an .npz or .safetensors file; by default 'weights'."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="N", help="Which entry of (L, batch, H, Q, K)."),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which layers to draw.")
    ] = None,
    heads: Annotated[str | None, typer.Option(metavar="0,3-5", help="Which heads to draw.")] = None,
    queries: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which queries to draw.")
    ] = None,
    keys: Annotated[str | None, typer.Option(metavar="0,3-5", help="Which keys to draw.")] = None,
    reduce: Annotated[
        str | None,
        typer.Option(
            parser=one_of("mean", "max", "min"),
            metavar="mean|max|min",
            help="Draw one panel a layer, reduced over heads (see --over).",
        ),
    ] = None,
    over: Annotated[
        str,
        typer.Option(
            parser=one_of("heads", "all"),
            metavar="heads|all",
            help="What --reduce reduces over: heads, or layers and heads.",
        ),
    ] = "heads",
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Draw attention rollout from the first layer up.")
    ] = False,
    diff: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Subtract these weights; centred at 0."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labels of queries and keys: a line each, or JSON."),
    ] = None,
    query_labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels of the queries.")
    ] = None,
    key_labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels of the keys.")
    ] = None,
    merge_subwords: Annotated[
        bool,
        typer.Option(
            "--merge-subwords",
            help="Join ##, Ġ and ▁ pieces: queries are averaged, keys summed.",
        ),
    ] = False,
    drop: Annotated[
        str | None,
        typer.Option(metavar="'[CLS],[SEP]'", help="Leave out what has one of these labels."),
    ] = None,
    shrink: Annotated[
        str,
        typer.Option(
            parser=one_of("max", "mean"),
            metavar="max|mean",
            help="What a pixel shows that stands for several weights.",
        ),
    ] = "max",
    scale: Annotated[
        str,
        typer.Option(
            parser=one_of("shared", "panel"),
            metavar="shared|panel",
            help="One colour scale for all panels, or one each.",
        ),
    ] = "shared",
    vmin: Annotated[
        float | None,
        typer.Option(parser=number, metavar="W", help="The weight of the lowest colour."),
    ] = None,
    vmax: Annotated[
        float | None,
        typer.Option(parser=number, metavar="W", help="The weight of the highest colour."),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Make the colour scale logarithmic.")] = False,
    cmap: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A Matplotlib colour map; Reds, or RdBu_r for --diff."),
    ] = None,
    title: Annotated[str, typer.Option(help="A title above all.", show_default=False)] = "",
    titles: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="A title for each panel or column; '' for none."),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write the numbers into the cells, if they fit.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="The page, in inches, or as 16x10cm, mm or pt."),
    ] = None,
    dpi: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="The pixels an inch of a PNG.")
    ] = 200,
    color: Annotated[
        str,
        typer.Option(
            parser=one_of("auto", "always", "never"),
            metavar="auto|always|never",
            help="Whether the terminal picture is in colour.",
        ),
    ] = "auto",
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHAR", help="What separates cells in CSV.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="The encoding of CSV, JSON and labels.")
    ] = None,
) -> None:
    """Draw attention weights as SVG, PNG or PDF, or in the terminal.

    Rows are queries and columns are keys. The shapes (Q, K), (H, Q, K), (layers, heads, Q, K)
    and, with --batch, (layers, batch, heads, Q, K) are read.
    """
    from qkvcli.heatmap import compose, paint  # NumPy is imported here, and not for --help
    from qkvcli.heatmap.scale import ScaleOptions
    from qkvcli.sources.matrices import ReadOptions

    request = compose.Request(
        weights=weights,
        diff=diff,
        read=ReadOptions(name, delimiter, encoding),
        batch=batch,
        layers=layers,
        heads=heads,
        queries=queries,
        keys=keys,
        reduce=reduce,
        over=over,
        rollout=rollout,
        labels=labels,
        query_labels=query_labels,
        key_labels=key_labels,
        merge_subwords=merge_subwords,
        drop=paint.words(drop, "--drop") or (),
        shrink=shrink,
        scale=ScaleOptions(scale == "panel", vmin, vmax, log),
        cmap=cmap,
        title=title,
        titles=paint.words(titles, "--titles"),
    )
    page = paint.Page(output, form, paint.page_size(size), dpi, annotate=annotate, color=color)
    paint.draw(request, page)
