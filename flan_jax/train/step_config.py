"""The options of a training step beside the model and the optimizer (``StepConfig``)."""

import dataclasses

from flan_jax.option_groups import OptionGroup
from flan_jax.typed import AtLeast0, Positive


@dataclasses.dataclass(frozen=True)
class StepConfig(OptionGroup):
    """Options of a training step beside the model and the optimizer.

    Attributes:
        z_loss: weight of the squared log-normaliser.
        microbatches: parts that each batch is computed in, one after the other, which takes less memory: gradients are
            added up, so but for dropout, which draws anew in each part, the step is that of the whole batch.
    """

    z_loss: AtLeast0 = 0.0
    microbatches: Positive = 1
