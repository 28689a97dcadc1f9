"""Joins and groups rendered: a table, rows or a document; and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkvcli.joined import AMBIGUOUS, Join
from qkvcli.render import tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from qkvcli.joined import Groups, Measures
    from qkvcli.render.machine import Style

SCHEMA = "qkv.join/1"
_BLOCKS = "▁▂▃▄▅▆▇█"
_CLASSES = 20


def write(stream: BinaryIO, found: Join | Groups, style: Style) -> None:
    """Write a join, or a table with groups, as rows."""
    tables.write(stream, found, style, SCHEMA)


def summary(join: Join | Groups, *, drawn: bool) -> list[str]:
    """Return what is said of a join: how many rows match, and how well; or of groups.

    Parameters
    ----------
    join
        The join.
    drawn
        Whether to draw how the scores are spread, for a person.
    """
    if not isinstance(join, Join):
        return [f"{len(join.records)} rows; groups of more than one: {len(join.several)}"]
    matched, ambiguous = len(join.matched), len(join.ambiguous)
    unmatched = len(join.rows) - matched
    of_margin = f"{ambiguous} ambiguous (margin under {AMBIGUOUS})"
    lines = [f"{matched} matched, {unmatched} unmatched, {of_margin}"]
    if drawn and matched:
        lines.append(_spread([row.candidates[0].score for row in join.matched]))
    return lines + ([_measured(join.measures)] if join.measures else [])


def _spread(scores: Sequence[float]) -> str:
    """Return a line of blocks that shows how scores are spread from the least to 1, or the most."""
    low, high = min(scores), max(scores)
    high = 1.0 if 0 <= low <= high <= 1 else high
    counts = [0] * _CLASSES
    for score in scores:
        counts[min(_CLASSES - 1, int((score - low) / ((high - low) or 1) * _CLASSES))] += 1
    blocks = "".join(
        _BLOCKS[(count * (len(_BLOCKS) - 1) + max(counts) - 1) // max(counts)] if count else " "
        for count in counts
    )
    return f"scores {low:.2f} {blocks} {high:.2f}"


def _measured(found: Measures) -> str:
    threshold = (
        "no threshold reaches precision 0.9"
        if found.threshold is None
        else f"precision 0.9 from score {found.threshold:.3f} on, with recall "
        f"{found.threshold_recall:.3f}"
    )
    if found.answerable and not found.recall:
        return (
            f"none of {found.answerable} right answers is among the {found.listed} best keys; "
            "if --truth holds another column than the key, pass --truth COL=ID"
        )
    return (
        f"of {found.answerable} queries with a right answer: top-1 {found.top_1:.3f}, recall at "
        f"{found.listed} {found.recall:.3f}, mean reciprocal rank {found.reciprocal_rank:.3f}, "
        f"average precision {found.average_precision:.3f}, {threshold}, "
        f"expected calibration error {found.calibration_error:.3f}"
    )
