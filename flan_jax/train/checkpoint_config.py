"""The options of when checkpoints are written and which are kept (``CheckpointConfig``)."""

import dataclasses

from flan_jax.typed import Natural, Positive, check_fields


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Options of when checkpoints are written and which are kept.

    Attributes:
        period: steps between checkpoints; the last step is always saved.
        keep: how many of the newest stay.
        keep_period: checkpoints at multiples of this stay for good; 0 for none.
    """

    period: Positive = 1000
    keep: Positive = 3
    keep_period: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)
