"""Slots for published templates: what the code of a collection's authors makes of a record.

A task has fields of ours, for templates of ours. Templates that others published were written for
other words of the same record, so a task declares those beside its own and renders an imported set
from them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class PublishedFields:
    """The slots of a record as a published collection's code makes them.

    Attributes:
        name: of the collection's code (``flan2021``, ``flan2022``), by which a template set asks for them.
        fields: record → slots, under the published names, byte for byte; ``None`` for a record that the
            code leaves out.
        slots: the names that ``fields`` returns.
        answer: the slot that holds the answer.
        options: the closed set of answers in the published order, or the slot that holds each record's
            own, or ``()``.
        scored: further slots that templates may ask for and that are answers too, such as the other
            side of a translation.
        rationale: the slot of the reasoning that comes before the answer, or ``""``.
    """

    name: str
    fields: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    slots: tuple[str, ...]
    answer: str = "answer"
    options: tuple[str, ...] | str = ()
    scored: tuple[str, ...] = ()
    rationale: str = ""
