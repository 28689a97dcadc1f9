"""CSV and TSV: what is read, what is refused, and where."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import pickle
import re
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qkvcli.errors import InputError, UsageError
from qkvcli.key_bytes import KeyBytes
from qkvcli.sources import csv_tables
from qkvcli.sources import numbers as grammar
from qkvcli.sources.numbers import NUMBER, PLAIN, VALUE, all_match
from qkvcli.sources.store import open_table
from qkvcli.sources.table import TableOptions
from tests.support.command import run_inside, run_qkv
from tests.support.tables import blocks, chunk, keys, numbers, refusal, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = "last,first\nLi,Mu\nHu,Rachel\n"
READ = [("Li", "Mu"), ("Hu", "Rachel")]


def no_number(cell: str, role: str, column: str) -> str:
    """Return what is said of a cell among numbers: that none is there, or that it is none."""
    if cell.casefold() in ("", "nan", "-"):
        return (
            f"{cell!r} in the {role} column {column!r}, which has numbers: pass --missing skip "
            f"to leave such rows out, or --{role}-type text"
        )
    kind = "a plain decimal number" if role == "key" else "a finite number"
    return f"{cell!r} is not {kind}, as its {role} column has; mend it, or pass --{role}-type text"


@pytest.mark.parametrize(
    ("data", "options"),
    [
        pytest.param(NAMES, {}, id="plain"),
        pytest.param(NAMES.rstrip("\n"), {}, id="no final newline"),
        pytest.param(NAMES.replace("\n", "\r\n"), {}, id="CRLF"),
        pytest.param(NAMES.replace("\n", "\r\n").rstrip(), {}, id="CRLF, no final newline"),
        pytest.param(NAMES.replace("\n", "\r"), {}, id="CR"),
        pytest.param(b"\xef\xbb\xbf" + NAMES.encode(), {}, id="BOM"),
        pytest.param(NAMES.encode("utf-16"), {}, id="UTF-16 with BOM"),
        pytest.param(b"\xfe\xff" + NAMES.encode("utf-16-be"), {}, id="UTF-16 big-endian"),
        pytest.param(NAMES.encode("utf-32"), {}, id="UTF-32 with BOM"),
        pytest.param(NAMES.encode("utf-16-le"), {"encoding": "utf-16-le"}, id="UTF-16 by name"),
        pytest.param(gzip.compress(NAMES.encode()), {}, id="gzip by its bytes"),
        pytest.param(gzip.compress(NAMES.encode("utf-16")), {}, id="gzip of UTF-16"),
        pytest.param(
            gzip.compress(NAMES[:15].encode()) + gzip.compress(NAMES[15:].encode()),
            {},
            id="gzip twice",
        ),
        pytest.param("sep=;\n" + NAMES.replace(",", ";"), {}, id="sep=;"),
        pytest.param("sep=;\r\n" + NAMES.replace(",", ";"), {}, id="sep=; CRLF"),
        pytest.param("SEP=|\n" + NAMES.replace(",", "|"), {}, id="SEP=|"),
        pytest.param("sep=;\n" + NAMES, {"delimiter": ","}, id="--delimiter before sep="),
        pytest.param(NAMES.replace(",", "\t"), {"delimiter": "tab"}, id="--delimiter tab"),
        pytest.param(NAMES.replace(",", "\t"), {"delimiter": "\\t"}, id="--delimiter \\t"),
        pytest.param(NAMES.replace(",", "\t"), {"format": "tsv"}, id="--data-format tsv"),
        pytest.param(NAMES.replace(",", " "), {"delimiter": " "}, id="--delimiter space"),
        pytest.param("\n\n" + NAMES.replace("\n", "\n\n"), {}, id="blank lines"),
        pytest.param('"last","first"\n"Li","Mu"\n"Hu","Rachel"\n', {}, id="all quoted"),
        pytest.param("Li,Mu\nHu,Rachel\n", {"header": False}, id="--no-header"),
        pytest.param("first,last\nMu,Li\nRachel,Hu\n", {"key": ("last",)}, id="--key by name"),
        pytest.param("first,last\nMu,Li\nRachel,Hu\n", {"key": ("LAST",)}, id="--key folded"),
        pytest.param(
            "first,last\nMu,Li\nRachel,Hu\n", {"key": ("2",), "value": ("1",)}, id="by number"
        ),
    ],
)
@pytest.mark.parametrize("size", [4, 7, 1 << 20])
def test_read_right(put: Any, data: bytes | str, options: dict[str, Any], size: int) -> None:
    with chunk(size):
        assert rows(put("t.csv", data), **options) == READ


@pytest.mark.parametrize(
    ("extension", "sign"), [(".csv", ","), (".tsv", "\t"), (".tab", "\t"), (".txt", ","), ("", ",")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_format_by_name(put: Any, extension: str, sign: str, packed: bool) -> None:
    data = NAMES.replace(",", sign).encode()
    if packed:
        path = put(f"t{extension}.gz", gzip.compress(data))
    else:
        path = put(f"T{extension.upper()}", data)
    assert rows(path) == READ


def test_latin_1_is_read_by_its_name(put: Any) -> None:
    path = put("t.csv", "name,x\nJosé,1\nMüller,2\n".encode("latin-1"))
    assert keys(path, encoding="latin-1") == ["José", "Müller"]
    assert keys(path, encoding="cp1252") == ["José", "Müller"]


@pytest.mark.parametrize(
    "cell",
    ["007", "1e3", " Li ", "", "١٢", "[/]", ":smile:", "\x1b[31m", "\u202e", "1\u00a0000", "é"],
)
def test_keys_are_kept_as_they_are(put: Any, cell: str) -> None:
    path = put("t.csv", f"k,v\n{cell},x\nb,y\n")
    assert rows(path) == [(cell, "x"), ("b", "y")]
    assert keys(path) == [cell, "b"]


def test_duplicate_keys_stay_in_order(put: Any) -> None:
    assert rows(put("t.csv", "k,v\na,1\nb,2\na,3\n")) == [("a", "1"), ("b", "2"), ("a", "3")]


def test_quoted_cells(put: Any) -> None:
    data = 'k,v\n"a\nb","say ""hi"""\n"c,d","\r\n"\n"",""\n'
    for size in (1, 2, 5, 13, 1 << 20):
        with chunk(size):
            assert rows(put("t.csv", data)) == [("a\nb", 'say "hi"'), ("c,d", "\r\n"), ("", "")]


