"""The tiny run that the tests of training share: one model, one stream of batches, any mesh."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.journal import Journal
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.runner import evaluate
from flan_jax.models.build import logical_axes
from flan_jax.testing.models import random_batch, tiny_t5
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, Partitioner, make_partitioner, place
from flan_jax.train.state import TrainState, abstract_sharded_state, init_state, shardings_of
from flan_jax.train.step import compile_train_step
from flan_jax.train.step_config import LossNormalizer, StepConfig

SEED = 0
NUM_TASKS = 3
ROWS = 8
# Divisible by eight where a mesh axis may split; one layer a side compiles fast and is a scan all the same.
MODEL = tiny_t5(
    vocab_size=64,
    d_model=16,
    d_kv=4,
    num_heads=8,
    d_ff=32,
    num_encoder_layers=2,
    num_decoder_layers=1,
    dropout_rate=0.1,
)
OPTIMIZERS = {
    "adamw": OptimizerConfig(name="adamw", learning_rate=3e-3, warmup_steps=2, weight_decay=0.1, clip_norm=1.0),
    "adafactor": OptimizerConfig(name="adafactor", learning_rate=1e-2, min_dim_size_to_factor=8),
}


class TinyRun:
    """Everything a run on one mesh needs."""

    def __init__(
        self,
        optimizer: str = "adamw",
        mesh: MeshConfig | None = None,
        *,
        dropout_rate: float = 0.1,
        microbatches: int = 1,
        loss_normalizer: LossNormalizer = "tokens",
        **options: Any,
    ) -> None:
        self.partitioner = make_partitioner(mesh) if mesh else one_device()
        self.config = OPTIMIZERS[optimizer]
        self.optimizer = make_optimizer(self.config, logical_axes(MODEL))
        model = dataclasses.replace(MODEL, dropout_rate=dropout_rate)
        self.graphdef, self.abstract = abstract_sharded_state(model, self.optimizer, self.partitioner)
        self.step = compile_train_step(
            shardings_of(self.abstract),
            self.partitioner,
            graphdef=self.graphdef,
            optimizer=self.optimizer,
            schedule=learning_rate(self.config),
            num_tasks=NUM_TASKS,
            config=StepConfig(z_loss=1e-3, microbatches=microbatches, loss_normalizer=loss_normalizer),
            compiler_options={"xla_backend_optimization_level": 0},  # compiles in half the time
            **options,
        )
        self._name = optimizer

    def start(self) -> TrainState:
        """A fresh state each time (its buffers are donated by the step)."""
        host = initial_state(self._name)
        key = jax.random.wrap_key_data(place(host.key, self.abstract.key.sharding))
        rest = (host.step, host.params, host.opt_state)
        like = (self.abstract.step, self.abstract.params, self.abstract.opt_state)
        step, params, opt_state = jax.tree.map(lambda leaf, to: place(leaf, to.sharding), rest, like)
        return TrainState(step=step, params=params, opt_state=opt_state, key=key)

    def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return self.partitioner.shard_batch(batch)

    def losses(self, steps: int) -> list[float]:
        """The loss of each step from the start."""
        state, losses = self.start(), []
        for index in range(steps):
            state, metrics = self.step(state, self.put(make_batch(index)))
            losses.append(float(metrics["loss"]))
        return losses


@functools.cache
def initial_state(optimizer: str) -> TrainState:
    """The state before the first step on the host, the key as its data; initialised once for all meshes.

    The parameters are those of any optimizer, and drawing them is most of what is compiled.
    """
    params = None if optimizer == "adamw" else initial_state("adamw").params
    made = make_optimizer(OPTIMIZERS[optimizer], logical_axes(MODEL))
    state = init_state(MODEL, made, SEED, one_device(), params=params)[1]
    return jax.device_get(dataclasses.replace(state, key=jax.random.key_data(state.key)))


def one_device() -> Partitioner:
    return make_partitioner(MeshConfig(), jax.local_devices()[:1])


def make_batch(index: int) -> dict[str, np.ndarray]:
    """Rows of random tokens; every row one task, tasks unevenly spread, some tokens without a loss."""
    batch = random_batch(MODEL, rows=ROWS, seed=index)
    rng = np.random.default_rng([index, 1])
    tasks = rng.choice(NUM_TASKS, size=(ROWS, 1), p=(0.6, 0.3, 0.1))
    batch["decoder_task_ids"] = np.where(batch["decoder_segment_ids"] > 0, tasks, -1).astype(np.int32)
    batch["decoder_loss_weights"] *= (rng.random(batch["decoder_loss_weights"].shape) < 0.9).astype(np.float32)
    return batch


def answers(run: TinyRun, journal: Journal | None = None) -> tuple[list[list[float]], list[str]]:
    """Option scores and texts of a few examples by the weights before training, and the texts."""
    rng = np.random.default_rng(7)
    examples = [
        EvalExample(np.array([*rng.integers(3, 60, 2 + index), 1]), ("5 6", "7"), ("7",), index, 0)
        for index in range(7)
    ]
    predictor = Predictor(
        run.graphdef,
        run.start().params,
        encode=lambda text: list(map(int, text.split())),
        decode=lambda ids: " ".join(map(str, ids)),
        batch_size=5,
        target_length=4,
        rows_sharding=run.partitioner.batch(),
    )
    ranked = EvalTask("r", "c", "accuracy", "rank", examples)
    written = EvalTask("w", "c", "exact_match", "generate", examples)
    with jax.transfer_guard("disallow"):
        one, other = evaluate(predictor, [ranked, written], journal=journal, asked_with=("weights", {}))
    return [list(p.option_scores) for p in one.predictions], [p.prediction for p in other.predictions]


def batches(start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    while True:
        yield make_batch(start)
        start += 1
