"""What fuzzing found, on every command that reads such a file."""

from __future__ import annotations

import re

from tests.fuzz.findings import FINDINGS
from tests.support.contract import Case


def _asked(command: str, form: str) -> tuple[str, ...]:
    """Return how a command reads a file of a format; nothing where it does not."""
    if command == "heatmap":
        return () if form == "jsonl" else (command, f"found.{form}")
    if form == "safetensors" or form.startswith("matrix."):
        return ()
    return (command, "1", "--keys" if form == "npy" else "--data", f"found.{form}")


CASES: dict[str, Case] = {
    f"{command}: found: {name}": Case(
        _asked(command, form), f"^{re.escape(f'found.{form}{line}')}", "", {f"found.{form}": data}
    )
    for command in ("lookup", "pool", "heatmap")
    for name, (form, data, line) in FINDINGS.items()
    if _asked(command, form)
}
