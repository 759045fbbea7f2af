"""DoReMi (arXiv 2305.10429, algorithm 1): the weights under which a proxy model's worst excess loss is smallest."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from flan_jax.errors import UserError
from flan_jax.mixing.online.method import AppliedTo, Observed, WeightingMethod, softmax
from flan_jax.typed import Above0, AtLeast0, LocalPath, Positive, Share

_LEAST = 1e-300
"""Of a weight whose logarithm is taken: without smoothing it may come down to 0."""


@dataclasses.dataclass
class DoReMi(WeightingMethod):
    """Weights of the proxy's loss, moved toward the units where it is furthest behind a reference model.

    Before step t, with l_i the mean over unit i's tokens of max(loss - reference loss, 0), of the step
    before where the batch has no token of it, K units and a the weights:

        a = (1 - c) softmax(log a + h l) + c / K

    The step's loss counts a token of unit i a_i / s_i times, s being the shares of the draws. The result is the
    mean of a over all updates, and the mixture's weights for a final run.

    Attributes:
        reference: folder of the run, of the same model and vocabulary, that the proxy is compared with.
        rate: h, the step size.
        smoothing: c, the part of the weight that is spread evenly; the authors' repository has 1e-4.
        variant: ``paper`` begins with equal weights and takes the mean of those after the first update;
            ``repository`` begins with the mixture's own, which are part of the mean.
        initial_excess: l of a unit that no batch has held yet; the repository has the logarithm of the
            vocabulary's size.
    """

    observes: ClassVar[Observed] = "excess_loss"
    applies_to: ClassVar[AppliedTo] = "loss"

    period: Positive = 1
    reference: LocalPath = ""
    rate: Above0 = 1.0
    smoothing: Share = 1e-3
    variant: Literal["paper", "repository"] = "paper"
    initial_excess: AtLeast0 = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reference:
            raise UserError("DoReMi.reference names no run. Train a reference run first, and give its folder.")

    def begin(self, weights: np.ndarray) -> None:
        """Begins with weights that no excess loss has moved."""
        units, own = len(weights), self.variant == "repository"
        self.weights = weights if own else np.full(units, 1 / units)
        self.excess = np.full(units, float(self.initial_excess))
        self.summed, self.updates = weights * own, int(own)

    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Moves the weights by the excess losses [U], clipped at 0 token by token."""
        self.excess = np.where(np.isfinite(losses), losses, self.excess)
        moved = softmax(np.log(np.maximum(self.weights, _LEAST)) + self.rate * self.excess)
        self.weights = (1 - self.smoothing) * moved + self.smoothing / len(losses)
        self.summed, self.updates = self.summed + self.weights, self.updates + 1
        return self.weights

    @property
    def initial_weights(self) -> np.ndarray:
        """[U] the weights that it begins with."""
        return self.weights

    @property
    def result(self) -> np.ndarray | None:
        """[U] the mean of the weights."""
        return self.summed / self.updates if self.updates else None
