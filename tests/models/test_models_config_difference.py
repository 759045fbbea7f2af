"""What decides what weights compute: every field is compared or free, and equal models compare equal."""

import dataclasses

import pytest

from flan_jax.models.config_difference import difference
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.decoder_presets import PRESETS
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.presets import PRESETS as T5S
from flan_jax.models.t5gemma.config import T5GemmaConfig
from flan_jax.testing.models import tiny_decoder, tiny_t5, tiny_t5gemma

LINEAR = RopeScaling("linear", 2.0)
# Another value of every field of either configuration.
OTHER = {
    T5Config: {
        "vocab_size": 999, "d_model": 128, "d_kv": 2, "num_heads": 7, "d_ff": 3, "num_encoder_layers": 5,
        "num_decoder_layers": 5, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 777,
        "mlp_activation": "gated-silu", "tie_embeddings": True, "layer_norm_epsilon": 1e-3, "decoder_start_id": 5,
        "dropout_rate": 0.7, "dtype": "bfloat16", "remat": "full", "attention": "dense", "pad_id": 5, "eos_id": 5,
        "stop_ids": (5,), "initializer_factor": 0.5, "relative_bias_init": 0.5, "mimetic_init": 0.5,
    },
    DecoderConfig: {
        "vocab_size": 999, "d_model": 128, "num_layers": 6, "num_heads": 8, "num_kv_heads": 1, "d_head": 2, "d_ff": 3,
        "norm": "layer", "norm_offset": True, "norm_epsilon": 1e-3, "norm_placement": "both", "mlp_activation": "relu",
        "attention_bias": True, "output_bias": True, "mlp_bias": True, "qk_norm": "full", "position": "learned",
        "rope_theta": 777.0, "rope_scaling": LINEAR, "local_rope_theta": 777.0, "max_positions": 77, "sliding_window": 7,
        "window_pattern": (False, True), "query_scale": 0.77, "attention_softcap": 7.0, "logit_softcap": 7.0,
        "embed_scale": True, "tie_embeddings": True, "prefix_lm": True, "bos_id": 7, "reads_start": False,
        "dropout_rate": 0.7, "dtype": "bfloat16", "remat": "full", "attention": "dense", "pad_id": 5, "eos_id": 5,
        "stop_ids": (5,), "family": "llama", "norm_bias": False, "first_norm": False, "rope_pattern": (True, False),
        "embed_norm": True, "head_activation": "gelu", "logit_bias": True, "gated_attention": True, "rotary_fraction": 0.5,
        "linear": LinearAttention(2, 4, 3, 5, every=3), "mixed": MixedAttention(6, 2),
    },
    T5GemmaConfig: {
        "vocab_size": 999, "d_model": 30, "num_encoder_layers": 5, "num_decoder_layers": 5, "num_heads": 8, "num_kv_heads": 1,
        "d_head": 2, "d_ff": 3, "encoder_d_model": 30, "encoder_num_heads": 4, "encoder_num_kv_heads": 1, "encoder_d_head": 6,
        "encoder_d_ff": 3, "encoder_query_scale": 0.77, "merged_attention": True, "shared_embedding": True,
        "tie_embeddings": False, "eoi_id": 9, "norm_epsilon": 1e-3, "mlp_activation": "gated-silu", "qk_norm": "head",
        "rope_theta": 777.0, "rope_scaling": LINEAR, "local_rope_theta": 777.0, "max_positions": 77, "sliding_window": 7,
        "window_pattern": (False, True), "halved_window": True, "query_scale": 0.77, "attention_softcap": 7.0,
        "logit_softcap": 7.0, "dropout_rate": 0.7, "dtype": "bfloat16", "pad_id": 5, "eos_id": 5, "decoder_start_id": 5,
        "remat": "full", "attention": "dense", "stop_ids": (5,),
    },
}  # fmt: skip
# What a field needs to be read at all.
WITH = {
    "max_positions": {"position": "learned"},
    "window_pattern": {"sliding_window": 4},
    "local_rope_theta": {"sliding_window": 4},
    "norm_bias": {"norm": "layer"},
    "mixed": {
        "num_layers": 4, "sliding_window": 4, "window_pattern": (True, False), "norm_placement": "both", "qk_norm": "head",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", list(OTHER))
def test_every_field_is_compared_or_free(kind):
    listed = [*kind.COMPARED, *kind.FREE]
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(kind))
    assert all(kind.FREE.values())


def plain(kind, name):
    if kind is T5GemmaConfig:
        return tiny_t5gemma(encoder_d_model=None, encoder_num_heads=None, attention_softcap=None, logit_softcap=None)
    tiny = tiny_t5(dropout_rate=0.0) if kind is T5Config else tiny_decoder(num_heads=4, num_kv_heads=4)
    return dataclasses.replace(tiny, **WITH.get(name, {}))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in OTHER for name in OTHER[kind]])
