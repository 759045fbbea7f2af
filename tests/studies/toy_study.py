"""A study whose runs take milliseconds: each step is a number that follows from the one before, so that a step which is
left out, or taken twice, shows in the score."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flan_jax.eval.examples import TaskResult
from flan_jax.eval.results import write_results
from flan_jax.eval.suites import ClusterAverage, StepResults, SuiteAverage
from flan_jax.files import atomic_write_text
from flan_jax.studies.executor import OnProgress, RunEnd, RunProgress
from flan_jax.studies.plan import RunPlan
from flan_jax.studies.scheduler import Group
from flan_jax.studies.study_dir import StudyDir, begin_study

STEPS = 8
BASE = {"steps": STEPS, "mixture": "toy"}
DESCRIPTION = {"name": "toy", "objective": "held_out/choice_probability"}


def toy_plans(count: int, **options: Any) -> list[RunPlan]:
    return [
        RunPlan(
            index=place,
            name=f"run_{place:04}",
            levels={"share": place / 10},
            weights={"a": place / 10, "b": 1 - place / 10},
            options={"seed": place, **options},
        )
        for place in range(count)
    ]


def toy_study(root: Path, plans: Sequence[RunPlan], **kwargs: Any) -> StudyDir:
    given = {"text": "# toy\n", "description": DESCRIPTION, "base": BASE, **kwargs}
    return begin_study(root, plans, **given)


def next_number(number: int) -> int:
    return int(hashlib.sha256(str(number).encode()).hexdigest()[:8], 16)


def number_after(seed: int, steps: int) -> int:
    for _ in range(steps):
        seed = next_number(seed)
    return seed


@dataclasses.dataclass
class ToyExecutor:
    """Trains groups of up to ``size`` runs, and notes every step that it takes in ``steps.log`` of the study."""

    study: StudyDir
    size: int = 2
    step_seconds: float = 0.0
    hinder: Callable[[RunPlan, int], None] = lambda plan, step: None
    prepared: list[str] = dataclasses.field(default_factory=list)
    trained: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def prepare(self, plans: Sequence[RunPlan]) -> None:
        self.prepared += [plan.name for plan in plans]

    def group_key(self, plan: RunPlan) -> str:
        return str(plan.options.get("shape", "one"))

    def group_size(self, plan: RunPlan) -> int:
        return self.size

    def train(self, plans: Sequence[RunPlan], folder: Path, on_progress: OnProgress) -> tuple[RunEnd, ...]:
        self.trained.append(tuple(plan.name for plan in plans))
        checkpoint = folder / "checkpoint.json"
        step, numbers = 0, [plan.options["seed"] for plan in plans]
        if checkpoint.is_file():
            saved = json.loads(checkpoint.read_text())
            assert saved["runs"] == [plan.name for plan in plans], "another group's checkpoint"
            step, numbers = saved["step"], saved["numbers"]
        for plan in plans:
            self.begin(plan)
        while step < STEPS:
            step += 1
            for plan in plans:
                self.hinder(plan, step)
            time.sleep(self.step_seconds)
            numbers = [next_number(number) for number in numbers]
            with (self.study.root / "steps.log").open("a") as log:
                log.write("".join(f"{plan.name} {step} {os.getpid()}\n" for plan in plans))
            for plan, number in zip(plans, numbers, strict=True):
                self.log_step(plan, step, number)
            text = json.dumps({"runs": [plan.name for plan in plans], "step": step, "numbers": numbers})
            atomic_write_text(checkpoint, text)
            on_progress(RunProgress(step, STEPS, {plan.name: 1 / step for plan in plans}))
        for plan, number in zip(plans, numbers, strict=True):
            write_results(self.study.model_dir(plan.name), toy_results(number % 1000 / 1000))
        return tuple(RunEnd(plan.name, "done", step) for plan in plans)

    def begin(self, plan: RunPlan) -> None:
        manifest = {
            "config": BASE,
            "tasks": {"a": {"cluster": "c", "weight": 1.0, "examples": 9}},
            "suites": {"held_out": {"held_out": True, "split": "test", "tasks": ["t1"]}},
            "code": {"commit": "0" * 40, "changed": False},
            "hardware": {"platform": "toy"},
            "versions": {"flan-jax": "0.1.0"},
        }
        path = self.study.model_dir(plan.name) / "manifest.json"
        if not path.is_file():
            atomic_write_text(path, json.dumps(manifest))

    def log_step(self, plan: RunPlan, step: int, number: int) -> None:
        path = self.study.model_dir(plan.name) / "metrics.jsonl"
        kept = path.read_text().splitlines(keepends=True)[: step - 1] if path.is_file() else []
        line = {
            "step": step, "loss": number % 100 / 100, "tokens": 10.0, "weight": 4.0, "seconds": 0.5, "steps": 1,
            "task_loss": {"a": number % 100 / 100}, "task_share": {"a": 1.0},
        }  # fmt: skip
        atomic_write_text(path, "".join(kept) + json.dumps(line) + "\n")  # a kill in the midst of it loses no step


def toy_results(probability: float, accuracy: float = 0.5) -> StepResults:
    """Two clusters with three tasks, whose mean choice probability is that asked for."""

    def result(name: str, cluster: str, by: float) -> TaskResult:
        return TaskResult(
            name=name, cluster=cluster, metric="accuracy", predict="rank", value=accuracy, chance=0.25, majority=0.5,
            interval=(accuracy - 0.1, accuracy + 0.1), n=20, per_template={0: accuracy},
            metrics={"choice_probability": probability + by, "brier": 1 - probability},
        )  # fmt: skip

    members = [result("t1", "c1", 0.1), result("t2", "c1", -0.1), result("t3", "c2", 0.0)]
    clusters = {"c1": ClusterAverage(accuracy, 2, 40), "c2": ClusterAverage(accuracy, 1, 20)}
    average = SuiteAverage(accuracy, (accuracy - 0.06, accuracy + 0.06), accuracy, 0.25, 0.5, 3, 60, 0.0, clusters)
    return StepResults(STEPS, {"held_out": members}, {"held_out": average})


@dataclasses.dataclass
class Heard:
    """A listener that remembers."""

    lines: list[str] = dataclasses.field(default_factory=list)
    begun: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    steps: list[int] = dataclasses.field(default_factory=list)
    waited: int = 0

    def began(self, group: Group) -> None:
        self.begun.append(group.runs)

    def progress(self, group: Group, progress: RunProgress) -> None:
        self.steps.append(progress.step)

    def ended(self, group: Group, names: Sequence[str]) -> None:
        pass

    def waiting(self, names: Sequence[str]) -> None:
        self.waited += 1

    def say(self, line: str) -> None:
        self.lines.append(line)
