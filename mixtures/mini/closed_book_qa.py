"""Closed-book questions: what the prompt does not say must be remembered from training.

Both spaces are closed: every fact is learnt, a record of the test split is an unseen pair of
a fact and a set of choices.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Record, TaskSpec
from mixtures.mini.words import CAPITALS, CITIES, COLORS, CREATURES, FOODS, HOMES, SETTINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article

# What is asked → how, and what the answers are.
_ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "colour": (("what colour is {subject}?", "which colour does {subject} have?"), COLORS),
    "home": (("where does {subject} live?", "in what place does {subject} sleep?"), HOMES),
    "food": (("what does {subject} eat?", "which food does {subject} like?"), FOODS),
    "capital": (("what is the capital of {subject}?", "which city is the capital of {subject}?"), CITIES),
}


def _fact(draw: Draw) -> dict[str, Any]:
    if draw.chance(0.25):
        attribute, subject = "capital", draw.one(tuple(CAPITALS))
        answer = CAPITALS[subject]
    else:
        column = draw.below(3)
        creature = draw.one(tuple(CREATURES))
        attribute, subject = ("colour", "home", "food")[column], with_article(creature)
        answer = CREATURES[creature][column]
    questions, answers = _ASKED[attribute]
    others = draw.some([other for other in answers if other != answer], 3)
    return {
        "question": draw.one(questions).format(subject=subject),
        "subject": subject,
        "attribute": attribute,
        "answer": answer,
        "choices": draw.shuffled([answer, *others]),
    }


def _fact_and_choices(record: Record) -> str:
    return f"{record['attribute']} of {record['subject']}: {sorted(record['choices'])}"


WORLD_FACTS = register(
    TaskSpec(
        name="world_facts",
        cluster="closed_book_qa",
        collection="mini",
        source=source("world_facts", _fact, 2, key=_fact_and_choices),
        fields=as_slots,
        slots=("question", "subject", "attribute", "answer", "choices"),
        options="choices",
        templates=templates(
            "{question}",
            "question: {question}\nanswer:",
            "tell me the {attribute} of {subject}.",
            "{options}\n{question}",
            "answer from memory. {question}",
            "fill in one word. {attribute} of {subject}:",
            "you know the world well. {question}\n{options}",
            "{subject}: name the {attribute}.",
            "please answer this question about the world. {question}",
            "what is the {attribute} of {subject}?\n{options}\nanswer from memory.",
        ),
    )
)

_PLACES = tuple(SETTINGS)


def _usual(draw: Draw) -> dict[str, Any]:
    place = draw.one(_PLACES)
    thing = draw.one(SETTINGS[place])
    others = draw.some([other for other in _PLACES if other != place], 3)
    return {"thing": with_article(thing), "answer": place, "choices": draw.shuffled([place, *others])}


USUAL_PLACE = register(
    TaskSpec(
        name="usual_place",
        cluster="closed_book_qa",
        collection="mini",
        source=source("usual_place", _usual, 2),
        fields=as_slots,
        slots=("thing", "answer", "choices"),
        options="choices",
        templates=templates(
            "where would you usually find {thing}?",
            "{thing}: name the usual place.",
            "in which place do people expect {thing}?",
            "think of {thing}.\n{options}\nwhere are you?",
            "a place where you can see {thing}:",
            "i am looking for {thing}. where should i go?",
            "complete the sentence. you will see {thing} at the",
            "{options}\nwhich place goes with {thing}?",
            "where do people usually see {thing}?",
            "name the place that goes with {thing}.",
        ),
    )
)
