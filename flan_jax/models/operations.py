"""Floating-point operations of a step, by formula: what the mathematics needs, 2 for each product and sum."""

from flan_jax.models.config import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5gemma.config import T5GemmaConfig

FORMULA = (
    "Forward: 2 x (tokens of the encoder x parameters of its kernels + tokens of the decoder x parameters of its "
    "kernels, where the keys and values of cross-attention count with the tokens of the encoder, + tokens of the "
    "decoder x width x vocabulary) + attention, 4 x rows x queries x keys x width of all heads in every layer, half of "
    "it where it is causal (a window or a segment saves nothing here). The gradient needs twice as much; where the "
    "kernels are frozen once as much, and adapters are not counted. Every place of the batch counts, padding too; "
    "what is recomputed does not."
)


def step_operations(model: ModelConfig, rows: int, inputs: int, targets: int, *, frozen: bool = False) -> float:
    """Returns the operations of one training step by `FORMULA`.

    Args:
        model: the network.
        rows: of the batch.
        inputs: places of an encoder's row; 0 of a decoder.
        targets: places of a decoder's row.
        frozen: the kernels are not trained.
    """
    return forward_operations(model, rows, inputs, targets) * (2 if frozen else 3)


def forward_operations(model: ModelConfig, rows: int, inputs: int, targets: int) -> float:
    """Returns the operations of the forward pass over a batch by `FORMULA`; the arguments are `step_operations`'."""
    if isinstance(model, T5Config):
        return _t5(model, rows, inputs, targets)
    if isinstance(model, T5GemmaConfig):
        return _t5gemma(model, rows, inputs, targets)
    kernels = rows * targets * (model.num_layers * _layer(model) + model.d_model * model.vocab_size)
    return 2.0 * kernels + 4.0 * rows * model.num_layers * targets**2 / 2 * model.d_heads


def _layer(model: DecoderConfig) -> int:
    """The parameters of the kernels of a layer."""
    attention = 2 * model.d_model * (model.d_heads + model.d_kv_heads)
    return attention + (3 if model.gated else 2) * model.d_model * model.d_ff


def _t5gemma(model: T5GemmaConfig, rows: int, inputs: int, targets: int) -> float:
    """The decoder reads the encoder through the projections of its own tokens where it is merged, or by a layer more."""
    encoder, decoder = model.encoder, model.decoder
    crossing = 0 if model.merged_attention else 2 * decoder.d_model * decoder.d_heads
    keys = 2 * encoder.d_model * decoder.d_kv_heads * decoder.num_layers
    reads = rows * inputs * (encoder.num_layers * _layer(encoder) + keys)
    writes = rows * targets * (decoder.num_layers * (_layer(decoder) + crossing) + decoder.d_model * model.vocab_size)
    pairs: float = encoder.num_layers * inputs**2 * encoder.d_heads
    pairs += decoder.num_layers * (targets**2 / 2 + inputs * targets) * decoder.d_heads
    return 2.0 * (reads + writes) + 4.0 * rows * pairs


def _t5(model: T5Config, rows: int, inputs: int, targets: int) -> float:
    one = model.d_model * model.d_heads
    mlp = (3 if model.gated else 2) * model.d_model * model.d_ff
    encoder = rows * inputs * (model.num_encoder_layers * (4 * one + mlp) + model.num_decoder_layers * 2 * one)
    decoder = rows * targets * (model.num_decoder_layers * (6 * one + mlp) + model.d_model * model.vocab_size)
    own = model.num_encoder_layers * inputs**2 + model.num_decoder_layers * targets**2 / 2
    pairs = own + model.num_decoder_layers * inputs * targets
    return 2.0 * (encoder + decoder) + 4.0 * rows * pairs * model.d_heads
