"""Coreference: whom a pronoun or a description stands for."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import BOYS, DAYS, GIRLS, PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_MEETINGS = (
    "{a} met {b} in the {place}.",
    "{a} and {b} went to the {place}.",
    "{a} walked to the {place} with {b}.",
    "on {day} {a} called {b}.",
    "{a} looked for {b} in the {place}.",
    "in the {place} {a} talked to {b}.",
)
_STATES = ("tired", "hungry", "late", "ill", "thirsty", "cold")
_DEEDS = ("got a {thing}", "lost a {thing}", "found a {thing}", "wanted a {thing}", "asked for a {thing}")


def _pronoun(draw: Draw) -> dict[str, Any]:
    girl, boy = draw.one(GIRLS), draw.one(BOYS)
    pronoun = draw.one(("she", "he"))
    first, second = draw.shuffled((girl, boy))
    meeting = draw.one(_MEETINGS).format(a=first, b=second, place=draw.one(PLACES), day=draw.one(DAYS))
    deed = draw.one(_DEEDS).format(thing=draw.one(THINGS)) if draw.chance(0.6) else f"was {draw.one(_STATES)}"
    return {
        "text": f"{meeting} {pronoun} {deed}.",
        "pronoun": pronoun,
        "question": f"who {deed}?",
        "answer": girl if pronoun == "she" else boy,
        "choices": draw.shuffled((girl, boy)),
    }


PRONOUN = register(
    TaskSpec(
        name="pronoun",
        cluster="coreference",
        collection="mini",
        source=source("pronoun", _pronoun, 2),
        fields=as_slots,
        slots=("text", "pronoun", "question", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\n\nwho is meant by {pronoun}?",
            "in this text, {pronoun} is one of two people. which one?\n{text}",
            "{text}\n{question}",
            "{text} name the person behind the word {pronoun}.",
            "text: {text}\nthe word {pronoun} stands for",
            "{options}\nwho could {pronoun} stand for?\n{text}",
            "put a name in the place of {pronoun}. {text}",
            "read carefully. {text}\n{options}\n{question}",
            "{text}\n{options}\nwhich person does the word {pronoun} stand for?",
            "name the person. {text} {question}",
        ),
    )
)


def _owner(draw: Draw) -> dict[str, Any]:
    count = draw.number(2, 3)
    people, things = draw.some(PEOPLE, count), draw.some(THINGS, count)
    asked = draw.below(count)
    state = draw.one(_STATES)
    has = draw.one(("has", "owns"))
    clues = [f"{person} {has} a {thing}." for person, thing in zip(people, things, strict=True)]
    clues.append(f"the owner of the {things[asked]} is {state}.")
    return {
        "text": " ".join(clues),
        "question": f"who is {state}?",
        "reason": f"the {things[asked]} belongs to {people[asked]}",
        "answer": people[asked],
        "choices": draw.shuffled(people),
    }


OWNER_CLUE = register(
    TaskSpec(
        name="owner_clue",
        cluster="coreference",
        collection="mini",
        source=source("owner_clue", _owner, 3),
        fields=as_slots,
        slots=("text", "question", "reason", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\n\nthink about it, {question}",
            "put the clues together. {text}\n{question}",
            "clues: {text}\nquestion: {question}\nname:",
            "{question}\n{options}\nuse these clues: {text}",
            "solve this riddle. {text} {question}",
            "{text}\nwork it out: {question}",
            "the text tells you about a person.\n{text}\n{options}\n{question}",
            Template("{text}\n{question} give the reason too.", "{reason}, so {answer}", inverted=True),
            "read the clues and answer. {text}\n{question}",
            "riddle: {question}\n{text}\n{options}\nname the person.",
        ),
    )
)
