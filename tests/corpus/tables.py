"""CSV, TSV, JSON, JSON Lines, labels and lists of queries that cannot be read."""

from __future__ import annotations

import gzip
import re
from typing import NamedTuple

from tests.support.contract import Case

COMMANDS = ("lookup", "pool")


class Bad(NamedTuple):
    """A file, the place in it that the error names, and how the error's text starts."""

    name: str
    data: bytes | str
    place: str
    text: str
    options: tuple[str, ...] = ()


RAGGED = "3 fields where the header has 2; quote the comma or pass --delimiter"
SHORT = "1 field where the header has 2; pass --delimiter"
GZIP = "the gzip data is damaged or truncated"
NOT_JSON = "not well-formed JSON"
NUL = "a NUL byte; is this a text file?"

DELIMITED: dict[str, Bad] = {
    "empty": Bad("t.csv", "", "", "is empty; a table needs a header and rows"),
    "blank lines only": Bad("t.csv", "\n\n\r\n", "", "is empty; a table needs"),
    "sep= only": Bad("t.csv", "sep=;\n", "", "is empty; a table needs"),
    "header only": Bad("t.csv", "k,v\n", "", "has a header and no rows"),
    "header only, no newline": Bad("t.csv", "k,v", "", "has a header and no rows"),
    "duplicate header": Bad("t.csv", "k,k\na,b\n", ":1", "two columns are named 'k'; rename one"),
    "too many cells": Bad("t.csv", "k,v\na,b\nc,d,e\n", ":3", RAGGED),
    "too few cells": Bad("t.csv", "k,v\na,b\nc\n", ":3", SHORT),
    "ragged after a quoted newline": Bad("t.csv", 'k,v\n"a\nb",c\nd,e,f\n', ":4", RAGGED),
    "ragged in a TSV": Bad("t.tsv", "k\tv\na\tb\tc\n", ":2", "3 fields where the header has 2"),
    "ragged at line 5001": Bad("t.csv", "k,v\n" + "a,b\n" * 4999 + "c\n", ":5001", SHORT),
    "unbalanced quote": Bad(
        "t.csv", 'k,v\na,b\n"c,d\n', ":3", "a quote opens here and never closes"
    ),
    "unbalanced quote, later cell": Bad(
        "t.csv", 'k,v\na,"d\ne,f\n', ":2", "a quote opens here and never closes"
    ),
    "unbalanced quote, header": Bad(
        "t.csv", '"k,v\na,b\n', ":1", "a quote opens here and never closes"
    ),
    "text after a quote": Bad("t.csv", 'k,v\n"L"i,Mu\n', ":2", "text follows a closing quote"),
    "quote in a cell": Bad("t.csv", 'k,v\na,b\nL"i,Mu\n', ":3", "a quote inside a cell"),
    "quote in the header": Bad("t.csv", 'k"x,v\na,b\n', ":1", "a quote inside a cell"),
    "NUL": Bad("t.csv", "k,v\na,b\0\n", ":2", NUL),
    "NUL in the header": Bad("t.csv", "k\0,v\na,b\n", ":1", NUL),
    "UTF-16 without a mark": Bad("t.csv", "k,v\na,b\n".encode("utf-16-le"), ":1", NUL),
    "half a pair in UTF-16": Bad(
        "t.csv",
        "\ufeffk,v\na,b\n".encode("utf-16-le") + b"\x00\xd8\n\x00",
        ":3",
        "is not utf-16 here; pass another --encoding",
    ),
    "latin-1": Bad(
        "t.csv",
        "k,v\na,b\nJosé,d\n".encode("latin-1"),
        ":3",
        "byte 0xe9 is not UTF-8; pass --encoding",
    ),
    "latin-1 header": Bad(
        "t.csv", "ké,v\na,b\n".encode("latin-1"), ":1", "byte 0xe9 is not UTF-8; pass --encoding"
    ),
    "binary": Bad("t.csv", bytes(range(256)), ":1", "a "),
    "semicolons": Bad(
        "t.csv", "k;v\na;b\nc\n", ":2", "one column, and a ';' in it; pass --delimiter ';'"
    ),
    "tabs": Bad(
        "t.csv", "k\tv\na\tb\nc\n", ":2", "one column, and a tab in it; pass --delimiter tab"
    ),
    "a cell over the cap": Bad("t.csv", 'k,v\n"' + "x" * (17 << 20) + '",y\n', ":2", "a "),
    "truncated gzip": Bad("t.csv.gz", gzip.compress(b"k,v\na,b\n" * 100)[:-12], "", GZIP),
    "gzip header only": Bad("t.csv.gz", gzip.compress(b"k,v\n")[:9], "", GZIP),
    "rubbish after gzip": Bad("t.csv.gz", gzip.compress(b"k,v\na,b\n") + b"x", "", GZIP),
    "ragged in gzip": Bad("t.csv.gz", gzip.compress(b"k,v\na,b,c\n"), ":2", RAGGED),
    "values nan": Bad(
        "t.csv",
        "k,v\na,1\nb,nan\n",
        ":3",
        "'nan' in the value column 'v', which has numbers: pass --missing skip",
    ),
    "values inf": Bad("t.csv", "k,v\na,1\nb,inf\n", ":3", "'inf' is not a finite number"),
    "values 1_000": Bad("t.csv", "k,v\na,1\nb,1_000\n", ":3", "'1_000' is not a finite number"),
    "values in Arabic digits": Bad(
        "t.csv", "k,v\na,1\nb,١٢٣\n", ":3", "'١٢٣' is not a finite number"
    ),
    "values 1,5": Bad("t.csv", 'k,v\na,1\nb,"1,5"\n', ":3", "'1,5' is not a finite number"),
    "values 1e999": Bad("t.csv", "k,v\na,1\nb,1e999\n", ":3", "'1e999' is not a finite number"),
    "keys 1_000": Bad(
        "t.csv", "k,v\n1,a\n1_000,b\n", ":3", "'1_000' is not a plain decimal number"
    ),
    "keys nan": Bad(
        "t.csv",
        "k,v\n1,a\nnan,b\n",
        ":3",
        "'nan' in the key column 'k', which has numbers: pass --missing skip",
    ),
    "keys 1e999": Bad(
        "t.csv",
        "k,v\n1,a\n1e999,b\n",
        ":3",
        "'1e999' is not a plain decimal number",
        ("--key-type", "number"),
    ),
    "text for --key-type number": Bad(
        "t.csv", "k,v\n1,a\nLi,b\n", ":3", "'Li' is not", ("--key-type", "number")
    ),
    "text for --value-type number": Bad(
        "t.csv", "k,v\na,1\nb,Mu\n", ":3", "'Mu' is not", ("--value-type", "number")
    ),
    "text after a block of numbers": Bad(
        "t.csv",
        "k,v\n" + "1,2\n" * 400_000 + "Li,3\n",
        ":400002",
        "'Li' is not a plain decimal number",
        ("--mode", "softmax", "--bandwidth", "1"),
    ),
}

