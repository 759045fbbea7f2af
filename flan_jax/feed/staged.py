"""Batches whose weights follow a schedule of stages: each change is made after the step that the schedule says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.feed.batch_stream import BatchExample, BatchStream, TaskProgress, Weights
from flan_jax.feed.layout import Batch
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.mixing.stages import StageSchedule


class StagedBatches(Iterator[Batch]):
    """Yields the batches of a stream and changes its weights by a schedule; a ``BatchStream``.

    The batch of a step is a function of the stream's arguments, the schedule and the step. The position is the
    stream's, which holds the weights in force.
    """

    def __init__(self, batches: BatchStream, schedule: StageSchedule) -> None:
        """Wraps a stream at its first step; until the first stage its own weights hold.

        Args:
            batches: of the whole run, a curriculum included.
            schedule: over the same tasks, in the same order.
        """
        self._batches = batches
        self._schedule = schedule
        self._beginning = batches.get_state()
        self._begun = False

    def __next__(self) -> Batch:
        if not self._begun and not self._batches.step:
            self._change(0)
        self._begun = True
        batch = next(self._batches)
        # At once, so that a checkpoint of this step holds the change.
        self._change(self._batches.step)
        return batch

    def _change(self, step: int) -> None:
        weights = self._schedule.change_at(step)
        if weights is not None:
            self._batches.set_weights(weights)

    @property
    def step(self) -> int:
        """Batches consumed since the beginning of the run."""
        return self._batches.step

    @property
    def weights(self) -> dict[str, float]:
        """The shares of draws in force, by task."""
        return self._batches.weights

    @property
    def shares_of_mixture(self) -> dict[str, float]:
        """The shares of draws that the mixture declares, by task, which hold before the first stage."""
        return self._batches.shares_of_mixture

    def get_state(self) -> dict[str, Any]:
        """Returns the position after the last batch consumed."""
        return self._batches.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores the position of ``get_state``.

        Raises:
            UserError: as the stream's.
        """
        self._batches.set_state(state)
        self._begun = True

    def seek(self, step: int) -> None:
        """Moves to the batch of the run's 0-based ``step``, through every change before it.

        Raises:
            UserError: a negative step.
        """
        if step < 0:
            self._batches.seek(step)
        self._batches.set_state(self._beginning)
        for change in self._schedule.changes_until(step):
            self._batches.seek(change)
            self._change(change)
        self._batches.seek(step)
        self._begun = True

    def set_weights(self, weights: Weights) -> None:
        """Changes the shares of the draws until the schedule's next change."""
        self._batches.set_weights(weights)

    def progress(self) -> tuple[TaskProgress, ...]:
        """Returns how far each part of the stream has gone."""
        return self._batches.progress()

    def continue_from(self, progress: Sequence[TaskProgress]) -> None:
        """Continues where a stream over other tasks stands, in the weights that the schedule has there."""
        self._batches.continue_from(progress)
        weights = self._schedule.weights_at(self._batches.step)
        if weights is not None:
            self._batches.set_weights(weights)
        self._begun = True

    def sampling_stats(self) -> SamplingStats:
        """Counts what was drawn from the first step of the run to the last batch consumed."""
        return self._batches.sampling_stats()

    def examples(self, step: int) -> list[BatchExample]:
        """Returns the examples of a global batch, as ``BatchStream.examples``."""
        return self._batches.examples(step)

    def close(self) -> None:
        """Stops prefetching."""
        self._batches.close()
