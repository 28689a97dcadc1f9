"""The command line itself: its help, its version, its completion, and how it ends."""

from __future__ import annotations

import subprocess

import pytest

from qkvcli import cli
from tests.support.command import QKV, run_qkv

COMMANDS = {name: cli._command(name) for name in cli.COMMANDS}


def test_alone_it_shows_its_help() -> None:
    run = run_qkv()
    assert (run.status, run.error) == (0, "")
    assert run.out == run_qkv("--help").out == run_qkv("-h").out
    for name in COMMANDS:
        assert f"\n  {name} " in run.text


def test_every_option_has_its_help() -> None:
    for name, command in COMMANDS.items():
        text = run_qkv(name, "--help").text
        assert text.split("\n\n")[1].strip() == cli.COMMANDS[name]
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name}"
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in text, f"{name}: {option}"


def test_completion() -> None:
    def complete(*words: str) -> list[str]:
        env = {
            "_QKV_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        run = run_qkv(env=env)
        assert (run.status, run.error) == (0, "")
        return run.text.split()

    assert complete("qkv", "lo") == ["lookup"]
    assert complete("qkv", "lookup", "--temp") == ["--temperature"]
    assert complete("qkv", "lokup", "--temp") == []
    for shell in ("bash", "zsh", "fish"):
        # The current shell is told by the names of the processes above; there may be none here.
        inside = f"exec -a {shell} bash -c '\"{QKV}\" --show-completion; exit $?'"
        shown = subprocess.run(["bash", "-c", inside], capture_output=True, text=True, check=True)
        assert "_QKV_COMPLETE" in shown.stdout
        assert f"complete_{shell}" in shown.stdout


def test_two_dashes_end_the_options() -> None:
    run = run_qkv("lookup", "--mode", "average", "--", "-Li", "-5")
    assert run.status == 0
    assert {line.split("\t")[0] for line in run.text.splitlines()[1:]} == {"-Li", "-5"}


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["lookup", "--help"]], ids=" ".join
)
def test_help_that_cannot_be_shown_is_an_error(arguments: list[str]) -> None:
    for redirect, line in ((">&-", "is closed"), (">/dev/full", "not written: No space left")):
        run = subprocess.run(
            ["sh", "-c", f'"$0" "$@" {redirect}', QKV, *arguments],
            capture_output=True,
            check=False,
            text=True,
        )
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr.startswith(f"qkv: stdout: {line}")
        assert run.stderr.count("\n") == 1
