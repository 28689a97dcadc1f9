"""Programs measured by turns, A B A B …, so that a busy machine is busy for all of them alike."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

# NumPy is not imported here: on Linux a process begins with its parent's peak of memory.

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.dirname(sys.executable)
QKV = os.path.join(BIN, "qkv")
PYTHON = sys.executable

Command = list[str]

_SETS = """
import numpy, threadpoolctl
from numpy._core import _multiarray_umath as umath
known = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
blas = [found.get("architecture") for found in threadpoolctl.threadpool_info()]
print(" ".join(known), ", ".join(str(name) for name in blas), sep="\\n")
"""
"""Prints the instruction sets that NumPy has loops for and uses here, and the kernels of BLAS."""


class Cost(NamedTuple):
    """Seconds on the clock, seconds of processors, and the peak of memory in MiB."""

    wall: float
    cpu: float
    mib: float


@dataclass(frozen=True)
class Reach:
    """What a comparison is to reach: a share of the peer's time, seconds beyond it, MiB at most."""

    ratio: float | None = None
    more: float | None = None
    mib: float | None = None

    def __str__(self) -> str:
        """Return the limits as a cell of the table."""
        parts = [
            (self.ratio, lambda x: f"≤ {x:g}×"),
            (self.more, lambda x: f"≤ +{1e3 * x:g} ms"),
            (self.mib, lambda x: f"≤ {x:g} MiB"),
        ]
        return ", ".join(say(limit) for limit, say in parts if limit is not None)

    def verdict(self, ours: Cost, theirs: Cost) -> str:
        """Return whether the limits hold, and by which measure they do not."""
        wall, cpu = ours.wall / theirs.wall, ours.cpu / theirs.cpu
        missed = []
        if self.ratio is not None and wall > self.ratio:
            missed.append("time" if cpu > self.ratio else "time (CPU held)")
        if self.more is not None and ours.wall - theirs.wall > self.more:
            late = ours.cpu - theirs.cpu > self.more
            missed.append("time" if late else "time (CPU held)")
        if self.mib is not None and ours.mib > self.mib:
            missed.append("memory")
        if not str(self):
            return ""
        return f"missed: {', '.join(missed)}" if missed else "held"


def run(command: Command, *, env: Mapping[str, str] | None = None) -> tuple[Cost, bytes]:
    """Run a process with its output in a pipe; return what it cost and what it wrote.

    A failure ends the benchmark with what the process said of it.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    inherited |= env or {}
    inherited = {k: v for k, v in inherited.items() if v}  # an empty one is not to be there
    with tempfile.TemporaryFile() as said, open(os.devnull, "rb") as fed:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=fed, stdout=subprocess.PIPE, stderr=said, env=inherited
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode()}{output.decode()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), output


def by_turns(
    commands: Mapping[str, Command], runs: int, env: Mapping[str, str] | None = None
) -> dict[str, list[Cost]]:
    """Return the costs of several processes, run in turn after a warm-up of each."""
    for command in commands.values():  # bytecode, fonts, the file in the system's cache
        run(command, env=env)
    turns = [{name: run(c, env=env)[0] for name, c in commands.items()} for _ in range(runs)]
    return {name: [turn[name] for turn in turns] for name in commands}


def best(costs: Iterable[Cost]) -> Cost:
    """Return the least of each measure: what is left of it on a machine that is never idle."""
    return Cost(*(min(column) for column in zip(*costs, strict=True)))


def medians(costs: Iterable[Cost]) -> Cost:
    """Return the median of each measure."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def instruction_sets() -> dict[str, dict[str, str]]:
    """Return what processors can be measured here, each with the environment that makes it so.

    They are this machine's own, and where that has more, one with AVX2 only.
    """
    own = {"OPENBLAS_CORETYPE": "", "OPENBLAS_L2_SIZE": ""}
    more = run([PYTHON, "-c", _SETS], env=own)[1].decode().split("\n")[0].split()
    beyond = [name for name in more if name.startswith("AVX512") or name == "X86_V4"]
    found = {"this machine": own}
    if beyond:
        avx2 = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(beyond)}
        found["as with AVX2 only"] = {**own, **avx2, "ATEN_CPU_CAPABILITY": "avx2"}
    return found


def shown_sets(env: Mapping[str, str]) -> str:
    """Return what NumPy and BLAS use in an environment, in words."""
    numpy, blas = run([PYTHON, "-c", _SETS], env=env)[1].decode().strip().split("\n")
    return f"NumPy uses {numpy or 'its baseline'}, BLAS the kernels of {blas}"


def script(name: str, *arguments: object) -> Command:
    """Return the command that runs one of the scripts beside the benchmarks."""
    return [PYTHON, os.path.join(HERE, *name.split("/")), *map(str, arguments)]


