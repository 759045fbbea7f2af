import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.models.build import abstract_model, abstract_params, apply, logical_axes
from flan_jax.models.ops.linear import LowRank
from flan_jax.models.ops.quantized import whole_shape
from flan_jax.models.peft.adapters import (
    attach,
    attach_axes,
    counts,
    join,
    merged_params,
    split,
)
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params, dequantized, storage_formats, stored_axes, whole_shapes
from flan_jax.testing.models import random_batch, random_params, tiny_decoder, tiny_t5, tiny_t5gemma

T5 = tiny_t5()
DECODER = tiny_decoder()
CONFIGS = {"t5": T5, "decoder": DECODER}
EVERYTHING = (".*",)


def tuned(config, tuning, seed=0, *, settled=True):
    """A whole tree; settled: with adapters that add something, as after training."""
    whole = attach(random_params(config), logical_axes(config), tuning, jax.random.key(seed))
    if not settled:
        return whole
    rng = np.random.default_rng(seed)

    def fill(leaf):
        if not isinstance(leaf, LowRank):
            return leaf
        return LowRank(leaf.kernel, leaf.a, jnp.asarray(rng.normal(size=leaf.b.shape), jnp.float32), leaf.scale)

    return jax.tree.map(fill, whole, is_leaf=lambda leaf: isinstance(leaf, LowRank))


def batch_of(config):
    batch = random_batch(T5)
    if config is DECODER:
        return {name: value for name, value in batch.items() if name.startswith("decoder")}
    return batch


