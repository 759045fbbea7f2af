"""Prepares tasks of seqio's registry: runs their own pipeline and stores its tokens (``SeqioPreprocessor``).

Every example equals, feature by feature, what ``seqio.Task.get_dataset(shuffle=False)`` yields.
Besides ``inputs`` and ``targets`` its other features are kept as extra columns, since
postprocessors and metric functions read them.
"""

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.seqio_bridge.fingerprints import cache_parts, feature_parts, preprocessor_parts, source_parts
from flan_jax.data.seqio_bridge.registry import check_split, find_task, first_line
from flan_jax.data.seqio_bridge.vocabulary import task_vocabulary
from flan_jax.data.sources.base import digest
from flan_jax.errors import UserError
from flan_jax.store.store import Extra, StoredExample
from flan_jax.tasks.task import Task

FORMAT_VERSION = 1
"""Raised when what is stored of an example changes in a way that no other part of a fingerprint shows."""
_CUT = "_flan_jax_cut_"
_KEPT_RANKS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class SeqioPreprocessor:
    """Yields the examples of one task of seqio's registry.

    Attributes:
        task: the task.
        config: its vocabulary must be the task's.

    Raises:
        UserError: seqio knows no such task, or the vocabularies differ.
    """

    task: Task
    config: PrepareConfig

    def __post_init__(self) -> None:
        own = task_vocabulary(self._task)
        if own.fingerprint() != self.config.vocabulary.fingerprint():
            raise UserError(
                f"Task {self.task.name!r} is written for the vocabulary {own.name!r} ({own.size} ids), not for "
                f"{self.config.vocabulary.name!r} ({self.config.vocabulary.size} ids). Leave the vocabulary of the run out, "
                "or name the same one."
            )

    @property
    def _task(self) -> seqio.Task:
        return find_task(self.task.name)

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Digests source, preprocessors, output features, cache, seed and the configuration."""
        task = self._task
        check_split(task, split)
        return {
            "source": self._call_seqio(split, lambda: source_parts(task.source, split)),
            "preprocessors": preprocessor_parts(task),
            "output_features": feature_parts(task),
            "cache": self._call_seqio(split, lambda: cache_parts(task, split)),
            "seed": digest(self.config.seed),
            "seqio_format": digest(FORMAT_VERSION),
            **self.config.parts(),
        }

    def examples(self, split: str, counts: RecordCounts) -> Iterator[StoredExample]:
        """Yields the task's examples in the order of its source.

        Raises:
            UserError: a record that the task's preprocessors reject, an example that is too long
                where ``too_long`` is ``fail``, or a pipeline that cannot be built.
        """
        dataset = self._dataset(split)
        kept, extras = self._stored_features(dataset), self.extras(split)
        for index, example in self._read(dataset, split, counts):
            sides, cut = {}, []
            for feature in FEATURES:
                whole = np.asarray(example.get(feature, np.zeros(0, np.int32)))
                length = self.config.tokenize.lengths[feature]
                sides[feature] = whole[:length].astype(np.int32)
                if len(whole) > length or bool(example.get(_CUT + feature, False)):
                    cut.append(feature)
            if cut and self.config.tokenize.too_long == "fail":
                raise UserError(
                    f"Task {self.task.name!r}, split {split!r}, example {index}: its {cut[0]} are longer than the "
                    f"{self.config.tokenize.lengths[cut[0]]} tokens that they have room for. Raise the length, or choose "
                    "too_long=truncate or too_long=drop."
                )
            if cut and self.config.tokenize.too_long == "drop":
                counts.dropped += 1
                continue
            for feature in cut:
                counts.truncated[feature] += 1
            for feature, side in sides.items():
                count_unknown(
                    counts, self.config.vocabulary, feature, [side], functools.partial(_pretokenized, example, feature)
                )
            yield StoredExample(
                inputs=sides["inputs"],
                targets=sides["targets"],
                example_id=index,
                references=self._references(example, sides["targets"]),
                extras={name: example[name] for name in kept if name in extras},
            )

    def manifest(self, split: str) -> dict[str, Any]:
        """Returns cluster, source, configuration, and the features that are stored or cannot be, as JSON values."""
        task, spec = self._task, self._dataset(split).element_spec
        kept = self._stored_features(self._dataset(split))
        return {
            "cluster": self.task.cluster,
            "source": f"seqio task {task.name!r}, {type(task.source).__name__}",
            "seed": self.config.seed,
            "lengths": dict(self.config.tokenize.lengths),
            "vocabulary": self.config.vocabulary.name,
            "vocabulary_size": self.config.vocabulary.size,
            "on_error": self.config.tokenize.on_error,
            "too_long": self.config.tokenize.too_long,
            "cached": _cached(task),
            "token_features": [name for name in FEATURES if name in spec],
            "ragged_features": [name for name in kept if isinstance(spec[name], tf.RaggedTensorSpec)],
            "features_left_out": sorted(name for name in spec if name not in kept and not _is_internal(name)),
        }

    def extras(self, split: str) -> Mapping[str, Extra]:
        """Returns the columns of every feature besides inputs and targets that is numbers or text of rank 0, 1 or 2."""
        spec = self._dataset(split).element_spec
        return {
            name: Extra("bytes" if spec[name].dtype == tf.string else spec[name].dtype.name, spec[name].shape.rank)
            for name in self._stored_features(self._dataset(split))
        }

    def _stored_features(self, dataset: tf.data.Dataset) -> tuple[str, ...]:
        return tuple(
            name for name, spec in sorted(dataset.element_spec.items()) if not _is_internal(name) and _is_storable(spec)
        )

    def _references(self, example: Mapping[str, Any], targets: np.ndarray) -> tuple[str, ...]:
        own = example.get("references")
        if isinstance(own, np.ndarray) and own.ndim == 1 and own.dtype == object and len(own):
            return tuple(text.decode(errors="replace") for text in own)
        written = example.get("targets_pretokenized")
        if isinstance(written, bytes):
            return (written.decode(errors="replace"),)
        return (self.config.vocabulary.decode(targets.tolist()),)

    # The data set is built once a split: tracing somebody's preprocessors takes a second or so.
    def _dataset(self, split: str) -> tf.data.Dataset:
        built = self.__dict__.setdefault("_datasets", {})
        if split not in built:
            check_split(self._task, split)
            built[split] = self._call_seqio(split, functools.partial(_pipeline, self._task, split, self.config))
            self._check(built[split], split)
        return built[split]

    def _check(self, dataset: tf.data.Dataset, split: str) -> None:
        for feature in FEATURES:
            spec = dataset.element_spec.get(feature)
            if spec is None and feature == "inputs":
                continue
            if not isinstance(spec, tf.TensorSpec) or spec.shape.rank != 1 or not spec.dtype.is_integer:
                raise UserError(
                    f"Task {self.task.name!r}, split {split!r}: its feature {feature!r} is {spec}, but it must be one row of "
                    "token ids. Tokenize it in the task's preprocessors."
                )

    def _read(self, dataset: tf.data.Dataset, split: str, counts: RecordCounts) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields (index, example) pairs; a record that fails takes an index and has no example."""
        elements = iter(dataset)
        failures, most = 0, 0
        index = -1
        while True:
            index += 1
            try:
                element = next(elements)
            except StopIteration:
                return
            except Exception as error:  # whatever somebody's preprocessor raises
                failure = UserError(
                    f"Task {self.task.name!r}, split {split!r}, example {index}: its preprocessors reject the record: "
                    f"{first_line(error)}"
                )
                if self.config.tokenize.on_error != "skip":
                    raise failure from error
                if not failures:
                    # A source that breaks off would end the data silently; only a source that can be read is left behind.
                    most = self._call_seqio(
                        split, lambda: sum(1 for _ in _source_dataset(self._task, split, self.config))
                    )
                failures += 1
                if failures > most:
                    raise failure from error
                counts.skip(failure)
                continue
            counts.records += 1
            yield index, {name: _numpy(value) for name, value in element.items()}

    def _call_seqio(self, split: str, ask: Any) -> Any:
        """Calls ``ask``; its failure is reported as one of the task's."""
        try:
            return ask()
        except UserError:
            raise
        except Exception as error:  # whatever somebody's code raises
            raise UserError(
                f"Task {self.task.name!r}, split {split!r}: seqio cannot build its data set: {first_line(error)}"
            ) from error


