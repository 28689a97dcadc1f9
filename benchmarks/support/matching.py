"""How well names are found in tables with known answers, through the Python API."""

from __future__ import annotations

import csv
import glob
import statistics
from importlib.util import find_spec
from typing import Any

import qkvcli

EVERY = slice(None)


def tables() -> list[tuple[str, dict[str, list[str]]]]:
    """Return AutoFJ's tables: the path of the clean one, and titles with the right id or ""."""
    found = find_spec("autofj")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("autofj")
    home = found.submodule_search_locations[0]
    every = []
    for folder in sorted(glob.glob(f"{home}/benchmark/*/")):
        truth = {row["id_r"]: row["id_l"] for row in _rows(folder + "gt.csv")}
        right = _rows(folder + "right.csv")
        asked = {
            "title": [row["title"] for row in right],
            "id": [truth.get(row["id"], "") for row in right],
        }
        every.append((folder + "left.csv", asked))
    return every


def figures_of_autofj(places: slice = EVERY, **scoring: Any) -> str:
    """Return top-1, average precision and recall at precision 0.9, means over AutoFJ's tables."""
    table = []
    for path, asked in tables()[places]:
        names = qkvcli.Database.open(path, key="title", value="id")
        measures = names.join(asked, query_key="title", truth="id=id", **scoring).measures
        if measures is not None:
            table.append(
                (measures.top_1, measures.average_precision, measures.threshold_recall,
                 measures.calibration_error)
            )  # fmt: skip
    means = [f"{statistics.mean(column):.3f}" for column in zip(*table, strict=True)]
    named = ("top-1", "average precision", "recall at precision 0.9", "calibration error")
    return ", ".join(f"{name} {mean}" for name, mean in zip(named, means, strict=True))


def answers_of_autofj(places: slice = EVERY, **scoring: Any) -> list[list[tuple[float, bool]]]:
    """Return for each table the weight of every best key, and whether it is right."""
    found = []
    for path, asked in tables()[places]:
        names = qkvcli.Database.open(path, key="title", value="id")
        joined = names.join({"title": asked["title"]}, query_key="title", mode="softmax", **scoring)
        place = joined.about.columns.value.index("id")
        found.append(
            [
                (row.candidates[0].weight or 0.0, row.candidates[0].record.value[place] == right)
                for row, right in zip(joined.rows, asked["id"], strict=True)
                if row.candidates
            ]
        )
    return found


def _rows(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
