"""What ``--help`` shows of a command: its options in groups, and examples that work as typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ASKED: Mapping[str, Sequence[str]] = {
    "Attention": (
        "--data", "--mode", "--score", "--model", "--temperature", "--neighbors", "--bandwidth",
        "--min-score", "--case-sensitive", "--keep-accents", "--causal", "--valid-lens", "--mask",
    ),
    "How data are read": (
        "--key", "--value", "--delimiter", "--no-header", "--encoding", "--key-type",
        "--value-type", "--data-format", "--missing", "--date", "--categorical", "--ordered",
        "--keys", "--values", "--labels",
    ),
    "Queries": ("--queries", "--query-key", "--self"),
    "Joins": ("--join", "--one-to-one", "--truth", "--dedupe"),
    "Output": (
        "--top", "--min-weight", "--explain", "--jacobian", "--format", "--output", "--plot",
        "--weights",
        "--csv-safe", "--color",
    ),
    "Work": ("--workers", "--scheduler"),
}  # fmt: skip
_DRAWN: Mapping[str, Sequence[str]] = {
    "Which weights": (
        "--name", "--batch", "--layers", "--heads", "--queries", "--keys", "--reduce", "--over",
        "--rollout", "--diff", "--delimiter", "--encoding",
    ),
    "Labels": ("--labels", "--query-labels", "--key-labels", "--merge-subwords", "--drop"),
    "Colours": ("--shrink", "--scale", "--vmin", "--vmax", "--log", "--cmap"),
    "Page": (
        "--title", "--titles", "--annotate", "--size", "--font", "--font-size", "--xlabel",
        "--ylabel", "--colorbar-label", "--colorbar",
    ),
    "Output": ("--output", "--format", "--dpi", "--bits", "--max-size", "--color"),
}  # fmt: skip
_CAPTURED: Mapping[str, Sequence[str]] = {
    "What is read": ("--file", "--random-tokens", "--target", "--max-tokens", "--download"),
    "What is stored": ("--attention", "--layers", "--heads", "--dtype", "--with-weights"),
    "Output": ("--output",),
}
_HEADS: Mapping[str, Sequence[str]] = {
    "What is said": (
        "--statistics", "--sort", "--ascending", "--top", "--pairs", "--label", "--sink-key",
    ),
    "Which heads": ("--layers", "--heads", "--batch", "--name", "--labels"),
    "Output": ("--format", "--output", "--plot", "--distances", "--color"),
}  # fmt: skip
_POOLED = {title: options for title, options in _ASKED.items() if title != "Joins"}
_LEARNED: Mapping[str, Sequence[str]] = {
    "Learned from": ("--data", "--queries", "--query-key", "--truth"),
    "How data are read": _ASKED["How data are read"],
    "What is learned": (
        "--metric", "--rank", "--case-sensitive", "--keep-accents", "--validate", "--penalty",
        "--seed",
    ),
    "Output": ("--output",),
    "Work": ("--workers",),
}  # fmt: skip
GROUPS = {
    "lookup": _ASKED,
    "pool": _POOLED,
    "heatmap": _DRAWN,
    "capture": _CAPTURED,
    "heads": _HEADS,
    "learn": _LEARNED,
}
"""For each command its options by the title of their group, in order."""

EXAMPLES = {
    "lookup": (
        "qkv lookup Li --mode softmax",
        "qkv lookup Lipten -m exact -m approximate -m softmax -m average",
        "printf 'Lipten\\nSmolla\\n' | qkv lookup - -m approximate --format tsv",
    ),
    "pool": (
        "qkv pool Lee --format table",
        "printf 'x,y\\n1,2\\n2,4\\n3,7\\n' | qkv pool 1.5 2.5 --data -",
        "qkv pool --self --weights weights.npz -o pooled.csv",
    ),
    "heatmap": (
        "qkv lookup --self -m softmax --weights names.npz -o found.tsv",
        "qkv heatmap names.npz",
        "qkv heatmap names.npz --size 3.3 -o names.pdf",
    ),
    "heads": (
        "qkv lookup --self -m softmax --weights names.npz -o found.tsv",
        "qkv heads names.npz --pairs 3",
        "qkv heads names.npz --statistics entropy,current --plot heads.svg -f table",
    ),
    "capture": (
        'qkv capture ./minilm "The animal didn\'t cross the street." -o animal.npz',
        "qkv heatmap animal.npz --layers 3 --heads 0-3",
        "qkv heads animal.npz --sort previous",
    ),
    "learn": (
        'seq 40 | awk \'BEGIN {print "name"} {print $1 " Main Street"}\' > clean.csv',
        'seq 40 | awk \'BEGIN {print "who,name"} {print $1 " Mn St," $1 " Main Street"}\' > q.csv',
        "qkv learn -d clean.csv --queries q.csv --query-key who --truth name -o model.json",
    ),
}
"""For each command some lines for a shell."""


def grouped(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:  # noqa: ANN401 - Click's own
    """Return a command's arguments and options, each with its help, by the title of their group."""
    groups = GROUPS.get(command.name, {})
    records: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    title_of = {name: title for title, names in groups.items() for name in names}
    records |= {title: [] for title in groups}
    for parameter in command.get_params(context):
        found = parameter.get_help_record(context)
        if parameter.param_type_name == "argument":
            title = "Arguments"
        else:
            title = next((title_of[n] for n in parameter.opts if n in title_of), "Other")
        records.setdefault(title, []).append(found)
    return {title: lines for title, lines in records.items() if lines}


def write_options(command: Any, context: Any, formatter: Any) -> None:  # noqa: ANN401 - Click's own
    """Write a command's arguments and options, group by group."""
    for title, lines in grouped(command, context).items():
        with formatter.section(title):
            formatter.write_dl(lines)


def write_examples(command: Any, formatter: Any) -> None:  # noqa: ANN401 - Click's own
    """Write examples, each on a line as it is typed."""
    with formatter.section("Examples"):
        for line in EXAMPLES[command.name]:
            formatter.write(f"  {line}\n")
