"""The options of a training step beside the model and the optimizer (``StepConfig``)."""

import dataclasses
from dataclasses import field
from typing import Literal

from flan_jax.option_groups import FREE, OptionGroup
from flan_jax.typed import AtLeast0, Fraction, Positive

LossNormalizer = Literal["tokens", "sequences", "tasks"]


@dataclasses.dataclass(frozen=True)
class StepConfig(OptionGroup):
    """Options of a training step beside the model and the optimizer.

    Attributes:
        z_loss: weight of the squared log-normaliser.
        microbatches: parts that each batch is computed in, one after the other, which takes less memory: gradients are
            added up, so but for dropout, which draws anew in each part, the step is that of the whole batch.
        loss_normalizer: what counts alike in the batch's loss that is optimized: its ``tokens``; its ``sequences``, each by
            the mean over its tokens; or the ``tasks`` that occur in it, likewise. The losses that are reported are means
            over tokens.
        ema_decay: decay of an exponential moving average of the trained weights, kept beside them from the first step on;
            0 keeps none. ``EvalConfig.ema`` measures it, ``flan-jax export-hf --ema`` writes it.
        max_skipped_steps: a step whose loss or gradient is not finite changes no weight and is counted; so many of them in
            a row end the run.
    """

    z_loss: AtLeast0 = 0.0
    microbatches: Positive = 1
    loss_normalizer: LossNormalizer = "tokens"
    ema_decay: Fraction = 0.0
    max_skipped_steps: Positive = field(default=10, metadata=FREE)
