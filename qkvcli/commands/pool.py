"""``qkv pool``: what does the database answer?"""

from typing import TYPE_CHECKING, Annotated

import typer

from qkvcli.attention.weights import AVERAGE, EXACT, MODES, SOFTMAX
from qkvcli.commands import inputs, options, outputs
from qkvcli.commands.fits import check, draw
from qkvcli.errors import NoMatchError, UsageError
from qkvcli.heatmap import PICTURES
from qkvcli.render.console import note

if TYPE_CHECKING:
    from qkvcli.answer import Answer

FORMATS = ("tsv", "csv", "json", "jsonl", "value", "npy", "npz", *PICTURES)
EXTENSIONS = {f".{name}": name for name in FORMATS if name != "value"} | {".txt": "value"}
NAMED = 10
"""How many queries without an answer are named."""


def pool(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...", help="Queries: text, or numbers as 1.5,0.3; - reads stdin."
        ),
    ] = None,
    data: options.Data = None,
    modes: Annotated[
        list[str] | None,
        typer.Option(
            "--mode",
            "-m",
            metavar="MODE",
            **options.choice(*MODES),
            help=f"{', '.join(MODES)}.  [default: {SOFTMAX}]",
        ),
    ] = None,
    score: options.ScoreName = None,
    model: options.Model = None,
    temperature: options.Temperature = None,
    neighbors: options.Neighbors = None,
    bandwidth: options.BandwidthText = None,
    min_score: options.MinScore = None,
    case_sensitive: options.CaseSensitive = False,
    keep_accents: options.KeepAccents = False,
    causal: Annotated[
        bool, typer.Option("--causal", help="Query i attends to the keys up to i.")
    ] = False,
    valid_lens: Annotated[
        str | None,
        typer.Option(
            "--valid-lens",
            metavar="N[,N]|FILE",
            help="Leading keys to attend to: for all, for each batch entry or for each query.",
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", metavar="FILE.npy", help="True where a query may attend; (…, Q, K)."
        ),
    ] = None,
    jacobian: Annotated[bool, typer.Option("--jacobian", help="Also d answer / d query.")] = False,
    degree: Annotated[
        int | None,
        typer.Option(
            "--degree",
            metavar="0|1",
            help="0 for means; 1 fits lines, and gives their slope."
            "  [default: what predicts better, if no width is given]",
        ),
    ] = None,
    std_error: Annotated[
        bool, typer.Option("--std-error", help="Also the standard error of the answer.")
    ] = False,
    band: Annotated[
        float | None,
        typer.Option("--band", metavar="P", help="Also a band that holds the mean so often: 0.95."),
    ] = None,
    loo: Annotated[
        bool,
        typer.Option("--loo", help="Predict every row without itself, and measure how well."),
    ] = False,
    key: options.Key = None,
    value: options.Value = None,
    delimiter: options.Delimiter = None,
    no_header: options.NoHeader = False,
    encoding: options.Encoding = None,
    key_type: options.KeyType = None,
    value_type: options.ValueType = None,
    data_format: options.DataFormat = None,
    missing: options.Missing = None,
    date: options.Dates = None,
    categorical: options.Categorical = None,
    ordered: options.Ordered = None,
    keys: options.KeysFile = None,
    values: options.ValuesFile = None,
    labels: options.Labels = None,
    queries: options.QueriesFile = None,
    query_key: options.QueryKey = None,
    own: options.SelfQueries = False,
    form: Annotated[str, options.format_of(*FORMATS)] = options.AUTO,
    output: options.Output = "-",
    plot: Annotated[
        bool,
        typer.Option("--plot", help="Draw the fit in the terminal; -o fit.svg does in a file."),
    ] = False,
    weights: options.Weights = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    csv_safe: options.CsvSafe = False,
    color: options.Color = "auto",
) -> int:
    """Pool the values of a database under each query's weights.

    Attention pooling, kernel regression and classification, nearest neighbours and averages.
    """
    from qkvcli.render.console import progress
    from qkvcli.render.machine import Style
    from qkvcli.render.pools import write
    from qkvcli.run.choose import executor
    from qkvcli.run.pool import pool as pooling

    if len(modes or ()) > 1:
        raise UsageError("pool has one --mode; lookup shows several side by side")
    (mode,) = modes or (SOFTMAX,)
    inputs.check_ways(query, queries, own=own, data=data)
    files = inputs.files(data, queries, keys, values, labels, mask, valid_lens)
    sink = outputs.planned(
        output, form, extensions=EXTENSIONS, weights=weights, color=color, inputs=files
    )
    lengths, allowed = inputs.lengths(valid_lens), inputs.mask(mask)
    given = context.params
    scoring = inputs.scoring(given)
    database = inputs.database(given)
    runner = context.with_resource(executor(outputs.workers(workers, scheduler), scheduler))
    how = {
        **scoring,
        "mode": mode,
        "degree": 0 if degree is None and weights else degree,  # whose mean is the answer
        "std_error": std_error,
        "band": band,
    }
    picture = sink.form if sink.form in PICTURES else "terminal" if plot else ""
    if picture:
        check(given)
        with progress("drawing"):
            sink.draw(lambda place: draw(database, given, runner, how, place, picture))
        return 0
    if loo and (query or queries is not None):
        raise UsageError("--loo asks with the rows themselves; leave other queries out")
    asked = database.own_keys() if loo else inputs.queries(database, given)
    if asked is None and database.store.own_queries is None and mode != AVERAGE:
        raise UsageError(inputs.NO_QUERY)
    with progress("choosing widths"):
        question = database.ask(
            asked,
            runner,
            causal=causal,
            valid_lens=lengths,
            mask=allowed,
            jacobian=jacobian,
            loo=loo,
            perplexity=sink.form not in ("npy", "value"),
            **how,
        )
    matrix = outputs.matrix(question, sink)
    with progress("pooling", question.rows) as advance:
        answer = pooling(question, advance)
    inputs.say_what_answered(database, given, answer.skipped)
    inputs.say_text_keys(database, question.request)
    outputs.say_widths(question.about)
    outputs.say_measures(answer)
    style = Style(sink.form, defuse=csv_safe, color=sink.color, terminal=sink.on_terminal)
    sink.write(lambda stream: write(stream, answer, style))
    if matrix is not None:
        if degree:
            note("--weights has the kernel's weights, and a local line is not their mean")
        with progress("writing weights"):
            sink.write_weights(matrix)
    if not answer.answered.any():
        way = "try --mode approximate" if mode == EXACT else "widen --bandwidth, or mask less"
        raise NoMatchError(f"{_unanswered(answer)}; {way}")
    if not answer.answered.all():
        note(_unanswered(answer))
    return 0


def _unanswered(answer: "Answer") -> str:
    missing, labels = answer.unanswered, answer.about.queries if answer.about else ()
    names = ["/".join([*map(str, head), labels[query]]) for head, query in missing[:NAMED]]
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    queries = "query attends" if len(missing) == 1 else "queries attend"
    has = "has" if len(missing) == 1 else "have"
    return f"{len(missing)} {queries} to no key and {has} no answer: {', '.join(names)}{more}"
