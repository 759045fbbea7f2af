"""Text from records: the same everywhere, faithful to what the record says, in every mode."""

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_toys import Listed, make, quiz

from flan_jax.errors import UserError
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.render import Renderer, choose_template, render, render_split, render_stream
from flan_jax.tasks.spec import Parts, Prompted, Template
from flan_jax.tasks.style import FLAN_2021, FLAN_2022, FewShot, OptionStyle
from flan_jax.tasks.unicode_check import block
from flan_jax.testing.records import without_errors

every_mode = pytest.mark.parametrize("mode", PromptMode)
every_style = pytest.mark.parametrize("style", [FLAN_2021, FLAN_2022], ids=lambda style: style.name)
RECORD = {"question": "Is it?", "answer": "yes", "why": "It is."}


def shown(record=RECORD, mode="zs_opt", index=0, template_id=0, **changes):
    return render(Prompted(make(**changes), PromptMode(mode)), record, index=index, template_id=template_id)


def everything() -> str:
    """All renders of a task in all modes and both styles, as a digest."""
    tasks = (
        Prompted(make(), mode, style=style, few_shot=FewShot(3, "mixed"))
        for mode in PromptMode
        for style in (FLAN_2021, FLAN_2022)
    )
    return str(counter_hash(*(example for task in tasks for s in task.splits for example in render_split(task, s))))


def test_another_process_renders_the_same():
    code = "import test_tasks_render; print(test_tasks_render.everything())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=Path(__file__).parent
        )
        assert done.stdout.strip() == everything(), done.stderr


@every_style
@every_mode
def test_an_example_depends_on_its_place_and_on_no_other_example(mode, style):
    task = Prompted(make(), mode, style=style, few_shot=FewShot(2, "mixed"))
    for split in task.splits:
        straight = {example.example_id: example for example in render_split(task, split, seed=3)}
        records = list(task.spec.source.read(split))
        random.Random(0).shuffle(records)
        renderer = Renderer(task, seed=3)
        assert {index: renderer(record, index=index, split=split) for index, record in records} == straight
        fresh = Renderer(task, seed=3)(records[0][1], index=records[0][0], split=split)
        assert fresh == straight[records[0][0]]
    again = {example.example_id: example for example in render_split(task, "train", seed=4)}
    first = {example.example_id: example for example in render_split(task, "train", seed=3)}
    assert again != first


def test_templates_are_drawn_evenly_and_by_place():
    task, some = Prompted(make()), Prompted(make(), template_ids=(2, 0))
    drawn = [choose_template(task, index=index, seed=0) for index in range(4000)]
    assert all(abs(drawn.count(template) - 1000) < 110 for template in range(4))  # 4 standard deviations of 27.4
    assert drawn != [choose_template(Prompted(make("other")), index=index, seed=0) for index in range(4000)]
    assert {choose_template(some, index=index, seed=0) for index in range(50)} == {0, 2}
    # The mode changes nothing, so that modes can be compared record by record.
    assert drawn == [choose_template(Prompted(make(), PromptMode.FS_OPT), index=i, seed=0) for i in range(4000)]


def test_options_stand_where_the_template_puts_them_or_at_the_end():
    listed = "OPTIONS:\n- yes\n- no"
    assert shown().inputs == f"Say: Is it?\n\n{listed}"
    assert shown(template_id=1).inputs == f"Is it?\n\n{listed}\n\nSo?"
    assert shown(template_id=2).inputs == f"{listed}\nIs it?"
    example = shown(index=5)
    assert (example.targets, example.options, example.references) == ("yes", ("yes", "no"), ("yes",))
    assert (example.example_id, example.template_id, example.exemplars) == (5, 0, ())
    free = shown(options=(), predict="generate", templates=(Template("Say: {question}"),))
    assert (free.inputs, free.options) == ("Say: Is it?", ())


def test_without_options_no_gap_is_left_and_the_records_own_blank_lines_stay():
    assert shown(mode="zs_noopt").inputs == "Say: Is it?"
    assert shown(mode="zs_noopt", template_id=1).inputs == "Is it?\n\nSo?"
    assert shown(mode="zs_noopt", template_id=2).inputs == "Is it?"
    example = shown({**RECORD, "question": "a\n\n\n\nb"}, "zs_noopt", template_id=1)
    assert example.inputs == "a\n\n\n\nb\n\nSo?"
    assert (example.options, example.references) == (("yes", "no"), ("yes",))
    braces = shown(mode="zs_noopt", templates=(Template("{{options}} {{x}}\n\n{options}\n\n{question}"),))
    assert braces.inputs == "{options} {x}\n\nIs it?"


