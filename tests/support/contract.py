"""The contract for bad input, held against one case: see ``check``."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from tests.support.command import QKV, Outcome, run_inside, run_pty, run_qkv

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 5.0
MEMORY = 512 << 20
OLD = b"the old file\n"
# What a table or a message needs on a terminal: new lines, and the colours of Rich.
_TERMINAL = re.compile(rb"\r\n|\x1b\[[0-9;]*m|\t")
# The bar of what takes over a second, as on a busy machine: from hiding the cursor to wiping it.
_BAR = re.compile(
    rb"\x1b\[\?25l(?:choosing widths|looking up|pooling).*?\x1b\[\?25h\r\x1b\[1A\x1b\[2K", re.DOTALL
)
_OUTPUTS = ("-o", "--output", "--weights", "--format", "-f")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")


@dataclass(frozen=True)
class Case:
    """One bad input and what it must get.

    Parameters
    ----------
    arguments
        The command line, without ``qkv``. ``{dir}`` stands for the working directory.
    message
        A regular expression that the line on stderr must contain after its place.
    where
        How the line names the place: ``bad.csv:3``; empty where a file has no part in it.
    files
        What lies in the working directory, by name.
    stdin
        What is sent to standard input.
    env
        Changes of the environment.
    status
        The exit status.
    output
        A file that the command would write. It is there before, and must not have changed after.
    """

    arguments: tuple[str | bytes, ...]
    message: str
    where: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    status: int = 2
    output: str = ""


def check(case: Case, folder: Path, *, program: str = QKV, terminal: bool = True) -> Outcome:
    """Run a case in an empty folder, in pipes and then on a terminal; assert the whole contract.

    The second time it has an old file to write over, which must stand as well.

    The exit status; one line on stderr with the place and the message; no traceback; stdout empty
    or parseable; no control byte on a terminal; time; memory; no stray file; nothing changed.
    """
    before = _lay_out(case, folder)
    again = _with_output(case)
    run = run_qkv(*case.arguments, stdin=case.stdin, env=case.env, cwd=folder, program=program)
    check_outcome(case, run)
    assert run.peak <= _baseline(program) + MEMORY, f"{run.peak >> 20} MiB"
    assert run.seconds <= SECONDS, f"{run.seconds:.1f} s"
    assert _snapshot(folder) == before, "the folder is not as it was"
    if again != case:
        before = _lay_out(again, folder)
    piped = bool(case.stdin) or "-" in case.arguments
    if piped and again != case:
        over = run_qkv(
            *again.arguments, stdin=case.stdin, env=case.env, cwd=folder, program=program
        )
        check_outcome(case, over)
    elif terminal and not piped:
        shown = run_pty(*again.arguments, env=case.env, cwd=folder, program=program)
        assert shown.status == case.status, shown
        check_terminal(shown.out)
    assert _snapshot(folder) == before, "the folder is not as it was"
    return run


def check_inside(case: Case, folder: Path) -> None:
    """Hold the contract against a case within this process, without a terminal: see ``check``."""
    again = _with_output(case)
    for each in (case,) if again == case else (case, again):
        before = _lay_out(each, folder)
        run = run_inside(*each.arguments, stdin=case.stdin, env=case.env, cwd=folder)
        check_outcome(case, run)
        assert run.peak <= MEMORY, f"{run.peak >> 20} MiB"
        assert run.seconds <= SECONDS, f"{run.seconds:.1f} s"
        assert _snapshot(folder) == before, "the folder is not as it was"


def _with_output(case: Case) -> Case:
    """Return a case that would write over an old file, if it names no output of its own."""
    command, *rest = case.arguments or ("",)
    asks = any(isinstance(word, str) and word.startswith(_OUTPUTS) for word in rest)
    if case.status != 2 or case.output or asks or command not in ("lookup", "pool"):
        return case
    output = ("--output", "old.tsv")
    # A message that counts the arguments counts on.
    counted = any(isinstance(word, bytes) for word in rest)
    arguments = (command, *rest, *output) if counted else (command, *output, *rest)
    return replace(case, arguments=arguments, output="old.tsv")


def check_outcome(case: Case, run: Outcome) -> None:
    """Assert the exit status and what was written."""
    assert run.status == case.status, run
    check_error(run, case.where, case.message)
    check_stdout(run.out)


def check_error(run: Outcome, where: str, message: str) -> None:
    """Assert that stderr is one line, with a place and a message, and no control characters."""
    lines = run.error.splitlines()
    assert len(lines) == 1, run.error
    assert run.err.endswith(b"\n"), run.err
    assert not _CONTROL.search(run.err[:-1]), run.err
    place = f"qkv: {where}: " if where else "qkv: "
    assert lines[0].startswith(place), f"{lines[0]!r} does not start with {place!r}"
    rest = lines[0].removeprefix(place)
    assert re.search(message, rest), f"{rest!r} does not say {message!r}"
    assert "Traceback" not in lines[0]


def check_stdout(out: bytes) -> None:
    """Assert that standard output is empty or, as far as it goes, well-formed."""
    if not out:
        return
    text = out.decode()
    assert text.endswith("\n"), out[-80:]
    if text[0] in "{[":
        try:
            json.loads(text)
        except json.JSONDecodeError:
            for line in text.splitlines():
                json.loads(line)
        return
    rows = list(csv.reader(io.StringIO(text), delimiter="\t", strict=True))
    assert len({len(row) for row in rows}) == 1, text[:400]


def check_terminal(out: bytes) -> None:
    """Assert that nothing but text, new lines and colours went to a terminal."""
    found = _CONTROL.search(_TERMINAL.sub(b"", _BAR.sub(b"", out)))
    assert found is None, out


def _lay_out(case: Case, folder: Path) -> dict[str, tuple[bytes, int, int]]:
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if case.output:
        (folder / case.output).write_bytes(OLD)
    return _snapshot(folder)


def _snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return every file below a folder: its bytes, its mode and its inode."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@cache
def _baseline(program: str) -> int:
    assert shutil.which(program), f"{program} is not installed beside {QKV}"
    return run_qkv("--version", program=program).peak
