"""What runs of one configuration have in common is traced and compiled once for all tests that start one."""

import contextlib
import functools
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import jax
import numpy as np
import pytest

import flan_jax.experiments.train  # noqa: F401  (and all that it imports)
from flan_jax.train import optimizer, state, step
from flan_jax.train.sharding import place


def hashable(value: Any) -> Any:
    """Nested dictionaries (of axis names) as nested pairs, trees of shardings as leaves and their structure."""
    if isinstance(value, dict):
        return tuple((name, hashable(one)) for name, one in value.items())
    try:
        hash(value)
    except TypeError:
        leaves, structure = jax.tree.flatten(value)
        return tuple(leaves), structure
    return value


def once(function: Any) -> Any:
    """The function, which is called once with equal arguments."""
    made: dict[Any, Any] = {}

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        key = (tuple(map(hashable, arguments)), tuple((name, hashable(named[name])) for name in sorted(named)))
        if key not in made:
            made[key] = function(*arguments, **named)
        return made[key]

    return call


def fresh_copies(init_state: Any) -> Any:
    """``init_state``, computed once for equal arguments; every call gets arrays of its own, as a step takes them away."""
    begun = once(lambda *arguments, **named: on_host(*init_state(*arguments, **named)))

    def on_host(graphdef: Any, state: Any) -> Any:
        leaves, structure = jax.tree.flatten(state)
        kept = []
        for leaf in leaves:
            is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            kept.append((is_key, np.asarray(jax.random.key_data(leaf) if is_key else leaf), leaf.sharding))
        return graphdef, kept, structure

    @functools.wraps(init_state)
    def call(*arguments: Any, params: Any = None, **named: Any) -> Any:
        if params is not None:
            return init_state(*arguments, params=params, **named)
        graphdef, kept, structure = begun(*arguments, **named)
        arrays = [(is_key, place(leaf.copy(), sharding)) for is_key, leaf, sharding in kept]
        return graphdef, structure.unflatten([jax.random.wrap_key_data(x) if is_key else x for is_key, x in arrays])

    return call


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Optimisers and schedules are functions, so a step is the same program only where they are the same objects.

    One inside of another changes nothing.
    """
    if hasattr(sys.modules["flan_jax.experiments.train"].compile_train_step, "__wrapped__"):
        yield
        return
    shared = {
        optimizer.make_optimizer: once(optimizer.make_optimizer),
        optimizer.learning_rate: once(optimizer.learning_rate),
        step.compile_train_step: once(step.compile_train_step),
        state.init_state: fresh_copies(state.init_state),
    }
    found = set()
    with pytest.MonkeyPatch.context() as patch:
        for module in [module for name, module in sys.modules.items() if name.startswith("flan_jax.experiments")]:
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType) and value in shared:
                    patch.setattr(module, name, shared[value])
                    found.add(value)
        assert found == set(shared), "runs build their step from other functions now"
        yield
