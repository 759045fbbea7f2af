"""Submitting and following, with programs that stand in for the schedulers' own."""

import os
from pathlib import Path

import pytest

from flan_jax.errors import UserError
from flan_jax.launch import submit as submitting
from flan_jax.launch.gke import gke_submission
from flan_jax.launch.job import Job, Submission
from flan_jax.launch.options import GkeLaunch
from flan_jax.launch.record import note, write_files
from flan_jax.launch.submit import check_tools, follow, submit


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(submitting, "_POLL_S", 0.02)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = Job(("train",), "first", tmp_path / "launches/1", working_dir=tmp_path)
    found.folder.mkdir(parents=True)
    return found


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (2, 2), (None, 1)])
def test_a_script_that_goes_on_by_itself_is_followed_to_its_end(job, code, ends):
    """One that ends without saying so has failed."""
    said = f'echo \'{{"event": "ended", "code": {code}}}\' >>{job.folder}/events.jsonl' if code is not None else ""
    submission = Submission(
        {"run.sh": f"echo one\necho two\n{said}\n"}, ("sh", str(job.folder / "run.sh")), detached=True
    )
    write_files(job.folder, submission)
    heard = []
    assert follow(job, "tpu-vm", submission, submit(submission, job.folder), heard.append) == ends
    assert heard == ["one", "two"]


def test_the_logs_of_an_array_are_told_apart(job):
    (job.folder / "task_0.log").write_text("a\nb")
    (job.folder / "task_1.log").write_text("c\n")
    note(job.folder, "ended", 0, 0)
    note(job.folder, "ended", 137, 0)
    heard = []
    gone = Submission({}, ("sbatch",), show=("true",))
    assert follow(job, "slurm", gone, "7", heard.append) == 137
    assert heard == ["[task_0] a", "[task_0] b", "[task_1] c"]


@pytest.mark.parametrize(("state", "code"), [("Completed", 0), ("Complete SuccessCriteriaMet", 0), ("Failed", 1)])
def test_pods_are_followed_until_the_job_says_how_it_ended(job, tmp_path, monkeypatch, state, code):
    program(tmp_path, "kubectl", f'case "$*" in *" get "*) [ ! -e again ] || echo "{state}"; touch again ;; esac')
    monkeypatch.chdir(tmp_path)
    submission = gke_submission(job, GkeLaunch(image="a"))
    assert follow(job, "gke", submission, "", lambda _: None) == code
    assert (tmp_path / "again").exists()


def test_a_refusal_of_kubernetes(job, tmp_path):
    submission = gke_submission(job, GkeLaunch(image="a"))
    program(
        tmp_path, "kubectl", "echo 'Error from server (AlreadyExists): jobsets \"first\" already exists' >&2; exit 1"
    )
    with pytest.raises(UserError, match=r"kubectl refused what was submitted: .*already exists"):
        submit(submission, job.folder)
    program(tmp_path, "kubectl", "echo 'error: You must be logged in to the server (Unauthorized)' >&2; exit 1")
    with pytest.raises(UserError, match="credentials are missing, expired or too weak") as refused:
        submit(submission, job.folder)
    assert "server" not in str(refused.value)


def test_a_program_that_is_missing_is_named(job, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="kubectl is not on the path"):
        check_tools("gke", gke_submission(job, GkeLaunch(image="a")))
