"""What goes with a held-out cluster, across collections."""

import pytest

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.experiments.mixture import select_mixture
from flan_jax.mixing.holdout import hold_out_of
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import Prompted
from mixtures.flan2021 import collection
from mixtures.rules import MADE_FROM, RULES, SAME_SKILL, named


def held(name, mixture="flan2021"):
    made = select_mixture(mixture, hold_out=(name,))
    (suite,) = [suite for suite in made.suites if suite.name == "held_out"]
    return {task.spec.name for task in suite.tasks}, {task.spec.name for task in made.train_tasks}


@pytest.mark.parametrize("paper", [name for name in collection.PAPER_CLUSTERS if name != "miscellaneous"])
def test_a_cluster_may_have_the_name_of_the_paper(paper):
    tested, trained = held(paper)
    assert tested == set(collection.PAPER_CLUSTERS[paper])
    assert not tested & trained


def test_the_paper_s_miscellany_is_held_out_task_by_task():
    tested, trained = held("miscellaneous")
    assert tested == set(collection.PAPER_CLUSTERS["miscellaneous"])
    assert "true_case" not in trained  # it is made from the texts of fix_punct, which is held out
    assert "rte" in trained


def test_flan_s_exclusions_and_shared_texts_are_left_out():
    _, trained = held("entailment")
    assert not trained & set(collection.CLUSTERS["paraphrase"])
    assert "wsc" not in trained  # WNLI is made from the same sentences
    assert "winogrande" in trained
    _, trained = held("common_sense")
    assert not trained & set(collection.CLUSTERS["read_comp_and_common_sense"])


def test_chains_of_thought_on_the_same_skill_are_left_out():
    tasks = [Prompted(TASKS.get(name)) for name in ("snli", "cot_esnli", "cot_gsm8k", "copa")]
    made = hold_out_of(Mixture("some", tuple(map(Entry, tasks))), ("entailment",), RULES)
    assert [task.spec.name for task in made.train_tasks] == ["cot_gsm8k", "copa"]


def test_names_of_the_mixture_come_before_the_paper_s():
    own = Mixture("some", (Entry(Prompted(TASKS.get("world_facts"))),))
    assert named(own, ["closed_book_qa"]) == ("closed_book_qa",)  # the embedded world has a cluster of that name
    with pytest.raises(UserError, match="Did you mean 'entailment'"):
        select_mixture("flan2021", hold_out=("entailmnt",))


def test_every_rule_names_something():
    clusters = {TASKS.get(name).cluster for name in TASKS}
    for names in SAME_SKILL:
        assert clusters & set(names), names
    for task in MADE_FROM:
        assert task in TASKS


def test_a_task_and_its_copy_under_another_user_are_one_origin():
    assert published("a/rte", train="train", folders=("x",)).origins() & TASKS.get("rte").source.origins()


def test_a_task_of_one_s_own_takes_its_inversion_along():
    tasks = [Prompted(TASKS.get(name)) for name in ("cot_gsm8k", "cot_gsm8k_inverted", "cot_aqua")]
    made = hold_out_of(Mixture("some", tuple(map(Entry, tasks))), ("cot_gsm8k",), RULES)
    assert [task.spec.name for task in made.train_tasks] == ["cot_aqua"]
