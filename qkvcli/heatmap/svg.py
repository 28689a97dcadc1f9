"""The SVG painter: text of our own, the same bytes for the same layout."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from qkvcli.heatmap.chart import Chart, Mark
    from qkvcli.heatmap.layout import Box, Layout, Line, Text
    from qkvcli.heatmap.picture import Panel, Picture

_FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_GENERIC = ("serif", "sans-serif", "monospace", "cursive", "fantasy")  # the others are quoted
_PIXEL = 0.75  # of a screen, in points
_LARGE = 1 << 20
_XML = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"}


def svg(layout: Layout) -> Iterator[bytes]:
    """Yield a layout as the pieces of an SVG 1.1 document in UTF-8.

    Every cell of a vector panel is a ``<rect>`` with a ``<title>`` of its query, key and weight;
    every other panel is one lossless image. All texts come without control characters.
    """
    picture = layout.picture
    title = picture.title or "Attention weights"
    yield _head(layout.width, layout.height, layout.font, title, picture.description())
    if layout.vector:
        yield from _cells(layout)
    else:
        for box, panel, name in zip(layout.boxes, picture.panels, picture.grid.names, strict=True):
            yield _image(box, panel, name, picture)
    boxes = "".join(f"<rect {_place(box)}/>\n" for box in layout.boxes)
    yield f'<g fill="none" stroke="#000000" stroke-width="0.6">\n{boxes}'.encode()
    yield _ticks(layout.lines).encode()
    if layout.bar is not None:
        yield _bar(layout.bar, picture).encode()
    yield from (_text(text).encode() for text in layout.texts)
    yield b"</svg>\n"


def chart_svg(page: Chart) -> Iterator[bytes]:
    """Yield charts as the pieces of an SVG 1.1 document in UTF-8."""
    yield _head(page.width, page.height, None, page.title, page.description)
    yield from (_mark(mark).encode() for mark in page.marks)
    yield f'<g fill="none" stroke="#000000" stroke-width="0.6">\n{_ticks(page.lines)}'.encode()
    yield from (_text(text).encode() for text in page.texts)
    yield b"</svg>\n"


def _mark(mark: Mark) -> str:
    from qkvcli.heatmap.chart import Area, Dots

    places = [f"{x:.6g} {y:.6g}" for x, y in mark.points.tolist()]
    if isinstance(mark, Dots):  # lines of no length with round ends
        path = "".join(f"M{place}h0" for place in places)
        look = f'stroke-width="{2 * mark.radius:g}" stroke-opacity="{mark.opacity:g}"'
        look += f' stroke-linecap="round" stroke="{mark.colour}" fill="none"'
    elif isinstance(mark, Area):
        path = f"M{'L'.join(places)}Z" if places else ""
        look = f'fill="{mark.colour}" fill-opacity="{mark.opacity:g}"'
    else:
        path = f"M{'L'.join(places)}"
        look = f'fill="none" stroke="{mark.colour}" stroke-width="{mark.width:g}"'
        look += ' stroke-linejoin="round"'
    return f'<path d="{path}" {look}/>\n'


def _head(width: float, height: float, font: str | None, title: str, description: str) -> bytes:
    """Return the beginning of a document: its size, its fonts, its words, a white ground."""
    across, down = f"{width:.6g}", f"{height:.6g}"
    named = [name.strip() for name in (font or "").split(",") if name.strip()]
    fonts = ", ".join([*(n if n in _GENERIC else f"'{n}'" for n in named), _FONTS])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{across}pt" height="{down}pt" viewBox="0 0 {across} {down}" role="img" '
        f'aria-labelledby="qkv-title" aria-describedby="qkv-desc" font-family="{fonts}">\n'
        f'<title id="qkv-title">{title.translate(_XML)}</title>\n'
        f'<desc id="qkv-desc">{description.translate(_XML)}</desc>\n'
        f'<rect width="{across}" height="{down}" fill="#ffffff"/>\n'
    ).encode()


def _cells(layout: Layout) -> Iterator[bytes]:
    """Yield vector panels, a unit square a cell; what cells share is put together once."""
    picture = layout.picture
    rows, columns = picture.shape
    queries, keys = (picture.names(a) for a in (picture.grid.queries, picture.grid.keys))
    queries = [f"query {name.translate(_XML)}, " for name in queries]
    keys = [f"key {name.translate(_XML)}: " for name in keys]
    at = [f'<rect x="{column}" y="' for column in range(columns)]
    for box, panel, name in zip(layout.boxes, picture.panels, picture.grid.names, strict=True):
        fills = map(bytes, picture.palette.shown(missing=panel.missing > 0))
        ends = [f'" width="1" height="1" fill="#{fill.hex()}"><title>' for fill in fills]
        scale = f"scale({box.width / columns:.5g} {box.height / rows:.5g})"
        move = f"translate({box.x:.6g} {box.y:.6g})"
        parts = [f'<g transform="{move} {scale}" shape-rendering="crispEdges">\n']
        values, levels = panel.values.tolist(), panel.levels.tolist()
        for row, (line, shades) in enumerate(zip(values, levels, strict=True)):
            start = f"{name}, {queries[row]}" if name else queries[row]
            parts += [
                f"{x}{row}{ends[shade]}{start}{key}{value:.6g}</title></rect>\n"
                for x, shade, key, value in zip(at, shades, keys, line, strict=True)
            ]
        parts.append("</g>\n")
        yield "".join(parts).encode()


def _image(box: Box, panel: Panel, name: str, picture: Picture) -> bytes:
    # Where a pixel of the screen shows several cells, they should be blended, not skipped.
    wide = box.width / panel.levels.shape[1] >= _PIXEL and box.height >= len(panel.levels) * _PIXEL
    rendering = ' style="image-rendering:pixelated"' if wide else ""
    head = (
        f"<g><title>{name or 'Weights'}</title><image {_place(box)}{rendering} "
        'preserveAspectRatio="none" xlink:href="data:image/png;base64,'
    )
    colours = picture.palette.shown(missing=panel.missing > 0)
    return head.encode() + b64encode(indexed_png(panel.levels, colours)) + b'"/></g>\n'


def indexed_png(levels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Return a PNG (ISO/IEC 15948) of a byte a cell and a palette.

    Parameters
    ----------
    levels
        Shape (rows, columns).
    colours
        Shape (256, 3); colours past the highest level are left out.
    """
    rows, columns = levels.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each line begins with its filter, none
    lines[:, 1:] = levels
    effort = 6 if levels.size < _LARGE else 3  # five times slower for a twentieth of the size
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", colours[: int(levels.max()) + 1].tobytes()),
        (b"IDAT", zlib.compress(lines.data, effort)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _place(box: Box) -> str:
    return f'x="{box.x:.6g}" y="{box.y:.6g}" width="{box.width:.6g}" height="{box.height:.6g}"'


def _ticks(lines: Sequence[Line]) -> str:
    """Return ticks, which lie or stand, as one path; it ends the group of frames."""
    strokes = (
        f"M{x1:.6g} {y1:.6g}" + (f"H{x2:.6g}" if y1 == y2 else f"V{y2:.6g}")
        for x1, y1, x2, y2 in lines
    )
    return f'<path d="{"".join(strokes)}"/>\n</g>\n'


def _bar(bar: Box, picture: Picture) -> str:
    """Return the colour bar: a gradient between the stops of the map, the lowest at its foot."""
    stops = list(map(bytes, picture.palette.stops))
    steps = "".join(
        f'<stop offset="{index / (len(stops) - 1):.5g}" stop-color="#{stop.hex()}"/>'
        for index, stop in enumerate(stops)
    )
    return (
        f'<linearGradient id="qkv-bar" x1="0" y1="1" x2="0" y2="0">{steps}</linearGradient>\n'
        f'<rect {_place(bar)} fill="url(#qkv-bar)" stroke="#000000" stroke-width="0.6">'
        "<title>The colour scale</title></rect>\n"
    )


def _text(text: Text) -> str:
    x, y = f"{text.x:.6g}", f"{text.y:.6g}"
    turn = f' transform="rotate(-90 {x} {y})"' if text.turned else ""
    fill = f' fill="{text.colour}"' if text.colour != "#000000" else ""
    full = text.full if text.full != text.text else ""
    title = f"<title>{full.translate(_XML)}</title>" if full else ""
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{text.size:.6g}"{anchor}{fill}{turn}>'
        f"{title}{text.text.translate(_XML)}</text>\n"
    )
