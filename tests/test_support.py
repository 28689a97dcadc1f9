"""The tests' own tools tell a good run from a bad one."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests.support import contract, processors
from tests.support.command import run_inside, run_pty, run_qkv
from tests.support.contract import Case, check, check_inside, check_stdout, check_terminal
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that makes a program of a few lines of Python."""

    def make(body: str) -> str:
        path = tmp_path_factory.mktemp("bin") / "program"
        start = "import os, shutil, signal, sys, time\nif '--version' in sys.argv: sys.exit()\n"
        path.write_text(f"#!{sys.executable} -IS\n{start}{body}\n")
        path.chmod(0o755)
        return str(path)

    return make


REFUSE = "sys.stderr.write('qkv: bad.csv:3: it is bad; mend it\\n'); sys.exit(2)"
CASE = Case((), "it is bad", "bad.csv:3", files={"bad.csv": b"x"}, output="out.tsv")


def test_a_good_refusal_passes(script: Any, tmp_path: Path) -> None:
    assert check(CASE, tmp_path, program=script(REFUSE)).status == 2


BAD = [
    pytest.param(REFUSE.replace("exit(2)", "exit(1)"), id="status"),
    pytest.param(REFUSE.replace("bad;", "fine;"), id="message"),
    pytest.param(REFUSE.replace("csv:3", "csv:4"), id="place"),
    pytest.param(REFUSE.replace("qkv: ", ""), id="name"),
    pytest.param(REFUSE.replace("\\n'", "'"), id="no line end"),
    pytest.param(f"sys.stderr.write('qkv: bad.csv:3: it is bad\\n'); {REFUSE}", id="two lines"),
    pytest.param(REFUSE.replace("it is bad", "it is bad\\x1b[31m"), id="escape"),
    pytest.param(REFUSE.replace("it is bad", "it is bad\\x9b"), id="C1"),
    pytest.param("raise ValueError('it is bad')", id="traceback"),
    pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", id="signal"),
    pytest.param(f"print('a\\tb\\nc'); {REFUSE}", id="ragged stdout"),
    pytest.param(f"print('[1, 2'); {REFUSE}", id="half of a document"),
    pytest.param(f"sys.stdout.write('a\\nb'); {REFUSE}", id="half of a line"),
    pytest.param(f"open('.tmp', 'w').close(); {REFUSE}", id="stray file"),
    pytest.param(f"open('out.tsv', 'w').close(); {REFUSE}", id="output touched"),
    pytest.param(f"os.chmod('out.tsv', 0o600); {REFUSE}", id="mode changed"),
    pytest.param(
        f"shutil.copy('out.tsv', 'x'); os.replace('x', 'out.tsv'); {REFUSE}",
        id="output replaced by the same",
    ),
    pytest.param(f"x = bytearray(600 << 20); x[::4096] = x[::4096]; {REFUSE}", id="memory"),
    pytest.param(
        f"sys.stderr.isatty() and os.write(1, b'\\x1b]0;x\\x07'); {REFUSE}", id="terminal"
    ),
    pytest.param(f"sys.stderr.isatty() and sys.exit(1); {REFUSE}", id="status on a terminal"),
]


@pytest.mark.parametrize("body", BAD)
def test_a_bad_refusal_fails(script: Any, tmp_path: Path, body: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check(CASE, tmp_path, program=script(body))


def _run_inside(body: str) -> None:
    """Hold the contract against a few lines of Python in the command's place."""

    def run(_: object) -> object:
        try:
            exec(body, {"os": os, "shutil": shutil, "sys": sys, "time": time})  # noqa: S102 - it is our own
        except SystemExit as end:
            return end.code
        return 0

    with mock.patch("qkvcli.cli.run", run), TemporaryDirectory() as folder:
        check_inside(CASE, Path(folder))


def test_what_takes_too_long_fails(script: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(contract, "SECONDS", 1.0)
    late = f"time.sleep(1.2); {REFUSE}"
    with pytest.raises(AssertionError, match=r"\d s"):
        check(CASE, tmp_path, program=script(late))
    with pytest.raises(AssertionError, match=r"\d s"):
        _run_inside(late)


def test_a_good_refusal_passes_inside() -> None:
    _run_inside(REFUSE)


PROCESSES = ("signal", "terminal", "status on a terminal")


@pytest.mark.parametrize("body", [bad for bad in BAD if bad.id not in PROCESSES])
def test_a_bad_refusal_fails_inside(body: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        _run_inside(body)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("lookup", "Li", "--format", "json"), b""),
        (("lookup", "-"), b"Hu\n"),
        (("pool", b"\xff"), b""),
    ],
    ids=["an answer", "from a pipe", "a refusal"],
)
def test_inside_it_does_what_the_command_does(
    arguments: tuple[str | bytes, ...], stdin: bytes
) -> None:
    one, other = (run(*arguments, stdin=stdin) for run in (run_inside, run_qkv))
    assert (one.status, one.out, one.err) == (other.status, other.out, other.err)


