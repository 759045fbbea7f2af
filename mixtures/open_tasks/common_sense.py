"""Common sense beyond Flan 2021: everyday things, and how people feel and act."""

import re
from collections.abc import Mapping
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.questions import choice_slots, labelled_choices, place_of

_LETTERS = ("A", "B", "C")
# A situation, its question and its choices in one text, as evaluation harnesses hold the data.
_ONE_TEXT = re.compile(r"Context: (.+)\nQuestion: (.+)\nChoices:\n(.+)\nAnswer:", re.DOTALL)
_CHOICE = re.compile(r"^[A-C]\. ", re.MULTILINE)


def _concept(record: Record) -> dict[str, Any] | None:
    # Original files nest stem, concept and choices in "question".
    nested = record.get("question")
    given = nested if isinstance(nested, Mapping) else record
    labels, choices = labelled_choices(column(given, "choices"))
    place = place_of(record.get("answerKey"), labels)
    if place is None:
        return None
    question = text(given, "stem", "question")
    return {"question": question, "concept": text(given, "question_concept"), **choice_slots(choices, place)}


def _social(record: Record) -> dict[str, Any] | None:
    if "query" in record:
        found = _ONE_TEXT.fullmatch(text(record, "query"))
        if found is None:
            raise UserError("'query' is not written as Context, Question, Choices and Answer.")
        context, question = found[1].strip(), found[2].strip()
        choices = [choice.strip() for choice in _CHOICE.split(found[3])[1:]]
        place = column(record, "gold")
    else:
        context, question = text(record, "context"), text(record, "question")
        choices = [text(record, f"answer{letter}") for letter in _LETTERS]
        place = place_of(record.get("label"), ("1", "2", "3"))
        if place is None:
            return None
    slots = {"context": context, "question": question, **choice_slots(choices, place)}
    # A few published records say the same twice and leave nothing to choose.
    return slots if slots["others"] else None


COMMONSENSEQA = register(
    TaskSpec(
        name="commonsenseqa",
        cluster="common_sense",
        collection="open",
        title="CommonsenseQA",
        # The published test split has no answers.
        source=published(
            "tau/commonsense_qa",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 9_741, "validation": 1_221, "test": 1_140},
            folders=("commonsenseqa",),
        ),
        fields=_concept,
        slots=("question", "concept", "choices", "answer", "others"),
        options="choices",
        templates=(
            Template("Use your common sense to answer the question.\n\n{question}\n\n{options}"),
            Template("{question}\n\n{options}\n\nThe most sensible answer is"),
            Template("Q: {question}\n{options}\nA:"),
            Template("Even a child would know this, but a computer may not. Show that you do: {question}\n\n{options}"),
            Template("What would most people say? {question}"),
            Template(
                "You need no expert knowledge for this question about “{concept}”, only common sense.\n\n"
                "{options}\n\nQuestion: {question}"
            ),
            Template("Complete the exchange.\n\nAnna: {question}\n\n{options}\n\nBen:"),
            Template("I would be glad of a quick and obvious answer here: {question}\n\n{options}\n\nThank you!"),
            Template(
                "Make up a common-sense question that involves “{concept}” and to which the natural answer is: {answer}",
                "{question}",
                inverted=True,
            ),
            Template(
                "Which question about “{concept}” would people answer with “{answer}” rather than with any of these? {others}",
                "{question}",
                inverted=True,
            ),
        ),
    )
)

SIQA = register(
    TaskSpec(
        name="siqa",
        cluster="common_sense",
        collection="open",
        title="Social IQa",
        source=published(
            "allenai/social_i_qa",
            revision="refs/convert/parquet",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 33_410, "validation": 1_954},
            folders=("siqa", "social_i_qa"),
        ),
        fields=_social,
        slots=("context", "question", "choices", "answer", "others"),
        options="choices",
        templates=(
            Template("Situation: {context}\n\nQuestion: {question}\n\n{options}\n\nAnswer:"),
            Template("{context}\n\nNow consider this: {question}"),
            Template(
                "People have reasons for what they do and feelings about what happens to them. Bear that in mind and "
                "answer the question about this little scene.\n\nScene: {context}\nQuestion: {question}\n\n{options}"
            ),
            Template("{question} That is what I asked myself when I heard this: {context}\n\n{options}"),
            Template("You overhear a story. “{context}” Then somebody wants to know: {question} What do you think?"),
            Template(
                "Reading people, exercise 7.\n\nWhat happened: {context}\n\n{options}\n\nWhat is asked: {question}"
            ),
            Template(
                "Put yourself in the place of those involved, then answer.\n\nThe story: {context}\n\nThe question: {question}"
            ),
            Template("I heard the following and keep thinking about it: {context}\n\nHelp me out. {question}"),
            Template(
                "{context}\n\nAbout this situation somebody asked a question, and a thoughtful person answered “{answer}”.\n"
                "What was the question?",
                "{question}",
                inverted=True,
            ),
            Template(
                "Describe in a sentence or two what may have happened before this exchange took place.\n\n"
                "Question: {question}\nAnswer: {answer}",
                "{context}",
                inverted=True,
            ),
        ),
    )
)
