"""Batched inference for evaluation: option log-likelihoods and generated texts of any number of examples."""

import dataclasses
import functools
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.eval import scoring
from flan_jax.eval.batching import Pair, PlannedBatch, has_room, pad_rows_at, pair_batches, plan, spread
from flan_jax.eval.decoding import generation
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.decoding.sampling import draw_key
from flan_jax.eval.decoding.stopping import cut_at_stop, stop_table, token_stops
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.language_model import AnsweredBatch, BatchError, ProgressCallback, Request
from flan_jax.eval.placement import Placement
from flan_jax.models.build import merge
from flan_jax.models.peft.soft_prompt import prompt_length
from flan_jax.models.protocol import Model, PromptContext, SharedConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Implements ``LanguageModel`` for a model of either kind with a vocabulary.

    Parameters are an argument of what is compiled, so ``with_params`` after training compiles
    nothing again. They may be sharded over a mesh; with ``rows_sharding`` its devices share the examples out.

    Attributes:
        graphdef: the model's static part.
        params: its parameters, arrays on the device.
        encode: text → token ids without EOS.
        decode: token ids → text; stops at EOS and skips padding.
        batch_size: prompts read, and options or texts computed, at a time, on all devices together; rounded up to what
            ``rows_sharding`` divides.
        target_length: longest target in tokens, EOS included. Longer options are cut, as in training.
        vocabulary_size: ids from here on are never generated; ``None`` allows the whole table.
        decoding: how texts are written; ``max_length`` ``None`` is ``target_length``.
        option_ids: option → its ids, all that is scored of it; ``None`` for those of ``encode`` with EOS behind.
        rows_sharding: how training puts the rows of a batch on the mesh of the parameters (``Partitioner.batch``): each
            device then computes its part of the examples. ``None`` lets every device compute all of them.
    """

    graphdef: nnx.GraphDef
    params: Mapping[str, Any]
    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    batch_size: int = 64
    target_length: int = 128
    vocabulary_size: int | None = None
    decoding: DecodingConfig = GREEDY
    option_ids: Callable[[str], Iterable[int]] | None = None
    rows_sharding: jax.sharding.NamedSharding | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "target_length"):
            if getattr(self, name) < 1:
                raise UserError(f"Predictor: {name} is {getattr(self, name)}; give a whole number of at least 1.")

    def with_params(self, params: Mapping[str, Any]) -> "Predictor":
        """The same model with other parameters."""
        return dataclasses.replace(self, params=params)

    def rank(self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None) -> list[np.ndarray]:
        """Scores each example's options: their log-likelihoods (nats), EOS included unless ``option_ids`` says else.

        Options that the vocabulary cannot tell apart get exactly the same score. Those of an example without room for
        them are NaN (``notes``).
        """
        return self._answers("rank", examples, advance)

    def loglikelihood(
        self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None
    ) -> np.ndarray:
        """Scores each example's target: the log-likelihood (nats) of its tokens, EOS included, float64 ``[n]``."""
        return np.array(self._answers("score", examples, advance), np.float64)

    def generate(
        self,
        examples: Sequence[EvalExample],
        advance: ProgressCallback = lambda count: None,
        decoding: DecodingConfig | None = None,
    ) -> list[str]:
        """Generates a continuation of each example, as text; nothing where there is no room for it (``notes``).

        What is drawn depends on an example and its template, never on the batch it is in.

        Args:
            examples: what to go on from.
            advance: told how many examples are finished.
            decoding: in place of the predictor's own.
        """
        predictor = self if decoding is None else dataclasses.replace(self, decoding=decoding)
        return predictor._answers("text", examples, advance)

    def _answers(self, request: Request, examples: Sequence[EvalExample], advance: ProgressCallback) -> list[Any]:
        """The answers to all examples, in their order."""
        found: list[Any] = [None] * len(examples)
        try:
            for members, answers in self.answer_batches(request, examples):
                for index, answer in zip(members, answers, strict=True):
                    found[index] = answer
                advance(len(members))
        except BatchError as failed:
            raise failed.__cause__ or failed from None
        return found

    def answer_batches(
        self, request: Request, examples: Sequence[EvalExample], skip: Container[int] = ()
    ) -> Iterator[AnsweredBatch]:
        """Answers examples batch by batch; see ``language_model.BatchedModel``."""
        yield from self._batches(request, examples, self._follow(request, examples), skip)

    def target_batches(
        self, examples: Sequence[EvalExample], targets: Sequence[Sequence[tuple[int, ...]]]
    ) -> Iterator[AnsweredBatch]:
        """Scores given ids behind each example, batch by batch; each prompt is computed once for all that follows it.

        Args:
            examples: the prompts.
            targets: of each example, ids that are scored as they are.

        Yields:
            Of each example ``[n, 2]``: the log-likelihood (nats) of each target, and 1 where greedy decoding writes the
            target itself, else 0. NaN where there is no room for them (``notes``).

        Raises:
            BatchError: as ``answer_batches``.
        """
        yield from self._batches("targets", examples, targets, ())

    def _batches(
        self,
        request: Request | Literal["targets"],
        examples: Sequence[EvalExample],
        follow: Sequence[Sequence[tuple[int, ...]]],
        skip: Container[int],
    ) -> Iterator[AnsweredBatch]:
        """Answers examples, which the ids of ``follow`` follow, batch by batch."""
        if not examples:
            return
        prompts, positions = self._prompts(examples), self._positions
        full = self._without_room(prompts, follow, positions)
        if without := [index for index in full if index not in skip]:
            yield AnsweredBatch(without, [self._no_answer(request, len(follow[index])) for index in without])
        rows = self._placement.rounded(min(self.batch_size, len(examples)))
        counts = [[len(ids) for ids in own] for own in follow]
        shareable = prompts if self._shares_prompts else None
        for batch in plan([len(prompt) for prompt in prompts], counts, rows, positions=positions, shareable=shareable):
            members = [index for index in batch.members if index not in skip]
            if not members:
                continue
            places = spread([len(set(follow[index])) for index in members], rows, self._placement.parts)
            read = pad_rows_at(places, [prompts[index] for index in members], (rows, batch.length))
            shared = self._placement.put_whole(prompts[members[0]][: batch.shared]) if batch.shared else []
            try:
                if request == "text":
                    answers = self._texts([examples[index] for index in members], places, read, shared)
                else:
                    score = scoring.greedy_target_scores if request == "targets" else scoring.target_scores
                    answers = self._scores([follow[index] for index in members], places, read, shared, batch, score)
            except Exception as error:
                raise BatchError(members) from error
            yield AnsweredBatch(members, [row[0].tolist() for row in answers] if request == "score" else answers)

    def _no_answer(self, request: Request | Literal["targets"], count: int) -> Any:
        """The answer to an example that has no room for its ``count`` targets."""
        none: dict[str, Any] = {"text": "", "score": math.nan}
        return none.get(request, np.full((count, *((2,) if request == "targets" else ())), np.nan))

    def notes(self, request: Request, examples: Sequence[EvalExample]) -> list[str]:
        """Says how many of the examples have no room for an answer, or options that are cut, a sentence each."""
        full = []
        if self._positions is not None:
            full = self._without_room(self._prompts(examples), self._follow(request, examples), self._positions)
        said = []
        if full:
            said.append(
                f"{len(full)} of {len(examples)} examples have prompts so long that their answers do not fit into the "
                f"{self._positions} positions that the model has for both; they were not asked, and count as wrong."
            )
        if request == "rank":
            said += self._cut_notes(examples)
        if request == "text":
            said += self._short_notes(examples)
        return said

    def rank_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        """Returns the ``notes`` of ranking."""
        return self.notes("rank", examples)

    def check_room(self, example: EvalExample) -> None:
        """Refuses an example whose prompt leaves no room for a text.

        Raises:
            UserError: the prompt is too long for the positions that the model has learned.
        """
        (prompt,), longest = self._prompts([example]), self._max_length
        if not has_room(len(prompt), longest, self._positions):
            raise UserError(
                f"Example {example.example_id} has {len(prompt)} tokens, the first of the sequence counted, and up to "
                f"{longest} follow, but the model has {self._positions} positions for them. Shorten it, or what is to follow."
            )

    def option_tokens(self, options: Sequence[str]) -> list[int]:
        """Returns how many tokens of each option are scored, with what ends it."""
        return [len(self._target_ids(option)) for option in options]

    @property
    def empty_prompt(self) -> np.ndarray:
        """The prompt of an option that follows nothing, int32 ``[length]``.

        The end-of-sequence token, which an encoder reads behind every input and which begins a text where a decoder has
        no token for that; of a decoder that has one, nothing behind it. lm-evaluation-harness takes the same.
        """
        starts = self._config.decoder_only and self._config.row_start_id is not None
        return np.array([] if starts else [self._config.eos_id], np.int32)

    def _cut_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        cut = sum(any(self._option_length(option) > self.target_length for option in e.options) for e in examples)
        if not cut:
            return []
        return [
            f"{cut} of {len(examples)} examples have options longer than {self.target_length} tokens, which were scored "
            "up to there."
        ]

    def _short_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        """Says how many examples accept only answers that are longer than what is written."""
        longest = self._max_length
        short = sum(
            bool(example.references) and all(self._option_length(text) > longest for text in example.references)
            for example in examples
        )
        if not short:
            return []
        return [
            f"{short} of {len(examples)} examples accept only answers of more than the {longest} tokens that are written, "
            "with the one that ends them."
        ]

    @property
    def _config(self) -> SharedConfig:
        return self._model.config

    @functools.cached_property
    def _model(self) -> Model:
        return merge(self.graphdef, self.params)

    @functools.cached_property
    def _placement(self) -> Placement:
        return Placement.of(self.params, self.rows_sharding)

    @functools.cached_property
    def _positions(self) -> int | None:
        """The number of learned positions left for tokens, behind a soft prompt; ``None`` where positions are relative."""
        positions = self._config.learned_positions
        in_front = prompt_length(self._model.prompt)
        return None if positions is None else positions - in_front

    @property
    def _shares_prompts(self) -> bool:
        return self._model.shares_prompts

    @property
    def _max_length(self) -> int:
        return self.decoding.max_length or self.target_length

    def _prompts(self, examples: Sequence[EvalExample]) -> list[np.ndarray]:
        """The token ids of each prompt."""
        start = np.array(self._config.prompt_start, np.int32)
        return [np.concatenate([start, example.inputs]).astype(np.int32) for example in examples]

    def _follow(self, request: Request, examples: Sequence[EvalExample]) -> list[list[tuple[int, ...]]]:
        """The token ids that are scored behind each prompt; of a text to write, as many places."""
        if request == "text":
            return [[(0,) * self._max_length]] * len(examples)
        if request == "rank":
            return [[self._target_ids(option) for option in example.options] for example in examples]
        for example in examples:
            if example.targets is None:
                raise ValueError(f"Example {example.example_id} has no target to score.")
        return [[tuple(example.targets.tolist())] for example in examples if example.targets is not None]

    def _without_room(
        self, prompts: Sequence[np.ndarray], follow: Sequence[Sequence[tuple[int, ...]]], positions: int | None
    ) -> list[int]:
        if positions is None:
            return []
        return [
            index
            for index, (prompt, own) in enumerate(zip(prompts, follow, strict=True))
            if not has_room(len(prompt), max(map(len, own), default=0), positions)
        ]

    def _texts(
        self,
        examples: Sequence[EvalExample],
        places: Sequence[int],
        read: tuple[np.ndarray, np.ndarray],
        shared: Sequence[jax.Array],
    ) -> list[Any]:
        """Writes a text behind each prompt; ``places`` are the rows of ``read`` that the examples stand in."""
        table = stop_table(token_stops(self.decoding.stop, self.encode, self.decode))
        prompts = [
            *self._placement.put_rows(*read),
            self._draw_keys(examples, places, len(read[0])),
            None if table is None else self._placement.put_whole(table)[0],
            *shared,
        ]
        options = {
            "graphdef": self.graphdef,
            "max_length": self._max_length,
            "vocabulary_size": self.vocabulary_size,
            "decoding": self.decoding.compiled_part(),
        }
        (ids,) = self._placement.fetch([self._written(prompts, options)])
        return self._cut(ids, places)

    def _written(self, prompts: Sequence[Any], options: Mapping[str, Any]) -> jax.Array:
        """Ids written behind prompts, which are the arrays that ``generation.generate`` takes beside parameters."""
        return generation.generate(self.params, *prompts, rows=self._placement.split, **options)

    def _cut(self, ids: np.ndarray, places: Sequence[int]) -> list[Any]:
        """The text in each of these rows of ids, up to where it ends."""
        ends = (*self.decoding.stop, *((index,) for index in self._config.stop_ids))
        return [cut_at_stop(ids[place].tolist(), ends, self.decode) for place in places]

    def _draw_keys(self, examples: Sequence[EvalExample], places: Sequence[int], rows: int) -> jax.Array | None:
        if self.decoding.method != "sample":
            return None
        keys = np.zeros((rows, 2), np.uint32)
        for place, example in zip(places, examples, strict=True):
            keys[place] = draw_key(self.decoding.seed, example.example_id, example.template_id)
        return self._placement.put_rows(keys)[0]

    def _scores(
        self,
        targets: Sequence[Sequence[tuple[int, ...]]],
        places: Sequence[int],
        read: tuple[np.ndarray, np.ndarray],
        shared: Sequence[jax.Array],
        batch: PlannedBatch,
        score: Callable[..., jax.Array],
    ) -> list[np.ndarray]:
        """Scores the targets behind each prompt; ``places`` are the rows of ``read`` that the prompts stand in."""
        context = self._prefilled([*self._placement.put_rows(*read), *shared], batch.longest)
        # Equal targets of an example are computed once.
        pairs = list(dict.fromkeys((place, ids) for place, own in zip(places, targets, strict=True) for ids in own))
        found = self._pair_scores(pairs, batch.widths, len(read[0]), context, score)
        return [np.array([found[place, ids] for ids in own]) for place, own in zip(places, targets, strict=True)]

    def _pair_scores(
        self,
        pairs: Sequence[Pair],
        widths: Sequence[int],
        size: int,
        context: PromptContext,
        score: Callable[..., jax.Array],
    ) -> dict[Pair, Any]:
        """Pair → score; ``size`` pairs of a width are computed together, each on the device that holds its prompt."""
        width_of = np.searchsorted(widths, [len(ids) for _, ids in pairs])
        parts, asked, pending = self._placement.parts, [], []
        for number, width in enumerate(widths):
            own = [pair for pair, of in zip(pairs, width_of, strict=True) if of == number]
            for chosen, places in pair_batches(own, size, parts):
                owners = np.repeat(np.arange(parts, dtype=np.int32) * (size // parts), size // parts)
                owners[places] = [row for row, _ in chosen]
                targets = pad_rows_at(places, [ids for _, ids in chosen], (size, width))
                arguments = self._placement.put_rows(owners, *targets)
                asked.append((chosen, places))
                pending.append(self._scored(score, context, arguments))
        # Fetched only now, so that the device computes one part while the next is laid out.
        found: dict[Pair, Any] = {}
        for (chosen, places), scores in zip(asked, self._placement.fetch(pending), strict=True):
            found.update(zip(chosen, self._rows_first(scores)[places].tolist(), strict=True))
        return found

    def _prefilled(self, prompts: Sequence[jax.Array], longest: int) -> PromptContext:
        rows = self._placement.split
        return scoring.prefill(self.params, *prompts, graphdef=self.graphdef, longest=longest, rows=rows)

    def _scored(self, score: Callable[..., jax.Array], context: PromptContext, pairs: Sequence[jax.Array]) -> jax.Array:
        split = {"parts": self._placement.parts, "rows": self._placement.split}
        return score(self.params, context, *pairs, graphdef=self.graphdef, **split)

    def _rows_first(self, scores: np.ndarray) -> np.ndarray:
        """Scores with the axis of pairs in front."""
        return scores

    def _option_length(self, option: str) -> int:
        """Tokens of an option, with what ends it; of all of them, before any are cut."""
        if option not in self._lengths:
            self._target_ids(option)
        return self._lengths[option]

    def _target_ids(self, option: str) -> tuple[int, ...]:
        """The tokens of an option that are scored."""
        if option not in self._targets:
            if self.option_ids is not None:
                ids = tuple(int(index) for index in self.option_ids(option))
                self._targets[option] = ids[: self.target_length]
            else:
                ids = (*self.encode(option), self._config.eos_id)
                self._targets[option] = (*ids[:-1][: self.target_length - 1], ids[-1])
            self._lengths[option] = len(ids)
        return self._targets[option]

    @functools.cached_property
    def _targets(self) -> dict[str, tuple[int, ...]]:
        return {}

    @functools.cached_property
    def _lengths(self) -> dict[str, int]:
        return {}