def _cached(task: seqio.Task) -> bool:
    """Tells whether the task is read from seqio's offline cache: where one is found, as T5X does by default."""
    return bool(task.supports_caching and task.cache_dir is not None)


def _pipeline(task: seqio.Task, split: str, config: PrepareConfig) -> tf.data.Dataset:
    """Builds the task's data set, untrimmed where seqio's last preprocessor trims."""
    return _with_cut_flags(_with_seed(task)).get_dataset(
        sequence_length=dict(config.tokenize.lengths),
        split=split,
        use_cached=_cached(task),
        shuffle=False,
        seed=config.seed,
        trim_output_features=False,
    )


def _source_dataset(task: seqio.Task, split: str, config: PrepareConfig) -> tf.data.Dataset:
    return _with_seed(task).source.get_dataset(split=split, shuffle=False, seed=config.seed)


def _with_cut_flags(task: seqio.Task) -> seqio.Task:
    """Returns the task with a flag on every example of whether ``append_eos_after_trim`` cuts it.

    What that preprocessor cuts, nobody can see afterwards. It stands last in a pipeline as a rule;
    anywhere else the note would have to pass preprocessors that do not expect it, so there is none.
    """
    last = task.preprocessors[-1] if task.preprocessors else None
    if type(task) is not seqio.Task or getattr(last, "func", last) is not seqio.preprocessors.append_eos_after_trim:
        return task
    return task.replace(preprocessors=[*task.preprocessors[:-1], _flag_cuts, last])


