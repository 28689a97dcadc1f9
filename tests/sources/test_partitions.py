"""Partitions of a file, folded by forks: the same answer as in order, or none at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli.attention.fold import Plan
from qkvcli.attention.weights import MODES, Weighting
from qkvcli.blocks import Queries
from qkvcli.errors import QkvError
from qkvcli.run import processes
from qkvcli.run.choose import Workers
from qkvcli.run.work import Local, Tree, Work, fold
from qkvcli.scores.text import TextScore
from qkvcli.scores.vector import VectorScore
from qkvcli.sources import bytes_in
from qkvcli.sources.store import open_table
from qkvcli.sources.table import TableOptions
from tests.support import folds, tables
from tests.support.command import UNMEASURED, environment, run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkvcli.run.work import Executor

CHUNK = 512


def names(count: int, seed: int = 0) -> list[str]:
    """Return lines of a name, a kind and a number, some of them alike."""
    random = np.random.default_rng(seed)
    letters = np.array(list("aeilnorst"))
    made = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(count)]
    return [f"{name},{i % 5},{i / 7:.3f}\n" for i, name in enumerate(made)]


def plans(*modes: str) -> list[Plan]:
    """Return a plan for each mode, that keeps all there is to keep."""
    score = TextScore("indel-winkler")
    return [
        Plan(
            score,
            Weighting(mode, 0.1, 4 if mode == "approximate" else None),
            top=5,
            records=True,
            perplexity=True,
            width=1,
            text=(0,),
        )
        for mode in modes
    ]


def answers(executor: Executor, path: str, queries: Queries, *asked: Plan, **options: Any) -> Any:
    with tables.chunk(CHUNK):
        return fold(open_table(path, **options).blocks(), queries, list(asked), executor)


def divided(path: str, queries: Queries, *asked: Plan, count: int = 2, **options: Any) -> bool:
    """Whether a file is folded in partitions, and not in order after all."""
    with tables.chunk(CHUNK):
        blocks: Any = open_table(path, **options).blocks()
        partitions = blocks.partitions(count)
        work = Work((queries,), asked)
        return (
            len(partitions) > 1 and processes._fold_all(work, partitions, count, None) is not None
        )


@pytest.fixture
def table(put: Callable[[str, str], str]) -> str:
    """Return a file of 60 blocks."""
    return put("t.csv", "name,kind,x\n" + "".join(names(2_500)))


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("asked", [("nose",), ("nose", "tin", "nosuch"), ("\x00",)])
def test_partitions_come_to_the_same(table: str, asked: tuple[str, ...], count: int) -> None:
    queries = Queries(asked, list(asked))
    for mode in MODES:
        (plan,) = plans(mode)
        here = answers(Local(), table, queries, plan)
        assert divided(table, queries, plan, count=count)
        folds.assert_same(here, answers(folds.Forked(count), table, queries, plan))
        folds.assert_same(here, answers(Workers(count), table, queries, plan))


def test_rows_that_are_left_out_are_counted_in_partitions(put: Callable[[str, str], str]) -> None:
    lines = [f"{i}.5,{'NA' if i % 7 == 3 or i > 1_990 else i}\n" for i in range(2_000)]
    path = put("m.csv", "x,y\n" + "".join(lines))
    queries = Queries(("a",), np.array([[900.0]]))
    plan = Plan(VectorScore("gaussian"), Weighting("softmax"), top=3, records=True, width=1)
    options: dict[str, Any] = {"options": TableOptions(missing="skip")}
    here = answers(Local(), path, queries, plan, **options)
    assert here[0].skipped == sum("NA" in line for line in lines)
    assert divided(path, queries, plan, **options)
    folds.assert_same(here, answers(folds.Forked(3), path, queries, plan, **options))


def test_numbers_are_read_in_partitions_too(put: Callable[[str, str], str]) -> None:
    random = np.random.default_rng(1)
    rows = "".join(f"{a:.4f},{b:.4f},{c:.4f}\n" for a, b, c in random.normal(size=(2_000, 3)))
    path = put("n.csv", "x,y,z\n" + rows)
    queries = Queries(("a", "b"), random.normal(size=(2, 1)))
    for mode in MODES:
        plan = Plan(VectorScore("gaussian"), Weighting(mode), top=3, records=True, width=2)
        here = answers(Local(), path, queries, plan)
        assert divided(path, queries, plan)
        folds.assert_same(here, answers(folds.Forked(3), path, queries, plan))


CELLS = st.sampled_from(["tin", "nose", "", "li", '"a,b"', '"a ""b"""', '"two\nlines"', "é"])


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(CELLS, min_size=5, max_size=40),
    ends=st.lists(st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n"]), min_size=1, max_size=5),
    quoted=st.integers(0, 40),
    mode=st.sampled_from(MODES),
)
def test_whatever_a_table_holds(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[str],
    ends: list[str],
    quoted: int,
    mode: str,
) -> None:
    """Quotes and blank lines may put off where a partition begins: then all is read in order."""
    lines = [f"{cells[i % len(cells)]},{i}{ends[i % len(ends)]}" for i in range(3_000)]
    if quoted < len(cells):
        lines[1_200] = '"' + "a line in a cell\n" * 90 * quoted + '",1\n'
    path = tmp_path_factory.mktemp("partitions") / "t.csv"
    path.write_bytes(("name,x\n" + "".join(lines)).encode())
    queries = Queries(("nose", "lip"), ["nose", "lip"])
    plan = Plan(TextScore("indel"), Weighting(mode, 0.2), top=4, records=True, width=1)
    here = answers(Local(), str(path), queries, plan)
    folds.assert_same(here, answers(folds.Forked(2), str(path), queries, plan))


