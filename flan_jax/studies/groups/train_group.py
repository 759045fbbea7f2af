"""Runs of one shape trained together, from their configurations to their results (``train_group``)."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from flan_jax.errors import UserError
from flan_jax.experiments import run_dir
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.evaluate import make_predictor
from flan_jax.experiments.evaluation_hook import RunSuites
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.diverged import write_examples
from flan_jax.experiments.run_folder.run_lock import run_lock
from flan_jax.experiments.setup import (
    Built,
    Log,
    begin_folder,
    build,
    check_same_checkpoint,
    describe_folder,
    logged_batches,
)
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.models.runs_axis import own_sharding, padded_rows, runs_mesh, shared_sharding
from flan_jax.studies.groups.batches import GroupBatches
from flan_jax.studies.groups.evaluation import GroupEvaluation
from flan_jax.studies.groups.group_key import UNIT_RATE, check_group
from flan_jax.studies.groups.outputs import GroupOutputs, OnProgress
from flan_jax.studies.groups.program import GroupProgram, group_program
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.grouped_metrics import GroupedMetrics
from flan_jax.train.grouped_state import (
    GroupState,
    abstract_runs,
    init_group_state,
    refilled,
    run_state,
    with_active,
)
from flan_jax.train.loop import WINDOW, fit
from flan_jax.train.state import whole_params
from flan_jax.train.tiers.tiered_checkpointer import open_checkpointer

_ROWS = "rows"
_RUNS = "runs"


@dataclasses.dataclass(frozen=True)
class RunOutcome:
    """The end of a run of a group.

    Attributes:
        model_dir: its folder.
        state: ``done``, also where its data ended before its steps; or ``diverged``, and measured no more.
        step: the last one that it took.
        reason: why it took no more, in a sentence; ``""`` where it took all of its steps.
    """

    model_dir: str
    state: Literal["done", "diverged"]
    step: int
    reason: str = ""


def train_group(
    configs: Sequence[RunConfig],
    *,
    folder: Path,
    on_progress: OnProgress = lambda progress: None,
    log: Log = lambda line: None,
    keep_checkpoints: bool = False,
    operatives: Sequence[str] = (),
) -> tuple[RunOutcome, ...]:
    """Trains runs together to their last step; where the folder holds a checkpoint of the group, from there.

    Each run is the same as alone on one device: the same batches, dropout and schedule. Its MODEL_DIR gets what that of
    a single run has, but for TensorBoard's events, the page, and checkpoints: those of the group lie in its own folder.
    A run that diverges stays as it was before the step that showed it, is not measured, and disturbs no other.

    Args:
        configs: of the runs, which share a ``group_key``.
        folder: of the group, for its checkpoints.
        on_progress: told of every logged step.
        log: told in a sentence what begins, and what is odd.
        keep_checkpoints: write the last checkpoint of each run that did not diverge into its MODEL_DIR too, so that it
            can be measured again, exported and continued alone. Asked for of a group that is done, they are written then.
        operatives: gin's text of each run, for its ``config.gin``; none for none.

    Returns:
        The end of each run, in the order of ``configs``.

    Raises:
        Preempted: SIGTERM or Ctrl-C came; the step at hand was finished and saved, and the same call goes on.
        UserError: the runs cannot be trained together, the folder holds another group, or anything that ``train`` refuses.
    """
    check_group(configs)
    runs = _built(configs, log)
    for run in runs:
        run_dir.create(run.folder)
    run_dir.create(folder)
    with contextlib.ExitStack() as stack:
        for path in (folder, *(run.folder for run in runs)):
            stack.enter_context(run_lock(path, log))
        checkpointer = stack.enter_context(
            open_checkpointer(
                folder / run_files.CHECKPOINTS, configs[0].checkpoint, config={_RUNS: [run.identity for run in runs]}
            )
        )
        group = stack.enter_context(_started(runs, checkpointer, operatives or [""] * len(runs), log))
        return _finished(group, checkpointer, on_progress, keep_checkpoints, log)


def _built(configs: Sequence[RunConfig], log: Log) -> list[Built]:
    """Checks and reads all that the runs are made of; what several of them have to say is said once."""
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            log(line)

    runs = []
    for number, config in enumerate(configs):
        run = build(config, devices=jax.local_devices()[:1], with_weights=number == 0, log=once)
        if run.change:
            raise UserError(
                f"The run in {config.model_dir!r} was begun on other data ({run.change}), and a group cannot go on with "
                "changed data. Restore the data, or begin the group in other folders."
            )
        runs.append(run)
    return runs


@dataclasses.dataclass
class _Group:
    """Runs at the first step of this start."""

    runs: Sequence[Built]
    program: GroupProgram
    mesh: jax.sharding.Mesh
    state: GroupState
    streams: Sequence[BatchStream]
    batches: GroupBatches
    window: GroupedMetrics
    evaluation: GroupEvaluation
    step: int

    @property
    def config(self) -> RunConfig:
        """All of the runs have what is read here."""
        return self.runs[0].config


@contextlib.contextmanager
def _started(
    runs: Sequence[Built], checkpointer: Checkpointer, operatives: Sequence[str], log: Log
) -> Iterator[_Group]:
    """Initializes a group, or restores it from its newest checkpoint, and writes what the runs' folders say of them."""
    # No more devices than runs, so that few rows are nobody's.
    config, mesh, step = runs[0].config, runs_mesh(jax.local_devices()[: len(runs)]), checkpointer.latest_step() or 0
    _check_same_group(checkpointer, runs, step)
    for run in runs:
        begin_folder(run)
    tasks = [len(run.data.train) for run in runs]
    program = group_program([run.config for run in runs], tasks, mesh)
    _, state = init_group_state(
        config.model,
        program.optimizer,
        [run.config.seed for run in runs],
        mesh,
        rates=[run.config.optimizer.learning_rate / UNIT_RATE for run in runs],
        params=runs[0].params,
        tuning=config.tuning,
        ema=bool(config.step.ema_decay),
    )
    runs[0].params = None
    like = jax.eval_shape(lambda own: whole_params(run_state(own, 0), config.tuning), state)
    for run, operative in zip(runs, operatives, strict=True):
        describe_folder(run, like, operative)
    streams = [logged_batches(run, step)[0] for run in runs]
    with contextlib.ExitStack() as stack:
        for stream in streams:
            stack.callback(stream.close)
        position: dict[str, Any] = {}
        saved: dict[str, Any] = {}
        if step:
            log(f"resuming a group of {len(runs)} runs at step {step} of {config.steps}")
            state, position, saved = _restored(checkpointer, state, len(runs), mesh)
        window = GroupedMetrics(tasks, saved.get(WINDOW))
        active = [row < len(runs) and row not in window.stopped for row in range(len(state.active))]
        state = with_active(state, active, window.skipped)
        batches = GroupBatches(streams, len(state.active), lambda: window.stopped, window.end)
        if step:
            batches.set_state(position)
        suites = [RunSuites(run.config, run.data, None, _named(run, log)) for run in runs]
        alone = make_predictor(program.graphdef, None, runs[0].data, config)
        evaluation = GroupEvaluation(suites, alone, window, config.tuning, mesh)
        yield _Group(runs, program, mesh, state, streams, batches, window, evaluation, step)


