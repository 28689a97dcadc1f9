"""Bytes in: standard input, pipes that are cut anywhere, and formats told by their start."""

from __future__ import annotations

import gc
import gzip
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from qkvcli.errors import InputError, UsageError
from qkvcli.sources import bytes_in
from qkvcli.sources.formats import format_of
from tests.support.tables import refusal, rows

CSV = b"last,first\nLi,Mu\nHu,Rachel\n"
READ = [("Li", "Mu"), ("Hu", "Rachel")]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a pipe, written slowly or at once, in place of standard input."""
    opened: list[Any] = []

    def replace(*parts: bytes, pause: float = 0) -> int:
        reading, writing = os.pipe()

        def write() -> None:
            with os.fdopen(writing, "wb", buffering=0) as pipe:
                for part in parts:
                    pipe.write(part)
                    time.sleep(pause)

        writer = threading.Thread(target=write)
        writer.start()
        stream = os.fdopen(reading, "r")
        opened.extend([writer, stream])
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setattr(bytes_in, "_peeked", [])
        return reading

    yield replace
    for one in opened:
        one.join() if isinstance(one, threading.Thread) else one.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CSV, id="CSV"),
        pytest.param(b"\xef\xbb\xbf" + CSV, id="CSV, BOM"),
        pytest.param(CSV.decode().encode("utf-16"), id="CSV, UTF-16"),
        pytest.param(b'"last",first\n"Li",Mu\nHu,Rachel\n', id="CSV, quoted"),
        pytest.param(b"sep=;\n" + CSV.replace(b",", b";"), id="CSV, sep=;"),
        pytest.param(b'{"Li": "Mu", "Hu": "Rachel"}', id="JSON object"),
        pytest.param(b'\xef\xbb\xbf {"Li": "Mu", "Hu": "Rachel"}\n\n', id="JSON object, BOM"),
        pytest.param(b'\n\n{\n"Li": "Mu",\n"Hu": "Rachel"\n}\n', id="JSON object in lines"),
        pytest.param(b'[\n["Li", "Mu"], ["Hu", "Rachel"]]\n', id="JSON list"),
        pytest.param(b'[["Li", "Mu"],\n["Hu", "Rachel"]]\n', id="JSON list, cut in the middle"),
        pytest.param('{"Li": "Mu", "Hu": "Rachel"}'.encode("utf-16"), id="JSON, UTF-16"),
        pytest.param(b'["Li", "Mu"]\n["Hu", "Rachel"]\n', id="JSON Lines of pairs"),
        pytest.param(b'["Li", "Mu"]\r\n["Hu", "Rachel"]', id="JSON Lines, CRLF"),
        pytest.param(b'\n{"a": "Li", "b": "Mu"}\n\n{"a": "Hu", "b": "Rachel"}', id="JSON Lines"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_says_itself_what_it_is(stdin: Any, data: bytes, packed: bool) -> None:
    stdin(gzip.compress(data) if packed else data)
    assert rows("-") == READ


def test_what_is_said_goes_before_what_is_seen(stdin: Any) -> None:
    stdin(b"[a,b\n[c,d\n")
    assert rows("-", format="csv") == [("[c", "d")]
    stdin(CSV.replace(b",", b"\t"))
    assert rows("-", format="tsv") == READ
    stdin(b'{"a": 1, "b": 2}\n')
    assert rows("-", format="jsonl") == [("1", "2")]


def test_one_record_alone_is_a_document(stdin: Any) -> None:
    stdin(b'{"a": 1, "b": 2}\n')
    assert rows("-") == [("a", "1"), ("b", "2")]


def test_an_encoding_is_honoured_when_a_format_is_told(stdin: Any) -> None:
    stdin('{"Jos\xe9": "x", "b": "y"}'.encode("latin-1"))
    assert rows("-", encoding="latin-1") == [("José", "x"), ("b", "y")]
    stdin('{"a": "x"}'.encode("utf-16-be"))
    assert rows("-", encoding="utf-16-be") == [("a", "x")]


def test_errors_call_it_stdin(stdin: Any) -> None:
    stdin(b"k,v\na,b,c\n")
    assert refusal("-").startswith("stdin:2: 3 fields where the header has 2")
    stdin(b'{"a": 1,\n}')
    assert refusal("-").startswith("stdin:2:1: not well-formed JSON")
    stdin(b"")
    assert refusal("-") == "stdin: is empty; a table needs a header and rows"
    stdin(gzip.compress(CSV)[:-9])
    assert refusal("-").startswith("stdin: the gzip data is damaged or truncated")


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_cut_at_every_byte(stdin: Any, packed: bool) -> None:
    data = gzip.compress(CSV) if packed else CSV
    stdin(*(data[i : i + 1] for i in range(len(data))), pause=0.002)
    assert rows("-") == READ


def test_a_pipe_that_does_not_block_is_waited_for(stdin: Any) -> None:
    reading = stdin(b"", CSV[:5], CSV[5:15], CSV[15:], pause=0.02)
    os.set_blocking(reading, False)
    assert rows("-") == READ


def test_peeking_loses_nothing(stdin: Any) -> None:
    data = bytes(range(256)) * 8192  # two chunks
    stdin(data)
    assert bytes_in.peek_stdin() == data[: bytes_in.CHUNK]
    with bytes_in.open_bytes("-") as stream:
        assert stream.read() == data


def test_a_long_input_is_told_by_its_start(stdin: Any) -> None:
    line = b'["%06d", "x"]\n'
    stdin(b"".join(line % i for i in range(150_000)))
    assert len(rows("-")) == 150_000


def test_standard_input_closed() -> None:
    code = "from qkvcli.sources.store import open_table; open_table('-')"
    script = f'"{sys.executable}" -c "{code}" <&-'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.stderr.decode().endswith(
        "InputError: stdin: is closed; give a file, or send data\n"
    )


def test_standard_input_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"skipped\n" + CSV)
    code = "from tests.support.tables import rows; print(rows('-'))"
    script = f'(read -r line; "{sys.executable}" -c "{code}") < "{path}"'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.decode() == f"{READ}\n"


def test_no_standard_input_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(bytes_in, "_peeked", [])
    with pytest.raises(InputError) as caught:
        bytes_in.open_bytes("-")
    assert str(caught.value) == "stdin: is closed; give a file, or send data"


def test_the_start_of_a_text_may_end_within_a_letter() -> None:
    assert bytes_in.start_of_text("\ufeffaé".encode()[:-1]) == "a"
    assert bytes_in.start_of_text("aé".encode("utf-16")[:-1]) == "a"
    assert bytes_in.start_of_text(b"\xe9", "latin-1") == "é"


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(CSV)
    with pytest.raises(InputError) as caught:
        bytes_in.open_bytes(str(tmp_path / "peopel.csv"))
    assert str(caught.value) == f"{tmp_path}/peopel.csv: no such file; did you mean 'people.csv'?"
    with pytest.raises(InputError) as caught:
        bytes_in.open_bytes(str(tmp_path / "other" / "people.csv"))
    assert str(caught.value) == f"{tmp_path}/other/people.csv: no such file"
    with pytest.raises(InputError, match="is a directory; name a file in it"):
        bytes_in.open_bytes(str(tmp_path))
    with pytest.raises(InputError, match="null byte"):
        bytes_in.open_bytes("a\0b")
    with pytest.raises(InputError, match="Not a directory"):
        bytes_in.open_bytes(str(tmp_path / "people.csv" / "x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CSV)
    (tmp_path / "t.csv").chmod(0)
    assert refusal(str(tmp_path / "t.csv")).endswith("t.csv: Permission denied")


def test_a_failed_read(put: Any) -> None:
    assert refusal("/proc/self/mem").startswith(
        "/proc/self/mem: cannot be read: Input/output error"
    )


def test_an_unknown_extension(put: Any) -> None:
    path = put("t.jsn", CSV)
    with pytest.raises(UsageError) as caught:
        format_of(path)
    assert str(caught.value) == (
        f"{path}: the extension names no table format; did you mean '.json'?; or pass `data_format`"
    )
    assert rows(path, format="csv") == READ


def test_lines(put: Any) -> None:
    assert bytes_in.read_lines(put("a.txt", "a\r\n b \n\nc\u2028d")) == ["a", " b ", "", "c\u2028d"]
    assert bytes_in.read_lines(put("a.txt", "")) == []
    assert bytes_in.read_lines(put("a.txt", "\n")) == [""]
    assert bytes_in.read_lines(put("a.txt", "é\n".encode("latin-1")), "latin-1") == ["é"]
    with pytest.raises(InputError, match=r"a\.txt:2: byte 0xe9 is not UTF-8"):
        bytes_in.read_lines(put("a.txt", "x\né\n".encode("latin-1")))


def test_what_a_file_unpacks_to_by_its_own_word(put: Any, tmp_path: Path) -> None:
    assert bytes_in.unpacked_size(put("a.csv", CSV)) == len(CSV)
    assert bytes_in.unpacked_size(put("a.gz", gzip.compress(b"x" * 70_000))) == 70_000
    assert bytes_in.unpacked_size(str(tmp_path / "none")) == 0
    assert bytes_in.unpacked_size(str(tmp_path)) == 0


@pytest.mark.parametrize("size", [16, 1 << 20])
def test_a_document_over_the_cap(put: Any, monkeypatch: Any, size: int) -> None:
    monkeypatch.setattr(bytes_in, "DOCUMENT_CAP", 100)
    monkeypatch.setattr(bytes_in, "CHUNK", size)
    line = "is larger than 0 MiB, the cap for what is read whole"
    assert bytes_in.read_document(put("a.txt", b"x" * 100)) == b"x" * 100
    for data, encoding in (
        (b"x" * 101, None),
        (gzip.compress(b"x" * 101), None),
        (gzip.compress(b"x" * 101)[:-4] + b"\1\0\0\0", None),  # that says it is smaller
        (b"\xe9" * 60, "latin-1"),  # larger in UTF-8
    ):
        path = put("b.txt", data)
        with pytest.raises(InputError) as caught:
            bytes_in.read_document(path, encoding)
        assert str(caught.value) in (
            f"{path}: {line}",
            # gzip's own check of the size at its end comes first where all is read at once
            f"{path}: the gzip data is damaged or truncated (Incorrect length of data produced)",
        )
    path = put("c.txt", b"\xe9" * 50)
    assert bytes_in.read_document(path, "latin-1").decode() == "é" * 50


def test_a_mark_that_the_encoding_keeps_is_no_text(put: Any) -> None:
    path = put("t.csv", "\ufefflast,first\nLi,Mu\n".encode("utf-16-le"))
    assert rows(path, key=("last",), encoding="utf-16-le") == [("Li", "Mu")]


def test_text_in_another_encoding_is_refused_by_its_line(put: Any, monkeypatch: Any) -> None:
    data = "k,v\na,b\nc,d\n".encode("utf-16") + b"\0\xd8"
    for size in (8, 1 << 20):
        monkeypatch.setattr(bytes_in, "CHUNK", size)
        path = put("t.csv", data)
        with pytest.raises(InputError) as caught:
            list(bytes_in.chunks(path))
        assert str(caught.value) == f"{path}:4: is not utf-16 here; pass another `encoding`"


def test_a_gzip_over_the_cap(put: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bytes_in, "GZIP_CAP", 100)
    path = put("t.csv.gz", gzip.compress(CSV * 100))
    assert refusal(path) == f"{path}: unpacks to more than 0 GiB; unpack it to a file first"


def test_no_file_stays_open(put: Any) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name, data in (("a.csv", CSV), ("a.csv.gz", gzip.compress(CSV)), ("b.csv", b"k,v\na\n")):
        path = put(name, data)
        if name == "b.csv":
            refusal(path)
        else:
            rows(path)
    with pytest.raises(UsageError):
        next(bytes_in.chunks(put("c.csv", CSV), "nothing"))
    gc.collect()  # what a refused table had open is open while the exception is at hand
    assert len(os.listdir("/proc/self/fd")) == before
