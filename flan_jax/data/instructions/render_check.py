"""Renders the records of a split without tokenizing them, and counts what ``prepare`` will make of them."""

import dataclasses

from flan_jax.data.instructions.profile import MESSAGES_KEPT
from flan_jax.errors import UserError
from flan_jax.tasks.records import numbered_records
from flan_jax.tasks.render import Renderer
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

    def refuse(self, error: UserError) -> None:
        """Counts a record that cannot be read or rendered."""
        self.refused += 1
        if len(self.reasons) < MESSAGES_KEPT:
            self.reasons.append(str(error))


def check_rendering(spec: TaskSpec, split: str, check: RenderCheck) -> None:
    """Renders every record of a split as ``prepare`` does, and counts into ``check``."""
    renderer = Renderer(Prompted(spec))
    for index, record in numbered_records(spec.source, split, check.refuse):
        try:
            rendered = renderer(record, index=index, split=split)
        except UserError as error:
            place = getattr(spec.source, "place", None)
            if place is not None and len(check.reasons) < MESSAGES_KEPT:
                error = UserError(f"{place(split, index)}: {error}")
            check.refuse(error)
            continue
        if rendered is None:
            check.filtered += 1
        else:
            check.usable += 1