class Bench:
    """One benchmark as a context: its options, a folder for its data, and its table."""

    def __init__(self, description: str, *, runs: int = 5, **extra: str) -> None:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("--runs", type=int, default=runs, help="turns (default %(default)s)")
        parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold it")
        parser.add_argument("--best", action="store_true", help="the best turn, not the median")
        parser.add_argument(
            "--data", metavar="FOLDER", help="keep generated data here, or reuse it"
        )
        for name, what in extra.items():
            parser.add_argument(f"--{name}", metavar="FILE", help=what)
        options = parser.parse_args()
        self.extra = {
            name: getattr(options, name) and os.path.abspath(getattr(options, name))
            for name in extra
        }
        self.runs: int = options.runs
        self._only: str = options.only
        self._kept: str | None = options.data and os.path.abspath(options.data)
        self._sum = best if options.best else medians
        self._title = description.splitlines()[0]
        self._notes: list[str] = []

    def __enter__(self) -> Self:
        """Make the folder, go there, and see to it that the program has its bytecode."""
        self._temporary = None if self._kept else tempfile.TemporaryDirectory()
        self.folder = self._kept or self._temporary.name
        os.makedirs(self.folder, exist_ok=True)
        self._before = os.getcwd()
        os.chdir(self.folder)  # away from the checkout, so that the installed program is run
        find = (
            "import importlib.util as u; print(u.find_spec('qkvcli').submodule_search_locations[0])"
        )
        _, place = run([PYTHON, "-c", find])
        run([PYTHON, "-m", "compileall", "-q", place.decode().strip()])
        _, version = run([QKV, "--version"])
        print(f"## {self._title}\n")
        print(
            f"{version.decode().strip()}, Python {platform.python_version()}, "
            f"{os.cpu_count()} processors with a load of {os.getloadavg()[0]:.1f}; the "
            f"{'best' if self._sum is best else 'median'} of {self.runs} turns.\n"
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave the folder, and remove it unless it is to be kept."""
        os.chdir(self._before)
        if self._temporary:
            self._temporary.cleanup()

    def wants(self, case: str) -> bool:
        """Return whether a case was asked for."""
        return self._only in case

    def has(self, *modules: str) -> bool:
        """Return whether peers are installed; say so where one is not."""
        for module in modules:
            if find_spec(module) is None:
                print(f"({module} is not installed, and is left out: pip install '.[bench]')")
                return False
        return True

    def data(self, name: str, *arguments: object) -> str:
        """Return the path of generated data, made once by ``support/data.py``.

        ``data("names.csv", 1000)`` is what its function ``names`` writes for 1,000.
        """
        kind, extension = os.path.splitext(name)
        path = os.path.join(self.folder, "-".join(map(str, (kind, *arguments))) + extension)
        if not os.path.exists(path):
            run(script("support/data.py", kind, path + ".part", *arguments))
            os.replace(path + ".part", path)
        return path

    def head(self) -> None:
        """Print the head of the table."""
        columns = "case | peer | qkv, ms | peer, ms | time | CPU | qkv, MiB | peer, MiB | reach | "
        print(f"| {columns}|")
        print("| --- | --- " + "| ---: " * 6 + "| --- | --- |", flush=True)

    def row(self, case: str, peer: str, ours: Cost, theirs: Cost, reach: Reach = Reach()) -> None:
        """Print a comparison."""
        cells = (
            case,
            peer,
            f"{1e3 * ours.wall:,.0f}",
            f"{1e3 * theirs.wall:,.0f}",
            f"{ours.wall / theirs.wall:.2f}",
            f"{ours.cpu / theirs.cpu:.2f}",
            f"{ours.mib:,.0f}",
            f"{theirs.mib:,.0f}",
            str(reach),
            reach.verdict(ours, theirs),
        )
        print(f"| {' | '.join(cells)} |", flush=True)

    def compare(
        self,
        case: str,
        ours: Command,
        peers: Mapping[str, tuple[Command, Reach]],
        *,
        runs: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Cost]:
        """Run the program and its peers by turns, and print a row for each peer."""
        commands = {"qkv": ours, **{name: command for name, (command, _) in peers.items()}}
        turns = by_turns(commands, runs or self.runs, env=env)
        found = {who: self._sum(costs) for who, costs in turns.items()}
        for name, (_, reach) in peers.items():
            self.row(case, name, found["qkv"], found[name], reach)
        return found

    def inside(
        self,
        case: str,
        name: str,
        *arguments: object,
        reach: Mapping[str, Reach] = {},
        env: Mapping[str, str] = {},
    ) -> dict[str, Cost]:
        """Run a script that takes turns in one process, and print a row for each of its peers.

        It prints JSON: ``costs``, by who is measured a list of them, and ``notes``.
        """
        _, output = run(script(f"inside/{name}", self.runs, *arguments), env=env)
        found = json.loads(output)
        costs = {who: self._sum(Cost(*c) for c in turns) for who, turns in found["costs"].items()}
        for peer, cost in costs.items():
            if peer != "qkv":
                self.row(case, peer, costs["qkv"], cost, reach.get(peer, Reach()))
        self._notes += [f"{case}: {note}" for note in found["notes"]]
        return costs

    def note(self, line: str) -> None:
        """Keep a line that is to stand under the table."""
        self._notes.append(line)

    def foot(self) -> None:
        """End the table with its notes."""
        print()
        for line in self._notes:
            print(f"- {line}")
        self._notes = []
        print(flush=True)