def test_a_field_that_is_compared_differs_and_a_free_one_does_not(kind, name):
    one = plain(kind, name)
    other = dataclasses.replace(one, **{name: OTHER[kind][name]})
    assert getattr(one, name) != getattr(other, name)
    found = difference(other, one)
    if name in kind.FREE:
        assert found is None
    else:
        assert found is not None
        assert (found.name, found.theirs, found.ours) == (name, getattr(other, name), getattr(one, name))


def test_every_field_of_a_stretch_that_its_kind_reads_is_compared():
    base = tiny_decoder()
    for kind, reads in {
        "llama3": ("factor", "original_max_positions", "low_frequency_factor", "high_frequency_factor"),
        "yarn": ("factor", "original_max_positions", "beta_fast", "beta_slow", "attention_factor", "truncate"),
        "linear": ("factor",),
        "proportional": ("factor", "share"),
    }.items():
        scaling = RopeScaling(kind, 3.0)
        for field in dataclasses.fields(RopeScaling):
            value = {"kind": "linear", "truncate": False, "share": 0.5}.get(field.name, 2.5)
            value = 77 if field.name == "original_max_positions" else value
            if field.name == "kind" and kind == "linear":
                continue
            other = dataclasses.replace(scaling, **{field.name: value})
            one, two = (dataclasses.replace(base, rope_scaling=given) for given in (scaling, other))
            assert (difference(one, two) is not None) == (field.name in (*reads, "kind")), field.name


def test_two_ways_to_say_the_same_compare_equal():
    base = tiny_decoder(num_layers=2, sliding_window=4, window_pattern=(True,))
    for same in (
        dataclasses.replace(base, window_pattern=(True, True)),
        dataclasses.replace(base, query_scale=base.d_head**-0.5),
        dataclasses.replace(base, local_rope_theta=base.rope_theta),
        dataclasses.replace(base, rope_scaling=RopeScaling("linear", 1.0)),
        dataclasses.replace(base, max_positions=9999),
    ):
        assert difference(same, base) is None
    learned = tiny_decoder(position="learned")
    assert difference(dataclasses.replace(learned, rope_theta=3.0), learned) is None
    silent = tiny_decoder(reads_start=False)
    assert difference(dataclasses.replace(silent, bos_id=3), silent) is None


def test_a_causal_model_may_be_trained_to_read_a_prefix_and_not_the_reverse():
    causal, prefix = tiny_decoder(), tiny_decoder(prefix_lm=True)
    assert difference(causal, prefix) is None
    assert difference(prefix, causal) == ("prefix_lm", True, False)
    assert difference(prefix, prefix) is None


def test_kinds_and_published_sizes_are_told_apart():
    assert difference(tiny_t5(), tiny_decoder()) == ("kind", "an encoder-decoder (T5)", "a decoder")
    for presets in (T5S, PRESETS):
        assert all(difference(one, one) is None for one in presets.values())
    assert difference(PRESETS["mistral_7b_v0_1"], PRESETS["mistral_7b_v0_2"]) is not None
