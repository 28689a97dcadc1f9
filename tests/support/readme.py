"""The documents' own commands: found, run and compared with what the documents show.

A fence opened by ``console`` is a session: lines that start with ``$ `` are commands (``> `` goes
on with one), the lines after each are what it shows. ``...`` stands for any text within a line,
and for any lines on a line of its own. A fence after ``<!-- not run: REASON -->`` is left alone.
The fence after ``<!-- run by .ci/run -->`` is what ``python tests/support/readme.py`` prints.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

CI_MARK = "run by .ci/run"
_NOT_RUN = "not run"
_FENCE = re.compile(
    r"^(?:<!--[ ]*(?P<mark>.*?)[ ]*-->\n\s*)?^```(?P<kind>\w*)[ ]*\n(?P<body>.*?)^```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Fence:
    """A fenced block of a document."""

    kind: str
    mark: str
    body: str
    line: int

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return self.kind == "console" and not self.mark.startswith(_NOT_RUN)


@dataclass(frozen=True)
class Step:
    """A command and what the document says that it shows."""

    command: str
    shown: str
    line: int


def fences(text: str) -> list[Fence]:
    """Return the fenced blocks of a document in order."""
    return [
        Fence(
            found["kind"],
            found["mark"] or "",
            found["body"],
            text.count("\n", 0, found.start("body")),
        )
        for found in _FENCE.finditer(text)
    ]


def steps(fence: Fence) -> list[Step]:
    """Take a session apart.

    Raises
    ------
    ValueError
        The session does not start with a command.
    """
    found: list[tuple[list[str], list[str], int]] = []
    for number, line in enumerate(fence.body.splitlines(), fence.line + 1):
        if line.startswith("$ "):
            found.append(([line[2:]], [], number))
        elif not found:
            message = f"line {number}: a session starts with '$ '"
            raise ValueError(message)
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(shown), at) for command, shown, at in found]


def matches(shown: str, actual: str) -> bool:
    """Return whether an output is what a document shows, ``...`` standing for anything.

    Trailing white space and blank lines at the end do not count.
    """
    pattern = ""
    for line in _trimmed(shown):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _trimmed(actual))) is not None


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def ci_command(document: Path) -> str:
    """Return the command that CI runs.

    Raises
    ------
    ValueError
        There is not exactly one.
    """
    found = [fence.body for fence in fences(document.read_text()) if fence.mark == CI_MARK]
    if len(found) != 1:
        message = f"{document}: {len(found)} fences are marked '<!-- {CI_MARK} -->', not one"
        raise ValueError(message)
    return found[0]


if __name__ == "__main__":
    sys.stdout.write(ci_command(Path(__file__).resolve().parents[2] / "README.md"))
