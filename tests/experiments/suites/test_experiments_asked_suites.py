"""A run's suites asked otherwise: prepared with solved examples or other templates, measured under names of their own."""

import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import eval_suites
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, Suite
from flan_jax.models.t5.config import T5Config
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY, PARITY
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Options of ``EvalConfig`` → the suites as they are measured."""
    parity, copy = Prompted(PARITY), Prompted(COPY)
    suites = (Suite("held_in", (parity, copy)), Suite("other", (copy,), split="validation"))
    mixture = Mixture("asked_toy", (Entry(parity), Entry(copy)), suites=suites, vocabulary="bytes")
    monkeypatch.setitem(MIXTURES._items, "asked_toy", lambda: mixture)

    def make(inputs=256, **options):
        config = RunConfig.from_options(
            model_dir=str(tmp_path / "run"), mixture="asked_toy", lengths={"inputs": inputs, "targets": 32},
            model=T5Config(384, 8, 4, 2, 8, 1, 1), optimizer=OptimizerConfig(), steps=1, batch_size=8,
            evaluation=EvalConfig(**options),
        )  # fmt: skip
        prepare_run(config)
        return eval_suites(open_data(config, training=False), config)

    return make


def test_solved_examples_stand_before_each_question(measured):
    plain, asked = measured(512), measured(512, shots=3, tasks=("toy_number",))
    assert {name: [task.name for task in tasks] for name, tasks in asked.items()} == {
        "held_in_3shot:toy_number": ["toy_parity_fs_opt_3shot"]
    }
    (before,), (after,) = (
        [task for task in suites[name] if "parity" in task.name]
        for suites, name in ((plain, "held_in"), (asked, "held_in_3shot:toy_number"))
    )
    assert before.data != after.data
    for one, other in zip(before.examples, after.examples, strict=True):
        assert (one.references, one.options) == (other.references, other.options)
        assert other.inputs_text.count(" X 1 ") == 4  # FLAN 2021's way: three solved ones and the question
    assert after.notes[0].startswith(
        "Asked with up to 3 solved examples of the training split, as many as fit 480 tokens"
    )
    assert before.notes == ()


def test_more_examples_than_fit_are_left_out(measured):
    (task,) = measured(inputs=150, shots=9, tasks=("toy_number",))["held_in_9shot:toy_number"]
    counts = {example.inputs_text.count(" X 1 ") - 1 for example in task.examples}
    assert max(counts) < 9
    assert min(counts) > 0
    assert "as many as fit 140 tokens" in task.notes[0]


def test_templates_and_tasks_are_chosen(measured):
    suites = measured(templates=(1,))
    assert list(suites) == ["held_in_templates1", "other_templates1"]
    assert {example.template_id for tasks in suites.values() for task in tasks for example in task.examples} == {1}
    chosen = measured(tasks=("toy_copy*",), max_examples=2, label="_limit2")
    assert list(chosen) == ["held_in_limit2:toy_copy*", "other_limit2:toy_copy*"]
    assert chosen["other_limit2:toy_copy*"][0].name == "toy_copy_zs_opt_validation_limit2"
    assert [len(task.examples) for tasks in chosen.values() for task in tasks] == [2, 2]


def test_each_record_is_asked_under_so_many_templates_and_orders(measured):
    plain = measured()["held_in"][0]
    asked = measured(template_budget=2, option_orders=2, max_examples=5)["held_in_budget2_2orders"]
    parity = next(task for task in asked if "parity" in task.name)
    assert parity.name == "toy_parity_zs_opt_budget2_2orders"
    assert parity.asked == {"task": "toy_parity", "mode": "zs_opt", "template_budget": 2, "option_orders": 2}
    rows = [(example.example_id, example.template_id, example.option_order.number) for example in parity.examples]
    # Five records, each under two templates, each with its two options in both orders.
    assert len(rows) == len(set(rows)) == 20
    assert len({record for record, _, _ in rows}) == 5
    assert len({row[:2] for row in rows}) == 10
    assert {example.options for example in parity.examples} == {plain.examples[0].options}
    assert parity.notes[0].startswith("Each of 5 records is asked under 2 of ")
    copy = next(task for task in asked if "copy" in task.name)
    assert "no prompt lists any in an order of ours: each is asked once" in copy.notes[-1]
    # What is trained on, and what is measured without a budget, stay where they were.
    assert measured()["held_in"][0].data == plain.data


def test_what_cannot_be_asked_is_refused(measured):
    with pytest.raises(
        UserError, match=r"Unknown task or cluster of the suites 'toy_parit'. Did you mean 'toy_parity'"
    ):
        measured(tasks=("toy_parit",))
    with pytest.raises(UserError, match=r"EvalConfig\.label='a/b' becomes a part of file names"):
        measured(label="a/b")