@pytest.mark.parametrize("quoted", [False, True])
def test_a_field_of_a_mebibyte(put: Any, quoted: bool) -> None:
    long = "x" * (1 << 20)
    cell = f'"{long}\n"' if quoted else long
    found = rows(put("t.csv", f"k,v\na,{cell}\nb,y\n"))
    assert found == [("a", long + "\n" * quoted), ("b", "y")]


REFUSED = [
    pytest.param("", ": is empty; a table needs a header and rows", id="empty"),
    pytest.param("\n\n\r\n", ": is empty; a table needs a header and rows", id="blank lines only"),
    pytest.param("sep=;\n", ": is empty; a table needs a header and rows", id="sep= only"),
    pytest.param("k,v\n", ": has a header and no rows", id="header only"),
    pytest.param("k,v", ": has a header and no rows", id="header only, no newline"),
    pytest.param("k,v\n\n\n", ": has a header and no rows", id="header and blank lines"),
    pytest.param("k,k\na,b\n", ":1: two columns are named 'k'; rename one, or pass --no-header", id="duplicate header"),
    pytest.param("k,v\na,b\nc,d,e\n", ":3: 3 fields where the header has 2; quote the comma or pass --delimiter", id="too many"),
    pytest.param("k,v\na,b\nc\n", ":3: 1 field where the header has 2; pass --delimiter", id="too few"),
    pytest.param("k,v\na,b\nc,d,e\nf\n", ":3: 3 fields where the header has 2; quote the comma or pass --delimiter", id="too many, then too few"),
    pytest.param("k,v\na\nc,d,e\n", ":2: 1 field where the header has 2; pass --delimiter", id="too few, then too many"),
    pytest.param('k,v\n"a\nb",c\nd,e,f\n', ":4: 3 fields where the header has 2; quote the comma or pass --delimiter", id="ragged after a quoted newline"),
    pytest.param("k,v\n\na\n", ":3: 1 field where the header has 2; pass --delimiter", id="ragged after a blank line"),
    pytest.param('k,v\na,b\n"c,d\n', ':3: a quote opens here and never closes; close it, or double it ("") inside a cell', id="unbalanced quote"),
    pytest.param('k,v\na,b\nc,"d\ne,f\n', ':3: a quote opens here and never closes; close it, or double it ("") inside a cell', id="unbalanced quote in a later cell"),
    pytest.param('k,v\n"L"i,Mu\n', ':2: text follows a closing quote; double the quotes ("") inside a cell', id="text after a quote"),
    pytest.param('k,v\na,b\nL"i,Mu\n', ':3: a quote inside a cell that does not start with one; quote the whole cell and double it ("")', id="quote in a cell"),
    pytest.param('k,v\n5" pipe,"a\nb"\n', ':2: a quote inside a cell that does not start with one; quote the whole cell and double it ("")', id="quote in a cell before a quoted newline"),
    pytest.param('k"x,v\na,b\n', ':1: a quote inside a cell that does not start with one; quote the whole cell and double it ("")', id="quote in the header"),
    pytest.param('"k,v\na,b\n', ':1: a quote opens here and never closes; close it, or double it ("") inside a cell', id="unbalanced quote in the header"),
    pytest.param("k,v\na,b\0\n", ":2: a NUL byte; is this a text file?", id="NUL"),
    pytest.param("k\0,v\na,b\n", ":1: a NUL byte; is this a text file?", id="NUL in the header"),
    pytest.param("k,v\na,b\nc,d".encode("utf-16-le"), ":1: a NUL byte; is this a text file?", id="UTF-16 without BOM"),
    pytest.param("k,v\na,b\nJosé,d\n".encode("latin-1"), ":3: byte 0xe9 is not UTF-8; pass --encoding, e.g. latin-1", id="latin-1"),
    pytest.param("ké,v\na,b\n".encode("latin-1"), ":1: byte 0xe9 is not UTF-8; pass --encoding, e.g. latin-1", id="latin-1 in the header"),
    pytest.param("\ufeffk,v\nab,c\n".encode("utf-16-le") + b"\x00\xd8\n\x00", ":3: is not utf-16 here; pass another --encoding", id="half a pair in UTF-16"),
    pytest.param("k\na\nb;c\n", ":3: one column, and a ';' in it; pass --delimiter ';' (or ',' to keep it)", id="a semicolon later"),
    pytest.param(gzip.compress(b"k,v\na,b\n" * 100)[:-12], ": the gzip data is damaged or truncated", id="truncated gzip"),
    pytest.param(gzip.compress(b"k,v\n")[:9], ": the gzip data is damaged or truncated", id="gzip header only"),
    pytest.param(gzip.compress(b"k,v\na,b\n") + b"x", ": the gzip data is damaged or truncated", id="rubbish after gzip"),
    pytest.param(b"\x1f\x8b", ": the gzip data is damaged or truncated", id="gzip magic only"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), REFUSED)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_refused(put: Any, data: bytes | str, line: str, size: int) -> None:
    path = put("bad.csv", data)
    with chunk(size):
        assert refusal(path).startswith(path + line)


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "inf", "-Infinity", "1_000", "١٢٣", "1,5", "1e999", "0x1F"]
)
@pytest.mark.parametrize("size", [4, 1 << 20])
def test_mistaken_numbers_are_refused(put: Any, cell: str, size: int) -> None:
    path = put("t.csv", f'k,v\na,1\nb,2\nc,"{cell}"\n')
    with chunk(size):
        assert refusal(path) == f"{path}:4: {no_number(cell, 'value', 'v')}"
    assert [row[1] for row in rows(path, value_type="text")] == ["1", "2", cell]


