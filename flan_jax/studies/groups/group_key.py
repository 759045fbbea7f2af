"""A key that runs share which may be trained together (``group_key``), and the refusal of others."""

import dataclasses
from collections.abc import Sequence

import jax

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.studies.plan import digest_of
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

UNIT_RATE = 1.0
"""The learning rate of the optimizer that a group compiles: those of its runs are multiples of it."""


def group_key(config: RunConfig) -> str:
    """Returns a digest that runs share where one compiled step can train them together.

    They agree in all that a program is compiled from, in their numbers of steps and in when they log, save and measure.
    They may differ in what is data to it: seed, mixture and weights, held-out clusters, templates, suites, and the peak
    of their learning rate. Where a part of the model is trained on top of random weights, these come from the seed, and
    runs of one seed share them.
    """
    asked = config.evaluation
    some = config.initial_parameters
    from_seed = bool(some) or (config.tuning.partial and not config.initial_checkpoint)
    return digest_of(
        {
            "model": [type(config.model).__name__, config.model],
            "optimizer": unit_optimizer(config),
            "step": config.step,
            "tuning": config.tuning,
            "steps": config.steps,
            "rows": [config.feed.batch_size, dict(config.tokenize.lengths)],
            "vocabulary": config.data.vocabulary or config.mixture,
            "chat_template": config.tokenize.chat_template,
            "weights": [config.initial_checkpoint, config.initial_adapter, *some, config.seed if from_seed else None],
            "log_period": config.log_period,
            "checkpoint": config.checkpoint,
            "evaluation": [asked.period, asked.before, asked.batch_size, asked.decoding, asked.ema],
            "mesh": config.mesh,
        }
    )


def unit_optimizer(config: RunConfig) -> OptimizerConfig:
    """Returns a run's optimizer with the learning rate that all groups compile."""
    return dataclasses.replace(config.optimizer, learning_rate=UNIT_RATE)


def why_alone(config: RunConfig) -> str:
    """Says in a sentence why a run cannot be trained together with any other; ``""`` where it can."""
    if config.weighting is not None:
        return (
            f"run.weighting ({type(config.weighting).__name__}) changes the weights while the run trains, for which a run "
            "is trained alone."
        )
    if config.mesh != MeshConfig():
        return (
            "MeshConfig splits a run over devices, but of runs that are trained together each has one device. Leave it as "
            "it is by default, or train the runs alone."
        )
    if config.validation.period:
        return "ValidationConfig measures a run while it trains, for which a run is trained alone."
    if jax.process_count() > 1:
        return "Several processes train one run together. Start each by itself for a group of its own."
    return ""


def check_group(configs: Sequence[RunConfig]) -> None:
    """Refuses runs that cannot be trained together.

    Raises:
        UserError: there is none, two have one folder, or one does not fit the first.
    """
    if not configs:
        raise UserError("A group has at least one run.")
    for config in configs:
        if reason := why_alone(config):
            raise UserError(f"The run in {config.model_dir!r} cannot be trained with others: {reason}")
        if group_key(config) != group_key(configs[0]):
            raise UserError(
                f"The run in {config.model_dir!r} cannot be trained together with that in {configs[0].model_dir!r}: they "
                "differ in the model, the optimizer, the batch, the steps or another option that a compiled step is made "
                "of. Train them in groups of their own."
            )
    folders = [config.model_dir for config in configs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(f"Two runs of a group have MODEL_DIR {folder!r}. Give each a folder of its own.")
