"""Keys that say the same in every format: that a record is no example, that it is preference data, what comes before it.

Published data says in many words that an answer is a bad one, that a picture belongs to it, or that a system prompt
heads it. ``left_out_by`` and ``refuse_pairs`` say what must not be trained on, ``context_of`` what stands before.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.unique_keys import decode


def names(text: str) -> tuple[str, ...]:
    """Names with spaces between them."""
    return tuple(text.split())


LABEL = "label"
"""The verdict of unpaired preference data (KTO), and elsewhere a class: only what can be no class is taken for a verdict."""
GOOD = frozenset(
    names(
        "kto_tag is_good good is_correct correct accepted is_accepted accept approved is_approved desirable is_desirable "
        "acceptable is_acceptable thumbs_up preferred is_preferred is_chosen valid is_valid passed liked upvoted"
    )
)
"""Keys whose "no" says that an answer is bad."""
BAD = frozenset(
    names(
        "bad is_bad rejected is_rejected deleted is_deleted removed excluded exclude discard discarded skip ignore ignored "
        "undesirable is_undesirable wrong is_wrong incorrect is_incorrect flagged is_flagged spam is_spam thumbs_down "
        "downvoted masked is_masked"
    )
)
"""Keys whose "yes" says so."""
VERDICTS = frozenset(
    names("verdict status decision feedback judgement judgment review review_status quality rating outcome")
)
"""Keys that say so by a word."""
TRAIN = frozenset(names("train training trainable train_on use_for_training include"))
"""Keys whose "no" says that nothing is to be learned."""
WEIGHTS = frozenset(names("weight sample_weight example_weight loss_weight loss_scale"))
MEDIA = {
    **dict.fromkeys(names("images image image_path image_paths image_url image_urls image_file img"), "images"),
    **dict.fromkeys(names("videos video video_path video_url video_file"), "videos"),
    **dict.fromkeys(names("audios audio audio_path audio_url audio_file"), "sound"),
}
"""Keys of what no text says → what it is."""
PAIR = frozenset(
    names(
        "chosen rejected chosen_response rejected_response response_chosen response_rejected chosen_answer rejected_answer "
        "answer_chosen answer_rejected chosen_responses rejected_responses preferred_output non_preferred_output "
        "dispreferred_output chosen_output rejected_output output_chosen output_rejected chosen_completion "
        "rejected_completion chosen_message rejected_message chosen_messages rejected_messages chosen_conversation "
        "rejected_conversation negative_response negative_output negative_answer negative_completion better_response worse_response better_response_id winning_response losing_response"
    )
)
"""Keys that only preference data has."""
PAIRED = (
    ("response_a", "response_b"),
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("response_j", "response_k"),
    ("answer_a", "answer_b"),
    ("answer_0", "answer_1"),
    ("output_1", "output_2"),
    ("completion_a", "completion_b"),
    ("conversation_a", "conversation_b"),
    ("human_ref_A", "human_ref_B"),
)
"""Two keys that only preference data has together."""
RANKED = ("answers", "completions", "responses", "candidates", "generations")
"""Keys of several answers, of which a rank or a score says which is the better one."""
SYSTEM = ("system", "system_prompt", "system_message", "sys_prompt")
HISTORY = ("history", "chat_history", "conversation_history", "dialogue_history")

_RANKS = frozenset(names("rank score rating ratings overall_score fine-grained_score annotations reward label"))
_YES, _NO = frozenset(("true", "yes")), frozenset(("false", "no"))
_BAD_WORDS = frozenset(
    names(
        "bad reject rejected undesirable dispreferred incorrect wrong thumbs_down declined disapproved unacceptable deleted "
        "discarded downvoted failed 👎"
    )
)
_BAD_LABELS = frozenset(names("false bad rejected undesirable dispreferred"))
_GOOD_LABELS = frozenset(names("true good chosen desirable preferred"))
_ASKED = ("user", "human", "prompt", "question", "query", "instruction", "input")
_ANSWERED = ("assistant", "gpt", "bot", "response", "answer", "reply", "output", "completion")


def empty(value: Any) -> bool:
    """Whether a key says nothing: null, an empty text, list or object."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and len(value) == 0)


