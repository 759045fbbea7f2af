"""The formats of OpenAssistant: trees of messages, single threads, and flat rows that name their parents.

A tree is a prompt with the replies to it, the replies to these, and so on. Replies of one parent
are ranked by people, 0 the best. A training example is a path from the root: the best-ranked one,
or every one. A message that was deleted or failed its review takes its replies with it.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from flan_jax.data.formats.messages import checked_chat
from flan_jax.data.formats.record_format import (
    Format,
    LeftOut,
    Numbered,
    list_at,
    objects_of,
    provenance,
    text_of,
    within,
)
from flan_jax.data.formats.speakers import role_of
from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.spec import Record

Paths = Literal["best", "all"]
_NONE = frozenset(("", "none", "null", "nan", "<na>"))
ABANDONED = frozenset(("aborted_low_grade", "halted_by_moderator"))
"""States of trees that the project gave up."""


@dataclasses.dataclass(frozen=True)
class OasstReader:
    """How conversations are read from trees and threads.

    Attributes:
        paths: ``best`` follows the best-ranked reply of every message, ``all`` follows each.
        languages: only messages in these (``"en"``); ``()`` for all.
    """

    paths: Paths = "best"
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.paths not in get_args(Paths):
            raise UserError(f"paths={self.paths!r} must be 'best' or 'all'.{did_you_mean(self.paths, get_args(Paths))}")

    def __call__(self, record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
        """The conversations in a tree or a thread."""
        if record.get("tree_state") in ABANDONED:
            left_out("abandoned tree")
            return
        paths = self._thread(record, left_out) if "thread" in record else self._tree(record, left_out)
        identifier = provenance(record, "message_tree_id", "thread_id")
        found = False
        for path in paths:
            while path and role_of(path[-1].get("role")) != "assistant":
                path = path[:-1]  # a question that nobody answered
            if path:
                found = True
                try:
                    messages = [{"role": role_of(m.get("role")), "content": text_of(m, "text")} for m in path]
                    yield checked_chat(messages, **identifier, **provenance(path[0], "lang"))
                except UserError as error:
                    yield within("its path", error) if self.paths == "all" else error
        if not found:
            left_out("no answer")

    def _tree(self, record: Record, left_out: LeftOut) -> Iterator[list[Mapping[str, Any]]]:
        root = record["prompt"] if isinstance(record.get("prompt"), Mapping) else record
        if not isinstance(root.get("role"), str):
            raise UserError("the root of the tree has no 'role'. Correct or remove the record.")
        if not self._kept(root, left_out):
            return
        # Depth first, without recursion: a tree may be as deep as its file says.
        open_paths = [[root]]
        given: set[tuple[int, ...]] = set()
        while open_paths:
            path = open_paths.pop()
            replies = self._replies(path[-1], left_out)
            if replies and self.paths == "best":
                replies = replies[:1]
            open_paths += [[*path, reply] for reply in reversed(replies)]
            if not replies:
                # Two branches that end in unanswered questions are one path up to the last answer.
                end = next((i for i in range(len(path), 0, -1) if role_of(path[i - 1].get("role")) == "assistant"), 0)
                key = tuple(id(message) for message in path[:end])
                if key not in given:
                    given.add(key)
                    yield path

    def _replies(self, message: Mapping[str, Any], left_out: LeftOut) -> list[Mapping[str, Any]]:
        """The replies that are kept, best first; unranked ones behind, of equals the replied-to first."""
        if message.get("replies") is None:
            return []
        replies = [reply for reply in objects_of(message, "replies") if self._kept(reply, left_out)]
        return sorted(replies, key=_rank)

    def _thread(self, record: Record, left_out: LeftOut) -> Iterator[list[Mapping[str, Any]]]:
        path = []
        for message in objects_of(record, "thread"):
            if not self._kept(message, left_out):
                break  # what follows replies to it
            path.append(message)
        if path:
            yield path

    def _kept(self, message: Mapping[str, Any], left_out: LeftOut) -> bool:
        reason = ""
        if message.get("deleted") is True:
            reason = "deleted"
        elif message.get("review_result") is False:
            reason = "failed review"
        elif self.languages and message.get("lang") not in self.languages:
            reason = "other language"
        if reason:
            left_out(reason)
        return not reason


def _rank(message: Mapping[str, Any]) -> tuple[float, bool]:
    rank = message.get("rank")
    if not isinstance(rank, int | float) or rank != rank:
        rank = float("inf")
    return rank, not message.get("replies")


def gathered(rows: Iterable[Numbered], left_out: LeftOut) -> Iterator[Numbered]:
    """Trees from flat rows, each with the number of its root; rows whose parent is not there are left out."""
    messages: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, row in rows:
        if isinstance(row, UserError):
            yield number, row
            continue
        try:
            identifier = text_of(row, "message_id")
            text_of(row, "role"), text_of(row, "text")
            if identifier in messages:
                raise UserError(f"the message {identifier!r} was there before. Remove one.")
        except UserError as error:
            yield number, error
            continue
        own = row.get("replies")
        messages[identifier] = (number, {**row, "replies": list(own) if isinstance(own, list | tuple) else []})
    roots = []
    for number, message in messages.values():
        parent = message.get("parent_id")
        if _is_none(parent):
            roots.append((number, message))
        elif isinstance(parent, str) and parent in messages:
            messages[parent][1]["replies"].append(message)
    reached = 0
    for number, message in roots:
        below = [message]
        while below:
            reached += 1
            below += [reply for reply in below.pop()["replies"] if reply.get("message_id") in messages]
        state: dict[str, Any] = {key: message[key] for key in ("message_tree_id", "tree_state") if key in message}
        yield number, {"prompt": message, **state}
    for _ in range(len(messages) - reached):  # below a parent that is not there, or in a circle
        left_out("parent is missing")


def _is_none(parent: Any) -> bool:
    """Whether a row is a root: tables have an empty cell, a word or a number that is none where JSON has null."""
    if isinstance(parent, float):
        return parent != parent
    return parent is None or (isinstance(parent, str) and parent.strip().lower() in _NONE)


def _is_message(record: Any) -> bool:
    return isinstance(record, Mapping) and isinstance(record.get("text"), str) and isinstance(record.get("role"), str)


def _is_tree(record: Record) -> bool:
    if _is_message(record.get("prompt")):
        return True
    return _is_message(record) and list_at(record, "replies", "text", "role")


def _is_row(record: Record) -> bool:
    return _is_message(record) and "message_id" in record and "parent_id" in record and not record.get("replies")


def _is_thread(record: Record) -> bool:
    return list_at(record, "thread", "text", "role")


def oasst(*, paths: Paths = "best", languages: tuple[str, ...] = ()) -> tuple[Format, ...]:
    """Makes the three formats with these options.

    Args:
        paths: see ``OasstReader``. So is:
        languages: the languages kept.
    """
    read = OasstReader(paths, tuple(languages))
    message = ("text", "role", "replies", "rank", "deleted", "review_result", *(("lang",) if languages else ()))
    parameters = (("paths", paths), ("languages", tuple(languages)))
    return (
        Format(
            name="oasst_tree",
            reads=("tree_state", "role", "text", "replies", *message),
            nested=(("prompt", message), ("replies", message)),
            about="message_tree_id, tree_state, prompt: {text, role, replies: […]}",
            kind="chat",
            keys=("prompt",),
            detect=_is_tree,
            read=read,
            parameters=parameters,
        ),
        Format(
            name="oasst_thread",
            reads=("tree_state",),
            nested=(("thread", message),),
            about="thread_id, thread: a list of objects with text and role",
            kind="chat",
            keys=("thread",),
            detect=_is_thread,
            read=read,
            parameters=parameters,
        ),
        Format(
            name="oasst_flat",
            reads=("tree_state", "prompt", *message),
            nested=(("prompt", message), ("replies", message)),
            about="message_id, parent_id, text, role; one row a message",
            kind="chat",
            keys=("message_id", "parent_id", "text", "role"),
            detect=_is_row,
            read=read,
            gather=gathered,
            parameters=parameters,
        ),
    )


OASST_TREE, OASST_THREAD, OASST_FLAT = oasst()
