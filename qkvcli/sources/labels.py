"""Labels: what queries and keys are called, one a line or as a JSON list."""

from __future__ import annotations

from qkvcli.errors import InputError
from qkvcli.sources import bytes_in
from qkvcli.sources.json_tables import Scanner


def labels_of(path: str, count: int, axis: str, encoding: str | None = None) -> tuple[str, ...]:
    """Return labels, as many as an axis is long.

    Raises
    ------
    InputError
        As of ``read_labels``; or another number of labels, with both numbers.
    """
    labels = read_labels(path, encoding)
    if len(labels) != count:
        raise InputError(
            f"{len(labels)} labels for {count} {axis}; there must be one for each",
            bytes_in.display_name(path),
        )
    return labels


def read_labels(path: str, encoding: str | None = None) -> tuple[str, ...]:
    """Return labels from a text file with one a line, or from a JSON list of strings.

    Raises
    ------
    InputError
        The file cannot be read, is empty, or is a JSON document of another shape.
    """
    file = bytes_in.display_name(path)
    lines = bytes_in.read_lines(path, encoding)
    text = "\n".join(lines)
    if path.lower().endswith(".json") or (text[:1] == "[" and text[1:].lstrip()[:1] == '"'):
        return _json_labels(text, file)
    if not lines:
        raise InputError("is empty; a label a line was expected", file)
    if "\0" in text:
        at = next(number for number, line in enumerate(lines, 1) if "\0" in line)
        raise InputError("a NUL byte; is this a text file?", f"{file}:{at}")
    return tuple(lines)


def _json_labels(text: str, file: str) -> tuple[str, ...]:
    scanner = Scanner(text, file)
    scanner.peek()
    start = scanner.at
    found = scanner.value()
    scanner.end("the list")
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        scanner.fail("labels are a JSON list of strings", start)
    return tuple(found)
