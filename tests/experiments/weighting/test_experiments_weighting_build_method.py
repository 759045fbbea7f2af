"""DoReMi in a real training on two domains of known difficulty: one that can be learned, and noise that cannot."""

import dataclasses
import itertools

import jax
import numpy as np
from weighted_toys import run_of_toys

from flan_jax.experiments.batches import WeightsLog
from flan_jax.experiments.weighting.build_method import MethodParts, learned_weights
from flan_jax.mixing.online.doremi import DoReMi
from flan_jax.mixing.online.units import Units
from flan_jax.testing.models import tiny_t5
from flan_jax.train.loop import fit
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import init_state, shardings_of, trained_axes
from flan_jax.train.step import compile_train_step

ROWS, LENGTH, STEPS = 8, 8, 60
MODEL = tiny_t5(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.0)


class TwoDomains:
    """Rows of one answer, always the same, and as many of random tokens; or of these alone."""

    weights = shares_of_mixture = {"clear": 0.5, "noise": 0.5}  # noqa: RUF012

    def __init__(self, *, noise_alone: bool = False) -> None:
        self._steps, self._noise_alone = itertools.count(), noise_alone

    def __next__(self):
        rng = np.random.default_rng(next(self._steps))
        targets = rng.integers(3, MODEL.vocab_size, (ROWS, LENGTH)).astype(np.int32)
        domain = np.arange(ROWS) % 2
        if not self._noise_alone:
            targets[domain == 0] = np.arange(5, 5 + LENGTH)
        ones, places = np.ones((ROWS, LENGTH), np.int32), np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1))
        return {
            "encoder_input_tokens": ones, "encoder_segment_ids": ones, "encoder_positions": places,
            "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1], "decoder_target_tokens": targets,
            "decoder_segment_ids": ones, "decoder_positions": places,
            "decoder_loss_weights": ones.astype(np.float32),
            "decoder_task_ids": np.repeat(domain[:, None], LENGTH, 1).astype(np.int32),
        }  # fmt: skip

    def __iter__(self):
        return self


def test_the_proxys_weights_go_where_there_is_something_to_learn(tmp_path):
    method = DoReMi(reference="given", rate=0.2)
    config = run_of_toys(tmp_path).with_options(
        model=MODEL, optimizer=OptimizerConfig(name="adamw", learning_rate=1e-2), weighting=method, log_period=STEPS
    )
    partitioner = make_partitioner(config.mesh)
    optimizer = make_optimizer(config.optimizer, trained_axes(MODEL, config.tuning))

    def start(seed):
        return init_state(MODEL, optimizer, seed, partitioner)

    graphdef, state = start(0)
    step = compile_train_step(
        shardings_of(state), partitioner, graphdef=graphdef, optimizer=optimizer,
        schedule=learning_rate(config.optimizer), num_tasks=2,
    )  # fmt: skip

    def trained(seed, batches, **options):
        return fit(
            start(seed)[1], batches, step, steps=STEPS, shard_batch=partitioner.shard_batch, log_every=STEPS, **options
        )

    reference = trained(0, TwoDomains())
    # The proxy begins with all that there is to know of noise.
    state = trained(1, TwoDomains(noise_alone=True))
    state = dataclasses.replace(state, step=jax.device_put(np.int32(0), state.step.sharding))
    units = Units(("clear", "noise"), np.arange(2), np.ones(2))
    lines = []
    learned = learned_weights(
        config, MethodParts(units, reference.params), partitioner, graphdef, state, TwoDomains(),
        WeightsLog(tmp_path / "weights.jsonl"),
    )  # fmt: skip
    fit(
        state, TwoDomains(), step, steps=STEPS, shard_batch=partitioner.shard_batch, log_every=STEPS,
        hooks=[lambda step, metrics, state: lines.append(metrics)], before_step=learned.before_step,
    )  # fmt: skip
    clear, noise = learned.method.result
    assert clear > 0.6 > 0.4 > noise
    (line,) = lines
    assert line["task_weight"][0] > line["task_weight"][1]  # the loss itself was weighted


def test_a_loss_weighted_by_equal_factors_is_the_loss(tmp_path):
    """Under weights that are the shares of the draws, a step is that of a run that learns nothing."""
    config = run_of_toys(tmp_path).with_options(model=MODEL, weighting=DoReMi(reference="given", variant="repository"))
    partitioner = make_partitioner(config.mesh)
    batch = partitioner.shard_batch(next(TwoDomains()))
    optimizer = make_optimizer(config.optimizer, trained_axes(MODEL, config.tuning))
    graphdef, state = init_state(MODEL, optimizer, 0, partitioner)
    units = Units(("clear", "noise"), np.arange(2), np.ones(2))
    parts = MethodParts(units, state.params)  # behind itself by nothing
    learned = learned_weights(
        config, parts, partitioner, graphdef, state, TwoDomains(), WeightsLog(tmp_path / "weights.jsonl")
    )
    weighted = learned.before_step(1, state, batch)
    np.testing.assert_allclose(jax.device_get(weighted["decoder_loss_weights"]), 1.0, rtol=1e-6)
    assert learned.method.excess.tolist() == [0.0, 0.0]
