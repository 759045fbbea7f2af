"""The protocol of models: training, scoring and decoding go through this and never ask which model it is.

Shapes: B rows of a batch, S length of prompts, T length of targets, R rows of a cache (B times the beams), P (prompt,
target) pairs, D model width, V vocabulary.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float, Int

from flan_jax.models.ops.lm_head import Head
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.peft.soft_prompt import Prompt, SoftPromptShape

Axes = dict[str, Any]
"""Nested like the parameters, with a tuple of logical axis names for each array."""


class SharedConfig(Protocol):
    """The protocol of all models' configurations. Their fields are those of ``T5Config``, ``T5GemmaConfig`` and ``DecoderConfig``."""

    @property
    def COMPARED(self) -> tuple[str, ...]:  # noqa: N802
        """Fields that decide what the same weights compute."""

    @property
    def FREE(self) -> Mapping[str, str]:  # noqa: N802
        """The other fields, each with the reason why weights are the same model's whatever it is."""

    @property
    def kind(self) -> str:
        """The kind of model, as sentences name it."""

    def compared(self, name: str) -> Any:
        """Returns the value of a field of ``COMPARED`` in a form that equal models share."""

    def takes_weights_of(self, theirs: Any, name: str) -> bool:
        """Tells whether weights of another model of this kind can be trained on though the field may differ."""

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""

    @property
    def dtype(self) -> str:
        """Compute dtype."""

    @property
    def pad_id(self) -> int:
        """Token of padding."""

    @property
    def eos_id(self) -> int:
        """Token that ends a sequence."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Further tokens that end what is generated."""

    @property
    def decoder_start_id(self) -> int:
        """First token that the decoder reads."""

    @property
    def decoder_only(self) -> bool:
        """True where inputs and targets are one sequence."""

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """Ids in front of every prompt, as in the rows of training."""

    @property
    def input_start(self) -> tuple[int, ...]:
        """Ids in front of every example's inputs that take places of a row, beside the inputs' own."""

    @property
    def row_start_id(self) -> int | None:
        """Token that every row begins with and that is read; ``None`` where rows have none."""

    @property
    def learned_positions(self) -> int | None:
        """Number of learned positions, the most tokens of an example; ``None`` without learned positions."""

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest text that the model is made for; ``None`` where nothing says."""

    @property
    def soft_prompt(self) -> SoftPromptShape:
        """Sizes and scale of soft prompts."""

    @property
    def tuned_dropout(self) -> float:
        """Dropout rate at which models of this kind are tuned where a run does not say one."""

    def with_start_token(self, bos_id: int | None, reads_start: bool | None) -> Any:
        """Returns the configuration with the row start that a tokenizer says.

        Args:
            bos_id: token that begins a text; where nobody says one, a decoder's begins with what ends another.
            reads_start: whether a text begins with it; ``None`` for yes.
        """

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """Yields (class, field, sentence) for every field that is set and that the other fields leave without a reader."""


class Cache(Protocol):
    """KV cache: a NamedTuple of arrays of fixed shapes, a pytree that a ``lax.while_loop`` can carry."""

    @property
    def beam_axes(self) -> dict[str, int]:
        """Fields that a row writes for itself, each with its batch axis: beams repeat and reorder these only.

        Any other field, such as the keys and values of an encoded input, stays one for each prompt, and
        ``decode_step`` reads it for all beams of the prompt.
        """

    def _replace(self, **fields: Any) -> Any: ...


class DecodeState(NamedTuple):
    """State of decoding behind the prompts, before the first token is written.

    Attributes:
        cache: a ``Cache`` with a row for each prompt.
        last: the token to read next.
        logits: of the first token to write, where the prefill gives them; else ``None``, and reading ``last`` does.
    """

    cache: Any
    last: Int[Array, "B"]
    logits: Float[Array, "B V"] | None


class PromptContext(NamedTuple):
    """Prefilled prompts, for any number of targets.

    Attributes:
        memory: of the model: a decoder's KV cache, or an encoder's hidden states and their segment ids.
        logits: of a target's first token, where the prefill gives them; else ``None``.
    """

    memory: Any
    logits: Float[Array, "B V"] | None


class Model(Protocol):
    """A model with its parameters, as ``build.merge`` returns it. Prompts are rows with ``config.prompt_start`` in front.

    Attributes:
        prompt: a soft prompt, or ``None``.
    """

    prompt: Prompt

    @property
    def config(self) -> SharedConfig:
        """The configuration."""

    @staticmethod
    def logical_axes(config: Any) -> Axes:
        """Returns the parameters' tree with a tuple of logical axis names for each array; see ``build.logical_axes``."""

    def __call__(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T V"]:
        """Computes float32 logits of every target position."""

    def hidden(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the hidden states of every target position, in the compute dtype; ``head`` makes logits of them."""

    def head(self) -> Head:
        """Returns the output projection."""

    @property
    def shares_prompts(self) -> bool:
        """True where the tokens that all prompts of a batch begin with can be computed once."""

    def prefill(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        max_length: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> DecodeState:
        """Runs the prompts for decoding at most ``max_length`` tokens behind each.

        Args:
            tokens_BS: prompts, one a row, padding behind.
            lengths_B: their lengths; rows of length 0 only fill the shape.
            max_length: the most tokens that are written.
            shared_P: what all prompts begin with, of a model that ``shares_prompts``; each prompt has more than S - P
                tokens. ``None`` computes all of each.
        """

    def decode_step(self, cache: Any, tokens_R: Int[AnyArray, "R"]) -> tuple[Float[Array, "R V"], Any]:
        """Runs one token a row and returns float32 logits of the next and the updated cache."""

    def unstack_layers(self, cache: Any) -> Any:
        """Takes the layers that ``decode_step`` runs through apart where steps are faster so, and returns the cache as they read it.

        This changes the model, which then decodes only: for a model made for one program (``build.merge``), before a loop
        of many steps. Caches keep their ``beam_axes``.
        """

    def prompt_context(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        longest: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> PromptContext:
        """Runs the prompts once, so that any number of targets of at most ``longest`` tokens can be scored behind them.

        The other arguments are those of ``prefill``.
        """

    def target_logits(
        self, context: PromptContext, rows_P: Int[Array, "P"], targets_PT: Int[Array, "P T"], parts: int = 1
    ) -> Float[Array, "P T V"]:
        """Computes the logits of every target token, given its prompt and the target tokens before it.

        Args:
            context: what ``prompt_context`` returned.
            rows_P: the prompt that each target follows.
            targets_PT: token ids.
            parts: equal parts that prompts and targets lie in, a part a device, where each target follows a prompt of
                its own part: as ``ops.rows.take_rows`` has it.
        """
