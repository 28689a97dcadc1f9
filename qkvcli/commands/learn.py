"""``qkv learn``: which score answers these examples best?"""

from typing import TYPE_CHECKING, Annotated

import typer

from qkvcli.commands import inputs, options, outputs
from qkvcli.errors import UsageError
from qkvcli.render.console import note, warn

if TYPE_CHECKING:
    from qkvcli.run.learn import Learned

METRICS = ("diagonal", "full")
EXTENSIONS = {".json": "json", ".npy": "", ".npz": ""}


def learn(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    data: options.Data = None,
    key: options.Key = None,
    value: options.Value = None,
    delimiter: options.Delimiter = None,
    no_header: options.NoHeader = False,
    encoding: options.Encoding = None,
    key_type: options.KeyType = None,
    value_type: options.ValueType = None,
    data_format: options.DataFormat = None,
    missing: options.Missing = None,
    keys: options.KeysFile = None,
    values: options.ValuesFile = None,
    labels: options.Labels = None,
    queries: options.QueriesFile = None,
    query_key: options.QueryKey = None,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="COL[=ID]",
            help="The queries' column COL of right keys, or of values of ID; empty: none is right.",
        ),
    ] = None,
    case_sensitive: options.CaseSensitive = False,
    keep_accents: options.KeepAccents = False,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            **options.choice(*METRICS),
            help="Of vectors: a scale for each column (diagonal), or any (full).  "
            "[default: diagonal]",
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank", metavar="R", parser=options.counting, help="A projection to R dimensions."
        ),
    ] = None,
    validate: Annotated[
        float,
        typer.Option(
            "--validate",
            metavar="SHARE",
            parser=options.share,
            help="The share of the examples that is held out, to stop early and to measure.",
        ),
    ] = 0.2,
    penalty: Annotated[
        float,
        typer.Option(
            "--penalty",
            metavar="L2",
            parser=options.number,
            help="What squares of weights cost, divided by the number of examples.",
        ),
    ] = 1.0,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", parser=options.whole, help="Of what is held out."),
    ] = 0,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The model; - is stdout.")
    ] = "-",
    workers: options.Workers = None,
) -> int:
    """Learn a score from examples of the right answer.

    It is measured on examples held out. Of text it is a weighted sum of features, of columns of
    numbers a metric, of pairs of vectors two projections; lookup and pool take it with --model.
    """
    import time

    from qkvcli.render.console import progress
    from qkvcli.scores.model import write

    given = context.params
    if queries == "":
        raise UsageError("--queries needs a file name")
    if queries == "-" == data:
        raise UsageError("stdin cannot be both --data and the queries; put one of them in a file")
    files = inputs.files(data, queries, keys, values, labels)
    sink = outputs.planned(output, "json", extensions=EXTENSIONS, inputs=files)
    if output != "-" and not output.endswith(".json"):
        raise UsageError(f"--output {output}: a model is JSON; name a .json file, or -")
    started = time.perf_counter()
    database = inputs.database(given, read_twice=True)
    asked = inputs.queries(database, {**given, "query": None, "own": False})
    with progress("learning") as advance:
        learned = database.learned(
            asked,
            truth,
            metric=metric,
            rank=rank,
            validate=validate,
            penalty=penalty,
            seed=seed,
            case_sensitive=case_sensitive,
            keep_accents=keep_accents,
            progress=advance,
            workers=workers,
        )
    text = write(learned.model)
    sink.write(lambda stream: stream.writelines([text.encode()]))
    inputs.say_what_answered(database, given, learned.skipped)
    _say(learned, time.perf_counter() - started)
    return 0


def _say(learned: "Learned", seconds: float) -> None:
    """Tell what the score that it began with reaches, what it reaches, and how sure that is."""
    of = f"on {learned.held_out} of {learned.examples} examples, held out"
    shown = ", ".join(
        f"{name} {learned.before[name]:.3f} → {after:.3f}" for name, after in learned.after.items()
    )
    note(f"{of}: {shown}; in {seconds:.1f} s")
    if not learned.is_sure:
        mean, low, high = learned.gain
        gain = f"{mean:.3g} ({low:.3g} to {high:.3g}, 95 in 100)"
        warn(f"too few examples to tell that it is better: the error falls by {gain}; give more")
