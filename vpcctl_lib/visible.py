"""Others' text made safe to show: characters that control a terminal or hide text are escaped; pure."""

from __future__ import annotations

import re

_ODD = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""C0, DEL and C1; separators and controls of Unicode's bidirectional algorithm (UAX 9); lone surrogates."""


def visible(text: str, keep: str = "\n\t") -> str:
    """The text with such characters as escapes (`\\x1b`, `\\u202e`), but for those to keep."""
    # Nearly all that is shown has none of them, and then the pattern is not even compiled.
    if text.isprintable():
        return text
    return re.sub(_ODD, lambda found: found[0] if found[0] in keep else _escape(ord(found[0])), text)


def printable(text: str) -> str:
    """The text with everything invisible as escapes, including white space other than blanks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
