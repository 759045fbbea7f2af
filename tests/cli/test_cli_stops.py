"""What a stop or a full disk says through the command line: one line, and the exit code that a loop can go by."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from flan_jax.experiments import setup
from flan_jax.experiments.weights import import_hf

TRAIN = (
    "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.MIXTURE_OR_TASK_NAME=mini",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "--gin.BATCH_SIZE=8", "--gin.TRAIN_STEPS=3",
)  # fmt: skip


@pytest.mark.parametrize(
    ("signum", "saved", "code", "says"),
    [
        (signal.SIGTERM, True, 75, "stopped by SIGTERM: the checkpoint of step 3 is saved; run the same command again"),
        (signal.SIGTERM, False, 143, "stopped by SIGTERM: nothing was saved yet"),
        (signal.SIGINT, True, 130, "stopped by Ctrl-C: the checkpoint of step 3 is saved"),
        (signal.SIGINT, False, 130, "stopped by Ctrl-C: nothing was saved yet"),
    ],
)
def test_training_outside_its_steps(signum, saved, code, says, cli, tmp_path, monkeypatch):
    """Before it, between its parts and behind it: while the data is prepared, in this case."""

    def stopped(*_, **__):
        os.kill(os.getpid(), signum)
        raise AssertionError("went on")

    monkeypatch.setattr(setup, "prepare_run", stopped)
    if saved:
        (tmp_path / "run" / "checkpoints" / "3" / "state").mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / "3" / "state" / "file").write_text("1")
    outcome = cli(*TRAIN, f"--gin.MODEL_DIR={tmp_path / 'run'}", f"--gin.STORE={tmp_path / 'store'}")
    assert outcome.code == code
    assert next(line for line in outcome.err.splitlines() if line.startswith("stopped")).startswith(says)
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_another_command(signum, code, cli, tmp_path, monkeypatch):
    def stopped(*_, **__):
        os.kill(os.getpid(), signum)
        raise AssertionError("went on")

    monkeypatch.setattr(import_hf, "model_folder", stopped)
    outcome = cli("import-hf", str(tmp_path), str(tmp_path / "made"))
    assert outcome.code == code
    assert "nothing half-written is left; run the same command again" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/file"),
            "'/full/file' cannot be read or written: there is",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/read/only"),
            "'/read/only' cannot be read or written: it may only",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/secret"),
            "'/secret' may not be read or written by this user",
        ),
        (
            ValueError("RESOURCE_EXHAUSTED [os_error_code='28']"),
            "A file cannot be read or written: there is no space left",
        ),
    ],
)
def test_a_disk_that_refuses_is_no_fault_of_ours(error, sentence, refused, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(import_hf, "model_folder", fail)
    assert refused("import-hf", str(tmp_path), str(tmp_path / "made")).startswith(sentence)


ENDS = """
import atexit
from flan_jax.cli import main as cli
cli.main = lambda: {code}
atexit.register(print, "taken down")
print("said")
cli.script()
"""


@pytest.mark.parametrize(
    ("code", "said"), [(0, "said\ntaken down\n"), (2, "said\ntaken down\n"), (75, "said\n"), (130, "said\n")]
)
def test_a_stopped_process_takes_nothing_down_that_still_computes(code, said):
    """Python's own way out destroys what XLA's threads compute with, and crashed now and then with another exit code."""
    done = subprocess.run([sys.executable, "-c", ENDS.format(code=code)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")
