"""Before a run: what it holds out is compared with what it trains on, and a contaminated run is refused."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.decontamination.audit import audit, audit_key
from flan_jax.data.decontamination.report import Audit, SharedRecords, SharedSource
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.mixing.mixture import Mixture, Suite
from flan_jax.tasks.task import Task

AUDIT = "audit.json"


def unseen_tasks(mixture: Mixture, suites: Sequence[Suite] | None = None) -> list[tuple[Task, str]]:
    """Lists the tasks that are measured and not trained on, each with its split."""
    trained = {task.spec_name for task in mixture.drawn_tasks}
    found: dict[tuple[str, str], tuple[Task, str]] = {}
    for suite in mixture.suites if suites is None else suites:
        for task in suite.tasks:
            if suite.held_out or task.spec_name not in trained:
                found.setdefault((task.spec_name, suite.split), (task, suite.split))
    return list(found.values())


def seen_tasks(mixture: Mixture, suites: Sequence[Suite] | None = None) -> list[tuple[Task, str]]:
    """Lists the tasks that are measured and trained on too, each with its split."""
    unseen = {(task.spec_name, split) for task, split in unseen_tasks(mixture, suites)}
    found: dict[tuple[str, str], tuple[Task, str]] = {}
    for suite in mixture.suites if suites is None else suites:
        for task in suite.tasks:
            key = (task.spec_name, suite.split)
            if key not in unseen and suite.split in task.splits:
                found.setdefault(key, (task, suite.split))
    return list(found.values())


def check_contamination(
    config: RunConfig, mixture: Mixture, suites: Sequence[Suite], *, log: Callable[[str], None] = lambda line: None
) -> dict[str, Any] | None:
    """Compares what the run holds out with what it trains on, unless that was done before, for this run or one beside it.

    Returns:
        What ``audit.json`` should hold, or ``None`` where nothing is measured or nobody asked.

    Raises:
        UserError: something held out is trained on, or more measured records than are there by chance are
            training records, and ``run.audit`` is ``refuse``.
    """
    held_out, held_in = unseen_tasks(mixture, suites), seen_tasks(mixture, suites)
    if config.data.audit == "off" or not (held_out or held_in):
        return None
    trained = mixture.drawn_tasks
    key = audit_key(trained, held_out, held_in)
    found = next((kept for path in _audits(Path(config.model_dir)) if (kept := _kept(path, key))), None)
    if found is None:
        log(
            f"comparing what is measured with what is trained on ({len(held_out) + len(held_in)} with {len(trained)} tasks)"
        )
        found = audit(trained, held_out, held_in=held_in)
    reason = found.violation(config.data.audit_tolerance)
    if reason and config.data.audit == "refuse":
        raise UserError(
            f"This run would be contaminated: {reason}. Leave one of the two out, allow a share of such records with "
            "--gin.run.audit_tolerance=SHARE, or go on with --gin.run.audit=warn and say so in what you report."
        )
    if reason:
        log(f"warning: this run is contaminated: {reason}")
    for line in found.notices():
        log(f"{'' if reason else 'warning: '}{line}")
    return {"key": key, **dataclasses.asdict(found)}


def _audits(folder: Path) -> list[Path]:
    """Lists where a run's audit may be: in its folder, or in those of runs beside it, which compare the same as a rule."""
    return [folder / AUDIT, *sorted(folder.absolute().parent.glob(f"*/{AUDIT}"))]


def _kept(path: Path, key: str) -> Audit | None:
    """The result of an earlier audit of the same records."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != key:
            return None
        return Audit(
            tuple(SharedSource(**item) for item in kept["sources"]),
            tuple(SharedRecords(**item) for item in kept["records"]),
            kept["held_out_records"],
            kept["trained_records"],
            tuple(kept["not_compared"]),
            tuple(SharedRecords(**item) for item in kept["contained"]),
            tuple(SharedRecords(**item) for item in kept["held_in"]),
            kept["held_in_records"],
            kept["too_short"],
            tuple(kept["worlds"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
