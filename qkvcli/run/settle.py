"""From what was asked to what is scored: the defaults that depend on a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.errors import InputError, UsageError
from qkvcli.scores import KERNELS, TEXT_SCORES, Score
from qkvcli.weights import AVERAGE, EXACT, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkvcli.run.bandwidth import Bandwidth
    from qkvcli.sources.databases import Database

TEXT_TEMPERATURE, VECTOR_TEMPERATURE = 0.1, 1.0

_DEFAULTS = {"text": "indel-winkler", "table": "gaussian", "array": "scaled-dot"}


def default_temperature(database: Database) -> float:
    """Return T where none was given: 0.1 for text, 1 for vectors."""
    return TEXT_TEMPERATURE if database.kind == "text" else VECTOR_TEMPERATURE


def score_name(database: Database, name: str | None) -> str:
    """Return the score's name, or the default one for the database's keys.

    Raises
    ------
    UsageError
        A score of text for numbers, or of numbers for text, with the line that made them text.
    """
    if name is None:
        return _DEFAULTS[database.kind]
    if (name in TEXT_SCORES) == (database.kind == "text"):
        return name
    if database.kind == "text":
        found, where = _first_text(database)
        message = f"{found} text, and --score {name} compares numbers; "
        message += "pass --key-type number, other --key columns, or a text score"
        raise UsageError(message, where)
    message = f"the keys of {database.name} are numbers, and --score {name} compares text; "
    raise UsageError(message + "pass --key-type text, or a vector score")


def _first_text(database: Database) -> tuple[str, str]:
    """Return what makes the keys of a database text, and the place of it."""
    from qkvcli.sources import numbers
    from qkvcli.sources.table import TableBlock

    block = next(iter(database.heads[0].blocks())).load()
    if isinstance(block, TableBlock):
        for column in block.layout.key:
            cells = block.cells.column(column)
            row = numbers.first_mismatch(cells, numbers.PLAIN)
            if row is not None:
                shown = repr(cells[row] if len(cells[row]) <= 40 else cells[row][:37] + "...")  # noqa: PLR2004
                return f"the key {shown} is", block.layout.where(block.cells.line(row))
    return "the keys are", database.name


def settle_scores(  # noqa: PLR0913 - what a score depends on
    database: Database,
    name: str,
    bandwidth: str | Sequence[float] | None,
    temperature: float,
    *,
    case_sensitive: bool = False,
    modes: Sequence[str] = (SOFTMAX,),
    threads: int = 1,
) -> tuple[list[Score], list[Bandwidth]]:
    """Return the score of each head, with the widths of kernels worked out.

    Parameters
    ----------
    database, name
        The database, and the score's name.
    bandwidth
        A rule's name, widths, or None for Scott's rule.
    temperature
        T, at which ``cv`` judges.
    modes
        What the scores are for: no weight of ``exact`` and ``average`` depends on a width.

    Raises
    ------
    UsageError
        A bandwidth where no kernel is used.
    """
    if name not in KERNELS:
        if bandwidth is not None:
            message = f"--bandwidth is the width of a kernel, and --score {name} has none"
            raise UsageError(message)
        score = Score(name, case_sensitive=case_sensitive, workers=threads)
        return [score] * len(database.heads), []
    from qkvcli.run import bandwidth as rules  # NumPy, for kernels only

    widths = []
    for source in database.heads:
        if bandwidth is not None and not isinstance(bandwidth, str):
            widths.append(rules.given(bandwidth, database.depth))
        elif bandwidth == "cv":
            from qkvcli.run.cross_validation import cross_validated

            widths.append(cross_validated(source, Score(name), temperature, threads=threads))
        else:
            try:
                widths.append(rules.by_rule(bandwidth or "scott", source))
            except InputError:
                if bandwidth is not None or not set(modes) <= {EXACT, AVERAGE}:
                    raise
                widths.append(rules.given((1.0,), database.depth))
    return [Score(name, found.widths) for found in widths], widths
