"""The protocol of a run's batches: what training, resuming and reweighting ask of them."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from flan_jax.feed.consumed import Consumed
from flan_jax.feed.layout import Batch
from flan_jax.feed.sampling_stats import SamplingStats

Weights = Sequence[float] | np.ndarray | Mapping[str, float]
"""Shares of the draws, [tasks] or by task; they are normalized where they are used."""


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class TaskProgress:
    """The progress of a stream through each of its tasks: from here a stream over other tasks can continue.

    Attributes:
        step: batches consumed since the beginning of the run.
        part: 0-based index of the part of the run, on weights of its own, that ends here.
        tasks: [tasks] name and fingerprint of each.
        consumed: the draws of each task, and those to be carried over.
        stats: consumed since the beginning of the run.
    """

    step: int
    part: int
    tasks: tuple[tuple[str, str], ...]
    consumed: Consumed
    stats: SamplingStats


class BatchExample(NamedTuple):
    """An example in a batch.

    Attributes:
        row: of the global batch.
        task: its name.
        example: its number among the task's prepared ones.
    """

    row: int
    task: str
    example: int


class BatchStream(Protocol):
    """The batches of a run in order, addressed by its step.

    The batch of a step is a function of the stream's arguments, the step, and the changes of weights before it.
    """

    @property
    def step(self) -> int:
        """Batches consumed since the beginning of the run."""

    @property
    def weights(self) -> dict[str, float]:
        """The shares of draws in force, by task; they sum to 1."""

    @property
    def shares_of_mixture(self) -> dict[str, float]:
        """The shares of draws that the mixture itself declares, by task, whatever is in force; they sum to 1."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position after the last batch consumed, as JSON values."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores the position of ``get_state``, on any number of hosts.

        Raises:
            UserError: the state belongs to other tasks, weights, seed or lengths, or is none.
        """

    def seek(self, step: int) -> None:
        """Moves to the batch of the run's 0-based ``step``.

        Raises:
            UserError: a negative step, one before the stream begins, or one before the weights last changed.
        """

    def set_weights(self, weights: Weights) -> None:
        """Changes the shares of the draws from the next batch on, or from the first that is drawn in them.

        Raises:
            UserError: unusable weights; the old ones then stay in force.
        """

    def progress(self) -> tuple[TaskProgress, ...]:
        """Returns how far each part of the stream has gone, for a stream over other tasks."""

    def continue_from(self, progress: Sequence[TaskProgress]) -> None:
        """Continues where a stream of the same composition over other tasks stands.

        A task that both have, prepared alike, goes on where it stands; any other begins at its first
        epoch. What was drawn from tasks that are gone is no longer counted.

        Args:
            progress: of the other stream.
        """

    def sampling_stats(self) -> SamplingStats:
        """Counts what was drawn from the first step of the run to the last batch consumed."""

    def examples(self, step: int) -> list[BatchExample]:
        """Returns the examples of the global batch that the run's 1-based ``step`` trained on, row by row.

        Raises:
            UserError: the stream no longer knows: the weights have changed since.
        """

    def close(self) -> None:
        """Stops prefetching; no batch can be requested afterwards."""
