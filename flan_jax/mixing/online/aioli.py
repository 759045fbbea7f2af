"""Aioli (arXiv 2411.05735): weights by a matrix of how much training on one unit helps the validation loss of another."""

import dataclasses

import numpy as np

from flan_jax.errors import UserError
from flan_jax.mixing.online.method import ValidationMethod
from flan_jax.typed import Above0, Natural, Positive, Share


@dataclasses.dataclass
class Aioli(ValidationMethod):
    """Rounds of short probes, one unit after another, and an update of the weights by what they improved.

    A round is ``period`` steps on the weights p, and then ``sweeps`` times through the K units in random order
    ``probe_steps`` steps on each: with the share f for that unit and (1 - f) / (K - 1) for each other, W. D[i, j] is
    by how much the validation loss of unit i fell in the probes of unit j, their mean over the sweeps. Then

        A[i] = solve(W, D[i]),   A = A - min A where that is below 0,   A = A / sum A,   p = p exp(h sum_i A[i, j])

    As in the authors' repository p begins equal for the first update, whatever was drawn before it.

    Attributes:
        probe_steps: of each probe.
        sweeps: probes of each unit in a round.
        focus: f, the share of the probed unit.
        rate: h.
        seed: of the order of the probes.
    """

    probe_steps: Positive = 10
    sweeps: Positive = 1
    focus: Share = 0.625
    rate: Above0 = 0.2
    seed: Natural = 0

    def begin(self, weights: np.ndarray) -> None:
        """Begins with a round's steps on the mixture's own weights."""
        units = len(weights)
        if self.focus <= 1 / units:
            raise UserError(f"Aioli.focus is {self.focus}; with {units} units it must be above {1 / units:.3g}.")
        self.learned = np.full(units, 1 / units)
        self.probes, self.round = np.zeros(0), 0
        self.last, self.drops = np.zeros(units), np.zeros((units, units))

    @property
    def interval(self) -> int:
        """Steps to the next update: those of a probe, or of the round on the weights."""
        return self.probe_steps if len(self.probes) else self.period

    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Goes on to the next probe, or from the last one to new weights."""
        units = len(losses)
        if not len(self.probes):
            rng = np.random.default_rng([self.seed, self.round])
            self.probes = np.concatenate([rng.permutation(units) for _ in range(self.sweeps)]).astype(np.float64)
            self.drops, self.round = np.zeros((units, units)), self.round + 1
        else:
            self.drops[:, int(self.probes[0])] += (self.last - losses) / self.sweeps
            self.probes = self.probes[1:]
        self.last = losses
        rest = (1 - self.focus) / (units - 1)
        if len(self.probes):
            return np.where(np.arange(units) == self.probes[0], self.focus, rest)
        # W is (f - r) I + r, whose rows sum to 1: its inverse is (I - r) / (f - r).
        gains = (self.drops - rest * self.drops.sum(axis=1, keepdims=True)) / (self.focus - rest)
        gains -= min(gains.min(), 0.0)
        if gains.sum() > 0:
            self.learned = self.learned * np.exp(self.rate * gains.sum(axis=0) / gains.sum())
            self.learned = self.learned / self.learned.sum()
        return self.learned