def test_blank_lines_of_a_template_without_the_options_slot_stay():
    free = {"options": (), "predict": "generate", "templates": (Template("{question}\n\n\n\nSo?"),)}
    assert shown(mode="zs_noopt", **free).inputs == "Is it?\n\n\n\nSo?"


@pytest.mark.parametrize(
    ("record", "changes", "side"),
    [
        ({"question": "Is\0 it?"}, {}, "input"),
        (
            {"answer": "y\ud800"},
            {"options": (), "predict": "generate", "templates": (Template("{question}"),)},
            "target",
        ),
        (
            {"answer": ["yes", "a\0"]},
            {"options": (), "predict": "generate", "templates": (Template("{question}"),)},
            "target",
        ),
    ],
)
def test_what_no_vocabulary_can_encode_is_refused_with_its_side(record, changes, side):
    with pytest.raises(
        UserError, match=f"record 0: its {side} (holds a NUL character|is not valid Unicode).*Correct or remove"
    ):
        shown({**RECORD, **record}, mode="zs_noopt", **changes)


def test_options_that_no_vocabulary_can_encode_are_refused():
    with pytest.raises(UserError, match="its options holds a NUL character"):
        shown(mode="zs_noopt", options=("yes", "no\0"))


def test_an_inverted_template_shows_the_answer_and_asks_for_something_else():
    example = shown(template_id=3)
    assert (example.inputs, example.targets) == ("Ask what is yes.", "Is it?")
    assert (example.options, example.references) == ((), ("Is it?",))
    templates = (Template("{question}"), Template("{options}\n\n\nOf these, {answer}.", "{question}", inverted=True))
    assert shown(templates=templates, template_id=1).inputs == "Of these, yes."
    # A marker says nothing without the options that it marks.
    marked = dataclasses.replace(FLAN_2021, options=(OptionStyle(bullet="({n}) ", numbering="A"),))
    assert Renderer(Prompted(make(), style=marked))(RECORD, index=0, template_id=3).inputs == "Ask what is yes."


def test_reasoning_comes_before_the_answer():
    spec = make()
    example = Renderer(Prompted(spec, PromptMode.COT_ZS_OPT))(RECORD, index=0, template_id=0)
    assert example.inputs == "Think: Is it?\n\nOPTIONS:\n- yes\n- no"
    assert (example.targets, example.references, example.options) == ("It is. So yes", ("yes",), ())
    plain = Renderer(Prompted(spec, PromptMode.COT_ZS_NOOPT))(RECORD, index=0, template_id=1)
    assert (plain.inputs, plain.targets) == ("Is it? Why?", "It is.: yes")


def test_the_fields_alone_and_behind_the_name_of_the_data_set():
    templates = (
        Template("Ask what is {answer}.", "{question}", inverted=True),
        Template("On {question} because {why}, {options}"),
        Template("{why} {question}"),
    )
    bare = shown(mode="no_template", template_id=1, templates=templates)
    assert bare.inputs == "Is it?\nIt is."  # as the first scored template names them
    assert (bare.targets, bare.options) == ("yes", ("yes", "no"))
    assert shown(mode="no_template", template_id=2, templates=templates).inputs == bare.inputs
    assert shown(mode="dataset_name", template_id=1, templates=templates).inputs == "[Task: quiz] Is it?\nIt is."
    nothing = (Template("Which one is right?\n{options}"), *templates)
    assert shown(mode="no_template", templates=nothing).inputs == bare.inputs  # the first that names any
    titled = Prompted(make(title="The {quiz} of {0}", templates=templates), PromptMode.DATASET_NAME)
    dropped = Renderer(titled, newlines=False)(RECORD, index=0)
    assert dropped.inputs == "[Task: The {quiz} of {0}] Is it? | It is."


PIECES = (
    "{answer}",
    "{options}",
    "{question}",
    "{0}",
    "{}",
    "{x.__class__}",
    "{{",
    "}",
    "{a!r:>9}",
    "%s",
    "\\1",
    "\n\n\n",
    " ",
    "é",
)
hostile = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join).filter(str.strip)


