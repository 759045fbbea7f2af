"""Published templates, invented ones here: filled in byte for byte, with the published fields of a record."""

import dataclasses

import pytest
from task_toys import Listed

from flan_jax.data.templates.template_set import published_template, with_fields
from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.render import Renderer, render, render_split
from flan_jax.tasks.rendering.verbatim import can_fill
from flan_jax.tasks.spec import Prompted, PublishedFields, TaskSpec, Template
from flan_jax.tasks.style import FLAN_2022, FewShot

NO_YES = ("no", "yes")
RECORD = {"asked": " is it red", "fact": "Red is a hue.", "holds": True, "other": "est-ce rouge ?"}


def as_published(record):
    return {
        "question": record["asked"],
        "fact": record.get("fact"),
        "answer": NO_YES[record["holds"]],
        "options_": "OPTIONS:\n- no\n- yes",
    }


def both_sides(record):
    return {"sent1": record["asked"], "sent2": (record["other"], "rouge ?"), "lang": "French"}


FIELDS = PublishedFields("code", as_published, ("question", "fact", "answer", "options_"), options=NO_YES)
SIDES = PublishedFields("code", both_sides, ("sent1", "sent2", "lang"), answer="sent2", scored=("sent1",))


def made(fields, *templates, options=True, records=(RECORD,)):
    """A task of these published fields and templates, each as a set's file has it."""
    spec = TaskSpec(
        name="toy",
        cluster="c",
        source=Listed(train=tuple(records), test=(RECORD,)),
        fields=lambda record: {"question": "Is it red?", "answer": "YES"},
        templates=(Template("Ours: {question}"),),
        slots=("question", "answer"),
        options=("YES", "NO"),
        predict="generate",
        published=(fields,),
    )
    verbatim = tuple(
        published_template(dict(zip(("inputs", "targets", "inverted", "asks"), one, strict=False)), options=options)
        for one in templates
    )
    return with_fields(spec, fields, templates=verbatim)


def shown(spec, mode="zs_opt", record=RECORD, template_id=0, **more):
    return render(Prompted(spec, PromptMode(mode), **more), record, index=0, template_id=template_id)


def test_options_stand_only_where_the_template_has_them_and_in_the_published_order():
    spec = made(FIELDS, ("{question}", "{answer}"), ("{question}\n\n{options_}\nSay:", "{answer}"))
    assert shown(spec).inputs == " is it red"
    assert shown(spec).options == NO_YES  # ranked all the same
    assert shown(spec, template_id=1).inputs == " is it red\n\nOPTIONS:\n- no\n- yes\nSay:"
    assert shown(spec, template_id=1).targets == "yes"


def test_white_space_and_braces_stay():
    spec = made(FIELDS, ("\n {question}  {x y} {} {{{fact}}} ", " {answer}\n"))
    example = shown(spec)
    assert (example.inputs, example.targets) == ("\n  is it red  {x y} {} {{Red is a hue.}} ", " yes\n")
    assert example.references == ("yes",)


def test_prompts_without_options_lose_the_line_ends_before_them():
    spec = made(FIELDS, ("{question}\n\n{options_}", "{answer}"), ("{question}\n({options_})", "{answer}"))
    assert [shown(spec, "zs_noopt", template_id=i).inputs for i in (0, 1)] == [" is it red", " is it red\n()"]


def test_what_is_left_of_a_block_in_a_set_without_options_is_text():
    spec = made(FIELDS, ("{question}", "{answer}"), ("{fact}", "{question}\n{options_}", True), options=False)
    example = shown(spec, "zs_noopt", template_id=1)
    assert example.targets == " is it red\nOPTIONS:\n- no\n- yes"
    assert (example.options, example.references) == ((), (example.targets,))


def test_options_in_literal_braces_are_text():
    spec = made(FIELDS, ("{question}", "{answer}"), ("{fact}", "{question}\n\n{options_}", True), options=False)
    literal = spec.templates[1].__class__("{question}\n\n{{options}}", "{answer}")
    spec = dataclasses.replace(spec, templates=(literal,))
    assert shown(spec, "zs_noopt").inputs == " is it red\n\n{options}"


def test_inverted_templates_show_options_too():
    spec = made(FIELDS, ("{question}", "{answer}"), ("{answer}, of\n{options_}", "{question}", True))
    assert shown(spec, template_id=1).inputs == "yes, of\nOPTIONS:\n- no\n- yes"


def test_a_drawn_layout_gives_its_marker_as_the_answer():
    spec = made(FIELDS, ("{question}\n{options_}", "{answer}"))
    seen = {shown(spec, record={**RECORD, "asked": f"q{i}"}, style=FLAN_2022).targets for i in range(1)}
    examples = [
        Renderer(Prompted(spec, PromptMode.ZS_OPT, style=FLAN_2022), seed)(RECORD, index=0) for seed in range(30)
    ]
    seen |= {example.targets for example in examples}
    assert {"yes", "(B)"} <= seen
    for example in examples:
        assert example.targets in example.options
        assert example.references == (example.targets,)


