"""Configurations and tensors of transformers' decoders: published files, round trips, and every complaint."""

import dataclasses

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models.decoder_presets import PRESETS, preset
from flan_jax.models.huggingface.decoders import FAMILIES, config_from_fields, fields_from_config, layout
from flan_jax.models.huggingface.tensors import params_from_tensors, tensors_from_params
from flan_jax.models.huggingface.window_fields import shortest_pattern
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.testing.models import random_params, tiny_decoder


def decoder_from_huggingface(fields, tensors):
    config = config_from_fields(fields)
    return config, params_from_tensors(config, layout(config), tensors)


def decoder_to_huggingface(config, params):
    return fields_from_config(config), tensors_from_params(layout(config), params)


# What published files say, as transformers 4 wrote them, without what is of no consequence.
LLAMA_3_2_1B = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000,
    "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0.dev0", "use_cache": True, "vocab_size": 128256,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}  # fmt: skip
QWEN_2_5_0_5B = {
    "architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu",
    "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
    "use_mrope": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
GPT2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
    "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True, "vocab_size": 50257,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}  # fmt: skip
MISTRAL = {
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False, "vocab_size": 32000,
}  # fmt: skip
GEMMA_2B = {
    "architectures": ["GemmaForCausalLM"], "bos_token_id": 2, "eos_token_id": 1, "head_dim": 256, "hidden_act": "gelu",
    "hidden_size": 2048, "intermediate_size": 16384, "max_position_embeddings": 8192, "model_type": "gemma",
    "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1, "pad_token_id": 0,
    "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000.0, "vocab_size": 256000,
}  # fmt: skip
GEMMA_2_2B = {
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": 50.0, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0, "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304,
    "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8,
    "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000,
}  # fmt: skip
# With a vision tower; of the language model it says little.
GEMMA_3_4B = {
    "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eos_token_id": [1, 106],
    "model_type": "gemma3", "vision_config": {"hidden_size": 1152}, "mm_tokens_per_image": 256,
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    },
}  # fmt: skip
GEMMA_3_1B = {
    "architectures": ["Gemma3ForCausalLM"], "attn_logit_softcapping": None, "bos_token_id": 2, "eos_token_id": [1, 106],
    "final_logit_softcapping": None, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4,
    "num_hidden_layers": 26, "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip
OLMO2_7B = {
    "architectures": ["Olmo2ForCausalLM"], "attention_bias": False, "eos_token_id": 100257, "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "olmo2",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pad_token_id": 100277,
    "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 500000, "tie_word_embeddings": False, "vocab_size": 100352,
}  # fmt: skip
QWEN3_0_6B = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "bos_token_id": 151643, "eos_token_id": 151645,
    "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
    "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
    "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "use_sliding_window": False,
    "vocab_size": 151936,
}  # fmt: skip
FILES = {
    "llama3_2_1b": LLAMA_3_2_1B,
    "qwen2_5_0_5b": QWEN_2_5_0_5B,
    "gpt2_small": GPT2,
    "mistral_7b_v0_1": MISTRAL,
    "gemma_2b": GEMMA_2B,
    "gemma2_2b": GEMMA_2_2B,
    "gemma3_4b": GEMMA_3_4B,
    "gemma3_1b": GEMMA_3_1B,
    "olmo2_7b": OLMO2_7B,
    "qwen3_0_6b": QWEN3_0_6B,
}
LLAMA = {
    "model_type": "llama", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "intermediate_size": 10, "head_dim": 4,
}  # fmt: skip
GEMMA3 = {**LLAMA, "model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 3}


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("name", FILES)
def test_published_files_are_the_presets(name):
    config = config_from_fields(FILES[name])
    expected = preset(name, dropout_rate=0.1 if "gpt2" in name else 0.0)
    ends = {"qwen3_0_6b": (151645, ()), "gemma3_1b": (1, (106,))}.get(name, (expected.eos_id, ()))
    assert config == dataclasses.replace(expected, eos_id=ends[0], stop_ids=ends[1])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_the_way_out_and_back(name):
    assert config_from_fields(fields_from_config(preset(name))) == preset(name)
    nameless = preset(name, family="")  # the first family of that shape, which may be another
    others = ("llama", "gemma4_text") if name == "gemma4_12b" else ("llama",)
    assert fields_from_config(nameless)["model_type"] in (preset(name).family, *others)


def small(kind, **changes):
    """A small model of a family, as a config.json without its sizes has it."""
    fields = {**LLAMA, "model_type": kind, "eos_token_id": 1}
    if kind == "gpt2":
        fields = {"model_type": kind, "vocab_size": 40, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16}
        fields |= {"eos_token_id": 1, "bos_token_id": 2}
    if kind in ("olmo2", "olmo3", "smollm3", "modernbert-decoder"):
        fields |= {"pad_token_id": 0, "bos_token_id": 2}
    if kind == "qwen3_5_text":
        fields |= {"num_hidden_layers": 4, "head_dim": 8, "linear_num_key_heads": 1, "linear_num_value_heads": 2}
        fields |= {"linear_key_head_dim": 3, "linear_value_head_dim": 5}
    if kind.startswith("gemma4"):
        fields |= {"num_hidden_layers": 4, "global_head_dim": 6, "num_kv_shared_layers": 2, "use_double_wide_mlp": True}
        fields |= {"layer_types": ["sliding_attention", "full_attention"] * 2}
        fields |= {"hidden_size_per_layer_input": 5 if kind == "gemma4_text" else 0, "vocab_size_per_layer_input": 40}
    if kind == "modernbert-decoder":
        fields |= {"hidden_size": 24, "num_hidden_layers": 3}
        del fields["num_key_value_heads"], fields["head_dim"]
    return config_from_fields({**fields, **changes})


@pytest.mark.parametrize("kind", FAMILIES)
def test_parameters_survive_the_way_out_and_back(kind):
    config = small(kind)
    params = random_params(config)
    fields, tensors = decoder_to_huggingface(config, params)
    head = "decoder.weight" if kind == "modernbert-decoder" else "lm_head.weight"
    assert (head in tensors) is not config.tie_embeddings
    assert all(tensor.dtype == np.float32 and tensor.flags.c_contiguous for tensor in tensors.values())
    again, back = decoder_from_huggingface(fields, tensors)
    assert again == config
    if not config.first_norm:  # the first layer has no tensor of it
        params["layers"]["attention"]["norm"]["scale"][0] = 1.0
    assert_equal(back, params)
    half = {name: np.asarray(jax.numpy.asarray(tensor, "bfloat16")) for name, tensor in tensors.items()}
    _, rounded = decoder_from_huggingface(fields, half)
    assert all(type(leaf) is np.ndarray and leaf.dtype == np.float32 for leaf in jax.tree.leaves(rounded))
    assert_equal(rounded, jax.tree.map(lambda x: np.asarray(jax.numpy.asarray(x, "bfloat16"), np.float32), params))


def test_fused_tensors_hold_queries_keys_and_values_side_by_side():
    config = small("gpt2")
    params = random_params(config)
    _, tensors = decoder_to_huggingface(config, params)
    attention = params["layers"]["attention"]
    np.testing.assert_array_equal(tensors["transformer.h.1.attn.c_attn.weight"][:, 12:24], attention["k"][1])
    np.testing.assert_array_equal(tensors["transformer.h.1.attn.c_attn.bias"][24:], attention["v_bias"][1])
    linear = decoder_to_huggingface(small("llama"), random_params(small("llama")))[1]
    assert linear["model.layers.0.self_attn.k_proj.weight"].shape == (8, 12)


def test_tensors_may_be_lazy_and_are_asked_for_once():
    config = small("gemma2")
    fields, tensors = decoder_to_huggingface(config, random_params(config))
    asked = []

    class Lazy(dict):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    decoder_from_huggingface(fields, Lazy(tensors))
    assert sorted(asked) == sorted(tensors)


def test_files_saved_without_the_head_or_with_constants_or_towers():
    for kind, base, constant in (
        ("gpt2", "transformer.", "h.0.attn.bias"),
        ("gemma", "model.", "layers.0.self_attn.rotary_emb.inv_freq"),
    ):
        config = small(kind)
        params = random_params(config)
        fields, tensors = decoder_to_huggingface(config, params)
        bare = {name.removeprefix(base): tensor for name, tensor in tensors.items()} | {constant: np.ones(3)}
        assert_equal(decoder_from_huggingface(fields, bare)[1], params)
    config = small("gemma3_text")
    params = random_params(config)
    fields, tensors = decoder_to_huggingface(config, params)
    whole = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": fields}
    for prefix, tower in (("language_model.", "vision_tower.x"), ("", "model.vision_tower.x")):
        named = {prefix + name: tensor for name, tensor in tensors.items()}
        if not prefix:  # as transformers 5 writes it
            named = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in tensors.items()}
        assert_equal(decoder_from_huggingface(whole, {**named, tower: np.ones(2)})[1], params)


