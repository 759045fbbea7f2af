"""A study as runs: complete, in order, decided by its seed, and continued without a change to what was there."""

import dataclasses

import pytest

from flan_jax.errors import UserError
from flan_jax.studies import run_rows
from flan_jax.studies.config import StudyConfig
from flan_jax.studies.expand import expand, extended, run_config
from flan_jax.studies.factors.base import Factor
from flan_jax.studies.factors.dirichlet import Dirichlet
from flan_jax.studies.factors.parts import LeaveOneOut, NumberOfClusters, TasksPerCluster
from flan_jax.studies.factors.random import LogUniform
from flan_jax.studies.factors.values import Seeds, Values

RATES = Values("OptimizerConfig.learning_rate", (0.1, 0.2))


@pytest.fixture
def plans(base, space):
    def make(*factors: Factor, **options):
        return expand(StudyConfig("s", factors, **options), base, space=space)

    return make


def test_factors_are_crossed_in_order(plans):
    found = plans(LeaveOneOut(), RATES, Seeds(2))
    assert [plan.index for plan in found] == list(range(4 * 2 * 2))
    assert [plan.name for plan in found][:2] == ["run_0000", "run_0001"]
    assert [tuple(plan.levels.values()) for plan in found][:5] == [
        ("none", 0.1, 0),
        ("none", 0.1, 1),
        ("none", 0.2, 0),
        ("none", 0.2, 1),
        ("one", 0.1, 0),
    ]
    assert found[5].options == {
        "leave_out": ("one",),
        "OptimizerConfig.learning_rate": 0.1,
        "seed": 1,
        "template_seed": 0,
    }
    assert len({plan.digest() for plan in found}) == 16


def test_draws_are_crossed_with_levels(plans):
    found = plans(Dirichlet(), RATES, draws=3)
    assert [(plan.levels["draw"], plan.levels["learning_rate"]) for plan in found] == [
        (draw, rate) for draw in range(3) for rate in (0.1, 0.2)
    ]
    assert found[0].weights == found[1].weights == found[0].options["weights"] != found[2].weights
    assert all(sum(plan.weights.values()) == pytest.approx(1, abs=1e-9) for plan in found)


# What these machines drew when this was written: a study must be the same study on every machine, for good.
def test_weights_are_what_they_always_were(plans):
    first, second = plans(Dirichlet(), draws=2)
    assert first.weights == {"one": 0.248292, "two": 0.000398, "three": 0.75131}
    assert second.weights == {"one": 0.996472, "two": 0.000422, "three": 0.003106}


def test_factors_with_draws_are_drawn_together(plans):
    rates = LogUniform("OptimizerConfig.learning_rate", 1e-4, 1e-2)
    found = plans(Dirichlet(), rates, draws=4)
    assert [plan.levels["draw"] for plan in found] == [0, 1, 2, 3]
    assert len({plan.levels["learning_rate"] for plan in found}) == 4
    assert [plan.weights for plan in found] == [plan.weights for plan in plans(Dirichlet(), draws=4)]


def test_the_seed_decides(plans):
    assert plans(Dirichlet(), draws=3) == plans(Dirichlet(), draws=3)
    assert plans(Dirichlet(), draws=3)[0].weights != plans(Dirichlet(), draws=3, seed=1)[0].weights
    clusters = [plans(NumberOfClusters((1,)), seed=seed)[0].options["keep"] for seed in range(12)]
    assert len(set(clusters)) > 1


def test_what_two_factors_keep_is_what_both_keep(plans):
    found = plans(NumberOfClusters((3,)), TasksPerCluster((1, 2)))
    assert [len(plan.options["keep"]) for plan in found] == [3, 3]
    assert found[1].options["keep"] == ("one", "two", "three")
    assert found[0].options["keep"][0] in ("a", "b")


