"""The Typer app, and the one edge where failures become a line on stderr and an exit status."""

import errno
import importlib
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from typing import Annotated, Any

import typer

import qkvcli
from qkvcli.errors import OutputError, QkvError, UsageError, did_you_mean

# Typer carries its own Click; its error class is reached through Typer's public one.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]

_COMPLETION = "_QKV_COMPLETE"
"""The variable by which a shell's completion calls."""


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

COMMANDS = {
    "lookup": "Look queries up among the keys of a database.",
    "pool": "Pool the values of a database under each query's weights.",
    "heatmap": "Draw attention weights as a picture, or in the terminal.",
    "heads": "Say what each head of a model does.",
    "capture": "Store what a model attends to in a text.",
    "learn": "Learn a score from examples of the right answer.",
}
"""The commands and their first lines, which are known without importing them."""


_NEGATIVE = re.compile(r"-(?:[0-9]|\.[0-9])[0-9.eE+,; -]*")


class _Command(typer.core.TyperCommand):
    """A command whose help has groups and examples."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Click's own
        """Parse the words of a command line; a list in two options would lose its first part."""
        if not ctx.resilient_parsing:
            _, _, found = self.make_parser(ctx).parse_args(args=list(args))
            _check_lists(found)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Click's own
        from qkvcli.commands.help import write_options

        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - Click's own
        from qkvcli.commands.help import write_examples

        write_examples(self, formatter)


class _OfQueries(_Command):
    """A command whose arguments are queries, negative numbers among them."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Click's own
        """Parse the words of a command line, with all that are no options put behind ``--``."""
        known = [parameter for parameter in self.params if parameter.param_type_name == "option"]
        valued = {n for p in known if not getattr(p, "is_flag", False) for n in p.opts}
        options: list[str] = []
        words: list[str] = []
        rest = deque(args)
        while rest:
            word = rest.popleft()
            if word == "--":
                _check_words(rest, {name for option in known for name in option.opts})
                words += rest
                break
            if word == "-" or not word.startswith("-") or _NEGATIVE.fullmatch(word):
                words.append(word)
                continue
            options.append(word)
            if word == "--join" and rest and rest[0] in ("outer", "right", "full", "cross"):
                message = f"--join is left or inner, not {rest[0]!r}"
                message += "; write a query of this name before the options"
                raise UsageError(message)
            if word == "--join" and (not rest or rest[0] not in ("left", "inner")):
                options.append("left")  # the kind of a join need not be said
            elif word in valued:
                if not rest:  # no value: Click says so, were there no -- behind it
                    return super().parse_args(ctx, args)
                options.append(rest.popleft())
        return super().parse_args(ctx, [*options, "--", *words] if words else options)


def _check_lists(found: list[Any]) -> None:
    """Refuse an option that takes a list and is given twice."""
    for option in found:
        list_of = str(option.metavar or "")
        if "," in list_of and not option.multiple and found.count(option) > 1:
            shape = list_of.replace("[", "").replace("]", "") if "COL" in list_of else list_of
            name = max(option.opts, key=len)
            raise UsageError(f"{name} is given twice; name several in one: {name} {shape}")


def _check_words(words: Iterable[str], options: set[str]) -> None:
    """Refuse an option that stands where all is taken for a query."""
    for word in words:
        if word.partition("=")[0] in options:
            raise UsageError(
                f"{word!r} stands after --, behind which all is a query; put it before, or "
                "put a query of this name in a file"
            )


class _Commands(typer.core.TyperGroup):
    """The commands: only the one that is called is imported, and who mistypes one is helped."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Click's own
        name = args[0]
        if name in self.commands:
            return name, _command(name), args[1:]
        if ctx.resilient_parsing:  # a shell's completion says nothing
            return None, None, args[1:]
        hint = did_you_mean(name, list(self.commands))
        raise UsageError(f"there is no command {name!r}{hint}")


app = typer.Typer(
    name="qkv",
    cls=_Commands,
    rich_markup_mode=None,  # help drawn with Rich costs 65 ms more
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
    help="Explore attention: which keys a query attends to, what they answer, and how it looks.",
)


def _in_name() -> None:
    """Stand in a list of commands."""


for _name, _summary in COMMANDS.items():
    app.command(_name, help=_summary)(_in_name)


def _command(name: str) -> Any:  # noqa: ANN401 - Click's own
    """Import a command and return what parses and calls it."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)
    parser = _OfQueries if name in ("lookup", "pool") else _Command
    alone.command(name, cls=parser)(
        getattr(importlib.import_module(f"qkvcli.commands.{name}"), name)
    )
    return typer.main.get_command(alone)


