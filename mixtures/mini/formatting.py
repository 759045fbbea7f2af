"""Formatting: copying words as they are, turned around, or one by its place.

These tasks are the densest training of copying, which reading and coreference build on; so
their words are those of the whole world.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import CATEGORIES, COLORS, PEOPLE, PLACES, SETTINGS, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_WORDS = (
    PEOPLE
    + PLACES
    + THINGS
    + COLORS
    + tuple(word for group in (CATEGORIES, SETTINGS) for words in group.values() for word in words)
    + tuple(CATEGORIES)
    + tuple(SETTINGS)
)


def _reversed(draw: Draw) -> dict[str, Any]:
    words = draw.some(_WORDS, draw.number(3, 4))
    return {"words": " ".join(words), "answer": " ".join(reversed(words))}


REVERSE_WORDS = register(
    TaskSpec(
        name="reverse_words",
        cluster="formatting",
        collection="mini",
        source=source("reverse_words", _reversed, 2),
        fields=as_slots,
        slots=("words", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "write these words in reverse order: {words}",
            "{words}\n\nfrom the last to the first:",
            "reverse the list.\n{words}",
            "words: {words}\nreverse:",
            "turn the order around: {words}",
            "begin with the last word and end with the first. {words}",
            "read this from right to left: {words}",
            "how does this list look in reverse? {words}",
            "please reverse the order of these words.\n\n{words}",
            "list: {words}\nwrite the list from the last word to the first.",
        ),
    )
)


def _copied(draw: Draw) -> dict[str, Any]:
    words = " ".join(draw.some(_WORDS, draw.number(2, 5)))
    return {"words": words, "answer": words}


# The input holds the answer in plain sight: that is the task. {words} and {answer} are two slots
# because a template may not show the answer slot itself.
COPY_WORDS = register(
    TaskSpec(
        name="copy_words",
        cluster="formatting",
        collection="mini",
        source=source("copy_words", _copied, 2),
        fields=as_slots,
        slots=("words", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "repeat these words: {words}",
            "{words}\n\ncopy the line above.",
            "say this again: {words}",
            "words: {words}\ncopy:",
            "write the same words once more. {words}",
            "do not change the words, only copy. {words}",
            "be my echo: {words}",
            "what did i say? i said this: {words}",
            "please copy these words.\n\n{words}",
            "list: {words}\nrepeat the list.",
        ),
    )
)

_ORDINALS = {"first": 0, "second": 1, "third": 2, "last": -1}


def _picked(draw: Draw) -> dict[str, Any]:
    words = draw.some(_WORDS, draw.number(4, 5))
    which = draw.one(tuple(_ORDINALS))
    return {"words": " ".join(words), "which": which, "answer": words[_ORDINALS[which]]}


PICK_WORD = register(
    TaskSpec(
        name="pick_word",
        cluster="formatting",
        collection="mini",
        source=source("pick_word", _picked, 2),
        fields=as_slots,
        slots=("words", "which", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "what is the {which} word? {words}",
            "{words}\n\n{which} word:",
            "take the {which} word of this list: {words}",
            "list: {words}\nwhich word is {which}?",
            "give me only the {which} word.\n{words}",
            "look at these words: {words}\nwhich word comes {which}?",
            "copy just the {which} one: {words}",
            "i want the {which} of these words. {words}",
            "please write only the {which} word of the list.\n\n{words}",
            "words: {words}\nname the {which} one.",
        ),
    )
)