def test_a_cell_over_the_seam_is_read_in_order(put: Callable[[str, str], str]) -> None:
    lines = names(2_500)
    lines[700] = '"' + "li,1,1\n" * 5_000 + '",1,1\n'
    path = put("t.csv", "name,kind,x\n" + "".join(lines))
    queries = Queries(("li",), ["li"])
    (plan,) = plans("exact")
    assert not divided(path, queries, plan)
    here = answers(Local(), path, queries, plan)
    folds.assert_same(here, answers(folds.Forked(2), path, queries, plan))


@pytest.mark.parametrize("row", [3, 1_300, 2_499])
def test_what_is_refused_is_named_with_its_line(put: Callable[[str, str], str], row: int) -> None:
    lines = names(2_500)
    lines[row] = "a,b\n"
    path = put("t.csv", "name,kind,x\n" + "".join(lines))
    (plan,) = plans("softmax")
    for executor in (Local(), folds.Forked(2), folds.Forked(5)):
        with pytest.raises(QkvError, match=rf"t\.csv:{row + 2}: 2 fields where the header has 3"):
            answers(executor, path, Queries(("a",), ["a"]), plan)


def test_what_is_not_read_in_partitions(put: Callable[..., str], table: str) -> None:
    (plan,) = plans("exact")
    queries = Queries(("li",), ["li"])
    assert not divided(put("s.csv", "name,kind,x\n" + "".join(names(300))), queries, plan)
    assert not divided(put("r.csv", "".join(names(2_500)).replace("\n", "\r")), queries, plan)
    text = Path(table).read_text()
    assert not divided(put("u.csv", text.encode("utf-16")), queries, plan)
    assert divided(put("b.csv", text.encode("utf-8-sig")), queries, plan)
    os.replace(table, f"{table}.moved")
    os.symlink(f"{table}.moved", table)
    assert divided(table, queries, plan)


