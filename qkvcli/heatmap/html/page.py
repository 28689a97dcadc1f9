"""The page put together: markup, styles, scripts and data in one file that asks for nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PURE = ("codes.js", "scale.js", "tokens.js", "matrix.js", "command.js", "svg.js")
"""Scripts that know no page, in their order: they are tested by themselves."""
SCRIPTS = (*PURE, "overview.js", "head.js", "sentence.js", "page.js")
"""All scripts in their order; they are put together as one."""

EVERYTHING = ("page.html", "style.css", *SCRIPTS)
"""All texts that the page is made of."""


def read(name: str) -> str:
    """Return one of the texts that the page is made of."""
    return (resources.files("qkvcli.heatmap.html") / name).read_text(encoding="utf-8")


def page(title: str, data: Mapping[str, Any], packed: Iterable[str]) -> Iterator[bytes]:
    """Yield the page in UTF-8.

    Parameters
    ----------
    title
        What the window is called.
    data
        What the page is told, as JSON.
    packed
        Texts in base64, which ``data`` counts.

    Notes
    -----
    The Content-Security-Policy allows this script and these styles by their hashes, images out of
    the page itself, and nothing else: no request can be made.
    """
    style = read("style.css")
    script = '"use strict";\n(() => {\n' + "\n".join(map(read, SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    top, rest = read("page.html").split("<!-- data -->")
    for name, text in (
        ("title", _as_text(title)),
        ("policy", policy),
        ("style", style),
    ):
        top = top.replace(f"{{{{{name}}}}}", text, 1)
    yield top.encode()
    yield f'<script type="application/json" id="data">{_as_json(data)}</script>\n'.encode()
    yield b'<script type="text/plain" id="packed">'
    for text in packed:
        yield text.encode()
    yield b"</script>\n"
    yield rest.replace("{{script}}", script, 1).encode()


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _as_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _as_json(data: Mapping[str, Any]) -> str:
    """Return JSON in ASCII in which nothing ends the element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