def _flag_cuts(
    dataset: tf.data.Dataset, output_features: Mapping[str, seqio.Feature], sequence_length: Mapping[str, int]
) -> tf.data.Dataset:
    noted = [
        name
        for name in FEATURES
        if name in output_features and output_features[name].add_eos and name in dataset.element_spec
    ]

    def note(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        flags = {_CUT + name: tf.shape(example[name])[-1] >= sequence_length[name] for name in noted}
        return {**example, **flags}

    return dataset.map(note, num_parallel_calls=tf.data.AUTOTUNE)


class _WithoutSeed(seqio.DataSource):
    """A source whose function takes no seed, which it needs for shuffling only."""

    def __init__(self, source: seqio.FunctionDataSource) -> None:
        super().__init__(source.splits, source._num_input_examples, source.caching_permitted)
        self._source = source

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return self._source.supports_arbitrary_sharding

    def list_shards(self, split: str) -> Any:
        return self._source.list_shards(split)

    def get_dataset(self, split: str = "train", shuffle: bool = False, **others: Any) -> tf.data.Dataset:
        del others
        return self._source.get_dataset(split=split, shuffle=shuffle)


def _with_seed(task: seqio.Task) -> seqio.Task:
    """Returns the task, with a source that takes the seed that stochastic preprocessors need."""
    source = task.source
    if (
        type(task) is not seqio.Task
        or type(source) is not seqio.FunctionDataSource
        or "seed" in inspect.signature(source._dataset_fn).parameters
    ):
        return task
    return task.replace(source=_WithoutSeed(source))


def _pretokenized(example: Mapping[str, Any], feature: str, position: int) -> str:
    """Returns a side as text, where the task keeps it; else ``""``."""
    text = example.get(f"{feature}_pretokenized")
    return text.decode(errors="replace") if isinstance(text, bytes) else ""


def _is_internal(name: str) -> bool:
    return name in FEATURES or name.startswith(_CUT)


def _is_storable(spec: Any) -> bool:
    """Tells whether a column can hold a feature: numbers or text of rank 0 to 2, neither nested nor sparse."""
    if not isinstance(spec, tf.TensorSpec | tf.RaggedTensorSpec) or spec.shape.rank not in _KEPT_RANKS:
        return False
    return spec.dtype == tf.string or spec.dtype == tf.bool or spec.dtype in _NUMBERS


_NUMBERS = frozenset(
    {tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64, tf.float16, tf.float32, tf.float64}
)  # fmt: skip


def _numpy(value: Any) -> Any:
    """Converts to an array or a NumPy scalar; text to ``bytes``, arrays of text to objects, ragged rows to a list of arrays."""
    if isinstance(value, tf.RaggedTensor):
        return [row.numpy() for row in value] if value.shape.rank == 2 else value
    return value.numpy() if isinstance(value, tf.Tensor) else value
