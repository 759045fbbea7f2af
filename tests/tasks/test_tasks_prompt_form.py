"""Templates filled by hand."""

import pytest

from flan_jax.data.sources.generated import generated
from flan_jax.errors import UserError
from flan_jax.tasks.prompt_form import PromptForm
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template

RECORDS = [{"text": "The soup was cold.", "choices": ("good", "bad"), "label": "bad", "more": "x"}]
SPEC = TaskSpec(
    name="form_review",
    cluster="reviews",
    source=generated("form_review", lambda split: RECORDS, version=1),
    fields=lambda record: record,
    slots=("text", "choices", "label", "more"),
    answer="label",
    options="choices",
    templates=(
        Template("Is this {options}?\n\n{text}", "{label}"),
        Template("Write a review that is {label}.", "{text}", inverted=True),
        Template("{text} This is", "{label}"),
    ),
)


@pytest.mark.parametrize("template", [0, 2])
@pytest.mark.parametrize("mode", [PromptMode.ZS_OPT, PromptMode.ZS_NOOPT, PromptMode.NO_TEMPLATE])
def test_the_prompt_is_that_of_a_record_with_these_values(template, mode):
    task = Prompted(SPEC, mode)
    form = PromptForm(task, template)
    assert form.slots == ("text", "choices")
    expected = Renderer(task)(RECORDS[0], index=0, template_id=template).inputs
    assert form.prompt({"text": RECORDS[0]["text"], "choices": "good | bad"}) == expected
    assert form.prompt({"text": RECORDS[0]["text"], "choices": '["good", "bad"]'}) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "Fine.", "choice": "a|b"}, "no slot 'choice' to fill. Did you mean 'choices'"),
        ({"text": " ", "choices": "a|b"}, "needs a value for text"),
        ({"text": "Fine.", "choices": "a"}, "fewer than two"),
        ({"text": "Fine.", "choices": "[1"}, "fewer than two"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        PromptForm(Prompted(SPEC), 0).prompt(values)


@pytest.mark.parametrize(
    ("mode", "template", "message"),
    [
        (PromptMode.ZS_OPT, 1, "no template 1 that asks for the answer. Choose one of 0, 2"),
        (PromptMode.ZS_OPT, 9, "no template 9"),
        (PromptMode.FS_OPT, 0, "needs solved examples"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(mode, template, message):
    with pytest.raises(UserError, match=message):
        PromptForm(Prompted(SPEC, mode), template)
