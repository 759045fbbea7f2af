"""Configuration of T5Gemma 1 and 2: the sizes of both sides, and how the decoder reads what the encoder says."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.config_checks import DTYPES, FREE_OF_ALL, check_stop_ids
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.ops.attention_impl import check_attention
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.peft.soft_prompt import SoftPromptShape
from flan_jax.typed import Above0, Fraction, Positive, check_fields

_OF_BOTH = (
    "vocab_size", "norm_epsilon", "mlp_activation", "qk_norm", "rope_theta", "rope_scaling", "local_rope_theta",
    "max_positions", "sliding_window", "window_pattern", "attention_softcap", "dropout_rate", "dtype", "pad_id", "eos_id",
    "remat", "attention",
)  # fmt: skip
ENCODER_SIZES = ("d_model", "num_heads", "num_kv_heads", "d_head", "d_ff", "query_scale")
"""Fields that the encoder has of its own, with ``encoder_`` in front."""


@dataclass(frozen=True)
class T5GemmaConfig:
    """Configuration of an encoder-decoder of Gemma's layers. Hashable, so that a compiled function can depend on it.

    Two switches tell the published ones apart: with ``merged_attention`` (and ``qk_norm``, ``shared_embedding``,
    ``halved_window``) it is a T5Gemma 2, without it a T5Gemma 1, whose sides may differ in size.

    Attributes:
        vocab_size: rows of the embedding tables, at least the size of the vocabulary in use.
        d_model: width of the residual stream; this and the next four are the decoder's.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        num_heads: query heads in every layer.
        num_kv_heads: key and value heads, each shared by ``num_heads / num_kv_heads`` query heads.
        d_head: width of one head.
        d_ff: inner width of the feed-forward layers.
        encoder_d_model: the encoder's own width; ``None`` for the decoder's, as in the next five.
        encoder_num_heads: its query heads.
        encoder_num_kv_heads: its key and value heads.
        encoder_d_head: the width of its heads.
        encoder_d_ff: the inner width of its feed-forward layers.
        encoder_query_scale: multiplies its scores.
        merged_attention: the decoder attends to its own tokens and to the encoded inputs in one softmax, through the
            same projections (T5Gemma 2); otherwise one layer of attention comes after the other.
        shared_embedding: one table for both sides (T5Gemma 2).
        tie_embeddings: the decoder's table is the output projection too.
        eoi_id: the token behind an image, whose embedding is a vector of its own that is not scaled (T5Gemma 2);
            ``None`` for none.
        norm_epsilon: added to the mean square.
        mlp_activation: gated activation.
        qk_norm: ``head`` norms each head's queries and keys (T5Gemma 2).
        rope_theta: base of the rotary frequencies.
        rope_scaling: how they are stretched, in layers without the window.
        local_rope_theta: base in the layers with the window; ``None`` for the same as elsewhere.
        max_positions: the longest text that the model is made for.
        sliding_window: in layers with a window a token of the decoder sees itself and as many before it as make this
            number, a token of the encoder also as many behind it.
        window_pattern: which layers have the window, repeated over all of a side.
        halved_window: the encoder's window is divided between both directions (T5Gemma 2).
        query_scale: multiplies the scores; ``None`` for ``d_head ** -0.5``.
        attention_softcap: scores become ``cap * tanh(score / cap)`` (T5Gemma 1).
        logit_softcap: the same of the logits.
        dropout_rate: of embeddings and of what each part of a layer adds, when a key is given.
        dtype: of activations and matrix products. Parameters, softmax, norms and logits are float32.
        pad_id: token of padding.
        eos_id: token that ends a sequence.
        stop_ids: further tokens that end what is generated; training writes ``eos_id`` alone.
        decoder_start_id: first token that the decoder reads.
        bos_id: token that begins every input, in front of what the encoder reads; ``None`` for none.
        reads_start: whether it does; ``False`` where the tokenizer puts none there.
        remat: what is computed again in the backward pass: ``none``, ``dots``, ``full`` or ``offload``; see ``remat.REMATS``.
        attention: how attention is computed: ``auto``, ``dense``, ``batch_chunked``, ``chunked``; see ``ops.attention_impl``.

    Raises:
        UserError: a value outside of its range.
    """

    vocab_size: Positive
    d_model: Positive
    num_encoder_layers: Positive
    num_decoder_layers: Positive
    num_heads: Positive
    num_kv_heads: Positive
    d_head: Positive
    d_ff: Positive
    encoder_d_model: Positive | None = None
    encoder_num_heads: Positive | None = None
    encoder_num_kv_heads: Positive | None = None
    encoder_d_head: Positive | None = None
    encoder_d_ff: Positive | None = None
    encoder_query_scale: Above0 | None = None
    merged_attention: bool = False
    shared_embedding: bool = False
    tie_embeddings: bool = True
    eoi_id: int | None = None
    norm_epsilon: Above0 = 1e-6
    mlp_activation: str = "gated-gelu_tanh"
    qk_norm: str = ""
    rope_theta: Above0 = 10_000.0
    rope_scaling: RopeScaling | None = None
    local_rope_theta: Above0 | None = None
    max_positions: Positive = 8192
    sliding_window: Positive | None = 4096
    window_pattern: tuple[bool, ...] = (True, False)
    halved_window: bool = False
    query_scale: Above0 | None = None
    attention_softcap: Above0 | None = None
    logit_softcap: Above0 | None = None
    dropout_rate: Fraction = 0.0
    dtype: str = "float32"
    pad_id: int = 0
    eos_id: int = 1
    decoder_start_id: int = 2
    remat: str = "none"
    attention: str = "auto"
    stop_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    reads_start: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "stop_ids", check_stop_ids("T5GemmaConfig", self.stop_ids, self.vocab_size))
        check_attention("T5GemmaConfig", self.attention, cudnn_refuses="its kernel has no window that looks ahead")
        if self.qk_norm not in ("", "head") or self.dtype not in DTYPES or not self.mlp_activation.startswith("gated-"):
            raise UserError(
                f"T5GemmaConfig: qk_norm={self.qk_norm!r}, dtype={self.dtype!r} and mlp_activation={self.mlp_activation!r}: "
                f"give '' or 'head', one of {', '.join(map(repr, DTYPES))}, and a gated activation."
            )
        for name in ("decoder_start_id", "eoi_id", "bos_id"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < self.vocab_size:
                raise UserError(
                    f"T5GemmaConfig: {name} is {value}, outside of the vocabulary of {self.vocab_size} tokens."
                )
        for needs in ("merged_attention", "shared_embedding"):
            if getattr(self, needs) and self.encoder.d_model != self.d_model:
                raise UserError(
                    f"T5GemmaConfig: {needs} needs sides of one width, but encoder_d_model is {self.encoder_d_model} "
                    f"and d_model {self.d_model}."
                )
        _ = self.decoder  # checks the sizes

    # Every field is in one of these: those that decide what the same weights compute, and the others with the reason.
    COMPARED = (
        "vocab_size", "d_model", "num_encoder_layers", "num_decoder_layers", "num_heads", "num_kv_heads", "d_head", "d_ff",
        "encoder_d_model", "encoder_num_heads", "encoder_num_kv_heads", "encoder_d_head", "encoder_d_ff",
        "merged_attention", "shared_embedding", "tie_embeddings", "eoi_id", "norm_epsilon",
        "mlp_activation", "qk_norm", "rope_theta", "rope_scaling", "local_rope_theta", "sliding_window", "window_pattern",
        "halved_window", "query_scale", "encoder_query_scale", "attention_softcap", "logit_softcap", "decoder_start_id",
        "bos_id",
    )  # fmt: skip
    FREE = MappingProxyType(
        {
            **FREE_OF_ALL,
            "max_positions": "of what the model is made for, and never enforced",
            "reads_start": "bos_id is compared as it is read",
        }
    )

    @property
    def kind(self) -> str:
        """The kind of model, as sentences name it."""
        return "an encoder-decoder (T5Gemma)"

    @property
    def encoder(self) -> DecoderConfig:
        """The encoder's layers, as layers of a decoder are described."""
        own = {name: getattr(self, f"encoder_{name}") for name in ENCODER_SIZES}
        return self._side(self.num_encoder_layers, {name: value for name, value in own.items() if value is not None})

    @property
    def decoder(self) -> DecoderConfig:
        """The decoder's layers, as layers of a decoder are described."""
        return self._side(self.num_decoder_layers, {})

    def _side(self, layers: int, own: dict[str, Any]) -> DecoderConfig:
        sizes = {name: getattr(self, name) for name in ENCODER_SIZES} | own
        both = {name: getattr(self, name) for name in _OF_BOTH}
        try:
            return DecoderConfig(
                num_layers=layers, norm_offset=True, norm_placement="both", embed_scale=True, **sizes, **both
            )
        except UserError as error:
            raise UserError(str(error).replace("DecoderConfig", "T5GemmaConfig")) from error

    @property
    def encoder_window(self) -> tuple[int, int] | None:
        """The keys back and ahead, each side with its own, that a token of the encoder sees in layers with the window."""
        window = self.sliding_window
        if window is None:
            return None
        # As transformers has it: the whole window lies on each side of the token, or the token is in its middle.
        return ((window + 1) // 2, window // 2 + 1) if self.halved_window else (window + 1, window + 1)

    def compared(self, name: str) -> Any:
        """Returns the value of a field in the form that models share which compute the same."""
        if name.startswith("encoder_"):
            return self.encoder.effect(name.removeprefix("encoder_"))
        if name in ("rope_scaling", "query_scale", "local_rope_theta"):
            return self.decoder.effect(name)
        if name == "window_pattern":
            return (self.encoder.local_layers, self.decoder.local_layers)
        if name == "bos_id":
            return self.row_start_id
        return getattr(self, name)

    def takes_weights_of(self, theirs: "T5GemmaConfig", name: str) -> bool:
        """Tells whether weights of ``theirs`` can be trained on whatever the field is: none can."""
        return False

    @property
    def decoder_only(self) -> bool:
        """False: an encoder reads the inputs, and a decoder the targets."""
        return False

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """The ids in front of every prompt: those in front of every input."""
        return self.input_start

    @property
    def input_start(self) -> tuple[int, ...]:
        """The ids in front of every input, which the encoder reads: ``bos_id``, where inputs begin with it."""
        return () if self.row_start_id is None else (self.row_start_id,)

    @property
    def row_start_id(self) -> int | None:
        """Token that begins every input; ``None`` where nothing does."""
        return self.bos_id if self.reads_start else None

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest text, ``max_positions``."""
        return self.max_positions

    @property
    def soft_prompt(self) -> SoftPromptShape:
        """Sizes and scale of soft prompts, in front of the encoder's inputs."""
        return SoftPromptShape(
            self.encoder.d_model, self.num_encoder_layers, self.encoder.num_heads, self.encoder.d_model**0.5
        )

    @property
    def tuned_dropout(self) -> float:
        """The dropout rate at which such models are tuned: they were trained without."""
        return 0.0

    def with_start_token(self, bos_id: int | None, reads_start: bool | None) -> "T5GemmaConfig":
        """Returns the configuration with the start of inputs that a tokenizer says.

        Args:
            bos_id: token that begins a text. Where nobody says one, the encoder reads inputs as they are.
            reads_start: whether a text begins with it; ``None`` for yes.
        """
        return dataclasses.replace(self, bos_id=bos_id, reads_start=reads_start is not False)

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """Yields (class, field, sentence) for every field that is set and that the other fields leave without a reader."""
        for _, field, sentence in self.decoder.unread():
            yield "T5GemmaConfig", field, sentence.replace("DecoderConfig", "T5GemmaConfig")
        if self.halved_window and self.sliding_window is None:
            yield (
                "T5GemmaConfig",
                "halved_window",
                "T5GemmaConfig.halved_window divides the encoder's window, and there is none. Set sliding_window to a number "
                "of tokens, or leave halved_window out.",
            )

    @property
    def learned_positions(self) -> int | None:
        """The number of tokens of an example that there are positions for: any, as positions are rotary."""
        return None
