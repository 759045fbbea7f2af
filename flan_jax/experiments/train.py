"""One run from its configuration to its results: prepare, train or resume, measure, report."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from flan_jax.data.prepare.notices import notices
from flan_jax.data.prepare.split_job import read_outcome
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.results import merge_results, write_results
from flan_jax.eval.suites import evaluate_suites
from flan_jax.experiments import run_dir
from flan_jax.experiments.batches import (
    DataChange,
    Reweight,
    Reweighting,
    WeightsLog,
    continue_position,
    make_batches,
    reordered_window,
    sampled,
)
from flan_jax.experiments.chat_template import lacks_template
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.contamination import AUDIT, check_contamination
from flan_jax.experiments.data import Data, PrepareProgress, open_data, prepare_run, say_dropped
from flan_jax.experiments.evaluate import (
    EvalProgress,
    eval_settings,
    eval_suites,
    make_predictor,
    outdated_suites,
    say_again,
)
from flan_jax.experiments.model_snapshot import keep_description
from flan_jax.experiments.preflight import check_startable
from flan_jax.experiments.run_identity import check_same_config
from flan_jax.experiments.run_lock import run_lock
from flan_jax.experiments.settings_summary import check_schedule, main_settings
from flan_jax.experiments.weights.base_check import check_same_vocabulary
from flan_jax.experiments.weights.frozen_base import BASE, base_identity, check_can_begin, check_same_base
from flan_jax.experiments.weights.initial import initial_params
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.files import atomic_write_text, remove_leftovers
from flan_jax.report.page import write_report
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.hooks import MetricsWriter, Progress, TensorBoard
from flan_jax.train.loop import WINDOW, Hook, Preempted, fit
from flan_jax.train.metrics_accumulator import HostMetrics
from flan_jax.train.optimizer import learning_rate, make_optimizer
from flan_jax.train.sharding import make_mesh, shard_batch
from flan_jax.train.state import TrainState, init_state, shardings_of, trained_axes, whole_params
from flan_jax.train.step import compile_train_step


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: steps taken in all.
        stopped: it was told to stop, and saved; the same call continues it.
        realised: what was drawn from each task, since the run began.
        signum: of the signal that stopped it; 0 where none did.
    """

    step: int
    stopped: bool
    realised: SamplingStats
    signum: int = 0


