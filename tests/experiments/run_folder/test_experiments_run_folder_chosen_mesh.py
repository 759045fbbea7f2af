"""The mesh of a run that names none: chosen by its state, recorded, and the same when the run goes on."""

import dataclasses
import json
from pathlib import Path

import pytest

from flan_jax.data.prepare.config import TokenizeConfig
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.run_folder.chosen_mesh import begun_mesh, mesh_of, mesh_record, run_mesh
from flan_jax.experiments.run_folder.run_files import MANIFEST
from flan_jax.feed.config import FeedConfig
from flan_jax.testing.models import tiny_t5
from flan_jax.train.mesh import mesh_choice
from flan_jax.train.mesh.mesh_choice import Room
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig, make_mesh

DEVICES = 8  # of a run that names no mesh


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(
        model_dir=str(tmp_path), mixture="mini", model=tiny_t5(), optimizer=OptimizerConfig(name="adamw"), steps=10,
        tokenize=TokenizeConfig(lengths={"inputs": 32, "targets": 16}), feed=FeedConfig(batch_size=16),
    )  # fmt: skip


def capacity(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(mesh_choice, "_capacity", lambda devices: size)


def test_by_the_bytes_of_the_state(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_mesh(config).mesh is config.mesh, "this machine holds a tiny state on every device"
    capacity(monkeypatch, 2**18)
    choice = run_mesh(config)
    assert choice.mesh.sizes(8) == (1, 8, 1)
    assert "is more than half of a device's 0.2 MiB, which all devices share" in choice.reason
    named = dataclasses.replace(config, mesh=MeshConfig(data=-1))
    assert run_mesh(named).mesh is named.mesh
    # Weights, gradients and two moments in float32 each.
    words = mesh_of(config, Room(2, 2, 2**34)).reason
    count = 4 * 4 * 13_000
    assert 0.2 * count < float(words.split("the state of ")[1].split()[0]) * 2**20 < 5 * count


def test_a_run_goes_on_as_it_began(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capacity(monkeypatch, 2**18)
    choice = run_mesh(config)
    record = mesh_record(make_mesh(choice.mesh), choice.reason)
    assert record == {"devices": 8, "data": 1, "fsdp": 8, "tensor": 1, "chosen": choice.reason}
    (tmp_path / MANIFEST).write_text(json.dumps({"config": {}, "tasks": {}, "mesh": record}))
    capacity(monkeypatch, 2**40)
    assert run_mesh(config).mesh == choice.mesh == begun_mesh(config)
    assert run_mesh(config).reason.endswith(", when it began")
    (tmp_path / MANIFEST).write_text(json.dumps({"config": {}, "tasks": {}, "mesh": {**record, "devices": 4}}))
    assert run_mesh(config).mesh == MeshConfig(), "other devices are another question"
    (tmp_path / MANIFEST).write_text(
        json.dumps({"config": {}, "tasks": {}, "mesh": mesh_record(make_mesh(MeshConfig(2, 4)), "")})
    )
    assert begun_mesh(config) == MeshConfig(), (
        "a mesh that was named is not in the configuration of a run that names none"
    )
