# ruff: noqa: RUF001 - strings that look like others
"""An explorer's file read back without its scripts, and strings that pages have stumbled over."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qkvcli.heatmap.html.codes import SIDE, Coding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARKUP = [
    "<script>alert(1)</script>", "</script>", "<script>", "<!--", "-->", "<!--<script>", "]]>", "<![CDATA[",
    "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", '"><script>alert(1)</script>', "'><b>", "<b>bold</b>",
    "&lt;b&gt;", "&amp;", "&#60;b&#62;", "&", "<", ">", '"', "'", "`", "\\", "\\\\", "\\n", "\\u003cscript\\u003e",
    "</style>", "</title>", "</textarea>", '<a href="javascript:alert(1)">x</a>', "javascript:alert(1)", "<iframe srcdoc='x'>",
    "<base href=//x>", "<link rel=stylesheet href=//x>", "<meta http-equiv=refresh content=0>", "${alert(1)}", "{{script}}",
    "{{policy}}", "<!-- data -->", "{{title}}", "{{style}}", "%3Cscript%3E", "<ſcript>", "<scr\0ipt>", "\ufeff<script>", "$&", "$1", "$'",
    "__proto__", "constructor", "toString", "hasOwnProperty", "undefined", "null", "NaN", "Infinity", "true", "0", "-1", "1e999",
    "", " ", "  ", "\u00a0", "\u3000", "\u200b", "\u2060", "\u00ad", "a\tb", "a\nb", "a\r\nb",
]  # fmt: skip
_SCRIPTS = [
    "Łukasz", "查询", "テスト", "한국어", "עברית", "اَلْعَرَبِيَّةُ", "हिन्दी", "ไทย", "Ελληνικά", "e\u0301", "Z̡̨͔a̵l̶g̷o̸", "🙂", "👩‍👩‍👧‍👦", "🇺🇳", "\U0001f9d1\U0001f3ff", "ﷺ",
    "𝕿𝖍𝖊", "ʇxǝʇ", "ﬁ", "İı", "ß", "Ω≈ç√∫", "田中さん", "⁰⁴⁵", "｀ィ(´∀｀∩", "\U000e0001", "\U0010ffff",
]  # fmt: skip
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFFE, 0xFFFF]  # fmt: skip
NAUGHTY = (
    _MARKUP
    + _SCRIPTS
    + [f"a{chr(code)}b" for code in _CONTROLS]
    + [f"{chr(code)}{text}" for code in (0x202E, 0x1B, 0x2067) for text in _MARKUP[:40]]
)
"""Over 300 strings."""


@dataclass(frozen=True)
class File:
    """The parts of a file.

    Parameters
    ----------
    text
        All of it.
    data, packed
        What its scripts are told.
    """

    text: str
    data: dict[str, Any]
    packed: str

    def levels(self, head: int) -> list[NDArray[np.float64] | None]:
        """Return the weights of every level of a head, NaN where there is none."""
        at = sum(sum(sum(level or ()) for level in one[7]) for one in self.data["heads"][:head])
        *_, top, signed, _, _, lengths = self.data["heads"][head]
        coding = Coding(top, self.data["bits"], signed=bool(signed))
        rows, columns = self.data["shape"]
        found: list[NDArray[np.float64] | None] = []
        for level in lengths:
            if level is None:
                found.append(None)
            else:
                strips: list[NDArray[Any]] = []
                for top_row in range(0, rows, SIDE):
                    strip: list[NDArray[Any]] = []
                    for left in range(0, columns, SIDE):
                        length = level[len(strips) * -(-columns // SIDE) + len(strip)]
                        data = zlib.decompress(base64.b64decode(self.packed[at : at + length]))
                        tall = min(SIDE, rows - top_row)
                        wide = min(SIDE, columns - left)
                        strip.append(np.frombuffer(data, coding.dtype).reshape(tall, wide))
                        at += length
                    strips.append(np.hstack(strip))
                found.append(coding.decode(np.vstack(strips)))
            rows, columns = -(-rows // 2), -(-columns // 2)
        return found

    def matrix(self, head: int = 0) -> NDArray[np.float64]:
        """Return the weights of a head."""
        found = self.levels(head)[0]
        assert found is not None
        return found


def read(text: str) -> File:
    """Read a page back."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    packed = re.search(r'<script type="text/plain" id="packed">(.*?)</script>', text, re.DOTALL)
    assert data
    assert packed
    return File(text, json.loads(data[1]), packed[1])


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Return rows that sum to 1."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return found