def same_tree(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("kind", CONFIGS)
@settings(max_examples=12)
@given(
    rank=st.integers(0, 3),
    patterns=st.sampled_from([("q", "v"), ("wo",), ("q|k|v|o",), EVERYTHING]),
    prompt=st.integers(0, 2),
    train=st.sampled_from([(), ("scale",), ("norm/scale|.*/norm/scale", "embedding")]),
    freeze=st.sampled_from([(), ("embedding",), (".*layers/.*",)]),
)
def test_what_is_split_joins_again(kind, rank, patterns, prompt, train, freeze):
    config = CONFIGS[kind]
    adapters = {"lora_rank": rank, "lora_patterns": patterns} if rank else {}
    tuning = TuningConfig(**adapters, prompt_tokens=prompt, train=train, freeze=freeze)
    whole = tuned(config, tuning)
    trained, frozen = split(whole, tuning)
    same_tree(join(trained, frozen, tuning), whole)
    axes = split(attach_axes(logical_axes(config), tuning), tuning)
    for tree, names in ((trained, axes[0]), (frozen, axes[1])):
        flat, flat_names = (traverse_util.flatten_dict(part) for part in (tree, names))
        assert {path: leaf.ndim for path, leaf in flat.items()} == {
            path: len(axis) for path, axis in flat_names.items()
        }
    total = sum(leaf.size for leaf in jax.tree.leaves(whole))
    assert counts(trained, frozen).total == total


@pytest.mark.parametrize("kind", CONFIGS)
def test_fresh_adapters_change_nothing_and_merged_ones_compute_the_same(kind):
    config = CONFIGS[kind]
    graphdef, _ = abstract_model(config)
    batch, tuning = batch_of(config), TuningConfig(lora_rank=3, lora_alpha=1, lora_patterns=EVERYTHING)
    run = jax.jit(lambda params: apply(graphdef, params, batch))
    plain = run(random_params(config))
    np.testing.assert_allclose(run(tuned(config, tuning, settled=False)), plain, atol=1e-6)
    whole = tuned(config, tuning)
    logits = run(whole)
    assert np.abs(logits - plain).max() > 0.1
    merged = merged_params(whole)
    assert jax.tree.structure(merged) == jax.tree.structure(random_params(config))
    np.testing.assert_allclose(run(merged), logits, atol=1e-5)


def test_every_layer_computes_with_its_addition():
    graphdef, _ = abstract_model(T5)
    tuning = TuningConfig(lora_rank=2, lora_patterns=EVERYTHING)
    trained, frozen = split(tuned(T5, tuning), tuning)

    @jax.jit
    @jax.grad
    def gradient(tree):
        return jnp.sum(apply(graphdef, join(tree, frozen, tuning), batch_of(T5)) ** 2)

    grads = gradient(trained)
    flat = traverse_util.flatten_dict(grads)
    assert len(flat) == 2 * (7 + 11)  # four kernels an attention, three a gated feed-forward
    for path, grad in flat.items():
        assert all(np.abs(layer).max() > 0 for layer in grad), path


def test_scales():
    assert TuningConfig(lora_rank=4, lora_alpha=8).scale == 2.0
    assert TuningConfig(lora_rank=4, lora_alpha=8, lora_scaling="alpha/sqrt(r)").scale == 4.0
    kernel = tuned(T5, TuningConfig(lora_rank=4, lora_alpha=8))["encoder"]["layers"]["attention"]["q"]
    np.testing.assert_allclose(kernel.whole(), kernel.kernel + 2.0 * np.matmul(kernel.a, kernel.b), atol=1e-6)


def test_fresh_values_follow_seed_and_path_alone():
    def values(seed=0, **choice):
        return split(tuned(T5, TuningConfig(lora_rank=2, **choice), seed, settled=False), TuningConfig())[0]

    few, many = values(lora_patterns=("q",)), values(lora_patterns=EVERYTHING)
    q = few["encoder"]["layers"]["attention"]["q"]
    same_tree(q, many["encoder"]["layers"]["attention"]["q"])
    others = [
        values(seed=1, lora_patterns=("q",))["encoder"]["layers"]["attention"]["q"]["lora_a"],
        few["decoder"]["layers"]["attention"]["q"]["lora_a"][:2],
        many["encoder"]["layers"]["attention"]["k"]["lora_a"],
        q["lora_a"][::-1],
    ]
    assert all(not np.array_equal(q["lora_a"], other) for other in others)
    assert 0.9 * 16**-0.5 < np.abs(q["lora_a"]).max() < 16**-0.5
    assert not q["lora_b"].any()


def test_a_prompt_begins_as_embeddings():
    whole = tuned(T5, TuningConfig(prompt_tokens=5))
    table = {row.tobytes() for row in np.asarray(whole["embedding"])}
    assert whole["prompt"].shape == (5, T5.d_model)
    assert all(row.tobytes() in table for row in np.asarray(whole["prompt"]))


def test_what_is_named_is_trained():
    def names(**choice):
        tuning = TuningConfig(**choice)
        whole = jax.eval_shape(lambda p: attach(p, logical_axes(T5), tuning, jax.random.key(0)), abstract_params(T5))
        trained = split(whole, tuning)[0]
        return {"/".join(path) for path in traverse_util.flatten_dict(trained)}

    layer = "encoder/layers/attention/"
    assert names(train=("embedding",)) == {"embedding"}
    assert names(train=("encoder/layers/attention/.",)) == {layer + x for x in "qkvo"}
    assert names(train=("encoder/layers/attention/.",), freeze=("q|k|v",)) == {layer + "o"}
    assert names(freeze=("(encoder|decoder)/.*",)) == {"embedding", "lm_head"}
    assert names(lora_rank=2, lora_patterns=("encoder/.*/q",), train=("lm_head",)) == {
        layer + "q/lora_a", layer + "q/lora_b", "lm_head"
    }  # fmt: skip
    assert names(prompt_tokens=2) == {"prompt"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_rank": -1}, "lora_rank is -1; it must be a whole number"),
        ({"lora_rank": True}, "lora_rank is True"),
        ({"prompt_tokens": 1.5}, "prompt_tokens is 1.5"),
        ({"lora_alpha": 0}, "lora_alpha is 0; it must be a finite number above 0"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        (
            {"lora_scaling": "alpha/sqrt"},
            r"lora_scaling is 'alpha/sqrt'; it must be one of 'alpha/r', 'alpha/sqrt\(r\)'. Did you mean 'alpha/sqrt\(r\)'",
        ),
        ({"lora_rank": 1, "lora_patterns": ()}, "names no kernel"),
        ({"lora_rank": 0, "lora_alpha": 32}, "lora_alpha is 32, but nothing reads it, as lora_rank is 0"),
        ({"prompt_tokens": 2, "lora_patterns": ("k",)}, "lora_patterns is .'k',., but nothing reads it"),
        ({"train": "encoder"}, "it must be a tuple of texts. Write \\('encoder',\\)"),
        ({"freeze": ("(",)}, "'\\(' is no regular expression"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(UserError, match=message):
        TuningConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"lora_rank": 1, "lora_patterns": ("query",)},
            "'query' matches no kernel .* There are: k, o, q, v, wi.*last part",
        ),
        (
            {"lora_rank": 1, "lora_patterns": ("encoder/layer/attention/q",)},
            "Did you mean 'encoder/layers/attention/q'",
        ),
        ({"lora_rank": 1, "lora_patterns": ("embedding",)}, "'embedding' matches no kernel of a layer"),
        ({"train": ("embeding",)}, "'embeding' matches no parameter of this model. Did you mean 'embedding'"),
        ({"freeze": ("dec/.*",)}, "'dec/.*' matches no parameter"),
        ({"freeze": (".*",)}, "leave nothing to train"),
        ({"lora_rank": 1, "train": ("q",)}, "'decoder/layers/attention/q' has an adapter, and TuningConfig.train"),
    ],
)
def test_patterns_that_do_not_fit_the_model(values, message):
    with pytest.raises(UserError, match=message):
        TuningConfig(**values).check(logical_axes(T5))


