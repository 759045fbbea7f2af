"""The record that a study keeps of each of its runs: when it was begun, by whom, and how that ended.

It lies beside the runs' folders and not in them, as a run begins its folder anew where nothing of it was saved. Only who
holds the claim of a run's group writes its record.
"""

import dataclasses
import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any, Literal, get_args

from flan_jax.errors import UserError
from flan_jax.files import atomic_write_text

Outcome = Literal["", "done", "diverged", "failed", "stopped"]
"""How an attempt ended; ``""`` where it goes on, or was killed."""
State = Literal["pending", "running", "interrupted", "failed", "diverged", "done"]
STATES: tuple[State, ...] = get_args(State)
_REASON = 1000
"""Of a reason so many characters are kept."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One start of a run, alone or in a group.

    Attributes:
        group: name of the group that it was begun in.
        began, ended: times in ISO 8601, UTC; ``ended`` is ``""`` where nobody was left to write it.
        host, pid: of the process.
        outcome: how it ended.
        reason: why, in a sentence, where it did not reach its end.
        step: steps taken by then.
        wall_seconds: from begin to end, of the whole group, divided by its runs.
    """

    group: str
    began: str
    host: str
    pid: int
    ended: str = ""
    outcome: Outcome = ""
    reason: str = ""
    step: int = 0
    wall_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """All attempts at one run, the oldest first."""

    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def failures(self) -> int:
        """Attempts that failed; those that were stopped or killed are none."""
        return sum(attempt.outcome == "failed" for attempt in self.attempts)

    @property
    def reason(self) -> str:
        """The cause for which the newest attempt did not reach its end; ``""`` where it did, or nobody said."""
        return self.last.reason if self.last else ""

    @property
    def wall_seconds(self) -> float:
        """Of all attempts but those that were killed, whose end nobody noted."""
        return sum(attempt.wall_seconds for attempt in self.attempts)

    def state(self, *, claimed: bool = False) -> State:
        """Returns the state of the run; ``claimed`` says that a living process holds its group."""
        if self.last is not None and self.last.outcome in ("done", "diverged"):
            return "done" if self.last.outcome == "done" else "diverged"
        if self.last is None or claimed:
            return "running" if claimed else "pending"
        return "failed" if self.last.outcome == "failed" else "interrupted"

    def wants_work(self, retries: int) -> bool:
        """Tells whether the run is to be begun, gone on with or tried again."""
        return self.state() in ("pending", "interrupted") or (self.state() == "failed" and self.failures <= retries)

    def began(self, group: str) -> "RunRecord":
        """Returns the record with an attempt that begins now in this process."""
        return RunRecord((*self.attempts, Attempt(group, now(), socket.gethostname(), os.getpid())))

    def ended(self, outcome: Outcome, *, step: int = 0, reason: str = "", wall_seconds: float = 0.0) -> "RunRecord":
        """Returns the record with its newest attempt ended now."""
        last = dataclasses.replace(
            self.attempts[-1],
            ended=now(),
            outcome=outcome,
            step=step,
            reason=reason[:_REASON],
            wall_seconds=round(wall_seconds, 3),
        )
        return RunRecord((*self.attempts[:-1], last))


def now() -> str:
    """Returns the time in ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_record(path: Path) -> RunRecord:
    """Reads the record of a run; one without attempts where there is no file.

    Raises:
        UserError: the file is no record.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        return RunRecord(tuple(Attempt(**attempt) for attempt in found["attempts"]))
    except FileNotFoundError:
        return RunRecord()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no record of a run ({error!r}). Remove it: the run goes on from its checkpoint then."
        ) from error


def write_record(path: Path, record: RunRecord) -> None:
    """Writes the record of a run, whole or not at all.

    Raises:
        WritingError: the file system takes no more.
    """
    attempts = [dataclasses.asdict(attempt) for attempt in record.attempts]
    atomic_write_text(path, json.dumps({"attempts": attempts}, indent=1, ensure_ascii=False) + "\n")
