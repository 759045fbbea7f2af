"""Reading questions: the answer stands in the story and is found by matching.

Every sentence of a story has a person, a thing and a place. The choices are all of the
story's words of the right kind and one of another kind, so neither the kind nor the
presence of a word is enough.

Short answers alone teach a small model to guess among the story's places, and it stays
there. ``story_note`` and ``story_table`` say what is asked about right before they answer it,
which makes the matching one step (after "ball" comes what stood with "ball") and teaches it on
several words an example; the short answers build on that.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_VERBS = ("left", "put", "hid", "dropped", "kept", "forgot")


def _scene(draw: Draw) -> tuple[list[str], list[str], list[str], list[str]]:
    """People, verbs, things and places, one of each a sentence."""
    count = draw.number(2, 3)
    verbs = [draw.one(_VERBS) for _ in range(count)]
    return draw.some(PEOPLE, count), verbs, draw.some(THINGS, count), draw.some(PLACES, count)


def _tell(people: list[str], verbs: list[str], things: list[str], places: list[str]) -> str:
    rows = zip(people, verbs, things, places, strict=True)
    return " ".join(f"{person} {verb} the {thing} in the {place}." for person, verb, thing, place in rows)


def _who(draw: Draw) -> dict[str, Any]:
    people, verbs, things, places = _scene(draw)
    asked = draw.below(len(people))
    stray = draw.one(things + places)
    return {
        "story": _tell(people, verbs, things, places),
        "question": f"who {verbs[asked]} the {things[asked]}?",
        "answer": people[asked],
        "choices": draw.shuffled([*people, stray]),
    }


WHO_DID_IT = register(
    TaskSpec(
        name="who_did_it",
        cluster="reading_qa",
        collection="mini",
        source=source("who_did_it", _who, 2),
        fields=as_slots,
        slots=("story", "question", "answer", "choices"),
        options="choices",
        templates=templates(
            "{story}\n\n{question}",
            "read the story and answer.\nstory: {story}\nquestion: {question}",
            "{question}\n{options}\n{story}",
            "story: {story}\n{question}\nperson:",
            "here is what happened. {story}\n{question}",
            "{story}\n{options}\nnow tell me, {question}",
            "look for the name in the text. {question}\ntext: {story}",
            Template("{story}\nthe answer is {answer}. ask the question.", "{question}", inverted=True),
            "answer the question about this text.\n\n{story}\n\n{question}",
            "question: {question}\n{options}\nlook for the name in this story: {story}",
        ),
    )
)


def _where(draw: Draw) -> dict[str, Any]:
    people, verbs, things, places = _scene(draw)
    asked = draw.below(len(people))
    question = f"where was {people[asked]}?" if draw.chance(0.3) else f"where is the {things[asked]}?"
    stray = draw.one(people + things)
    return {
        "story": _tell(people, verbs, things, places),
        "question": question,
        "answer": places[asked],
        "choices": draw.shuffled([*places, stray]),
    }


WHERE_IS_IT = register(
    TaskSpec(
        name="where_is_it",
        cluster="reading_qa",
        collection="mini",
        source=source("where_is_it", _where, 2),
        fields=as_slots,
        slots=("story", "question", "answer", "choices"),
        options="choices",
        templates=templates(
            "{story}\n\nso, {question}",
            "text: {story}\nquestion: {question}\nplace:",
            "answer with a place. {question}\n{story}",
            "i want to know this: {question}\n{story}",
            "{story}\nhelp me to remember: {question}",
            "{question}\n{options}\nthe story says it: {story}",
            "find the place in the story.\n{story}\n{question}",
            "someone asks you, {question}\nyou know this: {story}\n{options}",
            "read this text and find the place. {story}\n{question}",
            "{question}\nhere is the story: {story}\n{options}",
        ),
    )
)


def _note(draw: Draw) -> dict[str, Any]:
    people, verbs, things, places = _scene(draw)
    asked = draw.below(len(people))
    thing = things[asked]
    column, value = draw.one((("place", places[asked]), ("person", people[asked])))
    return {
        "story": _tell(people, verbs, things, places),
        "thing": thing,
        "column": column,
        "answer": f"{thing} {value}",
    }


STORY_NOTE = register(
    TaskSpec(
        name="story_note",
        cluster="reading_qa",
        collection="mini",
        source=source("story_note", _note, 1),
        fields=as_slots,
        slots=("story", "thing", "column", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "{story}\n\nnote the {thing} and its {column}.",
            "story: {story}\nwrite down the {thing} with its {column}:",
            "make a short note of the {thing} and the {column}.\n{story}",
            "note two words, the {thing} and the {column} that goes with it. {story}",
            "a friend did not hear the story. {story}\nleave a note with the {thing} and its {column}.",
            "i need a note about the {thing}. name it, then the {column}. the story was this: {story}",
            "{story}\nnow write the {thing} and then the {column}.",
            "first read this. {story}\nthen put down the {thing} and its {column}.",
            "read the story and make a note: the {thing}, then its {column}.\n{story}",
            "{story}\nput the {thing} and its {column} into a note.",
        ),
    )
)


def _table(draw: Draw) -> dict[str, Any]:
    people, verbs, things, places = _scene(draw)
    column, values = draw.one((("place", places), ("person", people)))
    rows = draw.shuffled(list(zip(things, values, strict=True)))
    return {
        "story": _tell(people, verbs, things, places),
        "column": column,
        "things": ", ".join(thing for thing, _ in rows),
        "answer": ", ".join(f"{thing} {value}" for thing, value in rows),
    }


STORY_TABLE = register(
    TaskSpec(
        name="story_table",
        cluster="reading_qa",
        collection="mini",
        source=source("story_table", _table, 2),
        fields=as_slots,
        slots=("story", "column", "things", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "{story}\n\nlist the {column} for each thing: {things}",
            "story: {story}\nwrite the {column} behind each of these: {things}",
            "make a table of thing and {column} for {things}.\n{story}",
            "things: {things}\nwhich {column} goes with each? {story}",
            "{story}\nput {things} into a list and name the {column} of each.",
            "fill in the table. things: {things}. column: {column}.\n{story}",
            "for {things}, find the {column} in this story: {story}",
            "text: {story}\ni need a list of {things}, each with its {column}.",
            "read the story and list the {column} of each thing.\n{story}\nthings: {things}",
            "{story}\nname the {column} for each of these: {things}",
        ),
    )
)
