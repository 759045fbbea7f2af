"""Vocabularies both ways: ours as a ``seqio.Vocabulary``, and seqio's behind the protocol ``Vocabulary``."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.prepare.fingerprints import value_text
from flan_jax.data.seqio_bridge import loading
from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.base import BaseVocabulary, as_vocabulary
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError

FEATURES = ("inputs", "targets")


def label(vocabulary: str | Vocabulary) -> str:
    """Returns a name or digest that identifies a vocabulary without loading one."""
    return vocabulary if isinstance(vocabulary, str) else vocabulary.fingerprint()


class SeqioVocabulary(seqio.Vocabulary):
    """A vocabulary of ours as a ``seqio.Vocabulary``. Loaded when first used."""

    def __init__(self, vocabulary: str | Vocabulary) -> None:
        super().__init__(extra_ids=0)
        self._given = vocabulary

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary behind it."""
        return load_vocabulary(self._given) if isinstance(self._given, str) else as_vocabulary(self._given)

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
        """Encodes a scalar to int32 ``[length]``, a vector to ragged int32 ``[n, (length)]``."""
        if s.shape.rank == 0:
            ids = tf.numpy_function(self._encode_bytes, [s], tf.int32)
            return tf.ensure_shape(ids, [None])
        return tf.map_fn(self._encode_tf, s, fn_output_signature=tf.RaggedTensorSpec([None], tf.int32))

    def _encode_bytes(self, text: Any) -> np.ndarray:
        content: bytes = np.asarray(text, dtype=object).item()  # eagerly a 0-d array, in a graph bytes
        return np.asarray(self.vocabulary.encode(content.decode()), np.int32)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """Decodes ids ``[length]`` to a scalar, ``[n, length]`` to ``[n]``."""
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
        return f"SeqioVocabulary({label(self._given)})"


@dataclasses.dataclass(frozen=True, eq=False)
class TaskVocabulary(BaseVocabulary):
    """A seqio vocabulary behind the protocol ``Vocabulary``. It encodes and decodes exactly as seqio does.

    Two of equal content have equal fingerprints, and one that has a counterpart of ours (bytes,
    or a SentencePiece file without extra ids) has the fingerprint of that one.
    """

    vocabulary: seqio.Vocabulary

    @functools.cached_property
    def name(self) -> str:
        """Its kind, and the file's name and the number of extra ids where it has them."""
        file = str(getattr(self.vocabulary, "sentencepiece_model_file", "")).rsplit("/", 1)[-1]
        words = [type(self.vocabulary).__name__, file]
        if self.vocabulary.extra_ids:
            words.append(f"+ {self.vocabulary.extra_ids} extra ids")
        return " ".join(word for word in words if word)

    @functools.cached_property
    def size(self) -> int:
        """Number of ids, extra ids counted."""
        return int(self.vocabulary.vocab_size)

    @property
    def pad_id(self) -> int:
        """seqio's padding id, 0."""
        return int(self.vocabulary.pad_id)

    @property
    def eos_id(self) -> int:
        """The end-of-sequence id. ``PrepareConfig`` refuses a vocabulary that has none."""
        return cast(int, self.vocabulary.eos_id)

    @property
    def unk_id(self) -> int | None:
        """The unknown id."""
        return self.vocabulary.unk_id

    def encode(self, text: str) -> list[int]:
        """Encodes ``text``, without the end-of-sequence id."""
        return [int(index) for index in self.vocabulary.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes as seqio does: up to the first end-of-sequence id."""
        return str(self.vocabulary.decode([int(index) for index in ids]))

    def fingerprint(self) -> str:
        """Digests the content: a file and what is added to it, or the layout of bytes."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        inner = self.vocabulary
        if type(inner) is seqio.ByteVocabulary:
            plain = ByteVocabulary().fingerprint()
            return digest(plain, "extra ids", inner.extra_ids) if inner.extra_ids else plain
        if type(inner) is seqio.SentencePieceVocabulary:
            return _sentencepiece_fingerprint(inner)
        kind = type(inner)
        return digest("seqio", kind.__module__, kind.__qualname__, inner.vocab_size, value_text(vars(inner)))

    def __getstate__(self) -> dict[str, Any]:
        # What was computed may hold a TensorFlow object, which does not travel to another process.
        return {"vocabulary": self.vocabulary}


def _sentencepiece_fingerprint(vocabulary: seqio.SentencePieceVocabulary) -> str:
    with tf.io.gfile.GFile(vocabulary.sentencepiece_model_file, "rb") as file:
        content = hashlib.sha256(file.read()).hexdigest()
    # As ours has it, unless seqio adds pieces, normalises otherwise, or pads with another id than the model.
    plain = hashlib.sha256(f"sentencepiece {content}".encode()).hexdigest()
    overrides = vocabulary._normalizer_spec_overrides
    padded = int(vocabulary.tokenizer.pad_id())
    if not vocabulary.extra_ids and overrides is None and padded == vocabulary.pad_id:
        return plain
    added = (vocabulary.extra_ids, vocabulary._reverse_extra_ids) if vocabulary.extra_ids else ()
    normalized = b"" if overrides is None else overrides.SerializeToString(deterministic=True)
    return digest(plain, added, normalized, vocabulary.pad_id)


def task_vocabulary(task: seqio.Task) -> Vocabulary:
    """Returns the one vocabulary of a task's inputs and targets.

    Raises:
        UserError: the two have different ones, or the task has no targets, or its file is missing.
    """
    features = {name: task.output_features[name] for name in FEATURES if name in task.output_features}
    if "targets" not in features:
        raise UserError(
            f"Task {task.name!r} has no output feature 'targets' (it has {', '.join(task.output_features)}), so there is "
            "nothing to train on."
        )
    found = {name: from_seqio(feature.vocabulary) for name, feature in features.items()}
    try:
        prints = {name: vocabulary.fingerprint() for name, vocabulary in found.items()}
    except (tf.errors.OpError, OSError) as error:
        raise UserError(
            f"Task {task.name!r}: its vocabulary {found['targets'].name!r} cannot be read: {str(error).splitlines()[0]}."
        ) from error
    if len(set(prints.values())) > 1:
        raise UserError(
            f"Task {task.name!r} has the vocabulary {found['inputs'].name!r} for its inputs and {found['targets'].name!r} "
            "for its targets, but a model here has one. Give both features the same vocabulary."
        )
    return found["targets"]


_wrapped: dict[int, tuple[seqio.Vocabulary, TaskVocabulary]] = {}
"""By identity, since seqio's vocabularies have no hash; hundreds of tasks share one, whose file is read once."""


def from_seqio(vocabulary: seqio.Vocabulary) -> Vocabulary:
    """Wraps a seqio vocabulary; one of ours is unwrapped."""
    if isinstance(vocabulary, SeqioVocabulary):
        return vocabulary.vocabulary
    return _wrapped.setdefault(id(vocabulary), (vocabulary, TaskVocabulary(vocabulary)))[1]


loading.loaded(__name__)