def test_weights_of_what_is_left_out_are_shared_out(plans):
    whole, left = plans(Dirichlet(prior="equal", min_strength=5.0), LeaveOneOut(names=("one",)), draws=1)
    assert set(left.weights) == {"two", "three"}
    assert sum(left.weights.values()) == pytest.approx(1, abs=1e-5)
    assert left.weights["two"] * whole.weights["three"] == pytest.approx(
        left.weights["three"] * whole.weights["two"], abs=1e-5
    )


def test_weights_of_clusters_that_are_not_kept_are_shared_out(plans):
    found = plans(Dirichlet(prior="equal", min_strength=5.0), NumberOfClusters((2,)), draws=2)
    for plan in found:
        assert set(plan.weights) == set(plan.options["keep"]) == set(plan.options["weights"])


def test_replicates_are_equal_but_for_their_seed(plans):
    found = plans(Dirichlet(), draws=5, replicated=2, replicates=3)
    assert [(plan.levels["draw"], plan.replicate) for plan in found] == [
        *((0, replicate) for replicate in range(4)),
        *((1, replicate) for replicate in range(4)),
        (2, 0),
        (3, 0),
        (4, 0),
    ]
    first, *again = found[:4]
    for plan in again:
        assert (plan.levels, plan.weights) == (first.levels, first.weights)
        assert {**plan.options, "seed": 0, "template_seed": 0} == {**first.options, "seed": 0, "template_seed": 0}
    assert len({plan.options.get("seed", 0) for plan in found[:4]}) == 4
    assert {plan.options["template_seed"] for plan in again} == {0}


@pytest.mark.parametrize("same_templates", [True, False])
def test_what_is_run_again_is_one_point_of_the_database(plans, same_templates):
    replicated = plans(Dirichlet(), draws=3, replicated=1, replicates=2, same_templates=same_templates)
    seeded = plans(LeaveOneOut(), Seeds(3), same_templates=same_templates)
    rates = plans(Values("run.template_seed", (0, 1)), Seeds(2), same_templates=same_templates)
    for found, counts in ((replicated, [3, 1, 1]), (seeded, [3, 3, 3, 3]), (rates, [2, 2])):
        points = [run_rows.point_of(plan) for plan in found]
        assert [points.count(point) for point in dict.fromkeys(points)] == counts


def test_replicates_of_a_grid_are_chosen_by_the_seed(plans):
    def chosen(seed):
        found = plans(LeaveOneOut("tasks"), seed=seed, replicated=2, replicates=1)
        return tuple(plan.levels["left_out"] for plan in found if plan.replicate)

    assert len({chosen(seed) for seed in range(8)}) > 1
    with pytest.raises(UserError, match="has 5 points"):
        plans(LeaveOneOut("tasks"), replicated=6, replicates=1)


def test_other_templates_for_other_seeds_where_asked_for(plans):
    assert all("template_seed" not in plan.options for plan in plans(Seeds(3), same_templates=False))


def test_a_designed_point_that_comes_twice_is_run_with_two_seeds(plans):
    found = plans(Dirichlet(prior="equal", design="d_optimal", candidates=30), draws=9)
    assert len({plan.digest() for plan in found}) == 9
    points = [tuple(plan.weights.values()) for plan in found]
    assert len(set(points)) < 9
    assert max(plan.replicate for plan in found) >= 1
    seeds = {(point, plan.options.get("seed", 0)) for point, plan in zip(points, found, strict=True)}
    assert len(seeds) == 9


def test_a_run_s_configuration(plans, base, tmp_path):
    plan = plans(RATES)[1]
    config = run_config(base, plan, tmp_path)
    assert config.optimizer.learning_rate == 0.2
    assert (config.model_dir, config.data.store) == (f"{tmp_path}/runs/run_0001", f"{tmp_path}/store")
    assert run_config(base.with_options(store="s"), plan, tmp_path).data.store == "s"


