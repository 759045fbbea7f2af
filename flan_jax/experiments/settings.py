"""The settings of a run that decide most, in one line: what a user looks at before the first step."""

import math

import jax

from flan_jax.experiments.config import RunConfig
from flan_jax.train.sharding import make_mesh
from flan_jax.train.state import abstract_trained


def main_settings(config: RunConfig) -> str:
    """How many parameters are trained, and how: dropout, optimizer, rate, batch, steps and seed."""
    trained = abstract_trained(config.model, config.tuning, make_mesh(config.mesh))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained))
    optimizer = config.optimizer
    schedule = f"{optimizer.schedule} after {optimizer.warmup_steps:,} steps of warm-up"
    return (
        f"training {count:,} parameters for {config.steps:,} steps: dropout {config.model.dropout_rate:g}, "
        f"{optimizer.name} at {optimizer.learning_rate:g} ({schedule if optimizer.warmup_steps else optimizer.schedule}), "
        f"batches of {config.batch_size:,} rows, {config.model.dtype}, seed {config.seed}"
    )
