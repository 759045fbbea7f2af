"""Factors and their levels."""

import itertools
import math

import pytest

from flan_jax.errors import UserError
from flan_jax.studies.factors.base import Level
from flan_jax.studies.factors.dirichlet import Dirichlet
from flan_jax.studies.factors.nested import Nested, crossed
from flan_jax.studies.factors.parts import AddOne, LeaveOneOut, NumberOfClusters, TasksPerCluster
from flan_jax.studies.factors.random import LogUniform, OneOf, Uniform
from flan_jax.studies.factors.values import Seeds, Values


def levels(factor, space, count=0, seed=0):
    return factor.levels(space, seed, count)


def test_values_and_seeds(space):
    found = levels(Values("modes", ((), ("no_template",)), ("own", "none"), "prompt"), space)
    assert [(level.shown, level.options) for level in found] == [
        ({"prompt": "own"}, {"modes": ()}),
        ({"prompt": "none"}, {"modes": ("no_template",)}),
    ]
    assert Values("OptimizerConfig.learning_rate", (0.1,)).label == "learning_rate"
    assert [level.options["seed"] for level in levels(Seeds(3, first=5), space)] == [5, 6, 7]


def test_leaving_one_out_is_complete(space):
    found = levels(LeaveOneOut("tasks"), space)
    assert [level.shown["left_out"] for level in found] == ["none", "a", "b", "c", "d"]
    assert [level.left_out for level in found] == [(), ("a",), ("b",), ("c",), ("d",)]
    assert [level.left_out for level in levels(LeaveOneOut("sources", ("inner",)), space)] == [(), ("inner",)]


def test_adding_one(space):
    found = levels(AddOne(("two",)), space)
    assert [(level.shown["added"], level.kept) for level in found] == [
        ("none", {"c"}),
        ("one", {"a", "b", "c"}),
        ("three", {"c", "d"}),
    ]


def test_numbers_of_clusters_grow_and_orders_differ(space):
    found = {
        (level.shown["clusters"], level.shown["order"]): level.kept
        for level in levels(NumberOfClusters((1, 2, 3), orders=3), space)
    }
    assert set(found) == {*itertools.product((1, 2), range(3)), (3, 0)}
    for order in range(3):
        assert found[1, order] < found[2, order] < found[3, 0] == {"a", "b", "c", "d"}
    assert frozenset.union(*(found[1, order] for order in range(3))) == found[3, 0]  # each comes first once
    always = levels(NumberOfClusters((1, 2), orders=2, always=("one",)), space)
    assert always[0].kept == {"a", "b"}
    assert len(always) == 3


def test_tasks_per_cluster(space):
    found = levels(TasksPerCluster((1, 2), orders=2), space)
    assert [level.shown for level in found] == [
        {"tasks_per_cluster": 1, "task_order": 0},
        {"tasks_per_cluster": 1, "task_order": 1},
        {"tasks_per_cluster": 2, "task_order": 0},
    ]
    assert found[0].kept | found[1].kept == found[2].kept == {"a", "b", "c", "d"}
    assert found[0].kept & found[1].kept == {"c", "d"}


def test_draws_are_of_their_place_alone(space):
    for factor in (
        Uniform("f", 0.1, 0.3),
        LogUniform("g", 1e-5, 1e-1),
        Uniform("h", 1, 3, whole=True),
        LogUniform("i", 1, 64, whole=True),
        OneOf("k", ("x", "y", None)),
    ):
        assert levels(factor, space, 40)[:7] == levels(factor, space, 7)
        assert levels(factor, space, 40) != levels(factor, space, 40, seed=1)


def test_draws_are_where_they_should_be(space):
    def values(factor):
        return [level.options[factor.option] for level in levels(factor, space, 400)]

    even = values(Uniform("f", 0.1, 0.3))
    assert 0.1 <= min(even) < 0.11 < 0.29 < max(even) <= 0.3
    logs = [math.log10(value) for value in values(LogUniform("g", 1e-5, 1e-1))]
    assert sum(logs) / 400 == pytest.approx(-3, abs=0.2)
    counts = [values(Uniform("h", 1, 3, whole=True)).count(number) for number in (1, 2, 3)]
    assert sum(counts) == 400
    assert min(counts) > 100  # both ends too
    assert set(values(LogUniform("i", 1, 4, whole=True))) == {1, 2, 3, 4}
    assert set(values(OneOf("k", ("x", "y", None)))) == {"x", "y", None}


def test_weights_are_drawn_over_units(space):
    found = levels(Dirichlet(), space, 30)
    assert all(list(level.weights) == ["one", "two", "three"] and level.kept is None for level in found)
    assert found[:9] == levels(Dirichlet(), space, 9)
    assert len({tuple(level.weights.values()) for level in found}) == 30
    # 15 times the own share of `two`, 1/16, is a bound: 0.9375.
    assert max(level.weights["two"] for level in levels(Dirichlet(prior="mixture"), space, 200)) <= 0.9375 + 1e-6
    some = levels(Dirichlet(names=("one", "two"), prior={"one": 1, "two": 3}), space, 2)
    assert [(sorted(level.weights), level.kept) for level in some] == [(["one", "two"], {"a", "b", "c"})] * 2


