import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import UserError
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer

# Five layers of [3, 4]: the layer axis is the longest, which optax alone would factor.
AXES = {
    "stack": {"w": ("layers", "embed", "mlp"), "scale": ("layers", "embed")},
    "embedding": ("vocab", "embed"),
    "bias": ("buckets", "heads"),
}


def tree(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    shapes = {"stack": {"w": (5, 3, 4), "scale": (5, 3)}, "embedding": (7, 3), "bias": (4, 2)}
    # Layers of very different size, so that statistics shared between them would show.
    grow = {3: 10.0 ** np.arange(5)[:, None, None], 2: 1.0}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape) * grow[len(shape)], jnp.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def unstacked(params: dict) -> dict:
    layers = [{name: value[index] for name, value in params["stack"].items()} for index in range(5)]
    return {**{f"layer_{index}": layer for index, layer in enumerate(layers)}, "embedding": params["embedding"]}


UNSTACKED_AXES = {
    **{f"layer_{index}": {"w": ("embed", "mlp"), "scale": ("embed",)} for index in range(5)},
    "embedding": ("vocab", "embed"),
}


def three_steps(config: OptimizerConfig, params: dict, axes: dict, gradients: list[dict]) -> dict:
    optimizer = make_optimizer(config, axes)

    @jax.jit
    def step(params: dict, state, grads: dict):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for grads in gradients:
        params, state = step(params, state, grads)
    return params


@pytest.mark.parametrize("name", ["adafactor", "adamw", "lion", "muon"])
def test_stacked_layers_are_optimised_like_separate_ones(name: str) -> None:
    config = OptimizerConfig(name=name, learning_rate=0.1, min_dim_size_to_factor=2, weight_decay=0.01)
    gradients = [tree(seed) for seed in (1, 2, 3)]
    stacked = three_steps(config, tree(0), AXES, gradients)
    apart = three_steps(config, unstacked(tree(0)), UNSTACKED_AXES, [unstacked(grads) for grads in gradients])
    for (path, a), (_, b) in zip(
        jax.tree.leaves_with_path(unstacked(stacked)), jax.tree.leaves_with_path(apart), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6, err_msg=jax.tree_util.keystr(path))


def test_adafactor_keeps_rows_and_columns_only() -> None:
    state = make_optimizer(OptimizerConfig(min_dim_size_to_factor=2), AXES).init(tree(0))
    factored = state[0]["stack"]["w"][0]
    assert (factored.v_row.shape, factored.v_col.shape, factored.v.shape) == ((5, 3), (5, 4), (5, 1))


def test_adafactor_is_optax_adafactor_on_plain_matrices() -> None:
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)}
    grads = jax.tree.map(lambda leaf: jnp.cos(leaf) * 3, params)
    ours = make_optimizer(OptimizerConfig(learning_rate=0.1, min_dim_size_to_factor=2), {"w": ("embed", "mlp")})
    theirs = optax.adafactor(0.1, min_dim_size_to_factor=2)
    a, _ = jax.jit(ours.update)(grads, ours.init(params), params)
    b, _ = jax.jit(theirs.update)(grads, theirs.init(params), params)
    np.testing.assert_allclose(a["w"], b["w"], rtol=1e-5)


def test_muon_orthogonalises_each_layer() -> None:
    params, grads = tree(0), tree(1)
    optimizer = make_optimizer(OptimizerConfig(name="muon", learning_rate=1.0), AXES)
    updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    singular = np.linalg.svd(np.asarray(updates["stack"]["w"]), compute_uv=False) / (0.2 * 4**0.5)
    assert singular.shape == (5, 3)
    assert (singular > 0.6).all()  # Muon's five iterations bring every singular value near one, not to it
    assert (singular < 1.4).all()
    np.testing.assert_allclose(np.abs(updates["embedding"]), 1.0, rtol=1e-3)  # AdamW's first step


def test_weight_decay_spares_norms_tables_and_embeddings() -> None:
    params = tree(0)
    optimizer = make_optimizer(OptimizerConfig(name="adamw", learning_rate=1.0, weight_decay=0.5), AXES)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(zeros, optimizer.init(params), params)
    np.testing.assert_allclose(updates["stack"]["w"], -0.5 * params["stack"]["w"])
    assert not any(np.any(leaf) for leaf in (updates["stack"]["scale"], updates["embedding"], updates["bias"]))


def test_lion_is_optax_lion() -> None:
    params, grads = tree(0), tree(1)
    ours = make_optimizer(OptimizerConfig(name="lion", learning_rate=0.1, weight_decay=0.5), AXES)
    theirs = optax.lion(0.1, b1=0.9, b2=0.99, weight_decay=0.5)
    a, b = (jax.jit(rule.update)(grads, rule.init(params), params)[0] for rule in (ours, theirs))
    np.testing.assert_allclose(a["stack"]["w"], b["stack"]["w"], rtol=1e-6)
    np.testing.assert_allclose(a["embedding"], -0.1 * np.sign(grads["embedding"]))  # no decay