def test_a_prompt_cannot_be_merged():
    with pytest.raises(UserError, match="prompt cannot be merged"):
        merged_params(tuned(T5, TuningConfig(prompt_tokens=2)))


FAMILIES = {
    "t5": dataclasses.replace(T5, dtype="bfloat16"),
    "t5-tied": tiny_t5(tie_embeddings=True, mlp_activation="relu"),
    "gpt2": tiny_decoder(
        norm="layer", position="learned", attention_bias=True, output_bias=True, mlp_bias=True, mlp_activation="gelu_tanh",
        tie_embeddings=True,
    ),
    "gemma": tiny_decoder(
        norm_offset=True, norm_placement="both", embed_scale=True, logit_softcap=5.0, qk_norm="head",
        tie_embeddings=True,
    ),
    "t5gemma": tiny_t5gemma(),
    "olmo2": tiny_decoder(norm_placement="post", qk_norm="full", dtype="bfloat16"),
}  # fmt: skip


@pytest.mark.parametrize("name", with_deep(["t5", "gemma"], ["t5-tied", "gpt2", "olmo2"]))
def test_what_is_kept_in_16_bits_is_computed_with_as_before(name):
    config = FAMILIES[name]
    tuning = TuningConfig(lora_rank=1, frozen_dtype="bfloat16")
    kept = cast_params(jax.tree.map(jnp.asarray, random_params(config)), logical_axes(config), tuning)
    widened = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), kept)
    graphdef, batch = abstract_model(config)[0], random_batch(T5)
    batch = batch if name.startswith("t5") else batch_of(DECODER)
    same_tree(apply(graphdef, kept, batch), apply(graphdef, widened, batch))
    for path, leaf in traverse_util.flatten_dict(kept).items():
        vector = path[-1] in ("scale", "table", "positions") or path[-1].endswith("bias")
        assert leaf.dtype == (jnp.float32 if vector else jnp.bfloat16), path


