"""Arrays that cannot be read or do not fit together, and their labels."""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from typing import Any

import numpy as np

from tests.support.contract import Case

COMMANDS = ("lookup", "pool")


def npy(array: Any, **options: Any) -> bytes:
    """Return an ``.npy`` file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **options)
    return out.getvalue()


def npz(**named: Any) -> bytes:
    """Return an ``.npz`` file."""
    out = io.BytesIO()
    np.savez(out, **named)
    return out.getvalue()


def header(shape: str, data: bytes = b"", descr: str = "'<f8'", order: str = "False") -> bytes:
    """Return an ``.npy`` file that claims any shape and dtype."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def bomb() -> bytes:
    """Return an ``.npz`` of a few KiB whose directory claims 8 GiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", npy(np.zeros((1000, 100))))
    data = bytearray(out.getvalue())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(data)


DAMAGED = "not a .npy file, or one whose header is damaged"
ZIP = "not a .npz file, or a damaged one"
SAVE = "save it as float32 or float64"
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; an array file was expected"),
    "text": (b"k,v\na,b\n", "not a .npy or .npz file"),
    "a pickle": (pickle.dumps([1, 2]), "not a .npy or .npz file"),
    "magic only": (b"\x93NUMPY", DAMAGED),
    "half a header": (b"\x93NUMPY\x01\x00\xff\xff{", DAMAGED),
    "version 9": (b"\x93NUMPY\x09\x00\x01\x00{", DAMAGED),
    "code in the header": (header("__import__('os').system('touch pwned')"), DAMAGED),
    "negative shape": (header("(-1, -8)", b"\0" * 64), "its header claims the shape (-1, -8)"),
    "truncated": (
        header("(3, 1)", b"\0" * 23),
        "truncated: its header claims shape (3, 1) of float64, 24 bytes, and 23 follow",
    ),
    "7 TiB": (header("(1000000000000, 1)"), "truncated: its header claims"),
    "7 TiB in Fortran order": (header("(1000000000000, 1)", order="True"), "truncated: its header"),
    "objects": (npy(np.array([{}]), allow_pickle=True), "holds Python objects, which are not read"),
    "structured": (npy(np.zeros(2, [("a", "<f8")])), f"is of dtype [('a', '<f8')]; {SAVE}"),
    "void": (npy(np.zeros(2, "V8")), f"is of dtype |V8; {SAVE}"),
    "datetime": (npy(np.zeros(2, "<M8[s]")), f"is of dtype datetime64[s]; {SAVE}"),
    "complex": (npy(np.zeros((2, 2), "<c16")), f"is of dtype complex128; {SAVE}"),
    "bytes": (npy(np.zeros(2, "S3")), f"is of dtype |S3; {SAVE}"),
    "zip magic only": (b"PK\x03\x04" + b"\0" * 40, ZIP),
    "truncated zip": (npz(keys=np.eye(9))[:-30], ZIP),
    "no arrays": (npz(), "holds no arrays"),
    "a bomb": (bomb(), "unpacks to 4095 MiB, over the cap of 2048 MiB"),
}

GOOD = {
    "k.npy": npy(np.eye(3)),
    "v.npy": npy(np.eye(3)),
    "db.npz": npz(keys=np.eye(3), values=np.eye(3)),
}
SHAPES: dict[str, tuple[tuple[str, ...], dict[str, bytes], str]] = {
    "0-d": (("--keys", "a.npy"), {"a.npy": npy(3.0)}, "a.npy: keys of shape ()"),
    "1-d": (
        ("--keys", "a.npy"),
        {"a.npy": npy(np.ones(3))},
        "a.npy: keys of shape (3,); they are (K, D)",
    ),
    "no rows": (
        ("--keys", "a.npy"),
        {"a.npy": npy(np.ones((0, 3)))},
        "a.npy: keys of shape (0, 3): there is nothing to attend to",
    ),
    "no columns": (
        ("--keys", "a.npy"),
        {"a.npy": npy(np.ones((3, 0)))},
        "a.npy: keys of shape (3, 0): there is nothing to attend to",
    ),
    "values of another length": (
        ("--keys", "k.npy", "--values", "a.npy"),
        {"a.npy": npy(np.ones((2, 3)))},
        "a.npy: keys of shape (3, 3) and values of shape (2, 3) do not fit",
    ),
    "values of other heads": (
        ("--keys", "k.npy", "--values", "a.npy"),
        {"a.npy": npy(np.ones((2, 3, 3)))},
        "a.npy: keys of shape (3, 3) and values of shape (2, 3, 3) do not fit",
    ),
    "keys of text": (
        ("--keys", "a.npy"),
        {"a.npy": npy(np.array(["a", "b"]))},
        "a.npy: is of dtype <U1; numbers were expected",
    ),
    "NaN in the keys": (
        ("--keys", "a.npy"),
        {"a.npy": npy([[1.0, 2, 3], [4, np.nan, 6]])},
        "a.npy: NaN or infinity at index [1, 1]",
    ),
    "infinity in the values": (
        ("--keys", "k.npy", "--values", "a.npy"),
        {"a.npy": npy([[1.0], [2], [np.inf]])},
        "a.npy: NaN or infinity at index [2, 0]",
    ),
    "NaN in a head": (
        ("--keys", "a.npy"),
        {"a.npy": npy(np.array([[[1.0, 2, 3]], [[4, np.nan, 6]]]))},
        "a.npy: NaN or infinity at index [1, 0, 1]",
    ),
    "several arrays": (
        ("--data", "a.npz"),
        {"a.npz": npz(a=np.eye(3), b=np.eye(3))},
        "a.npz has no array 'keys'",
    ),
    "no such key array": (
        ("--data", "a.npz"),
        {"a.npz": npz(kyes=np.eye(3), b=np.eye(3))},
        "a.npz has no array 'keys'; did you mean 'kyes'?",
    ),
    "few labels": (
        ("--data", "db.npz", "--labels", "l.txt"),
        {"l.txt": b"a\nb\n"},
        "l.txt: 2 labels for 3 keys; there must be one for each",
    ),
    "many labels": (
        ("--data", "db.npz", "--labels", "l.json"),
        {"l.json": b'["a", "b", "c", "d"]'},
        "l.json: 4 labels for 3 keys",
    ),
    "labels in latin-1": (
        ("--data", "db.npz", "--labels", "l.txt"),
        {"l.txt": b"a\n\xe9\nc\n"},
        "l.txt:2: byte 0xe9 is not UTF-8",
    ),
    "labels that are numbers": (
        ("--data", "db.npz", "--labels", "l.json"),
        {"l.json": b"[1, 2, 3]"},
        "l.json:1:1: labels are a JSON list of strings",
    ),
    "labels that are an object": (
        ("--data", "db.npz", "--labels", "l.json"),
        {"l.json": b'{"a": 1}'},
        "l.json:1:1: labels are a JSON list of strings",
    ),
    "labels and more": (
        ("--data", "db.npz", "--labels", "l.json"),
        {"l.json": b'["a", "b", "c"] x'},
        "l.json:1:17: more text after the end of the list",
    ),
    "labels truncated": (
        ("--data", "db.npz", "--labels", "l.json"),
        {"l.json": b'["a", "b"'},
        "l.json:1:",
    ),
    "no such labels": (("--data", "db.npz", "--labels", "l.txt"), {}, "l.txt: no such file"),
    "no such keys": (("--keys", "kk.npy"), {}, "kk.npy: "),
    "no such values": (("--keys", "k.npy", "--values", "vv.npy"), {}, "vv.npy: "),
    "--mode exact for a word": (
        ("--data", "db.npz", "--mode", "exact"),
        {},
        "the query 'x' is not a vector of 3 finite numbers",
    ),
    "a bandwidth without a kernel": (
        ("--data", "db.npz", "--bandwidth", "2"),
        {},
        "the query 'x' is not a vector|--bandwidth is the width of a kernel, and --score scaled-dot has none",
    ),
}

QUERIES: dict[str, tuple[bytes, str]] = {
    "another width": (
        npy(np.ones((2, 4))),
        "q.npy: queries of shape (2, 4), and the keys have width 3",
    ),
    "1-d": (npy(np.ones(3)), "q.npy: queries of shape (3,), and the keys have width 3"),
    "none": (npy(np.ones((0, 3))), "q.npy: queries of shape (0, 3)"),
    "NaN": (npy([[1, np.nan, 2.0]]), "q.npy: NaN or infinity at index [0, 1]"),
    "text": (npy(np.array([["a"]])), "q.npy: is of dtype <U1; numbers were expected"),
    "objects": (npy(np.array([{}]), allow_pickle=True), "q.npy: holds Python objects"),
    "damaged": (b"\x93NUMPY", f"q.npy: {DAMAGED}"),
}

POOL: dict[str, tuple[tuple[str, ...], dict[str, bytes], str]] = {
    "mask of another shape": (
        ("--mask", "m.npy"),
        {"m.npy": npy(np.ones((2, 2), bool))},
        "--mask of shape (2, 2), and the weights are of shape (3, 3)",
    ),
    "mask of other numbers": (
        ("--mask", "m.npy"),
        {"m.npy": npy([[2]])},
        "m.npy: holds 2; a mask is True (1) where",
    ),
    "mask of floats": (
        ("--mask", "m.npy"),
        {"m.npy": npy(np.ones((3, 3)))},
        "m.npy: holds 0 and 1 as float64, which would be added to the scores",
    ),
    "mask that is none": (("--mask", "m.npy"), {"m.npy": b"x"}, "m.npy: not a .npy or .npz file"),
    "no such mask": (("--mask", "m.npy"), {}, "m.npy: "),
    "--valid-lens too long": (
        ("--valid-lens", "4"),
        {},
        "--valid-lens has 4, and there are 3 keys; give 0 to 3",
    ),
    "--valid-lens of another shape": (
        ("--valid-lens", "1,2"),
        {},
        "--valid-lens of shape (2,) for 3 queries and leading axes ()",
    ),
    "--valid-lens no number": (
        ("--valid-lens", "x"),
        {},
        "--valid-lens 'x' is neither whole numbers such as 3,5 nor a file",
    ),
    "--valid-lens negative": (
        ("--valid-lens", "-1"),
        {},
        "--valid-lens '-1' is neither whole numbers",
    ),
    "--valid-lens in floats": (
        ("--valid-lens", "l.npy"),
        {"l.npy": npy([1.0])},
        "l.npy: is of dtype float64; valid lengths are whole numbers",
    ),
    "--valid-lens in words": (
        ("--valid-lens", "l.txt"),
        {"l.txt": b"one\n"},
        "l.txt:1: valid lengths are whole numbers",
    ),
    "--valid-lens ragged": (
        ("--valid-lens", "l.txt"),
        {"l.txt": b"1 2\n3\n"},
        "l.txt:2: valid lengths are whole numbers, as many on every line",
    ),
    "--valid-lens empty": (
        ("--valid-lens", "l.txt"),
        {"l.txt": b""},
        "l.txt:1: valid lengths are whole numbers",
    ),
    "--neighbors above the keys": (
        ("--neighbors", "4"),
        {},
        "--neighbors 4, and .* has 3 keys|--neighbors 4, and db.npz",
    ),
}


def _case(arguments: tuple[str, ...], files: dict[str, bytes], line: str) -> Case:
    pattern = line if "|" in line and ".*" in line else "|".join(map(re.escape, line.split("|")))
    return Case(arguments, f"^(?:{pattern})", "", GOOD | files)


CASES: dict[str, Case] = {}
for _command in COMMANDS:
    for _name, (_data, _text) in BAD.items():
        for _how, _file in (("--data", "bad.npz"), ("--keys", "bad.npy"), ("--queries", "bad.npy")):
            _more = ("--data", "db.npz") if _how == "--queries" else ("x",)
            if _how == "--keys" and "claims" not in _text and _name != "objects":
                continue  # one reader reads them all: --keys meets a few, the others meet every one
            CASES[f"{_command}: array in {_how}: {_name}"] = _case(
                (_command, *_more, _how, _file),
                {_file: _data},
                f"{_file}[keys]: {_text}|{_file}: {_text}"
                if "|" not in _text
                else f"{_file}: {_text}",
            )
    for _name, (_arguments, _files, _line) in SHAPES.items():
        _query = "x" if "x" in _line.partition(";")[0].split("'") else "1,2,3"
        CASES[f"{_command}: shapes: {_name}"] = _case(
            (
                _command,
                _query,
                *_arguments,
                *(() if "--mode" in _arguments else ("--mode", "softmax")),
            ),
            _files,
            _line,
        )
    for _name, (_data, _line) in QUERIES.items():
        CASES[f"{_command}: queries in an array: {_name}"] = _case(
            (_command, "--data", "db.npz", "--queries", "q.npy"), {"q.npy": _data}, _line
        )
for _name, (_arguments, _files, _line) in POOL.items():
    CASES[f"pool: masks: {_name}"] = _case(
        ("pool", "--data", "db.npz", "--self", *_arguments), _files, _line
    )
CASES["pool: --jacobian of text"] = _case(
    ("pool", "Li", "--jacobian"), {}, "--jacobian is of softmax weights over vectors"
)
