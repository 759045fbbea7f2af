"""What a decoder computes: golden logits, packing, prefixes, windows, the cache, dropout, types."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import every_second, with_deep
from safetensors import safe_open

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.decoder.model import positions_in_segments
from flan_jax.models.huggingface.decoders import FAMILIES, config_from_fields, layout
from flan_jax.models.huggingface.tensors import params_from_tensors
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.remat import REMATS
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.testing.models import random_params, tiny_decoder

GOLDEN = Path(__file__).parents[2] / "golden" / "decoder_logits"
apply = jax.jit(build.apply, static_argnums=0)
prefill = jax.jit(
    lambda graph, params, tokens, lengths, room: build.merge(graph, params).prefill(tokens, lengths, room),
    static_argnums=(0, 4),
)
decode_step = jax.jit(lambda graph, params, *rest: build.merge(graph, params).decode_step(*rest), static_argnums=0)

ALTERNATE = {"sliding_window": 3, "window_pattern": (True, False)}
KINDS = {
    "llama": {},
    "gpt2": {
        "norm": "layer", "mlp_activation": "gelu_tanh", "attention_bias": True, "output_bias": True, "mlp_bias": True,
        "position": "learned", "tie_embeddings": True,
    },
    "gemma3": {
        **ALTERNATE, "norm_placement": "both", "norm_offset": True, "qk_norm": "head", "embed_scale": True,
        "local_rope_theta": 30.0, "rope_scaling": RopeScaling("linear", 4.0), "bos_id": 2,
    },
    "gemma2": {**ALTERNATE, "attention_softcap": 2.0, "logit_softcap": 3.0},
    "olmo2": {"norm_placement": "post", "qk_norm": "full"},
    "qwen3_5": {
        "linear": LinearAttention(2, 4, 3, 5, every=3), "gated_attention": True, "qk_norm": "head", "rotary_fraction": 0.5,
        "norm_offset": True, "bos_id": 2,
    },
    "gemma4": {
        "mixed": MixedAttention(6, 3, keys_as_values=True, shared=2, shared_d_ff=14, per_layer_width=5), "num_layers": 4,
        **ALTERNATE, "norm_placement": "both", "qk_norm": "head", "embed_scale": True, "query_scale": 1.0, "bos_id": 2,
        "local_rope_theta": 30.0, "rope_scaling": RopeScaling("proportional", 1.0, share=0.5),
    },
}  # fmt: skip


def model(**fields):
    config = tiny_decoder(**fields)
    return config, build.abstract_model(config)[0], jax.tree.map(jnp.asarray, random_params(config))


def some_tokens(shape, seed=0):
    return np.random.default_rng(seed).integers(3, 61, shape).astype(np.int32)


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_those_of_transformers(name):
    with safe_open(GOLDEN / f"{name}.safetensors", framework="numpy") as file:
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        fields = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights/"): x for key, x in stored.items() if key.startswith("weights/")}
    config = config_from_fields(fields)
    params = params_from_tensors(config, layout(config), weights)
    logits = apply(build.abstract_model(config)[0], params, {"decoder_input_tokens": stored["tokens"]})
    assert logits.dtype == jnp.float32
    close(logits, stored["logits"], 1e-5 if config.mixed is None else 1e-4)  # whose scores are not scaled down


def test_what_a_query_sees():
    segments = np.array([[1, 1, 1, 2, 0]])
    causal = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]

    def materialize(query, key, place, **more):
        return AttentionMask(query, key, place, causal=True, **more).materialize()[0].astype(int).tolist()

    assert materialize(segments, segments, np.arange(5)) == causal
    prefix = np.array([[1, 1, 0, 1, 1]]) > 0
    windowed = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    both = {"query_prefix": prefix, "key_prefix": prefix}
    assert materialize(segments, segments, np.arange(5), window=2, **both) == windowed
    assert materialize(np.array([[1]]), np.array([[0, 1, 1, 1, 0]]), np.array([3]), window=2) == [[0, 0, 1, 1, 0]]


def test_positions_start_anew_in_each_segment():
    assert positions_in_segments(np.array([[1, 1, 2, 2, 2, 0], [1, 2, 3, 3, 0, 0]])).tolist() == [
        [0, 1, 0, 1, 2, 0],
        [0, 0, 0, 1, 0, 1],
    ]


@pytest.mark.parametrize(("kind", "told"), every_second(KINDS, [True, False]))
def test_packed_rows_equal_rows_of_their_own(kind, told):
    _, graph, params = model(**KINDS[kind])
    tokens, lengths = some_tokens((3, 9)), [9, 4, 6]
    tokens[:, 0] = 0
    packed = {
        "decoder_input_tokens": np.concatenate([tokens[i, :n] for i, n in enumerate(lengths)] + [[0, 0]])[None],
        "decoder_segment_ids": np.concatenate([np.full(n, i + 1) for i, n in enumerate(lengths)] + [[0, 0]])[None],
    }
    if told:
        packed["decoder_positions"] = np.concatenate([np.arange(n) for n in [*lengths, 2]])[None]
    together = apply(graph, params, packed)[0]
    assert np.isfinite(together).all()
    # In one shape: what stands behind the end of a row is no part of it.
    alone = apply(graph, params, {"decoder_input_tokens": np.where(np.arange(9) < np.c_[lengths], tokens, 7)})
    start = 0
    for row, length in enumerate(lengths):
        close(together[start : start + length], alone[row, :length])
        start += length


def test_a_later_token_changes_nothing_before_it_and_an_earlier_one_does():
    _, graph, params = model()
    tokens = some_tokens((1, 8))
    changed = tokens.copy()
    changed[0, 4] = 3 + (tokens[0, 4] - 2) % 58
    before, after = (apply(graph, params, {"decoder_input_tokens": t})[0] for t in (tokens, changed))
    np.testing.assert_array_equal(before[:4], after[:4])
    assert (np.abs(before[4:] - after[4:]).max(axis=-1) > 1e-3).all()


def test_a_prefix_is_read_in_both_directions_within_its_own_segment():
    config, graph, params = model(prefix_lm=True, num_layers=2)
    tokens = some_tokens((1, 10))
    batch = {
        "decoder_input_tokens": tokens,
        "decoder_segment_ids": np.array([[1] * 6 + [2] * 4]),
        "decoder_causal_attention": np.array([[1, 1, 1, 0, 0, 0, 1, 1, 0, 0]]),
    }
    influence = {}
    before = apply(graph, params, batch)[0]
    for place in range(10):
        changed = tokens.copy()
        changed[0, place] = 3 + (tokens[0, place] - 2) % 58
        after = apply(graph, params, {**batch, "decoder_input_tokens": changed})[0]
        influence[place] = np.flatnonzero(np.abs(after - before).max(axis=-1) > 1e-6).tolist()
    assert influence[2] == [0, 1, 2, 3, 4, 5]
    assert influence[3] == [3, 4, 5]
    assert influence[7] == [6, 7, 8, 9]
    with pytest.raises(UserError, match="give decoder_causal_attention"):
        build.apply(graph, params, {"decoder_input_tokens": tokens})
    # A causal model does not look at it.
    causal = build.abstract_model(dataclasses.replace(config, prefix_lm=False))[0]
    np.testing.assert_array_equal(
        apply(causal, params, batch), apply(causal, params, {k: v for k, v in batch.items() if "causal" not in k})
    )


def test_a_window_limits_how_far_a_layer_looks_and_the_pattern_says_which_layers():
    tokens = some_tokens((1, 12))
    changed = tokens.copy()
    changed[0, 1] = 3 + (tokens[0, 1] - 2) % 58

    def reach(**fields):
        _, graph, params = model(**fields)
        before, after = (apply(graph, params, {"decoder_input_tokens": t})[0] for t in (tokens, changed))
        return np.flatnonzero(np.abs(after - before).max(axis=-1) > 1e-6).max() - 1

    assert reach(sliding_window=3, num_layers=1) == 2
    assert reach(sliding_window=3, num_layers=3) == 6
    assert reach(sliding_window=3, window_pattern=(True, True, False)) == 10
    assert reach(sliding_window=3, window_pattern=(True, True, True, False)) == 6


@pytest.mark.parametrize(("kind", "prefix"), every_second(KINDS, [False, True]))
def test_decoding_with_the_cache_equals_the_whole_row(kind, prefix):
    prefix = prefix and "linear" not in KINDS[kind]  # a state is read in one direction
    _, graph, params = model(**KINDS[kind], prefix_lm=prefix)
    tokens, lengths = some_tokens((3, 12)), np.array([5, 1, 3])
    tokens[:, 0] = 0
    batch = {"decoder_input_tokens": tokens}
    if prefix:
        batch["decoder_causal_attention"] = np.arange(12) < lengths[:, None]
    whole = apply(graph, params, batch)
    cache, _, logits = prefill(graph, params, tokens[:, :5], lengths, 7)
    rows = np.arange(3)
    close(logits, whole[rows, lengths - 1])
    assert logits.dtype == jnp.float32
    for step in range(7):
        logits, cache = decode_step(graph, params, cache, tokens[rows, lengths + step])
        close(logits, whole[rows, lengths + step])
    assert int(cache.place) == 12


def test_rows_of_a_cache_may_be_repeated_and_reordered():
    _, graph, params = model(**KINDS["gemma3"])
    tokens, lengths = some_tokens((2, 4)), np.array([4, 2])
    cache = prefill(graph, params, tokens, lengths, 3).cache
    rows = np.array([1, 0, 1])
    taken = cache._replace(
        **{name: jnp.take(getattr(cache, name), rows, axis) for name, axis in cache.beam_axes.items()}
    )
    expected, _ = decode_step(graph, params, cache, np.array([7, 8]))
    logits, _ = decode_step(graph, params, taken, np.array([8, 7, 8]))
    close(logits, expected[rows])


def test_the_first_token_of_a_segment_is_the_beginning_where_there_is_one():
    config, graph, params = model(bos_id=2)
    tokens = some_tokens((1, 6))
    tokens[0, [0, 2, 4]] = 0
    segments = np.array([[1, 1, 1, 1, 2, 2]])
    logits = apply(graph, params, {"decoder_input_tokens": tokens, "decoder_segment_ids": segments})
    spelled = tokens.copy()
    spelled[0, [0, 4]] = 2  # the 0 inside of a segment is a token like others
    assert config.decoder_start_id == 2
    np.testing.assert_array_equal(
        logits, apply(graph, params, {"decoder_input_tokens": spelled, "decoder_segment_ids": segments})
    )
    none = build.abstract_model(dataclasses.replace(config, bos_id=None))[0]
    assert (
        np.abs(apply(none, params, {"decoder_input_tokens": tokens, "decoder_segment_ids": segments}) - logits).max()
        > 0.01
    )


@pytest.mark.parametrize(("kind", "prefix"), every_second(KINDS, [False, True]))
def test_an_empty_first_place_leaves_the_logits_of_the_tokens_alone(kind, prefix):
    prefix = prefix and "linear" not in KINDS[kind]
    config, graph, params = model(**{**KINDS[kind], "reads_start": False, "prefix_lm": prefix})
    alone = build.abstract_model(dataclasses.replace(config, reads_start=True, bos_id=None))[0]
    tokens, lengths = some_tokens((3, 12)), np.array([5, 2, 3])
    tokens[:, 0] = 0

    def batch(tokens, lengths, **more):
        same = {"decoder_causal_attention": np.arange(tokens.shape[1]) < lengths[:, None]} if prefix else {}
        return {"decoder_input_tokens": tokens, **same, **more}

    expected = apply(alone, params, batch(tokens[:, 1:], lengths - 1))
    whole = apply(graph, params, batch(tokens, lengths))
    close(whole[:, 1:], expected)
    assert np.isfinite(whole).all()
    cache, _, logits = prefill(graph, params, tokens[:, :5], lengths, 7)
    rows = np.arange(3)
    close(logits, expected[rows, lengths - 2])
    behind = jax.jit(lambda *rest: build.merge(graph, params).extend(*rest))(
        cache, np.array([2, 0]), np.stack([tokens[2, 3:7], tokens[0, 5:9]])
    )
    for step in range(7):
        logits, cache = decode_step(graph, params, cache, tokens[rows, lengths + step])
        close(logits, expected[rows, lengths - 1 + step])
        if step < 4:
            close(behind[:, step], logits[np.array([2, 0])])


def test_an_empty_first_place_in_packed_rows_and_behind_a_prompt():
    config, graph, params = model(reads_start=False, sliding_window=3, window_pattern=(True, False), num_layers=2)
    alone = build.abstract_model(dataclasses.replace(config, reads_start=True))[0]
    tokens = some_tokens((2, 6))
    tokens[:, 0] = 0
    expected = apply(alone, params, {"decoder_input_tokens": tokens[:, 1:]})
    packed = {"decoder_input_tokens": np.pad(tokens.reshape(1, 12), ((0, 0), (0, 2)))}
    packed["decoder_segment_ids"] = np.array([[1] * 6 + [2] * 6 + [0] * 2])
    told = {**packed, "decoder_positions": np.array([[*range(6), *range(6), 0, 0]])}
    for batch in (packed, told):
        logits = apply(graph, params, batch)[0]
        close(logits[1:6], expected[0])
        close(logits[7:12], expected[1])
    in_front = np.array([7, 23, 11])
    longer = np.concatenate([np.broadcast_to(in_front, (2, 3)), tokens[:, 1:]], axis=1)
    prompted = {**params, "prompt": params["embedding"][in_front]}
    expected = apply(alone, params, {"decoder_input_tokens": longer})[:, 3:]
    close(apply(graph, prompted, {"decoder_input_tokens": tokens})[:, 1:], expected)
    cache, _, logits = prefill(graph, prompted, tokens[:, :4], np.array([4, 4]), 2)
    close(logits, expected[:, 2])
    for step in (4, 5):
        logits, cache = decode_step(graph, prompted, cache, tokens[:, step])
        close(logits, expected[:, step - 1])


def test_nothing_is_learned_from_an_empty_first_place():
    _, graph, params = model(reads_start=False)
    tokens = some_tokens((2, 6))
    tokens[:, 0] = 0

    def loss(params):
        return build.apply(graph, params, {"decoder_input_tokens": tokens})[:, 1:].sum()

    assert not np.any(jax.jit(jax.grad(loss))(params)["embedding"][0])


def test_learned_positions_end():
    _, graph, params = model(**KINDS["gpt2"], max_positions=8)
    with pytest.raises(UserError, match="A row of 9 tokens is longer than the 8 positions"):
        build.apply(graph, params, {"decoder_input_tokens": some_tokens((1, 9))})
    with pytest.raises(UserError, match="A row of 10 tokens"):
        build.merge(graph, params).prefill(some_tokens((1, 6)), np.array([6]), 4)
    segments = np.array([[1] * 5 + [2] * 5])
    batch = {"decoder_input_tokens": some_tokens((1, 10)), "decoder_segment_ids": segments}
    assert np.isfinite(apply(graph, params, batch)).all()
    # A position that does not exist shows, where the last would be repeated.
    assert np.isnan(apply(graph, params, {**batch, "decoder_positions": np.arange(10)[None]})[0, 8]).all()
    with pytest.raises(UserError, match="max_length is 0"):
        build.merge(graph, params).prefill(some_tokens((1, 6)), np.array([6]), 0)


def test_logits_stay_within_their_cap():
    config, graph, params = model(logit_softcap=0.5)
    batch = {"decoder_input_tokens": some_tokens((2, 6))}
    plain = apply(build.abstract_model(dataclasses.replace(config, logit_softcap=None))[0], params, batch)
    close(apply(graph, params, batch), 0.5 * np.tanh(plain / 0.5))


def test_dropout_needs_a_key_and_recomputation_changes_nothing():
    config, graph, params = model(dropout_rate=0.3)
    batch = {"decoder_input_tokens": some_tokens((2, 6))}
    without = apply(build.abstract_model(dataclasses.replace(config, dropout_rate=0.0))[0], params, batch)
    np.testing.assert_array_equal(apply(graph, params, batch), without)
    dropped = [apply(graph, params, batch, dropout_key=jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert np.abs(dropped[0] - dropped[2]).max() > 0.1
    assert np.abs(dropped[0] - without).max() > 0.1

    def gradients(**changes):
        changed = build.abstract_model(dataclasses.replace(config, **changes))[0]
        return jax.jit(jax.grad(lambda p: jnp.square(build.apply(changed, p, batch)).mean()))(params)

    stored = gradients()
    for remat in REMATS[1:]:
        jax.tree.map(lambda a, b: close(a, b, 1e-6), stored, gradients(remat=remat))


@pytest.mark.parametrize("kind", with_deep(["gpt2", "gemma3", "gemma2", "qwen3_5"], ["llama", "olmo2"]))
def test_bfloat16_is_near_and_its_logits_are_float32(kind):
    fields = dict(KINDS[kind])
    if "linear" in fields:  # it makes keys of length 1, and one of three random numbers may be next to nothing before
        fields["linear"] = dataclasses.replace(fields["linear"], d_key=16, d_value=16)
    config, graph, params = model(**fields)
    batch = {"decoder_input_tokens": some_tokens((2, 8))}
    half = apply(build.abstract_model(dataclasses.replace(config, dtype="bfloat16"))[0], params, batch)
    exact = apply(graph, params, batch)
    assert half.dtype == jnp.float32
    assert 0 < np.abs(half - exact).max() < 0.1 * np.abs(exact).max() + 0.1
