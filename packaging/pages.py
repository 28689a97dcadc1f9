"""Makes the man pages and the completions of shells, from the definitions of the commands.

``python packaging/pages.py [FOLDER]`` writes ``man/`` and ``completions/`` to a folder, by default
this one. They are committed and go into the wheel and the sdist; a test holds them against new
ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import qkvcli
from qkvcli import cli
from qkvcli.commands.help import EXAMPLES, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).resolve().parent
CHANGES = HERE.parent / "CHANGELOG.md"
EXITS = {
    "0": "An answer; a file is written whole.",
    "1": "No match: a query has no answer, as with grep.",
    "2": "Wrong usage, bad input or a failed write. One line on standard error says what, where, "
    "and what to do.",
    "130, 141, 143": "Interrupted, the reader of a pipe has gone, or terminated: by signal.",
}
ENVIRONMENT = {
    "QKV_DATA": "The database where --data is not given.",
    "NO_COLOR": "If it is not empty, no colour.",
    "FORCE_COLOR": "If it is 0 or false, no colour; if it is anything else, colour in a pipe too. "
    "NO_COLOR comes before it, and --color before both.",
}
_MATCHING = ("qkv", "qkv-lookup", "qkv-pool")
"""Pages of what may find no match."""
_WAY = (
    "A query is scored against every key, the scores become weights, and the weights pool the "
    "values. Data go to standard output, everything else to standard error."
)
SHELLS = {"bash": "qkv.bash", "zsh": "_qkv", "fish": "qkv.fish"}
"""Shells, and the names under which they look for the completion of a command."""
_AUTOLOADED = """\
# Called at once where zsh has found this file by its name.
if [ "$funcstack[1]" = "_qkv" ]; then
    _qkv_completion "$@"
else
    compdef _qkv_completion qkv
fi
"""


def escaped(text: str) -> str:
    """Return text as roff shows it: nothing in it is a request, and hyphens are those typed."""
    for sign, name in {"\\": r"\e", "-": r"\-", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga"}.items():
        text = text.replace(sign, name)
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return rf"\&{text}" if text.startswith((".", "'")) else text


def filled(text: str) -> list[str]:
    """Return a paragraph as lines of a page."""
    words = " ".join(text.split())
    return [escaped(x) for x in textwrap.wrap(words, 72, break_on_hyphens=False)]


def term(names: str) -> str:
    """Return a line of help's left column: names of options in bold, what they take in italics."""
    *options, last = names.split(", ")
    name, _, taken = last.partition(" ")
    bold = ", ".join(rf"\fB{escaped(option)}\fR" for option in [*options, name])
    return rf"{bold} \fI{escaped(taken)}\fR" if taken else bold


def listed(records: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines of a list: each term, and what it is."""
    return [line for names, text in records for line in (".TP", term(names), *filled(text))]


def page(name: str, summary: str, body: list[str], examples: Iterable[str]) -> str:
    """Return a man page, with what is the same on all of them around its body."""
    version = re.escape(qkvcli.__version__)
    found = re.search(rf"^## \[{version}\] - (\S+)$", CHANGES.read_text(), re.MULTILINE)
    day = found[1] if found else ""
    left_out = () if name in _MATCHING else ("1",)
    others = [f"qkv-{other}" for other in cli.COMMANDS] if name == "qkv" else ["qkv"]
    return "\n".join(
        [
            f'.TH {escaped(name.upper())} 1 "{day}" "qkv {qkvcli.__version__}"',
            ".SH NAME",
            rf"{escaped(name)} \- {escaped(summary[0].lower() + summary[1:].rstrip('.'))}",
            *body,
            ".SH EXIT STATUS",
            *listed((status, text) for status, text in EXITS.items() if status not in left_out),
            ".SH ENVIRONMENT",
            *listed(ENVIRONMENT.items()),
            ".SH EXAMPLES",
            ".nf",
            *map(escaped, examples),
            ".fi",
            ".SH SEE ALSO",
            *(f".BR {escaped(other)} (1)," for other in others[:-1]),
            f".BR {escaped(others[-1])} (1)",
            "",
        ]
    )


def of_command(name: str, command: Any, context: Any) -> str:  # noqa: ANN401 - Click's own
    """Return the page of one command."""
    summary, _, rest = command.help.partition("\n\n")
    usage = " ".join(command.collect_usage_pieces(context)).replace("{", "").replace("}", "")
    body = [
        ".SH SYNOPSIS",
        rf"\fBqkv {name}\fR {escaped(usage)}",
        ".SH DESCRIPTION",
        *filled(summary),
        *(line for paragraph in rest.split("\n\n") for line in (".PP", *filled(paragraph))),
    ]
    groups = grouped(command, context)
    if arguments := groups.pop("Arguments", None):
        body += [".SH ARGUMENTS", *listed(arguments)]
    body.append(".SH OPTIONS")
    for title, records in groups.items():
        body += [f".SS {escaped(title)}", *listed(records)]
    return page(f"qkv-{name}", summary, body, EXAMPLES[name])


def of_program(program: Any, context: Any) -> str:  # noqa: ANN401 - Click's own
    """Return the page of the program as a whole."""
    body = [
        ".SH SYNOPSIS",
        rf"\fBqkv\fR {escaped(' '.join(program.collect_usage_pieces(context)))}",
        ".SH DESCRIPTION",
        *filled(program.help),
        ".PP",
        *filled(_WAY),
        ".SH COMMANDS",
        *listed((name, f"{text} See qkv-{name}(1).") for name, text in cli.COMMANDS.items()),
        ".SH OPTIONS",
        *listed(grouped(program, context)["Other"]),
    ]
    examples = [EXAMPLES[name][0] for name in ("lookup", "pool")]
    return page("qkv", "explore attention", body, examples)


def man_pages() -> Mapping[str, str]:
    """Return the text of each page by the name of its file."""
    program = typer.main.get_command(cli.app)
    context = program.make_context("qkv", [], resilient_parsing=True)
    pages = {"qkv.1": of_program(program, context)}
    for name in cli.COMMANDS:
        command = program.resolve_command(context, [name])[1]
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        pages[f"qkv-{name}.1"] = of_command(name, command, inner)
    return pages


def completion(shell: str) -> str:
    """Return what the program itself offers a shell, as a file that the shell finds by its name."""
    qkv = Path(sys.executable).parent / "qkv"
    env = {**os.environ, "_QKV_COMPLETE": f"source_{shell}"}
    done = subprocess.run([qkv], env=env, capture_output=True, text=True, check=True)
    script = done.stdout.strip() + "\n"
    if shell == "zsh":  # which reads #compdef in the first line alone
        script = script.replace("compdef _qkv_completion qkv\n", _AUTOLOADED)
    return script


def main(folder: Path) -> None:
    """Write all of it below a folder."""
    files = {f"man/{name}": text for name, text in man_pages().items()}
    files |= {f"completions/{name}": completion(shell) for shell, name in SHELLS.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
