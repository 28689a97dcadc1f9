"""What was selected, reduced, rolled out or subtracted, saved as numbers: .npy, .npz and .csv."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from qkvcli.errors import UsageError
from qkvcli.heatmap.pixels import blocks
from qkvcli.render.arrays import Runs, texts, write_npy, write_npz

if TYPE_CHECKING:
    from typing import BinaryIO

    from qkvcli.heatmap.select import Axis, Selection


def check_saved(selection: Selection, form: str, name: str) -> None:
    """Refuse a table of several matrices.

    Raises
    ------
    UsageError
        With the ways out.
    """
    if form == "csv" and len(selection.members) > 1:
        raise UsageError(
            f"{name}: a CSV file holds one matrix, and {len(selection.members)} are chosen; "
            "choose with --layers and --heads, or save as .npy or .npz"
        )


def save(stream: BinaryIO, selection: Selection, form: str) -> None:
    """Write every weight of a selection, be it larger than any picture.

    ``.npy`` and ``.npz`` hold (layers, heads, Q, K), (layers, Q, K) where heads were reduced,
    (heads, Q, K) or (Q, K); an ``.npz`` and a ``.csv`` hold the labels too.
    """
    queries, keys = selection.queries, selection.keys
    parts = (block for members in selection.members for _, block in blocks(selection, members))
    if form == "csv":
        is_labelled = queries.labels is not None or keys.labels is not None
        if is_labelled:
            stream.write(_line(["", *_texts(keys)]))
        names = iter(_texts(queries)) if is_labelled else None
        rows = (row for block in parts for row in block)
        stream.writelines(
            _line([*([next(names)] if names else []), *map(str, row)]) for row in rows
        )
        return
    shape = (*selection.batch_shape, len(queries), len(keys))
    weights = Runs(shape, selection.dtype, parts)
    if form == "npy":
        write_npy(stream, weights)
        return
    labels = {f"{a.name}_labels": texts(a.labels) for a in (queries, keys) if a.labels is not None}
    write_npz(stream, {"weights": weights, **labels})


def _texts(axis: Axis) -> list[str]:
    return axis.texts(range(len(axis)))


def _line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().encode()
