"""The door to all sources: tables and arrays opened alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import bytes_in, formats

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from qkvcli.blocks import Block, Columns, Queries, Source
    from qkvcli.sources.captured import Settings
    from qkvcli.sources.npy import StoredArray
    from qkvcli.sources.table import TableOptions

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}")


class Asked(NamedTuple):
    """Queries as a database meets them.

    Parameters
    ----------
    batch_shape
        Their leading axes; () where all heads are asked the same.
    queries
        Those of each head along the leading axes.
    names, cells
        Of queries in a table its columns and rows, as text.
    settings
        Of queries that came with the keys: how they attend to them.
    """

    batch_shape: tuple[int, ...]
    queries: list[Queries]
    names: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    settings: Settings | None = None

    def labelled(self, labels: tuple[str, ...]) -> Asked:
        """Return them with other labels.

        Raises
        ------
        InputError
            Not as many as there are queries.
        """
        count = len(self.queries[0])
        if len(labels) != count:
            raise InputError(f"{len(labels)} query_labels for {count} queries")
        return self._replace(queries=[one.labelled(labels) for one in self.queries])


@dataclass(frozen=True)
class Store:
    """What a database is: one head for a table, as many as its leading axes have for arrays.

    Parameters
    ----------
    name
        What errors call it.
    heads
        A source for each head, in the order of the leading axes.
    batch_shape
        The leading axes: (), (H,), (B, H), ….
    own_queries
        Queries that came with the database, of shape (…, Q, D).
    settings
        How these attend to the keys.
    """

    name: str
    heads: tuple[Source, ...]
    batch_shape: tuple[int, ...] = ()
    own_queries: StoredArray | None = None
    settings: Settings | None = None

    @property
    def columns(self) -> Columns:
        """What the rows are made of."""
        return self.heads[0].columns

    @property
    def kind(self) -> str:
        """What keys are: ``"text"``, numeric columns of a ``"table"``, or an ``"array"``."""
        return self.heads[0].kind

    @property
    def depth(self) -> int:
        """D, the width of a key; 0 for text."""
        return self.heads[0].depth

    @property
    def note(self) -> str:
        """What the user should know of how the file is read; "" for nothing."""
        return self.heads[0].note

    def count(self) -> int:
        """Return K; of a table this takes a reading."""
        rows = self.heads[0].rows
        return sum(len(block) for block in self.heads[0].blocks()) if rows is None else rows

    @property
    def has_names(self) -> bool:
        """Whether keys have names of their own, and not only numbers of rows."""
        return self.kind != "array" or self.heads[0].names is not None

    def first_text(self) -> tuple[str, str, tuple[str, str]]:
        """Return what makes the keys text, for a sentence, its place, and what would not.

        That is a parameter and its value: ``date`` or ``categorical`` and the column's name, or
        ``key_type``.
        """
        from qkvcli.sources import numbers
        from qkvcli.sources.table import TableBlock

        block = first_blocks(self.heads[0], 1)[0].load()
        if isinstance(block, TableBlock):
            for column in block.layout.key:
                cells = block.cells.column(column)
                row = numbers.first_mismatch(cells, numbers.PLAIN)
                if row is not None:
                    shown = cells[row] if len(cells[row]) <= 40 else cells[row][:37] + "..."
                    name = block.layout.column_name(column)
                    what, way_out = "text", ("categorical", name)
                    if _DATE.fullmatch(cells[row]):
                        what, way_out = "a date, and so text", ("date", name)
                    elif not numbers.mismatches([cells[row]], numbers.NUMBER):
                        what = "as often a code as a number, and so text"
                        way_out = "key_type", "number"
                    return f"the key {shown!r} is {what}", block.where(row), way_out
        return "the keys are text", self.name, ("categorical", self.columns.key[0])


class HeldSource:
    """What comes through a pipe, some first blocks or all of it held in memory.

    Parameters
    ----------
    source
        Its blocks can be had once.
    whole
        Whether to hold all of them, for what must be read twice.
    """

    def __init__(self, source: Source, *, whole: bool) -> None:
        self.name, self.columns, self.names = source.name, source.columns, source.names
        self.depth, self.kind, self.note = source.depth, source.kind, source.note
        self.key_dtype: np.dtype[np.floating] = source.key_dtype
        self.dtype: np.dtype[np.floating] = source.dtype
        self.reopenable = whole
        self._blocks = iter(source.blocks())
        self._held: list[Block] = list(self._blocks) if whole else []

    @property
    def rows(self) -> int | None:
        """K, where all is held."""
        return sum(map(len, self._held)) if self.reopenable else None

    def first(self, rows: int) -> list[Block]:
        """Return the first blocks, of so many rows at least; they come again."""
        while sum(map(len, self._held)) < rows and (block := next(self._blocks, None)):
            self._held.append(block)
        return self._held

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        yield from self._held
        if not self.reopenable:
            self._held = []
            yield from self._blocks


def first_blocks(source: Source, rows: int) -> list[Block]:
    """Return the first blocks of a source, of so many rows at least, or all."""
    if isinstance(source, HeldSource):
        return source.first(rows)
    found: list[Block] = []
    for block in source.blocks():
        found.append(block)
        if sum(map(len, found)) >= rows:
            break
    return found


def open_store(  # noqa: PLR0913 - what a database is made of
    data: str,
    options: TableOptions,
    *,
    keys: str | None = None,
    values: str | None = None,
    labels: str | None = None,
    twice: bool | None = False,
) -> Store:
    """Open a table, an ``.npz`` of keys and values, or an array of each.

    Parameters
    ----------
    data
        A table or an ``.npz``; not looked at where ``keys`` is given.
    options
        How a table is to be read.
    keys, values
        Array files (…, K, D) and (…, K, Dv); the values are the keys where there are none.
    labels
        A file with the name of each key.
    twice
        Whether the database will be read more than once; a pipe is then held in memory. None: only
        where keys are numbers, from which a kernel's width is worked out beforehand.

    Raises
    ------
    InputError
        A file that cannot be read, or arrays whose shapes do not fit together.
    """
    form = options.format or ("" if keys else formats.format_of(data, options.encoding))
    if keys is not None or form in formats.ARRAYS:
        if options.codings:
            kind = options.codings[0].kind
            raise UsageError(f"`{kind}` is of a table's columns, and {keys or data} is an array")
        from qkvcli.sources.vectors import open_heads

        return Store(*open_heads(data, form, keys, values, labels, options.encoding))
    if labels is not None or values is not None:
        raise UsageError(
            "`labels` and `values` go with arrays; a table names its own rows (`value`)"
        )
    source = open_table(data, options, form)
    if not source.reopenable:
        # Levels are known after one reading, and it is the next that needs them.
        again = source.columns.numeric_key if twice is None else twice or bool(options.codings)
        source = HeldSource(source, whole=again)
    # Categories must know all values that their columns have.
    wanted = [(at, one) for at, one in enumerate(source.columns.codings) if one]
    wanted = [(at, coding) for at, coding in wanted if coding.is_categorical]
    for reference in source.blocks() if wanted else ():
        block = reference.load()
        for at, coding in wanted:
            coding.learn(block.key_texts(at))
    return Store(source.name, (source,))


def open_table(path: str, options: TableOptions | None = None, form: str | None = None) -> Source:
    """Open a table of keys and values, by the reader of its format.

    Parameters
    ----------
    path
        A file; a pattern of files with the same columns, one after another in name order; a
        folder or a URL of columnar files; or ``-`` for standard input.
    options
        How the table is to be read.
    form
        Its format; by default ``options.format``, or what its name or its first bytes say.

    Raises
    ------
    InputError
        The file cannot be read or its first block is not well-formed.
    UsageError
        A column or an option that does not fit the file.
    """
    from qkvcli.sources.table import TableOptions  # and with it blocks, which no help needs

    options = options or TableOptions()
    form = form or options.format or formats.format_of(path, options.encoding)
    if form in formats.COLUMNAR:
        return _open_columnar(path, options, form)
    if "://" in path:
        raise UsageError(
            f"{path}: by URL only Parquet and Arrow files are read; fetch it, or name a format"
        )
    if any(sign in path for sign in "*?["):
        from qkvcli.sources.shards import ShardedTable, is_pattern

        if is_pattern(path):
            return ShardedTable(path, partial(open_table, options=options, form=form))
    if form in ("csv", "tsv"):
        from qkvcli.sources.csv_tables import CsvTable

        return CsvTable(path, options, "\t" if form == "tsv" else "")
    from qkvcli.sources.json_tables import JsonTable, document_rows, line_rows

    return JsonTable(path, options, line_rows if form == "jsonl" else document_rows)


def _open_columnar(path: str, options: TableOptions, form: str) -> Source:
    if path == bytes_in.STDIN:
        raise UsageError(f"`data=-` is a stream, and {form} is read at random; name a file")
    try:
        from qkvcli.sources.parquet import ParquetTable
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise UsageError(
            f"{path}: {form} is read by pyarrow: pip install 'qkvcli[arrow]'"
        ) from None
    return ParquetTable(path, options)