def test_a_file_that_shrinks_meanwhile_is_read_in_order(table: str) -> None:
    (plan,) = plans("exact")
    queries = Queries(("li",), ["li"])
    with tables.chunk(CHUNK):
        blocks = cast("Any", open_table(table).blocks())
        partitions = blocks.partitions(2)
        os.truncate(table, os.path.getsize(table) // 2)
        assert processes._fold_all(Work((queries,), (plan,)), partitions, 2, None) is None


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of processes that a test will have forked."""
    pids: list[int] = []
    fork = os.fork

    def noted() -> int:
        pid = fork()
        if pid:
            pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", noted)
    return pids


def assert_ended(pids: list[int], count: int) -> None:
    """So many processes were forked; of none is anything left, not even its status."""
    assert len(pids) == count
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_fork_that_is_killed_is_told(
    table: str, forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, finish = os.getpid(), processes._Folding.finish

    def killed(*arguments: Any) -> Any:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)  # so that a fork takes some
        return finish(*arguments)

    monkeypatch.setattr(processes._Folding, "finish", killed)
    with pytest.raises(QkvError, match="a process was killed; for want of memory"):
        answers(folds.Forked(2), table, Queries(("a",), ["a"]), *plans("exact"))
    assert_ended(forked, 1)


def test_where_no_process_may_be_started_this_one_does_the_work(table: str) -> None:
    queries = Queries(("nose",), ["nose"])
    (plan,) = plans("approximate")
    here = answers(Local(), table, queries, plan)
    refused = mock.Mock(side_effect=BlockingIOError("Resource temporarily unavailable"))
    with mock.patch("os.fork", refused):
        folds.assert_same(here, answers(folds.Forked(3), table, queries, plan))
    assert refused.call_count == 1


def test_nothing_is_left_running_after_a_failure(
    table: str, forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, finish, late = os.getpid(), processes._Folding.finish, Path(f"{table}.late")

    def failing(*arguments: Any) -> Any:
        if os.getpid() == parent:
            raise KeyboardInterrupt
        time.sleep(5)
        late.touch()  # if it was waited for
        return finish(*arguments)

    monkeypatch.setattr(processes._Folding, "finish", failing)
    with pytest.raises(KeyboardInterrupt):
        answers(folds.Forked(3), table, Queries(("a",), ["a"]), *plans("exact"))
    assert_ended(forked, 2)
    assert not late.exists()


def test_progress_is_told_every_row(table: str) -> None:
    told: list[int] = []
    with tables.chunk(CHUNK):
        blocks = open_table(table).blocks()
        fold(blocks, Queries(("a",), ["a"]), plans("softmax"), folds.Forked(3), told.append)
    assert sum(told) == 2_500


@given(count=st.integers(1, 90), cuts=st.lists(st.integers(0, 90), max_size=4))
def test_subtrees_of_partitions_make_the_same_tree(count: int, cuts: list[int]) -> None:
    def joined(a: str, b: str) -> str:
        return f"({a}{b})"

    whole = Tree(joined)
    for i in range(count):
        whole.add(str(i % 10))
    ends = [*sorted(min(cut, count) for cut in cuts), count]
    again = Tree(joined)
    for start, stop in zip([0, *ends], ends, strict=False):
        part = Tree(joined, start)
        for i in range(start, stop):
            part.add(str(i % 10))
        for height, states in part.subtrees:
            again.add(states, height)
    assert again.total() == whole.total()


@pytest.mark.parametrize("after", ["\n", "", "\r\n"])
def test_the_line_end_before_a_place(tmp_path: Path, after: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"a\nbb\n" + b"c" * 5_000 + b"\n" + after.encode())
    for stop in (2, 3, 5, 6, 4_500, 5_006):
        data = path.read_bytes()[:stop]
        assert bytes_in.after_last_line_end(str(path), stop) == data.rfind(b"\n") + 1
    assert bytes_in.after_last_line_end(str(path), 1) is None


@pytest.mark.slow
def test_the_command_answers_alike_whatever_reads(put: Callable[[str, str], str]) -> None:
    lines = names(60_000)
    path = put("big.csv", "name,kind,x\n" + "".join(lines) * 10)
    assert os.path.getsize(path) > 9 << 20
    for command in (
        ["lookup", "nose", "tin", "-m", "approximate", "-n", "7"],
        ["lookup", lines[777].split(",")[0], "--top", "0"],
        ["pool", "nose", "-m", "softmax", "--key", "name", "--value", "x"],
    ):
        ways: tuple[list[str], ...] = (
            [],
            ["--workers", "1"],
            ["--workers", "2"],
            ["--workers", "3"],
        )
        told = [run_qkv(*command, "-d", path, "-f", "json", *way) for way in ways]
        assert {(run.status, run.error) for run in told} == {(0, "")}
        assert len({run.out for run in told}) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_no_process(
    put: Callable[[str, str], str], number: signal.Signals
) -> None:
    path = put("big.csv", "name,kind,x\n" + "".join(names(60_000)) * 30)
    asked = ["lookup", "nose", "-m", "softmax", "--workers", "3", "-d", path]
    command = [sys.executable, "-m", "qkvcli", *asked]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env=environment(UNMEASURED), start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list a process's children")
        forked: list[str] = []
        until = time.monotonic() + 20
        while len(forked) < 2 and time.monotonic() < until:
            forked = children.read_text().split()
        os.kill(process.pid, number)
        assert process.wait(10) == -number
        assert len(forked) == 2
        until = time.monotonic() + (5 if number == signal.SIGKILL else 0)  # they see it in time
        while any(map(_is_running, forked)) and time.monotonic() < until:
            time.sleep(0.01)
        assert not any(map(_is_running, forked))


def _is_running(pid: str) -> bool:
    """Return whether a process is there, and is not one that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
