"""One run from its configuration to its results: prepare, train or resume, measure, report."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from flan_jax.errors import UserError
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.results import saved_steps, write_results
from flan_jax.eval.suites import evaluate_suites
from flan_jax.experiments import run_dir
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.evaluate import EvalProgress, eval_suites, make_predictor
from flan_jax.experiments.setup import Data, PrepareProgress, open_data, prepare_run
from flan_jax.experiments.weights import initial_params
from flan_jax.feed.lessons import LessonFirst
from flan_jax.feed.loader import PackedBatches
from flan_jax.models.build import logical_axes
from flan_jax.report.page import write_report
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.hooks import MetricsWriter, Progress, TensorBoard
from flan_jax.train.loop import Preempted, fit
from flan_jax.train.optimizer import learning_rate, make_optimizer
from flan_jax.train.sharding import make_mesh, shard_batch
from flan_jax.train.state import TrainState, init_state, shardings_of
from flan_jax.train.step import compile_train_step
from flan_jax.train.window import HostMetrics


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: steps taken in all.
        stopped: it was told to stop, and saved; the same call continues it.
    """

    step: int
    stopped: bool


class EvaluateAt:
    """Measures the run's suites at certain steps and writes ``eval/STEP``; a hook of the training loop."""

    def __init__(
        self, config: RunConfig, data: Data, graphdef: Any, params: Any, progress: EvalProgress | None = None
    ) -> None:
        """Reads the prepared examples; ``params`` only lend their shapes until a call gives others."""
        self._config = config
        self._progress = progress
        self._suites = eval_suites(data, config)
        self._predictor: Predictor = make_predictor(graphdef, params, data, config)

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Evaluates where the period says so."""
        if self._config.eval.period and step % self._config.eval.period == 0:
            self.measure(step, state.params)

    def measure(self, step: int, params: Any) -> None:
        """Evaluates unless the results of this step are there."""
        folder = Path(self._config.model_dir)
        if not self._suites or step in saved_steps(folder):
            return
        predictor = self._predictor.with_params(params)
        results = evaluate_suites(predictor, self._suites, step=step, progress=self._progress, seed=self._config.seed)
        if jax.process_index() == 0:
            write_results(folder, results)


def make_batches(config: RunConfig, data: Data) -> PackedBatches | LessonFirst:
    """The run's batches from the first step on, the rows of this process.

    Raises:
        UserError: the run begins with a lesson and the mixture has none.
    """
    make = functools.partial(
        PackedBatches,
        data.train,
        seed=config.seed,
        batch_size=config.batch_size,
        lengths=config.lengths,
        pack=config.pack,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    mixture = make(list(data.weights.values()))
    if not config.lesson_steps:
        return mixture
    if not data.lesson:
        raise UserError(
            f"run.lesson_steps is {config.lesson_steps}, but mixture {data.mixture.name!r} declares no lesson. Set it to 0."
        )
    return LessonFirst(make(list(data.lesson.values())), mixture, steps=config.lesson_steps)


def train(
    config: RunConfig,
    *,
    operative: str = "",
    prepare_progress: PrepareProgress | None = None,
    eval_progress: EvalProgress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainResult:
    """Trains to ``config.steps``; where MODEL_DIR holds a checkpoint of this run, from there.

    Args:
        config: the run.
        operative: gin's text of it, for ``config.gin``.
        prepare_progress: told after every prepared split.
        eval_progress: told after every evaluated batch.
        say: told in a sentence what begins.

    Raises:
        UserError: the folder holds another run or other data, or anything the layers below refuse.
    """
    folder = run_dir.check_same_run(config)
    if not config.use_cached_tasks:
        prepare_run(config, progress=prepare_progress)
    data = open_data(config)
    run_dir.check_same_data(folder, data)
    # Read before the folder is made, so that a wrong path leaves nothing behind; a run that continues needs none.
    params = None if run_dir.has_checkpoint(folder) else initial_params(config)
    mesh = make_mesh(config.mesh)
    optimizer = make_optimizer(config.optimizer, logical_axes(config.model))
    run_dir.create(folder)
    with (
        Checkpointer(
            folder / run_dir.CHECKPOINTS,
            keep=config.checkpoint.keep,
            keep_every=config.checkpoint.keep_period or None,
            config=config.identity(),
        ) as checkpointer,
    ):
        resumes_at = checkpointer.latest_step() or 0
        graphdef, state = init_state(config.model, optimizer, config.seed, mesh, params=params)
        if jax.process_index() == 0:
            run_dir.write_description(folder, config, data, operative=operative, params=state.params)
        batches = make_batches(config, data)
        evaluation = EvaluateAt(config, data, graphdef, state.params, eval_progress)
        resumed = None
        if resumes_at:
            say(f"resuming at step {resumes_at} of {config.steps}")
            state, position, resumed = checkpointer.restore(state)
            batches.set_state(position)
        elif config.eval.before:
            say("measuring before training")
            evaluation.measure(0, state.params)
        step_fn = compile_train_step(
            shardings_of(state),
            graphdef=graphdef,
            optimizer=optimizer,
            schedule=learning_rate(config.optimizer),
            num_tasks=len(data.train),
            z_loss=config.z_loss,
        )
        progress = Progress(config.steps, start=resumes_at)
        curves = TensorBoard(folder / run_dir.EVENTS, data.train_names, resume_step=resumes_at)
        metrics = MetricsWriter(folder / run_dir.METRICS, data.train_names, resume_step=resumes_at)
        try:
            state = fit(
                state,
                batches,
                step_fn,
                steps=config.steps,
                shard_batch=functools.partial(shard_batch, mesh=mesh),
                hooks=(metrics, curves, progress, evaluation),
                log_every=config.log_period,
                checkpointer=checkpointer,
                save_every=config.checkpoint.period,
                data_position=batches.get_state,
                resumed=resumed,
            )
        except Preempted as stop:
            if not stop.saved:
                raise
            return TrainResult(stop.step, stopped=True)
        finally:
            progress.close()
            curves.close()
            batches.close()
    reached = max(config.steps, resumes_at)
    say(f"measuring step {reached}")
    evaluation.measure(reached, state.params)
    if jax.process_index() == 0:
        write_report([folder], folder / run_dir.REPORT)
    return TrainResult(reached, stopped=False)