@settings(max_examples=60)
@given(hostile, hostile, st.sampled_from(list(PromptMode)), st.sampled_from([FLAN_2021, FLAN_2022]), st.integers(0, 50))
def test_what_a_record_says_stays_plain_text(question, other, mode, style, index):
    """Braces, format specifications and blank lines of the data come out as they went in."""
    record = {"id": 0, "question": question, "answer": "{answer}", "why": other}
    options = ("{answer}", "{0}", "%s")
    source = Listed(train=tuple({**record, "question": f"{text} {question}"} for text in "abc"))
    spec = make(source=source, options=options)
    for template_id in range(2):
        example = Renderer(Prompted(spec, mode, style=style, few_shot=FewShot(2)))(
            record, index=index, template_id=template_id, split="test"
        )
        assert block(question) in example.inputs
        assert "Say: " + question.rstrip() in example.inputs or template_id or mode.reasons or not mode.instructs
        assert len(example.exemplars) == 2 * mode.few_shot
        if mode.reasons:
            assert example.targets == block(
                (f"{other} So " if template_id == 0 else f"{other}: ") + example.references[0]
            )
        else:
            assert example.targets == example.references[0]
            assert example.options.index(example.targets) == 0
        if mode.shows_options:
            assert all(option in example.inputs for option in options)


@pytest.mark.parametrize("mode", ["zs_opt", "no_template", "dataset_name", "fs_noopt"])
def test_the_first_indentation_of_a_block_stays(mode):
    body = "    x = 1\n    return x"
    record = {"question": f" \n\n{body}\n ", "answer": f"\n\t{body}\n\n", "why": ""}
    others = tuple({**record, "question": f"other {n}"} for n in range(3))
    spec = make(source=Listed(train=others), templates=(Template("{question}"),), options=(), predict="generate", rationale="", cot_templates=())  # fmt: skip
    example = Renderer(Prompted(spec, PromptMode(mode)))(record, index=0, split="test")
    assert example.targets == f"\t{body}"
    assert body in example.inputs
    assert mode != "zs_opt" or example.inputs == body


def test_a_slot_of_several_accepted_answers_trains_on_the_first():
    example = shown({**RECORD, "answer": [" no", "yes "]})
    assert (example.targets, example.references) == ("no", ("no", "yes"))


FREE = {"templates": (Template("{question}"),), "options": (), "predict": "generate"}
KINDS = {"options": "kinds", "slots": ("question", "answer", "why", "kinds")}


