"""The base of methods that learn weights while a run trains: what a run asks of them, and their state."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from flan_jax.mixing.online.units import UnitKind
from flan_jax.typed import Positive, check_fields

Observed = Literal["loss", "excess_loss", "validation_loss", "gradient_products"]
AppliedTo = Literal["draws", "loss"]


@dataclasses.dataclass
class WeightingMethod(abc.ABC):
    """Base of a method: its fields are its settings, its other attributes its state.

    A run copies the method that its configuration holds, calls ``begin`` once and ``update`` after every
    ``interval`` steps, in every process alike. What a method sees are numbers of the whole batch, so all
    processes reach the same weights. U is the number of units.

    Class attributes:
        observes: what ``update`` is given: the training ``loss`` since the last update, the ``excess_loss`` over
            a reference model of the batch that is about to be trained on, the ``validation_loss`` at that moment, or
            the ``gradient_products`` of the units on the batch that is about to be trained on.
        applies_to: what the weights are: shares of the ``draws``, or factors of the ``loss`` (a unit of weight w
            that is drawn with the share s counts w / s times).

    Attributes:
        period: steps between two updates.
        units: what has a weight: every ``task``, every ``cluster`` or every ``entry`` of the mixture. Inside a
            unit the tasks keep the mixture's own proportions.
    """

    observes: ClassVar[Observed] = "loss"
    applies_to: ClassVar[AppliedTo] = "draws"

    period: Positive = 100
    units: UnitKind = "task"

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def begin(self, weights: np.ndarray) -> None:
        """Sets the state of the first step.

        Args:
            weights: [U] float64, the mixture's own shares; they sum to 1.
        """

    @abc.abstractmethod
    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Learns from one period.

        Args:
            losses: [U] float64, nats a token, what ``observes`` says; NaN for a unit without a token. Of
                ``gradient_products`` [U, U], the inner products of the gradients of the units' mean losses.
            step: steps taken so far, from 1 on.

        Returns:
            [U] the weights from now on; proportions are enough.
        """

    @property
    def interval(self) -> int:
        """Steps from one update to the next; ``period``, unless a method has phases of several lengths."""
        return self.period

    @property
    def initial_weights(self) -> np.ndarray | None:
        """[U] the weights of the first interval, after ``begin``; ``None`` for the mixture's own."""
        return None

    @property
    def result(self) -> np.ndarray | None:
        """[U] the weights that the method recommends for another run, if it is one that does so."""
        return None

    @property
    def rollback(self) -> int | None:
        """Step of an update whose model and optimizer the run goes back to, after the last ``update``; ``None`` goes on."""
        return None

    @property
    def reach(self) -> int:
        """Updates that a ``rollback`` may go back over; 0 for a method that never does."""
        return 0

    @property
    def finished(self) -> bool:
        """True where nothing is left to train: the run ends, whatever its number of steps."""
        return False

    def settings(self) -> dict[str, Any]:
        """Returns the name of the method and its settings, as JSON values: a part of what a run is."""
        return {"method": type(self).__name__, **dataclasses.asdict(self)}

    def state(self) -> dict[str, Any]:
        """Returns every attribute that is no setting, as JSON values; floats keep every digit."""
        settings = {field.name for field in dataclasses.fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
            if name not in settings
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what ``state`` returned; lists of numbers become float64 arrays again."""
        for name, value in state.items():
            setattr(self, name, np.asarray(value, np.float64) if isinstance(value, list) else value)


@dataclasses.dataclass
class ValidationMethod(WeightingMethod):
    """Base of a method that observes the loss on the validation splits of the tasks that a run draws.

    Attributes:
        validation_batches: batches, of the run's size, that the loss is measured on; the same each time, and drawn in
            equal shares from all tasks.
    """

    observes: ClassVar[Observed] = "validation_loss"

    validation_batches: Positive = 4


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns exp(x) over its sum, [U]; large values do not overflow."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
