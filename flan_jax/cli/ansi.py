"""Colour on a terminal: what is what in a prompt, and a legend that says so."""

import os
import sys
from collections.abc import Iterable, Sequence

from flan_jax.cli.escapes import visible
from flan_jax.tasks.rendering.prompt_spans import EXEMPLARS, INSTRUCTION, NESTED, Segment

CHOICES = ("auto", "always", "never")

TARGET, OPTIONS, UNKNOWN, LOST, PROMPT, HEADING = "target", "options", "unknown", "lost line end", "prompt", "heading"
_FIXED = {
    INSTRUCTION: "34",
    PROMPT: "",
    EXEMPLARS: "2",
    OPTIONS: "33",
    TARGET: "1;32",
    UNKNOWN: "97;41",
    LOST: "30;43",
    HEADING: "1",
}
_SLOTS = ("36", "35", "31", "96", "95", "91")
_NAMES = {
    INSTRUCTION: "the template's words",
    EXEMPLARS: "solved examples",
    UNKNOWN: "unknown to the vocabulary",
    LOST: "a line end that the vocabulary drops",
}


def wants_color(choice: str) -> bool:
    """Decides whether standard output gets colour: as chosen, else on a terminal unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Palette:
    """Colours text by its kind, the same colour throughout.

    Attributes:
        on: without it, text stays as it is.
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self._slots: dict[str, str] = {}
        self._used: dict[str, None] = {}

    def __call__(self, kind: str, text: str) -> str:
        """Wraps ``text`` in the colour of ``kind``; slots take theirs in order of appearance."""
        text = visible(text)
        if not self.on:
            return text
        outer, _, slot = kind.rpartition(NESTED)
        for part in (outer, slot):
            if part and part != HEADING and text.strip():
                self._used[part] = None
        code = ";".join(code for code in (self._code(outer), self._code(slot)) if code)
        return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if code and line else line for line in text.split("\n"))

    def _code(self, kind: str) -> str:
        if not kind:
            return ""
        if kind in _FIXED:
            return _FIXED[kind]
        return self._slots.setdefault(kind, _SLOTS[len(self._slots) % len(_SLOTS)])

    def segments(self, parts: Iterable[Segment]) -> str:
        """Joins parts, each in its colour."""
        return "".join(self(kind, text) for kind, text in parts)

    def legend(self) -> str:
        """Explains the colours used so far in one line; ``""`` without colour."""
        if not self.on:
            return ""
        kinds: Sequence[str] = [*self._used]
        return "Colours: " + " · ".join(self(kind, _NAMES.get(kind, kind)) for kind in kinds)
