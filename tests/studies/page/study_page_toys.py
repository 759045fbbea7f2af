"""A study's folder for the tests of its page: three units of weights, two factors and seeds, and runs that did not make it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from toy_study import STEPS, ToyExecutor, toy_results, toy_study

from flan_jax.eval.results import write_results
from flan_jax.files import atomic_write_text
from flan_jax.studies.plan import RunPlan
from flan_jax.studies.study_dir import StudyDir

EVIL = "<script>alert('x')</script>"
CLUSTERS, MODES, SEEDS = (1, 3, 7), ("instructions", "no_template"), (0, 1, 2)
FAILED, DIVERGED, PENDING = "run_0018", "run_0019", "run_0020"
DESCRIPTION = {
    "name": f"toy {EVIL}",
    "factors": [
        {"factor": "NumberOfClusters", "counts": list(CLUSTERS), "orders": 1},
        {"factor": "Values", "option": "modes", "values": list(MODES)},
        {"factor": "Seeds", "count": 3, "first": 0},
    ],
    "draws": 0,
    "seed": 5,
    "objective": "held_out/choice_probability",
}
BASE = {
    "mixture": "toy",
    "steps": STEPS,
    "batch_size": 4,
    "lengths": {"inputs": 48, "targets": 8},
    "seed": 3,
    "model": {"d_model": 16, "num_encoder_layers": 1, "num_decoder_layers": 1},
    "optimizer": {"name": "adafactor", "learning_rate": 0.001, "schedule": "constant"},
    "evaluation": {"max_examples": 4},
}


def score_of(clusters: int, mode: str, weights: tuple[float, float, float], seed: int) -> float:
    noise = (0.004, -0.006, 0.002)[seed]
    return 0.3 + 0.02 * clusters + 0.05 * (mode == "instructions") + 0.1 * weights[0] - 0.05 * weights[1] + noise


def page_plans(units: tuple[str, ...] = ("a", "b", "c")) -> list[RunPlan]:
    """Eighteen runs of six points, and three runs more."""
    generator = np.random.default_rng(1)
    plans = []
    for clusters in CLUSTERS:
        for mode in MODES:
            weights = np.round(generator.dirichlet(np.ones(len(units))), 6)
            weights[-1] = 1 - weights[:-1].sum()
            for seed in SEEDS:
                levels = {"clusters": clusters, "modes": mode, "seed": seed}
                shares = dict(zip(units, map(float, weights), strict=True))
                plans.append(_plan(len(plans), levels, shares))
    equal = {unit: 1 / len(units) for unit in units}
    for seed in (7, 8, 9):
        plans.append(_plan(len(plans), {"clusters": 3, "modes": "no_template", "seed": seed}, equal))
    return plans


def _plan(index: int, levels: dict[str, Any], weights: dict[str, float]) -> RunPlan:
    return RunPlan(index, f"run_{index:04}", levels, weights, {**levels, "weights": weights})


def make_study(root: Path, **changes: Any) -> StudyDir:
    """A study of which eighteen runs are done, one failed, one diverged, and one was not begun."""
    study = toy_study(root, page_plans(), **{"description": DESCRIPTION, "base": BASE, **changes})
    executor = ToyExecutor(study)
    for plan in study.plans[:18]:
        executor.begin(plan)
        for step in range(1, STEPS + 1):
            executor.log_step(plan, step, 10 * step + plan.index)
        levels = plan.levels
        value = score_of(levels["clusters"], levels["modes"], tuple(plan.weights.values()), levels["seed"])
        write_results(study.model_dir(plan.name), toy_results(value, accuracy=value + 0.1))
        end(study, plan.name, "done")
    end(study, FAILED, "failed", reason=f"the disk {EVIL} is gone")
    end(study, DIVERGED, "diverged", reason="loss is nan", step=3)
    return study


def end(study: StudyDir, name: str, outcome: str, *, reason: str = "", step: int = STEPS) -> None:
    record = study.record(name).began("group_0000")
    study.note(name, record.ended(outcome, step=step, reason=reason, wall_seconds=2.0))


def learn_weights(study: StudyDir, name: str) -> None:
    """Makes of a run one whose weights were learned: two clusters whose shares change places."""
    folder = study.model_dir(name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tasks"] = {
        task: {"cluster": cluster, "weight": 1.0, "examples": 9}
        for task, cluster in (("a", "one"), ("b", "two"), ("c", "two"))
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = []
    for step in range(1, STEPS + 1):
        share = {"a": 0.8 - 0.05 * step, "b": 0.1 + 0.05 * step, "c": 0.1}
        line = {"step": step, "loss": 1.0, "tokens": 10.0, "weight": 4.0, "seconds": 0.5}
        lines.append({**line, "task_loss": dict.fromkeys(share, 1.0), "task_share": share})
    atomic_write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    (folder / "weights.jsonl").write_text("{}\n")
