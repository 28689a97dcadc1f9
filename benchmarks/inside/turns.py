"""Turns within one process: each function once to warm up, then by turns; printed as JSON."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def by_turns(
    runs: int, functions: Mapping[str, Callable[[], object]], *, warm: bool = True
) -> dict[str, list[list[float]]]:
    """Return seconds, processor seconds and MiB touched beyond what was held, of every turn."""
    for function in functions.values() if warm else ():
        function()
    costs: dict[str, list[list[float]]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            before = _forget_peak()
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            costs[name].append([*spent, _status("VmHWM") - before])
    return costs


def show(costs: Mapping[str, object], notes: Sequence[str] = ()) -> None:
    """Print what the benchmark reads."""
    print(json.dumps({"costs": costs, "notes": list(notes)}))


def _forget_peak() -> float:
    """Make the memory held now the peak (Linux only), and return it."""
    try:
        with open("/proc/self/clear_refs", "w") as out:
            out.write("5")
    except OSError:
        return _status("VmHWM")
    return _status("VmRSS")


def _status(field: str) -> float:
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
    except OSError:
        return 0.0
