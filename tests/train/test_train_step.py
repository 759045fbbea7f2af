import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from deep import with_deep
from run_tiny import MODEL, NUM_TASKS, OPTIMIZERS, ROWS, SEED, TinyRun, initial_state, make_batch, one_device

from flan_jax.errors import UserError
from flan_jax.models.build import abstract_model, apply, logical_axes, merge
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.train.loss import token_loss
from flan_jax.train.optimizer import OptimizerConfig, make_optimizer
from flan_jax.train.sharding import MeshConfig, ShardingRules, make_partitioner, place
from flan_jax.train.state import init_state, new_state, shardings_of, trained_axes
from flan_jax.train.step import compile_gradient_products, compile_loss_step, train_step
from flan_jax.train.step_config import StepConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "train_losses.json"
DECODER = tiny_decoder(vocab_size=MODEL.vocab_size, num_layers=1)  # the step of all models in half of a T5's program


@pytest.fixture(scope="session")
def one_device_losses(tiny_run: TinyRun) -> list[float]:
    return tiny_run.losses(5)


@pytest.fixture(scope="session")
def plain_losses() -> list[float]:
    """Without dropout."""
    return TinyRun(dropout_rate=0.0).losses(10)


OTHER_RULES = ShardingRules(batch=("data",), vocab=("tensor", "fsdp"), embed=("tensor",), mlp=("fsdp",))


