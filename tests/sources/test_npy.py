"""Arrays in .npy and .npz files: what is read, what is refused, and what is never done."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import bytes_in, formats
from qkvcli.sources import npy as arrays
from qkvcli.sources.npy import first_nonfinite, open_array, open_arrays, pick
from tests.support.command import run_qkv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DTYPES = [
    "?",
    "i1",
    "u1",
    "<i2",
    ">i4",
    "<u4",
    "<i8",
    ">u8",
    "<f2",
    ">f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
]


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **options)
    return out.getvalue()


def npz(*, compressed: bool = False, **named: Any) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **named)
    return out.getvalue()


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """Return an .npy file with any header."""
    body = text.encode("latin-1") + b"\n"
    length = struct.pack("<H", len(body)) if version == 1 else struct.pack("<I", len(body))
    return b"\x93NUMPY" + bytes([version, 0]) + length + body + data


def claim(shape: str, descr: str = "'<f8'", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def refusal(path: str) -> str:
    with pytest.raises(InputError) as caught:
        [array.read() for array in open_arrays(path).values()]
    line = str(caught.value)
    assert line.startswith(path)
    line = line.removeprefix(path)
    assert "\n" not in line
    assert "pickle" not in line
    return line


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtypes_and_orders(put: Any, dtype: str, order: Any) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype=dtype, order=order)
    for path in (
        put("a.npy", npy(array)),
        put("a.npz", npz(a=array)),
        put("b.npz", npz(a=array, compressed=True)),
    ):
        found = open_array(path)
        assert (found.shape, found.ndim, found.size) == ((2, 3, 4), 3, array.nbytes)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found.read(), array)
        rows = found.rows(1, 4)
        assert rows.dtype == (np.float32 if dtype[-2:] in ("f2", "f4") else np.float64)
        np.testing.assert_array_equal(rows, np.ascontiguousarray(array).reshape(6, 4)[1:4])


def test_labels_are_read(put: Any) -> None:
    path = put("a.npz", npz(weights=np.eye(2), labels=np.array(["Li", "Łukasz"])))
    assert open_arrays(path)["labels"].read().tolist() == ["Li", "Łukasz"]
    assert pick(open_arrays(path), (), "--array", path).shape == (2, 2)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_small_and_empty_shapes_are_known(put: Any, shape: tuple[int, ...], order: Any) -> None:
    array = np.asarray(np.zeros(shape), order=order)
    for path in (
        put("a.npy", npy(array)),
        put("a.npz", npz(a=array)),
        put("b.npz", npz(a=array, compressed=True)),
    ):
        found = open_array(path)
        assert found.shape == shape
        assert found.read().shape == shape


REFUSED = [
    pytest.param(b"", ": is empty; an array file was expected", id="empty"),
    pytest.param(b"k,v\na,b\n", ": not a .npy or .npz file", id="text"),
    pytest.param(b"\x93NUM", ": not a .npy or .npz file", id="half the magic"),
    pytest.param(b"\x93NUMPY", ": not a .npy file, or one whose header is damaged", id="magic only"),
    pytest.param(b"\x93NUMPY\x01\x00\xff\xff{", ": not a .npy file, or one whose header is damaged", id="truncated header"),
    pytest.param(b"\x93NUMPY\x09\x00\x01\x00{", ": not a .npy file, or one whose header is damaged", id="version 9"),
    pytest.param(header("{"), ": not a .npy file, or one whose header is damaged", id="open brace"),
    pytest.param(header("[" * 9000), ": not a .npy file, or one whose header is damaged", id="deep header"),
    pytest.param(header("x = '''"), ": not a .npy file, or one whose header is damaged", id="open string"),
    pytest.param(header("  x\n y\n  z"), ": not a .npy file, or one whose header is damaged", id="odd indent"),
    pytest.param(header("{'descr': '\\d'}"), ": not a .npy file, or one whose header is damaged", id="odd escape"),
    pytest.param(header("\x00" * 99), ": not a .npy file, or one whose header is damaged", id="NULs"),
    pytest.param(header("__import__('os').system('true')"), ": not a .npy file, or one whose header is damaged", id="code"),
    pytest.param(header(claim("(2,)", "3")), ": not a .npy file, or one whose header is damaged", id="descr is a number"),
    pytest.param(header(claim("(2,)", "'<zz'")), ": not a .npy file, or one whose header is damaged", id="unknown dtype"),
    pytest.param(header(claim("(2,)", "[[]]")), ": not a .npy file, or one whose header is damaged", id="nested descr"),
    pytest.param(header(claim("(2.5,)")), ": not a .npy file, or one whose header is damaged", id="half a row"),
    pytest.param(header(claim("'x'")), ": not a .npy file, or one whose header is damaged", id="shape is text"),
    pytest.param(header(claim("(2,)", fortran="3")), ": not a .npy file, or one whose header is damaged", id="order is a number"),
    pytest.param(header(claim("(-1, -8)"), b"\0" * 64), ": its header claims the shape (-1, -8)", id="negative shape"),
    pytest.param(header(claim("(3,)"), b"\0" * 23), ": truncated: its header claims shape (3,) of float64, 24 bytes, and 23 follow", id="truncated"),
    pytest.param(header(claim("(10**12,)")), ": not a .npy file, or one whose header is damaged", id="power"),
    pytest.param(header(claim("(1000000000000,)")), ": truncated: its header claims shape (1000000000000,)", id="7 TiB"),
    pytest.param(header(claim("(1000000000000,)", fortran="True")), ": truncated: its header claims", id="7 TiB in Fortran order"),
    pytest.param(header(claim(f"({'9' * 5000},)")), ": not a .npy file, or one whose header is damaged", id="5000 digits"),
    pytest.param(header(claim(f"({'9' * 60},)")), ": truncated: its header claims", id="60 digits"),
    pytest.param(header(claim(f"({'9' * 60},0)")), ": its header claims the shape (", id="60 digits times 0"),
    pytest.param(header(claim("(2,)"), version=2), ": truncated", id="version 2"),
    pytest.param(header(claim("(" + "1," * 70 + ")"), b"\0" * 8), ": its header claims the shape (1, 1,", id="70 axes"),
    pytest.param(npy(np.array([{}]), allow_pickle=True), ": holds Python objects, which are not read; save it as numbers", id="objects"),
    pytest.param(pickle.dumps([1, 2]), ": not a .npy or .npz file", id="a pickle"),
    pytest.param(npy(np.zeros(2, [("a", "<f8"), ("b", "O")]), allow_pickle=True), ": holds Python objects", id="structured objects"),
    pytest.param(npy(np.zeros(2, [("a", "<f8")])), ": is of dtype [('a', '<f8')]; save it as float32 or float64", id="structured"),
    pytest.param(npy(np.zeros(2, "V8")), ": is of dtype |V8; save it as float32 or float64", id="void"),
    pytest.param(npy(np.zeros(2, "<M8[s]")), ": is of dtype datetime64[s]; save it as float32 or float64", id="datetime"),
    pytest.param(npy(np.zeros(2, "<m8[s]")), ": is of dtype timedelta64[s]; save it as float32 or float64", id="timedelta"),
    pytest.param(npy(np.zeros(2, "<c8")), ": is of dtype complex64; save it as float32 or float64", id="complex64"),
    pytest.param(npy(np.zeros(2, "<c16")), ": is of dtype complex128; save it as float32 or float64", id="complex128"),
    pytest.param(npy(np.zeros(2, "S3")), ": is of dtype |S3; save it as float32 or float64", id="bytes"),
    pytest.param(npy(np.zeros(2, np.longdouble)), ": is of dtype float128; save it as float32 or float64", id="long double"),
    pytest.param(header(claim("(2,)", "'<U0'")), ": is of dtype <U0; save it as float32 or float64", id="text without width"),
    pytest.param(b"PK\x03\x04" + b"\0" * 40, ": not a .npz file, or a damaged one", id="zip magic only"),
    pytest.param(npz(a=np.eye(9))[:-30], ": not a .npz file, or a damaged one", id="truncated zip"),
    pytest.param(npz(a=np.eye(9), compressed=True)[:60], ": not a .npz file, or a damaged one", id="more truncated zip"),
    pytest.param(npz(), ": holds no arrays", id="no arrays"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), REFUSED)
def test_refused(put: Any, data: bytes, line: str) -> None:
    assert refusal(put("bad.npy", data)).startswith(line)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_member_is_named(put: Any, compressed: bool) -> None:
    path = put("bad.npz", npz(good=np.eye(2), bad=np.zeros(2, complex), compressed=compressed))
    assert refusal(path) == "[bad]: is of dtype complex128; save it as float32 or float64"


def test_objects_in_a_zip(put: Any) -> None:
    assert "holds Python objects" in refusal(put("bad.npz", npz(a=np.array([{}], object))))


class Loud:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_no_pickle_is_ever_loaded(put: Any, tmp_path: Path) -> None:
    loud = tmp_path / "loud"
    data = npy(np.array([Loud(loud)], object), allow_pickle=True)
    for path in (put("a.npy", data), put("b.npy", pickle.dumps(Loud(loud)))):
        refusal(path)
    assert not loud.exists()


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods(put: Any, method: int) -> None:
    path = put("a.npz", packed({"a.npy": npy(np.eye(3)), "notes.txt": b"x"}, method))
    assert list(open_arrays(path)) == ["a"]
    np.testing.assert_array_equal(open_array(path).read(), np.eye(3))


def test_a_bomb_is_refused_before_it_is_unpacked(put: Any, monkeypatch: Any) -> None:
    path = put("bomb.npz", npz(a=np.zeros((1 << 20) // 8), compressed=True))
    monkeypatch.setattr(arrays, "WHOLE_CAP", (1 << 20) - 1)

    def unpacked(*_: Any) -> bytes:
        raise AssertionError

    monkeypatch.setattr(zipfile.ZipFile, "read", unpacked)
    assert refusal(path) == ": unpacks to 1 MiB, over the cap of 0 MiB"


def test_many_small_members_count_together(put: Any, monkeypatch: Any) -> None:
    path = put("bomb.npz", npz(**{f"a{i}": np.zeros(100) for i in range(20)}, compressed=True))
    monkeypatch.setattr(arrays, "WHOLE_CAP", 10_000)
    assert "unpacks to" in refusal(path)


def test_stored_members_are_read_in_place_whatever_their_size(put: Any, monkeypatch: Any) -> None:
    path = put("a.npz", npz(a=np.arange(1000.0), b=np.eye(2)))
    monkeypatch.setattr(arrays, "WHOLE_CAP", 100)
    found = open_arrays(path)
    assert found["a"].path == path
    assert found["a"].rows(0, 1).tolist() == [list(range(1000))]


def test_a_zip_that_lies_about_a_size(put: Any) -> None:
    data = npz(a=np.zeros(1000), compressed=True)
    directory = data.rindex(b"PK\x01\x02")
    small = data[: directory + 24] + struct.pack("<I", 200) + data[directory + 28 :]
    assert refusal(put("bad.npz", small)).startswith((": not a .npz file", "[a]: truncated"))
    # A stored member that claims to go on after the end of the file.
    member = header(claim("(1000000,)"), b"\0" * 8)
    data = packed({"a.npy": member})
    directory = data.rindex(b"PK\x01\x02")
    sizes = struct.pack("<II", 9_000_000, 9_000_000)
    large = data[: directory + 20] + sizes + data[directory + 28 :]
    # Some builds of Python see it themselves.
    assert refusal(put("bad.npz", large)).startswith((": not a .npz file", "[a]: truncated"))


def test_an_encrypted_member(put: Any) -> None:
    data = bytearray(npz(a=np.eye(2)))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert refusal(put("bad.npz", bytes(data))).startswith(": not a .npz file, or a damaged one")


def test_an_unknown_method(put: Any) -> None:
    data = bytearray(npz(a=np.eye(2)))
    data[8] = 99
    data[data.rindex(b"PK\x01\x02") + 10] = 99
    assert refusal(put("bad.npz", bytes(data))).startswith(": not a .npz file, or a damaged one")


def test_fortran_order_over_the_cap(put: Any, monkeypatch: Any) -> None:
    path = put("a.npy", npy(np.zeros((10, 20), order="F")))
    monkeypatch.setattr(arrays, "WHOLE_CAP", 100)
    assert refusal(path).startswith(": is Fortran-ordered and over 0 GiB; save it in C order")


def test_a_file_that_shrinks_is_noticed(put: Any) -> None:
    path = put("a.npy", npy(np.arange(1000.0)))
    found = open_array(path)
    os.truncate(path, 200)
    with pytest.raises(InputError, match="is shorter than when it was opened"):
        found.rows(0, 1)


def test_a_file_that_goes_is_noticed(put: Any) -> None:
    path = put("a.npy", npy(np.arange(10.0)))
    found = open_array(path)
    Path(path).unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        found.rows(0, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone.npy", "no such file"), (".", "is a directory; name a file in it")],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_arrays(str(tmp_path / name))


def test_a_mistyped_name(put: Any) -> None:
    path = put("weights.npy", npy(np.eye(2)))
    with pytest.raises(
        InputError, match=r"wieghts\.npy: no such file; did you mean 'weights\.npy'\?"
    ):
        open_arrays(path.replace("weights", "wieghts"))


@pytest.mark.parametrize(
    "data", [npy(np.eye(3)), npz(a=np.eye(3)), npz(a=np.eye(3), compressed=True)]
)
def test_from_a_fifo(tmp_path: Path, data: bytes) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    found = open_array(str(fifo))
    writer.join()
    np.testing.assert_array_equal(found.read(), np.eye(3))


def test_from_standard_input() -> None:
    code = "from qkvcli.sources.npy import open_array; print(open_array('-').rows(0, 2).tolist())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=npy(np.eye(2, dtype="f2")),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"[[1.0, 0.0], [0.0, 1.0]]\n"


def test_a_pipe_over_the_cap(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(arrays, "WHOLE_CAP", 100)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(npy(np.eye(9)),))
    writer.start()
    with pytest.raises(InputError, match="more than 0 GiB from a pipe; give it as a file"):
        open_array(str(fifo))
    writer.join()


def test_one_array_is_wanted(put: Any) -> None:
    path = put("a.npz", npz(a=np.eye(2), b=np.eye(2)))
    with pytest.raises(InputError) as caught:
        open_array(path)
    assert str(caught.value) == f"{path}: holds 2 arrays (a, b); give a file with one"


def test_pick(put: Any) -> None:
    path = put("a.npz", npz(keys=np.eye(2), values=np.eye(3)))
    found = open_arrays(path)
    assert pick(found, ("k", "keys"), "--keys", path) is found["keys"]
    with pytest.raises(UsageError) as caught:
        pick(found, ("vlaues",), "--values", path)
    assert (
        str(caught.value) == f"{path} has no array 'vlaues'; did you mean 'values'?; pass --values"
    )
    with pytest.raises(UsageError) as caught:
        pick(found, (), "--array", path)
    assert str(caught.value) == f"{path} holds several arrays: keys, values; pass --array"


def test_rows_in_a_buffer_are_the_same_rows(put: Any) -> None:
    array = np.arange(30, dtype="<f2").reshape(10, 3)
    found = open_array(put("a.npy", npy(array)))
    for start, stop in ((0, 10), (2, 5), (9, 10), (4, 4)):
        np.testing.assert_array_equal(found.rows(start, stop, buffer="b"), array[start:stop])


@given(
    hnp.arrays(
        st.sampled_from(["<f2", ">f4", "<f8", "?", "<i8"]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=6),
        elements=st.integers(0, 1),
    ),
    st.data(),
)
def test_some_columns_of_some_rows(array: NDArray[Any], data: st.DataObject) -> None:
    flat = array.reshape(-1, array.shape[-1])
    start, stop = sorted(data.draw(st.integers(0, len(flat))) for _ in range(2))
    first, last = sorted(data.draw(st.integers(0, flat.shape[1])) for _ in range(2))
    buffer = data.draw(st.sampled_from(["", "b"]))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.npy"
        for order, at_hand in (("C", False), ("F", True)):
            Path(path).write_bytes(npy(np.asarray(array, order=order)))  # type: ignore[call-overload]
            found = open_array(path)
            assert not at_hand or array.ndim == 1 or 1 in array.shape or found.data is not None
            rows = found.rows(start, stop, columns=slice(first, last), buffer=buffer)
            np.testing.assert_array_equal(rows, flat[start:stop, first:last])


@pytest.mark.parametrize("slab", [1, 100, 1 << 20])
def test_fortran_order_is_turned_part_by_part(
    put: Any, monkeypatch: pytest.MonkeyPatch, slab: int
) -> None:
    monkeypatch.setattr(arrays, "SLAB_BYTES", slab)
    array = np.arange(60.0).reshape(3, 4, 5)
    data = npy(np.asfortranarray(array))
    for path in (
        put("a.npy", data),
        put("a.npz", npz(a=np.asfortranarray(array), compressed=True)),
    ):
        np.testing.assert_array_equal(open_array(path).read(), array)
    claimed = ": truncated: its header claims shape (3, 4, 5) of float64, 480 bytes, and 477 follow"
    assert (
        refusal(put("b.npz", packed({"a.npy": data[:-3]}, zipfile.ZIP_DEFLATED))) == f"[a]{claimed}"
    )
    with pytest.raises(InputError, match="480 bytes, and 477 follow"):
        arrays.arrays_in([data[:100], data[100:-3]], "stdin")


def test_a_new_thread_has_buffers_of_its_own(put: Any) -> None:
    found = open_array(put("a.npy", npy(np.arange(30.0).reshape(10, 3))))
    here = found.rows(0, 5, buffer="k")
    there: list[Any] = []

    def read() -> None:
        there.extend(found.rows(start, start + 2, buffer="k").tolist() for start in (4, 0))
        there.append(found.rows(0, 10, buffer="k").sum())

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert there == [[[12, 13, 14], [15, 16, 17]], [[0, 1, 2], [3, 4, 5]], 435]
    assert here.tolist() == np.arange(15.0).reshape(5, 3).tolist()


def test_part_of_an_array_at_hand(put: Any) -> None:
    whole = np.arange(60.0).reshape(2, 10, 3)
    packed = open_array(put("a.npz", npz(a=whole, compressed=True)))
    part = packed.part(4, 9)
    assert (part.skipped, len(part.data or b"")) == (4 * 24, 5 * 24)
    again = part.part(6, 8)
    np.testing.assert_array_equal(again.rows(6, 8), whole.reshape(20, 3)[6:8])
    lying = open_array(put("a.npy", npy(whole)))
    assert lying.part(4, 9) is lying


def test_arrays_are_told_by_their_first_bytes(put: Any, tmp_path: Path) -> None:
    for data, wanted in (
        (npy(np.eye(2)), "npy"),
        (npz(a=np.eye(2)), "npz"),
        (npz(), "npz"),
        (b"PK\x03", "csv"),
        (b"k,v\n\x93NUMPY", "csv"),
        (b"", "csv"),
    ):
        assert formats.format_by_start(data) == wanted
        assert formats.starts_as_array(put("x", data)) is (wanted != "csv")
    assert not formats.starts_as_array(str(tmp_path / "none"))
    assert not formats.starts_as_array(str(tmp_path))
    for name, wanted in (("a.npy", "npy"), ("A.NPZ", "npz"), ("npy", "")):
        assert formats.format_by_name(name) == wanted
    for name, data in (("", npy(np.eye(3))), ("a", npz(a=np.eye(3), compressed=True))):
        found = arrays.arrays_in([data[:3], data[3:]], "here")
        assert list(found) == [name]
        np.testing.assert_array_equal(found[name].read(), np.eye(3))
        assert found[name].name == ("here[a]" if name else "here")
    with pytest.raises(InputError, match=r"^here: not a \.npy or \.npz file$"):
        arrays.arrays_in([b"k,v"], "here")


def test_at_the_cap_is_not_over_it(put: Any, monkeypatch: Any) -> None:
    array = np.zeros((4, 5), order="F")
    monkeypatch.setattr(arrays, "WHOLE_CAP", array.nbytes)
    assert open_array(put("a.npy", npy(array))).shape == (4, 5)
    monkeypatch.setattr(arrays, "WHOLE_CAP", len(npy(array)))
    assert open_array(put("a.npz", npz(a=array, compressed=True))).shape == (4, 5)
    monkeypatch.setattr(arrays, "WHOLE_CAP", len(npy(array)) - 1)
    assert refusal(put("a.npz", npz(a=array, compressed=True))).startswith(": unpacks to 0 MiB")


def test_first_nonfinite() -> None:
    array = np.zeros((3, 4))
    assert first_nonfinite(array) is None
    array[2, 1], array[2, 3] = np.nan, np.inf
    assert first_nonfinite(array) == (2, 1)
    assert first_nonfinite(array, 100) == (102, 1)
    array[0, 3] = -np.inf
    assert first_nonfinite(array) == (0, 3)


@given(
    array=hnp.arrays(
        dtype=st.sampled_from(DTYPES),
        shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
    data=st.data(),
)
def test_what_numpy_writes_is_read_back(
    tmp_path: Path, array: NDArray[Any], fortran: bool, compressed: bool, data: st.DataObject
) -> None:
    array = np.asarray(array, order="F" if fortran else "C")
    (tmp_path / "a.npy").write_bytes(npy(array))
    (tmp_path / "a.npz").write_bytes(npz(x=array, compressed=compressed))
    for name in ("a.npy", "a.npz"):
        found = open_array(str(tmp_path / name))
        np.testing.assert_array_equal(found.read(), array)
        if array.size:
            flat = np.ascontiguousarray(array).reshape(-1, array.shape[-1])
            start = data.draw(st.integers(0, len(flat)))
            stop = data.draw(st.integers(start, len(flat)))
            np.testing.assert_array_equal(found.rows(start, stop), flat[start:stop])


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk", [900, bytes_in.CHUNK])
def test_an_array_in_parts_is_read_no_further_than_it_goes(
    size: int, order: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytes_in, "CHUNK", chunk)
    array = np.arange(600.0).reshape(20, 30, order=order)
    data = npy(array) + b"\0" * 5_000
    given: list[int] = []

    def parts() -> Iterator[bytes]:
        for start in range(0, len(data), size):
            given.append(start)
            yield data[start : start + size]

    found = arrays.arrays_in(parts(), "here")[""]
    np.testing.assert_array_equal(found.read(), array)
    assert size * len(given) < len(npy(array)) + 2 * size
    short = npy(array)[:-1]
    with pytest.raises(InputError, match="4800 bytes, and 4799 follow"):
        arrays.arrays_in((short[i : i + size] for i in range(0, len(short), size)), "here")


def test_only_what_is_asked_for_is_unpacked(put: Any) -> None:
    """A neighbour that cannot be read is nobody's concern."""
    out = io.BytesIO()
    np.savez_compressed(out, weights=np.eye(3), meta=np.array([{}], object), z=np.eye(2) * 1j)
    found = open_arrays(put("a.npz", out.getvalue()))
    assert sorted(found) == ["meta", "weights", "z"]
    np.testing.assert_array_equal(found["weights"].read(), np.eye(3))
    assert pick(found, ("weights",), "--name", "a.npz").shape == (3, 3)
    with pytest.raises(InputError, match="holds Python objects"):
        found["meta"]


