"""The protocols of what can be evaluated, and what is asked of it."""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from flan_jax.eval.examples import EvalExample

Request = Literal["rank", "text", "score"]
"""What is asked of an example: log-likelihoods of its options, a text, or the log-likelihood of its target."""
ProgressCallback = Callable[[int], None]
"""Called with the number of examples finished since the last call; see ``LanguageModel``."""


class LanguageModel(Protocol):
    """The protocol of what can be evaluated; ``flan_jax.eval.predictor.Predictor`` implements it for our models.

    ``advance`` is told how many more examples are finished, after every batch.
    """

    def rank(self, examples: Sequence[EvalExample], advance: ProgressCallback) -> list[np.ndarray]:
        """Scores the options of each example: log-likelihoods (nats), ``[options]``."""

    def generate(self, examples: Sequence[EvalExample], advance: ProgressCallback) -> list[str]:
        """Generates a text for each example."""

    def loglikelihood(self, examples: Sequence[EvalExample], advance: ProgressCallback) -> np.ndarray:
        """Scores the target of each example: its log-likelihood (nats), ``[n]``."""

    def rank_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        """Says what a reader must know of how ``rank`` scored these examples, a sentence each."""


class AnsweredBatch(NamedTuple):
    """Examples that were answered together.

    Attributes:
        members: their indices.
        answers: one a member: log-likelihoods of its options ``[options]``, a text, or a log-likelihood.
    """

    members: Sequence[int]
    answers: Sequence[Any]


class BatchError(Exception):
    """A batch that could not be answered; the error itself is its cause.

    Attributes:
        members: indices of its examples.
    """

    def __init__(self, members: Sequence[int]) -> None:
        super().__init__(f"{len(members)} examples could not be answered")
        self.members = tuple(members)


@runtime_checkable
class BatchedModel(Protocol):
    """A ``LanguageModel`` that hands its answers over batch by batch, so that those of a killed evaluation are not lost."""

    def answer_batches(
        self, request: Request, examples: Sequence[EvalExample], skip: Container[int] = ()
    ) -> Iterator[AnsweredBatch]:
        """Yields the answers to all examples but those to skip, each once.

        The batches do not depend on ``skip``, so that what is left of an evaluation is computed as it would have been.

        Args:
            request: what is asked of each example.
            examples: all of them.
            skip: indices of examples that are answered already.

        Raises:
            BatchError: a batch could not be answered; those yielded before it hold.
        """

    @property
    def empty_prompt(self) -> np.ndarray:
        """The token ids that are read before an option that follows nothing, ``[length]``."""

    def option_tokens(self, options: Sequence[str]) -> list[int]:
        """Returns how many tokens of each option are scored."""

    def notes(self, request: Request, examples: Sequence[EvalExample]) -> list[str]:
        """Says what a reader must know of how these examples are answered, a sentence each."""
