"""Structure and text: a sentence from a list of facts, and a fact from a sentence."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import CITIES, HOBBIES, JOBS, PEOPLE
from mixtures.mini.world import Draw, as_slots, source, templates


def _person(draw: Draw) -> dict[str, str]:
    return {"name": draw.one(PEOPLE), "job": draw.one(JOBS), "city": draw.one(CITIES), "hobby": draw.one(HOBBIES)}


def _facts(person: dict[str, str], fields: list[str]) -> str:
    return "; ".join(f"{field}: {person[field]}" for field in fields)


def _facts_to_sentence(draw: Draw) -> dict[str, Any]:
    person = _person(draw)
    # The order of the facts is shuffled, so that a value is placed by its field.
    return {
        "facts": _facts(person, draw.shuffled(tuple(person))),
        "ordered_facts": _facts(person, list(person)),
        "answer": "{name} is a {job} from {city} who likes {hobby}.".format(**person),
    }


# One sentence for one person: people who differ only in the order of their facts stay in one split.
FACTS_TO_SENTENCE = register(
    TaskSpec(
        name="facts_to_sentence",
        cluster="struct_to_text",
        collection="mini",
        source=source("facts_to_sentence", _facts_to_sentence, 2, key=lambda record: str(record["answer"])),
        fields=as_slots,
        slots=("facts", "ordered_facts", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "{facts}\n\nwrite this as a sentence.",
            "facts: {facts}\nsentence:",
            "turn these facts into one sentence: {facts}",
            "tell us about this person. {facts}",
            "{facts}\nsay it in plain words.",
            "make a sentence from the list.\n{facts}",
            "who is this? put it into words: {facts}",
            Template("list the facts of this sentence: {answer}", "{ordered_facts}", inverted=True),
            "write one sentence from these facts.\n\n{facts}",
            "here is a list about a person: {facts}. say it in one sentence.",
        ),
    )
)

_SENTENCES = (
    "{name} is a {job} from {city} who likes {hobby}.",
    "{name}, a {job} from {city}, likes {hobby}.",
    "in {city} lives {name}, a {job} who likes {hobby}.",
    "{hobby} is what {name}, a {job} from {city}, likes most.",
)


def _sentence_to_field(draw: Draw) -> dict[str, Any]:
    person = _person(draw)
    field = draw.one(tuple(person))
    return {"sentence": draw.one(_SENTENCES).format(**person), "field": field, "answer": person[field]}


SENTENCE_TO_FIELD = register(
    TaskSpec(
        name="sentence_to_field",
        cluster="struct_to_text",
        collection="mini",
        source=source("sentence_to_field", _sentence_to_field, 2),
        fields=as_slots,
        slots=("sentence", "field", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "{sentence}\n\n{field}:",
            "find the {field} in this sentence: {sentence}",
            "what is the {field} of this person? {sentence}",
            "{sentence}\nfill in the form.\n{field}:",
            "field: {field}\ntext: {sentence}\nvalue:",
            "copy the {field} from the sentence.\n{sentence}",
            "i only need the {field}. {sentence}",
            "which {field} does the text give? {sentence}",
            "take the {field} from this text: {sentence}",
            "text: {sentence}\nwhat {field} does it name?",
        ),
    )
)
