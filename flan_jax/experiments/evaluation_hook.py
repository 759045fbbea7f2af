"""Measuring a run's suites while it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from flan_jax.eval.language_model import LanguageModel
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.suites import sentence
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData
from flan_jax.experiments.evaluate import EvalProgress, eval_settings, eval_suites, held_out_suites, make_predictor
from flan_jax.experiments.evaluation.measuring import (
    log_measured_again,
    measure_suites,
    outdated_suites,
    save_results,
)
from flan_jax.files import WritingError
from flan_jax.train.metrics_accumulator import HostMetrics
from flan_jax.train.state import TrainState, whole_params


class RunSuites:
    """A run's suites, measured into its folder by whatever answers for it."""

    def __init__(
        self,
        config: RunConfig,
        data: RunData,
        progress: EvalProgress | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Reads the prepared examples."""
        self.config, self._progress, self._log = config, progress, log
        self.tasks = eval_suites(data, config, log=log)
        self._held_out = held_out_suites(data, config)

    def due(self, step: int) -> bool:
        """Tells whether the period says to evaluate after a step."""
        return bool(self.config.evaluation.period) and step % self.config.evaluation.period == 0

    def outdated(self, step: int, weights: str) -> dict[str, str]:
        """Finds the suites whose results of this step, these weights and these settings are not there: suite → why."""
        if not self.tasks:
            return {}
        return outdated_suites(Path(self.config.model_dir), step, self.tasks, weights, eval_settings(self.config))

    def measure(self, step: int, predictor: LanguageModel, weights: str) -> None:
        """Evaluates the suites that are outdated.

        A task that fails is logged and stands in the results, or all of them are logged; training goes on.

        Args:
            step: training steps taken.
            predictor: answers, with the weights of this step.
            weights: their digest.
        """
        folder, outdated = Path(self.config.model_dir), self.outdated(step, weights)
        if not outdated:
            return
        log_measured_again(folder, step, outdated, weights, self._log)
        try:
            results = measure_suites(
                predictor,
                {name: tasks for name, tasks in self.tasks.items() if name in outdated},
                folder,
                step=step,
                weights=weights,
                settings=eval_settings(self.config),
                seed=self.config.seed,
                option_score=self.config.evaluation.option_score,
                held_out=self._held_out,
                progress=self._progress,
                log=self._log,
            )
        except WritingError:
            raise
        except Exception as error:
            # A fault of one machine, not of what is measured: the others wait for what this process computes of it.
            if isinstance(error, OSError) and jax.process_count() > 1:
                raise
            self._log(f"nothing could be measured at step {step}: {sentence(error)}")
            return
        save_results(folder, results)


class EvaluationHook:
    """Measures the run's suites at certain steps and writes ``eval/STEP``; called by the training loop (``measures``)."""

    def __init__(
        self,
        config: RunConfig,
        data: RunData,
        graphdef: Any,
        params: Any,
        progress: EvalProgress | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Reads the prepared examples; ``params`` only lend their shapes until a call gives others."""
        self._suites = RunSuites(config, data, progress, log)
        self._predictor: Predictor = make_predictor(graphdef, params, data, config)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Evaluates where the period says so."""
        if self._suites.due(step):
            self.measure(step, state)

    def measure(self, step: int, state: TrainState) -> None:
        """Evaluates the suites whose results of this step, these weights and these settings are not there."""
        if self._suites.tasks:
            params = whole_params(state, self._suites.config.tuning, ema=self._suites.config.evaluation.ema)
            self._suites.measure(step, self._predictor.with_params(params), params_digest(params))
