"""The compiled step of a group of runs, one for all groups of a key in a process."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import optax
from flax import nnx
from jax.sharding import Mesh

from flan_jax.experiments.config import RunConfig
from flan_jax.models.build import ModelConfig, abstract_model
from flan_jax.models.peft.config import TuningConfig
from flan_jax.studies.groups.group_key import unit_optimizer
from flan_jax.train.grouped_step import GroupStepFn, compile_group_step
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.state import trained_axes
from flan_jax.train.step_config import StepConfig

_TASKS_TOGETHER = 16


class GroupProgram(NamedTuple):
    """The compiled step of a group, and what states are made with.

    Attributes:
        graphdef: of the model.
        optimizer: of one run, at the unit learning rate.
        step: of all runs.
    """

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    step: GroupStepFn


def group_program(configs: Sequence[RunConfig], tasks: Sequence[int], mesh: Mesh) -> GroupProgram:
    """Returns the program of a group; the same where another group of this process has the same.

    Args:
        configs: of its runs, which share a key.
        tasks: the number of training tasks of each run. Programs are made for multiples of sixteen, so that groups
            whose runs have about as many tasks share one.
        mesh: of ``runs_axis.runs_mesh``.
    """
    first = configs[0]
    num_tasks = -(-max(tasks) // _TASKS_TOGETHER) * _TASKS_TOGETHER
    return _program(first.model, unit_optimizer(first), first.step, first.tuning, num_tasks, mesh)


@functools.lru_cache(maxsize=8)
def _program(
    model: ModelConfig, rule: OptimizerConfig, step: StepConfig, tuning: TuningConfig, num_tasks: int, mesh: Mesh
) -> GroupProgram:
    graphdef, _ = abstract_model(model)
    optimizer = make_optimizer(rule, trained_axes(model, tuning))
    compiled = compile_group_step(
        mesh,
        graphdef=graphdef,
        optimizer=optimizer,
        schedule=learning_rate(rule),
        num_tasks=num_tasks,
        config=step,
        tuning=tuning,
    )
    return GroupProgram(graphdef, optimizer, compiled)