def test_what_unpacks_to_much_takes_no_memory_before_it_is_refused(tmp_path: Path) -> None:
    """Megabytes that unpack to gigabytes, where only a header tells how much is wanted."""
    (tmp_path / "a.npy").write_bytes(npy(np.eye(2)))
    plain = run_qkv("heatmap", "a.npy", "-o", "b.svg", cwd=tmp_path)
    bomb = gzip.compress(npy(np.eye(2)) + bytes(600 << 20), 1)
    (tmp_path / "b.npy.gz").write_bytes(bomb)
    drawn = run_qkv("heatmap", "b.npy.gz", "-o", "b.svg", cwd=tmp_path)
    assert drawn.status == 0, drawn
    huge = gzip.compress(
        header(claim("(100000, 100000)")) + bytes(600 << 20),
        1,
    )
    (tmp_path / "h.npy.gz").write_bytes(huge)
    refused = run_qkv("heatmap", "h.npy.gz", "-o", "b.svg", cwd=tmp_path)
    assert (refused.status, "more than 2 GiB" in refused.error) == (2, True)
    endless = run_qkv("pool", "1", "--keys", "/dev/zero")
    assert (endless.status, endless.error) == (
        2,
        "qkv: /dev/zero: not a .npy or .npz file\n",
    )
    assert max(run.peak for run in (drawn, refused, endless)) - plain.peak < 100 << 20
