"""Measures the loss on validation examples in the loop of training, writes it, and ends the run where it no longer falls.

MODEL_DIR/validation.jsonl   a line a measurement: the step, the mean loss over tasks, and that of each task and cluster
"""

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData, open_tasks
from flan_jax.experiments.mixture import validation_suite
from flan_jax.experiments.run_folder import run_files
from flan_jax.feed.layout import Batch as HostBatch
from flan_jax.feed.loader import PackedBatches
from flan_jax.files import writing
from flan_jax.store.store import StoredTask
from flan_jax.tasks.task import Task
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.hooks import forget_later, read_metrics
from flan_jax.train.loop import Enough
from flan_jax.train.metrics_accumulator import HostMetrics
from flan_jax.train.sharding import Partitioner
from flan_jax.train.state import TrainState, shardings_of, whole_params
from flan_jax.train.step import compile_loss_step


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationData:
    """The examples whose loss is measured.

    Attributes:
        tasks: the prepared ones that have tokens in the batches, by the names of results.
        clusters: of each.
        batches: this process's rows.
    """

    tasks: tuple[str, ...]
    clusters: tuple[str, ...]
    batches: tuple[HostBatch, ...]


def validation_data(config: RunConfig, data: RunData) -> ValidationData | None:
    """Packs examples of the validation suite into batches of the run's size; ``None`` where nothing is measured.

    Raises:
        UserError: a task is not prepared.
    """
    suite = validation_suite(config, data.mixture)
    if suite is None:
        return None
    tasks: list[tuple[Task, str]] = [(task, suite.split) for task in suite.tasks]
    stored: list[StoredTask] = open_tasks(data.store, tasks, data.vocabulary, config)
    once = dataclasses.replace(
        config.feed, exhausted="drop", max_epochs=1, curriculum_steps=0, stages=(), data_workers=0
    )
    made = PackedBatches(
        stored,
        np.ones(len(stored)),
        once,
        seed=config.seed,
        lengths=config.tokenize.lengths,
        decoder_only=config.model.decoder_only,
        input_start=config.model.input_start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        prefetch=0,
    )
    with contextlib.closing(made):
        batches = tuple(itertools.islice(made, config.validation.batches))
    return ValidationData(
        tuple(task.name for task in suite.tasks), tuple(task.cluster for task in suite.tasks), batches
    )


class ValidationLoss:
    """Measures, writes, keeps the best checkpoint and ends the run; called by the training loop (``measures``).

    Args:
        config: the run.
        found: its validation examples.
        partitioner: of its arrays.
        graphdef: of its model.
        state: new or restored, for its places.
        checkpointer: of its checkpoints.
        log: told of each measurement.
        step: steps taken; measurements of later ones are dropped.

    Attributes:
        over: why the run ends before its last step, in a sentence; ``""`` while it does not.
    """

    def __init__(
        self,
        config: RunConfig,
        found: ValidationData,
        partitioner: Partitioner,
        graphdef: nnx.GraphDef,
        state: TrainState,
        checkpointer: Checkpointer,
        log: Callable[[str], None],
        *,
        step: int,
    ) -> None:
        self._config, self._found, self._partitioner, self._log = config, found, partitioner, log
        self._checkpointer = checkpointer
        self._step = compile_loss_step(
            shardings_of(state), partitioner, graphdef=graphdef, num_tasks=len(found.tasks), tuning=config.tuning
        )
        self._path = Path(config.model_dir) / run_files.VALIDATION
        self._losses = {
            line["step"]: math.nan if line["loss"] is None else float(line["loss"])
            for line in read_metrics(self._path)
            if line["step"] <= step
        }
        if jax.process_index() == 0:
            forget_later(self._path, step)
        self.over = ""
        self._decide()

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Measures where the period says so.

        Raises:
            Enough: the loss has not fallen for as long as the run is patient.
        """
        if step % self._config.validation.period or step in self._losses:
            return
        line = self.measure(step, state)
        self._losses[step] = line["loss"]
        if jax.process_index() == 0:
            with writing(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({name: _written(value) for name, value in line.items()}) + "\n")
        self._log(
            f"validation loss {line['loss']:.4f} at step {step:,} (best {self._losses[self.best]:.4f} at {self.best:,})"
        )
        self._decide()
        if self.over:
            raise Enough(self.over)

    def measure(self, step: int, state: TrainState) -> dict[str, Any]:
        """Returns the line of a step: means over each task's tokens, over the tasks of each cluster, and over all tasks."""
        params = whole_params(state, self._config.tuning, ema=self._config.evaluation.ema)
        found = jax.device_get(
            [self._step(params, self._partitioner.shard_batch(each)) for each in self._found.batches]
        )
        sums, weights = (
            np.sum([np.asarray(getattr(each, name), np.float64) for each in found], axis=0)
            for name in ("task_loss", "task_weight")
        )
        tasks = {
            name: float(total / weight)
            for name, total, weight in zip(self._found.tasks, sums, weights, strict=True)
            if weight > 0
        }
        clusters: dict[str, list[float]] = {}
        for name, cluster in zip(self._found.tasks, self._found.clusters, strict=True):
            if name in tasks:
                clusters.setdefault(cluster, []).append(tasks[name])
        return {
            "step": step,
            "loss": float(np.mean(list(tasks.values()))) if tasks else math.nan,
            "task_loss": tasks,
            "cluster_loss": {cluster: float(np.mean(losses)) for cluster, losses in clusters.items()},
        }

    @property
    def best(self) -> int:
        """The step of the lowest loss so far, the earliest of equal ones."""
        finite = {step: loss for step, loss in self._losses.items() if math.isfinite(loss)} or self._losses
        return min(finite, key=lambda step: (finite[step], step))

    def _decide(self) -> None:
        asked = self._config.validation
        if not self._losses:
            return
        if asked.keep_best:
            self._checkpointer.keep(self.best)
        since = sum(step > self.best for step in self._losses)
        if asked.patience and since >= asked.patience:
            self.over = (
                f"the validation loss was lowest at step {self.best:,} ({self._losses[self.best]:.4f}), {since:,} measurements ago, "
                "as many as ValidationConfig.patience waits for"
            )


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _written(one) for name, one in value.items()}
    return value if not isinstance(value, float) or math.isfinite(value) else None
