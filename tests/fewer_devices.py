"""Runs that name no mesh span fewer devices than the eight that are simulated: they are compiled and computed sooner."""

import contextlib
from collections.abc import Iterator, Sequence

import jax
import pytest

from flan_jax.experiments.run_folder import chosen_mesh
from flan_jax.train import sharding
from flan_jax.train.sharding import MeshConfig


@contextlib.contextmanager
def fewer_devices(count: int) -> Iterator[None]:
    """Gives a run that names no mesh the first so many devices."""
    make_mesh = sharding.make_mesh

    def of_few(config: MeshConfig | None, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
        named = config is not None and config.named
        return make_mesh(config, devices or jax.devices()[: None if named else count])

    with pytest.MonkeyPatch.context() as patch:
        for module in (sharding, chosen_mesh):
            patch.setattr(module, "make_mesh", of_few)
        yield
