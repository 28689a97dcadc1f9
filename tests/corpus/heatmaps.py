"""Weights, labels, choices and pictures that ``qkv heatmap`` refuses, or draws with a warning."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.corpus import arrays, outputs, tables, usage
from tests.corpus.arrays import header, npy, npz
from tests.corpus.tables import Bad
from tests.support.contract import Case


def safetensors(dtype: str, end: int, data: bytes = b"1234") -> bytes:
    """Return a ``.safetensors`` file that claims an array ``a`` of 2 × 2."""
    text = f'{{"a":{{"dtype":"{dtype}","shape":[2,2],"data_offsets":[0,{end}]}}}}'.encode()
    return len(text).to_bytes(8, "little") + text + data


EMPTY = "is empty; a matrix of weights was expected"
LIST = "a matrix is a list of rows, each a list of numbers"
NOT_FINITE = "is not a finite number, as every weight is"
SHAPES = "weights are (Q, K), (H, Q, K), (layers, heads, Q, K) or (layers, batch, heads, Q, K)"
MATRICES: dict[str, Bad] = {
    "0-d": Bad("w.npy", npy(3.0), "", f"its shape is (); {SHAPES}"),
    "1-d": Bad("w.npy", npy(np.ones(3)), "", f"its shape is (3,); {SHAPES}"),
    "6-d": Bad("w.npy", npy(np.ones((1,) * 6)), "", "its shape is (1, 1, 1, 1, 1, 1)"),
    "no rows": Bad("w.npy", npy(np.ones((0, 3))), "", "its shape is (0, 3); there is nothing to"),
    "4 TB": Bad("w.npy", header("(1000000, 1000000)"), "", "truncated: its header claims shape"),
    "text in an array": Bad("w.npy", npy([["a"]]), "", "holds text alone, and weights are numbers"),
    "an unknown extension": Bad("w.xyz", "0.5", "", "not an array, and .xyz names no matrix"),
    "JSON Lines": Bad("w.jsonl", "[1]\n", "", "not an array, and .jsonl names no matrix format"),
    "safetensors that are text": Bad("w.safetensors", "not tensors", "", "not a .safetensors file"),
    "safetensors, empty": Bad("w.safetensors", "", "", "not a .safetensors file, or a truncated"),
    "safetensors, damaged": Bad(
        "w.safetensors", b"\5" + b"\0" * 7 + b'{"a":', "", "not a .safetensors file, or one whose"
    ),
    "safetensors, truncated": Bad("w.safetensors", safetensors("F32", 16), "[a]", "truncated: it"),
    "safetensors, a dtype": Bad(
        "w.safetensors", safetensors("F8_E5M2", 4), "[a]", "is of dtype F8_E5M2; save it as F16"
    ),
    "safetensors, a size": Bad(
        "w.safetensors", safetensors("F32", 4), "[a]", "its shape (2, 2) of F32 and its 4 bytes"
    ),
    "a PyTorch file": Bad("w.pt", b"PK\3\4", "", "a PyTorch file, which is a pickle and not read"),
    "CSV: a first line of one long cell": Bad(
        "w.csv", f"{'0.25 ' * 40_000}\n1\nx\n", ":3", f"'x' {NOT_FINITE}"
    ),
    "CSV: a cell of 17 MiB": Bad("w.csv", "1" * (17 << 20), ":1", "a cell is larger than 16 MiB"),
    "CSV: sep=quote": Bad("w.csv", 'sep="\n0.5"0.5\n', ":1", "a quote inside a cell that does not"),
    "CSV: words": Bad("w.csv", "a,b\n0.5,what\n", ":2", f"'what' {NOT_FINITE}"),
    "CSV: no header, for 1_000": Bad("w.csv", "0.5,1_000\n", ":1", f"'1_000' {NOT_FINITE}"),
    "CSV: no header, for 1e999": Bad("w.csv", "0.5,1e999\n", ":1", f"'1e999' {NOT_FINITE}"),
    "CSV: no header, for nan": Bad("w.csv", "0.5,nan\n0.5,0.5\n", ":1", f"'nan' {NOT_FINITE}"),
    "CSV: a slip in the first row": Bad(
        "w.csv", "0.2,0.3,O.5\n1,0,0\n", ":1", f"'O.5' {NOT_FINITE}"
    ),
    "CSV: a slip in a first row of few": Bad(
        "w.csv", "O.5,0.5\n1,0\n", ":1", f"'O.5' {NOT_FINITE}"
    ),
    "CSV: a slip in a row of 0 and 1": Bad("w.csv", "1,O,0\n0,1,0\n", ":1", f"'O' {NOT_FINITE}"),
    "CSV: nothing in the first row": Bad("w.csv", "0.5,,0.5\n1,0,0\n", ":1", f"'' {NOT_FINITE}"),
    "CSV: nothing in the first cell": Bad("w.csv", ",0.5,0.5\n1,0,0\n", ":1", f"'' {NOT_FINITE}"),
    "CSV: ragged without a header": Bad("w.csv", "1,2\n3\n", ":2", tables.SHORT),
    "JSON: a number": Bad("w.json", "3\n", ":1:1", LIST),
    "JSON: an object": Bad("w.json", '{"a": 1}', ":1:1", LIST),
    "JSON: duplicate keys": Bad("w.json", '{"a": 1, "a": 2}', ":1:1", "the key 'a' stands twice"),
    "JSON: records": Bad("w.json", '[{"a": 1}]', ":1:2", '{"a": 1} is not a number, as every'),
    "JSON: no rows": Bad("w.json", "[]", "", f"its shape is (0,); {SHAPES}"),
    "JSON: ragged": Bad(
        "w.json", "[[1, 2],\n [3]]", ":2:2", "this list has the shape (1,) where the first has (2,)"
    ),
    "JSON: mixed": Bad("w.json", "[[1], 2]", ":1:7", "a number where a list was expected"),
    "JSON: text": Bad("w.json", '[["a"]]', ":1:3", '"a" is not a number, as every weight is'),
    "JSON: true": Bad("w.json", "[[true]]", ":1:3", "true is not a number, as every weight is"),
    "JSON: null": Bad(
        "w.json", "[[1,\n null]]", ":2:2", "null is not a number, as every weight is"
    ),
    "JSON: NaN": Bad("w.json", "[[0.5,NaN]]", ":1:7", f"NaN {NOT_FINITE}"),
    "JSON: Infinity": Bad("w.json", "[[1],\n[-Infinity]]", ":2:2", f"-Infinity {NOT_FINITE}"),
    "JSON: 1e999": Bad("w.json", "[[1e999]]", ":1:3", "1e999 is out of the range of a double"),
    "JSON: 5,000 digits": Bad(
        "w.json", "[[" + "9" * 5000 + "]]", ":1:3", "an integer of 5000 digits"
    ),
    "JSON: a lone surrogate": Bad("w.json", '[["\\ud800"]]', ":1:3", "half of a surrogate pair"),
    "JSON: 6-d": Bad("w.json", "[[[[[[1]]]]]]", ":1:6", "more than 5 axes"),
    "JSON: nested 100,000 deep": Bad("w.json", "[" * 100_000, ":1:6", "more than 5 axes"),
    "JSON: nested 100,000 deep in a row": Bad(
        "w.json", "[[1, " + "[" * 100_000, ":1:6", "nested too deeply"
    ),
    "JSON: more after it": Bad("w.json", "[[1]] x", ":1:7", "more text after the end of the"),
}

# What the readers of tables say, too; and where a matrix is told something else.
SAME = ("truncated", "truncated string", "trailing comma", "single quotes", "invalid UTF-8")
OTHERWISE = {
    "values nan": (":3", f"'nan' {NOT_FINITE}"),
    "empty": ("", EMPTY),
    "blank lines only": ("", EMPTY),
    "sep= only": ("", "is empty; rows were expected"),
    "semicolons": (":1", "one column, and a ';' in it; pass --delimiter ';'"),
    "text after a block of numbers": (":400002", f"'Li' {NOT_FINITE}"),
}
OF_TABLES = ("keys", "text for", "duplicate header", "tabs")

FILES = {
    "ok.npy": npy(np.eye(3)),
    "four.npy": npy(np.full((6, 12, 4, 4), 0.25)),
    "five.npy": npy(np.full((1, 2, 1, 2, 2), 0.5)),
    "wide.npy": npy(np.full((3, 4), 0.25)),
    "zeros.npy": npy(np.zeros((2, 2))),
    "several.npz": npz(a=np.eye(2), b=np.eye(2)),
    "unlike.npz": npz(layer_0=np.eye(3), layer_1=np.eye(2)),
    "many.npy": npy(np.ones((50, 50, 1, 1))),
    "one.txt": b"a\n",
    "two.txt": b"a\nb\n",
    "three.txt": b"a\nb\nc\n",
}
CHOICES: dict[str, tuple[str, ...]] = {
    "missing.npy: no such file": ("missing.npy",),
    "missing.safetensors: no such file": ("missing.safetensors",),
    "ok.npz: no such file; did you mean 'ok.npy'?": ("ok.npz",),
    ".: is a directory; name a file in it": (".",),
    "WEIGHTS is missing; see qkv heatmap --help": (),
    "several.npz: holds 2 arrays (a, b); say which with --name": ("several.npz",),
    "--name: several.npz has no array 'x'": ("ok.npy", "--name", "x", "--diff", "several.npz"),
    "five.npy: its shape is (1, 2, 1, 2, 2), (layers, batch, heads, Q, K); choose an entry": (
        "five.npy",
    ),
    "four.npy: there is no layer 7; it has 6 (0-5)": ("four.npy", "--layers", "7"),
    "four.npy: there is no head 12; it has 12 (0-11)": ("four.npy", "--heads", "3-12"),
    "ok.npy: there is no query 3; it has 3 (0-2)": ("ok.npy", "--queries", "3"),
    "ok.npy: there is no key 9; it has 3 (0-2)": ("ok.npy", "--keys", "9"),
    "ok.npy: there is no head 1; it has 1 (0)": ("ok.npy", "--heads", "1"),
    "--layers '' is not a list such as 0,3-5": ("four.npy", "--layers", ""),
    "--keys '' is not a list such as 0,3-5": ("four.npy", "--keys", ""),
    "--layers '1_0' is not a list such as 0,3-5": ("four.npy", "--layers", "1_0"),
    "--keys '-1' is not a list such as 0,3-5": ("four.npy", "--keys=-1"),
    "--layers: 5-3 runs backwards; write 3-5": ("four.npy", "--layers", "5-3"),
    "--layers names 1 twice": ("four.npy", "--layers", "1,0-2"),
    "five.npy: there is no batch entry 2; it has 2 (0-1)": ("five.npy", "--batch", "2"),
    "--batch: ok.npy has no batch": ("ok.npy", "--batch", "0"),
    "--vmin 2 is not below --vmax 1": ("ok.npy", "--vmin", "2", "--vmax", "1"),
    "--vmin: the colour scale would run from 2 to 1": ("ok.npy", "--vmin", "2"),
    "--log: no weight is over 0": ("zeros.npy", "--log"),
    "--log has no place": ("ok.npy", "--diff", "ok.npy", "--log"),
    "--cmap: there is no colour map 'Redz'; did you mean 'Reds'?": ("ok.npy", "--cmap", "Redz"),
    "--cmap: there is no colour map '\\x1b[31m'": ("ok.npy", "--cmap", "\x1b[31m"),
    "--reduce: there is no 'maen'; did you mean 'mean'?": ("ok.npy", "--reduce", "maen"),
    "--format: there is no 'svgg'; did you mean 'svg'?": ("ok.npy", "--format", "svgg"),
    "there is no option --formt; did you mean '--format'?": ("ok.npy", "--formt", "svg"),
    "there is no option -5": ("-5",),
    "--delimiter ',,' is not one ASCII character": ("two.txt", "--delimiter", ",,"),
    "--encoding 'uft-8' is not known; did you mean 'utf-8'?": ("two.txt", "--encoding", "uft-8"),
    "--rollout is the mean over heads already; leave --reduce out": (
        "four.npy",
        "--rollout",
        "--reduce",
        "mean",
    ),
    "wide.npy: --rollout": ("wide.npy", "--rollout"),
    "wide.npy: its shape is (3, 4) where ok.npy has (3, 3)": ("ok.npy", "--diff", "wide.npy"),
    "two.txt: 2 labels for 3 queries": ("ok.npy", "--labels", "two.txt"),
    "one.txt: 1 label for 3 queries": ("ok.npy", "--labels", "one.txt"),
    "three.txt: 3 labels for 4 keys": ("wide.npy", "--labels", "three.txt"),
    "three.text: no such file; did you mean 'three.txt'?": ("ok.npy", "--labels", "three.text"),
    "--merge-subwords needs labels": ("ok.npy", "--merge-subwords"),
    "--drop needs labels": ("ok.npy", "--drop", "a"),
    "--drop: no label is 'aa'; did you mean": ("ok.npy", "--labels", "three.txt", "--drop", "aa"),
    "--drop leaves no query": ("ok.npy", "--labels", "three.txt", "--drop", "a,b,c"),
    "--titles: there are 2 titles for 72 panels in 12 columns": ("four.npy", "--titles", "a,b"),
    "--titles: a quote is not closed": ("ok.npy", "--titles", '"a'),
    "--size '6x' is not a size such as 3.3 or 6x4": ("ok.npy", "--size", "6x"),
    "--size 'nanxinf' is not a size such as 3.3 or 6x4": ("ok.npy", "--size", "nanxinf"),
    "--size 0.2 (inches) leaves no room for a panel and its labels; give it at least 1.1": (
        "ok.npy",
        "--size",
        "0.2",
    ),
    "--font 'a;b' is not the name of a font": ("ok.npy", "--font", "a;b"),
    "--font: Matplotlib finds no font 'DejaVu Sanz'; did you mean 'DejaVu Sans'?": (
        *("ok.npy", "--font", "DejaVu Sanz"),
        *("--format", "png"),
    ),
    "--font is for SVG, PNG and PDF": ("ok.npy", "--font", "Times", "--format", "terminal"),
    "--no-colorbar is for SVG, PNG and PDF": ("ok.npy", "--no-colorbar", "--format", "npy"),
    "--font-size: '0' is not above 0": ("ok.npy", "--font-size", "0"),
    "--keys 'a,x' is not a list such as 0,3-5, and no label is 'x'; there is a, b, c": (
        *("ok.npy", "--labels", "three.txt"),
        *("--keys", "a,x"),
    ),
    "--keys names 0 twice": ("ok.npy", "--labels", "three.txt", "--keys", "a,0"),
    "four.npy: there is no batch entry 6; it has 6 (0-5)": ("four.npy", "--batch", "6"),
    "old.svg: a CSV file holds one matrix, and 72 are chosen; choose with --layers and": (
        "four.npy",
        "--format",
        "csv",
    ),
    "unlike.npz: holds layer_0 of shape (3, 3) and layer_1 of (2, 2), which are no layers": (
        "unlike.npz",
    ),
    "--size 300x1: a side is over 0 and at most 200 inches": ("ok.npy", "--size", "300x1"),
    "--size 1x1 (inches) leaves no room for 72 panels": ("four.npy", "--size", "1x1"),
    "50 layers × 50 heads are 2500 panels, over the budget of 1024": ("many.npy",),
    "the picture would have": ("ok.npy", "--format", "png", "--dpi", "9000"),
    "--dpi 1 leaves 0.12 pixels for letters of 9 points; pass at least --dpi 40": (
        "ok.npy",
        "--format",
        "png",
        "--dpi",
        "1",
    ),
    "--dpi 51 leaves 5 pixels for letters of 7 points; pass at least --dpi 52": (
        "four.npy",
        "--format",
        "png",
        "--dpi",
        "51",
    ),
    "--dpi 0 leaves no pixels": ("ok.npy", "--dpi", "0"),
    "only one input can be read from stdin": ("-", "--labels", "-"),
}
LABELS: dict[str, Bad] = {
    "empty": Bad("l.txt", "", "", "is empty; a label a line was expected"),
    "latin-1": Bad("l.txt", b"a\n\xe9\nc\n", ":2", "byte 0xe9 is not UTF-8; pass --encoding"),
    "NUL": Bad("l.txt", "a\nb\0\nc\n", ":2", tables.NUL),
    "an object": Bad("l.json", '{"a": 1}', ":1:1", "labels are a JSON list of strings"),
    "numbers": Bad("l.json", "[1, 2, 3]", ":1:1", "labels are a JSON list of strings"),
    "truncated": Bad("l.json", '["a", "b"', ":1:10", tables.NOT_JSON),
    "a lone surrogate": Bad("l.json", '["\\ud800", "b", "c"]', ":1:1", "half of a surrogate pair"),
    "more after it": Bad("l.json", '["a", "b", "c"] x', ":1:17", "more text after the end of the"),
}
PIPED = {
    "empty": (b"", "", EMPTY),
    "half a header": (b"\x93NUMPY", "", arrays.DAMAGED),
    "JSON": (b"[[1,", ":1:5", tables.NOT_JSON),
    "words": (b"1,2\n3,x\n", ":2", f"'x' {NOT_FINITE}"),
    "safetensors": (
        safetensors("F32", 16, b"\0" * 16),
        "",
        "holds safetensors, which are read from a file whose name ends in .safetensors",
    ),
    "a zip cut short": (npz(a=np.eye(2))[:-30], "", arrays.ZIP),
}
ODD: dict[str, tuple[object, str]] = {
    "negative": ([[1.5, -0.5], [0.5, 0.5]], "1 weight is negative"),
    "sums": ([[0.5, 0.4], [0.5, 0.5]], "1 of 2 rows"),
    "transposed": ([[0.9, 0.8], [0.1, 0.2]], "its columns sum to 1 and its rows do not"),
    "NaN": ([[np.nan, 1], [0.5, 0.5]], "1 weight is"),
    "infinity": ([[np.inf, 1], [0.5, 0.5]], "1 weight is"),
}


def _case(*arguments: str, **more: Any) -> Case:
    """Return a case that would write over an old picture, unless it names another output."""
    return Case(("heatmap", *arguments, "--output", "old.svg"), **more, output="old.svg")


def _of(bad: Bad, *before: str) -> Case:
    data = bad.data.encode() if isinstance(bad.data, str) else bad.data
    line = f"^{re.escape(bad.text)}"
    files = {"ok.npy": FILES["ok.npy"], bad.name: data}
    return _case(*before, bad.name, message=line, where=bad.name + bad.place, files=files)


CASES: dict[str, Case] = {
    f"heatmap: array in --data: {name}": _of(Bad("bad.npz", data, "", line))
    for name, (data, line) in arrays.BAD.items()
}
CASES |= {
    f"heatmap: CSV: {name}": _of(
        Bad(bad.name, bad.data, *OTHERWISE.get(name, (bad.place, bad.text)))
    )
    for name, bad in tables.DELIMITED.items()
    if not name.startswith(OF_TABLES)
}
CASES |= {f"heatmap: JSON: {name}": _of(tables.JSON[name]) for name in SAME}
CASES |= {f"heatmap: matrices: {name}": _of(bad) for name, bad in MATRICES.items()}
CASES |= {
    f"heatmap: labels: {name}": _of(bad, "ok.npy", "--labels") for name, bad in LABELS.items()
}
CASES |= {
    f"heatmap: choices: {' '.join(arguments)!a}": _case(
        *arguments, message=f"^{re.escape(line)}", files=FILES
    )
    for line, arguments in CHOICES.items()
}
CASES |= {
    f"heatmap: usage: {option} {number!r}": _case(
        "ok.npy", f"{option}={number}", message=re.escape(f"{number!r} {line}"), files=FILES
    )
    for option, line in {
        "--vmin": "is not a finite number",
        "--vmax": "is not a finite number",
        "--batch": "is not a whole number from 0",
        "--dpi": "is not a whole number from 0",
    }.items()
    for number in usage.NUMBERS
}
CASES |= {
    f"heatmap: stdin: {name}": _case(
        "-", message=f"^{re.escape(line)}", where=f"stdin{place}", stdin=data
    )
    for name, (data, place, line) in PIPED.items()
}


def _unwritten(place: str, line: str) -> Case:
    place = place.replace("EXT", "svg")
    line = (line or "{}: the extension .xlsx names no picture").replace("{}", place)
    message = f"^{re.escape(line.replace('EXT', 'svg'))}"
    return Case(("heatmap", "in.csv", "-o", place), message, "", outputs.TABLE | {"sub/x": b""})


CASES |= {
    f"heatmap: --output: {name}": _unwritten(place, line)
    for name, (place, line) in {
        **outputs.ANY,
        "no name": ("", "an output needs a file name"),
        "no extension": ("out", "{}: no extension; or pass --format"),
        "no format": ("-", "-o - needs --format"),
    }.items()
}
CASES |= {
    f"heatmap: --output: full disk, {form}": Case(
        ("heatmap", "ok.npy", "-o", "/dev/full", "--format", form),
        "^not written: No space left on device",
        "/dev/full",
        FILES,
    )
    for form in ("svg", "png", "pdf", "terminal")
}
CASES |= {
    f"heatmap: odd weights: {name}": Case(
        ("heatmap", "w.npy", "-o", "/dev/null", "--format", "terminal"),
        f"^{re.escape(line)}",
        "warning: w.npy",
        {"w.npy": npy(weights)},
        status=0,
    )
    for name, (weights, line) in ODD.items()
}
CASES["heatmap: usage: a file name that is not UTF-8"] = Case(
    ("heatmap", b"\xff.npy"), "argument 2 is not UTF-8"
)
