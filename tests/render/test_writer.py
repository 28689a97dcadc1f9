"""The one place that opens outputs: whole files or none, whatever fails and wherever."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkvcli.errors import OutputError
from qkvcli.render.escape import visible
from qkvcli.render.writer import open_target, target
from tests.support.command import LOST, UNMEASURED, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW = b"old\n" * 3, b"new\n" * 100_000


def write(path: str | Path, data: bytes = NEW, inputs: tuple[str, ...] = ()) -> None:
    with open_target(target(str(path), inputs=inputs)) as stream:
        for start in range(0, len(data), 1 << 16):
            stream.write(data[start : start + (1 << 16)])


def refusal(path: str | Path, inputs: tuple[str, ...] = ()) -> str:
    with pytest.raises(OutputError) as caught:
        target(str(path), inputs=inputs)
    return str(caught.value)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv")
    assert (tmp_path / "a.tsv").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "a.tsv").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.tsv"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o4711])
def test_an_old_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(OLD)
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(OLD)
    with path.open("rb") as reader:
        write(path)
        assert reader.read() == OLD
    assert path.read_bytes() == NEW


def test_symlinks_stay_links(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real, link, chain = tmp_path / "far" / "real.tsv", tmp_path / "link.tsv", tmp_path / "chain.tsv"
    real.write_bytes(OLD)
    link.symlink_to("far/real.tsv")
    chain.symlink_to(link)
    write(chain)
    assert link.readlink() == Path("far/real.tsv")
    assert chain.is_symlink()
    assert real.read_bytes() == NEW
    dangling = tmp_path / "dangling.tsv"
    dangling.symlink_to("far/new.tsv")
    write(dangling)
    assert dangling.is_symlink()
    assert (tmp_path / "far" / "new.tsv").read_bytes() == NEW


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop").endswith("loop: Too many levels of symbolic links")


def test_a_name_of_any_length_and_letters(tmp_path: Path) -> None:
    for name in ("a" * 255, "é" * 127, "😀" * 63, "-", "--o", " ", "\n", "$x^$"):
        write(tmp_path / name, OLD)
        assert (tmp_path / name).read_bytes() == OLD
    assert "File name too long" in refusal(tmp_path / ("a" * 256))


def test_a_fifo_is_written_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write(fifo)
    reader.join()
    assert got == [NEW]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_fifo_whose_reader_goes_breaks_the_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def read_a_little() -> None:
        with fifo.open("rb") as stream:
            stream.read(10)

    reader = threading.Thread(target=read_a_little)
    reader.start()
    with pytest.raises(BrokenPipeError):
        write(fifo, NEW * 10)
    reader.join()


def test_devices_are_written_not_replaced(tmp_path: Path) -> None:
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OutputError, match="/dev/full: not written: No space left"):
        write("/dev/full")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_dev_stdout(name: str) -> None:
    code = f"from tests.render.test_writer import write; write({name!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == NEW


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/dev/stderr", "/dev/fd/3"])
def test_a_redirected_file_is_written_on(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log"
    code = f"from tests.render.test_writer import write, OLD; write({name!r}, OLD)"
    script = f'(echo before; "{sys.executable}" -c "{code}"; echo after) > "{path}" 2>&1 3>&1'
    subprocess.run(["bash", "-c", script], check=True)
    assert path.read_bytes() == b"before\n" + OLD + b"after\n"


def test_process_substitution(tmp_path: Path) -> None:
    code = "import sys; from tests.render.test_writer import write; write(sys.argv[1])"
    script = f'"{sys.executable}" -c "{code}" >(cat > "{tmp_path}/a"; echo done >&2)'
    done = subprocess.run(["bash", "-c", f"{script} | cat"], check=True, capture_output=True)
    assert done.stderr == b"done\n"
    assert (tmp_path / "a").read_bytes() == NEW


def test_a_descriptor_that_is_closed() -> None:
    with pytest.raises(OutputError, match="/dev/fd/999: not written: Bad file descriptor"):
        write("/dev/fd/999")


def test_stdout(tmp_path: Path) -> None:
    code = "print('before'); from tests.render.test_writer import write; write('-'); print('after')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"before\n" + NEW + b"after\n"
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("redirect", "line"),
    [(">/dev/full", "stdout: not written: No space left on device"), (">&-", "stdout: is closed")],
)
@pytest.mark.parametrize("size", [10, 400_000])
def test_stdout_that_cannot_be_written(redirect: str, line: str, size: int) -> None:
    code = f"from tests.render.test_writer import *; write('-', NEW[:{size}])"
    script = f'"{sys.executable}" -c "{code}" {redirect}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    errors = done.stderr.decode()
    assert errors.endswith(f"OutputError: {line}\n")
    assert errors.count("qkvcli.errors.OutputError: ") == 1
    assert "Exception ignored" not in errors  # a second failure, when Python flushes once more


def test_stdout_whose_reader_goes() -> None:
    code = (
        "from tests.render.test_writer import *\n"
        "try: write('-', NEW * 10)\n"
        "except BrokenPipeError: print('broken', file=sys.stderr)"
    )
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$CODE" | head -c 10'],
        capture_output=True,
        check=False,
        env={**os.environ, "CODE": code},
    )
    assert (done.stdout, done.stderr) == (NEW[:10], b"broken\n")


def test_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "in.csv").write_bytes(OLD)
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")
    source = str(tmp_path / "in.csv")
    assert refusal("") == "an output needs a file name"
    assert refusal(tmp_path / "folder") == f"{tmp_path}/folder: is a directory; name a file in it"
    assert refusal(tmp_path / "none" / "a.tsv") == (
        f"{tmp_path}/none/a.tsv: there is no directory '{tmp_path}/none'; make it first"
    )
    assert "there is no directory" in refusal(f"{tmp_path}/new/")
    assert "Not a directory" in refusal(f"{source}/a.tsv")
    assert re.search("null (byte|character)", refusal("a\0b"))  # as Python's release has it
    for name in ("in.csv", "link.csv", "hard.csv", "folder/../in.csv"):
        assert refusal(f"{tmp_path}/{name}", (source,)).endswith(
            f"{name}: is also an input; write to another file"
        )
    for inputs in ((), ("-",), (str(tmp_path / "gone.csv"),), ("a\0b",)):
        target(source, inputs=inputs)
    target(str(tmp_path / "new.csv"), inputs=(source,))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_no_permission(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.tsv").write_bytes(OLD)
    (folder / "a.tsv").chmod(0o444)
    assert "no permission to write this file" in refusal(folder / "a.tsv")
    folder.chmod(0o555)
    assert "no permission to write in its directory" in refusal(folder / "b.tsv")
    folder.chmod(0o755)


def test_no_permission_is_seen_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(OLD)
    for denied, line in (
        (str(tmp_path), "in its directory"),
        (str(tmp_path / "a.tsv"), "this file"),
    ):
        with mock.patch.object(os, "access", lambda path, _, denied=denied: path != denied):
            assert f"no permission to write {line}" in refusal(tmp_path / "a.tsv")


@pytest.mark.parametrize(
    "failure", [ValueError("x"), KeyboardInterrupt(), MemoryError(), SystemExit(3), OSError(5, "x")]
)
def test_a_failure_inside_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    def fail(path: Path) -> None:
        with open_target(target(str(path))) as stream:
            stream.write(NEW)
            raise failure

    (tmp_path / "a.tsv").write_bytes(OLD)
    wanted = OutputError if isinstance(failure, OSError) else type(failure)
    for name in ("a.tsv", "b.tsv"):
        with pytest.raises(wanted):
            fail(tmp_path / name)
    assert (tmp_path / "a.tsv").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["a.tsv"]


def test_two_outputs_of_one_process_at_once(tmp_path: Path) -> None:
    place = target(str(tmp_path / "a.tsv"))
    with open_target(place) as one, open_target(place) as two:
        one.write(b"one")
        two.write(b"two")
    assert (tmp_path / "a.tsv").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.tsv"]


class Faults:
    """Fails the N-th call of any of some functions, and counts the calls."""

    def __init__(self, fail_at: int, error: BaseException) -> None:
        self.fail_at = fail_at
        self.error = error
        self.calls: Counter[str] = Counter()

    def on(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            if sum(self.calls.values()) == self.fail_at:
                raise self.error
            return function(*arguments, **options)

        return call

    def stream(self, real: Any) -> Any:
        """Return a stream over a file whose calls are counted."""
        faults = self

        class Stream:
            write = staticmethod(faults.on("write", real.write))
            flush = staticmethod(faults.on("flush", real.flush))
            fileno = staticmethod(real.fileno)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                faults.on("close", real.close)()
                real.close()

        return Stream()


ERRORS = [
    *(OSError(code, os.strerror(code)) for code in (errno.ENOSPC, errno.EIO, errno.EACCES)),
    *(OSError(code, os.strerror(code)) for code in (errno.EDQUOT, errno.EROFS, errno.EINTR)),
    *(BrokenPipeError(errno.EPIPE, "Broken pipe"), MemoryError(), KeyboardInterrupt()),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("old", [True, False], ids=["over an old file", "a new file"])
@pytest.mark.parametrize("link", [True, False], ids=["through a link", "by its name"])
def test_every_fault_at_every_place(
    tmp_path: Path, error: BaseException, old: bool, link: bool
) -> None:
    """Fail the first call, the second, and so on until the write succeeds."""
    (tmp_path / "real").mkdir()
    path = real = tmp_path / "real" / "a.tsv"
    if link:
        path = tmp_path / "link.tsv"
        path.symlink_to("real/a.tsv")
    wanted = (
        OutputError if type(error) in (OSError, PermissionError, InterruptedError) else type(error)
    )
    for fail_at in range(1, 100):
        if old:
            real.write_bytes(OLD)
        elif real.exists():
            real.unlink()
        place = target(str(path))
        faults = Faults(fail_at, error)
        fdopen = os.fdopen
        with (
            mock.patch.object(os, "open", faults.on("open", os.open)),
            mock.patch.object(os, "fsync", faults.on("fsync", os.fsync)),
            mock.patch.object(os, "fchmod", faults.on("fchmod", os.fchmod)),
            mock.patch.object(os, "replace", faults.on("replace", os.replace)),
            mock.patch.object(
                os, "fdopen", lambda *a, fdopen=fdopen, f=faults: f.stream(fdopen(*a))
            ),
        ):
            failed: BaseException | None = None
            try:
                with open_target(place) as stream:
                    for _ in range(3):
                        stream.write(b"new")
            except (OutputError, type(error)) as caught:
                failed = caught
        if failed is None:
            assert real.read_bytes() == b"newnewnew"
            assert fail_at == sum(faults.calls.values()) + 1
            break
        assert isinstance(failed, wanted)
        assert real.read_bytes() == OLD if old else not real.exists()
        assert os.listdir(tmp_path / "real") == (["a.tsv"] if old else [])
        if wanted is OutputError:
            assert str(failed) == f"{path}: not written: {error.strerror}"  # type: ignore[attr-defined]
    else:
        pytest.fail("it never succeeded")
    assert path.is_symlink() is link


WRITE_SLOWLY = """
import sys, time
from qkvcli.__main__ import main
import qkvcli.cli
from qkvcli.render.writer import open_target, target

