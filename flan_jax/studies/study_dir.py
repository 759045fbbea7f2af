"""The folder of a study: what it was declared to be, and where everything of it lies.

study.gin        what the study file came to, with all that it includes
study.json       the runs as they were planned, each with its digest
store/           prepared tasks, which all runs read
runs/run_0007/   the MODEL_DIR of a run
records/         of each run, when it was begun and how that ended
groups/          the runs that are trained together, with their checkpoints
claims/          who is doing what at the moment
study.sqlite     the results as tables, made from the files above
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import __version__
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig, plain
from flan_jax.experiments.run_folder.run_identity import difference, with_defaults
from flan_jax.files import atomic_write_text
from flan_jax.studies.expand import RUNS, STORE, extended
from flan_jax.studies.plan import RunPlan
from flan_jax.studies.run_records import RunRecord, now, read_record, write_record

PLANS, TEXT = "study.json", "study.gin"
RECORDS, GROUPS, CLAIMS, DATABASE = "records", "groups", "claims", "study.sqlite"
LAUNCHES = "launches"
"""`flan-jax launch` writes there, before the study is begun."""
FORMAT = 1
"""Raised when a key of ``study.json`` changes its meaning or goes."""
AsNow = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_SHOWN = 3
"""So many of the differences between two study files are said."""


@dataclasses.dataclass(frozen=True)
class StudyDir:
    """A study's folder.

    Attributes:
        root: the folder.
        plans: every run of the study, in its order.
        description: what the study file says beside its base run, as JSON: names, factors, objective.
        base: of the base run, what ``base_identity`` returns.
    """

    root: Path
    plans: tuple[RunPlan, ...]
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {plan.name: plan for plan in self.plans})

    def plan(self, name: str) -> RunPlan:
        """Returns the run of a name."""
        by_name: dict[str, RunPlan] = self._by_name  # type: ignore[attr-defined]
        return by_name[name]

    def model_dir(self, name: str) -> Path:
        """Returns the folder of a run."""
        return self.root / RUNS / name

    def record(self, name: str) -> RunRecord:
        """Reads what was noted of a run.

        Raises:
            UserError: its record is damaged.
        """
        return read_record(self.root / RECORDS / f"{name}.json")

    def note(self, name: str, record: RunRecord) -> None:
        """Writes what is to be noted of a run; for who holds its claim."""
        write_record(self.root / RECORDS / f"{name}.json", record)

    @property
    def store(self) -> Path:
        """The folder of prepared tasks."""
        return self.root / STORE

    @property
    def groups(self) -> Path:
        """The folder of groups."""
        return self.root / GROUPS

    @property
    def claims(self) -> Path:
        """The folder of claims."""
        return self.root / CLAIMS

    @property
    def database(self) -> Path:
        """The file of results."""
        return self.root / DATABASE


def base_identity(base: RunConfig) -> dict[str, Any]:
    """Returns what makes the runs of a study comparable, as JSON: all that decides a run's numbers, its steps, and what is measured.

    A run alone may be made longer, or measured otherwise. Runs that are set beside each other may not.
    """
    return {**base.identity(), "steps": base.steps, "evaluation": plain(base.evaluation)}


def base_as_now(found: Mapping[str, Any], base: RunConfig) -> dict[str, Any]:
    """Returns what was written down of a base run by an earlier version as this one would have: with the defaults of what was not known then.

    Args:
        found: what ``base_identity`` returned then.
        base: the base run now.
    """
    known = base_identity(base)
    return {name: value for name, value in with_defaults(found, base).items() if name in known or name in found}


def open_study(root: Path) -> StudyDir:
    """Opens the folder of a study that was begun.

    Raises:
        UserError: there is no such folder, or it holds no study, or a damaged one.
    """
    if not root.is_dir():
        raise UserError(
            f"There is no folder {str(root)!r}. Name the folder of a study, or begin one there with --gin_file."
        )
    if not (root / PLANS).is_file():
        raise UserError(
            f"{str(root)!r} holds no {PLANS}, so it is not the folder of a study. Name another, or begin a study with "
            "--gin_file."
        )
    found = _read(root)
    plans = tuple(
        RunPlan(**{field.name: run[field.name] for field in dataclasses.fields(RunPlan)}) for run in found["runs"]
    )
    for plan, run in zip(plans, found["runs"], strict=True):
        if plan.digest() != run["digest"]:
            raise UserError(
                f"{root / PLANS} says that {plan.name} has the digest {run['digest']}, and what it says of that run gives "
                f"{plan.digest()}: it was altered. Put it back as it was, or begin a new study."
            )
    return StudyDir(root, plans, found["study"], found["base"])


def begin_study(
    root: Path,
    plans: Sequence[RunPlan],
    *,
    text: str,
    description: Mapping[str, Any],
    base: Mapping[str, Any],
    extend: bool = False,
    as_now: AsNow = dict,
) -> StudyDir:
    """Opens the folder of the study that a file declares, which it makes where there is none.

    Call it under the claim ``study``, as two processes may begin one study.

    Args:
        root: the folder.
        plans: the runs that the file comes to.
        text: what the file came to, for ``study.gin``.
        description: what it says beside its base run, as JSON.
        base: of the base run, what ``base_identity`` returns.
        extend: runs that the study does not have yet are added behind those that it has, all of which the file plans too.
        as_now: puts what an earlier version wrote down of the base run as this one would have.

    Raises:
        UserError: the folder holds another study, or something else; or no run is planned.
    """
    study, found = _resolved(root, plans, description=description, base=base, extend=extend, as_now=as_now)
    asked = [plan.digest() for plan in plans]
    if found is None:
        _write(study, asked=asked, text=text, history=[])
        return study
    added = len(study.plans) - len(found["runs"])
    same = not added and asked == found["asked"] and study.description == found["study"]
    if not same or (root / TEXT).read_text(encoding="utf-8") != text:
        extension = {"at": now(), "before": len(found["runs"]), "added": added}
        _write(study, asked=asked, text=text, history=[*found["history"], *([extension] if added else [])])
    return study


def planned(
    root: Path,
    plans: Sequence[RunPlan],
    *,
    description: Mapping[str, Any],
    base: Mapping[str, Any],
    extend: bool = False,
    as_now: AsNow = dict,
) -> tuple[RunPlan, ...]:
    """Returns the runs that a study would have after ``begin_study``; nothing is written.

    Raises:
        UserError: as ``begin_study``.
    """
    return _resolved(root, plans, description=description, base=base, extend=extend, as_now=as_now)[0].plans


def _resolved(
    root: Path,
    plans: Sequence[RunPlan],
    *,
    description: Mapping[str, Any],
    base: Mapping[str, Any],
    extend: bool,
    as_now: AsNow,
) -> tuple[StudyDir, dict[str, Any] | None]:
    """The study that a file declares, with the runs that its folder has already, and what the folder says."""
    if not plans:
        raise UserError("The study file comes to no run. Give its space at least one point.")
    # As JSON reads it back, so that 1 and 1.0, tuples and lists compare equal.
    ours = StudyDir(root, tuple(plans), json.loads(json.dumps(plain(description))), json.loads(json.dumps(plain(base))))
    if not (root / PLANS).is_file():
        _check_free(root)
        return ours, None
    study, found = open_study(root), _read(root)
    changed_base = difference(ours.base, json.loads(json.dumps(as_now(study.base))))
    asked = [plan.digest() for plan in plans]
    if not changed_base and asked == found["asked"]:
        return dataclasses.replace(study, description=ours.description), found
    if changed_base or not extend:
        raise _changed(study, found["asked"], plans, changed_base, extend=extend)
    return dataclasses.replace(study, plans=extended(study.plans, plans), description=ours.description), found


def _check_free(root: Path) -> None:
    """Refuses a folder with other things in it; what a study that was killed at its very beginning left is none."""
    if root.exists() and not root.is_dir():
        raise UserError(f"--study_dir {str(root)!r} is a file. Name a folder.")
    ours = (CLAIMS, TEXT, LAUNCHES)
    others = sorted(path.name for path in root.iterdir() if path.name not in ours) if root.is_dir() else []
    others = [name for name in others if not (name.startswith(".") and name.endswith(".tmp"))]
    if others:
        raise UserError(
            f"{str(root)!r} holds {', '.join(map(repr, others[:_SHOWN]))} and no {PLANS}, so it is not the folder of a study. "
            "Name a folder that is empty or not there yet."
        )


def _changed(
    study: StudyDir, before: Iterable[str], plans: Sequence[RunPlan], base: Sequence[str], *, extend: bool
) -> UserError:
    """The refusal of a study file that is not the one which the study was begun with: what changed, and what to do."""
    begun = f"The study in {str(study.root)!r} was begun from another file"
    if base:
        more = f" (and {len(base) - _SHOWN} more)" if len(base) > _SHOWN else ""
        why = "--extend adds runs of the same base run only" if extend else "its runs would not be comparable"
        return UserError(
            f"{begun}: the base run has other values: {'; '.join(base[:_SHOWN])}{more}, and {why}. Put them back, or name "
            "another --study_dir."
        )
    known = {plan.digest() for plan in study.plans}
    new = sum(plan.digest() not in known for plan in plans)
    gone = len(set(before) - {plan.digest() for plan in plans})
    counts = [f"{new} of its {len(plans)} runs are new"] if new else []
    counts += [f"{gone} of the study's are not among them"] if gone else []
    or_extend = (
        f", or add --extend, which keeps the {len(study.plans)} runs and adds what is new" if new and not gone else ""
    )
    return UserError(
        f"{begun}: {' and '.join(counts) or 'its runs come in another order'}{_example(study, plans)}. Put the file back, or "
        f"name another --study_dir{or_extend}."
    )


def _example(study: StudyDir, plans: Sequence[RunPlan]) -> str:
    """The first run that differs, and in what."""
    for theirs, ours in zip(study.plans, plans, strict=False):
        if theirs.digest() != ours.digest():
            parts = [
                json.loads(json.dumps(plain({"level": plan.levels, "weight": plan.weights, "option": plan.options})))
                for plan in (ours, theirs)
            ]
            lines = difference(parts[0], parts[1])
            return f" (first {theirs.name}: {'; '.join(lines[:_SHOWN])})" if lines else ""
    return ""


def _read(root: Path) -> dict[str, Any]:
    path = root / PLANS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise UserError(
                f"{path} was written by flan-jax {found['version']}, which knows more than this one. Install that."
            )
        if not all(isinstance(found[key], kind) for key, kind in _KEYS.items()):
            raise TypeError("a key has a value of another kind")
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no description of a study ({error!r}). Restore it, or begin a new study."
        ) from error
    return dict(found)


_KEYS = {"runs": list, "study": dict, "base": dict, "asked": list, "history": list}


def _write(study: StudyDir, *, asked: Sequence[str], text: str, history: Sequence[Any]) -> None:
    content = {
        "format": FORMAT,
        "version": __version__,
        "study": study.description,
        "base": study.base,
        "runs": [{**plain(plan), "digest": plan.digest()} for plan in study.plans],
        # Of the file as it was last accepted: after an extension it need not name the runs that were there before.
        "asked": list(asked),
        "history": list(history),
    }
    atomic_write_text(study.root / TEXT, text)
    # Last, since its presence says that the study was begun.
    atomic_write_text(study.root / PLANS, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
