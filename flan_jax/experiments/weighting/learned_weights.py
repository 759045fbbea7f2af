"""A weighting method at work in a run: what it observes, when it is asked, and where its weights go."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.mixing.online.method import WeightingMethod
from flan_jax.mixing.online.units import Units
from flan_jax.train.state import TrainState
from flan_jax.train.step import Batch, Metrics

LEARNED = "learned_weights"
"""Under this name a checkpoint's extra holds the method's state."""
_MOST_PENDING = 128
TaskSums = tuple[np.ndarray, np.ndarray]
"""[K] sums of losses, and [K] tokens, by task."""
Excess = Callable[[TrainState, Batch], TaskSums]
Rollback = Callable[[TrainState, int], TrainState]
"""(state, earlier step) → the state of that step, as one of as many steps as ``state`` has."""
GradientProducts = Callable[[TrainState, Batch], np.ndarray]
FactorsOfLoss = Callable[[Batch, np.ndarray], Batch]


class LearnedWeights:
    """Asks a method for weights after every interval of steps and hands them to the batches, or to the loss.

    The method begins where the curriculum ends. What it is told are sums over the steps of its own interval, added up
    in double precision and in order, so that neither the lines of ``metrics.jsonl`` nor an interruption change a digit.

    Args:
        method: as the configuration has it; copied.
        units: what has a weight.
        batches: draw in the weights, where these are shares of the draws.
        first_step: steps before the method begins.
        on_weights: told of the weights of the loss at every update: (step, unit → weight).
        excess: sums over a batch of the loss beyond a reference model's; for methods that observe it.
        products: [U, U] inner products of the units' gradients on a batch; for methods that observe them.
        factors: multiplies the loss weights of a batch by factors [K] by task.
        validation: sums over validation examples; for methods that observe them.
        rollback: finds an earlier state again; for methods that go back to one.
    """

    def __init__(
        self,
        method: WeightingMethod,
        units: Units,
        batches: BatchStream,
        *,
        first_step: int = 0,
        on_weights: Callable[[int, Mapping[str, float]], None] | None = None,
        excess: Excess | None = None,
        products: GradientProducts | None = None,
        factors: FactorsOfLoss | None = None,
        validation: Callable[[TrainState], TaskSums] | None = None,
        rollback: Rollback | None = None,
    ) -> None:
        self.method, self.units = copy.copy(method), units
        self._batches, self._on_weights = batches, on_weights
        self._excess, self._products, self._factors, self._validation = excess, products, factors, validation
        self._rollback = rollback
        weights = np.array(list(batches.shares_of_mixture.values()), np.float64)
        self.shares = units.shares(weights)
        self.method.begin(self.shares)
        self.weights = self.shares if self.method.initial_weights is None else self.method.initial_weights
        self._next = first_step + self.method.interval
        self._first = first_step
        self._sums, self._tokens = np.zeros(len(weights)), np.zeros(len(weights))
        self._pending: list[tuple[Any, Any]] = []
        self._finite = True

    # --- methods that weight the draws ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Sets the weights of the first interval, in a run that begins."""
        if self.method.applies_to == "draws" and self.method.initial_weights is not None:
            self._draw()

    def after_step(self, step: int, state: TrainState, metrics: Metrics) -> TrainState | None:
        """Takes note of a step, and updates the weights where the interval ends with it.

        A loss that is not finite updates nothing: training ends by it.

        Returns:
            The state that the method goes back to; ``None`` for the one that is there.
        """
        if self.method.applies_to != "draws" or step <= self._first:
            return None
        if self.method.observes == "loss":
            self._pending.append((metrics["task_loss"], metrics["task_weight"]))
            if len(self._pending) >= _MOST_PENDING:
                self._add_pending()
        if step < self._next:
            return None
        if self.method.observes == "validation_loss":
            assert self._validation is not None
            self._sums, self._tokens = self._validation(state)
        self._add_pending()
        self._update(step)
        self._next = step + self.method.interval
        if not self._finite:
            return None
        self._draw()
        if self.method.rollback is None:
            return None
        assert self._rollback is not None
        return self._rollback(state, self.method.rollback)

    def finished(self) -> bool:
        """True where the method has nothing left to train."""
        return self.method.finished

    def _draw(self) -> None:
        weights = self.units.spread(self.weights)
        self._batches.set_weights(dict(zip(self._batches.weights, weights.tolist(), strict=True)))

    def _add_pending(self) -> None:
        pending, self._pending = self._pending, []
        for loss, tokens in jax.device_get(pending):
            self._tokens = self._tokens + np.asarray(tokens, np.float64)
            self._sums = self._sums + np.asarray(loss, np.float64) * np.asarray(tokens, np.float64)

    def _update(self, step: int) -> None:
        self._learn(self.units.means(self._sums, self._tokens), step, finite=bool(np.isfinite(self._sums).all()))
        self._sums, self._tokens = np.zeros_like(self._sums), np.zeros_like(self._tokens)

    def _learn(self, observed: np.ndarray, step: int, *, finite: bool = True) -> None:
        self._finite = finite and not np.isinf(observed).any()
        if self._finite:
            self.weights = self._checked(self.method.update(observed, step), step)

    def _checked(self, given: np.ndarray, step: int) -> np.ndarray:
        """[U] the weights that a method returned, normalized."""
        weights = np.asarray(given, np.float64)
        count = len(self.units.names)
        if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise UserError(
                f"{type(self.method).__name__}.update returned {np.array2string(weights, threshold=5)} after step {step}; it must "
                f"return {count} finite numbers of at least 0, one for each {self.method.units}, and not all 0."
            )
        return weights / weights.sum()

    # --- methods that weight the loss ----------------------------------------------------------------------------------

    def before_step(self, step: int, state: TrainState, batch: Batch) -> Batch:
        """Returns the batch of the next step with its loss weighted, by weights that have seen the batch."""
        if self.method.applies_to != "loss" or step <= self._first:
            return batch
        assert self._factors is not None
        if (step - self._first - 1) % self.method.interval == 0:
            if self._products is not None:
                self._learn(self._products(state, batch), step)
            else:
                assert self._excess is not None
                self._sums, self._tokens = self._excess(state, batch)
                self._update(step)
            if self._on_weights is not None:
                self._on_weights(step, self.by_name(self.weights))
        return self._factors(batch, (self.weights / self.shares)[self.units.of_task])

    # --- state ---------------------------------------------------------------------------------------------------------

    def by_name(self, weights: np.ndarray) -> dict[str, float]:
        """Unit → weight."""
        return dict(zip(self.units.names, weights.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint holds, as JSON values: all floats to their last digit."""
        self._add_pending()
        return {
            LEARNED: {
                "method": self.method.settings()["method"],
                "units": list(self.units.names),
                "weights": self.weights.tolist(),
                "next": self._next,
                "sums": self._sums.tolist(),
                "tokens": self._tokens.tolist(),
                "state": self.method.state(),
            }
        }

    def restore(self, saved: Mapping[str, Any], step: int, *, same_tasks: bool) -> bool:
        """Takes up what ``state`` returned; where the units are other ones now, begins anew at ``step``.

        Args:
            saved: the extra of a checkpoint.
            step: of that checkpoint.
            same_tasks: whether the run still draws the tasks that it drew then.

        Returns:
            Whether it goes on.
        """
        found = saved.get(LEARNED)
        if not found or found["units"] != list(self.units.names) or not same_tasks:
            self._first = max(self._first, step)
            self._next = self._first + self.method.interval
            self.begin()
            return False
        self.method.restore(found["state"])
        self.weights, self._next = np.array(found["weights"]), int(found["next"])
        self._sums, self._tokens = np.array(found["sums"]), np.array(found["tokens"])
        return True
