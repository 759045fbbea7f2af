"""Paraphrase: which sentence says the same thing, and saying it in the other voice."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import CREATURES, FOODS, HOMES, PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article
from mixtures.mini_wide.words import DEEDS


def _event(draw: Draw) -> dict[str, Any]:
    (person, other), (thing, stray) = draw.some(PEOPLE, 2), draw.some(THINGS, 2)
    deed, place = draw.one(DEEDS), draw.one(PLACES)

    def passive(who: str, what: str) -> str:
        return f"in the {place} the {what} was {deed} by {who}"

    answer = passive(person, thing)
    return {
        "sentence": f"{person} {deed} the {thing} in the {place}.",
        "answer": answer,
        "choices": draw.shuffled([answer, passive(other, thing), passive(person, stray)]),
    }


SAME_EVENT = register(
    TaskSpec(
        name="same_event",
        cluster="paraphrase",
        collection="mini_wide",
        source=source("same_event", _event, 1),
        fields=as_slots,
        slots=("sentence", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}\n{options}\nwhich sentence says the same?",
            "say this in other words: {sentence}",
            "which of these means the same as the text?\ntext: {sentence}\n{options}",
            "a friend tells the same story in other words. the story: {sentence}\n{options}",
            "text: {sentence}\nthe same with other words:",
            "{options}\nfind the sentence that means this: {sentence}",
            "here is what happened. {sentence}\ntell it in another way.",
            Template("{answer}.\nsay this in a short way.", "{sentence}", inverted=True),
            "read this: {sentence}\n{options}\nwhich one tells the same story?",
            "what is another way to say this? {sentence}\n{options}",
        ),
    )
)


def _fact(draw: Draw) -> dict[str, Any]:
    creature, stranger = draw.some(tuple(CREATURES), 2)
    column = draw.one((1, 2))
    value = CREATURES[creature][column]
    values = HOMES if column == 1 else FOODS
    other = draw.one([word for word in values if word != value])
    subject, foreign = with_article(creature), with_article(stranger)
    if column == 1:
        statement = f"{subject} lives in the {value}"
        same, wrong, strange = (
            f"{value}: home of {subject}",
            f"{other}: home of {subject}",
            f"{value}: home of {foreign}",
        )
    else:
        statement = f"{subject} eats {value}"
        same, wrong, strange = (
            f"{value}: food of {subject}",
            f"{other}: food of {subject}",
            f"{value}: food of {foreign}",
        )
    return {"statement": statement, "answer": same, "choices": draw.shuffled([same, wrong, strange])}


SAME_FACT = register(
    TaskSpec(
        name="same_fact",
        cluster="paraphrase",
        collection="mini_wide",
        source=source("same_fact", _fact, 1),
        fields=as_slots,
        slots=("statement", "answer", "choices"),
        options="choices",
        templates=templates(
            "{statement}.\n{options}\nwhich note says the same?",
            "make a note of this: {statement}",
            "fact: {statement}.\n{options}\nfind the note with the same fact.",
            "a teacher says that {statement}. what does the pupil write?\n{options}",
            "write this fact as a short note: {statement}",
            "{options}\none of these notes means that {statement}. which one?",
            "{statement}.\nthe same in a note:",
            "which note fits the fact? fact: {statement}.\n{options}",
            "what is a note for this fact? {statement}.",
            "read the fact. {statement}.\n{options}\nname the note that says the same.",
        ),
    )
)


def _restated(draw: Draw) -> dict[str, Any]:
    person, deed, thing = draw.one(PEOPLE), draw.one(DEEDS), draw.one(THINGS)
    return {"sentence": f"{person} {deed} the {thing}", "answer": f"the {thing} was {deed} by {person}"}


SAY_WITH_BY = register(
    TaskSpec(
        name="say_with_by",
        cluster="paraphrase",
        collection="mini_wide",
        source=source("say_with_by", _restated, 1),
        fields=as_slots,
        slots=("sentence", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "say this with the word by: {sentence}",
            "{sentence}.\nbegin with the thing and say it again:",
            "put the thing first. {sentence}.",
            "write the sentence anew, with the thing at the front: {sentence}",
            "tell what was done and by whom. {sentence}.",
            "sentence: {sentence}\nthe same with by:",
            "what was done by whom? {sentence}.",
            Template("{answer}.\nbegin with the person and say it again.", "{sentence}", inverted=True),
            "say it again with the thing first: {sentence}",
            "use the word by to say this: {sentence}.",
        ),
    )
)
