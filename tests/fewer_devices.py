"""Runs that name no mesh span fewer devices than the eight that are simulated: they are compiled and computed sooner."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import jax
import pytest

from flan_jax.train import sharding
from flan_jax.train.sharding import MeshConfig


@contextlib.contextmanager
def fewer_devices(count: int) -> Iterator[None]:
    """Gives a run that names no mesh the first so many devices."""
    make_mesh = sharding.make_mesh

    def of_few(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
        named = dataclasses.replace(config, rules=MeshConfig.rules) != MeshConfig()
        return make_mesh(config, devices or jax.devices()[: None if named else count])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", of_few)
        yield
