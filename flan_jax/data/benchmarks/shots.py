"""Chooses the solved examples before each question: as published or drawn, and never one that asks the same."""

from collections.abc import Iterable
from typing import NamedTuple

from flan_jax.data.benchmarks.benchmark import BenchmarkTask, Question, Shot, ShotOrder
from flan_jax.errors import UserError
from flan_jax.tasks.rendering.fewshot import Exemplars, content_key


class Chosen(NamedTuple):
    """The solved examples of a question.

    Attributes:
        shots: in the order of the prompt.
        leaks: how many were passed over since they ask the same as the question.
    """

    shots: tuple[Shot, ...]
    leaks: int


class ShotChooser:
    """Chooses solved examples for the questions of one task.

    ``published`` takes the first of the task's, in their order. ``drawn`` draws choice and order for each question, a pure
    function of (seed, task, example), and shows nothing twice. Either way an example that asks what the question asks,
    case and white space aside, is passed over and the next one taken.

    Args:
        task: whose examples are chosen from.
        shots: how many a question gets.
        order: as above.
        seed: of what is drawn.

    Raises:
        UserError: the task has fewer.
    """

    def __init__(self, task: BenchmarkTask, shots: int, *, order: ShotOrder, seed: int) -> None:
        if shots > len(task.shots):
            raise UserError(
                f"{task.name} has {len(task.shots)} solved example(s), but {shots} are asked for. Ask for at most "
                f"{len(task.shots)} (--shots), or name a file with more (--exemplars)."
            )
        self._task, self._shots, self._order, self._seed = task, shots, order, seed
        self._keys = [content_key(shot.asks) for shot in task.shots] if shots else []
        self._pool = (
            Exemplars.of(task.name, seed, enumerate(shot.asks for shot in task.shots)) if order == "drawn" else None
        )

    def __call__(self, question: Question) -> Chosen:
        """Chooses those of one question; every order of its options gets the same."""
        if not self._shots:
            return Chosen((), 0)
        own = content_key(question.asks)
        chosen: list[Shot] = []
        leaks = 0
        for index in self._candidates(question):
            if len(chosen) == self._shots:
                break
            if self._keys[index] == own:
                leaks += 1
            else:
                chosen.append(self._task.shots[index])
        return Chosen(tuple(chosen), leaks)

    def _candidates(self, question: Question) -> Iterable[int]:
        if self._pool is None:
            return range(len(self._task.shots))
        found = self._pool.candidates(self._task.name, self._seed, "test", question.example_id, question.asks)
        return (self._pool.indices[position] for position in found)
