"""The programs of a run, traced over shapes and shardings: nothing is allocated, whatever their size."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.eval import scoring
from flan_jax.eval.decoding import generation
from flan_jax.plan.job import PlanJob, ProgramName
from flan_jax.train.optimizer import learning_rate, make_optimizer
from flan_jax.train.sharding import Partitioner, make_partitioner
from flan_jax.train.state import TrainState, abstract_sharded_state, trained_axes, whole_params
from flan_jax.train.step import compile_train_step

Trace = Callable[[], Any]
"""Traces one program; gives a `jax.stages.Traced`."""


@dataclasses.dataclass(frozen=True)
class Programs:
    """A run's state and programs as shapes on a mesh.

    Attributes:
        partitioner: the mesh and its rules.
        state: `jax.ShapeDtypeStruct` leaves with shardings.
        traces: one for each program that was asked for.
    """

    partitioner: Partitioner
    state: TrainState
    traces: dict[ProgramName, Trace]


def run_programs(job: PlanJob, devices: Sequence[Any]) -> Programs:
    """Prepares a job's programs on a mesh over `devices`, which need not exist.

    Raises:
        UserError: the mesh does not fit the devices, or the batch the mesh.
    """
    partitioner = make_partitioner(job.mesh, devices)
    optimizer = make_optimizer(job.optimizer, trained_axes(job.model, job.tuning))
    graphdef, state = abstract_sharded_state(
        job.model, optimizer, partitioner, tuning=job.tuning, ema=bool(job.step.ema_decay)
    )
    state = _with_frozen(job, state, partitioner)
    params = whole_params(state, job.tuning)
    evaluation = _Evaluation(job, graphdef, params, partitioner)

    def train() -> Any:
        step = compile_train_step(
            jax.tree.map(lambda leaf: leaf.sharding, state),
            partitioner,
            graphdef=graphdef,
            optimizer=optimizer,
            schedule=learning_rate(job.optimizer),
            num_tasks=job.num_tasks,
            config=job.step,
            tuning=job.tuning,
        )
        return step.trace(state, abstract_batch(job, partitioner))  # type: ignore[attr-defined]

    known: dict[ProgramName, Trace] = {
        "train": train,
        "read": evaluation.read,
        "score": evaluation.score,
        "decode": evaluation.decode,
    }
    return Programs(partitioner, state, {name: known[name] for name in job.programs})


def _with_frozen(job: PlanJob, state: TrainState, partitioner: Partitioner) -> TrainState:
    """A state whose every leaf has a sharding, its own where one was lost on the way."""
    return jax.tree.map(
        lambda leaf: (
            leaf
            if leaf.sharding is not None
            else jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=partitioner.replicated())
        ),
        state,
    )


def abstract_batch(job: PlanJob, partitioner: Partitioner) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a training batch as shapes, with the keys of `feed.layout`."""
    inputs, targets = job.row_lengths
    rows = partitioner.batch()

    def side(name: str, length: int, keys: Sequence[str]) -> dict[str, jax.ShapeDtypeStruct]:
        return {
            f"{name}_{key}": jax.ShapeDtypeStruct(
                (job.rows, length), jnp.float32 if key == "loss_weights" else jnp.int32, sharding=rows
            )
            for key in keys
        }

    shared = ("input_tokens", "segment_ids", "positions")
    decoder = (*shared, "target_tokens", "loss_weights", "task_ids")
    if job.model.decoder_only:
        return side("decoder", targets, (*decoder, "causal_attention"))
    return side("encoder", inputs, shared) | side("decoder", targets, decoder)


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """Evaluation as `eval.predictor` runs it: rows over the batch's axes, parameters where training has them."""

    job: PlanJob
    graphdef: Any
    params: Any
    partitioner: Partitioner

    @property
    def rows(self) -> int:
        parts = self.partitioner.batch_parts
        return -(-self.job.eval_rows // parts) * parts

    @property
    def _split(self) -> Partitioner | None:
        return self.partitioner if self.partitioner.batch_parts > 1 else None

    def _rows(self, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.rows, *shape), jnp.int32, sharding=self.partitioner.batch())

    @property
    def _prompts(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        return self._rows(self.job.inputs), self._rows()

    def read(self) -> Any:
        return scoring.prefill.trace(
            self.params, *self._prompts, graphdef=self.graphdef, longest=self.job.targets, rows=self._split
        )  # type: ignore[attr-defined]

    def score(self) -> Any:
        context = jax.eval_shape(
            lambda params, *prompts: scoring.prefill(
                params, *prompts, graphdef=self.graphdef, longest=self.job.targets
            ),
            self.params,
            *self._prompts,
        )
        placed = jax.tree.map(self._placed, context)
        return scoring.target_scores.trace(
            self.params, placed, self._rows(), self._rows(self.job.targets), self._rows(), graphdef=self.graphdef,
            parts=self.partitioner.batch_parts, rows=self._split,
        )  # type: ignore[attr-defined]  # fmt: skip

    def _placed(self, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        """A leaf of the context with the sharding that follows from its rows: along the axis that is as long as they are."""
        axes = [None] * len(leaf.shape)
        places = [axis for axis, length in enumerate(leaf.shape) if length == self.rows]
        if places and self.partitioner.batch_axes:
            axes[places[0]] = self.partitioner.batch_axes  # type: ignore[call-overload]
        spec = jax.sharding.PartitionSpec(*axes)
        return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=jax.sharding.NamedSharding(self.partitioner.mesh, spec)
        )

    def decode(self) -> Any:
        decoding = self.job.decoding
        keys = None
        if decoding.method == "sample":
            keys = jax.ShapeDtypeStruct((self.rows, 2), jnp.uint32, sharding=self.partitioner.batch())
        return generation.generate.trace(
            self.params, *self._prompts, keys, graphdef=self.graphdef,
            max_length=decoding.max_length or self.job.targets, decoding=decoding.compiled_part(),
            rows=self._split,
        )  # type: ignore[attr-defined]  # fmt: skip
