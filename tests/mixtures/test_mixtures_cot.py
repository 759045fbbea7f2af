"""Chains of thought: what every row of FLAN's own files becomes."""

import pytest

from flan_jax.data.collections.cot import ROWS
from flan_jax.data.sources.base import DATA_DIR_VARIABLE
from flan_jax.eval.metrics.string_metrics import final_answer
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, PromptMode
from mixtures.cot.shared import as_sentence, reasoned

BASE = [TASKS.get(f"cot_{name}") for name in ROWS]


def test_nine_tasks_and_their_inversions_are_catalogued():
    cot = {name for name in TASKS if TASKS.get(name).collection == "cot"}
    assert cot == {f"cot_{name}{suffix}" for name in ROWS for suffix in ("", "_inverted")}


@pytest.mark.parametrize("spec", BASE, ids=lambda spec: spec.name)
def test_reasoning_ends_in_an_answer_that_the_metric_finds(spec):
    for template in spec.cot_templates:
        assert "{rationale}" in template.targets
        # A full stop behind it; a clause such as "it is not possible to tell" stands in quotation marks.
        assert template.targets.endswith(("answer is {answer}.", 'answer is "{answer}".'))
    inverted = TASKS.get(f"{spec.name}_inverted")
    assert inverted.cluster == spec.cluster
    assert all("{rationale}" in template.inputs for template in inverted.templates)


def test_a_rationale_is_a_sentence_before_the_answer_follows():
    row = {"question": "q", "answer": "6", "rationale": "2 x 3 = 6"}
    assert reasoned(row) == {"question": "q", "answer": "6", "rationale": "2 x 3 = 6."}
    for whole in ("It is 6.", "Is it 6?", 'He said "6."', "(It is 6.)"):
        assert as_sentence(whole) == whole


@pytest.mark.realdata
@pytest.mark.parametrize("spec", BASE, ids=lambda spec: spec.name)
def test_every_published_row_renders(realdata, monkeypatch, spec):
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(realdata))
    name = spec.name.removeprefix("cot_")
    if not (realdata / "flan_cot" / f"{name}_train.tsv").is_file():
        pytest.skip(f"no {name}_train.tsv")
    inverted = TASKS.get(f"{spec.name}_inverted")
    rows = 0
    for split in spec.source.splits:
        direct, reasoning, turned = (
            list(render_split(task, split))
            for task in (Prompted(spec), Prompted(spec, PromptMode.COT_ZS_OPT), Prompted(inverted))
        )
        assert len(direct) == len(reasoning) == len(turned)
        rows += len(direct)
        for answer, thought in zip(direct[::20], reasoning[::20], strict=True):
            assert final_answer(thought.targets, answer.targets) == 1
    assert rows == ROWS[name]
