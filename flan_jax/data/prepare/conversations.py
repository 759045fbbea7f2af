"""Conversations for a decoder: each is one example, with a loss mask over what the assistant says.

    TASK = ConversationTask("my_chats", jsonl(train="chats.jsonl"), template="chatml")

The conversation is stored as targets without inputs, beside a mask of the loss; it may be as long as
inputs and targets together, which is what a decoder's row holds. The reply's end is part of the reply
where the template says so, as ours do, so that a model learns to stop.
"""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.chat.templates import ChatTemplate, UnstablePrefixError, load_chat_template
from flan_jax.data.chat.tokenize import ChatTokenizer, Tokens, strips_bos
from flan_jax.data.prepare.config import MAX_MESSAGES, PrepareConfig, RecordCounts
from flan_jax.data.prepare.source_notes import source_notes
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.sources.base import digest
from flan_jax.errors import PlacedError, RecordError, UserError
from flan_jax.store.store import LOSS_MASK, LOSS_MASK_TYPE, Extra, StoredExample
from flan_jax.tasks.chat.conversation import (
    ASSISTANT,
    Conversation,
    Opening,
    Repeated,
    check_policies,
    conversation,
    repeated_turns,
)
from flan_jax.tasks.source import Source, as_source
from flan_jax.tasks.task import BaseTask

