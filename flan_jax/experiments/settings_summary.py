"""The settings of a run that decide most, in one line: what a user looks at before the first step."""

import math
from collections.abc import Iterator

import jax

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.train.optimizer import SMALLEST_SIZE, learning_rate
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import abstract_trained


def main_settings(config: RunConfig) -> str:
    """Sums up how many parameters are trained, and how: dropout, optimizer, rate, batch, steps and seed."""
    trained = abstract_trained(config.model, config.tuning, make_partitioner(config.mesh))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained))
    optimizer = config.optimizer
    schedule = f"{optimizer.schedule} after {optimizer.warmup_steps:,} steps of warm-up"
    rules = config.mesh.rules.overrides()
    sharded = "; ".join(f"{name} over {' × '.join(axes) or 'no mesh axis'}" for name, axes in rules.items())
    return (
        f"training {count:,} parameters for {config.steps:,} steps: dropout {config.model.dropout_rate:g}, "
        f"{optimizer.name} at {optimizer.learning_rate:g} ({schedule if optimizer.warmup_steps else optimizer.schedule}), "
        f"batches of {config.feed.batch_size:,} rows, {config.model.dtype}, seed {config.seed}"
        + (f"; sharding rules: {sharded}" if sharded else "")
    )


def unread(config: RunConfig) -> Iterator[tuple[str, str, str]]:
    """Yields what is set and what the values of other settings leave without a reader: part, field, and a sentence that says so."""
    yield from (("run", *found) for found in config.unread())
    yield from (("EvalConfig", *found) for found in config.evaluation.unread())
    yield from (("OptimizerConfig", *found) for found in config.optimizer.unread())
    yield from config.model.unread()


def check_schedule(config: RunConfig) -> list[str]:
    """Compares the lengths of a run's parts with its steps, and its settings with one another.

    Returns:
        What is odd and still means something, in sentences.

    Raises:
        UserError: the schedule reaches 0 before the run ends, so that its last steps would change nothing.
    """
    optimizer, steps, notes = config.optimizer, config.steps, []
    if not steps:
        return []
    if optimizer.decays and optimizer.total_steps < steps:
        if not optimizer.final_fraction:
            dead = steps - optimizer.total_steps
            raise UserError(
                f"The {optimizer.schedule} schedule ends at step {optimizer.total_steps} (OptimizerConfig.total_steps) with a "
                f"learning rate of 0, but the run has {steps} steps (TRAIN_STEPS): the last {dead} would change nothing. Leave "
                "total_steps out, which lets the schedule end with the run, or set OptimizerConfig.final_fraction."
            )
        last = optimizer.learning_rate * optimizer.final_fraction
        notes.append(
            f"the {optimizer.schedule} schedule ends at step {optimizer.total_steps:,}; the steps from there to {steps:,} "
            f"keep its last learning rate, {last:g}"
        )
    if optimizer.decays and optimizer.total_steps > steps:
        last = float(learning_rate(optimizer)(steps - 1))
        notes.append(
            f"the run ends before its {optimizer.schedule} schedule of {optimizer.total_steps:,} steps, at a learning rate "
            f"of {last:.3g}"
        )
    notes += [sentence.partition(". ")[0] for _, _, sentence in unread(config)]
    if config.tuning.lora_rank and optimizer.name == "adafactor":
        notes.append(
            f"adapters begin at 0, and adafactor's steps are relative to a parameter's size (taken as {SMALLEST_SIZE:g} below "
            f"that), so one changes them by about {SMALLEST_SIZE * optimizer.learning_rate:.2g}: next to nothing is learned. "
            "Set OptimizerConfig.name='adamw', as runs/lora.gin does"
        )
    if optimizer.warmup_steps > steps:
        share = steps / optimizer.warmup_steps
        notes.append(
            f"the warm-up of {optimizer.warmup_steps:,} steps outlasts the run's {steps:,}: the learning rate ends at "
            f"{share:.0%} of {optimizer.learning_rate:g}"
        )
    if config.feed.curriculum_steps >= steps:
        notes.append(
            f"the curriculum of {config.feed.curriculum_steps:,} steps (run.curriculum_steps) takes all of the run's {steps:,}"
        )
    late = [step for step, _ in config.feed.stages if step >= steps]
    if late:
        notes.append(
            f"the run ends after {steps:,} steps, before its stage from step {late[0]:,} on (run.stages) begins"
        )
    return notes
