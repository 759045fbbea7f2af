"""A proposal: the mixture that the chosen law says is best, its controls, and what is predicted of each before it runs."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from flan_jax.errors import UserError
from flan_jax.studies.fits.choice import FamilyChoice
from flan_jax.studies.fits.estimate import Estimate
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.threads import one_thread
from flan_jax.studies.proposals.constraints import Limits, kl_divergence, within
from flan_jax.studies.proposals.effects import Effect, effects
from flan_jax.studies.proposals.predictive import RESAMPLES, RESAMPLES_SLOW, Predictive, predictive
from flan_jax.studies.proposals.search import by_draws, by_gradient

Method = Literal["best", "regmix"]
PULL = 0.1
"""λ of Olmix (February 2026). There it is in units of the loss; here by default in standard deviations of the runs."""
PROPOSED, PROPORTIONAL, EQUAL = "proposed", "proportional", "equal"


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A proposed mixture with its controls and predictions; everything of ``Estimate`` is in the objective's own direction.

    Attributes:
        objective: what is predicted.
        higher_is_better: its direction.
        runs: number of runs fitted.
        family: the law that proposes.
        method: ``gradient``, ``draws`` or ``regmix``.
        pull: λ, in units of the objective per nat of KL divergence from the prior.
        divergence: KL(proposed‖prior) in nats.
        mixtures: ``proposed``, ``proportional`` (the prior within the limits) and ``equal`` → unit → share.
        predictions: the same names → a run's predicted score, with its 95% prediction interval.
        by_family: the same names → family → predicted score, of all that were compared.
        gain: expected score of the proposed mixture minus that of the prior, turned so that more is better.
        beats_mean: the law predicts runs that it was not fitted to better than their mean does.
        at_limit: units that the limit on repeats holds back.
        effects: of each unit, the largest first, in the objective's own direction.
        notes: sentences to say.
    """

    objective: str
    higher_is_better: bool
    runs: int
    family: str
    method: str
    pull: float
    divergence: float
    mixtures: Mapping[str, Mapping[str, float]]
    predictions: Mapping[str, Estimate]
    by_family: Mapping[str, Mapping[str, float]]
    gain: Estimate
    beats_mean: bool
    at_limit: tuple[str, ...]
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]


@one_thread()
def propose(
    choice: FamilyChoice,
    prior: np.ndarray,
    *,
    family: str = "",
    method: Method = "best",
    pull: float = PULL,
    pull_in_objective: bool = False,
    caps: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 0,
) -> Proposal:
    """Proposes a mixture and predicts it, the prior and equal shares.

    Args:
        choice: families held against each other.
        prior: [K] on the simplex, over the units of the choice's table; a unit of no prior gets nothing.
        family: which law proposes; empty for the chosen one.
        method: ``best`` minimizes the predicted loss + λ KL(p‖prior), by its gradient where the law has one and among
            random mixtures where not; ``regmix`` averages the best 128 of 100,000 draws, without λ.
        pull: λ.
        pull_in_objective: λ is in units of the objective per nat, as in the paper; else in standard deviations of the
            objective over the runs.
        caps: [K], the largest share of each unit (``constraints.repeat_caps``).
        seed: of fits, resamples and draws.
        resamples: fits to resampled runs, for the intervals; 0 for 200, or 60 where a law is slow to fit.

    Raises:
        UserError: the caps leave no mixture, or the family was not compared.
    """
    name = family or choice.chosen
    if name not in {own.family for own in choice.compared}:
        raise UserError(" ".join((f"The family {name!r} could not be fitted to these runs.", *choice.notes)))
    if not np.isfinite(pull) or pull < 0:
        raise UserError(f"The pull to the prior is {pull:g}, which must be at least 0.")
    table = choice.table
    limits = Limits.of(table.units, _known(prior, choice), caps)
    scale = 1.0 if pull_in_objective else float(np.std(table.losses(choice.objective)))
    fit = predictive(
        choice, name, seed=seed, resamples=resamples or (RESAMPLES if FAMILIES[name].smooth else RESAMPLES_SLOW)
    )
    proposed, how = _searched(fit, FAMILIES[name].smooth, limits, method, pull * scale, seed)
    mixtures = {PROPOSED: proposed, PROPORTIONAL: limits.prior, EQUAL: _equal(limits)}
    stacked = np.stack(list(mixtures.values()))
    sign = -1.0 if table.higher_is_better[choice.objective] else 1.0
    checked = next(own for own in choice.compared if own.family == name)
    gain = _turned(fit.difference(proposed, limits.prior), -1.0)
    return Proposal(
        choice.objective,
        table.higher_is_better[choice.objective],
        len(table.runs),
        name,
        how,
        0.0 if method == "regmix" else pull * scale,
        float(kl_divergence(proposed, limits.prior)),
        {own: dict(zip(table.units, map(float, weights), strict=True)) for own, weights in mixtures.items()},
        {own: _turned(run, sign) for own, run in zip(mixtures, fit.runs(stacked), strict=True)},
        _by_family(choice, fit, name, mixtures, sign, seed),
        gain,
        checked.beats_mean,
        tuple(
            unit
            for unit, share, cap in zip(table.units, proposed, limits.caps, strict=True)
            if 0 < cap < 1 and share >= cap - 1e-6
        ),
        tuple(
            dataclasses.replace(effect, change=_turned(effect.change, sign))
            for effect in effects(fit, table.units, limits.prior, table.weights)
        ),
        _notes(choice, limits, prior, name, gain, beats_mean=checked.beats_mean),
    )


