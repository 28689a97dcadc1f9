r"""The one place where text from the data is made safe to show on a terminal."""

import re

# C0 and C1 controls, DEL, the bidirectional controls and line separators, and lone surrogates:
# what moves a cursor, changes a colour, reorders a line or cannot be encoded.
_CLASS = (
    "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
)
_UNSAFE = re.compile(f"[{_CLASS}]")
_UNSAFE_IN_JSON = re.compile(f"(?!\n)[{_CLASS}]")  # its own line ends stay
_SURROGATE = re.compile("[\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _escape_in_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def visible(text: str) -> str:
    r"""Return the text with every control character spelled out.

    Examples
    --------
    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    >>> visible("Łukasz")
    'Łukasz'
    """
    return _UNSAFE.sub(_escape, text)


def visible_json(text: str, *, terminal: bool) -> str:
    r"""Return a JSON document that means the same, and can be encoded and, if need be, shown.

    Examples
    --------
    >>> visible_json('"a\u202eb"', terminal=True)
    '"a\\u202eb"'
    """
    return (_UNSAFE_IN_JSON if terminal else _SURROGATE).sub(_escape_in_json, text)
