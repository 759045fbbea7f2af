"""The record of a launch, in the folder of the run that it starts: what was submitted, when, and as what."""

import contextlib
import dataclasses
import datetime
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.files import atomic_write_text
from flan_jax.launch.job import Job, Submission
from flan_jax.launch.options import LaunchConfig

FOLDER = "launches"
RECORD = "launch.json"
EVENTS = "events.jsonl"


def next_folder(root: Path, target: str) -> Path:
    """Names the folder of the next launch of a run: ``launches/3-slurm`` behind two others."""
    found = root / FOLDER
    numbers = [int(match[1]) for path in found.glob("*-*") if (match := re.match(r"(\d+)-", path.name))]
    return found / f"{max(numbers, default=0) + 1}-{target}"


def write_files(folder: Path, submission: Submission) -> None:
    """Writes what will be submitted.

    Raises:
        WritingError: the file system takes no more.
    """
    for name, content in submission.files.items():
        atomic_write_text(folder / name, content)


def write_record(job: Job, target: str, options: LaunchConfig, submission: Submission, identity: str) -> None:
    """Writes what was submitted.

    Args:
        job: what is launched.
        target: the kind of machines.
        options: of the target.
        submission: what was made of them.
        identity: what the scheduler calls the job.
    """
    content: dict[str, Any] = {
        "target": target,
        "name": job.name,
        "id": identity,
        "command": ["flan-jax", *job.command],
        "options": dataclasses.asdict(options),
        "files": sorted(submission.files),
        "submitted_with": list(submission.command),
        "working_dir": str(job.working_dir.resolve()),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    atomic_write_text(job.folder / RECORD, json.dumps(content, indent=1) + "\n")


@contextlib.contextmanager
def taken_back(folder: Path) -> Iterator[None]:
    """Removes the folder of a launch, and those above it that were made for it, where what is done inside fails."""
    made = [path for path in folder.parents if not path.exists()]
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:
            with contextlib.suppress(OSError):  # another process has put something there by now
                path.rmdir()
        raise


def note(folder: Path, event: str, code: int, restarts: int) -> None:
    """Adds what happened to a launch to its events."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / EVENTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": now, "restarts": restarts, "event": event, "code": code}) + "\n")


def events(folder: Path) -> list[dict[str, Any]]:
    """Reads what happened to a launch, a line that is being written left out."""
    path = folder / EVENTS
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]
