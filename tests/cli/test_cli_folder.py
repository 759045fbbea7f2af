"""A run's folder is data: what its configuration names is not run, and its mesh is fitted to the machine."""

import json
import re
from pathlib import Path

import pytest

from flan_jax.cli import gin_config
from flan_jax.cli.console import modules_named
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.run_files import read_manifest
from flan_jax.train.sharding import MeshConfig, fitted

FILES = ("models/t5_tiny.gin", "runs/finetune.gin")
GIVEN = ("MIXTURE_OR_TASK_NAME=mini", "TRAIN_STEPS=1", "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}")


@pytest.fixture
def run(tmp_path):
    """Writes a run's folder with lines before and after its configuration; returns the folder."""

    def write(*bindings: str, before: str = "", after: str = "") -> str:
        operative = gin_config.load(FILES, [*GIVEN, "MODEL_DIR=run", *bindings]).operative
        (tmp_path / "config.gin").write_text(f"{before}\n{operative}\n{after}\n", encoding="utf-8")
        return str(tmp_path)

    return write


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """A module on the import path whose import leaves a file behind."""
    (tmp_path / "payload_of_a_folder.py").write_text(
        f"import gin\nopen({str(tmp_path / 'ran')!r}, 'w').close()\n@gin.configurable\ndef tool(): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "ran"


def test_a_folder_imports_nothing(run, payload):
    found = gin_config.load([], folder=run(before="import payload_of_a_folder"))
    assert found.not_imported == ("payload_of_a_folder",)
    assert found.config.mixture == "mini"
    assert not payload.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "from __gin__ import dynamic_registration\nimport payload_of_a_folder",
            "run.mesh = @payload_of_a_folder.tool()",
        ),
        ("import payload_of_a_folder", "run.mesh = @tool()"),
        ("", "run.tuning = @gin.singleton()"),
        ("", "include 'runs/lora.gin'"),
        ("", "STORE = " + "[" * 5000),
        ("", "run.seed = " + "9" * 30),
    ],
)
def test_what_is_more_than_data_is_refused(run, payload, refused, before, after):
    folder = run(before=before, after=after)
    for command in (("generate", "--model_dir", folder, "hello"), ("eval", "--model_dir", folder)):
        refused(*command)
    assert not payload.exists()


def test_a_folder_is_read_as_it_was_written_and_bindings_win(run):
    folder = run("TuningConfig.lora_rank=4", "BATCH_SIZE=8")
    config = gin_config.load([], ["EvalConfig.max_examples=3", "STORE=2024-1"], folder=folder).config
    assert (config.tuning.lora_rank, config.feed.batch_size, config.evaluation.max_examples) == (4, 8, 3)
    assert config.data.store == "2024-1"


@pytest.mark.parametrize("text", ["", "# nothing\n", "run.seed = 3\n"])
def test_a_configuration_that_is_not_whole_is_named(run, refused, text):
    folder = run()
    (Path(folder) / "config.gin").write_text(text, encoding="utf-8")
    (Path(folder) / "manifest.json").write_text(json.dumps({"config": {}, "tasks": {}}), encoding="utf-8")
    for command in (("eval", "--model_dir", folder), ("train", "--gin_file", f"{folder}/config.gin")):
        said = refused(*command)
        assert re.search(f"{folder}/config.gin gives no value to run\\.(model_dir, run\\.)?mixture, ", said), said
        assert "Put that back, or name the run's gin files with --gin_file" in said


def test_the_mesh_is_that_of_this_machine_unless_it_is_told(run):
    folder = run("MeshConfig.data=4", "MeshConfig.fsdp=8", "MeshConfig.tensor=2")
    assert gin_config.load([], folder=folder).config.mesh == MeshConfig(-1, 4, 2)
    told = gin_config.load([], ["MeshConfig.data=1"], folder=folder).config.mesh
    assert told == MeshConfig(1, 8, 2)


@pytest.mark.parametrize(
    ("mesh", "devices", "expected"),
    [
        (MeshConfig(2, 2, 2), 8, MeshConfig(2, 2, 2)),
        (MeshConfig(2, 2, 2), 1, MeshConfig(-1, 1, 1)),
        (MeshConfig(1, 1, 8), 4, MeshConfig(-1, 1, 4)),
        (MeshConfig(-1, 3, 2), 4, MeshConfig(-1, 1, 2)),
        (MeshConfig(-1, 1, 1), 3, MeshConfig(-1, 1, 1)),
    ],
)
def test_a_mesh_is_fitted_to_the_devices(mesh, devices, expected):
    assert fitted(mesh, devices) == expected
    expected.sizes(devices)


def test_a_name_that_is_not_known_names_the_modules_of_the_run(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {}, "tasks": {}, "modules": ["my_tasks"]}))
    with (
        pytest.raises(UserError, match=r"Unknown mixture.* The run imported: --module_import my_tasks"),
        modules_named(str(tmp_path)),
    ):
        raise UserError("Unknown mixture or task 'mine'.")


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"config": 3, "tasks": {}}', "[" * 100_000, "\x00", "{"])
def test_a_damaged_description_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is no"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not JSON"):
        read_manifest(tmp_path)


def test_one_of_several_processes_is_refused_before_anything_is_written(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("FLAN_JAX_SINGLE_PROCESS", raising=False)
    monkeypatch.chdir(tmp_path)
    message = refused("train", "--gin_file", "runs/quickstart.gin")
    assert "Set FLAN_JAX_SINGLE_PROCESS=1 where this is the only one, though SLURM_NTASKS=2." in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["export-hf", "report"])
def test_other_commands_that_read_a_folder_import_nothing_either(run, payload, cli, command, tmp_path):
    folder = run(before="import payload_of_a_folder", after="import payload_of_a_folder")
    (tmp_path / "checkpoints").mkdir()
    outcome = cli(command, folder, *([str(tmp_path / "out")] if command == "export-hf" else []))
    assert "Traceback" not in outcome.err
    assert outcome.code == (2 if command == "export-hf" else 0)  # there is no checkpoint, but a page there is
    assert not payload.exists()
