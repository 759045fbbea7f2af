"""What a study adds to its runs: the same groups trained by a sweep, and by nothing but the code that trains groups.

A sweep plans, claims, notes every run's beginning and end, and keeps the database; both prepare the tasks, train, save and
measure. They take turns, each in a folder of its own, with programs from one cache that a first turn fills.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from _bench_rounds import log

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.mixing.mixture import MIXTURES
from flan_jax.models.build import ModelConfig
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import database_of
from flan_jax.studies.executor import RunProgress
from flan_jax.studies.group_executor import GroupExecutor
from flan_jax.studies.plan import RunPlan
from flan_jax.studies.runner import sweep
from flan_jax.studies.scheduler import Group
from flan_jax.studies.study_dir import begin_study
from flan_jax.testing.tasks import toy_mixture
from flan_jax.train.optimizer import OptimizerConfig

MIXTURE = "bench_study"
DESCRIPTION = {"name": "overhead", "objective": "held_out/choice_probability"}


class _Silent:
    """A listener that shows nothing."""

    def began(self, group: Group) -> None: ...
    def progress(self, group: Group, progress: RunProgress) -> None: ...
    def ended(self, group: Group, names: Sequence[str]) -> None: ...
    def waiting(self, names: Sequence[str]) -> None: ...
    def say(self, line: str) -> None: ...


def overhead(
    model: ModelConfig, optimizer: OptimizerConfig, *, runs: int, group: int, steps: int, batch_size: int, rounds: int
) -> dict[str, Any]:
    """Measures both in turns, after a turn of each that is not counted.

    Args:
        model: of every run.
        optimizer: of every run.
        runs: of the study.
        group: so many train together.
        steps: of each run.
        batch_size: rows of a run's batch.
        rounds: of both.

    Returns:
        Seconds and CPU seconds of every round, and the median of a sweep's over that of its bare runs, less 1.
    """
    MIXTURES._items.setdefault(MIXTURE, lambda: toy_mixture(MIXTURE))
    plans = [RunPlan(at, f"run_{at:04}", {"seed": at}, {}, {"seed": at}) for at in range(runs)]
    with tempfile.TemporaryDirectory(prefix="bench_overhead_") as scratch:
        cached = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
        jax.config.update("jax_compilation_cache_dir", str(Path(scratch) / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        base = RunConfig.from_options(
            model_dir=str(Path(scratch) / "base"),
            mixture=MIXTURE,
            lengths={"inputs": 96, "targets": 32},
            model=model,
            optimizer=optimizer,
            steps=steps,
            batch_size=batch_size,
            template_seed=0,
            log_period=max(1, steps // 10),
            checkpoint=CheckpointConfig(period=steps),
            evaluation=EvalConfig(suites=("held_out",), max_examples=16, batch_size=16),
        )
        try:
            return _in_turns(base, plans, group, Path(scratch), rounds)
        finally:
            jax.config.update("jax_compilation_cache_dir", cached[0])
            jax.config.update("jax_persistent_cache_min_compile_time_secs", cached[1])


def _in_turns(base: RunConfig, plans: Sequence[RunPlan], group: int, scratch: Path, rounds: int) -> dict[str, Any]:
    ways: dict[str, Callable[[RunConfig, Sequence[RunPlan], int, Path], None]] = {"bare": _bare, "study": _study}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, train in ways.items():
            begun, used = time.perf_counter(), time.process_time()
            train(base, plans, group, scratch / f"{name}_{index}")
            if index:
                wall[name].append(time.perf_counter() - begun)
                cpu[name].append(time.process_time() - used)
        log(f"overhead, round {index}: " + ", ".join(f"{name} {own[-1]:.3g} s" for name, own in wall.items() if own))
    medians = [{name: statistics.median(own) for name, own in found.items()} for found in (wall, cpu)]
    return {
        "runs": len(plans),
        "runs_per_group": group,
        "steps": base.steps,
        "overhead": medians[0]["study"] / medians[0]["bare"] - 1,
        "overhead_cpu": medians[1]["study"] / medians[1]["bare"] - 1,
        "wall_s": wall,
        "cpu_s": cpu,
    }


def _bare(base: RunConfig, plans: Sequence[RunPlan], group: int, root: Path) -> None:
    executor = GroupExecutor(base, root, runs_per_group=group)
    executor.prepare(plans)
    for begin in range(0, len(plans), group):
        ends = executor.train(plans[begin : begin + group], root / f"group_{begin}", lambda progress: None)
        assert {end.outcome for end in ends} == {"done"}, ends


def _study(base: RunConfig, plans: Sequence[RunPlan], group: int, root: Path) -> None:
    study = begin_study(root, plans, text="# overhead\n", description=DESCRIPTION, base={"steps": base.steps})
    with Claims(study.claims) as claims:

        def store(names: Sequence[str] | None) -> None:
            database_of(study).update(study, claims, names)

        result = sweep(
            study,
            GroupExecutor(base, root, runs_per_group=group),
            listener=_Silent(),
            selected=[plan.name for plan in plans],
            retries=0,
            claims=claims,
            store=store,
        )
    assert result.states == {"done": len(plans)}, result
