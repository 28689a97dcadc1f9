"""Formats: the one table of their names and endings, and what a file holds."""

from __future__ import annotations

import os
from typing import NoReturn

from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import bytes_in

TEXT, NUMBER = "text", "number"
"""What the cells of a column may be said to be."""

TABLES = ("csv", "tsv", "json", "jsonl", "parquet", "arrow")
COLUMNAR = ("parquet", "arrow")
ARRAYS = ("npy", "npz", "safetensors")
QUERIES, KEYS, VALUES = ("queries", "q"), ("keys", "k"), ("values", "v")
"""What arrays in a file may be called."""
ENDINGS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "pytorch"),
}
_STARTS = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
}
"""How files of these formats begin."""
_LONGEST_HEADER = 100 << 20  # of .safetensors, which starts with its length


def ending_of(path: str) -> str:
    """Return the end of a name in small letters, without ``.gz`` or what a URL asks for."""
    name = path.lower()
    name = name.partition("?")[0] if "://" in path else name
    return os.path.splitext(name.removesuffix(".gz"))[1]


def format_by_name(path: str) -> str:
    """Return the format that a name or a pattern tells; nothing where it tells none.

    A folder holds columnar files, and so do the folders that a pattern names.
    """
    is_folder = os.path.isdir(path) or path.endswith("/")
    if "://" in path and "." not in path.partition("?")[0][-9:]:
        is_folder = True
    if any(sign in path for sign in "*?["):
        from qkvcli.sources.shards import are_folders

        is_folder = is_folder or are_folders(path)
    return "parquet" if is_folder else ENDINGS.get(ending_of(path), "")


def format_by_start(start: bytes, encoding: str | None = None) -> str:
    """Return the format that the first bytes of an input tell: CSV where they tell no other.

    JSON Lines have a whole value on the first line, and more after it.
    """
    for magic, form in _STARTS.items():
        if start.startswith(magic):
            return form
    if start[8:10] == b'{"' and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    first, _, rest = bytes_in.start_of_text(start, encoding).lstrip().partition("\n")
    if not first.startswith(("[", "{")):
        return "csv"
    import json  # a table of text never needs it

    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return "json"
    return "jsonl" if rest.strip() else "json"


def starts_as_array(path: str) -> bool:
    """Return whether a regular file begins as an ``.npy`` or ``.npz`` file, whatever its name."""
    try:
        with open(path, "rb") as stream:
            return format_by_start(stream.read(8)) in ("npy", "npz")
    except OSError:
        return False  # who opens it next says why


def refuse_pytorch(path: str) -> NoReturn:
    """Raise the error for a PyTorch file."""
    raise InputError(
        "a PyTorch file, which is a pickle and not read; save it as .safetensors or .npy", path
    )


def format_of(path: str, encoding: str | None = None) -> str:
    """Return what an input holds: by its name, or by its start where it is standard input.

    Raises
    ------
    InputError
        A PyTorch file.
    UsageError
        An ending that names no format.
    """
    if path == bytes_in.STDIN:
        return format_by_start(bytes_in.peek_stdin(), encoding)
    form = format_by_name(path)
    if form == "pytorch" and os.path.isfile(path):
        refuse_pytorch(path)
    if form not in ("", "pytorch"):
        return form
    ending = ending_of(path)
    if not ending or not os.path.isfile(path):
        return "csv"
    hint = did_you_mean(ending, list(ENDINGS))
    raise UsageError(f"{path}: the extension names no table format{hint}; or pass `data_format`")