def test_a_designed_draw_is_one_of_the_candidates(space):
    factor = Dirichlet(prior="equal", design="d_optimal", degree="quadratic", candidates=200)
    found = [level.weights for level in levels(factor, space, 6)]
    assert found == [level.weights for level in levels(factor, space, 6)]
    # Of a quadratic law of three weights the best six runs are the corners and the middles of the edges.
    largest = sorted(max(weights.values()) for weights in found)
    assert largest == pytest.approx([0.5, 0.5, 0.5, 1.0, 1.0, 1.0], abs=0.12)
    with pytest.raises(UserError, match="6 coefficients, and 5 runs"):
        levels(factor, space, 5)
    with pytest.raises(UserError, match=r"Dirichlet\.candidates=200"):
        levels(factor, space, 201)


def test_nested_levels_exist_where_they_belong(space):
    inner = {"proportional": (Values("cap", (10, 20)), Values("temperature", (1.0, 2.0)))}
    factor = Nested(Values("rates", ("equal", "proportional")), inner)
    assert [level.options for level in levels(factor, space)] == [
        {"rates": "equal"},
        *(
            {"rates": "proportional", "cap": cap, "temperature": temperature}
            for cap in (10, 20)
            for temperature in (1.0, 2.0)
        ),
    ]
    assert factor.labels == ("rates", "cap", "temperature")


def test_levels_beside_each_other():
    one, other = Level({"x": 1}, kept=frozenset("ab"), left_out=("t",)), Level({"y": 2}, kept=frozenset("bc"))
    assert crossed([(one,), (other,)]) == [Level({"x": 1, "y": 2}, kept=frozenset("b"), left_out=("t",))]
    with pytest.raises(UserError, match="Two factors set the option 'seed'"):
        Level({"x": 1}, {"seed": 1}).beside(Level({"y": 1}, {"seed": 2}))
    with pytest.raises(UserError, match="Two factors give weights"):
        Level({"x": 1}, weights={"a": 1.0}).beside(Level({"y": 1}, weights={"a": 1.0}))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Values("", (1,)), "Values.option is empty"),
        (lambda: Values("seed", ()), "is empty. Give at least one value"),
        (lambda: Values("seed", (1, 2, 1)), "has 1 twice"),
        (lambda: Values("seed", (1, 2), ("a",)), "has 1 labels for 2 values"),
        (lambda: Seeds(0), "at least 1"),
        (lambda: Seeds(2, first=2**32 - 1), "go beyond"),
        (lambda: Uniform("f", 2, 1), "must be below"),
        (lambda: Uniform("f", 0.5, 2, whole=True), "must be such"),
        (lambda: LogUniform("f", 0, 1), "must be above 0"),
        (lambda: OneOf("f", ()), "is empty"),
        (lambda: NumberOfClusters((0,)), "at least 1"),
        (lambda: Dirichlet(min_strength=2.0, max_strength=1.0), "must be at most"),
        (lambda: Dirichlet(highest={"one": 2}), "must be from 0 to 1"),
        (lambda: Dirichlet(over="cluster"), "Did you mean 'clusters'"),
        (lambda: Nested(Uniform("f", 0, 1), {}), "whose levels are drawn"),
    ],
)
def test_what_is_no_factor(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [
        (LeaveOneOut(names=("on",)), "Did you mean 'one'"),
        (AddOne(("one",), names=("one",)), "which AddOne.base has already"),
        (AddOne(()), "AddOne.base is empty"),
        (NumberOfClusters((4,)), "trains on 3 clusters. Give a number from 1 to 3"),
        (NumberOfClusters((1,), orders=4), "Give at most 3"),
        (NumberOfClusters((1,), always=("one", "two")), "Give a number from 2 to 3"),
        (TasksPerCluster((3,)), "Give a number from 1 to 2"),
        (TasksPerCluster((1,), orders=3), "Give at most 2"),
        (Dirichlet(names=("one",)), "varies the weights of 1 of the clusters"),
        (Dirichlet(lowest={"on": 0.1}), "Did you mean 'one'"),
        (Dirichlet(prior={"one": 1}), "no share to 'two'"),
        (Dirichlet(min_strength=1e-6, max_strength=1e-6, tries=50), "weights that were drawn already"),
        (Nested(Values("rates", ("own",)), {"owns": ()}), "Did you mean 'own'"),
    ],
)
def test_levels_that_are_not_there(factor, sentence, space):
    with pytest.raises(UserError, match=sentence):
        levels(factor, space, 10)