def _searched(
    fit: Predictive, smooth: bool, limits: Limits, method: Method, pull: float, seed: int
) -> tuple[np.ndarray, str]:
    if method == "regmix":
        return by_draws(fit.mean, limits, pull=0.0, seed=seed), "regmix"
    if smooth:
        return by_gradient(fit.mean, limits, pull=pull, seed=seed), "gradient"
    return by_draws(fit.mean, limits, pull=pull, seed=seed), "draws"


def _known(prior: np.ndarray, choice: FamilyChoice) -> np.ndarray:
    """Leaves units that no run has out of the prior: a law says nothing of them."""
    known = np.where(choice.table.weights.any(axis=0), np.asarray(prior, np.float64), 0.0)
    if known.sum() <= 0:
        raise UserError(
            "The prior gives all of its weight to units that no run has. Give a prior over those that were run."
        )
    return known / known.sum()


def _equal(limits: Limits) -> np.ndarray:
    open_to = limits.caps > 0
    return within(np.where(open_to, 1 / open_to.sum(), 0.0), limits.caps)


def in_direction(estimate: Estimate, *, higher_is_better: bool) -> Estimate:
    """Turns an estimated loss into an estimate of the objective's own."""
    return _turned(estimate, -1.0 if higher_is_better else 1.0)


def _turned(estimate: Estimate, sign: float) -> Estimate:
    """Multiplies an estimate by a sign; the ends of its interval keep their order."""
    ends = sorted((sign * estimate.low, sign * estimate.high))
    return Estimate(sign * estimate.value, *ends)


def _by_family(
    choice: FamilyChoice, fit: Predictive, name: str, mixtures: Mapping[str, np.ndarray], sign: float, seed: int
) -> dict[str, dict[str, float]]:
    """Predicts the mixtures by every family: where these disagree, the proposal lies beyond what the runs say."""
    losses = choice.table.losses(choice.objective)
    stacked = np.stack(list(mixtures.values()))
    found: dict[str, dict[str, float]] = {own: {} for own in mixtures}
    for one in choice.compared:
        law = fit.fitted if one.family == name else FAMILIES[one.family].fit(choice.table.weights, losses, seed=seed)
        for own, value in zip(mixtures, law.predict(stacked).mean, strict=True):
            found[own][one.family] = sign * float(value)
    return found


def _notes(
    choice: FamilyChoice, limits: Limits, prior: np.ndarray, family: str, gain: Estimate, *, beats_mean: bool
) -> tuple[str, ...]:
    notes = [*choice.notes]
    if not beats_mean:
        notes.append(
            f"The fit is no better than the mean: {family} predicts runs it was not fitted to no better than the mean of all "
            "runs does, so nothing supports the proposed weights. Make more runs, or longer ones."
        )
    elif gain.low <= 0:
        notes.append("The expected gain's interval covers 0: the proposed mixture may be no better than the prior.")
    absent = [unit for unit, share in zip(limits.units, prior, strict=True) if share > 0 and unit in _absent(choice)]
    if absent:
        notes.append(f"Left at 0 in all mixtures, as no run has them: {', '.join(map(repr, absent))}.")
    if not np.allclose(limits.prior, _known(prior, choice), atol=1e-6):
        notes.append("The prior breaks a limit on repeats; it is cut there, and the rest raised in proportion.")
    return tuple(notes)


def _absent(choice: FamilyChoice) -> set[str]:
    return {unit for unit, column in zip(choice.table.units, choice.table.weights.T, strict=True) if not column.any()}
