"""``qkv heatmap``: what do many queries' weights look like?"""

from __future__ import annotations

from typing import Annotated

import typer

from qkvcli.commands.options import above_zero, choice, number, whole

_FILES = "Files"
_CHOICE = "What is drawn"
_LOOKS = "How it looks"


def heatmap(  # noqa: PLR0913 - an argument an option
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A .npy, .npz, .safetensors, CSV, TSV or JSON file of weights; - is stdin.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to: .svg, .png, .pdf or .html, or .npy, .npz or .csv; - is stdout.",
            metavar="FILE",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            **choice("svg", "png", "pdf", "html", "terminal", "npy", "npz", "csv"),
            metavar="svg|png|pdf|html|terminal|npy|npz|csv",
            help="By default what the output's name says; without an output, the terminal.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which array of an .npz or .safetensors file; by default 'weights'.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="N",
            help="Which entry of (L, batch, H, Q, K) or (batch, H, Q, K).",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which layers to draw.")
    ] = None,
    heads: Annotated[str | None, typer.Option(metavar="0,3-5", help="Which heads to draw.")] = None,
    queries: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which queries: positions, or labels.")
    ] = None,
    keys: Annotated[
        str | None, typer.Option(metavar="0,3-5", help="Which keys: positions, or labels.")
    ] = None,
    reduce: Annotated[
        str | None,
        typer.Option(
            **choice("mean", "max", "min"),
            metavar="mean|max|min",
            help="Draw one panel a layer, reduced over heads (see --over).",
        ),
    ] = None,
    over: Annotated[
        str,
        typer.Option(
            **choice("heads", "all"),
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
            **choice("max", "mean"),
            metavar="max|mean",
            help="What a pixel shows that stands for several weights.",
        ),
    ] = "max",
    scale: Annotated[
        str,
        typer.Option(
            **choice("shared", "panel"),
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
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="A title above all.", show_default=False)
    ] = "",
    titles: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="A title for each panel or column; '' for none."),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write the numbers into the cells, if they fit.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="W[xH]", help="The page: its width, or both; inches, or 8.4cm, mm or pt."
        ),
    ] = None,
    font: Annotated[
        str | None, typer.Option(metavar="NAME", help="The font of all text, such as Helvetica.")
    ] = None,
    font_size: Annotated[
        float | None, typer.Option(parser=above_zero, metavar="PT", help="The size of all text.")
    ] = None,
    xlabel: Annotated[
        str, typer.Option(metavar="TEXT", help="What stands below; '' for nothing.")
    ] = "Keys",
    ylabel: Annotated[
        str, typer.Option(metavar="TEXT", help="What stands on the left.")
    ] = "Queries",
    colorbar_label: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What stands along the colour bar.", show_default=False),
    ] = "",
    colorbar: Annotated[
        bool, typer.Option("--colorbar/--no-colorbar", help="Whether there is a colour bar.")
    ] = True,
    dpi: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="The pixels an inch of a PNG.")
    ] = 200,
    bits: Annotated[
        str,
        typer.Option(
            **choice("8", "16"),
            metavar="8|16",
            help="How many bits a weight has in an HTML file, in square-root scale.",
        ),
    ] = "8",
    max_size: Annotated[
        float,
        typer.Option(
            parser=above_zero,
            metavar="MB",
            help="How large an HTML file may be; of larger weights it holds maxima.",
        ),
    ] = 50.0,
    color: Annotated[
        str,
        typer.Option(
            **choice("auto", "always", "never"),
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
    """Draw attention weights as a picture, or in the terminal.

    Rows are queries and columns are keys. The shapes (Q, K), (H, Q, K), (layers, heads, Q, K)
    and, with --batch, (batch, heads, Q, K) and (layers, batch, heads, Q, K) are read.
    """
    from qkvcli.heatmap.draw import draw  # NumPy is imported here, and not for --help
    from qkvcli.heatmap.request import Request, check_font, page_size, words

    width, height = (None, None) if size is None else page_size(size)
    if font is not None:
        check_font(font)
    draw(
        Request(
            weights=weights,
            diff=diff,
            name=name,
            delimiter=delimiter,
            encoding=encoding,
            labels=labels,
            query_labels=query_labels,
            key_labels=key_labels,
            batch=batch,
            layers=layers,
            heads=heads,
            queries=queries,
            keys=keys,
            reduce=reduce,
            over=over,
            rollout=rollout,
            merge_subwords=merge_subwords,
            drop=() if drop is None else words(drop, "--drop"),
            shrink=shrink,
            panel_scales=scale == "panel",
            vmin=vmin,
            vmax=vmax,
            log=log,
            cmap=cmap,
            title=title,
            titles=None if titles is None else words(titles, "--titles"),
            width=width,
            height=height,
            font=font,
            font_size=font_size,
            xlabel=xlabel,
            ylabel=ylabel,
            bar_label=colorbar_label,
            bar=colorbar,
            annotate=annotate,
            dpi=dpi,
            bits=int(bits),
            max_size=max_size,
            output=output,
            form=form,
            color=color,
        )
    )
