"""Text of others on a terminal: whatever a record, a key or a file's name says, it cannot steer what shows it."""

import json
import re
from typing import Any

# Control characters but tab and line end; marks of direction and the overriding and isolating of it; what ends a
# line or a paragraph without being a line end; halves of surrogate pairs, which no terminal can be sent.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_ENDS = {"\n": "\\n", "\t": "\\t"}


def visible(text: object) -> str:
    r"""Writes out what of a text could steer a terminal.

    >>> print(visible("a\x1b[31m" + chr(0x202E)))
    a\x1b[31m\u202e
    """
    return _STEERING.sub(lambda found: _written(found[0]), str(text))


def visible_line(text: object) -> str:
    r"""As ``visible``, in one line: a file's name may hold line ends, and look like several.

    >>> print(visible_line("a\nb"))
    a\nb
    """
    return re.sub("[\n\t]", lambda found: _LINE_ENDS[found[0]], visible(text))


def _written(mark: str) -> str:
    return f"\\x{ord(mark):02x}" if ord(mark) < 0x100 else f"\\u{ord(mark):04x}"


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Writes JSON with letters as they are and, of what could steer a terminal, the escapes that JSON has for it."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Line ends stand between values here, and within texts they are escaped already.
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
