"""Dialogue: the reply that answers a question, and what a speaker does with a line."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import COLORS, DAYS, PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

# What is asked → questions and replies.
_EXCHANGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "place": (
        ("where is the {thing}?", "where can i find {name}?", "where did you lose the {thing}?"),
        ("in the {place}.", "over there in the {place}."),
    ),
    "time": (
        ("when is the party?", "when did you see {name}?", "when will {name} visit us?"),
        ("on {day}.", "early on {day}."),
    ),
    "person": (
        ("who took my {thing}?", "who gave you the {thing}?", "who was in the {place}?"),
        ("it was {name}.", "i think it was {name}."),
    ),
    "number": (
        ("how many {thing}s do you have?", "how many friends did {name} bring?", "how many people came on {day}?"),
        ("only {number}.", "about {number}."),
    ),
    "colour": (
        ("what colour is the {thing}?", "which colour does {name} like?", "what colour is your house?"),
        ("{colour}, i think.", "{colour}, of course."),
    ),
    "reason": (
        ("why did you leave the {place}?", "why is {name} not here?", "why did you buy a {thing}?"),
        ("because it was late.", "because of the cold."),
    ),
}


def _fill(draw: Draw, text: str) -> str:
    return text.format(
        name=draw.one(PEOPLE),
        thing=draw.one(THINGS),
        place=draw.one(PLACES),
        day=draw.one(DAYS),
        colour=draw.one(COLORS),
        number=draw.number(2, 12),
    )


def _reply(draw: Draw) -> dict[str, Any]:
    asked, *others = draw.some(tuple(_EXCHANGES), 3)
    line = _fill(draw, draw.one(_EXCHANGES[asked][0]))
    replies = [_fill(draw, draw.one(_EXCHANGES[kind][1])) for kind in (asked, *others)]
    return {"line": line, "answer": replies[0], "choices": draw.shuffled(replies)}


# Without its choices this has no single answer: the mixture trains and measures it in zs_opt only.
NEXT_REPLY = register(
    TaskSpec(
        name="next_reply",
        cluster="dialogue",
        collection="mini",
        source=source("next_reply", _reply, 2),
        fields=as_slots,
        slots=("line", "answer", "choices"),
        options="choices",
        templates=templates(
            "someone asks: {line}\n{options}\nwhich reply fits?",
            "{line}\n\nchoose the best reply.",
            "first friend: {line}\nsecond friend:",
            "your friend asks: {line} what do you say?",
            "{options}\none of these answers the question: {line}",
            "find the reply that answers the question.\nquestion: {line}",
            "question: {line}\nreply:",
            "complete the talk between two people. {line}",
            "your friend asks you: {line}\n{options}\nwhich reply is best?",
            "what would you say to this?\n\n{line}",
        ),
    )
)

_ACTS: dict[str, tuple[str, ...]] = {
    "question": ("where is the {thing}, {name}?", "who was in the {place} on {day}?", "do you know {name}?"),
    "greeting": (
        "hello {name}, nice to see you.",
        "good morning, {name}, and welcome to the {place}.",
        "hi {name}, how are you this {day}?",
    ),
    "thanks": ("thank you for the {thing}, {name}.", "many thanks, {name}.", "{name}, you helped me, thank you."),
    "request": (
        "please bring me the {thing}, {name}.",
        "{name}, come to the {place}, please.",
        "could you give {name} the {thing}?",
    ),
    "apology": ("i am sorry, {name}.", "sorry that i lost the {thing}, {name}.", "{name}, i am sorry about {day}."),
}
_ASIDES = ("", "it is {day}.", "we are in the {place}.", "{name} is here too.", "i have a {colour} {thing}.")


def _act(draw: Draw) -> dict[str, Any]:
    act = draw.one(tuple(_ACTS))
    line = f"{_fill(draw, draw.one(_ASIDES))} {_fill(draw, draw.one(_ACTS[act]))}".strip()
    return {"line": line, "answer": act, "choices": draw.shuffled(tuple(_ACTS))}


SPEECH_ACT = register(
    TaskSpec(
        name="speech_act",
        cluster="dialogue",
        collection="mini",
        source=source("speech_act", _act, 2),
        fields=as_slots,
        slots=("line", "answer", "choices"),
        options="choices",
        templates=templates(
            "{line}\n\nwhat is the speaker doing?",
            "what does the speaker do here? {line}",
            "line: {line}\nlabel:",
            "{options}\nwhich label fits these words? {line}",
            "someone says: {line}\nwhat kind of line is it?",
            "name what the speaker is doing.\n{line}",
            "in a talk you hear this: {line}\nwhat do you call it?",
            "sort this line by what it does: {line}\n{options}",
            "what kind of line is this? {line}",
            "someone says this to you: {line}\n{options}\nwhich label fits?",
        ),
    )
)