_VERSION = 2
"""Raised when the same conversations give other tokens."""
_BATCH = 256
_SHOWN = 60

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ConversationTask(BaseTask):
    """A task whose examples are whole conversations, for a decoder.

    A conversation that is too long is cut behind the last reply that leaves it short enough; if not
    even the first reply does, it is dropped. What follows its last reply is left out in any case.

    Attributes:
        name: unique among the tasks of a run.
        source: its records have ``messages``.
        cluster: what it is held out with.
        template: the chat template, as ``load_chat_template`` takes it; looked up when it is prepared.
        repeated: what becomes of two messages of one speaker in a row.
        opening: what becomes of an assistant's words before any user's.

    Raises:
        UserError: an invalid name or policy, or a source that lacks methods of ``Source``.
    """

    name: str
    source: Source = dataclasses.field()  # required, whatever `BaseTask` has
    cluster: str = "dialogue"
    template: str | ChatTemplate = "plain"
    repeated: Repeated = "merge"
    opening: Opening = "fail"

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise UserError(f"Task {self.name!r}: a task's name takes letters, digits and underscores only. Rename it.")
        if not self.cluster:
            raise UserError(f"Task {self.name!r} has no cluster. Name the cluster that it is held out with.")
        object.__setattr__(self, "source", as_source(self.source, f"Task {self.name!r}"))
        check_policies(self.repeated, self.opening)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of its source."""
        return self.source.splits

    def preprocessor(self, config: PrepareConfig) -> "ConversationPreprocessor":
        """Renders whole conversations."""
        return ConversationPreprocessor(self, config)


@dataclasses.dataclass(frozen=True)
class ConversationPreprocessor:
    """Renders conversations through their chat template and tokenizes them with a loss mask."""

    task: ConversationTask
    config: PrepareConfig

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        try:
            return load_chat_template(self.task.template)
        except UserError as error:
            raise UserError(f"Task {self.task.name!r}: {error}") from error

    @functools.cached_property
    def _tokenizer(self) -> ChatTokenizer:
        return ChatTokenizer(self._template, self.config.vocabulary)

    @property
    def _bos_part(self) -> tuple[str, ...]:
        """The fingerprint's mark of ids that keep the token that begins a sequence."""
        vocabulary = self.config.vocabulary
        return () if strips_bos(vocabulary) or vocabulary.bos_id is None else ("start",)

    @property
    def _max_tokens(self) -> int:
        """Tokens that a conversation may have: a decoder's row holds inputs and targets."""
        return sum(self.config.tokenize.lengths.values())

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Digests source, template, policies and the configuration. Nothing is drawn, so there is no seed."""
        return {
            "source": self.task.source.fingerprint(split),
            "templates": self._template.fingerprint(),
            "turns": digest("conversations", _VERSION, self.task.repeated, self.task.opening, *self._bos_part),
            **self.config.parts(),
        }

    def manifest(self, split: str) -> dict[str, Any]:
        """Returns cluster, source, template and the configuration as JSON values."""
        return {
            "cluster": self.task.cluster,
            "source": self.task.source.describe(),
            "mode": "conversation",
            "template": self._template.name,
            "lengths": dict(self.config.tokenize.lengths),
            "vocabulary": self.config.vocabulary.name,
            "vocabulary_size": self.config.vocabulary.size,
            "on_error": self.config.tokenize.on_error,
            "too_long": self.config.tokenize.too_long,
            **source_notes(self.task.source, split),
        }

    def extras(self, split: str) -> Mapping[str, Extra]:
        """Returns the column of the loss mask."""
        return {LOSS_MASK: LOSS_MASK_TYPE}

    def examples(self, split: str, counts: RecordCounts) -> Iterator[StoredExample]:
        """Yields conversations in the source's order, as targets without inputs.

        Raises:
            UserError: one that cannot be read or rendered, named by its place, unless ``on_error`` is ``skip``;
                or one that is too long where ``too_long`` is ``fail``.
        """
        read = self._read(split, counts)
        stops = not self._tokenizer.knows_end
        while batch := list(itertools.islice(read, _BATCH)):
            made = self._tokenizer(
                [talk.messages for _, talk in batch],
                [talk.tools for _, talk in batch],
                functools.partial(self._count_rewritten_in_batch, batch, split, counts),
            )
            for (index, talk), tokens in zip(batch, made, strict=True):
                parts = [(talk, tokens)]
                if isinstance(tokens, UnstablePrefixError) and len(talk.replies) > 1:
                    talks = _by_reply(talk)
                    parts = list(
                        zip(
                            talks,
                            self._tokenizer(
                                [one.messages for one in talks],
                                [talk.tools] * len(talks),
                                functools.partial(self._count_rewritten_reply, index, talks, split, counts),
                            ),
                            strict=True,
                        )
                    )
                wrong = next((one for _, one in parts if isinstance(one, UserError)), None)
                if wrong is not None:
                    self._refuse(wrong, split, index, counts)
                    continue
                counts.records += 1
                counts.by_reply += len(parts) > 1
                kept = 0
                for one, own in parts:
                    fitting = (
                        None
                        if isinstance(own, UserError)
                        else self._fit(one, _up_to_last_reply(own), split, index, counts)
                    )
                    if fitting is None:
                        continue
                    kept += 1
                    self._count_unknown(one, fitting, counts)
                    self._count_turn_ends(fitting, counts)
                    stops = stops or bool((fitting.ids[fitting.mask > 0] == self.config.vocabulary.eos_id).any())
                    nothing = np.zeros(0, np.int32)
                    yield StoredExample(nothing, fitting.ids, example_id=index, extras={LOSS_MASK: fitting.mask})
                counts.dropped += not kept
        if not stops:
            _log.warning(
                "Task %r: chat template %r ends no reply with eos_token, so a model does not learn from it to stop",
                self.task.name,
                self._template.name,
            )

    def _count_rewritten_in_batch(
        self,
        batch: Sequence[tuple[int, Conversation]],
        split: str,
        counts: RecordCounts,
        number: int,
        missing: Sequence[int],
    ) -> None:
        self._count_rewritten(*batch[number], missing, split, counts)

    def _count_rewritten_reply(
        self,
        index: int,
        talks: Sequence[Conversation],
        split: str,
        counts: RecordCounts,
        number: int,
        missing: Sequence[int],
    ) -> None:
        self._count_rewritten(index, talks[number], missing, split, counts, replies=True)

    def _count_rewritten(
        self,
        index: int,
        talk: Conversation,
        missing: Sequence[int],
        split: str,
        counts: RecordCounts,
        *,
        replies: bool = False,
    ) -> None:
        """Counts messages that the template leaves out or rewrites; of the assistant's alone, if ``replies``."""
        for number in missing:
            message = talk.messages[number]
            if replies and message.role != ASSISTANT:
                continue
            counts.rewritten[message.role] = counts.rewritten.get(message.role, 0) + 1
            if len(counts.rewritten_at) < MAX_MESSAGES:
                where = self.task.source.place(split, index) or f"record {index}"
                counts.rewritten_at.append(f"{where}, message {number}: {message.content[:_SHOWN]!r}")

    @functools.cached_property
    def _ends(self) -> frozenset[int]:
        """The tokens that may end a turn."""
        vocabulary = self.config.vocabulary
        return frozenset({vocabulary.eos_id, *(vocabulary.special_tokens if vocabulary.has_offsets else {}).values()})

    def _count_turn_ends(self, tokens: Tokens, counts: RecordCounts) -> None:
        """Counts replies, and those whose last token that is no white space is one that ends a turn."""
        if not self._tokenizer.knows_end:
            return
        edges = np.flatnonzero(np.diff(tokens.mask, prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            own = reversed(tokens.ids[start:end].tolist())
            last = next((i for i in own if i in self._ends or self.config.vocabulary.decode([i]).strip()), None)
            counts.replies += 1
            counts.turn_ends += last in self._ends

    def _count_unknown(self, talk: Conversation, tokens: Tokens, counts: RecordCounts) -> None:
        """Counts unknown ids: what the assistant says is a target, everything else an input."""
        if self.config.vocabulary.unk_id is None:
            return
        for feature, reply in (("inputs", False), ("targets", True)):
            own = [message.content for message in talk.messages if (message.role == ASSISTANT) == reply]
            ids = tokens.ids[(tokens.mask > 0) == reply]
            count_unknown(counts, self.config.vocabulary, feature, [ids], ["\n".join(own)].__getitem__)

    def _read(self, split: str, counts: RecordCounts) -> Iterator[tuple[int, Conversation]]:
        for index, record in self.task.source.read(split):
            if isinstance(record, RecordError):
                self._skip(record, counts)
                continue
            try:
                talk = conversation(record, repeated=self.task.repeated, opening=self.task.opening)
            except UserError as error:
                self._refuse(error, split, index, counts)
            else:
                if self.task.repeated == "merge":
                    counts.merged += repeated_turns(record["messages"])
                yield index, talk.answered

    def _refuse(self, error: UserError, split: str, index: int, counts: RecordCounts) -> None:
        """Counts a conversation that cannot be read or rendered, or raises, as ``on_error`` says."""
        named = UserError(f"Task {self.task.name!r}, record {index}: {error}")
        self._skip(PlacedError(functools.partial(self.task.source.place, split, index), named), counts)

    def _skip(self, error: RecordError, counts: RecordCounts) -> None:
        """Counts a record that is left out, or raises its error, as ``on_error`` says."""
        if self.config.tokenize.on_error != "skip":
            raise error
        counts.skip(error)

    def _fit(self, talk: Conversation, tokens: Tokens, split: str, index: int, counts: RecordCounts) -> Tokens | None:
        """Returns the tokens, those of as many whole turns as fit, or ``None`` where none fit."""
        if len(tokens.ids) <= self._max_tokens:
            return tokens
        if self.config.tokenize.too_long == "fail":
            raise UserError(
                f"Task {self.task.name!r}, split {split!r}, record {index}: the conversation has {len(tokens.ids)} tokens, "
                f"but the lengths of inputs and targets are {self._max_tokens} together. Raise a length, or choose "
                "too_long=truncate or too_long=drop."
            )
        if self.config.tokenize.too_long == "drop":
            return None
        best = self._longest_prefix(talk)
        if best is not None:
            counts.truncated["targets"] += 1
        return best

    def _longest_prefix(self, talk: Conversation) -> Tokens | None:
        """Finds the most turns, up to and with a reply, that fit; by bisection, as more turns are more tokens."""
        replies: Sequence[int] = talk.replies
        low, high, best = 0, len(replies) - 1, None
        while low < high:  # the whole is known to be too long
            middle = (low + high) // 2
            (tokens,) = self._tokenizer([talk.messages[: replies[middle] + 1]], [talk.tools])
            cut = None if isinstance(tokens, UserError) else _up_to_last_reply(tokens)
            if cut is not None and len(cut.ids) <= self._max_tokens:
                best, low = cut, middle + 1
            else:
                high = middle
        return best


def _by_reply(talk: Conversation) -> list[Conversation]:
    """Splits a conversation into one for every reply with loss, up to that reply, which alone has loss there."""
    return [
        dataclasses.replace(
            talk,
            messages=(
                *(dataclasses.replace(message, trained=False) for message in talk.messages[:index]),
                talk.messages[index],
            ),
        )
        for index in talk.replies
    ]


def _up_to_last_reply(tokens: Tokens) -> Tokens:
    """Drops the tokens that a template writes after the last reply."""
    end = int(np.flatnonzero(tokens.mask)[-1]) + 1
    return Tokens(tokens.ids[:end], tokens.mask[:end])
