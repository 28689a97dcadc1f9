"""Valid files of every format, to be broken, and the words that each format is made of."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

CSV = [
    b"last,first\nLi,Mu\nHu,Rachel\nWerness,Brent\n",
    b'k,v,w\r\n"a,1","x ""y""",1.5\r\n"b\nc",,-2e3\r\n',
    b"x,y\n" + b"".join(b"%d.25,%d\n" % (i, i * i) for i in range(40)),
    b'sep=;\nk;v\n"1";"2"\n3;4\n',
    "\ufeffname,Größe\nJosé,1\n日本,2\n".encode(),
    "k,v\na,1\nb,2\n".encode("utf-16"),
    gzip.compress(b"k,v\n" + b"a,1\n" * 50),
]
TSV = [data.replace(b",", b"\t") for data in CSV[:3]] + ["k\tv\né\t\u2028\n".encode()]
JSON = [
    b'{"Li": "Mu", "Hu": "Rachel"}',
    b'[{"a": "x", "b": 1.5e3, "c": null}, {"a": "y", "b": -2, "c": [1, {"d": true}]}]\n',
    b'[["a", 1], ["b\\n\\u00e9\\ud83d\\ude00", 2.0]]',
    json.dumps({f"k{i}": i / 7 for i in range(30)}, indent=1).encode(),
    gzip.compress(b'{"a": 1, "b": 2}'),
]
JSONL = [
    b'{"a": "x", "b": 1}\n\n{"b": 2, "a": "y"}\n',
    b'["a", 0.1]\r\n["b", "\\u2028"]\r\n["c", null]',
    b"".join(b'["k%d", %d]\n' % (i, i) for i in range(40)),
    gzip.compress(b'["a", 1]\n["b", 2]\n'),
]

_ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
    np.zeros((2, 0, 3), "f2"),
    np.array(5, "i8"),
    np.array(["Li", "Łukasz"]),
    np.ones((2, 3, 4), "?"),
]


def _npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version)
    return out.getvalue()


