"""Makes every assistant turn of a conversation one example, history → reply, for an encoder–decoder (``dialog_task``).

    TASK = dialog_task("my_chats", jsonl(train="chats.jsonl"))

A record of the source is a conversation, ``{"messages": […]}``; a record of the task is one of its
replies with what was said before. A conversation stands in one split, and so do all its replies.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.sources.base import digest
from flan_jax.errors import PlacedError, RecordError, UserError
from flan_jax.tasks.chat.conversation import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    USER,
    Conversation,
    Message,
    Opening,
    Repeated,
    check_policies,
    conversation,
    repeated_turns,
)
from flan_jax.tasks.source import NumberedRecord, Record, Source, as_source
from flan_jax.tasks.spec import TaskSpec, Template
from flan_jax.tasks.unicode_check import block

_VERSION = 1
"""Raised when the same conversations give other records."""


@dataclasses.dataclass(frozen=True)
class ReplySource(Source):
    """A source of the replies in the conversations of another source, in its order.

    A record has ``before``, the messages before the reply, and ``reply``. An assistant turn with no
    user turn before it answers nothing: it is history of later turns, and no record.

    Attributes:
        source: its records are conversations.
        repeated: what becomes of two messages of one speaker in a row.
        opening: what becomes of an assistant's words before any user's.
    """

    source: Source
    repeated: Repeated = "merge"
    opening: Opening = "fail"
    _merged: dict[str, int] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_policies(self.repeated, self.opening)
        object.__setattr__(self, "source", as_source(self.source, "Replies"))

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits of the conversations' source."""
        return self.source.splits

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the replies, conversation by conversation; one that cannot be read counts as one record."""
        return enumerate(self._replies(split))

    def _replies(self, split: str) -> Iterator[Record | RecordError]:
        merged = 0
        for _, record, talk in self._conversations(split):
            if isinstance(talk, RecordError):
                yield talk
                continue
            merged += self.repeated == "merge" and repeated_turns(record["messages"])
            for turn in _answers(talk):
                yield {"before": talk.messages[:turn], "reply": talk.messages[turn].content}
        self._merged[split] = merged

    def _conversations(self, split: str) -> Iterator[tuple[int, Record, Conversation | RecordError]]:
        """Yields (index in its source, record, its conversation or error)."""
        for index, record in self.source.read(split):
            talk: Conversation | RecordError
            if isinstance(record, RecordError):
                yield index, {}, record
                continue
            try:
                talk = _in_words(conversation(record, repeated=self.repeated, opening=self.opening))
            except UserError as error:
                talk = PlacedError(functools.partial(self._place, split, index), error)
            yield index, record, talk

    def merged(self, split: str) -> int:
        """Counts the messages that were merged with one of the same speaker, when ``split`` was last read whole."""
        return self._merged.get(split, 0)

    def place(self, split: str, index: int) -> str:
        """Names the place of record ``index``: that of its conversation, and which message of it the reply is."""
        left = index
        for number, _, talk in self._conversations(split):
            turns = (None,) if isinstance(talk, RecordError) else _answers(talk)
            if left < len(turns):
                turn = turns[left]
                return self._place(split, number) + ("" if turn is None else f", reply {turn}")
            left -= len(turns)
        return f"{self.describe()}, split {split!r}, record {index}"

    def _place(self, split: str, number: int) -> str:
        return self.source.place(split, number) or f"{self.source.describe()}, split {split!r}, record {number}"

    def is_empty(self, split: str) -> bool:
        """Tells whether there are no conversations."""
        return self.source.is_empty(split)

    def fingerprint(self, split: str) -> str:
        """Digests the conversations' fingerprint and the policies; hexadecimal."""
        return digest("replies", _VERSION, self.source.fingerprint(split), self.repeated, self.opening)

    def notes(self, split: str) -> Mapping[str, Any]:
        """Returns the notes of the conversations' source."""
        return self.source.notes(split)

    def size_hint(self, split: str) -> int | None:
        """Returns the bytes of the conversations' source."""
        return self.source.size_hint(split)

    def describe(self) -> str:
        """Names the conversations' source."""
        return f"replies in {self.source.describe()}"