def test_all_but_some_cases_are_slow() -> None:
    found = mostly_slow([(number, "x") for number in range(100)], 10)
    often = [case for case in found if not getattr(case, "marks", ())]
    assert often == [(number, "x") for number in range(0, 100, 10)]
    assert [getattr(case, "values", case)[0] for case in found] == list(range(100))


def test_settings_make_another_processor_of_this_one() -> None:
    shown, missing = processors.settings()
    assert len(shown) + len(missing) == 4
    for what, setting in shown.items():
        name, _, value = setting.partition("=")
        kernels, features, _ = processors.in_use(**{name: value})
        assert kernels == [what] or not set(value.split()) & set(features)


def test_memory_is_the_programs_own(script: Any) -> None:
    ballast = bytearray(200 << 20)
    ballast[::4096] = ballast[::4096]
    assert run_qkv(program=script("pass")).peak < 50 << 20
    grown = run_qkv(program=script("x = bytearray(100 << 20); x[::4096] = x[::4096]")).peak
    assert 100 << 20 < grown < 150 << 20
    del ballast


def test_statuses_are_those_of_a_shell(script: Any) -> None:
    assert run_qkv(program=script("sys.exit(3)")).status == 3
    assert run_qkv(program=script("os.kill(os.getpid(), signal.SIGTERM)")).status == 143
    assert run_qkv(program="/bin/sh", stdin=b"kill -PIPE $$").status == 141


def test_streams_are_bytes(script: Any) -> None:
    body = "d = sys.stdin.buffer.read(); os.write(1, d); os.write(2, d[::-1]); print(sys.argv[1:])"
    run = run_qkv("a b", "é", stdin=b"\xff\0\n", program=script(body))
    assert run.out == b"\xff\0\n" + "['a b', 'é']\n".encode()
    assert run.err == b"\n\0\xff"


def test_a_program_that_hangs_is_stopped(script: Any) -> None:
    program = script("time.sleep(60)")
    with pytest.raises(TimeoutError):
        run_qkv(program=program, timeout=0.3)
    with pytest.raises(TimeoutError):
        run_pty(program=program, timeout=0.3)


def test_a_terminal_is_one(script: Any) -> None:
    body = "print(*[s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)]); print(os.get_terminal_size())"
    run = run_pty(program=script(body), columns=40)
    assert run.out.splitlines()[0] == b"True True True"
    assert b"columns=40" in run.out
    run = run_pty(program=script(f"{body}; os.write(2, b'apart')"), err_apart=True)
    assert run.out.splitlines()[0] == b"True True False"
    assert run.err == b"apart"


def test_keys_are_typed(script: Any) -> None:
    assert run_pty(program=script("time.sleep(30)"), keys=[(0.3, b"\x03")]).status in (1, 130)
    body = "signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(30)"
    assert run_pty(program=script(body), keys=[(0.3, b"\x03")]).status == 130
    body = "print('got', sys.stdin.read())"
    assert b"got a\r\n" in run_pty(program=script(body), keys=[(0.1, b"a\n"), (0.3, b"\x04")]).out


def test_what_is_interrupted_is_not_measured(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", "")
    body = (
        "print('COVERAGE_PROCESS_CONFIG' in os.environ, flush=True);"
        "signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(30)"
    )
    assert run_pty(program=script(body), keys=[(0.5, b"\x03")]).out.startswith(b"False")
    body = "print('COVERAGE_PROCESS_CONFIG' in os.environ, sys.stdin.read())"
    assert b"True a" in run_pty(program=script(body), keys=[(0.1, b"a\n"), (0.3, b"\x04")]).out


def test_nothing_is_left_open(script: Any) -> None:
    program = script("pass")
    run_pty(program=program)
    before = len(os.listdir("/proc/self/fd"))
    run_pty(program=program)
    run_qkv(program=program)
    assert len(os.listdir("/proc/self/fd")) == before


def test_stdout_may_be_of_any_machine_format() -> None:
    for out in (b"", b"a\tb\n1\t2\n", b'{"a": 1}\n', b'{"a": 1}\n{"a": 2}\n', b'"a\tb"\tc\n1\t2\n'):
        check_stdout(out)


def test_a_terminal_may_have_colours_and_lines() -> None:
    check_terminal("\x1b[1;31mLi\x1b[0m é 日本\r\n".encode())
    for bad in (b"\r", b"\n", b"\x1b[2J", b"\0", "\x85".encode()):
        with pytest.raises(AssertionError):
            check_terminal(b"x" + bad + b"y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lokup",), "there is no command 'lokup'; did you mean 'lookup'"),
        (("--nothing",), "there is no option --nothing"),
        (("lookup", "-L"), "there is no option -L; to use '-L' as a query, put -- before it"),
        (("lookup", b"\xff"), "argument 2 is not UTF-8"),
        (("lookup", "--\x1b[31m"), r"\\x1b\[31m"),
    ],
)
def test_the_command_line_refuses(
    arguments: tuple[str | bytes, ...], message: str, tmp_path: Path
) -> None:
    check(Case(arguments, message), tmp_path)
