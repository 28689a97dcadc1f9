"""From the options to a database and its queries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qkvcli.commands.options import bandwidth, columns
from qkvcli.errors import InputError, UsageError
from qkvcli.render.console import note
from qkvcli.sources import bytes_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.database import Database
    from qkvcli.run.request import Request
    from qkvcli.sources.store import Asked


NO_QUERY = "no query; give one or more, - for stdin, --queries FILE or --self"


_READ = ("key", "value", "delimiter", "no_header", "key_type", "value_type", "data_format")
"""The parameters that say how a table is read."""
_CODED = ("date", "categorical", "ordered")
"""Those that say what kind key columns are of, where a command has them."""


def database(given: Mapping[str, Any], *, read_twice: bool | None = True) -> Database:
    """Return the database that a command's parameters name, or the bundled one.

    Parameters
    ----------
    given
        The values of the parameters, by their names.
    read_twice
        Whether a stream is kept, to be read again; None if it may be needed.
    """
    from qkvcli.database import Database

    if given["data"] is not None and given["keys"] is not None:
        raise UsageError("--data and --keys both name the keys; pass one of them")
    for name in ("data", "keys", "values", "labels"):
        _check_name(f"--{name}", given[name])
    coded: dict[str, Any] = {name: columns(given.get(name), f"--{name}") for name in _CODED}
    same = ("encoding", "key_type", "value_type", "data_format", "missing", "delimiter")
    return Database.open(
        given["data"],
        key=columns(given["key"], "--key"),
        value=columns(given["value"], "--value"),
        header=not given["no_header"],
        keys=given["keys"],
        values=given["values"],
        labels=given["labels"],
        read_twice=read_twice,
        **{name: given[name] for name in same},
        **coded,
    )


def _check_name(option: str, file: str | None) -> None:
    if file == "":
        raise UsageError(f"{option} needs a file name")


def files(*names: str | None) -> list[str]:
    """Return the files that options name; those of a folder, a pattern or a URL one by one."""
    found: list[str] = []
    for name in names:
        if name and (any(sign in name for sign in "*?[") or "://" in name or os.path.isdir(name)):
            from qkvcli.sources.shards import files_read

            found += files_read(name)
        elif name:
            found.append(name)
    return found


def check_ways(
    words: Sequence[str] | None, file: str | None, *, own: bool, data: str | None
) -> None:
    """Check that queries come from one place, and that standard input is read by one reader.

    Raises
    ------
    UsageError
        They do not, or it is not.
    """
    if sum([bool(words), file is not None, own]) > 1:
        raise UsageError("queries come from the arguments, --queries or --self; pass one of them")
    if words and bytes_in.STDIN in words and len(words) > 1:
        raise UsageError(
            "- reads queries from stdin and stands alone; put a query that is - in a file"
        )
    _check_name("--queries", file)
    if data == bytes_in.STDIN and (words == [bytes_in.STDIN] or file == bytes_in.STDIN):
        raise UsageError("stdin cannot be both --data and the queries; put one of them in a file")


def queries(database: Database, given: Mapping[str, Any]) -> Asked | None:
    """Return the queries that were asked, or None where none were."""
    words = list(given["query"] or ())
    file = bytes_in.STDIN if words == [bytes_in.STDIN] else given["queries"]
    if given["query_key"] is not None and file is None:
        raise UsageError("--query-key chooses a column of a table of queries; pass --queries FILE")
    if given["own"]:
        return database.own_keys()
    if file is not None:
        return database.read(
            file,
            given["encoding"],
            query_key=columns(given["query_key"], "--query-key"),
            header=not given["no_header"],
            data_format=given["data_format"],
        )
    return database.typed(words) if words else None


def scoring(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return how queries and keys are scored, as ``Scoring`` of the database says."""
    same = ("score", "model", "temperature", "neighbors", "case_sensitive", "keep_accents")
    found = {name: given[name] for name in same}
    return {**found, "bandwidth": bandwidth(given["bandwidth"]), "null_score": given["min_score"]}


