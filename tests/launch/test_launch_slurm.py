"""A real Slurm on loopback: a run that is preempted comes back and ends as one that was not; a study loses a worker.

`make test-slurm` runs these, as root, where Debian's slurmctld, slurmd, slurm-client and munge are installed.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flan_jax.errors import UserError
from flan_jax.launch.job import Job
from flan_jax.launch.options import SlurmLaunch
from flan_jax.launch.record import events, write_files
from flan_jax.launch.slurm import slurm_submission
from flan_jax.launch.submit import check_partition, follow, submit

ROOT = Path(__file__).parents[2]
START = ROOT / "tools/dev/slurm_loopback.sh"
PROGRAM = Path(sys.executable).with_name("flan-jax")
LIMIT_S = 300
"""For one thing that a job does; only one that hangs comes near it."""


def _missing() -> str:
    if os.environ.get("FLAN_JAX_SLURM") != "1":
        return "make test-slurm runs these against a Slurm of their own"
    if os.getuid() != 0:
        return "root is needed to start Slurm's daemons"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


pytestmark = [pytest.mark.skipif(bool(_missing()), reason=_missing()), pytest.mark.timeout(1200)]

TINY = """
include 'models/t5_tiny.gin'
include 'runs/finetune.gin'
MIXTURE_OR_TASK_NAME = 'word_category'
VOCABULARY = 'bytes'
TASK_FEATURE_LENGTHS = {'inputs': 64, 'targets': 16}
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
BATCH_SIZE = 8
LOG_PERIOD = 5
EvalConfig.before = False
"""
STEPS = 30
STUDIED = """
MIXTURE_OR_TASK_NAME = 'mini'
VOCABULARY = ''
KEEP = ('word_category',)
TRAIN_STEPS = 30
EvalConfig.max_examples = 16
EvalConfig.tasks = ('word_category',)
"""
STUDY = """
include 'tiny.gin'
EvalConfig.suites = ('held_in',)
study.name = 'rates'
study.objective = 'held_in:word_category/accuracy'
study.factors = (@Values(),)
Values.option = 'OptimizerConfig.learning_rate'
Values.values = (5e-4, 1e-3)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a cluster that lives as long as this module's tests."""
    folder = tmp_path_factory.mktemp("slurm")
    said = subprocess.run([START, "start", folder], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", said.stdout.strip().partition("=")[2])
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1")
        yield folder
    subprocess.run([START, "stop", folder], check=True)


def launch(folder, *words):
    """Submits; returns the number of the job and the launch's folder."""
    done = subprocess.run([PROGRAM, "launch", "slurm", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[2].rstrip(";"), folder / done.stdout.split(": ")[1].strip()


def until(found, what, folder):
    """Waits for something that another process does; its logs are shown where it does not."""
    end = time.monotonic() + LIMIT_S
    while not (value := found()):
        logs = "\n".join(path.read_text() for path in folder.glob("**/launches/*/*.log"))
        assert time.monotonic() < end, f"{what} did not come:\n{logs}"
        time.sleep(0.1)
    return value


def rows(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.is_file() else []


def ended(folder):
    return [event["code"] for event in events(folder) if event["event"] == "ended"]


def values(run):
    """What a run measured at each step, clocks left out."""
    return {
        row["step"]: (row["loss"], row["grad_norm"], row["tokens"], row["accuracy"])
        for row in rows(run / "metrics.jsonl")
    }


def digests(run):
    """The checksums of the last checkpoint's files."""
    return json.loads((run / f"checkpoints/{STEPS}/checksums.json").read_text())["files"]


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_preempted_run_comes_back_and_ends_as_if_it_had_not_been(slurm, tmp_path, tasks):
    if tasks > 1 and importlib.util.find_spec("flan_jax.launch.membership") is None:
        pytest.skip("`flan-jax train` does not join several processes yet")
    (tmp_path / "tiny.gin").write_text(TINY + "EvalConfig.suites = ()\n")
    run = [
        f"--tasks_per_node={tasks}",
        "--",
        "train",
        "--gin_file=tiny.gin",
        f"--gin.TRAIN_STEPS={STEPS}",
        "--gin.STORE=store",
    ]
    _, calm = launch(tmp_path, *run, "--gin.MODEL_DIR=runs/calm")
    until(lambda: ended(calm), "the end of the undisturbed run", tmp_path)
    number, folder = launch(tmp_path, *run, "--gin.MODEL_DIR=runs/stopped")
    until(lambda: rows(tmp_path / "runs/stopped/metrics.jsonl"), "a first step", tmp_path)
    subprocess.run(["scancel", "--signal=TERM", number], check=True)
    until(lambda: ended(folder), "the end of the run that was preempted", tmp_path)
    assert [(event["event"], event["code"], event["restarts"]) for event in events(folder)] == [
        ("started", 0, 0), ("requeued", 75, 0), ("started", 0, 1), ("ended", 0, 1),
    ]  # fmt: skip
    assert values(tmp_path / "runs/stopped")[STEPS] == values(tmp_path / "runs/calm")[STEPS]
    record = json.loads((folder / "launch.json").read_text())
    assert (record["target"], record["id"], record["options"]["tasks_per_node"]) == ("slurm", number, tasks)


def test_a_study_loses_a_worker_and_is_done(slurm, tmp_path):
    (tmp_path / "tiny.gin").write_text(TINY + STUDIED)
    (tmp_path / "study.gin").write_text(STUDY)
    words = ["--array=2", "--array_parallel=1", "--", "sweep", "--gin_file=study.gin", "--study_dir=study"]
    _, folder = launch(tmp_path, *words, "--runs_per_group=1", "--gin.STORE=store")
    runs = tmp_path / "study/runs"
    until(lambda: ended(folder) or [path for path in runs.glob("*/metrics.jsonl") if rows(path)], "a step", tmp_path)
    assert not ended(folder)
    owners = {json.loads(path.read_text())["pid"] for path in (tmp_path / "study/claims").glob("*/*.json")}
    for pid in owners:  # of the one worker that runs
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(ended(folder)) == 2, "the end of both workers", tmp_path)
    assert ended(folder) == [137, 0]
    status = subprocess.run(
        [PROGRAM, "sweep", "--status", "--json", "--study_dir=study"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(status.stdout)["states"] == {"done": 2}


def test_tasks_find_their_coordinator(slurm, tmp_path):
    script = (
        "import os, jax\n"
        "jax.config.update('jax_cpu_collectives_implementation', 'gloo')\n"
        "given = os.environ\n"
        "jax.distributed.initialize(given['JAX_COORDINATOR_ADDRESS'], int(given['JAX_NUM_PROCESSES']), int(given['JAX_PROCESS_ID']))\n"
        "from jax.experimental.multihost_utils import process_allgather\n"
        "print('sum', process_allgather(jax.numpy.asarray([jax.process_index() + 1])).sum())\n"
    )
    job = Job(("-c", script), "join", tmp_path / "launch", program=(sys.executable,), working_dir=tmp_path)
    submission = slurm_submission(job, SlurmLaunch(tasks_per_node=2))
    write_files(job.folder, submission)
    said = []
    assert follow(job, "slurm", submission, submit(submission, job.folder), said.append) == 0
    assert [line for line in said if line.startswith("sum")] == ["sum 3", "sum 3"]


def test_a_canceled_job_does_not_come_back(slurm, tmp_path):
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)\n"
    )
    job = Job(("-c", script), "canceled", tmp_path / "launch", program=(sys.executable,), working_dir=tmp_path)
    submission = slurm_submission(job, SlurmLaunch())
    write_files(job.folder, submission)
    number = submit(submission, job.folder)
    log = job.folder / "job.log"
    until(lambda: log.is_file() and "ready" in log.read_text(), "its first line", tmp_path)
    subprocess.run(["scancel", number], check=True)
    show = ["squeue", "--noheader", "--jobs", number, "--format", "%T"]
    until(
        lambda: not subprocess.run(show, capture_output=True, text=True, check=False).stdout.strip(),
        "its end",
        tmp_path,
    )
    assert "requeued" not in [event["event"] for event in events(job.folder)]


def test_a_partition_that_is_not_there(slurm):
    with pytest.raises(UserError, match=r"partition is 'mian', which the cluster does not have. Did you mean 'main'\?"):
        check_partition(SlurmLaunch(partition="mian"))
    check_partition(SlurmLaunch(partition="main"))


def test_what_slurm_refuses_is_a_sentence(slurm, tmp_path):
    job = Job(("train",), "large", tmp_path / "launch", working_dir=tmp_path)
    submission = slurm_submission(job, SlurmLaunch(constraint="gold"))
    write_files(job.folder, submission)
    with pytest.raises(UserError, match="sbatch refused what was submitted"):
        submit(submission, job.folder)