class EvaluateAt:
    """Measures the run's suites at certain steps and writes ``eval/STEP``; called by the training loop (``measures``)."""

    def __init__(
        self,
        config: RunConfig,
        data: Data,
        graphdef: Any,
        params: Any,
        progress: EvalProgress | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Reads the prepared examples; ``params`` only lend their shapes until a call gives others."""
        self._config = config
        self._progress = progress
        self._say = say
        self._suites = eval_suites(data, config)
        self._predictor: Predictor = make_predictor(graphdef, params, data, config)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Evaluates where the period says so."""
        if self._config.evaluation.period and step % self._config.evaluation.period == 0:
            self.measure(step, whole_params(state, self._config.tuning))

    def measure(self, step: int, params: Any) -> None:
        """Evaluates the suites whose results of this step, these weights and these settings are not there."""
        if not self._suites:
            return
        folder, settings, weights = Path(self._config.model_dir), eval_settings(self._config), params_digest(params)
        outdated = outdated_suites(folder, step, self._suites, weights, settings)
        if not outdated:
            return
        say_again(folder, step, outdated, weights, self._say)
        results = evaluate_suites(
            self._predictor.with_params(params),
            {name: tasks for name, tasks in self._suites.items() if name in outdated},
            step=step,
            progress=self._progress,
            seed=self._config.seed,
            weights=weights,
            settings=settings,
        )
        if jax.process_index() == 0:
            write_results(folder, merge_results(folder, results))


def train(
    config: RunConfig,
    *,
    operative: str = "",
    prepare_progress: PrepareProgress | None = None,
    eval_progress: EvalProgress | None = None,
    say: Callable[[str], None] = lambda line: None,
    reweight: Reweighting | None = None,
) -> TrainResult:
    """Trains to ``config.steps``; where MODEL_DIR holds a checkpoint of this run, from there.

    Args:
        config: the run.
        operative: gin's text of it, for ``config.gin``.
        prepare_progress: told after every prepared split.
        eval_progress: told after every evaluated batch.
        say: told in a sentence what begins.
        reweight: asked after every logged step for new weights; each change is written to
            ``weights.jsonl`` and saved with the checkpoint.

    Raises:
        UserError: the folder holds another run or other data, or anything the layers below refuse.
    """
    folder = run_dir.check_same_run(config)
    run_dir.check_writable(folder)
    notes = check_schedule(config)
    check_startable(config)
    if not config.data.use_cached_tasks:
        prepare_run(config, progress=prepare_progress)
    data = open_data(config)
    say_dropped(data.mixture, say)
    for note in data.mixture.notes:
        say(note)
<<<<<<< HEAD
    change = run_dir.check_same_data(folder, data, accept=config.on_data_change == "accept")
    for line in notices([read_outcome(task, None) for task in data.train], vocabulary=data.vocabulary.name):
=======
    change = run_dir.check_same_data(folder, data, accept=config.data.on_data_change == "accept")
    for line in notices([outcome(task, None) for task in data.train], vocabulary=data.vocabulary.name):
>>>>>>> 655048b (Nest the options of a run in the groups of those who read them; gin's run comes from the dataclass)
        say(line)
    audited = check_contamination(config, data.mixture, data.suites, say=say)
    # Read before the folder is made, so that a wrong path leaves nothing behind; a run that continues needs no more
    # than what its checkpoints leave out.
    base = base_identity(config)
    if not run_dir.has_checkpoint(folder):
        check_same_vocabulary(config, data.vocabulary, say=say)
    params = initial_params(config) if base or not run_dir.has_checkpoint(folder) else None
    check_can_begin(params, config)
    mesh = make_mesh(config.mesh)
    say(main_settings(config))
    for note in notes:
        say(note)
    if lacking := lacks_template(config, data.mixture):
        say(lacking)
    optimizer = make_optimizer(config.optimizer, trained_axes(config.model, config.tuning))
    run_dir.create(folder)
    with (
        run_lock(folder, say),
        Checkpointer(
            folder / run_dir.CHECKPOINTS,
            keep=config.checkpoint.keep,
            keep_every=config.checkpoint.keep_period or None,
            config={**config.identity(), **base},
        ) as checkpointer,
    ):
        if jax.process_index() == 0:
            remove_leftovers(folder)
            run_dir.forget_unsaved(folder)
            if audited:
                atomic_write_text(folder / AUDIT, json.dumps(audited, indent=1, ensure_ascii=False) + "\n")
        resumes_at = checkpointer.latest_step() or 0
        if resumes_at:
            saved = checkpointer.config()
            check_same_base(saved, config)
            saved_run = {name: value for name, value in saved.items() if name != BASE}
            check_same_config(saved_run, config, f"The checkpoint of step {resumes_at} in {str(folder)!r} is of")
        graphdef, state = init_state(config.model, optimizer, config.seed, mesh, params=params, tuning=config.tuning)
        del params  # what of it is not the state's is gone
        whole = functools.partial(whole_params, tuning=config.tuning)
        if jax.process_index() == 0:
            keep_description(config.model_dir, config.initial_checkpoint, config.data.vocabulary)
            run_dir.write_description(folder, config, data, operative=operative, params=whole(state))
        ours = run_dir.task_table(data)
        weights_log = WeightsLog(folder / run_dir.WEIGHTS, resume_step=resumes_at)
        batches = make_batches(config, data.train, data.weights, data.curriculum, on_weights=weights_log)
        evaluation = EvaluateAt(config, data, graphdef, whole(state), eval_progress, say)
        resumed = None
        if resumes_at:
            say(f"resuming at step {resumes_at} of {config.steps}")
            state, position, resumed = checkpointer.restore(state)
            before = continue_position(batches, position, config, data, ours, run_dir.earlier_tables(folder))
            if before is not ours:
                say(f"going on with changed data ({DataChange.between(before, ours)})")
                resumed = {**resumed, WINDOW: reordered_window(resumed.get(WINDOW, {}), list(before), list(ours))}
            if resumes_at < config.steps:  # a step is saved before it is measured, which may have been interrupted
                evaluation(resumes_at, {}, state)
        elif config.evaluation.before:
            say("measuring before training")
            evaluation.measure(0, whole(state))
        if change and jax.process_index() == 0:
            run_dir.record_change(folder, data, step=resumes_at)
        step_fn = compile_train_step(
            shardings_of(state),
            graphdef=graphdef,
            optimizer=optimizer,
            schedule=learning_rate(config.optimizer),
            num_tasks=len(data.train),
            z_loss=config.step.z_loss,
            tuning=config.tuning,
        )
        progress = Progress(config.steps, start=resumes_at)
        curves = TensorBoard(folder / run_dir.EVENTS, data.train_names, resume_step=resumes_at)
        metrics = MetricsWriter(
            folder / run_dir.METRICS,
            data.train_names,
            resume_step=resumes_at,
            more=lambda: {"sampled": sampled(batches.realised())},
        )
        hooks: tuple[Hook, ...] = (
            metrics,
            curves,
            progress,
            *([Reweight(batches, reweight)] if reweight else []),
        )
        try:
            state = fit(
                state,
                batches,
                step_fn,
                steps=config.steps,
                shard_batch=functools.partial(shard_batch, mesh=mesh),
                hooks=hooks,
                measures=[evaluation],
                log_every=config.log_period,
                checkpointer=checkpointer,
                save_every=config.checkpoint.period,
                data_position=batches.get_state,
                resumed=resumed,
                stop_at_data_end=config.feed.exhausted != "repeat",
            )
            realised = batches.realised()
        except Preempted as stop:
            if not stop.saved:
                raise
            return TrainResult(stop.step, stopped=True, realised=batches.realised(), signum=stop.signum)
        finally:
            progress.close()
            curves.close()
            batches.close()
        reached = int(jax.device_get(state.step))
        if reached < config.steps:
            say(
                f"the data ended after step {reached} of {config.steps}, as run.exhausted={config.feed.exhausted!r} asks for"
            )
        say(f"measuring step {reached}")
        evaluation.measure(reached, whole(state))
        if jax.process_index() == 0:
            write_report([folder], folder / run_dir.REPORT)
        return TrainResult(reached, stopped=False, realised=realised)
