"""The rows: each family's file, what a user's own adds, and the fields that only one family has."""

import dataclasses
from types import SimpleNamespace

import pytest

from flan_jax.errors import UserError
from flan_jax.models.decoder_presets import preset
from flan_jax.models.huggingface.decoder_families import llama, table
from flan_jax.models.huggingface.decoders import carry_fields, config_from_fields, fields_from_config, layout

SMALL = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 10,
    "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def test_every_file_has_its_row_and_every_preset_its_family():
    assert list(table.FAMILIES)[: len(table.MODULES)] == list(table.MODULES)
    for kind, module in table.MODULES.items():
        assert {size.family for size in module.PRESETS.values()} == {kind}


def test_a_name_is_given_once():
    with pytest.raises(UserError, match="there is a family 'llama' already"):
        table.add("llama", SimpleNamespace(FAMILY=llama.FAMILY, PRESETS={}))
    with pytest.raises(UserError, match="there is a preset 'llama3_8b' already"):
        table.add("other", SimpleNamespace(FAMILY=llama.FAMILY, PRESETS={"llama3_8b": None}))
    assert "other" not in table.FAMILIES


def test_layers_without_positions():
    fields = {**SMALL, "model_type": "smollm3"}
    assert config_from_fields(fields).rope_pattern == (True, True, True, False)
    assert config_from_fields({**fields, "no_rope_layers": [0, 1, 0, 1]}).rope_pattern == (False, True)
    windows = {"use_sliding_window": True, "sliding_window": 3}
    assert config_from_fields({**fields, **windows}).local_layers == (False, False, False, True)


def test_the_half_of_a_window_that_lies_behind():
    config = config_from_fields({**SMALL, "model_type": "modernbert-decoder", "local_attention": 10})
    assert (config.sliding_window, config.local_layers) == (5, (False, True, True, False))
    assert (config.rope_theta, config.local_rope_theta) == (160_000.0, 10_000.0)
    assert fields_from_config(config)["local_attention"] == 10


def test_layers_with_a_state_come_in_one_cycle():
    fields = {
        **SMALL,
        "model_type": "qwen3_5_text",
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    assert config_from_fields(fields).linear.every == 4
    attention, state = "full_attention", "linear_attention"
    assert config_from_fields({**fields, "layer_types": [state, attention] * 2}).linear.every == 2
    with pytest.raises(UserError, match="layer_types has to repeat one cycle"):
        config_from_fields({**fields, "layer_types": [attention, state] * 2})
    with pytest.raises(UserError, match="num_layers is 5; with linear it must be a multiple of"):
        preset("qwen3_5_0_8b", num_layers=5)
    with pytest.raises(UserError, match=r"prefix_lm is True; with linear it has to be False"):
        preset("qwen3_5_0_8b", prefix_lm=True)


GEMMA4 = {
    **SMALL, "model_type": "gemma4_text", "head_dim": 4, "num_key_value_heads": 2, "vocab_size_per_layer_input": 40,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "global_head_dim": 6,
}  # fmt: skip


def test_sizes_of_layers_without_a_window_as_published_and_as_transformers_writes_them():
    config = config_from_fields(GEMMA4)
    assert (config.mixed.d_head, config.mixed.num_kv_heads, config.mixed.per_layer_width) == (6, 2, 256)
    assert config.local_layers == (True, False, True, False)
    assert config.rope_scaling.share == 0.25
    written = {name: value for name, value in GEMMA4.items() if name != "global_head_dim"}
    assert config_from_fields({**written, "per_layer_config": {"1": {"head_dim": 6}, "3": {"head_dim": 6}}}) == config
    shared = {**GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 3}
    assert config_from_fields(shared).mixed.num_kv_heads == 3
    assert config_from_fields({**shared, "attention_k_eq_v": False}).mixed.num_kv_heads == 2  # transformers' rule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enable_moe_block": True}, r"a Gemma 4 with experts \(26B-A4B\) is not read; the dense ones are"),
        ({"use_bidirectional_attention": "all"}, "both directions is not read as a decoder"),
        ({"layer_types": ["full_attention", "sliding_attention"] * 2}, "layer_types has to repeat one cycle"),
        ({"layer_types": ["full_attention"] * 4}, "layer_types has to repeat one cycle"),
        ({"num_kv_shared_layers": 1}, "have to be whole cycles of .*, which are 2 long"),
        ({"num_kv_shared_layers": 4}, "MixedAttention.shared is 4 of 4 layers"),
        ({"vocab_size_per_layer_input": 41}, "tables of different tokens are not read"),
        ({"per_layer_config": {"0": {"head_dim": 6}}}, "the same of all layers with full_attention and of no others"),
        ({"attention_bias": True}, "attention_bias=True, which has no meaning here"),
    ],
)
def test_a_gemma4_that_is_another(change, message):
    with pytest.raises(UserError, match=message):
        config_from_fields({**GEMMA4, **change})


def test_mixed_layers_need_windows_in_cycles():
    with pytest.raises(UserError, match="sliding_window is None and window_pattern"):
        preset("gemma4_e2b", sliding_window=None, local_rope_theta=None)
    with pytest.raises(UserError, match=r"num_layers is 34; with mixed it must be a multiple of the cycle's 5 layers"):
        preset("gemma4_e2b", num_layers=34)
    with pytest.raises(UserError, match=r"prefix_lm is True; with mixed it has to be False"):
        preset("gemma4_e2b", prefix_lm=True)


def test_a_model_with_other_towers_goes_out_as_one_with_what_they_need():
    text = {name: value for name, value in GEMMA4.items() if name != "eos_token_id"}
    whole = {
        "model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"], "text_config": text,
        "eos_token_id": [1, 7], "vision_config": {"hidden_size": 6}, "image_token_id": 8, "dtype": "bfloat16",
    }  # fmt: skip
    config = config_from_fields(whole)
    assert (config.family, config.eos_id, config.stop_ids) == ("gemma4", 1, (7,))
    fields = fields_from_config(config)
    carry_fields(fields, whole)
    assert (fields["vision_config"], fields["image_token_id"]) == ({"hidden_size": 6}, 8)
    assert "dtype" not in fields
    assert config_from_fields(fields) == config
    of = layout(config)
    table = "model.language_model.embed_tokens.weight"
    assert of.names[table] == "embedding"
    assert of.canonical_name(table) == table
    shared = layout(dataclasses.replace(config, mixed=dataclasses.replace(config.mixed, shared=2)))
    keys = "model.language_model.layers.{}.self_attn.k_proj.weight"
    assert [shared.carried(keys.format(layer)) for layer in range(4)] == [False, False, True, True]
    assert shared.canonical_name(keys.format(3)) is None
    assert of.carried("model.vision_tower.x")
    alone = dataclasses.replace(config, family="gemma4_text")  # the text, by choice
    assert fields_from_config(alone)["model_type"] == "gemma4_text"
    assert not layout(alone).carried("model.vision_tower.x")
    assert layout(alone).canonical_name(table) == "model.embed_tokens.weight"