def run(arguments):
    print("ready", flush=True)
    for _ in range(10_000):
        with open_target(target(arguments[0])) as stream:
            for _ in range(20):
                stream.write(b"new\\n" * 1000)
    return 0

qkvcli.cli.run = run
main()
"""


@pytest.mark.parametrize("attempts", [3, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_while_it_writes(tmp_path: Path, number: signal.Signals, attempts: int) -> None:
    """Kill a process that writes again and again, at odd moments: old or new, and whole."""
    path = tmp_path / "a.tsv"
    for attempt in range(attempts):
        path.write_bytes(OLD)
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_SLOWLY, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(UNMEASURED),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.0007 * attempt)
            process.send_signal(number)
            try:
                _, errors = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:  # it came in a finalizer: a user presses it again
                process.send_signal(number)
                _, errors = process.communicate()
        assert process.returncode == -number
        assert errors == b"" or errors.startswith(LOST)
        assert path.read_bytes() in (OLD, b"new\n" * 20_000)
        left = [name for name in os.listdir(tmp_path) if name != "a.tsv"]
        if number == signal.SIGKILL:
            assert all(name.endswith(".qkv") for name in left)
            for name in left:
                (tmp_path / name).unlink()
        else:
            assert left == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_signal_while_the_temporary_is_made(tmp_path: Path, error: type[BaseException]) -> None:
    real = os.open

    def make_and_fail(*arguments: Any) -> int:
        os.close(real(*arguments))
        raise error

    with mock.patch.object(os, "open", make_and_fail), pytest.raises((error, OutputError)):
        write(tmp_path / "a.tsv")
    assert os.listdir(tmp_path) == []


@given(st.text())
def test_visible_text_is_safe_and_keeps_what_is_safe(text: str) -> None:
    shown = visible(text)
    assert all(char.isprintable() or char.isalnum() or ord(char) > 0x9F for char in shown)
    assert "\x1b" not in shown
    assert visible(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]8;;http://x\x07b", "a\\x1b]8;;http://x\\x07b"),
        ("\x1b]52;c;YQ==\x1b\\", "\\x1b]52;c;YQ==\\x1b\\"),
        ("\0\b\r\n\t\x7f", "\\x00\\x08\\x0d\\x0a\\x09\\x7f"),
        ("\x85\x9b31m", "\\x85\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c", "\\u2066\\u2069\\u200f\\u061c"),
        ("\u2028\u2029\ufeff\ufffe\uffff", "\\u2028\\u2029\\ufeff\\ufffe\\uffff"),
        ("\ud800", "\\ud800"),
        ("日本 e\u0301 👩\u200d👩 [/] :smile:", "日本 e\u0301 👩\u200d👩 [/] :smile:"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_stdout_needs_no_name() -> None:
    assert target("-").is_stdout
    assert target("-").name == "stdout"
