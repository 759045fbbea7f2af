"""Spans of a prompt by kind: the template's words, each slot, the options, the solved examples.

A ``Renderer`` with a ``PromptSpans`` puts private-use characters around what it fills in. ``align_spans``
takes them off again and says what each part of the real prompt is. Where a record holds such
characters itself, the prompt is one part: the real one is always shown.
"""

import itertools
import re

INSTRUCTION = "instruction"
"""A template's own words."""
EXEMPLARS = "exemplars"
"""Solved examples before the query. A slot inside them is ``exemplars/SLOT``."""
NESTED = "/"

Segment = tuple[str, str]
"""(kind, text)"""

_OPEN, _NAMED, _CLOSE = "\ue0f0", "\ue0f1", "\ue0f2"
_ANY = re.compile(f"[{_OPEN}{_NAMED}{_CLOSE}]")
_MARK = re.compile(f"{_OPEN}([^{_OPEN}{_NAMED}{_CLOSE}]*){_NAMED}|{_CLOSE}")


class PromptSpans:
    """The ``mark`` of a ``Renderer``, which can be switched off: the prompt is then the real one.

    Attributes:
        on: whether marks are put.
    """

    def __init__(self) -> None:
        self.on = False

    def __call__(self, kind: str, text: str) -> str:
        """Puts marks around ``text`` that say of which kind it is."""
        return f"{_OPEN}{kind}{_NAMED}{text}{_CLOSE}" if self.on else text


def strip_marks(marked: str) -> str:
    """Removes the marks from a text."""
    return _MARK.sub("", marked)


def segments(marked: str, *, words: str = INSTRUCTION) -> list[Segment]:
    """Splits a marked prompt into (kind, text) spans, in order; adjacent spans of one kind are one.

    Args:
        marked: a prompt rendered with marks.
        words: what stands outside all marks is.

    Returns:
        The parts, or all in one where the marks are not balanced.

    >>> marking = PromptSpans()
    >>> marking.on = True
    >>> segments("Is it " + marking("exemplars", "so? " + marking("hue", "red")) + " or " + marking("hue", "blue"))
    [('instruction', 'Is it '), ('exemplars', 'so? '), ('exemplars/hue', 'red'), ('instruction', ' or '), ('hue', 'blue')]
    """
    found: list[Segment] = []
    kinds: list[str] = []
    end = 0
    for mark in _MARK.finditer(marked):
        found.append((NESTED.join(kinds) or words, marked[end : mark.start()]))
        end = mark.end()
        if mark[0] != _CLOSE:
            kinds.append(mark[1])
        elif not kinds:
            return _joined([(words, strip_marks(marked))])
        else:
            kinds.pop()
    found.append((words, marked[end:]))
    return _joined([(words, strip_marks(marked))] if kinds else found)


def align_spans(marked: str, real: str, *, words: str = INSTRUCTION) -> list[Segment]:
    """Splits ``real`` into spans as ``marked`` has them; both differ in white space that rendering stripped.

    Args:
        marked: the prompt rendered with marks.
        real: the prompt as a model sees it.
        words: as for ``segments``.

    Returns:
        Parts whose texts together are ``real``: one only, where the marks do not say which is which.
    """
    whole = [(words, real)] if real else []
    if _ANY.search(real):
        return whole
    found: list[Segment] = []
    position = 0
    for kind, text in segments(marked, words=words):
        kept = []
        for character in text:
            if real.startswith(character, position):
                kept.append(character)
                position += 1
            elif not character.isspace():
                return whole
        found.append((kind, "".join(kept)))
    return _joined(found) if position == len(real) else whole


def _joined(parts: list[Segment]) -> list[Segment]:
    groups = itertools.groupby((part for part in parts if part[1]), key=lambda part: part[0])
    return [(kind, "".join(text for _, text in group)) for kind, group in groups]
