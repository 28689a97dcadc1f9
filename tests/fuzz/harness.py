"""Break a file, read it, and see that nothing but a refusal comes of it."""

from __future__ import annotations

import faulthandler
import io
import math
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from qkvcli.cli import run as run_command
from qkvcli.errors import QkvError
from qkvcli.sources.labels import read_labels
from qkvcli.sources.matrices import open_matrices
from qkvcli.sources.npy import first_nonfinite, open_arrays
from qkvcli.sources.safetensors import open_tensors
from qkvcli.sources.store import open_table
from qkvcli.sources.table import TableOptions
from tests.fuzz.seeds import NPY, SEEDS, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from qkvcli.sources.npy import StoredArray

SECONDS = 5
MEMORY = 512 << 20
"""How long one file may take, and how much the whole run's peak may grow."""


class Finding(NamedTuple):
    """A file that did something else than being read or refused."""

    form: str
    seed: int
    data: bytes
    what: str


def broken(form: str, seed: int) -> bytes:
    """Return a file of a format, broken in one to eight places; the same for the same seed."""
    chance = random.Random(f"{form} {seed}")
    data = chance.choice(SEEDS[form])
    for _ in range(chance.choice([1, 1, 1, 2, 3, 5, 8])):
        data = _break(data, form, chance)
    return data


def _break(data: bytes, form: str, chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    # Headers and directories are short and at the ends; so that they are hit, too.
    at = chance.choice([at, at, min(at, chance.randint(0, 80)), max(at, len(data) - 70)])
    length = chance.choice([0, 1, 1, 2, 4, 8, chance.randint(0, 60)])
    head, middle, tail = data[:at], data[at : at + length], data[at + length :]
    other = chance.choice(SEEDS[form])
    word = chance.choice(WORDS[form])
    to = chance.randint(0, len(tail))
    turned = bytes(byte ^ 1 << chance.randrange(8) for byte in middle[:1])
    return chance.choice(
        [
            head + turned + middle[1:] + tail,  # a bit turned
            head + tail,  # cut out
            head,  # cut off
            head + middle * chance.choice([2, 3, 50]) + tail,  # repeated
            head + tail[:to] + middle + tail[to:],  # moved
            head + chance.randbytes(len(middle)) + tail,  # overwritten
            head + other[chance.randint(0, len(other)) :],  # spliced with another
            head + word + middle + tail,  # a word put in
            head + word + data[at + len(word) :],  # a word put over
        ]
    )


def read(form: str, path: str) -> None:
    """Read everything that a file holds, as the commands would; or run the command line in it."""
    if form == "arguments":
        _run_arguments(path)
    elif form == "labels.txt":
        read_labels(path)
    elif form.startswith("matrix."):
        _read_rows(open_matrices(path).array)
    elif form in ("npy", "npz"):
        for array in open_arrays(path).values():
            _read_array(array)
    elif form == "safetensors":
        for array in open_tensors(path).values():
            _read_rows(array)
    else:
        _read_table(form, path)


def _read_table(form: str, path: str) -> None:
    for reference in open_table(path, TableOptions(format=form)).blocks():
        block = reference.load()
        rows = range(len(block))
        assert len(block.keys) == len(block.values()) == len(block.records(rows)) == len(block)
        for column in block.labels():
            assert len(column.codes) == len(block)


def _read_rows(array: StoredArray) -> NDArray[np.floating] | None:
    if not array.ndim or not array.shape[-1]:
        return None
    return array.rows(0, math.prod(array.shape[:-1]), buffer="fuzz")


def _run_arguments(path: str) -> None:
    """Run a command line, kept as words with NUL between, beside a table and an array."""
    words = [os.fsdecode(word) for word in Path(path).read_bytes().split(b"\0")]
    folder = Path(path).parent
    (folder / "t.csv").write_bytes(b"x,y\n1,2\n2,4.5\n3,1\n5,0\n")
    (folder / "k.npy").write_bytes(NPY[0])
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with (
        open(os.devnull) as nothing,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        mock.patch.object(sys, "stdin", nothing),
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = run_command(words)
        out.flush()
        err.seek(0)
        lines = err.read().split("\n")[:-1]
    assert status in (0, 1, 2), status
    assert all(line.startswith("qkv: ") for line in lines), lines
    if status == 2:
        assert len(lines) == 1, lines
        assert not out.buffer.tell(), out.buffer


def _read_array(array: StoredArray) -> None:
    whole = array.read()
    assert (whole.shape, whole.dtype) == (array.shape, array.dtype)
    rows = _read_rows(array) if array.dtype.kind != "U" else None
    if rows is not None:
        first_nonfinite(rows)


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Stop what takes too long; what cannot be stopped ends the process with its stack."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(4 * seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_file(form: str, seed: int, data: bytes, path: Path) -> Finding | None:
    """Read one file; return what it did if that was neither to be read nor to be refused."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings(), alarm(SECONDS):
            warnings.simplefilter("error")
            read(form, str(path))
    except QkvError as error:
        line = str(error)
        if not line.startswith(str(path)) or "\n" in line.replace(str(path), ""):
            return Finding(form, seed, data, f"the refusal {line!r}")
    except (Exception, TimeoutError):  # noqa: BLE001 - whatever it is, it is a finding
        return Finding(form, seed, data, traceback.format_exc(limit=-4))
    return None


def run(form: str, rounds: int, first: int = 0) -> list[Finding]:
    """Try many broken files of a format; return what was found."""
    before = peak()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"fuzz.{form}")
        for seed in range(first, first + rounds):
            finding = try_file(form, seed, broken(form, seed), path)
            if finding:
                found.append(finding)
            if peak() - before > MEMORY:
                grown = f"the peak of memory grew by {peak() - before >> 20} MiB"
                found.append(Finding(form, seed, path.read_bytes(), grown))
                break
    return found


def peak() -> int:
    """Return this process's largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
