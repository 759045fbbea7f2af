"""The rows of one run in a study's database, read from its folder; what is missing or damaged there is left out, and said."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.results import read_results, saved_steps, step_folder
from flan_jax.eval.suites import StepResults
from flan_jax.experiments.run_folder import run_files
from flan_jax.report.cost import run_cost
from flan_jax.report.run import Run, is_number, mapping, read_run
from flan_jax.studies.objectives import SCORE, means, metrics_of
from flan_jax.studies.plan import RunPlan, digest_of
from flan_jax.studies.run_records import RunRecord, State

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class RunRows:
    """The rows of a run, by table.

    Attributes:
        run: of ``runs``.
        levels, weights, scores, losses: of these tables.
        unread: what of its folder could not be read, in sentences.
    """

    run: Row
    levels: list[Row]
    weights: list[Row]
    scores: list[Row]
    losses: list[Row]
    unread: list[str]


def stamp_of(folder: Path, record: RunRecord, state: State) -> str:
    """Returns a text that changes when the rows of a run may: of its state, and its files' sizes and times."""
    paths = [folder / run_files.METRICS, folder / run_files.MANIFEST]
    paths += [step_folder(folder, step) / "results.json" for step in saved_steps(folder)]
    parts: list[Any] = [state, dataclasses.astuple(record)]
    for path in paths:
        try:
            status = path.stat()
            parts.append([path.name, status.st_size, status.st_mtime_ns])
        except OSError:
            parts.append([path.name])
    return json.dumps(parts)


def rows_of(plan: RunPlan, folder: Path, record: RunRecord, state: State) -> RunRows:
    """Reads a run's folder into rows.

    Args:
        plan: as the run was planned.
        folder: its MODEL_DIR, which need not be there.
        record: what the study noted of it.
        state: as it is now.
    """
    stamp = stamp_of(folder, record, state)  # before anything is read: what is written meanwhile is read again
    run = read_run(folder, name=plan.name) if (folder / run_files.MANIFEST).is_file() else None
    first, last = (record.attempts[0], record.attempts[-1]) if record.attempts else (None, None)
    row: Row = {
        "run": plan.name,
        "number": plan.index,
        "replicate": plan.replicate,
        "state": state,
        "attempts": len(record.attempts),
        "failures": record.failures,
        "reason": record.reason,
        "wall_seconds": record.wall_seconds,
        "began": first.began if first else None,
        "ended": last.ended or None if last else None,
        "host": last.host if last else None,
        "point": point_of(plan),
        "digest": plan.digest(),
        "stamp": stamp,
        **(_measured(run) if run else {}),
    }
    return RunRows(
        row,
        [_level(plan.name, factor, level) for factor, level in plan.levels.items()],
        [{"run": plan.name, "unit": unit, "weight": weight} for unit, weight in plan.weights.items()],
        list(_scores(plan.name, run)) if run else [],
        list(_losses(plan.name, run)) if run else [],
        # A page lacks something where a file is missing; the tables lack something where one is damaged.
        [line for line in run.missing if " is missing, " not in line] if run else [],
    )


def newest_results(folder: Path) -> StepResults | None:
    """Reads the newest results of a run; ``None`` where it has none that can be read."""
    for step in reversed(saved_steps(folder)):
        try:
            return read_results(folder, step)
        except UserError:
            continue
    return None


def _measured(run: Run) -> Row:
    """Reads a run's cost and circumstances from its files."""
    cost = run_cost(run)
    hardware = cost["hardware"]
    config = mapping(run.manifest.get("config"))
    return {
        "step": run.metrics[-1]["step"] if run.metrics else None,
        "steps": config.get("steps") if is_number(config.get("steps")) else None,
        "evaluated_step": run.last.step if run.last else None,
        "tokens": cost["tokens"],
        "loss_tokens": cost["loss_tokens"],
        "seconds": cost["training_seconds"],
        "hardware": json.dumps(hardware) if hardware else None,
        "commit_id": cost["commit"],
        "version": mapping(cost["versions"]).get("flan-jax"),
        "parameters": cost["parameters"],
    }


def point_of(plan: RunPlan) -> str:
    """Returns a digest of all that decides a run's numbers but the seed."""
    # Under `study.same_templates` runs with a seed of their own name the templates that the others have without a word. Where
    # a factor varies them, they are among the levels.
    seeds = ("seed", "template_seed")
    return digest_of(
        {
            "levels": {name: level for name, level in plan.levels.items() if name != "seed"},
            "weights": plan.weights,
            "options": {name: value for name, value in plan.options.items() if name not in seeds},
        }
    )


def _level(run: str, factor: str, level: Any) -> Row:
    text = level if isinstance(level, str) else json.dumps(level, ensure_ascii=False, sort_keys=True)
    return {"run": run, "factor": factor, "level": text, "number": float(level) if is_number(level) else None}


def _scores(name: str, run: Run) -> Iterator[Row]:
    for results in run.results:
        common = {"run": name, "step": results.step, "newest": int(results is run.last)}
        for suite, members in results.suites.items():
            own = {**common, "suite": suite, "held_out": int(run.held_out(suite))}
            for result in members:
                yield from ({**own, **row} for row in _task_scores(result))
            for mean in means(members):
                kind = "cluster" if mean.cluster else "suite"
                counts = {"n": mean.n, "tasks": mean.tasks}
                limits = {} if mean.interval is None else dict(zip(("low", "high"), mean.interval, strict=True))
                yield {
                    **own,
                    "kind": kind,
                    **_place(mean.cluster),
                    "metric": mean.metric,
                    "value": mean.value,
                    **limits,
                    **counts,
                }
            average = results.averages.get(suite)
            if average is not None and math.isfinite(average.value):
                low, high = average.interval
                yield {
                    **own,
                    "kind": "suite_tasks",
                    **_place(),
                    "metric": SCORE,
                    "value": average.value,
                    "low": low,
                    "high": high,
                    "n": average.n,
                    "tasks": average.tasks,
                    "chance": average.chance,
                }


def _task_scores(result: TaskResult) -> Iterator[Row]:
    for metric, value in metrics_of(result).items():
        own = metric in (SCORE, result.metric)
        interval: Mapping[str, float] = (
            {"low": result.interval[0], "high": result.interval[1]} if own and result.interval else {}
        )
        yield {
            "kind": "task",
            **_place(result.cluster, result.name),
            "metric": metric,
            "value": value,
            **interval,
            "n": result.n,
            "tasks": 1,
            "chance": None if result.native_scale or not own else result.chance,
        }


def _place(cluster: str = "", task: str = "") -> Row:
    return {"cluster": cluster, "task": task}


def _losses(name: str, run: Run) -> Iterator[Row]:
    for line in {line["step"]: line for line in run.metrics}.values():
        if is_number(line.get("loss")):
            yield {"run": name, "step": line["step"], "task": "", "loss": line["loss"], "share": 1.0}
        shares = mapping(line.get("task_share"))
        for task, loss in mapping(line.get("task_loss")).items():
            if is_number(loss):
                share = shares.get(task)
                yield {
                    "run": name,
                    "step": line["step"],
                    "task": task,
                    "loss": loss,
                    "share": share if is_number(share) else None,
                }
