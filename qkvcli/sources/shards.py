"""Shards: one database in several files, named by a pattern, one after another in name order."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from qkvcli.errors import InputError
from qkvcli.sources.table import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qkvcli.blocks import Block, Columns, Source
    from qkvcli.sources.npy import StoredArray


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COLUMNAR = (b"PAR1", b"ARROW1")
"""How the files begin that a folder is read for."""


def is_url(path: str) -> bool:
    """Return whether a name is a URL: ``s3://bucket/key`` and the like."""
    return _SCHEME.match(path) is not None


def local(path: str) -> str:
    """Return the path that a URL of a local file names; any other name as it is."""
    found = _SCHEME.match(path)
    if not found or found[1].lower() not in ("file", "local"):
        return path
    return unquote(path[found.end() :])


def is_pattern(path: str) -> bool:
    """Return whether a name stands for several files: it has ``*``, ``?`` or ``[``, and is none."""
    return glob.has_magic(path) and not os.path.lexists(path) and "://" not in path


def matches(pattern: str) -> list[str]:
    """Return the files that a pattern names, in name order; a plain name is its own match.

    ``**`` stands for any folders.

    Raises
    ------
    InputError
        There are none.
    """
    if not is_pattern(pattern):
        return [pattern]
    found = sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))
    if not found:
        raise InputError("no file has a name like this; mind the quotes and the folder", pattern)
    return found


def files_read(path: str) -> list[str]:
    """Return the local files that a name stands for: of a folder, a pattern or a URL one by one.

    Raises
    ------
    InputError
        A pattern without a match.
    """
    name = local(path)
    if is_url(name):
        return []
    named = glob.glob(name, recursive=True) if is_pattern(name) else [name]
    if not any(os.path.isdir(one) for one in named):
        return matches(name)
    return [file for one in named for file in (_columnar(one) if os.path.isdir(one) else [one])]


def _columnar(folder: str) -> list[str]:
    """Return the files below a folder that begin as columnar files do, whatever they are called."""
    below = [os.path.join(at, file) for at, _, files in os.walk(folder) for file in files]
    return [file for file in below if _start(file).startswith(_COLUMNAR)]


def _start(file: str) -> bytes:
    if not os.path.isfile(file):
        return b""
    try:
        with open(file, "rb") as stream:
            return stream.read(len(_COLUMNAR[-1]))
    except OSError:
        return b""


def are_folders(pattern: str) -> bool:
    """Return whether a pattern names folders, and nothing else."""
    found = glob.glob(pattern, recursive=True) if is_pattern(pattern) else []
    return bool(found) and all(map(os.path.isdir, found))


def pairs(first: str, second: str | None) -> list[tuple[str, str | None]]:
    """Return the files of one pattern, each with its counterpart of another, in name order.

    Raises
    ------
    InputError
        A file without a counterpart, with the names of both patterns.
    """
    one = matches(first)
    if second is None:
        return [(file, None) for file in one]
    other = matches(second)
    if len(one) != len(other):
        alone = min(len(one), len(other))
        lonely, pattern = (one, second) if len(one) > alone else (other, first)
        raise InputError(
            f"has no counterpart among the {alone} files of {pattern}; there must be one for each",
            lonely[alone],
        )
    return list(zip(one, other, strict=True))


def check_alike(first: StoredArray, other: StoredArray) -> None:
    """Refuse an array that cannot follow another: all axes but that of the keys must agree.

    Raises
    ------
    InputError
        With both files and both shapes, or both dtypes.
    """
    from qkvcli.sources.npy import working_dtype

    shapes = [(*array.shape[:-2], "K", *array.shape[-1:]) for array in (first, other)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"of shape {other.shape}, and {first.name} of {first.shape}"
            "; shards may differ in the number of keys alone",
            other.name,
        )
    if working_dtype(first.dtype) != working_dtype(other.dtype):
        raise InputError(
            f"of dtype {other.dtype}, and {first.name} of {first.dtype}; save them alike",
            other.name,
        )


class ShardedTable(TableSource):
    """A table in several files that have the same columns."""

    def __init__(self, pattern: str, opener: Callable[[str], Source]) -> None:
        self._files, self._open = matches(pattern), opener
        first = opener(self._files[0])
        super().__init__(pattern, first.columns, first.note, reopenable=True)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of all files; row numbers run on."""
        rows = 0
        for file in self._files:
            source = self._open(file)
            self._check(source.columns, source.name)
            before = rows
            for block in source.blocks():
                yield replace(block, start=before + block.start)  # type: ignore[type-var]
                rows += len(block)

    def _check(self, columns: Columns, name: str) -> None:
        first = self._files[0]
        for role in ("key", "value"):
            mine, theirs = getattr(self.columns, role), getattr(columns, role)
            if mine != theirs:
                raise InputError(
                    f"its {role} columns are {_listed(theirs)}, and those of {first} "
                    f"{_listed(mine)}; files of one table have the same",
                    name,
                )
        if columns != self.columns:
            role = "key" if columns.numeric_key != self.columns.numeric_key else "value"
            raise InputError(
                f"a {role} column is of numbers here and of text in {first}, or the reverse"
                f"; pass `{role}_type='text'`",
                name,
            )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
