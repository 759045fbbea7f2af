"""Entailment: whether a claim follows from a story, or is true, false or unknown given facts.

One template of each task is inverted: it asks for the reason before the verdict, a chain of
thought in one line.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import COLOURS, PEOPLE, PLACES, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates


def _entails(draw: Draw) -> dict[str, Any]:
    count = draw.number(2, 3)
    who, places = draw.some(PEOPLE, count), draw.some(PLACES, count)
    asked, other = draw.some(range(count), 2)
    answer = draw.one(("yes", "no"))
    # A wrong claim takes its place from the same story: every word of a claim occurs in it either way.
    place = places[asked] if answer == "yes" else places[other]
    return {
        "story": " ".join(f"{person} is in the {at}." for person, at in zip(who, places, strict=True)),
        "claim": f"{who[asked]} is in the {place}",
        "reason": f"{who[asked]} is in the {places[asked]}",
        "answer": answer,
    }


STORY_ENTAILS = register(
    TaskSpec(
        name="story_entails",
        cluster="entailment",
        source=source("story_entails", _entails, 3),
        fields=as_slots,
        slots=("story", "claim", "reason", "answer"),
        options=("yes", "no"),
        templates=templates(
            "{story}\n\ndoes it follow that {claim}?",
            "story: {story}\nclaim: {claim}.\ndoes the story say so?",
            "{story} is it right that {claim}?",
            "we know this: {story}\ncan we say that {claim}?\n{options}",
            "does the claim agree with the text?\ntext: {story}\nclaim: {claim}.",
            "read this sentence: {claim}.\n{options}\nhere is the story: {story}\nis the sentence right?",
            "someone says that {claim}. should i believe it? {story}",
            Template("{story}\nis it so that {claim}? give the reason.", "{reason}, so {answer}", inverted=True),
            "{story}\ncan we say this: {claim}?",
            "text: {story}\ndoes the text say that {claim}?\n{options}",
        ),
    )
)

_VERDICTS = ("true", "false", "unknown")


def _check(draw: Draw) -> dict[str, Any]:
    thing, second, third = draw.some(THINGS, 3)
    colour, second_colour = draw.some(COLOURS, 2)
    verdict = draw.one(_VERDICTS)
    facts = draw.shuffled((f"the {thing} is {colour}.", f"the {second} is {second_colour}."))
    fact, silence = f"the {thing} is {colour}", f"the facts do not name the {third}"
    claim, reason = {
        "true": (fact, fact),
        "false": (f"the {thing} is {second_colour}", fact),
        "unknown": (f"the {third} is {colour}", silence),
    }[verdict]
    return {
        "story": " ".join(facts),
        "claim": claim,
        "reason": reason,
        "answer": verdict,
        "choices": draw.shuffled(_VERDICTS),
    }


CLAIM_CHECK = register(
    TaskSpec(
        name="claim_check",
        cluster="entailment",
        source=source("claim_check", _check, 3),
        fields=as_slots,
        slots=("story", "claim", "reason", "answer", "choices"),
        options="choices",
        templates=templates(
            "{story}\n\nwhat can we say about this claim: {claim}?",
            "facts: {story}\nclaim: {claim}.\nthe claim is",
            "judge the claim that {claim}.\nthis is all that we know: {story}",
            "{story}\n{options}\nwhich word fits the claim that {claim}?",
            "what should we think of this claim: {claim}? use only these facts: {story}",
            "you only know this: {story}\njudge the sentence: {claim}.",
            "a friend says that {claim}. look at the facts: {story}\n{options}\nwhat do you say?",
            Template("judge the claim and say why.\n{story}\nclaim: {claim}.", "{reason}, so {answer}", inverted=True),
            "use the facts to judge the claim.\n\nfacts: {story}\nclaim: {claim}.",
            "{claim}.\n{options}\nwhat do these facts say about it? {story}",
        ),
    )
)
