"""A fold on a real cluster of processes, all on 127.0.0.1."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread, Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

from qkvcli.attention.fold import Plan
from qkvcli.attention.weights import MODES, Weighting
from qkvcli.blocks import Queries
from qkvcli.errors import QkvError
from qkvcli.run import cluster as clusters
from qkvcli.run.cluster import Cluster, connected
from qkvcli.run.work import Local, fold
from qkvcli.scores.text import TextScore
from qkvcli.scores.vector import VectorScore
from qkvcli.sources.store import open_store, open_table
from qkvcli.sources.table import TableOptions
from qkvcli.sources.vectors import VectorBlock
from tests.support import folds, tables
from tests.support.command import run_pty, run_qkv
from tests.support.contract import Case, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qkvcli.blocks import Block

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """Start a scheduler and two worker processes."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=60,
    ) as found:
        yield found


@pytest.fixture(scope="module")
def client(local: LocalCluster) -> Iterator[Client]:
    with Client(local, set_as_default=False) as found:
        yield found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chapters so small that a few blocks make several."""
    monkeypatch.setattr(clusters, "_CHAPTER", 8)
    monkeypatch.setattr(clusters, "_TASKS_A_THREAD", 0)


def answers(executor: Any, blocks: Any, queries: Queries, plans: list[Plan], **more: Any) -> Any:
    return fold(blocks, queries, plans, executor, **more)


def lines(count: int) -> str:
    return "key,kind,x\n" + "".join(f'n{i * 7919 % 97},"{i % 5}",{i / 7}\n' for i in range(count))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [1, 4, 7, 8, 9, 16, 29, 32])
def test_a_cluster_gives_the_bytes_of_one_machine(
    count: int, client: Client, tmp_path: Path
) -> None:
    random = np.random.default_rng(count)
    np.savez(tmp_path / "a.npz", keys=random.normal(size=(count * 50, 4)).astype(np.float32))
    (source,) = open_store(str(tmp_path / "a.npz"), TableOptions()).heads
    (whole,) = source.blocks()
    assert isinstance(whole, VectorBlock)
    blocks = [VectorBlock(i * 50, i * 50 + 50, whole.head) for i in range(count)]
    queries = Queries(("a", "b", "c"), random.normal(size=(3, 4)).astype(np.float32))
    plans = [
        Plan(VectorScore("dot"), Weighting(mode, 1.0), top=3, records=True, perplexity=True)
        for mode in MODES
    ]
    told: list[int] = []
    here = answers(Local(), blocks, queries, plans)
    there = answers(Cluster(client), blocks, queries, plans, progress=told.append)
    folds.assert_same(here, there)
    assert sum(told) == count * 50


@pytest.mark.usefixtures("small")
def test_a_table_and_many_queries(client: Client, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", lines(1_500))
    labels = tuple(f"n{i}" for i in range(600))  # more than are folded together
    queries = Queries(labels, list(labels))
    plans = [Plan(TextScore("indel-winkler"), Weighting("approximate", 0.1, 2), records=True)]
    with tables.chunk(1_500):
        blocks = list(open_table(path).blocks())
    assert len(blocks) > 12
    assert len(pickle.dumps(blocks[:4])) < 4_000
    here = answers(Local(), blocks, queries, plans)
    folds.assert_same(here, answers(Cluster(client), blocks, queries, plans))


def test_a_lost_workers_blocks_are_done_again(
    client: Client, put: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_CHAPTER", 32)
    monkeypatch.setattr(clusters, "_TASKS_A_THREAD", 0)
    path = put("t.csv", lines(30_000))
    with tables.chunk(6_000):
        blocks = list(open_table(path).blocks())
    assert len(blocks) > 80
    queries = Queries(("a", "b"), ["n5", "m77"])
    plans = [Plan(TextScore("damerau-levenshtein"), Weighting("softmax", 0.1), top=5, records=True)]
    here = answers(Local(), blocks, queries, plans)
    before = client.run(os.getpid)
    killed: list[int] = []

    def watched() -> Iterator[Block]:
        for number, block in enumerate(blocks):
            if number == 50:  # the first chapter is out, and the second about to be
                time.sleep(0.05)
                killed.append(next(iter(before.values())))
                os.kill(killed[0], signal.SIGKILL)
            yield block

    there = answers(Cluster(client), watched(), queries, plans)
    folds.assert_same(here, there)
    client.wait_for_workers(2, timeout=20)
    assert killed[0] not in client.run(os.getpid).values()


@pytest.mark.usefixtures("small")
def test_the_first_failure_in_order_is_the_one_told(
    client: Client, put: Callable[[str, str], str]
) -> None:
    rows = [f"{i},{i}\n" for i in range(4_000)]
    rows[1_500], rows[3_000] = "1500,first\n", "3000,second\n"
    path = put("t.csv", "x,y\n" + "".join(rows))
    plan = Plan(None, Weighting("average", 1.0))
    with tables.chunk(500):
        blocks = list(open_table(path).blocks())
    with pytest.raises(QkvError) as caught:
        answers(Cluster(client), blocks, Queries(("",), np.zeros((1, 1))), [plan])
    assert str(caught.value).startswith(f"{path}:1502: 'first'")


def test_a_file_that_workers_do_not_see(client: Client, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", lines(10))
    blocks = list(open_table(path).blocks())
    os.rename(path, path + ".elsewhere")  # as it would be on another machine
    plan = Plan(None, Weighting("average", 1.0))
    with pytest.raises(QkvError, match="on a worker; all workers must see it at the same path"):
        answers(Cluster(client), blocks, Queries(("",), [""]), [plan])


def test_another_version_is_told(client: Client) -> None:
    with (
        pytest.raises(QkvError, match=r"a worker has qkv .* install the same"),
        clusters._errors_as_lines(),
    ):
        client.submit(clusters._work_on_worker, b"", "0.0.0", pure=False).result()


def test_what_a_worker_runs_into_is_one_line(client: Client) -> None:
    with (
        pytest.raises(QkvError, match=r"a worker failed .*ZeroDivisionError"),
        clusters._errors_as_lines(),
    ):
        client.submit(divmod, 1, 0, pure=False).result()


@pytest.mark.parametrize("command", ["lookup", "pool"])
def test_the_command_gives_the_same_bytes(
    command: str, local: LocalCluster, put: Callable[[str, str], str]
) -> None:
    path = put("t.csv", lines(30_000))
    asked = [command, "n5", "-m", "softmax", "-d", path, "-f", "json"]
    here = run_qkv(*asked, "--workers", "1")
    there = run_qkv(*asked, "--scheduler", local.scheduler_address)
    assert (there.status, there.out, there.err) == (0, here.out, here.err)


def test_a_pipe_goes_to_the_cluster_with_its_bytes(local: LocalCluster) -> None:
    data = lines(50_000).encode()
    asked = ["lookup", "n5", "-m", "softmax", "-d", "-", "-f", "json"]
    there = run_qkv(*asked, "--scheduler", local.scheduler_address, stdin=data)
    assert (there.status, there.error) == (0, "")
    assert there.out == run_qkv(*asked, stdin=data).out


def test_ctrl_c_ends_it_silently(local: LocalCluster, put: Callable[[str, str], str]) -> None:
    path = put("t.csv", lines(20_000))
    asked = ["lookup", "-m", "softmax", "--self"]
    run = run_pty(*asked, "-d", path, "--scheduler", local.scheduler_address, keys=[(4.0, b"\x03")])
    assert run.status == 130
    assert b"Traceback" not in run.out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.slow  # it waits
def test_no_scheduler_is_told_within_seconds(tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    run = run_qkv("lookup", "Li", "--scheduler", address, cwd=tmp_path)
    assert (run.status, run.out) == (2, b"")
    assert run.error == f"qkv: no scheduler answers at {address}; start one with: dask scheduler\n"
    assert run.seconds < 20


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense://x", "is no address"),
        ("tcp://x:y", "is no address"),
        ("inproc://x", "is no address"),
        (":", "is no address"),
        ("tls://127.0.0.1:1", "is beyond Dask as it is .*; give tcp://host:8786"),
        ("ucx://127.0.0.1:1", "; give tcp://host:8786"),
    ],
)
def test_what_is_no_address_is_told(address: str, message: str, tmp_path: Path) -> None:
    case = Case(("lookup", "Li", "--scheduler", address), message)
    check(case, tmp_path, terminal=False)


@pytest.fixture(params=[b"", b"HTTP/1.0 400 Bad request\r\n\r\n"], ids=["silent", "http"])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of something that accepts a connection and is not Dask."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(request.param)

        Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    for connection in held:
        connection.close()


@pytest.mark.slow  # it waits
def test_what_is_not_dask_is_given_up_within_seconds(stranger: str) -> None:
    run = run_qkv("lookup", "Li", "--scheduler", stranger)
    assert (run.status, run.out) == (2, b"")
    assert run.error == f"qkv: no scheduler answers at {stranger}; start one with: dask scheduler\n"
    assert run.seconds < 9


@pytest.mark.parametrize("stranger", [b""], indirect=True)
def test_ctrl_c_is_heard_while_nothing_answers(stranger: str) -> None:
    run = run_pty("lookup", "Li", "--scheduler", stranger, keys=[(2.0, b"\x03")])
    assert (run.status, run.out) == (130, b"^C")
    assert run.seconds < 4


@pytest.mark.slow  # it waits
def test_a_scheduler_that_is_killed_is_one_line(put: Callable[[str, str], str]) -> None:
    path, port = put("t.csv", lines(20_000)), str(free_port())
    dask = [sys.executable, "-m", "dask"]

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            [*dask, *arguments, "--no-dashboard"], stdout=nothing, stderr=nothing
        )

    address = f"tcp://127.0.0.1:{port}"
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", port)
    worker = start("worker", address, "--no-nanny")
    try:
        with Client(address, timeout=20, set_as_default=False) as waiting:
            waiting.wait_for_workers(1, timeout=20)
        Timer(4, scheduler.kill).start()
        run = run_qkv("lookup", "-m", "softmax", "--self", "-d", path, "--scheduler", address)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    assert (run.status, run.out) == (2, b"")
    assert run.error == "qkv: the scheduler was lost; is it still running?\n"


def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "TIMEOUT", 1)
    with (
        LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=60
        ) as empty,
        pytest.raises(QkvError, match="the scheduler has no workers; start one with: dask worker"),
        connected(empty.scheduler_address),
    ):
        pass


def test_without_dask_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['distributed'] = None\n")
    run = run_qkv("lookup", "Li", "--scheduler", "x:1", env={"PYTHONPATH": str(tmp_path)})
    assert run.status == 2
    assert "pip install 'qkvcli[cluster]'" in run.error
