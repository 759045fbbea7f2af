"""The choice among families by cross-validation, and what is said of each that cannot be fitted."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flan_jax.errors import UserError
from flan_jax.studies.fits.cross_validation import REPEATS, RESAMPLES, CrossValidated, cross_validate, fold_count
from flan_jax.studies.fits.families import FAMILIES, asked_families, default_family
from flan_jax.studies.fits.family import LawFamily
from flan_jax.studies.fits.noise_ceiling import NoiseCeiling, noise_ceiling
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.fits.threads import one_thread

LEAST_POINTS = 6
"""Different mixtures below which nothing is fitted."""


@dataclasses.dataclass(frozen=True)
class FamilyChoice:
    """Families held against each other on the runs of one table.

    Attributes:
        table: the runs that were fitted: those with a score.
        objective: what is predicted.
        compared: every family that could be fitted, best first.
        chosen: name of the one with the smallest error out of fold.
        default: name of the one that public work advises for so many runs; it may be among those not fitted.
        ceiling: from replicates; ``None`` without any.
        notes: sentences on families left out, runs left out, and units that the runs do not tell apart.
    """

    table: RunTable
    objective: str
    compared: tuple[CrossValidated, ...]
    chosen: str
    default: str
    ceiling: NoiseCeiling | None
    notes: tuple[str, ...]

    @property
    def best(self) -> CrossValidated:
        """The chosen family's cross-validation."""
        return next(own for own in self.compared if own.family == self.chosen)


@one_thread()
def choose(
    table: RunTable,
    objective: str,
    *,
    families: Sequence[str] = (),
    seed: int = 0,
    repeats: int = REPEATS,
    resamples: int = RESAMPLES,
    progress: Callable[[str], None] = lambda name: None,
) -> FamilyChoice:
    """Cross-validates families on the runs that have a score and chooses the one with the smallest error.

    Args:
        table: runs; those without a score of the objective are left out, with a note.
        objective: its name in the table.
        families: names; empty for all that this machine can fit.
        seed: of folds, starts and resamples.
        repeats: how often the folds are dealt anew.
        resamples: of the runs, for the intervals.
        progress: is told the name of each family before it is fitted.

    Raises:
        UserError: too few runs, none with a score, or scores that are all the same.
    """
    own = table.with_scores(objective)
    losses, points = own.losses(objective), own.points()
    asked, notes = asked_families(families)
    _check_enough(own, losses, points)
    notes = (*_left_out(table, own, objective), *notes, *unidentified(own))
    smallest_training = len(points) - max(np.bincount(np.arange(points.max() + 1) % fold_count(points)))
    compared: list[CrossValidated] = []
    for family in asked:
        if sentence := _too_few(family, smallest_training, own):
            notes = (*notes, sentence)
            continue
        if sentence := underdetermined(family.name, len(own.runs), len(own.units)):
            notes = (*notes, sentence)
        progress(family.name)
        compared.append(
            cross_validate(family, own.weights, losses, points, seed=seed, repeats=repeats, resamples=resamples)
        )
    if not compared:
        raise UserError(" ".join(notes))
    compared.sort(key=lambda one: one.rmse.value)
    return FamilyChoice(
        own,
        objective,
        tuple(compared),
        compared[0].family,
        default_family(len(own.runs)),
        noise_ceiling(losses, points),
        notes,
    )


def unidentified(table: RunTable) -> tuple[str, ...]:
    """Returns a sentence on units whose effects the runs cannot tell apart; empty where they can tell all.

    The effect of each of K units is told when the weights of the runs have rank K. A unit of no run is never told; one
    that was added later is told as soon as one run has it, and the rest were told before.
    """
    absent = [unit for unit, column in zip(table.units, table.weights.T, strict=True) if not column.any()]
    sentences = []
    if absent:
        sentences.append(
            f"No run has {_quoted(absent)}, so nothing is known of {'it' if len(absent) == 1 else 'them'}: "
            "add runs with it to learn its effect."
        )
    present = [place for place, unit in enumerate(table.units) if unit not in absent]
    _, lengths, directions = np.linalg.svd(table.weights[:, present], full_matrices=True)
    rank = int((lengths > 1e-9 * lengths[0]).sum())
    if rank < len(present):
        tied = np.flatnonzero(np.abs(directions[rank:]).max(axis=0) > 1e-6)
        names = _quoted([table.units[present[place]] for place in tied])
        sentences.append(
            f"The {len(table.runs)} runs have weights of rank {rank} for {len(present)} units, so the effects of {names} "
            f"are not told apart: at least {len(present) - rank} more runs are needed, in other proportions."
        )
    return tuple(sentences)


def _check_enough(table: RunTable, losses: np.ndarray, points: np.ndarray) -> None:
    distinct = int(points.max()) + 1
    if distinct < LEAST_POINTS:
        raise UserError(
            f"{len(points)} runs with {distinct} different mixtures are too few to fit and test a law of "
            f"{len(table.units)} weights. Make at least {max(LEAST_POINTS, len(table.units) + 2)} different ones."
        )
    if np.ptp(losses) == 0:
        raise UserError(f"All {len(losses)} runs have the same score, so there is nothing to fit.")


def _too_few(family: LawFamily, training: int, table: RunTable) -> str:
    """Returns why a family cannot be fitted to so few runs, or ``""``; a ridge can, as its penalty decides the rest."""
    units = len(table.units)
    needed = family.runs_needed(units)
    if needed <= training or family.name.startswith("ridge"):
        return ""
    return (
        f"{family.name} is left out: for {units} weights it needs {needed} runs in every fold's fit, and there are "
        f"{training} (of {len(table.runs)} in all)."
    )


def underdetermined(family: str, runs: int, units: int) -> str:
    """Returns a sentence where a family has more coefficients than runs, so that its penalty decides; else ``""``."""
    needed = FAMILIES[family].runs_needed(units)
    if needed <= runs:
        return ""
    return f"{family} has {needed} coefficients and {runs} runs: its penalty decides the rest, and {needed} runs would not."


def _left_out(table: RunTable, own: RunTable, objective: str) -> tuple[str, ...]:
    missing = [run for run in table.runs if run not in own.runs]
    if not missing:
        return ()
    return (
        f"{len(missing)} of {len(table.runs)} runs have no score of {objective!r} and are left out: {_some(missing)}.",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names[:6]) + (" and more" if len(names) > 6 else "")