def say_what_answered(database: Database, given: Mapping[str, Any], skipped: int) -> None:
    """Tell that the bundled names answered where that was hardly meant, and how a file was read.

    ``skipped`` is how many rows were left out.
    """
    for line in database.note.splitlines():
        note(line)
    if given["data"] is None and given["keys"] is None:
        if any(given[name] for name in _READ):
            note("no --data was given: the bundled names.csv answers")
        elif any(map(_is_number, given["query"] or ())):
            note("no --data was given: the bundled names.csv answers, whose keys are text")
    if skipped:
        count = "1 row" if skipped == 1 else f"{skipped} rows"
        note(f"{count} left out, in which a number is missing")


def say_text_keys(database: Database, request: Request) -> None:
    """Tell that dates, codes, or numbers beside text, are compared as text, if nobody said so."""
    columns, source = database.columns, database.store
    if source.kind != "text" or request.scores or request.model or not columns.numeric:
        return
    found, _, (kind, name) = source.first_text()
    if kind != "categorical" or len(columns.key) > 1:
        option = kind.replace("_", "-")
        note(f"{found}: keys are compared as text; --{option} {name} makes it a regression")


def _is_number(word: str) -> bool:
    """Return whether a query is a number, or several, and no text."""
    from qkvcli.sources import numbers

    return numbers.all_match([cell.strip() for cell in word.split(",")], numbers.NUMBER)


def lengths(text: str | None) -> NDArray[np.int64] | None:
    """Return valid lengths: whole numbers between commas, or an array or text file of them.

    Raises
    ------
    UsageError, InputError
        Neither, or lengths that are no whole numbers from 0.
    """
    if text is None:
        return None
    _check_name("--valid-lens", text)
    import numpy as np

    if not os.path.exists(text):
        cells = [cell.strip() for cell in text.split(",")]
        if not all(map(_is_whole, cells)):
            raise UsageError(
                f"--valid-lens {text!r} is neither whole numbers such as 3,5 nor a file"
            )
        return np.array([int(cell) for cell in cells])
    if text.lower().endswith((".npy", ".npz")):
        from qkvcli.sources.npy import open_array

        stored = open_array(text)
        if stored.dtype.kind not in "iu":
            raise InputError(f"is of dtype {stored.dtype}; valid lengths are whole numbers", text)
        return stored.read().astype(np.int64)
    lines = enumerate(bytes_in.read_lines(text), 1)
    numbered = [(at, line.replace(",", " ").split()) for at, line in lines if line.strip()]
    rows = [row for _, row in numbered]
    for at, row in numbered or [(1, [""])]:
        if len(row) != len(rows[0] if rows else ()) or not all(map(_is_whole, row)):
            raise InputError(
                "valid lengths are whole numbers, as many on every line", f"{text}:{at}"
            )
    found = np.array([[int(cell) for cell in row] for row in rows])
    return found[:, 0] if found.shape[1] == 1 else found


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdigit()


def mask(path: str | None) -> NDArray[Any] | None:
    """Return a mask: an array of truth values or of 0 and 1, or of floats to add to scores.

    Raises
    ------
    InputError
        Another dtype, or other numbers.
    """
    if path is None:
        return None
    _check_name("--mask", path)
    import numpy as np

    from qkvcli.sources.npy import open_array

    stored = open_array(path)
    found = stored.read()
    if stored.dtype.kind == "f":
        from qkvcli.run.request import mask_of

        try:
            return mask_of(found)
        except UsageError as error:
            raise InputError(error.message.removeprefix("`mask` "), path) from None
    if stored.dtype.kind not in "biu":
        raise InputError(
            f"is of dtype {stored.dtype}; a mask is True (1) where a query may attend, else 0", path
        )
    odd = found[~np.isin(found, (0, 1))]
    if odd.size:
        raise InputError(
            f"holds {odd.flat[0]}; a mask is True (1) where a query may attend, else 0", path
        )
    return found.astype(np.bool_)
