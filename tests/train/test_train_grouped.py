"""Runs that are trained together: each is the run that it is alone, and no neighbour notices another."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pytest
from run_tiny import MODEL, NUM_TASKS, OPTIMIZERS, make_batch, one_device

from flan_jax.feed.layout import RowLayout
from flan_jax.models.build import ModelConfig, logical_axes
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import own_sharding, runs_mesh, shared_sharding
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.finite import DivergedError
from flan_jax.train.grouped_metrics import GroupedMetrics
from flan_jax.train.grouped_state import (
    GroupState,
    abstract_runs,
    init_group_state,
    refilled,
    run_state,
    with_active,
)
from flan_jax.train.grouped_step import compile_group_step
from flan_jax.train.loop import WINDOW, fit
from flan_jax.train.metrics_accumulator import MetricsAccumulator
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.state import abstract_sharded_state, init_state, shardings_of, trained_axes
from flan_jax.train.step import compile_train_step
from flan_jax.train.step_config import StepConfig

SEEDS = (3, 4, 5)
LORA = TuningConfig(lora_rank=2, lora_alpha=4, lora_patterns=("q", "v", "wo"))
SMALL = {"xla_backend_optimization_level": 0}
DECODER = tiny_decoder(vocab_size=32, num_layers=1, dropout_rate=0.1)
STEP = StepConfig(z_loss=1e-3, max_skipped_steps=2, ema_decay=0.9)  # with T5, the step of the other tests


def packed_t5(index: int) -> dict[str, np.ndarray]:
    """Two examples a row: the second half of each row is a segment of its own."""
    batch = make_batch(index)
    for side in ("encoder", "decoder"):
        ids = batch[f"{side}_segment_ids"]
        half = ids.shape[1] // 2
        ids[:, half:] *= 2
        batch[f"{side}_positions"][:, half:] = np.maximum(batch[f"{side}_positions"][:, half:] - half, 0)
    return batch


def packed_decoder(index: int) -> dict[str, np.ndarray]:
    inputs = np.random.default_rng(index).integers(3, 32, (8, 5)).astype(np.int32)
    lengths = np.full(len(inputs), 5)
    return RowLayout(10, 10, decoder_only=True).assemble(
        row=np.repeat(np.arange(4), 2),
        task=np.arange(len(inputs)) % NUM_TASKS,
        input_lengths=lengths,
        target_lengths=lengths,
        input_tokens=inputs.ravel(),
        target_tokens=inputs.ravel(),
        rows=4,
    )


class Group:
    """Three runs on two devices, so that each has two rows, of which one is nobody's; and the step of one alone."""

    def __init__(self, model: ModelConfig, tuning: TuningConfig, make: Any, config: StepConfig) -> None:
        self.mesh, self.tuning, self._make = runs_mesh(jax.devices()[:2]), tuning, make
        rule = OPTIMIZERS["adamw"]
        self.optimizer = make_optimizer(rule, trained_axes(model, tuning))
        self.params = random_params(model)  # no initializer is compiled
        self.ema = bool(config.ema_decay)
        program: dict[str, Any] = {
            "optimizer": self.optimizer,
            "schedule": learning_rate(rule),
            "num_tasks": NUM_TASKS,
            "config": config,
            "tuning": tuning,
            "compiler_options": SMALL,
        }
        graphdef, abstract = abstract_sharded_state(model, self.optimizer, one_device(), tuning=tuning, ema=self.ema)
        self.step = compile_group_step(self.mesh, graphdef=graphdef, **program)
        self.alone = compile_train_step(shardings_of(abstract), one_device(), graphdef=graphdef, **program)
        self._model = model

    @functools.cached_property
    def _begun(self) -> Any:
        given = {"params": self.params, "tuning": self.tuning, "ema": self.ema}
        state = init_group_state(self._model, self.optimizer, SEEDS, self.mesh, **given)[1]
        key = jax.random.key_data(state.runs.key)
        return jax.device_get(dataclasses.replace(state, runs=dataclasses.replace(state.runs, key=key)))

    def start(self, rates: Sequence[float] = (1, 1, 1)) -> GroupState:
        """The state before the first step; initialized once."""
        host, own = self._begun, own_sharding(self.mesh)
        frozen = jax.device_put(host.runs.frozen, shared_sharding(self.mesh))
        rate = np.array([*rates, 1], np.float32)
        state = jax.device_put(
            dataclasses.replace(host, runs=dataclasses.replace(host.runs, frozen={}), rate=rate), own
        )
        key = jax.random.wrap_key_data(state.runs.key)
        return dataclasses.replace(state, runs=dataclasses.replace(state.runs, key=key, frozen=frozen))

    def batch(self, run: int, index: int) -> dict[str, np.ndarray]:
        return self._make(1000 * run + index)

    def batches(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        while True:
            rows = [self.batch(run, start) for run in range(3)]
            rows.append(jax.tree.map(np.zeros_like, rows[0]))
            yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            start += 1

    def put(self, batch: Any) -> Any:
        return jax.device_put(batch, own_sharding(self.mesh))

    def train(self, state: GroupState, steps: int, window: GroupedMetrics | None = None, **options: Any) -> GroupState:
        step = int(np.max(jax.device_get(state.step)))
        return fit(
            state, self.batches(step), self.step, steps=steps, shard_batch=self.put,
            window=window or GroupedMetrics([NUM_TASKS] * 3), saved=lambda own: own.runs, **options,
        )  # fmt: skip


@functools.cache
def group(name: str) -> Group:
    if name == "t5":
        return Group(MODEL, TuningConfig(), packed_t5, STEP)
    return Group(DECODER, LORA, packed_decoder, StepConfig(microbatches=2))


def host(tree: Any) -> Any:
    return jax.tree.map(np.array, jax.device_get(tree))


def row_of(state: GroupState, row: int) -> Any:
    """All that a run is, on the host."""
    runs = state.runs
    whole = jax.device_get((runs.step, runs.params, runs.opt_state, jax.random.key_data(runs.key), runs.ema))
    return jax.tree.map(lambda leaf: leaf[row], whole)


def same_bits(left: GroupState, right: GroupState, rows: Sequence[int] = (0, 1, 2)) -> None:
    for row in rows:
        jax.tree.map(np.testing.assert_array_equal, row_of(left, row), row_of(right, row))


@pytest.mark.parametrize("name", ["t5", "decoder_lora"])
def test_each_run_is_the_run_that_it_is_alone(name: str) -> None:
    ours = group(name)
    lines: list[Any] = []
    state = ours.train(ours.start(), 20, hooks=[lambda step, line, _: lines.append(line["runs"])], log_every=10)
    for run, seed in enumerate(SEEDS):
        given = {"params": ours.params, "tuning": ours.tuning, "ema": ours.ema}
        alone = init_state(ours._model, ours.optimizer, seed, one_device(), **given)[1]
        average = host(alone.ema)
        window = MetricsAccumulator()
        for index in range(20):
            alone, metrics = ours.alone(alone, one_device().shard_batch(ours.batch(run, index)))
            window.add(index + 1, metrics)
            now = host(alone.params) if average else {}
            average = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, average, now)
            line = window.flush() if index in (9, 19) else None
            if line is not None:
                mine = lines[index // 10][run]
                assert set(mine) == {*line, "step"}
                assert mine["step"] == index + 1
                for value in ("loss", "accuracy", "grad_norm", "learning_rate", "tokens", "task_loss", "task_weight"):
                    np.testing.assert_allclose(mine[value], line[value], rtol=2e-5, atol=1e-6)
        own = run_state(state, run)
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), host(own.ema), average)
        moved = jax.tree.map(lambda new, old: float(np.abs(new - old).max()), host(own.params), host(alone.params))
        assert max(jax.tree.leaves(moved)) < 1e-5
        assert int(own.step) == 20
        assert own.frozen is state.runs.frozen


