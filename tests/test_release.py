"""What is released beside the code: man pages, completions and recipes, and that all is current."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

import qkvcli
from qkvcli import cli
from tests.support.command import QKV, SAMPLES, environment, run_pty

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "packaging"
COMPLETIONS = PACKAGING / "completions"
SINE = SAMPLES / "sine.csv"
OFFERED = {
    "qkv lookup --mode s": {"softmax"},
    "qkv pool --score ja": {"jaro-winkler"},
    f"qkv pool --data {SINE} --key ": {"x", "y"},
}
"""Lines that are typed, and what every shell offers for their last word."""
pytestmark = pytest.mark.skipif(not PACKAGING.is_dir(), reason="packaging/ is not at hand")


def _page(name: str) -> str:
    """Return what a man page shows in plain text."""
    text = (PACKAGING / "man" / f"{name}.1").read_text()
    for code, sign in {r"\-": "-", r"\e": "\\", r"\&": "", r"\(ha": "^", r"\(ga": "`"}.items():
        text = text.replace(code, sign)
    return re.sub(r"\\f[BIR]", "", text)


def test_pages_and_completions_are_those_of_the_commands(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGING / "pages.py", tmp_path], check=True)
    for folder in ("man", "completions", "badges"):
        now = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
        then = {path.name: path.read_text() for path in (PACKAGING / folder).iterdir()}
        assert now == then, "make pages"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_man_page_names_every_option(name: str) -> None:
    program = typer.main.get_command(cli.app)
    with program.make_context("qkv", [], resilient_parsing=True) as context:
        assert isinstance(program, typer.core.TyperGroup)
        _, command, _ = program.resolve_command(context, [name])
    assert command is not None
    page = _page(f"qkv-{name}")
    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    assert len(options) > 10
    for option in options:
        assert re.search(rf"^(?:.*[ ,/])?{option}\b", page, re.MULTILINE), option
    assert f"{name}(1)" in _page("qkv")


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_man_pages_are_well_formed() -> None:
    for path in (PACKAGING / "man").iterdir():
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "style", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "")


def _in_shell(shell: str, script: str) -> str:
    path = f"{Path(QKV).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [shell, "-c", script],
        env=environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes() -> None:
    asked = f"source {COMPLETIONS / 'qkv.bash'}\ncomplete -p qkv\n"
    for line in OFFERED:
        words = " ".join(f'"{word}"' for word in line.split(" "))
        asked += f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        asked += '_qkv_completion qkv; echo "${COMPREPLY[@]}"\n'
    registered, *offered = _in_shell("bash", asked).splitlines()
    assert registered == "complete -o default -F _qkv_completion qkv"
    assert [set(line.split()) for line in offered] == list(OFFERED.values())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes() -> None:
    for line, words in OFFERED.items():
        asked = f"source {COMPLETIONS / 'qkv.fish'}; complete -C '{line}'"
        assert set(_in_shell("fish", asked).split()) == words
    files = _in_shell(
        "fish", f"source {COMPLETIONS / 'qkv.fish'}; complete -C 'qkv heatmap {SINE}'"
    )
    assert str(SINE) in files


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_at_the_first_tab(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text(
        f"fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D\n"
    )
    env: Mapping[str, str] = {
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "PATH": f"{Path(QKV).parent}:/usr/bin:/bin",
    }
    # What TAB made of the line is run, and says so.
    keys = [(3.0, b"qkv lookup Li --mode s\t"), (3.0, b"--format val\t\n"), (3.0, b"exit\n")]
    shown = run_pty("-i", program=shutil.which("zsh") or "", keys=keys, env=env, cwd=tmp_path)
    assert "--mode softmax" in shown.text
    assert "--format value" in shown.text
    assert re.search(r"^Mu\r?$", shown.text, re.MULTILINE)


def test_one_version_everywhere() -> None:
    version = qkvcli.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.search(
        rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE
    )
    assert released
    for path in (PACKAGING / "man").iterdir():
        title = path.read_text().splitlines()[0]
        assert f'"qkv {version}"' in title
        assert f'"{released[1]}"' in title
    if (PACKAGING / "conda").is_dir():  # not in the sdist, whose hash they hold
        assert f'version: "{version}"' in (PACKAGING / "conda" / "recipe.yaml").read_text()
        assert f"qkvcli-{version}.tar.gz" in (PACKAGING / "homebrew" / "qkv.rb").read_text()


@pytest.mark.skipif(not (PACKAGING / "conda").is_dir(), reason="recipes are not in the sdist")
def test_recipes_ask_for_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = dict(map(_split, project["dependencies"]))
    recipe = (PACKAGING / "conda" / "recipe.yaml").read_text()
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    theirs = dict(line.strip(" -").split(" ", 1) for line in run.splitlines())
    assert theirs.pop("python") == ">=${{ python_min }}"
    assert f'python_min: "{project["requires-python"].removeprefix(">=")}"' in recipe
    theirs["matplotlib"] = theirs.pop("matplotlib-base")
    assert theirs == ours
    formula = (PACKAGING / "homebrew" / "qkv.rb").read_text()
    beside = re.findall(r'(?:resource|depends_on) "(?:python-)?([\w-]+)"', formula)
    assert set(ours) <= set(beside)


def _split(requirement: str) -> tuple[str, str]:
    name = re.split(r"[<>=]", requirement)[0]
    return name, requirement.removeprefix(name)
