"""Dialogue for a decoder: a whole conversation is one example, and the loss counts what the assistant says.

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
from flan_jax.data.chat.tokenize import ChatTokenizer, Tokens, drops_start
from flan_jax.data.prepare.config import MESSAGES, PrepareConfig, RecordCounts
from flan_jax.data.prepare.source_notes import notes_of
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.sources.base import digest
from flan_jax.errors import PlacedError, UserError
from flan_jax.store.store import LOSS_MASK, MASK, Extra, StoredExample
from flan_jax.tasks.chat.conversation import (
    ASSISTANT,
    Conversation,
    Opening,
    Repeated,
    check_policies,
    conversation,
    repeated_turns,
)
from flan_jax.tasks.records import numbered_records
from flan_jax.tasks.spec import Source

_VERSION = 2
"""Raised when the same conversations give other tokens."""
_BATCH = 256
_SHOWN = 60

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ConversationTask:
    """Conversations, whole, for a decoder.

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
        UserError: a name or a policy that cannot be, or a source that is none.
    """

    name: str
    source: Source
    cluster: str = "dialogue"
    template: str | ChatTemplate = "plain"
    repeated: Repeated = "merge"
    opening: Opening = "fail"

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise UserError(f"Task {self.name!r}: a task's name takes letters, digits and underscores only. Rename it.")
        if not self.cluster:
            raise UserError(f"Task {self.name!r} has no cluster. Name the cluster that it is held out with.")
        if not isinstance(self.source, Source):
            raise UserError(
                f"Task {self.name!r}: source is {type(self.source).__name__}, which has no records(), splits, "
                "fingerprint() and describe(). Use one of flan_jax.data.sources."
            )
        check_policies(self.repeated, self.opening)

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of its source."""
        return self.source.splits


def producer_of(task: ConversationTask, recipe: PrepareConfig) -> "ConversationPreprocessor":
    """How the task is prepared; ``flan_jax.data.prepare.preprocessors`` looks for this name."""
    return ConversationPreprocessor(task, recipe)


