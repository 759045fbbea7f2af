"""Answers to pools of examples of many tasks: batch by batch, kept as they come, and around what fails.

A failure in a batch costs the batch: the examples of each of its tasks are asked apart from the others, until it is known
whose they are that fail. Those tasks are given up, and everything else is asked as if nothing had been.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.journal import Journal
from flan_jax.eval.language_model import (
    AnsweredBatch,
    BatchedModel,
    BatchError,
    LanguageModel,
    ProgressCallback,
    Request,
)
from flan_jax.files import WritingError

GiveUp = Callable[[int, Exception], None]
"""Called with the number of a set of examples that cannot be answered, and the reason. It may raise."""


@dataclasses.dataclass(frozen=True, eq=False)
class AskedExamples:
    """Examples that are given up together where one of them cannot be answered.

    Attributes:
        examples: in order.
        key: what the journal knows them by.
    """

    examples: Sequence[EvalExample]
    key: str = ""


def answer_all(
    model: LanguageModel,
    request: Request,
    sets: Sequence[AskedExamples],
    *,
    journal: Journal | None = None,
    advance: ProgressCallback = lambda count: None,
    give_up: GiveUp,
) -> list[list[Any] | None]:
    """Answers sets of examples as one pool, so that the model may batch across them.

    Args:
        model: answers.
        request: what is asked of every example.
        sets: of examples.
        journal: knows answers of an earlier, killed evaluation, and is told those of this one.
        advance: told how many more examples are finished.
        give_up: told of each set that fails.

    Returns:
        The answers of each set, in its order; ``None`` for those given up.
    """
    if not sets:
        return []
    pool = _Pool(model, request, sets, journal, advance, give_up)
    pool.answer()
    found: list[list[Any] | None] = []
    start = 0
    for number, own in enumerate(sets):
        rows = range(start, start + len(own.examples))
        found.append(None if number in pool.failed else [pool.found[row] for row in rows])
        start = rows.stop
    return found


class _Pool:
    """The examples of all sets in one list, and what is known of them so far."""

    def __init__(
        self,
        model: LanguageModel,
        request: Request,
        sets: Sequence[AskedExamples],
        journal: Journal | None,
        advance: ProgressCallback,
        give_up: GiveUp,
    ) -> None:
        self._model, self._request, self._sets = model, request, sets
        self._journal, self._advance, self._give_up = journal, advance, give_up
        self._examples = [example for own in sets for example in own.examples]
        # Of each example: its set, and its index in that.
        self._place = [(number, index) for number, own in enumerate(sets) for index in range(len(own.examples))]
        self.found: dict[int, Any] = {}
        self.failed: set[int] = set()
        # Failed sets that no pool may hold, as they fail before there are batches.
        self._kept_out: set[int] = set()

    def answer(self) -> None:
        """Answers all that can be answered."""
        self._recall()
        everything = range(len(self._examples))
        while left := [row for row in everything if row not in self.found and self._place[row][0] not in self.failed]:
            pool = [row for row in everything if self._place[row][0] not in self._kept_out]
            try:
                self._ask(left, pool)
            except WritingError:  # of the journal, and no fault of a task's
                raise
            except BatchError as error:
                self._isolate(list(error.members), _cause(error), pool)
            except Exception as error:
                self._isolate(left, error, None)

    def _recall(self) -> None:
        if self._journal is None:
            return
        start = 0
        for own in self._sets:
            for index, answer in self._journal.known(own.key).items():
                self.found[start + index] = np.asarray(answer, np.float64) if self._request == "rank" else answer
            start += len(own.examples)
        if self.found:
            self._advance(len(self.found))

    def _ask(self, rows: Sequence[int], pool: Sequence[int]) -> None:
        """Answers the examples ``rows`` of a pool, which decides the batches; what was answered before a failure is kept."""
        for batch in self._batches(rows, pool):
            answers = dict(zip(batch.members, batch.answers, strict=True))
            self.found.update(answers)
            if self._journal is not None:
                self._journal.add(
                    (self._sets[number].key, index, answer.tolist() if isinstance(answer, np.ndarray) else answer)
                    for row, answer in answers.items()
                    for number, index in [self._place[row]]
                )
            self._advance(len(answers))

    def _batches(self, rows: Sequence[int], pool: Sequence[int]) -> Iterator[AnsweredBatch]:
        if not isinstance(self._model, BatchedModel):
            names = {"rank": "rank", "text": "generate", "score": "loglikelihood"}
            examples = [self._examples[row] for row in rows]
            yield AnsweredBatch(rows, list(getattr(self._model, names[self._request])(examples, lambda count: None)))
            return
        wanted = set(rows)
        skip = {place for place, row in enumerate(pool) if row not in wanted}
        try:
            for members, answers in self._model.answer_batches(
                self._request, [self._examples[row] for row in pool], skip
            ):
                yield AnsweredBatch([pool[place] for place in members], answers)
        except BatchError as error:
            raise BatchError([pool[place] for place in error.members]) from error.__cause__

    def _isolate(self, rows: Sequence[int], error: Exception, pool: Sequence[int] | None) -> None:
        """Answers ``rows``, of which some fail, by halves of their sets, until the sets that fail are found.

        Args:
            rows: examples.
            error: why they could not be answered together.
            pool: the pool that they are asked of, so that they are computed in the shapes of the others; ``None`` asks
                each half as a pool of its own, where it is the pool that failed.
        """
        numbers = list(dict.fromkeys(self._place[row][0] for row in rows))
        if len(numbers) == 1:
            self.failed.add(numbers[0])
            if pool is None:
                self._kept_out.add(numbers[0])
            self._give_up(numbers[0], error)
            return
        middle = len(numbers) // 2
        for half in (set(numbers[:middle]), set(numbers[middle:])):
            own = [row for row in rows if self._place[row][0] in half]
            try:
                self._ask(own, own if pool is None else pool)
            except WritingError:
                raise
            except Exception as other:
                self._isolate([row for row in own if row not in self.found], _cause(other), pool)


def _cause(error: Exception) -> Exception:
    """The error itself, of one that only says where it occurred."""
    return error.__cause__ if isinstance(error, BatchError) and isinstance(error.__cause__, Exception) else error
