"""A decoder's configuration: published sizes, parameters, axes, and every complaint."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder_presets import PRESETS, preset
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5

# As transformers counts them, a tied embedding once; of Gemma 3 the language model without its vision tower.
PUBLISHED = {
    "gpt2_small": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "llama3_8b": 8_030_261_248,
    "llama3_70b": 70_553_706_496,
    "llama3_1_8b": 8_030_261_248,
    "llama3_1_70b": 70_553_706_496,
    "llama3_1_405b": 405_853_388_800,
    "llama3_2_1b": 1_235_814_400,
    "smollm2_135m": 134_515_008,
    "llama3_2_3b": 3_212_749_824,
    "mistral_7b_v0_1": 7_241_732_096,
    "mistral_7b_v0_2": 7_241_732_096,
    "mistral_7b_v0_3": 7_248_023_552,
    "qwen2_0_5b": 494_032_768,
    "qwen2_1_5b": 1_543_714_304,
    "qwen2_7b": 7_615_616_512,
    "qwen2_72b": 72_706_203_648,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1_543_714_304,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_14b": 14_770_033_664,
    "qwen2_5_32b": 32_763_876_352,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "qwen3_14b": 14_768_307_200,
    "qwen3_32b": 32_762_123_264,
    "gemma_2b": 2_506_172_416,
    "gemma_7b": 8_537_680_896,
    "gemma2_2b": 2_614_341_888,
    "gemma2_9b": 9_241_705_984,
    "gemma2_27b": 27_227_128_320,
    "gemma3_1b": 999_885_952,
    "gemma3_4b": 3_880_263_168,
    "gemma3_12b": 11_766_034_176,
    "gemma3_27b": 27_009_346_304,
    "olmo2_1b": 1_484_916_736,
    "olmo2_7b": 7_298_617_344,
    "olmo2_13b": 13_716_198_400,
    "olmo2_32b": 32_234_279_936,
    "olmo3_7b": 7_298_011_136,
    "olmo3_32b": 32_233_522_176,
    "smollm3_3b": 3_075_098_624,
    # With the norm that the first layer has no tensor of: d_model more than the files.
    "ettin_17m": 16_913_856,
    "ettin_32m": 32_081_728,
    "ettin_68m": 68_458_176,
    "ettin_150m": 149_656_000,
    "ettin_400m": 395_882_688,
    "ettin_1b": 1_031_315_904,
    "qwen3_5_0_8b": 752_393_024,
    "qwen3_5_2b": 1_881_825_088,
    "qwen3_5_4b": 4_205_751_296,
    "qwen3_5_9b": 8_953_803_264,
    "qwen3_5_27b": 26_895_998_464,
    # With a number a layer that transformers counts as no parameter.
    "gemma4_e2b": 4_628_569_379,
    "gemma4_e4b": 7_463_013_418,
    "gemma4_12b": 11_907_350_320,
    "gemma4_31b": 30_697_345_340,
}
EVERYTHING = tiny_decoder(
    norm="layer", norm_placement="both", attention_bias=True, output_bias=True, mlp_bias=True, qk_norm="head"
)
CONFIGS = [
    tiny_decoder(),
    EVERYTHING,
    tiny_decoder(norm_placement="post", qk_norm="full", position="learned", tie_embeddings=True),
    tiny_decoder(mlp_activation="gelu_tanh", mlp_bias=True),
]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_published_number_of_parameters(name):
    assert build.num_params(preset(name)) == PUBLISHED[name]


def test_a_preset_may_be_changed_and_an_unknown_one_suggests_its_neighbours():
    assert preset("llama3_2_1b", dtype="bfloat16", remat="full").dtype == "bfloat16"
    with pytest.raises(UserError, match="llama3_2_1b"):
        preset("llama32_1b")


@pytest.mark.parametrize("config", CONFIGS)
def test_every_axis_of_every_parameter_has_a_name_of_one_size(config):
    shapes, axes = build.abstract_params(config), build.logical_axes(config)
    leaves = jax.tree.leaves_with_path(shapes)
    named = jax.tree.leaves_with_path(axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert [path for path, _ in leaves] == [path for path, _ in named]
    sizes = {
        "vocab": {config.vocab_size},
        "embed": {config.d_model},
        "mlp": {config.d_ff},
        "heads": {config.d_heads, config.d_kv_heads},
        "layers": {config.num_layers},
        "buckets": {config.max_positions},
        None: {config.d_head},
    }
    for (path, leaf), (_, names) in zip(leaves, named, strict=True):
        assert len(names) == leaf.ndim
        assert all(size in sizes[name] for size, name in zip(leaf.shape, names, strict=True)), path


def test_params_are_plain_nested_dicts_of_float32_with_the_documented_names():
    config = dataclasses.replace(EVERYTHING, d_model=16, vocab_size=64)
    graph, params = build.init_model(config, jax.random.key(0))
    abstract_graph, shapes = build.abstract_model(config)
    assert graph == abstract_graph
    assert hash(graph) == hash(abstract_graph)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    attention, mlp = params["layers"]["attention"], params["layers"]["mlp"]
    assert sorted(attention) == sorted(
        ["norm", "post_norm", "q", "k", "v", "o", "q_bias", "k_bias", "v_bias", "o_bias", "q_norm", "k_norm"]
    )
    assert sorted(mlp) == sorted(["norm", "post_norm", "wi_0", "wi_1", "wo", "wi_0_bias", "wi_1_bias", "wo_bias"])
    assert attention["q"].shape == (3, 16, 24)
    assert attention["k"].shape == (3, 16, 8)
    assert attention["o"].shape == (3, 24, 16)
    assert sorted(params) == ["embedding", "layers", "lm_head", "norm"]


def test_initial_values_give_logits_of_size_one_and_a_quiet_residual_stream():
    config = tiny_decoder(vocab_size=128, d_model=64, d_head=16, d_ff=96, num_layers=4)
    graph, params = build.init_model(config, jax.random.key(0))
    spread = {"q": 64**-0.5, "k": 64**-0.5, "v": 64**-0.5, "o": (8 * 96) ** -0.5}
    for name, std in spread.items():
        assert np.std(params["layers"]["attention"][name]) == pytest.approx(std, rel=0.05)
    assert np.std(params["layers"]["mlp"]["wo"]) == pytest.approx((8 * 96) ** -0.5, rel=0.05)
    assert (params["layers"]["mlp"]["norm"]["scale"] == 1).all()
    tokens = np.random.default_rng(0).integers(0, 128, (4, 16))
    logits = jax.jit(build.apply, static_argnums=0)(graph, params, {"decoder_input_tokens": tokens})
    assert 0.5 < np.std(logits) < 2
    offset = build.init_model(dataclasses.replace(config, norm_offset=True), jax.random.key(0))[1]
    assert (offset["norm"]["scale"] == 0).all()
    queries = np.asarray(params["layers"]["attention"]["q"])
    assert not np.array_equal(queries[0], queries[1])


def test_the_forward_pass_of_a_large_size_is_traced_without_memory():
    graph, shapes = build.abstract_model(preset("gemma3_27b"))
    batch = {"decoder_input_tokens": np.ones((2, 64), np.int32)}
    assert jax.eval_shape(lambda params: build.apply(graph, params, batch), shapes).shape == (2, 64, 262208)


def test_which_layers_have_the_window():
    assert tiny_decoder().local_layers == (False,) * 3
    assert tiny_decoder(sliding_window=4).local_layers == (True,) * 3
    # gin gives a list
    assert tiny_decoder(sliding_window=4, window_pattern=[True, False]).local_layers == (True, False, True)
    assert hash(tiny_decoder(window_pattern=[True, False])) == hash(tiny_decoder(window_pattern=(True, False)))


@pytest.mark.parametrize("mlp_activation", ["gated-gelu", "gelu", "silu", "relu"])
def test_the_other_activations_run(mlp_activation):
    config = tiny_decoder(mlp_activation=mlp_activation, num_layers=1)
    tokens = {"decoder_input_tokens": np.arange(6)[None]}
    assert np.isfinite(build.apply(build.abstract_model(config)[0], random_params(config), tokens)).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 0}, "d_model is 0"),
        ({"num_layers": True}, "num_layers is True"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"num_kv_heads": 4}, r"num_heads is 6; it must be a multiple of num_kv_heads \(4\)"),
        ({"d_head": 5}, "d_head is 5; rotary positions turn pairs"),
        ({"mlp_activation": "gated-slu"}, "Did you mean 'gated-silu'"),
        ({"norm": "rsm"}, "Unknown norm 'rsm'"),
        ({"norm_placement": "before"}, "Unknown norm_placement 'before'"),
        ({"qk_norm": "heads"}, "Did you mean 'head'"),
        ({"position": "rotery"}, "Did you mean 'rotary'"),
        ({"dtype": "float16"}, "Did you mean 'bfloat16'"),
        ({"position": "learned", "rope_scaling": RopeScaling("linear", 2.0)}, "rope_scaling needs position='rotary'"),
        ({"window_pattern": ()}, "give True or False for each layer"),
        ({"window_pattern": (1, 0)}, "must be a tuple of True or False"),
        ({"local_rope_theta": 100.0}, "local_rope_theta needs a sliding_window"),
        ({"attention_softcap": 0.0}, "attention_softcap is 0.0"),
        ({"norm_epsilon": 0.0}, "norm_epsilon is 0.0"),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0"),
        ({"bos_id": 61}, "bos_id is 61, outside of the vocabulary of 61"),
    ],
)
def test_wrong_values_are_named_with_their_limit(fields, message):
    with pytest.raises(UserError, match=message):
        tiny_decoder(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "llama"}, "Did you mean 'llama3'"),
        ({"factor": 0.0}, "factor is 0.0"),
        ({"original_max_positions": 0}, "original_max_positions is 0"),
        ({"high_frequency_factor": 1.0}, r"must exceed low_frequency_factor \(1.0\)"),
    ],
)
def test_wrong_scalings_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        RopeScaling(**{"kind": "llama3", "factor": 8.0, **fields})


def test_the_defaults_are_valid_with_sizes_alone():
    config = DecoderConfig(10, 8, 1, 2, 1, 4, 16)
    assert (config.d_heads, config.d_kv_heads, config.gated) == (8, 4, True)


@pytest.mark.parametrize("make", [tiny_decoder, tiny_t5])
def test_tokens_that_end_a_text_are_ids_of_the_vocabulary(make):
    assert make(stop_ids=[5, 7, 5]).stop_ids == (5, 7)
    for wrong in (3, "ab", (61,), (-1,), (True,)):
        with pytest.raises(UserError, match="stop_ids is"):
            make(stop_ids=wrong)
