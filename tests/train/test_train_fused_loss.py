"""The fused loss is the plain loss of all logits, in values and gradients, whatever the pieces and the devices."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import examples, with_deep
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from flan_jax.models import build
from flan_jax.models.ops.lm_head import Head
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5
from flan_jax.train.fused_loss import fused_loss
from flan_jax.train.loss import LossSums, model_loss, token_loss
from flan_jax.train.sharding import MeshConfig, make_partitioner

NUM_TASKS = 3


def operands(rows: int, length: int, width: int, vocab: int, *, tied: bool, seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(vocab, width) if tied else (width, vocab)).astype(np.float32)
    x = rng.normal(size=(rows, length, width)).astype(np.float32)
    weights = rng.choice([0.0, 0.5, 1.0], size=(rows, length)).astype(np.float32)
    batch = {
        "decoder_target_tokens": rng.integers(0, vocab, (rows, length)).astype(np.int32),
        "decoder_loss_weights": weights,
        "decoder_task_ids": np.where(weights > 0, rng.integers(0, NUM_TASKS, (rows, length)), -1).astype(np.int32),
    }
    return kernel, x, batch


class Fixed:
    """A model that has come to its hidden states."""

    def __init__(self, x: Any, head: Head) -> None:
        self._x, self._head = x, head

    def hidden(self, batch: Any, *, dropout_key: Any = None) -> Any:
        return self._x

    def head(self) -> Head:
        return self._head


def fused(kernel: Any, x: Any, batch: Any, chunk_bytes: int, z_loss: float, **head: Any) -> tuple[Any, Any]:
    return fused_loss(
        Head(kernel, **head), x, batch["decoder_target_tokens"], batch["decoder_loss_weights"], z_loss=z_loss,
        chunk_bytes=chunk_bytes,
    )  # fmt: skip


def plain(kernel: Any, x: Any, batch: Any, z_loss: float, **head: Any) -> LossSums:
    return token_loss(Head(kernel, **head)(x), batch, num_tasks=NUM_TASKS, z_loss=z_loss)


@examples(8, deep=200)
@given(
    rows=st.integers(1, 3), length=st.integers(1, 7), pieces=st.integers(1, 8), tied=st.booleans(),
    softcap=st.sampled_from([None, 2.0]), scale=st.sampled_from([1.0, 0.25]), z_loss=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_plain_loss(
    rows: int, length: int, pieces: int, tied: bool, softcap: float | None, scale: float, z_loss: float, seed: int
) -> None:
    kernel, x, batch = operands(rows, length, 5, 11, tied=tied, seed=seed)
    head = {"tied": tied, "softcap": softcap, "scale": scale}
    chunk_bytes = max(1, 4 * rows * length * 11 // pieces)

    def ours(kernel: Any, x: Any, weights: Any) -> Any:
        objective, values = fused(kernel, x, batch | {"decoder_loss_weights": weights}, chunk_bytes, z_loss, **head)
        return objective, values

    def wanted(kernel: Any, x: Any, weights: Any) -> Any:
        sums = plain(kernel, x, batch | {"decoder_loss_weights": weights}, z_loss, **head)
        return sums.loss + sums.z_loss, sums

    both = [
        jax.jit(jax.value_and_grad(function, (0, 1, 2), has_aux=True))(kernel, x, batch["decoder_loss_weights"])
        for function in (ours, wanted)
    ]
    ((objective, values), gradients), ((plain_objective, sums), plain_gradients) = both
    np.testing.assert_allclose(objective, plain_objective, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.sum(values.correct * batch["decoder_loss_weights"]), sums.correct)
    for a, b in zip(gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config", with_deep([tiny_t5(tie_embeddings=True), tiny_decoder(logit_softcap=3.0)], [tiny_t5()])
)
def test_a_models_loss_is_that_of_its_logits(config: Any) -> None:
    graphdef, params = build.abstract_model(config)[0], random_params(config)
    _, _, batch = operands(2, 6, 4, config.vocab_size, tied=True, seed=0)
    batch |= {
        "encoder_input_tokens": batch["decoder_target_tokens"][::-1],
        "decoder_input_tokens": batch["decoder_target_tokens"],
    }
    batch["decoder_segment_ids"] = np.ones((2, 6), np.int32)

    def ours(params: Any) -> Any:
        sums = model_loss(build.merge(graphdef, params), batch, num_tasks=NUM_TASKS, z_loss=0.01)
        return sums.objective, sums

    def wanted(params: Any) -> Any:
        sums = token_loss(build.apply(graphdef, params, batch), batch, num_tasks=NUM_TASKS, z_loss=0.01)
        return sums.objective, sums

    (_, sums), gradients = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    (_, plain_sums), plain_gradients = jax.jit(jax.value_and_grad(wanted, has_aux=True))(params)
    close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)
    jax.tree.map(close, sums, plain_sums)
    jax.tree.map(close, gradients, plain_gradients)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(2, 2, 2), (8, 1, 1), (1, 1, 8)], ids=str)
def test_every_mesh_computes_the_same(sizes: tuple[int, int, int], tied: bool) -> None:
    partitioner = make_partitioner(MeshConfig(*sizes))
    kernel, x, batch = operands(8, 5, 4, 16, tied=tied, seed=0)
    spec = ("tensor", "fsdp") if tied else ("fsdp", "tensor")
    places = tuple(NamedSharding(partitioner.mesh, PartitionSpec(*axes)) for axes in (spec, (("data", "fsdp"),)))

    def ours(kernel: Any, x: Any) -> Any:
        return fused_loss(
            Head(kernel, tied), x, batch["decoder_target_tokens"], batch["decoder_loss_weights"], partitioner=partitioner,
            chunk_bytes=4 * 16,
        )  # fmt: skip

    found = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True), in_shardings=places)
    wanted = jax.value_and_grad(lambda *o: plain(*o, batch, 0.0, tied=tied).objective, (0, 1))(kernel, x)
    (objective, _), gradients = found(kernel, x)
    np.testing.assert_allclose(objective, wanted[0], rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), gradients, wanted[1])
    body = found.lower(kernel, x).compile().as_text()
    loops = [part for part in body.split("\n\n") if "%region" in part or "_body" in part.split("(")[0]]
    shape = f"f32[1,{16 // sizes[2]},4]" if tied else f"f32[1,4,{16 // sizes[2]}]"
    assert not any(f"{shape}" in line and "all-reduce" in line for part in loops for line in part.splitlines())


@pytest.mark.parametrize(("sizes", "groups"), [((2, 2, 2), 4), ((8, 1, 1), 8), ((1, 1, 8), 1)], ids=str)
def test_each_device_adds_up_the_kernel_s_gradient_over_its_own_rows(sizes: Any, groups: int) -> None:
    kernel, x, batch = operands(8, 4, 4, 16, tied=True, seed=0)
    partitioner = make_partitioner(MeshConfig(*sizes))

    def loss(kernel: Any) -> Any:
        model = Fixed(x, Head(kernel, True))
        return model_loss(model, batch, num_tasks=NUM_TASKS, partitioner=partitioner).objective

    # One sum a group of rows through the whole loop, added to one kernel's gradient behind it.
    assert f"f32[{groups},16,4]" in str(jax.make_jaxpr(jax.grad(loss))(kernel))


def test_no_array_holds_all_logits() -> None:
    rows, length, width, vocab = 4, 64, 8, 4096
    kernel, x, batch = operands(rows, length, width, vocab, tied=True, seed=0)
    gradient = jax.grad(lambda *o: fused(*o, batch, 4 * rows * vocab * 8, 0.0, tied=True)[0], (0, 1))
    memory = jax.jit(gradient).lower(kernel, x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.6 * (4 * rows * length * vocab)
    everything = jax.jit(jax.grad(lambda *o: plain(*o, batch, 0.0, tied=True).objective, (0, 1)))
    assert everything.lower(kernel, x).compile().memory_analysis().temp_size_in_bytes > 4 * rows * length * vocab


def products(function: Any, *operands: Any) -> int:
    return str(jax.make_jaxpr(function)(*operands)).count("dot_general")


def test_three_products_and_two_where_the_head_is_frozen() -> None:
    kernel, x, batch = operands(2, 6, 5, 11, tied=False, seed=0)
    loss = lambda kernel, x: fused(kernel, x, batch, 4 * 2 * 11 * 2, 0.0, tied=False)[0]  # noqa: E731
    assert products(loss, kernel, x) == 1
    assert products(jax.grad(loss, 1), kernel, x) == 2
    assert products(jax.grad(jax.jit(loss), 1), kernel, x) == 2
    assert products(jax.grad(loss, 0), kernel, x) == 2
    assert products(jax.grad(loss, (0, 1)), kernel, x) == 3


def test_half_precision_sums_in_float32() -> None:
    kernel, x, batch = operands(2, 6, 32, 11, tied=False, seed=0)
    exact, rough = (
        jax.jit(jax.value_and_grad(lambda *o: fused(*o, batch, 4 * 2 * 11 * 2, 0.1, tied=False)[0], (0, 1)))(
            kernel, jnp.asarray(x, dtype)
        )
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert [leaf.dtype for leaf in jax.tree.leaves(rough)] == [jnp.float32, jnp.float32, jnp.bfloat16]
    np.testing.assert_allclose(rough[0], exact[0], rtol=1e-2)
    for a, b in zip(rough[1], exact[1], strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b, atol=0.03 * np.abs(b).max())


def test_what_has_no_gradient_says_so() -> None:
    kernel, x, batch = operands(2, 6, 5, 11, tied=False, seed=0)
    head = Head(kernel, tied=False)
    with pytest.raises(TypeError, match="differentiate the objective"):
        jax.grad(lambda x: model_loss(Fixed(x, head), batch, num_tasks=NUM_TASKS).loss)(x)


def test_of_equal_logits_the_first_is_the_prediction() -> None:
    batch = {"decoder_target_tokens": np.array([[0, 1, 2]]), "decoder_loss_weights": np.ones((1, 3), np.float32)}
    _, values = fused(
        np.array([[1.0, 1.0, 0.0]], np.float32), np.ones((1, 3, 1), np.float32), batch, 1, 0.0, tied=False
    )
    assert values.correct.tolist() == [[1.0, 0.0, 0.0]]


def test_a_head_with_an_addition_is_added_up() -> None:
    config = tiny_decoder()
    assert dataclasses.replace(Head(np.zeros((3, 4)), tied=True), tied=False).vocab_size == 4
    assert build.merge(build.abstract_model(config)[0], random_params(config)).head().vocab_size == config.vocab_size
