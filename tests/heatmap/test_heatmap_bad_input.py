"""Bad input, through the installed command: one line, status 2, and nothing else."""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.heatmap.support import Array, Command, Draw, Save


def header(text: bytes) -> bytes:
    """Return an .npy file of a header and nothing behind it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


FILES: dict[str, object] = {
    "ok.npy": np.eye(3),
    "four.npy": np.full((6, 12, 4, 4), 0.25),
    "five.npy": np.full((1, 2, 1, 2, 2), 0.5),
    "cube.npy": np.full((2, 3, 3), 1 / 3),
    "wide.npy": np.full((3, 4), 0.25),
    "object.npy": np.array([{}, 1], dtype=object),
    "complex.npy": np.eye(2) * 1j,
    "structured.npy": np.zeros(2, dtype=[("a", "f8")]),
    "time.npy": np.zeros((2, 2), "datetime64[s]"),
    "void.npy": np.zeros((2, 2), "V4"),
    "text_array.npy": np.array([["a"]]),
    "zero.npy": np.float64(3),
    "one.npy": np.ones(3),
    "six.npy": np.ones((1,) * 6),
    "empty.npy": np.ones((0, 3)),
    "many.npy": np.full((50, 50, 1, 1), 1.0),
    "zeros.npy": np.zeros((2, 2)),
    "text.npy": b"0.5,0.5\n",
    "nothing.npy": b"",
    "nothing.csv": b"",
    "claims.npy": header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}\n"),
    "evil.npy": header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"),
    "broken.npz": b"PK\x03\x04 and no more",
    "ragged.csv": b"1,2\n3\n",
    "nan.csv": b"0.5,0.5\n0.5,nan\n",
    "underscore.csv": b"0.5,1_000\n",
    "huge.csv": b"0.5,1e999\n",
    "quote.csv": b'0.5,"0.5\n',
    "latin.csv": "é,a\n0.5,0.5\n".encode("latin-1"),
    "nul.csv": b"0.5,\x000.5\n",
    "semicolon.csv": b"0.5;0.5\n0.5;0.5\n",
    "header.csv": b"a,b\n",
    "words.csv": b"a,b\n0.5,what\n",
    "ragged.json": b"[[1, 2],\n [3]]",
    "nan.json": b"[[NaN]]",
    "deep.json": b"[" * 100_000,
    "deepish.json": b"[[[[[[1]]]]]]",
    "string.json": b'[["a"]]',
    "bool.json": b"[[true]]",
    "object.json": b'{"a": 1}',
    "truncated.json": b"[[1, 2], [3",
    "digits.json": b"[[" + b"9" * 5000 + b"]]",
    "text.safetensors": b"not tensors at all",
    "cut.safetensors": (70).to_bytes(8, "little")
    + b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'.ljust(70) + b"1234",
    "int4.safetensors": (70).to_bytes(8, "little")
    + b'{"a":{"dtype":"F8_E5M2","shape":[2,2],"data_offsets":[0,4]}}'.ljust(70) + b"1234",
    "two.txt": b"a\nb\n",
    "three.txt": b"a\nb\nc\n",
    "latin.txt": "é\nb\nc\n".encode("latin-1"),
    "none.txt": b"",
    "labels.json": b'{"a": 1}',
    "surrogate.json": b'["\\ud800", "b", "c"]',
    "weights.xyz": b"0.5",
}  # fmt: skip

INPUTS = [
    ("missing.npy", r"missing\.npy: no such file"),
    ("ok.npz", r"ok\.npz: no such file; did you mean 'ok\.npy'\?"),
    (".", r"\.: is a directory; name a file in it"),
    ("text.npy", r"text\.npy: not a \.npy or \.npz file"),
    ("nothing.npy", r"nothing\.npy: is empty"),
    ("nothing.csv", r"nothing\.csv: is empty"),
    ("object.npy", "holds Python objects, which are not read"),
    ("evil.npy", "holds Python objects, which are not read"),
    ("complex.npy", "is of dtype complex128"),
    ("structured.npy", "is of dtype"),
    ("time.npy", r"is of dtype datetime64\[s\]"),
    ("void.npy", r"is of dtype \|V4"),
    ("text_array.npy", "holds text, not weights|holds no numbers"),
    ("zero.npy", r"its shape is \(\); weights are \(Q, K\)"),
    ("one.npy", r"its shape is \(3,\)"),
    ("six.npy", r"its shape is \(1, 1, 1, 1, 1, 1\)"),
    ("empty.npy", r"its shape is \(0, 3\); there is nothing to draw"),
    ("claims.npy", r"truncated: its header claims shape \(1000000, 1000000\)"),
    ("cut.npy", "truncated"),
    ("broken.npz", "not a .npz file, or a damaged one"),
    ("bomb.npz", "over the cap"),
    ("several.npz", "holds 2 arrays .a, b.; say which with --name"),
    ("five.npy", r"choose an entry of the batch with --batch 0 to 1"),
    ("ragged.csv", r"ragged\.csv:2: 1 field where the header has 2"),
    ("nan.csv", r"nan\.csv:2: 'nan' is not a finite number"),
    ("underscore.csv", r"underscore\.csv:1: '1_000' is not a finite number"),
    ("huge.csv", r"huge\.csv:1: '1e999' is not a finite number"),
    ("quote.csv", r"quote\.csv:1: a quote opens here"),
    ("latin.csv", r"latin\.csv:1: byte 0xe9 is not UTF-8; pass --encoding"),
    ("nul.csv", r"nul\.csv:1: a NUL byte"),
    ("semicolon.csv", r"semicolon\.csv:1: one column, and a ';' in it; pass --delimiter"),
    ("header.csv", r"header\.csv: has a header and no rows"),
    ("words.csv", r"words\.csv:2: 'what' is not a finite number"),
    ("ragged.json", r"ragged\.json:2:2: this list has the shape \(1,\) where the first has \(2,\)"),
    ("nan.json", r"nan\.json:1:2: NaN is not JSON"),
    ("deep.json", r"deep\.json:1:6: more than 5 axes"),
    ("deepish.json", r"deepish\.json:1:6: more than 5 axes"),
    ("string.json", r"string\.json:1:2: 'a' is not a number"),
    ("bool.json", r"bool\.json:1:2: True is not a number"),
    ("object.json", r"object\.json:1:1: a matrix is a list of rows"),
    ("truncated.json", r"truncated\.json:1:\d+: not well-formed JSON"),
    ("digits.json", r"digits\.json:1:2: an integer of 5000 digits"),
    ("text.safetensors", r"not a \.safetensors file"),
    ("missing.safetensors", r"missing\.safetensors: no such file"),
    ("cut.safetensors", r"cut\.safetensors\[a\]: truncated"),
    ("int4.safetensors", r"int4\.safetensors\[a\]: is of dtype F8_E5M2"),
    ("weights.xyz", r"\.xyz names no matrix format"),
]

OPTIONS = [
    (["four.npy", "--layers", "7"], r"four\.npy: there is no layer 7; it has 6 \(0-5\)"),
    (["four.npy", "--heads", "3-12"], r"four\.npy: there is no head 12; it has 12 \(0-11\)"),
    (["ok.npy", "--queries", "3"], r"there is no query 3; it has 3 \(0-2\)"),
    (["ok.npy", "--heads", "1"], r"there is no head 1; it has 1 \(0\)"),
    (["four.npy", "--layers", "1_0"], r"--layers '1_0' is not a list such as 0,3-5"),
    (["four.npy", "--layers", "5-3"], r"--layers: 5-3 runs backwards; write 3-5"),
    (["four.npy", "--layers", "1,0-2"], r"--layers names 1 twice"),
    (["five.npy", "--batch", "2"], r"there is no batch entry 2; it has 2 \(0-1\)"),
    (["five.npy", "--batch", "1_0"], r"--batch"),
    (["ok.npy", "--batch", "0"], r"--batch: ok\.npy has no batch"),
    (["ok.npy", "--vmax", "nan"], r"--vmax.*'nan' is not a finite number"),
    (["ok.npy", "--vmin", "inf"], r"--vmin.*'inf' is not a finite number"),
    (["ok.npy", "--vmin", "1_0"], r"--vmin.*'1_0' is not a finite number"),
    (["ok.npy", "--vmin", "2", "--vmax", "1"], r"--vmin 2 is not below --vmax 1"),
    (["ok.npy", "--vmin", "2"], r"--vmin: the colour scale would run from 2 to 1"),
    (["zeros.npy", "--log"], r"--log: no weight is over 0"),
    (["ok.npy", "--cmap", "Redz"], r"--cmap: there is no colour map 'Redz'; did you mean 'Reds'\?"),
    (["ok.npy", "--reduce", "maen"], r"--reduce.*did you mean 'mean'\?"),
    (["ok.npy", "--formt", "svg"], r"no option --formt; did you mean '--format'\?"),
    (["four.npy", "--rollout", "--reduce", "mean"], r"leave --reduce out"),
    (["wide.npy", "--rollout"], r"3 queries × 4 keys are not square"),
    (["ok.npy", "--diff", "wide.npy"], r"wide\.npy: its shape is \(3, 4\) where ok\.npy has \(3, 3\)"),
    (["ok.npy", "--diff", "ok.npy", "--log"], r"--log has no place"),
    (["ok.npy", "--labels", "two.txt"], r"two\.txt: 2 labels for 3 queries"),
    (["wide.npy", "--labels", "three.txt"], r"three\.txt: 3 labels for 4 keys"),
    (["ok.npy", "--labels", "three.text"], r"three\.text: no such file; did you mean 'three\.txt'\?"),
    (["ok.npy", "--labels", "latin.txt"], r"latin\.txt:1: byte 0xe9 is not UTF-8; pass --encoding"),
    (["ok.npy", "--labels", "none.txt"], r"none\.txt: is empty"),
    (["ok.npy", "--labels", "labels.json"], r"labels\.json:1:1: labels are a list of strings"),
    (["ok.npy", "--labels", "surrogate.json"], r"surrogate\.json:1:1: half of a surrogate pair"),
    (["ok.npy", "--merge-subwords"], r"--merge-subwords needs labels"),
    (["ok.npy", "--drop", "a"], r"--drop needs labels"),
    (["ok.npy", "--labels", "three.txt", "--drop", "aa"], r"--drop: no label is 'aa'; did you mean"),
    (["ok.npy", "--labels", "three.txt", "--drop", "a,b,c"], r"--drop leaves no query"),
    (["four.npy", "--titles", "a,b"], r"--titles: there are 2 titles for 72 panels in 12 columns"),
    (["ok.npy", "--titles", '"a'], r"--titles: a quote is not closed"),
    (["ok.npy", "--size", "6"], r"--size '6' is not a size such as 6x4"),
    (["ok.npy", "--size", "300x1"], r"at most 200 inches"),
    (["four.npy", "--size", "1x1"], r"--size 1x1 \(inches\) leaves no room for 72 panels"),
    (["many.npy"], r"50 layers × 50 heads are 2500 panels, over the budget of 1024"),
    (["ok.npy", "--format", "png", "--dpi", "9000"], r"over the budget of 64 million; pass --dpi \d"),
    (["ok.npy", "--name", "x", "--diff", "several.npz"], r"--name: several\.npz has no array 'x'"),
    (["-", "--labels", "-"], r"only one input can be read from stdin"),
]  # fmt: skip

OUTPUTS = [
    ("", r"an output needs a file name"),
    (".", r"is a directory"),
    ("folder.svg", r"folder\.svg: is a directory"),
    ("absent/out.svg", r"absent/out\.svg: there is no directory"),
    ("out.svgg", r"names no picture; did you mean '\.svg'\?; or pass --format"),
    ("out", r"out: no extension; or pass --format"),
    ("-", r"-o - needs --format"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of good and bad files."""
    for name, content in FILES.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            np.save(tmp_path / name, content, allow_pickle=True)  # type: ignore[arg-type]
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cube.npy").read_bytes()[:-1])
    np.savez(tmp_path / "several.npz", a=np.eye(2), b=np.eye(2))
    (tmp_path / "folder.svg").mkdir()
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.npy", b"")
        archive.infolist()[0].file_size = 1 << 40
    return tmp_path


