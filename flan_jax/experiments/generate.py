"""Answers to instructions that a person types."""

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.setup import resolve_vocabulary, run_mixture
from flan_jax.experiments.weights import load_weights


class Answerer:
    """A trained run that answers text with text."""

    def __init__(
        self, config: RunConfig, *, step: int | None = None, max_tokens: int = 0, decoding: DecodingConfig = GREEDY
    ) -> None:
        """Loads the newest checkpoint of the run, or that of ``step``.

        Args:
            config: the run.
            step: a saved step; ``None`` for the newest.
            max_tokens: longest answer where ``decoding`` does not say; 0 for the run's target length.
            decoding: how answers are written.
        """
        self._lengths = config.lengths
        self._vocabulary = resolve_vocabulary(config.vocabulary, run_mixture(config))
        weights = load_weights(config, step=step)
        self._predictor = Predictor(
            weights.graphdef,
            weights.params,
            encode=self._vocabulary.encode,
            decode=self._vocabulary.decode,
            batch_size=1,
            target_length=max_tokens or config.lengths["targets"],
            vocabulary_size=self._vocabulary.size,
            decoding=decoding,
        )

    def answer(self, text: str, index: int = 0) -> str:
        """The model's answer.

        Args:
            text: the instruction.
            index: which of several instructions it is: each has draws of its own.

        Raises:
            UserError: an instruction that is empty or longer than the run was trained for.
        """
        tokens = self._vocabulary.encode(text)
        limit = self._lengths["inputs"] - 1
        if not tokens:
            raise UserError("The instruction is empty. Type some text.")
        if len(tokens) > limit:
            raise UserError(
                f"The instruction has {len(tokens)} tokens, and this run reads at most {limit}. Shorten it."
            )
        inputs = np.array([*tokens, self._vocabulary.eos_id], np.int32)
        example = EvalExample(inputs, (), ("",), example_id=index, template_id=0)
        return self._predictor.generate([example], lambda count: None)[0]
