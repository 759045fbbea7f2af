"""A third task for clusters that have two in ``mini``: sentiment, word sense, facts, sums, translation, and others."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.mini.words import (
    BAD,
    CAPITALS,
    CATEGORIES,
    DAYS,
    GOOD,
    OPPOSITES,
    PEOPLE,
    PLACES,
    REVIEWED,
    THINGS,
    VELU_ADJECTIVES,
    VELU_NOUNS,
    VELU_VERBS,
)
from mixtures.mini.world import Draw, as_slots, source, templates

_STARS = ("five stars", "three stars", "one star")


def _rated(draw: Draw) -> dict[str, Any]:
    answer = draw.one(_STARS)
    kinds = {"five stars": (GOOD, GOOD), "one star": (BAD, BAD), "three stars": draw.shuffled((GOOD, BAD))}[answer]
    items = draw.some(REVIEWED, 2)
    sentences = [f"the {item} was {draw.one(words)}." for item, words in zip(items, kinds, strict=True)]
    return {"review": f"{draw.one(PEOPLE)} wrote: {' '.join(sentences)}", "answer": answer}


STARS = register(
    TaskSpec(
        name="stars",
        cluster="sentiment",
        collection="mini_wide",
        source=source("stars", _rated, 1),
        fields=as_slots,
        slots=("review", "answer"),
        options=_STARS,
        templates=templates(
            "{review}\nhow many stars is that?",
            "stars for this review: {review}",
            "{options}\nhow many stars does the guest give? {review}",
            "give stars to this. {review}",
            "count the good and the bad things. {review}\n{options}",
            "read the review and say how many stars it gives.\n{review}",
            "review: {review}\nstars:",
            "{review}\nthe guest gives it",
            "how many stars are right for this review? {review}",
            "{review}\n{options}\nname the stars.",
        ),
    )
)

_OPPOSITE_WORDS = tuple(word for pair in OPPOSITES for word in pair)


def _word_and_choices(record: Record) -> str:
    return f"{record['word']}: {sorted(record['choices'])}"


def _opposite(draw: Draw) -> dict[str, Any]:
    word, answer = draw.shuffled(draw.one(OPPOSITES))
    others = draw.some([other for other in _OPPOSITE_WORDS if other not in (word, answer)], 3)
    return {
        "subject": f"the {draw.one(THINGS)} of {draw.one(PEOPLE)}",
        "word": word,
        "answer": answer,
        "choices": draw.shuffled([answer, *others]),
    }


OPPOSITE_WORD = register(
    TaskSpec(
        name="opposite_word",
        cluster="word_sense",
        collection="mini_wide",
        source=source("opposite_word", _opposite, 1, key=_word_and_choices),
        fields=as_slots,
        slots=("subject", "word", "answer", "choices"),
        options="choices",
        templates=templates(
            "what is the opposite of {word}?",
            "word: {word}\nopposite:",
            "{subject} is {word}. what if it were not?",
            "{options}\nwhich of these is the opposite of {word}?",
            "{subject} was {word}, and now it is the opposite. what is it now?",
            "not {word} but",
            "find the word that means the opposite of {word}.\n{options}",
            "say the opposite: {word}",
            "name the opposite of {word}.",
            "{options}\nwhat is the opposite word for {word}?",
        ),
    )
)


def _country(draw: Draw) -> dict[str, Any]:
    country = draw.one(tuple(CAPITALS))
    others = draw.some([other for other in CAPITALS if other != country], 3)
    return {"city": CAPITALS[country], "answer": country, "choices": draw.shuffled([country, *others])}


CAPITAL_OF = register(
    TaskSpec(
        name="capital_of",
        cluster="closed_book_qa",
        collection="mini_wide",
        source=source("capital_of", _country, 1),
        fields=as_slots,
        slots=("city", "answer", "choices"),
        options="choices",
        templates=templates(
            "{city} is the capital of which country?",
            "capital: {city}\ncountry:",
            "which country has {city} for its capital?\n{options}",
            "{city} is the capital of",
            "i live in {city}, the capital. what is my country?",
            "{options}\nin which country is the city of {city}?",
            "name the country of the capital {city}.",
            "answer from memory. in which country is {city}?",
            "which country does the capital {city} belong to?",
            "{options}\nname the country that goes with {city}.",
        ),
    )
)


def _difference(draw: Draw) -> dict[str, Any]:
    a = draw.number(3, 24)
    b = draw.number(1, a - 1)
    return {"a": str(a), "b": str(b), "name": draw.one(PEOPLE), "things": f"{draw.one(THINGS)}s", "answer": str(a - b)}


def _numbers(record: Record) -> str:
    return f"{record['a']}-{record['b']}"


TAKE_AWAY = register(
    TaskSpec(
        name="take_away",
        cluster="arithmetic",
        collection="mini_wide",
        source=source("take_away", _difference, 1, group=_numbers),
        fields=as_slots,
        slots=("a", "b", "name", "things", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "what is {a} minus {b}?",
            "{a} - {b} =",
            "{name} has {a} {things} and gives away {b}. how many are left?",
            "take {b} from {a}.",
            "of {a} {things} {b} are lost. count what is left.",
            "{a} take away {b}:",
            "{name} had {a} {things}. {b} are gone. how many does {name} have now?",
            "work out {a} - {b} and write the number.",
            "there were {a} {things}, and {name} took {b}. how many are left?",
            "give the number: {a} minus {b}",
        ),
    )
)

_VELU = {**VELU_NOUNS, **VELU_VERBS, **VELU_ADJECTIVES}
# The kinds of a word's choices are alike, so that its place in a sentence does not decide.
_VELU_KINDS = (VELU_NOUNS, VELU_VERBS, VELU_ADJECTIVES)


def _velu_word(draw: Draw) -> dict[str, Any]:
    english = draw.one(tuple(_VELU))
    kind = next(words for words in _VELU_KINDS if english in words)
    others = draw.some([word for word in kind.values() if word != kind[english]], 3)
    return {
        "person": draw.one(PEOPLE),
        "english": english,
        "answer": kind[english],
        "choices": draw.shuffled([kind[english], *others]),
    }


VELU_WORD = register(
    TaskSpec(
        name="velu_word",
        cluster="translation",
        collection="mini_wide",
        source=source("velu_word", _velu_word, 1),
        fields=as_slots,
        slots=("person", "english", "answer", "choices"),
        options="choices",
        templates=templates(
            "{person} asks you for the velu word for {english}.",
            "{person} writes two words.\nenglish: {english}\nvelu:",
            "{person} speaks velu. what does {person} say for {english}?",
            "{options}\n{person} wants to say {english} in velu. which of these is right?",
            "one word in velu please. {person} needs it for {english}.",
            "translate the word {english} into velu for {person}.",
            "help {person} to say {english} in velu.\n{options}",
            Template("{person} says {answer}. what is the english word?", "{english}", inverted=True),
            "name the velu word for {english}. {person} asks.",
            "{options}\nhow does {person} say {english} in velu?",
        ),
    )
)


def _ends(draw: Draw) -> dict[str, Any]:
    words = draw.some(PEOPLE + PLACES + THINGS + tuple(CATEGORIES), draw.number(4, 6))
    return {"words": " ".join(words), "answer": f"{words[0]} {words[-1]}"}


FIRST_AND_LAST = register(
    TaskSpec(
        name="first_and_last",
        cluster="formatting",
        collection="mini_wide",
        source=source("first_and_last", _ends, 1),
        fields=as_slots,
        slots=("words", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "write the first and the last word: {words}",
            "{words}\nfirst and last:",
            "keep only the two words at the ends. {words}",
            "of these words, take the first one and the last one: {words}",
            "list: {words}\nwrite its first word and then its last.",
            "leave out all but the first and the last word. {words}",
            "which two words begin and end this list? {words}",
            "words: {words}\ntwo words, the first and the last:",
            "name the first word and the last one: {words}",
            "{words}\nwrite only the first and the last of these words.",
        ),
    )
)


def _speech(draw: Draw) -> dict[str, Any]:
    speaker, listener, stranger = draw.some(PEOPLE, 3)
    thing = draw.one(THINGS)
    word, answer = draw.one((("i have", speaker), ("you have", listener)))
    return {
        "text": f"{speaker} said to {listener}: {word} the {thing}.",
        "thing": thing,
        "answer": answer,
        "choices": draw.shuffled([speaker, listener, stranger]),
    }


WHO_HAS_IT = register(
    TaskSpec(
        name="who_has_it",
        cluster="coreference",
        collection="mini_wide",
        source=source("who_has_it", _speech, 1),
        fields=as_slots,
        slots=("text", "thing", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwho has the {thing}?",
            "{text} so the {thing} is with",
            "who of them has the {thing}?\n{options}\n{text}",
            "text: {text}\nperson with the {thing}:",
            "you are looking for the {thing}. {text} who do you ask?",
            "{options}\n{text}\nname the person with the {thing}.",
            "give me a name. {text} i need the {thing}.",
            "we heard this. {text} where is the {thing}, with whom?",
            "name the one who has the {thing}. {text}",
            "{text}\n{options}\nwhich person has the {thing}?",
        ),
    )
)


def _listed(draw: Draw) -> dict[str, Any]:
    kind = draw.one(tuple(CATEGORIES))
    words = draw.some(CATEGORIES[kind], 3)
    others = draw.some([other for other in CATEGORIES if other != kind], 3)
    return {"words": ", ".join(words), "answer": kind, "choices": draw.shuffled([kind, *others])}


LIST_TOPIC = register(
    TaskSpec(
        name="list_topic",
        cluster="topic",
        collection="mini_wide",
        source=source("list_topic", _listed, 1),
        fields=as_slots,
        slots=("words", "answer", "choices"),
        options="choices",
        templates=templates(
            "{words}\nwhat kind of thing are all of these?",
            "which group do these words belong to? {words}\n{options}",
            "list: {words}\nall of them are of the kind",
            "{options}\nfind the group for this list: {words}",
            "someone made a list: {words}. what kind of thing is in it?",
            "{words} are all of the kind",
            "put these into one group: {words}",
            "{words}\n{options}\nwhich word fits all of these?",
            "tell me what kind of thing goes into this list: {words}",
            "choose the right group for these words: {words}",
        ),
    )
)

_SENTENCES = (
    "on {day} {person} came to the {place} with a {thing}.",
    "we saw {person} with a {thing} in the {place}.",
    "in the {place} {person} gave us a {thing} on {day}.",
)


def _found_thing(draw: Draw) -> dict[str, Any]:
    person, place, thing, day = draw.one(PEOPLE), draw.one(PLACES), draw.one(THINGS), draw.one(DAYS)
    sentence = draw.one(_SENTENCES).format(person=person, place=place, thing=thing, day=day)
    absent = draw.one([other for other in THINGS if other != thing])
    return {"sentence": sentence, "answer": thing, "choices": draw.shuffled([thing, absent, person, place])}


FIND_THING = register(
    TaskSpec(
        name="find_thing",
        cluster="entity_recognition",
        collection="mini_wide",
        source=source("find_thing", _found_thing, 1),
        fields=as_slots,
        slots=("sentence", "answer", "choices"),
        options="choices",
        templates=templates(
            "{sentence}\nwhich thing does the sentence name?",
            "find the thing in this sentence: {sentence}",
            "{options}\nwhich of these is a thing in the text? {sentence}",
            "text: {sentence}\nthing:",
            "look for something that you can put into a bag. {sentence}",
            "{sentence}\n{options}\nwhat thing was there?",
            "name the thing: {sentence}",
            "is there a thing in this? {sentence} which one?",
            "read the sentence and find the thing. {sentence}",
            "{sentence}\nwhich thing was it?",
        ),
    )
)
