"""Whatever runs a fold, and however many do, the answer is the same, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkvcli.attention.fold import Plan, State
from qkvcli.attention.weights import MODES, Weighting
from qkvcli.blocks import Queries
from qkvcli.errors import QkvError
from qkvcli.run import processes
from qkvcli.run.choose import Workers, choose
from qkvcli.run.processes import Processes
from qkvcli.run.work import Local, Tree, Work, fold
from qkvcli.scores.text import TextScore
from qkvcli.scores.vector import VectorScore
from qkvcli.sources.memory import store_of
from qkvcli.sources.store import open_table
from tests.support import folds, tables
from tests.support.command import run_qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkvcli.run.work import Executor

WAYS: list[Executor] = [Local(), Local(2), Local(5), folds.Forked(2), Workers(3)]
AVERAGE = Plan(None, Weighting("average", 1.0))


def answers(executor: Executor, blocks: Any, queries: Queries, plans: Any, **more: Any) -> Any:
    return fold(blocks, queries, plans, executor, **more)


def table(rows: int) -> str:
    """Return CSV with quotes, blank lines and equal keys, in no plain order."""
    lines = (f'n{i * 7919 % 97},"{i % 5}",{i / 7}' + "\n" * (1 + i % 3 // 2) for i in range(rows))
    return "key,kind,x\n" + "".join(lines)


@pytest.mark.numeric
@pytest.mark.parametrize("executor", WAYS[1:], ids=str)
def test_a_table_is_folded_alike(executor: Executor, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(2_000))
    queries = Queries(("a", "b"), ["n5", "m77"])
    plans = [
        Plan(TextScore("indel-winkler"), Weighting(mode, 0.1), top=3, records=True, text=(0,))
        for mode in MODES
    ]
    with tables.chunk(1_000):
        source = open_table(path)
        assert len(list(source.blocks())) > 20
        here = answers(Local(), source.blocks(), queries, plans)
        there = answers(executor, source.blocks(), queries, plans)
    folds.assert_same(here, there)


@pytest.mark.numeric
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
    plan = Plan(VectorScore("dot"), Weighting(mode, 1.0), perplexity=True, top=2)
    folds.assert_same(
        answers(Local(), blocks, queries, [plan]), answers(Local(count), blocks, queries, [plan])
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
    with tables.chunk(500):
        source = open_table(path)
        with pytest.raises(QkvError, match=r"t\.csv:1502: 'first'"):
            answers(executor, source.blocks(), Queries(("",), np.zeros((1, 1))), [AVERAGE])


def test_progress_is_told_every_row(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(500))
    for executor in WAYS:
        told: list[int] = []
        with tables.chunk(700):
            blocks = open_table(path).blocks()
            answers(executor, blocks, Queries(("",), [""]), [AVERAGE], progress=told.append)
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
    blocks = list(store_of(keys).heads[2].blocks())
    there = pickle.loads(pickle.dumps(blocks[1])).load()
    assert len(pickle.dumps(blocks[1])) < 2 * np.asarray(blocks[1].load().keys).nbytes
    assert (np.asarray(there.keys) == keys[2, blocks[1].start : blocks[2].start]).all()
    assert there.records([3]) == blocks[1].load().records([3])


def test_a_killed_process_is_one_line(
    put: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    parent, finish = os.getpid(), processes._Folding.finish

    def dying(*arguments: Any) -> Any:
        if os.getpid() != parent:
            die()
        time.sleep(0.2)  # so that a fork takes some
        return finish(*arguments)

    monkeypatch.setattr(processes._Folding, "finish", dying)
    with tables.chunk(500):
        blocks = open_table(put("t.csv", table(2_000))).blocks()
        with pytest.raises(QkvError, match="a process was killed"):
            answers(folds.Forked(2), blocks, Queries(("",), [""]), [AVERAGE])


@pytest.mark.numeric
def test_the_command_gives_the_same_bytes(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(30_000))
    told = [
        run_qkv("lookup", "n5", "-m", "softmax", "-d", path, "-f", "json", *way)
        for way in (["--workers", "1"], ["--workers", "2"], [])
    ]
    assert [run.status for run in told] == [0, 0, 0], told
    assert len({run.out for run in told}) == 1
    assert not told[2].error


def test_no_more_processes_than_partitions(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(700))
    with tables.chunk(500), mock.patch("os.fork", wraps=os.fork) as fork:
        blocks: Any = open_table(path).blocks()
        count = len(blocks.partitions(200))
        assert 1 < count < 20
        answers(folds.Forked(200), blocks, Queries(("",), [""]), [AVERAGE])
    assert fork.call_count == count - 1


@pytest.mark.slow
def test_many_processes_end_without_a_word(put: Callable[[str, str], str]) -> None:
    path = put("t.csv", table(400_000))
    for _ in range(5):
        run = run_qkv("pool", "n5", "--workers", "40", "-d", path)
        assert (run.status, run.error) == (0, "")


def test_what_suits_a_fold(put: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes where threads would wait for the interpreter's lock, threads elsewhere."""
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    large, small = put("t.csv", table(700)), put("s.csv", table(5))
    text, vectors = Queries(("a",), ["a"]), Queries(("a",), np.zeros((1, 1)))
    many = Queries(("a", "b"), ["a", "b"])
    exact = Plan(TextScore("lcs"), Weighting("exact"))
    soft = Plan(TextScore("lcs"), Weighting("softmax"))
    kernel = Plan(VectorScore("gaussian"), Weighting("softmax"))
    with tables.chunk(500):
        file, little = open_table(large).blocks(), open_table(small).blocks()
        memory = store_of(["a"]).heads[0].blocks()
        arrays = store_of([[1.0]]).heads[0].blocks()
        for queries, plan, blocks, wanted in (
            (text, exact, file, Processes),
            (many, exact, file, Processes),
            (text, soft, file, Processes),
            (many, soft, file, Local(4)),  # RapidFuzz scores several outside the lock
            (vectors, kernel, file, Processes),  # a table's numbers are read under it
            (text, exact, little, Local(1)),
            (text, soft, memory, Local(1)),
            (many, soft, memory, Local(4)),
            (vectors, kernel, arrays, Local(4)),
        ):
            found = choose(Work((queries,), (plan,)), blocks, 4)
            assert isinstance(found, Processes) if wanted is Processes else found == wanted
        assert choose(Work((text,), (exact,)), file, 1) == Local(1)
    monkeypatch.undo()
    other = threading.Event()
    threading.Thread(target=other.wait).start()
    with tables.chunk(500):  # a fork would lose the other thread
        assert choose(Work((text,), (exact,)), open_table(large).blocks(), 4) == Local(1)
    other.set()


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_a_worker(count: int) -> None:
    with pytest.raises(QkvError, match=f"^`workers` {count} is not a whole number from 1"):
        folds.attend([1.0], [1.0], workers=count)


def test_a_process_that_is_ended_as_it_starts_says_nothing() -> None:
    told = []

    def start() -> None:
        signal.signal(signal.SIGTERM, lambda *_: told.append("the handler of the parent"))
        with processes._signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not told
            processes._signals_to_parent()

    child = multiprocessing.get_context("fork").Process(target=start)
    child.start()
    child.join(10)
    assert child.exitcode == -signal.SIGTERM


def test_one_thing_runs_the_work() -> None:
    run = run_qkv("lookup", "Li", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1")
    assert (run.status, run.error.count("\n")) == (2, 1)
    assert "--workers and --scheduler both say" in run.error
