"""Configuration of T5: sizes, activation, tied or untied embeddings, compute dtype."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.config_checks import DTYPES, FREE_OF_ALL, check_stop_ids
from flan_jax.models.ops.activations import MLP_ACTIVATIONS
from flan_jax.models.ops.attention_impl import check_attention
from flan_jax.models.ops.remat import check_remat
from flan_jax.models.peft.soft_prompt import SoftPromptShape
from flan_jax.typed import Above0, AtLeast0, Fraction, Positive, Share, check_fields


@dataclass(frozen=True)
class T5Config:
    """Configuration of an encoder-decoder T5. Hashable, so that a compiled function can depend on it.

    ``gated-gelu_tanh`` with untied embeddings is T5 1.1 (and FLAN-T5, mT5); ``relu`` with tied ones is T5 1.0.

    Attributes:
        vocab_size: rows of the embedding table, at least the size of the vocabulary in use.
        d_model: width of the residual stream.
        d_kv: width of one attention head; ``num_heads * d_kv`` need not equal ``d_model``.
        num_heads: attention heads in every layer.
        d_ff: inner width of the feed-forward layers.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        relative_attention_num_buckets: rows of each stack's table of position biases.
        relative_attention_max_distance: distance in tokens beyond which all positions share a bucket.
        mlp_activation: activation, gated or plain. ``gated-gelu_tanh`` is what T5 1.1 was trained
            with (transformers calls it ``gated-gelu``), ``gelu`` the exact function. See ``activations``.
        tie_embeddings: one table for input and output; the output then is scaled by ``d_model ** -0.5``.
        dropout_rate: at T5's places, when a key is given.
        layer_norm_epsilon: added to the mean square.
        dtype: of activations and matrix products. Parameters, softmax, norms and logits are float32.
        initializer_factor: multiplies every initial standard deviation and norm scale.
        relative_bias_init: initial bias, in nats, of one small distance for each head; 0 is T5's own
            initialization, where no head prefers a distance. See ``attention.preferred_buckets``.
        mimetic_init: correlation, from 0 to 1, of each head's queries with its keys and of its outputs with
            its values at the start, so that heads begin by matching equal tokens and copying them
            (Trockman & Kolter 2023, arXiv:2305.09828, find this in trained networks). 0 is T5's own start.
        pad_id: token of padding.
        eos_id: token that ends a sequence.
        stop_ids: further tokens that end what is generated; training writes ``eos_id`` alone.
        decoder_start_id: first token that the decoder reads.
        remat: what is computed again in the backward pass: ``none``, ``dots``, ``full`` or ``offload``; see ``remat.REMATS``.
        attention: how attention is computed: ``auto``, ``dense``, ``batch_chunked``, ``chunked``; see ``ops.attention_impl``.

    Raises:
        UserError: a value outside of its range.
    """

    vocab_size: Positive
    d_model: Positive
    d_kv: Positive
    num_heads: Positive
    d_ff: Positive
    num_encoder_layers: Positive
    num_decoder_layers: Positive
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    mlp_activation: str = "gated-gelu_tanh"
    tie_embeddings: bool = False
    dropout_rate: Fraction = 0.0
    layer_norm_epsilon: Above0 = 1e-6
    dtype: str = "float32"
    initializer_factor: Above0 = 1.0
    relative_bias_init: AtLeast0 = 0.0
    mimetic_init: Share = 0.0
    pad_id: int = 0
    eos_id: int = 1
    decoder_start_id: int = 0
    remat: str = "none"
    attention: str = "auto"
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_remat("T5Config", self.remat)
        check_fields(self)
        object.__setattr__(self, "stop_ids", check_stop_ids("T5Config", self.stop_ids, self.vocab_size))
        if self.mlp_activation not in MLP_ACTIVATIONS:
            raise unknown("mlp_activation", self.mlp_activation, MLP_ACTIVATIONS)
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        check_attention("T5Config", self.attention, cudnn_refuses="cuDNN's kernel has no use for T5's learned bias")
        # Half of the encoder's buckets look back, and half of those are exact distances: below 4 none would be.
        buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4 or buckets % 2:
            raise UserError(f"T5Config: relative_attention_num_buckets is {buckets}; give an even number from 4.")
        if distance <= buckets // 2:
            raise UserError(
                f"T5Config: relative_attention_max_distance is {distance}; it must exceed half the number of "
                f"buckets ({buckets // 2}), the distances that have a bucket each."
            )
        for name in ("pad_id", "eos_id", "decoder_start_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise UserError(
                    f"T5Config: {name} is {getattr(self, name)}, outside of the vocabulary of {self.vocab_size} tokens."
                )

    # Every field is in one of these: those that decide what the same weights compute, and the others with the reason.
    COMPARED = (
        "vocab_size", "d_model", "d_kv", "num_heads", "d_ff", "num_encoder_layers", "num_decoder_layers",
        "relative_attention_num_buckets", "relative_attention_max_distance", "mlp_activation", "tie_embeddings",
        "layer_norm_epsilon", "decoder_start_id",
    )  # fmt: skip
    FREE = MappingProxyType(
        {
            **FREE_OF_ALL,
            "initializer_factor": "of weights that are drawn, not read",
            "relative_bias_init": "of weights that are drawn, not read",
            "mimetic_init": "of weights that are drawn, not read",
        }
    )

    @property
    def kind(self) -> str:
        """The kind of model, as sentences name it."""
        return "an encoder-decoder (T5)"

    def compared(self, name: str) -> Any:
        """Returns the value of a field as it is compared with that of another model."""
        return getattr(self, name)

    def takes_weights_of(self, theirs: "T5Config", name: str) -> bool:
        """Tells whether weights of ``theirs`` can be trained on whatever the field is: none can."""
        return False

    @property
    def gated(self) -> bool:
        """True where the feed-forward layers multiply an activated and a linear projection."""
        return self.mlp_activation.startswith("gated-")

    @property
    def d_heads(self) -> int:
        """Width of all heads side by side, ``num_heads * d_kv``."""
        return self.num_heads * self.d_kv

    @property
    def decoder_only(self) -> bool:
        """False: an encoder reads the inputs, and a decoder the targets."""
        return False

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """The ids in front of every prompt: none, as the encoder reads inputs as they are."""
        return self.input_start

    @property
    def input_start(self) -> tuple[int, ...]:
        """The ids in front of every input that take a place of their own: none."""
        return ()

    @property
    def row_start_id(self) -> int | None:
        """Token that begins every row: none, as the encoder reads inputs as they are."""
        return None

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest text: any number."""
        return None

    @property
    def soft_prompt(self) -> SoftPromptShape:
        """Sizes and scale of soft prompts, in front of the encoder's inputs."""
        return SoftPromptShape(self.d_model, self.num_encoder_layers, self.num_heads, 1.0)

    @property
    def tuned_dropout(self) -> float:
        """The dropout rate at which such models are tuned: that of FLAN-T5 (Chung et al. 2022)."""
        return 0.05

    def with_start_token(self, bos_id: int | None, reads_start: bool | None) -> "T5Config":
        """Returns the configuration itself: no row start is read, whatever a tokenizer says."""
        return self

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """Yields nothing: every field is read."""
        yield from ()

    @property
    def learned_positions(self) -> int | None:
        """The number of tokens of an example that there are positions for: any, as only distances count."""
        return None
