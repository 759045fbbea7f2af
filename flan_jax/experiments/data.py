"""From a RunConfig to data at hand: its vocabulary, its prepared tasks, its weights."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from flan_jax.data.prepare.config import PrepareConfig, combine_parts
from flan_jax.data.prepare.gin_bindings import binds_functions_of_others
from flan_jax.data.prepare.prepare import PrepareProgress, PrepareReport, prepare
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.prepare.split_job import parts_in
from flan_jax.data.prepare.workers import usable_cores
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.chat_template import check_tasks, run_template
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.mixture import VALIDATION_SPLIT, resolve_mixture, run_mixture, run_suites, validation_suite
from flan_jax.experiments.model_snapshot import vocabulary_place
from flan_jax.mixing.mixture import Mixture, Suite
from flan_jax.store.store import StoredTask, TokenStore
from flan_jax.tasks.task import Task
from flan_jax.tasks.user_modules import imported_modules

TRAIN_SPLIT = "train"
_READERS = 8


def resolve_vocabulary(vocabulary: str, mixture: str | Mixture) -> Vocabulary:
    """Loads the vocabulary a run names, or else its mixture's own, or else that of its seqio tasks.

    Tasks of seqio's registry are tokenised by their own pipelines, so they must all have one
    vocabulary, and it must be the one named.

    Raises:
        UserError: none is named, or two that differ in content.
    """
    mixture = resolve_mixture(mixture) if isinstance(mixture, str) else mixture
    name = vocabulary or mixture.vocabulary
    theirs = [(task.name, task.own_vocabulary()) for task in mixture.all_tasks if task.tokenized_elsewhere]
    if not theirs:
        if not name:
            raise UserError(
                f"Mixture {mixture.name!r} has no vocabulary of its own. Name one: the folder of a tokenizer, a SentencePiece file or 'bytes' (--vocabulary; in a run --gin.VOCABULARY)."
            )
        return load_vocabulary(name)
    first, shared = theirs[0]
    for task, other in theirs[1:]:
        if other.fingerprint() != shared.fingerprint():
            raise UserError(
                f"Mixture {mixture.name!r}: task {first!r} has the vocabulary {shared.name!r} ({shared.size} ids) and task "
                f"{task!r} has {other.name!r} ({other.size} ids), but the tasks of a run share one. Leave one of them out."
            )
    if name and load_vocabulary(name).fingerprint() != shared.fingerprint():
        whose = "The run" if vocabulary else f"Mixture {mixture.name!r}"
        raise UserError(
            f"{whose} names the vocabulary {name!r} ({load_vocabulary(name).size} ids), but task {first!r} is written for "
            f"{shared.name!r} ({shared.size} ids). Name no vocabulary, or leave the task out."
        )
    return shared


def run_vocabulary(config: RunConfig, mixture: Mixture) -> Vocabulary:
    """Loads the vocabulary of a run, from the copy in its folder where the one that it names is gone."""
    return resolve_vocabulary(vocabulary_place(config.data.vocabulary, config.model_dir), mixture)


@dataclasses.dataclass(frozen=True)
class RunData:
    """The data that a run reads.

    Attributes:
        mixture: as declared.
        vocabulary: of every task in the store.
        store: the prepared tasks.
        train: training tasks with a weight above 0, in the mixture's order.
        weights: share of draws by task name, in the order of ``train``; they sum to 1.
        curriculum: share of draws by task name in the curriculum that a run may begin with, over the same
            tasks; empty where the mixture has none.
        suites: the suites that are measured.
    """

    mixture: Mixture
    vocabulary: Vocabulary
    store: TokenStore
    train: tuple[StoredTask, ...]
    weights: dict[str, float]
    curriculum: dict[str, float]
    suites: tuple[Suite, ...]

    @property
    def train_names(self) -> tuple[str, ...]:
        """Task names in the order of ``decoder_task_ids``."""
        return tuple(task.name for task in self.train)


def store_path(config: RunConfig) -> str:
    """Returns the run's token store, a folder or a URL: named, or ``store`` beside the run's folder, shared by its siblings."""
    run = Path(config.model_dir)
    if run.name in ("", ".."):  # the folder that one is in, or one above: what is beside it has another name
        run = Path(os.path.abspath(run))
    return config.data.store or str(run.parent / "store")


def tasks_with_splits(
    mixture: Mixture, suites: Iterable[Suite], *, training: bool = True
) -> list[tuple[Task, tuple[str, ...]]]:
    """Lists each task once with the splits that ``suites`` read, and training where that is asked for."""
    splits: dict[str, tuple[Task, dict[str, None]]] = {}
    for task in mixture.drawn_tasks if training else ():
        splits.setdefault(task.name, (task, {}))[1][TRAIN_SPLIT] = None
    for suite in suites:
        for task in suite.tasks:
            splits.setdefault(task.name, (task, {}))[1][suite.split] = None
    return [(task, tuple(names)) for task, names in splits.values()]


def validation_suites(config: RunConfig, mixture: Mixture) -> tuple[Suite, ...]:
    """Makes suites of the splits whose loss is measured in the loop, and on which a weighting method observes its own.

    Raises:
        UserError: a task that is drawn has no such split.
    """
    asked, method = validation_suite(config, mixture), config.weighting
    of_loop = () if asked is None else (asked,)
    if method is None or method.observes != "validation_loss":
        return of_loop
    for task in mixture.drawn_tasks:
        if VALIDATION_SPLIT not in task.splits:
            raise UserError(
                f"{type(method).__name__} observes the loss on validation splits, and task {task.name!r} has none, only "
                f"{', '.join(task.splits)}. Leave it out (run.leave_out), or choose another method."
            )
    return (*of_loop, Suite(type(method).__name__, mixture.drawn_tasks, split=VALIDATION_SPLIT))


def prepare_run(config: RunConfig, *, training: bool = True, progress: PrepareProgress | None = None) -> PrepareReport:
    """Brings the store up to date with what the run reads; what is there already is not touched.

    Args:
        config: the run.
        training: what it trains on too, and not only what it measures.
        progress: told of each split.
    """
    mixture = run_mixture(config)
    check_tasks(run_template(config), mixture)
    suites = (*run_suites(mixture, config.evaluation), *(validation_suites(config, mixture) if training else ()))
    tasks = tasks_with_splits(mixture, suites, training=training)
    modules = imported_modules()
    # Another process finds a task of seqio's only where it knows which module registers it.
    # Nor does it know what a configuration binds to the functions of such a task.
    theirs = any(task.tokenized_elsewhere for task, _ in tasks)
    alone = theirs and (not modules or binds_functions_of_others())
    return prepare(
        tasks,
        prepare_config(config, run_vocabulary(config, mixture)),
        store=TokenStore(store_path(config)),
        progress=progress,
        processes=1 if alone else usable_cores(),
        modules=modules,
    )


def open_data(config: RunConfig, *, training: bool = True) -> RunData:
    """Opens the run's prepared tasks.

    Args:
        config: the run.
        training: open what it trains on too. Where nothing is trained, ``train`` is empty, and no such task need be
            prepared.

    Raises:
        UserError: a task is not prepared, or was prepared with another vocabulary, template,
            length or source; or every task is left out of training.
    """
    mixture = run_mixture(config)
    vocabulary = run_vocabulary(config, mixture)
    if vocabulary.size > config.model.vocab_size:
        raise UserError(
            f"Vocabulary {vocabulary.name!r} has {vocabulary.size} pieces, but the model has room for "
            f"{config.model.vocab_size}. Set --gin.VOCAB_SIZE to at least {vocabulary.size}, or to None."
        )
    store = TokenStore(store_path(config))
    suites = run_suites(mixture, config.evaluation)
    if not training:
        return RunData(mixture, vocabulary, store, (), {}, {}, suites)
    opened = open_tasks(store, [(task, TRAIN_SPLIT) for task in mixture.drawn_tasks], vocabulary, config)
    _check_positions(opened, config)
    stored = {task.name: task for task in opened}
    sizes = {name: len(task) for name, task in stored.items()}
    mean_tokens = {name: _mean_tokens(task) for name, task in stored.items()}
    weights = {name: weight for name, weight in mixture.weights(sizes, mean_tokens).items() if weight > 0}
    in_curriculum = mixture.curriculum_weights(sizes, mean_tokens)
    curriculum = {name: in_curriculum[name] for name in weights} if in_curriculum else {}
    return RunData(mixture, vocabulary, store, tuple(stored[name] for name in weights), weights, curriculum, suites)


def _check_positions(tasks: Iterable[StoredTask], config: RunConfig) -> None:
    """Refuses examples for whose last tokens the model has learned no position."""
    positions, in_front = config.model.learned_positions, config.tuning.prompt_tokens
    for task in tasks:
        longest = task.manifest["max_input_length"] + task.manifest["max_target_length"]
        if positions is not None and longest + in_front > positions:
            raise UserError(
                f"Task {task.name!r} has examples of up to {longest} tokens, inputs and targets together, but the model has "
                f"{positions - in_front} positions for them. Lower TASK_FEATURE_LENGTHS to that many in all."
            )


def _mean_tokens(task: StoredTask) -> float:
    """Tokens of an example, inputs and targets, on average; the manifest knows."""
    return (task.manifest["input_tokens"] + task.manifest["target_tokens"]) / max(len(task), 1)


def prepare_config(config: RunConfig, vocabulary: Vocabulary) -> PrepareConfig:
    """Makes the configuration by which a run's tasks become tokens."""
    template_seed = config.mixing.template_seed
    seed = config.seed if template_seed is None else template_seed
    lengths = dict(config.tokenize.lengths)
    lengths["inputs"] -= len(config.model.input_start)  # which stand in the same places of a row
    tokenize = dataclasses.replace(config.tokenize, lengths=lengths)
    return PrepareConfig(vocabulary, tokenize, seed, run_template(config))


def open_tasks(
    store: TokenStore, tasks: Iterable[tuple[Task, str]], vocabulary: Vocabulary, config: RunConfig
) -> list[StoredTask]:
    """Opens prepared tasks, each at exactly the fingerprint that this run would prepare.

    Args:
        store: where they lie.
        tasks: each with its split.
        vocabulary: of the run.
        config: the run.

    Raises:
        UserError: a task is not prepared, or was prepared from something else.
    """
    settings = prepare_config(config, vocabulary)
    tasks = tuple(tasks)
    # A fingerprint hashes the task's files: threads, as that is reading and native code.
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        made = list(pool.map(lambda pair: make_preprocessor(pair[0], settings).fingerprint_parts(pair[1]), tasks))
    parts = [parts_in(store, task, split, own) for (task, split), own in zip(tasks, made, strict=True)]
    return store.open_many(
        (task.name, split, combine_parts(own), own) for (task, split), own in zip(tasks, parts, strict=True)
    )
