"""Entity recognition (held out): the person or the place that a sentence names.

Neither is trained. Reading questions teach that "who" wants a person and "where" a place
among choices of several kinds, and that the answer stands in the text; the form and
sentence tasks teach to take one named value out of a sentence. Here the sentences and the
instructions are new. Of the four choices, one is the answer, one is of the right kind but not
in the sentence, two are in the sentence but of another kind.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import DAYS, PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_SENTENCES = (
    "on {day} {person} came to the {place} with a {thing}.",
    "we saw {person} with a {thing} in the {place}.",
    "in the {place} {person} gave us a {thing}.",
    "a {thing} was in the {place}, and {person} wanted it.",
    "{person} found a {thing} in the {place} on {day}.",
)


def _entities(draw: Draw) -> tuple[str, dict[str, str]]:
    words = {
        "person": draw.one(PEOPLE),
        "thing": draw.one(THINGS),
        "place": draw.one(PLACES),
        "day": draw.one(DAYS),
    }
    return draw.one(_SENTENCES).format(**words), words


def _find_person(draw: Draw) -> dict[str, Any]:
    sentence, words = _entities(draw)
    person = words["person"]
    absent = draw.one([other for other in PEOPLE if other != person])
    choices = draw.shuffled([person, absent, words["thing"], words["place"]])
    return {"sentence": sentence, "answer": person, "choices": choices}


def _find_place(draw: Draw) -> dict[str, Any]:
    sentence, words = _entities(draw)
    place = words["place"]
    absent = draw.one([other for other in PLACES if other != place])
    choices = draw.shuffled([place, absent, words["thing"], words["person"]])
    return {"sentence": sentence, "answer": place, "choices": choices}


FIND_PERSON = register(
    TaskSpec(
        name="find_person",
        cluster="entity_recognition",
        collection="mini",
        source=source("find_person", _find_person, 3),
        fields=as_slots,
        slots=("sentence", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}\n\nwhich person is in this sentence?",
            "find the name of the person: {sentence}",
            "text: {sentence}\nwho:",
            "who is the sentence about? {sentence}",
            "{options}\nwhich one is a person in the text? {sentence}",
            "{sentence}\nname the person here.",
            "take the name from the text.\n{sentence}\n{options}",
            "there is one person in this line. who is it? {sentence}",
            "look for a person in these words.\n{sentence}",
            "someone says this: {sentence}\nwho is it about?",
        ),
    )
)

FIND_PLACE = register(
    TaskSpec(
        name="find_place",
        cluster="entity_recognition",
        collection="mini",
        source=source("find_place", _find_place, 3),
        fields=as_slots,
        slots=("sentence", "answer", "choices"),
        options="choices",
        templates=templates(
            "where was this? {sentence}",
            "{sentence}\n\nname the place in this sentence.",
            "sentence: {sentence}\nwhere:",
            "which place does the text name?\n{options}\n{sentence}",
            "read this and tell me where they are. {sentence}",
            "{sentence}\nin what place are these people?",
            "find the word for a place: {sentence}",
            "one word in this line is a place.\n{options}\n{sentence}\nwhich one?",
            "copy the place from the text. {sentence}",
            "i want to know only the place. {sentence}",
        ),
    )
)
