"""The models that speed is measured with, and the batches: one table for every tool."""

import dataclasses
from typing import Any

import numpy as np

from flan_jax.models import decoder_presets as decoder
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.peft.config import FrozenDtype, TuningConfig
from flan_jax.models.t5 import presets as t5
from flan_jax.models.t5.config import T5Config
from flan_jax.testing.models import tiny_decoder, tiny_t5


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model and its batch."""

    model: T5Config | DecoderConfig
    rows: int
    targets: int  # of a decoder, the whole row
    inputs: int = 0
    lora_rank: int = 0
    frozen_dtype: FrozenDtype = "float32"

    @property
    def tuning(self) -> TuningConfig:
        return TuningConfig(lora_rank=self.lora_rank, frozen_dtype=self.frozen_dtype)


def _t5(name: str, rows: int, inputs: int = 512, targets: int = 128, **changes: Any) -> Preset:
    return Preset(dataclasses.replace(t5.preset(name), **changes), rows, targets, inputs)


PRESETS: dict[str, Preset] = {
    "tiny_t5": Preset(tiny_t5(), 2, 6, 9),
    "tiny_decoder": Preset(tiny_decoder(), 2, 12),
    "tiny_decoder_lora": Preset(tiny_decoder(), 2, 12, lora_rank=2),
    # For a CPU.
    "t5_small": _t5("t5_small", 8),
    "t5_1_1_small": _t5("t5_1_1_small", 8),
    "decoder_100m": Preset(DecoderConfig(32000, 768, 12, 12, 12, 64, 2048, tie_embeddings=True), 4, 1024),
    "smollm2_135m": Preset(decoder.preset("smollm2_135m"), 4, 512),
    "smollm2_135m_lora": Preset(decoder.preset("smollm2_135m"), 4, 512, lora_rank=16),
    # For a GPU of 80 GB or more, at the lengths of packed rows.
    "t5_small_gpu": _t5("t5_small", 128, dtype="bfloat16"),
    "t5_base": _t5("t5_1_1_base", 128, dtype="bfloat16"),
    "t5_large": _t5("t5_1_1_large", 16, 2048, 512, dtype="bfloat16"),
    "t5_xl": _t5("t5_1_1_xl", 8, 2048, 512, dtype="bfloat16", remat="full"),
    "decoder_1b": Preset(decoder.preset("llama3_2_1b", dtype="bfloat16", remat="full"), 4, 4096),
    "decoder_8b_lora": Preset(
        decoder.preset("llama3_1_8b", dtype="bfloat16", remat="full"), 2, 4096, lora_rank=16, frozen_dtype="bfloat16"
    ),
}


def make_batch(preset: Preset, *, padding: float, seed: int) -> dict[str, np.ndarray]:
    """One example a row, so that a peer without packing computes the same; the end of each row is padding.

    Args:
        padding: the share of a row.
        seed: of the tokens.
    """
    rng, model = np.random.default_rng(seed), preset.model
    low = 3

    def side(length: int) -> tuple[np.ndarray, np.ndarray]:
        segments = np.zeros((preset.rows, length), np.int32)
        segments[:, : max(1, round(length * (1 - padding)))] = 1
        return rng.integers(low, model.vocab_size, segments.shape).astype(np.int32) * segments, segments

    targets, segments = side(preset.targets)
    batch = {
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))) * segments,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": segments.astype(np.float32),
        "decoder_segment_ids": segments,
        "decoder_positions": np.arange(preset.targets, dtype=np.int32) * segments,
        "decoder_task_ids": segments - 1,
    }
    if isinstance(model, T5Config):
        inputs, segments = side(preset.inputs)
        batch |= {
            "encoder_input_tokens": inputs,
            "encoder_segment_ids": segments,
            "encoder_positions": np.arange(preset.inputs, dtype=np.int32) * segments,
        }
    return batch
