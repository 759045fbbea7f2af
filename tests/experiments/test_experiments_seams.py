"""Where parts of a run meet, through the command line: a stop with nothing saved, a curriculum that is resumed."""

import json
import os
import signal
from pathlib import Path

import pytest

from flan_jax.cli.main import main
from flan_jax.experiments import train as train_module
from flan_jax.experiments.run_folder.run_files import read_manifest
from flan_jax.train.hooks import read_metrics
from flan_jax.train.loop import StopRequest

SIZES = (
    "T5Config.d_model=8", "T5Config.d_kv=4", "T5Config.num_heads=2", "T5Config.d_ff=8", "T5Config.num_encoder_layers=1",
    "T5Config.num_decoder_layers=1", "BATCH_SIZE=8", "LOG_PERIOD=1", "MIXTURE_OR_TASK_NAME=taught", "STORE=store",
    # The step of test_experiments_batches.py, which is traced and compiled once for both.
    "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 32}", "DROPOUT_RATE=0.0", "Z_LOSS=0.0", "OptimizerConfig.name='adamw'",
    "LEARNING_RATE=1e-3",
)  # fmt: skip


@pytest.fixture(autouse=True)
def tasks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def run(folder: str, steps: int, *bindings: str) -> int:
    given = (*SIZES, f"MODEL_DIR={folder}", f"TRAIN_STEPS={steps}", *bindings)
    files = ("--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin")
    return main(["train", "--module_import", "curriculum_tasks", *files, *(f"--gin.{binding}" for binding in given)])


def drawn(folder: str) -> list[tuple[int, float, int]]:
    """Of every line: the step, the loss, and how many examples the task outside of the curriculum has given."""
    lines = read_metrics(Path(folder) / "metrics.jsonl")
    return [(line["step"], line["loss"], line["sampled"]["taught_later_zs_opt"]["examples"]) for line in lines]


def in_old_words(folder: Path) -> None:
    """Writes a run as versions did that called its curriculum a lesson, and saved no checksums."""
    (checkpoint,) = (folder / "checkpoints").iterdir()
    (checkpoint / "checksums.json").unlink()
    for path in (folder / "config.gin", folder / "manifest.json", checkpoint / "data" / "metadata"):
        path.write_text(path.read_text(encoding="utf-8").replace("curriculum", "lesson"), encoding="utf-8")
    saved = checkpoint / "run" / "metadata"
    content = json.loads(saved.read_text(encoding="utf-8"))
    content["config"]["lesson_steps"] = content["config"].pop("curriculum_steps")
    del content["checksums"]
    saved.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("old", [False, True])
def test_a_curriculum_goes_on_where_it_stopped(old, capsys):
    assert run("straight", 5, "run.curriculum_steps=3") == 0
    whole = drawn("straight")
    assert [later > 0 for _, _, later in whole] == [False, False, False, True, True]
    assert run("broken", 2, "run.curriculum_steps=3") == 0
    if old:
        in_old_words(Path("broken"))
        assert (
            "lesson"
            in json.loads(Path("broken/manifest.json").read_text(encoding="utf-8"))["tasks"]["taught_first_zs_opt"]
        )
    capsys.readouterr()
    assert run("broken", 5, "run.curriculum_steps=2") == 2
    assert "another run: curriculum_steps: 3 → 2" in capsys.readouterr().err
    if old:
        command = ["train", "--module_import", "curriculum_tasks", "--gin_file", "broken/config.gin"]
        assert main([*command, "--gin.TRAIN_STEPS=5"]) == 0
    else:
        assert run("broken", 5, "run.curriculum_steps=3") == 0
    assert "resuming at step 2 of 5" in capsys.readouterr().err
    assert drawn("broken") == whole


def test_a_run_that_was_stopped_before_its_first_step_leaves_room_for_another(monkeypatch, capsys):
    """Nothing is saved, so nothing is continued: the exit code says so, and the folder is no other run's."""

    def stopped(*_, **__):
        with StopRequest():
            os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    with monkeypatch.context() as patched:
        patched.setattr(train_module, "fit", stopped)
        assert run("run", 2) == 143
    assert "stopped by SIGTERM: nothing was saved yet; the same command begins anew" in capsys.readouterr().err
    assert read_manifest("run")["config"]["seed"] == 0
    assert run("run", 1, "RANDOM_SEED=3") == 0
    assert read_manifest("run")["config"]["seed"] == 3
    assert run("run", 1) == 2
    assert "another run: seed: 3 → 0" in capsys.readouterr().err
