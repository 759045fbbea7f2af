"""Registers tasks and mixtures as ``seqio.Task``s and ``seqio.Mixture``s (``register``).

``hook`` calls it when seqio is imported; ``register`` takes a vocabulary of one's own. What a seqio task yields equals,
token by token, what ``flan_jax.data.prepare.prepare`` stores. ``tasks`` is the way back, from seqio's tasks to ours.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.prepare.config import DEFAULT_LENGTHS
from flan_jax.data.seqio_bridge import loading
from flan_jax.data.seqio_bridge.vocabulary import SeqioVocabulary, TaskVocabulary, label
from flan_jax.data.sources.base import FromDataFolder
from flan_jax.data.tokenizers.protocol import Vocabulary, keeps_newlines
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES, Mixture, get_mixture
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import Task, prompted

__all__ = ["SeqioVocabulary", "register", "register_catalog", "register_mixture", "register_task", "registered_task"]

DEFAULT_VOCABULARY = "bytes"
_SIGNATURE = {
    "inputs": tf.TensorSpec([], tf.string),
    "targets": tf.TensorSpec([], tf.string),
    "options": tf.TensorSpec([None], tf.string),
    "references": tf.TensorSpec([None], tf.string),
    "example_id": tf.TensorSpec([], tf.int64),
    "template_id": tf.TensorSpec([], tf.int32),
}
# seqio name → what we registered under it: (task, name of the vocabulary or its digest, seed).
_registered: dict[str, tuple[Prompted, str, int, int]] = {}


class RenderedSource(seqio.FunctionDataSource):
    """A seqio data source of a task's rendered examples. Records are read when a data set is iterated or counted."""

    def __init__(self, task: Prompted, seed: int, vocabulary: str | Vocabulary, input_length: int) -> None:
        self._task = task
        self._seed = seed
        self._vocabulary = vocabulary
        self._input_length = input_length
        self._counts: dict[str, int] = {}
        super().__init__(dataset_fn=self._dataset, splits=task.spec.source.splits)

    def num_input_examples(self, split: str) -> int:
        """Counts the records of a split, once."""
        if split not in self._counts:
            self._counts[split] = sum(1 for _ in self._task.spec.source.records(split))
        return self._counts[split]

    def _dataset(self, split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del shuffle_files, seed  # one generator: seqio shuffles what it yields
        return tf.data.Dataset.from_generator(functools.partial(self._examples, split), output_signature=_SIGNATURE)

    def _examples(self, split: str) -> Iterator[dict[str, Any]]:
        vocabulary = load_vocabulary(self._vocabulary) if isinstance(self._vocabulary, str) else self._vocabulary
        examples = render_split(
            self._task,
            split,
            seed=self._seed,
            newlines=keeps_newlines(vocabulary),
            length=lambda text: len(vocabulary.encode(text)) + 1,
            max_length=self._input_length,
        )
        for rendered in examples:
            yield {
                "inputs": rendered.inputs,
                "targets": rendered.targets,
                "options": np.asarray(rendered.options, dtype=object),
                "references": np.asarray(rendered.references, dtype=object),
                "example_id": rendered.example_id,
                "template_id": rendered.template_id,
            }


def register_task(
    task: Prompted,
    *,
    vocabulary: str | Vocabulary = DEFAULT_VOCABULARY,
    seed: int = 0,
    name: str | None = None,
    input_length: int = DEFAULT_LENGTHS["inputs"],
) -> seqio.Task:
    """Registers a task, so that ``seqio.get_mixture_or_task(task.name)`` finds it.

    The lengths are seqio's own: ``sequence_length`` of ``get_dataset``.

    Args:
        task: a spec with its prompt mode.
        vocabulary: one of ours, its registered name, or the path of a SentencePiece model.
        seed: which example gets which template.
        name: under which name, if not the task's.
        input_length: in tokens: how many solved examples a few-shot prompt has room for, where the
            task gives no budget of its own.

    Returns:
        The task that stands there now; one of ours registered before with another vocabulary or
        seed is replaced.

    Raises:
        UserError: the name belongs to a task or mixture that is not ours.
    """
    name = name or task.name
    key = (task, label(vocabulary), seed, input_length)
    if name in seqio.TaskRegistry.names():
        if _registered.get(name) == key:
            return seqio.TaskRegistry.get(name)
        if name not in _registered:
            raise UserError(f"seqio knows another task named {name!r} already. Rename ours, or give it a variant.")
        seqio.TaskRegistry.remove(name)
    # A vocabulary that came from seqio goes back as it was: tasks are mixed only if theirs are equal.
    inner = vocabulary.vocabulary if isinstance(vocabulary, TaskVocabulary) else SeqioVocabulary(vocabulary)
    feature = seqio.Feature(inner, add_eos=True, dtype=tf.int32)
    registered = seqio.TaskRegistry.add(
        name,
        source=RenderedSource(task, seed, vocabulary, input_length),
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[],
    )
    _registered[name] = key
    return registered


def registered_task(name: str) -> Prompted | None:
    """Returns the task of ours that was registered under its own name; ``None`` for any other."""
    task = _registered[name][0] if name in _registered else None
    return task if task is not None and task.name == name else None


class _Rates:
    """The rates of one mixture's tasks, computed together when the first one is asked for.

    A policy may look at all sizes at once, so no rate is known before every size is.
    """

    def __init__(self, mixture: Mixture, names: Mapping[str, str], mean_tokens: Mapping[str, float] | None) -> None:
        self._mixture, self._names, self._mean_tokens = mixture, names, mean_tokens

    @functools.cached_property
    def _shares(self) -> dict[str, float]:
        sizes = {task.name: self._size(task) for task in self._mixture.drawn_tasks}
        shares = self._mixture.weights(sizes, self._mean_tokens)
        return {self._names[task]: share for task, share in shares.items() if task in sizes}

    def _size(self, task: Task) -> int:
        """Counts training examples by the task itself: in seqio its name may be registered with another vocabulary."""
        if not task.tokenized_elsewhere:
            return seqio.TaskRegistry.get(self._names[task.name]).num_input_examples("train")
        return task.count("train") or 0

    def __call__(self, task: seqio.Task) -> float:
        return self._shares[task.name]


def register_mixture(
    mixture: Mixture,
    *,
    vocabulary: str | Vocabulary | None = None,
    seed: int = 0,
    keep: bool = False,
    mean_tokens: Mapping[str, float] | None = None,
) -> seqio.Mixture:
    """Registers the mixture, its tasks, and each suite as ``MIXTURE_SUITE``.

    Rates are functions, so that no record is read before a data set is built. They are the shares
    of draws that the mixture gives its tasks, nested mixtures included, whatever the unit it counts
    in; seqio divides them by their sum, which is 1. A suite's tasks have rates in proportion to
    the records of its split. Tasks of seqio's registry take part under their own names.

    Args:
        mixture: what to register.
        vocabulary: for all tasks of ours; the mixture's default, else that of its seqio tasks, else
            bytes, when not given.
        seed: which example gets which template.
        keep: a task that is registered with another vocabulary stays as it is, and this
            mixture's own stands beside it as ``TASK:VOCABULARY``.
        mean_tokens: task name → tokens of an example on average, for a mixture that counts tokens;
            the manifests of a prepared store know them.

    Returns:
        The training mixture.

    Raises:
        UserError: a name that belongs to somebody else, or tasks that seqio cannot mix.
    """
    vocabulary = vocabulary or mixture.vocabulary or _shared_vocabulary(mixture) or DEFAULT_VOCABULARY
    names = {task.name: task.name for task in mixture.all_tasks}
    for task in prompted(mixture.all_tasks):
        if keep and task.name in _registered and _registered[task.name][:3] != (task, label(vocabulary), seed):
            names[task.name] = f"{task.name}:{_seqio_name(label(vocabulary))}"
        register_task(task, vocabulary=vocabulary, seed=seed, name=names[task.name])
    for suite in mixture.suites:
        count = functools.partial(_count, split=suite.split)
        _replace_mixture(
            f"{mixture.name}_{_seqio_name(suite.name)}", [(names[task.name], count) for task in suite.tasks]
        )
    rate = _Rates(mixture, names, mean_tokens)
    return _replace_mixture(mixture.name, [(names[task.name], rate) for task in mixture.drawn_tasks])


def _shared_vocabulary(mixture: Mixture) -> Vocabulary | None:
    """Returns the vocabulary of the first task that is seqio's own; seqio compares it with the others'."""
    return next((task.own_vocabulary() for task in mixture.all_tasks if task.tokenized_elsewhere), None)


def _replace_mixture(name: str, tasks: list[tuple[str, Callable[[seqio.Task], float]]]) -> seqio.Mixture:
    unknown_names = [task for task, _ in tasks if task not in seqio.TaskRegistry.names()]
    if unknown_names:
        raise UserError(
            f"Mixture {name!r}: seqio knows no task {unknown_names[0]!r}. Import the module that registers it first."
        )
    seqio.MixtureRegistry.remove(name)
    try:
        return seqio.MixtureRegistry.add(name, tasks)
    except ValueError as error:  # features that differ in name
        raise UserError(f"seqio cannot mix the tasks of mixture {name!r}: {error}") from error


def _count(task: seqio.Task, *, split: str) -> float:
    return float(task.num_input_examples(split))


def _seqio_name(text: str) -> str:
    """Replaces letters that seqio does not take in a name."""
    return "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in text)


def register(name: str, *, vocabulary: str | Vocabulary | None = None, seed: int = 0) -> seqio.Mixture:
    """Registers a catalogued mixture or task, with a vocabulary and a seed of one's own.

    A mixture over a data folder, such as ``superni``, is registered by this call only.

    Raises:
        UserError: an unknown name, or a missing data folder.
    """
    return register_mixture(get_mixture(name), vocabulary=vocabulary, seed=seed)


def register_catalog() -> None:
    """Registers every catalogued mixture that needs no data folder, and every task in every mode.

    What is registered already stays as it is. A task has the default vocabulary of the first
    mixture that holds it, or bytes.
    """
    for name in MIXTURES:
        factory = MIXTURES.get(name)
        if name in seqio.MixtureRegistry.names() or isinstance(factory, FromDataFolder):
            continue
        mixture = get_mixture(name)
        theirs = [task.name for task in mixture.all_tasks if task.mode is None]
        if not theirs:
            register_mixture(mixture, keep=True)
        # A mixture with tasks of seqio's waits for them, as their module may be half imported now. What seqio
        # cannot mix, such as tasks with and without inputs, stays ours alone; `register` says why.
        elif set(theirs) <= set(seqio.TaskRegistry.names()):
            with contextlib.suppress(UserError):
                register_mixture(mixture, keep=True)
    for name in TASKS:
        for mode in TASKS.get(name).modes:
            task = Prompted(TASKS.get(name), mode)
            if task.name not in seqio.TaskRegistry.names():
                register_task(task)


loading.loaded(__name__)
