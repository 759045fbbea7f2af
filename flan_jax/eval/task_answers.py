"""All that a model is asked for a set of tasks, and its answers by task."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from flan_jax.eval.answering import AskedExamples, answer_all
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.journal import Journal, answers_key
from flan_jax.eval.language_model import BatchedModel, LanguageModel, Request
from flan_jax.eval.option_scores import OptionScore, ScoredOptions, priors_wanted


class EvalProgress(Protocol):
    """Shows people how far an evaluation is."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` requests are answered: examples, and options that are scored without a prompt."""


class TaskAnswers:
    """The answers to the examples of all tasks.

    Attributes:
        of: request → number of a task → the answers to its examples.
        priors: option → its log-likelihood (nats) behind no prompt, where it was wanted.
        failed: numbers of the tasks given up.
    """

    def __init__(
        self,
        model: LanguageModel,
        tasks: Sequence[EvalTask],
        way: OptionScore,
        *,
        progress: EvalProgress | None = None,
        journal: Journal | None = None,
        asked_with: tuple[str, Any] = ("", None),
        failures: dict[str, Exception] | None = None,
    ) -> None:
        """Asks; the arguments are those of ``runner.evaluate``."""
        self._model, self._tasks, self._progress, self._failures = model, tasks, progress, failures
        self._journal, self._asked_with = journal, asked_with
        self.failed: set[int] = set()
        requests: tuple[Request, ...] = ("rank", "text", "score")
        wanted = {
            request: [number for number, task in enumerate(tasks) if request in _requests(task)] for request in requests
        }
        self._with_priors = [
            number
            for number in wanted["rank"]
            if isinstance(model, BatchedModel) and priors_wanted(tasks[number].examples, way)
        ]
        options = self._options(self._with_priors)
        self._done = 0
        self._total = len(options) + sum(len(tasks[number].examples) for own in wanted.values() for number in own)
        self.of: dict[Request, dict[int, list[Any]]] = {
            request: self._ask(request, numbers) for request, numbers in wanted.items()
        }
        self.priors = self._ask_priors(self._options([n for n in self._with_priors if n not in self.failed]))

    def give_up(self, number: int, error: Exception) -> None:
        """Leaves a task out of the results."""
        if self._failures is None:
            raise error
        self.failed.add(number)
        self._failures.setdefault(self._tasks[number].name, error)

    def _options(self, numbers: Sequence[int]) -> list[str]:
        """The distinct options of tasks."""
        examples = (example for number in numbers for example in self._tasks[number].examples)
        return list(dict.fromkeys(option for example in examples for option in example.options))

    def _advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _asked(self, request: Request, examples: Sequence[EvalExample], data: str = "") -> AskedExamples:
        if self._journal is None:
            return AskedExamples(examples)
        weights, settings = self._asked_with
        return AskedExamples(examples, answers_key(request, examples, weights, [settings, data]))

    def _ask(self, request: Request, numbers: Sequence[int]) -> dict[int, list[Any]]:
        """Task → the answers to its examples."""
        answers = answer_all(
            self._model,
            request,
            [self._asked(request, self._tasks[number].examples, self._tasks[number].data) for number in numbers],
            journal=self._journal,
            advance=self._advance,
            give_up=lambda place, error: self.give_up(numbers[place], error),
        )
        return {number: own for number, own in zip(numbers, answers, strict=True) if own is not None}

    def _ask_priors(self, options: Sequence[str]) -> dict[str, float]:
        """Option → its log-likelihood behind no prompt; a task without that of one of its options is given up."""
        if not isinstance(self._model, BatchedModel) or not options:
            return {}
        prompt, lost = self._model.empty_prompt, {}
        answers = answer_all(
            self._model,
            "rank",
            [self._asked("rank", [EvalExample(prompt, (option,), ("",), 0, 0)]) for option in options],
            journal=self._journal,
            advance=self._advance,
            give_up=lambda place, error: lost.update({options[place]: error}),
        )
        for number in self._with_priors if lost else ():
            own = {option for example in self._tasks[number].examples for option in example.options}
            for option in own & lost.keys():
                self.give_up(number, lost[option])
        return {option: float(own[0][0]) for option, own in zip(options, answers, strict=True) if own is not None}

    def scored_options(self, number: int) -> list[ScoredOptions]:
        """The options of a ranked task's examples, with all that is known of them."""
        examples = self._tasks[number].examples
        tokens: dict[str, int] = {}
        if isinstance(self._model, BatchedModel):
            distinct = list(dict.fromkeys(option for example in examples for option in example.options))
            tokens = dict(zip(distinct, self._model.option_tokens(distinct), strict=True))
        with_priors = number in self._with_priors
        return [
            ScoredOptions(
                example.options,
                np.asarray(sums, np.float64),
                np.array([tokens[option] for option in example.options]) if tokens else None,
                np.array([self.priors[option] for option in example.options]) if with_priors else None,
            )
            for example, sums in zip(examples, self.of["rank"][number], strict=True)
        ]


def _requests(task: EvalTask) -> frozenset[str]:
    """The kinds of request that the task makes."""
    if task.task_metrics is not None:
        return task.task_metrics.outputs
    return frozenset(["rank" if task.predict == "rank" else "text"])