def test_patterns_give_parameters_a_decay_and_a_rate_of_their_own() -> None:
    params = tree(0)
    config = OptimizerConfig(
        name="adamw",
        learning_rate=1.0,
        weight_decay=0.5,
        weight_decay_by_pattern={"embedding|bias": 0.25},
        rate_by_pattern={"stack/.*": 0.1, "bias": 0},
    )
    zeros = jax.tree.map(jnp.zeros_like, params)
    rule = make_optimizer(config, AXES)
    updates, _ = jax.jit(rule.update)(zeros, rule.init(params), params)
    np.testing.assert_allclose(updates["stack"]["w"], -0.5 * 0.1 * params["stack"]["w"], rtol=1e-6)
    np.testing.assert_allclose(updates["embedding"], -0.25 * params["embedding"])
    assert not any(np.any(leaf) for leaf in (updates["stack"]["scale"], updates["bias"]))
    plain = make_optimizer(OptimizerConfig(name="adamw", learning_rate=1.0), AXES)
    own = make_optimizer(OptimizerConfig(name="adamw", learning_rate=1.0, rate_by_pattern={"stack/w": 0.1}), AXES)
    a, b = (jax.jit(rule.update)(tree(1), rule.init(params), params)[0] for rule in (plain, own))
    np.testing.assert_allclose(0.1 * a["stack"]["w"], b["stack"]["w"], rtol=1e-6)
    np.testing.assert_array_equal(a["embedding"], b["embedding"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"rate_by_pattern": {"embeding": 0.1}},
            "rate_by_pattern: 'embeding' matches no trained parameter.*'embedding'",
        ),
        ({"weight_decay_by_pattern": {"stack/v": 0.1}}, "weight_decay_by_pattern: 'stack/v' matches no.*stack/w"),
        ({"rate_by_pattern": {"w": 0.1, "stack/.*": 2.0}}, "'w' and 'stack/.*' both match 'stack/w'"),
    ],
)
def test_patterns_that_name_nothing_or_one_thing_twice_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_optimizer(OptimizerConfig(**fields), AXES)


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_first_moments_are_narrow_on_request(name: str) -> None:
    config = OptimizerConfig(name=name, learning_rate=0.1, momentum_dtype="bfloat16")
    wide = OptimizerConfig(name=name, learning_rate=0.1)
    state = jax.eval_shape(make_optimizer(config, AXES).init, tree(0))
    assert [leaf.dtype for leaf in jax.tree.leaves(state)].count(jnp.bfloat16) == 4  # one for each parameter
    after, exact = (three_steps(one, tree(0), AXES, [tree(1), tree(2)]) for one in (config, wide))
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), exact, tree(0))
    jax.tree.map(lambda a, b, most: np.testing.assert_allclose(a, b, atol=0.05 * most), after, exact, moved)


def test_a_configuration_with_patterns_can_be_a_key() -> None:
    one, same = (OptimizerConfig(rate_by_pattern=rates) for rates in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert {one: 1}[same] == 1
    assert one != OptimizerConfig(rate_by_pattern={"a": 1})


def test_clipping_bounds_the_global_norm() -> None:
    config = OptimizerConfig(name="adamw", learning_rate=1.0, clip_norm=0.5, beta1=0.0, beta2=0.0, epsilon=1e6)
    params = tree(0)
    optimizer = make_optimizer(config, AXES)
    updates, _ = jax.jit(optimizer.update)(tree(1), optimizer.init(params), params)
    # With an epsilon this large AdamW divides by it and keeps the gradient's direction and length.
    assert float(optax.tree.norm(updates)) * 1e6 == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"schedule": "constant", "warmup_steps": 4}, {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 99: 1.0}),
        ({"schedule": "rsqrt", "warmup_steps": 4}, {0: 0.25, 3: 1.0, 15: 0.5, 63: 0.25}),
        ({"schedule": "rsqrt"}, {0: 1.0, 3: 0.5}),
        (
            {"schedule": "linear", "warmup_steps": 2, "total_steps": 12},
            {0: 0.5, 2: 1.0, 7: 0.5, 11: 0.1, 12: 0.0, 20: 0.0},
        ),
        ({"schedule": "linear", "total_steps": 10, "final_fraction": 0.5}, {0: 1.0, 5: 0.75, 10: 0.5, 99: 0.5}),
        ({"schedule": "cosine", "total_steps": 8, "final_fraction": 0.2}, {0: 1.0, 4: 0.6, 8: 0.2}),
        (
            {"schedule": "wsd", "warmup_steps": 4, "total_steps": 20, "decay_share": 0.2, "final_fraction": 0.2},
            {0: 0.25, 4: 1.0, 15: 1.0, 16: 1.0, 18: 0.6, 19: 0.4, 20: 0.2, 99: 0.2},
        ),
        (
            {"schedule": "wsd", "warmup_steps": 2, "total_steps": 4, "decay_share": 1.0},
            {1: 1.0, 2: 1.0, 3: 0.5, 4: 0.0},
        ),
    ],
)
def test_schedules(config: dict, expected: dict[int, float]) -> None:
    schedule = learning_rate(OptimizerConfig(learning_rate=3.0, **config))
    for step, fraction in expected.items():
        assert float(schedule(step)) == pytest.approx(3.0 * fraction, abs=1e-6), step


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "adamm"}, "'adamw'"),
        ({"schedule": "cosin"}, "'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"schedule": "linear", "warmup_steps": 5, "total_steps": 5}, "more than warmup_steps=5 for the linear"),
        ({"beta1": 1.0}, "beta1 is 1.0"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"weight_decay": float("inf")}, "weight_decay"),
        ({"final_fraction": 1.5}, "final_fraction"),
        ({"min_dim_size_to_factor": 0}, "min_dim_size_to_factor"),
        ({"rate_by_pattern": {"a(": 1}}, r"rate_by_pattern: 'a\(' is no regular expression"),
        ({"rate_by_pattern": {"a": -1}}, "rate_by_pattern"),
        ({"decay_share": 0.0}, "decay_share is 0.0"),
    ],
)
def test_bad_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        OptimizerConfig(**fields)
