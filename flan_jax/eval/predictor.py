"""Batched inference for evaluation: option log-likelihoods and generated texts of any number of examples."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.eval import generation, scoring
from flan_jax.eval.batching import batches, bucket_lengths, pad_rows
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.decoding.sampling import draw_key
from flan_jax.eval.decoding.stopping import cut_at_stop, stop_table, token_stops
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.runner import ProgressCallback
from flan_jax.models.build import merge
from flan_jax.models.peft.soft_prompt import prompt_length
from flan_jax.models.protocol import PromptContext, SharedConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Implements ``LanguageModel`` for a model of either kind with a vocabulary.

    Parameters are an argument of what is compiled, so ``with_params`` after training compiles
    nothing again. They may be sharded over a mesh; every device then computes every example.

    Attributes:
        graphdef: the model's static part.
        params: its parameters, arrays on the device.
        encode: text → token ids without EOS.
        decode: token ids → text; stops at EOS and skips padding.
        batch_size: prompts read, and options or texts computed, at a time.
        target_length: longest target in tokens, EOS included. Longer options are cut, as in training.
        vocabulary_size: ids from here on are never generated; ``None`` allows the whole table.
        decoding: how texts are written; ``max_length`` ``None`` is ``target_length``.
        option_ids: option → its ids, all that is scored of it; ``None`` for those of ``encode`` with EOS behind.
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

    def __post_init__(self) -> None:
        for name in ("batch_size", "target_length"):
            if getattr(self, name) < 1:
                raise UserError(f"Predictor: {name} is {getattr(self, name)}; give a whole number of at least 1.")

    def with_params(self, params: Mapping[str, Any]) -> "Predictor":
        """The same model with other parameters."""
        return dataclasses.replace(self, params=params)

    def rank(self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None) -> list[np.ndarray]:
        """Scores each example's options: their log-likelihoods (nats), EOS included unless ``option_ids`` says else.

        Options that the vocabulary cannot tell apart get exactly the same score.
        """
        cache: dict[str, tuple[int, ...]] = {}
        targets = [[self._target_ids(option, cache) for option in example.options] for example in examples]
        return self._log_likelihoods(examples, targets, advance)

    def rank_notes(self, examples: Sequence[EvalExample]) -> list[str]:
        """Says in a sentence how many of the examples have options that ``rank`` cuts; nothing where none has."""
        too_long: dict[str, bool] = {}
        for option in (option for example in examples for option in example.options):
            if option not in too_long:
                too_long[option] = self._option_length(option) > self.target_length
        cut = sum(any(too_long[option] for option in example.options) for example in examples)
        if not cut:
            return []
        return [
            f"{cut} of {len(examples)} examples have options longer than {self.target_length} tokens, which were scored "
            "up to there."
        ]

    def loglikelihood(
        self, examples: Sequence[EvalExample], advance: ProgressCallback = lambda count: None
    ) -> np.ndarray:
        """Scores each example's target: the log-likelihood (nats) of its tokens, EOS included, float64 ``[n]``."""
        targets = []
        for example in examples:
            if example.targets is None:
                raise ValueError(f"Example {example.example_id} has no target to score.")
            targets.append([tuple(example.targets.tolist())])
        return np.array([row[0] for row in self._log_likelihoods(examples, targets, advance)], np.float64)

    def _log_likelihoods(
        self, examples: Sequence[EvalExample], targets: Sequence[Sequence[tuple[int, ...]]], advance: ProgressCallback
    ) -> list[np.ndarray]:
        """Scores each example's targets, given as ids."""
        # Options are a few tokens as a rule, so a rounded length would be mostly padding.
        option_lengths = [len(ids) for options in targets for ids in options]
        option_buckets = bucket_lengths(option_lengths, self.batch_size, most=2, step=1)
        scores: list[np.ndarray] = [np.zeros(0)] * len(examples)
        rows = min(self.batch_size, len(examples))
        prompts, limit = self._prompts(examples, option_buckets[-1])
        # An encoder has to read something, be it padding, before a target that follows nothing.
        for members, length in batches([max(1, len(prompt)) for prompt in prompts], rows, limit=limit):
            tokens, lengths = self._put(*pad_rows([prompts[index] for index in members], (rows, length)))
            context = scoring.prefill(self.params, tokens, lengths, graphdef=self.graphdef, longest=option_buckets[-1])
            # Equal targets of an example are computed once.
            pairs = list(dict.fromkeys((row, ids) for row, index in enumerate(members) for ids in targets[index]))
            found = dict(self._pair_scores(pairs, option_buckets, rows, context))
            for row, index in enumerate(members):
                scores[index] = np.array([found[row, ids] for ids in targets[index]])
            advance(len(members))
        return scores

    def generate(
        self,
        examples: Sequence[EvalExample],
        advance: ProgressCallback = lambda count: None,
        decoding: DecodingConfig | None = None,
    ) -> list[str]:
        """Generates a continuation of each example, as text.

        What is drawn depends on an example and its template, never on the batch it is in.

        Args:
            examples: what to go on from.
            advance: told how many examples are finished.
            decoding: in place of the predictor's own.
        """
        decoding = decoding or self.decoding
        table = stop_table(token_stops(decoding.stop, self.encode, self.decode))
        stops = None if table is None else self._put(table)[0]
        texts = [""] * len(examples)
        rows = min(self.batch_size, len(examples))
        max_length = decoding.max_length or self.target_length
        prompts, limit = self._prompts(examples, max_length)
        ends = tuple((index,) for index in self._config.stop_ids)
        for members, length in batches([len(prompt) for prompt in prompts], rows, limit=limit):
            tokens, lengths = self._put(*pad_rows([prompts[index] for index in members], (rows, length)))
            output = generation.generate(
                self.params,
                tokens,
                lengths,
                self._draw_keys([examples[index] for index in members], rows, decoding),
                stops,
                graphdef=self.graphdef,
                max_length=max_length,
                vocabulary_size=self.vocabulary_size,
                decoding=decoding.compiled_part(),
            )
            for index, ids in zip(members, self._fetch(output), strict=False):
                texts[index] = cut_at_stop(ids.tolist(), (*decoding.stop, *ends), self.decode)
            advance(len(members))
        return texts

    @functools.cached_property
    def _config(self) -> SharedConfig:
        return merge(self.graphdef, self.params).config

    @property
    def _positions(self) -> int | None:
        """The number of learned positions left for tokens, behind a soft prompt; ``None`` where positions are relative."""
        positions = self._config.learned_positions
        in_front = prompt_length(merge(self.graphdef, self.params).prompt)
        return None if positions is None else positions - in_front

    def _prompts(self, examples: Sequence[EvalExample], longest: int) -> tuple[list[np.ndarray], int | None]:
        """Returns the token ids of each prompt, and the length that none may be padded beyond.

        Args:
            examples: to read.
            longest: the most tokens that follow one.

        Raises:
            UserError: a prompt is too long for the positions that the model has learned.
        """
        start = np.array(self._config.prompt_start, np.int32)
        prompts = [np.concatenate([start, example.inputs]).astype(np.int32) for example in examples]
        positions = self._positions
        if positions is None:
            return prompts, None
        for example, prompt in zip(examples, prompts, strict=True):
            if len(prompt) + longest > positions:
                raise UserError(
                    f"Example {example.example_id} has {len(prompt)} tokens, the first of the sequence counted, and up to "
                    f"{longest} follow, but the model has {positions} positions for them. Shorten it, or what is to follow."
                )
        return prompts, positions - longest

    def _draw_keys(self, examples: Sequence[EvalExample], rows: int, decoding: DecodingConfig) -> jax.Array | None:
        if decoding.method != "sample":
            return None
        keys = np.zeros((rows, 2), np.uint32)
        for row, example in enumerate(examples):
            keys[row] = draw_key(decoding.seed, example.example_id, example.template_id)
        return self._put(keys)[0]

    def _pair_scores(
        self,
        pairs: Sequence[tuple[int, tuple[int, ...]]],
        buckets: Sequence[int],
        size: int,
        context: PromptContext,
    ) -> Iterator[tuple[tuple[int, tuple[int, ...]], float]]:
        """Yields (pair, score); ``size`` pairs of a bucket are computed together."""
        bucket_of = np.searchsorted(buckets, [len(ids) for _, ids in pairs])
        pending = []
        for bucket, width in enumerate(buckets):
            chosen = [pair for pair, own in zip(pairs, bucket_of, strict=True) if own == bucket]
            for start in range(0, len(chosen), size):
                part = chosen[start : start + size]
                owners = np.zeros(size, np.int32)
                owners[: len(part)] = [row for row, _ in part]
                arguments = self._put(owners, *pad_rows([ids for _, ids in part], (size, width)))
                part_scores = scoring.target_scores(self.params, context, *arguments, graphdef=self.graphdef)
                pending.append((part, part_scores))
        # Fetched only now, so that the device computes one part while the next is laid out.
        for part, part_scores in pending:
            yield from zip(part, self._fetch(part_scores).tolist(), strict=False)

    def _option_length(self, option: str) -> int:
        """Tokens of an option, with what ends it."""
        return len(self.encode(option)) + 1 if self.option_ids is None else len(list(self.option_ids(option)))

    def _target_ids(self, option: str, cache: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        if option not in cache and self.option_ids is not None:
            cache[option] = tuple(int(index) for index in self.option_ids(option))[: self.target_length]
        elif option not in cache:
            cache[option] = (*self.encode(option)[: self.target_length - 1], self._config.eos_id)
        return cache[option]

    def _replicated(self) -> jax.sharding.Sharding | None:
        """All devices of the parameters' mesh; ``None`` for the default device."""
        leaf = jax.tree.leaves(self.params)[0]
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, jax.sharding.NamedSharding):
            return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        return None

    # Transfers are explicit: evaluation may run inside a training loop that forbids others.

    def _put(self, *arrays: np.ndarray) -> list[jax.Array]:
        return jax.device_put(list(arrays), self._replicated())

    def _fetch(self, array: jax.Array) -> np.ndarray:
        sharding = self._replicated()
        return jax.device_get(array if sharding is None else jax.device_put(array, sharding))
