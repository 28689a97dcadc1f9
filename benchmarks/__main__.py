"""Run benchmarks by name, or all of them.

    python -m benchmarks                           # all, some twenty minutes on two idle cores
    python -m benchmarks startup lookup            # these
    python -m benchmarks pool --only 16x --runs 9  # these cases of one, nine turns each

Every benchmark prints a table in Markdown and says which reach was missed. A peer that is not
installed is left out with a line that says so; ``pip install '.[bench]'`` installs them all.
"""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import benchmarks

NEEDS = {"cluster": ("dask", "distributed")}


def main(arguments: list[str]) -> int:
    """Run each benchmark as a process of its own: a child begins with its parent's peak memory."""
    known = [found.name for found in pkgutil.iter_modules(benchmarks.__path__) if not found.ispkg]
    known = [name for name in known if not name.startswith("_")]
    split = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:split] or known, arguments[split:]
    unknown = [name for name in names if name not in known]
    if unknown or {"-h", "--help"} & set(options):
        print(__doc__, f"The benchmarks: {', '.join(known)}.", sep="\n")
        return 2 if unknown else 0
    status = 0
    for name in names:
        if any(find_spec(module) is None for module in NEEDS.get(name, ())):
            print(f"\n({name} is left out: pip install '.[{name},bench]')")
            continue
        print(flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        status |= subprocess.run(command, check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