def test_a_tied_output_projection_may_be_written_if_it_is_the_embedding():
    config = small("llama", tie_word_embeddings=True)
    params = random_params(config)
    fields, tensors = decoder_to_huggingface(config, params)
    both = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}
    assert_equal(decoder_from_huggingface(fields, both)[1], params)
    both["lm_head.weight"] = both["lm_head.weight"] + 1
    with pytest.raises(UserError, match=r"'model\.embed_tokens\.weight' and 'lm_head\.weight' differ"):
        decoder_from_huggingface(fields, both)


def test_tensors_that_do_not_fit_are_named():
    config = small("llama")
    fields, tensors = decoder_to_huggingface(config, random_params(config))
    name = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(UserError, match=r"lack 'model\.layers\.1\.mlp\.up_proj\.weight'"):
        decoder_from_huggingface(fields, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(UserError, match=r"lack 'lm_head\.weight'"):
        decoder_from_huggingface(fields, {k: v for k, v in tensors.items() if k != "lm_head.weight"})
    with pytest.raises(
        UserError, match=r"have 'model\.layers\.0\.self_attn\.q_norm\.weight', which this configuration"
    ):
        decoder_from_huggingface(fields, {**tensors, "model.layers.0.self_attn.q_norm.weight": np.ones(4)})
    with pytest.raises(
        UserError, match=r"up_proj\.weight' has shape \[12, 10\], but the configuration gives \[10, 12\]"
    ):
        decoder_from_huggingface(fields, {**tensors, name: tensors[name].T})


def test_positions_of_both_generations():
    plain = config_from_fields(LLAMA)
    assert (plain.rope_theta, plain.rope_scaling) == (10_000.0, None)
    old = {"rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 2}}
    new = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}}
    for fields in (old, new):
        config = config_from_fields({**LLAMA, **fields})
        assert (config.rope_theta, config.rope_scaling) == (50.0, RopeScaling("linear", 2))
    yarn = {"rope_type": "yarn", "factor": 4.0, "beta_fast": None}
    config = config_from_fields({**LLAMA, "max_position_embeddings": 64, "rope_scaling": yarn})
    assert config.rope_scaling == RopeScaling("yarn", 4.0, original_max_positions=64)
    nested = {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 7.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5.0},
        }
    }
    flat = {"rope_theta": 7.0, "rope_local_base_freq": 5.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    for fields in (nested, flat):
        config = config_from_fields({**GEMMA3, **fields})
        assert (config.rope_theta, config.local_rope_theta, config.rope_scaling.factor) == (7.0, 5.0, 8.0)


def test_windows_as_each_family_tells_them():
    def layers(**fields):
        return config_from_fields({**LLAMA, "num_hidden_layers": 4, "eos_token_id": 1, **fields}).local_layers

    no, yes = (False,) * 4, (True,) * 4
    assert layers(model_type="mistral") == yes
    assert layers(model_type="mistral", sliding_window=None) == no
    assert layers(model_type="qwen2", sliding_window=8, max_window_layers=1) == no
    assert layers(model_type="qwen2", use_sliding_window=True, max_window_layers=1) == (False, True, True, True)
    assert layers(model_type="gemma2") == (True, False, True, False)
    types = ["full_attention", "sliding_attention", "full_attention", "full_attention"]
    assert layers(model_type="gemma2", layer_types=types) == (False, True, False, False)
    assert layers(model_type="gemma3_text") == yes
    assert layers(model_type="gemma3_text", sliding_window_pattern=2) == (True, False, True, False)
    assert layers(model_type="gemma3_text", layer_types=["full_attention"] * 4) == no
    written = fields_from_config(config_from_fields({**GEMMA3, "sliding_window_pattern": 3}))
    assert written["sliding_window_pattern"] == 3
    assert written["layer_types"][:3] == ["sliding_attention", "sliding_attention", "full_attention"]


def test_the_shortest_pattern():
    assert shortest_pattern([True] * 5) == (True,)
    assert shortest_pattern([True, True, False, True]) == (True, True, False)
    assert shortest_pattern([False, True, True]) == (False, True, True)


def test_special_tokens():
    ids = {"pad_token_id": -1, "eos_token_id": [7, 8], "bos_token_id": None}
    config = config_from_fields({**LLAMA, **ids})
    assert (config.pad_id, config.eos_id, config.bos_id, config.stop_ids) == (0, 7, None, (8,))
    written = fields_from_config(config)
    # transformers does not train the embedding of the padding token: 0 must not become one by passing through here
    assert (written["pad_token_id"], written["eos_token_id"], written["bos_token_id"]) == (None, [7, 8], None)
    assert fields_from_config(small("gemma"))["pad_token_id"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "qwen2_moe"}, "Unknown model_type 'qwen2_moe'. Did you mean 'qwen2'"),
        ({"model_type": "bloom"}, "Unknown model_type 'bloom'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "'LlamaForSequenceClassification'; 'LlamaForCausalLM' is read"),
        ({"hidden_size": None}, "no 'hidden_size'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config={'bits': 4}, which has no meaning here"),
        ({"sliding_window": 8}, "sliding_window=8, which has no meaning here for a model of type 'llama'"),
        ({"hidden_act": "relu2"}, "Unknown hidden_act in config.json 'relu2'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "Unknown rope_type in config.json 'dynamic'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "'linear' need a 'factor'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "mscale=1.0, which has no meaning here"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5"),
        ({"model_type": "qwen2"}, "no 'eos_token_id'"),
        ({"model_type": "gemma3_text", "attn_logit_softcapping": 3.0}, "attn_logit_softcapping=3.0"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "layer_types names 1 layers of 2"),
        ({"model_type": "gemma2", "layer_types": ["chunked_attention"] * 2}, "Unknown layer type"),
        ({"num_key_value_heads": 5}, "must be a multiple of num_kv_heads"),
    ],
)  # fmt: skip
def test_files_that_are_not_understood(fields, message):
    with pytest.raises(UserError, match=message):
        config_from_fields({**LLAMA, **fields})
    assert config_from_fields({**LLAMA, "use_bidirectional_attention": None, "_name": 1, "unsloth_version": "1"})


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("llama", {"rope_theta": 5.0}, r"rope_theta is 5\.0, but rope_parameters\.rope_theta is 10000\.0"),
        (
            "llama",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            r"rope_parameters is \{.*\}, but rope_scaling is \{",
        ),
        ("gemma3_text", {"rope_theta": 5.0}, r"rope_theta is 5\.0, but rope_parameters\.full_attention\.rope_theta is"),
        ("gemma3_text", {"rope_local_base_freq": 5.0}, r"rope_local_base_freq is 5\.0, but rope_parameters\.sliding_"),
        (
            "gemma3_text",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            r"full_attention is \{.*\}, but rope_scaling",
        ),
    ],
)
def test_a_place_that_was_edited_does_not_lose_to_its_double(family: str, change: dict, message: str):
    fields = fields_from_config(config_from_fields(GEMMA3 if family == "gemma3_text" else LLAMA))
    assert fields["model_type"] == family
    config_from_fields(fields)
    with pytest.raises(UserError, match=message):
        config_from_fields({**fields, **change})


