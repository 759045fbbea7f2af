"""T5Gemma 1 and 2: packing, windows, beams that share an input, the end-of-image vector, published sizes, refused shapes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.config_difference import difference
from flan_jax.models.huggingface import families
from flan_jax.models.t5gemma.presets import PRESETS, preset
from flan_jax.testing.models import random_batch, random_params, tiny_t5gemma

apply = jax.jit(build.apply, static_argnums=0)
VERSIONS = (1, 2)
# As the published files count them, in which those of the second version have a vision tower besides.
PUBLISHED = {
    "t5gemma_s_s": 312_517_632,
    "t5gemma_b_b": 591_490_560,
    "t5gemma_l_l": 1_241_761_792,
    "t5gemma_ml_ml": 2_200_345_344,
    "t5gemma_xl_xl": 3_766_980_608,
    "t5gemma_2b_2b": 5_596_853_760,
    "t5gemma_9b_9b": 20_333_401_088,
    "t5gemma_9b_2b": 12_292_375_296,
    "t5gemma2_270m_270m": 368_424_832,
    "t5gemma2_1b_1b": 1_697_783_168,
    "t5gemma2_4b_4b": 7_089_112_576,
}


@pytest.fixture(scope="module", params=VERSIONS)
def model(request):
    config = tiny_t5gemma(request.param)
    return config, build.abstract_model(config)[0], random_params(config)


def test_presets_have_the_published_number_of_parameters_and_come_back():
    assert set(PUBLISHED) == set(PRESETS)
    for name, count in PUBLISHED.items():
        assert build.num_params(preset(name)) == count, name
        assert families.config_from_fields(families.fields_from_config(preset(name))) == preset(name)


def test_every_parameter_has_its_axes(model):
    config, _, params = model
    axes = build.logical_axes(config)
    shapes = jax.tree.map(np.shape, params)
    named = jax.tree.map(len, axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert named == jax.tree.map(len, shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))


def test_packed_rows_give_each_example_its_own_logits(model):
    """Two examples of a row see neither each other's inputs nor targets, and both count their positions from 0."""
    config, graphdef, params = model
    batch = random_batch(config, rows=2, inputs=9, targets=7, seed=3)
    packed = {}
    for key in ("encoder_input_tokens", "decoder_input_tokens"):
        segments = batch[key.replace("input_tokens", "segment_ids")]
        rows = [batch[key][row, : segments[row].sum()] for row in (1, 0)]
        free = 22 - sum(map(len, rows))
        packed[key] = np.concatenate([*rows, np.zeros(free, np.int32)])[None]
        ids = np.repeat([1, 2, 0], [*map(len, rows), free])
        packed[key.replace("input_tokens", "segment_ids")] = ids[None].astype(np.int32)
    alone, together = apply(graphdef, params, batch), apply(graphdef, params, packed)
    assert np.abs(alone).max() > 1
    start = 0
    for row in (1, 0):
        count = int(batch["decoder_segment_ids"][row].sum())
        np.testing.assert_allclose(together[0, start : start + count], alone[row, :count], atol=1e-4)
        start += count


def test_beams_share_an_input(model):
    config, graphdef, params = model
    here = build.merge(graphdef, params)
    prompts, lengths = np.array([[9, 8, 7, 5], [6, 5, 0, 0]], np.int32), np.array([4, 2])
    targets = np.array([[11, 12, 13], [21, 22, 23], [31, 32, 33], [41, 42, 43]], np.int32)

    @jax.jit
    def both(params):
        here = build.merge(graphdef, params)
        cache = here.prefill(prompts, lengths, 3).cache
        beams = {name: jnp.repeat(getattr(cache, name), 2, axis=axis) for name, axis in cache.beam_axes.items()}
        cache, found = cache._replace(**beams), []
        before = np.concatenate([np.full((4, 1), config.decoder_start_id), targets], axis=1)
        for step in range(3):
            logits, cache = here.decode_step(cache, jnp.asarray(before[:, step]))
            found.append(logits)
        context = here.prompt_context(prompts, lengths, 3)
        return jnp.stack(found, axis=1), here.target_logits(context, jnp.array([0, 0, 1, 1]), jnp.asarray(targets))

    stepwise, whole = both(params)
    np.testing.assert_allclose(stepwise, whole, atol=3e-5)
    assert not here.shares_prompts


