"""Runs the notebook ``docs/tour.ipynb`` and keeps what its cells show.

``python docs/notebook.py FILE`` writes it to a file, by default over itself; a test runs it, too.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat

TOUR = Path(__file__).resolve().parent / "tour.ipynb"


def main(out: Path) -> None:
    """Run the notebook in a kernel of this Python."""
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])
    notebook = nbformat.read(TOUR, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(TOUR.parent)}},
    )
    client.execute()
    notebook.metadata.pop("language_info", None)  # the version of Python
    text = nbformat.writes(notebook)
    out.write_text(re.sub(r"0x[0-9a-f]{8,}", "0x0", text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TOUR)
