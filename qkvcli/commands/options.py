"""Each option that commands share, declared once, and the strict readers of their values."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

import typer

from qkvcli.errors import QkvError, UsageError, did_you_mean
from qkvcli.render.console import COLORS
from qkvcli.scores import BANDWIDTH_RULES as RULES
from qkvcli.scores import TEXT_SCORES, VECTOR_SCORES
from qkvcli.sources.formats import NUMBER, TEXT
from qkvcli.sources.formats import TABLES as TABLE_FORMATS

AUTO, TABLE = "auto", "table"

_INTEGER = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def whole(text: str | int) -> int:
    """Read a whole number from 0, strictly: no sign, no underscore.

    Raises
    ------
    typer.BadParameter
        Anything else; the parser adds the option's name.
    """
    if not _INTEGER.fullmatch(str(text)):
        raise typer.BadParameter(f"{text!r} is not a whole number from 0")
    return int(text)


def counting(text: str | int) -> int:
    """Read a whole number from 1, strictly."""
    if not _INTEGER.fullmatch(str(text)) or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a whole number from 1")
    return int(text)


def number(text: str | float) -> float:
    """Read a finite decimal number, strictly: no nan, inf or underscore.

    Raises
    ------
    typer.BadParameter
        Anything else; the parser adds the option's name.
    """
    if not _NUMBER.fullmatch(str(text)) or abs(float(text)) == float("inf"):
        raise typer.BadParameter(f"{text!r} is not a finite number")
    return float(text)


def above_zero(text: str | float) -> float:
    """Read a finite decimal number above 0, strictly."""
    found = number(text)
    if found <= 0:
        raise typer.BadParameter(f"{text!r} is not above 0")
    return found


def share(text: str | float) -> float:
    """Read a number from 0 to 1, strictly."""
    found = number(text)
    if not 0 <= found <= 1:
        raise typer.BadParameter(f"{text!r} is not from 0 to 1")
    return found


def choice(*choices: str) -> dict[str, Any]:
    """Return what makes an option take one of some words, which a shell completes.

    Another word is an error that names the nearest.
    """

    def read(text: str) -> str:
        if text not in choices:
            raise typer.BadParameter(f"there is no {text!r}{did_you_mean(text, choices)}")
        return text

    return {
        "parser": read,
        "autocompletion": lambda incomplete: [w for w in choices if w.startswith(incomplete)],
    }


def complete_column(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the columns of a file in ``--data`` that start so, for a shell."""
    from qkvcli.database import Database

    data = ctx.params.get("data")
    if data is None or not os.path.isfile(data):
        return []
    try:
        columns = Database.open(data).store.columns
    except (QkvError, OSError):
        return []
    return [c for c in (*columns.key, *columns.value) if c.startswith(incomplete)]


Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="FILE",
        envvar="QKV_DATA",
        help="Keys and values: CSV, TSV, JSON, JSONL (also .gz), .npz, or - for stdin;"
        " Parquet and Arrow, their folders and URLs; patterns of files."
        " By default a small table of surnames and first names.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="COL[,COL]",
        help="Key columns, by name or number from 1; '*' is all but the values.",
        autocompletion=complete_column,
    ),
]
Value = Annotated[
    str | None,
    typer.Option(
        "--value",
        metavar="COL[,COL]",
        help="Value columns, by name or number from 1.",
        autocompletion=complete_column,
    ),
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", metavar="CHAR", help="What separates cells, or 'tab'.")
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        help="The first record is a row, of the data and of --queries; columns are numbered.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", help="The encoding of data, queries and labels, if not UTF-8."
    ),
]
KeyType = Annotated[
    str | None,
    typer.Option(
        "--key-type",
        metavar="TYPE",
        **choice(TEXT, NUMBER),
        help="text or number; by default the cells tell.",
    ),
]
ValueType = Annotated[
    str | None,
    typer.Option(
        "--value-type",
        metavar="TYPE",
        **choice(TEXT, NUMBER),
        help="text or number; by default the cells tell.",
    ),
]
DataFormat = Annotated[
    str | None,
    typer.Option(
        "--data-format",
        metavar="FORMAT",
        **choice(*TABLE_FORMATS),
        help="csv, tsv, json, jsonl, parquet or arrow; by default the name tells.",
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        "--missing",
        metavar="skip",
        **choice("skip"),
        help="Leave rows out in which a number is missing; by default they are refused.",
    ),
]
Dates = Annotated[
    str | None,
    typer.Option(
        "--date",
        metavar="COL[,COL]",
        help="Key columns that are dates, 2024-12-31 or 2024-12-31T08:30; widths are in days.",
        autocompletion=complete_column,
    ),
]
Categorical = Annotated[
    str | None,
    typer.Option(
        "--categorical",
        metavar="COL[,COL]",
        help="Key columns of names that are the same or not (kernel of Aitchison and Aitken).",
        autocompletion=complete_column,
    ),
]
Ordered = Annotated[
    str | None,
    typer.Option(
        "--ordered",
        metavar="COL[,COL]",
        help="Key columns of grades, which are numbers (kernel of Wang and van Ryzin).",
        autocompletion=complete_column,
    ),
]
QueriesFile = Annotated[
    str | None,
    typer.Option(
        "--queries",
        metavar="FILE",
        help="A file of queries: a line each, a table with the key columns, JSON, or an array.",
    ),
]
JoinKind = Annotated[
    str | None,
    typer.Option(
        "--join",
        metavar="[inner]",
        **choice("left", "inner"),
        help="A row for each row of the queries, with its match; inner leaves out those without.",
    ),
]
OneToOne = Annotated[
    bool, typer.Option("--one-to-one", help="In a join each key stands for one query at most.")
]
Dedupe = Annotated[
    bool,
    typer.Option("--dedupe", help="The table itself, rows that match under one number (group)."),
]
Truth = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="COL[=ID]",
        help="Measure a join by the queries' column COL of right keys, or of values of ID.",
    ),
]
QueryKey = Annotated[
    str | None,
    typer.Option(
        "--query-key",
        metavar="COL[,COL]",
        help="Which columns of a table of queries are asked; by default those named as the keys'.",
    ),
]
Neighbors = Annotated[
    int | None,
    typer.Option(
        "--neighbors", "-k", metavar="K", parser=counting, help="Attend to the K best keys alone."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        "-T",
        metavar="T",
        parser=above_zero,
        help="T of the softmax: small is sharp.  [default: 0.1 for text, 1 for vectors]",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="S",
        parser=number,
        help="No match scores less: the score of a null key, which has a weight of its own.",
    ),
]
CaseSensitive = Annotated[
    bool, typer.Option("--case-sensitive", help="Score text as it is, not case-folded.")
]
KeepAccents = Annotated[
    bool, typer.Option("--keep-accents", help="Score é and e, ß and ss as different letters.")
]


