"""The command line itself: its help, its version, its completion, and how it ends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from qkvcli import cli
from qkvcli.commands.help import GROUPS
from tests.support.command import QKV, SAMPLES, run_qkv

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
    assert complete("qkv", "lookup", "--mode", "s") == ["softmax"]
    assert complete("qkv", "pool", "--score", "ja") == ["jaro-winkler"]
    assert complete("qkv", "heatmap", "--scale", "p") == ["panel"]
    sine = str(SAMPLES / "sine.csv")
    assert complete("qkv", "pool", "--data", sine, "--key", "") == ["x", "y"]
    assert complete("qkv", "pool", "--data", sine, "--value", "y") == ["y"]
    assert complete("qkv", "pool", "--data", "nothing.csv", "--value", "y") == []
    for shell in ("bash", "zsh", "fish"):
        # The current shell is told by the names of the processes above; there may be none here.
        inside = f"exec -a {shell} bash -c '\"{QKV}\" --show-completion; exit $?'"
        shown = subprocess.run(["bash", "-c", inside], capture_output=True, text=True, check=True)
        assert "_QKV_COMPLETE" in shown.stdout
        assert f"complete_{shell}" in shown.stdout


def test_completion_of_another_shell_than_the_one_that_asks() -> None:
    run = run_qkv("--show-completion", "zsh")
    assert (run.status, run.out) == (2, b"")
    assert run.error == (
        "qkv: --show-completion is for the shell that calls it, without 'zsh'; "
        "call it from the shell that it is for\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_groups_and_examples_that_work(name: str, tmp_path: Path) -> None:
    run = run_qkv("help", name)
    assert (run.status, run.error) == (0, "")
    assert run.out == run_qkv(name, "--help").out
    for title, options in GROUPS[name].items():
        group = run.text.split(f"\n{title}:\n")[1].split("\n\n")[0]
        ours = [
            option for option in options if f"{option} " in run.text or f"{option}\n" in run.text
        ]
        assert ours
        assert all(option in group for option in ours)
    _, _, shown = run.text.partition("\nExamples:\n")
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert len(lines) == 3
    for line in lines if name != "capture" else []:  # test_capture.py runs those
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(QKV).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)


def test_help_and_version_in_short() -> None:
    assert run_qkv("help").out == run_qkv("--help").out
    assert run_qkv("-V").out == run_qkv("--version").out
    run = run_qkv("help", "lokup")
    assert (run.status, run.out) == (2, b"")
    assert "did you mean 'lookup'?" in run.error


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
