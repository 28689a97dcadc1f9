"""Other processors, as far as this one can stand in for them: ``python tests/support/processors.py``.

Prints settings of the environment, one a line, under which CI runs the numeric tests once more.
OpenBLAS sums in another order on each kernel, and NumPy's own loops differ with what a processor
can do. What this processor or these libraries cannot show is said on standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

_KERNELS = {"Haswell": ("AVX2", "FMA3"), "Nehalem": ("SSE42",)}
"""Kernels of OpenBLAS, and what they need of a processor."""
_LEVELS = {
    "AVX-512": ("AVX512", "X86_V4"),
    "AVX2": ("AVX512", "X86_V4", "AVX2", "FMA3", "X86_V3"),
}
"""What is to be missing, and how the features of NumPy start that go with it."""
_ASKED = """
import json, numpy, threadpoolctl
from numpy._core import _multiarray_umath as core
blas = {pool.get("architecture") for pool in threadpoolctl.threadpool_info()}
features = [name for name, found in core.__cpu_features__.items() if found]
print(json.dumps([list(filter(None, blas)), features, core.__cpu_dispatch__]))
"""


def in_use(**setting: str) -> tuple[list[str], list[str], list[str]]:
    """Return OpenBLAS's kernels, NumPy's features, and those of them that it can do without."""
    ours = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")
    plain = {name: value for name, value in os.environ.items() if name not in ours}
    told = subprocess.run(
        [sys.executable, "-c", _ASKED], capture_output=True, env=plain | setting, check=True
    ).stdout
    kernels, features, optional = json.loads(told)
    return kernels, features, [name for name in optional if name in features]


def settings() -> tuple[dict[str, str], list[str]]:
    """Return values by what they stand for, ``NAME=value``, and what cannot be shown here."""
    _, features, optional = in_use()
    found, missing = {}, []
    for kernel, needed in _KERNELS.items():
        if not set(needed) <= set(features):
            missing.append(f"{kernel}'s kernels: this processor lacks {' and '.join(needed)}")
        elif in_use(OPENBLAS_CORETYPE=kernel)[0] != [kernel]:
            missing.append(f"{kernel}'s kernels: NumPy's BLAS here does not have them")
        else:
            found[kernel] = f"OPENBLAS_CORETYPE={kernel}"
    for level, starts in _LEVELS.items():
        gone = " ".join(name for name in optional if name.startswith(starts))
        if f"NPY_DISABLE_CPU_FEATURES={gone}" in found.values() or not gone:
            missing.append(f"NumPy without {level}: it uses none here")
        else:
            found[level] = f"NPY_DISABLE_CPU_FEATURES={gone}"
    return found, missing


if __name__ == "__main__":
    shown, lacking = settings()
    print(*shown.values(), sep="\n")
    for line in lacking:
        print(f"left out: {line}", file=sys.stderr)