def _version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"qkv {qkvcli.__version__}")
        raise typer.Exit


@app.callback()
def _qkv(
    _show: Annotated[  # noqa: FBT002 - Typer makes an option of it
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status.

    Every failure ends here as one line ``qkv: where: what; what to do`` on stderr.
    BrokenPipeError and KeyboardInterrupt pass, for the process to die of.
    """
    try:
        _check_encoding(arguments)
        status = _call(arguments)
        _flush()
    except QkvError as error:
        return _fail(in_options(str(error)), error.exit_status)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _fail("not enough memory; use a smaller part of the input", 2)
    except OSError as error:
        return _fail(_os_line(error), 2)
    except RecursionError:
        return _fail("the input is nested too deeply", 2)
    return status


_PARAMETER = re.compile(r"`([a-z_]+)(?:=('[^'`]*'|[^'`]*))?`")
_FLAGS = {"header=False": "--no-header"}
_NAMES = {"null_score": "--min-score"}


def in_options(message: str) -> str:
    """Return a message with parameters of Python as the options of their names.

    Examples
    --------
    >>> in_options("pass `key_type='text'`, or `bandwidth` with a number")
    'pass --key-type text, or --bandwidth with a number'
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2] or ""
        if f"{name}={value}" in _FLAGS:
            return _FLAGS[f"{name}={value}"]
        plain = value.strip("'")
        shown = (
            plain if plain.replace("-", "").isalnum() else value
        )  # else a shell needs its quotes
        option = _NAMES.get(name, f"--{name.replace('_', '-')}")
        return " ".join(filter(None, [option, shown]))

    return _PARAMETER.sub(option, message)


def _call(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if arguments[:1] in (["--show-completion"], ["--install-completion"]) and arguments[1:]:
        raise UsageError(
            f"{arguments[0]} is for the shell that calls it, without {arguments[1]!r}; "
            "call it from the shell that it is for"
        )
    if _COMPLETION in os.environ:
        command.main(args=arguments, prog_name="qkv")
    try:
        # Not command.main(), which turns a closed pipe and Ctrl-C into exit statuses of its own.
        with command.make_context("qkv", arguments[:] or ["--help"]) as context:
            outcome = command.invoke(context)
    except _ClickError as error:
        raise UsageError(_usage_line(error, arguments)) from None
    except typer.Exit as leave:  # after help or the version
        if sys.stdout is None:
            raise OutputError("is closed", "stdout") from None
        return leave.exit_code
    return outcome if isinstance(outcome, int) else 0


def _usage_line(error: Exception, arguments: list[str]) -> str:
    """Rewrite what the parser says of wrong usage as one line with the way out."""
    option = getattr(error, "option_name", "") or ""
    if type(error).__name__ == "NoSuchOption":
        return _no_such_option(option, arguments, error)
    if isinstance(error, typer.BadParameter) and error.param is not None:
        name = max(error.param.opts, key=len)
        if not error.message:  # an argument that was not given
            return f"{name.upper()} is missing; see {_path(error, arguments)} --help"
        return f"{name}: {error.message}"
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{' '.join(text.rstrip('.').split())}; see {_path(error, arguments)} --help"


def _no_such_option(option: str, arguments: list[str], error: Exception) -> str:
    if not option.startswith("--"):
        typed = next((word for word in arguments if word.startswith(option)), option)
        return f"there is no option {option}; to use {typed!r} as a query, put -- before it"
    context = getattr(error, "ctx", None)
    known = [name for p in context.command.params for name in p.opts] if context else []
    hint = did_you_mean(option, [name for name in known if name.startswith("--")], several=False)
    return f"there is no option {option}{hint or f'; see {_path(error, arguments)} --help'}"


def _path(error: Exception, arguments: list[str]) -> str:
    """Return the command whose help tells more; the parser does not always say."""
    known = getattr(getattr(error, "ctx", None), "command_path", None)
    return known or " ".join(["qkv", *(word for word in arguments[:1] if word in COMMANDS)])


def _check_encoding(arguments: list[str]) -> None:
    named = {f"argument {i}": word for i, word in enumerate(arguments, 1)}
    for name, word in {**named, "QKV_DATA": os.environ.get("QKV_DATA", "")}.items():
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{name} is not UTF-8; put such text in a file, and rename such a file"
            ) from None


def _os_line(error: OSError) -> str:
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EBADF):
        return f"stdout: not written: {error.strerror}"  # help, or the version
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _flush() -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"not written: {error.strerror}", "stdout") from None


def _fail(line: str, status: int) -> int:
    from qkvcli.render.console import note

    note(line)
    return status
