"""The request: what is to be drawn and how, as the command line says it."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qkvcli.errors import OutputError, UsageError, did_you_mean
from qkvcli.heatmap import PICTURES

if TYPE_CHECKING:
    from qkvcli.sources.matrices import ReadOptions

NUMBERS = ("npy", "npz", "csv")
TERMINAL, HTML = "terminal", "html"
FORMS = (*PICTURES, HTML, TERMINAL, *NUMBERS)
"""What a heatmap can be written as; ``NUMBERS`` hold the weights themselves."""
LONGEST_SIDE = 200.0
"""How long a page may be, in inches; longer ones are not opened by readers of PDF."""

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
_UNITS = {"": 72.0, "in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 1.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:x([0-9]+(?:\.[0-9]+)?))?(in|cm|mm|pt|)")
_FONT = re.compile(r"[^\W_][\w .,+-]*")


@dataclass(frozen=True)
class Choice:
    """Which weights are drawn; each text is a list such as ``0,3-5``, and None is all."""

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


@dataclass(frozen=True)
class ScaleOptions:
    """What is asked of the colour scale: one a panel, its ends, and whether it is logarithmic."""

    panel: bool = False
    vmin: float | None = None
    vmax: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Style:
    """How the page looks.

    Parameters
    ----------
    width, height
        Of the page in points; None for what suits the picture.
    font, font_size
        The family and the size in points of all text but the title, None for the painter's own.
    xlabel, ylabel, bar_label
        What stands along the axes and the colour bar.
    bar
        Whether there is a colour bar.
    annotate
        Whether numbers are written into the cells.
    dpi
        The pixels an inch of a PNG.
    """

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


@dataclass(frozen=True)
class PageOptions:
    """How an HTML file holds weights: in 8 or 16 bits each, and how large it may be, in MB."""

    bits: int = 8
    max_size: float = 50.0


@dataclass(frozen=True)
class Request:
    """All that the command line says; see ``qkv heatmap --help``.

    Parameters
    ----------
    weights, diff
        The files of weights, and of those to subtract from them.
    read
        How files of weights are read; None for the usual way.
    labels, query_labels, key_labels
        Files of labels.
    output, form
        A file, ``-`` for standard output or None; and one of ``FORMS``, or None for what the
        output's name says.
    color
        ``"auto"``, ``"always"`` or ``"never"``, for the terminal.
    """

    weights: str
    diff: str | None = None
    read: ReadOptions | None = None
    labels: str | None = None
    query_labels: str | None = None
    key_labels: str | None = None
    choice: Choice = field(default_factory=Choice)
    shrink: str = "max"
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    cmap: str | None = None
    title: str = ""
    titles: tuple[str, ...] | None = None
    style: Style = field(default_factory=Style)
    page: PageOptions = field(default_factory=PageOptions)
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
    if sum(file == "-" for file in request.inputs()) > 1:
        raise UsageError("only one input can be read from stdin")
    if request.choice.rollout and request.choice.reduce is not None:
        raise UsageError("--rollout is the mean over heads already; leave --reduce out")
    if request.diff is not None and request.scale.log:
        raise UsageError("--log has no place for differences below 0; leave it or --diff out")
    form, style = request.form or _form_by_name(request.output), request.style
    if form not in PICTURES:
        usual = Style()
        for name, option in _OF_PAGES.items():
            if getattr(style, name) != getattr(usual, name):
                raise UsageError(f"{option} is for SVG, PNG and PDF; name one with -o, or --format")
    if form == HTML:
        _check_page(request)
    elif request.page != PageOptions():
        option = "--bits" if request.page.bits != PageOptions.bits else "--max-size"
        raise UsageError(f"{option} is for HTML; name such a file with -o, or --format html")
    if not style.dpi:
        raise UsageError("--dpi 0 leaves no pixels")
    return form


def _check_page(request: Request) -> None:
    """Refuse what an HTML file cannot be asked for: there it is chosen in the page.

    Raises
    ------
    UsageError
        With the option.
    """
    given = {
        "--shrink": request.shrink != "max",
        "--vmin": request.scale.vmin is not None,
        "--vmax": request.scale.vmax is not None,
        "--titles": request.titles is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is for pictures; leave it out for HTML")
    if request.page.max_size <= 0:
        raise UsageError("--max-size 0 leaves no room for weights")


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


def words(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return the parts of ``a,b,"c,d"``; a comma inside double quotes separates nothing.

    Raises
    ------
    UsageError
        Quotes that do not close.
    """
    if text is None:
        return None
    try:
        return tuple(next(csv.reader([text], strict=True), [""]))
    except csv.Error:
        raise UsageError(f'{option}: a quote is not closed; write "" for one') from None


def page_size(text: str | None) -> tuple[float | None, float | None]:
    """Return the width and height in points that ``6x4`` (inches), ``8.4cm`` or None name.

    Raises
    ------
    UsageError
        Not a size, or one that no page has.

    Examples
    --------
    >>> page_size("3.5"), page_size("6x4"), page_size(None)
    ((252.0, None), (432.0, 288.0), (None, None))
    """
    if text is None:
        return None, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--size {text!r} is not a size such as 3.3 or 6x4 (inches) or 15x10cm")
    sides = [float(side) * _UNITS[match[3]] for side in match.groups()[:2] if side is not None]
    if not 0 < min(sides) <= max(sides) <= LONGEST_SIDE * 72:
        raise UsageError(f"--size {text}: a side is over 0 and at most {LONGEST_SIDE:g} inches")
    return sides[0], sides[1] if len(sides) > 1 else None


def font_family(text: str | None) -> str | None:
    """Return the name of a font, or several with commas between them.

    Raises
    ------
    UsageError
        Signs that no name of a font has, and that might mean more than a name where it is written.
    """
    if text is not None and not _FONT.fullmatch(text):
        raise UsageError(f"--font {text!r} is not the name of a font, such as Helvetica")
    return text
