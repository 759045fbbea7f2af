"""Third-party seqio tasks from the command line: prepared in this process, trained and measured in another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[1] / "data"
MODULE = ("--module_import", "third_party_tasks")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(MODULES))


def test_prepared_here_trained_and_measured_elsewhere(cli, tmp_path, one_device):
    store, run = tmp_path / "store", tmp_path / "run"
    prepared = cli(
        "prepare", "--mixture", "their_mixture", "--store", str(store), "--inputs", "40", "--targets", "10",
        "--processes", "1", "--json", *MODULE,
    )  # fmt: skip
    assert prepared.code == 0, prepared.err
    assert json.loads(prepared.out)["written"] == 6
    # The other process prepares nothing: it must find the very same fingerprints.
    command = [
        "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin",
        "--gin.MIXTURE_OR_TASK_NAME='their_mixture'", "--gin.TASK_FEATURE_LENGTHS={'inputs': 40, 'targets': 10}",
        "--gin.TRAIN_STEPS=2", "--gin.BATCH_SIZE=2", "--gin.LOG_PERIOD=1", f"--gin.MODEL_DIR='{run}'",
        f"--gin.STORE='{store}'", "--gin.USE_CACHED_TASKS=True", "--gin.T5Config.d_model=16", "--gin.T5Config.d_ff=16",
        "--gin.T5Config.num_encoder_layers=1", "--gin.T5Config.num_decoder_layers=1", "--gin.EvalConfig.max_examples=2",
        *MODULE,
    ]  # fmt: skip
    environment = {**one_device, "PYTHONPATH": str(MODULES)}
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax.cli.main", *command], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "their_reading" in done.stdout
    results = json.loads((run / "eval/2/results.json").read_text())
    assert {row["metric"] for row in results["suites"]["validation"]} == {"accuracy", "exact", "f1"}


def test_inspect_shows_decoded_tokens_and_features(cli):
    shown = cli("inspect", "their_reading", "--split", "validation", "-n", "1", *MODULE)
    assert shown.code == 0, shown.err
    for line in (
        "which colour has 100? red",
        "tokens:  26 → 4, decoded by ByteVocabulary",
        'answers = ["red"]',
        "weight = 0.5",
    ):
        assert line in shown.out
    rows = [json.loads(line) for line in cli("inspect", "their_mixture", "-n", "3", "--json", *MODULE).out.splitlines()]
    assert [row["task"] for row in rows] == ["their_few_shot", "their_parity", "their_reading"]
    assert rows[1]["features"]["idx"] == 0
    assert rows[1]["tokens"]["targets"][-1] == 1
    assert rows[2]["features"]["spans"] == [[], [0, 1, 2]]


def test_rates_and_names(cli, refused):
    table = cli("rates", "their_mixture", *MODULE)
    assert table.code == 0, table.err
    assert "61.29%" in table.out
    message = refused("prepare", "--mixture", "their_mixtur", "--store", "nowhere", *MODULE)
    assert "Did you mean 'their_mixture'" in message
    message = refused("inspect", "their_reading", "--split", "test", *MODULE)
    assert "'test'" in message
    assert "train, validation" in message