@pytest.mark.parametrize(
    ("halved", "back", "ahead"), [(False, 4, 4), (True, 1, 2)], ids=["on each side", "on both sides together"]
)
def test_the_encoder_looks_back_and_ahead_as_far_as_the_window(halved, back, ahead):
    config = tiny_t5gemma(
        sliding_window=4, window_pattern=(True,), halved_window=halved, num_encoder_layers=1, encoder_d_model=None
    )
    graphdef, params = build.abstract_model(config)[0], random_params(config)
    here = build.merge(graphdef, params)
    tokens = np.tile(np.arange(10, 23, dtype=np.int32), (2, 1))
    tokens[1, 6] = 40
    one, other = here.encode(tokens, np.ones_like(tokens))
    changed = np.flatnonzero(np.abs(one - other).max(axis=-1) > 1e-6)
    # A token that is seen ahead of the window's end is one that looks back from there.
    np.testing.assert_array_equal(changed, np.arange(6 - ahead, 6 + back + 1))


def test_the_end_of_an_image_has_a_vector_of_its_own():
    config = tiny_t5gemma(2)
    here = build.merge(build.abstract_model(config)[0], random_params(config))
    found = here._embed(np.array([[config.eoi_id, 5]]))[0]
    np.testing.assert_allclose(found[0], here.eoi_embedding[...])
    np.testing.assert_allclose(found[1], here.embedding[...][5] * config.d_model**0.5, rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(UserError, match="T5GemmaConfig: num_heads is 6; it must be a multiple of num_kv_heads"):
        tiny_t5gemma(num_kv_heads=4)
    with pytest.raises(UserError, match="merged_attention needs sides of one width, but encoder_d_model is 20"):
        tiny_t5gemma(2, encoder_d_model=20)
    with pytest.raises(UserError, match="eoi_id is 61, outside of the vocabulary of 61 tokens"):
        tiny_t5gemma(2, eoi_id=61)
    fields = families.fields_from_config(preset("t5gemma2_270m_270m"))
    with pytest.raises(UserError, match="tie_word_embeddings is false, but a T5Gemma 2 has one table"):
        families.config_from_fields({**fields, "tie_word_embeddings": False})
    other = {**fields["decoder"], "sliding_window": 77}
    with pytest.raises(UserError, match="the encoder's sliding_window is 512 and the decoder's 77"):
        families.config_from_fields({**fields, "decoder": other})
    with pytest.raises(UserError, match=r"has attn_logit_softcapping=50\.0, which transformers' T5Gemma 2"):
        families.config_from_fields({**fields, "decoder": {**fields["decoder"], "attn_logit_softcapping": 50.0}})
    with pytest.raises(UserError, match="no 'encoder'"):
        families.config_from_fields({**fields, "encoder": None})
    with pytest.raises(UserError, match="warp=7, which has no meaning here"):
        families.config_from_fields({**fields, "decoder": {**fields["decoder"], "warp": 7}})


def test_what_the_same_weights_compute_is_compared():
    one = tiny_t5gemma()
    same = dataclasses.replace(one, encoder_num_kv_heads=2, query_scale=one.d_head**-0.5, dropout_rate=0.5)
    assert difference(one, same) is None
    for change in ({"attention_softcap": 7.0}, {"encoder_query_scale": 0.3}, {"window_pattern": (True,)}):
        assert difference(one, dataclasses.replace(one, **change)).name == next(iter(change))
