"""The SVG painter: text of our own, the same bytes for the same layout."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np

from qkvcli.heatmap.colours import MISSING, hex_of
from qkvcli.heatmap.png import indexed_png
from qkvcli.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkvcli.heatmap.layout import Box, Layout, Line, Text
    from qkvcli.heatmap.picture import Panel, Picture

_FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_PIXEL = 0.75  # of a screen, in points


def svg(layout: Layout) -> Iterator[bytes]:
    """Yield a layout as the pieces of an SVG 1.1 document in UTF-8.

    Every cell of a vector panel is a ``<rect>`` with a ``<title>`` of its query, key and weight;
    every other panel is one lossless image.
    """
    picture, plan = layout.picture, layout.plan
    width, height = _short(plan.width), _short(plan.height)
    yield (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="qkv-title" aria-describedby="qkv-desc" font-family="{_FONTS}">\n'
        f'<title id="qkv-title">{escaped(picture.title or "Attention weights")}</title>\n'
        f'<desc id="qkv-desc">{escaped(picture.description())}</desc>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
    ).encode()
    cells = _Cells(picture)
    for index, (box, panel) in enumerate(layout.placed):
        name = picture.grid.names[index]
        yield cells.vector(box, panel, name) if layout.vector else _image(box, panel, name, picture)
    yield from _frames(layout)
    yield _bar(plan.bar, picture).encode()
    yield from (_text(text).encode() for text in layout.texts)
    yield b"</svg>\n"


def escaped(text: str) -> str:
    """Return text as XML character data, with what XML forbids and what is not seen spelled out.

    Examples
    --------
    >>> escaped("<a&b>")
    '&lt;a&amp;b&gt;'
    """
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;")


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


class _Cells:
    """Writes vector panels; what their cells share is put together once."""

    def __init__(self, picture: Picture) -> None:
        grid = picture.grid
        rows, columns = grid.shape
        self._fills = picture.palette.hexes()
        self._queries = [f"query {escaped(grid.query(row))}, " for row in range(rows)]
        self._keys = [f"key {escaped(grid.key(column))}: " for column in range(columns)]

    def vector(self, box: Box, panel: Panel, name: str) -> bytes:
        """Return one panel, a unit square a cell."""
        rows, columns = panel.levels.shape
        scale = f"scale({box.width / columns:.5g} {box.height / rows:.5g})"
        fills = self._fills
        if panel.missing:
            fills = [hex_of(MISSING), *fills[1:]]
        prefix = f"{escaped(name)}, " if name else ""
        move = f"translate({_short(box.x)} {_short(box.y)})"
        parts = [f'<g transform="{move} {scale}" shape-rendering="crispEdges">\n']
        values, levels = panel.values.tolist(), panel.levels.tolist()
        for row, (line, shades) in enumerate(zip(values, levels, strict=True)):
            start = f"{prefix}{self._queries[row]}"
            cells = zip(self._keys, line, shades, strict=True)
            parts += [
                _rect(column, row, fills[shade], f"{start}{key}{value:.6g}")
                for column, (key, value, shade) in enumerate(cells)
            ]
        parts.append("</g>\n")
        return "".join(parts).encode()


def _rect(column: int, row: int, fill: str, title: str) -> str:
    place = f'x="{column}" y="{row}" width="1" height="1" fill="{fill}"'
    return f"<rect {place}><title>{title}</title></rect>\n"


def _image(box: Box, panel: Panel, name: str, picture: Picture) -> bytes:
    colours = picture.palette.colours
    if panel.missing:
        colours = np.concatenate([[MISSING], colours[1:]]).astype(np.uint8)
    # Where a pixel of the screen shows several cells, they should be blended, not skipped.
    wide = box.width / panel.levels.shape[1] >= _PIXEL and box.height >= len(panel.levels) * _PIXEL
    rendering = ' style="image-rendering:pixelated"' if wide else ""
    head = (
        f"<g><title>{escaped(name or 'Weights')}</title><image {_place(box)}{rendering} "
        'preserveAspectRatio="none" xlink:href="data:image/png;base64,'
    )
    return head.encode() + b64encode(indexed_png(panel.levels, colours)) + b'"/></g>\n'


def _place(box: Box) -> str:
    return (
        f'x="{_short(box.x)}" y="{_short(box.y)}" '
        f'width="{_short(box.width)}" height="{_short(box.height)}"'
    )


def _frames(layout: Layout) -> Iterator[bytes]:
    yield b'<g fill="none" stroke="#000000" stroke-width="0.6">\n'
    for box, _ in layout.placed:
        yield f"<rect {_place(box)}/>\n".encode()
    if layout.lines:
        yield f'<path d="{"".join(map(_stroke, layout.lines))}"/>\n'.encode()
    yield b"</g>\n"


def _stroke(line: Line) -> str:
    start = f"M{_short(line.x1)} {_short(line.y1)}"
    if line.y1 == line.y2:
        return f"{start}H{_short(line.x2)}"
    return f"{start}V{_short(line.y2)}"


def _bar(bar: Box, picture: Picture) -> str:
    """Return the colour bar: a gradient between the stops of the map, the lowest at its foot."""
    stops = picture.palette.stops
    last = len(stops) - 1
    steps = "".join(
        f'<stop offset="{index / last:.5g}" stop-color="{hex_of(stop)}"/>'
        for index, stop in enumerate(stops.tolist())
    )
    return (
        f'<linearGradient id="qkv-bar" x1="0" y1="1" x2="0" y2="0">{steps}</linearGradient>\n'
        f'<rect {_place(bar)} fill="url(#qkv-bar)" stroke="#000000" stroke-width="0.6">'
        "<title>The colour scale</title></rect>\n"
    )


def _text(text: Text) -> str:
    x, y = _short(text.x), _short(text.y)
    turn = f' transform="rotate(-90 {x} {y})"' if text.turned else ""
    fill = f' fill="{text.colour}"' if text.colour != "#000000" else ""
    shown = escaped(text.text)
    full = escaped(text.full)
    title = f"<title>{full}</title>" if full and full != shown else ""
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{_short(text.size)}"{anchor}{fill}{turn}>'
        f"{title}{shown}</text>\n"
    )
