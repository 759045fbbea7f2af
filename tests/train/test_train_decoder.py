"""Training a decoder on the feed's decoder rows, on one device and over a mesh."""

import dataclasses

import jax
import numpy as np
import pytest
from deep import with_deep
from run_tiny import one_device

from flan_jax.feed.layout import DECODER_BATCH_KEYS, RowLayout
from flan_jax.models.build import logical_axes
from flan_jax.testing.models import tiny_decoder
from flan_jax.train.optimizer import OptimizerConfig, _is_matrix, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import init_state, shardings_of
from flan_jax.train.step import compile_train_step

# Divisible by two and more where a mesh axis may split; every kind of parameter that a decoder can have.
MODEL = tiny_decoder(
    vocab_size=32, d_model=16, d_head=4, num_heads=4, num_kv_heads=2, d_ff=32, num_layers=2, norm_placement="both",
    qk_norm="head", attention_bias=True, sliding_window=6, window_pattern=(True, False), prefix_lm=True, bos_id=2,
    attention_softcap=20.0,
)  # fmt: skip
ROWS = 8


def make_batch(seed):
    """The targets repeat the inputs, so there is something to learn: four examples of six tokens each a row."""
    inputs = np.random.default_rng(seed).integers(3, 32, (ROWS * 4, 6)).astype(np.int32)
    lengths = np.full(len(inputs), 6)
    return RowLayout(24, 24, decoder_only=True).assemble(
        row=np.repeat(np.arange(ROWS), 4),
        task=np.arange(len(inputs)) % 2,
        input_lengths=lengths,
        target_lengths=lengths,
        input_tokens=inputs.ravel(),
        target_tokens=inputs.ravel(),
        rows=ROWS,
    )


def losses(partitioner, steps, optimizer="adamw", model=MODEL, compilations=None, **options):
    config = OptimizerConfig(name=optimizer, learning_rate=1e-2, warmup_steps=1, weight_decay=0.1)
    rule = make_optimizer(config, logical_axes(model))
    graphdef, state = init_state(model, rule, 0, partitioner)
    step = compile_train_step(
        shardings_of(state), partitioner, graphdef=graphdef, optimizer=rule, schedule=learning_rate(config), num_tasks=2,
        compiler_options={"xla_backend_optimization_level": 0}, **options,
    )  # fmt: skip
    found = []
    if compilations is not None:
        compilations.clear()  # what makes the state
    for index in range(steps):
        state, metrics = step(state, partitioner.shard_batch(make_batch(index)))
        found.append(float(metrics["loss"]))
    assert compilations is None or len(compilations) == 1  # whatever the data
    assert float(metrics["tokens"]) == ROWS * 4 * 12
    assert float(metrics["weight"]) == ROWS * 4 * 6
    return found


@pytest.fixture(scope="module")
def without_dropout():
    return losses(one_device(), 12)


def test_it_learns(without_dropout):
    assert set(make_batch(0)) == set(DECODER_BATCH_KEYS)
    assert without_dropout[-1] < without_dropout[0] - 0.2


def test_every_mesh_computes_the_same_with_dropout_drawn_by_step_in_one_compilation(without_dropout, compilations):
    model = dataclasses.replace(MODEL, dropout_rate=0.3)
    plain = losses(one_device(), 2, model=model)
    assert plain != without_dropout[:2]
    split = losses(make_partitioner(MeshConfig(2, 2, 2)), 3, model=model, compilations=compilations)
    np.testing.assert_allclose(split[:2], plain, rtol=0, atol=2e-5)


@pytest.mark.parametrize("optimizer", with_deep(["adafactor"], ["muon"]))
def test_the_other_optimisers_take_its_parameters(optimizer):
    found = losses(one_device(), 2, optimizer)
    assert np.isfinite(found).all()


def test_kernels_alone_are_matrices_to_an_optimiser():
    axes = logical_axes(
        tiny_decoder(norm="layer", mlp_bias=True, attention_bias=True, qk_norm="full", position="learned")
    )
    leaves = jax.tree.leaves_with_path(axes, is_leaf=lambda node: isinstance(node, tuple))
    assert {path[-1].key for path, names in leaves if _is_matrix(names)} == {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}
