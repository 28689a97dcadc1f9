"""Tables read whole, for tests that compare them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from qkvcli.cli import in_options
from qkvcli.errors import QkvError
from qkvcli.sources import bytes_in
from qkvcli.sources.store import open_table
from qkvcli.sources.table import TableOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.blocks import Block, Source


def blocks(path: str, **options: Any) -> tuple[Source, list[Block]]:
    """Open a table and read all of it."""
    source = open_table(path, TableOptions(**options))
    return source, [block.load() for block in source.blocks()]


def rows(path: str, **options: Any) -> list[tuple[str, ...]]:
    """Return a table's rows as text, key cells first."""
    found: list[tuple[str, ...]] = []
    for block in blocks(path, **options)[1]:
        assert block.start == len(found)
        found += [(*record.key, *record.value) for record in block.records(range(len(block)))]
    return found


def keys(path: str, **options: Any) -> list[Any]:
    """Return a table's keys: texts, or vectors as lists."""
    found: list[Any] = []
    for block in blocks(path, **options)[1]:
        part = block.keys
        found += part if isinstance(part, list) else part.tolist()
    return found


def numbers(path: str, **options: Any) -> list[list[float]]:
    """Return a table's numeric values."""
    return [row for block in blocks(path, **options)[1] for row in block.values().tolist()]


def touch(path: str, **options: Any) -> None:
    """Read everything that a table holds."""
    for reference in open_table(path, TableOptions(**options)).blocks():
        block = reference.load()
        assert len(block.keys) == len(block.values()) == len(block)
        block.labels()
        block.records(range(len(block)))


def refusal(path: str, **options: Any) -> str:
    """Return the line with which a table is refused, wherever in its reading that happens."""
    with pytest.raises(QkvError) as caught:
        touch(path, **options)
    line = in_options(str(caught.value))  # as the command line has it
    del caught  # and with it a cycle that would keep the table's file open
    assert "\n" not in line
    return line


@contextmanager
def chunk(size: int) -> Iterator[None]:
    """Read files a few bytes at a time, so that a small file has many blocks."""
    with mock.patch.object(bytes_in, "CHUNK", size):
        yield