@pytest.mark.parametrize("cell", ["Li", "007", "1e3", "", "nan", "1\n2", "+1", "1.5.2", "--1", "-"])
def test_a_numeric_key_column_that_turns_to_text(put: Any, cell: str) -> None:
    path = put("t.csv", f'k,v\n1,a\n2,b\n"{cell}",c\n')
    with chunk(4):
        assert refusal(path) == f"{path}:4: {no_number(cell, 'key', 'k')}"
        assert keys(path, key_type="text") == ["1", "2", cell]


@pytest.mark.parametrize("cell", ["x", "", "1\n2", "1 ", "1e", "."])
def test_a_numeric_value_column_that_turns_to_text(put: Any, cell: str) -> None:
    path = put("t.csv", f'k,v\na,1\nb,2e0\n"c","{cell}"\n')
    with chunk(4):
        assert refusal(path) == f"{path}:4: {no_number(cell, 'value', 'v')}"
        assert [row[1] for row in rows(path, value_type="text")] == ["1", "2e0", cell]


def test_one_mistake_among_other_text_makes_no_column_of_numbers(put: Any) -> None:
    for column in (("1", "nan", "x"), ("nan", "1e999"), ("1", "x", "nan")):
        path = put("t.csv", "k,v\n" + "".join(f"a,{cell}\n" for cell in column))
        source, _ = blocks(path)
        assert source.columns.numeric == ()
    assert no_number("nan", "value", "v") in refusal(put("u.csv", "k,v\na,1\na,nan\n"))


def test_a_column_mixed_from_the_start_is_text(put: Any) -> None:
    source, _ = blocks(put("t.csv", "k,v\n1,a\nLi,2\n"))
    assert not source.columns.numeric_key
    assert source.columns.numeric == ()
    source, _ = blocks(put("t.csv", "k,v,w\n1,1e3,007\n-0.5,-.5,08\n"))
    assert source.columns.numeric_key
    assert source.columns.numeric == (0,)