@pytest.mark.parametrize(
    ("record", "changes", "message"),
    [
        ({"answer": "maybe"}, {}, r"'maybe' is not one of its options \['yes', 'no'\]"),
        ({"answer": []}, {}, r"the answer \[\] is neither a string nor a non-empty sequence"),
        ({"answer": [1]}, {}, r"the answer \[1\] is neither"),
        ({"answer": None}, {}, "the answer None is neither"),
        ({"question": " \n"}, FREE, "0 renders an empty input"),
        ({"answer": " "}, FREE, "template 0 renders an empty target"),
        ({"question": 3}, {}, r"slot \{question\} is not text"),
        ({}, {"slots": ("question", "answer", "why", "more")}, r"gave no 'more' \(they gave \['answer', 'question', 'why'\]\)"),
        ({}, {"fields": lambda record: {"question": record["query"]}}, r"keys \['answer', 'question', 'why'\] \(KeyError: 'query'\)"),
        ({}, {"fields": lambda record: 1 / 0}, r"\(ZeroDivisionError"),
        ({}, {"group": lambda record: record["idx"]}, r"its group failed on the record with the keys .*\(KeyError: 'idx'\)"),
        ({}, {"group": lambda record: ""}, "its group '' is no text that names one"),
        ({}, {"ending": lambda record: 3}, "its ending 3 is no text"),
        ({"kinds": "yes"}, KINDS, "options 'yes' must be at least two"),
        ({"kinds": ["yes"]}, KINDS, "at least two different strings"),
        ({"kinds": ["yes", "yes"]}, KINDS, "two different strings"),
        ({"kinds": ["yes", 1]}, KINDS, "two different strings"),
        ({"kinds": [["yes"], ["no"]]}, KINDS, "different strings"),
        ({"kinds": None}, KINDS, "options None must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_said_with_the_task_and_the_record(record, changes, message):
    with pytest.raises(UserError, match=message) as error:
        shown({**RECORD, **record}, index=7, **changes)
    assert str(error.value).startswith("Task 'quiz', record 7: ")


def test_a_record_that_is_no_example_is_left_out_and_the_others_keep_their_place():
    def fields(record):
        return None if record["id"] % 3 == 0 else record

    skipped = []
    source = dataclasses.replace(quiz(9), train=(*quiz(4).train, "cannot be read", *quiz(9).train[5:]))
    task = Prompted(make(fields=fields, source=source))
    examples = list(without_errors(render_stream(task, "train"), skipped))
    assert [example is None for example in examples] == [True, False, False, True, False, True, False, False]
    examples = [example for example in examples if example is not None]
    assert [example.example_id for example in examples] == [1, 2, 5, 7, 8]
    assert [str(error) for error in skipped] == ["cannot be read"]
    whole = {example.example_id: example for example in render_split(Prompted(make()), "train")}
    assert examples == [whole[example.example_id] for example in examples]
    with pytest.raises(UserError, match="cannot be read"):
        list(render_split(task, "train"))


@dataclasses.dataclass(frozen=True)
class Said:
    """A template in a language of its own: what the record says, word by word."""

    lists: bool = False
    inverted: bool = False

    def render(self, record):
        if "x" not in record:
            return None
        return Parts(record["x"], record["y"], tuple(record.get("of", ())), tuple(record.get("also", ())), self.lists)


def said(record, mode="zs_opt", style=FLAN_2021, **choices):
    spec = make(templates=(Said(**choices), *((Said(),) if choices.get("inverted") else ())), slots=(), answer="", options=(), rationale="", cot_templates=())  # fmt: skip
    return Renderer(Prompted(spec, PromptMode(mode), style=style))(record, index=0, template_id=0)


def test_a_template_of_another_language_reads_the_record_itself():
    plain = said({"x": "\n \n What {a}? ", "y": "\tb\n"})
    assert (plain.inputs, plain.targets, plain.options, plain.references) == (" What {a}?", "\tb", (), ("\tb",))
    assert said({"other": 1}) is None
    choice = {"x": "Which?", "y": "b ", "of": ["a", " b", "a ", "b"]}
    listed = said(choice)
    assert listed.inputs == "Which?\n\nOPTIONS:\n- a\n- b"  # what reads the same is listed once
    assert (listed.targets, listed.options) == ("b", ("a", "b"))
    for example in (said(choice, "zs_noopt"), said(choice, lists=True)):
        assert (example.inputs, example.targets, example.options) == ("Which?", "b", ("a", "b"))
    inverted = said(choice, inverted=True)
    assert (inverted.inputs, inverted.options) == ("Which?", ())
    marked = said(choice, style=dataclasses.replace(FLAN_2021, options=(OptionStyle(bullet="{n}. ", numbering="1"),)))
    assert marked.inputs == "Which?\n\nOPTIONS:\n1. a\n2. b"
    assert (marked.targets, marked.options, marked.references) == ("2.", ("1.", "2."), ("2.",))
    # A template that says nothing of it does not list them in words of its own.
    assert not Parts("x", "y", ("a", "b")).lists_options
    # Further accepted answers never take the place of the target.
    several = said({"x": "Who?", "y": "Ann", "also": ["A.", "Ann "]})
    assert (several.targets, several.references) == ("Ann", ("Ann", "A."))
    # Choices that the answer is not among are not listed as if it were.
    assert said({"x": "Which?", "y": "c", "of": ["a", "b"]}).inputs == "Which?"


def test_a_template_of_another_language_has_words_and_something_to_say():
    with pytest.raises(UserError, match="record 0: template 0 renders an empty target"):
        said({"x": "What?", "y": " "})
    with pytest.raises(UserError, match="have no form without their words"):
        said({"x": "What?", "y": "b"}, "no_template")
    spec = make(templates=(Said(),), slots=(), answer="", options=(), rationale="", cot_templates=())
    assert {str(mode) for mode in spec.modes} == {"zs_opt", "zs_noopt", "fs_opt", "fs_noopt"}
    with pytest.raises(UserError, match="inverted templates only"):
        make(templates=(Said(inverted=True),), slots=(), answer="")


def test_marks_stand_around_what_they_mark_and_change_nothing_else():
    def mark(what, text):
        return f"<{what}>{text}</{what}>"

    task = Prompted(make(), PromptMode.FS_OPT, few_shot=FewShot(1))
    for template_id in (0, 1, 3):
        plain = Renderer(task)(RECORD, index=0, template_id=template_id)
        marked = Renderer(task, mark=mark)(RECORD, index=0, template_id=template_id)
        assert marked.inputs != plain.inputs
        bare = marked.inputs
        for what in ("question", "answer", "why", "options", "exemplars"):
            bare = bare.replace(f"<{what}>", "").replace(f"</{what}>", "")
        assert bare == plain.inputs
        assert marked.targets == plain.targets
    assert "<exemplars>0 " in marked.inputs
