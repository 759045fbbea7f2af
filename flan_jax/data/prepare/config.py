"""The configuration of preparing (``PrepareConfig``, and of it a run's options ``TokenizeConfig``), and ``RecordCounts``."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.base import as_vocabulary
from flan_jax.data.tokenizers.protocol import Vocabulary, check_special_ids, encode_with_special_tokens
from flan_jax.errors import UserError, unknown
from flan_jax.option_groups import OptionGroup

FORMAT_VERSION = 3
"""Raised when rendering or trimming changes in a way that no other part of a fingerprint shows."""
_CHAT_VERSION = 1
"""Raised when the same chat template gives templated tasks other tokens."""
FEATURES = ("inputs", "targets")
MAX_LENGTH = 2**20
"""Tokens of a side: more are a slip that would take the memory of the machine."""
DEFAULT_LENGTHS: Mapping[str, int] = {"inputs": 512, "targets": 128}
MAX_MESSAGES = 5
"""Reasons of unreadable records that are kept."""
OnError = Literal["fail", "skip"]
TooLong = Literal["truncate", "drop", "fail"]


@dataclasses.dataclass
class RecordCounts:
    """Counts of the records of one split by what became of them; kept in the store's manifest.

    Attributes:
        records: records that the source has in this split, readable or not.
        skipped: records left out because they cannot be read or rendered.
        filtered: records left out because they are no example of the task: without a label, say, or with no room
            for a solved example before them.
        dropped: records left out because a side is too long.
        truncated: examples whose side was cut, by feature.
        by_reply: conversations that became an example for every reply, since their chat template writes the beginning
            otherwise once more turns follow.
        replies: the assistant's turns that are learned in conversations.
        turn_ends: those that are learned with a token that ends them, at which a model can stop.
        messages: why the first records were skipped, each with its file and line or its index.
        merged: messages that became one with a message of the same speaker before them.
        rewritten: messages that the chat template does not write as they are, by role.
        rewritten_at: where the first of these stand.
        unknown: unknown ids, by feature.
        unknown_examples: examples that have an unknown id, by feature.
        unknown_pieces: some of the characters or words behind unknown ids, by feature.
        unknown_texts: the first text with an unknown id, by feature.
    """

    records: int = 0
    skipped: int = 0
    dropped: int = 0
    truncated: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(FEATURES, 0))
    messages: list[str] = dataclasses.field(default_factory=list)
    filtered: int = 0
    by_reply: int = 0
    replies: int = 0
    turn_ends: int = 0
    merged: int = 0
    rewritten: dict[str, int] = dataclasses.field(default_factory=dict)
    rewritten_at: list[str] = dataclasses.field(default_factory=list)
    unknown: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(FEATURES, 0))
    unknown_examples: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(FEATURES, 0))
    unknown_pieces: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    unknown_texts: dict[str, str] = dataclasses.field(default_factory=dict)

    def count_filtered(self) -> None:
        """Counts a record that is no example of the task."""
        self.records += 1
        self.filtered += 1

    def skip(self, error: UserError) -> None:
        """Counts a record that cannot be read or rendered, and keeps the reason if it is among the first."""
        self.records += 1
        self.skipped += 1
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(str(error))

    def as_manifest(self) -> dict[str, Any]:
        """Returns the counts under the keys that manifests have."""
        return as_written(vars(self))

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any]) -> "RecordCounts":
        """Reads the counts of a manifest; one from before a count was taken has none of it."""
        named = {key: name for name, key in WRITTEN_KEYS.items()}
        return cls(**{named.get(key, key): value for key, value in values.items()})


WRITTEN_KEYS: Mapping[str, str] = {
    "filtered": "left_out",
    "rewritten": "unsaid",
    "rewritten_at": "unsaid_at",
}
"""Field of counts → its key in manifests and JSON, where stores and programs know it by another name."""


def as_written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Renames fields of counts to their keys in manifests and JSON."""
    return {WRITTEN_KEYS.get(name, name): value for name, value in values.items()}


@dataclasses.dataclass(frozen=True)
class TokenizeConfig(OptionGroup):
    """Options by which records become the tokens of examples.

    Attributes:
        lengths: ``{"inputs": S, "targets": T}`` in tokens, EOS included.
        on_error: what a record that cannot be read or rendered does to preparing: ``fail`` stops with its error,
            ``skip`` leaves it out and counts it.
        too_long: what an example longer than ``lengths`` does: ``truncate`` it, ``drop`` it, or ``fail``.
        separator: a text behind inputs, in the place of the end-of-sequence token; ``""`` for that token: of a decoder that
            others trained as a language model, to which that token says that another text begins. What comes as ids
            from elsewhere (seqio's tasks, whole conversations) has none. It may name special tokens.
        chat_template: templated tasks are trained and measured inside a chat template, the input as a user's turn and the
            target as the assistant's reply: ``True`` for that of the tokenizer's folder, or a name, a folder or a file;
            of a decoder.

    Raises:
        UserError: a bad length, or an unknown choice.
    """

    lengths: Mapping[str, int]
    on_error: OnError = "fail"
    too_long: TooLong = "truncate"
    separator: str = ""
    chat_template: bool | str = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", validate_lengths(self.lengths))
        super().__post_init__()


