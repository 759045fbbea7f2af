"""Answers to instructions that a person types."""

from collections.abc import Iterator

import numpy as np

from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.prepare.config import input_end_ids
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import VOCABULARIES, load_vocabulary
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.streaming import StreamingPredictor
from flan_jax.experiments.chat_template import run_template, with_stop_ids
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import resolve_vocabulary
from flan_jax.experiments.mixture import run_mixture
from flan_jax.experiments.model_snapshot import vocabulary_place
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.tasks.chat.conversation import USER, Message


class Answerer:
    """A model that answers text with text."""

    def __init__(
        self,
        config: RunConfig,
        *,
        step: int | None = None,
        max_tokens: int = 0,
        decoding: DecodingConfig = GREEDY,
        chat: ChatTemplate | None = None,
        ended: bool = True,
    ) -> None:
        """Loads the newest checkpoint of the run, or that of ``step``.

        Args:
            config: the run.
            step: a saved step; ``None`` for the newest.
            max_tokens: longest answer where ``decoding`` does not say; 0 for the run's target length.
            decoding: how answers are written.
            chat: makes a conversation of an instruction, whose reply is the answer; that of the run where none is given.
            ended: behind an instruction stands what ended inputs in training: as a rule the end-of-sequence token.
                A decoder that others trained as a language model would go on with another text there.
        """
        self._input_room = config.tokenize.lengths["inputs"] - len(config.model.input_start)
        self._vocabulary = answering_vocabulary(config)
        chat = chat or run_template(config)
        self._chat = None if chat is None else ChatTokenizer(chat, self._vocabulary)
        prompts = None if chat is None or not config.model.decoder_only else ChatPrompts(chat, self._vocabulary)
        # In a conversation of one sequence it is the template that says what ends a turn.
        ended = ended and not (chat and config.model.decoder_only)
        self._end = input_end_ids(self._vocabulary, config.tokenize.separator).tolist() if ended else []
        weights = load_weights(config, step=step)
        self._predictor = StreamingPredictor(
            weights.graphdef,
            weights.params,
            encode=self._vocabulary.encode,
            decode=self._vocabulary.decode,
            batch_size=1,
            target_length=max_tokens or config.tokenize.lengths["targets"],
            vocabulary_size=self._vocabulary.size,
            decoding=with_stop_ids(decoding, self._vocabulary, prompts),
        )

    def answer(self, text: str, index: int = 0) -> str:
        """Answers an instruction.

        Args:
            text: the instruction.
            index: which of several instructions it is: each has draws of its own.

        Raises:
            UserError: an instruction that is empty, longer than the model reads, or refused by the chat template.
        """
        return self._predictor.generate([self._example(text, index)])[0]

    def stream(self, text: str, index: int = 0) -> Iterator[str]:
        """Yields the answer while it is written: each time all of it that is certain, at last the whole; as ``answer``."""
        yield from self._predictor.stream(self._example(text, index))

    def _example(self, text: str, index: int) -> EvalExample:
        """The instruction as the model reads it."""
        tokens = self._tokens(text)
        limit = self._input_room - max(1, len(self._end))
        if not tokens:
            raise UserError("The instruction is empty. Type some text.")
        if len(tokens) > limit:
            raise UserError(
                f"The instruction has {len(tokens)} tokens, and this model reads at most {limit}. Shorten it."
            )
        inputs = np.array([*tokens, *self._end], np.int32)
        example = EvalExample(inputs, (), ("",), example_id=index, template_id=0)
        self._predictor.check_room(example)
        return example

    def _tokens(self, text: str) -> list[int]:
        if self._chat is None or not text.strip():
            return self._vocabulary.encode(text)
        return self._chat.prompt([Message(USER, text)]).tolist()


def answering_vocabulary(config: RunConfig) -> Vocabulary:
    """Loads the vocabulary of a run without reading its mixture, whose data may be elsewhere, where that can be."""
    place = vocabulary_place(config.data.vocabulary, config.model_dir)
    return load_vocabulary(place) if place else _of_mixture(config)


def _of_mixture(config: RunConfig) -> Vocabulary:
    """The vocabulary that a run took from its mixture: what its manifest says, as the mixture's data may be gone."""
    recorded = (run_files.read_manifest(config.model_dir) or {}).get("vocabulary") or {}
    if recorded.get("name") in VOCABULARIES:
        vocabulary = load_vocabulary(recorded["name"])
        if vocabulary.fingerprint() == recorded.get("fingerprint"):
            return vocabulary
    return resolve_vocabulary("", run_mixture(config))
