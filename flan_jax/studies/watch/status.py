"""The state of a study while others work at it: who trains what, how far they are, and when it will be done.

Everything is read from the files that sweeps write, records, claims and each run's `metrics.jsonl`; no process is asked.
"""

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.experiments.run_folder import run_files
from flan_jax.studies.claims import PREPARING, Claims, Owner
from flan_jax.studies.executor import RunProgress
from flan_jax.studies.live_table import seconds_left
from flan_jax.studies.run_states import RunState, run_states
from flan_jax.studies.study_dir import StudyDir

_TAIL = 1 << 16
"""Of a run's metrics so many bytes are read, which hold its last line."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """A process that holds a claim.

    Attributes:
        owner: host, process and the age of its last heartbeat.
        work: the name of what it holds: a group, or ``prepare`` while it fills the study's store.
        runs: those of the group that are not at their end.
        progress: of the run that is farthest; ``None`` before the first logged step.
    """

    owner: Owner
    work: str
    runs: tuple[str, ...] = ()
    progress: RunProgress | None = None


@dataclasses.dataclass(frozen=True)
class StudyStatus:
    """A study as it stands.

    Attributes:
        states: of all runs, by name.
        progress: of the runs that are being trained and have logged a step.
        workers: the processes at work; a process that waits for others holds nothing and is not among them.
        seconds_left: until the runs that were asked for are done, at the speed so far; ``None`` before there is one.
    """

    states: Mapping[str, RunState]
    progress: Mapping[str, RunProgress]
    workers: tuple[Worker, ...]
    seconds_left: float | None


def study_status(study: StudyDir, names: Sequence[str]) -> StudyStatus:
    """Reads the state of a study; nothing of it is changed.

    Args:
        study: the study.
        names: of the runs whose end is estimated.

    Raises:
        UserError: a record is damaged.
    """
    claims = Claims(study.claims)
    states = run_states(study, claims)
    running = [name for name in states if states[name].owner is not None]
    progress = {name: found for name in running if (found := _progress(study, name)) is not None}
    workers = _workers(states, running, progress)
    preparing = claims.owner(PREPARING)
    if preparing is not None:
        workers = (Worker(preparing, PREPARING), *workers)
    trained = [worker.runs[0] for worker in workers if worker.progress is not None]
    seconds = sum(_since(states[name].record.attempts[-1].began) for name in trained)
    return StudyStatus(states, progress, workers, seconds_left(states, names, progress, seconds))


def worker_json(worker: Worker) -> dict[str, Any]:
    """Returns a worker as JSON has it."""
    owner, progress = worker.owner, worker.progress
    return {
        "host": owner.host,
        "pid": owner.pid,
        "since": owner.since,
        "heartbeat_seconds_ago": round(owner.age_s, 1),
        "work": worker.work,
        "runs": list(worker.runs),
        "step": progress.step if progress else None,
        "steps": progress.steps if progress else None,
    }


def worker_line(worker: Worker) -> str:
    """Says in a line what a process does, and when it last gave a sign of life."""
    owner, progress = worker.owner, worker.progress
    runs = f" ({', '.join(worker.runs)})" if worker.runs else ""
    step = f", step {progress.step:,}/{progress.steps:,}" if progress else ""
    return (
        f"process {owner.pid} on {owner.host}: {worker.work}{runs}{step}, last heartbeat {max(owner.age_s, 0):.0f} s ago, "
        f"since {owner.since}"
    )


def _workers(
    states: Mapping[str, RunState], running: Sequence[str], progress: Mapping[str, RunProgress]
) -> tuple[Worker, ...]:
    by_group: dict[str, list[str]] = {}
    for name in running:
        by_group.setdefault(states[name].record.attempts[-1].group, []).append(name)
    found = []
    for group, runs in by_group.items():
        owner = states[runs[0]].owner
        assert owner is not None, "a run that is running has an owner"
        own = [progress[name] for name in runs if name in progress]
        found.append(Worker(owner, group, tuple(runs), max(own, key=lambda one: one.step, default=None)))
    return tuple(found)


def _progress(study: StudyDir, name: str) -> RunProgress | None:
    """Reads how far a run is that another process is training, by its last whole line; ``None`` before there is one."""
    last = _last_line(study.model_dir(name) / run_files.METRICS)
    steps = study.plan(name).options.get("steps", study.base.get("steps"))
    if not isinstance(last.get("step"), int) or not isinstance(steps, int):
        return None
    loss = last.get("loss")
    return RunProgress(last["step"], steps, {name: loss} if isinstance(loss, float) else {})


def _last_line(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return {}
    for line in reversed(lines):
        if line.endswith(b"\n"):  # else it is being written
            try:
                found = json.loads(line)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _since(began: str) -> float:
    """Seconds since a time in ISO 8601."""
    return max((datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(began)).total_seconds(), 0.0)
