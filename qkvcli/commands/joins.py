"""``qkv lookup --join`` and ``--dedupe``: many lookups kept as one table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from qkvcli.attention.weights import APPROXIMATE, EXACT
from qkvcli.commands import inputs, outputs
from qkvcli.errors import NoMatchError, UsageError
from qkvcli.heatmap import PICTURES
from qkvcli.joined import Join
from qkvcli.render.console import is_terminal, note, progress
from qkvcli.render.joins import summary, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qkvcli.database import Database
    from qkvcli.joined import Groups
    from qkvcli.render.machine import Style

EXTENSIONS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl"}
_NOT_HERE = ("explain", "weights", "neighbors")


def check(given: Mapping[str, Any], modes: Sequence[str]) -> None:
    """Refuse options that do not go together, before any work.

    Raises
    ------
    UsageError
        ``--one-to-one`` or ``--truth`` without ``--join``, and what has no meaning in a join.
    """
    for name in ("one_to_one", "truth"):
        if given[name] and not given["join"]:
            raise UsageError(f"--{name.replace('_', '-')} is of a join; pass --join with it")
    kind = "--join" if given["join"] else "--dedupe"
    odd = next((name for name in _NOT_HERE if given[name]), None)
    asked = given["query"] or given["queries"] or given["own"]
    reasons = {
        "--join and --dedupe are two things; pass one of them": given["join"] and given["dedupe"],
        f"{kind} has one --mode": len(modes) > 1,
        f"{kind} has one --score": len(given["score"] or ()) > 1,
        f"--{odd} does not go with {kind}": odd,
        f"{kind} is a table; pass --format csv, tsv, json, jsonl or table": (
            given["form"] in ("value", *PICTURES)
        ),
        "--top 0 of a join would list every key; give how many candidates": given["top"] == 0,
        "--dedupe asks with the table's own rows; pass no queries": given["dedupe"] and asked,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(reason)


def run(
    database: Database,
    given: Mapping[str, Any],
    scoring: Mapping[str, Any],
    sink: outputs.Sink,
    style: Style,
) -> int:
    """Join the queries to a database, or group its rows, write that and return 0.

    Raises
    ------
    NoMatchError
        No query has a match; the table is written all the same.
    """
    count, scheduler = given["workers"], given["scheduler"]
    how = {**scoring, "workers": outputs.workers(count, scheduler), "scheduler": scheduler}
    found: Join | Groups
    if given["dedupe"]:
        with progress("comparing") as advance:
            found = database.groups(advance, **how)
    else:
        asked = inputs.queries(database, given)
        if asked is None:
            raise UsageError(inputs.NO_QUERY)
        with progress("joining") as advance:
            found = database.join(
                asked,
                mode=(given["mode"] or [APPROXIMATE])[0],
                how=given["join"],
                top=1 if given["top"] is None else given["top"],
                one_to_one=given["one_to_one"],
                truth=given["truth"],
                progress=advance,
                **how,
            )
    inputs.say_what_answered(database, given, found.skipped)
    outputs.say_widths(found.about)
    sink.write(lambda stream: write(stream, found, style))
    for line in summary(found, drawn=is_terminal(sys.stderr)):
        note(line)
    if isinstance(found, Join) and not found.matched:
        way = "--mode approximate" if EXACT in (given["mode"] or ()) else "a lower --min-score"
        raise NoMatchError(f"no query has a match; try {way}")
    return 0
