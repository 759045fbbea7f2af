"""Common sense: what is likely to happen, and how things are done."""

import re
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.choices import chosen
from mixtures.flan_fields import register_flan
from mixtures.questions import place_of

# What COPA asks for, as a question, and as the word that joins the premise to it.
_RELATIONS = {
    "cause": ("What was the cause of this?", " because"),
    "effect": ("What happened as a result?", ", so"),
}
# HellaSwag marks the parts of a how-to article with words in brackets.
_MARK = re.compile(r"\s*\[.*?\]\s*")
_STORY = tuple(f"input_sentence_{number}" for number in range(1, 5))


def _copa(record: Record) -> dict[str, Any] | None:
    slots = chosen((text(record, "choice1"), text(record, "choice2")), column(record, "label"))
    relation = label(column(record, "question"), tuple(_RELATIONS))
    if slots is None or relation is None:
        return None
    premise, (ask, joint) = text(record, "premise"), _RELATIONS[relation]
    return {**slots, "premise": premise, "relation": relation, "ask": ask, "opening": premise.rstrip(" .!") + joint}


def _hellaswag(record: Record) -> dict[str, Any] | None:
    endings = tuple(_MARK.sub(" ", ending).strip() for ending in texts(record, "endings"))
    slots = chosen(endings, column(record, "label"))
    if slots is None:
        return None
    context = _MARK.sub("\n", text(record, "ctx", "context")).strip()
    return {**slots, "context": context, "activity": text(record, "activity_label")}


def _story_cloze(record: Record) -> dict[str, Any] | None:
    if "endings" in record:  # as TFDS has it
        context, endings, place = text(record, "context"), texts(record, "endings"), column(record, "label")
    else:
        context = " ".join(text(record, name) for name in _STORY)
        endings = tuple(text(record, name) for name in ("sentence_quiz1", "sentence_quiz2"))
        place = column(record, "answer_right_ending")
    right = place_of(place, ("1", "2"))
    slots = None if right is None else chosen(endings, right)
    return None if slots is None else {**slots, "context": context}


def _piqa(record: Record) -> dict[str, Any] | None:
    slots = chosen((text(record, "sol1"), text(record, "sol2")), column(record, "label"))
    return None if slots is None else {**slots, "goal": text(record, "goal")}


COPA = register_flan(
    TaskSpec(
        name="copa",
        cluster="common_sense",
        collection="flan2021",
        title="COPA",
        source=published(
            "aps/super_glue",
            "copa",
            revision="refs/convert/parquet",
            tfds="super_glue/copa:1.0.2",
            train="train[:-50]",
            validation="train[-50:]",
            test="validation",
            sizes={"train": 400, "validation": 100, "test": 500},
            folders=("copa",),
        ),
        fields=_copa,
        slots=("premise", "relation", "ask", "opening", "choices", "answer"),
        options="choices",
        templates=(
            Template("Situation: {premise}\nQuestion: {ask}\n\n{options}"),
            Template(
                "Complete this pair of sentences, of which the second has to give the {relation} of the first. "
                "{premise}\n\n{options}"
            ),
            Template("Here is something that happened: {premise} Name its likely {relation}.\n\n{options}"),
            Template(
                "Think about everyday life and tell me the most plausible {relation} of what is described.\n\n"
                "{options}\n\nWhat is described: {premise}"
            ),
            Template("Everyday reasoning. Known: {premise} Wanted: the {relation}."),
            Template(
                '"{premise}"\n\nA curious child wants to know more: "{ask}" What do you tell the child?\n\n{options}'
            ),
            Template(
                "{premise}\n\nThis is one half of a pair of events, a cause and its effect. Supply the {relation}."
            ),
            Template('A speaker broke off here: "{opening}" How was the sentence going to end?\n\n{options}'),
            Template(
                "The {relation} of some event was this: {answer}\n\nWhat was the event?", "{premise}", inverted=True
            ),
            Template(
                "Reason backwards. You are told the {relation} and have to come up with the event that it belongs to."
                "\n\nYou are told: {answer}",
                "{premise}",
                inverted=True,
            ),
        ),
    )
)


