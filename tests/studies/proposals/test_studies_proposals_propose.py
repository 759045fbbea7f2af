"""Proposals from runs with a known law: what is proposed, what is predicted of it, and what is said where nothing is known."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
from toy_study import toy_results

from flan_jax.errors import UserError
from flan_jax.eval.results import write_results
from flan_jax.studies.fits.choice import FamilyChoice, choose
from flan_jax.studies.fits.estimate import Estimate
from flan_jax.studies.fits.table import RunTable, joined
from flan_jax.studies.objectives import means
from flan_jax.studies.proposals.coverage import Confirmed, confirmed, coverage
from flan_jax.studies.proposals.measured import measured_scores, proposal_folder
from flan_jax.studies.proposals.predictive import predictive
from flan_jax.studies.proposals.propose import propose
from flan_jax.studies.proposals.record import RECORD, proposal_document, read_proposal, write_proposal

UNITS = ("a", "b", "c")
PRIOR = np.array([0.5, 0.3, 0.2])
BOTTOM = np.array([0.2, 0.3, 0.5])
NOISE = 0.02


quick = functools.partial(choose, repeats=1, resamples=100)
"""Tests look at what is chosen and said, not at the third digit of an interval."""


def bowl(weights: np.ndarray) -> np.ndarray:
    """Accuracy: highest at BOTTOM."""
    return 0.7 - ((weights - BOTTOM) ** 2).sum(axis=1)


def runs(count: int = 40, *, noise: float = NOISE, seed: int = 0) -> RunTable:
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(3), count)
    weights[-4:] = weights[0]  # replicates
    scores = bowl(weights) + noise * generator.normal(size=count)
    names = tuple(f"run_{at:04d}" for at in range(count))
    return RunTable(names, UNITS, weights, {"accuracy": scores}, {"accuracy": True})


@pytest.fixture(scope="module")
def choice() -> FamilyChoice:
    return quick(runs(), "accuracy", families=("ridge_linear", "ridge_quadratic"))


def test_the_optimum_is_found_and_better_is_up(choice: FamilyChoice) -> None:
    found = propose(choice, PRIOR, pull=0.0, resamples=60)
    assert (found.family, found.method) == ("ridge_quadratic", "gradient")
    assert list(found.mixtures["proposed"].values()) == pytest.approx(BOTTOM, abs=0.08)
    true = float(bowl(BOTTOM[None])[0] - bowl(PRIOR[None])[0])
    assert found.gain.low < true < found.gain.high
    assert found.gain.low > 0
    assert found.higher_is_better
    predicted = found.predictions["proposed"]
    assert predicted.low < predicted.value < predicted.high
    assert predicted.value == pytest.approx(0.7, abs=0.03)
    # An interval of a run is wider than its noise, and not by much.
    assert 2 * 1.96 * NOISE * 0.7 < predicted.high - predicted.low < 2 * 1.96 * NOISE * 2.5
    assert found.by_family["proposed"]["ridge_quadratic"] == pytest.approx(predicted.value)


def test_effects_say_which_unit_helps(choice: FamilyChoice) -> None:
    effects = {effect.unit: effect.change for effect in propose(choice, PRIOR, resamples=60).effects}
    moved = 0.9 * PRIOR + 0.1 * np.eye(3)
    expected = bowl(moved) - bowl(PRIOR[None])
    for unit, change in zip(UNITS, expected, strict=True):
        assert effects[unit].value == pytest.approx(change, abs=0.015)
    assert effects["c"].low > 0 > effects["a"].high


def test_a_pull_draws_to_the_prior_and_a_cap_holds(choice: FamilyChoice) -> None:
    free, pulled = (propose(choice, PRIOR, pull=pull, resamples=4) for pull in (0.0, 3.0))
    assert pulled.divergence < free.divergence / 2
    raw = propose(choice, PRIOR, pull=pulled.pull, pull_in_objective=True, resamples=4)
    assert raw.mixtures["proposed"] == pytest.approx(pulled.mixtures["proposed"], abs=1e-4)
    capped = propose(choice, PRIOR, pull=0.0, caps=np.array([1, 1, 0.3]), resamples=4)
    assert capped.mixtures["proposed"]["c"] == pytest.approx(0.3, abs=1e-6)
    assert capped.at_limit == ("c",)
    assert max(capped.mixtures["equal"].values()) <= 0.35 + 1e-9


def test_intervals_cover_new_runs_about_as_often_as_they_promise(choice: FamilyChoice) -> None:
    generator = np.random.default_rng(5)
    covered = []
    for seed in range(3):
        own = quick(runs(seed=seed + 1), "accuracy", families=("ridge_quadratic",), seed=seed)
        (interval,) = predictive(own, "ridge_quadratic", seed=seed, resamples=40).runs(PRIOR[None])
        new = -(bowl(PRIOR[None])[0] + NOISE * generator.normal(size=200))
        covered.append(np.mean((interval.low <= new) & (new <= interval.high)))
    assert 0.85 < np.mean(covered) < 0.998


def test_noise_alone_is_said_to_support_nothing() -> None:
    noise = runs()
    noise = RunTable(
        noise.runs, UNITS, noise.weights, {"accuracy": np.random.default_rng(2).normal(size=40)}, {"accuracy": True}
    )
    found = propose(quick(noise, "accuracy", families=("ridge_linear",)), PRIOR, resamples=20)
    assert not found.beats_mean
    assert any(note.startswith("The fit is no better than the mean") for note in found.notes)


def test_a_unit_of_no_run_gets_nothing_and_an_added_one_is_fitted_with_the_runs_that_exist() -> None:
    old = runs(30)
    wider = old.with_units((*UNITS, "d"))
    prior = np.array([0.4, 0.2, 0.2, 0.2])
    found = propose(quick(wider, "accuracy", families=("ridge_linear",)), prior, resamples=4)
    assert {own["d"] for own in found.mixtures.values()} == {0.0}
    assert any("Left at 0 in all mixtures, as no run has them: 'd'" in note for note in found.notes)
    generator = np.random.default_rng(3)
    weights = generator.dirichlet(np.ones(4), 12)
    scores = bowl(weights[:, :3]) + 1.5 * weights[:, 3]
    new = RunTable(
        tuple(f"new_{at}" for at in range(12)), (*UNITS, "d"), weights, {"accuracy": scores}, {"accuracy": True}
    )
    both = propose(quick(joined([old, new]), "accuracy", families=("ridge_linear",)), prior, resamples=40)
    assert both.effects[0].unit == "d"
    assert both.effects[0].change.low > 0
    assert both.mixtures["proposed"]["d"] > 0.3


def test_what_was_predicted_is_written_before_the_runs_and_kept(choice: FamilyChoice, tmp_path: Path) -> None:
    document = proposal_document(propose(choice, PRIOR, resamples=4), choice)
    folder = tmp_path / "proposal"
    paths = write_proposal(document, folder, include="base.gin", runs=folder / "runs")
    assert [path.name for path in paths] == [RECORD, "proposed.gin", "proportional.gin", "equal.gin"]
    text = (folder / "proposed.gin").read_text()
    assert text.index("include 'base.gin'") < text.index("run.model_dir = ") < text.index("run.weights = {")
    kept = read_proposal(proposal_folder(tmp_path))
    assert kept["mixtures"]["equal"] == pytest.approx(dict.fromkeys(UNITS, 1 / 3))
    assert len(kept["measured"]) == 40
    assert kept["measured"][0]["score"] == pytest.approx(choice.table.scores["accuracy"][0])
    # Before a run begins it may be made anew; afterwards not with other predictions.
    other = proposal_document(propose(choice, PRIOR, pull=1.0, resamples=4), choice)
    (folder / "runs" / "equal").mkdir(parents=True)
    write_proposal(document, folder, include="base.gin", runs=folder / "runs")
    before = (folder / RECORD).read_bytes()
    with pytest.raises(UserError, match="predicts the run 'equal', which has begun"):
        write_proposal(other, folder, include="base.gin", runs=folder / "runs")
    assert (folder / RECORD).read_bytes() == before


def test_predicted_against_measured_and_how_often_intervals_covered(tmp_path: Path) -> None:
    predictions = {name: {"value": 1.0, "low": 0.5, "high": 1.5} for name in ("proposed", "proportional", "equal")}
    document = {
        "version": 1, "objective": "loss", "mixtures": {name: {"a": 1.0} for name in predictions}, "predictions": predictions,
        "runs_dir": None,
    }  # fmt: skip
    (tmp_path / RECORD).write_text(json.dumps(document))
    assert measured_scores(tmp_path, document) == {}
    (tmp_path / "measured.csv").write_text("run,loss\nproposed,1.5\nequal,1.6\n")
    found = confirmed("here", document, measured_scores(tmp_path, document))
    assert [run.covered for run in found] == [True, None, False]
    counted = coverage(found)
    assert counted is not None
    assert counted[:2] == (1, 2)
    assert coverage([Confirmed("here", "equal", Estimate(1, 0, 2), None)]) is None


def test_the_interval_of_coverage_is_exact() -> None:
    runs = [Confirmed("p", "equal", Estimate(0, -1, 1), 0.0)] * 9 + [Confirmed("p", "equal", Estimate(0, -1, 1), 5.0)]
    counted = coverage(runs)
    assert counted is not None
    # Clopper and Pearson's for 9 of 10, as their tables have it.
    assert (counted[2].low, counted[2].high) == pytest.approx((0.5550, 0.9975), abs=1e-4)


def test_a_family_that_was_not_fitted_and_a_folder_without_a_proposal_are_refused(
    choice: FamilyChoice, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="'log_linear' could not be fitted"):
        propose(choice, PRIOR, family="log_linear")
    with pytest.raises(UserError, match="pull to the prior is -1"):
        propose(choice, PRIOR, pull=-1.0)
    with pytest.raises(UserError, match=r"holds proposal\.json"):
        proposal_folder(tmp_path)


def test_a_confirming_run_is_measured_by_its_own_results(tmp_path: Path) -> None:
    document = {
        "objective": "held_out/choice_probability",
        "mixtures": {"proposed": {}, "equal": {}},
        "runs_dir": "runs",
    }
    early, late = toy_results(0.2), toy_results(0.6)
    write_results(tmp_path / "runs" / "proposed", dataclasses.replace(early, step=2))
    write_results(tmp_path / "runs" / "proposed", late)
    expected = next(
        mean.value
        for mean in means(late.suites["held_out"])
        if str(mean.metric) == "choice_probability" and not mean.cluster
    )
    assert measured_scores(tmp_path, document) == {"proposed": pytest.approx(expected)}
    with pytest.raises(UserError, match="measured no suite 'elsewhere'"):
        measured_scores(tmp_path, {**document, "objective": "elsewhere/score"})
    with pytest.raises(UserError, match="has no 'held_out/none'"):
        measured_scores(tmp_path, {**document, "objective": "held_out/none"})