def default_tokenize() -> TokenizeConfig:
    """Returns the options that are in force where none are given, with lengths of ``DEFAULT_LENGTHS``."""
    return TokenizeConfig(DEFAULT_LENGTHS)


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """The configuration of preparing: everything that is the same for all tasks.

    Attributes:
        vocabulary: text to ids; one that is no ``BaseVocabulary`` is adapted.
        tokenize: how records become the tokens of examples.
        seed: which example gets which template.
        chat_template: what ``tokenize.chat_template`` names, loaded (``load_chat_template``): makes a user's turn of every
            rendered input and the assistant's reply of its target; ``None`` for none. What a template ends turns with
            stands in the place of the end of sequence.

    Raises:
        UserError: a vocabulary that lacks a method or has impossible special ids, a separator that it has no id for, or so many that nothing else
            fits, or a chat template beside one, or one that ends no reply.
        ValueError: ``tokenize`` names a chat template that was not loaded.
    """

    vocabulary: Vocabulary
    tokenize: TokenizeConfig = dataclasses.field(default_factory=default_tokenize)
    seed: int = 0
    chat_template: ChatTemplate | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", as_vocabulary(self.vocabulary))
        check_special_ids(self.vocabulary)
        if self.tokenize.chat_template and self.chat_template is None:
            raise ValueError(f"chat_template={self.tokenize.chat_template!r} is named, and no template was loaded")
        if self.chat is not None:
            self._check_chat(self.chat)
            return
        room, end = self.tokenize.lengths["inputs"], self.ends["inputs"]
        if not 0 < len(end) < room:
            raise UserError(
                f"separator is {self.tokenize.separator!r}, which vocabulary {self.vocabulary.name!r} writes with "
                f"{len(end)} ids, but it takes at least one, and fewer than the {room} of the inputs. Choose another."
            )

    def _check_chat(self, chat: ChatPrompts) -> None:
        if self.tokenize.separator:
            raise UserError(
                f"separator is {self.tokenize.separator!r}, but the chat template says what stands between turns. Leave one of them out."
            )
        for feature, taken in (("inputs", chat.overhead), ("targets", len(chat.end))):
            if taken >= self.tokenize.lengths[feature]:
                raise UserError(
                    f"The length of {feature!r} is {self.tokenize.lengths[feature]}, but the chat template takes {taken} tokens of it. "
                    "Raise it."
                )

    @functools.cached_property
    def chat(self) -> ChatPrompts | None:
        """Prompts and replies of ``chat_template``; ``None`` without one."""
        return None if self.chat_template is None else ChatPrompts(self.chat_template, self.vocabulary)

    @functools.cached_property
    def ends(self) -> dict[str, np.ndarray]:
        """Ids behind each feature, [length] int32: the end of sequence, the separator behind inputs, or the end of a turn."""
        if self.chat is not None:
            return {"inputs": np.zeros(0, np.int32), "targets": self.chat.end}
        end = np.array([self.vocabulary.eos_id], np.int32)
        return {"inputs": input_end_ids(self.vocabulary, self.tokenize.separator), "targets": end}

    @functools.cached_property
    def _vocabulary_fingerprint(self) -> str:
        return self.vocabulary.fingerprint()

    def parts(self) -> dict[str, str]:
        """Digests, by name, of the fields that decide on the tokens of every task.

        The seed is not among them: each preprocessor digests it with what it draws.
        """
        parts = {
            "vocabulary": self._vocabulary_fingerprint,
            "lengths": digest(sorted(self.tokenize.lengths.items())),
            "too_long": digest(self.tokenize.too_long),
            "format": digest(FORMAT_VERSION),
        }
        if self.tokenize.on_error != "fail":
            parts["on_error"] = digest(self.tokenize.on_error)
        if self.tokenize.separator:
            spelled = self.vocabulary.encode(self.tokenize.separator) == self.ends["inputs"].tolist()
            parts["separator"] = digest(self.tokenize.separator, *(() if spelled else ("special",)))
        if self.chat_template is not None:
            parts["chat_template"] = digest(_CHAT_VERSION, self.chat_template.fingerprint())
        return parts


def input_end_ids(vocabulary: Vocabulary, separator: str) -> np.ndarray:
    """Returns the ids behind inputs, [length] int32: the separator's, or the end of sequence without one.

    Raises:
        UserError: a separator that names the token that pads rows.
    """
    if not separator:
        return np.array([vocabulary.eos_id], np.int32)
    ids = encode_with_special_tokens(vocabulary, separator)
    if vocabulary.pad_id in ids:
        raise UserError(
            f"separator is {separator!r}, in which vocabulary {vocabulary.name!r} reads the token that pads rows. Choose another."
        )
    return np.array(ids, np.int32)


def combine_parts(parts: Mapping[str, str]) -> str:
    """Combines the digests of ``fingerprint_parts`` to one fingerprint, hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def validate_lengths(lengths: Mapping[str, int]) -> dict[str, int]:
    """Returns ``lengths`` as a dictionary of ``inputs`` and ``targets``, in tokens.

    Raises:
        UserError: no mapping, an unknown or missing feature, or a length that leaves no room for a
            token and the end-of-sequence id.
    """
    if not isinstance(lengths, Mapping):
        raise UserError(
            f"The lengths (TASK_FEATURE_LENGTHS) are {lengths!r}, but each feature has its own. "
            "Write them as {'inputs': 512, 'targets': 128}."
        )
    for feature in lengths:
        if feature not in FEATURES:
            raise unknown("feature length", str(feature), FEATURES)
    for feature in FEATURES:
        length = lengths.get(feature)
        if not isinstance(length, int | np.integer) or isinstance(length, bool) or not 2 <= length <= MAX_LENGTH:
            raise UserError(
                f"The length of {feature!r} is {length!r}, but it must be a whole number of at least 2 tokens (one and the "
                f"end of sequence) and at most {MAX_LENGTH:,}."
            )
    return {feature: int(lengths[feature]) for feature in FEATURES}
