"""Databases: files and pipes opened as blocks of keys and values."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkvcli.blocks import Source
    from qkvcli.sources.table import TableOptions

    Opener = Callable[[str], Source]

T = TypeVar("T")
TEXT, NUMBER = "text", "number"
"""What the cells of a column may be said to be."""

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "arrow")
_EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
PYTORCH = (".pt", ".pth", ".ckpt")
IS_PYTORCH = "a PyTorch file, which is a pickle and not read; save it as .safetensors or .npy"


def sample(name: str) -> str:
    """Return the path of a bundled file, from a wheel, an editable install or a checkout alike."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "sample_data", name)
    if os.path.isfile(inside):
        return inside
    return os.path.join(os.path.dirname(package), "sample_data", name)


def open_table(path: str, options: TableOptions | None = None) -> Source:
    """Open a table of keys and values: CSV, TSV, JSON or JSON Lines, or a ``.gz`` of one.

    Parameters
    ----------
    path
        A file; a pattern of files with the same columns, one after another in name order; or
        ``-`` for standard input, whose format its first bytes tell.
    options
        How the table is to be read.

    Returns
    -------
    Source
        The table's columns, and its blocks of rows.

    Raises
    ------
    InputError
        The file cannot be read or its first block is not well-formed.
    UsageError
        A column or an option that does not fit the file.
    """
    from qkvcli.sources.table import TableOptions  # and with it blocks, which no help needs

    options = options or TableOptions()
    form = options.format or form_of(path)
    if form in _COLUMNAR:
        return _open_columnar(path, options, form)
    if "://" in path:
        message = (
            f"{path}: by URL only Parquet and Arrow files are read; fetch it, or name a format"
        )
        raise UsageError(message)
    if any(sign in path for sign in "*?["):
        from qkvcli.sources.shards import ShardedTable, is_pattern

        if is_pattern(path):
            return ShardedTable(path, partial(_open_file, options=options))
    return _open_file(path, options)


_COLUMNAR = ("parquet", "arrow")


def form_of(path: str) -> str:
    """Return the format by the end of a name or a pattern, or nothing where that says none.

    A folder holds columnar files, and so do the folders that a pattern names.
    """
    end = path.lower().partition("?")[0] if "://" in path else path.lower()
    is_folder = os.path.isdir(path) or end.endswith("/") or ("://" in path and "." not in end[-9:])
    if any(sign in path for sign in "*?["):
        from qkvcli.sources.shards import are_folders

        is_folder = is_folder or are_folders(path)
    end = end.removesuffix(".gz")
    return "parquet" if is_folder else _EXTENSIONS.get(os.path.splitext(end)[1], "")


def _open_columnar(path: str, options: TableOptions, form: str) -> Source:
    if path == streams.STDIN:
        message = f"`data=-` is a stream, and {form} is read at random; name a file"
        raise UsageError(message)
    try:
        from qkvcli.sources.arrow import ArrowSource
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        message = f"{path}: {form} is read by pyarrow: pip install 'qkvcli[arrow]'"
        raise UsageError(message) from None
    return ArrowSource(path, options)


def _open_file(path: str, options: TableOptions) -> Source:
    form = options.format or format_of(path, options.encoding)
    if form in ("csv", "tsv"):
        from qkvcli.sources.delimited import DelimitedSource

        return DelimitedSource(path, options, "\t" if form == "tsv" else ",")
    from qkvcli.sources.records import RecordSource

    return RecordSource(path, options, lines=form == "jsonl")


def format_of(path: str, encoding: str | None = None) -> str:
    """Return a table's format by its name, or by its start where it is standard input.

    Raises
    ------
    UsageError
        An extension that names no format.
    """
    if path == streams.STDIN:
        return _format_by_start(streams.start_of_text(streams.peek_stdin(), encoding))
    extension = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    if not extension or not os.path.isfile(path):
        return "csv"
    if extension in PYTORCH:
        raise InputError(IS_PYTORCH, path)
    hint = did_you_mean(extension, list(_EXTENSIONS))
    message = f"{path}: the extension names no table format{hint}; or pass `data_format`"
    raise UsageError(message)


def _format_by_start(text: str) -> str:
    """Tell JSON, JSON Lines (a whole value on the first line, and more after it) and CSV apart."""
    first, _, rest = text.lstrip().partition("\n")
    if not first.startswith(("[", "{")):
        return "csv"
    import json  # a table of text never needs it

    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return "json"
    return "jsonl" if rest.strip() else "json"


def wait_interruptibly(call: Callable[[], T], seconds: float | None = None) -> T:
    """Call what may wait for a network, so that a signal still ends the program meanwhile.

    Libraries do not return for a signal. So it waits in a thread of its own, which is left
    behind, and this one waits where Python hears signals.

    Raises
    ------
    TimeoutError
        It has not returned after so many seconds.
    """
    from concurrent.futures import Future
    from threading import Thread

    found: Future[T] = Future()

    def work() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            found.set_exception(error)

    Thread(target=work, daemon=True).start()
    return found.result(seconds)
