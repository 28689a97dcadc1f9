"""``qkv lookup``: which keys does a query attend to, and how much?"""

from typing import TYPE_CHECKING, Annotated

import typer

from qkvcli.commands import inputs, options, outputs, runners
from qkvcli.errors import NoMatchError, UsageError
from qkvcli.render.console import note, warn
from qkvcli.render.machine import FORMATS
from qkvcli.weights import EXACT, MODES

if TYPE_CHECKING:
    from qkvcli.answer import Lookup

EXTENSIONS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "value"}
COMPLAINTS = 10
"""How many queries without a match are named one by one."""


def lookup(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY]...", help="Queries; - reads one a line from stdin."),
    ] = None,
    data: options.Data = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            "--mode",
            "-m",
            metavar="MODE",
            parser=options.one_of(*MODES),
            help=f"{', '.join(MODES)}; several are shown side by side.  [default: {EXACT}]",
        ),
    ] = None,
    score: options.ScoreName = None,
    temperature: options.Temperature = None,
    neighbors: options.Neighbors = None,
    bandwidth: options.BandwidthText = None,
    case_sensitive: options.CaseSensitive = False,
    top: Annotated[
        int,
        typer.Option(
            "--top", "-n", metavar="N", parser=options.whole, help="Keys to list; 0 for all."
        ),
    ] = 10,
    min_weight: Annotated[
        float,
        typer.Option(
            "--min-weight", metavar="W", parser=options.share, help="List no key of less weight."
        ),
    ] = 0.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how each weight comes about.")
    ] = False,
    key: options.Key = None,
    value: options.Value = None,
    delimiter: options.Delimiter = None,
    no_header: options.NoHeader = False,
    encoding: options.Encoding = None,
    key_type: options.KeyType = None,
    value_type: options.ValueType = None,
    data_format: options.DataFormat = None,
    keys: options.KeysFile = None,
    values: options.ValuesFile = None,
    labels: options.Labels = None,
    queries: options.QueriesFile = None,
    own: options.SelfQueries = False,
    form: Annotated[str, options.format_of(*FORMATS)] = options.AUTO,
    output: options.Output = "-",
    weights: options.Weights = None,
    threads: options.Threads = None,
    processes: options.Processes = None,
    scheduler: options.Scheduler = None,
    csv_safe: options.CsvSafe = False,
    color: options.Color = "auto",
) -> int:
    """Look queries up among the keys of a database.

    Lists the keys that each query attends to, with their scores and weights, and the answer that
    their values come to.
    """
    from qkvcli.answer import heads_of
    from qkvcli.render.lookups import write
    from qkvcli.render.progress import progress
    from qkvcli.render.style import Style
    from qkvcli.run.lookup import Request, look_up, settle, weight_arrays

    request = Request(
        modes=tuple(mode or [EXACT]),
        score=score,
        bandwidth=options.bandwidth(bandwidth),
        temperature=temperature,
        neighbors=neighbors,
        case_sensitive=case_sensitive,
        top=top,
        min_weight=min_weight,
        threads=runners.threads_beside(threads, processes, scheduler),
    )
    if weights is not None and len(request.modes) > 1:
        message = "--weights is one matrix; pass one --mode with it"
        raise UsageError(message)
    table = options.table_options(
        key, value, delimiter, no_header, encoding, key_type, value_type, data_format
    )
    inputs.check_ways(query, queries, own=own, data=data)
    files = inputs.files(data, queries, keys, values, labels)
    sink = outputs.planned(
        output, form, extensions=EXTENSIONS, weights=weights, color=color, inputs=files
    )
    context.with_resource(runners.running(threads, processes, scheduler))
    twice, rule = own or weights is not None, not isinstance(request.bandwidth, tuple)
    database = inputs.open_(data, table, keys, values, labels, twice=twice, rule=rule)
    asked = inputs.queries(database, query, queries, encoding, own=own)
    if asked is None:
        message = "no query; give one or more, - for stdin, --queries FILE or --self"
        raise UsageError(message)
    with progress("choosing widths"):
        settled = settle(database, request)
    matrix = None
    if sink.weights is not None:  # over the cap it is refused here, before any work
        matrix = weight_arrays(database, asked, settled, database.keys, sink.weights.name)
    with progress("looking up", database.known_rows) as advance:
        answer, unmatched = look_up(database, asked, settled, progress=advance)
    outputs.say_widths(answer, heads_of(database.lead))
    if len(unmatched) == len(answer.found):
        _complain(unmatched[:-1])
        raise NoMatchError(unmatched[-1])
    if answer.unpooled:
        _say_what_is_not_pooled(answer, sink.form)
    style = Style(sink.form, explain, csv_safe, sink.color, sink.on_terminal)
    sink.write(lambda stream: write(stream, answer, style))
    if matrix:
        with progress("writing weights"):
            sink.write_weights(matrix)
    _complain(unmatched)
    _say_what_is_left_out(answer, sink, listed=bool(top))
    return 0


def _complain(unmatched: list[str]) -> None:
    for line in unmatched[:COMPLAINTS]:
        note(line)
    if len(unmatched) > COMPLAINTS:
        note(f"and {len(unmatched) - COMPLAINTS} more queries without a match")


def _say_what_is_not_pooled(answer: "Lookup", form: str) -> None:
    """Tell that there is no answer of some columns; where nothing else was asked for, fail."""
    columns = ", ".join(map(repr, answer.unpooled))
    message = f"{columns} of {answer.source} has more distinct texts than are pooled; "
    message += "attend to few keys with --neighbors, or choose other columns with --value"
    if form == "value":
        raise UsageError(message)
    if answer.columns.value != answer.columns.key:  # a list of keys has no answer to miss
        warn(message)


def _say_what_is_left_out(answer: "Lookup", sink: outputs.Sink, *, listed: bool) -> None:
    """Tell a pipe's owner what a table's reader sees below the table."""
    if sink.place is None or sink.form not in ("tsv", "csv"):
        return
    left = [found.left_out[0] for found in answer.found if found.left_out[0][1] > 0]
    if left:
        rows, weight = sum(r for r, _ in left), sum(w for _, w in left) / len(left)
        of = f" over {len(left)} queries" if len(left) > 1 else ""
        mean = "on average " if len(left) > 1 else ""
        way = "--top 0 lists all" if listed else "a lower --min-weight lists more"
        warn(f"left out{of}: {rows} rows with {mean}{weight:.3g} of the weight; {way}")
