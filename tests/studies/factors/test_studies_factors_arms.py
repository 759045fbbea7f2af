"""Studies of arms: several ablations around one baseline."""

import pytest

from flan_jax.errors import UserError
from flan_jax.studies.factors.arms import Arms
from flan_jax.studies.factors.parts import LeaveOneOut, NumberOfClusters, TasksPerCluster
from flan_jax.studies.factors.random import Uniform
from flan_jax.studies.factors.settings import Settings
from flan_jax.studies.factors.values import Seeds, Values

TEMPLATES = Values("max_templates", (1, 2))
START = Settings("start", {"untuned": {"steps": 0, "seed": 0}, "random": {"run.initial_checkpoint": ""}})


def test_the_baseline_is_there_once_and_shows_its_level_in_every_arm(space):
    arms = Arms(
        {"templates": (TEMPLATES,), "start": (START,)},
        {"max_templates": 8, "start": "tuned"},
        (Seeds(2),),
    )
    found = arms.levels(space, 0, 0)
    assert arms.labels == ("arm", "max_templates", "start", "seed")
    assert [(level.shown, level.options) for level in found] == [
        ({"arm": "baseline", "max_templates": 8, "start": "tuned", "seed": 0}, {"seed": 0}),
        ({"arm": "baseline", "max_templates": 8, "start": "tuned", "seed": 1}, {"seed": 1}),
        *(
            ({"arm": "templates", "max_templates": count, "seed": seed}, {"max_templates": count, "seed": seed})
            for count in (1, 2)
            for seed in (0, 1)
        ),
        ({"arm": "start", "start": "untuned"}, {"steps": 0, "seed": 0}),  # says its seed itself
        *(
            ({"arm": "start", "start": "random", "seed": seed}, {"initial_checkpoint": "", "seed": seed})
            for seed in (0, 1)
        ),
    ]


def test_the_level_that_leaves_nothing_out_is_the_baseline_s(space):
    left_out = LeaveOneOut("clusters")
    parts = [level.shown["left_out"] for level in left_out.levels(space, 0, 0)]
    found = Arms({"clusters": (left_out,)}, {"left_out": "none"}).levels(space, 0, 0)
    assert [level.shown for level in found] == [
        {"arm": "baseline", "left_out": "none"},
        *({"arm": "clusters", "left_out": part} for part in parts[1:]),
    ]
    unnamed = Arms({"clusters": (left_out,)}).levels(space, 0, 0)  # nobody said that it is the baseline's
    assert [level.shown.get("left_out") for level in unnamed] == [None, *parts]


def test_factors_of_one_arm_are_crossed(space):
    arms = Arms({"both": (TEMPLATES, Values("inversion", (True, False)))})
    assert [tuple(level.options.values()) for level in arms.levels(space, 0, 0)] == [
        (),
        (1, True),
        (1, False),
        (2, True),
        (2, False),
    ]


def test_orders_with_seeds_of_their_own_are_replicates(space):
    clusters = NumberOfClusters((1, 3), orders=3, seeded=True)
    assert clusters.labels == ("clusters", "order", "seed")
    found = Arms({"clusters": (clusters,)}, common=(Seeds(5),)).levels(space, 0, 0)[5:]
    assert [(level.shown["clusters"], level.shown["order"], level.options["seed"]) for level in found] == [
        (count, order, order) for count in (1, 3) for order in range(3)
    ]
    assert len({level.kept for level in found[:3]}) == 3
    assert len({level.kept for level in found[3:]}) == 1  # all clusters, three seeds
    tasks = TasksPerCluster((1,), seeded=True).levels(space, 0, 0)
    assert [(level.shown, level.options) for level in tasks] == [({"tasks_per_cluster": 1, "seed": 0}, {"seed": 0})]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Arms({}), r"Arms\.arms is empty"),
        (lambda: Arms({"baseline": (TEMPLATES,)}), "the name of the runs that all arms share"),
        (lambda: Arms({"templates": ()}), "'templates' without factors"),
        (lambda: Arms({"a": (Uniform("cap", 1, 2),)}), "whose levels are drawn"),
        (lambda: Arms({"a": (TEMPLATES,)}, {"max_template": 8}), "Did you mean 'max_templates'"),
        (lambda: Settings("", {"a": {}}), "name is empty"),
        (lambda: Settings("a", {}), "is empty. Give at least one"),
    ],
)
def test_arms_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
