"""Configuration of decoder-only transformers: sizes, norms, positions, windows."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from flan_jax.errors import UserError, unknown
from flan_jax.models.config_checks import DTYPES, FREE_OF_ALL, check_stop_ids
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.ops.activations import ACTIVATIONS, MLP_ACTIVATIONS
from flan_jax.models.ops.attention_impl import check_attention, cudnn_refusal
from flan_jax.models.ops.remat import check_remat
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.peft.soft_prompt import SoftPromptShape
from flan_jax.typed import Above0, Fraction, Positive, Share, check_fields

NORMS = ("rms", "layer")
NORM_PLACEMENTS = ("pre", "post", "both")
QK_NORMS = ("", "head", "full")
POSITIONS = ("rotary", "learned")


class LayerKind(NamedTuple):
    """Kind of a layer.

    Attributes:
        local: it has the window.
        rotated: its queries and keys are rotated.
        normed: its attention has a norm in front of it.
    """

    local: bool
    rotated: bool
    normed: bool


@dataclass(frozen=True)
class DecoderConfig:
    """Configuration of a decoder-only transformer. Hashable, so that a compiled function can depend on it.

    The defaults are a Llama; ``presets.PRESETS`` shows what makes the other families.

    Attributes:
        vocab_size: rows of the embedding table, at least the size of the vocabulary in use.
        d_model: width of the residual stream.
        num_layers: layers.
        num_heads: query heads in every layer.
        num_kv_heads: key and value heads, each shared by ``num_heads / num_kv_heads`` query heads.
        d_head: width of one head; ``num_heads * d_head`` need not equal ``d_model``.
        d_ff: inner width of the feed-forward layers.
        norm: ``rms``, or ``layer`` with a mean and a bias.
        norm_bias: a ``layer`` norm has a bias (all but ModernBERT's).
        norm_offset: the norm multiplies by ``1 + scale`` (Gemma).
        norm_epsilon: added to the mean square.
        norm_placement: norms ``pre`` each part of a layer, ``post`` it (before it is added to the residual
            stream; OLMo 2 and 3), or ``both`` (Gemma 2 and 3).
        first_norm: the attention of the first layer has a norm in front of it, as those of the others (all but ModernBERT).
        mlp_activation: activation, gated or plain; ``gelu`` is the exact function, ``gelu_tanh`` its approximation.
        attention_bias: queries, keys and values have biases.
        output_bias: the projection back from the heads has one.
        mlp_bias: the feed-forward layers have them.
        qk_norm: queries and keys are normed, each ``head`` alone (Qwen 3, Gemma 3) or all in ``full`` (OLMo 2).
        position: ``rotary``, or ``learned`` with one vector a position.
        rope_theta: base of the rotary frequencies.
        rope_scaling: how they are stretched.
        local_rope_theta: base in the layers with a window, which are not stretched; ``None`` for the same as elsewhere.
        rope_pattern: which layers rotate queries and keys, repeated over all of them: in the others order shows by what
            is masked alone (SmolLM3).
        rotary_fraction: share of a head, its first part, that is rotated.
        max_positions: the longest text; only learned positions enforce it.
        sliding_window: in layers with a window a token sees itself and as many before it as make this number.
        window_pattern: which layers have the window, repeated over all of them: ``(True, False)`` is every other.
        query_scale: multiplies the scores; ``None`` for ``d_head ** -0.5``.
        attention_softcap: scores become ``cap * tanh(score / cap)`` (Gemma 2).
        logit_softcap: the same of the logits.
        gated_attention: what attention adds is multiplied by a gate that is projected beside the queries (Qwen 3.5).
        linear: layers with a state in the place of attention, and which they are; ``None`` for none.
        mixed: sizes of attention in layers without the window, and what the last layers share (Gemma 4); ``None`` where
            all layers have the same.
        embed_scale: embeddings are multiplied by ``sqrt(d_model)`` (Gemma).
        embed_norm: embeddings are normed (ModernBERT).
        head_activation: activation between a projection and a norm in front of the logits (ModernBERT); "" for none of them.
        logit_bias: logits have biases (ModernBERT).
        tie_embeddings: one table for input and output.
        prefix_lm: tokens of the inputs see each other in both directions.
        dropout_rate: of embeddings and of what each part of a layer adds, when a key is given; attention weights,
            which GPT-2's own training dropped too, are never dropped.
        dtype: of activations and matrix products. Parameters, softmax, norms and logits are float32.
        pad_id: token of padding.
        eos_id: token that ends a sequence.
        stop_ids: further tokens that end what is generated, such as the end of a turn; training writes ``eos_id`` alone.
        bos_id: token that begins one: it stands where the first input of an example is 0. ``None`` leaves the 0.
        reads_start: an example begins with such a token. Otherwise, as of models that were trained without one
            (GPT-2, Qwen, OLMo 2), its first place is empty: no token sees it, and positions count from the token behind
            it, so that logits are those of the tokens alone.
        remat: what is computed again in the backward pass: ``none``, ``dots``, ``full`` or ``offload``; see ``remat.REMATS``.
        attention: how attention is computed: ``auto``, ``dense``, ``batch_chunked``, ``chunked`` or ``cudnn``; see ``ops.attention_impl``.
        family: the family as which the model is exported; "" for the first that has its shape.

    Raises:
        UserError: a value outside of its range.
    """

    vocab_size: Positive
    d_model: Positive
    num_layers: Positive
    num_heads: Positive
    num_kv_heads: Positive
    d_head: Positive
    d_ff: Positive
    norm: str = "rms"
    norm_offset: bool = False
    norm_epsilon: Above0 = 1e-5
    norm_bias: bool = True
    norm_placement: str = "pre"
    first_norm: bool = True
    mlp_activation: str = "gated-silu"
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: str = ""
    position: str = "rotary"
    rope_theta: Above0 = 10_000.0
    rope_scaling: RopeScaling | None = None
    local_rope_theta: Above0 | None = None
    rope_pattern: tuple[bool, ...] = (True,)
    rotary_fraction: Share = 1.0
    max_positions: Positive = 4096
    sliding_window: Positive | None = None
    window_pattern: tuple[bool, ...] = (True,)
    query_scale: Above0 | None = None
    attention_softcap: Above0 | None = None
    logit_softcap: Above0 | None = None
    gated_attention: bool = False
    linear: LinearAttention | None = None
    mixed: MixedAttention | None = None
    embed_scale: bool = False
    embed_norm: bool = False
    head_activation: str = ""
    logit_bias: bool = False
    tie_embeddings: bool = False
    prefix_lm: bool = False
    dropout_rate: Fraction = 0.0
    dtype: str = "float32"
    pad_id: int = 0
    eos_id: int = 1
    bos_id: int | None = None
    reads_start: bool = True
    remat: str = "none"
    attention: str = "auto"
    family: str = ""
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_remat("DecoderConfig", self.remat)
        check_fields(self)
        object.__setattr__(self, "stop_ids", check_stop_ids("DecoderConfig", self.stop_ids, self.vocab_size))
        choices = {"norm": NORMS, "norm_placement": NORM_PLACEMENTS, "mlp_activation": MLP_ACTIVATIONS}
        choices |= {"qk_norm": QK_NORMS, "position": POSITIONS, "dtype": DTYPES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), known)
        if self.head_activation and self.head_activation not in ACTIVATIONS:
            raise unknown("head_activation", self.head_activation, ACTIVATIONS)
        if not self.first_norm and self.norm_placement != "pre":
            raise UserError(
                f"DecoderConfig: first_norm=False needs norm_placement='pre', and it is {self.norm_placement!r}."
            )
        check_attention("DecoderConfig", self.attention, cudnn_refuses=self.cudnn_refusal)
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"DecoderConfig: num_heads is {self.num_heads}; it must be a multiple of num_kv_heads ({self.num_kv_heads})."
            )
        if self.position == "rotary" and self.d_head % 2:
            raise UserError(f"DecoderConfig: d_head is {self.d_head}; rotary positions turn pairs, so it must be even.")
        if self.position == "rotary" and (self.d_rotary < 2 or self.d_rotary % 2):
            raise UserError(
                f"DecoderConfig: rotary_fraction is {self.rotary_fraction}, {self.d_rotary} of the {self.d_head} numbers of a head; "
                "rotary positions turn pairs, so it must be an even number of them."
            )
        if self.gated_attention and self.qk_norm == "full":
            raise UserError("DecoderConfig: gated_attention needs qk_norm='head' or ''.")
        if self.position == "learned" and self.rope_scaling is not None:
            raise UserError("DecoderConfig: rope_scaling needs position='rotary'.")
        for name in ("window_pattern", "rope_pattern"):
            if not getattr(self, name):
                raise UserError(
                    f"DecoderConfig: {name} is {getattr(self, name)!r}; give True or False for each layer of a cycle."
                )
        if self.local_rope_theta is not None and self.sliding_window is None:
            raise UserError("DecoderConfig: local_rope_theta needs a sliding_window: without one no layer is local.")
        for name in ("pad_id", "eos_id", "bos_id"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < self.vocab_size:
                raise UserError(
                    f"DecoderConfig: {name} is {value}, outside of the vocabulary of {self.vocab_size} tokens."
                )
        for part in (self.linear, self.mixed):
            if part is not None:
                part.check(self)

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """Yields (class, field, sentence) for every field that is set and that the other fields leave without a reader."""
        if self.rope_scaling is not None:
            yield from (("RopeScaling", *found) for found in self.rope_scaling.unread())
        if self.sliding_window is None and self.window_pattern != (True,):
            yield (
                "DecoderConfig",
                "window_pattern",
                f"DecoderConfig.window_pattern={self.window_pattern!r} says which layers have the window, and there is none. "
                "Set sliding_window to a number of tokens, or leave window_pattern out.",
            )
        if self.position != "rotary" and self.rope_theta != 10_000.0:
            yield (
                "DecoderConfig",
                "rope_theta",
                f"DecoderConfig.rope_theta={self.rope_theta!r} is of rotary positions, and the position is {self.position!r}. "
                "Set position='rotary', or leave rope_theta out.",
            )
        if self.position != "rotary" and self.rope_pattern != (True,):
            yield (
                "DecoderConfig",
                "rope_pattern",
                f"DecoderConfig.rope_pattern={self.rope_pattern!r} is of rotary positions, and the position is {self.position!r}. "
                "Set position='rotary', or leave rope_pattern out.",
            )

    # Every field is in one of these: those that decide what the same weights compute, and the others with the reason.
    COMPARED = (
        "vocab_size", "d_model", "num_layers", "num_heads", "num_kv_heads", "d_head", "d_ff", "norm", "norm_offset",
        "norm_epsilon", "norm_placement", "mlp_activation", "attention_bias", "output_bias", "mlp_bias", "qk_norm", "position",
        "max_positions", "sliding_window", "window_pattern", "rope_theta", "rope_scaling", "local_rope_theta",
        "rope_pattern", "query_scale", "attention_softcap", "logit_softcap", "embed_scale", "norm_bias", "first_norm",
        "embed_norm", "head_activation", "logit_bias", "gated_attention", "linear", "mixed", "rotary_fraction", "tie_embeddings",
        "prefix_lm", "reads_start", "bos_id",
    )  # fmt: skip
    FREE = MappingProxyType({**FREE_OF_ALL, "family": "of the export"})

    @property
    def kind(self) -> str:
        """The kind of model, as sentences name it."""
        return "a decoder"

    def effect(self, name: str) -> Any:
        """Returns the value of a field in the canonical form that equal models share."""
        value = getattr(self, name)
        if name == "window_pattern":
            return self.local_layers
        if name == "rotary_fraction":
            return self.d_rotary if self.position == "rotary" else None
        if name == "norm_bias":
            return self.norm == "layer" and value
        if name == "rope_pattern":
            return self.rotated_layers if self.position == "rotary" else None
        if name == "query_scale":
            return value or self.d_head**-0.5
        if name == "local_rope_theta" and self.sliding_window is not None and self.effect("rope_scaling") is None:
            return value or self.rope_theta
        if name == "rope_theta" and self.position == "learned":
            return None
        if name == "rope_scaling":
            return None if value is None else value.effect()
        return value

    def compared(self, name: str) -> Any:
        """Returns ``effect``, or ``None`` where the rest of a trained model does not read the field."""
        if name == "max_positions" and self.position != "learned":
            return None
        if name == "sliding_window" and not any(self.local_layers):
            return None
        if name in ("local_rope_theta", "window_pattern") and not any(self.local_layers):
            return None
        if name == "bos_id":
            return self.decoder_start_id if self.reads_start else None
        return self.effect(name)

    def takes_weights_of(self, theirs: "DecoderConfig", name: str) -> bool:
        """Tells whether weights of ``theirs`` can be trained on whatever the field is: to see inputs in both directions, any."""
        return name == "prefix_lm" and not theirs.prefix_lm

    @property
    def cudnn_refusal(self) -> str:
        """The reason why cuDNN's kernel does not compute this attention; empty where it does."""
        return cudnn_refusal(dtype=self.dtype, d_head=self.d_head, softcap=self.attention_softcap)

    @property
    def gated(self) -> bool:
        """True where the feed-forward layers multiply an activated and a linear projection."""
        return self.mlp_activation.startswith("gated-")

    @property
    def d_heads(self) -> int:
        """Width of all query heads side by side, ``num_heads * d_head``."""
        return self.num_heads * self.d_head

    @property
    def d_kv_heads(self) -> int:
        """Width of all key heads side by side, ``num_kv_heads * d_head``."""
        return self.num_kv_heads * self.d_head

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """Of every layer, whether it has the window."""
        if self.sliding_window is None:
            return (False,) * self.num_layers
        return tuple(self.window_pattern[i % len(self.window_pattern)] for i in range(self.num_layers))

    @property
    def layer_kinds(self) -> tuple[tuple[LayerKind, ...], tuple[int, ...]]:
        """The kinds of layers that there are, and of every layer the number of its kind."""
        normed = (self.first_norm, *(True,) * (self.num_layers - 1))
        of_layers = [LayerKind(*kind) for kind in zip(self.local_layers, self.rotated_layers, normed, strict=True)]
        kinds = tuple(dict.fromkeys(of_layers))
        return kinds, tuple(kinds.index(kind) for kind in of_layers)

    @property
    def rotated_layers(self) -> tuple[bool, ...]:
        """Of every layer, whether its queries and keys are rotated."""
        return tuple(self.rope_pattern[i % len(self.rope_pattern)] for i in range(self.num_layers))

    @property
    def d_rotary(self) -> int:
        """Width of the part of a head that is rotated."""
        return round(self.d_head * self.rotary_fraction)

    @property
    def decoder_start_id(self) -> int:
        """First token that the decoder reads."""
        return 0 if self.bos_id is None else self.bos_id

    @property
    def decoder_only(self) -> bool:
        """True: inputs and targets are one sequence."""
        return True

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """The ids in front of every prompt, as in the rows of training: 0, for ``bos_id`` or an empty place."""
        return (0,)

    @property
    def input_start(self) -> tuple[int, ...]:
        """The ids in front of every input that take a place of their own: none, as a row is shifted to the right by one."""
        return ()

    @property
    def row_start_id(self) -> int | None:
        """Token that every row begins with; ``None`` where the first place is empty."""
        return self.decoder_start_id if self.reads_start else None

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest text, ``max_positions``."""
        return self.max_positions

    @property
    def soft_prompt(self) -> SoftPromptShape:
        """Sizes and scale of soft prompts, in front of a row."""
        return SoftPromptShape(
            self.d_model, self.num_layers, self.num_heads, self.d_model**0.5 if self.embed_scale else 1.0
        )

    @property
    def tuned_dropout(self) -> float:
        """The dropout rate at which such models are tuned: they were trained without."""
        return 0.0

    def with_start_token(self, bos_id: int | None, reads_start: bool | None) -> "DecoderConfig":
        """Returns the configuration with the row start that a tokenizer says.

        Args:
            bos_id: token that begins a text. Where nobody says one, a text begins with what ends another.
            reads_start: whether a text begins with it; ``None`` for yes.
        """
        if reads_start is False:
            return dataclasses.replace(self, reads_start=False)
        begins = [i for i in (bos_id, self.bos_id, self.eos_id) if i is not None]
        return dataclasses.replace(self, reads_start=True, bos_id=begins[0])

    @property
    def learned_positions(self) -> int | None:
        """The number of tokens of an example that there are positions for; ``None`` for any number."""
        return self.max_positions if self.position == "learned" else None
