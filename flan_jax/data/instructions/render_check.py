"""What preparing will make of records, found by rendering them all, nothing being tokenised."""

import dataclasses

from flan_jax.data.instructions.profile import MESSAGES_KEPT
from flan_jax.errors import UserError
from flan_jax.tasks.records import numbered_records
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, TaskSpec


@dataclasses.dataclass
class RenderCheck:
    """What rendering made of records.

    Attributes:
        usable: examples.
        refused: records that cannot be read or rendered.
        left_out: records that are no examples of the task.
        reasons: why the first of the refused are so.
    """

    usable: int = 0
    refused: int = 0
    left_out: int = 0
    reasons: list[str] = dataclasses.field(default_factory=list)

    def refuse(self, error: UserError) -> None:
        """Counts a record that cannot be read or rendered."""
        self.refused += 1
        if len(self.reasons) < MESSAGES_KEPT:
            self.reasons.append(str(error))


def check_rendering(spec: TaskSpec, split: str, judged: RenderCheck) -> None:
    """Renders every record of a split, as preparing it does."""
    renderer = Renderer(Prompted(spec))
    for index, record in numbered_records(spec.source, split, judged.refuse):
        try:
            rendered = renderer(record, index=index, split=split)
        except UserError as error:
            place = getattr(spec.source, "place", None)
            if place is not None and len(judged.reasons) < MESSAGES_KEPT:
                error = UserError(f"{place(split, index)}: {error}")
            judged.refuse(error)
            continue
        if rendered is None:
            judged.left_out += 1
        else:
            judged.usable += 1
