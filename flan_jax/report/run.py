"""Reading a run's folder for the report, leniently: what is missing or damaged is named, and the rest is shown."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from flan_jax.errors import UserError
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.provenance import changed_settings, comparable
from flan_jax.eval.results import read_results, saved_steps
from flan_jax.eval.suites import StepResults


@dataclasses.dataclass(frozen=True)
class MixtureRow:
    """A row of the sampling table: one training task, its weight and what was drawn of it.

    Attributes:
        task, cluster: its names; the cluster is ``""`` where it is not recorded.
        size: examples in its training split, or ``None``.
        asked: share of all examples that the weights in force asked for, over the steps taken, whatever changed
            them (a curriculum, new weights, tasks that ended); of a run that did not record what it drew, share that
            its weights ask for at the start. ``None`` where neither is known.
        drawn: share of all examples that was drawn, or ``None`` where that is not recorded.
        examples: examples drawn, or ``None``.
        epochs: how often the task was gone through, or ``None``.
        loss_tokens: share of the tokens that the loss counted, or ``None``.
        first_loss, last_loss: nats a token in the first and last logged window with the task.
    """

    task: str
    cluster: str
    size: int | None
    asked: float | None
    drawn: float | None
    examples: int | None
    epochs: float | None
    loss_tokens: float | None
    first_loss: float | None
    last_loss: float | None


@dataclasses.dataclass(frozen=True)
class Run:
    """The contents of a run's folder.

    Attributes:
        folder: the MODEL_DIR.
        name: what a page calls it.
        config: the text of ``config.gin``, or ``""``.
        manifest: the content of ``manifest.json``, or ``{}``.
        model_info: the text of ``model-info.txt``, or ``""``.
        metrics: the lines of ``metrics.jsonl``.
        results: every evaluation, by step, ascending.
        missing: what could not be read, a sentence each.
    """

    folder: Path
    name: str
    config: str
    manifest: dict[str, Any]
    model_info: str
    metrics: list[dict[str, Any]]
    results: list[StepResults]
    missing: list[str]

    @property
    def last(self) -> StepResults | None:
        """The newest evaluation."""
        return self.results[-1] if self.results else None

    @property
    def before(self) -> StepResults | None:
        """The evaluation to compare the newest one with: the first, if there are two."""
        return self.results[0] if len(self.results) > 1 else None

    def unlike(self) -> list[str]:
        """Says of every suite which steps were evaluated with other settings than the newest, a sentence each."""
        lines = []
        for suite, newest in self._settings(self.last).items():
            for results in self.results[:-1]:
                changed = changed_settings(self._settings(results).get(suite, newest), newest)
                if suite in results.suites and changed:
                    step = self.results[-1].step
                    lines.append(
                        f"{suite} at step {results.step} was measured with other settings than at {step}: {changed}"
                    )
        return lines

    def unlike_run(self, other: "Run") -> list[str]:
        """Says of every suite that two runs evaluated in which settings their newest results differ."""
        mine, theirs = self._settings(self.last), self._settings(other.last)
        lines = []
        for suite in (suite for suite in mine if suite in theirs):
            changed = changed_settings(comparable(mine[suite]), comparable(theirs[suite]))
            if changed:
                lines.append(f"{suite} of {other.name} was measured with other settings than of {self.name}: {changed}")
        return lines

    def _settings(self, results: StepResults | None) -> dict[str, Mapping[str, Any]]:
        """Suite → its settings, ``{}`` where a result does not say them; of no suite where none of the run's does."""
        if results is None or not any(found.settings for found in self.results):
            return {}
        return {suite: mapping(results.settings.get(suite)) for suite in results.suites}

    @property
    def mixture(self) -> str:
        """The mixture's name, or ``""``."""
        return str(self.manifest.get("mixture", ""))

    def held_out(self, suite: str) -> bool:
        """Tells whether the run kept the suite's clusters out of training."""
        said = any(suite in results.held_out for results in self.results)
        return said or bool(mapping(mapping(self.manifest.get("suites")).get(suite)).get("held_out"))

    def asked(self, suite: str) -> dict[str, Mapping[str, Any]]:
        """Task → how the newest results of a suite were asked (``EvalTask.asked``), of those that say it."""
        settings = mapping(self.last.settings.get(suite)) if self.last else {}
        tasks = {name: mapping(found) for name, found in mapping(settings.get("tasks")).items()}
        return {name: mapping(found.get("asked")) for name, found in tasks.items()}

    def loss(self) -> list[tuple[int, float]]:
        """(step, loss) of every logged step whose loss is a number."""
        points = [(line["step"], line.get("loss")) for line in self.metrics]
        return [(step, float(loss)) for step, loss in points if is_number(loss)]

    def tokens_per_second(self) -> float | None:
        """The median training speed over the logged windows."""
        rates = [rate for line in self.metrics if (rate := _rate(line)) is not None]
        return sorted(rates)[len(rates) // 2] if rates else None

    def mfu(self) -> float | None:
        """The median share of the devices' peak rate over the logged windows; ``None`` where the devices are not known."""
        found = sorted(share for line in self.metrics if is_number(share := mapping(line.get("speed")).get("mfu")))
        return float(found[len(found) // 2]) if found else None

    def mixture_rows(self) -> list[MixtureRow]:
        """Every training task that the manifest or the metrics name, the largest request first."""
        tasks = {name: mapping(entry) for name, entry in mapping(self.manifest.get("tasks")).items()}
        sampled, shares, losses = self.sampled(), self._shares(), self._task_losses()
        asked = {name: _number(row.get("requested")) for name, row in sampled.items()} or self._weights(tasks)
        rows = []
        for name in dict.fromkeys([*tasks, *sampled, *shares]):
            entry, drawn = tasks.get(name, {}), sampled.get(name, {})
            rows.append(
                MixtureRow(
                    task=name,
                    cluster=str(entry.get("cluster", "")),
                    size=_whole(entry.get("examples")),
                    asked=asked.get(name),
                    drawn=_number(drawn.get("share")),
                    examples=_whole(drawn.get("examples")),
                    epochs=_number(drawn.get("epochs")),
                    loss_tokens=shares.get(name, 0.0) if shares else None,
                    first_loss=losses[name][0] if name in losses else None,
                    last_loss=losses[name][-1] if name in losses else None,
                )
            )
        return sorted(rows, key=lambda row: (-(row.asked or 0.0), row.cluster, row.task))

    def sampled(self) -> dict[str, Mapping[str, Any]]:
        """The draws of each task since the run began, as its newest line says; ``{}`` where none does."""
        found = next((line["sampled"] for line in reversed(self.metrics) if line.get("sampled")), None)
        return {name: mapping(row) for name, row in mapping(found).items()}

    def _weights(self, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
        """Share of the draws that the weights ask for where nothing changes them."""
        weights = {name: entry["weight"] for name, entry in tasks.items() if is_number(entry.get("weight"))}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()} if total > 0 else {}

    def _shares(self) -> dict[str, float]:
        """Share of all loss tokens by task: the windows' shares, weighted by their loss tokens."""
        sums: dict[str, float] = {}
        total = 0.0
        for line in self.metrics:
            shares = {name: share for name, share in mapping(line.get("task_share")).items() if is_number(share)}
            if shares:
                weight = float(line["weight"]) if is_number(line.get("weight")) else 1.0
                total += weight
                for name, share in shares.items():
                    sums[name] = sums.get(name, 0.0) + weight * share
        return {name: value / total for name, value in sums.items()} if total else {}

    def _task_losses(self) -> dict[str, list[float]]:
        losses: dict[str, list[float]] = {}
        for line in self.metrics:
            for name, loss in mapping(line.get("task_loss")).items():
                if is_number(loss):
                    losses.setdefault(name, []).append(float(loss))
        return losses


def read_run(folder: Path, *, name: str = "") -> Run:
    """Reads a run's folder.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no run folder {str(folder)!r}. Give the MODEL_DIR of a run.")
    missing: list[str] = []
    config = _text(folder / "config.gin", missing, "so the configuration cannot be shown")
    manifest = _manifest(folder / "manifest.json", missing)
    # A run measured without training has one too; where it is missing, its numbers of parameters are.
    model_info = _text(folder / "model-info.txt", missing, "so the parameters cannot be counted")
    metrics = _metrics(folder / "metrics.jsonl", missing)
    results = []
    for step in saved_steps(folder):
        try:
            results.append(read_results(folder, step))
        except UserError as error:
            missing.append(str(error))
    if not results:
        missing.append("There are no results under eval/, so no scores can be shown.")
    return Run(folder, name or folder.resolve().name, config, manifest, model_info, metrics, results, missing)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads several runs and gives them names that tell them apart.

    Raises:
        UserError: no folder, or one that does not exist.
    """
    if not folders:
        raise UserError("A report needs at least one run folder. Give the MODEL_DIR of a run.")
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = ["/".join(Path(folder).resolve().parts[-2:]) for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return [read_run(folder, name=name) for folder, name in zip(folders, names, strict=True)]


def by_task(results: StepResults | None, suite: str) -> dict[str, TaskResult]:
    """The suite's results by task name; empty where the step or the suite does not exist."""
    return {} if results is None else {result.name: result for result in results.suites.get(suite, [])}


def _text(path: Path, missing: list[str], consequence: str, *, errors: str = "strict") -> str:
    try:
        return path.read_text(encoding="utf-8", errors=errors)
    except FileNotFoundError:
        missing.append(f"{path.name} is missing, {consequence}.")
    except (OSError, UnicodeDecodeError) as error:
        missing.append(f"{path.name} cannot be read ({error}), {consequence}.")
    return ""


def _manifest(path: Path, missing: list[str]) -> dict[str, Any]:
    text = _text(path, missing, "so the mixture and the versions are not known")
    try:
        return dict(mapping(json.loads(text))) if text else {}
    except ValueError as error:
        missing.append(f"{path.name} is not JSON ({error}), so the mixture and the versions are not known.")
        return {}


def _metrics(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    damaged = 0
    for text in _text(path, missing, "so the loss cannot be shown", errors="replace").split("\n"):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            lines.append({**line, "step": int(line["step"])})
        except (ValueError, KeyError, TypeError):
            damaged += 1
    if damaged:
        missing.append(f"{path.name} has {damaged} damaged line(s), which are left out.")
    return lines


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON value where it is an object, and ``{}`` where a damaged file has another."""
    return value if isinstance(value, Mapping) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Tells whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _whole(value: Any) -> int | None:
    return int(value) if is_number(value) else None


def _rate(line: Mapping[str, Any]) -> float | None:
    if is_number(line.get("tokens_per_second")):
        return float(line["tokens_per_second"])
    tokens, seconds = line.get("tokens"), line.get("seconds")
    return tokens / seconds if is_number(tokens) and is_number(seconds) and seconds > 0 else None