JSON: dict[str, Bad] = {
    "empty": Bad("t.json", "", ":1:1", "is empty; a database is an object or a list"),
    "scalar": Bad("t.json", "3\n", ":1:1", "a database is an object or a list, not a single value"),
    "string": Bad("t.json", '"Li"\n', ":1:1", "a database is an object or a list"),
    "no rows": Bad("t.json", "{}", "", "holds no rows"),
    "no rows in a list": Bad("t.json", "[]", "", "holds no rows"),
    "truncated": Bad("t.json", '{"Li": "Mu",', ":1:13", NOT_JSON),
    "truncated string": Bad("t.json", '{"Li": "M', ":1:8", NOT_JSON),
    "trailing comma": Bad("t.json", '{"a": 1,\n}', ":2:1", NOT_JSON),
    "single quotes": Bad("t.json", "{'Li': 'Mu'}", ":1:2", NOT_JSON),
    "text after it": Bad(
        "t.json", '{"a": 1} x', ":1:10", "more text after the end of the document"
    ),
    "duplicate keys": Bad(
        "t.json", '{"Li": "Mu",\n "Li": "x"}', ":2:2", "the key 'Li' stands twice in one object"
    ),
    "duplicate keys in a record": Bad(
        "t.json", '[{"a": 1, "a": 2}]', ":1:2", "the key 'a' stands twice"
    ),
    "NaN": Bad("t.json", '{"a": NaN}', ":1:7", "NaN is not JSON; write null"),
    "Infinity": Bad("t.json", '{"a": -Infinity}', ":1:7", "-Infinity is not JSON; write null"),
    "1e999": Bad("t.json", '{"a": 1e999}', ":1:7", "1e999 is out of the range of a double"),
    "5,000 digits": Bad("t.json", '{"a": ' + "9" * 5000 + "}", ":1:7", "an integer of 5000 digits"),
    "nested 100,000 deep": Bad("t.json", "[" * 100_000, "", "."),
    "nested 100,000 deep in a value": Bad(
        "t.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", ":1:7", "nested too deeply"
    ),
    "lone surrogate": Bad("t.json", '{"a": "\\ud800"}', ":1:7", "half of a surrogate pair"),
    "mixed shapes": Bad(
        "t.json", '[{"a": 1, "b": 2}, ["x", 3]]', ":1:20", "this row has another shape"
    ),
    "mixed names": Bad(
        "t.json", '[{"a": 1, "b": 2},\n {"a": 1, "c": 2}]', ":2:2", "this row has another shape"
    ),
    "rows that are none": Bad(
        "t.json", "[1, 2]", ":1:2", "a row is an object or a [key, value] pair"
    ),
    "invalid UTF-8": Bad("t.json", b'{"a":\n"\xe9"}', ":2", "byte 0xe9 is not UTF-8"),
    "a table by another name": Bad("t.json", "k,v\na,b\n", ":1:1", "."),
    "Lines, by another name": Bad(
        "t.json",
        '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n',
        ":2:1",
        "more text after the end of the document; is this JSON Lines?",
    ),
    "Lines: truncated": Bad("t.jsonl", '{"a": 1, "b": 2}\n{"a": 3,\n', ":2:", NOT_JSON),
    "Lines: NaN": Bad("t.jsonl", '{"a": 1, "b": NaN}\n', ":1:1", "NaN is not JSON"),
    "Lines: duplicate keys": Bad(
        "t.jsonl", '{"a": 1, "a": 2}\n', ":1:1", "the key 'a' stands twice"
    ),
    "Lines: two on a line": Bad(
        "t.jsonl", '["a", 1] ["b", 2]\n', ":1:10", "more text after the end of the row"
    ),
    "Lines: another shape": Bad(
        "t.jsonl", '{"a": 1, "b": 2}\n\n["x", 1]\n', ":3:1", "this row has another shape"
    ),
    "Lines: a scalar": Bad("t.jsonl", "3\n", ":1:1", "a row is an object or a [key, value] pair"),
    "Lines: empty": Bad("t.jsonl", "\n\n", "", "holds no rows"),
    "Lines: an empty record": Bad("t.jsonl", "{}\n", ":1:1", "an empty record; a row needs a key"),
    "Lines: invalid UTF-8": Bad(
        "t.jsonl", b'["a", 1]\n["\xff", 2]\n', ":2", "byte 0xff is not UTF-8"
    ),
    "Lines: nested deep": Bad("t.jsonl", "[" * 100_000 + "\n", ":1:", "."),
    "Lines: truncated gzip": Bad("t.jsonl.gz", gzip.compress(b'["a", 1]\n' * 99)[:-9], "", GZIP),
}

