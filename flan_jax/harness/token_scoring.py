"""Scores of continuations behind contexts, given as ids: equal contexts are computed once, and what is too long is cut and counted."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.language_model import AnsweredBatch, BatchError
from flan_jax.eval.predictor import Predictor
from flan_jax.harness.tokens import Ids

_LOGITS = 2**28
"""Numbers of the logits that are held at a time, a gigabyte: long continuations are computed fewer at a time."""
_SHORT = 64


class Request(NamedTuple):
    """A continuation behind its context.

    Attributes:
        context: ids, of one sequence with the continuation or of an encoder's input.
        continuation: ids.
    """

    context: Ids
    continuation: Ids


class Answer(NamedTuple):
    """Scores of one request.

    Attributes:
        log_likelihood: of the continuation, in nats.
        greedy: greedy decoding writes the continuation itself.
    """

    log_likelihood: float
    greedy: bool


@dataclasses.dataclass
class TokenScorer:
    """Scores requests with a predictor.

    Attributes:
        predictor: computes them.
        max_length: the most tokens of a sequence, or of an encoder's input and of a decoder's output each.
        begin: ids that the model reads in front of every prompt by itself.
        decoder_only: context and continuation are one sequence.
        vocab_size: logits of a token.
        learned_positions: the most tokens that the model has positions for; ``None`` where positions are relative.
        cut: how many requests lost the beginning of their context so far.
    """

    predictor: Predictor
    max_length: int
    begin: Ids
    decoder_only: bool
    vocab_size: int
    learned_positions: int | None = None
    cut: int = 0

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yields each request's index with its scores, as they are computed.

        Raises:
            UserError: a continuation is longer than the model reads.
        """
        members: dict[Ids, dict[Ids, list[int]]] = {}
        for index, request in enumerate(requests):
            if not request.continuation:
                yield index, Answer(0.0, True)  # nothing is written with certainty
                continue
            prompt = self._prompt(*request)
            members.setdefault(prompt, {}).setdefault(request.continuation, []).append(index)
        for width, prompts in self._by_width(members):
            rows = max(1, min(self.predictor.batch_size, _LOGITS // (width * self.vocab_size)))
            predictor = dataclasses.replace(self.predictor, batch_size=rows)
            targets = [tuple(members[prompt]) for prompt in prompts]
            for place, scores in answers_of(
                predictor.target_batches([prompt_example(ids) for ids in prompts], targets)
            ):
                for continuation, (log_likelihood, greedy) in zip(targets[place], scores.tolist(), strict=True):
                    for index in members[prompts[place]][continuation]:
                        yield index, Answer(log_likelihood, bool(greedy))

    def _prompt(self, context: Ids, continuation: Ids) -> Ids:
        """The context as the model is given it: cut from the left where it is too long, without what is read anyway."""
        if len(continuation) > self.max_length:
            raise UserError(
                f"A continuation has {len(continuation)} tokens, and this model reads at most {self.max_length}. Shorten it, or "
                "give a larger max_length where the model allows it."
            )
        room = self.max_length
        if self.decoder_only:  # the last token of the continuation is not read
            room += (self.learned_positions is None) - len(continuation)
        self.cut += len(context) > room
        return without_begin(cut_left(context, room, self.begin), self.begin)

    def _by_width(self, members: dict[Ids, dict[Ids, list[int]]]) -> Iterator[tuple[int, list[Ids]]]:
        """Yields prompts whose longest continuations are of similar length, with that length."""
        groups: dict[int, list[Ids]] = {}
        for prompt, continuations in members.items():
            groups.setdefault(max(_SHORT, 1 << (max(map(len, continuations)) - 1).bit_length()), []).append(prompt)
        for _, prompts in sorted(groups.items(), reverse=True):
            yield max(len(ids) for prompt in prompts for ids in members[prompt]), prompts


def answers_of(batches: Iterable[AnsweredBatch]) -> Iterator[tuple[int, Any]]:
    """Yields the index of each example with its answer; what went wrong in a batch is raised as it is."""
    try:
        for members, answers in batches:
            yield from zip(members, answers, strict=True)
    except BatchError as failed:
        raise failed.__cause__ or failed from None


def cut_left(ids: Ids, room: int, begin: Ids) -> Ids:
    """Cuts the beginning of ids that are too long, and puts what begins a sequence in front of the rest again."""
    if len(ids) <= room:
        return ids
    kept = max(0, room - len(begin))
    return (*begin[:room], *(ids[len(ids) - kept :]))


def without_begin(ids: Ids, begin: Ids) -> Ids:
    """Drops the ids that the model reads in front of every prompt by itself."""
    return ids[len(begin) :] if ids[: len(begin)] == begin else ids


def prompt_example(ids: Ids, index: int = 0) -> EvalExample:
    """Makes an example of a prompt's ids, to go on from."""
    return EvalExample(np.array(ids, np.int32), (), (), example_id=index, template_id=0)
