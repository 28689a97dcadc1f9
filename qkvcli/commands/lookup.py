"""``qkv lookup``: which keys does a query attend to, and how much?"""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from qkvcli.attention.weights import EXACT, MODES
from qkvcli.commands import inputs, options, outputs
from qkvcli.errors import NoMatchError, UsageError
from qkvcli.heatmap import PICTURES
from qkvcli.render.console import note, warn
from qkvcli.render.machine import FORMATS

if TYPE_CHECKING:
    from qkvcli.answer import Found, Lookup

EXTENSIONS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "value"}
EXTENSIONS |= {f".{form}": form for form in PICTURES}
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
            **options.choice(*MODES),
            help=f"{', '.join(MODES)}; several are shown side by side.  [default: {EXACT}]",
        ),
    ] = None,
    score: options.ScoreNames = None,
    model: options.Model = None,
    temperature: options.Temperature = None,
    neighbors: options.Neighbors = None,
    bandwidth: options.BandwidthText = None,
    min_score: options.MinScore = None,
    case_sensitive: options.CaseSensitive = False,
    keep_accents: options.KeepAccents = False,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            "-n",
            metavar="N",
            parser=options.whole,
            help="Keys to list; 0 for all.  [default: 10; in a join 1]",
        ),
    ] = None,
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
    missing: options.Missing = None,
    date: options.Dates = None,
    categorical: options.Categorical = None,
    ordered: options.Ordered = None,
    keys: options.KeysFile = None,
    values: options.ValuesFile = None,
    labels: options.Labels = None,
    queries: options.QueriesFile = None,
    query_key: options.QueryKey = None,
    join: options.JoinKind = None,
    one_to_one: options.OneToOne = False,
    truth: options.Truth = None,
    dedupe: options.Dedupe = False,
    own: options.SelfQueries = False,
    form: Annotated[str, options.format_of(*FORMATS, *PICTURES)] = options.AUTO,
    output: options.Output = "-",
    weights: options.Weights = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    csv_safe: options.CsvSafe = False,
    color: options.Color = "auto",
) -> int:
    """Look queries up among the keys of a database.

    Lists the keys that each query attends to, with their scores and weights, and the answer that
    their values come to.
    """
    from qkvcli.render.console import progress
    from qkvcli.render.lookups import write
    from qkvcli.render.machine import Style
    from qkvcli.run.choose import executor
    from qkvcli.run.lookup import look_up

    modes = list(dict.fromkeys(mode or [EXACT]))
    if weights is not None and len(modes) > 1:
        raise UsageError("--weights is one matrix; pass one --mode with it")
    given = context.params
    tabled = bool(join or dedupe or one_to_one or truth)
    if tabled:
        from qkvcli.commands import joins

        joins.check(given, modes)
    scoring = inputs.scoring(given)
    inputs.check_ways(query, queries, own=own, data=data)
    files = inputs.files(data, queries, keys, values, labels)
    sink = outputs.planned(
        output,
        form,
        extensions=joins.EXTENSIONS if tabled else EXTENSIONS,
        weights=weights,
        color=color,
        inputs=files,
    )
    twice = False if isinstance(scoring["bandwidth"], tuple) else None
    twice = bool(own or weights or tabled) or twice
    database = inputs.database(given, read_twice=twice)
    style = Style(sink.form, explain, csv_safe, sink.color, sink.on_terminal)
    if tabled:
        return joins.run(database, given, scoring, sink, style)
    listed = 10 if top is None else top
    runner = context.with_resource(executor(outputs.workers(workers, scheduler), scheduler))
    asked = inputs.queries(database, given)
    if asked is None:
        raise UsageError(inputs.NO_QUERY)
    with progress("choosing widths"):
        question = database.ask(
            asked,
            runner,
            mode=modes,
            top=listed or None,
            min_weight=min_weight,
            explain=explain,
            **scoring,
        )
    matrix = outputs.matrix(question, sink)
    with progress("looking up", question.rows) as advance:
        answer = look_up(question, advance)
    inputs.say_what_answered(database, given, answer.skipped)
    outputs.say_widths(answer.about)
    complaints = [_complaint(answer, one) for one in answer.unmatched]
    if len(complaints) == len(answer.found):
        _complain(complaints[:-1])
        raise NoMatchError(complaints[-1])
    if answer.unpooled:
        _say_what_is_not_pooled(answer, sink.form)
    if sink.form in PICTURES:
        _draw(answer, sink)
    else:
        sink.write(lambda stream: write(stream, answer, style))
    if matrix:
        with progress("writing weights"):
            sink.write_weights(matrix)
    _complain(complaints)
    _say_what_is_left_out(answer, sink, listed=bool(listed))
    return 0


def _draw(answer: "Lookup", sink: outputs.Sink) -> None:
    from qkvcli.heatmap.draw import draw_chart
    from qkvcli.heatmap.flow import flow

    page = flow(answer)
    sink.draw(lambda place: draw_chart(page, place, sink.form))


def _complaint(answer: "Lookup", found: "Found") -> str:
    """Return what is said of a query that attends to no key: the closest one, and what to try."""
    exact, about, best = EXACT in answer.modes, answer.about, found.closest
    what, way = "equals", "--mode approximate"
    if not exact and about.null_score is not None:
        what, way = f"scores {about.null_score:g} with", "a lower --min-score"
    elif not exact:
        what, way = "is within the bandwidth of", "a larger --bandwidth"
    line = f"no key of {about.source} {what} {found.query!r}"
    if best is None or best.score is None:
        return f"{line}; try {way}"
    key = ("," if about.columns.numeric_key else " ").join(best.record.key)
    score = "" if math.isinf(best.score) else f" (score {best.score + 0.0:.3f})"
    return f"{line}; the closest is {key!r}{score}: try {way}"


def _complain(complaints: list[str]) -> None:
    for line in complaints[:COMPLAINTS]:
        note(line)
    if len(complaints) > COMPLAINTS:
        note(f"and {len(complaints) - COMPLAINTS} more queries without a match")


def _say_what_is_not_pooled(answer: "Lookup", form: str) -> None:
    """Tell that there is no answer of some columns; where nothing else was asked for, fail."""
    columns = ", ".join(map(repr, answer.unpooled))
    message = f"{columns} of {answer.about.source} has more distinct texts than are pooled; "
    message += "attend to few keys with --neighbors, or choose other columns with --value"
    if form == "value":
        raise UsageError(message)
    if (
        answer.about.columns.value != answer.about.columns.key
    ):  # a list of keys has no answer to miss
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
