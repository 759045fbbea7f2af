"""A run that begins with a curriculum: some steps on other weights over the same tasks, then the mixture."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.feed.batch_stream import BatchExample, TaskProgress, Weights
from flan_jax.feed.loader import Batch, PackedBatches, SamplingStats

_CURRICULUM = "curriculum_"
_MIXTURE = "mixture_"
_EARLIER = "lesson_"
"""Prefix of the curriculum's keys in positions that an earlier version saved."""


class CurriculumBatches(Iterator[Batch]):
    """Yields the batches of a curriculum for its steps, and those of the mixture from then on.

    Both number their tasks alike, so ``decoder_task_ids`` keep their meaning. The batch of a step is a
    function of the two streams and the step only; the position is theirs, side by side.
    """

    def __init__(self, curriculum: PackedBatches, mixture: PackedBatches) -> None:
        """Joins two streams, both of which count the steps of the run.

        Args:
            curriculum: batches of the first steps.
            mixture: batches of all later steps, from its own beginning; its ``first_step`` is the length of the
                curriculum, at least 1.
        """
        if mixture.first_step < 1:
            raise UserError(f"A curriculum of {mixture.first_step} steps is none. Give at least 1.")
        self._curriculum = curriculum
        self._mixture = mixture
        self._steps = mixture.first_step

    def __next__(self) -> Batch:
        return next(self._active)

    @property
    def _active(self) -> PackedBatches:
        """The batches that the next one comes from."""
        return self._curriculum if self._curriculum.step < self._steps else self._mixture

    @property
    def step(self) -> int:
        """Batches consumed since the beginning of the run."""
        return self._active.step

    @property
    def weights(self) -> dict[str, float]:
        """The shares of draws in force, by task: the curriculum's until it ends."""
        return self._active.weights

    @property
    def shares_of_mixture(self) -> dict[str, float]:
        """The shares of draws that the mixture declares, by task."""
        return self._mixture.shares_of_mixture

    def get_state(self) -> dict[str, Any]:
        """Returns the position after the last batch consumed: a dozen integers."""
        return {
            "curriculum_steps": self._steps,
            **{_CURRICULUM + name: value for name, value in self._curriculum.get_state().items()},
            **{_MIXTURE + name: value for name, value in self._mixture.get_state().items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores the position of ``get_state``.

        Raises:
            UserError: the state was taken with another curriculum, other tasks, weights or lengths.
        """
        state = {_by_new_name(name): value for name, value in state.items()}
        if state.get("curriculum_steps") != self._steps:
            raise UserError(
                f"The saved data position began with a curriculum of {state.get('curriculum_steps', 0)} steps, and this run has "
                f"one of {self._steps}. Restore the old length, or start a new run from the checkpoint's parameters."
            )
        for prefix, batches in ((_CURRICULUM, self._curriculum), (_MIXTURE, self._mixture)):
            own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            batches.set_state(own)

    def set_weights(self, weights: Weights) -> None:
        """Changes the shares of the mixture from its next batch on; the curriculum keeps its own."""
        self._mixture.set_weights(weights, asked_after=self.step)

    def seek(self, step: int) -> None:
        """Moves to the batch of the run's 0-based ``step``.

        Raises:
            UserError: as ``PackedBatches.seek``.
        """
        # First the mixture: what is refused leaves all as it is. No step is negative for either.
        self._mixture.seek(max(step, self._steps) if step >= 0 else step)
        self._curriculum.seek(min(step, self._steps))

    def progress(self) -> tuple[TaskProgress, ...]:
        """Returns how far the curriculum has gone, and the mixture."""
        return *self._curriculum.progress(), *self._mixture.progress()

    def continue_from(self, progress: Sequence[TaskProgress]) -> None:
        """Continues where a curriculum and a mixture over other tasks stand, as ``PackedBatches`` does.

        Args:
            progress: of the other curriculum and the other mixture.
        """
        curriculum, mixture = progress
        self._curriculum.continue_from([curriculum])
        self._mixture.continue_from([mixture])

    def sampling_stats(self) -> SamplingStats:
        """Counts what was drawn from the first step of the run on, curriculum and mixture together."""
        return self._curriculum.sampling_stats() + self._mixture.sampling_stats()

    def examples(self, step: int) -> list[BatchExample]:
        """Returns the examples of a global batch, as ``BatchStream.examples``."""
        return (self._curriculum if step <= self._steps else self._mixture).examples(step)

    def close(self) -> None:
        """Stops both prefetching threads."""
        self._curriculum.close()
        self._mixture.close()


def _by_new_name(name: str) -> str:
    return _CURRICULUM + name.removeprefix(_EARLIER) if name.startswith(_EARLIER) else name
