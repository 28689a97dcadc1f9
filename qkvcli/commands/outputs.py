"""From the options to where answers go, looked at before any work is done."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from qkvcli.commands.options import AUTO, TABLE
from qkvcli.errors import UsageError, did_you_mean
from qkvcli.render.console import is_terminal, warn
from qkvcli.render.writer import STDOUT, Target, open_target, target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from qkvcli.answer import About, Answer
    from qkvcli.render.arrays import Runs
    from qkvcli.run.resolve import Question

BINARY = ("npy", "npz", "png", "pdf")


def say_widths(about: About) -> None:
    """Print the width that was chosen in each head, of which column, by what rule and its error."""
    columns = about.columns
    kinds = ["mean squared error"] * bool(columns.numeric) + ["log-loss"] * bool(columns.text)
    for head, found in zip(about.heads, about.bandwidths, strict=False):
        if found.error is None and not (found.rule and found.chosen and len(columns.value)):
            continue
        where = f"head {'/'.join(map(str, head))}: " if head else ""
        by_name = len(columns.key) == len(found.widths) and columns.key not in (("key",), ("row",))
        names = [f" for {name}" if by_name else "" for name in columns.key]
        for at in columns.dates:
            names[at] = f" days{names[at]}"
        shares = dict(columns.categories)
        widths = ", ".join(
            f"{'λ = ' * (at in shares)}{h:.6g}{name}"
            for at, (h, name) in enumerate(zip(found.widths, names, strict=False))
        )
        rule = "the default width, " if found.chosen else ""
        if found.with_degree and about.degree:
            rule = "the default, local lines (--degree 1): "
        if found.error is None:
            more = "; --bandwidth cv seeks the widths that predict best"
            warn(f"{where}{rule}{found.rule}: {widths}{more}")
            continue
        error = f"leave-one-out {' and '.join(kinds)}" if found.rule == "cv" else "criterion"
        error = f"{error} {found.error:.6g}"
        if found.is_common:
            widths += ", one factor on scott's"
        edge = "; it is at the edge of what is tried: look at the fit" if found.at_edge else ""
        warn(f"{where}{rule}--bandwidth {found.rule} chose {widths} ({error}){edge}")


def say_measures(answer: Answer) -> None:
    """Print how well each value column is predicted, every row without itself."""
    for name, found in (answer.measures or {}).items():
        parts = (f"{word.replace('_', ' ')} {x:.6g}" for word, x in found.known.items())
        shown = ", ".join(parts).replace("r2", "R²") or "none has a neighbour"
        warn(f"{name}, every row without itself: {shown}")


def workers(count: int | None, scheduler: str | None) -> int | None:
    """Return how many workers there are, None for one for each processor.

    Raises
    ------
    UsageError
        Workers of this machine beside those of a cluster.
    """
    if count is not None and scheduler is not None:
        raise UsageError("--workers and --scheduler both say what runs the work; pass one of them")
    return count


@dataclass(frozen=True)
class Sink:
    """Where an answer and a matrix of weights are written, and how.

    Parameters
    ----------
    place
        Where the answer goes, or None where standard output is taken by the weights.
    form
        The answer's format; never ``auto``.
    weights, weights_form
        Where the matrix goes, and whether as ``npz`` or ``npy``.
    color
        When to use colour.
    on_terminal
        Whether the answer goes to a terminal.
    """

    place: Target | None
    form: str
    weights: Target | None = None
    weights_form: str = "npz"
    color: str = "auto"
    on_terminal: bool = False

    def write(self, render: Callable[[BinaryIO], None]) -> None:
        """Have an answer written to its place."""
        if self.place is not None:
            with open_target(self.place) as stream:
                render(stream)

    def draw(self, paint: Callable[[Target], None]) -> None:
        """Have a picture painted at its place."""
        if self.place is not None:
            paint(self.place)

    def write_weights(self, arrays: dict[str, Runs]) -> None:
        """Write the matrix of weights, and in an ``.npz`` its labels."""
        from qkvcli.render.arrays import write_npy, write_npz

        if self.weights is None:
            return
        with open_target(self.weights) as stream:
            if self.weights_form == "npy":
                write_npy(stream, arrays["weights"])
            else:
                write_npz(stream, arrays)


def planned(  # noqa: PLR0913 - what a sink is made of
    output: str,
    form: str,
    *,
    extensions: dict[str, str],
    weights: str | None = None,
    color: str = "auto",
    inputs: Sequence[str] = (),
) -> Sink:
    """Look at the outputs before any work.

    Parameters
    ----------
    output, weights
        Where the answer and the weights go.
    form
        The format asked for, which may be ``auto``.
    extensions
        The format that each extension of ``output`` stands for.
    color, inputs
        When to use colour, and the files that are read.

    Raises
    ------
    UsageError, OutputError
        An unknown extension, two outputs in one place, numbers in binary on a terminal, or a
        place that cannot be written.
    """
    place = None if weights == STDOUT == output else target(output, inputs=inputs)
    seen = is_terminal(sys.stdout)
    if form == AUTO and output == STDOUT:
        form = TABLE if seen else "tsv"
    elif form == AUTO:
        form = _by_ending(output, extensions)
    on_terminal = seen and place is not None and place.is_stdout
    if on_terminal and form in BINARY:
        _refuse_binary(f"--format {form}")
    if weights is None:
        return Sink(place, form, color=color, on_terminal=on_terminal)
    matrix = target(weights, inputs=inputs)
    if place and matrix.replace and matrix.real == place.real:
        raise UsageError(f"--weights and --output are both {weights}; name two files")
    if matrix.is_stdout and seen:
        _refuse_binary("--weights -")
    return Sink(place, form, matrix, _array_form(weights), color, on_terminal)


def matrix(question: Question, sink: Sink) -> dict[str, Runs] | None:
    """Return the matrix of weights, if it is to be written; over the cap it is refused at once."""
    if sink.weights is None:
        return None
    from qkvcli.run.matrix import labelled_weights

    return labelled_weights(question, sink.weights.name)


def _refuse_binary(option: str) -> NoReturn:
    raise UsageError(f"{option} is not text, and stdout is a terminal; redirect it, or name a file")


def _by_ending(output: str, extensions: dict[str, str]) -> str:
    extension = os.path.splitext(output.lower())[1]
    if extension in extensions:
        return extensions[extension]
    if not extension or _is_stream(output):
        return "tsv"
    hint = did_you_mean(extension, list(extensions))
    raise UsageError(f"--output {output}: the extension names no format{hint}; or pass --format")


def _is_stream(place: str) -> bool:
    """Return whether something other than a file is there to be written to, such as a FIFO."""
    return os.path.exists(place) and not os.path.isfile(place) and not os.path.isdir(place)


def _array_form(weights: str) -> str:
    if weights == STDOUT or _is_stream(weights):
        return "npz"
    extension = os.path.splitext(weights.lower())[1]
    if extension not in (".npz", ".npy"):
        raise UsageError(f"--weights {weights}: name a .npz (with labels) or .npy file, or -")
    return extension[1:]
