"""A run that begins with a lesson: some steps on other weights over the same tasks, then the mixture."""

from collections.abc import Iterator, Mapping

from flan_jax.errors import UserError
from flan_jax.feed.loader import Batch, PackedBatches

_LESSON = "lesson_"
_MIXTURE = "mixture_"


class LessonFirst(Iterator[Batch]):
    """The batches of a lesson for ``steps`` steps, and of the mixture from then on.

    Both number their tasks alike, so ``decoder_task_ids`` keep their meaning. What comes at a step is a
    function of the two streams and ``steps`` only; the position is theirs, side by side.
    """

    def __init__(self, lesson: PackedBatches, mixture: PackedBatches, *, steps: int) -> None:
        """Joins two streams.

        Args:
            lesson: batches of the first ``steps`` steps.
            mixture: batches of all later steps, from its own beginning.
            steps: length of the lesson, at least 1.
        """
        if steps < 1:
            raise UserError(f"A lesson of {steps} steps is none. Give at least 1.")
        self._lesson = lesson
        self._mixture = mixture
        self._steps = steps

    def __next__(self) -> Batch:
        return next(self._lesson if self._lesson.step < self._steps else self._mixture)

    @property
    def step(self) -> int:
        """How many batches were handed out since the beginning of the run."""
        return self._lesson.step + self._mixture.step

    def get_state(self) -> dict[str, int]:
        """The position after the last batch that was handed out: a dozen integers."""
        return {
            "lesson_steps": self._steps,
            **{_LESSON + name: value for name, value in self._lesson.get_state().items()},
            **{_MIXTURE + name: value for name, value in self._mixture.get_state().items()},
        }

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues after the batch at which ``state`` was taken.

        Raises:
            UserError: the state was taken with another lesson, other tasks, weights or lengths.
        """
        if state.get("lesson_steps") != self._steps:
            raise UserError(
                f"The saved data position began with a lesson of {state.get('lesson_steps', 0)} steps, and this run has "
                f"one of {self._steps}. Restore the old length, or start a new run from the checkpoint's parameters."
            )
        self._lesson.set_state({name: state[_LESSON + name] for name in self._lesson.get_state()})
        self._mixture.set_state({name: state[_MIXTURE + name] for name in self._mixture.get_state()})

    def close(self) -> None:
        """Stops both prefetching threads."""
        self._lesson.close()
        self._mixture.close()
