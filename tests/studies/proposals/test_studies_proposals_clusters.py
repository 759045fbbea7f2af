"""Laws of single clusters: each has its own, and says whether the proposed mixture helps it."""

import dataclasses

import numpy as np
import pytest

from flan_jax.studies.fits.choice import FamilyChoice, choose
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.proposals.clusters import ClusterLaw, cluster_laws

UNITS = ("a", "b", "c")
PRIOR = np.array([0.4, 0.3, 0.3])
MIXTURES = {
    "proposed": {"a": 0.8, "b": 0.1, "c": 0.1},
    "proportional": {"a": 0.4, "b": 0.3, "c": 0.3},
}
SLOPES = {"up": 0.5, "down": -0.3, "flat": 0.0, "noise": 0.0}
CLUSTERS = [f"suite/score/{name}" for name in SLOPES]


@pytest.fixture(scope="module")
def table() -> RunTable:
    """Forty runs: the score of one cluster rises with ``a``, of another it falls; one follows ``b``, one nothing."""
    generator = np.random.default_rng(3)
    weights = generator.dirichlet(np.ones(3), 40)
    scores = {
        f"suite/score/{name}": 0.5 + slope * weights[:, 0] + 0.01 * generator.normal(size=40)
        for name, slope in SLOPES.items()
    }
    # From the proportional to the proposed mixture b and c fall alike, so what tells them apart changes nothing.
    scores["suite/score/flat"] += 0.3 * (weights[:, 1] - weights[:, 2])
    scores["suite/score/few"] = np.where(np.arange(40) < 4, 0.5, np.nan)
    scores["suite/score"] = scores["suite/score/up"]
    return RunTable(tuple(f"run_{at}" for at in range(40)), UNITS, weights, scores, dict.fromkeys(scores, True))


@pytest.fixture(scope="module")
def choice(table: RunTable) -> FamilyChoice:
    return choose(table, "suite/score", families=("ridge_linear",), repeats=1, resamples=50)


@pytest.fixture(scope="module")
def laws(table: RunTable, choice: FamilyChoice) -> dict[str, ClusterLaw]:
    found, notes = cluster_laws(choice, table, [*CLUSTERS, "suite/score/few"], prior=PRIOR, mixtures=MIXTURES)
    (note,) = notes
    assert note.startswith("suite/score/few has no law: 4 runs with 4 different mixtures are too few")
    return {law.objective.rpartition("/")[2]: law for law in found}


def test_a_cluster_is_helped_hurt_or_neither(laws: dict[str, ClusterLaw]) -> None:
    assert {name: law.verdict for name, law in laws.items()} == {
        "up": "helped", "down": "hurt", "flat": "open", "noise": "not known",
    }  # fmt: skip
    for name, change in (("up", 0.2), ("down", -0.12), ("flat", 0.0)):
        own = laws[name].change
        assert own is not None
        assert own.value == pytest.approx(change, abs=0.02)
        assert own.low < change < own.high
        before, after = (laws[name].predictions[mixture] for mixture in ("proportional", "proposed"))
        assert after - before == pytest.approx(own.value)
    assert laws["up"].predictions["proportional"] == pytest.approx(0.7, abs=0.01)


def test_each_law_says_how_good_it_is_and_which_units_matter(laws: dict[str, ClusterLaw]) -> None:
    assert laws["up"].explained.low > 0.9
    assert not laws["noise"].beats_mean
    assert {law.runs for law in laws.values()} == {40}
    effect = {own.unit: own.change for own in laws["down"].effects}["a"]
    assert effect.high < 0
    assert effect.value == pytest.approx(-0.3 * 0.1 * (1 - PRIOR[0]), abs=0.004)


def test_where_less_is_better_a_fall_is_a_help(table: RunTable, choice: FamilyChoice) -> None:
    losses = dataclasses.replace(table, higher_is_better=dict.fromkeys(table.scores, False))
    found, _ = cluster_laws(choice, losses, CLUSTERS[:2], prior=PRIOR, mixtures=MIXTURES)
    assert [law.verdict for law in found] == ["hurt", "helped"]
    assert found[0].change is not None
    assert found[0].change.value == pytest.approx(0.2, abs=0.02)


def test_without_mixtures_there_are_laws_and_no_verdict(table: RunTable, choice: FamilyChoice) -> None:
    (law,), _ = cluster_laws(choice, table, CLUSTERS[:1], prior=PRIOR)
    assert (law.change, law.verdict, dict(law.predictions)) == (None, "not known", {})


def test_trees_give_way_to_the_best_law_that_has_a_gradient(table: RunTable, choice: FamilyChoice) -> None:
    trees = dataclasses.replace(choice.best, family="boosted_trees")
    own = dataclasses.replace(choice, compared=(trees, *choice.compared), chosen="boosted_trees")
    (law,), _ = cluster_laws(own, table, CLUSTERS[:1], prior=PRIOR, family="boosted_trees")
    assert law.family == "ridge_linear"
