"""Parameters: structure, sizes, axes, initial values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.presets import PRESETS, preset
from flan_jax.testing.models import random_batch, random_params, tiny_t5

CONFIGS = [tiny_t5(), tiny_t5(tie_embeddings=True, mlp_activation="relu")]
# Initialisers of odd shapes take XLA ten times as long to compile.
EVEN = tiny_t5(vocab_size=64, d_kv=8, num_heads=4, d_ff=32, num_encoder_layers=2, num_decoder_layers=1)
# As transformers counts them, with an untied output projection in all but T5 1.0.
V1_1 = {
    "small": 76_961_152,
    "base": 247_577_856,
    "large": 783_150_080,
    "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}
PUBLISHED = {
    **{f"{name}_{size}": count for name in ("t5_1_1", "t5_1_1_lm100k", "flan_t5") for size, count in V1_1.items()},
    "mt5_small": 300_176_768,
    "mt5_base": 582_401_280,
    "mt5_large": 1_229_581_312,
    "mt5_xl": 3_742_619_648,
    "mt5_xxl": 12_921_057_280,
    "byt5_small": 299_637_760,
    "byt5_base": 581_653_248,
    "byt5_large": 1_228_183_552,
    "byt5_xl": 3_737_801_728,
    "byt5_xxl": 12_906_899_328,
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_3b": 2_851_598_336,
    "t5_11b": 11_307_321_344,
}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_have_the_published_number_of_parameters(name):
    assert build.num_params(preset(name)) == PUBLISHED[name]


def test_params_are_plain_nested_dicts_of_float32():
    graphdef, params = build.init_model(EVEN, jax.random.key(0))
    abstract_graph, shapes = build.abstract_model(EVEN)
    assert graphdef == abstract_graph
    assert hash(graphdef) == hash(abstract_graph)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)

    def check(tree):
        assert type(tree) is dict or isinstance(tree, jax.Array)
        for value in tree.values() if isinstance(tree, dict) else ():
            check(value)

    check(params)
    jax.tree.map(lambda a, s: (a.shape, a.dtype) == (s.shape, jnp.float32) or pytest.fail(str(s)), params, shapes)
    assert params["encoder"]["layers"]["attention"]["q"].shape == (2, 16, 32)
    assert params["decoder"]["layers"]["mlp"]["wo"].shape == (1, 32, 16)
    assert build.num_params(EVEN) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_graph_depends_on_the_configuration():
    graphs = {build.abstract_model(config)[0] for config in (*CONFIGS, tiny_t5(), tiny_t5(dropout_rate=0.1))}
    assert len(graphs) == 3


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
        "heads": {config.num_heads, config.d_heads},
        "buckets": {config.relative_attention_num_buckets},
        "layers": {config.num_encoder_layers, config.num_decoder_layers},
    }
    for (_, leaf), (_, names) in zip(leaves, named, strict=True):
        assert len(names) == leaf.ndim
        assert len(set(names)) == len(names)
        assert all(size in sizes[name] for size, name in zip(leaf.shape, names, strict=True))


def test_initial_values_have_t5s_spread():
    config = T5Config(
        vocab_size=500,
        d_model=64,
        d_kv=16,
        num_heads=8,
        d_ff=96,
        num_encoder_layers=4,
        num_decoder_layers=4,
        initializer_factor=0.5,
    )
    _, params = build.init_model(config, jax.random.key(0))
    width, heads = 64, 8 * 16
    attention = {"q": (width * 16) ** -0.5, "k": width**-0.5, "v": width**-0.5, "o": heads**-0.5}
    mlp = {"wi_0": width**-0.5, "wi_1": width**-0.5, "wo": 96**-0.5}
    for name, std in attention.items():
        assert np.std(params["encoder"]["layers"]["attention"][name]) == pytest.approx(0.5 * std, rel=0.03)
        assert np.std(params["decoder"]["layers"]["cross_attention"][name]) == pytest.approx(0.5 * std, rel=0.03)
    for name, std in mlp.items():
        assert np.std(params["decoder"]["layers"]["mlp"][name]) == pytest.approx(0.5 * std, rel=0.03)
    assert np.std(params["embedding"]) == pytest.approx(0.5, rel=0.03)
    assert np.std(params["lm_head"]) == pytest.approx(0.5 * width**-0.5, rel=0.03)
    assert np.std(params["encoder"]["bias"]["table"]) == pytest.approx(0.5 * width**-0.5, rel=0.2)
    assert (params["decoder"]["norm"]["scale"] == 0.5).all()


def test_every_parameter_is_drawn_on_its_own_and_by_the_key():
    (_, one), (_, same), (_, other) = (build.init_model(EVEN, jax.random.key(k)) for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    kernels = [
        layer.ravel()[:20].tobytes()
        for path, leaf in jax.tree.leaves_with_path(one)
        if "scale" not in str(path)
        for layer in (np.asarray(leaf) if leaf.ndim == 3 else np.asarray(leaf)[None])
    ]
    assert len(set(kernels)) == len(kernels)
    assert not np.array_equal(one["embedding"], other["embedding"])
    wq = one["encoder"]["layers"]["attention"]["q"]
    assert not np.array_equal(wq[0], wq[1])


def test_forward_of_the_largest_published_sizes_is_traced_without_memory():
    big, shapes = build.abstract_model(preset("t5_1_1_xl"))
    batch = random_batch(tiny_t5(), inputs=512, targets=128)
    assert jax.eval_shape(lambda p: build.apply(big, p, batch), shapes).shape == (2, 128, 32128)


@pytest.mark.parametrize("mlp_activation", ["gated-silu", "gated-gelu", "gelu", "gelu_tanh", "silu"])
def test_the_other_activations_run(mlp_activation):
    config = tiny_t5(mlp_activation=mlp_activation, num_encoder_layers=1, num_decoder_layers=1)
    graphdef, batch = build.abstract_model(config)[0], random_batch(config)
    assert np.isfinite(jax.jit(lambda params: build.apply(graphdef, params, batch))(random_params(config))).all()


def test_initialisation_nests_in_a_jit_and_takes_raw_keys():
    exact = build.init_model(EVEN, jax.random.key(0))[1]
    nested = jax.jit(lambda key: build.init_model(EVEN, key)[1]).lower(jax.random.PRNGKey(0))
    assert jax.tree.structure(nested.out_info) == jax.tree.structure(exact)
    half = build.abstract_params(dataclasses.replace(EVEN, dtype="bfloat16"))
    assert half == build.abstract_params(EVEN)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("d_model", 0, "d_model is 0"),
        ("num_heads", -2, "num_heads is -2"),
        ("num_encoder_layers", True, "num_encoder_layers is True"),
        ("mlp_activation", "gated-gleu", "Did you mean 'gated-gelu'"),
        ("dtype", "float16", "float16.*Did you mean 'bfloat16'"),
        ("relative_attention_num_buckets", 7, "even number"),
        ("relative_attention_max_distance", 4, "must exceed half the number of buckets"),
        ("dropout_rate", 1.0, "dropout_rate is 1.0"),
        ("layer_norm_epsilon", 0.0, "layer_norm_epsilon"),
        ("pad_id", 61, "outside of the vocabulary of 61"),
    ],
)
def test_wrong_values_are_named_with_their_limit(field, value, message):
    with pytest.raises(UserError, match=message):
        tiny_t5(**{field: value})


def test_an_unknown_preset_suggests_its_neighbours():
    with pytest.raises(UserError, match="t5_1_1_small"):
        preset("t5_1_1_smal")


def test_the_shapes_are_the_callers_own():
    shapes = build.abstract_params(EVEN)
    shapes["encoder"]["layers"].clear()
    assert build.abstract_params(EVEN)["encoder"]["layers"]