def _npz(method: int, arrays: list[np.ndarray]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, array in enumerate(arrays):
            archive.writestr(f"a{number}.npy", _npy(array))
    return out.getvalue()


NPY = [*map(_npy, _ARRAYS), _npy(_ARRAYS[0], (2, 0))]
NPZ = [
    _npz(zipfile.ZIP_STORED, _ARRAYS[:2]),
    _npz(zipfile.ZIP_DEFLATED, _ARRAYS[:3]),
    _npz(zipfile.ZIP_BZIP2, _ARRAYS[:1]),
    _npz(zipfile.ZIP_LZMA, _ARRAYS[:1]),
    _npz(zipfile.ZIP_STORED, _ARRAYS[4:]),
]


def _safetensors(header: str, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + data


_F32 = '{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
_TWO = (
    '{"a":{"dtype":"BF16","shape":[2,2,2],"data_offsets":[0,16]},'
    '"b":{"dtype":"F16","shape":[2,2],"data_offsets":[16,24]},"__metadata__":{"by":"us"}}'
)
SAFETENSORS = [_safetensors(_F32, bytes(range(24))), _safetensors(_TWO, bytes(range(100, 124)))]

MATRIX_CSV = [
    b"0.5,0.5\n0.25,0.75\n",
    b",the,cat\nsat,0.1,0.9\ndown,1,0\n",
    b'sep=;\n"0.5";0\n',
    b"1\t2\n3\t4\n",
]
MATRIX_JSON = [b"[[0.5, 0.5], [1, 0]]", b"[[[1]], [[2]]]\n", b"[" + b"[1,2,3]," * 30 + b"[4,5,6]]"]
LABELS = [b"the\ncat\n", "\ufeffÉtat\n日本\r\n\n▁it\n".encode(), b'["a", "b"]']

_PICTURE = b"heatmap\0k.npy\0"
ARGUMENTS = [
    b"lookup\0Li\0Hu\0--mode\0softmax\0--top\x003\0--explain",
    b"lookup\0Lipten\0-m\0approximate\0--score\0jaro-winkler\0--format\0json\0-o\0out.json",
    b"lookup\0Li\0-m\0average\0--min-weight\x000.5\0--weights\0w.npz\0--temperature\x002",
    b"pool\x001\x002.5\0--data\0t.csv\0--bandwidth\0scott\0--score\0gaussian",
    b"pool\0--self\0--data\0t.csv\0--neighbors\x002\0--causal\0--jacobian\0--format\0json",
    _PICTURE + b"-o\0x.svg\0--annotate\0--title\0T\0--size\x003x2",
    _PICTURE + b"--queries\x000-1\0--keys\x000,2\0--vmin\x000\0--vmax\x001\0--cmap\0viridis",
    b"pool\0--data\0t.csv\0--degree\x001\0--band\x000.9\0--loo\0--std-error",
    b"pool\0--data\0t.csv\0-o\0fit.svg\0--bandwidth\x002",
    b"learn\0--data\0t.csv\0--value\0y\0--metric\0full\0--validate\x000.5\0-o\0m.json",
    b"lookup\0--queries\0t.csv\0--query-key\0x\0--data\0t.csv\0--join\0-m\0exact",
    b"heads\0k.npy\0--sort\0entropy\0--sink-key\x000\0--pairs\x002\0--format\0json",
    b"--help",
]

_TABLES = [
    {"k": ["Li", "Hu", "Łukasz", None], "v": [1, 2, 3, 4], "x": [0.5, -1.0, 2e300, 0.0]},
    {"k": pa.array(["a", "b"] * 20).dictionary_encode(), "t": [True, False] * 20},
    {"e": [[1.0, 2.0], [3.0, 4.5]], "v": pa.array([1, 2], pa.float32())},
    {"i": [2**60, -5], "v": pa.array(["x", "y"], pa.large_string())},
]


def _parquet(columns: dict[str, object], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def _arrow(columns: dict[str, object], compression: str) -> bytes:
    out = io.BytesIO()
    pa.feather.write_feather(pa.table(columns), out, compression, chunksize=3)
    return out.getvalue()


PARQUET = [
    *map(_parquet, _TABLES),
    _parquet(_TABLES[0], compression="zstd", row_group_size=2, use_dictionary=False),
    _parquet(_TABLES[0], data_page_version="2.0", store_schema=False),
]
ARROW = [
    *(_arrow(columns, "uncompressed") for columns in _TABLES),
    _arrow(_TABLES[0], "lz4"),
    _arrow(_TABLES[1], "zstd"),
]

SEEDS = {
    "csv": CSV,
    "tsv": TSV,
    "json": JSON,
    "jsonl": JSONL,
    "npy": NPY,
    "npz": NPZ,
    "safetensors": SAFETENSORS,
    "parquet": PARQUET,
    "arrow": ARROW,
    "matrix.csv": MATRIX_CSV,
    "matrix.json": MATRIX_JSON,
    "labels.txt": LABELS,
    "arguments": ARGUMENTS,
}

_NUMBERS = [b"0", b"-1", b"1e999", b"nan", b"inf", b"9" * 400, b"1_000", b"007", b"1,5", b"."]
_BYTES = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x1f\x8b",
    b"\x1b[31m",
    b"\r",
    b"\n",
]
_TEXT = [
    b'"',
    b'""',
    b",",
    b";",
    b"\t",
    b"\\",
    b"sep=,\n",
    "\u2028\u202e".encode(),
    *_NUMBERS,
    *_BYTES,
]
_JSON = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"[" * 3000,
    b'{"":' * 2000,
    b"\\ud800",
    b"NaN",
    b"-Infinity",
]
_HEADER = [
    b"'O'",
    b"'<c16'",
    b"'<U0'",
    b"'<U9'",
    b"True",
    b"(9,)",
    b"()",
    b"(0,)",
    b"-",
    b"'''",
    b"#",
]
_SIZES = [
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff" * 8,
    b"\0" * 8,
    b"\1\0",
    b"\xff\x7f",
    b"PK\1\2",
    b"PK\5\6",
]

WORDS = {
    "csv": _TEXT,
    "tsv": _TEXT,
    "json": _TEXT + _JSON,
    "jsonl": _TEXT + _JSON,
    "npy": _HEADER + _NUMBERS + _BYTES + _SIZES,
    "npz": _HEADER + _NUMBERS + _BYTES + _SIZES,
    "safetensors": _JSON + _NUMBERS + _BYTES + _SIZES + [b'"F64"', b'"I64"', b'"BOOL"', b"[]"],
    "parquet": _BYTES + _SIZES + [b"PAR1", b"\x15\0", b"\x19\x1c"],
    "arrow": _BYTES + _SIZES + [b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\x80"],
    "matrix.csv": _TEXT,
    "matrix.json": _TEXT + _JSON,
    "labels.txt": _TEXT + _JSON,
    "arguments": [
        *_NUMBERS,
        b"\0",
        b"\0--",
        b"\0-",
        b"\0-o\0no/such/x.svg\0",
        b"\0--format\0value\0",
        b"\0--score\0dot\0",
        b"\0--bandwidth\0cv\0",
        b"\0--data\0k.npy\0",
        b"\0--key\x002\0",
        b"\0--queries\0t.csv\0",
        b"\0--workers\x002\0",
        b"\0--no-header\0",
        b"\0--loo\0",
        b"\0--plot\0",
        b"\0--degree\x001\0",
        b"\0--band\x000.9\0",
        b"\0--sink-key\x005\0",
        b"\0--validate\x000.9\0",
        b"\0--rank\x002\0",
        b"\0--model\0names\0",
        b"\0--truth\0y\0",
        b"\0--dedupe\0",
        b"\0--help\0",
        b"\xff",
        "é\u202e".encode(),
        b"*",
        b"%s",
        b"=",
    ],
}