def yes_or_no(value: Any) -> bool | None:
    """A "yes" or "no" in whatever way it is written; ``None`` for anything else.

    >>> yes_or_no(False), yes_or_no("True"), yes_or_no(0), yes_or_no("maybe"), yes_or_no(3)
    (False, True, False, None, None)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def verdict(key: str, value: Any) -> bool | None:
    """Whether ``key`` says that the answer is good; ``None`` where it says neither.

    >>> verdict("label", False), verdict("label", "negative"), verdict("rejected", True), verdict("status", "Rejected")
    (False, None, False, False)

    Raises:
        UserError: a ``label`` of 0 or -1, which may be a verdict or a class.
    """
    word = value.strip().lower() if isinstance(value, str) else ""
    if key == LABEL:
        if isinstance(value, bool) or word in _GOOD_LABELS:
            return bool(value)
        if isinstance(value, int | float) and value in (0, -1):
            raise UserError(
                f"'label' is {value!r}, which may say that the answer is bad or name a class. Leave the record out if it "
                "is bad (or write false), and rename the key if it is a class."
            )
        return False if word in _BAD_LABELS else None
    said = yes_or_no(value)
    if key in GOOD:
        return False if word in _BAD_WORDS or value == -1 else said
    if key in BAD:
        return None if said is None else not said
    return False if key in VERDICTS and word in _BAD_WORDS else None


def left_out_by(record: Mapping[str, Any]) -> str:
    """Says why nothing of a record is to be learned, in words to be counted by; ``""`` where nothing says so.

    Raises:
        UserError: a weight other than 0 and 1, which no loss here can have, or a ``label`` that may be a class.
    """
    for key in record:
        value = record[key]
        if key == LABEL or key in GOOD or key in BAD or key in VERDICTS:
            if verdict(key, value) is False:
                return f"marked as bad ({key})"
        elif key in TRAIN:
            if yes_or_no(value) is False:
                return f"not to be trained on ({key})"
        elif key in WEIGHTS:
            if weight_of(key, value) is False:
                return f"not to be trained on ({key})"
        elif key in MEDIA and not empty(value) and yes_or_no(value) is not False:
            return f"has {MEDIA[key]}"
    return ""


def weight_of(key: str, value: Any) -> bool | None:
    """Whether a weight of the loss lets anything be learned; ``None`` for what is no weight.

    Raises:
        UserError: a weight other than 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return yes_or_no(value)
    if value not in (0, 1):
        raise UserError(f"{key!r} is {value!r}, but a loss here counts whole or not at all. Write 1 or 0.")
    return bool(value)


def pair_keys(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys by which a record is preference data, in its order."""
    found = {key for key in PAIR if key in record and not empty(record[key]) and yes_or_no(record[key]) is None}
    for both in PAIRED:
        if all(not empty(record.get(key)) for key in both):
            found.update(both)
    for key in RANKED:
        answers = record.get(key)
        if isinstance(answers, list | tuple) and len(answers) > 1 and all(map(_is_ranked, answers)):
            found.add(key)
    return tuple(key for key in record if key in found)


def _is_ranked(answer: Any) -> bool:
    return isinstance(answer, Mapping) and not _RANKS.isdisjoint(answer)


def refuse_pairs(record: Mapping[str, Any]) -> None:
    """Refuses preference data.

    Raises:
        UserError: what it is, by which keys, and what to do.
    """
    if keys := pair_keys(record):
        raise UserError(
            f"this is preference data (it has {' and '.join(map(repr, keys[:2]))}), and fine-tuning on instructions would "
            "learn what was rejected as well as what was chosen. Keep of every record its prompt and the chosen answer "
            "only, as {'prompt': …, 'completion': …}."
        )


def context_of(record: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """The system prompt of a record and the turns before it, as messages; ``""`` and none where it has none.

    Raises:
        UserError: a system prompt that is no text, two that differ, or a history that is no list of questions with
            their answers.
    """
    said: dict[str, str] = {}
    for key in SYSTEM:
        value = record.get(key)
        if empty(value):
            continue
        if not isinstance(value, str):
            raise UserError(f"{key!r} must be a text, not {type(value).__name__} ({value!r:.60}). Correct the record.")
        if value.strip():
            said.setdefault(value, key)
    if len(said) > 1:
        raise UserError(
            f"{' and '.join(map(repr, said.values()))} are two system prompts that differ. Keep one of them."
        )
    told = [key for key in HISTORY if not empty(record.get(key))]
    if len(told) > 1:
        raise UserError(f"{' and '.join(map(repr, told))} both say what came before. Keep one of them.")
    return next(iter(said), ""), _history(told[0], record[told[0]]) if told else []


def _history(key: str, value: Any) -> list[dict[str, str]]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = decode(value)
    if isinstance(value, str) and not value.strip():
        return []
    messages: list[dict[str, str]] | None = []
    if isinstance(value, list | tuple):
        flat = all(isinstance(turn, str) for turn in value)
        turns = list(zip(value[::2], value[1::2], strict=False)) if flat and len(value) % 2 == 0 else value
        for turn in turns:
            made = _exchange(turn)
            messages = None if made is None or messages is None else messages + made
    else:
        messages = None
    if messages is None:
        raise UserError(f"{key!r} must be a list of [question, answer] pairs, not {value!r:.80}. Correct the record.")
    return messages


def _exchange(turn: Any) -> list[dict[str, str]] | None:
    """The messages in one item of a history; ``None`` where it is none."""
    if isinstance(turn, Mapping):
        for role, content in (("role", "content"), ("from", "value")):
            if isinstance(turn.get(role), str) and isinstance(turn.get(content), str):
                speaker = {"human": "user", "gpt": "assistant", "bot": "assistant"}.get(turn[role], turn[role])
                return [{"role": speaker, "content": turn[content]}]
        turn = [next((turn[key] for key in keys if key in turn), None) for keys in (_ASKED, _ANSWERED)]
    if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
        return None
    if not all(isinstance(text, str) and text.strip() for text in turn):
        return None
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), turn, strict=True)]
