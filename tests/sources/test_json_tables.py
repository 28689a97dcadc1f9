"""JSON and JSON Lines: what is read, what is refused, and where."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli.errors import InputError
from qkvcli.sources import bytes_in, json_tables
from qkvcli.sources.store import open_table
from tests.support.tables import blocks, chunk, keys, numbers, refusal, rows

if TYPE_CHECKING:
    from pathlib import Path

READ = [("Li", "Mu"), ("Hu", "Rachel")]
LINES = '{"last": "Li", "first": "Mu"}\n{"last": "Hu", "first": "Rachel"}\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("t.json", '{"Li": "Mu", "Hu": "Rachel"}', id="object"),
        pytest.param("t.json", ' \n{ "Li" : "Mu" ,\r\n\t"Hu":"Rachel" } \n', id="white space"),
        pytest.param("t.json", '[["Li", "Mu"], ["Hu", "Rachel"]]', id="pairs"),
        pytest.param("t.json", f"[{LINES.replace(chr(10), ',').rstrip(',')}]", id="records"),
        pytest.param("t.json", b"\xef\xbb\xbf" + b'{"Li": "Mu", "Hu": "Rachel"}', id="BOM"),
        pytest.param("t.json", '{"Li": "Mu", "Hu": "Rachel"}'.encode("utf-16"), id="UTF-16"),
        pytest.param("t.json.gz", gzip.compress(b'{"Li": "Mu", "Hu": "Rachel"}'), id="gzip"),
        pytest.param("t.json", '{"\\u004ci": "M\\u0075", "Hu": "Rachel"}', id="escapes"),
        pytest.param("t.jsonl", LINES, id="lines"),
        pytest.param("t.ndjson", LINES.rstrip("\n"), id="no final newline"),
        pytest.param("t.jsonl", LINES.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("t.jsonl", "\n \n" + LINES.replace("\n", "\n\n\t\n"), id="blank lines"),
        pytest.param("t.jsonl", '["Li", "Mu"]\n["Hu", "Rachel"]\n', id="lines of pairs"),
        pytest.param("t.jsonl.gz", gzip.compress(LINES.encode()), id="lines, gzip"),
        pytest.param(
            "t.jsonl",
            '{"last": "Li", "first": "Mu"}\n{"first": "Rachel", "last": "Hu"}\n',
            id="another order",
        ),
    ],
)
@pytest.mark.parametrize("size", [4, 7, 1 << 20])
def test_read_right(put: Any, name: str, data: bytes | str, size: int) -> None:
    with chunk(size):
        assert rows(put(name, data)) == READ


def test_column_names(put: Any) -> None:
    columns = blocks(put("t.json", '{"a": 1}'))[0].columns
    assert (columns.key, columns.value) == (("key",), ("value",))
    assert blocks(put("t.json", '[{"x": "a", "y": 1}]'))[0].columns.value == ("y",)
    assert keys(put("t.jsonl", LINES), key=("first",)) == ["Mu", "Rachel"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("null", ""),
        ("true", "true"),
        ("false", "false"),
        ("1", "1"),
        ("1.0", "1"),
        ("-0.5", "-0.5"),
        ("1e2", "100"),
        ("1.5e300", "15" + "0" * 299),
        ("1e23", "1" + "0" * 23),
        ("1e-9", "0.000000001"),
        ("[1, 2]", "[1,2]"),
        ('{"a": ["é"]}', '{"a":["é"]}'),
        ('"\\u0000\\u001b"', "\0\x1b"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"a\u2028b"', "a\u2028b"),
        ('"[/] :smile:"', "[/] :smile:"),
    ],
)
def test_cells(put: Any, value: str, cell: str) -> None:
    assert rows(put("t.json", f'{{"k": {value}, "l": "x"}}'))[0] == ("k", cell)
    assert rows(put("t.jsonl", f'["k", {value}]\n["l", "x"]\n'))[0] == ("k", cell)


def test_numbers_are_pooled_and_keys_are_vectors(put: Any) -> None:
    path = put("t.jsonl", '{"x": 1, "y": 0.1}\n{"x": -2.5, "y": 1e-7}\n')
    assert keys(path) == [[1.0], [-2.5]]
    assert numbers(path) == [[0.1], [1e-7]]


def test_small_numbers_are_keys_too(put: Any) -> None:
    assert keys(put("t.json", "[[1e-7, 2], [1, 3]]")) == [[1e-7], [1.0]]


def test_whole_numbers_that_a_double_cannot_hold_stay_apart(put: Any) -> None:
    ids = ["9007199254740992", "9007199254740993", "1"]
    assert keys(put("t.json", f'[[{ids[0]}, "a"], [{ids[1]}, "b"], [1, "c"]]')) == ids


def test_an_encoding_is_honoured(put: Any) -> None:
    for name, data in (("t.jsonl", '["Jos\xe9", "x"]\n'), ("t.json", '{"Jos\xe9": "x"}')):
        assert rows(put(name, data.encode("latin-1")), encoding="latin-1") == [("José", "x")]


def test_duplicate_keys_of_rows_are_kept(put: Any) -> None:
    assert rows(put("t.json", '[["a", 1], ["a", 2]]')) == [("a", "1"), ("a", "2")]


DEEP = "[" * 100_000


REFUSED = [
    pytest.param("", ":1:1: is empty; a database is an object or a list", id="empty"),
    pytest.param(" \n\n", ":3:1: is empty; a database is an object or a list", id="blank"),
    pytest.param("{}", ": holds no rows", id="no members"),
    pytest.param("[]", ": holds no rows", id="no elements"),
    pytest.param("3", ":1:1: a database is an object or a list, not a single value", id="number"),
    pytest.param('"Li"', ":1:1: a database is an object or a list, not a single value", id="string"),
    pytest.param("nul", ":1:1: not well-formed JSON (expecting value)", id="word"),
    pytest.param("NaN", ":1:1: NaN is not JSON; write null, or leave the row out", id="NaN alone"),
    pytest.param('{"a": 1,\n "a": 2}', ":2:2: the key 'a' stands twice in one object; keep one", id="duplicate key"),
    pytest.param('[{"a": 1},\n {"b": 1, "b": 2}]', ":2:2: the key 'b' stands twice in one object; keep one", id="duplicate column"),
    pytest.param('[{"a": 1, "b": 1, "b": 2}]', ":1:2: the key 'b' stands twice in one object; keep one", id="duplicate column later"),
    pytest.param('{"a": {"b": 1, "b": 2}}', ":1:7: the key 'b' stands twice in one object; keep one", id="duplicate key inside"),
    pytest.param('{"a": NaN}', ":1:7: NaN is not JSON; write null, or leave the row out", id="NaN"),
    pytest.param('{"a": [-Infinity]}', ":1:7: -Infinity is not JSON; write null, or leave the row out", id="Infinity"),
    pytest.param('{"a": 1e999}', ":1:7: 1e999 is out of the range of a double; write it as a string", id="1e999"),
    pytest.param(f'{{"a": {"9" * 5000}}}', ":1:7: an integer of 5000 digits; write it as a string", id="5000 digits"),
    pytest.param(f'{{"a": {"9" * 400}}}', ":1:7: an integer of 400 digits; write it as a string", id="400 digits"),
    pytest.param(f'{{"a": {DEEP}', ":1:7: nested too deeply", id="deep list"),
    pytest.param('{"a": ' + '{"a":' * 100_000, ":1:7: nested too deeply", id="deep object"),
    pytest.param('{"a": "\\ud800"}', ":1:7: half of a surrogate pair", id="lone surrogate"),
    pytest.param('{"\\udc00x": 1}', ":1:2: half of a surrogate pair", id="lone surrogate in a key"),
    pytest.param('[{"\\ud800": 1}]', ":1:2: half of a surrogate pair", id="lone surrogate in a column"),
    pytest.param('[["a", 1], {"a": 1}]', ":1:12: this row has another shape than the first, which is a [key, value] pair", id="pair, then record"),
    pytest.param('[{"a": 1, "b": 2},\n{"a": 1}]', ":2:1: this row has another shape than the first, which is an object with a, b", id="a column less"),
    pytest.param('[{"a": 1, "b": 2},\n["a", 1]]', ":2:1: this row has another shape than the first, which is an object with a, b", id="record, then pair"),
    pytest.param("[{}]", ":1:2: an empty record; a row needs a key", id="empty record"),
    pytest.param("[1, 2]", ":1:2: a row is an object or a [key, value] pair, not this (a number)", id="numbers"),
    pytest.param('["ab"]', ":1:2: a row is an object or a [key, value] pair, not this (a string)", id="strings"),
    pytest.param("[[1, 2, 3]]", ":1:2: a row is an object or a [key, value] pair, not this (a list of 3)", id="triples"),
    pytest.param("[null]", ":1:2: a row is an object or a [key, value] pair, not this (null)", id="null"),
    pytest.param("[true]", ":1:2: a row is an object or a [key, value] pair, not this (true)", id="true"),
    pytest.param('{"a": 1', ":1:8: not well-formed JSON (expecting ',' or '}')", id="truncated object"),
    pytest.param('[["a", 1]\n', ":2:1: not well-formed JSON (expecting ',' or ']')", id="truncated list"),
    pytest.param('{"a": "b', ":1:7: not well-formed JSON (unterminated string", id="truncated string"),
    pytest.param('{"a"', ":1:5: not well-formed JSON (expecting ':')", id="truncated key"),
    pytest.param('{"a": 1,}', ":1:9: not well-formed JSON (expecting a key in double quotes)", id="comma at the end"),
    pytest.param("{'a': 1}", ":1:2: not well-formed JSON (expecting a key in double quotes)", id="single quotes"),
    pytest.param('[["a", 1],]', ":1:11: not well-formed JSON (expecting value)", id="comma at the end of a list"),
    pytest.param('{"a": 1} {"b": 2}', ":1:10: more text after the end of the document; is this JSON Lines?", id="two documents"),
    pytest.param('{"a": "x\ty"}', ":1:9: not well-formed JSON (invalid control character at", id="a tab in a string"),
    pytest.param('{"a":\n "\\x"}', ":2:3: not well-formed JSON (invalid \\escape", id="an escape that is none"),
    pytest.param(b'{"a":\n "\xff"}', ":2: byte 0xff is not UTF-8; pass --encoding, e.g. latin-1", id="not UTF-8"),
    pytest.param('{"a": 01}', ":1:8: not well-formed JSON (expecting ',' or '}')", id="leading zero"),
    pytest.param('[{"a": 1, "b": "x"},\n{"a": "Li", "b": 2}]', "", id="mixed kinds are text"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), REFUSED)
def test_refused(put: Any, data: bytes | str, line: str) -> None:
    path = put("bad.json", data)
    if line:
        assert refusal(path).startswith(path + line)
    else:
        assert rows(path)


REFUSED_LINES = [
    pytest.param("", ": holds no rows", id="empty"),
    pytest.param("\n \n", ": holds no rows", id="blank"),
    pytest.param('["a", 1]\n["b"', ":2:5: not well-formed JSON (expecting ',' delimiter)", id="truncated"),
    pytest.param('["a", 1]\n\n["b", NaN]\n', ":3:1: NaN is not JSON", id="NaN"),
    pytest.param('["a", 1]\n"b"\n', ":2:1: a row is an object or a [key, value] pair, not this (a string)", id="scalar"),
    pytest.param('["a", 1] ["b", 2]\n', ":1:10: more text after the end of the row; put each row on a line of its own", id="two on a line"),
    pytest.param('["a", 1]\n{"k": 1}\n', ":2:1: this row has another shape", id="mixed shapes"),
    pytest.param('{"a": 1, "b": 2}\n{"a": 1, "c": 2}\n', ":2:1: this row has another shape", id="mixed columns"),
    pytest.param('{\n"a": 1}\n', ":1:2: not well-formed JSON (expecting property name", id="a document"),
    pytest.param('["a", 1]\n["b", "' + "\\ud800" + '"]\n', ":2:1: half of a surrogate pair", id="lone surrogate"),
    pytest.param('["a", 1]\n["b", ' + DEEP + "\n", ":2:1: nested too deeply", id="deep"),
    pytest.param(b'["a", 1]\n["\xe9", 2]\n', ":2: byte 0xe9 is not UTF-8; pass --encoding, e.g. latin-1", id="latin-1"),
    pytest.param('["a", 1]\n["b", "x"]\n', "", id="mixed kinds are text"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), REFUSED_LINES)
@pytest.mark.parametrize("size", [4, 1 << 20])
def test_refused_lines(put: Any, data: bytes | str, line: str, size: int) -> None:
    path = put("bad.jsonl", data)
    with chunk(size):
        if line:
            assert refusal(path).startswith(path + line)
        else:
            assert rows(path)


@pytest.mark.parametrize("depth", [100, 500, 800, *range(900, 1000, 3), 2000])
def test_any_depth_is_read_or_refused(put: Any, depth: int) -> None:
    for escape in ("", "\\u0041"):
        path = put("t.json", f'{{"a": {"[" * depth}"{escape}"{"]" * depth}, "b": "x"}}')
        try:
            assert len(rows(path)) == 2
        except InputError as error:
            assert "nested too deeply" in str(error)  # noqa: PT017 - it may also be read


def test_a_number_that_turns_to_text_in_a_later_block(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(json_tables, "ROWS", 2)
    path = put("t.jsonl", '["a", 1]\n["b", 2]\n\n["c", "x"]\n')
    assert refusal(path).startswith(f"{path}:4: 'x' is not a finite number")
    path = put("t.json", '{"a": 1,\n"b": 2,\n"c": null}')
    assert refusal(path).startswith(f"{path}:3: '' in the value column 'value', which has numbers")


def test_blocks_count_on(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(json_tables, "ROWS", 3)
    source = open_table(put("t.json", json.dumps([[f"k{i}", i] for i in range(10)])))
    for _ in range(2):
        assert [(block.start, len(block)) for block in source.blocks()] == [
            (0, 3), (3, 3), (6, 3), (9, 1),
        ]  # fmt: skip


def test_a_document_over_the_cap(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bytes_in, "DOCUMENT_CAP", 1000)
    for name, data in (
        ("t.json", b'{"a": "' + b"x" * 1000 + b'"}'),
        ("t.json.gz", gzip.compress(b'{"a": "' + b"x" * 1000 + b'"}')),
    ):
        path = put(name, data)
        assert refusal(path).startswith(f"{path}: is larger than")


def test_a_gzip_that_lies_about_its_size(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bytes_in, "DOCUMENT_CAP", 1000)
    data = gzip.compress(b'{"a": "' + b"x" * 5000 + b'"}')
    path = put("t.json.gz", data[:-4] + b"\1\0\0\0")
    assert refusal(path).startswith(path)


def test_a_line_over_the_cap(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(json_tables, "FIELD_CAP", 1000)
    path = put("t.jsonl", '["a", "b"]\n["' + "x" * 3000 + '", 1]\n')
    with chunk(100):
        assert refusal(path).startswith(f"{path}:2: a line is longer than")


json_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
json_value: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | json_text
)
json_value |= st.floats(allow_nan=False, allow_infinity=False)


@given(
    pairs=st.lists(st.tuples(json_text, json_value), min_size=1, max_size=8),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    size=st.integers(4, 60),
)
def test_every_shape_gives_the_same_rows(
    tmp_path: Path, pairs: list[tuple[str, Any]], ascii_only: bool, indent: int | None, size: int
) -> None:
    wanted = [(key, json_tables.cell(value)) for key, value in pairs]

    def read(name: str, text: str) -> list[tuple[str, ...]]:
        path = tmp_path / name
        path.write_bytes(text.encode())
        with chunk(size):
            return rows(str(path), value_type="text", key_type="text")

    as_records = [{"key": key, "value": value} for key, value in pairs]
    assert read("a.json", json.dumps(pairs, ensure_ascii=ascii_only, indent=indent)) == wanted
    assert read("b.json", json.dumps(as_records, ensure_ascii=ascii_only, indent=indent)) == wanted
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in as_records]
    assert read("c.jsonl", "\n".join(lines)) == wanted
    once = dict(pairs)
    found = read("d.json", json.dumps(once, ensure_ascii=ascii_only, indent=indent))
    assert found == [(key, json_tables.cell(value)) for key, value in once.items()]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_cell_reads_back_the_same(value: float) -> None:
    assert float(json_tables.cell(value)) == value
    assert "." not in json_tables.cell(float(int(value))) or abs(value) < 1


def test_one_line_takes_time_in_proportion_to_its_length(put: Any) -> None:
    """In proportion: twenty times as long; to the length squared: some two hundred times."""
    seconds = []
    for count in (5_000, 100_000):
        path = put(f"{count}.json", json.dumps([{"k": f"k{i}", "v": i} for i in range(count)]))
        began = time.process_time()
        assert len(rows(path)) == count
        seconds.append(time.process_time() - began)
    assert seconds[1] < 60 * seconds[0], seconds


def test_a_number_that_is_none_is_told_at_its_line(put: Any) -> None:
    path = put("t.json", '[\n  {"k": "a", "v": 1},\n  {"k": "b", "v": NaN}\n]\n')
    assert refusal(path).startswith(f"{path}:3:")
