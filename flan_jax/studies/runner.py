"""Running a study: group after group, whatever is not at its end yet, until nothing is left or a signal comes.

Everything that is decided stands in files before it is acted upon, so a process that is killed at any moment leaves what
the next one goes on from: runs that are done are skipped, a group that was begun goes on from its checkpoint.
"""

import dataclasses
import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from flan_jax import signals
from flan_jax.errors import UserError
from flan_jax.eval.suites import sentence
from flan_jax.experiments.run_folder.run_lock import RunHeldError
from flan_jax.files import WritingError, refusal
from flan_jax.studies.claims import PREPARING, Claims, LostClaimError, Owner
from flan_jax.studies.executor import Executor, RunEnd, RunProgress
from flan_jax.studies.run_records import Outcome, State
from flan_jax.studies.scheduler import ClaimedGroup, Group, Scheduler, group_folder
from flan_jax.studies.study_dir import StudyDir
from flan_jax.studies.watch.stalls import StallWatch
from flan_jax.train.finite import DivergedError
from flan_jax.train.loop import Preempted

DATABASE = "database"
"""The claim under which the database of a study is written."""
_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
"""Between two looks at the work of others, when nothing else is left: the first pause, and the longest."""
_HELD_S = 30.0
"""Between two tries of runs whose folders others are writing into."""