@pytest.mark.parametrize("cell", ["007", "1e3", "+5", "00"])
def test_codes_are_text_unless_said_otherwise(put: Any, cell: str) -> None:
    path = put("t.csv", f"k,v\n{cell},a\n1,b\n")
    assert keys(path) == [cell, "1"]
    assert keys(path, key_type="number") == [[float(cell)], [1.0]]


def test_key_type_number_names_the_first_that_is_none(put: Any) -> None:
    path = put("t.csv", "k,v\n1,a\nLi,b\n")
    assert refusal(path, key_type="number").startswith(f"{path}:3: 'Li' is not")


def test_a_long_cell_is_cut_in_the_message(put: Any) -> None:
    path = put("t.csv", f"k,v\n1,2\n1,{'9' * 400}\n")
    assert "'" + "9" * 37 + "...' is not a finite number" in refusal(path)
    for length, shown in ((40, "x" * 40), (41, "x" * 37 + "...")):
        path = put("u.csv", f"k,v\n1,2\n1,{'x' * length}\n")
        assert f"'{shown}' is not a finite number" in refusal(path, value_type="number")


@pytest.mark.parametrize("option", ["key", "value"])
def test_a_missing_column(put: Any, option: str) -> None:
    path = put("t.csv", NAMES)
    with pytest.raises(UsageError) as caught:
        open_table(path, TableOptions(**{option: ("frist",)}))  # type: ignore[arg-type]
    assert str(caught.value) == f"`{option}`: {path} has no column 'frist'; did you mean 'first'?"
    for wrong in ("3", "0", "-1", "1.0", "²", "9" * 5000):
        assert "has no column" in refusal(path, **{option: (wrong,)})


def test_a_column_named_like_a_number_is_found_by_its_name(put: Any) -> None:
    assert keys(put("t.csv", "x,1\na,b\n"), key=("1",)) == ["b"]


def test_columns_that_differ_in_case_only_are_not_guessed(put: Any) -> None:
    path = put("t.csv", "a,A,b\n1,2,3\n")
    assert keys(path, key=("A",)) == [[2.0]]
    assert "has no column 'Bb'" in refusal(put("u.csv", "Bb ,bB,BB\n1,x,y\n"), key=("Bb",))


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "é", "\0"])
def test_a_delimiter_that_is_none(put: Any, delimiter: str) -> None:
    line = refusal(put("t.csv", NAMES), delimiter=delimiter)
    assert line == f"--delimiter {delimiter!r} is not one ASCII character (or tab)"


def test_unknown_encodings(put: Any) -> None:
    path = put("t.csv", NAMES)
    assert refusal(path, encoding="latin1x").startswith("--encoding 'latin1x' is not known")
    assert refusal(path, encoding="rot13").startswith("--encoding 'rot13' is not known")
    assert "did you mean 'utf-8'" in refusal(path, encoding="uft-8")
    for known in ("utf-16", "utf-32", "latin-1", "cp1252", "ascii", "shift_jis", "gb18030"):
        line = refusal(path, encoding=f"{known}q")
        assert line == f"--encoding '{known}q' is not known; did you mean {known!r}?"


def test_a_field_over_the_cap(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "FIELD_CAP", 1000)
    path = put("t.csv", "k,v\na,b\n" + "x" * 2000 + ",y\n")
    assert "a cell is larger" in refusal(put("u.csv", 'k,v\n"' + "x" * 1001 + '",y\n'))
    with chunk(100):
        assert refusal(path).startswith(f"{path}:3: a record is longer than")
        unbalanced = put("v.csv", 'k,v\na,b\n"c,d\n' + "e,f\n" * 1000)
        assert refusal(unbalanced).startswith(f"{unbalanced}:3: a record is longer than")


def test_one_column_is_keys_and_values(put: Any) -> None:
    path = put("t.csv", "k\na\n\nb\n")
    assert rows(path) == [("a", "a"), ("b", "b")]
    assert rows(put("u.csv", 'k\na\n""\nb\n')) == [("a", "a"), ("", ""), ("b", "b")]


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("k;v\nLi;Mu\nHu;Rachel\n", "';'"),
        ("k\tv\nLi\tMu\nHu\tRachel\n", "tab"),
        ("k|v\nLi|Mu\nHu|Rachel\n", "'|'"),
        ('k;v\n"Li";Mu\n"Hu";Rachel\n', "';'"),
        ("\r\nk;v\r\nLi;Mu\r\nHu;Rachel\r\n", "';'"),
        ("k;v\n" + "Li;Mu, Rachel\n" * 9, "';'"),
        ("k|v;w\n" + "Li|Mu;Rachel\n" * 9, "';'"),
        ("k;v\n" + "Li;Mu\n" * 90_000, "';'"),
    ],
)
def test_another_delimiter_is_found_where_it_splits_the_first_records_evenly(
    put: Any, text: str, sign: str
) -> None:
    source = open_table(put("t.csv", text))
    assert source.note.endswith(f"split evenly at {sign} and not at commas: read so")
    first = next(iter(source.blocks())).records([0])[0]
    assert first.key[0].startswith("Li")
    assert len(first.key + first.value) == 2


