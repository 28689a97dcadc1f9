"""The bad-input corpus: every bad input, on every command that can meet it, and what it must get.

``CASES`` maps a name to a ``Case``. A file here is a family of bad input; a new command adds
itself where a family lists its commands, and what it alone can meet as a family of its own.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tests.corpus import arrays, found, heatmaps, outputs, tables, usage

if TYPE_CHECKING:
    from tests.support.contract import Case

CASES: dict[str, Case] = {
    **tables.CASES,
    **arrays.CASES,
    **usage.CASES,
    **outputs.CASES,
    **heatmaps.CASES,
    **found.CASES,
}
if find_spec("pyarrow"):  # an extra, without which there are no such files to write
    from tests.corpus import columnar

    CASES |= columnar.CASES
