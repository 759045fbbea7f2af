"""Prompts and rates of training, chosen otherwise than the mixture declares them."""

import dataclasses
import itertools

import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.config import MixingConfig
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.policies import Equal, Proportional, UniMax
from flan_jax.mixing.training import chosen_training
from flan_jax.tasks.source import Source
from flan_jax.tasks.spec import Prompted, PromptMode, Template

SIZES = {"a": 100, "b": 300}


class Unshown(Source):
    """A source without a training split, which nothing reads."""

    splits = ("test",)

    def read(self, split):
        raise AssertionError("a mixture must not read records")

    def fingerprint(self, split):
        return "0"

    def describe(self):
        return "nothing"


@pytest.fixture
def tasks(make_task) -> dict[str, Prompted]:
    """``a`` has four templates, the last two inverted; ``b`` has one, and no training split to show examples of."""
    ask, turned = Template("Good? {text}"), Template("Write: {answer}", "{text}", inverted=True)
    a, b = make_task("a", "first"), make_task("b", "second")
    spec = dataclasses.replace(
        a.spec, templates=(ask, Template("Is it? {text}"), turned, Template("Say: {answer}", "{text}", inverted=True))
    )

    return {"a": Prompted(spec), "b": dataclasses.replace(b, spec=dataclasses.replace(b.spec, source=Unshown()))}


@pytest.fixture
def mixture(tasks) -> Mixture:
    a = dataclasses.replace(tasks["a"], template_ids=(0, 1))
    return Mixture(
        "m",
        (
            Entry(a, 3.0),
            Entry(dataclasses.replace(a, mode=PromptMode.ZS_NOOPT), 1.0),
            Entry(Prompted(a.spec, PromptMode.ZS_NOOPT, (2, 3), variant="inverted"), 2.0),
            Entry(tasks["b"], 6.0),
        ),
        Equal(),
        suites=(Suite("held_in", (a, tasks["b"])),),
        curriculum=(("a_zs_opt", 1.0), ("b_zs_opt", 1.0)),
    )


def shares(mixture: Mixture) -> dict[str, float]:
    return mixture.weights({task.name: SIZES[task.spec_name] for task in mixture.train_tasks})


def chosen(mixture: Mixture, **options: object) -> Mixture:
    return chosen_training(mixture, MixingConfig(**options), seed=0)


def test_as_declared_it_is_the_very_mixture(mixture):
    assert chosen(mixture) == mixture


def test_without_inversion_the_other_prompts_get_the_rate(mixture):
    assert shares(chosen(mixture, inversion=False)) == pytest.approx(
        {"a_zs_opt": 0.5 * 3 / 4, "a_zs_noopt": 0.5 / 4, "b_zs_opt": 0.5}
    )


def test_without_inversion_a_prompt_of_both_kinds_is_a_variant(tasks):
    found = chosen(Mixture("m", (Entry(tasks["a"]),)), inversion=False)
    assert [(task.name, task.drawn_templates) for task in found.train_tasks] == [("a_zs_opt_not_inverted", (0, 1))]


def test_prompt_modes_share_what_the_task_has(mixture):
    found = chosen(mixture, modes=("no_template", "dataset_name"))
    assert shares(found) == pytest.approx(
        {"a_no_template": 0.25, "a_dataset_name": 0.25, "b_no_template": 0.25, "b_dataset_name": 0.25}
    )
    assert found.suites == mixture.suites
    assert dict(found.curriculum) == pytest.approx(
        {"a_no_template": 0.5, "a_dataset_name": 0.5, "b_no_template": 0.5, "b_dataset_name": 0.5}
    )
    with_inverted = shares(chosen(mixture, modes=("zs_opt",)))
    assert with_inverted == pytest.approx(
        {"a_zs_opt": 0.5 * 4 / 6, "a_zs_noopt_inverted": 0.5 * 2 / 6, "b_zs_opt": 0.5}
    )


def test_a_task_without_the_mode_is_said(mixture):
    found = chosen(mixture, modes=("fs_opt",))
    assert [task.name for task in found.train_tasks] == ["a_fs_opt", "a_zs_noopt_inverted"]
    assert found.notes == ("measured and not trained on, without a prompt as run.modes=fs_opt asks: 1 task (b)",)
    with pytest.raises(UserError, match=r"No task of mixture 'm' can be trained with run\.modes='cot_zs_opt'"):
        chosen(mixture, modes=("cot_zs_opt",))