@pytest.mark.parametrize("count", [70, 70_000])
def test_blank_lines_before_the_header_hide_no_delimiter(
    count: int, put: Callable[..., str]
) -> None:
    assert rows(put("t.csv", "\n" * count + "a;b\n1;2\n")) == [("1", "2")]


@pytest.mark.parametrize(
    "text",
    [
        "k,v\na;b,c;d\n",  # at commas too
        "k\na\nb\n",
        "k,v\na,b;c\n",
        "x\n1.5\n",
    ],
)
def test_a_comma_is_the_delimiter_where_it_can_be(put: Any, text: str) -> None:
    source = open_table(put("t.csv", text))
    assert not source.note
    assert len(source.columns.key + source.columns.value) == 2  # one column is its own value


def test_the_note_of_another_delimiter_goes_to_stderr(put: Any) -> None:
    path = put("t.csv", "k;v\nLi;Mu\nHu;Rachel\n")
    found = run_inside("lookup", "Li", "--data", path, "--format", "value")
    assert (found.status, found.text) == (0, "Mu\n")
    line = f"qkv: {path}: the first records split evenly at ';' and not at commas: read so\n"
    assert found.error == line
    piped = run_qkv("lookup", "Li", "--data", "-", "--format", "value", stdin=b"k|v\nLi|Mu\n")
    assert (piped.status, piped.text) == (0, "Mu\n")
    assert "stdin: the first records split evenly at '|'" in piped.error
    said = run_inside("lookup", "Li", "--data", path, "--delimiter", ";", "--format", "value")
    assert (said.text, said.error) == ("Mu\n", "")


@pytest.mark.parametrize(("sign", "spelled"), [(";", "';'"), ("\t", "tab")])
def test_another_delimiter_that_splits_unevenly_is_asked_for(
    put: Any, sign: str, spelled: str
) -> None:
    path = put("t.csv", f"k{sign}v\na{sign}b\nc\n")
    asked = f"a {spelled} in it; pass --delimiter {spelled} (or ',' to keep it)"
    assert refusal(path) == f"{path}:2: one column, and {asked}"


def test_one_column_of_a_tsv_keeps_semicolons_by_its_delimiter(put: Any) -> None:
    path = put("t.tsv", "k\na;b\n")
    assert "(or tab to keep it)" in refusal(path)
    assert keys(path, delimiter="tab") == ["a;b"]
    assert keys(put("u.csv", 'sep=;\nk\n"a;b"\n')) == ["a;b"]


def test_several_key_columns_are_joined_or_stacked(put: Any) -> None:
    path = put("t.csv", "a,b,c\nx,y,1\nz,,2\n")
    assert keys(path, key=("a", "b")) == ["x y", "z "]
    assert rows(path, key=("b", "a")) == [("y", "x", "1"), ("", "z", "2")]
    assert keys(put("u.csv", "a,b,c\n1,2,1\n3,4,2\n"), key=("a", "b")) == [[1.0, 2.0], [3.0, 4.0]]
    # One column of text makes the key text.
    assert keys(put("v.csv", "a,b,c\n1,y,1\n"), key=("a", "b")) == ["1 y"]


def test_categories_are_in_order_of_occurrence(put: Any) -> None:
    block = blocks(put("t.csv", "k,v\na,red\nb,blue\nc,red\n"))[1][0]
    (column,) = block.labels()
    assert column.texts == ["red", "blue"]
    assert column.codes.tolist() == [0, 1, 0]


def test_columns_without_a_header_are_numbered(put: Any) -> None:
    source, _ = blocks(put("t.csv", "a,b,3\n"), header=False)
    assert (source.columns.key, source.columns.value) == (("1",), ("2", "3"))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        pytest.param("k,v\na,b\nc,d\ne,\0\n", ":4: a NUL byte; is this a text file?", id="NUL"),
        pytest.param("\0,v\na,b\n", ":1: a NUL byte; is this a text file?", id="NUL in the header"),
        pytest.param('k,v\na,b\n\n"c",d\ne,x"y\n', ":5: a quote inside a cell", id="stray quote"),
        pytest.param("k\na\n\nb;c\n", ":4: one column, and a ';' in it", id="other delimiter"),
    ],
)
def test_a_mistake_is_named_by_its_line_in_a_long_block(put: Any, data: str, line: str) -> None:
    path = put("t.csv", data)
    assert refusal(path).startswith(path + line)