class Listener(Protocol):
    """Shows what happens. Nothing that it does changes what is run."""

    def began(self, group: Group) -> None:
        """Told when a group is begun, or goes on."""

    def progress(self, group: Group, progress: RunProgress) -> None:
        """Told after every logged step of a group."""

    def ended(self, group: Group, names: Sequence[str]) -> None:
        """Told when runs ended, in whatever way; their records and the database say how."""

    def waiting(self, names: Sequence[str]) -> None:
        """Told, once, when all that is left is in the hands of other processes."""

    def say(self, line: str) -> None:
        """Told in a sentence what is odd."""


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep.

    Attributes:
        states: number of the selected runs by state.
    """

    states: dict[State, int]

    @property
    def failed(self) -> int:
        """Runs that failed as often as they may."""
        return self.states.get("failed", 0)


def sweep(
    study: StudyDir,
    executor: Executor,
    *,
    listener: Listener,
    selected: Sequence[str],
    retries: int,
    claims: Claims,
    store: Callable[[Sequence[str] | None], None] = lambda names: None,
    stalled_after_s: float = 0.0,
) -> SweepResult:
    """Brings the selected runs to their ends.

    Args:
        study: the study.
        executor: trains the runs.
        listener: shows what happens.
        selected: names of runs; others are left as they are.
        retries: how often a run that failed is tried again.
        claims: of this process, in the study's folder.
        store: told which runs changed, to bring the database up to date; at first ``None``, for all of them.
        stalled_after_s: a group without a logged step for so long is noted as failed, and the process ends with 75: what
            hangs in a library cannot be ended otherwise, and others go on at once. 0 lets it hang.

    Raises:
        Preempted: a signal came while runs were trained, and what they reached is saved.
        WritingError: the disk is full; what is done is kept.
        UserError: what the runs read cannot be prepared.
    """
    if not selected:
        raise UserError("No runs are selected, so there is nothing to do. Name some with --runs, or leave it out.")
    scheduler = Scheduler(study, claims, executor, selected=selected, retries=retries)
    sweeping = _Sweep(study, executor, listener, claims, store, stalled_after_s)
    sweeping.changed(None)  # what others did since, and what a kill between a run's record and its rows left undone
    wanted = scheduler.wanted()
    if wanted:
        with claims.holding(PREPARING, lambda owner: listener.say(_prepares(owner))):
            executor.prepare([study.plan(name) for name in wanted])
    pause = _WAIT_S
    while wanted := scheduler.wanted():
        work = scheduler.next(leave=sweeping.held())
        if work is not None:
            sweeping.run(work)
            pause = _WAIT_S
            continue
        if pause == _WAIT_S:
            listener.waiting(wanted)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT_S)
    sweeping.changed(None)
    return SweepResult(dict(Counter(study.record(name).state() for name in selected)))


class _Sweep:
    """The work of one process on the groups that it is given."""

    def __init__(
        self,
        study: StudyDir,
        executor: Executor,
        listener: Listener,
        claims: Claims,
        store: Callable[[Sequence[str] | None], None],
        stalled_after_s: float,
    ) -> None:
        self._study, self._executor, self._listener, self._claims = study, executor, listener, claims
        self._store, self._stalled_after_s = store, stalled_after_s
        self._held_until: dict[str, float] = {}

    def held(self) -> list[str]:
        """Names the groups whose folders another process was found writing into a moment ago."""
        return [name for name, until in self._held_until.items() if time.monotonic() < until]

    def run(self, work: ClaimedGroup) -> None:
        """Trains a group, notes how it ended, and lets go of it."""
        group, claim = work.group, work.claim
        try:
            self._note_begin(group)
            self.changed(group.runs)
            self._listener.began(group)
            began = time.monotonic()
            try:
                with StallWatch(self._stalled_after_s, lambda silent: self._stalled(work, began, silent)) as watch:
                    ends = self._train(group, watch)
            except (Preempted, KeyboardInterrupt) as stop:
                self._note(work, [], began, otherwise=("stopped", _words(stop)))
                raise
            except RunHeldError as error:
                self._held_until[group.name] = time.monotonic() + _HELD_S
                self._listener.say(f"{error} The others go on.")
                self._note(work, [], began, otherwise=("stopped", str(error)))
                return
            self._note(work, ends, began)
        except LostClaimError as error:
            self._listener.say(f"{error} It was silent for too long, and its results are left to that one.")
        finally:
            self._claims.release(claim)

    def _stalled(self, work: ClaimedGroup, began: float, silent: float) -> None:
        """Notes that a group hangs, lets go of it and ends the process; in the thread that found it out."""
        try:
            reason = f"no step for {silent:.0f} s: the process was ended, as it hung"
            self._listener.say(f"{work.group.name}: {reason}. Others may go on with its runs.")
            self._note(work, [], began, otherwise=("failed", reason))
            self._claims.release(work.claim)
        finally:
            os._exit(signals.TEMPORARY_FAILURE)

    def _train(self, group: Group, watch: StallWatch) -> tuple[RunEnd, ...]:
        """The ends of a group's runs; what went wrong with all of them is the end of each."""
        plans = [self._study.plan(name) for name in group.runs]
        folder = group_folder(self._study, group)

        def on_progress(progress: RunProgress) -> None:
            watch.progress()
            self._listener.progress(group, progress)

        try:
            return self._executor.train(plans, folder, on_progress)
        except (RunHeldError, WritingError, Preempted):
            raise
        except DivergedError as error:
            if len(plans) == 1:
                return (RunEnd(plans[0].name, "diverged", error.step, sentence(error)),)
            failure: Exception = error
        except Exception as error:
            if refusal(error) in (errno.ENOSPC, errno.EDQUOT):  # no fault of the runs, and none of them could be noted
                raise
            failure = error
        return tuple(RunEnd(plan.name, "failed", 0, sentence(failure)) for plan in plans)

    def _note_begin(self, group: Group) -> None:
        for name in group.runs:
            record = self._study.record(name)
            if record.state() not in ("done", "diverged"):
                self._study.note(name, record.began(group.name))

    def _note(
        self, work: ClaimedGroup, ends: Sequence[RunEnd], began: float, *, otherwise: tuple[Outcome, str] | None = None
    ) -> None:
        """Writes the ends into the records, or of all runs the same one, unless the group is another process's by now."""
        work.claim.check()
        seconds = (time.monotonic() - began) / len(work.group.runs)
        by_name = {end.name: end for end in ends}
        for name in work.group.runs:
            record = self._study.record(name)
            if record.state() in ("done", "diverged"):
                continue
            if otherwise is not None:
                record = record.ended(otherwise[0], reason=otherwise[1], wall_seconds=seconds)
            else:
                end = by_name[name]
                record = record.ended(end.outcome, step=end.step, reason=end.reason, wall_seconds=seconds)
            self._study.note(name, record)
        self.changed(work.group.runs)
        self._listener.ended(work.group, work.group.runs)

    def changed(self, names: Sequence[str] | None) -> None:
        """Brings the rows of these runs up to date, or of all."""
        with self._claims.holding(DATABASE):
            self._store(names)


def _prepares(owner: Owner) -> str:
    return f"waiting for process {owner.pid} on {owner.host}, which prepares the study's tasks"


def _words(stop: BaseException) -> str:
    return next(iter(str(stop).splitlines()), "") or "stopped"
