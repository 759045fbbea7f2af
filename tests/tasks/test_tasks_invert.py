import pytest
from task_toys import Listed, make, quiz

from flan_jax.data.prepare.fingerprints import callable_digest
from flan_jax.errors import UserError
from flan_jax.tasks.invert import inverted
from flan_jax.tasks.render import Renderer, render_split
from flan_jax.tasks.spec import Prompted, PromptMode, PublishedFields, Template

ASK = (Template("Ask what is {given}."), Template("{why}\nThat means {given}. What was asked?"))
RECORD = {"id": 0, "question": "Is it?", "answer": ["yes", "no"], "why": "It is."}


def test_an_inversion_asks_for_another_slot_of_the_same_records():
    spec = make(other_metrics=("f1",), collection="flan2021", title="Quiz")
    turned = inverted(spec, "question", ASK)
    assert (turned.name, turned.answer, turned.options, turned.predict) == ("quiz_inverted", "question", (), "generate")
    assert (turned.metric, turned.other_metrics, turned.collection) == ("rougeL", (), "flan2021")
    assert (turned.source, turned.cluster, turned.slots) == (spec.source, spec.cluster, ("question", "why", "given"))
    assert {str(mode) for mode in turned.modes} == {"zs_opt", "zs_noopt", "fs_opt", "fs_noopt", "no_template", "dataset_name"}  # fmt: skip
    for template_id, text in enumerate(("Ask what is yes.", "It is.\nThat means yes. What was asked?")):
        example = Renderer(Prompted(turned))(RECORD, index=0, template_id=template_id)
        assert (example.inputs, example.targets, example.options) == (text, "Is it?", ())
    few = next(render_split(Prompted(turned, PromptMode.FS_OPT), "test"))
    assert len(few.exemplars) == 5
    assert inverted(spec, "why", (Template("{given} {question}"),), name="reason", metric="bleu").name == "reason"


def test_what_is_no_example_of_the_task_is_none_of_its_inversion():
    spec = make(fields=lambda record: record if record["id"] else None)
    assert [example.example_id for example in render_split(Prompted(inverted(spec, "question", ASK)), "test")] == [*range(1, 12)]  # fmt: skip
    empty = make(source=Listed(test=({**RECORD, "answer": []},)))
    with pytest.raises(UserError, match="record 0: its fields failed on the record"):
        list(render_split(Prompted(inverted(empty, "question", ASK)), "test"))


def test_published_templates_ask_for_the_published_slot():
    fields = PublishedFields("code", dict, ("q", "a", "w"), answer="a", options="w", rationale="w")
    spec = make(published=(fields,))
    (turned,) = inverted(spec, "question", ASK, published_answer="q").published
    assert (turned.answer, turned.options, turned.rationale, turned.slots) == ("q", (), "", fields.slots)
    assert inverted(spec, "question", ASK).published == ()


def test_its_fields_are_told_apart_by_those_of_the_task():
    digests = {
        callable_digest(inverted(spec, slot, (Template("{given}"),)).fields)
        for spec, slot in (
            (make(), "question"),
            (make(fields=lambda record: {**record, "why": "x"}), "question"),
            (make(answer="why", options=(), predict="generate", templates=(Template("{question}"),), rationale="", cot_templates=()), "question"),
        )
    }  # fmt: skip
    assert len(digests) == 3


def test_what_cannot_be_turned_around_is_refused():
    spec = make()
    for slot, message in (
        ("questoin", "not one of its slots .* Did you mean 'question'"),
        ("answer", "asks for already"),
    ):
        with pytest.raises(UserError, match=f"The inversion of task 'quiz'.*{message}"):
            inverted(spec, slot, ASK)
    with pytest.raises(UserError, match="shows the answer in its input"):
        inverted(spec, "question", (Template("{given}: {question}"),))
    with pytest.raises(UserError, match=r"unknown slot \{options\}"):
        inverted(spec, "question", (Template("{given} {options}"),))
    with pytest.raises(UserError, match="has a slot 'given' of its own"):
        inverted(inverted(spec, "question", ASK), "why", ASK)
    assert quiz() == spec.source