def format_of(*forms: str) -> Any:  # noqa: ANN401 - what Typer makes of an annotation
    """Return the option ``--format`` of a command that knows these formats."""
    return typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        **choice(AUTO, TABLE, *forms),
        help=f"{AUTO}, {TABLE}, {', '.join(forms)}; {AUTO} is a table on a terminal, else TSV.",
    )


Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is stdout.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="OUT",
        help="Also write all weights, queries × keys: .npz with labels, .npy, or - for stdout.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        parser=counting,
        help="Threads or processes, as suits the work; answers stay the same.  "
        "[default: one for each processor]",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on a Dask cluster, e.g. tcp://host:8786; see docs/cluster.md.",
    ),
]
Color = Annotated[
    str,
    typer.Option("--color", metavar="WHEN", **choice(*COLORS), help=f"{', '.join(COLORS)}."),
]
CsvSafe = Annotated[
    bool,
    typer.Option("--csv-safe", help="Defuse cells that a spreadsheet would run as formulas."),
]


def columns(text: str | None, option: str) -> tuple[str, ...]:
    """Return the columns that an option names, between commas.

    Raises
    ------
    UsageError
        A column that is named twice, or none between two commas.
    """
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{option} {text!r} names a column twice, or none between two commas")
    return names


ScoreName = Annotated[
    str | None,
    typer.Option(
        "--score",
        "-s",
        metavar="SCORE",
        **choice(*TEXT_SCORES, *VECTOR_SCORES),
        help=f"For text {', '.join(TEXT_SCORES)}; for vectors {', '.join(VECTOR_SCORES)}."
        "  [default: tokens, gaussian for columns, scaled-dot for arrays]",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="A learned score: what qkv learn wrote, or names, which comes along.",
    ),
]
ScoreNames = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        "-s",
        metavar="SCORE",
        **choice(*TEXT_SCORES, *VECTOR_SCORES),
        help=f"For text {', '.join(TEXT_SCORES)}; for vectors {', '.join(VECTOR_SCORES)};"
        " several are shown side by side."
        "  [default: tokens, gaussian for columns, scaled-dot for arrays]",
    ),
]
BandwidthText = Annotated[
    str | None,
    typer.Option(
        "--bandwidth",
        metavar="H",
        help=f"A kernel's width, one per key column (H,H…), or {', '.join(RULES)}."
        "  [default: cv where quick, else scott]",
    ),
]
KeysFile = Annotated[
    str | None, typer.Option("--keys", metavar="K.npy", help="Keys (…, K, D) in an array file.")
]
ValuesFile = Annotated[
    str | None,
    typer.Option("--values", metavar="V.npy", help="Values (…, K, Dv) in an array file."),
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="FILE", help="The keys' names: one a line, or a JSON list."),
]
SelfQueries = Annotated[
    bool, typer.Option("--self", help="Ask with the keys themselves (self-attention).")
]


def bandwidth(text: str | None) -> str | tuple[float, ...] | None:
    """Return a bandwidth as it was given: a rule's name, or widths.

    Raises
    ------
    UsageError
        Neither.
    """
    if text is None or text in RULES:
        return text
    cells = text.split(",")
    if not all(_NUMBER.fullmatch(cell) and 0 < float(cell) < float("inf") for cell in cells):
        hint = did_you_mean(text, RULES) if cells[0].isalpha() else "; a width is above 0"
        raise UsageError(f"--bandwidth {text!r} is neither a rule nor numbers{hint}")
    return tuple(float(cell) for cell in cells)
