"""Evaluation of a group: runs that measure the same examples are asked together, others one after another."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from flan_jax.eval.grouped.answering import GroupAnswers
from flan_jax.eval.grouped.predictor import GroupedPredictor
from flan_jax.eval.language_model import LanguageModel
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import params_digest, suite_settings
from flan_jax.experiments.evaluation_hook import RunSuites
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import own_sharding, padded_rows, shared_sharding
from flan_jax.train.grouped_metrics import GroupedMetrics
from flan_jax.train.grouped_state import GroupState
from flan_jax.train.metrics_accumulator import HostMetrics


@dataclasses.dataclass(frozen=True)
class _Due:
    """A run to measure: its step, and the digest of its weights."""

    run: int
    step: int
    weights: str


class GroupEvaluation:
    """Measures the suites of a group's runs, each into its own folder; called by the training loop (``measures``).

    Args:
        suites: of each run.
        alone: answers as any of the runs is asked, with whatever parameters.
        window: knows which runs have diverged, and the steps of all.
        tuning: which part of the model the runs train.
        mesh: of ``runs_axis.runs_mesh``.
    """

    def __init__(
        self,
        suites: Sequence[RunSuites],
        alone: Predictor,
        window: GroupedMetrics,
        tuning: TuningConfig,
        mesh: Mesh,
    ) -> None:
        self._suites, self._alone, self._window, self._tuning, self._mesh = suites, alone, window, tuning, mesh
        self._examples = [_examples_of(own) for own in suites]

    def __call__(self, step: int, metrics: HostMetrics, state: GroupState, /) -> None:
        """Evaluates the runs that took this step, where the period says so."""
        if self._suites[0].due(step):
            over = self._window.stopped
            self.measure(state, {run: step for run in range(len(self._suites)) if run not in over})

    def measure(self, state: GroupState, steps: Mapping[int, int]) -> None:
        """Evaluates what is not measured yet: run → the step that it has taken."""
        host = jax.device_get(self._trained(state))
        by_examples: dict[str, list[_Due]] = {}
        for run, step in steps.items():
            if not self._suites[run].tasks:
                continue
            weights = params_digest(self._whole(_rows(host, run), state))
            if self._suites[run].outdated(step, weights):
                by_examples.setdefault(self._examples[run], []).append(_Due(run, step, weights))
        for due in by_examples.values():
            models = self._models(state, host, [own.run for own in due])
            for own in due:
                self._suites[own.run].measure(own.step, models[own.run], own.weights)

    def _trained(self, state: GroupState) -> Any:
        """Returns the trained weights of all runs as they are measured: themselves, or their average."""
        return state.runs.ema if self._suites[0].config.evaluation.ema else state.runs.params

    def _whole(self, params: Any, state: GroupState) -> Any:
        return join(params, state.runs.frozen, self._tuning)

    def _models(self, state: GroupState, host: Any, runs: Sequence[int]) -> Mapping[int, LanguageModel]:
        """Run → a model that answers for it."""
        shared = shared_sharding(self._mesh)
        if len(runs) == 1:
            params = self._whole(jax.device_put(_rows(host, runs[0]), shared), state)
            return {runs[0]: self._alone.with_params(params)}
        places, params = runs, self._trained(state)
        if 2 * len(runs) < len(state.active):
            # Powers of two, so that groups of whatever sizes need few programs.
            rows = padded_rows(1 << (len(runs) - 1).bit_length(), self._mesh)
            index = [*runs, *[runs[-1]] * (rows - len(runs))]
            params = jax.device_put(_rows(host, np.array(index)), own_sharding(self._mesh))
            places = range(len(runs))
        asked = GroupedPredictor.of(self._alone, params, state.runs.frozen, self._tuning, self._mesh)
        answers = GroupAnswers(asked)
        return {run: answers.of(place) for run, place in zip(runs, places, strict=True)}


def _rows(host: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], host)


def _examples_of(suites: RunSuites) -> str:
    """Describes which examples a run measures, and how they are asked: equal texts, equal answers of equal weights."""
    return json.dumps({name: suite_settings(tasks, {}) for name, tasks in suites.tasks.items()}, sort_keys=True)
