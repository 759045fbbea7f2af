"""Submitting with the scheduler's own commands, and following what they do; what they refuse is put into a sentence."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from flan_jax.errors import UserError, did_you_mean
from flan_jax.launch.job import Job, Submission
from flan_jax.launch.options import LaunchConfig, SlurmLaunch
from flan_jax.launch.record import EVENTS, events

LOG = "job.log"
_CREDENTIALS = re.compile(
    r"credential|unauthori[sz]ed|not logged in|auth login|token|permission denied|forbidden", re.I
)
_WHERE = {
    "sbatch": "Run it on a login node of the cluster",
    "kubectl": "Install it and name the cluster in its configuration",
    "gcloud": "Install the Google Cloud CLI",
    "sky": "Install SkyPilot in an environment of its own, and put that on the path",
    "bash": "Install it",
}
_LOGIN = {
    "kubectl": "kubectl's login",
    "gcloud": "gcloud auth login",
    "sky": "sky check",
    "sbatch": "ask for an account",
}
_POLL_S = 2.0
Say = Callable[[str], None]


def check_tools(target: str, submission: Submission) -> None:
    """Refuses to go on where a program that the target needs is not on the path.

    Raises:
        UserError: one is not.
    """
    for program in (submission.command[0], *(["gcloud"] if target == "tpu-vm" else [])):
        if shutil.which(program) is None:
            raise UserError(
                f"{program} is not on the path, and `launch {target}` submits with it. {_WHERE[program]}, or add --dry_run to "
                "see what would be submitted."
            )


def check_partition(options: LaunchConfig) -> None:
    """Refuses a partition that the cluster does not have, where Slurm can be asked.

    Raises:
        UserError: there is none of that name.
    """
    if not isinstance(options, SlurmLaunch) or not options.partition or shutil.which("sinfo") is None:
        return
    asked = _run(("sinfo", "--noheader", "--format", "%R"))
    known = asked.stdout.split()
    if asked.returncode == 0 and known and not set(options.partition.split(",")) <= set(known):
        hint = did_you_mean(options.partition, known) or f" It has {', '.join(known)}."
        raise UserError(f"partition is {options.partition!r}, which the cluster does not have.{hint}")


def submit(submission: Submission, folder: Path) -> str:
    """Hands the files to the scheduler; returns what it calls the job.

    Raises:
        UserError: it refuses.
    """
    if submission.detached:
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                submission.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return str(process.pid)
    done = _run(submission.command)
    if done.returncode:
        raise UserError(_refusal(submission.command[0], done.stderr or done.stdout))
    first = done.stdout.strip().splitlines() or [""]
    return first[0].partition(";")[0].strip() if submission.command[0] == "sbatch" else first[0].strip()


def _refusal(program: str, said: str) -> str:
    """Puts a scheduler's refusal into a sentence; nothing of it is repeated where it may hold part of a credential."""
    if _CREDENTIALS.search(said):
        return f"{program} does not let this user in: the credentials are missing, expired or too weak. Try {_LOGIN[program]}."
    last = [line.strip() for line in said.splitlines() if line.strip()][-1:] or ["it said nothing"]
    return f"{program} refused what was submitted: {last[0][:500]}. --dry_run shows what that was."


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def follow(job: Job, target: str, submission: Submission, identity: str, say: Say) -> int:
    """Streams the logs of what was submitted until it has ended; returns its exit code.

    Args:
        job: the launch.
        target: the kind of machines.
        submission: what was submitted.
        identity: what the scheduler calls it.
        say: is given each line.
    """
    if target == "slurm":
        command = [word.replace("{id}", identity) for word in submission.show]
        return _follow_files(job.folder, lambda: bool(_run(command).stdout.strip()), say)
    if target == "tpu-vm":
        return _follow_files(job.folder, lambda: not _ended(job.folder) and _lives(int(identity)), say)
    if target == "gke":
        return _follow_pods(submission)
    return subprocess.run(submission.follow, check=False).returncode


def _follow_files(folder: Path, goes_on: Callable[[], bool], say: Say) -> int:
    """Shows what is written to the logs of a folder until the job is gone, and what was written by then."""
    read: dict[Path, int] = {}
    alive = True
    while alive:
        alive = goes_on()
        for path in sorted(folder.glob("*.log")):
            if path.name == "attempt.log":
                continue
            with path.open("rb") as file:
                file.seek(read.get(path, 0))
                text = file.read()
            whole = text if not alive else text[: text.rfind(b"\n") + 1]
            read[path] = read.get(path, 0) + len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                say(line if path.name == LOG else f"[{path.stem}] {line}")
        if alive:
            time.sleep(_POLL_S)
    codes = [event["code"] for event in events(folder) if event["event"] == "ended"]
    return max(codes) if codes else 1


def _ended(folder: Path) -> bool:
    return (folder / EVENTS).is_file() and any(event["event"] == "ended" for event in events(folder))


def _lives(pid: int) -> bool:
    """Tells whether a process that this one started runs."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    return False


def _follow_pods(submission: Submission) -> int:
    """Streams the pods' logs, again after each restart, until the job says that it has ended."""
    while True:
        subprocess.run(submission.follow, stderr=subprocess.DEVNULL, check=False)
        state = _run(submission.show)
        words = state.stdout.split()
        if state.returncode or "Failed" in words:
            return 1
        if "Completed" in words or "Complete" in words:
            return 0
        time.sleep(_POLL_S)