K = "k,v\nLi,Mu\nHu,Rachel\n"
OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "no such file": (("--data", "nams.csv"), "nams.csv: no such file; did you mean 'names.csv'?"),
    "no such folder": (("--data", "x/names.csv"), "x/names.csv: no such file"),
    "a folder": (
        ("--data", "."),
        ".: holds no Parquet or Arrow file; mind the folder and the extensions",
    ),
    "an unknown extension": (("--data", "t.xlsx"), "t.xlsx: no such file"),
    "no such key column": (
        ("--data", "names.csv", "--key", "kk"),
        "--key: names.csv has no column 'kk'; did you mean 'k'?",
    ),
    "no such value column": (
        ("--data", "names.csv", "--value", "x"),
        "--value: names.csv has no column 'x'; there is k, v",
    ),
    "a column by a number too high": (
        ("--data", "names.csv", "--key", "3"),
        "--key: names.csv has no column '3'",
    ),
    "column 0": (("--data", "names.csv", "--key", "0"), "--key: names.csv has no column '0'"),
    "a column twice": (("--data", "names.csv", "--key", "k,k"), "--key 'k,k' names a column twice"),
    "no column between commas": (
        ("--data", "names.csv", "--value", "k,,v"),
        "--value 'k,,v' names a column twice, or none between two commas",
    ),
    "a long delimiter": (
        ("--data", "names.csv", "--delimiter", ",,"),
        "--delimiter ',,' is not one ASCII character (or tab)",
    ),
    "an empty delimiter": (
        ("--data", "names.csv", "--delimiter", ""),
        "--delimiter '' is not one ASCII character (or tab)",
    ),
    "a delimiter that is a quote": (
        ("--data", "names.csv", "--delimiter", '"'),
        "--delimiter '\"' is not one ASCII character",
    ),
    "an unknown encoding": (
        ("--data", "names.csv", "--encoding", "uft-8"),
        "--encoding 'uft-8' is not known; did you mean 'utf-8'?",
    ),
    "an encoding that is none": (
        ("--data", "names.csv", "--encoding", "rot13"),
        "--encoding 'rot13' is not known",
    ),
    "the wrong encoding": (
        ("--data", "names.csv", "--encoding", "utf-16"),
        "names.csv:1: is not utf-16 here; pass another --encoding",
    ),
    "--labels with a table": (
        ("--data", "names.csv", "--labels", "names.csv"),
        "--labels and --values go with arrays",
    ),
    "--values with a table": (
        ("--data", "names.csv", "--values", "names.csv"),
        "--labels and --values go with arrays",
    ),
    "--data and --keys": (
        ("--data", "names.csv", "--keys", "k.npy"),
        "--data and --keys both name the keys; pass one of them",
    ),
    "a vector score for text": (
        ("--data", "names.csv", "--score", "cosine"),
        "names.csv:2 is text, and --score cosine compares numbers|.*is text, and --score cosine compares numbers",
    ),
    "a bandwidth for text": (
        ("--data", "names.csv", "--bandwidth", "2"),
        "--bandwidth is the width of a kernel, and --score tokens has none",
    ),
    "queries from two places": (
        ("--data", "names.csv", "--queries", "q.txt"),
        "queries come from the arguments, --queries or --self; pass one of them",
    ),
    "queries from three places": (
        ("--self", "--queries", "q.txt"),
        "queries come from the arguments, --queries or --self",
    ),
}