def test_share_of_few_shot(mixture):
    found = chosen(mixture, few_shot_share=0.25)
    expected = {
        "a_zs_opt": 0.25 * 0.75,
        "a_fs_opt": 0.25 * 0.25,
        "a_zs_noopt": 0.5 / 6 * 0.75,
        "a_fs_noopt": 0.5 / 6 * 0.25,
        "a_zs_noopt_inverted": 0.5 / 3 * 0.75,
        "a_fs_noopt_inverted": 0.5 / 3 * 0.25,
        "b_zs_opt": 0.5,
    }
    assert shares(found) == pytest.approx(expected)
    assert found.notes == ("zero-shot as they were, without a few-shot prompt: 1 task (b)",)
    assert {task.mode.few_shot for task in chosen(mixture, few_shot_share=1.0, keep="a").train_tasks} == {True}
    assert shares(chosen(mixture, few_shot_share=0.0)) == shares(mixture)


def test_share_of_few_shot_where_a_size_decides(tasks):
    own = Mixture("m", (Entry(tasks["a"]), Entry(tasks["b"])), Proportional(cap=200))
    assert shares(chosen(own, few_shot_share=0.5)) == pytest.approx(
        {"a_zs_opt": 1 / 6, "a_fs_opt": 1 / 6, "b_zs_opt": 2 / 3}
    )
    with pytest.raises(UserError, match="UniMax"):
        chosen(Mixture("m", own.entries, UniMax(1, 100)), few_shot_share=0.5)


def test_share_of_few_shot_beside_few_shot_is_refused(tasks):
    own = Mixture("m", (Entry(dataclasses.replace(tasks["a"], mode=PromptMode.FS_OPT)),))
    with pytest.raises(UserError, match="'a_fs_opt', which has solved examples already"):
        chosen(own, few_shot_share=0.5)


def test_fewer_templates_are_among_more(tasks):
    own = Mixture("m", (Entry(tasks["a"]), Entry(tasks["b"])))
    for seed in range(5):
        found = [
            set(chosen_training(own, MixingConfig(max_templates=count), seed).train_tasks[0].drawn_templates)
            for count in (1, 2, 3, 4)
        ]
        assert [len(ids) for ids in found] == [1, 2, 3, 4]
        assert all(fewer < more for fewer, more in itertools.pairwise(found))
        assert found[0] <= {0, 1}  # the answer is asked for
    assert [task.name for task in chosen(own, max_templates=2).train_tasks] == ["a_zs_opt_2of4templates", "b_zs_opt"]
    assert chosen(own, max_templates=4) == own
    assert len({chosen_training(own, MixingConfig(max_templates=1), seed).train_tasks[0] for seed in range(20)}) > 1
    fixed = MixingConfig(max_templates=1, template_seed=3)
    assert len({chosen_training(own, fixed, seed).train_tasks[0] for seed in range(20)}) == 1


def test_equal_and_proportional_rates_count_tasks_not_prompts(mixture):
    assert shares(chosen(mixture, rates="equal")) == pytest.approx(
        {"a_zs_opt": 1 / 4, "a_zs_noopt": 1 / 12, "a_zs_noopt_inverted": 1 / 6, "b_zs_opt": 1 / 2}
    )
    assert shares(chosen(mixture, rates="proportional", cap=200))["b_zs_opt"] == pytest.approx(2 / 3)
    assert shares(chosen(mixture, rates="proportional", temperature=2.0))["b_zs_opt"] == pytest.approx(
        3**0.5 / (1 + 3**0.5)
    )


def test_a_cap_takes_the_place_of_the_mixture_s(tasks):
    inner = Mixture("inner", (Entry(tasks["a"]), Entry(tasks["b"])), Proportional(cap=10))
    found = chosen(Mixture("m", (Entry(inner, 1.0),)), cap=200)
    assert shares(found) == pytest.approx({"a_zs_opt": 1 / 3, "b_zs_opt": 2 / 3})
    assert chosen(Mixture("m", (Entry(inner, 1.0),)), cap=10).entries[0].task == inner
    with pytest.raises(UserError, match=r"run.cap=200 is for rates that grow with size.*run.rates='proportional'"):
        chosen(Mixture("m", (Entry(tasks["a"]), Entry(tasks["b"])), Equal()), cap=200)


def test_weights_come_last(mixture):
    found = chosen(mixture, inversion=False, leave_out="b", weights={"first": 2.0}, few_shot_share=0.5)
    assert shares(found) == pytest.approx(
        {"a_zs_opt": 3 / 8, "a_fs_opt": 3 / 8, "a_zs_noopt": 1 / 8, "a_fs_noopt": 1 / 8}
    )
