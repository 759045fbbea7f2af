"""How many floating-point operations a step needs: those of matrix products, counted as 2 for each product and sum."""

from _bench_presets import Preset

from flan_jax.models.t5.config import T5Config

FORMULA = (
    "Forward: 2 x (tokens of the encoder x parameters of its kernels + tokens of the decoder x parameters of its "
    "kernels, where the keys and values of cross-attention count with the tokens of the encoder, + tokens of the "
    "decoder x width x vocabulary) + attention, 4 x rows x queries x keys x width of all heads in every layer, half of "
    "it where it is causal (a window or a segment saves nothing here). The gradient needs twice as much; where the "
    "kernels are frozen once as much, and adapters are not counted. Every place of the batch counts, padding too; "
    "what is recomputed does not."
)

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""bfloat16 products a second of dense matrices, from the data sheets."""


def step_flops(preset: Preset) -> float:
    """Of one training step."""
    return forward_flops(preset) * (2 if preset.lora_rank else 3)


def forward_flops(preset: Preset) -> float:
    """Of the forward pass over the batch."""
    return _t5(preset) if isinstance(preset.model, T5Config) else _decoder(preset)


def _t5(preset: Preset) -> float:
    model, rows, inputs, targets = preset.model, preset.rows, preset.inputs, preset.targets
    assert isinstance(model, T5Config)
    one = model.d_model * model.d_heads
    mlp = (3 if model.gated else 2) * model.d_model * model.d_ff
    encoder = rows * inputs * (model.num_encoder_layers * (4 * one + mlp) + model.num_decoder_layers * 2 * one)
    decoder = rows * targets * (model.num_decoder_layers * (6 * one + mlp) + model.d_model * model.vocab_size)
    own = model.num_encoder_layers * inputs**2 + model.num_decoder_layers * targets**2 / 2
    pairs = own + model.num_decoder_layers * inputs * targets
    return 2.0 * (encoder + decoder) + 4.0 * rows * pairs * model.d_heads


def _decoder(preset: Preset) -> float:
    model, rows, length = preset.model, preset.rows, preset.targets
    assert not isinstance(model, T5Config)
    layer = (
        2 * model.d_model * (model.d_heads + model.d_kv_heads) + (3 if model.gated else 2) * model.d_model * model.d_ff
    )
    kernels = rows * length * (model.num_layers * layer + model.d_model * model.vocab_size)
    return 2.0 * kernels + 4.0 * rows * model.num_layers * length**2 / 2 * model.d_heads
