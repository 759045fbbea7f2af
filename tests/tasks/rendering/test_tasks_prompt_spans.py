"""Marks say what is what in a prompt, and never change what is shown."""

import dataclasses

import pytest
from task_toys import Listed, make, quiz

from flan_jax.tasks.render import Renderer
from flan_jax.tasks.rendering.prompt_spans import INSTRUCTION, PromptSpans, align_spans, segments, strip_marks
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.style import FLAN_2022, FewShot

SPEC = make()


def marking():
    marks = PromptSpans()
    marks.on = True
    return marks


def parts_of(task, record, index, **changes):
    """(parts, what the model sees) of one record."""
    marks = PromptSpans()
    renderer = Renderer(task, mark=marks, **changes)
    real = renderer(record, index=index)
    marks.on = True
    return align_spans(renderer(record, index=index).inputs, real.inputs), real


@pytest.mark.parametrize("style", ["flan2021", "flan2022"])
@pytest.mark.parametrize("mode", list(PromptMode))
def test_the_parts_of_a_prompt_are_the_prompt(mode, style):
    task = Prompted(SPEC, mode, few_shot=FewShot(3, "mixed"))
    if style == "flan2022":
        task = dataclasses.replace(task, style=FLAN_2022)
    plain = Renderer(task)
    kinds = set()
    for index, record in enumerate(SPEC.source.records("train")):
        parts, real = parts_of(task, record, index)
        assert real == plain(record, index=index)
        assert "".join(text for _, text in parts) == real.inputs
        assert ("question", record["question"]) in parts or SPEC.templates[real.template_id].inverted
        kinds |= {kind for kind, _ in parts}
    assert (INSTRUCTION in kinds) == (mode != "no_template")
    assert ("options" in kinds) == mode.shows_options
    assert ("exemplars" in kinds) == ("exemplars/question" in kinds) == mode.few_shot


def test_a_length_counts_no_marks():
    task = Prompted(SPEC, PromptMode.FS_OPT, few_shot=FewShot(5, budget=120))
    counts = set()
    for index, record in enumerate(SPEC.source.records("train")):
        parts, real = parts_of(task, record, index, length=lambda text: len(strip_marks(text)))
        counts.add(len(real.exemplars))
        assert parts[0][0].startswith("exemplars")
        assert len(real.inputs) <= 120
    assert counts - {5}  # the budget did cut some


@pytest.mark.parametrize("strange", ["a\ue0f0b", "a\ue0f0question\ue0f1b\ue0f2", "\ue0f2", "\ue0f1"])
def test_a_record_that_holds_marks_is_shown_as_it_is(strange):
    source = Listed(({"question": strange, "answer": "yes", "why": "r"}, *quiz(6).train))
    parts, real = parts_of(Prompted(make(source=source), PromptMode.FS_OPT), next(source.records("train")), 0)
    assert parts == [(INSTRUCTION, real.inputs)]
    assert strange in real.inputs


@pytest.mark.parametrize(
    "question", ["  led by space", "trailing\n\n", "\n\n\nempty lines\n\n\n\nwithin", "{braces} \\u"]
)
def test_white_space_that_rendering_takes_away(question):
    source = Listed(({"question": question, "answer": "no", "why": "r"},))
    for template in range(3):
        for mode in (PromptMode.ZS_OPT, PromptMode.ZS_NOOPT):
            task = Prompted(make(source=source), mode, (template,))
            parts, real = parts_of(task, next(source.records("train")), 0)
            assert "".join(text for _, text in parts) == real.inputs
            shown = "".join(text for kind, text in parts if kind == "question")
            assert shown.split() == question.split()


def test_marks_that_are_not_balanced_say_nothing():
    mark = marking()
    text = "a " + mark("x", "b")
    assert segments(text) == [(INSTRUCTION, "a "), ("x", "b")]
    assert segments(text[:-1]) == segments(text + "\ue0f2") == [(INSTRUCTION, "a b")]
    assert align_spans(text, "something else") == [(INSTRUCTION, "something else")]
    assert align_spans(text, "a b c") == [(INSTRUCTION, "a b c")]
    assert align_spans(mark("x", ""), "") == []
