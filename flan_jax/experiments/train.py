"""One run from its configuration to its results: prepare, train or resume, measure, report."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from flan_jax.errors import UserError
from flan_jax.experiments import run_dir
from flan_jax.experiments.batches import Reweight, Reweighting, sampling_report
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import PrepareProgress
from flan_jax.experiments.evaluate import EvalProgress
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.diverged import with_examples
from flan_jax.experiments.run_folder.run_lock import run_lock
from flan_jax.experiments.setup import Built, Log, Started, build, start
from flan_jax.experiments.validation.validation_loss import ValidationLoss
from flan_jax.experiments.weighting.build_method import save_result
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.files import WritingError
from flan_jax.launch.distributed import failing_together
from flan_jax.report.page import write_report
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.finite import DivergedError
from flan_jax.train.hooks import MetricsWriter, Progress, TensorBoard
from flan_jax.train.loop import WINDOW, Enough, Hook, Preempted, fit
from flan_jax.train.metrics_accumulator import MetricsAccumulator
from flan_jax.train.optimizer import learning_rate
from flan_jax.train.reporting.profiler import Profiled
from flan_jax.train.reporting.speed import Speed
from flan_jax.train.reporting.trackers import Tracker
from flan_jax.train.state import TrainState, shardings_of
from flan_jax.train.step import compile_train_step
from flan_jax.train.tiers.tiered_checkpointer import open_checkpointer


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The end of a run.

    Attributes:
        step: steps taken in all.
        stopped: it was told to stop, and saved; the same call continues it.
        sampling_stats: what was drawn from each task, since the run began.
        signum: of the signal that stopped it; 0 where none did.
    """

    step: int
    stopped: bool
    sampling_stats: SamplingStats
    signum: int = 0


def train(
    config: RunConfig,
    *,
    operative: str = "",
    prepare_progress: PrepareProgress | None = None,
    eval_progress: EvalProgress | None = None,
    log: Log = lambda line: None,
    reweight: Reweighting | None = None,
) -> TrainResult:
    """Trains to ``config.steps``; where MODEL_DIR holds a checkpoint of this run, from there.

    Args:
        config: the run.
        operative: gin's text of it, for ``config.gin``.
        prepare_progress: told after every prepared split.
        eval_progress: told after every evaluated batch.
        log: told in a sentence what begins.
        reweight: asked after every logged step for new weights; each change is written to
            ``weights.jsonl`` and saved with the checkpoint.

    Raises:
        UserError: the folder holds another run or other data, or anything the layers below refuse.
    """
    if reweight is not None and config.weighting is not None:
        raise UserError(
            "A run is given weights by a function (reweight) or by run.weighting, not by both. Leave one out."
        )
    built = build(config, prepare_progress=prepare_progress, log=log)
    run_dir.create(built.folder)
    with (
        run_lock(built.folder, log),
        open_checkpointer(
            built.folder / run_files.CHECKPOINTS,
            config.checkpoint,
            config=built.identity,
        ) as checkpointer,
        failing_together(),
    ):
        started = start(built, checkpointer, operative=operative, eval_progress=eval_progress, log=log)
        return _run(built, started, checkpointer, reweight, log)


def _run(
    built: Built, started: Started, checkpointer: Checkpointer, reweight: Reweighting | None, log: Log
) -> TrainResult:
    """Trains to the last step, measures what is reached, and writes the page of the run."""
    config, folder, batches, learned = built.config, built.folder, started.batches, started.learned
    validation = validation_loss(built, started, checkpointer, log)
    with contextlib.closing(batches), _outputs(built, started) as outputs:
        hooks = [*outputs, *([Reweight(batches, reweight)] if reweight else [])]
        try:
            state = _trained(built, started, checkpointer, hooks, validation)
        except DivergedError as error:
            raise with_examples(error, folder, batches) from None
        except Preempted as stop:
            if not stop.saved:
                raise
            return TrainResult(stop.step, stopped=True, sampling_stats=batches.sampling_stats(), signum=stop.signum)
        sampling_stats = batches.sampling_stats()
    reached = int(jax.device_get(state.step))
    if validation is not None:
        with contextlib.suppress(Enough):
            validation(reached, {}, state)
    if learned is not None and learned.finished():
        log(f"{type(learned.method).__name__} has nothing left to train after step {reached} of {config.steps}")
    elif validation is not None and validation.over and reached < config.steps:
        log(f"the run ended at step {reached:,} of {config.steps:,}: {validation.over}")
    elif reached < config.steps:
        log(
            f"the data ended after step {reached} of {config.steps}, as run.exhausted={config.feed.exhausted!r} asks for"
        )
    if learned is not None and learned.method.result is not None:
        log(f"the weights that {type(learned.method).__name__} learned are in {save_result(folder, learned)}")
    log(f"measuring step {reached}")
    started.evaluation.measure(reached, state)
    if jax.process_index() == 0:
        write_report([folder], folder / run_files.REPORT)
    return TrainResult(reached, stopped=False, sampling_stats=sampling_stats)


