"""From suites to what is measured."""

import dataclasses

import numpy as np
import pytest

from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.eval.runner import evaluate
from flan_jax.experiments import evaluate as evaluate_module
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData
from flan_jax.experiments.evaluate import eval_suites
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.models.t5.config import T5Config
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY, PARITY
from flan_jax.train.optimizer import OptimizerConfig
from mixtures.flan2021.read_comp_and_common_sense import RECORD
from mixtures.flan2021.reading_comprehension import MULTIRC

LENGTHS = {"inputs": 128, "targets": 32}


def test_a_task_measured_on_two_splits_has_two_names(tmp_path):
    parity, copy = Prompted(PARITY), Prompted(COPY)
    suites = (Suite("seen", (parity,), split="train"), Suite("unseen", (parity, copy)))
    mixture = Mixture("m", (Entry(parity), Entry(copy)), suites=suites)
    store, vocabulary = TokenStore(tmp_path / "store"), ByteVocabulary()
    wanted = [(parity, ["train", "test"]), (copy, ["test"])]
    prepare(wanted, PrepareConfig(vocabulary, TokenizeConfig(LENGTHS)), store=store)
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"),
        mixture="m",
        lengths=LENGTHS,
        model=T5Config(384, 8, 4, 2, 8, 1, 1),
        optimizer=OptimizerConfig(),
        steps=1,
        batch_size=8,
    )

    def names(chosen):
        data = RunData(mixture, vocabulary, store, (), {}, {}, chosen)
        return {suite: [task.name for task in tasks] for suite, tasks in eval_suites(data, config).items()}

    both = {"seen": [f"{parity.name}_train"], "unseen": [f"{parity.name}_test", copy.name]}
    assert names(suites) == both
    assert names(suites[1:]) == {"unseen": both["unseen"]}  # whichever of them a run measures


STORY = "Mia planted beans. They grew in May, and in June she sold half of them."
QUESTIONS = {("When did they grow?", 0): ("May", "June", "In spring"), ("What was sold?", 1): ("Beans", "May", "Half")}


def answered(split):
    """MultiRC's records: answers to two questions, and to one of a copy without numbers."""
    rows = [
        {
            "idx": {"paragraph": 7, "question": number},
            "paragraph": STORY,
            "question": question,
            "answer": answer,
            "label": i % 2,
        }
        for (question, number), answers in QUESTIONS.items()
        for i, answer in enumerate(answers)
    ]
    return [*rows, *({"paragraph": STORY, "question": "Who?", "answer": name, "label": 0} for name in ("Mia", "Bea"))]


def told(split):
    return [
        {
            "passage": f"{STORY} Ken Bean was there.\n@highlight\nBeans",
            "query": "When asked, @placeholder's friend said that Mia was kind.",
            "entities": ["Mia", "Ken Bean", "Bean"],
            "answers": ["Ken Bean"],
        }
    ] * 2


class Picks:
    """Chooses the option in a place of its own for every example."""

    def __init__(self, places):
        self.places = places

    def rank(self, examples, advance):
        return [np.eye(len(example.options))[place] for example, place in zip(examples, self.places, strict=True)]

    def rank_notes(self, examples):
        return []


def measured(tmp_path, spec, make, *, max_examples=0, template_ids=None, prepared=None):
    """The evaluation task of a spec over records of its own, prepared as itself or as ``prepared``."""
    source = generated(spec.name, make, 1, splits=("test",))
    task, other = (
        Prompted(dataclasses.replace(one, source=source), template_ids=template_ids or one.scored_templates)
        for one in (spec, prepared or spec)
    )
    store, vocabulary = TokenStore(tmp_path / "store"), ByteVocabulary()
    lengths = {"inputs": 1024, "targets": 128}
    prepare([(other, ["test"])], PrepareConfig(vocabulary, TokenizeConfig(lengths)), store=store)
    suite = Suite("all", (task,))
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"), mixture="m", lengths=lengths, model=T5Config(384, 8, 4, 2, 8, 1, 1), steps=1,
        optimizer=OptimizerConfig(), batch_size=8, evaluation=EvalConfig(max_examples=max_examples),
    )  # fmt: skip
    data = RunData(Mixture("m", (Entry(task),), suites=(suite,)), vocabulary, store, (), {}, {}, (suite,))
    (made,) = eval_suites(data, config)["all"]
    return made


def test_groups_travel_from_the_record_to_the_metric(tmp_path):
    task = measured(tmp_path, MULTIRC, answered)
    groups = [example.group for example in task.examples]
    assert groups[:6] == ["7.0"] * 3 + ["7.1"] * 3
    assert len(set(groups)) == 3
    assert groups[6] == groups[7]
    # Labels no yes no | no yes no | no no; the fourth is answered wrongly.
    (result,) = evaluate(Picks([0, 1, 0, 1, 1, 0, 0, 0]), [task])
    assert result.metric == "f1a:yes"
    assert result.value == pytest.approx(2 * 2 / (3 + 2))
    assert result.metrics["group_em"] == pytest.approx(2 / 3)
    assert result.notes == ()


