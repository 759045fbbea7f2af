"""Configuration of decoder-only transformers: sizes, norms, positions, windows; and the published sizes of nine families."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.config_checks import DTYPES, checked_stop_ids
from flan_jax.models.ops.activations import MLP_ACTIVATIONS
from flan_jax.models.ops.attention_impl import check_attention, cudnn_refusal
from flan_jax.models.ops.remat import check_remat
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.typed import Above0, Fraction, Positive, check_fields

NORMS = ("rms", "layer")
NORM_PLACEMENTS = ("pre", "post", "both")
QK_NORMS = ("", "head", "full")
POSITIONS = ("rotary", "learned")


@dataclass(frozen=True)
class DecoderConfig:
    """Configuration of a decoder-only transformer. Hashable, so that a compiled function can depend on it.

    The defaults are a Llama; ``PRESETS`` shows what makes the other families.

    Attributes:
        vocab_size: rows of the embedding table, at least the size of the vocabulary in use.
        d_model: width of the residual stream.
        num_layers: layers.
        num_heads: query heads in every layer.
        num_kv_heads: key and value heads, each shared by ``num_heads / num_kv_heads`` query heads.
        d_head: width of one head; ``num_heads * d_head`` need not equal ``d_model``.
        d_ff: inner width of the feed-forward layers.
        norm: ``rms``, or ``layer`` with a mean and a bias.
        norm_offset: the norm multiplies by ``1 + scale`` (Gemma).
        norm_epsilon: added to the mean square.
        norm_placement: norms ``pre`` each part of a layer, ``post`` it (before it is added to the residual
            stream; OLMo 2), or ``both`` (Gemma 2 and 3).
        mlp_activation: activation, gated or plain; ``gelu`` is the exact function, ``gelu_tanh`` its approximation.
        attention_bias: queries, keys and values have biases.
        output_bias: the projection back from the heads has one.
        mlp_bias: the feed-forward layers have them.
        qk_norm: queries and keys are normed, each ``head`` alone (Qwen 3, Gemma 3) or all in ``full`` (OLMo 2).
        position: ``rotary``, or ``learned`` with one vector a position.
        rope_theta: base of the rotary frequencies.
        rope_scaling: how they are stretched.
        local_rope_theta: base in the layers with a window, which are not stretched; ``None`` for the same as elsewhere.
        max_positions: the longest text; only learned positions enforce it.
        sliding_window: in layers with a window a token sees itself and as many before it as make this number.
        window_pattern: which layers have the window, repeated over all of them: ``(True, False)`` is every other.
        query_scale: multiplies the scores; ``None`` for ``d_head ** -0.5``.
        attention_softcap: scores become ``cap * tanh(score / cap)`` (Gemma 2).
        logit_softcap: the same of the logits.
        embed_scale: embeddings are multiplied by ``sqrt(d_model)`` (Gemma).
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
    norm_placement: str = "pre"
    mlp_activation: str = "gated-silu"
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: str = ""
    position: str = "rotary"
    rope_theta: Above0 = 10_000.0
    rope_scaling: RopeScaling | None = None
    local_rope_theta: Above0 | None = None
    max_positions: Positive = 4096
    sliding_window: Positive | None = None
    window_pattern: tuple[bool, ...] = (True,)
    query_scale: Above0 | None = None
    attention_softcap: Above0 | None = None
    logit_softcap: Above0 | None = None
    embed_scale: bool = False
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
        object.__setattr__(self, "stop_ids", checked_stop_ids("DecoderConfig", self.stop_ids, self.vocab_size))
        choices = {"norm": NORMS, "norm_placement": NORM_PLACEMENTS, "mlp_activation": MLP_ACTIVATIONS}
        choices |= {"qk_norm": QK_NORMS, "position": POSITIONS, "dtype": DTYPES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), known)
        check_attention("DecoderConfig", self.attention, cudnn_refuses=self.cudnn_refusal)
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"DecoderConfig: num_heads is {self.num_heads}; it must be a multiple of num_kv_heads ({self.num_kv_heads})."
            )
        if self.position == "rotary" and self.d_head % 2:
            raise UserError(f"DecoderConfig: d_head is {self.d_head}; rotary positions turn pairs, so it must be even.")
        if self.position == "learned" and self.rope_scaling is not None:
            raise UserError("DecoderConfig: rope_scaling needs position='rotary'.")
        if not self.window_pattern:
            raise UserError(
                f"DecoderConfig: window_pattern is {self.window_pattern!r}; give True or False for each layer of a cycle."
            )
        if self.local_rope_theta is not None and self.sliding_window is None:
            raise UserError("DecoderConfig: local_rope_theta needs a sliding_window: without one no layer is local.")
        for name in ("pad_id", "eos_id", "bos_id"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < self.vocab_size:
                raise UserError(
                    f"DecoderConfig: {name} is {value}, outside of the vocabulary of {self.vocab_size} tokens."
                )

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

    @property
    def cudnn_refusal(self) -> str:
        """Why cuDNN's kernel does not compute this attention; empty where it does."""
        return cudnn_refusal(dtype=self.dtype, d_head=self.d_head, softcap=self.attention_softcap)

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layers multiply an activated and a linear projection."""
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
    def decoder_start_id(self) -> int:
        """First token that the decoder reads."""
        return 0 if self.bos_id is None else self.bos_id

    @property
    def decoder_only(self) -> bool:
        """Whether inputs and targets are one sequence: yes."""
        return True

    @property
    def prompt_start(self) -> tuple[int, ...]:
        """What stands in front of every prompt, as in the rows of training: 0, for ``bos_id`` or an empty place."""
        return (0,)

    @property
    def row_start_id(self) -> int | None:
        """Token that every row begins with; ``None`` where the first place is empty."""
        return self.decoder_start_id if self.reads_start else None

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest text, ``max_positions``."""
        return self.max_positions

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
        """How many tokens of an example there are positions for; ``None`` for any number."""
        return self.max_positions if self.position == "learned" else None


def _sized(
    vocab_size: int, d_model: int, layers: int, heads: int, kv_heads: int, d_head: int, d_ff: int, **rest: Any
) -> DecoderConfig:
    return DecoderConfig(vocab_size, d_model, layers, heads, kv_heads, d_head, d_ff, **rest)


def _gpt2(d_model: int, layers: int, heads: int) -> DecoderConfig:
    """Radford et al. 2019, table 2."""
    return _sized(
        50257, d_model, layers, heads, heads, d_model // heads, 4 * d_model, family="gpt2", norm="layer",
        mlp_activation="gelu_tanh", attention_bias=True, output_bias=True, mlp_bias=True, position="learned",
        max_positions=1024, tie_embeddings=True, eos_id=50256, bos_id=50256,
    )  # fmt: skip


def _llama2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """Touvron et al. 2023, arXiv:2307.09288."""
    return _sized(32000, d_model, layers, heads, kv_heads, d_model // heads, d_ff, family="llama", eos_id=2, bos_id=1)


def _llama3(d_model: int, layers: int, heads: int, d_ff: int, factor: float = 0.0, **rest: Any) -> DecoderConfig:
    """Llama Team 2024, arXiv:2407.21783; with a factor, Llama 3.1 and later."""
    scaling = RopeScaling("llama3", factor, original_max_positions=8192) if factor else None
    return _sized(
        128256, d_model, layers, heads, 8, d_model // heads, d_ff, family="llama", rope_theta=500_000.0,
        rope_scaling=scaling, max_positions=131072 if factor else 8192, eos_id=128001, bos_id=128000, **rest,
    )  # fmt: skip


def _mistral(**rest: Any) -> DecoderConfig:
    """Jiang et al. 2023, arXiv:2310.06825."""
    vocab_size = rest.pop("vocab_size", 32000)
    return _sized(
        vocab_size, 4096, 32, 32, 8, 128, 14336, family="mistral", max_positions=32768, eos_id=2, bos_id=1, **rest
    )


def _qwen(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int, **rest: Any) -> DecoderConfig:
    return _sized(
        rest.pop("vocab_size", 151936), d_model, layers, heads, kv_heads, rest.pop("d_head", d_model // heads), d_ff,
        norm_epsilon=1e-6, rope_theta=1_000_000.0, eos_id=151643, bos_id=151643, **rest,
    )  # fmt: skip


def _qwen2(*sizes: int, tied: bool, max_positions: int) -> DecoderConfig:
    """Qwen Team 2024, arXiv:2407.10671 and arXiv:2412.15115; sizes of 7B and more have a longer table."""
    return _qwen(
        *sizes, family="qwen2", attention_bias=True, tie_embeddings=tied, max_positions=max_positions,
        vocab_size=151936 if tied else 152064,
    )  # fmt: skip


def _qwen3(*sizes: int, tied: bool) -> DecoderConfig:
    """Qwen Team 2025, arXiv:2505.09388."""
    return _qwen(*sizes, family="qwen3", d_head=128, qk_norm="head", tie_embeddings=tied, max_positions=40960)


def _gemma(vocab_size: int, *sizes: int, **rest: Any) -> DecoderConfig:
    """Gemma Team 2024 and 2025, arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786."""
    shared = {"norm_offset": True, "norm_epsilon": 1e-6, "mlp_activation": "gated-gelu_tanh", "embed_scale": True}
    return _sized(vocab_size, *sizes, tie_embeddings=True, eos_id=1, bos_id=2, **{**shared, **rest})  # type: ignore[arg-type]


def _gemma1(*sizes: int) -> DecoderConfig:
    return _gemma(256000, *sizes, family="gemma", max_positions=8192)


def _gemma2(*sizes: int, query_width: int = 256) -> DecoderConfig:
    return _gemma(
        256000, *sizes, family="gemma2", max_positions=8192, norm_placement="both", sliding_window=4096,
        window_pattern=(True, False), query_scale=query_width**-0.5, attention_softcap=50.0, logit_softcap=30.0,
    )  # fmt: skip


def _gemma3(vocab_size: int, *sizes: int, query_width: int = 256, window: int = 1024) -> DecoderConfig:
    small = window == 512  # 1B alone has a short context, whose positions are not stretched
    return _gemma(
        vocab_size, *sizes, family="gemma3_text", norm_placement="both", qk_norm="head", sliding_window=window,
        window_pattern=(*(True,) * 5, False), query_scale=query_width**-0.5, rope_theta=1_000_000.0,
        local_rope_theta=10_000.0, rope_scaling=None if small else RopeScaling("linear", 8.0),
        max_positions=32768 if small else 131072,
    )  # fmt: skip


def _olmo2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """OLMo Team 2024, arXiv:2501.00656."""
    return _sized(
        100352, d_model, layers, heads, kv_heads, 128, d_ff, family="olmo2", norm_placement="post", qk_norm="full",
        norm_epsilon=1e-6, rope_theta=500_000.0, eos_id=100257, pad_id=100277,
    )  # fmt: skip


_QWEN2 = {
    "0_5b": (896, 24, 14, 2, 4864),
    "1_5b": (1536, 28, 12, 2, 8960),
    "3b": (2048, 36, 16, 2, 11008),
    "7b": (3584, 28, 28, 4, 18944),
    "14b": (5120, 48, 40, 8, 13824),
    "32b": (5120, 64, 40, 8, 27648),
    "72b": (8192, 80, 64, 8, 29568),
}
_QWEN2_TIED = ("0_5b", "1_5b", "3b")

# The published sizes, each as its base model.
PRESETS: dict[str, DecoderConfig] = {
    "gpt2_small": _gpt2(768, 12, 12),
    "gpt2_medium": _gpt2(1024, 24, 16),
    "gpt2_large": _gpt2(1280, 36, 20),
    "gpt2_xl": _gpt2(1600, 48, 25),
    "llama2_7b": _llama2(4096, 32, 32, 32, 11008),
    "llama2_13b": _llama2(5120, 40, 40, 40, 13824),
    "llama2_70b": _llama2(8192, 80, 64, 8, 28672),
    "llama3_8b": _llama3(4096, 32, 32, 14336),
    "llama3_70b": _llama3(8192, 80, 64, 28672),
    "llama3_1_8b": _llama3(4096, 32, 32, 14336, 8.0),
    "llama3_1_70b": _llama3(8192, 80, 64, 28672, 8.0),
    "llama3_1_405b": _llama3(16384, 126, 128, 53248, 8.0),
    "llama3_2_1b": _llama3(2048, 16, 32, 8192, 32.0, tie_embeddings=True),
    "llama3_2_3b": _llama3(3072, 28, 24, 8192, 32.0, tie_embeddings=True),
    "mistral_7b_v0_1": _mistral(sliding_window=4096),
    "mistral_7b_v0_2": _mistral(rope_theta=1_000_000.0),
    "mistral_7b_v0_3": _mistral(rope_theta=1_000_000.0, vocab_size=32768),
    **{
        f"qwen2_{size}": _qwen2(*_QWEN2[size], tied=size in _QWEN2_TIED, max_positions=131072)
        for size in ("0_5b", "1_5b", "7b", "72b")
    },
    **{
        f"qwen2_5_{size}": _qwen2(*sizes, tied=(tied := size in _QWEN2_TIED), max_positions=32768 if tied else 131072)
        for size, sizes in _QWEN2.items()
    },
    "qwen3_0_6b": _qwen3(1024, 28, 16, 8, 3072, tied=True),
    "qwen3_1_7b": _qwen3(2048, 28, 16, 8, 6144, tied=True),
    "qwen3_4b": _qwen3(2560, 36, 32, 8, 9728, tied=True),
    "qwen3_8b": _qwen3(4096, 36, 32, 8, 12288, tied=False),
    "qwen3_14b": _qwen3(5120, 40, 40, 8, 17408, tied=False),
    "qwen3_32b": _qwen3(5120, 64, 64, 8, 25600, tied=False),
    "gemma_2b": _gemma1(2048, 18, 8, 1, 256, 16384),
    "gemma_7b": _gemma1(3072, 28, 16, 16, 256, 24576),
    "gemma2_2b": _gemma2(2304, 26, 8, 4, 256, 9216),
    "gemma2_9b": _gemma2(3584, 42, 16, 8, 256, 14336),
    "gemma2_27b": _gemma2(4608, 46, 32, 16, 128, 36864, query_width=144),
    "gemma3_1b": _gemma3(262144, 1152, 26, 4, 1, 256, 6912, window=512),
    "gemma3_4b": _gemma3(262208, 2560, 34, 8, 4, 256, 10240),
    "gemma3_12b": _gemma3(262208, 3840, 48, 16, 8, 256, 15360),
    "gemma3_27b": _gemma3(262208, 5376, 62, 32, 16, 128, 21504, query_width=168),
    "olmo2_1b": _olmo2(2048, 16, 16, 16, 8192),
    "olmo2_7b": _olmo2(4096, 32, 32, 32, 11008),
    "olmo2_13b": _olmo2(5120, 40, 40, 40, 13824),
    "olmo2_32b": _olmo2(5120, 64, 40, 8, 27648),
}


def preset(name: str, **changes: Any) -> DecoderConfig:
    """Returns a published size such as ``llama3_2_1b``, with the fields in ``changes`` replaced.

    Raises:
        UserError: unknown name; the message suggests near ones.
    """
    if name not in PRESETS:
        raise unknown("model preset", name, PRESETS)
    return dataclasses.replace(PRESETS[name], **changes)