def _named(command: str, family: str, name: str) -> str:
    return f"{command}: {family}: {name}"


def _of(command: str, bad: Bad) -> Case:
    data = bad.data.encode() if isinstance(bad.data, str) else bad.data
    where = f"{bad.name}{bad.place}".removesuffix(":")
    text = bad.text if bad.text == "." else re.escape(bad.text)
    if bad.place.endswith(":") or bad.text == ".":
        where, text = "", re.escape(where) + ".*" + text
    query = "1" if "--bandwidth" in bad.options else "x"
    arguments = (command, query, "--data", bad.name, *bad.options)
    return Case(arguments, text, where, {bad.name: data})


def _of_options(command: str, arguments: tuple[str, ...], line: str) -> Case:
    pattern = line if "|" in line else re.escape(line)
    files = {"names.csv": K.encode(), "q.txt": b"Li\n"}
    return Case((command, "x", *arguments), f"^(?:{pattern})", "", files)


CASES: dict[str, Case] = {
    _named(command, family, name): _of(command, bad)
    for family, bads in (("CSV", DELIMITED), ("JSON", JSON))
    for name, bad in bads.items()
    for command in COMMANDS
}
CASES |= {
    _named(command, "table", name): _of_options(command, *bad)
    for name, bad in OPTIONS.items()
    for command in COMMANDS
}

