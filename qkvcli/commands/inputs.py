"""From the options to a database and its queries."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import sample, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.blocks import Queries
    from qkvcli.sources.databases import Database
    from qkvcli.sources.table import TableOptions

SAMPLE = "names.csv"


def open_(  # noqa: PLR0913 - what a database is opened by
    data: str | None,
    table: TableOptions,
    keys: str | None,
    values: str | None,
    labels: str | None,
    *,
    twice: bool,
    rule: bool = False,
) -> Database:
    """Open the database that the options name, or the bundled one."""
    from qkvcli.sources.databases import open_database

    if data is not None and keys is not None:
        message = "--data and --keys both name the keys; pass one of them"
        raise UsageError(message)
    named = (("--data", data), ("--keys", keys), ("--values", values), ("--labels", labels))
    for option, given in named:
        _check_name(option, given)
    where = data
    if where is None and keys is None:
        where, table = sample(SAMPLE), replace(table, name=f"the bundled {SAMPLE}")
    return open_database(
        where or "", table, keys=keys, values=values, labels=labels, twice=twice, rule=rule
    )


def _check_name(option: str, file: str | None) -> None:
    if file == "":
        message = f"{option} needs a file name"
        raise UsageError(message)


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
        message = "queries come from the arguments, --queries or --self; pass one of them"
        raise UsageError(message)
    if words and streams.STDIN in words and len(words) > 1:
        message = "- reads queries from stdin and stands alone; put a query that is - in a file"
        raise UsageError(message)
    _check_name("--queries", file)
    if data == streams.STDIN and (words == [streams.STDIN] or file == streams.STDIN):
        message = "stdin cannot be both --data and the queries; put one of them in a file"
        raise UsageError(message)


def queries(
    database: Database,
    words: Sequence[str] | None,
    file: str | None,
    encoding: str | None,
    *,
    own: bool,
) -> list[Queries] | None:
    """Return the queries of each head, or None where none were asked."""
    from qkvcli.sources import queries as read

    if own:
        return read.own_keys(database)
    if words == [streams.STDIN]:
        file = streams.STDIN
    if file is not None:
        return read.queries_from_file(database, file, encoding)
    if words:
        return [read.asked(database, words)] * len(database.heads)
    if database.queries is not None:
        return read.queries_from_array(database, database.queries)
    return None


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
            message = f"--valid-lens {text!r} is neither whole numbers such as 3,5 nor a file"
            raise UsageError(message)
        return np.array([int(cell) for cell in cells])
    if text.lower().endswith((".npy", ".npz")):
        from qkvcli.sources.arrays import open_array

        stored = open_array(text)
        if stored.dtype.kind not in "iu":
            message = f"is of dtype {stored.dtype}; valid lengths are whole numbers"
            raise InputError(message, text)
        return stored.read().astype(np.int64)
    lines = enumerate(streams.read_lines(text), 1)
    numbered = [(at, line.replace(",", " ").split()) for at, line in lines if line.strip()]
    rows = [row for _, row in numbered]
    for at, row in numbered or [(1, [""])]:
        if len(row) != len(rows[0] if rows else ()) or not all(map(_is_whole, row)):
            message = "valid lengths are whole numbers, as many on every line"
            raise InputError(message, f"{text}:{at}")
    found = np.array([[int(cell) for cell in row] for row in rows])
    return found[:, 0] if found.shape[1] == 1 else found


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdigit()


def mask(path: str | None) -> NDArray[np.bool_] | None:
    """Return a mask: an array of truth values, or of 0 and 1.

    Raises
    ------
    InputError
        Another dtype, or other numbers.
    """
    if path is None:
        return None
    _check_name("--mask", path)
    import numpy as np

    from qkvcli.sources.arrays import open_array

    stored = open_array(path)
    found = stored.read()
    if stored.dtype.kind not in "biu":
        message = f"is of dtype {stored.dtype}; a mask is True (1) where a query may attend, else 0"
        raise InputError(message, path)
    odd = found[~np.isin(found, (0, 1))]
    if odd.size:
        message = f"holds {odd.flat[0]}; a mask is True (1) where a query may attend, else 0"
        raise InputError(message, path)
    return found.astype(np.bool_)