@dataclasses.dataclass(frozen=True)
class ConversationPreprocessor:
    """Renders conversations through their chat template and tokenises them with a mask of the loss."""

    task: ConversationTask
    recipe: PrepareConfig

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        try:
            return load_chat_template(self.task.template)
        except UserError as error:
            raise UserError(f"Task {self.task.name!r}: {error}") from error

    @functools.cached_property
    def _tokenizer(self) -> ChatTokenizer:
        return ChatTokenizer(self._template, self.recipe.vocabulary)

    @property
    def _kept(self) -> tuple[str, ...]:
        """Of what else the ids depend on: whether they have the token that begins a sequence."""
        vocabulary = self.recipe.vocabulary
        return () if drops_start(vocabulary) or getattr(vocabulary, "bos_id", None) is None else ("start",)

    @property
    def _limit(self) -> int:
        """Tokens of a conversation: a decoder's row holds inputs and targets."""
        return sum(self.recipe.lengths.values())

    def fingerprint_parts(self, split: str) -> dict[str, str]:
        """Source, template, how turns are read, and the recipe's own parts. Nothing is drawn, so no seed."""
        return {
            "source": self.task.source.fingerprint(split),
            "templates": self._template.fingerprint(),
            "turns": digest("conversations", _VERSION, self.task.repeated, self.task.opening, *self._kept),
            **self.recipe.parts(),
        }

    def manifest(self, split: str) -> dict[str, Any]:
        """Cluster, source, template and the recipe."""
        return {
            "cluster": self.task.cluster,
            "source": self.task.source.describe(),
            "mode": "conversation",
            "template": self._template.name,
            "lengths": dict(self.recipe.lengths),
            "vocabulary": self.recipe.vocabulary.name,
            "vocabulary_size": self.recipe.vocabulary.size,
            "on_error": self.recipe.on_error,
            "too_long": self.recipe.too_long,
            **notes_of(self.task.source, split),
        }

    def extras(self, split: str) -> Mapping[str, Extra]:
        """The mask of the loss."""
        return {LOSS_MASK: MASK}

    def examples(self, split: str, tally: RecordCounts) -> Iterator[StoredExample]:
        """Conversations in the source's order.

        Raises:
            UserError: one that cannot be read or rendered, named by its place, unless the recipe
                says to skip it; or one that is too long where the recipe says to fail.
        """
        read = self._read(split, tally)
        stops = not self._tokenizer.knows_end
        while batch := list(itertools.islice(read, _BATCH)):
            made = self._tokenizer(
                [talk.messages for _, talk in batch],
                [talk.tools for _, talk in batch],
                functools.partial(self._unsaid_in, batch, split, tally),
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
                                functools.partial(self._unsaid_reply, index, talks, split, tally),
                            ),
                            strict=True,
                        )
                    )
                wrong = next((one for _, one in parts if isinstance(one, UserError)), None)
                if wrong is not None:
                    self._refuse(wrong, split, index, tally)
                    continue
                tally.records += 1
                tally.by_reply += len(parts) > 1
                kept = 0
                for one, own in parts:
                    fitting = (
                        None
                        if isinstance(own, UserError)
                        else self._fitting(one, _up_to_last_reply(own), split, index, tally)
                    )
                    if fitting is None:
                        continue
                    kept += 1
                    self._count_unknown(one, fitting, tally)
                    stops = stops or bool((fitting.ids[fitting.mask > 0] == self.recipe.vocabulary.eos_id).any())
                    nothing = np.zeros(0, np.int32)
                    yield StoredExample(nothing, fitting.ids, example_id=index, extras={LOSS_MASK: fitting.mask})
                tally.dropped += not kept
        if not stops:
            _log.warning(
                "Task %r: chat template %r ends no reply with eos_token, so a model does not learn from it to stop",
                self.task.name,
                self._template.name,
            )

    def _unsaid_in(
        self,
        batch: Sequence[tuple[int, Conversation]],
        split: str,
        tally: RecordCounts,
        number: int,
        missing: Sequence[int],
    ) -> None:
        self._note_unsaid(*batch[number], missing, split, tally)

    def _unsaid_reply(
        self,
        index: int,
        talks: Sequence[Conversation],
        split: str,
        tally: RecordCounts,
        number: int,
        missing: Sequence[int],
    ) -> None:
        self._note_unsaid(index, talks[number], missing, split, tally, replies=True)

    def _note_unsaid(
        self,
        index: int,
        talk: Conversation,
        missing: Sequence[int],
        split: str,
        tally: RecordCounts,
        *,
        replies: bool = False,
    ) -> None:
        """Counts what the template leaves out or rewrites of a conversation; of its replies alone, if ``replies``."""
        for number in missing:
            message = talk.messages[number]
            if replies and message.role != ASSISTANT:
                continue
            tally.unsaid[message.role] = tally.unsaid.get(message.role, 0) + 1
            if len(tally.unsaid_at) < MESSAGES:
                place = getattr(self.task.source, "place", None)
                where = place(split, index) if place else f"record {index}"
                tally.unsaid_at.append(f"{where}, message {number}: {message.content[:_SHOWN]!r}")

    def _count_unknown(self, talk: Conversation, tokens: Tokens, tally: RecordCounts) -> None:
        """What the assistant says is a target, everything else an input."""
        if self.recipe.vocabulary.unk_id is None:
            return
        for feature, said in (("inputs", False), ("targets", True)):
            own = [message.content for message in talk.messages if (message.role == ASSISTANT) == said]
            ids = tokens.ids[(tokens.mask > 0) == said]
            count_unknown(tally, self.recipe.vocabulary, feature, [ids], ["\n".join(own)].__getitem__)

    def _read(self, split: str, tally: RecordCounts) -> Iterator[tuple[int, Conversation]]:
        unreadable = tally.skip if self.recipe.on_error == "skip" else None
        for index, record in numbered_records(self.task.source, split, unreadable):
            try:
                talk = conversation(record, repeated=self.task.repeated, opening=self.task.opening)
            except UserError as error:
                self._refuse(error, split, index, tally)
            else:
                if self.task.repeated == "merge":
                    tally.merged += repeated_turns(record["messages"])
                yield index, talk.answered

    def _refuse(self, error: UserError, split: str, index: int, tally: RecordCounts) -> None:
        """Counts a conversation that cannot be read or rendered, or raises."""
        place = getattr(self.task.source, "place", None)
        located = UserError(f"Task {self.task.name!r}, record {index}: {error}")
        if place:
            located = PlacedError(functools.partial(place, split, index), located)
        if self.recipe.on_error != "skip":
            raise located from error
        tally.skip(located)

    def _fitting(
        self, talk: Conversation, tokens: Tokens, split: str, index: int, tally: RecordCounts
    ) -> Tokens | None:
        """The tokens, or those of as many whole turns as fit, or ``None`` where none do."""
        if len(tokens.ids) <= self._limit:
            return tokens
        if self.recipe.too_long == "fail":
            raise UserError(
                f"Task {self.task.name!r}, split {split!r}, record {index}: the conversation has {len(tokens.ids)} tokens, "
                f"but the lengths of inputs and targets are {self._limit} together. Raise a length, or choose "
                "too_long=truncate or too_long=drop."
            )
        if self.recipe.too_long == "drop":
            return None
        best = self._longest(talk)
        if best is not None:
            tally.truncated["targets"] += 1
        return best

    def _longest(self, talk: Conversation) -> Tokens | None:
        """The most turns, up to and with a reply, that fit: found by halving, as more turns are more tokens."""
        replies: Sequence[int] = talk.replies
        low, high, best = 0, len(replies) - 1, None
        while low < high:  # the whole is known to be too long
            middle = (low + high) // 2
            (tokens,) = self._tokenizer([talk.messages[: replies[middle] + 1]], [talk.tools])
            cut = None if isinstance(tokens, UserError) else _up_to_last_reply(tokens)
            if cut is not None and len(cut.ids) <= self._limit:
                best, low = cut, middle + 1
            else:
                high = middle
        return best


def _by_reply(talk: Conversation) -> list[Conversation]:
    """For every reply that is learned, the conversation up to it, in which it alone is."""
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
    """Without what a template writes after the last reply, which nobody reads on from."""
    end = int(np.flatnonzero(tokens.mask)[-1]) + 1
    return Tokens(tokens.ids[:end], tokens.mask[:end])
