"""Measuring a run: prepared tasks become evaluation tasks, a checkpoint becomes a predictor."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.token_display import decode_turns
from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.suites import StepResults
from flan_jax.eval.task_answers import EvalProgress
from flan_jax.experiments import run_dir
from flan_jax.experiments.chat_template import run_prompts, with_stop_ids
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData, open_data, open_tasks, prepare_run
from flan_jax.experiments.evaluation.measuring import (
    log_measured_again,
    measure_suites,
    outdated_suites,
    save_results,
)
from flan_jax.experiments.evaluation.overlap import label_overlap
from flan_jax.experiments.evaluation.task_notes import kept_text, task_notes
from flan_jax.experiments.mixture import check_folders, log_dropped
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.weights.base_check import check_same_vocabulary
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.report.page import write_report
from flan_jax.store.store import StoredTask
from flan_jax.tasks.rendering.option_orders import OptionOrder
from flan_jax.tasks.spec import ENDING, GROUP, ORDER, Prompted
from flan_jax.tasks.task import Task, as_prompted
from flan_jax.train.sharding import make_partitioner


def eval_task(task: Task, stored: StoredTask, data: RunData, config: RunConfig) -> EvalTask:
    """Converts the prepared examples of one task to what the evaluation reads.

    Inverted templates of ours are left out. A task of seqio's registry is measured by its own
    metric functions.

    Raises:
        UserError: nothing to score, or a task of a kind that says nothing of how it is measured.
    """
    own = as_prompted(task)
    if own is not None:
        return _prompted_eval_task(own, stored, data, config)
    chosen = _first(range(len(stored)), stored, config)
    task_metrics = task.own_metrics(stored, chosen)
    if task_metrics is None:
        raise UserError(
            f"Task {task.name!r} is a {type(task).__name__}, which has no metric. Leave it out of the suites."
        )
    examples = [_example(stored, index, data) for index in chosen]
    return EvalTask(task.name, task.cluster, "", "generate", examples, task_metrics, data=stored.fingerprint)


def _prompted_eval_task(task: Prompted, stored: StoredTask, data: RunData, config: RunConfig) -> EvalTask:
    scored = set(task.scored_templates)
    rows = [index for index, id_ in enumerate(stored.template_ids) if int(id_) in scored]
    chosen = _first(rows, stored, config)
    if not chosen:
        raise UserError(
            f"Task {task.name!r}, split {stored.split!r} has no example to score. Give it templates that are not inverted."
        )
    return EvalTask(
        task.name,
        task.cluster,
        task.metric,
        task.predict,
        [_scored_example(stored, index, data) for index in chosen],
        other_metrics=() if task.mode.reasons else task.spec.other_metrics,
        data=stored.fingerprint,
        notes=task_notes(task, stored, chosen, config),
        asked={
            "task": task.spec_name,
            "mode": str(task.mode),
            **({"shots": task.few_shot.shots} if task.mode.few_shot else {}),
            **({"template_budget": task.repeats.templates} if task.repeats.templates > 1 else {}),
            **({"option_orders": task.repeats.option_orders} if task.repeats.option_orders > 1 else {}),
        },
    )


def _first(rows: Sequence[int], stored: StoredTask, config: RunConfig) -> Sequence[int]:
    """The rows of the first records; one that is asked in several ways has as many rows, one behind the other."""
    most = config.evaluation.max_examples
    if not most or len(rows) <= most:
        return rows
    ids = stored.example_ids[np.asarray(rows)]
    begins = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return rows[: begins[most]] if len(begins) > most else rows


def _example(stored: StoredTask, index: int, data: RunData) -> EvalExample:
    return EvalExample(
        inputs=stored.inputs(index),
        options=stored.options(index),
        references=stored.references(index),
        example_id=int(stored.example_ids[index]),
        template_id=int(stored.template_ids[index]),
        inputs_text=_shown(data.vocabulary, stored.inputs(index)),
        targets=stored.targets(index),
    )


def _scored_example(stored: StoredTask, index: int, data: RunData) -> EvalExample:
    """An example of a task of ours, with what its task keeps beside the tokens for metrics."""
    return dataclasses.replace(
        _example(stored, index, data),
        group=kept_text(stored, GROUP, index),
        ending=kept_text(stored, ENDING, index),
        option_order=OptionOrder.from_text(order) if (order := kept_text(stored, ORDER, index)) else None,
    )


def _shown(vocabulary: Vocabulary, ids: np.ndarray) -> str:
    """The text of inputs; one end of sequence behind them is not of it, and others end turns of a chat."""
    return decode_turns(vocabulary, ids[:-1] if len(ids) and ids[-1] == vocabulary.eos_id else ids)


def eval_suites(
    data: RunData,
    config: RunConfig,
    refused: dict[str, Exception] | None = None,
    *,
    overlap: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, list[EvalTask]]:
    """Opens every suite of the run with its tasks.

    A task that the mixture measures on several splits is called ``TASK_SPLIT`` in the results.
    The run's label stands behind each name, and behind a suite's how its tasks are asked and which were chosen.

    Args:
        data: of the run.
        config: of the run.
        refused: gets the tasks that cannot be measured, which are left out: name → why. Where not given, the first is
            raised.
        overlap: label examples by their overlap with the run's training data.
        log: told of a search that takes time.

    Raises:
        UserError: a task that cannot be measured, or none that can.
    """
    wanted = {(task.name, suite.split): task for suite in data.suites for task in suite.tasks}
    opened = open_tasks(data.store, [(task, split) for (_, split), task in wanted.items()], data.vocabulary, config)
    # Of all suites, so that a name does not depend on which of them a run measures.
    splits: dict[str, set[str]] = {}
    for suite in data.mixture.suites:
        for task in suite.tasks:
            splits.setdefault(task.name, set()).add(suite.split)
    made: dict[tuple[str, str], EvalTask] = {}
    for ((name, split), task), stored in zip(wanted.items(), opened, strict=True):
        shown = (f"{name}_{split}" if len(splits[name]) > 1 else name) + config.evaluation.label
        try:
            made[name, split] = dataclasses.replace(eval_task(task, stored, data, config), name=shown)
        except UserError as error:
            if refused is None:
                raise
            refused[shown] = error
    if refused and not made:
        raise next(iter(refused.values()))
    if overlap:
        made = label_overlap(made, wanted, data, config, log=log)
    suffix = config.evaluation.suite_suffix
    suites = {
        f"{suite.name}{suffix}": [
            made[task.name, suite.split] for task in suite.tasks if (task.name, suite.split) in made
        ]
        for suite in data.suites
    }
    return {name: tasks for name, tasks in suites.items() if tasks or not refused}


def held_out_suites(data: RunData, config: RunConfig) -> list[str]:
    """Lists the suites whose clusters the run keeps out of training, as results call them."""
    return [f"{suite.name}{config.evaluation.suite_suffix}" for suite in data.suites if suite.held_out]


def eval_settings(config: RunConfig) -> dict[str, Any]:
    """Returns what decides a run's results beside its weights and tasks, as JSON values."""
    asked = config.evaluation
    return json.loads(
        json.dumps(
            {
                "max_examples": config.evaluation.max_examples,
                "decoding": dataclasses.asdict(config.evaluation.decoding),
                "lengths": dict(config.tokenize.lengths),
                "seed": config.seed,
                **({"chat_template": config.tokenize.chat_template} if config.tokenize.chat_template else {}),
                **({"shots": asked.shots} if asked.shots is not None else {}),
                **({"templates": asked.templates} if asked.templates else {}),
                **({"template_budget": asked.template_budget} if asked.template_budget > 1 else {}),
                **({"option_orders": asked.option_orders} if asked.option_orders > 1 else {}),
                **({"option_score": config.evaluation.option_score} if config.evaluation.option_score != "sum" else {}),
            }
        )
    )


