"""Renders and tokenizes each task once, into the token store (``prepare``).

The fingerprint of a prepared split covers everything its tokens depend on, so a second run
writes only what changed, and a store made from something else is never taken for this one.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flan_jax.data.prepare import split_job
from flan_jax.data.prepare.config import PrepareConfig, combine_parts
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.prepare.split_job import PreparedSplit, SplitJob
from flan_jax.data.prepare.workers import write_all
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.task import Task

__all__ = [
    "PrepareProgress",
    "PrepareReport",
    "PreparedSplit",
    "fingerprint_parts",
    "prepare",
    "task_fingerprint",
]


@dataclasses.dataclass(frozen=True)
class PrepareReport:
    """The outcome of ``prepare``, split by split, in the order requested."""

    splits: tuple[PreparedSplit, ...]
    seconds: float

    @property
    def written(self) -> int:
        """Splits that were tokenized now."""
        return sum(not split.skipped for split in self.splits)

    @property
    def skipped(self) -> int:
        """Splits that were there already."""
        return sum(split.skipped for split in self.splits)

    @property
    def damaged(self) -> int:
        """Splits that were there but damaged, and were written again."""
        return sum(split.damaged for split in self.splits)

    @property
    def examples(self) -> int:
        """Examples of all splits."""
        return sum(split.examples for split in self.splits)

    @property
    def tokens(self) -> int:
        """Tokens of all splits, inputs and targets."""
        return sum(split.input_tokens + split.target_tokens for split in self.splits)

    @property
    def truncated_inputs(self) -> int:
        """Examples of all splits whose input was cut."""
        return sum(split.truncated_inputs for split in self.splits)

    @property
    def truncated_targets(self) -> int:
        """Examples of all splits whose target was cut."""
        return sum(split.truncated_targets for split in self.splits)

    @property
    def dropped(self) -> int:
        """Records of all splits left out because a side is too long."""
        return sum(split.dropped for split in self.splits)

    @property
    def unreadable(self) -> int:
        """Records of all splits left out because they cannot be read or rendered."""
        return sum(split.unreadable for split in self.splits)

    @property
    def filtered(self) -> int:
        """Records of all splits left out because they are no examples of their task."""
        return sum(split.filtered for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        totals = (
            "written",
            "skipped",
            "damaged",
            "examples",
            "tokens",
            "truncated_inputs",
            "truncated_targets",
            "dropped",
            "unreadable",
        )
        return {
            **{total: getattr(self, total) for total in totals},
            "left_out": self.filtered,
            "seconds": round(self.seconds, 3),
            "splits": [split.as_dict() for split in self.splits],
        }


PrepareProgress = Callable[[int, int, PreparedSplit], None]
"""Called after each split as ``progress(done, total, split)``."""


def prepare(
    tasks: Iterable[tuple[Task, Sequence[str]]],
    config: PrepareConfig,
    *,
    store: TokenStore,
    progress: PrepareProgress | None = None,
    processes: int = 1,
    verify: bool = False,
    modules: Sequence[str] = (),
) -> PrepareReport:
    """Prepares every requested (task, split) that is not in the store yet.

    Args:
        tasks: tasks with the splits requested of each; a pair requested twice is prepared once.
        config: how they are prepared.
        store: written to.
        progress: called after each split.
        processes: how many processes work at a time; what is stored is the same.
        verify: compare everything in the store with its checksums, even what this machine verified before; a damaged
            split is written again in any case.
        modules: imported by every worker process first, where tasks are found by name in a
            registry that modules fill, such as seqio's.

    Raises:
        UserError: a task without such a split or without records in it, a record that cannot be read or rendered, a
            full disk. Splits finished before stay prepared.
    """
    if processes < 1:
        raise UserError(f"The number of processes is {processes}, but at least one must work.")
    plan = PreparePlan(tasks, config, store, verify=verify, progress=progress)
    made = write_all(plan.to_write, config, store, processes=processes, modules=modules)
    with store.tidied(), contextlib.closing(made) as written:
        for job, split in written:
            plan.mark_done(job, split)
    return plan.report()


class PreparePlan:
    """Divides the requested splits into those in the store and those to write, and collects the outcomes.

    Args:
        tasks: tasks with the splits requested of each; a pair requested twice counts once.
        config: how they are prepared.
        store: searched for them.
        verify: compare everything in the store with its checksums.
        progress: called after each split, beginning with those found.

    Attributes:
        to_write: the splits that are not there, or damaged.

    Raises:
        UserError: two different tasks of one name, or a source that is not there.
    """

    def __init__(
        self,
        tasks: Iterable[tuple[Task, Sequence[str]]],
        config: PrepareConfig,
        store: TokenStore,
        *,
        verify: bool,
        progress: PrepareProgress | None,
    ) -> None:
        self._start = time.monotonic()
        self._progress = progress
        self._jobs = [split_job.make_job(task, split, config) for (_, split), task in requested_splits(tasks).items()]
        self._done: dict[tuple[str, str], PreparedSplit] = {}
        self.to_write: list[SplitJob] = []
        for job in self._jobs:
            found = split_job.find_prepared(job, store, verify=verify)
            if isinstance(found, SplitJob):
                self.to_write.append(found)
            else:
                self.mark_done(job, found)

    def mark_done(self, job: SplitJob, split: PreparedSplit) -> None:
        """Records the outcome of ``job`` and reports progress."""
        self._done[job.task.name, job.split] = split
        if self._progress is not None:
            self._progress(len(self._done), len(self._jobs), split)

    def report(self) -> PrepareReport:
        """Returns the report, once every job is done."""
        splits = tuple(self._done[job.task.name, job.split] for job in self._jobs)
        return PrepareReport(splits, time.monotonic() - self._start)


def requested_splits(tasks: Iterable[tuple[Task, Sequence[str]]]) -> dict[tuple[str, str], Task]:
    """Collects the tasks by (name, split), each once, in the order requested.

    Raises:
        UserError: two different tasks of one name.
    """
    wanted: dict[tuple[str, str], Task] = {}
    for task, splits in tasks:
        for split in splits:
            if wanted.setdefault((task.name, split), task) != task:
                raise UserError(f"Two different tasks are named {task.name!r}. Give one of them a variant.")
    return wanted


def task_fingerprint(task: Task, split: str, config: PrepareConfig) -> str:
    """Digests everything that the tokens of ``split`` depend on; hexadecimal."""
    return combine_parts(fingerprint_parts(task, split, config))


def fingerprint_parts(task: Task, split: str, config: PrepareConfig) -> dict[str, str]:
    """Returns the digests that ``task_fingerprint`` combines, by name, so that an error can name the part that changed.

    Raises:
        UserError: a source that is not there.
    """
    return make_preprocessor(task, config).fingerprint_parts(split)
