"""Measuring a run's suites while it trains."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import Settings, params_digest
from flan_jax.eval.suites import StepResults, sentence
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
        self._config = config
        self._progress = progress
        self._log = log
        self._suites = eval_suites(data, config, log=log)
        self._held_out = held_out_suites(data, config)
        self._predictor: Predictor = make_predictor(graphdef, params, data, config)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Evaluates where the period says so."""
        if self._config.evaluation.period and step % self._config.evaluation.period == 0:
            self.measure(step, whole_params(state, self._config.tuning))

    def measure(self, step: int, params: Any) -> None:
        """Evaluates the suites whose results of this step, these weights and these settings are not there.

        A task that fails is logged and stands in the results, or all of them are logged; training goes on.
        """
        if not self._suites:
            return
        folder, settings, weights = Path(self._config.model_dir), eval_settings(self._config), params_digest(params)
        outdated = outdated_suites(folder, step, self._suites, weights, settings)
        if not outdated:
            return
        log_measured_again(folder, step, outdated, weights, self._log)
        try:
            results = self._measured(step, params, outdated, weights, settings)
        except WritingError:
            raise
        except Exception as error:
            self._log(f"nothing could be measured at step {step}: {sentence(error)}")
            return
        save_results(folder, results)

    def _measured(
        self, step: int, params: Any, outdated: Mapping[str, str], weights: str, settings: Settings
    ) -> StepResults:
        return measure_suites(
            self._predictor.with_params(params),
            {name: tasks for name, tasks in self._suites.items() if name in outdated},
            Path(self._config.model_dir),
            step=step,
            weights=weights,
            settings=settings,
            seed=self._config.seed,
            option_score=self._config.evaluation.option_score,
            held_out=self._held_out,
            progress=self._progress,
            log=self._log,
        )