def test_more_draws_leave_the_runs_that_were_there(plans):
    few = plans(Dirichlet(), RATES, draws=3, replicated=2, replicates=1)
    more = plans(Dirichlet(), RATES, draws=5, replicated=2, replicates=1)
    assert few == more[: len(few)]
    assert extended(few, more) == more


def test_more_levels_come_behind(plans):
    few = plans(LeaveOneOut(names=("one",)), RATES)
    more = plans(LeaveOneOut(), dataclasses.replace(RATES, values=(0.05, 0.1, 0.2)))
    found = extended(few, more)
    assert found[: len(few)] == few
    assert [plan.index for plan in found] == list(range(12))
    assert [plan.name for plan in found][-1] == "run_0011"
    assert {plan.digest() for plan in found} == {plan.digest() for plan in more}


def test_another_study_continues_none(plans):
    few = plans(Dirichlet(), draws=3)
    for other in (plans(Dirichlet(), draws=4, seed=1), plans(Dirichlet(temperature=1.0), draws=4)):
        with pytest.raises(UserError, match=r"run_0000 \(draw=0\) is not among the 4 runs"):
            extended(few, other)
    with pytest.raises(UserError, match=r"run_0002 \(draw=2\) is not among"):
        extended(few, plans(Dirichlet(), draws=2))


@pytest.mark.parametrize(
    ("factors", "options", "sentence"),
    [
        ((Values("sed", (1,)),), {}, r"run_0000 of study 's' \(sed=1\): .* Did you mean 'seed'"),
        ((Values("OptimizerConfig.learning_rate", (0.1, -1.0)),), {}, r"run_0001 .*learning_rate=-1.0"),
        ((Values("seed", (1, 2)), Values("run.seed", (1,), name="x")), {}, "Two factors set the option 'seed'"),
        ((Seeds(50_000), Values("log_period", (1, 2, 3))), {}, "would have 150,000 runs; it may have 100,000"),
        (
            (Dirichlet(names=("one", "two"), prior="equal"), NumberOfClusters((1,), always=("three",))),
            {"draws": 1},
            "draw=0, clusters=1 together keep no task to train on",
        ),
        (
            (Dirichlet(min_strength=1e-3, max_strength=1e-3), LeaveOneOut()),
            {"draws": 1},
            "leave only what has the weight 0 to train on",
        ),
    ],
)
def test_what_is_refused_before_anything_runs(plans, factors, options, sentence):
    with pytest.raises(UserError, match=sentence):
        plans(*factors, **options)


def test_one_run_twice_is_refused(plans):
    with pytest.raises(UserError, match=r"run_0000 \(x=one\) and run_0001 \(x=uno\) would be the same run"):
        plans(Values("keep", (("a",), ["a"]), ("one", "uno"), "x"))


def test_weights_of_the_base_run_and_of_a_factor(base, space):
    study = StudyConfig("s", (Dirichlet(),), draws=1)
    with pytest.raises(UserError, match=r"run\.weights gives the base run weights"):
        expand(study, base.with_options(weights={"one": 1.0}), space=space)


def test_weights_that_are_given_stand_among_the_weights(plans):
    mixtures = ({"one": 3, "two": 1, "three": 4}, {"a": 1.0, "b": 1.0, "inner": 2.0})
    first, second = plans(Values("weights", mixtures, ("ours", "equal"), "mixture"))
    assert (first.levels, first.weights) == ({"mixture": "ours"}, {"one": 0.375, "two": 0.125, "three": 0.5})
    assert first.options == {"weights": first.weights}
    assert second.weights == {"a": 0.25, "b": 0.25, "inner": 0.5}
    with pytest.raises(UserError, match="Did you mean 'one'"):
        plans(Values("weights", ({"on": 1.0},)))
    with pytest.raises(UserError, match="the rate -1, which must be"):
        plans(Values("weights", ({"one": -1, "two": 2},)))
    with pytest.raises(UserError, match="Two factors give weights"):
        plans(Values("weights", mixtures), Dirichlet(), draws=1)
