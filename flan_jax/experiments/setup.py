"""The work before training's first step: everything checked and read, then a state, new or restored."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

from flan_jax.data.prepare.notices import notices
from flan_jax.data.prepare.split_job import read_outcome
from flan_jax.experiments import run_dir
from flan_jax.experiments.batches import (
    DataChange,
    WeightsLog,
    continue_position,
    make_batches,
    reordered_window,
    stage_schedule,
)
from flan_jax.experiments.chat_template import missing_template_note
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import PrepareProgress, RunData, open_data, prepare_run
from flan_jax.experiments.evaluate import EvalProgress
from flan_jax.experiments.evaluation.contamination import AUDIT, check_contamination
from flan_jax.experiments.evaluation_hook import EvaluationHook
from flan_jax.experiments.mixture import log_dropped
from flan_jax.experiments.model_snapshot import save_description
from flan_jax.experiments.preflight import check_startable
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.chosen_mesh import mesh_record, run_mesh
from flan_jax.experiments.run_folder.run_identity import check_same_config
from flan_jax.experiments.settings_summary import check_schedule, main_settings
from flan_jax.experiments.validation.validation_loss import ValidationData, validation_data
from flan_jax.experiments.weighting.build_method import MethodParts, learned_weights, method_parts
from flan_jax.experiments.weighting.learned_weights import LearnedWeights
from flan_jax.experiments.weighting.rollback import rollback
from flan_jax.experiments.weights.base_check import check_same_vocabulary
from flan_jax.experiments.weights.frozen_base import BASE, base_identity, check_no_soft_prompt, check_same_base
from flan_jax.experiments.weights.initial import chosen_note, initial_params, takes_embeddings
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.files import atomic_write_text, remove_leftovers
from flan_jax.launch.distributed import first_alone
from flan_jax.mixing.stages import StageSchedule
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.loop import WINDOW
from flan_jax.train.optimizer import make_optimizer
from flan_jax.train.sharding import Partitioner, make_partitioner
from flan_jax.train.state import TrainState, init_state, trained_axes, whole_params

Log = Callable[[str], None]


@dataclasses.dataclass
class Built:
    """A run that may begin: all that could be refused was checked, and nothing is written.

    Attributes:
        config: the run.
        folder: its folder, which need not be there.
        data: what it reads.
        change: how its tasks differ from those of its last start; nothing is changed in a new run.
        audited: what the audit found, for the folder; ``None`` where it did not look.
        base: what its checkpoints leave out, as they record it.
        partitioner: the mesh of devices, and the rules by which arrays are sharded over it.
        optimizer: of the trained parameters.
        params: initial weights; ``None`` where a checkpoint holds all of them, and once a state has them.
        schedule: of the stages of its weights; ``None`` for none.
        method_parts: of the method that learns the mixture's weights; ``None`` where they are given.
        validation: the examples whose loss is measured in the loop; ``None`` for none.
        mesh_reason: why the mesh is this one; ``""`` where the run names one, or has one device.
    """

    config: RunConfig
    folder: Path
    data: RunData
    change: DataChange
    audited: dict[str, Any] | None
    base: dict[str, Any]
    partitioner: Partitioner
    optimizer: optax.GradientTransformation
    params: Any
    schedule: StageSchedule | None = None
    method_parts: MethodParts | None = None
    validation: ValidationData | None = None
    mesh_reason: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """The record of the run in its checkpoints."""
        return {**self.config.identity(), **self.base}


def build(
    config: RunConfig,
    *,
    prepare_progress: PrepareProgress | None = None,
    devices: Sequence[jax.Device] | None = None,
    with_weights: bool = True,
    log: Log,
) -> Built:
    """Checks and reads everything that a run is made of; prepares its tasks.

    Args:
        config: the run.
        prepare_progress: told after every prepared split.
        devices: that it trains on; by default all of every process.
        with_weights: read its initial weights; false where it takes them from another run that has the same.
        log: told in a sentence what is odd, and the settings that decide most.

    Raises:
        UserError: the folder holds another run or other data, or anything the layers below refuse.
    """
    folder = run_dir.check_same_run(config)
    run_dir.check_writable(folder)
    notes = check_schedule(config)
    choice = run_mesh(config, devices)
    config = dataclasses.replace(config, mesh=choice.mesh)
    check_startable(config, devices)
    if not config.data.use_cached_tasks:
        first_alone(lambda: prepare_run(config, progress=prepare_progress))
    data = open_data(config)
    log_dropped(data.mixture, log)
    for note in data.mixture.notes:
        log(note)
    change = run_dir.check_same_data(folder, data, accept=config.data.on_data_change == "accept")
    for line in notices([read_outcome(task, None) for task in data.train], vocabulary=data.vocabulary.name):
        log(line)
    audited = check_contamination(config, data.mixture, data.suites, log=log)
    # Read before the folder is made, so that a wrong path leaves nothing behind; a run that continues needs no more
    # than what its checkpoints leave out.
    base = base_identity(config)
    if not run_files.has_checkpoint(folder) and takes_embeddings(config):
        check_same_vocabulary(config, data.vocabulary, log=log)
    wanted = with_weights and (base or not run_files.has_checkpoint(folder))
    params = initial_params(config) if wanted else None
    check_no_soft_prompt(params, config)
    schedule, parts = stage_schedule(config, data), method_parts(config, data)
    partitioner = make_partitioner(config.mesh, devices)
    log(main_settings(config))
    if taken := chosen_note(config):
        log(taken)
    if choice.reason:
        log(f"mesh {choice.reason}")
    for note in notes:
        log(note)
    if lacking := missing_template_note(config, data.mixture):
        log(lacking)
    optimizer = make_optimizer(config.optimizer, trained_axes(config.model, config.tuning))
    found = validation_data(config, data)
    return Built(
        config,
        folder,
        data,
        change,
        audited,
        base,
        partitioner,
        optimizer,
        params,
        schedule,
        parts,
        found,
        choice.reason,
    )


@dataclasses.dataclass(frozen=True)
class Started:
    """A run at its first step of this start.

    Attributes:
        graphdef: of the model.
        state: weights, moments and step.
        batches: from that step on.
        evaluation: measures the suites.
        learned: learns the weights; ``None`` where they are given.
        step: steps taken so far.
        resumed: what the checkpoint held beside state and position; ``None`` in a new run.
    """

    graphdef: Any
    state: TrainState
    batches: BatchStream
    evaluation: EvaluationHook
    learned: LearnedWeights | None
    step: int
    resumed: Mapping[str, Any] | None


def start(
    built: Built,
    checkpointer: Checkpointer,
    *,
    operative: str = "",
    eval_progress: EvalProgress | None = None,
    log: Log,
) -> Started:
    """Initializes a run, or restores it from its newest checkpoint, and writes what its folder says of it.

    Args:
        built: the run, whose folder is there; its ``params`` are taken.
        checkpointer: of its checkpoints.
        operative: gin's text of it.
        eval_progress: told after every evaluated batch.
        log: told in a sentence what begins.

    Raises:
        UserError: the newest checkpoint is another run's, or its position belongs to data that are gone.
    """
    config, data, folder = built.config, built.data, built.folder
    begin_folder(built)
    step = checkpointer.latest_step() or 0
    if step:
        check_same_checkpoint(checkpointer.config(), config, step)
    graphdef, state = init_state(
        config.model,
        built.optimizer,
        config.seed,
        built.partitioner,
        params=built.params,
        tuning=config.tuning,
        ema=bool(config.step.ema_decay),
    )
    built.params = None  # what of it is not the state's is gone
    params = whole_params(state, config.tuning)
    describe_folder(built, params, operative)
    batches, weights_log = logged_batches(built, step)
    evaluation = EvaluationHook(config, data, graphdef, params, eval_progress, log)
    learned = None
    if built.method_parts is not None:
        learned = learned_weights(
            config,
            built.method_parts,
            built.partitioner,
            graphdef,
            state,
            batches,
            weights_log,
            rollback(checkpointer, type(config.weighting).__name__, log),
        )
    del params  # restoring donates nothing, and two states may not fit
    resumed = None
    if step:
        log(
            f"resuming at step {step} of {config.steps}"
            if step < config.steps
            else f"nothing is left to train: step {step} is saved, and the run has {config.steps} steps (TRAIN_STEPS)"
        )
        state, resumed = _restored(built, checkpointer, state, batches, learned, log)
        if step < config.steps:  # a step is saved before it is measured, which may have been interrupted
            evaluation(step, {}, state)
    if learned is not None and not step:
        learned.begin()
    if config.evaluation.before and not step:
        log("measuring before training")
        evaluation.measure(0, state)
    if built.change and jax.process_index() == 0:
        run_dir.record_change(folder, data, step=step)
    return Started(graphdef, state, batches, evaluation, learned, step, resumed)


def begin_folder(built: Built) -> None:
    """Removes from a run's folder what a start that came to nothing left, and writes what the audit found."""
    if jax.process_index() == 0:
        remove_leftovers(built.folder)
        run_dir.forget_unsaved(built.folder)
        if built.audited:
            atomic_write_text(built.folder / AUDIT, json.dumps(built.audited, indent=1, ensure_ascii=False) + "\n")