def test_shapes_that_no_family_has():
    with pytest.raises(
        UserError, match=r"no 'mistral' of transformers: qk_norm is 'head', there ''.* Set family='qwen3'"
    ):
        fields_from_config(tiny_decoder(family="mistral", qk_norm="head"))
    with pytest.raises(UserError, match=r"no 'llama' of transformers: attention_softcap.* No other family"):
        fields_from_config(tiny_decoder(family="llama", attention_softcap=3.0))
    with pytest.raises(UserError, match=r"the nearest is 'qwen3', but logit_softcap is 3\.0"):
        fields_from_config(tiny_decoder(logit_softcap=3.0, qk_norm="head"))
    with pytest.raises(UserError, match="Set prefix_lm=False"):
        fields_from_config(tiny_decoder(prefix_lm=True))
    with pytest.raises(UserError, match="Did you mean 'llama'"):
        fields_from_config(tiny_decoder(family="lama"))
    with pytest.raises(
        UserError, match=r"no 'gpt2' of transformers: it has no such value.*'gated-silu'.* Set family='llama'"
    ):
        fields_from_config(tiny_decoder(family="gpt2", d_model=24))
    assert fields_from_config(tiny_decoder(family="llama"))["model_type"] == "mistral"  # 20 wide, of 6 heads
    assert fields_from_config(tiny_decoder(family="llama", d_model=24))["model_type"] == "llama"
    assert fields_from_config(tiny_decoder(sliding_window=4))["model_type"] == "mistral"
    assert fields_from_config(tiny_decoder(attention_bias=True))["model_type"] == "qwen2"
