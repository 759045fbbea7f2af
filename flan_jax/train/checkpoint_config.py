"""The options of when checkpoints are written and which are kept (``CheckpointConfig``)."""

import dataclasses

from flan_jax.errors import UserError
from flan_jax.typed import LocalPath, Natural, Positive, check_fields


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Options of when checkpoints are written and which are kept.

    Attributes:
        period: steps between checkpoints; the last step is always saved.
        keep: how many of the newest stay.
        keep_period: checkpoints at multiples of this stay for good; 0 for none.
        local_dir: a fast folder of this machine, for checkpoints between those that last; ``""`` for none.
        local_period: steps between those; 0 for none.
    """

    period: Positive = 1000
    keep: Positive = 3
    keep_period: Natural = 0
    local_dir: LocalPath = ""
    local_period: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if bool(self.local_dir) != bool(self.local_period):
            given, missing = ("local_dir", "local_period") if self.local_dir else ("local_period", "local_dir")
            raise UserError(
                f"CheckpointConfig.{given} is {getattr(self, given)!r}, but {missing} is {getattr(self, missing)!r}, so no "
                "checkpoint is written there. Give both (CHECKPOINT_LOCAL_DIR, CHECKPOINT_LOCAL_PERIOD), or neither."
            )
        if self.local_period >= self.period:
            raise UserError(
                f"CheckpointConfig.local_period is {self.local_period:,} (CHECKPOINT_LOCAL_PERIOD), no less than the "
                f"{self.period:,} steps between checkpoints that last (CHECKPOINT_PERIOD). Give fewer, or leave it out."
            )

    def lasting(self, step: int) -> bool:
        """Tells whether a checkpoint is due after a step that has to outlive the machine."""
        return step % self.period == 0

    def due(self, step: int) -> bool:
        """Tells whether a checkpoint is due after a step, in either tier."""
        return self.lasting(step) or bool(self.local_period and step % self.local_period == 0)
