"""Results on disk: ``eval/STEP/results.json`` and ``eval/STEP/predictions/TASK.jsonl``."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.eval.examples import Prediction, TaskResult
from flan_jax.eval.provenance import Settings, changed_settings
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.suites import ClusterAverage, StepResults, SuiteAverage
from flan_jax.files import atomic_write_text
from flan_jax.tasks.rendering.option_orders import OptionOrder

RESULTS_FILE = "results.json"
PREDICTIONS_FOLDER = "predictions"


def step_folder(model_dir: Path, step: int) -> Path:
    """``MODEL_DIR/eval/STEP``."""
    return Path(model_dir) / "eval" / str(step)


def saved_steps(model_dir: Path) -> list[int]:
    """The steps that have a results file, ascending."""
    found = (Path(model_dir) / "eval").glob(f"*/{RESULTS_FILE}")
    return sorted(int(path.parent.name) for path in found if path.parent.name.isdecimal())


def write_results(model_dir: Path, results: StepResults) -> Path:
    """Writes the results and predictions of one step, and returns their folder.

    ``results.json`` is put in place last and in one move: where it exists, all of it does, and
    the predictions too.
    """
    folder = step_folder(model_dir, results.step)
    (folder / PREDICTIONS_FOLDER).mkdir(parents=True, exist_ok=True)
    for result in {r.name: r for members in results.suites.values() for r in members}.values():
        if not result.predictions:  # read back from a file: its predictions lie there already
            continue
        lines = (json.dumps(_prediction_json(p), ensure_ascii=False, allow_nan=False) for p in result.predictions)
        path = folder / PREDICTIONS_FOLDER / f"{result.name}.jsonl"
        atomic_write_text(path, "".join(line + "\n" for line in lines))
    content = {
        "step": results.step,
        # Of "interval"; "intervals" has those of other levels by their names.
        "interval_levels": DEFAULT_LEVELS,
        "weights": results.weights,
        "settings": {name: dict(settings) for name, settings in results.settings.items()},
        "suites": {name: [_result_json(r) for r in members] for name, members in results.suites.items()},
        "averages": {name: dataclasses.asdict(average) for name, average in results.averages.items()},
        "failed": dict(results.failed),
        "refused": list(results.refused),
        "held_out": list(results.held_out),
    }
    atomic_write_text(folder / RESULTS_FILE, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return folder


def merge_results(model_dir: Path, results: StepResults) -> StepResults:
    """Adds to ``results`` the suites that were measured earlier, of the same step and with the same weights."""
    if results.step not in saved_steps(model_dir):
        return results
    before = read_results(model_dir, results.step)
    if before.weights != results.weights:
        return results
    # A suite all of whose tasks failed now has no result, and what it had before holds no longer.
    again = {*results.suites, *results.settings}
    earlier = [name for name in before.suites if name in results.suites or name not in again]
    order = list(dict.fromkeys([*earlier, *results.suites]))
    averages = {**{name: own for name, own in before.averages.items() if name not in again}, **results.averages}
    asked = {name for suite, own in before.settings.items() if suite not in again for name in own.get("tasks", ())}
    failed = {name: why for name, why in before.failed.items() if name in asked}
    return StepResults(
        results.step,
        {name: results.suites.get(name) or before.suites[name] for name in order},
        {name: averages[name] for name in order if name in averages},
        results.weights,
        {**before.settings, **results.settings},
        {**failed, **results.failed},
        tuple(dict.fromkeys((*(name for name in before.refused if name in failed), *results.refused))),
        (*(name for name in before.held_out if name not in again), *results.held_out),
    )


def why_not_current(before: StepResults, suite: str, weights: str, settings: Settings) -> str:
    """Says why an earlier result of a suite does not hold for these weights and settings; ``""`` where it does.

    Args:
        before: the results of the same step.
        suite: its name.
        weights: digest of the weights now.
        settings: of the suite now, as ``suite_settings`` gives them.
    """
    if suite not in before.suites:
        return "was not measured before"
    if not before.weights or suite not in before.settings:
        return "was measured by an earlier version, which did not note weights and settings"
    if before.weights != weights:
        return "was measured with other weights"
    # As JSON reads it back, so that tuples and lists compare equal.
    changed = changed_settings(before.settings[suite], json.loads(json.dumps(settings)))
    if changed:
        return f"was measured with other settings ({changed})"
    failed = [name for name in before.failed if name in before.settings[suite].get("tasks", ())]
    return f"lacks {', '.join(failed)}, which failed" if failed else ""


def read_results(model_dir: Path, step: int) -> StepResults:
    """Reads what ``write_results`` wrote, predictions left out.

    Raises:
        UserError: no such file, or one that is not a results file.
    """
    path = step_folder(model_dir, step) / RESULTS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return StepResults(
            step=int(content["step"]),
            suites={name: [_result(row) for row in rows] for name, rows in content["suites"].items()},
            averages={name: _average(row) for name, row in content["averages"].items()},
            weights=str(content.get("weights", "")),
            settings=dict(content.get("settings", {})),
            failed={str(name): str(why) for name, why in content.get("failed", {}).items()},
            refused=tuple(map(str, content.get("refused", ()))),
            held_out=tuple(map(str, content.get("held_out", ()))),
        )
    except FileNotFoundError as error:
        steps = saved_steps(model_dir)
        known = f"It has results of steps {', '.join(map(str, steps))}." if steps else "Run `flan-jax eval` first."
        raise UserError(f"{model_dir} has no results of step {step}. {known}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a results file ({error!r}). Remove it and evaluate again.") from error


def read_predictions(model_dir: Path, step: int, task: str) -> Iterator[Prediction]:
    """Yields the saved predictions of a task.

    Raises:
        UserError: no such file, or a line that is not a prediction.
    """
    path = step_folder(model_dir, step) / PREDICTIONS_FOLDER / f"{task}.jsonl"
    if not path.is_file():
        raise UserError(f"{path} is missing, so the predictions of {task!r} at step {step} cannot be shown.")
    yield from read_prediction_file(path)


def read_prediction_file(path: Path) -> Iterator[Prediction]:
    """Yields the predictions of a file that ``write_results`` wrote.

    Raises:
        UserError: no such file, or a line that is not a prediction.
    """
    if not path.is_file():
        raise UserError(
            f"There is no file of predictions {str(path)!r}. Name one under MODEL_DIR/eval/STEP/predictions."
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _prediction(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}, line {number} is not a prediction ({error!r}). Evaluate again.") from error


def _result_json(result: TaskResult) -> dict[str, Any]:
    return {
        "task": result.name,
        "cluster": result.cluster,
        "metric": result.metric,
        "predict": result.predict,
        "value": _number(result.value),
        "native_scale": result.native_scale,
        "metrics": {
            name: value if isinstance(value, str) else _number(value) for name, value in result.metrics.items()
        },
        "chance": result.chance,
        "majority": result.majority,
        "interval": None if result.interval is None else list(result.interval),
        "intervals": {levels: list(interval) for levels, interval in result.intervals.items()},
        "n": result.n,
        "per_template": {str(template): _number(value) for template, value in result.per_template.items()},
        "template_mean": _number(result.template_mean),
        "template_spread": result.template_spread,
        "template_quantiles": dict(result.template_quantiles),
        "template_summary": dict(result.template_summary),
        "notes": list(result.notes),
        **({"by_overlap": result.by_overlap} if result.by_overlap else {}),
    }


def _number(value: float) -> float | None:
    """JSON has no word for infinities and NaN."""
    return value if math.isfinite(value) else None


def _read_number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _result(row: dict[str, Any]) -> TaskResult:
    interval = None if row["interval"] is None else (float(row["interval"][0]), float(row["interval"][1]))
    return TaskResult(
        name=row["task"],
        cluster=row["cluster"],
        metric=row["metric"],
        predict=row["predict"],
        value=_read_number(row["value"]),
        chance=float(row["chance"]),
        majority=float(row["majority"]),
        interval=interval,
        n=int(row["n"]),
        per_template={int(template): _read_number(value) for template, value in row["per_template"].items()},
        notes=tuple(row["notes"]),
        metrics={
            name: value if isinstance(value, str) else _read_number(value)
            for name, value in row.get("metrics", {}).items()
        },
        # Until 0.1.0 the key was "as_given".
        native_scale=bool(row.get("native_scale", row.get("as_given", False))),
        by_overlap=row.get("by_overlap", {}),
        intervals=_intervals(row),
        template_quantiles=dict(row.get("template_quantiles", {})),
        template_summary=dict(row.get("template_summary", {})),
    )


def _average(row: dict[str, Any]) -> SuiteAverage:
    low, high = row["interval"]
    clusters = {name: ClusterAverage(**cluster) for name, cluster in row["clusters"].items()}
    return SuiteAverage(**{**row, "interval": (low, high), "clusters": clusters, "intervals": _intervals(row)})


def _intervals(row: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Of files before they were written: none."""
    return {levels: (float(low), float(high)) for levels, (low, high) in row.get("intervals", {}).items()}


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    row = dataclasses.asdict(prediction)
    row["option_scores"] = [_number(score) for score in prediction.option_scores]
    likelihood = row.pop("log_likelihood")
    for name in ("group", "overlap"):
        if not row[name]:
            del row[name]
    if prediction.option_order is None:
        del row["option_order"]
    else:
        row["option_order"] = prediction.option_order.as_text()
    if row["options"]:
        row["prior_scores"] = [_number(score) for score in prediction.prior_scores]
    else:
        del row["option_tokens"], row["prior_scores"]
    return row if likelihood is None else {**row, "log_likelihood": _number(likelihood)}


def _prediction(row: dict[str, Any]) -> Prediction:
    scores = tuple(_read_number(score) for score in row["option_scores"])
    sequences = {key: tuple(row[key]) for key in ("options", "references")}
    sequences["option_tokens"] = tuple(row.get("option_tokens", ()))
    sequences["prior_scores"] = tuple(_read_number(score) for score in row.get("prior_scores", ()))
    if "log_likelihood" in row:
        row = {**row, "log_likelihood": _read_number(row["log_likelihood"])}
    order = OptionOrder.from_text(row["option_order"]) if "option_order" in row else None
    return Prediction(**{**row, **sequences, "option_scores": scores, "option_order": order})
