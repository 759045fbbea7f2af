"""Acceptability: what is said as this world's language says it."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import CATEGORIES, PEOPLE, PLACES, SETTINGS, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article
from mixtures.mini_wide.words import DEEDS

_NOUNS = tuple(word for words in (*CATEGORIES.values(), *SETTINGS.values()) for word in words)


def _swapped(words: list[str], place: int) -> str:
    """The words with those at ``place`` and behind it in each other's place."""
    changed = [*words]
    changed[place], changed[place + 1] = changed[place + 1], changed[place]
    return " ".join(changed)


def _order(draw: Draw) -> dict[str, Any]:
    words = f"{draw.one(PEOPLE)} {draw.one(DEEDS)} the {draw.one(THINGS)} in the {draw.one(PLACES)}".split()
    right = " ".join(words)
    wrong = [_swapped(words, place) for place in draw.some(range(1, len(words) - 1), 2)]
    return {"answer": right, "mixed": wrong[0], "choices": draw.shuffled([right, *wrong])}


RIGHT_ORDER = register(
    TaskSpec(
        name="right_order",
        cluster="acceptability",
        collection="mini_wide",
        source=source("right_order", _order, 1),
        fields=as_slots,
        slots=("answer", "mixed", "choices"),
        options="choices",
        templates=templates(
            "{options}\nwhich sentence is said well?",
            "someone mixed up the words: {mixed}. put them right.",
            "only one of these is a good sentence.\n{options}\nwhich one?",
            "the teacher reads three sentences.\n{options}\nname the right one.",
            "{mixed}: that is not the right order of words. which one is?",
            "not this one: {mixed}. find the sentence that is right.",
            "this is wrong: {mixed}. write it well.",
            Template("mix up two words of this: {answer}", "{mixed}", inverted=True),
            "name the sentence with the right order.\n{options}",
            "{options}\none sentence is good, two are wrong. write the good one.",
        ),
    )
)


def _article(draw: Draw) -> dict[str, Any]:
    noun = draw.one(_NOUNS)
    person, deed, place = draw.one(PEOPLE), draw.one(DEEDS), draw.one(PLACES)
    # Nouns that begin with a vowel are few: half of the records are theirs.
    vowels = draw.chance(0.5)
    while (noun[0] in "aeiou") != vowels:
        noun = draw.one(_NOUNS)
    article = with_article(noun).split()[0]
    return {"start": f"in the {place} {person} {deed}", "noun": noun, "answer": article}


ARTICLE = register(
    TaskSpec(
        name="article",
        cluster="acceptability",
        collection="mini_wide",
        source=source("article", _article, 1),
        fields=as_slots,
        slots=("start", "noun", "answer"),
        options=("a", "an"),
        templates=templates(
            "{start} _ {noun}. which word is missing?",
            "{start} this: {noun}. which word goes before it?\n{options}",
            "fill in the little word: {start} _ {noun}.",
            "{options}\n{start} _ {noun}.\nwhich one is right?",
            "what do we say before the last word? {start} _ {noun}",
            "{start} what? word: {noun}\nthe word before it:",
            "complete the sentence with one word. {start} _ {noun}.",
            "{start} something: {noun}. the teacher asks what stands before that word.\n{options}",
            "name the word that is missing. {start} _ {noun}.",
            "{start} _ {noun}.\n{options}\nfill in the right word.",
        ),
    )
)

# A sentence with one small word left out, and that word.
_GAPS = (
    ("{person} _ the {thing} in the {place}", "has"),
    ("the {thing} of {person} _ in the {place}", "was"),
    ("{person} came to the {place} _ the {thing}", "with"),
    ("the {thing} was {deed} _ {person}", "by"),
)


def _gap(draw: Draw) -> dict[str, Any]:
    pattern, missing = draw.one(_GAPS)
    sentence = pattern.format(
        person=draw.one(PEOPLE), deed=draw.one(DEEDS), thing=draw.one(THINGS), place=draw.one(PLACES)
    )
    return {
        "sentence": sentence,
        "whole": sentence.replace("_", missing),
        "answer": missing,
        "choices": draw.shuffled([word for _, word in _GAPS]),
    }


MISSING_WORD = register(
    TaskSpec(
        name="missing_word",
        cluster="acceptability",
        collection="mini_wide",
        source=source("missing_word", _gap, 1),
        fields=as_slots,
        slots=("sentence", "whole", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}.\nwhich small word is missing?",
            "fill in the word: {sentence}",
            "{options}\nwhich of these fits here? {sentence}.",
            "one word is gone. {sentence}. say the word.",
            "a word fell out of this sentence: {sentence}\n{options}",
            "sentence: {sentence}\nmissing:",
            "write the one word that completes this: {sentence}",
            Template("leave out the word {answer}: {whole}", "{sentence}", inverted=True),
            "name the word that is missing here: {sentence}",
            "{sentence}.\n{options}\nfill in the word that fits.",
        ),
    )
)
