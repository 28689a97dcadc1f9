"""The picture in the terminal: colours, digits, widths, and who decides about colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.cells import cell_len

from qkvcli.heatmap import terminal
from qkvcli.heatmap.picture import compose, grid_of
from qkvcli.heatmap.request import Request
from qkvcli.heatmap.select import select
from tests.support.command import run_pty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.heatmap.support import Command, Save

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = {"NO_COLOR": "", "FORCE_COLOR": "", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}


def screen(width: int, height: int, *arguments: object, **env: str) -> str:
    """Return what the command shows in a terminal of a size."""
    shown = run_pty(
        "heatmap", *map(str, arguments), columns=width, rows=height,
        env={"NO_COLOR": None, "FORCE_COLOR": None, "TERM": "xterm-256color", **env}, timeout=30,
    )  # fmt: skip
    assert shown.status == 0
    return shown.text.replace("\r\n", "\n")


def test_digits_in_a_pipe(qkv: Command, save: Save) -> None:
    shown = qkv("heatmap", save(np.eye(3)), env=_PLAIN)
    assert shown.stdout.decode() == ("0  9 · ·\n1  · 9 ·\n2  · · 9\n   0 1 2\n0 ·123456789 1\n")
    assert shown.stderr == b""


def test_ascii_and_latin_1_streams(qkv: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("查\né\n\x1b[31m\n")
    for encoding in ("ascii", "latin-1", "cp1252"):
        shown = qkv(
            "heatmap", save(np.eye(3)), "--labels", "labels.txt", "--color", "always",
            env={**_PLAIN, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert shown.returncode == 0
        assert b"\\u67e5" in shown.stdout
        assert b"\x1b" not in shown.stdout
        assert b"9 . ." in shown.stdout


def test_true_colours_in_a_terminal(attention_file: Path, tokens_file: Path) -> None:
    shown = screen(
        80, 40, attention_file, "--layers", "0", "--heads", "2", "--labels", tokens_file,
        COLORTERM="truecolor",
    )  # fmt: skip
    assert "48;2;103;0;13" in shown  # the darkest red
    assert "animal" in shown
    picture = [line for line in shown.split("\n") if not line.startswith("qkv: note:")]
    assert max(cell_len(_ESCAPE.sub("", line)) for line in picture) <= 80


def test_half_blocks_where_the_window_is_low(attention_file: Path) -> None:
    shown = screen(80, 14, attention_file, "--layers", "0", "--heads", "2", COLORTERM="truecolor")
    assert "▀" in shown
    assert len(shown.rstrip("\n").split("\n")) < 14


def test_256_and_16_colours(save: Save) -> None:
    weights = save(np.eye(4))
    assert "48;5;" in screen(80, 24, weights, COLORTERM="")
    sixteen = screen(80, 24, weights, COLORTERM="", TERM="xterm")
    assert "\x1b[" not in sixteen
    assert "9 · · ·" in sixteen


@pytest.mark.parametrize("term", ["xterm", "dumb", ""])
def test_colour_that_is_insisted_on(qkv: Command, save: Save, term: str) -> None:
    plain = {**_PLAIN, "TERM": term, "COLORTERM": ""}
    always = qkv("heatmap", save(np.eye(3)), "--color", "always", env=plain)
    forced = qkv("heatmap", save(np.eye(3)), env={**plain, "FORCE_COLOR": "1"})
    assert b";48;5;52m" in always.stdout  # the darkest red
    assert forced.stdout == always.stdout
    assert b"\x1b" not in qkv("heatmap", save(np.eye(3)), env=plain).stdout


def painted(width: int, height: int, colours: str, request: Request) -> list[str]:
    """Return the lines of a picture in a window, without escape sequences."""
    chosen = select(request)
    grid = grid_of(chosen, request)
    seen = terminal.Window(width, height, colours, "utf-8")
    fit = terminal.fit(grid, seen, titled=bool(request.title), signed=chosen.signed)
    picture = compose(chosen, grid, request, (fit.rows, fit.columns))
    text = terminal.paint(picture, seen, fit)
    return _ESCAPE.sub("", text).rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("colours", ["truecolor", "256", "none"])
def test_fitted_to_the_window(
    attention_file: Path, tokens_file: Path, width: int, colours: str
) -> None:
    file, tokens = str(attention_file), str(tokens_file)
    for request in (
        Request(file),
        Request(file, labels=tokens, title="A title of some length, and then some more of it"),
        Request(file, labels=tokens, reduce="mean", over="all", merge_subwords=True),
        Request(file, reduce="mean", diff=file),
    ):
        assert max(map(cell_len, painted(width, 24, colours, request))) <= width
    one = painted(width, 24, colours, Request(file, layers="0", heads="0"))
    assert len(one) <= 24
    assert re.search(r" 0\b.* 10\b", "\n".join(one))  # numbers are thinned, never cut


def test_a_large_matrix_is_shrunk_to_the_window(save: Save) -> None:
    shown = screen(60, 20, save(np.full((500, 500), 1 / 500)), "--color", "never")
    assert "a cell is the max of" in shown
    assert len(shown.rstrip("\n").split("\n")) <= 20


def test_a_panel_is_never_scrolled_away(
    save: Save, attention_file: Path, tokens_file: Path
) -> None:
    labels = ("--labels", tokens_file)
    for arguments in (
        (attention_file, *labels, "--layers", "3", "--heads", "1", "--title", "A title"),
        (save(np.full((133, 133), 1 / 133)),),
        (save(np.full((500, 20), 1 / 20)),),
    ):
        for width, height in ((80, 24), (40, 12), (200, 50)):
            shown = screen(width, height, *arguments)
            picture = [line for line in shown.split("\n") if not line.startswith("qkv: note:")]
            assert len(picture) <= height, (arguments, width, height)  # with the next prompt


def test_labels_stand_once(attention_file: Path, tokens_file: Path) -> None:
    request = Request(str(attention_file), labels=str(tokens_file), layers="3")
    lines = painted(80, 24, "truecolor", request)
    assert sum("[CLS]" in line for line in lines) == 4  # left of each of four rows of panels
    assert all(line.count("[CLS]") <= 1 for line in lines)
    assert sum(line.split() == ["0", "5", "10", "15"] * 3 for line in lines) == 1
    assert "10 it" in "\n".join(lines)  # what 10 stands for


def test_labels_of_keys_lie_where_they_fit_and_are_told_where_not(
    qkv: Command, save: Save, tmp_path: Path
) -> None:
    (tmp_path / "q.txt").write_text("a\nb\n")
    (tmp_path / "short.txt").write_text("cat\nox\nmouse\n")
    (tmp_path / "long.txt").write_text("Massachusetts\nOhio\nNew Hampshire\n")
    arguments = ("heatmap", save(np.eye(3)[:2]), "--query-labels", "q.txt", "--key-labels")
    lying = qkv(*arguments, "short.txt", env=_PLAIN).stdout.decode().split("\n")
    assert lying[:3] == ["a      9     ·     ·", "b      ·     9     ·", "     cat    ox mouse"]
    told = qkv(*arguments, "long.txt", env=_PLAIN).stdout.decode().split("\n")
    assert told[1:4] == ["b  · 9 ·", "   0 1 2", "0 Massachusetts  1 Ohio  2 New Hampshire"]


def test_labels_cannot_reach_the_terminal(qkv: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\x1b]8;;evil\x07\n[/]\n[red]\n:smile:\n")
    shown = qkv(
        "heatmap", save(np.eye(4)), "--labels", "labels.txt", "--color", "always",
        env={**_PLAIN, "COLORTERM": "truecolor"},
    )  # fmt: skip
    text = _ESCAPE.sub("", shown.stdout.decode())
    assert "\x1b" not in text
    assert "\\x1b]8;;evil\\x07" in text
    assert "[red]" in text
    assert ":smile:" in text


def test_wide_labels_keep_their_columns(qkv: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("注意\na\ne\u0301x\n")
    shown = qkv("heatmap", save(np.eye(3)), "--labels", "labels.txt", env=_PLAIN)
    rows = shown.stdout.decode().split("\n")[:3]
    assert len({cell_len(row) for row in rows}) == 1


def test_difference_in_digits(qkv: Command, save: Save) -> None:
    one, other = save([[0.9, 0.1]], "a.npy"), save([[0.5, 0.5]], "b.npy")
    shown = qkv("heatmap", one, "--diff", other, env=_PLAIN).stdout.decode()
    assert "0  +9 -9" in shown
    assert shown.startswith("a.npy − b.npy\n")


def test_who_decides_about_colour(qkv: Command, save: Save) -> None:
    weights = save(np.eye(2))
    for option, said, wanted in (
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "0"}, False),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ):
        env = {**_PLAIN, "COLORTERM": "truecolor", **said}
        shown = qkv("heatmap", weights, "--color", option, env=env)
        assert (b"\x1b[" in shown.stdout) is wanted
