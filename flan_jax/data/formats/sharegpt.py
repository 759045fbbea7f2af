"""The conversation formats of Vicuna (ShareGPT), Baize, LIMA and UltraChat."""

import re
from collections.abc import Iterator

from flan_jax.data.formats.messages import MESSAGE, checked_chat, messages_of, tools_of
from flan_jax.data.formats.record_format import (
    Format,
    LeftOut,
    checked_text,
    list_at,
    objects_of,
    provenance,
    text_of,
    texts_at,
)
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import block

_TURN = re.compile(r"\[\|(Human|AI)\|\]")
_ROLE = {"Human": "user", "AI": "assistant"}
_PROVENANCE = ("id", "lang", "source", "category", "model")


def _is_sharegpt(record: Record) -> bool:
    return list_at(record, "conversations", "from", "value")


def _read_sharegpt(record: Record, left_out: LeftOut) -> Iterator[Record]:
    messages = messages_of(objects_of(record, "conversations"), "from", "value")
    yield checked_chat(messages, **tools_of(record), **provenance(record, *_PROVENANCE))


def _is_baize(record: Record) -> bool:
    return texts_at(record, "input") and {"Human", "AI"} <= set(_TURN.findall(record["input"][:100_000]))


def _read_baize(record: Record, left_out: LeftOut) -> Iterator[Record]:
    """What stands before the first mark is the frame of the prompt that made the data; the last mark is left open.

    A space follows a mark and is none of the turn's.
    """
    pieces = _TURN.split(text_of(record, "input"))
    marked = list(zip(pieces[1::2], pieces[2::2], strict=True))
    if marked and not marked[-1][1].strip():
        marked.pop()
    yield checked_chat(
        [{"role": _ROLE[speaker], "content": block(text.removeprefix(" "))} for speaker, text in marked],
        **provenance(record, "topic", *_PROVENANCE),
    )


def _in_turn(record: Record, key: str) -> bool:
    """Tells whether the texts of a conversation stand in a list, user and assistant in turn."""
    turns = record.get(key)
    return isinstance(turns, list | tuple) and bool(turns) and all(isinstance(turn, str) for turn in turns)


def _is_lima(record: Record) -> bool:
    return _in_turn(record, "conversations")


def _is_ultrachat(record: Record) -> bool:
    return _in_turn(record, "data")


def _read_lima(record: Record, left_out: LeftOut) -> Iterator[Record]:
    yield from _read_in_turn(record, "conversations", left_out)


def _read_ultrachat(record: Record, left_out: LeftOut) -> Iterator[Record]:
    yield from _read_in_turn(record, "data", left_out)


def _read_in_turn(record: Record, key: str, left_out: LeftOut) -> Iterator[Record]:
    turns = record.get(key)
    if not isinstance(turns, list | tuple):
        raise UserError(f"{key!r} must be a list of texts. Correct or remove the record.")
    if len(turns) < 2:  # LIMA's test prompts have one turn each
        left_out("no answer")
        return
    said = [checked_text(turn, f"{key}[{index}]") for index, turn in enumerate(turns)]
    yield checked_chat(
        [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(said)],
        **tools_of(record),
        **provenance(record, *_PROVENANCE),
    )


SHAREGPT = Format(
    name="sharegpt",
    about="conversations: a list of objects with from (human, gpt, …) and value; maybe id, system, tools",
    kind="chat",
    keys=("conversations",),
    detect=_is_sharegpt,
    nested=(("conversations", (*MESSAGE, "from", "value")),),
    read=_read_sharegpt,
)
BAIZE = Format(
    name="baize",
    about="topic, and input: one text with turns marked [|Human|] and [|AI|]",
    kind="chat",
    keys=("input",),
    detect=_is_baize,
    read=_read_baize,
)
LIMA = Format(
    name="lima",
    about="conversations: a list of texts, user and assistant in turn; source",
    kind="chat",
    keys=("conversations",),
    detect=_is_lima,
    read=_read_lima,
)
ULTRACHAT = Format(
    name="ultrachat",
    about="id, data: a list of texts, user and assistant in turn",
    kind="chat",
    keys=("data",),
    detect=_is_ultrachat,
    read=_read_ultrachat,
)
