"""A mixture of three toy tasks, two of them nested, and what a run of it wrote."""

import json
from pathlib import Path

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, register_mixture
from flan_jax.models.t5.config import T5Config
from flan_jax.tasks.spec import Prompted
from flan_jax.testing import tasks as toys
from flan_jax.train.optimizer import OptimizerConfig

NAME = "toys_with_learned_weights"
PARITY, COPY, VOWEL = (Prompted(spec) for spec in (toys.PARITY, toys.COPY, toys.VOWEL))
INNER = Mixture("toys_inner", (Entry(COPY, 1.0), Entry(VOWEL, 3.0)))


def run_of_toys(folder: Path) -> RunConfig:
    """A run of eight steps of the smallest T5, in a folder that need not be there."""
    if NAME not in MIXTURES:
        entries = (Entry(PARITY, 1.0), Entry(INNER, 1.0))
        register_mixture(NAME, lambda: Mixture(NAME, entries, vocabulary="bytes", curriculum=((PARITY.name, 1.0),)))
    return RunConfig.from_options(
        model_dir=str(folder / "run"),
        mixture=NAME,
        lengths={"inputs": 64, "targets": 32},
        model=T5Config(
            vocab_size=384, d_model=8, d_kv=4, num_heads=2, d_ff=8, num_encoder_layers=1, num_decoder_layers=1
        ),
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-3),
        steps=8,
        batch_size=8,
        log_period=4,
        store=str(folder / "store"),
        checkpoint=CheckpointConfig(period=100, keep=1),
        evaluation=EvalConfig(suites=()),
    )


def lines(config, name="metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (Path(config.model_dir) / name).read_text(encoding="utf-8").splitlines()]
