"""Weights and configurations of transformers: round trips, both meanings of tied, and every complaint."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.flax import save_file as save_flax
from safetensors.numpy import load_file, save_file

from flan_jax.data.sources.hub_models import model_folder
from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.huggingface import reader, writer
from flan_jax.models.huggingface.t5 import config_from_fields, fields_from_config, layout
from flan_jax.models.huggingface.tensors import params_from_tensors, tensors_from_params
from flan_jax.models.t5.presets import preset
from flan_jax.testing.models import random_params, tiny_t5


def params_from_hf(config, tensors):
    return params_from_tensors(config, layout(config), tensors)


def params_to_hf(config, params):
    return tensors_from_params(layout(config), params)


GOLDEN = Path(__file__).parents[2] / "golden" / "t5_logits"
GATED = tiny_t5(d_model=12, num_encoder_layers=1, num_decoder_layers=2)
PLAIN = tiny_t5(d_model=12, num_encoder_layers=2, num_decoder_layers=1, tie_embeddings=True, mlp_activation="relu")
# The config.json of T5 1.1 small as it was published, without what is of no consequence.
V1_1_SMALL = {
    "model_type": "t5", "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8,
    "num_decoder_layers": 8, "num_heads": 6, "relative_attention_num_buckets": 32, "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-06, "initializer_factor": 1.0, "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": True, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
    "tie_word_embeddings": False,
}  # fmt: skip


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def tensors():
    return params_to_hf(GATED, random_params(GATED))


@pytest.mark.parametrize("config", [GATED, PLAIN])
def test_params_survive_the_way_out_and_back(config, tmp_path):
    params = random_params(config)
    assert_equal(params_from_hf(config, params_to_hf(config, params)), params)
    writer.save(tmp_path / "new" / "folder", config, params)
    loaded_config, loaded = reader.load(tmp_path / "new" / "folder")
    assert loaded_config == config
    assert_equal(loaded, params)
    with safe_open(tmp_path / "new" / "folder" / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("name", ["gated_untied", "plain_tied"])
def test_the_names_and_layouts_are_those_of_transformers(name):
    with safe_open(GOLDEN / f"{name}.safetensors", framework="numpy") as file:
        config = config_from_fields(json.loads(file.metadata()["config"]))
    stored = load_file(GOLDEN / f"{name}.safetensors")
    weights = {k.removeprefix("weights/"): v for k, v in stored.items() if k.startswith("weights/")}
    written = params_to_hf(config, params_from_hf(config, weights))
    assert sorted(written) == sorted(weights)
    assert_equal(written, weights)


def test_weights_in_several_files_and_in_bfloat16(tmp_path, tensors):
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_flax({name: jax.numpy.asarray(tensors[name], "bfloat16") for name in part}, tmp_path / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / "config.json").write_text(json.dumps(fields_from_config(GATED)))
    config, params = reader.load(tmp_path, dtype="bfloat16")
    assert config.dtype == "bfloat16"
    rounded = jax.tree.map(lambda x: np.asarray(jax.numpy.asarray(x, "bfloat16"), np.float32), random_params(GATED))
    assert all(type(leaf) is np.ndarray and leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    assert_equal(params, rounded)


def test_configurations_of_both_generations():
    config = config_from_fields(V1_1_SMALL)
    assert build.num_params(config) == 76_961_152
    assert config == config_from_fields(fields_from_config(config))
    assert {**vars(config), "dropout_rate": 0.0} == vars(preset("t5_1_1_small"))
    # transformers 5 writes tie_word_embeddings=true whatever the model, and the difference elsewhere
    assert config_from_fields({**V1_1_SMALL, "tie_word_embeddings": True, "scale_decoder_outputs": False}) == config
    silent = {k: v for k, v in V1_1_SMALL.items() if k not in {"tie_word_embeddings", "feed_forward_proj"}}
    assert config_from_fields(silent).tie_embeddings
    assert config_from_fields(silent).mlp_activation == "relu"
    assert not config_from_fields({**silent, "model_type": "mt5", "tie_word_embeddings": True}).tie_embeddings
    assert config_from_fields({**silent, "model_type": "mt5"}).mlp_activation == "gated-gelu_tanh"
    assert config_from_fields({**V1_1_SMALL, "num_decoder_layers": None, "num_layers": 3}).num_decoder_layers == 3
    assert config_from_fields({**V1_1_SMALL, "eos_token_id": [1, 5]}).eos_id == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bart"}, "Unknown model_type 'bart'.*mt5, t5"),
        ({"d_ff": None}, "no 'd_ff'"),
        ({"feed_forward_proj": "gated-relu"}, "'gated-relu' is not supported"),
        ({"num_heads": 0}, "num_heads is 0"),
    ],
)
def test_configurations_that_are_not_a_t5(change, message):
    with pytest.raises(UserError, match=message):
        config_from_fields({**V1_1_SMALL, **change})


def test_a_missing_tensor_is_named(tensors):
    del tensors["decoder.block.1.layer.1.EncDecAttention.k.weight"]
    with pytest.raises(UserError, match=r"lack 'decoder\.block\.1\.layer\.1\.EncDecAttention\.k\.weight'"):
        params_from_hf(GATED, tensors)
    with pytest.raises(UserError, match=r"lack 'shared\.weight'.* and \d+ more"):
        params_from_hf(GATED, {})


def test_a_tensor_without_a_place_is_named(tensors):
    with pytest.raises(UserError, match=r"have 'encoder\.block\.9\.x', which this configuration has no place for"):
        params_from_hf(GATED, {**tensors, "encoder.block.9.x": np.zeros(2, np.float32)})


def test_a_wrong_shape_names_both(tensors):
    tensors["encoder.block.0.layer.1.DenseReluDense.wo.weight"] = np.zeros((12, 29), np.float32)
    with pytest.raises(UserError, match=r"wo\.weight' has shape \[12, 29\], but the configuration gives \[12, 28\]"):
        params_from_hf(GATED, tensors)
    with pytest.raises(UserError, match=r"'shared\.weight' has shape \[61, 12\].* gives \[64, 12\]"):
        params_from_hf(tiny_t5(d_model=12, num_encoder_layers=1, num_decoder_layers=2, vocab_size=64), tensors)


def test_a_square_kernel_is_turned_too():
    config = tiny_t5(d_model=15, num_encoder_layers=1, num_decoder_layers=1)
    params = random_params(config)
    query = params_to_hf(config, params)["encoder.block.0.layer.0.SelfAttention.q.weight"]
    np.testing.assert_array_equal(query, params["encoder"]["layers"]["attention"]["q"][0].T)


@pytest.mark.parametrize("config", [GATED, PLAIN])
def test_the_embedding_may_have_any_of_its_names(config):
    params = random_params(config)
    tensors = params_to_hf(config, params)
    aliases = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    everywhere = {**tensors, **dict.fromkeys(aliases, tensors["shared.weight"])}
    everywhere["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.ones((8, 3), np.float32)
    assert_equal(params_from_hf(config, everywhere), params)
    del everywhere["shared.weight"]
    assert_equal(params_from_hf(config, everywhere), params)
    everywhere["decoder.embed_tokens.weight"] = tensors["shared.weight"] + 1
    with pytest.raises(UserError, match="differ, but the configuration has one embedding"):
        params_from_hf(config, everywhere)


def test_an_output_projection_must_agree_with_tied_embeddings():
    params = random_params(PLAIN)
    tensors = params_to_hf(PLAIN, params)
    assert "lm_head.weight" not in tensors
    assert_equal(params_from_hf(PLAIN, {**tensors, "lm_head.weight": tensors["shared.weight"]}), params)
    with pytest.raises(UserError, match=r"'lm_head\.weight' differ"):
        params_from_hf(PLAIN, {**tensors, "lm_head.weight": tensors["shared.weight"] * 2})


def test_without_an_output_projection_the_embedding_is_it(tensors):
    del tensors["lm_head.weight"]
    params = params_from_hf(GATED, tensors)
    np.testing.assert_array_equal(params["lm_head"], params["embedding"].T)


def test_folders_that_cannot_be_read(tmp_path, tensors):
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        reader.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not a JSON file"):
        reader.load(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="holds a list"):
        reader.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(fields_from_config(GATED)))
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"has model\.gguf and no model\.safetensors: name that file itself"):
        reader.open_tensors(tmp_path)
    with pytest.raises(UserError, match=r"model\.gguf' is a GGUF file.*gguf_file='model\.gguf'"):
        model_folder(tmp_path / "model.gguf")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights can run code"):
        reader.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="pointer of Git LFS"):
        reader.load(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    reader.load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, "gone.safetensors")})
    )
    with pytest.raises(UserError, match=r"'gone.safetensors' for \d+ tensors, but it is missing"):
        reader.load(tmp_path)