@pytest.mark.parametrize("key", ["1e3", "007", "07", "+1", "1_0", "x", ""])
def test_a_number_that_is_no_plain_key_is_refused_in_a_later_block(put: Any, key: str) -> None:
    for value in ("3", "3e0"):
        path = put("t.csv", f"k,v\n1.5,2\n{key},{value}\n")
        with chunk(4):
            assert refusal(path) == f"{path}:3: {no_number(key, 'key', 'k')}"


def test_a_block_knows_what_it_surely_does_not_hold(put: Any) -> None:
    plain: Any = blocks(put("t.csv", NAMES))[1][0].key_bytes()
    assert [plain.may_hold(text) for text in ("Hu", "x", "Li", "Hux", "li")] == [
        *(True, False, True, False, False),
    ]
    # Of these nobody knows before they are taken apart, which may refuse them.
    for data, width in ((b'"Li",Mu\n', 2), (b"a,b,c\n", 2), (b"\xff,b\n", 2), (b"a;b\n", 1)):
        cells = csv_tables.CsvCells(data, 2, csv_tables.Dialect("t.csv", ",", width, guessed=True))
        assert cells.key_bytes(0) is None
    joined = put("u.csv", "k,l,v\na,b,c\n")
    assert blocks(joined, key=("k", "l"))[1][0].key_bytes() is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(NAMES, id="plain"),
        pytest.param("\ufeff" + NAMES, id="BOM"),
        pytest.param("sep=,\r\n" + NAMES.replace("\n", "\r\n"), id="sep and CRLF"),
        pytest.param('last,first\n"Li","Mu"\nHu,Rachel', id="quoted"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [4, 1 << 20])
def test_a_block_travels_light_and_is_itself_again(
    put: Any, data: str, packed: bool, size: int
) -> None:
    long = data + ("" if data.endswith("\n") else "\n") + "x,y\n" * 500
    for text, name in ((data, "t.csv"), (long, "long.csv")):
        encoded = text.encode()
        path = put(name, gzip.compress(encoded) if packed else encoded)
        with chunk(size):
            sent = list(open_table(path, TableOptions()).blocks())
            parcels = [pickle.dumps(block) for block in sent]
        assert packed or max(map(len, parcels)) < 1_500
        found = [pickle.loads(parcel).load() for parcel in parcels]
        assert [len(block) for block in found] == [len(block) for block in sent]
        assert [r for b in found for r in b.records(range(len(b)))][:2] == [
            (("Li",), ("Mu",)),
            (("Hu",), ("Rachel",)),
        ]
        for one, other in zip(found, sent, strict=True):
            assert (one.start, one.keys) == (other.start, other.keys)


def test_keys_are_found_without_strings(put: Any) -> None:
    path = put("t.csv", "v,name,w\na,Li,1\nLi,Lix,2\nb,é,3\nc,Li,4\nd,,5\ne,xLi,6\n")
    (block,) = blocks(path, key=("name",))[1]
    seen: Any = block.key_bytes()
    assert [seen.equal(text).tolist() for text in ("Li", "é", "", "lI", "i")] == [
        [0, 3],
        [2],
        [4],
        [],
        [],
    ]
    assert seen.non_ascii.tolist() == [False, False, True, False, False, False]
    assert seen.texts(np.array([2, 1])) == ["é", "Lix"]
    for text in ('k,v\n"a",b\n', "k,v\n\na,b\n"):  # not plain: records are not just lines
        assert blocks(put("u.csv", text))[1][0].key_bytes() is None


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-8"])
def test_a_block_in_another_encoding_travels_too(put: Any, encoding: str) -> None:
    path = put("t.csv", "name,v\nJosé,é\nÉva,1\n".encode(encoding))
    for size in (8, 1 << 20):
        with chunk(size):
            sent = list(open_table(path, TableOptions(encoding=encoding)).blocks())
        found = [pickle.loads(pickle.dumps(block)).load() for block in sent]
        assert [key for block in found for key in block.keys] == ["José", "Éva"]


def test_a_block_with_line_ends_of_windows_travels_too(put: Any) -> None:
    path = put("t.csv", b"name\r\nLi\r\nHu\r\n")
    (block,) = open_table(path, TableOptions()).blocks()
    assert pickle.loads(pickle.dumps(block)).load().keys == ["Li", "Hu"]


