"""`flan-jax launch`: what it prints, what it records, and what it refuses before anything is submitted."""

import json
import os

import pytest

from flan_jax.cli.planning import checks
from flan_jax.errors import UserError
from flan_jax.launch.accelerators import Chips

TRAIN = (
    "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.MIXTURE_OR_TASK_NAME=mini",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "--gin.TRAIN_STEPS=3", "--gin.MODEL_DIR=runs/First_one",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder, name, text):
    """A program on the path that stands in for a scheduler's."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_dry_run_prints_what_would_be_submitted_and_writes_nothing(cli, folder):
    outcome = cli("launch", "slurm", "--nodes", "2", "--gpus_per_node", "8", "--dry_run", "--", *TRAIN)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("# runs/First_one/launches/1-slurm/job.sbatch\n#!/bin/bash\n")
    assert "#SBATCH --job-name=first-one\n" in outcome.out
    assert "#SBATCH --gpus-per-node=8\n" in outcome.out
    assert outcome.out.endswith(f"sbatch --parsable {folder}/runs/First_one/launches/1-slurm/job.sbatch\n")
    assert list(folder.iterdir()) == []


def test_the_plan_stands_before_the_submission(cli, folder, monkeypatch):
    asked = []

    def launch_lines(config, chips, mode, *, dropped):
        asked.append((config.steps, chips, mode))
        if chips.count > 8:
            raise UserError("The run does not fit.")
        return ["planned: it fits"]

    monkeypatch.setattr(checks, "launch_lines", launch_lines)
    words = ("launch", "slurm", "--gpus_per_node", "8", "--chip", "H100", "--dry_run")
    outcome = cli(*words, "--", *TRAIN)
    assert (outcome.code, asked) == (0, [(3, Chips("H100", 8), "auto")])
    assert outcome.err.splitlines()[-1] == "planned: it fits"
    assert "planned" not in outcome.out
    assert cli(*words, "--nodes", "2", "--", *TRAIN).code == 2
    assert cli(*words, "--plan", "off", "--nodes", "2", "--", *TRAIN).code == 0
    assert cli(*words, "--", "tasks").code == 0
    assert len(asked) == 2


def test_what_is_submitted_is_what_dry_run_shows_and_is_recorded(cli, folder, monkeypatch):
    words = ("launch", "slurm", "--partition", "main", "--env", "A=1", "--unchecked")
    shown = cli(*words, "--dry_run", "--", *TRAIN).out
    program(folder, "sinfo", "echo main")
    program(folder, "sbatch", 'cp "$2" submitted; echo "7;loopback"')
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    outcome = cli(*words, "--", *TRAIN)
    assert (outcome.code, outcome.out) == (0, "submitted as 7; the launch's folder: runs/First_one/launches/1-slurm\n")
    assert (folder / "submitted").read_text() in shown
    record = json.loads((folder / "runs/First_one/launches/1-slurm/launch.json").read_text())
    assert (record["id"], record["command"]) == ("7", ["flan-jax", *TRAIN])
    assert record["options"]["env"] == ["A=1"]
    assert cli(*words, "--dry_run", "--", *TRAIN).out.startswith("# runs/First_one/launches/2-slurm/")


def test_options_come_from_gin_and_flags_stand_above_them(cli, folder):
    (folder / "cluster.gin").write_text(
        "QUEUE = 'long'\nSlurmLaunch.partition = %QUEUE\nSlurmLaunch.nodes = 4\nSlurmLaunch.env = ('A=1', 'B=2')\n"
        "GkeLaunch.image = 'x'\n"
    )
    words = (
        "launch",
        "slurm",
        "--gin_file",
        "cluster.gin",
        "--gin.SlurmLaunch.memory=8G",
        "--nodes=2",
        "--dry_run",
        "--unchecked",
    )
    outcome = cli(*words, "--", "prepare", "--mixture", "mini", "--store", "store", "--inputs", "64", "--targets", "16")
    assert outcome.code == 0, outcome.err
    for line in ("#SBATCH --partition=long", "#SBATCH --nodes=2", "#SBATCH --mem=8G", "export A=1", "export B=2"):
        assert line in outcome.out.splitlines()
    assert outcome.out.startswith("# launches/1-slurm/")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("slurm", "--nodes", "two", "--", "tasks"), "--nodes is 'two'; it must be a whole number"),
        (("slurm", "--tpu", "v", "--", "tasks"), "launch slurm does not read --tpu, which is for gke"),
        (("slurm", "--dry_run"), "There is no command to launch"),
        (("slurm", "--dry_run", "--", "tran"), "Did you mean 'train'?"),
        (("slurm", "--dry_run", "--", "launch", "local"), "launch cannot launch itself"),
        (("slurm", "--dry_run", "--", "train", "--steps", "3"), "unrecognized arguments: --steps"),
        (("slurm", "--dry_run", "--", *TRAIN, "--gin.TRAIN_STEPS=many"), "TRAIN_STEPS"),
        (
            ("slurm", "--nodes", "2", "--gpus_per_node", "4", "--", *TRAIN, "--gin.MeshConfig.tensor=3"),
            "does not fit 8 devices",
        ),
        (("slurm", "--array", "2", "--dry_run", "--", *TRAIN), "array is for the workers of a study"),
        (("slurm", "--gin.SlurmLaunch.nodse=2", "--dry_run", "--", "tasks"), "nodse"),
        (("slurm", "--gin.SlurmLaunch.nodes=two", "--dry_run", "--", "tasks"), "SlurmLaunch.nodes"),
        (("nowhere", "--", "tasks"), "invalid choice: 'nowhere'"),
    ],
)
def test_refuses_before_anything_is_submitted(cli, folder, words, says):
    outcome = cli("launch", *words)
    assert outcome.code == 2
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("sbatch", "echo 'sbatch: error: Invalid qos specification' >&2; exit 1", "Invalid qos specification"),
        ("sbatch", "echo 'error: token abc123 has expired' >&2; exit 1", "credentials are missing, expired"),
        (None, "", "sbatch is not on the path"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(cli, folder, monkeypatch, name, text, says):
    (folder / "bin").mkdir()
    if name:
        program(folder, name, text)
    monkeypatch.setenv("PATH", f"{folder}/bin:/bin" if name else f"{folder}/bin")
    outcome = cli("launch", "slurm", "--unchecked", "--", *TRAIN)
    assert outcome.code == 2
    assert says in outcome.err
    assert "abc123" not in outcome.err
    assert [path.name for path in folder.iterdir()] == ["bin"]


def test_a_local_launch_ends_as_its_command_and_is_recorded(cli, folder):
    outcome = cli("launch", "local", "--follow", "--", "rates", "no_such_mixture")
    assert outcome.code == 2
    assert "no_such_mixture" in outcome.out
    (event,) = [json.loads(line) for line in (folder / "launches/1-local/events.jsonl").read_text().splitlines()][1:]
    assert (event["event"], event["code"]) == ("ended", 2)
    assert json.loads((folder / "launches/1-local/launch.json").read_text())["target"] == "local"
