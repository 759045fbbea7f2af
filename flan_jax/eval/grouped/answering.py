"""Answers of many models that are asked together, handed to the evaluation of each as if it were asked alone."""

import hashlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.grouped.predictor import GroupedPredictor
from flan_jax.eval.language_model import AnsweredBatch, ProgressCallback, Request


class GroupAnswers:
    """The answers of R models to the pools of examples that the evaluations of any of them ask.

    The first model that asks for a pool has all of them asked; the others find their answers there.

    Args:
        predictor: of all models.
    """

    def __init__(self, predictor: GroupedPredictor) -> None:
        self.predictor = predictor
        self._found: dict[str, dict[int, list[Any]]] = {}

    def of(self, run: int) -> "ModelAnswers":
        """Returns the model with this index, from 0."""
        return ModelAnswers(self, run)

    def batches(
        self, run: int, request: Request, examples: Sequence[EvalExample], skip: Container[int]
    ) -> Iterator[AnsweredBatch]:
        """Yields one model's answers; what no model was asked so far is asked of all."""
        found = self._found.setdefault(_pool(request, examples), {})
        known = [index for index in range(len(examples)) if index in found and index not in skip]
        if known:
            yield AnsweredBatch(known, [found[index][run] for index in known])
        rest = {index for index in range(len(examples)) if index not in found and index not in skip}
        if not rest:
            return
        others = set(range(len(examples))) - rest
        for members, answers in self.predictor.answer_batches(request, examples, others):
            found.update(zip(members, answers, strict=True))
            yield AnsweredBatch(members, [answer[run] for answer in answers])


class ModelAnswers:
    """One model among several; a ``BatchedModel``."""

    def __init__(self, group: GroupAnswers, run: int) -> None:
        self._group, self._run = group, run

    def answer_batches(
        self, request: Request, examples: Sequence[EvalExample], skip: Container[int] = ()
    ) -> Iterator[AnsweredBatch]:
        """Answers examples batch by batch; see ``language_model.BatchedModel``."""
        yield from self._group.batches(self._run, request, examples, skip)

    def _answers(self, request: Request, examples: Sequence[EvalExample], advance: ProgressCallback) -> list[Any]:
        found: list[Any] = [None] * len(examples)
        for members, answers in self.answer_batches(request, examples):
            for index, answer in zip(members, answers, strict=True):
                found[index] = answer
            advance(len(members))
        return found

    def rank(self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None) -> list[np.ndarray]:
        """Scores each example's options, as ``Predictor.rank``."""
        return self._answers("rank", examples, advance)

    def generate(self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None) -> list[str]:
        """Generates a text for each example, as ``Predictor.generate``."""
        return self._answers("text", examples, advance)

    def loglikelihood(
        self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None
    ) -> np.ndarray:
        """Scores each example's target, as ``Predictor.loglikelihood``."""
        return np.array(self._answers("score", examples, advance), np.float64)

    def rank_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        """Returns the ``notes`` of ranking."""
        return self.notes("rank", examples)

    def notes(self, request: Request, examples: Sequence[EvalExample]) -> list[str]:
        """Says what a reader must know of the answers, as ``Predictor.notes``."""
        return self._group.predictor.notes(request, examples)

    @property
    def empty_prompt(self) -> np.ndarray:
        """The prompt of an option that follows nothing, int32 ``[length]``."""
        return self._group.predictor.empty_prompt

    def option_tokens(self, options: Sequence[str]) -> list[int]:
        """Returns how many tokens of each option are scored."""
        return self._group.predictor.option_tokens(options)


def _pool(request: Request, examples: Sequence[EvalExample]) -> str:
    """A digest of all that the answers to examples depend on, beside the model."""
    digest = hashlib.sha256(request.encode())
    for example in examples:
        targets = None if example.targets is None else example.targets.tolist()
        asked = (example.inputs.tolist(), example.options, targets, example.example_id, example.template_id)
        digest.update(repr(asked).encode())
    return digest.hexdigest()
