import math

import pytest

from flan_jax.errors import UserError
from flan_jax.mixing import mixture as mixtures
from flan_jax.mixing.mixture import Entry, Mixture, Suite, get_mixture, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.catalog import Registry
from flan_jax.tasks.spec import PromptMode


@pytest.fixture
def catalogue(monkeypatch):
    """Empty catalogues, so that nothing of a test stays registered."""
    tasks, named = Registry("task"), Registry("mixture")
    monkeypatch.setattr(mixtures, "TASKS", tasks)
    monkeypatch.setattr(mixtures, "MIXTURES", named)
    return tasks


def test_weights_follow_policy_and_rates(make_task):
    mixture = Mixture("m", (Entry(make_task("a")), Entry(make_task("b"), 1000)), Proportional(cap=3000))
    assert mixture.weights({"a_zs_opt": 9999, "b_zs_opt": 5, "other": 1}) == {"a_zs_opt": 0.75, "b_zs_opt": 0.25}


def test_only_rates_that_the_policy_gives_are_capped(make_task):
    mixture = Mixture("m", (Entry(make_task("a")), Entry(make_task("b"), 9000)), Proportional(cap=3000))
    assert mixture.caps({"a_zs_opt": 9999, "b_zs_opt": 9999}) == {"a_zs_opt": 3000}


def test_a_size_that_is_not_known_names_the_remedy(make_task):
    with pytest.raises(UserError, match=r"'a_zs_opt' is not known.*flan-jax prepare"):
        Mixture("m", (Entry(make_task("a")),)).weights({})


def test_all_tasks_are_entries_then_suites_each_once(make_task):
    a, b, c = make_task("a"), make_task("b", "topic"), make_task("c")
    mixture = Mixture("m", (Entry(a), Entry(c)), suites=(Suite("in", (a,)), Suite("out", (b,), held_out=True)))
    assert mixture.train_tasks == (a, c)
    assert mixture.all_tasks == (a, c, b)


def test_a_held_out_cluster_that_is_trained_on_is_refused(make_task):
    entries = (Entry(make_task("a")), Entry(make_task("b", "topic")), Entry(make_task("c")))
    with pytest.raises(UserError, match=r"'unseen'.*'sentiment' is trained on: a_zs_opt, c_zs_opt"):
        Mixture("m", entries, suites=(Suite("unseen", (make_task("d"),), held_out=True),))
    Mixture("m", entries, suites=(Suite("seen", (make_task("d"),)),))
    many = tuple(Entry(make_task(f"t{number}")) for number in range(8))
    with pytest.raises(UserError, match=r"is trained on: t0_zs_opt, .*, t4_zs_opt and 3 more\. Remove"):
        Mixture("m", many, suites=(Suite("unseen", (make_task("d"),), held_out=True),))
    with pytest.raises(UserError, match=r"is trained on: t0_zs_opt, .*, t4_zs_opt\. Remove"):
        Mixture("m", many[:5], suites=(Suite("unseen", (make_task("d"),), held_out=True),))


def test_names_are_used_once(make_task):
    a = make_task("a")
    with pytest.raises(UserError, match="lists the task 'a_zs_opt' twice"):
        Mixture("m", (Entry(a), Entry(a)))
    with pytest.raises(UserError, match="two suites named 's'"):
        Mixture("m", (Entry(a),), suites=(Suite("s", (a,)), Suite("s", (a,))))
    with pytest.raises(UserError, match=r"two different tasks.*variant"):
        Mixture("m", (Entry(a),), suites=(Suite("s", (make_task("a", template_ids=(0,)),)),))
    assert Mixture("m", (Entry(a), Entry(make_task("a", variant="again")))).train_tasks[1].name == "a_zs_opt_again"


def test_what_names_nothing_is_refused(make_task):
    with pytest.raises(UserError, match="at least one entry"):
        Mixture("m", ())
    with pytest.raises(UserError, match="at least one task"):
        Suite("s", ())
    with pytest.raises(UserError, match="needs a name"):
        Mixture("", (Entry(make_task("a")),))
    with pytest.raises(UserError, match="needs a name"):
        Suite("", (make_task("a"),))
    for rate in (-1, math.inf, math.nan):
        with pytest.raises(UserError, match=f"rate {rate}, which must be a finite number"):
            Entry(make_task("a"), rate)


def test_mixtures_are_resolved_when_asked_for(catalogue, make_task):
    made = []

    def factory() -> Mixture:
        made.append(1)
        return Mixture("mine", (Entry(make_task("a")),))

    register_mixture("mine", factory)
    assert not made
    assert get_mixture("mine").name == "mine"
    with pytest.raises(UserError, match="registered already"):
        register_mixture("mine", lambda: factory())


def test_a_task_is_a_mixture_of_one(catalogue, make_task):
    catalogue.add("rte", make_task("rte").spec)
    mixture = get_mixture("rte")
    assert [(task.name, task.mode) for task in mixture.train_tasks] == [("rte_zs_opt", PromptMode.ZS_OPT)]


def test_an_unknown_name_is_answered_with_a_near_mixture_or_task(catalogue, make_task):
    catalogue.add("sentiment140", make_task("sentiment140").spec)
    register_mixture("flan2021", lambda: Mixture("flan2021", (Entry(make_task("a")),)))
    with pytest.raises(UserError, match="Did you mean 'flan2021'"):
        get_mixture("flan2012")
    with pytest.raises(UserError, match="Did you mean 'sentiment140'"):
        get_mixture("sentimnt140")
