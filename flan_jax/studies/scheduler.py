"""The choice of the runs that are trained next: a group that was left half done, or a new one of runs that nobody has begun.

A group is a folder with the names of its runs, which stay: its checkpoint is of these runs together. A run that failed is
tried again in a group of its own, so that it cannot take others with it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from flan_jax.errors import UserError
from flan_jax.files import atomic_write_text
from flan_jax.studies.claims import Claim, Claims
from flan_jax.studies.executor import Executor
from flan_jax.studies.run_records import RunRecord
from flan_jax.studies.study_dir import StudyDir

GROUP = "group.json"
SCHEDULE = "schedule"
"""The claim under which groups are chosen and made."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that are trained together.

    Attributes:
        name: of the group, its folder and its claim.
        runs: their names.
    """

    name: str
    runs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ClaimedGroup:
    """A group that this process claimed."""

    group: Group
    claim: Claim


class Scheduler:
    """Hands out the work of a study.

    Args:
        study: the study.
        claims: of this process.
        executor: says which runs can be trained together.
        selected: names of the runs that are to be done.
        retries: how often a run that failed is tried again.
    """

    def __init__(
        self, study: StudyDir, claims: Claims, executor: Executor, *, selected: Sequence[str], retries: int
    ) -> None:
        self._study, self._claims, self._executor = study, claims, executor
        self._selected, self._retries = tuple(selected), retries
        self._keys: dict[str, str] = {}

    def next(self, leave: Sequence[str] = ()) -> ClaimedGroup | None:
        """Claims a group with work to do; ``None`` where all such groups are claimed, or in ``leave``, or none is left."""
        wanted = self.wanted()
        if not wanted:
            return None
        self._keys.update({name: self._key(name) for name in wanted if name not in self._keys})
        with self._claims.holding(SCHEDULE):
            records = {plan.name: self._study.record(plan.name) for plan in self._study.plans}
            groups = read_groups(self._study)
            begun = [group for group in groups if _is_begun(group, records)]
            for group in begun:
                if group.name in leave or not any(self._wants(name, records) for name in group.runs):
                    continue
                claim = self._claims.take(group.name)
                if claim is not None:
                    return ClaimedGroup(group, claim)
            theirs = {name for group in begun for name in group.runs}
            free = [name for name in self._selected if name not in theirs and self._wants(name, records)]
            if not free:
                return None
            group = Group(f"group_{_next_number(groups):04}", self._together(free, records))
            claim = self._claims.take(group.name)
            assert claim is not None, "a group that is new has no owner"
            text = json.dumps({"runs": group.runs, "key": self._keys[group.runs[0]]}, indent=1)
            atomic_write_text(self._study.groups / group.name / GROUP, text + "\n")
            return ClaimedGroup(group, claim)

    def wanted(self) -> list[str]:
        """Returns the names of selected runs that are not at their end, by whomever they are being trained."""
        return [name for name in self._selected if self._study.record(name).wants_work(self._retries)]

    def _wants(self, name: str, records: Mapping[str, RunRecord]) -> bool:
        return name in self._selected and records[name].wants_work(self._retries)

    def _key(self, name: str) -> str:
        return self._executor.group_key(self._study.plan(name))

    def _together(self, free: Sequence[str], records: Mapping[str, RunRecord]) -> tuple[str, ...]:
        """The first of these runs with those that can be trained beside it; what failed before comes last, and alone."""
        ordered = sorted(free, key=lambda name: records[name].failures)  # stable: else in the order of the study
        first = ordered[0]
        if records[first].failures:
            return (first,)
        alike = [name for name in ordered if not records[name].failures and self._keys[name] == self._keys[first]]
        most = max(1, self._executor.group_size(self._study.plan(first)))
        groups = -(-len(alike) // most)
        return tuple(alike[: -(-len(alike) // groups)])  # groups of about one size need few programs


def _is_begun(group: Group, records: Mapping[str, RunRecord]) -> bool:
    """Tells whether a group is the place where its runs go on: some were interrupted there, or none was begun anywhere."""
    lasts = [records[name].last for name in group.runs if name in records]
    return any(last is not None and last.group == group.name and last.outcome in ("", "stopped") for last in lasts) or (
        all(last is None for last in lasts)
    )


def read_groups(study: StudyDir) -> list[Group]:
    """Reads the groups of a study, in the order in which they were made.

    Raises:
        UserError: the file of a group is damaged.
    """
    found = []
    for path in sorted(study.groups.glob(f"group_*/{GROUP}")):
        if not path.parent.name.removeprefix("group_").isdecimal():
            continue
        try:
            runs = tuple(map(str, json.loads(path.read_text(encoding="utf-8"))["runs"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is no description of a group ({error!r}). Remove its folder: its runs begin anew then."
            ) from error
        found.append(Group(path.parent.name, runs))
    return found


def _next_number(groups: Sequence[Group]) -> int:
    return 1 + max((int(group.name.removeprefix("group_")) for group in groups), default=-1)


def group_folder(study: StudyDir, group: Group) -> Path:
    """Returns the folder of a group."""
    return study.groups / group.name
