"""Several real processes, started from the command line, as one run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compiled_once import compiled_once
from small_mini import small_mini

from flan_jax.cli.main import main
from flan_jax.train.hooks import read_metrics
from flan_jax.train.step_folders import step_folders

HERE = Path(__file__).parent
STEPS = 4
LIMIT_S = 400
"""Only a process that hangs comes near it."""


def command(folder: Path, steps: int, *more: str) -> list[str]:
    bindings = {
        "MIXTURE_OR_TASK_NAME": "mini", "TASK_FEATURE_LENGTHS": "{'inputs': 64, 'targets': 16}", "TRAIN_STEPS": steps,
        "MODEL_DIR": folder, "STORE": folder.parent / f"store_{folder.name}", "BATCH_SIZE": 8, "LOG_PERIOD": 1,
        "CHECKPOINT_PERIOD": 2, "EvalConfig.suites": "()", "run.audit": "off", "T5Config.d_model": 16, "T5Config.num_heads": 2, "T5Config.d_ff": 16,
        "T5Config.num_encoder_layers": 1, "T5Config.num_decoder_layers": 1, "DROPOUT_RATE": 0.0,
    }  # fmt: skip
    files = ["--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin"]
    return ["train", *files, *(f"--gin.{name}={value}" for name, value in bindings.items()), *more]


@pytest.fixture
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that train without an end, with one device each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "XLA_FLAGS": (
            "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        ),
        "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[1]))),
        "JAX_PLATFORMS": "cpu",
    }
    started = []
    for number in range(request.param):
        options = [
            f"--coordinator=127.0.0.1:{port}",
            f"--process_id={number}",
            f"--num_processes={request.param}",
            f"--join_timeout={LIMIT_S}",
            f"--mirror={tmp_path / 'copy'}",
        ]
        arguments = [
            sys.executable,
            str(HERE / "small_mini_process.py"),
            *command(tmp_path / "several", 10**6, *options),
        ]
        with (tmp_path / f"log_{number}").open("w") as log:
            started.append(
                subprocess.Popen(arguments, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True)
            )
    yield started
    for number, process in enumerate(started):
        process.kill()
        process.wait()
        print((tmp_path / f"log_{number}").read_text())  # pytest shows it where the test fails


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("processes", [2, 4], indirect=True)
def test_processes_train_like_one_and_one_goes_on_where_another_was_killed(
    tmp_path: Path, processes: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """They prepare, train and save together; those that are left say why they stop; one process goes on alone."""
    several, deadline = tmp_path / "several", time.monotonic() + LIMIT_S
    copied = tmp_path / "copy" / "run.json"  # which the first process keeps for both
    while (
        len(read_metrics(several / "metrics.jsonl")) < STEPS
        or not step_folders(several / "checkpoints")
        or not copied.is_file()
    ):
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes[0].send_signal(signal.SIGKILL)
    for number, process in enumerate(processes[1:], 1):
        assert process.wait(LIMIT_S) == 75
        said = (tmp_path / f"log_{number}").read_text()
        assert "Process 0 on 127.0.0.1 has ended without a word, and the run cannot go on without it." in said
        assert "run the same command again to continue from it" in said
    copy = json.loads(copied.read_text(encoding="utf-8"))
    assert f"checkpoints/{copy['step']}/checksums.json" in copy["files"]
    assert json.loads((several / "manifest.json").read_text(encoding="utf-8"))["hardware"]["processes"] == len(
        processes
    )

    with small_mini(), compiled_once():
        assert main(command(tmp_path / "one", STEPS)) == 0
        last = max(step_folders(several / "checkpoints"))
        assert main(command(several, last + 2)) == 0  # with other devices than those had
    resumed = re.search(r"resuming at step (\d+) of", capsys.readouterr().err)
    # The kill may have come before what makes the newest checkpoint whole.
    assert resumed is not None
    assert int(resumed[1]) in (last - 2, last)
    one, both = read_metrics(tmp_path / "one" / "metrics.jsonl"), read_metrics(several / "metrics.jsonl")
    assert [line["step"] for line in both] == list(range(1, last + 3))
    for mine, theirs in zip(one, both, strict=False):
        np.testing.assert_allclose([mine["loss"], mine["grad_norm"]], [theirs["loss"], theirs["grad_norm"]], rtol=1e-4)
        assert mine["sampled"] == theirs["sampled"]
