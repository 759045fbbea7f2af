"""Inner products of units' gradients, against gradients taken one by one from the plain loss."""

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models.build import merge
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import tiny_t5
from flan_jax.train.gradient_products import compile_gradient_products
from flan_jax.train.loss import token_loss
from flan_jax.train.optimizer import OptimizerConfig, make_optimizer
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import init_state, shardings_of, trained_axes

MODEL = tiny_t5(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.1)
ROWS, LENGTH = 4, 6


def test_products_are_those_of_the_gradients_of_mean_losses():
    rng = np.random.default_rng(0)
    ones, places = np.ones((ROWS, LENGTH), np.int32), np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1))
    tasks = np.array([[0] * 6, [1] * 4 + [2] * 2, [2] * 6, [0] * 3 + [-1] * 3], np.int32)
    targets = rng.integers(3, MODEL.vocab_size, (ROWS, LENGTH)).astype(np.int32)
    batch = {
        "encoder_input_tokens": rng.integers(3, MODEL.vocab_size, (ROWS, LENGTH)).astype(np.int32),
        "encoder_segment_ids": ones, "encoder_positions": places,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1], "decoder_target_tokens": targets,
        "decoder_segment_ids": ones, "decoder_positions": places, "decoder_task_ids": tasks,
        "decoder_loss_weights": (tasks >= 0).astype(np.float32),
    }  # fmt: skip
    of_task = np.array([0, 1, 0, 2])  # the third unit's task is not in the batch
    partitioner = make_partitioner(devices=jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(), trained_axes(MODEL, TuningConfig()))
    graphdef, state = init_state(MODEL, optimizer, 0, partitioner)

    @jax.jit
    @jax.jacrev
    def gradients(params):
        model = merge(graphdef, params)
        sums = token_loss(model.head()(model.hidden(batch, dropout_key=None)), batch, num_tasks=4)
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
