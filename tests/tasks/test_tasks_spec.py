"""A declaration is checked when it is made: what is wrong is said with the task, the place and a remedy."""

import dataclasses

import pytest
from task_toys import make

from flan_jax.errors import UserError
from flan_jax.tasks.spec import Template

GOOD = Template("Say: {question}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "two words"}, "'two words': a task's name takes letters, digits and underscores"),
        ({"cluster": ""}, "has no cluster"),
        ({"source": "train.jsonl"}, "source is str, which has no records"),
        ({"templates": ()}, "has no templates"),
        ({"predict": "guess"}, "predict='guess' must be 'rank' or 'generate'"),
        ({"templates": (Template("{answer}", "{question}", inverted=True),)}, "has inverted templates only"),
        ({"answer": "anwser"}, "answer='anwser' is not one of its slots .* Did you mean 'answer'"),
        ({"options": "kind"}, "options='kind' names no slot .* A fixed set is written as a tuple"),
        ({"options": ("yes",)}, r"has 1 option\(s\)"),
        ({"options": ("yes", "yes")}, "lists an option twice"),
        ({"options": ("yes", " ")}, "has the option ' '"),
        ({"options": (), "templates": (GOOD,)}, "predict='rank' scores a closed set"),
        ({"templates": (GOOD, "text")}, "template 1 is a str"),
        ({"templates": (GOOD, Template("So: {question}"), GOOD)}, "template 2 repeats template 0"),
        ({"templates": (Template("{qestion}"),)}, r"template 0 uses the unknown slot \{qestion\}. Did you mean 'question'"),
        ({"templates": (Template("{options}"),), "options": (), "predict": "generate"}, r"unknown slot \{options\}"),
        ({"templates": (Template("Yes or no?"),)}, "renders the same input for every record"),
        ({"templates": (GOOD, Template("{why}", "yes"))}, "template 1 renders the same target for every record"),
        ({"templates": (Template("{question}", "It is {answer}"),)}, "Use '{answer}', or mark the template inverted"),
        ({"templates": (Template("{question}", "{why}"),)}, "Use '{answer}', or mark the template inverted"),
        ({"templates": (Template("{question} {answer}"),)}, "shows the answer in its input"),
        ({"rationale": ""}, "rationale and cot_templates go together"),
        ({"cot_templates": ()}, "rationale and cot_templates go together"),
        ({"rationale": "wy"}, "rationale='wy' is not one of its slots"),
        ({"cot_templates": (Template("{question}"),)}, "reasoning, template 0 has the target .* Reason first"),
        ({"cot_templates": (Template("{question}", "{answer} {why}"),)}, "Reason first and end with the answer"),
        ({"cot_templates": (Template("{question}", "{why} {answer} or not"),)}, "Reason first and end with the answer"),
        ({"cot_templates": (Template("{question} {why}", "{why} {answer}"),)}, "shows the answer or its reasoning"),
        ({"cot_templates": (Template("{question} {answer}", "{why} {answer}"),)}, "shows the answer or its reasoning"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(UserError, match=message) as error:
        make(**changes)
    assert str(error.value).startswith(f"Task {changes.get('name', 'quiz')!r}")


def test_what_may_be_asked_for_without_a_word_about_it():
    made = make(templates=(GOOD, Template("Ask something.", "{question}", inverted=True)))
    assert made.scored_templates == (0,)
    assert make(slots=("question", "label", "why"), answer="label", templates=(Template("{question}", "{label}"),))
    assert make(cot_templates=(Template("{question}", "{why}\nSo it is {answer}."),)).cot_templates


def test_a_task_is_a_value():
    assert make() == make() != dataclasses.replace(make(), title="other")
