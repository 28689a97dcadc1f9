"""The request: what is to be drawn and how, as the command line says it."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass

from qkvcli.errors import OutputError, UsageError, did_you_mean
from qkvcli.heatmap import PICTURES

NUMBERS = ("npy", "npz", "csv")
TERMINAL, HTML = "terminal", "html"
FORMS = (*PICTURES, HTML, TERMINAL, *NUMBERS)
"""What a heatmap can be written as; ``NUMBERS`` hold the weights themselves."""
LONGEST_SIDE = 200.0
"""How long a page may be, in inches; longer ones are not opened by readers of PDF."""

# The options of some outputs alone, by the names that a request has for them.
_OF_PAGES = {
    "width": "--size",
    "font": "--font",
    "font_size": "--font-size",
    "xlabel": "--xlabel",
    "ylabel": "--ylabel",
    "bar_label": "--colorbar-label",
    "bar": "--no-colorbar",
    "annotate": "--annotate",
}
_OF_HTML = {"bits": "--bits", "max_size": "--max-size"}
_NOT_OF_HTML = {"shrink": "--shrink", "vmin": "--vmin", "vmax": "--vmax", "titles": "--titles"}
_UNITS = {"": 72.0, "in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 1.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:x([0-9]+(?:\.[0-9]+)?))?(in|cm|mm|pt|)")
_FONT = re.compile(r"[^\W_][\w .,+-]*")


@dataclass(frozen=True)
class Request:
    """All that the command line says; see ``qkv heatmap --help``.

    Parameters
    ----------
    weights, diff
        The files of weights, and of those to subtract from them.
    name, delimiter, encoding
        Which of a file's arrays is read, and how its text is written.
    labels, query_labels, key_labels
        Files of labels.
    batch, layers, heads, queries, keys
        Which weights are drawn; each text is a list such as ``0,3-5``, and None is all.
    panel_scales
        Whether each panel has a colour scale of its own.
    width, height
        Of the page in points; None for what suits the picture.
    font, font_size
        The family and the size in points of all text but the title, None for the painter's own.
    bar_label, bar
        What stands along the colour bar, and whether there is one.
    bits, max_size
        How an HTML file holds a weight, and how large it may be, in MB.
    output, form
        A file, ``-`` for standard output or None; and one of ``FORMS``, or None for what the
        output's name says.
    color
        ``"auto"``, ``"always"`` or ``"never"``, for the terminal.
    """

    weights: str
    diff: str | None = None
    name: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    labels: str | None = None
    query_labels: str | None = None
    key_labels: str | None = None
    batch: int | None = None
    layers: str | None = None
    heads: str | None = None
    queries: str | None = None
    keys: str | None = None
    reduce: str | None = None
    over: str = "heads"
    rollout: bool = False
    merge_subwords: bool = False
    drop: tuple[str, ...] = ()
    shrink: str = "max"
    panel_scales: bool = False
    vmin: float | None = None
    vmax: float | None = None
    log: bool = False
    cmap: str | None = None
    title: str = ""
    titles: tuple[str, ...] | None = None
    width: float | None = None
    height: float | None = None
    font: str | None = None
    font_size: float | None = None
    xlabel: str = "Keys"
    ylabel: str = "Queries"
    bar_label: str = ""
    bar: bool = True
    annotate: bool = False
    dpi: int = 200
    bits: int = 8
    max_size: float = 50.0
    output: str | None = None
    form: str | None = None
    color: str = "auto"

    def inputs(self) -> tuple[str, ...]:
        """Return the files that are read."""
        files = (self.weights, self.diff, self.labels, self.query_labels, self.key_labels)
        return tuple(file for file in files if file is not None)


def form_of(request: Request) -> str:
    """Return what is written: the form asked for, or what the output's name says.

    Raises
    ------
    UsageError, OutputError
        Options that exclude each other, or a name that says nothing.
    """
    if request.inputs().count("-") > 1:
        raise UsageError("only one input can be read from stdin")
    if request.rollout and request.reduce is not None:
        raise UsageError("--rollout is the mean over heads already; leave --reduce out")
    if request.diff is not None and request.log:
        raise UsageError("--log has no place for differences below 0; leave it or --diff out")
    form = request.form or _form_by_name(request.output)
    if form not in PICTURES:
        _refuse(request, _OF_PAGES, "SVG, PNG and PDF; name one with -o, or --format")
    if form == HTML:
        _refuse(request, _NOT_OF_HTML, "pictures; leave it out for HTML")
    else:
        _refuse(request, _OF_HTML, "HTML; name such a file with -o, or --format html")
    if not request.dpi:
        raise UsageError("--dpi 0 leaves no pixels")
    return form


def _refuse(request: Request, options: dict[str, str], which: str) -> None:
    """Refuse what was given of some options that are for other outputs."""
    for name, option in options.items():
        if getattr(request, name) != getattr(Request, name):
            raise UsageError(f"{option} is for {which}")


def _form_by_name(output: str | None) -> str:
    if output is None:
        return TERMINAL
    if output == "-":
        raise UsageError(f"-o - needs --format {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    extension = os.path.splitext(output.lower())[1]
    named = [f".{form}" for form in (*PICTURES, HTML, *NUMBERS)]
    if extension not in named:
        what = f"the extension {extension} names no picture" if extension else "no extension"
        hint = did_you_mean(extension, named) if extension else ""
        raise OutputError(f"{what}{hint}; or pass --format", output)
    return extension[1:]


def words(text: str, option: str) -> tuple[str, ...]:
    """Return the parts of ``a,b,"c,d"``; a comma inside double quotes separates nothing.

    Raises
    ------
    UsageError
        Quotes that do not close.
    """
    try:
        return tuple(next(csv.reader([text], strict=True), [""]))
    except csv.Error:
        raise UsageError(f'{option}: a quote is not closed; write "" for one') from None


def page_size(text: str) -> tuple[float, float | None]:
    """Return the width and height in points that ``6x4`` (inches), ``8.4cm`` and the like name.

    Raises
    ------
    UsageError
        Not a size, or one that no page has.

    Examples
    --------
    >>> page_size("3.5"), page_size("6x4")
    ((252.0, None), (432.0, 288.0))
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--size {text!r} is not a size such as 3.3 or 6x4 (inches) or 15x10cm")
    sides = [float(side) * _UNITS[match[3]] for side in match.groups()[:2] if side is not None]
    if not 0 < min(sides) <= max(sides) <= LONGEST_SIDE * 72:
        raise UsageError(f"--size {text}: a side is over 0 and at most {LONGEST_SIDE:g} inches")
    return sides[0], sides[1] if len(sides) > 1 else None


def check_font(text: str) -> None:
    """Refuse what is no name of a font, nor several with commas between them.

    Raises
    ------
    UsageError
        Signs that no name of a font has, and that might mean more than a name where it is written.
    """
    if not _FONT.fullmatch(text):
        raise UsageError(f"--font {text!r} is not the name of a font, such as Helvetica")