HELLASWAG = register_flan(
    TaskSpec(
        name="hellaswag",
        cluster="common_sense",
        collection="flan2021",
        title="HellaSwag",
        source=published(
            "Rowan/hellaswag",
            revision="refs/convert/parquet",
            tfds="hellaswag:1.1.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 39_905, "validation": 10_042, "test": 10_003},
            folders=("hellaswag",),
        ),
        fields=_hellaswag,
        slots=("context", "activity", "choices", "answer"),
        options="choices",
        # The context may break off in the middle of a sentence.
        templates=(
            Template("Unfinished text: {context} ...\n\nWhat comes next?\n\n{options}"),
            Template(
                "Topic: {activity}\n\nA text on this topic begins as follows: {context} ...\n\nGo on with it in "
                "the way that makes the most sense.\n\n{options}"
            ),
            Template("Continue this description of an activity or this piece of advice: {context}"),
            Template("{options}\n\nGive the ending that fits the beginning.\n\nBeginning: {context}\n\nEnding:"),
            Template(
                'I tore a page while leafing through a manual, and all that is left of it is "{context} ..." '
                "What did the missing part say?\n\n{options}"
            ),
            Template(
                "With your knowledge of how things usually go, complete the passage.\n\nHeading: {activity}\n"
                "Passage: {context}\n\n{options}"
            ),
            Template(
                'A sensible writer has got as far as "{context} ..." and is looking for the words that come '
                "next. Suggest them.\n\n{options}"
            ),
            Template("Text completion.\nSubject: {activity}\nText so far: {context}"),
            Template(
                "Someone who is reading aloud to you has just paused for breath after these words: {context} "
                "...\n\nWhat do you expect to hear in a moment?\n\n{options}"
            ),
            Template(
                "Predict how the text proceeds. Your prediction should be believable and should agree with everything "
                "that came before.\n\nText: {context}\n\n{options}\n\nPrediction:"
            ),
        ),
    )
)


STORY_CLOZE = register_flan(
    TaskSpec(
        name="story_cloze",
        cluster="common_sense",
        collection="flan2021",
        title="Story Cloze",
        # Its publishers hand the files out on request: the hub holds none, so a local copy is needed.
        source=published(
            "LSDSem/story_cloze",
            "2016",
            tfds="story_cloze/2016:1.0.0",
            train="validation[:-200]",
            validation="validation[-200:]",
            test="test",
            sizes={"validation": 1_871, "test": 1_871},
            folders=("story_cloze",),
        ),
        fields=_story_cloze,
        slots=("context", "choices", "answer"),
        options="choices",
        templates=(
            Template("{context}\n\nHow does the story end?\n\n{options}"),
            Template("Here are four sentences of a story that has five. Supply the last.\n\n{context}\n\n{options}"),
            Template("Story so far: {context}\n\n{options}\n\nFinal line:"),
            Template(
                "One sentence is missing at the end of this tale: {context}\n\n"
                "What ending would strike the reader as right?"
            ),
            Template("{options}\n\nBring the following little narrative to a fitting close. {context}"),
            Template(
                "Think about what the people in this story want and what would naturally happen to them. "
                "Then write the conclusion.\n\nThe story: {context}\n\n{options}"
            ),
            Template('I fell asleep while my friend was telling me this: "{context}" What did I miss?\n\n{options}'),
            Template("{context}\n\nThe sentence that brings this story to a logical conclusion is"),
            Template(
                "Write a short story of five sentences, but leave out the fifth, which is this: {answer}",
                "{context}",
                inverted=True,
            ),
            Template(
                'A story ends with the words "{answer}" Tell in four sentences what happened before that.',
                "{context}",
                inverted=True,
            ),
        ),
    )
)


PIQA = register_flan(
    TaskSpec(
        name="piqa",
        cluster="common_sense",
        collection="flan2021",
        title="PIQA",
        source=published(
            "ybisk/piqa",
            "plain_text",
            revision="refs/convert/parquet",
            tfds="piqa:1.0.0",
            train="train[:-100]",
            validation="train[-100:]",
            test="validation",
            sizes={"train": 16_113, "validation": 1_838, "test": 3_084},
            folders=("piqa",),
        ),
        fields=_piqa,
        slots=("goal", "choices", "answer"),
        options="choices",
        templates=(
            Template("Goal: {goal}\nWay to achieve it:\n{options}"),
            Template("Say how one goes about this in real life.\n\n{goal}\n\n{options}"),
            Template("{options}\n\nName a method that would truly work in this case: {goal}"),
            Template(
                'You are good with your hands, and a neighbor comes to you about this: "{goal}" '
                "What do you advise?\n\n{options}"
            ),
            Template("Household hint wanted.\nSubject: {goal}\n{options}\nHint:"),
            Template('"{goal}"\n\nGive the solution to this that makes physical sense.\n\n{options}'),
            Template(
                'Somebody typed "{goal}" into a search engine. Write the instructions that would help this person.\n\n{options}'
            ),
            Template(
                "Think about how objects and materials behave, and only then propose what to do.\n\nTask: "
                "{goal}\n\n{options}\n\nProposal:"
            ),
            Template("What might a person be trying to do who follows this advice? {answer}", "{goal}", inverted=True),
            Template("Instructions: {answer}\nThe goal that they serve:", "{goal}", inverted=True),
        ),
    )
)
