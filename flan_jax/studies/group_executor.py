"""Training a study's runs in groups: one store for all, and one compiled step for runs of one shape."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flan_jax.data.prepare.prepare import PrepareProgress
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import prepare_run
from flan_jax.experiments.setup import Log
from flan_jax.experiments.train import train
from flan_jax.feed.config import FeedConfig
from flan_jax.studies.executor import OnProgress, RunEnd, RunProgress
from flan_jax.studies.expand import run_config
from flan_jax.studies.groups.group_key import group_key, why_alone
from flan_jax.studies.groups.memory import runs_that_fit
from flan_jax.studies.groups.outputs import GroupProgress
from flan_jax.studies.groups.train_group import train_group
from flan_jax.studies.options import gin_lines
from flan_jax.studies.plan import RunPlan, digest_of
from flan_jax.train.loop import Preempted
from flan_jax.train.step_config import StepConfig

MOST_ON_CPU = 8
"""Runs of a group on a CPU, which is busy with one already: more only make what a kill costs larger."""
_NOT_OF_DATA = ("model", "optimizer", "steps", "tuning", "mesh", "checkpoint")


class GroupExecutor:
    """Trains runs with ``train_group``, and alone where that cannot.

    Args:
        base: the study's base run.
        root: the study's folder.
        operative: gin's text of the base run, for each run's ``config.gin``.
        runs_per_group: how many runs train together at most; 0 for as many as memory holds.
        keep_checkpoints: leave every run its last checkpoint.
        prepare_progress: told after every prepared split.
        log: told in a sentence what begins, and what is odd.
    """

    def __init__(
        self,
        base: RunConfig,
        root: Path,
        *,
        operative: str = "",
        runs_per_group: int = 0,
        keep_checkpoints: bool = False,
        prepare_progress: PrepareProgress | None = None,
        log: Log = lambda line: None,
    ) -> None:
        self._base, self._root, self._operative = base, root, operative
        self._runs_per_group, self._keep_checkpoints = runs_per_group, keep_checkpoints
        self._prepare_progress, self._log = prepare_progress, log
        self._configs: dict[str, RunConfig] = {}
        self._sizes: dict[str, int] = {}

    def config(self, plan: RunPlan) -> RunConfig:
        """Returns a run of the study, which finds its tasks prepared."""
        if plan.name not in self._configs:
            config = run_config(self._base, plan, self._root)
            self._configs[plan.name] = config.with_options(use_cached_tasks=True)
        return self._configs[plan.name]

    def operative(self, plan: RunPlan) -> str:
        """Returns gin's text of a run: the base run's, and behind it what is this run's own."""
        if not self._operative:
            return ""
        config = self.config(plan)
        own = {**plan.options, "model_dir": config.model_dir, "store": config.data.store}
        return f"{self._operative.rstrip()}\n\n# {plan.name} of its study\n{gin_lines(own)}\n"

    def prepare(self, plans: Sequence[RunPlan]) -> None:
        """Prepares what the runs read, each task once; as ``Executor.prepare``."""
        if self._base.data.use_cached_tasks:
            return
        distinct = {data_key(self.config(plan)): self.config(plan) for plan in plans}
        for config in distinct.values():
            prepare_run(config, progress=self._prepare_progress)

    def group_key(self, plan: RunPlan) -> str:
        """As ``Executor.group_key``."""
        config = self.config(plan)
        return f"alone {plan.name}" if why_alone(config) else group_key(config)

    def group_size(self, plan: RunPlan) -> int:
        """As ``Executor.group_size``."""
        config, key = self.config(plan), self.group_key(plan)
        if why_alone(config):
            return 1
        if self._runs_per_group:
            return self._runs_per_group
        if jax.default_backend() == "cpu":
            return MOST_ON_CPU
        if key not in self._sizes:
            self._sizes[key] = runs_that_fit(config)
            self._log(f"{self._sizes[key]:,} runs of one shape fit into memory and train together")
        return self._sizes[key]

    def train(self, plans: Sequence[RunPlan], folder: Path, on_progress: OnProgress) -> tuple[RunEnd, ...]:
        """As ``Executor.train``."""
        configs = [self.config(plan) for plan in plans]
        if why_alone(configs[0]):
            return (self._train_alone(plans[0]),)
        names = {config.model_dir: plan.name for config, plan in zip(configs, plans, strict=True)}
        outcomes = train_group(
            configs,
            folder=folder,
            on_progress=lambda progress: on_progress(_progress(progress, names)),
            log=self._log,
            keep_checkpoints=self._keep_checkpoints,
            operatives=[self.operative(plan) for plan in plans],
        )
        return tuple(RunEnd(names[end.model_dir], end.state, end.step, end.reason) for end in outcomes)

    def _train_alone(self, plan: RunPlan) -> RunEnd:
        result = train(self.config(plan), operative=self.operative(plan), log=self._log)
        if result.stopped:
            raise Preempted(result.step, result.signum, saved=True)
        return RunEnd(plan.name, "done", result.step)


def _progress(progress: GroupProgress, names: Mapping[str, str]) -> RunProgress:
    losses = {names[folder]: loss for folder, loss in progress.losses.items()}
    return RunProgress(progress.step, progress.steps, losses)


def data_key(config: RunConfig) -> str:
    """Returns a text that runs share which read the same prepared tasks, as far as their options tell."""
    identity = config.identity()
    own = {option.name for kind in (FeedConfig, StepConfig) for option in dataclasses.fields(kind)}
    kept: dict[str, Any] = {
        name: value for name, value in identity.items() if name not in own and name not in _NOT_OF_DATA
    }
    # Which tasks have a weight decides what is read, and not how large it is.
    kept["weights"] = sorted(part for part, weight in config.mixing.weights.items() if weight)
    if config.mixing.template_seed is not None:
        del kept["seed"]
    return digest_of(kept)


def log_once(log: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a log that says each line once: hundreds of runs have the same things to say."""
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            log(line)

    return once
