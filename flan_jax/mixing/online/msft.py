"""mSFT (arXiv 2603.21606): the unit that overfits first is left out, and the model goes back to where it was best."""

import dataclasses

import numpy as np

from flan_jax.mixing.online.method import ValidationMethod
from flan_jax.typed import Positive


@dataclasses.dataclass
class MultiTaskSFT(ValidationMethod):
    """Roll-outs on the units that do not overfit yet, each from where the first one began to.

    A roll-out is ``rollout`` periods on the active units, in the mixture's proportions; behind each period the
    validation loss of every unit is measured, and a unit's peak is where its loss was lowest in the roll-out. Where
    all active units have it at the end, the next roll-out goes on from there. Otherwise the one of the earliest peak,
    among equals that whose loss rose most since, is left out from now on, and the model and its optimizer go back to
    that peak. With the last unit left out the run ends.

    The paper measures accuracy where this measures loss. Steps count on: what is taken back counts toward the run's.

    Attributes:
        rollout: periods in a roll-out, the paper's compute budget.
    """

    rollout: Positive = 5

    def begin(self, weights: np.ndarray) -> None:
        """Begins with all units active."""
        self.shares, self.active = weights, np.ones(len(weights))
        self.back: int | None = None
        self._new_rollout()

    def _new_rollout(self) -> None:
        self.lowest, self.peaks = np.full(len(self.shares), np.inf), np.zeros(len(self.shares))
        self.measured = 0

    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Takes note of a period's validation losses; behind the last one of a roll-out leaves a unit out."""
        lower = losses < self.lowest
        self.lowest, self.peaks = np.where(lower, losses, self.lowest), np.where(lower, step, self.peaks)
        self.measured, self.back = self.measured + 1, None
        if self.measured == self.rollout:
            peaks = np.where(self.active > 0, self.peaks, np.inf)
            first = int(np.lexsort((self.lowest - losses, peaks))[0])
            if peaks[first] < step:
                self.back = int(peaks[first])
                self.active = np.where(np.arange(len(losses)) == first, 0.0, self.active)
            self._new_rollout()
        return self.shares if self.finished else self.shares * self.active

    @property
    def rollback(self) -> int | None:
        """The peak that the model goes back to, after the update that ended a roll-out."""
        return self.back

    @property
    def reach(self) -> int:
        """Updates that a rollback may go back over."""
        return self.rollout

    @property
    def finished(self) -> bool:
        """True where every unit was left out."""
        return not self.active.any()