def make_predictor(graphdef: Any, params: Any, data: RunData, config: RunConfig) -> Predictor:
    """Makes a predictor with the run's vocabulary, lengths and batch size."""
    prompts = run_prompts(config, data.vocabulary)
    return Predictor(
        graphdef,
        params,
        encode=data.vocabulary.encode,
        decode=data.vocabulary.decode,
        batch_size=config.evaluation.batch_size,
        target_length=config.tokenize.lengths["targets"],
        vocabulary_size=data.vocabulary.size,
        decoding=with_stop_ids(config.evaluation.decoding, data.vocabulary, prompts),
        option_ids=None if prompts is None else prompts.reply,
        rows_sharding=make_partitioner(config.mesh).batch(),
    )


def _suites_to_measure(
    data: RunData, config: RunConfig, refused: dict[str, Exception], log: Callable[[str], None]
) -> dict[str, list[EvalTask]]:
    """Opens the suites; overlap is that with what the weights were trained on, so only of a run with checkpoints of its own."""
    own = run_files.has_checkpoint(Path(config.model_dir))
    if not own and config.evaluation.overlap_ngram:
        log("overlap with training data is not measured: these weights were not trained in this folder")
    return eval_suites(data, config, refused, overlap=own, log=log)


def evaluate_run(
    config: RunConfig,
    *,
    step: int | None = None,
    operative: str = "",
    progress: EvalProgress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> StepResults:
    """Measures a checkpoint on the run's suites and writes ``eval/STEP`` and the page.

    Where it was killed before it came to its end, it goes on from there. With several processes all of them call it, each
    computes a part, and the first writes.

    The checkpoint is the newest in MODEL_DIR (or that of ``step``), or else what
    ``initial_checkpoint`` names.

    Raises:
        UserError: no checkpoint, no suites, or data that was prepared otherwise.
    """
    folder = run_dir.check_same_run(config)
    check_folders(config.data.data_dir, config.data.source_dir)
    run_dir.check_writable(
        folder,
        f"Measure it into another: `flan-jax eval --gin_file runs/eval.gin --gin.CHECKPOINT_PATH={folder} "
        "--gin.EVAL_OUTPUT_DIR=FOLDER`, with the run's model, mixture and lengths.",
    )
    weights = load_weights(config, step=step)
    # Weights from elsewhere were trained on other data than the mixture's, which is not read then.
    own = run_files.has_checkpoint(folder)
    if not config.data.use_cached_tasks:
        prepare_run(config, training=own)
    data = open_data(config, training=own)
    if not own:
        check_same_vocabulary(config, data.vocabulary, log=log)
    if not data.suites:
        raise UserError(
            f"Mixture {data.mixture.name!r} has no suites to measure. Give it some, or name a mixture that has."
        )
    log_dropped(data.mixture, log)
    predictor = make_predictor(weights.graphdef, weights.params, data, config)
    refused: dict[str, Exception] = {}
    suites = _suites_to_measure(data, config, refused, log)
    settings, digest = eval_settings(config), params_digest(weights.params)
    first = jax.process_index() == 0
    if first:
        run_dir.create(folder)
        run_dir.write_description(folder, config, data, operative=operative, params=weights.params)
    log_measured_again(
        folder, weights.step, outdated_suites(folder, weights.step, suites, digest, settings), digest, log
    )
    results = measure_suites(
        predictor,
        suites,
        folder,
        step=weights.step,
        weights=digest,
        settings=settings,
        seed=config.seed,
        option_score=config.evaluation.option_score,
        refused=refused,
        held_out=held_out_suites(data, config),
        progress=progress,
        log=log,
    )
    save_results(folder, results)
    if first:
        write_report([Path(folder)], Path(folder) / run_files.REPORT)
    return results
