"""Entailment: which of three statements follows from a sentence.

What follows rests on what words mean: kinds (who saw a spade saw a tool) and opposites (what is
wet is not dry). Judging one claim with yes and no asks a network to compare two things it has
looked up; at this size and training that stays at chance, so the world does not ask for it.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import CATEGORIES, OPPOSITES, PEOPLE, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article

_KINDS = tuple(CATEGORIES)
_DEEDS = ("drew", "found", "saw", "wanted")


def _kind(draw: Draw) -> dict[str, Any]:
    person, deed = draw.one(PEOPLE), draw.one(_DEEDS)
    kinds = draw.some(_KINDS, 3)
    word = draw.one(CATEGORIES[kinds[0]])
    statements = [f"{person} {deed} a kind of {kind}" for kind in kinds]
    return {
        "sentence": f"{person} {deed} {with_article(word)}.",
        "word": word,
        "kind": kinds[0],
        "answer": statements[0],
        "choices": draw.shuffled(statements),
    }


KIND_ENTAILS = register(
    TaskSpec(
        name="kind_entails",
        cluster="entailment",
        collection="mini",
        source=source("kind_entails", _kind, 2),
        fields=as_slots,
        slots=("sentence", "word", "kind", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}\n\nwhich statement follows?",
            "text: {sentence}\nit follows that",
            "{sentence} what can we say then?",
            "we know this: {sentence}\n{options}\nwhich of these must be so?",
            "what follows from this text?\ntext: {sentence}",
            "{options}\nonly one of these follows from what we know: {sentence}",
            "if this is true, what else is true? {sentence}",
            Template("{sentence}\nwhat kind of thing was the {word}?", "{kind}", inverted=True),
            "{sentence}\nname the statement that follows.",
            "text: {sentence}\n{options}\nwhich one does the text tell us?",
        ),
    )
)


def _opposite(draw: Draw) -> dict[str, Any]:
    subject = f"the {draw.one(THINGS)} of {draw.one(PEOPLE)}"
    (one, opposite), (foreign, _) = (draw.shuffled(pair) for pair in draw.some(OPPOSITES, 2))
    statements = [f"it is not {word}" for word in (opposite, one, foreign)]
    return {
        "fact": f"{subject} is {one}",
        "same": f"{subject} is not {opposite}",
        "answer": statements[0],
        "choices": draw.shuffled(statements),
    }


OPPOSITE_ENTAILS = register(
    TaskSpec(
        name="opposite_entails",
        cluster="entailment",
        collection="mini",
        source=source("opposite_entails", _opposite, 1),
        fields=as_slots,
        slots=("fact", "same", "answer", "choices"),
        options="choices",
        templates=templates(
            "{fact}.\n\nwhat is sure?",
            "fact: {fact}.\nso we know:",
            "what must be true if {fact}?",
            "{fact}.\n{options}\nwhich of these must be so?",
            "what follows from this fact? {fact}.",
            "you only know this: {fact}.\nsay what it is not.",
            "a friend says that {fact}.\n{options}\nwhat do you know then?",
            Template("say it with the word not.\n{fact}.", "{same}", inverted=True),
            "use the fact to find what is sure.\n\nfact: {fact}.",
            "{options}\nwhich one does this fact tell us? {fact}.",
        ),
    )
)
