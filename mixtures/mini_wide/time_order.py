"""Order in time: where somebody was first, which day it is, who came last."""

import itertools
from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import DAYS, PEOPLE, PLACES
from mixtures.mini.world import Draw, as_slots, source, templates


def _visits(draw: Draw) -> dict[str, Any]:
    person, places = draw.one(PEOPLE), draw.some(PLACES, 3)
    asked, answer = draw.one(tuple(zip(("first", "second", "last"), places, strict=True)))
    return {
        "text": f"first {person} went to the {places[0]}, then to the {places[1]} and last to the {places[2]}.",
        "person": person,
        "asked": asked,
        "answer": answer,
        "choices": draw.shuffled(places),
    }


WHERE_FIRST = register(
    TaskSpec(
        name="where_first",
        cluster="time_order",
        collection="mini_wide",
        source=source("where_first", _visits, 1),
        fields=as_slots,
        slots=("text", "person", "asked", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwhere was {person} {asked}?",
            "{text} the {asked} place was the",
            "where did {person} go {asked}?\n{options}\n{text}",
            "text: {text}\n{asked} place:",
            "find the {asked} place in this story: {text}",
            "{options}\nto which of these did {person} go {asked}? {text}",
            "a friend asks you for the {asked} place. {text}",
            "{text}\nname the place where {person} was {asked}.",
            "name the {asked} place. {text}",
            "{text}\n{options}\nwhich place was {asked}?",
        ),
    )
)


def _days(draw: Draw) -> dict[str, Any]:
    person, other = draw.some(PEOPLE, 2)
    today = draw.below(len(DAYS))
    word, step = draw.one((("after", 1), ("before", -1)))
    answer = DAYS[(today + step) % len(DAYS)]
    others = draw.some([day for day in DAYS if day != answer], 3)
    return {
        "text": f"{person} comes on {DAYS[today]}. {other} comes the day {word}.",
        "person": other,
        "answer": answer,
        "choices": draw.shuffled([answer, *others]),
    }


DAY_OF_VISIT = register(
    TaskSpec(
        name="day_of_visit",
        cluster="time_order",
        collection="mini_wide",
        source=source("day_of_visit", _days, 1),
        fields=as_slots,
        slots=("text", "person", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\non which day does {person} come?",
            "{text} {person} comes on",
            "which day is it when {person} comes?\n{options}\n{text}",
            "text: {text}\nday of {person}:",
            "tell me the day when we will see {person}. {text}",
            "{options}\non which of these days is {person} here? {text}",
            "find the day. {text} when does {person} come?",
            "{text}\nname the day when {person} comes.",
            "name the day of {person}. {text}",
            "{text}\n{options}\nwhich day is right for {person}?",
        ),
    )
)


def _arrivals(draw: Draw) -> dict[str, Any]:
    people = draw.some(PEOPLE, 3)
    word, order = draw.one((("before", people), ("after", people[::-1])))
    pairs = itertools.pairwise(order)
    sentences = draw.shuffled([f"{one} came {word} {other}." for one, other in pairs])
    asked, answer = draw.one((("first", people[0]), ("last", people[2])))
    return {"text": " ".join(sentences), "asked": asked, "answer": answer, "choices": draw.shuffled(people)}


WHO_CAME_FIRST = register(
    TaskSpec(
        name="who_came_first",
        cluster="time_order",
        collection="mini_wide",
        source=source("who_came_first", _arrivals, 1),
        fields=as_slots,
        slots=("text", "asked", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwho came {asked}?",
            "{text} the person who came {asked} is",
            "which person came {asked}?\n{options}\n{text}",
            "text: {text}\n{asked} person:",
            "three friends came to the party. {text}\nname the one who came {asked}.",
            "{options}\nwho of them came {asked}? {text}",
            "i want to know who came {asked}. {text}",
            "look for the one that came {asked}: {text}",
            "name the person who came {asked}. {text}",
            "{text}\n{options}\nwhich of them came {asked}?",
        ),
    )
)
