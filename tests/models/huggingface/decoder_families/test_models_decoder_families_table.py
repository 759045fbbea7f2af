"""The rows: each family's file, what a user's own adds, and the fields that only one family has."""

from types import SimpleNamespace

import pytest

from flan_jax.errors import UserError
from flan_jax.models.decoder_presets import preset
from flan_jax.models.huggingface.decoder_families import llama, table
from flan_jax.models.huggingface.decoders import config_from_fields, fields_from_config

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
