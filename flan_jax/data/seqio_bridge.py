"""Our tasks and mixtures as real ``seqio.Task``s and ``seqio.Mixture``s.

The only module that imports seqio and TensorFlow. It is reached through ``seqio_hook``, or by
calling ``register`` with a vocabulary of one's own. What a seqio task yields equals, token by
token, what ``flan_jax.data.prepare`` stores.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.sources import FromDataFolder
from flan_jax.data.tokenizers import Vocabulary, load_vocabulary
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES, Mixture, get_mixture
from flan_jax.mixing.rates import rates
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, PromptMode

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
_ours: dict[str, tuple[Prompted, str, int]] = {}


class SeqioVocabulary(seqio.Vocabulary):
    """Any of our vocabularies where seqio wants one of its own. Loaded when first used."""

    def __init__(self, vocabulary: str | Vocabulary) -> None:
        super().__init__(extra_ids=0)
        self._given = vocabulary

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary behind it."""
        return load_vocabulary(self._given) if isinstance(self._given, str) else self._given

    @property
    def bos_id(self) -> int | None:
        """None: a decoder starts with id 0, as T5's does."""
        return None

    @property
    def eos_id(self) -> int:
        """End of sequence."""
        return self.vocabulary.eos_id

    @property
    def pad_id(self) -> int:
        """Padding."""
        return self.vocabulary.pad_id

    @property
    def unk_id(self) -> int | None:
        """Unknown."""
        return self.vocabulary.unk_id

    @property
    def _base_vocab_size(self) -> int:
        return self.vocabulary.size

    def _encode(self, s: str) -> Sequence[int]:
        return self.vocabulary.encode(s)

    def _decode(self, ids: Iterable[int]) -> str:
        return self.vocabulary.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        """A scalar → int32 ``[length]``; a vector → a ragged int32 ``[n, (length)]``."""
        if s.shape.rank == 0:
            ids = tf.numpy_function(self._encode_bytes, [s], tf.int32)
            return tf.ensure_shape(ids, [None])
        return tf.map_fn(self._encode_tf, s, fn_output_signature=tf.RaggedTensorSpec([None], tf.int32))

    def _encode_bytes(self, text: Any) -> np.ndarray:
        content: bytes = np.asarray(text, dtype=object).item()  # eagerly a 0-d array, in a graph bytes
        return np.asarray(self.vocabulary.encode(content.decode()), np.int32)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """Ids ``[length]`` → a scalar; ``[n, length]`` → ``[n]``."""
        text = tf.numpy_function(self._decode_array, [ids], tf.string)
        return tf.ensure_shape(text, ids.shape[:-1])

    def _decode_array(self, ids: np.ndarray) -> Any:
        if ids.ndim > 1:
            return np.asarray([self._decode_array(row) for row in ids], dtype=object)
        return self.vocabulary.decode(ids.tolist()).encode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SeqioVocabulary):
            return False
        return self._given == other._given or self.vocabulary.fingerprint() == other.vocabulary.fingerprint()

    def __hash__(self) -> int:
        return hash(SeqioVocabulary)

    def __repr__(self) -> str:
        return f"SeqioVocabulary({_label(self._given)})"


