"""Entailment: whether a claim follows from a sentence, or is true, false or unknown given it.

Both rest on what words mean: kinds (a spade is a tool) and opposites (what is wet is not dry).
Claims about who is where, which would have to be compared with a story fact by fact, stay at
chance for a network of this size and training, so the world does not ask for them.
"""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec, Template
from mixtures.mini.words import CATEGORIES, OPPOSITES, PEOPLE, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates, with_article

_KINDS = tuple(CATEGORIES)
_DEEDS = (("drew", "draw"), ("found", "find"), ("saw", "see"), ("wanted", "want"))


def _kind(draw: Draw) -> dict[str, Any]:
    person, (past, present) = draw.one(PEOPLE), draw.one(_DEEDS)
    kind, other = draw.some(_KINDS, 2)
    word = draw.one(CATEGORIES[kind])
    answer = draw.one(("yes", "no"))
    named = kind if answer == "yes" else other
    return {
        "sentence": f"{person} {past} {with_article(word)}.",
        "claim": f"{person} {past} something of the group {named}",
        "question": f"did {person} {present} something of the group {named}?",
        "reason": f"{word} {kind}",
        "answer": answer,
    }


KIND_ENTAILS = register(
    TaskSpec(
        name="kind_entails",
        cluster="entailment",
        source=source("kind_entails", _kind, 1),
        fields=as_slots,
        slots=("sentence", "claim", "question", "reason", "answer"),
        options=("yes", "no"),
        templates=templates(
            "{sentence}\n\ndoes it follow that {claim}?",
            "text: {sentence}\nclaim: {claim}.\ndoes the text say so?",
            "{sentence} {question}",
            "we know this: {sentence}\ncan we say that {claim}?\n{options}",
            "does the claim agree with the text?\ntext: {sentence}\nclaim: {claim}.",
            "read this sentence: {claim}.\n{options}\nhere is what we know: {sentence}\nis the sentence right?",
            "someone says that {claim}. should i believe it? {sentence}",
            Template("{sentence}\n{question} give the reason.", "{reason}, so {answer}", inverted=True),
            "{sentence}\ncan we say this: {claim}?",
            "text: {sentence}\n{question}\n{options}",
        ),
    )
)

_VERDICTS = ("true", "false", "unknown")


def _check(draw: Draw) -> dict[str, Any]:
    subject = f"the {draw.one(THINGS)} of {draw.one(PEOPLE)}"
    (one, opposite), (foreign, _) = (draw.shuffled(pair) for pair in draw.some(OPPOSITES, 2))
    verdict = draw.one(_VERDICTS)
    claimed = {"true": one, "false": opposite, "unknown": foreign}[verdict]
    return {
        "fact": f"{subject} is {one}",
        "claim": f"{subject} is {claimed}",
        "negated": f"{subject} is not {opposite}",
        "answer": verdict,
        "choices": draw.shuffled(_VERDICTS),
    }


CLAIM_CHECK = register(
    TaskSpec(
        name="claim_check",
        cluster="entailment",
        source=source("claim_check", _check, 5),
        fields=as_slots,
        slots=("fact", "claim", "negated", "answer", "choices"),
        options="choices",
        templates=templates(
            "{fact}.\n\nwhat can we say about this claim: {claim}?",
            "fact: {fact}.\nclaim: {claim}.\nthe claim is",
            "judge the claim that {claim}.\nthis is all that we know: {fact}.",
            "{fact}.\n{options}\nwhich word fits the claim that {claim}?",
            "what should we think of this claim: {claim}? use only this fact: {fact}.",
            "you only know this: {fact}.\njudge the sentence: {claim}.",
            "a friend says that {claim}. look at the fact: {fact}.\n{options}\nwhat do you say?",
            Template("say it with the word not.\n{fact}.", "{negated}", inverted=True),
            "use the fact to judge the claim.\n\nfact: {fact}.\nclaim: {claim}.",
            "{claim}.\n{options}\nwhat does this fact say about it? {fact}.",
        ),
    )
)
