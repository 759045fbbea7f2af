"""Trackers of experiments, Weights & Biases and trackio, which have the same calls; imported where a run asks for one."""

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from flan_jax.errors import UserError
from flan_jax.train.hooks import groups_of
from flan_jax.train.metrics_accumulator import HostMetrics

TrackerName = Literal["wandb", "trackio"]
PROJECT = "flan_jax"


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Refuses trackers that are not installed, before any work is done.

    Raises:
        UserError: one is not.
    """
    for name in names:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            raise UserError(
                f"TRACKERS names {name!r}, which is not installed here. Install it (pip install 'flan-jax[{name}]'), or leave it "
                "out: TensorBoard's events and metrics.jsonl are always written."
            )


class Tracker:
    """Sends each logged line to a tracker, under the names of TensorBoard's curves; a hook. The first process alone does.

    Args:
        name: of the tracker.
        folder: of the run; its name is the run's, and a run that is continued goes on there.
        config: of the run, JSON values.
        task_names: the K names behind the per-task metrics.
    """

    def __init__(
        self, name: TrackerName, folder: Path, config: Mapping[str, Any], task_names: Sequence[str] = ()
    ) -> None:
        assert name in get_args(TrackerName)
        self._task_names = tuple(task_names)
        self._module: Any = None
        if jax.process_index() != 0:
            return
        self._module = importlib.import_module(name)
        own = {"dir": str(folder), "id": folder.name} if name == "wandb" else {}
        self._module.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            config=dict(config),
            resume="allow",
            **own,
        )

    def __call__(self, step: int, metrics: HostMetrics, state: Any, /) -> None:
        """Sends the scalars of this step."""
        if self._module is None:
            return
        values = {f"train/{name}": value for name, value in metrics.items() if isinstance(value, (int, float))}
        for group, named in groups_of(metrics, self._task_names).items():
            values |= {f"{group}/{name}": value for name, value in named.items()}
        self._module.log({name: value for name, value in values.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        """Says that nothing more will come."""
        if self._module is not None:
            self._module.finish()
