"""What the network computes: golden logits, packing, masks, positions, decoding, dropout, types."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.huggingface.t5 import config_from_fields, layout
from flan_jax.models.huggingface.tensors import params_from_tensors
from flan_jax.models.ops.dropout import dropout
from flan_jax.models.ops.remat import REMATS
from flan_jax.models.t5.attention import _drop_keys
from flan_jax.testing.models import random_batch, random_params, tiny_t5

GOLDEN = Path(__file__).parents[2] / "golden" / "t5_logits"
apply = jax.jit(build.apply, static_argnums=0)
encode = jax.jit(lambda graphdef, params, *arrays: build.merge(graphdef, params).encode(*arrays), static_argnums=0)
decode = jax.jit(lambda graphdef, params, *arrays: build.merge(graphdef, params).decode(*arrays), static_argnums=0)
SHALLOW = {"num_encoder_layers": 1, "num_decoder_layers": 1}


def model(config):
    return build.abstract_model(config)[0], jax.tree.map(jnp.asarray, random_params(config))


@pytest.fixture(scope="module")
def tiny():
    config = tiny_t5()
    return config, *model(config)


@pytest.mark.parametrize("name", ["gated_untied", "gated_tied", "plain_untied", "plain_tied"])
def test_logits_equal_those_of_transformers(name):
    with safe_open(GOLDEN / f"{name}.safetensors", framework="numpy") as file:
        config = config_from_fields(json.loads(file.metadata()["config"]))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")}
    batch = {key.removeprefix("inputs/"): value for key, value in tensors.items() if key.startswith("inputs/")}
    graphdef, _ = build.abstract_model(config)
    logits = apply(graphdef, params_from_tensors(config, layout(config), weights), batch)
    assert logits.dtype == jnp.float32
    assert np.abs(tensors["logits"]).max() > 1
    np.testing.assert_allclose(logits, tensors["logits"], rtol=0, atol=1e-4)


def _pack(batch, slots, inputs, targets):
    """Puts the examples of ``batch`` into rows as ``slots`` says: a list of row lists of example numbers."""
    packed = {}
    for side, length in (("encoder", inputs), ("decoder", targets)):
        keys = [key for key in batch if key.startswith(side)]
        for key in keys:
            fill = -1 if key.endswith("task_ids") else 0
            packed[key] = np.full((len(slots), length), fill, batch[key].dtype)
        for row, examples in enumerate(slots):
            start = 0
            for number, example in enumerate(examples, start=1):
                count = int(batch[f"{side}_segment_ids"][example].sum())
                for key in keys:
                    value = number if key.endswith("segment_ids") else batch[key][example, :count]
                    packed[key][row, start : start + count] = value
                start += count
    return packed


def test_packed_rows_give_each_example_its_own_logits(tiny):
    config, graphdef, params = tiny
    batch = random_batch(config, rows=5, inputs=9, targets=7, seed=3)
    slots = [[2, 0, 4], [1], [3]]
    packed = _pack(batch, slots, inputs=30, targets=25)
    alone, together = apply(graphdef, params, batch), apply(graphdef, params, packed)
    for row, examples in enumerate(slots):
        start = 0
        for example in examples:
            count = int(batch["decoder_segment_ids"][example].sum())
            np.testing.assert_allclose(together[row, start : start + count], alone[example, :count], atol=2e-5)
            start += count


def test_positions_given_explicitly_change_nothing_in_packed_rows(tiny):
    config, graphdef, params = tiny
    packed = _pack(random_batch(config, rows=4, seed=5), [[0, 1], [3, 2]], inputs=20, targets=14)
    segments = packed["encoder_segment_ids"]
    plain = encode(graphdef, params, packed["encoder_input_tokens"], segments)
    explicit = encode(graphdef, params, packed["encoder_input_tokens"], segments, packed["encoder_positions"])
    np.testing.assert_allclose(np.where(segments[..., None], plain - explicit, 0), 0, atol=1e-5)
    target_segments = packed["decoder_segment_ids"]
    arguments = (graphdef, params, packed["decoder_input_tokens"], plain, segments, target_segments)
    difference = decode(*arguments) - decode(*arguments, packed["decoder_positions"])
    np.testing.assert_allclose(np.where(target_segments[..., None], difference, 0), 0, atol=1e-5)


def test_positions_matter_where_they_are_not_index_differences(tiny):
    config, graphdef, params = tiny
    tokens = random_batch(config)["encoder_input_tokens"]
    spread = np.broadcast_to(np.arange(tokens.shape[1]) * 2, tokens.shape)
    difference = encode(graphdef, params, tokens) - encode(graphdef, params, tokens, None, spread)
    assert np.abs(difference)[0, 0].max() > 1e-2


def test_padding_is_told_by_the_pad_id(tiny):
    config, graphdef, params = tiny
    batch = random_batch(config, rows=3, seed=1)
    bare = {key: batch[key] for key in ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")}
    np.testing.assert_array_equal(apply(graphdef, params, batch), apply(graphdef, params, bare))
    del bare["decoder_target_tokens"]
    real = batch["decoder_loss_weights"][..., None]
    np.testing.assert_allclose(apply(graphdef, params, batch) * real, apply(graphdef, params, bare) * real, atol=1e-5)


def test_no_gradient_flows_through_padding_or_backwards_in_time(tiny):
    config, graphdef, params = tiny
    batch = random_batch(config, rows=2, inputs=9, targets=6, seed=2)
    batch["decoder_segment_ids"][:] = 1
    encoded = encode(graphdef, params, batch["encoder_input_tokens"])

    def first_three(encoded):
        logits = decode(graphdef, params, batch["decoder_input_tokens"], encoded, batch["encoder_segment_ids"])
        return logits[:, :3].sum()

    gradient = np.abs(jax.grad(first_three)(encoded)).sum(-1)
    assert (batch["encoder_segment_ids"] == 0).any()
    np.testing.assert_array_equal(gradient > 0, batch["encoder_segment_ids"] > 0)

    later = batch["decoder_input_tokens"].copy()
    later[:, 3:] = (later[:, 3:] + 7) % config.vocab_size
    before, after = (
        decode(graphdef, params, tokens, encoded, batch["encoder_segment_ids"])
        for tokens in (batch["decoder_input_tokens"], later)
    )
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before - after)[:, 3:].max() > 1e-3


def test_a_row_of_padding_only_is_finite_and_harmless():
    config = tiny_t5(**SHALLOW)
    graphdef, params = model(config)
    batch = random_batch(config)
    for key, value in batch.items():
        value[1] = -1 if key == "decoder_task_ids" else 0

    def loss(params):
        weights = batch["decoder_loss_weights"]
        return (build.apply(graphdef, params, batch)[..., 5] * weights).sum()

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    alone = {key: value[:1] for key, value in batch.items()}
    np.testing.assert_allclose(apply(graphdef, params, batch)[:1], apply(graphdef, params, alone), atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_decoding_step_by_step_equals_decoding_at_once(tied):
    config = tiny_t5(tie_embeddings=tied, mlp_activation="relu" if tied else "gated-gelu_tanh")
    graphdef, params = model(config)
    batch = random_batch(config, rows=3, inputs=8, targets=7)
    encoded = encode(graphdef, params, batch["encoder_input_tokens"])
    full = decode(graphdef, params, batch["decoder_input_tokens"], encoded, batch["encoder_segment_ids"])

    @jax.jit
    def steps(params, tokens_BT):
        net = build.merge(graphdef, params)
        cache = net.init_cache(net.encode(batch["encoder_input_tokens"]), batch["encoder_segment_ids"], 7)
        _, logits = jax.lax.scan(lambda c, t: net.decode_step(c, t)[::-1], cache, tokens_BT.T)
        return logits.swapaxes(0, 1)

    np.testing.assert_allclose(steps(params, batch["decoder_input_tokens"]), full, atol=2e-5)


def test_one_compiled_loop_generates_what_repeated_full_decoding_does(tiny):
    config, graphdef, params = tiny
    batch, length = random_batch(config, rows=3, inputs=8), 6
    inputs, segments = batch["encoder_input_tokens"], batch["encoder_segment_ids"]

    @jax.jit
    def generate(params):
        net = build.merge(graphdef, params)
        start = jnp.full((3,), config.decoder_start_id)
        state = (net.init_cache(net.encode(inputs), segments, length), start, jnp.zeros((3, length), jnp.int32))

        def step(state):
            cache, token, out = state
            place = cache.step
            logits, cache = net.decode_step(cache, token)
            token = logits.argmax(-1).astype(token.dtype)
            return cache, token, out.at[:, place].set(token)

        return jax.lax.while_loop(lambda state: state[0].step < length, step, state)[2]

    tokens = np.full((3, length + 1), config.decoder_start_id)
    for place in range(length):
        logits = apply(graphdef, params, {"encoder_input_tokens": inputs, "decoder_input_tokens": tokens})
        tokens[:, place + 1] = logits[:, place].argmax(-1)
    np.testing.assert_array_equal(generate(params), tokens[:, 1:])


def test_a_cache_without_room_is_refused(tiny):
    config, graphdef, params = tiny
    segments = random_batch(config)["encoder_segment_ids"]
    with pytest.raises(UserError, match="max_length is 0"):
        build.merge(graphdef, params).init_cache(jnp.zeros((*segments.shape, config.d_model)), segments, 0)


def test_dropout_follows_its_key_and_leaves_the_mean(tiny):
    config = tiny_t5(dropout_rate=0.2)
    graphdef, params = model(config)
    batch = random_batch(config)
    clean = apply(graphdef, params, batch)
    one, again, other = (apply(graphdef, params, batch, dropout_key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-2
    assert np.abs(one - clean).max() > 1e-2
    same, _ = build.abstract_model(dataclasses.replace(config, dropout_rate=0.0))
    np.testing.assert_array_equal(apply(same, params, batch, dropout_key=jax.random.key(1)), clean)


def test_each_layer_draws_its_own_dropout():
    config = tiny_t5(dropout_rate=0.5)
    graphdef, params = model(config)
    keys = build.merge(graphdef, params).encoder.layer_keys(jax.random.key(3))
    assert len(np.unique(jax.random.key_data(keys), axis=0)) == config.num_encoder_layers


def test_dropout_rate_is_met_at_every_place():
    features, heads = jnp.ones((40, 3, 500)), jnp.ones((40, 10, 50, 2))
    both = jax.jit(lambda key: (dropout(features, 0.25, key), _drop_keys(heads, 0.25, key)))
    dropped, values = map(np.asarray, both(jax.random.key(0)))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (dropped == dropped[:, :1]).all()
    assert abs((dropped == 0).mean() - 0.25) < 0.01
    assert abs((values == 0).mean() - 0.25) < 0.01
    assert (values[..., 0] == values[..., 1]).all()


@pytest.mark.parametrize("tied", [False, True])
def test_bfloat16_stays_close_to_float32(tied):
    config = tiny_t5(tie_embeddings=tied)
    graphdef, params = model(config)
    half, half_params = build.abstract_model(dataclasses.replace(config, dtype="bfloat16"))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half_params))
    batch = random_batch(config)
    exact, rough = apply(graphdef, params, batch), apply(half, params, batch)
    assert rough.dtype == jnp.float32
    encoded = jax.eval_shape(lambda: build.merge(half, params).encode(batch["encoder_input_tokens"]))
    assert encoded.dtype == jnp.bfloat16
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_recomputing_activations_changes_no_gradient():
    config = tiny_t5(**SHALLOW)
    params, batch = model(config)[1], random_batch(config)

    def gradients(remat):
        graphdef, _ = build.abstract_model(dataclasses.replace(config, remat=remat))
        loss = lambda params: jnp.square(build.apply(graphdef, params, batch)).mean()  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    stored = gradients("none")
    for remat in REMATS[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), stored, gradients(remat))