def test_no_marker_is_asked_for_where_no_options_are_listed():
    task = Prompted(made(FIELDS, ("{question}", "{answer}")), PromptMode.ZS_OPT, style=FLAN_2022)
    examples = [Renderer(task, seed)(RECORD, index=0) for seed in range(30)]
    assert {(example.targets, example.options) for example in examples} == {("yes", NO_YES)}


def test_the_other_direction_of_a_translation_is_scored():
    spec = made(
        SIDES,
        ("{sent1}\nIn {lang}:", "{sent2}"),
        ("{sent2}\nIn English:", "{sent1}", False, "sent1"),
        ("{sent2}", "{lang}", True),
    )
    assert spec.scored_templates == (0, 1)
    there, back = shown(spec), shown(spec, template_id=1)
    assert (there.targets, there.references) == ("est-ce rouge ?", ("est-ce rouge ?", "rouge ?"))
    assert (back.inputs, back.targets) == ("est-ce rouge ?\nIn English:", " is it red")
    assert back.references == (" is it red",)


def test_words_around_an_answer_stand_around_its_references():
    spec = made(SIDES, ("{sent1}", "French: {sent2}"))
    assert shown(spec).references == ("French: est-ce rouge ?", "French: rouge ?")
    with pytest.raises(UserError, match=r"has the target 'A: \{answer\}'"):  # an option is compared alone
        made(FIELDS, ("{question}", "A: {answer}"))


def test_options_that_read_the_same_are_all_listed():
    own = PublishedFields(
        "code",
        lambda record: {"choices": ("a", "a", "b"), "q": "Q", "answer": "b"},
        ("q", "choices", "answer"),
        options="choices",
    )
    example = shown(made(own, ("{q}\n{options_}", "{answer}")))
    assert example.inputs == "Q\nOPTIONS:\n- a\n- a\n- b"
    assert example.options == ("a", "b")


def test_a_template_that_repeats_another_is_drawn_more_often():
    spec = made(FIELDS, ("{question}", "{answer}"), ("{question}", "{answer}"))
    assert len(spec.templates) == 2


def test_a_template_whose_column_is_not_there_gives_way():
    lacking = {name: value for name, value in RECORD.items() if name != "fact"}
    spec = made(
        FIELDS,
        ("{fact} {question}", "{answer}"),
        ("{question}", "{answer}"),
        records=[{**lacking, "asked": f"q{i}"} for i in range(40)],
    )
    assert [can_fill(template, as_published(lacking)) for template in spec.templates] == [False, True]
    examples = list(render_split(Prompted(spec), "train"))
    assert [example.template_id for example in examples] == [1] * 40
    with pytest.raises(UserError, match=r"shows \{fact\}, and this copy of the data set has no such column"):
        shown(spec, record=lacking)
    with pytest.raises(
        UserError, match=r"each of its templates shows \{fact\}, and .* SOURCE_DIR, or take the task out"
    ):
        list(render_split(Prompted(spec, template_ids=(0,)), "train"))


def test_solved_examples_are_set_with_published_templates():
    records = [{**RECORD, "asked": f"q{i} ", "holds": bool(i % 2)} for i in range(6)]
    spec = made(FIELDS, ("{question}|", "{answer}"), records=records)
    task = Prompted(spec, PromptMode.FS_OPT, few_shot=FewShot(2))
    example = Renderer(task)(RECORD, index=0, split="test")
    first, second, query = example.inputs.split(" X 0 ")
    assert query == " is it red| X 1 FLAN"
    assert first.startswith("0 q")
    assert second.partition("| X 1 ")[2] in NO_YES


def test_training_records_that_lack_every_column_are_passed_over():
    lacking = [{"asked": f"lacks {i}", "holds": True} for i in range(3)]
    whole = [{**RECORD, "asked": f"whole {i}"} for i in range(3)]
    records = [record for both in zip(lacking, whole, strict=True) for record in both]
    spec = made(FIELDS, ("{fact} {question}", "{answer}"), records=records)
    task = Prompted(spec, PromptMode.FS_OPT, few_shot=FewShot(6, "mixed"))
    assert sorted(Renderer(task)(RECORD, index=0, split="test").exemplars) == [1, 3, 5]


def test_an_answer_outside_the_options_is_named():
    broken = dataclasses.replace(
        FIELDS, fields=lambda record: {**as_published(record), "answer": "perhaps"}, options=NO_YES
    )
    with pytest.raises(UserError, match="'perhaps' is not one of its options"):
        shown(made(broken, ("{question}", "{answer}")))


def test_baselines_without_words_show_the_published_fields():
    spec = made(FIELDS, ("Say it: {fact}\n{question}", "{answer}"))
    assert shown(spec, "no_template").inputs == "Red is a hue.\n is it red"


def test_marks_stand_around_slots_and_options():
    spec = made(FIELDS, ("{question}\n{options_}", "{answer}"))
    marked = Renderer(Prompted(spec), mark=lambda name, text: f"<{name}>{text}</>")(RECORD, index=0)
    assert marked.inputs == "<question> is it red</>\n<options>OPTIONS:\n- no\n- yes</>"
    assert marked.targets == "yes"
