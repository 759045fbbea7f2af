"""Laws of single clusters: which of them a proposed mixture helps or hurts beside what it does for the objective."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from flan_jax.errors import UserError
from flan_jax.studies.fits.choice import FamilyChoice, choose
from flan_jax.studies.fits.estimate import Estimate
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.proposals.effects import Effect, effects
from flan_jax.studies.proposals.predictive import Predictive, predictive
from flan_jax.studies.proposals.propose import PROPORTIONAL, PROPOSED, in_direction

RESAMPLES = 60
"""Fits to resampled runs for each cluster: there may be many, and their intervals decide between three words."""
Verdict = Literal["helped", "hurt", "open", "not known"]


@dataclasses.dataclass(frozen=True)
class ClusterLaw:
    """The law of one cluster's score; every ``Estimate`` but the first two is in the score's own direction.

    Attributes:
        objective: the score, such as ``held_out/choice_probability/CLUSTER``.
        family: of the law.
        runs: number of runs fitted.
        spearman: out of fold.
        explained: share of the squared error of the mean that the law takes away, out of fold.
        beats_mean: its interval lies above 0.
        predictions: mixture → predicted score.
        change: of the score from the proportional to the proposed mixture; ``None`` where no mixtures were asked for.
        verdict: ``helped`` or ``hurt`` where the interval of ``change`` lies on one side of 0, else ``open``; ``not known``
            where the law predicts runs no better than their mean does, and where there is no ``change``.
        effects: of each unit, the largest first.
    """

    objective: str
    family: str
    runs: int
    spearman: Estimate
    explained: Estimate
    beats_mean: bool
    predictions: Mapping[str, float]
    change: Estimate | None
    verdict: Verdict
    effects: tuple[Effect, ...]


def cluster_laws(
    choice: FamilyChoice,
    table: RunTable,
    objectives: Sequence[str],
    *,
    prior: np.ndarray,
    family: str = "",
    mixtures: Mapping[str, Mapping[str, float]] | None = None,
    seed: int = 0,
) -> tuple[tuple[ClusterLaw, ...], tuple[str, ...]]:
    """Fits the law of each cluster's score.

    Args:
        choice: of the objective's law. Where its family has no gradient, as trees have none, the best one that has is
            taken: a hundred fits of trees for every cluster would take minutes.
        table: runs with the clusters' scores.
        objectives: these scores, by name.
        prior: [K], where effects are looked at.
        family: of the laws; empty for the chosen one.
        mixtures: ``proposed`` and ``proportional``, and others that are predicted.
        seed: of folds and resamples.

    Returns:
        A law for each score that can be fitted, and a sentence on each that can not.
    """
    name = _family(choice, family)
    laws: list[ClusterLaw] = []
    notes: list[str] = []
    for objective in objectives:
        try:
            own = choose(table, objective, families=(name,), seed=seed, repeats=1)
        except UserError as error:
            notes.append(f"{objective} has no law: {error}")
            continue
        laws.append(_law(own, predictive(own, name, seed=seed, resamples=RESAMPLES), prior, mixtures or {}))
    return tuple(laws), tuple(notes)


def _family(choice: FamilyChoice, asked: str) -> str:
    names = [asked] if asked else []
    names += [one.family for one in choice.compared]
    return next((name for name in names if FAMILIES[name].smooth), names[0])


def _law(
    choice: FamilyChoice, fit: Predictive, prior: np.ndarray, mixtures: Mapping[str, Mapping[str, float]]
) -> ClusterLaw:
    table, checked = choice.table, choice.best
    higher = table.higher_is_better[choice.objective]
    weights = {name: np.array([own[unit] for unit in table.units]) for name, own in mixtures.items()}
    change: Estimate | None = None
    if mixtures:
        change = in_direction(fit.difference(weights[PROPOSED], weights[PROPORTIONAL]), higher_is_better=higher)
    return ClusterLaw(
        choice.objective,
        checked.family,
        len(table.runs),
        checked.spearman,
        checked.explained,
        checked.beats_mean,
        {name: (-1.0 if higher else 1.0) * float(fit.mean(own[None])[0]) for name, own in weights.items()},
        change,
        _verdict(change, higher=higher, beats_mean=checked.beats_mean),
        tuple(
            dataclasses.replace(effect, change=in_direction(effect.change, higher_is_better=higher))
            for effect in effects(fit, table.units, prior, table.weights)
        ),
    )


def _verdict(change: Estimate | None, *, higher: bool, beats_mean: bool) -> Verdict:
    if change is None or not beats_mean:
        return "not known"
    if change.low <= 0 <= change.high:
        return "open"
    return "helped" if (change.low > 0) == higher else "hurt"