def _in_words(talk: Conversation) -> Conversation:
    """Returns the conversation if a prompt of words can hold all of it.

    Raises:
        UserError: it has tools, or calls of them, or thoughts before a reply.
    """
    what = "tools" if talk.tools else "calls of tools" if any(m.calls for m in talk.messages) else ""
    thoughts = next((i for i in talk.replies if talk.messages[i].reasoning), None)
    if not what and thoughts is not None:
        what = f"thoughts before reply {thoughts}"
    if what:
        raise UserError(
            f"it has {what}, which only a chat template can write, and this task puts conversations into words. Train it as "
            "a ConversationTask of a decoder whose chat template writes them, or leave it out."
        )
    return talk


def _answers(talk: Conversation) -> tuple[int, ...]:
    """Finds the replies that have a user's turn before them; indices of messages."""
    first = next((index for index, message in enumerate(talk.messages) if message.role == USER), len(talk.messages))
    return tuple(index for index in talk.replies if index > first)


# T5's SentencePiece turns line ends into spaces, so a turn begins with a word that stays.
_SPEAKERS: Mapping[str, Mapping[str, str]] = {
    "dialogue": {USER: "User:", ASSISTANT: "Assistant:", SYSTEM: "System:", TOOL: "Tool:"},
    "dialogue_people": {USER: "Person A:", ASSISTANT: "Person B:", SYSTEM: "Note:", TOOL: "Lookup:"},
    "dialogue_questions": {USER: "Question:", ASSISTANT: "Answer:", SYSTEM: "Instruction:", TOOL: "Source:"},
}
SLOTS = ("system", "history", "last", "asked", "preface", "earlier", "context", *_SPEAKERS, "reply")


@dataclasses.dataclass(frozen=True)
class DialogFields:
    """Record → slots.

    ``system``: the system messages before the first turn, maybe empty. ``asked``: the last user turn.
    ``last``: that, and what was said since, by tools as a rule. ``history``: the turns before that, maybe empty. ``preface`` and
    ``earlier`` are system and history introduced by words and closed by a blank line, or empty;
    ``context`` is both. ``dialogue``,
    ``dialogue_people`` and ``dialogue_questions``: all turns up to the reply, each behind the name of its
    speaker, in three ways of naming. ``reply``: the answer.

    Attributes:
        max_characters: of system, history and last turn together. The oldest turns are left out,
            whole ones, until the rest is within it; system and last turn always stay.
    """

    max_characters: int = 2000

    def __post_init__(self) -> None:
        if self.max_characters < 1:
            raise UserError(f"max_characters={self.max_characters} must be at least 1.")

    def __call__(self, record: Record) -> Mapping[str, Any]:
        """The slots of one reply."""
        before: tuple[Message, ...] = record["before"]
        start = next((index for index, message in enumerate(before) if message.role != SYSTEM), len(before))
        system = "\n\n".join(block(message.content) for message in before[:start])
        turns = before[start:]
        asked = max(index for index, message in enumerate(turns) if message.role == USER)
        room = self.max_characters - len(system) - sum(len(message.content) for message in turns[asked:])
        oldest = asked
        while oldest and len(turns[oldest - 1].content) <= room:
            oldest -= 1
            room -= len(turns[oldest].content)
        history = _told(turns[oldest:asked], _SPEAKERS["dialogue"])
        last = "\n".join(
            part for part in (block(turns[asked].content), _told(turns[asked + 1 :], _SPEAKERS["dialogue"])) if part
        )
        preface, earlier = _introduced(system, history)
        return {
            "system": system,
            "history": history,
            "last": last,
            "asked": block(turns[asked].content),
            "preface": preface,
            "earlier": earlier,
            "context": preface + earlier,
            **{slot: _told(turns[oldest:], names) for slot, names in _SPEAKERS.items()},
            "reply": record["reply"],
        }