class RenderedSource(seqio.FunctionDataSource):
    """A task's rendered examples. Records are read when a data set is iterated or counted."""

    def __init__(self, task: Prompted, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._counts: dict[str, int] = {}
        super().__init__(dataset_fn=self._dataset, splits=task.spec.source.splits)

    def num_input_examples(self, split: str) -> int:
        """Number of records in a split; counted once."""
        if split not in self._counts:
            self._counts[split] = sum(1 for _ in self._task.spec.source.records(split))
        return self._counts[split]

    def _dataset(self, split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del shuffle_files, seed  # one generator: seqio shuffles what it yields
        return tf.data.Dataset.from_generator(functools.partial(self._examples, split), output_signature=_SIGNATURE)

    def _examples(self, split: str) -> Iterator[dict[str, Any]]:
        for rendered in render_split(self._task, split, seed=self._seed):
            yield {
                "inputs": rendered.inputs,
                "targets": rendered.targets,
                "options": np.asarray(rendered.options, dtype=object),
                "references": np.asarray(rendered.references, dtype=object),
                "example_id": rendered.example_id,
                "template_id": rendered.template_id,
            }


def _label(vocabulary: str | Vocabulary) -> str:
    """What tells vocabularies apart without loading one."""
    return vocabulary if isinstance(vocabulary, str) else vocabulary.fingerprint()


def register_task(
    task: Prompted, *, vocabulary: str | Vocabulary = DEFAULT_VOCABULARY, seed: int = 0, name: str | None = None
) -> seqio.Task:
    """Makes ``seqio.get_mixture_or_task(task.name)`` find the task.

    The lengths are seqio's own: ``sequence_length`` of ``get_dataset``.

    Args:
        task: a spec with its prompt mode.
        vocabulary: one of ours, its registered name, or the path of a SentencePiece model.
        seed: which example gets which template.
        name: under which name, if not the task's.

    Returns:
        The task that stands there now; one of ours registered before with another vocabulary or
        seed is replaced.

    Raises:
        UserError: the name belongs to a task or mixture that is not ours.
    """
    name = name or task.name
    key = (task, _label(vocabulary), seed)
    if name in seqio.TaskRegistry.names():
        if _ours.get(name) == key:
            return seqio.TaskRegistry.get(name)
        if name not in _ours:
            raise UserError(f"seqio knows another task named {name!r} already. Rename ours, or give it a variant.")
        seqio.TaskRegistry.remove(name)
    feature = seqio.Feature(SeqioVocabulary(vocabulary), add_eos=True, dtype=tf.int32)
    registered = seqio.TaskRegistry.add(
        name,
        source=RenderedSource(task, seed),
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[],
    )
    _ours[name] = key
    return registered


def _replace_mixture(name: str, tasks: list[tuple[str, Callable[[seqio.Task], float]]]) -> seqio.Mixture:
    seqio.MixtureRegistry.remove(name)
    return seqio.MixtureRegistry.add(name, tasks)


def register_mixture(
    mixture: Mixture, *, vocabulary: str | Vocabulary | None = None, seed: int = 0, keep: bool = False
) -> seqio.Mixture:
    """Registers the mixture, its tasks, and each suite as ``MIXTURE_SUITE``.

    Rates are functions, so that no record is read before a data set is built: an entry's own rate,
    or what the policy makes of the number of its training records. A suite's tasks have rates in
    proportion to the records of its split.

    Args:
        mixture: what to register.
        vocabulary: for all its tasks; the mixture's default, else bytes, when not given.
        seed: which example gets which template.
        keep: a task that is registered with another vocabulary stays as it is, and this
            mixture's own stands beside it as ``TASK:VOCABULARY``.

    Returns:
        The training mixture.
    """
    vocabulary = vocabulary or mixture.vocabulary or DEFAULT_VOCABULARY
    names = {}
    for task in mixture.all_tasks:
        name = task.name
        if keep and name in _ours and _ours[name] != (task, _label(vocabulary), seed):
            name = f"{name}:{_seqio_name(_label(vocabulary))}"
        register_task(task, vocabulary=vocabulary, seed=seed, name=name)
        names[task.name] = name
    for suite in mixture.suites:
        count = functools.partial(_count, split=suite.split)
        _replace_mixture(
            f"{mixture.name}_{_seqio_name(suite.name)}", [(names[task.name], count) for task in suite.tasks]
        )
    return _replace_mixture(
        mixture.name,
        [
            (names[entry.task.name], functools.partial(_rate, policy=mixture.policy, own=entry.rate))
            for entry in mixture.entries
        ],
    )


def _count(task: seqio.Task, *, split: str) -> float:
    return float(task.num_input_examples(split))


def _rate(task: seqio.Task, *, policy: Any, own: float | None) -> float:
    if own is not None:
        return float(own)
    return rates(policy, {task.name: task.num_input_examples("train")}, {})[task.name]


def _seqio_name(text: str) -> str:
    """The letters that seqio takes in a name."""
    return "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in text)


def register(name: str, *, vocabulary: str | Vocabulary | None = None, seed: int = 0) -> seqio.Mixture:
    """Registers a catalogued mixture or task, with a vocabulary and a seed of one's own.

    A mixture over a data folder, such as ``superni``, is registered by this call only.

    Raises:
        UserError: an unknown name, or a missing data folder.
    """
    return register_mixture(get_mixture(name), vocabulary=vocabulary, seed=seed)


def register_catalogue() -> None:
    """Registers every catalogued mixture that needs no data folder, and every task in every mode.

    What is registered already stays as it is. A task has the default vocabulary of the first
    mixture that holds it, or bytes.
    """
    for name in MIXTURES:
        factory = MIXTURES.get(name)
        if name not in seqio.MixtureRegistry.names() and not isinstance(factory, FromDataFolder):
            register_mixture(factory(), keep=True)
    for name in TASKS:
        for mode in PromptMode:
            task = Prompted(TASKS.get(name), mode)
            if task.name not in seqio.TaskRegistry.names():
                register_task(task)