_PIPED = {
    "ragged": ("k,v\na,b,c\n", ":2", RAGGED),
    "empty": ("\n", "", "is empty; a table needs a header and rows"),
    "JSON": ('{"a": 1,\n}', ":2:1", NOT_JSON),
}
CASES |= {
    _named(command, "stdin", name): Case(
        (command, "x", "--data", "-"), re.escape(text), f"stdin{place}", {}, data.encode()
    )
    for name, (data, place, text) in _PIPED.items()
    for command in COMMANDS
}
CASES |= {
    _named(command, "stdin", name): case
    for command in COMMANDS
    for name, case in {
        "both data and queries": Case(
            (command, "-", "--data", "-"),
            "stdin cannot be both --data and the queries; put one of them in a file",
        ),
        "no queries": Case(
            (command, "-"), "holds no queries; give one a line", "stdin", {}, b"\n\n"
        ),
        "queries in latin-1": Case(
            (command, "-"), "byte 0xe9 is not UTF-8", "stdin:2", {}, b"Li\nJos\xe9\n"
        ),
    }.items()
}
CASES |= {
    _named(command, "queries", name): case
    for command in COMMANDS
    for name, case in {
        "no such file": Case((command, "--queries", "q.txt"), "no such file", "q.txt"),
        "empty": Case((command, "--queries", "q.txt"), "holds no queries", "q.txt", {"q.txt": b""}),
        "latin-1": Case(
            (command, "--queries", "q.txt"),
            "byte 0xe9 is not UTF-8",
            "q.txt:2",
            {"q.txt": b"Li\n\xe9\n"},
        ),
        "an array for text": Case(
            (command, "--queries", "q.npy"), "not a .npy or .npz file", "q.npy", {"q.npy": b"k,v\n"}
        ),
        "words for numbers": Case(
            (command, "--queries", "q.txt", "--data", "t.csv"),
            "'Hu' is not a finite number; ask with numbers such as 1.5,0.3",
            "q.txt:3",
            {"q.txt": b"x\n1\nHu\n", "t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "another width": Case(
            (command, "1,2", "--data", "t.csv"),
            "the query '1,2' has width 2, and the keys of t.csv have width 1",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "several queries in one": Case(
            (command, "1,2", "--data", "t.csv"),
            "have width 1; write several queries apart: 1 2",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "numbers with a space between": Case(
            (command, "1 2", "--data", "t.csv", "--key", "x,z"),
            "the query '1 2' is 2 numbers with spaces between; write 1,2",
            "",
            {"t.csv": b"x,z,y\n1,2,3\n3,4,5\n"},
        ),
        "a word and a number": Case(
            (command, "Oslo,3", "--data", "t.csv"),
            "the query 'Oslo,3' has 'Oslo' in it, and a key of t.csv is 1 number: ask with e.g. 1.5",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "a date for a number": Case(
            (command, "2024-01-05", "--data", "t.csv"),
            "the query '2024-01-05' is a date, and the keys of t.csv are numbers: ask with e.g. 1.5",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "a list of columns in two options": Case(
            (command, "1", "--data", "t.csv", "--key", "x", "--key", "z"),
            "--key is given twice; name several in one: --key COL,COL",
            "",
            {"t.csv": b"x,z,y\n1,2,3\n3,4,5\n"},
        ),
        "no number": Case(
            (command, "Li", "--data", "t.csv"),
            "the query 'Li' is not a vector of 1 finite numbers",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "infinity": Case(
            (command, "1e999", "--data", "t.csv"),
            "the query '1e999' is not a vector of 1 finite numbers",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "a constant column": Case(
            (command, "1", "--data", "t.csv", "--mode", "softmax"),
            "is constant, so scott gives no width; pass --bandwidth",
            "t.csv",
            {"t.csv": b"x,y\n1,2\n1,4\n"},
        ),
        "one row": Case(
            (command, "1", "--data", "t.csv", "--mode", "softmax"),
            "one row has no spread for --bandwidth scott; give a number",
            "t.csv",
            {"t.csv": b"x,y\n1,2\n"},
        ),
        "a text score for numbers": Case(
            (command, "1", "--data", "t.csv", "--score", "indel"),
            "the keys of t.csv are numbers, and --score indel compares text; pass --key-type text",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
        "too many widths": Case(
            (command, "1", "--data", "t.csv", "--mode", "softmax", "--bandwidth", "1,2"),
            "--bandwidth has 2 widths for 1 key column; give 1",
            "",
            {"t.csv": b"x,y\n1,2\n3,4\n"},
        ),
    }.items()
}