def _named(run: Built, log: Log) -> Log:
    """Says of each line which run it is about."""
    return lambda line: log(f"{run.folder.name}: {line}")


def _check_same_group(checkpointer: Checkpointer, runs: Sequence[Built], step: int) -> None:
    """Refuses to go on with a checkpoint of other runs, or to begin with runs that were trained alone.

    Raises:
        UserError: it is of other runs, or of these in another order; or a run has checkpoints and the group has none.
    """
    if not step:
        for run in runs:
            if run_files.has_checkpoint(run.folder):
                raise UserError(
                    f"The run in {str(run.folder)!r} has checkpoints of its own, and the group in "
                    f"{str(checkpointer.directory.parent)!r} has none to go on from. Train it alone, or choose another MODEL_DIR."
                )
        return
    saved = checkpointer.config(step).get(_RUNS, [])
    if len(saved) != len(runs):
        raise UserError(
            f"{str(checkpointer.directory)!r} holds a group of {len(saved)} runs, and this one has {len(runs)}. Choose "
            "another folder, or give this group the same runs."
        )
    for run, own in zip(runs, saved, strict=True):
        check_same_checkpoint(own, run.config, step)


def _restored(
    checkpointer: Checkpointer, state: GroupState, count: int, mesh: jax.sharding.Mesh
) -> tuple[GroupState, dict[str, Any], dict[str, Any]]:
    """The newest checkpoint on whatever devices there are now: states, positions, and what was saved beside them."""
    rows, here = checkpointer.extra()[_ROWS], padded_rows(count, mesh)
    like = abstract_runs(state, rows, own_sharding(mesh) if rows == here else shared_sharding(mesh))
    saved, position, extra = checkpointer.restore(like)
    return dataclasses.replace(state, runs=refilled(saved, count, here, mesh)), position, extra


