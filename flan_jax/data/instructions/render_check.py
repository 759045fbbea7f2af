"""Renders the records of a split without tokenizing them, and counts what ``prepare`` will make of them."""

import dataclasses

from flan_jax.data.instructions.profile import MESSAGES_KEPT
from flan_jax.errors import RecordError
from flan_jax.tasks.render import render_stream
from flan_jax.tasks.spec import Prompted, TaskSpec


@dataclasses.dataclass
class RenderCheck:
    """Counts of rendered records.

    Attributes:
        usable: records that make an example.
        refused: records that cannot be read or rendered.
        filtered: records that are no examples of the task.
        reasons: why the first of the refused cannot.
    """

    usable: int = 0
    refused: int = 0
    filtered: int = 0
    reasons: list[str] = dataclasses.field(default_factory=list)

    def refuse(self, error: RecordError) -> None:
        """Counts a record that cannot be read or rendered."""
        self.refused += 1
        if len(self.reasons) < MESSAGES_KEPT:
            self.reasons.append(str(error))


def check_rendering(spec: TaskSpec, split: str, check: RenderCheck) -> None:
    """Renders every record of a split as ``prepare`` does, and counts into ``check``."""
    for made in render_stream(Prompted(spec), split):
        if isinstance(made, RecordError):
            check.refuse(made)
        elif made is None:
            check.filtered += 1
        else:
            check.usable += 1