def _introduced(system: str, history: str) -> tuple[str, str]:
    """System prompt and history behind words of their own, each closed by a blank line, or empty."""
    return (
        f"Instructions to the assistant: {system}\n\n" if system else "",
        f"Earlier in the conversation: {history}\n\n" if history else "",
    )


def told_before(system: str, history: Sequence[Mapping[str, str]], max_characters: int = 2000) -> str:
    """What stands before a request in one text: the system prompt, and the turns before it, the oldest of which go.

    Args:
        system: maybe ``""``.
        history: messages of users and assistants, maybe none.
        max_characters: of both together; the system prompt always stays.
    """
    messages = [Message(one["role"], one["content"]) for one in history]
    room = max_characters - len(system)
    oldest = len(messages)
    while oldest and len(messages[oldest - 1].content) <= room:
        oldest -= 1
        room -= len(messages[oldest].content)
    return "".join(_introduced(system.strip(), _told(tuple(messages[oldest:]), _SPEAKERS["dialogue"])))


def _told(messages: tuple[Message, ...], names: Mapping[str, str]) -> str:
    return "\n".join(f"{names[message.role]} {block(message.content)}" for message in messages)


TEMPLATES = (
    Template("{preface}Conversation so far: {dialogue}\n\nWrite what the assistant says next."),
    Template("{preface}What follows is a chat between a user and a helpful assistant. {dialogue}\nAssistant:"),
    Template("{context}The user now says: {last}\n\nHow should the assistant reply?"),
    Template("{preface}You are the assistant in this chat. Give your next turn.\n\nChat: {dialogue}\n\nYour turn:"),
    Template("{preface}Person A writes, and Person B, an assistant, replies. {dialogue_people}\nPerson B:"),
    Template(
        "{preface}Please continue the exchange below with one more answer that fits everything said before.\n\n"
        "Exchange: {dialogue_questions}\nAnswer:"
    ),
    Template("{context}Latest message from the user: {last}\n\nReply to it:"),
    Template("Read the conversation and answer its last message.\n\n{preface}Messages: {dialogue}\n\nReply:"),
    Template("{preface}Transcript: {dialogue}\nAssistant:"),
    Template(
        "{earlier}An assistant has just written the following to a user: {reply}\n\nWhat did the user say right before?",
        "{asked}",
        inverted=True,
    ),
)
"""Ten ways to ask for a reply, of which the last asks for the message that was replied to."""


def dialog_task(
    name: str,
    source: Source,
    cluster: str = "dialogue",
    *,
    max_characters: int = 2000,
    repeated: Repeated = "merge",
    opening: Opening = "fail",
    templates: tuple[Template, ...] = TEMPLATES,
    metric: str = "rougeL",
    collection: str = "",
    title: str = "",
) -> TaskSpec:
    """Makes the task of replying in conversations, for an encoder–decoder or as prompt and completion.

    Args:
        name: the task's name.
        source: its records have ``messages``.
        cluster: what it is held out with.
        max_characters: of what was said before; see ``DialogFields``.
        repeated: see ``flan_jax.tasks.chat.conversation.Repeated``.
        opening: see ``flan_jax.tasks.chat.conversation.Opening``.
        templates: over the slots of ``DialogFields``.
        metric: how a generated reply is scored.
        collection: as for ``TaskSpec``.
        title: as for ``TaskSpec``.

    Raises:
        UserError: an unknown policy, or as ``TaskSpec``.
    """
    return TaskSpec(
        name=name,
        cluster=cluster,
        source=ReplySource(source, repeated, opening),
        fields=DialogFields(max_characters),
        slots=SLOTS,
        answer="reply",
        templates=templates,
        metric=metric,
        predict="generate",
        collection=collection,
        title=title,
    )
