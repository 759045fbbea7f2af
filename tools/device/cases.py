"""The models that a device is checked with, their batches and weights: full sizes, and small ones that a CPU takes.

Shapes: B rows, T places of a row.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models import decoder_presets
from flan_jax.models.build import abstract_model, logical_axes
from flan_jax.models.config import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import stored_axes, stored_shapes
from flan_jax.models.t5 import presets as t5_presets
from flan_jax.models.t5.config import T5Config
from flan_jax.plan.job import PlanJob
from flan_jax.plan.packages import CompilerName
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import Partitioner

SEGMENTS = 4
"""Examples packed into a row."""
LOWEST_TOKEN = 3
"""Those below are padding, ends and unknown words."""


@dataclasses.dataclass(frozen=True)
class TrainCase:
    """A training step to be measured.

    Attributes:
        model: the network.
        inputs: places of an encoder's row; 0 of a decoder.
        targets: places of a decoder's row.
        attempts: (rows, remat), the fastest first; the first that fits is measured. Behind them the last one's rows are
            halved down to one.
        mfu: the least share of the peak rate that is asked for.
        optimizer: of what is trained.
        tuning: which part that is.
    """

    model: ModelConfig
    inputs: int
    targets: int
    attempts: tuple[tuple[int, str], ...]
    mfu: float
    optimizer: OptimizerConfig
    tuning: TuningConfig = dataclasses.field(default_factory=TuningConfig)

    def all_attempts(self) -> Iterator[tuple[int, str]]:
        """Yields (rows, remat) in the order in which they are tried."""
        yield from self.attempts
        rows, remat = self.attempts[-1]
        while rows > 1:
            rows //= 2
            yield rows, remat

    def job(self, rows: int, remat: str, target: str, compiler: CompilerName = "cpu") -> PlanJob:
        """Returns what `flan-jax plan` compiles of this step."""
        model: Any = dataclasses.replace(self.model, remat=remat)  # type: ignore[type-var]
        return PlanJob(
            model, rows, self.inputs, self.targets, target, compiler=compiler, optimizer=self.optimizer,
            tuning=self.tuning, programs=("train",),
        )  # fmt: skip


_ADAMW, _ADAFACTOR = OptimizerConfig(name="adamw", learning_rate=1e-5), OptimizerConfig(learning_rate=1e-4)
_LORA = TuningConfig(lora_rank=16, frozen_dtype="bfloat16")


def train_cases(small: bool) -> dict[str, TrainCase]:
    """Returns name → step, the same names in both sizes."""
    if small:
        t5, decoder = tiny_t5(vocab_size=127), tiny_decoder(max_positions=64)
        few = ((2, "none"),)
        return {
            "t5_xl": TrainCase(t5, 32, 16, few, 0.55, _ADAFACTOR),
            "decoder_1b": TrainCase(decoder, 0, 48, few, 0.60, _ADAMW),
            "decoder_8b_lora": TrainCase(
                decoder, 0, 48, few, 0.60, _ADAMW, TuningConfig(lora_rank=2, frozen_dtype="bfloat16")
            ),
        }
    return {
        "t5_xl": TrainCase(
            dataclasses.replace(t5_presets.preset("t5_1_1_xl"), dtype="bfloat16"), 2048, 512,
            ((8, "none"), (8, "dots"), (8, "full")), 0.55, _ADAFACTOR,
        ),
        "decoder_1b": TrainCase(
            decoder_presets.preset("llama3_2_1b", dtype="bfloat16"), 0, 4096, ((8, "none"), (8, "dots"), (8, "full")),
            0.60, _ADAMW,
        ),
        "decoder_8b_lora": TrainCase(
            decoder_presets.preset("llama3_1_8b", dtype="bfloat16"), 0, 4096, ((4, "none"), (4, "dots"), (4, "full")),
            0.60, _ADAMW, _LORA,
        ),
    }  # fmt: skip


def parity_models(small: bool) -> dict[str, tuple[ModelConfig, int, int]]:
    """Returns name → (model, places of inputs, places of targets): no two sizes of one model have a factor in common.

    The decoder's heads are as cuDNN takes them, and it takes rows of even length; rows of odd length go another way.
    """
    if small:
        return {
            "t5": (tiny_t5(), 9, 6),
            "decoder": (tiny_decoder(), 0, 12),
            "decoder_odd": (tiny_decoder(), 0, 13),
        }
    t5 = T5Config(
        vocab_size=1511, d_model=416, d_kv=56, num_heads=7, d_ff=1048, num_encoder_layers=3, num_decoder_layers=5,
        tie_embeddings=True,
    )  # fmt: skip
    decoder = DecoderConfig(
        vocab_size=1511, d_model=416, num_layers=5, num_heads=9, num_kv_heads=3, d_head=56, d_ff=1048,
        max_positions=1024,
    )  # fmt: skip
    return {"t5": (t5, 323, 131), "decoder": (decoder, 0, 514), "decoder_odd": (decoder, 0, 513)}


def proxy(small: bool) -> DecoderConfig:
    """Returns the decoder of about a million parameters that studies train many of; on a CPU one of ten thousand."""
    if small:
        return tiny_decoder()
    return DecoderConfig(
        vocab_size=2048, d_model=128, num_layers=4, num_heads=4, num_kv_heads=4, d_head=32, d_ff=384, max_positions=512
    )


def packed_batch(model: ModelConfig, rows: int, inputs: int, targets: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws a batch whose every place is trained on or read: `SEGMENTS` examples a row, with the keys of `feed.layout`.

    The examples of a row have ends of their own, which both sides of an encoder-decoder draw alike.
    """
    rng = np.random.default_rng(seed)

    def side(name: str, length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        ends = np.sort(rng.integers(1, length, (rows, SEGMENTS - 1)), axis=1)
        places = np.arange(length)
        segments = 1 + (places >= ends[:, :, None]).sum(axis=1)
        starts = np.concatenate([np.zeros((rows, 1), int), ends], axis=1)
        positions = places - np.take_along_axis(starts, segments - 1, axis=1)
        tokens = rng.integers(LOWEST_TOKEN, model.vocab_size, (rows, length)).astype(np.int32)
        return {
            f"{name}_input_tokens": tokens,
            f"{name}_segment_ids": segments.astype(np.int32),
            f"{name}_positions": positions.astype(np.int32),
        }, tokens

    batch, tokens = side("decoder", targets)
    shifted = np.roll(tokens, 1, axis=1)
    batch |= {
        "decoder_input_tokens": np.where(batch["decoder_positions"] == 0, model.decoder_start_id, shifted),
        "decoder_target_tokens": tokens,
        "decoder_loss_weights": np.ones((rows, targets), np.float32),
        "decoder_task_ids": np.zeros((rows, targets), np.int32),
    }
    if model.decoder_only:
        return batch | {"decoder_causal_attention": np.zeros((rows, targets), np.int32)}
    return batch | side("encoder", inputs)[0]


def drawn_params(model: ModelConfig, tuning: TuningConfig, partitioner: Partitioner, seed: int = 0) -> dict[str, Any]:
    """Draws random weights on the devices, one parameter at a time in the type that it is kept in.

    An initializer draws all of a model in float32 at once, which for a large frozen model is more memory than its
    training takes. Scales are 1; a matrix has a standard deviation of the inverse root of its inputs.
    """
    axes, shapes = logical_axes(model), abstract_model(model)[1]
    of_params = partitioner.params(stored_axes(axes, tuning), stored_shapes(shapes, axes, tuning))
    leaves, tree = jax.tree.flatten_with_path(stored_shapes(shapes, axes, tuning))
    keys = jax.random.split(jax.random.key(seed), len(leaves))

    def draw(path: Any, leaf: Any, to: Any, key: Any) -> Any:
        name = path[-1].key
        if name == "scale":
            return jax.jit(lambda: jnp.ones(leaf.shape, leaf.dtype), out_shardings=to)()
        inputs = leaf.shape[-2] if len(leaf.shape) > 1 else 1
        if name in ("embedding", "table"):
            inputs = leaf.shape[-1]
        std = 0.02 if name.endswith("bias") else inputs**-0.5
        return jax.jit(lambda key: std * jax.random.normal(key, leaf.shape, leaf.dtype), out_shardings=to)(key)

    places = jax.tree.leaves(of_params)
    drawn = [draw(path, leaf, to, key) for (path, leaf), to, key in zip(leaves, places, keys, strict=True)]
    return jax.tree.unflatten(tree, drawn)