def _trained(
    built: Built,
    started: Started,
    checkpointer: Checkpointer,
    hooks: Sequence[Hook],
    validation: ValidationLoss | None,
) -> TrainState:
    """Takes the steps that are left."""
    config, batches, learned = built.config, started.batches, started.learned
    step_fn: Any = compile_train_step(
        shardings_of(started.state),
        built.partitioner,
        graphdef=started.graphdef,
        optimizer=built.optimizer,
        schedule=learning_rate(config.optimizer),
        num_tasks=len(built.data.train),
        config=config.step,
        tuning=config.tuning,
    )
    over = validation is not None and bool(validation.over)  # a run that ended early, begun again
    with contextlib.ExitStack() as stack:
        if config.profile_steps:
            first, last = config.profile_steps
            step_fn = Profiled(step_fn, (first, last), built.folder / run_files.PROFILE, started.step)
            stack.callback(step_fn.close)
        return fit(
            started.state,
            batches,
            step_fn,
            steps=started.step if over else config.steps,
            shard_batch=built.partitioner.shard_batch,
            hooks=hooks,
            measures=[*([validation] if validation else []), started.evaluation],
            log_every=config.log_period,
            checkpointer=checkpointer,
            data_position=batches.get_state,
            window=MetricsAccumulator((started.resumed or {}).get(WINDOW), most_skipped=config.step.max_skipped_steps),
            extra=dict if learned is None else learned.state,
            before_step=None if learned is None else learned.before_step,
            after_step=None if learned is None else learned.after_step,
            finished=lambda: learned is not None and learned.finished(),
            stop_at_data_end=config.feed.exhausted != "repeat",
            failing=_told_at_once,
            speed=Speed(
                config.model,
                config.feed.batch_size,
                (config.tokenize.lengths["inputs"], config.tokenize.lengths["targets"]),
                frozen=config.tuning.partial,
                devices=list(built.partitioner.mesh.devices.flat),
            ),
        )


@contextlib.contextmanager
def _told_at_once() -> Iterator[None]:
    """Tells the other processes of what ends training in this one alone, such as a full disk.

    A save is waited for behind it, and that of all processes ends only if all of them come to its end.
    """
    try:
        yield
    except (Preempted, Enough, DivergedError):
        raise
    except Exception as error:
        if isinstance(error, UserError) and not isinstance(error, WritingError):
            raise  # all processes come to it, and the save to its end
        with failing_together():
            raise


def validation_loss(built: Built, started: Started, checkpointer: Checkpointer, log: Log) -> ValidationLoss | None:
    """Makes what measures the validation loss of a run; ``None`` for one that measures none."""
    if built.validation is None:
        return None
    return ValidationLoss(
        built.config,
        built.validation,
        built.partitioner,
        started.graphdef,
        started.state,
        checkpointer,
        log,
        step=started.step,
    )


@contextlib.contextmanager
def _outputs(built: Built, started: Started) -> Iterator[list[Hook]]:
    """Opens what is written and shown at every logged step, until training ends: metrics, curves, progress."""
    folder, names, step = built.folder, built.data.train_names, started.step
    metrics = MetricsWriter(
        folder / run_files.METRICS,
        names,
        resume_step=step,
        more=lambda: {"sampled": sampling_report(started.batches.sampling_stats())},
    )
    with (
        contextlib.closing(TensorBoard(folder / run_files.EVENTS, names, resume_step=step)) as curves,
        contextlib.closing(Progress(built.config.steps, start=step)) as progress,
        contextlib.ExitStack() as stack,
    ):
        trackers = [Tracker(name, folder, built.config.resolved(), names) for name in built.config.trackers]
        for tracker in trackers:
            stack.callback(tracker.close)
        yield [metrics, curves, *trackers, progress]
