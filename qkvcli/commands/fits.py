"""``qkv pool -o fit.svg`` and ``--plot``: a picture of what the database answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qkvcli.attention.weights import SOFTMAX
from qkvcli.commands import inputs, outputs
from qkvcli.commands.options import AUTO
from qkvcli.errors import UsageError
from qkvcli.render.console import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qkvcli.coded import Coding
    from qkvcli.database import Database
    from qkvcli.render.writer import Target
    from qkvcli.run.work import Executor

_LABELS = 6
"""How many places along an axis of a map have a label, but for the first."""


_NOT_HERE = (
    "query",
    "queries",
    "own",
    "weights",
    "jacobian",
    "causal",
    "valid_lens",
    "mask",
    "loo",
)


def check(given: Mapping[str, Any]) -> None:
    """Refuse options that a picture of a fit has no place for.

    Raises
    ------
    UsageError
        By its name.
    """
    odd = next((name for name in _NOT_HERE if given[name]), None)
    if odd is not None:
        names = {"query": "a query", "own": "--self"}
        name = names.get(odd, f"--{odd.replace('_', '-')}")
        raise UsageError(
            f"a picture is of the whole fit, and {name} does not go with it; leave one of them out"
        )
    if given["plot"] and given["form"] != AUTO:
        raise UsageError("--plot draws in the terminal, and --format says another form; pass one")
    if given["plot"] and given["output"] != "-":
        raise UsageError("--plot draws in the terminal; name a file without it, as in -o fit.svg")


def draw(  # noqa: PLR0913 - what is asked, and what is drawn
    database: Database,
    given: Mapping[str, Any],
    runner: Executor,
    how: Mapping[str, Any],
    place: Target,
    form: str,
) -> None:
    """Ask a database along its key column, or over two, and draw what it answers.

    Parameters
    ----------
    database
        A table with one or two numeric key columns.
    given
        The options of the command.
    runner
        What runs the folds.
    how
        How it is asked, as of ``Database.ask``.
    place
        Where the picture goes.
    form
        One of ``PICTURES``, or ``terminal``.

    Raises
    ------
    UsageError
        Other keys, heads of arrays, or nothing that can be drawn.
    """
    from qkvcli.heatmap.draw import draw_curves, draw_grid
    from qkvcli.run.curve import CLASSES, POINTS, Extent
    from qkvcli.run.pool import pool

    if database.batch_shape:
        raise UsageError("a picture of a fit is of one table, and these are heads of arrays")
    extent = Extent(database.store.heads[0])
    grid = extent.grid()
    answer = pool(database.ask(grid, runner, perplexity=False, **how))
    about = answer.about
    if about is None:
        raise TypeError(answer)
    inputs.say_what_answered(database, given, answer.skipped)
    outputs.say_widths(about)
    if grid.shape[1] == 2:
        values, (up, across) = extent.plane(answer, grid)
        codings = about.columns.codings or (None, None)
        names = _some(up, codings[1]), _some(across, codings[0])
        value = about.columns.value[about.columns.numeric[0]]
        draw_grid(values, place, names, (extent.names[1], extent.names[0], value), form)
        return
    near = "" if about.neighbors is None else f", the {about.neighbors} nearest"
    lines = " lines" if about.degree else ""
    made_by = (about.score + lines if answer.mode == SOFTMAX else answer.mode) + near
    curves = extent.curves(answer, grid, made_by)
    draw_curves(curves, place, form)
    if len(extent.keys) > POINTS:
        note(f"{POINTS:,} of {len(extent.keys):,} rows are drawn as points")
    for shares in answer.labels:
        if shares is not None and len(shares.labels) > CLASSES:
            note(f"{CLASSES} of {len(shares.labels)} classes are drawn")


def _some(places: Sequence[float], coding: Coding | None) -> list[str]:
    """Return labels of a few places, evenly spread; of the others none."""
    step = (len(places) - 1) // _LABELS
    texts = [coding.text(place)[:10] if coding else f"{place:.3g}" for place in places]
    return [text if i % step == 0 else "" for i, text in enumerate(texts)]