def test_a_file_that_changed_while_a_block_travelled(put: Any) -> None:
    path = put("t.csv", NAMES)
    (block,) = open_table(path, TableOptions()).blocks()
    parcel = pickle.dumps(block)
    put("t.csv", NAMES[:20])
    with pytest.raises(InputError) as caught:
        pickle.loads(parcel).load()
    assert str(caught.value) == (
        f"{path}: is shorter than when it was opened; was it rewritten meanwhile?"
    )
    os.remove(path)
    with pytest.raises(InputError) as caught:
        pickle.loads(parcel).load()
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_a_table_is_read_again(put: Any) -> None:
    source = open_table(put("t.csv", NAMES))
    assert source.reopenable
    first = [block.records(range(len(block))) for block in source.blocks()]
    assert first == [block.records(range(len(block))) for block in source.blocks()]


def test_blocks_do_not_depend_on_when_rows_are_asked_for(put: Any) -> None:
    block = blocks(put("t.csv", NAMES))[1][0]
    assert len(block) == 2
    assert block.records([1, 0]) == [(("Hu",), ("Rachel",)), (("Li",), ("Mu",))]


cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
odd = st.text(st.sampled_from("\",;\n\r\t 'a1é\ufeff\u2028"), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Return a table of two or three columns, whose header is plain."""
    width = draw(st.integers(2, 3))
    row = st.lists(cells | odd, min_size=width, max_size=width)
    return [[f"c{i}" for i in range(width)], *draw(st.lists(row, min_size=1, max_size=8))]


@given(
    table=tables(),
    sign=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    size=st.integers(1, 40),
    final=st.booleans(),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path: Path,
    table: list[list[str]],
    sign: str,
    end: str,
    quoting: Any,
    size: int,
    final: bool,
) -> None:
    # Python 3.11 does not quote a carriage return unless it is part of the line end.
    assume(
        end == "\r\n" or quoting == csv.QUOTE_ALL or not any("\r" in c for r in table for c in r)
    )
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=sign, lineterminator=end, quoting=quoting).writerows(table)
    text = out.getvalue() if final else out.getvalue().removesuffix(end)
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    options = {"delimiter": sign, "key_type": "text", "value_type": "text"}
    with chunk(size):
        assert rows(str(path), **options) == [tuple(row) for row in table[1:]]
    assert rows(str(path), **options) == [tuple(row) for row in table[1:]]


@given(text=st.text(st.sampled_from('ab",\n\r1 '), max_size=40), size=st.integers(1, 12))
def test_any_text_is_read_as_the_csv_module_reads_it_or_refused(
    tmp_path: Path, text: str, size: int
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("x,y\n" + text).encode())
    options = TableOptions(delimiter=",", key_type="text", value_type="text")

    def read() -> list[tuple[str, ...]] | str:
        try:
            found = [
                (*record.key, *record.value)
                for block in open_table(str(path), options).blocks()
                for record in block.records(range(len(block)))
            ]
        except InputError as error:
            return str(error)
        return found

    whole = read()
    with chunk(size):
        cut = read()
    if isinstance(whole, str):
        assert isinstance(cut, str)
    else:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        assert cut == whole == [tuple(row) for row in reader if row]


finite = st.floats(allow_nan=False, allow_infinity=False)
spellings = st.sampled_from(
    [repr, "{:.3f}".format, "{:e}".format, "{:+.17g}".format, "{:.0f}".format]
)


@given(
    values=st.lists(st.tuples(finite, finite), min_size=1, max_size=20),
    spell=spellings,
    quote=st.booleans(),
    size=st.integers(20, 4000),
)
def test_numbers_equal_those_of_python(
    tmp_path: Path,
    values: list[tuple[float, float]],
    spell: Callable[[float], str],
    quote: bool,
    size: int,
) -> None:
    written = [[spell(x) for x in row] for row in values]
    mark = '"' if quote else ""
    lines = [f"k{i},{mark}{a}{mark},{b}" for i, (a, b) in enumerate(written)]
    path = tmp_path / "t.csv"
    path.write_text("k,a,b\n" + "\n".join(lines))
    wanted = [[float(x) for x in row] for row in written]
    with chunk(size):
        found = numbers(str(path), value_type="number")
    assert found == wanted
    assert [math.copysign(1, x) for row in found for x in row] == [
        math.copysign(1, x) for row in wanted for x in row
    ]


@given(
    values=st.lists(st.decimals(-(10**6), 10**6, places=3), min_size=1, max_size=30),
    size=st.integers(5, 99),
)
def test_vectors_equal_those_of_python(tmp_path: Path, values: list[Any], size: int) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{v:f},{i}\n" for i, v in enumerate(values)))
    with chunk(size):
        assert keys(str(path)) == [[float(v)] for v in values]
        assert np.array(numbers(str(path)))[:, 0].tolist() == list(range(len(values)))


@given(st.text("abc", max_size=30), st.text("abc", max_size=5))
def test_bytes_are_found_as_python_finds_them(text: str, wanted: str) -> None:
    assert KeyBytes(text.encode(), b"", lambda: None).may_hold(wanted) is (wanted in text)
    for start in range(len(text)):
        for part in (text[start : start + 3], text[start : start + 5]):
            assert KeyBytes(text.encode(), b"", lambda: None).may_hold(part)


def test_bytes_that_share_their_ends_alone_are_not_found() -> None:
    for wanted in ("acbc", "abac"):
        assert not KeyBytes(b"abbcb", b"", lambda: None).may_hold(wanted)


@given(
    st.lists(st.text("0019.-+eE /n_", max_size=4), min_size=2, max_size=8),
    st.lists(st.sampled_from(["0", "12", "-.5", "1e3", "+7.", "1.5E-2", "007"]), min_size=8),
    st.sampled_from([" 1", "1 ", "nan", "-inf", "1_0", "0x1", "1d3", "1e", "/", ":", "1" * 16]),
    st.sampled_from([PLAIN, VALUE, NUMBER]),
)
def test_numbers_are_read_in_bulk_by_the_grammar(
    odd: list[str], numbers: list[str], stray: str, grammar: str
) -> None:
    for cells in (odd, numbers, [*numbers[:7], stray]):
        rows = list(zip(cells[::2], cells[1::2], strict=False))
        data = "".join(f"{a},{b}\n" for a, b in rows).encode()
        dialect = csv_tables.Dialect("t.csv", ",", 2, guessed=False)
        block, wider = (csv_tables.CsvCells(d, 2, dialect) for d in (data, data + b"1,2,3\n"))
        for wanted in ((0, 1), (1, 0), (1,), (0,)):
            found = block.matrix(wanted, grammar)
            assert wider.matrix(wanted, grammar) is None
            if found is not None:
                assert all_match([row[at] for row in rows for at in wanted], grammar)
                assert found.tolist() == [[float(row[at]) for at in wanted] for row in rows]


@given(st.text("0012.-,\n", max_size=40), st.sampled_from([3, 5, 1 << 17]))
def test_leading_zeros_are_found_wherever_slices_meet(text: str, size: int) -> None:
    wanted = re.search(r"(?:^|[,\n-])0[0-9]", text) is not None
    with mock.patch.object(grammar, "_SLICE", size):
        assert grammar._has_leading_zero(text.encode()) is wanted


def test_a_first_cell_is_told_by_the_reader_of_all_columns(put: Any) -> None:
    for cells, kind in ((("1", "2.5"), True), (("1", "07"), False), (("1", "1e3"), False)):
        path = put("t.csv", "k,v\n" + "".join(f"{cell},1\n" for cell in cells))
        assert open_table(path, TableOptions()).columns.numeric_key is kind


@pytest.mark.parametrize("row", ["1 ,2", "1,2", "1,2,3,4"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("options", [{}, {"key": ("a",), "value": ("b",)}])
def test_rows_of_numbers_that_are_ragged_alike(
    put: Any, row: str, before: int, options: dict[str, Any]
) -> None:
    path = put("t.csv", "a,b,c\n" + "1,2,3\n" * before + f"{row}\n" * 4)
    assert "fields where the header has 3" in refusal(path, **options)


def test_some_columns_of_a_table_of_numbers(put: Any) -> None:
    path = put("t.csv", "a,b,c\n1,2,3\n4,5,6\n")
    assert keys(path, key=("c",), value=("a",)) == [[3.0], [6.0]]
    assert numbers(path, key=("c",), value=("b",)) == [[2.0], [5.0]]
    assert numbers(path, key=("b",), value=("c", "a")) == [[3.0, 1.0], [6.0, 4.0]]


@pytest.mark.parametrize(
    "row", ["1,2,3 ", "1,/2,3", "1e1,2,3", "1,+2,3", "1,2,0x3", "1,2,nan", f"1,2,{9**16}"]
)
def test_what_is_no_plain_number_is_not_read_as_one(put: Any, row: str) -> None:
    path = put("t.csv", "a,b,c\n1,2,3\n" + f"{row}\n" * 4)
    (block,) = open_table(path, TableOptions(value_type="text")).blocks()
    assert block.cells.matrix((0, 1, 2), PLAIN) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("sign", ["-", ".", "/", "7", "e"])
def test_a_delimiter_that_numbers_are_spelled_with(put: Any, sign: str) -> None:
    path = put("t.csv", sign.join("abc") + "\n" + sign.join("123") + "\n" + sign.join("456") + "\n")
    if sign == "7":
        path = put("t.csv", "a7b7c\n17273\n47576\n")
    assert rows(path, delimiter=sign) == [("1", "2", "3"), ("4", "5", "6")]
    assert keys(path, delimiter=sign) == [[1.0], [4.0]]
