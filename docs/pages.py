"""Makes the pages that are written in the code: the help of each command, and the Python API.

``python docs/pages.py FOLDER`` writes them to a folder, by default ``docs``; a test holds those
that are committed against new ones.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qkvcli
from qkvcli import answer, capture, database, errors, joined, statistics
from qkvcli.cli import COMMANDS
from qkvcli.heatmap.html.explore import Explorer

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
API = (
    ("Functions", [getattr(qkvcli, n) for n in ("attend", "lookup", "pool", "heads", "explore")]),
    ("Models", [qkvcli.capturing, capture.Recording]),
    ("Databases", [qkvcli.Database, database.Scoring]),
    (
        "Answers",
        [
            *(
                answer.Tabular,
                answer.Answer,
                answer.LabelWeights,
                answer.Lookup,
                answer.Found,
                answer.Match,
            ),
            *(joined.Join, joined.JoinedRow, joined.Measures, joined.Groups),
            *(statistics.Heads, Explorer),
        ],
    ),
    ("Errors", [errors.QkvError, errors.UsageError, errors.InputError, errors.OutputError]),
)
"""What the reference has, under which titles."""
HELP = """# Every option

What `qkv COMMAND --help` shows, as of this version; this page is made by `docs/pages.py`.
"""
REFERENCE = """# Python reference

Made of the docstrings by `docs/pages.py`; [python.md](python.md) is the tour. In shapes Q is
how many queries there are, K keys and H heads; D and Dv are the widths of a key and of a value.
"""
_UNDERLINED = re.compile(r"^([A-Z][a-z]+)\n-+$", re.MULTILINE)


def shown(*arguments: str) -> str:
    """Return what a command prints, at 80 columns and without colour."""
    env = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    line = [sys.executable, "-m", "qkvcli", *arguments]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()


def help_page() -> str:
    """Return the page of ``--help``."""
    lines = [[], *([name] for name in COMMANDS)]
    parts = [
        f"## {' '.join(['qkv', *line])}\n\n```text\n{shown(*line, '--help')}\n```\n"
        for line in lines
    ]
    return "\n".join([HELP, *parts])


def reference() -> str:
    """Return the page of the Python API."""
    parts = [REFERENCE]
    for title, things in API:
        parts.append(f"## {title}\n")
        for thing in things:
            parts += entry(thing, public_name(thing))
            members = vars(thing).items() if inspect.isclass(thing) else ()
            for name, member in members:
                if not name.startswith("_") and is_documented(member):
                    parts += entry(member, f"{thing.__name__}.{name}", level=4)
    return "\n".join(parts).rstrip() + "\n"


def public_name(thing: Any) -> str:  # noqa: ANN401
    """Return the name by which something is reached, with the package's where it has one."""
    names = (n for n in qkvcli.__all__ if getattr(qkvcli, n) is thing)
    return next((f"qkvcli.{n}" for n in names), thing.__name__)


def is_documented(member: object) -> bool:
    """Return whether a member of a class is a method or a property with a docstring."""
    if isinstance(member, property | classmethod) or inspect.isfunction(member):
        return bool(inspect.getdoc(member))
    return type(member).__name__ == "cached_property"


def entry(thing: Any, name: str, level: int = 3) -> list[str]:  # noqa: ANN401
    """Return the lines of one function, class, method or property."""
    called = thing.__func__ if isinstance(thing, classmethod) else thing
    lines = [f"{'#' * level} {name}\n"]
    if inspect.isfunction(called) or name.startswith("qkvcli."):  # other classes nobody calls
        lines.append(f"```text\n{signature(called, name)}\n```\n")
        return [*lines, in_markdown(inspect.getdoc(called) or "") + "\n"]
    text = in_markdown(inspect.getdoc(called) or "")
    return [*lines, text.replace("**Parameters**", "**Attributes**") + "\n"]


def signature(thing: Callable[..., Any], name: str) -> str:
    """Return how something is called, without types, which the docstring has in words."""
    found = inspect.signature(thing)
    parameters = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in found.parameters.values()
        if p.name not in ("self", "cls")
    ]
    bare = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    line = f"{name}{bare}"
    if len(line) <= 88:
        return line
    inner = "".join(f"    {p},\n" for p in spelled(parameters))
    return f"{name}(\n{inner})"


def spelled(parameters: list[inspect.Parameter]) -> list[str]:
    """Return parameters as they are written, with the star before those that have names."""
    lines, starred = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not starred:
            lines.append("*")
        starred = starred or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        lines.append(str(p))
    return lines


def in_markdown(text: str) -> str:
    """Return a docstring in NumPy's style as Markdown."""
    first, *rest = _UNDERLINED.split(text)
    parts = [plain(first)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        if title == "Examples":
            parts.append(f"**{title}**\n\n```pycon\n{body.strip()}\n```")
        elif title == "Notes":
            parts.append(plain(body))
        else:
            parts.append(f"**{title}**\n\n{definitions(body)}")
    return "\n\n".join(part for part in parts if part)


def definitions(body: str) -> str:
    """Return names and, below each, what they are, as a list."""
    found: list[tuple[str, list[str]]] = []
    for line in body.strip("\n").splitlines():
        if line and not line.startswith(" "):
            found.append((line, []))
        elif found:
            found[-1][1].append(line.strip())
    return "\n".join(f"- `{name}`: {plain(' '.join(words))}" for name, words in found)


def plain(text: str) -> str:
    """Return text with code in Markdown's quotes."""
    return text.strip().replace("``", "`")


def main(folder: Path) -> None:
    """Write all pages to a folder."""
    (folder / "help.md").write_text(help_page(), encoding="utf-8")
    (folder / "api.md").write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
