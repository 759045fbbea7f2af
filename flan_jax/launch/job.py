"""A command to be launched, and the files and commands that a target makes of it."""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

RESUBMIT = 75
"""Exit code of a command that was stopped and continues from a checkpoint when it is run again."""


AS_GIVEN = "# shellcheck disable=SC2016  # words of the command stand as they were given"


@dataclasses.dataclass(frozen=True)
class Job:
    """A command of flan-jax to be launched.

    Attributes:
        command: its words, without ``flan-jax``.
        name: of the launch, as schedulers take it.
        folder: of the launch's record and logs, in the run's own.
        program: the words that start flan-jax on this machine.
        working_dir: the folder that the command's relative paths start from.
    """

    command: tuple[str, ...]
    name: str
    folder: Path
    program: tuple[str, ...] = ("flan-jax",)
    working_dir: Path = Path()


@dataclasses.dataclass(frozen=True)
class Submission:
    """Files and the command that submits them.

    Attributes:
        files: their content by their names in the launch's folder.
        command: the words that submit them.
        follow: the words that stream its logs; ``{id}`` stands for what the scheduler calls the job.
        show: the words that show its state, likewise.
        detached: whether the command goes on after it was submitted, so that launch does not wait for it.
    """

    files: dict[str, str]
    command: tuple[str, ...]
    follow: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    detached: bool = False


def text_of(submission: Submission, folder: Path) -> str:
    """Writes out exactly what would be submitted: each file with its path, then the command."""
    parts = [f"# {folder / name}\n{content.rstrip()}\n" for name, content in submission.files.items()]
    return "\n".join([*parts, f"# submitted with\n{shlex.join(submission.command)}\n"])


def scheduler_name(text: str) -> str:
    """Makes a name that every scheduler takes of any text.

    >>> scheduler_name("runs/No_Entailment.2"), scheduler_name("7b")
    ('no-entailment-2', 'run-7b')
    """
    found = re.sub(r"[^a-z0-9]+", "-", text.rstrip("/").rpartition("/")[2].lower()).strip("-")
    found = found if found[:1].isalpha() else f"run-{found}"
    return found[:40].strip("-")


def lines(*parts: str | Sequence[str]) -> str:
    """Joins lines and lists of lines; empty ones are left out."""
    found = [line for part in parts for line in ([part] if isinstance(part, str) else part) if line]
    return "\n".join(found) + "\n"
