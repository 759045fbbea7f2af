"""The line that says what a run is, before its first step."""

import dataclasses

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.settings import main_settings
from flan_jax.models.build import num_params
from flan_jax.models.tuning import TuningConfig
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig

CONFIG = RunConfig(
    model_dir="runs/a",
    mixture="mini",
    lengths={"inputs": 8, "targets": 8},
    model=tiny_t5(dropout_rate=0.05),
    optimizer=OptimizerConfig(learning_rate=5e-4),
    steps=1000,
    batch_size=64,
)


def test_dropout_rate_batch_and_steps_are_said():
    assert main_settings(CONFIG) == (
        f"training {num_params(CONFIG.model):,} parameters for 1,000 steps: dropout 0.05, adafactor at 0.0005 (constant), "
        "batches of 64 rows, float32, seed 0"
    )


def test_what_is_frozen_is_not_counted_and_the_warm_up_is_said():
    optimizer = OptimizerConfig(name="adamw", schedule="linear", warmup_steps=20, total_steps=1000)
    tuned = dataclasses.replace(CONFIG, tuning=TuningConfig(lora_rank=2, lora_patterns=("q",)), optimizer=optimizer)
    kernels = 2 * (tuned.model.num_encoder_layers + 2 * tuned.model.num_decoder_layers)
    trained = kernels * (tuned.model.d_model + tuned.model.d_heads)
    assert main_settings(tuned).startswith(f"training {trained:,} parameters")
    assert "adamw at 0.001 (linear after 20 steps of warm-up)" in main_settings(tuned)
