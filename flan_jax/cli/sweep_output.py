"""The output of `flan-jax sweep` while it runs: a table that is drawn again on a terminal, plain lines elsewhere, JSON for programs."""

import abc
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from flan_jax.cli.escapes import json_text, visible_line
from flan_jax.studies.claims import Claims
from flan_jax.studies.executor import RunProgress
from flan_jax.studies.live_table import (
    Score,
    counted,
    counts,
    eta,
    interval,
    levels,
    score_of,
    seconds_left,
    table,
)
from flan_jax.studies.objectives import Objective
from flan_jax.studies.run_states import RunState, run_states
from flan_jax.studies.scheduler import Group
from flan_jax.studies.study_dir import StudyDir

_DRAW_EVERY_S = 0.5
_LINE_EVERY_S = 30.0
_NAMED = 4
"""So many runs are named in a line."""


class SweepOutput(abc.ABC):
    """Follows a sweep; what is common to all that is shown of it.

    Args:
        study: the study.
        claims: of this process.
        names: of the runs that are to be done.
        objective: of the study.
        stream: where it is shown.
    """

    def __init__(
        self, study: StudyDir, claims: Claims, names: Sequence[str], objective: Objective, stream: TextIO
    ) -> None:
        self.study, self.claims, self.names, self.objective, self.stream = (
            study,
            claims,
            tuple(names),
            objective,
            stream,
        )
        self.training: dict[str, RunProgress] = {}
        self.began_at = time.monotonic()
        self._scores: dict[str, Score | None] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the states of all runs, and the scores of those that are done."""
        self.states: dict[str, RunState] = run_states(self.study, self.claims)
        for name in self.names:
            if self.states[name].state == "done" and name not in self._scores:
                self._scores[name] = score_of(self.study, name, self.objective)

    def score(self, name: str) -> Score | None:
        """The result of a run that is done."""
        return self._scores.get(name)

    @property
    def scores(self) -> dict[str, Score | None]:
        """Of the runs that are done."""
        return self._scores

    def left(self) -> float | None:
        """Seconds that are left, as far as anybody knows."""
        return seconds_left(self.states, self.names, self.training, time.monotonic() - self.began_at)

    def began(self, group: Group) -> None:
        """As ``Listener.began``."""
        self.refresh()
        self.began_at = time.monotonic()
        self.training = {}

    def progress(self, group: Group, progress: RunProgress) -> None:
        """As ``Listener.progress``."""
        self.training = dict.fromkeys(group.runs, progress)

    def ended(self, group: Group, names: Sequence[str]) -> None:
        """As ``Listener.ended``."""
        self.training = {}
        self.refresh()

    def unfortunate(self, names: Sequence[str]) -> list[str]:
        """Says in a line each why runs did not reach their ends; of a group that is often one reason."""
        by_reason: dict[tuple[str, str], list[str]] = {}
        for name in names:
            state = self.states[name]
            if state.state != "done":
                by_reason.setdefault((state.state, state.record.reason), []).append(name)
        return [f"{_named(own)} {state}{': ' if reason else ''}{reason}" for (state, reason), own in by_reason.items()]

    @abc.abstractmethod
    def waiting(self, names: Sequence[str]) -> None:
        """As ``Listener.waiting``."""

    @abc.abstractmethod
    def say(self, line: str) -> None:
        """As ``Listener.say``."""

    def close(self) -> None:
        """Ends what is shown, with what is so at the end."""
        self.training = {}
        self.refresh()


class PlainLines(SweepOutput):
    """A line for what happens."""

    _said = 0.0

    def began(self, group: Group) -> None:
        """Says which runs begin."""
        super().began(group)
        self._said = time.monotonic()
        self.say(f"{group.name}: {_named(group.runs)}; {self._so_far()}")

    def progress(self, group: Group, progress: RunProgress) -> None:
        """Says how far they are, now and then."""
        super().progress(group, progress)
        if time.monotonic() - self._said >= _LINE_EVERY_S:
            self._said = time.monotonic()
            losses = progress.losses.values()
            mean = f", mean loss {sum(losses) / len(losses):.4f}" if losses else ""
            self.say(f"{group.name}: step {progress.step:,}/{progress.steps:,}{mean}; ETA {eta(self.left())}")

    def ended(self, group: Group, names: Sequence[str]) -> None:
        """Says how each run ended."""
        super().ended(group, names)
        for name in names:
            if self.states[name].state == "done":
                self.say(f"{name} done{self._outcome(name)}")
        for line in self.unfortunate(names):
            self.say(line)
        self.say(self._so_far())

    def _outcome(self, name: str) -> str:
        own, score = levels(self.study.plan(name)), self.score(name)
        said = []
        if score is not None and score.objective is not None:
            said.append(f"{self.objective} {score.objective:.4f}")
        if score is not None and score.score is not None:
            said.append(f"{self.objective.suite} {interval(score.score)}")
        return f" ({own})" * bool(own) + (f": {', '.join(said)}" if said else "")

    def _so_far(self) -> str:
        return f"{counted(counts(self.states, self.names))} of {len(self.names)} runs; ETA {eta(self.left())}"

    def waiting(self, names: Sequence[str]) -> None:
        """Says whom it waits for."""
        self.refresh()
        self.say(_waiting(self.states, names))

    def say(self, line: str) -> None:
        """Prints a line."""
        print(visible_line(line), file=self.stream, flush=True)


class LiveTable(SweepOutput):
    """A table that is drawn again in its place."""

    _lines = 0
    _drawn = 0.0

    def began(self, group: Group) -> None:
        """Draws the table."""
        super().began(group)
        self._draw()

    def progress(self, group: Group, progress: RunProgress) -> None:
        """Draws the table, twice a second at most."""
        super().progress(group, progress)
        if time.monotonic() - self._drawn >= _DRAW_EVERY_S:
            self._draw()

    def ended(self, group: Group, names: Sequence[str]) -> None:
        """Draws the table; why runs failed stays above it."""
        super().ended(group, names)
        for line in self.unfortunate(names):
            self.say(line)
        self._draw()

    def waiting(self, names: Sequence[str]) -> None:
        """Says above the table whom it waits for."""
        self.refresh()
        self.say(_waiting(self.states, names))

    def say(self, line: str) -> None:
        """Puts a line above the table."""
        self._erase()
        print(visible_line(line), file=self.stream)
        self._draw()

    def close(self) -> None:
        """Leaves a table of all runs."""
        super().close()
        self._draw(whole=True)

    def _erase(self) -> None:
        if self._lines:
            self.stream.write(f"\x1b[{self._lines}F\x1b[J")
            self._lines = 0

    def _draw(self, *, whole: bool = False) -> None:
        size = shutil.get_terminal_size()
        rows = table(
            self.study,
            self.states,
            self.names,
            scores=self.scores,
            progress=self.training,
            most=None if whole else max(size.lines - 5, 3),
        )
        found = counted(counts(self.states, self.names))
        lines = [f"{found} of {len(self.names)} runs   {self.objective}   ETA {eta(self.left())}", *rows]
        self._erase()
        # A line that the terminal breaks would be two to erase.
        self.stream.write("".join(f"{visible_line(line)[: size.columns - 1]}\n" for line in lines))
        self.stream.flush()
        self._lines, self._drawn = 0 if whole else len(lines), time.monotonic()


class JsonLines(SweepOutput):
    """A JSON object a line, each with an ``event``."""

    def began(self, group: Group) -> None:
        """Writes ``began``."""
        super().began(group)
        self._write("began", group=group.name, runs=list(group.runs))

    def progress(self, group: Group, progress: RunProgress) -> None:
        """Writes ``progress``."""
        super().progress(group, progress)
        self._write(
            "progress",
            group=group.name,
            step=progress.step,
            steps=progress.steps,
            losses=progress.losses,
            seconds_left=self.left(),
        )

    def ended(self, group: Group, names: Sequence[str]) -> None:
        """Writes ``run`` for each."""
        super().ended(group, names)
        for name in names:
            self._write("run", group=group.name, **run_json(self.study, name, self.states[name], self.score(name)))

    def waiting(self, names: Sequence[str]) -> None:
        """Writes ``waiting``."""
        self._write("waiting", runs=list(names))

    def say(self, line: str) -> None:
        """Writes ``note``."""
        self._write("note", text=line)

    def close(self) -> None:
        """Writes ``states``."""
        super().close()
        self._write("states", states=counts(self.states, self.names), study=str(self.study.root))

    def _write(self, event: str, **values: Any) -> None:
        print(json_text({"event": event, **values}), file=self.stream, flush=True)


def sweep_output(
    study: StudyDir, claims: Claims, names: Sequence[str], objective: Objective, *, as_json: bool
) -> SweepOutput:
    """Returns what fits where the output goes; JSON goes to standard output, all else to standard error."""
    if as_json:
        return JsonLines(study, claims, names, objective, sys.stdout)
    kind = LiveTable if sys.stderr.isatty() else PlainLines
    return kind(study, claims, names, objective, sys.stderr)


def run_json(
    study: StudyDir, name: str, state: RunState, score: Score | None, progress: RunProgress | None = None
) -> dict[str, Any]:
    """Returns a run as JSON has it; ``progress`` is that of a run which is being trained."""
    plan = study.plan(name)
    return {
        "run": name,
        "state": state.state,
        "levels": dict(plan.levels),
        "weights": dict(plan.weights),
        "replicate": plan.replicate,
        "attempts": len(state.record.attempts),
        "failures": state.record.failures,
        "reason": state.record.reason,
        "step": None if score is None else score.step,
        "trained_steps": None if progress is None else progress.step,
        "objective": None if score is None else score.objective,
        "score": None if score is None or score.score is None else score.score[0],
        "interval": None if score is None or score.score is None else list(score.score[1:]),
        "owner": None if state.owner is None else f"process {state.owner.pid} on {state.owner.host}",
        "heartbeat_seconds_ago": None if state.owner is None else round(state.owner.age_s, 1),
    }


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _waiting(states: dict[str, RunState], names: Sequence[str]) -> str:
    owners = {f"process {own.pid} on {own.host}" for own in (states[name].owner for name in names) if own is not None}
    whom = f" ({', '.join(sorted(owners))})" if owners else ""
    return f"waiting for {len(names)} runs that other processes are training{whom}; what they leave is taken over"
