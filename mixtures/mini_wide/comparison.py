"""Comparison: who or what is ahead of all others, by words or by numbers."""

import itertools
from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.mini.words import PEOPLE, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

# What is compared: the comparative, and the two ends of the order.
_SCALES = (("taller", "tallest", "shortest"), ("older", "oldest", "youngest"), ("faster", "fastest", "slowest"))


def _ranked(draw: Draw) -> dict[str, Any]:
    people = draw.some(PEOPLE, 3)
    more, most, least = draw.one(_SCALES)
    sentences = draw.shuffled([f"{one} is {more} than {other}." for one, other in itertools.pairwise(people)])
    asked, answer = draw.one(((most, people[0]), (least, people[2])))
    return {"text": " ".join(sentences), "asked": asked, "answer": answer, "choices": draw.shuffled(people)}


TALLEST = register(
    TaskSpec(
        name="tallest",
        cluster="comparison",
        collection="mini_wide",
        source=source("tallest", _ranked, 1),
        fields=as_slots,
        slots=("text", "asked", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwho is the {asked}?",
            "three friends: {text}\n{asked}:",
            "{text}\n{options}\nwhich person is the {asked} of the three?",
            "who is the {asked} person here? {text}",
            "read the text and find the {asked} one. {text}",
            "{options}\nname the {asked}. text: {text}",
            "i want to know who is the {asked}. {text}",
            "text: {text}\nthe {asked} of them is",
            "name the person who is the {asked}. {text}",
            "{text}\n{options}\nwho of them is the {asked}?",
        ),
    )
)


def _owners(draw: Draw) -> dict[str, Any]:
    people = draw.some(PEOPLE, 3)
    numbers = draw.some(range(2, 25), 3)
    things = draw.one(THINGS) + "s"
    asked = draw.one(("most", "fewest"))
    right = numbers.index(max(numbers) if asked == "most" else min(numbers))
    parts = [f"{person} has {number} {things}" for person, number in zip(people, numbers, strict=True)]
    return {
        "text": f"{parts[0]}, {parts[1]} and {parts[2]}.",
        "asked": f"the {asked} {things}",
        "answer": people[right],
        "choices": draw.shuffled(people),
    }


WHO_HAS_MOST = register(
    TaskSpec(
        name="who_has_most",
        cluster="comparison",
        collection="mini_wide",
        source=source("who_has_most", _owners, 1),
        fields=as_slots,
        slots=("text", "asked", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwho has {asked}?",
            "{text} the person with {asked} is",
            "who of them has {asked}?\n{options}\n{text}",
            "count. {text}\nwho has {asked}?",
            "three friends show what they have. {text}\nname the one with {asked}.",
            "{options}\n{text}\nwhich of them has {asked}?",
            "look for {asked}. {text}",
            "text: {text}\n{asked}:",
            "name the person who has {asked}. {text}",
            "{text}\n{options}\nwho is the one with {asked}?",
        ),
    )
)


def _prices(draw: Draw) -> dict[str, Any]:
    things = draw.some(THINGS, 3)
    numbers = draw.some(range(2, 25), 3)
    asked = draw.one(("most", "least"))
    right = numbers.index(max(numbers) if asked == "most" else min(numbers))
    parts = [f"the {thing} costs {number}" for thing, number in zip(things, numbers, strict=True)]
    return {
        "text": f"{parts[0]}, {parts[1]} and {parts[2]}.",
        "asked": asked,
        "answer": things[right],
        "choices": draw.shuffled(things),
    }


WHAT_COSTS_MOST = register(
    TaskSpec(
        name="what_costs_most",
        cluster="comparison",
        collection="mini_wide",
        source=source("what_costs_most", _prices, 1),
        fields=as_slots,
        slots=("text", "asked", "answer", "choices"),
        options="choices",
        templates=templates(
            "{text}\nwhat costs the {asked}?",
            "at the market: {text} it costs the {asked}:",
            "which thing costs the {asked}?\n{options}\n{text}",
            "{text}\nname the thing that costs the {asked}.",
            "i want to buy the thing that costs the {asked}. {text}",
            "{options}\nlook at what they cost. {text} which one costs the {asked}?",
            "find what costs the {asked}: {text}",
            "text: {text}\nthe thing that costs the {asked} is the",
            "name what costs the {asked}. {text}",
            "{text}\n{options}\nwhich of these costs the {asked}?",
        ),
    )
)