def check(status: int, stdout: str, stderr: str, line: str) -> None:
    """Hold what every refusal must: one line that says what, and nothing else."""
    assert status == 2, stderr
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert stderr.startswith("qkv: ")
    assert re.search(line, stderr), stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", stderr)


def refused(
    capfd: pytest.CaptureFixture[str], arguments: list[str], line: str, out: str = "old.svg"
) -> None:
    """Run a command that must fail in this process, over an output that must stay."""
    from qkvcli.cli import run

    Path("old.svg").write_text("old")
    before = sorted(os.listdir())
    status = run(["heatmap", *arguments, "-o", out])
    check(status, *capfd.readouterr(), line)
    assert sorted(os.listdir()) == before
    assert Path("old.svg").read_text() == "old"


@pytest.mark.parametrize(("name", "line"), INPUTS, ids=[name for name, _ in INPUTS])
def test_bad_files(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    line: str,
) -> None:
    monkeypatch.chdir(folder)
    refused(capfd, [name], line)


@pytest.mark.parametrize(("arguments", "line"), OPTIONS, ids=[" ".join(a) for a, _ in OPTIONS])
def test_bad_options(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(folder)
    refused(capfd, arguments, line)


@pytest.mark.parametrize(("out", "line"), OUTPUTS, ids=[out for out, _ in OUTPUTS])
def test_bad_outputs(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    line: str,
) -> None:
    monkeypatch.chdir(folder)
    refused(capfd, ["claims.npy"], line, out)  # said before the input is looked at


def test_output_that_is_an_input(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "w.svg").write_bytes((folder / "ok.npy").read_bytes())
    refused(capfd, ["w.svg"], r"w\.svg: is also an input", "w.svg")


def test_in_a_process_of_its_own(folder: Path, qkv: Command) -> None:
    for arguments, line in [(["missing.npy"], "no such file"), (["evil.npy"], "Python objects")]:
        done = qkv("heatmap", *arguments, "-o", "x.svg", cwd=folder)
        check(done.returncode, done.stdout.decode(), done.stderr.decode(), line)
    for stdin, line in [
        (b"", "stdin: is empty"),
        (b"\x93NUMPY", "not a .npy file"),
        (b"[[1,", "stdin:1"),
    ]:
        done = qkv("heatmap", "-", "-o", "x.svg", stdin=stdin, cwd=folder)
        check(done.returncode, done.stdout.decode(), done.stderr.decode(), line)


def test_disk_full_and_closed_pipe(folder: Path, qkv: Command) -> None:
    command = f"{sys.executable} -m qkvcli heatmap four.npy -o - --format svg"
    full = subprocess.run(  # noqa: S602 - redirections are the shell's
        f"{command} > /dev/full", shell=True, cwd=folder, capture_output=True, check=False
    )
    assert full.returncode == 2
    assert b"stdout: not written: No space left on device\n" in full.stderr
    script = f"set -o pipefail; {command} 2>err | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    piped = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, check=False)
    assert piped.stdout == b"141\n"
    assert (folder / "err").read_bytes() == b""
    closed = subprocess.run(  # noqa: S602 - redirections are the shell's
        f"{command} >&-", shell=True, cwd=folder, capture_output=True, check=False
    )
    assert closed.returncode == 2
    assert closed.stderr.count(b"\n") == 1


def test_links_and_modes_stay(folder: Path, qkv: Command) -> None:
    (folder / "real.svg").write_text("old")
    (folder / "real.svg").chmod(0o640)
    (folder / "link.svg").symlink_to("real.svg")
    assert qkv("heatmap", "ok.npy", "-o", "link.svg", cwd=folder).returncode == 0
    assert (folder / "link.svg").is_symlink()
    assert (folder / "real.svg").read_text().startswith("<svg")
    assert stat.S_IMODE((folder / "real.svg").stat().st_mode) == 0o640
    shown = qkv("heatmap", "ok.npy", "-o", "/dev/stdout", "--format", "svg", cwd=folder)
    assert shown.stdout.startswith(b"<svg")


@pytest.mark.parametrize(
    "name", ["ok.npy", "bools.npy", "ints.npy", "half.npy", "big.npy", "fortran.npy"]
)
def test_every_kind_of_number_is_read(folder: Path, draw: Draw, name: str) -> None:
    made = {"bools": np.eye(3, dtype=bool), "ints": np.eye(3, dtype=np.int8),
            "half": np.eye(3, dtype=np.float16), "big": np.eye(3, dtype=">f4"),
            "fortran": np.asfortranarray(np.eye(3))}  # fmt: skip
    for stem, array in made.items():
        np.save(folder / f"{stem}.npy", array)
    assert np.array_equal(draw(folder / name).matrix(), np.eye(3))


@pytest.mark.parametrize("weights", [
    [[5e-324]], [[1e308, -1e308]], [[np.nan]], [[np.inf, -np.inf]], [[0.0]], [[-1.0]],
    [[1e-320, 1e-310]], np.full((2, 2), np.nan),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("form", ["svg", "png", "pdf", "terminal"])
def test_extreme_weights_are_drawn(
    save: Save, tmp_path: Path, capfd: pytest.CaptureFixture[str], weights: Array, form: str
) -> None:
    from qkvcli.cli import run

    for extra in (
        [],
        ["--scale", "panel"],
        ["--diff", str(save(np.zeros_like(weights), "o.npy"))],
    ):
        out = str(tmp_path / "out")
        assert run(["heatmap", str(save(weights)), "-o", out, "--format", form, *extra]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert all(line.startswith("qkv: ") for line in lines)
    json.dumps(lines)
