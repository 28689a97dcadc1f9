"""Columnar files by name: where they lie, on a disk or in an object store, and in which order."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyarrow import ArrowException, fs

from qkvcli.errors import InputError, UsageError
from qkvcli.sources.shards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyarrow import NativeFile

EXTENSIONS = {
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_LONGEST = 200
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class File:
    """A columnar file, small enough to travel; whoever reads it opens it anew.

    Parameters
    ----------
    name
        What errors call it.
    path
        Where it lies in its file system.
    form
        ``"parquet"`` or ``"arrow"``.
    url
        A URL of its file system; empty for the local one.
    partition
        The columns that its folders' names spell: ``year=2024`` and the like.
    """

    name: str
    path: str
    form: str
    url: str = ""
    partition: tuple[tuple[str, str], ...] = ()

    def open(self) -> NativeFile:
        """Open it for reading at random."""
        return filesystem(self.url).open_input_file(self.path)


def one_line(error: Exception) -> str:
    """Return what a library says of a failure, cut to what a line holds."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def is_url(path: str) -> bool:
    """Return whether a name is a URL: ``s3://bucket/key`` and the like."""
    return _SCHEME.match(path) is not None


@lru_cache(maxsize=16)
def filesystem(url: str) -> fs.FileSystem:
    """Return the file system of a URL: pyarrow's own, or one that fsspec knows."""
    return fs.LocalFileSystem() if not url else _resolved(url)[0]


def _resolved(url: str) -> tuple[fs.FileSystem, str]:
    """Return a URL's file system and the path in it.

    Raises
    ------
    UsageError
        Neither pyarrow nor an installed fsspec knows such URLs.
    """
    try:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(url)
    except ArrowException:
        pass
    else:
        return found
    scheme = url.partition("://")[0]
    try:
        import fsspec

        known, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        message = f"{url}: pyarrow has no file system for {scheme}://, and fsspec none"
        raise UsageError(f"{message} ({' '.join(str(error).split())}); install one") from None
    except ValueError as error:
        message = f"{url}: there is no file system for {scheme}:// ({error})"
        raise UsageError(message) from None
    return fs.PyFileSystem(fs.FSSpecHandler(known)), path


def files(path: str, form: str | None = None) -> list[File]:
    """Return the columnar files that a name stands for, in name order.

    Parameters
    ----------
    path
        A file; a folder, with all folders in it; a pattern of either; or a URL of any of these.
    form
        What the files are, whatever their names say.

    Raises
    ------
    InputError
        There are none.
    UsageError
        A URL that no file system is known for.
    """
    url = path if is_url(path) else ""
    system, inside = _resolved(url) if url else (filesystem(""), os.path.abspath(path))
    try:
        base, infos = _listed(system, inside, pattern=bool(url) or is_pattern(path))
    except FileNotFoundError:
        raise InputError("no such file", path) from None
    except (OSError, ArrowException) as error:
        raise InputError(f"cannot be read: {one_line(error)}", path) from None
    found = []
    for info in sorted(infos, key=lambda info: info.path):
        below = info.path[len(base) :].lstrip("/")
        kind = form or EXTENSIONS.get(os.path.splitext(info.path.lower())[1])
        if info.path == inside:
            found.append(File(path, info.path, kind or "parquet", url))
        elif kind and not any(part.startswith((".", "_")) for part in below.split("/")):
            partition = tuple(
                (unquote(name), "" if value == _NO_VALUE else unquote(value))
                for name, value in _PARTITION.findall(below)
            )
            found.append(File(_shown(path, info.path), info.path, kind, url, partition))
    if not found:
        hint = (
            "no file has a name like this" if base != inside else "holds no Parquet or Arrow file"
        )
        raise InputError(f"{hint}; mind the folder and the extensions", path)
    return found


def _shown(path: str, file: str) -> str:
    """Return how a file is called that was found by a pattern or in a folder."""
    if is_url(path):
        return f"{path.partition('://')[0]}://{file}"
    return file if os.path.isabs(path) else os.path.relpath(file)


def _listed(
    system: fs.FileSystem, inside: str, *, pattern: bool
) -> tuple[str, Iterable[fs.FileInfo]]:
    """Return the folder that a name is rooted in, and the files that it stands for."""
    info = system.get_file_info(inside)
    if info.type == fs.FileType.File:
        return inside, [info]
    if info.type == fs.FileType.Directory:
        return inside, _below(system, inside)
    parts = inside.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if first is None or not pattern:
        raise FileNotFoundError
    base = "/".join(parts[:first])
    wanted = parts[first:]
    return base, [
        info
        for info in _below(system, base)
        if _matches(info.path[len(base) :].lstrip("/").split("/"), wanted)
    ]


def _matches(path: list[str], wanted: list[str]) -> bool:
    """Whether a path, or a folder that it lies in, has a name like the one wanted."""
    return len(path) >= len(wanted) and all(map(fnmatch.fnmatchcase, path, wanted))


def _below(system: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [info for info in system.get_file_info(selector) if info.type == fs.FileType.File]