def test_groups_that_are_not_whole_are_counted(tmp_path):
    task = measured(tmp_path, MULTIRC, answered, max_examples=4)
    assert len(task.examples) == 4
    assert task.notes[0].startswith("1 of 2 groups are measured by a part of their examples")


def test_an_entity_is_compared_without_the_rest_of_its_sentence(tmp_path):
    task = measured(tmp_path, RECORD, told, template_ids=(2,))
    assert {example.ending for example in task.examples} == {"'s friend said that Mia was kind."}
    (result,) = evaluate(Picks([task.examples[0].options.index("Bean's friend said that Mia was kind."), 0]), [task])
    assert [example.references for example in task.examples] == [("Ken Bean's friend said that Mia was kind.",)] * 2
    wanted = [2 * 1 * 0.5 / 1.5, 0.0]  # "Bean" shares one word of two with "Ken Bean", "Mia" none
    assert (result.value, result.metrics["record_f1"]) == (0.0, pytest.approx(sum(wanted) / 2))


def test_a_store_from_before_endings_is_read_and_the_result_says_so(tmp_path):
    task = measured(tmp_path, RECORD, told, template_ids=(2,), prepared=dataclasses.replace(RECORD, ending=None))
    (result,) = evaluate(Picks([task.examples[0].options.index("Bean's friend said that Mia was kind."), 0]), [task])
    assert result.metrics["record_f1"] > 0.8
    assert "which raises F1" in result.notes[0]
    assert measured(tmp_path, RECORD, told, template_ids=(2,)).notes == ()


def test_a_store_from_before_groups_is_read_and_the_result_says_so(tmp_path):
    older = dataclasses.replace(MULTIRC, group=None)
    task = measured(tmp_path, MULTIRC, answered, prepared=older)
    assert {example.group for example in task.examples} == {""}
    (result,) = evaluate(Picks([0, 1, 0, 1, 1, 0, 0, 0]), [task])
    assert result.metrics["group_em"] == result.metrics["accuracy"] == pytest.approx(7 / 8)
    assert result.notes[0].startswith("8 of 8 examples do not say which group they belong to")
    # Where both are there the newer is read, and other groups are another preparation.
    assert {example.group for example in measured(tmp_path, MULTIRC, answered).examples} > {"7.0", "7.1"}
    with pytest.raises(UserError, match="changed since: group"):
        measured(tmp_path / "b", dataclasses.replace(MULTIRC, group=lambda record: "one"), answered, prepared=MULTIRC)


def test_a_task_that_cannot_be_asked_is_left_out_and_named(tmp_path, monkeypatch):
    parity, copy = Prompted(PARITY), Prompted(COPY)
    suites = (Suite("all", (parity, copy)), Suite("odd", (copy,)))
    store, vocabulary = TokenStore(tmp_path / "store"), ByteVocabulary()
    wanted = [(parity, ["test"]), (copy, ["test"])]
    prepare(wanted, PrepareConfig(vocabulary, TokenizeConfig(LENGTHS)), store=store)
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"), mixture="m", lengths=LENGTHS, model=T5Config(384, 8, 4, 2, 8, 1, 1), steps=1,
        optimizer=OptimizerConfig(), batch_size=8,
    )  # fmt: skip
    data = RunData(Mixture("m", (Entry(parity), Entry(copy)), suites=suites), vocabulary, store, (), {}, {}, suites)
    convert = evaluate_module.eval_task

    def refusing(task, *others):
        if task is copy:
            raise UserError("It has no example to score.")
        return convert(task, *others)

    monkeypatch.setattr(evaluate_module, "eval_task", refusing)
    refused = {}
    found = eval_suites(data, config, refused)
    assert {name: [task.name for task in members] for name, members in found.items()} == {"all": [parity.name]}
    assert {name: str(error) for name, error in refused.items()} == {copy.name: "It has no example to score."}
    for chosen, options in ((suites, (None,)), (suites[1:], ({},))):
        with pytest.raises(UserError, match="no example to score"):
            eval_suites(dataclasses.replace(data, suites=chosen), config, *options)


def test_prompts_that_were_cut_are_counted(tmp_path):
    def long(split):
        return [{**record, "paragraph": record["paragraph"] * 20} for record in answered(split)]

    notes = measured(tmp_path, MULTIRC, long).notes
    assert notes[0].startswith("8 of 8 prompts of this split were longer than the run's lengths and were cut")