@pytest.mark.parametrize(
    "sizes", with_deep([(2, 2, 2)], [((2, 2, 2, OTHER_RULES),), ((8, 1, 1),), ((1, 8, 1),), ((1, 2, 4),)]), ids=str
)
def test_every_mesh_computes_the_same_losses_in_one_compilation(
    sizes: tuple[Any, ...], one_device_losses: list[float], compilations: list[str]
) -> None:
    run = TinyRun(mesh=MeshConfig(*sizes))
    run.start()  # compiles what makes the state
    compilations.clear()
    losses = run.losses(5)
    assert len(compilations) == 1
    state, metrics = run.step(run.start(), run.put(make_batch(0)))
    assert shardings_of(state) == shardings_of(run.abstract)  # where they went in they come out
    assert all(value.sharding.is_fully_replicated for value in metrics.values())
    np.testing.assert_allclose(losses, one_device_losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_golden_losses(optimizer: str, plain_losses: list[float]) -> None:
    """Rewrite with FLAN_JAX_UPDATE_GOLDEN=1, and only where a numeric change is meant."""
    losses = plain_losses if optimizer == "adamw" else TinyRun(optimizer, dropout_rate=0.0).losses(10)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN") == "1":
        golden[optimizer] = losses
        GOLDEN.write_text(json.dumps(golden, indent=2, sort_keys=True) + "\n")
    np.testing.assert_allclose(losses, golden[optimizer], rtol=1e-5)


@pytest.mark.deep  # the gradients of microbatches are those of the whole: the test of normalizers
def test_microbatches_change_nothing(plain_losses: list[float]) -> None:
    # Without dropout, which draws anew in each microbatch. The parts' weights differ, and that must not matter.
    parts = TinyRun(dropout_rate=0.0, microbatches=4).losses(3)
    np.testing.assert_allclose(parts, plain_losses[:3], rtol=0, atol=1e-5)


def packed(index: int) -> dict[str, np.ndarray]:
    """Two sequences a row, each a task of its own: the second half of each row is another segment."""
    batch = make_batch(index)
    for side in ("encoder", "decoder"):
        ids = batch[f"{side}_segment_ids"]
        half = ids.shape[1] // 2
        ids[:, half:] *= 2
        batch[f"{side}_positions"][:, half:] = np.maximum(batch[f"{side}_positions"][:, half:] - half, 0)
    tasks = np.random.default_rng(index).integers(0, NUM_TASKS - 1, (ROWS, 3))  # the last task does not occur
    found = np.take_along_axis(tasks, batch["decoder_segment_ids"], axis=1)
    batch["decoder_task_ids"] = np.where(batch["decoder_segment_ids"] > 0, found, -1).astype(np.int32)
    return batch


def of_decoder(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a decoder reads of a batch, the targets of a T5 as its rows."""
    return {name: values for name, values in batch.items() if name.startswith("decoder_")}


def plain_step(**config: Any) -> tuple[Any, Any]:
    """The step of plain gradient descent on the decoder, not compiled, and the state before it."""
    plain = optax.sgd(1.0)
    step = functools.partial(
        train_step,
        graphdef=abstract_model(DECODER)[0],
        optimizer=plain,
        schedule=optax.constant_schedule(1.0),
        num_tasks=NUM_TASKS,
        config=StepConfig(z_loss=1e-3, **config),
    )
    return jax.jit(step), new_state(random_params(DECODER), plain, jax.random.key(0))


def mean_of_means(batch: dict[str, np.ndarray], normalizer: str) -> np.ndarray:
    """The weight of each token in the mean over what counts alike of the means over its tokens, counted out by hand."""
    groups: dict[Any, list[tuple[int, int]]] = {}
    for row, column in np.argwhere(batch["decoder_loss_weights"] > 0).tolist():
        of = {
            "tokens": (),
            "sequences": (row, batch["decoder_segment_ids"][row, column]),
            "tasks": batch["decoder_task_ids"][row, column],
        }
        groups.setdefault(of[normalizer], []).append((row, column))
    weights = np.zeros(batch["decoder_loss_weights"].shape, np.float32)
    for cells in groups.values():
        for cell in cells:
            weights[cell] = 1 / (len(groups) * len(cells))
    return weights


@pytest.fixture(scope="module")
def gradient_by_weights() -> Any:
    """(params, batch, weights of tokens) -> gradient, from all logits."""

    def objective(params: Any, batch: Any, weights: Any) -> Any:
        logits = apply(abstract_model(DECODER)[0], params, batch)
        return token_loss(
            logits, {**batch, "decoder_loss_weights": weights}, num_tasks=NUM_TASKS, z_loss=1e-3
        ).objective

    return jax.jit(jax.grad(objective))


@pytest.mark.parametrize("normalizer", ["tokens", "sequences", "tasks"])
def test_every_normalizer_is_exact_in_any_number_of_microbatches(normalizer: Any, gradient_by_weights: Any) -> None:
    """Parts of the batch have other numbers of tokens, of sequences and of tasks than the whole."""
    batch, (step, state) = of_decoder(packed(3)), plain_step(microbatches=4, loss_normalizer=normalizer)
    weights = mean_of_means(batch, normalizer)
    expected = jax.device_get(gradient_by_weights(state.params, batch, weights))
    after, metrics = jax.device_get(step(state, batch))
    moved = jax.tree.map(np.subtract, jax.device_get(state.params), after.params)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), moved, expected)
    assert metrics["weight"] == batch["decoder_loss_weights"].sum()  # what is reported are means over tokens


def test_microbatches_take_less_memory() -> None:
    """By the compiler's own account, at a batch whose activations outweigh the gradient that is added up."""
    batch = of_decoder(make_batch(0))
    rows = {name: jax.ShapeDtypeStruct((512, *leaf.shape[1:]), leaf.dtype) for name, leaf in batch.items()}
    bytes_of = {}
    for parts in (1, 8):
        step, state = plain_step(microbatches=parts)
        bytes_of[parts] = step.lower(state, rows).compile().memory_analysis().temp_size_in_bytes
    assert bytes_of[8] < bytes_of[1] / 3


def test_microbatches_must_divide_the_rows() -> None:
    run = TinyRun(microbatches=3)
    with pytest.raises(UserError, match=f"{ROWS} rows .* 3 microbatches"):
        run.step.lower(run.start(), run.put(make_batch(0)))


def test_state_is_born_sharded_and_equal_on_every_mesh() -> None:
    optimizer = make_optimizer(OPTIMIZERS["adamw"], logical_axes(MODEL))
    _, state = init_state(MODEL, optimizer, SEED, make_partitioner(MeshConfig(2, 2, 2)))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params), initial_state("adamw").params)
    mlp = state.params["encoder"]["layers"]["mlp"]["wi_0"]
    assert {shard.data.shape for shard in mlp.addressable_shards} == {(2, 8, 16)}  # [2, 16, 32] over fsdp=2 × tensor=2
    placed = shardings_of(state)
    moments = next(part for part in placed.opt_state if hasattr(part, "mu"))
    assert moments.mu == placed.params
    assert moments.nu == placed.params
    assert len({placed.params["embedding"].spec, placed.params["lm_head"].spec, placed.step.spec}) == 3


def test_training_starts_from_given_parameters() -> None:
    optimizer = make_optimizer(OPTIMIZERS["adamw"], logical_axes(MODEL))
    given = jax.tree.map(lambda leaf: leaf + 1, initial_state("adamw").params)
    _, state = init_state(MODEL, optimizer, SEED, one_device(), params=given)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params), given)
    given["lm_head"] = given["lm_head"][:, :5]
    with pytest.raises(UserError, match=r"lm_head has shape \(16, 5\), not \(16, 64\)"):
        init_state(MODEL, optimizer, SEED, one_device(), params=given)
    del given["lm_head"]
    with pytest.raises(UserError, match="lm_head is missing"):
        init_state(MODEL, optimizer, SEED, one_device(), params=given)


