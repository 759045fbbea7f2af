"""Options of how instruction data is read: format, cleaning steps, and the policy for an assistant's opening."""

import dataclasses
from typing import Any, get_args

from flan_jax.data.formats.cleaning import STEPS, Cleaning
from flan_jax.data.formats.detect import AUTO, get_format
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.default_cleaning import select_cleaning
from flan_jax.data.instructions.origin import Origin
from flan_jax.data.instructions.profile import format_of
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.chat.conversation import Opening

ALL = "all"
"""Of steps not to take: every one."""


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
    """Options of how instruction data is read: ``--format``, ``--clean``, ``--no_clean`` and ``--opening``.

    Attributes:
        format: the name of a format, a ``Format``, or ``auto`` to detect it from the first records.
        clean: cleaning steps to take beside the format's own.
        no_clean: steps not to take; ``all`` for none at all.
        opening: what becomes of an assistant's words before any user's.

    Raises:
        UserError: no such format, step or policy.
    """

    format: str | Format = AUTO
    clean: tuple[str, ...] = ()
    no_clean: tuple[str, ...] = ()
    opening: Opening = "fail"

    def __post_init__(self) -> None:
        if isinstance(self.format, str) and self.format != AUTO:
            get_format(self.format)
        for given, known in ((self.clean, tuple(STEPS)), (self.no_clean, (*STEPS, ALL))):
            for step in given:
                if step not in known:
                    raise unknown("cleaning step", str(step), known)
        for step in self.clean:
            if step in self.no_clean:
                raise UserError(
                    f"The cleaning step {step!r} is to be taken and not to be taken. Leave out one of the two."
                )
        if self.opening not in get_args(Opening):
            raise unknown("choice of opening", str(self.opening), get_args(Opening))

    @property
    def as_flags(self) -> str:
        """The options that differ from their defaults, as command-line flags; ``""`` for none."""
        name = self.format if isinstance(self.format, str) else self.format.name
        parts = [f"--format {name}"] if name != AUTO else []
        parts += [f"--clean {step}" for step in self.clean]
        parts += [f"--no_clean {step}" for step in self.no_clean]
        return " ".join(parts + ([f"--opening {self.opening}"] if self.opening != "fail" else []))

    def cleaning(self, origin: Origin) -> Cleaning:
        """Returns the cleaning of data of this origin."""
        return select_cleaning(origin, format_of(origin, self.format), None, self.clean, self.no_clean)

    def options(self, kind: str) -> dict[str, Any]:
        """Returns the arguments of ``instruction_task`` for records of a kind.

        Raises:
            UserError: an opening is chosen, but there are no conversations.
        """
        if self.opening == "fail":
            return {}
        if kind != "chat":
            raise UserError(
                f"--opening {self.opening} is about conversations, and these are {kind} records. Leave it out."
            )
        return {"opening": self.opening}


DEFAULT_READING = ReadingOptions()
"""The format is detected, and the data is cleaned with the default steps."""
