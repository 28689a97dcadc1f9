"""Whatever runs a fold, and however many do, the answer is the same, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli.attention import Plan, State
from qkvcli.blocks import Queries
from qkvcli.errors import QkvError
from qkvcli.run import processes, signals
from qkvcli.run.executors import Serial, Threads, Tree, running_on
from qkvcli.run.fold import fold
from qkvcli.run.processes import Processes
from qkvcli.scores import Score
from qkvcli.sources import open_table
from qkvcli.sources.memory import database_of
from qkvcli.weights import MODES, Weighting
from tests.support import folds, tables
from tests.support.command import run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkvcli.run.executors import Executor

pytestmark = pytest.mark.numeric

WAYS: list[Executor] = [Serial(), Threads(2), Threads(5), Processes(2)]


def answers(executor: Executor | None, *arguments: Any) -> Any:
    with running_on(executor):
        return fold(*arguments)


def table(rows: int) -> str:
    """Return CSV with quotes, blank lines and equal keys, in no plain order."""
    lines = (f'n{i * 7919 % 97},"{i % 5}",{i / 7}' + "\n" * (1 + i % 3 // 2) for i in range(rows))
    return "key,kind,x\n" + "".join(lines)


@pytest.mark.parametrize("executor", WAYS[1:], ids=str)
def test_a_table_is_folded_alike(executor: Executor, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(2_000))
    queries = Queries(("a", "b"), ["n5", "m77"])
    plans = [
        Plan(Score("indel-winkler"), Weighting(mode, 0.1), top=3, records=True, texts=(0,))
        for mode in MODES
    ]
    with tables.chunk(1_000):
        blocks = list(open_table(path).blocks())
        assert len(blocks) > 20
        here = answers(Serial(), blocks, queries, plans)
        there = answers(executor, blocks, queries, plans)
    folds.assert_same(here, there)


@settings(max_examples=25)
@given(
    rows=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    count=st.integers(1, 6),
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 99),
)
def test_any_number_of_threads_gives_the_same_bytes(
    rows: int, cuts: list[int], count: int, mode: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    blocks = folds.blocks(random.normal(size=(rows, 3)), random.normal(size=(rows, 2)), cuts)
    queries = Queries(("q", "r"), random.normal(size=(2, 3)))
    plan = Plan(Score("dot"), Weighting(mode, 1.0), perplexity=True, top=2)
    folds.assert_same(
        answers(Serial(), blocks, queries, [plan]), answers(Threads(count), blocks, queries, [plan])
    )


@given(count=st.integers(1, 80), height=st.integers(0, 4))
def test_a_branch_merged_elsewhere_leaves_the_tree_as_it_is(count: int, height: int) -> None:
    whole: Tree[str] = Tree(lambda a, b: f"({a}{b})")
    for i in range(count):
        whole.add(str(i % 10))
    size = 1 << height
    cut: Tree[str] = Tree(lambda a, b: f"({a}{b})")
    last = None
    for start in range(0, count, size):
        branch: Tree[str] = Tree(lambda a, b: f"({a}{b})")
        for i in range(start, min(start + size, count)):
            branch.add(str(i % 10))
        if start + size <= count:
            cut.add(branch.total() or "", height)
        else:
            last = branch.total()
    assert cut.total(last) == whole.total()


def test_a_tree_of_nothing_has_no_total() -> None:
    assert Tree[State](lambda a, _: a).total() is None


@pytest.mark.parametrize("executor", WAYS, ids=str)
def test_the_first_failure_in_order_is_the_one_told(
    executor: Executor, put: Callable[[str, str], str]
) -> None:
    rows = [f"{i},{i}\n" for i in range(4_000)]
    rows[1_500], rows[3_000] = "1500,first\n", "3000,second\n"
    path = put("t.csv", "x,y\n" + "".join(rows))
    plan = Plan(None, Weighting("average", 1.0))
    with tables.chunk(500):
        blocks = list(open_table(path).blocks())
        with pytest.raises(QkvError, match=r"t\.csv:1502: 'first'"):
            answers(executor, blocks, Queries(("",), np.zeros((1, 1))), [plan])


def test_progress_is_told_every_row(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(500))
    for executor in WAYS:
        told: list[int] = []
        plan = Plan(None, Weighting("average", 1.0))
        with tables.chunk(700), running_on(executor):
            blocks = open_table(path).blocks()
            fold(blocks, Queries(("",), [""]), [plan], progress=told.append)
        assert sum(told) == 500, executor


def test_a_block_of_a_file_travels_without_its_bytes(put: Callable[[str, bytes], str]) -> None:
    for data in (table(800).encode(), b"\xef\xbb\xbf" + table(800).replace("\n", "\r\n").encode()):
        path = put("t.csv", data)
        with tables.chunk(3_000):
            blocks = list(open_table(path).blocks())
        assert len(blocks) > 3
        for block in blocks:
            packed = pickle.dumps(block)
            assert len(packed) < 1_000
            there = pickle.loads(packed)
            assert len(there) == len(block)
            rows = range(len(block))
            assert there.load().records(rows) == block.records(rows)
            assert there.start == block.start


def test_a_block_of_a_pipe_or_another_encoding_carries_its_bytes(
    put: Callable[[str, bytes], str],
) -> None:
    path = put("t.csv", table(100).encode("utf-16"))
    (block,) = open_table(path).blocks()
    there = pickle.loads(pickle.dumps(block))
    Path(path).unlink()
    assert there.load().records([0, 99]) == block.records([0, 99])


@pytest.mark.parametrize("change", ["shorter", "gone"])
def test_a_file_that_changed_meanwhile_is_an_error(
    change: str, put: Callable[[str, str], str]
) -> None:
    path = put("t.csv", table(100))
    (block,) = open_table(path).blocks()
    there = pickle.loads(pickle.dumps(block))
    os.truncate(path, 50) if change == "shorter" else Path(path).unlink()
    with pytest.raises(QkvError, match=r"t\.csv: (is shorter than|cannot be read: No such file)"):
        there.load()


def test_a_block_in_memory_travels_with_its_own_rows() -> None:
    keys = np.random.default_rng(1).normal(size=(3, 200_000, 2))
    blocks = list(database_of(keys).heads[2].blocks())
    there = pickle.loads(pickle.dumps(blocks[1])).load()
    assert len(pickle.dumps(blocks[1])) < 2 * np.asarray(blocks[1].load().keys).nbytes
    assert (np.asarray(there.keys) == keys[2, blocks[1].start : blocks[2].start]).all()
    assert there.records([3]) == blocks[1].load().records([3])


def test_a_killed_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("qkvcli.run.executors.summarise", die)
    blocks = folds.blocks(np.ones((4, 1)), np.ones((4, 1)), [2])
    plan = Plan(None, Weighting("average", 1.0))
    with pytest.raises(QkvError, match="a process was killed"):
        answers(Processes(2), blocks, Queries(("",), np.zeros((1, 1))), [plan])


def test_the_command_gives_the_same_bytes(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(30_000))
    told = [
        run_qkv("lookup", "n5", "-m", "softmax", "-d", path, "-f", "json", *way)
        for way in (["--threads", "1"], ["--threads", "2"], ["--processes", "2"])
    ]
    assert [run.status for run in told] == [0, 0, 0], told
    assert len({run.out for run in told}) == 1
    assert not told[2].error


def test_no_more_processes_than_blocks(put: Callable[[str, str], str]) -> None:
    plan = Plan(None, Weighting("average", 1.0))
    path = put("t.csv", table(100))
    with tables.chunk(500), mock.patch("os.fork", wraps=os.fork) as fork:
        blocks = list(open_table(path).blocks())
        for some in (blocks[:1], blocks[:3]):
            answers(Processes(200), some, Queries(("",), [""]), [plan])
    assert fork.call_count == 3


@pytest.mark.slow
def test_many_processes_end_without_a_word(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(150_000))
    for _ in range(5):
        run = run_qkv("pool", "n5", "--processes", "40", "-d", path)
        assert (run.status, run.error) == (0, "")


def test_a_process_that_is_ended_as_it_starts_says_nothing() -> None:
    told = []

    def start() -> None:
        signal.signal(signal.SIGTERM, lambda *_: told.append("the handler of the parent"))
        with signals.signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not told
            processes._take(None)  # type: ignore[arg-type]

    child = multiprocessing.get_context("fork").Process(target=start)
    child.start()
    child.join(10)
    assert child.exitcode == -signal.SIGTERM


def test_one_thing_runs_the_work() -> None:
    run = run_qkv("lookup", "Li", "--threads", "2", "--processes", "2")
    assert (run.status, run.error.count("\n")) == (2, 1)
    assert "--threads and --processes both say" in run.error