def test_the_metrics_of_one_step(tiny_run: TinyRun) -> None:
    batch, before = make_batch(0), tiny_run.start()
    graphdef, params = tiny_run.graphdef, jax.tree.map(np.copy, jax.device_get(before.params))
    key = jax.random.fold_in(jax.random.fold_in(before.key, 0), 0)

    @jax.jit
    def loss(params: Any) -> Any:
        return token_loss(apply(graphdef, params, batch, dropout_key=key), batch, num_tasks=NUM_TASKS, z_loss=1e-3)

    sums = loss(params)
    after, metrics = tiny_run.step(before, tiny_run.put(batch))
    metrics = jax.device_get(metrics)
    weight = batch["decoder_loss_weights"].sum()
    assert metrics["weight"] == weight
    assert metrics["tokens"] == (batch["encoder_segment_ids"] > 0).sum() + (batch["decoder_segment_ids"] > 0).sum()
    np.testing.assert_allclose(metrics["loss"], sums.loss / weight, rtol=1e-5)
    np.testing.assert_allclose(metrics["z_loss"], sums.z_loss / weight, rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], sums.correct / weight, rtol=1e-5)
    np.testing.assert_allclose(metrics["task_weight"], sums.task_weight)
    np.testing.assert_allclose(metrics["task_loss"] * metrics["task_weight"], sums.task_loss, rtol=1e-5)
    assert metrics["task_weight"].sum() == weight
    squares = sum(float(np.sum(np.square(leaf, dtype=np.float64))) for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(metrics["param_norm"], np.sqrt(squares), rtol=1e-5)
    assert metrics["learning_rate"] == pytest.approx(1.5e-3)  # the first of two steps of warm-up to 3e-3
    assert int(after.step) == 1
    assert before.step.is_deleted()  # donated


def test_dropout_is_drawn_anew_at_every_step(tiny_run: TinyRun) -> None:
    losses = []
    for step in (0, 1, 1):
        state = tiny_run.start()
        state = dataclasses.replace(state, step=place(np.asarray(step, np.int32), state.step.sharding))
        losses.append(float(tiny_run.step(state, tiny_run.put(make_batch(0)))[1]["loss"]))
    assert losses[0] != losses[1] == losses[2]


def test_loss_step_has_no_dropout_and_adds_up(tiny_run: TinyRun) -> None:
    loss_step = compile_loss_step(
        shardings_of(tiny_run.abstract), tiny_run.partitioner, graphdef=tiny_run.graphdef, num_tasks=NUM_TASKS
    )
    state, batch = tiny_run.start(), tiny_run.put(make_batch(0))
    first, second = loss_step(state.params, batch), loss_step(state.params, batch)
    assert float(first.loss) == float(second.loss)
    half = tiny_run.put({name: values[: ROWS // 2] for name, values in make_batch(0).items()})
    rest = tiny_run.put({name: values[ROWS // 2 :] for name, values in make_batch(0).items()})
    parts = [loss_step(state.params, part) for part in (half, rest)]
    np.testing.assert_allclose(first.loss, parts[0].loss + parts[1].loss, rtol=1e-5)
    assert first.weight == parts[0].weight + parts[1].weight


def test_products_are_those_of_the_gradients_of_mean_losses():
    """Against gradients taken one by one, of the plain loss."""
    model = dataclasses.replace(DECODER, dropout_rate=0.1)
    rng, rows, length = np.random.default_rng(0), 4, 6
    ones, places = np.ones((rows, length), np.int32), np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    tasks = np.array([[0] * 6, [1] * 4 + [2] * 2, [2] * 6, [0] * 3 + [-1] * 3], np.int32)
    targets = rng.integers(3, model.vocab_size, (rows, length)).astype(np.int32)
    batch = {
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1], "decoder_target_tokens": targets,
        "decoder_segment_ids": ones, "decoder_positions": places, "decoder_task_ids": tasks,
        "decoder_loss_weights": (tasks >= 0).astype(np.float32),
    }  # fmt: skip
    of_task = np.array([0, 1, 0, 2])  # the third unit's task is not in the batch
    partitioner = make_partitioner(devices=jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(), trained_axes(model, TuningConfig()))
    graphdef, state = init_state(model, optimizer, 0, partitioner, params=random_params(model))

    @jax.jit
    @jax.jacrev
    def gradients(params):
        whole = merge(graphdef, params)
        sums = token_loss(whole.head()(whole.hidden(batch, dropout_key=None)), batch, num_tasks=4)
        loss, tokens = (jnp.stack([of[0] + of[2], of[1]]) for of in (sums.task_loss, sums.task_weight))
        return loss / tokens

    flat = np.concatenate([np.asarray(leaf).reshape(2, -1) for leaf in jax.tree.leaves(gradients(state.params))], 1)
    step = compile_gradient_products(
        shardings_of(state), partitioner, graphdef=graphdef, of_task=of_task, microbatches=2
    )
    found = np.asarray(step(state, partitioner.shard_batch(batch)))
    np.testing.assert_allclose(found[:2, :2], flat @ flat.T, rtol=2e-4, atol=1e-6)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
