"""From a RunConfig to data at hand: the mixture, its vocabulary, its prepared tasks, its weights."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from flan_jax.data import sources
from flan_jax.data.prepare import PrepareReport, fingerprint_parts, prepare, task_fingerprint
from flan_jax.data.prepare import Progress as PrepareProgress
from flan_jax.data.tokenizers import Vocabulary, load_vocabulary
from flan_jax.errors import UserError, unknown
from flan_jax.experiments.config import RunConfig
from flan_jax.feed.store import StoredTask, TokenStore
from flan_jax.mixing.mixture import Mixture, Suite, get_mixture
from flan_jax.tasks.spec import Prompted

TRAIN_SPLIT = "train"


def resolve_mixture(name: str) -> Mixture:
    """The mixture or task of that name, with the shipped collections registered."""
    import mixtures  # noqa: F401  (registers what ships; reads no data)

    return get_mixture(name)


def resolve_vocabulary(vocabulary: str, mixture: str) -> Vocabulary:
    """The vocabulary a run names, or else its mixture's own.

    Raises:
        UserError: neither names one.
    """
    name = vocabulary or resolve_mixture(mixture).vocabulary
    if not name:
        raise UserError(
            f"Mixture {mixture!r} has no vocabulary of its own. Name one with --gin.VOCABULARY=PATH.model, or 'bytes'."
        )
    return load_vocabulary(name)


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
        mixture: as declared.
        vocabulary: of every task in the store.
        store: the prepared tasks.
        train: training tasks with a weight above 0, in the mixture's order.
        weights: share of draws by task name, in the order of ``train``; they sum to 1.
        lesson: share of draws by task name in the lesson that a run may begin with, over the same
            tasks; empty where the mixture has none.
        suites: the suites that are measured.
    """

    mixture: Mixture
    vocabulary: Vocabulary
    store: TokenStore
    train: tuple[StoredTask, ...]
    weights: dict[str, float]
    lesson: dict[str, float]
    suites: tuple[Suite, ...]

    @property
    def train_names(self) -> tuple[str, ...]:
        """Task names in the order of ``decoder_task_ids``."""
        return tuple(task.name for task in self.train)


def store_path(config: RunConfig) -> Path:
    """The run's token store: named, or ``store`` beside the run's folder, shared by its siblings."""
    return Path(config.store) if config.store else Path(config.model_dir).parent / "store"


def chosen_suites(mixture: Mixture, names: Sequence[str] | None) -> tuple[Suite, ...]:
    """The suites of ``mixture`` with these names; all of them for ``None``."""
    by_name = {suite.name: suite for suite in mixture.suites}
    for name in names or ():
        if name not in by_name:
            raise unknown(f"suite of mixture {mixture.name!r}", name, by_name)
    return mixture.suites if names is None else tuple(by_name[name] for name in names)


def wanted(mixture: Mixture, suites: Iterable[Suite]) -> list[tuple[Prompted, tuple[str, ...]]]:
    """Each task once with the splits that training and ``suites`` read."""
    splits: dict[str, tuple[Prompted, dict[str, None]]] = {}
    for entry in mixture.entries:
        if entry.rate != 0:
            splits.setdefault(entry.task.name, (entry.task, {}))[1][TRAIN_SPLIT] = None
    for suite in suites:
        for task in suite.tasks:
            splits.setdefault(task.name, (task, {}))[1][suite.split] = None
    return [(task, tuple(names)) for task, names in splits.values()]


def prepare_run(config: RunConfig, *, progress: PrepareProgress | None = None) -> PrepareReport:
    """Brings the store up to date with what the run reads; what is there already is not touched."""
    if config.data_dir:
        sources.set_data_dir(config.data_dir)
    mixture = resolve_mixture(config.mixture)
    return prepare(
        wanted(mixture, chosen_suites(mixture, config.eval.suites)),
        store=TokenStore(store_path(config)),
        vocabulary=resolve_vocabulary(config.vocabulary, config.mixture),
        lengths=config.lengths,
        seed=config.seed,
        progress=progress,
    )


def open_data(config: RunConfig) -> Data:
    """Opens the run's prepared tasks.

    Raises:
        UserError: a task is not prepared, or was prepared with another vocabulary, template,
            length or source.
    """
    if config.data_dir:
        sources.set_data_dir(config.data_dir)
    mixture = resolve_mixture(config.mixture)
    vocabulary = resolve_vocabulary(config.vocabulary, config.mixture)
    if vocabulary.size > config.model.vocab_size:
        raise UserError(
            f"Vocabulary {vocabulary.name!r} has {vocabulary.size} pieces, but the model has room for "
            f"{config.model.vocab_size}. Set --gin.VOCAB_SIZE to at least {vocabulary.size}, or to None."
        )
    store = TokenStore(store_path(config))
    stored = {
        entry.task.name: open_task(store, entry.task, TRAIN_SPLIT, vocabulary, config)
        for entry in mixture.entries
        if entry.rate != 0
    }
    sizes = {
        entry.task.name: len(stored[entry.task.name]) if entry.task.name in stored else 0 for entry in mixture.entries
    }
    weights = {name: weight for name, weight in mixture.weights(sizes).items() if weight > 0}
    suites = chosen_suites(mixture, config.eval.suites)
    lesson = {name: dict(mixture.lesson).get(name, 0.0) for name in weights} if mixture.lesson else {}
    return Data(mixture, vocabulary, store, tuple(stored[name] for name in weights), weights, lesson, suites)


def open_task(store: TokenStore, task: Prompted, split: str, vocabulary: Vocabulary, config: RunConfig) -> StoredTask:
    """Opens one prepared task, at exactly the fingerprint that this run would prepare."""
    fingerprint = task_fingerprint(task, split, vocabulary, config.lengths, config.seed)
    parts = fingerprint_parts(task, split, vocabulary, config.lengths, config.seed)
    return store.open(task.name, split, fingerprint, parts=parts)