def test_devices_do_not_communicate_and_what_is_trained_is_given_away() -> None:
    ours = group("decoder_lora")
    batch = ours.put(next(ours.batches()))
    compiled = ours.step.lower(ours.start(), batch).compile(SMALL)  # type: ignore[attr-defined]
    text = compiled.as_text()
    words = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast")
    assert not [word for word in words if word in text]
    sizes = compiled.memory_analysis()
    trained = sum(leaf.nbytes for leaf in jax.tree.leaves(ours.start().runs.params)) // 2  # on one of two devices
    assert sizes.alias_size_in_bytes >= 3 * trained  # parameters and two moments


def test_a_run_that_diverges_stays_as_it_was_and_its_neighbours_do_not_notice() -> None:
    ours = group("t5")
    one, calm = ours.train(ours.start(), 1), ours.train(ours.start(), 4)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for index, batch in enumerate(ours.batches()):
            if index in (1, 2):  # two steps are destroyed, and those behind them would not be
                batch["decoder_loss_weights"][1, 0, 0] = np.inf
            yield batch

    window = GroupedMetrics([NUM_TASKS] * 3)
    lines: list[Any] = []
    state = fit(
        ours.start(), batches(), ours.step, steps=4, shard_batch=ours.put, window=window, log_every=1,
        hooks=[lambda step, line, _: lines.append(line["runs"])],
    )  # fmt: skip
    same_bits(state, calm, rows=(0, 2))
    kept, last = (jax.tree.leaves(row_of(own, 1)[1:]) for own in (state, one))
    jax.tree.map(np.testing.assert_array_equal, kept, last)
    assert [sorted(line) for line in lines] == [[0, 1, 2], [0, 1, 2], [0, 2], [0, 2]]
    assert [lines[step][1]["skipped"] for step in (0, 1)] == [0, 1]
    assert jax.device_get(state.active).tolist() == [True, False, True, False]
    assert window.steps_taken.tolist() == [4, 2, 4]
    (why,) = window.diverged.values()
    assert list(window.diverged) == [1]
    assert why.startswith("Training diverged at step 3: the loss is nan")
    assert "the 1 steps before it were skipped" in why
    assert why.endswith(str(DivergedError(3, "…")).split("…. ")[1])  # the remedy that a run alone is told


