"""What results belong to: weights told apart to the bit on any mesh, and settings named where they differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.eval.provenance import changed_settings, params_digest

PARAMS = {"a": np.linspace(-1, 1, 48, dtype=np.float32).reshape(8, 6), "b": {"c": np.ones(3, jnp.bfloat16)}}


def on_devices(params):
    return jax.tree.map(jnp.asarray, params)


@given(st.integers(0, 47), st.integers(0, 31))
def test_any_flipped_bit_is_other_weights(place, bit):
    changed = PARAMS["a"].copy()
    changed.reshape(-1).view(np.uint32)[place] ^= np.uint32(1 << bit)
    assert params_digest(on_devices({**PARAMS, "a": changed})) != params_digest(on_devices(PARAMS))


def test_order_names_shapes_and_types_count_and_meshes_do_not():
    digest = params_digest(on_devices(PARAMS))
    swapped = PARAMS["a"][::-1].copy()
    others = (
        {**PARAMS, "a": swapped},
        {**PARAMS, "a": PARAMS["a"].reshape(6, 8)},
        {"d": PARAMS["a"], "b": PARAMS["b"]},
        {**PARAMS, "b": {"c": np.ones(3, np.float32)}},
    )
    assert len({digest, *(params_digest(on_devices(other)) for other in others)}) == 5
    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    assert params_digest({**on_devices(PARAMS), "a": jax.device_put(PARAMS["a"], sharding)}) == digest


def settings(**changes):
    task = {"data": "f" * 8, "metric": "accuracy", "predict": "rank", "examples": 4}
    return {"max_examples": 4, "decoding": {"beams": 1, "top_k": 0}, "tasks": {"t": task, "u": task}, **changes}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (settings(), ""),
        (settings(max_examples=0), "max_examples: 4 → 0"),
        (settings(decoding={"beams": 4, "top_k": 0}), "decoding.beams: 1 → 4"),
        (settings(tasks={"t": settings()["tasks"]["t"], "v": {}}), "u only then; v only now"),
        (settings(tasks={name: {**task, "data": "0"} for name, task in settings()["tasks"].items()}), "data of t, u"),
        (settings(tasks={**settings()["tasks"], "u": {**settings()["tasks"]["u"], "metric": "f1"}}),
         "metric of u: 'accuracy' → 'f1'"),
        ({}, "one of them does not say its settings"),
    ],
)  # fmt: skip
def test_what_differs_is_named(other, said):
    assert changed_settings(settings(), other) == said