def _finished(
    group: _Group, checkpointer: Checkpointer, on_progress: OnProgress, keep_checkpoints: bool, log: Log
) -> tuple[RunOutcome, ...]:
    """Trains the runs to their last step, measures what each reached, and says how each ended."""
    config, window, state = group.config, group.window, group.state
    outputs = GroupOutputs(group.runs, group.streams, window, group.step, on_progress)
    if not group.step and config.evaluation.before:
        log("measuring before training")
        group.evaluation.measure(state, dict.fromkeys(range(len(group.runs)), 0))
    elif 0 < group.step < config.steps:  # a step is saved before it is measured, which may have been interrupted
        group.evaluation(group.step, {}, state)
    own = own_sharding(group.mesh)
    state = fit(
        state,
        group.batches,
        group.program.step,
        steps=config.steps,
        shard_batch=lambda batch: jax.device_put(dict(batch), own),
        hooks=[outputs],
        measures=[group.evaluation],
        log_every=config.log_period,
        checkpointer=checkpointer,
        data_position=group.batches.get_state,
        extra=lambda: {_ROWS: len(state.active)},
        stop_at_data_end=True,
        window=window,
        saved=lambda whole: whole.runs,
    )
    outcomes = tuple(_outcome(group, index) for index in range(len(group.runs)))
    for outcome in outcomes:
        if outcome.reason:
            log(f"{outcome.model_dir}: {outcome.reason}")
    reached = {index: outcome.step for index, outcome in enumerate(outcomes) if outcome.state == "done"}
    log(f"measuring {len(reached)} of {len(outcomes)} runs")
    group.evaluation.measure(state, reached)
    if keep_checkpoints:
        for index in reached:
            _save_alone(group, state, index)
    return outcomes


def _outcome(group: _Group, run: int) -> RunOutcome:
    config, window = group.runs[run].config, group.window
    step = int(window.steps_taken[run])
    if run in window.diverged:
        showed = range(step + 1 - max(0, int(window.skipped[run]) - 1), step + 2)
        where = write_examples(group.runs[run].folder, group.streams[run], showed)
        return RunOutcome(config.model_dir, "diverged", step, f"{window.diverged[run]} {where}")
    if step < config.steps:
        ended = (
            f"the data ended after step {step} of {config.steps}, as run.exhausted={config.feed.exhausted!r} asks for"
        )
        return RunOutcome(config.model_dir, "done", step, ended)
    return RunOutcome(config.model_dir, "done", step)


def _save_alone(group: _Group, state: GroupState, index: int) -> None:
    """Writes a run's state into its own folder, as if it had been trained alone."""
    run = group.runs[index]
    place = jax.sharding.NamedSharding(run.partitioner.mesh, jax.sharding.PartitionSpec())
    alone = jax.device_put(dataclasses.replace(run_state(state, index), frozen={}), place)
    with Checkpointer(run.folder / run_files.CHECKPOINTS, run.config.checkpoint, config=run.identity) as checkpointer:
        checkpointer.save(
            int(np.asarray(alone.step)),
            alone,
            group.streams[index].get_state(),
            {WINDOW: group.window.window_of(index)},
        )