def test_a_run_without_data_stops_and_is_no_fault() -> None:
    ours = group("t5")
    window = GroupedMetrics([NUM_TASKS] * 3)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for index, batch in enumerate(ours.batches()):
            if index == 2:
                window.end(2)
            if index >= 2:
                batch = {name: np.concatenate([values[:2], 0 * values[2:]]) for name, values in batch.items()}
            yield batch

    lines: list[Any] = []
    state = fit(
        ours.start(), batches(), ours.step, steps=4, shard_batch=ours.put, window=window, log_every=4,
        hooks=[lambda step, line, _: lines.append(line)],
    )  # fmt: skip
    assert window.diverged == {}
    assert window.stopped == {2: ""}
    assert {run: line["step"] for run, line in lines[0]["runs"].items()} == {0: 4, 1: 4, 2: 2}
    same_bits(state, ours.train(ours.start(), 2), rows=(2,))


def test_a_batch_without_a_loss_token_is_named() -> None:
    metrics = {
        name: np.zeros(1)
        for name in ("z_loss", "accuracy", "weight", "tokens", "learning_rate", "param_norm", "taken", "skipped")
    }
    metrics |= {"loss": np.array([np.nan]), "grad_norm": np.array([np.nan])}
    metrics |= {"task_loss": np.zeros((1, 2)), "task_weight": np.zeros((1, 2))}
    window = GroupedMetrics([2])
    window.add(7, metrics)
    window.state()
    assert window.diverged[0].startswith("The batch of step 7 has no loss token")