@pytest.mark.parametrize("frozen_dtype", ["int8", "nf4"])
@pytest.mark.parametrize("name", with_deep(["t5", "gemma"], ["t5-tied", "t5gemma", "gpt2", "olmo2"]))
def test_quantized_kernels_compute_what_their_numbers_do(name, frozen_dtype):
    config = FAMILIES[name]
    config = dataclasses.replace(config, num_heads=4) if name.startswith("t5") else config  # of even widths
    tuning = TuningConfig(lora_rank=1, frozen_dtype=frozen_dtype)
    params, axes = jax.tree.map(jnp.asarray, random_params(config)), logical_axes(config)
    kept = cast_params(params, axes, tuning)
    graphdef, batch = abstract_model(config)[0], random_batch(T5)
    batch = batch if name.startswith("t5") else batch_of(DECODER)
    same_tree(apply(graphdef, kept, batch), apply(graphdef, dequantized(kept), batch))
    assert not np.array_equal(apply(graphdef, kept, batch), apply(graphdef, params, batch))
    for path, leaf in traverse_util.flatten_dict(kept).items():
        if "layers" in path and len(whole_shape(leaf)) == 3:
            assert leaf.format == frozen_dtype, path
        else:
            outside = path[-1] in ("embedding", "lm_head")
            assert leaf.dtype == (jnp.bfloat16 if outside else jnp.float32), path
    assert jax.tree.all(jax.tree.map(lambda one, other: one.shape == other.shape, whole_shapes(kept), params))
    # Adapters stand beside quantized kernels as beside others, and are merged into their numbers.
    whole = attach(kept, axes, tuning, jax.random.key(0))
    trained, frozen = split(whole, tuning)
    same_tree(join(trained, frozen, tuning), whole)
    same_tree(merged_params(whole), dequantized(kept))
    assert counts(trained, frozen).total - counts(trained, {}).total == sum(x.size for x in jax.tree.leaves(params))
    names = split(attach_axes(axes, tuning), tuning)[1]
    assert jax.tree.structure(frozen) == jax.tree.structure(names, is_leaf=lambda node: isinstance(node, tuple))
    assert jax.tree.structure(kept) == jax.tree.structure(
        stored_axes(axes, tuning), is_leaf=lambda node: isinstance(node, tuple)
    )


def test_what_is_trained_stays_in_float32():
    tuning = TuningConfig(train=("q", "embedding"), freeze=("decoder/.*",), frozen_dtype="bfloat16")
    kept = traverse_util.flatten_dict(storage_formats(logical_axes(T5), tuning))
    attention = ("layers", "attention")
    assert kept["encoder", *attention, "q"] == kept["embedding",] == "float32"
    assert kept["decoder", *attention, "q"] == kept["encoder", *attention, "k"] == "bfloat16"
    whole = attach(
        cast_params(random_params(T5), logical_axes(T5), tuning), logical_axes(T5), tuning, jax.random.key(0)
    )
    trained, frozen = split(whole, tuning)
    assert {leaf.dtype for leaf in jax.tree.leaves(trained)} == {np.dtype("float32")}
    same_tree(join(trained, frozen, tuning), whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"frozen_dtype": "bfloat"},
            "frozen_dtype is 'bfloat'; it must be one of 'float32', 'bfloat16', 'int8', 'nf4'. Did you mean 'bfloat16'",
        ),
        (
            {"frozen_dtype": "float16", "lora_rank": 1},
            "frozen_dtype is 'float16'; it must be one of 'float32', 'bfloat16', 'int8', 'nf4'",
        ),
        ({"frozen_dtype": "bfloat16"}, "frozen_dtype is 'bfloat16', but nothing is frozen"),
        ({"frozen_dtype": "bfloat16", "train": EVERYTHING}, "frozen_dtype is 'bfloat16', but nothing is frozen"),
        ({"frozen_dtype": "nf4"}, "frozen_dtype is 'nf4', but nothing is frozen"),
        (
            {"frozen_dtype": "nf4", "freeze": ("embedding",)},
            "frozen_dtype is 'nf4', which quantizes frozen kernels of layers, but train=() and freeze=('embedding',) "
            "train all of those. Train adapters (lora_rank), or give 'bfloat16'.",
        ),
    ],
)
def test_fewer_bits_for_what_is_frozen_and_for_nothing_else(values, message):
    with pytest.raises(UserError) as refused:
        TuningConfig(**values).check(logical_axes(T5))
    assert message in str(refused.value)
