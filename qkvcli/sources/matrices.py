"""Weights to draw: arrays and matrices of every format, with the labels that came along."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.errors import InputError, UsageError, did_you_mean
from qkvcli.sources import bytes_in, formats, npy, numbers
from qkvcli.sources.formats import KEYS, QUERIES
from qkvcli.sources.npy import StoredArray, working_dtype

# What reads text is imported where it is read: most weights are arrays.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from qkvcli.sources.captured import Captured, Settings
    from qkvcli.sources.csv_tables import CsvCells
    from qkvcli.sources.json_tables import Scanner

MAX_AXES = 5
"""Layers, batch, heads, queries and keys."""

_TEXT_FORMATS = ("csv", "tsv", "json")
_LAYER = re.compile(r"([0-9]+)")
_CONSTANT = re.compile(r"-?(NaN|Infinity)(?= is not JSON)")
_NOT_FINITE = "is not a finite number, as every weight is"
_TEXT_ALONE = "holds text alone, and weights are numbers"
_EMPTY = "is empty; a matrix of weights was expected"


@dataclass(frozen=True)
class Matrices:
    """An array whose last two axes are queries and keys, and labels for them.

    Parameters
    ----------
    file
        What errors call the file.
    array
        The weights, shape (..., Q, K).
    query_labels, key_labels
        Q and K labels, where the file has them.
    stacked
        The names of the arrays that were stacked, a layer each, along the first axis.
    note
        What the user should know of how the file is read.
    captured
        Queries and keys, where the weights are to be computed from them; the array is then empty.
    settings
        What a file of a model's attention says of itself.
    """

    file: str
    array: StoredArray
    query_labels: tuple[str, ...] | None = None
    key_labels: tuple[str, ...] | None = None
    stacked: tuple[str, ...] = ()
    note: str = ""
    captured: Captured | None = None
    settings: Settings | None = None


@dataclass(frozen=True)
class Layers(StoredArray):
    """Arrays of one shape in several places, read as one along a new first axis."""

    parts: tuple[StoredArray, ...] = ()

    def rows(
        self, start: int, stop: int, *, columns: slice | None = None, buffer: str = ""
    ) -> NDArray[np.floating]:
        """Return some rows of one of the arrays, counted over all of them, shape (n, columns)."""
        each = math.prod(self.shape[1:-1])
        layer = start // each
        first = layer * each
        part = self.parts[layer]
        return part.rows(start - first, stop - first, columns=columns, buffer=buffer)


def open_matrices(
    path: str, name: str | None = None, delimiter: str | None = None, encoding: str | None = None
) -> Matrices:
    """Open weights: .npy, .npz, .safetensors, CSV, TSV, JSON, or a pipe of any but safetensors.

    What lies in a regular array file is looked at and read later, in runs of rows; text is read
    whole, up to ``bytes_in.DOCUMENT_CAP``, and so is a pipe, up to ``npy.WHOLE_CAP``.

    Parameters
    ----------
    path
        The file; ``-`` is standard input.
    name
        Which of its arrays.
    delimiter, encoding
        How its text is written.

    Raises
    ------
    InputError
        The file cannot be read, or does not hold numbers in the shape of a matrix.
    UsageError
        There is no array of that name.
    """
    file = bytes_in.display_name(path)
    form = formats.format_by_name(path)
    if form == "pytorch" and bytes_in.reopenable(path):
        formats.refuse_pytorch(file)
    if form == "safetensors":
        from qkvcli.sources.safetensors import open_tensors  # few read these

        return _picked(open_tensors(path), name, file)
    if bytes_in.reopenable(path) and not path.lower().endswith(".gz"):
        if form in formats.ARRAYS or formats.starts_as_array(path):
            return _picked(npy.open_arrays(path), name, file)
        ending = formats.ending_of(path)
        if ending and form not in _TEXT_FORMATS:
            hint = did_you_mean(ending, [".npy", ".npz", ".safetensors", ".csv", ".tsv", ".json"])
            raise InputError(f"not an array, and {ending} names no matrix format{hint}", file)
    # By its first bytes; and it is read whole.
    parts = bytes_in.chunks(path, encoding)
    first = next(parts, b"")
    whole = chain([first], parts)
    held = formats.format_by_start(first) if first.strip() else ""
    if held in ("npy", "npz"):
        return _picked(npy.arrays_in(whole, file), name, file)
    if held == "safetensors":
        raise InputError(
            "holds safetensors, which are read from a file whose name ends in .safetensors", file
        )
    if not held:
        raise InputError(_EMPTY, file)
    data = b"".join(bytes_in.up_to_cap(whole, path))
    if form == "json" or held in ("json", "jsonl"):
        return _from_json(bytes_in.decode(data, file), file)
    return _from_text(data, form, delimiter, file)


def matrices_of(
    given: Any,  # noqa: ANN401 - an array, or arrays by their names
    labels: Sequence[str] | None = None,
) -> Matrices:
    """Return arrays in memory as those of a file.

    Parameters
    ----------
    given
        Weights (…, Q, K), or a dictionary of the arrays of a file.
    labels
        What queries and keys are called, where both are as many.
    """
    file = "memory"
    named = given if isinstance(given, dict) else {"weights": given}
    arrays: dict[str, StoredArray] = {}
    for name, array in named.items():
        found = np.ascontiguousarray(array)
        if found.dtype.kind == "U":
            data = found.tobytes()
            arrays[name] = StoredArray(f"{file}[{name}]", found.shape, found.dtype, data=data)
        else:
            shape = np.shape(array)  # of no axes, which a contiguous array has not
            arrays[name] = replace(in_memory(found, f"{file}[{name}]"), shape=shape)
    found_all = _picked(arrays, None, file)
    if labels is None:
        return found_all
    fit = tuple(map(str, labels))
    return replace(
        found_all,
        query_labels=_fitting(fit, found_all.array.shape[-2]),
        key_labels=_fitting(fit, found_all.array.shape[-1]),
    )


def _picked(found: Mapping[str, StoredArray], name: str | None, file: str) -> Matrices:
    """Return the array of a name, the one there is, or all as layers, with their labels."""
    if "" in found:  # a .npy file
        if found[""].dtype.kind == "U":
            raise InputError(_TEXT_ALONE, file)
        return Matrices(file, found[""])
    if name is not None and name not in found:
        raise UsageError(f"--name: {file} has no array {name!r}{did_you_mean(name, list(found))}")
    label = "weights" if name is None else name
    if name is None and label not in found and any(one in found for one in (*QUERIES, *KEYS)):
        from qkvcli.sources.captured import read_captured

        captured = read_captured(found, file)
        empty = StoredArray(file, captured.shape, working_dtype(captured.queries.dtype))
        own = captured.settings.query_labels, captured.settings.key_labels
        return Matrices(file, empty, *own, captured=captured, settings=captured.settings)
    stacked: tuple[str, ...] = ()
    if label in found:  # and no other is unpacked
        array = found[label]
    else:
        numeric = {name: array for name, array in found.items() if array.dtype.kind != "U"}
        stacked = _layers(numeric)
        array = _stack(numeric, stacked, file) if stacked else _only(numeric, file)
    queries, keys = (_labels_in(found, label) for label in ("query_labels", "key_labels"))
    if array.name.endswith("[weights]") or array.ndim < 2:
        from qkvcli.sources.captured import read_settings  # of few files

        settings = read_settings(found, file, array.shape)
        return Matrices(file, array, queries, keys, settings=settings)
    # Beside another array, labels may be those of the weights.
    queries, keys = _fitting(queries, array.shape[-2]), _fitting(keys, array.shape[-1])
    return Matrices(file, array, queries, keys, stacked)


def _layers(arrays: Mapping[str, StoredArray]) -> tuple[str, ...]:
    """Return the names of the matrices in the order of the one number by which they differ.

    That is how a list of layers is saved: ``arr_0``, ``layer_3``, ``attentions.11.weight``.
    """
    names = [name for name, array in arrays.items() if array.ndim >= 2]
    split = [_LAYER.split(name) for name in names]
    if len(names) < 2 or len({len(parts) for parts in split}) > 1:
        return ()
    differ = [at for at, parts in enumerate(zip(*split, strict=True)) if len(set(parts)) > 1]
    if len(differ) != 1 or not differ[0] % 2:
        return ()
    return tuple(sorted(names, key=lambda name: int(_LAYER.split(name)[differ[0]])))


def _stack(arrays: Mapping[str, StoredArray], names: tuple[str, ...], file: str) -> Layers:
    """Return the arrays of these names as one, with a new first axis of layers."""
    first, *others = parts = tuple(arrays[name] for name in names)
    for name, other in zip(names[1:], others, strict=True):
        if (other.shape, type(other)) != (first.shape, type(first)):
            held = f"{names[0]} of shape {first.shape} and {name} of {other.shape}"
            raise UsageError(f"{file}: holds {held}, which are no layers; say which with --name")
    dtype = np.result_type(*(part.dtype for part in parts))
    return Layers(file, (len(parts), *first.shape), dtype, parts=tuple(parts))


def _fitting(labels: tuple[str, ...] | None, length: int) -> tuple[str, ...] | None:
    return labels if labels is not None and len(labels) == length else None


def _only(numeric: Mapping[str, StoredArray], file: str) -> StoredArray:
    """Return the only array that holds numbers."""
    if not numeric:
        raise InputError(_TEXT_ALONE, file)
    if len(numeric) != 1:
        listing = ", ".join(list(numeric)[:8]) + (", …" if len(numeric) > 8 else "")
        held = f"holds {len(numeric)} arrays ({listing})"
        raise UsageError(f"{file}: {held}; say which with --name")
    return next(iter(numeric.values()))


def _labels_in(found: Mapping[str, StoredArray], name: str) -> tuple[str, ...] | None:
    array = found.get(name)
    if array is None or array.dtype.kind != "U" or array.ndim != 1:
        return None
    return tuple(str(label) for label in array.read())


def in_memory(values: NDArray[np.floating], name: str) -> StoredArray:
    """Return an array at hand as one that is stored, so that it is read like any other."""
    data = np.ascontiguousarray(values)
    return StoredArray(name, data.shape, data.dtype, data=data.reshape(-1).view(np.uint8).data)


# --- CSV and TSV ---


def _from_text(data: bytes, form: str, delimiter: str | None, file: str) -> Matrices:
    """Read a matrix from delimited text, with a header of key labels or a column of query labels.

    A first column that is no number names the queries, and so does any first column under an empty
    corner. ``_is_header`` says which first records name the keys, ``_counts`` which number them.
    """
    from qkvcli.sources.csv_tables import CsvCells, Run, read_header
    from qkvcli.sources.table import TableOptions

    if not data.strip():
        raise InputError(_EMPTY, file)
    table = TableOptions(delimiter=delimiter, header=False)
    run = Run(data, 1, data.count(b"\n"))
    header = read_header(iter((run,)), table, "\t" if form == "tsv" else "", file)
    cells = CsvCells(header.rest.data, header.rest.line, header.dialect)
    width = header.dialect.width
    plain = cells.matrix(range(width), numbers.NUMBER)
    if plain is not None:
        numbered = _counts(plain[0].tolist()) and bool((plain[1:] % 1).any())
        return Matrices(file, in_memory(plain[1:] if numbered else plain, file), note=header.note)
    return _labelled(cells, width, file, header.note)


def _labelled(cells: CsvCells, width: int, file: str, note: str) -> Matrices:
    names = cells.column(0)  # whole, so that another delimiter in a single column is noticed
    first = list(cells.row(0))
    header = _is_header(first)
    body = range(1 if header else 0, len(cells))
    if not body:
        raise InputError("has a header and no rows", file)
    cornered = header and _has_corner(first)
    named = width > 1 and (cornered or all(_is_text(names[row]) for row in body))
    left = 1 if named else 0
    values = _numbers([cells.row(row)[left:] for row in body], cells, body[0], file)
    queries = tuple(names[row] for row in body) if named else None
    keys = tuple(first[left:]) if header else None
    return Matrices(file, in_memory(values, file), queries, keys, note=note)


def _is_header(cells: list[str]) -> bool:
    """Return whether a first record names the keys, and is not a row with a cell gone wrong.

    It does if no cell can be a weight, as words and whole numbers cannot, and most are words or it
    has a corner.
    """
    words = [_is_text(cell) for cell in cells]
    if any(not word and not _is_whole(cell) for word, cell in zip(words, cells, strict=True)):
        return False
    return _has_corner(cells) or sum(words) > len(cells) / 2


def _has_corner(cells: list[str]) -> bool:
    """Return whether the first cell of a header stands above names of rows, and not a key."""
    if cells[0] == "":
        return True
    rest = cells[1:]
    return _is_text(cells[0]) and all(map(_is_whole, rest)) and _counts([*map(float, rest)])


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal()


def _counts(values: list[float]) -> bool:
    """Return whether a record is 0, 1, 2, ..., which is more than a row of weights sums to."""
    return len(values) > 2 and values == [*range(len(values))]


def _is_text(cell: str) -> bool:
    return numbers.first_mismatch([cell], numbers.NUMBER) is not None and not numbers.mistaken(cell)


def _numbers(rows: list[list[str]], cells: CsvCells, first: int, file: str) -> NDArray[np.float64]:
    flat = [cell for row in rows for cell in row]
    bad = numbers.first_mismatch(flat, numbers.NUMBER)
    if bad is not None:
        shown = repr(flat[bad] if len(flat[bad]) <= 40 else flat[bad][:37] + "...")
        line = cells.line(first + bad // len(rows[0]))
        raise InputError(f"{shown} {_NOT_FINITE}", f"{file}:{line}")
    return np.array(flat, dtype=np.float64).reshape(len(rows), -1)


# --- JSON ---


def _from_json(text: str, file: str) -> Matrices:
    """Read nested lists of numbers, two to five deep."""
    from qkvcli.sources.json_tables import Scanner

    scanner = Scanner(text, file)
    if scanner.peek() != "[":
        scanner.value()
        scanner.fail("a matrix is a list of rows, each a list of numbers", 0)
    flat: list[float] = []
    shape = _nested(scanner, flat, 1)
    scanner.end("the matrix")
    return Matrices(file, in_memory(np.array(flat, dtype=np.float64).reshape(shape), file))


def _nested(scanner: Scanner, flat: list[float], depth: int) -> tuple[int, ...]:
    """Read one list, append its numbers, and return its shape."""
    if depth > MAX_AXES:
        scanner.fail(f"more than {MAX_AXES} axes; weights have two to {MAX_AXES}")
    start = scanner.at
    scanner.take("[")
    if scanner.peek() != "[":
        scanner.at = start
        return (_row(scanner, flat),)
    inner: tuple[int, ...] | None = None
    count = 0
    while inner is None or scanner.take(","):
        scanner.peek()
        at = scanner.at
        if scanner.peek() != "[":
            scanner.fail("a number where a list was expected, as those before it are")
        found = _nested(scanner, flat, depth + 1)
        if inner is not None and found != inner:
            scanner.fail(f"this list has the shape {found} where the first has {inner}", at)
        inner, count = found, count + 1
    if not scanner.take("]"):
        scanner.fail("not well-formed JSON (expecting ',' or ']')")
    return (count, *inner)


def _row(scanner: Scanner, flat: list[float]) -> int:
    start = scanner.at
    try:
        row = scanner.value()
        if not set(map(type, row)) <= {int, float}:
            raise TypeError
        flat.extend(map(float, row))
    except (InputError, TypeError):
        _refuse_item(scanner, start)
        raise
    return len(row)


def _refuse_item(scanner: Scanner, start: int) -> None:
    """Go through a row again item by item, and fail at the first that is no weight."""
    scanner.at = start
    while scanner.take("[") or scanner.take(","):
        scanner.peek()
        at = scanner.at
        try:
            item = scanner.value()
        except InputError as error:
            if constant := _CONSTANT.match(error.message):
                scanner.fail(f"{constant[0]} {_NOT_FINITE}", at)
            raise
        if type(item) not in (int, float):
            shown = json.dumps(item, ensure_ascii=False)
            scanner.fail(f"{shown:.40} is not a number, as every weight is", at)
