"""Columnar files by name: where they lie, on a disk or in an object store, and in which order."""

from __future__ import annotations

import fnmatch
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyarrow import ArrowException, fs

from qkvcli.errors import InputError, QkvError, UsageError
from qkvcli.sources.bytes_in import wait_interruptibly
from qkvcli.sources.shards import is_pattern, is_url, local

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyarrow import NativeFile

EXTENSIONS = {
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_LONGEST = 200
_PATIENCE = 10
"""For how many seconds pyarrow may try to reach a store that does not answer."""
_AZURE_CREDENTIALS = re.compile(r"[?&](?:credential_kind=(?!default|cli)|sig=)|^[^/@]*:[^/@]+@")
_AZURE_ENVIRONMENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


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
        if self.url:
            return wait_interruptibly(lambda: filesystem(self.url).open_input_file(self.path))
        return filesystem("").open_input_file(self.path)


def one_line(error: Exception) -> str:
    """Return what a library says of a failure, cut to what a line holds."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


@lru_cache(maxsize=16)
def filesystem(url: str) -> fs.FileSystem:
    """Return the file system of a URL: pyarrow's own, or one that fsspec knows."""
    return _resolved(url)[0] if url else fs.LocalFileSystem()


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say in one line why a file cannot be read.

    Raises
    ------
    InputError
        With the name, for whatever a reader, or by URL a file system's own code, runs into.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError("no such file", name) from None
    except (OSError, ArrowException, UnicodeDecodeError, ArithmeticError) as error:  # decimals
        raise InputError(f"cannot be read: {one_line(error)}", name) from None
    except Exception as error:
        if not is_url(name) or isinstance(error, (QkvError, MemoryError)):
            raise
        what = one_line(error) or type(error).__name__
        raise InputError(f"cannot be read: {what}", name) from None


def _resolved(url: str) -> tuple[fs.FileSystem, str]:
    """Return a URL's file system and the path in it.

    Raises
    ------
    UsageError
        Neither pyarrow nor an installed fsspec knows such URLs, or not without more.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    try:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(_safe(scheme, rest))
    except ArrowException:
        pass
    else:
        return found
    try:
        import fsspec

        known, path = fsspec.core.url_to_fs(f"{scheme}://{rest}")
    except ImportError as error:
        raise UsageError(
            f"{url}: pyarrow has no file system for {scheme}://, and fsspec none"
            f" ({one_line(error)}); install one"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"{url}: there is no file system for {scheme}:// ({one_line(error)})"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(known)), path


def _safe(scheme: str, rest: str) -> str:
    """Return a URL with which pyarrow neither waits for ever nor starts programs."""
    more = ""
    if scheme in ("gs", "gcs") and "retry_limit_seconds=" not in rest:
        more = f"retry_limit_seconds={_PATIENCE}"
    if scheme in ("abfs", "abfss") and not _AZURE_CREDENTIALS.search(rest):
        # Otherwise it looks for credentials by running az, and where that has none it aborts.
        if not all(map(os.environ.get, _AZURE_ENVIRONMENT)):
            raise UsageError(
                f"{scheme}://{rest}: no credentials; set {', '.join(_AZURE_ENVIRONMENT)}, "
                "or add ?credential_kind=anonymous"
            )
        more = "credential_kind=environment"
    return f"{scheme}://{rest}" + (("&" if "?" in rest else "?") + more if more else "")


def files_of(path: str, form: str | None = None) -> list[File]:
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
    url = path if is_url(path) and local(path) == path else ""

    def listed() -> tuple[str, str, list[fs.FileInfo]]:
        system, inside = _resolved(url) if url else (filesystem(""), os.path.abspath(local(path)))
        base, infos = _listed(system, inside, pattern=is_url(path) or is_pattern(path))
        return inside, base, sorted(infos, key=lambda info: info.path)

    with told(path):
        inside, base, infos = wait_interruptibly(listed) if url else listed()
    found = []
    for info in infos:
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
    """Whether a path, or a folder that it lies in, has a name like the one wanted.

    ``**`` stands for any folders, or none.
    """
    if not wanted:
        return True
    if wanted[0] == "**":
        return any(_matches(path[i:], wanted[1:]) for i in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], wanted[0]) and _matches(path[1:], wanted[1:])


def _below(system: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [info for info in system.get_file_info(selector) if info.type == fs.FileType.File]
