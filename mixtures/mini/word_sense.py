"""Word sense: what kind of thing a word names, and which word is of another kind."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.mini.words import CATEGORIES
from mixtures.mini.world import Draw, as_slots, source, templates, with_article

_KINDS = tuple(CATEGORIES)


def _category(draw: Draw) -> dict[str, Any]:
    kind = draw.one(_KINDS)
    word = draw.one(CATEGORIES[kind])
    others = draw.some([other for other in _KINDS if other != kind], 3)
    return {"word": word, "a_word": with_article(word), "answer": kind, "choices": draw.shuffled([kind, *others])}


# A closed space: every word is learnt, a record of the test split is an unseen pair of a word
# and a set of choices.
WORD_CATEGORY = register(
    TaskSpec(
        name="word_category",
        cluster="word_sense",
        collection="mini",
        source=source("word_category", _category, 2),
        fields=as_slots,
        slots=("word", "a_word", "answer", "choices"),
        options="choices",
        templates=templates(
            "what kind of thing is {a_word}?",
            "word: {word}\nkind:",
            "{a_word} is a kind of",
            "to which group of things does {a_word} belong?\n{options}",
            "someone wrote only the word {word}. what did they write about?",
            "{options}\nput {a_word} into the right group.",
            "name the group that fits this word: {word}",
            "yesterday i read about {a_word}. what was the text about?",
            "tell me what kind of thing {a_word} is.",
            "{options}\nin which group would you put the word {word}?",
        ),
    )
)


def _odd(draw: Draw) -> dict[str, Any]:
    kind, stranger = draw.some(_KINDS, 2)
    odd = draw.one(CATEGORIES[stranger])
    words = draw.shuffled([odd, *draw.some(CATEGORIES[kind], 3)])
    kinds = "; ".join(f"{word}: {stranger if word == odd else kind}" for word in words)
    return {"words": ", ".join(words), "kinds": kinds, "answer": odd, "choices": words}


def _same_words(record: Record) -> str:
    return ",".join(sorted(record["choices"]))


ODD_ONE_OUT = register(
    TaskSpec(
        name="odd_one_out",
        cluster="word_sense",
        collection="mini",
        source=source("odd_one_out", _odd, 3, key=_same_words),
        fields=as_slots,
        slots=("words", "kinds", "answer", "choices"),
        options="choices",
        templates=templates(
            "which word does not belong with the others? {words}",
            "find the odd one out: {words}",
            "{words}\n\nthree of these words go together. which one does not?",
            "words: {words}\nodd one out:",
            "one of these is not like the others: {words}.\n{options}\nwhich one is it?",
            "look at this list: {words}.\n{options}\none word is of another kind. find it.",
            "three friends and one stranger: {words}. who is the stranger?",
            Template("name the kind of each of these words: {words}", "{kinds}", inverted=True),
            "read these words: {words}. name the one that is of another kind.",
            "which one of these words is odd?\n\n{words}",
        ),
    )
)