def describe_folder(built: Built, params: Any, operative: str) -> None:
    """Writes into a run's folder, once, what the run is.

    Args:
        built: the run.
        params: all parameters of the model, or their shapes.
        operative: gin's text of it.
    """
    config = built.config
    if jax.process_index() == 0:
        save_description(config.model_dir, config.initial_checkpoint, config.data.vocabulary)
        mesh = mesh_record(built.partitioner.mesh, built.mesh_reason)
        run_dir.write_description(built.folder, config, built.data, operative=operative, params=params, mesh=mesh)


def logged_batches(built: Built, step: int) -> tuple[BatchStream, WeightsLog]:
    """Makes a run's batches from the first step on, and the log of its weights, without what was logged after ``step``."""
    data, log = built.data, WeightsLog(built.folder / run_files.WEIGHTS, resume_step=step)
    batches = make_batches(
        built.config, data.train, data.weights, data.curriculum, on_weights=log, schedule=built.schedule
    )
    return batches, log


def check_same_checkpoint(saved: Mapping[str, Any], config: RunConfig, step: int) -> None:
    """Refuses to continue a checkpoint of another run, or one on top of other weights.

    Args:
        saved: the configuration that it holds.
        config: the run.
        step: of the checkpoint.

    Raises:
        UserError: it is another run's.
    """
    check_same_base(saved, config)
    own = {name: value for name, value in saved.items() if name != BASE}
    check_same_config(own, config, f"The checkpoint of step {step} in {config.model_dir!r} is of")


def _restored(
    built: Built,
    checkpointer: Checkpointer,
    like: TrainState,
    batches: BatchStream,
    learned: LearnedWeights | None,
    log: Log,
) -> tuple[TrainState, Mapping[str, Any]]:
    """The state of the newest checkpoint and what was saved beside it; ``batches`` and ``learned`` go on where it stood."""
    state, position, resumed = checkpointer.restore(like)
    ours = run_dir.task_table(built.data)
    earlier = run_dir.earlier_tables(built.folder)
    before = continue_position(batches, position, built.config, built.data, ours, earlier)
    if before is not ours:
        log(f"going on with changed data ({DataChange.between(before, ours)})")
        resumed = {**resumed, WINDOW: reordered_window(resumed.get(WINDOW, {}), list(before), list(ours))}
    if learned is not None and not learned.restore(resumed, batches.step, same_tasks=before is ours):
        log(
            f"{type(learned.method).__name__} begins anew: the checkpoint holds no weights that it learned of these tasks"
        )
    return state, resumed