@pytest.mark.parametrize("name", ["t5", "decoder_lora"])
def test_a_resumed_group_is_bitwise_the_uninterrupted_one(name: str, tmp_path) -> None:
    ours = group(name)
    whole: list[Any] = []
    never = ours.train(ours.start((1, 1e30, 1)), 4, hooks=[lambda *line: whole.append(line[1]["runs"])], log_every=4)
    with Checkpointer(tmp_path) as checkpointer:
        ours.train(ours.start((1, 1e30, 1)), 3, checkpointer=checkpointer)
        like = ours.start()
        saved = checkpointer.restore(abstract_runs(like, 4, own_sharding(ours.mesh)))
        window = GroupedMetrics([NUM_TASKS] * 3, saved.extra[WINDOW])
        active = [run not in window.stopped for run in range(3)] + [False]
        state = with_active(dataclasses.replace(ours.start((1, 1e30, 1)), runs=saved.state), active)
        lines: list[Any] = []
        state = ours.train(state, 4, window, hooks=[lambda *line: lines.append(line[1]["runs"])])
    same_bits(state, never)
    assert list(window.diverged) == [1]
    assert window.diverged[1].startswith("Training diverged at step 1: after its update a number")
    assert window.steps_taken.tolist() == [4, 0, 4]
    assert sorted(lines[0]) == [0, 2]


def test_a_group_goes_on_with_other_devices() -> None:
    ours = group("t5")
    state = ours.start()
    mesh = runs_mesh(jax.devices()[:3])
    again = refilled(state.runs, 3, 3, mesh)
    assert again.step.shape == (3,)
    assert again.step.sharding == own_sharding(mesh)
    same_bits(state, dataclasses.replace(state, runs=again))
    same_bits(state, dataclasses.replace(state, runs=refilled(again, 3, 4, ours.mesh)))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "lion", "muon"])
def test_another_learning_rate_is_a_multiple_of_every_optimizers_updates(optimizer: str) -> None:
    axes = {"kernel": ("embed", "mlp"), "scale": ("embed",)}
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(4, 6)).astype(np.float32), "scale": np.ones(4, np.float32)}

    def updates(rate: float) -> Any:
        config = OptimizerConfig(
            name=optimizer, learning_rate=rate, schedule="rsqrt", warmup_steps=2, weight_decay=0.1, clip_norm=0.5
        )
        rule = make_optimizer(config, axes)
        return jax.jit(lambda grads: rule.update(grads, rule.init(params), params)[0])(jax.tree.map(np.cos, params))

    jax.tree.map(lambda one, other: np.testing.assert_allclose(3 * one, other, rtol=1e-5), updates(2e-3), updates(6e-3))


def test_a_runs_learning_rate_multiplies_its_updates_and_is_logged() -> None:
    ours, rates = group("t5"), (1, 0.5, 3)
    begun = ours.start()
    lines: list[Any] = []
    one = ours.train(ours.start(), 1)
    other = ours.train(ours.start(rates), 1, hooks=[lambda *line: lines.append(line[1]["runs"])])

    def moved(state: GroupState, run: int) -> np.ndarray:
        first, now = (jax.tree.leaves(row_of(own, run)[1]) for own in (begun, state))
        return np.concatenate([np.ravel(new - old) for old, new in zip(first, now, strict=True)])

    for run, rate in enumerate(rates):
        np.testing.assert_allclose(moved(other, run), rate * moved(one, run), rtol=2e-3, atol=1e-6)
        assert lines[0][run]["learning_rate"] == pytest.approx(rate * 1.5e-3)


def test_runs_are_born_as_alone() -> None:
    optimizer, mesh = make_optimizer(OPTIMIZERS["adamw"], logical_axes(DECODER)), runs_mesh(jax.devices()[:2])
    state = init_group_state(DECODER, optimizer, SEEDS, mesh, rows=4)[1]
    for run, seed in enumerate(SEEDS):
        alone = init_state(DECODER, optimizer, seed, one_device())[1]
        step, params, _, key, _ = row_of(state, run)
        jax.tree.map(np.testing.assert_array_equal, host(alone.params), params)
        np.testing.assert_array_equal(jax.random.key_data(alone.key), key)
        assert step == 0
    assert jax.device_get(state.active).tolist() == [True, True, True, False]
