"""How wide text is, near enough for labels never to overlap, in any font a viewer may choose."""

from __future__ import annotations

from unicodedata import category, east_asian_width, normalize

from qkvcli.render.escape import visible

# The advance widths of DejaVu Sans, U+0020 to U+007E, in thousandths of the size: the widest
# of the fonts that stand for sans-serif.
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698,
    770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732,
    684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635,
    634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,
    525, 636, 337, 636, 838,
)  # fmt: skip
_OTHER, _WIDE = 1100, 1150  # the widest letters of other alphabets, and ideographs


def text_width(text: str, size: float) -> float:
    """Return how wide a line of text is, in the unit of its size."""
    return sum(map(_advance, text)) * size / 1000


def _advance(sign: str) -> int:
    code = ord(sign)
    if 0x20 <= code < 0x7F:  # noqa: PLR2004
        return _WIDTHS[code - 0x20]
    base = normalize("NFD", sign)[0]
    if base != sign:  # an accented letter is as wide as its own
        return _advance(base)
    if category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return _WIDE if east_asian_width(sign) in "WF" else _OTHER


def fitted(text: str, size: float, width: float) -> str:
    """Return a text that can be shown, shortened with an ellipsis to a width."""
    # A label of a mebibyte needs no more than its beginning looked at.
    text = visible(text[:1000])
    if text_width(text, size) <= width:
        return text
    room = width - _OTHER * size / 1000
    for end, sign in enumerate(text):
        room -= _advance(sign) * size / 1000
        if room < 0:
            return text[:end].rstrip() + "…"
    return text
