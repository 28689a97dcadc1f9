"""What broken files have been found to do wrong: each a row, read ever after.

Add the bytes that the long round prints, under a name that says what went wrong, with their format
and what a refusal of them says after the file's name: each is a row of the corpus, too.
"""

from __future__ import annotations

from tests.fuzz.seeds import NPZ

# A member that says its name is UTF-8 (bit 11 of the flags), and whose name is not.
_UTF_8 = b"PK\1\2\x14\3\x14\0\0\x08"
_DIRECTORY = NPZ[2].rindex(b"PK\1\2")

FINDINGS: dict[str, tuple[str, bytes, str]] = {
    "a header that ends in an open string was a traceback of tokenize": (
        "npy",
        b"\x93NUMPY\x01\x00\x08\x00x = '''\n",
        ": not a .npy file, or one whose header is damaged",
    ),
    "a shape of more axes than NumPy has was a traceback": (
        "npy",
        b"\x93NUMPY\x01\x00\xd4\x00"
        + f"{{'descr': '|b1', 'fortran_order': False, 'shape': ({'1,' * 70}), }}".ljust(
            211
        ).encode()
        + b"\n\0",
        ": its header claims the shape (1, 1, 1,",
    ),
    "text of no width was a traceback": (
        "npy",
        b"\x93NUMPY\x01\x00\x40\x00"
        + b"{'descr': '<U0', 'fortran_order': False, 'shape': (2,), }".ljust(63)
        + b"\n",
        ": is of dtype <U0",
    ),
    "a quoted cell of two numbers in a later block was a traceback": (
        "csv",
        b"k,v\n" + (b"1," + b"2" * 200 + b"\n") * 6_000 + b'"1\n2",3\n',
        ":6002: '1\\n2' is not a ",
    ),
    "a member whose name is not the UTF-8 that it claims was a traceback": (
        "npz",
        NPZ[2][:_DIRECTORY]
        + _UTF_8
        + NPZ[2][_DIRECTORY + len(_UTF_8) :].replace(b"a0.npy", b"\xff0.npy"),
        ": not a .npz file, or a damaged one",
    ),
    "a lone carriage return in a matrix's first line was a traceback of csv": (
        "matrix.csv",
        b"a\rb,c\n1,2\n",
        ":2: 2 fields where the header has 1; quote the comma",
    ),
    "a matrix of one empty row was a traceback": (
        "matrix.json",
        b"[[]]\n",
        ": its shape is (1, 0); there is nothing to draw",
    ),
}
