"""Weights and scores of a study's runs as arrays (``RunTable``): what every fit is made from."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.errors import UserError, unknown

SUM_TOLERANCE = 0.01
"""By so much the weights of a run may miss a sum of 1: published tables are rounded to three digits."""


@dataclasses.dataclass(frozen=True)
class RunTable:
    """One row a run: n runs, K units (tasks, clusters or sources of the mixture).

    Attributes:
        runs: names of the n runs, each once.
        units: names of the K units, each once.
        weights: [n, K], rows on the simplex; 0 where a run does not have a unit. Rows whose sum is off by rounding
            (``SUM_TOLERANCE``) are divided by it.
        scores: objective → [n]; NaN where a run has none.
        higher_is_better: objective → the direction of its scores.

    Raises:
        UserError: a row is off the simplex, or a name, a length or a direction is wrong.
    """

    runs: tuple[str, ...]
    units: tuple[str, ...]
    weights: np.ndarray
    scores: Mapping[str, np.ndarray]
    higher_is_better: Mapping[str, bool]

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, np.float64)
        if weights.shape != (len(self.runs), len(self.units)):
            raise UserError(
                f"The weights have shape {weights.shape}, not that of {len(self.runs)} runs × {len(self.units)} units."
            )
        for kind, names in (("run", self.runs), ("unit", self.units)):
            if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
                raise UserError(f"The {kind} {twice[0]!r} is there twice. Give each {kind} a name of its own.")
        _check_simplex(weights, self.runs, self.units)
        object.__setattr__(self, "weights", weights / weights.sum(axis=1, keepdims=True))
        scores = {name: np.asarray(own, np.float64) for name, own in self.scores.items()}
        for name, own in scores.items():
            if own.shape != (len(self.runs),):
                raise UserError(f"The objective {name!r} has {own.shape} scores for {len(self.runs)} runs.")
            if name not in self.higher_is_better:
                raise UserError(f"Nothing says if more or less of the objective {name!r} is better.")
        object.__setattr__(self, "scores", scores)

    def losses(self, objective: str) -> np.ndarray:
        """Returns the scores of an objective with their sign turned where higher is better: [n], lower is better.

        Raises:
            UserError: no objective has the name, or no run has a score of it.
        """
        if objective not in self.scores:
            raise unknown("objective", objective, self.scores)
        scores = self.scores[objective]
        if not np.isfinite(scores).any():
            raise UserError(
                f"No run has a score of the objective {objective!r}. Known objectives: {_listed(self.scores)}."
            )
        return -scores if self.higher_is_better[objective] else scores

    def with_scores(self, objective: str) -> "RunTable":
        """Returns the runs that have a finite score of an objective."""
        return self.rows(np.flatnonzero(np.isfinite(self.losses(objective))))

    def rows(self, which: Sequence[int] | np.ndarray) -> "RunTable":
        """Returns some of the runs, by their places."""
        places = np.asarray(which, int)
        return dataclasses.replace(
            self,
            runs=tuple(self.runs[place] for place in places),
            weights=self.weights[places],
            scores={name: own[places] for name, own in self.scores.items()},
        )

    def with_units(self, units: Sequence[str]) -> "RunTable":
        """Returns the table over other units: those that are new have weight 0 in every run, the order is as given.

        This is how runs serve again after a task was added: a run without it has weight 0 of it.

        Raises:
            UserError: a unit with weight would be left out, so that rows would not sum to 1.
        """
        for place, unit in enumerate(self.units):
            if unit not in units and self.weights[:, place].any():
                run = self.runs[int(np.flatnonzero(self.weights[:, place])[0])]
                raise UserError(f"The unit {unit!r} has weight in run {run!r}, so it cannot be left out of a fit.")
        weights = np.zeros((len(self.runs), len(units)))
        for to, unit in enumerate(units):
            if unit in self.units:
                weights[:, to] = self.weights[:, self.units.index(unit)]
        return dataclasses.replace(self, units=tuple(units), weights=weights)

    def points(self) -> np.ndarray:
        """Numbers points as they first appear: [n] integers, equal where runs have equal weights (replicates)."""
        return points_of(self.weights)


def points_of(weights: np.ndarray) -> np.ndarray:
    """Numbers the points of [n, K] weights as they first appear, whatever the order of the units: [n] integers."""
    # Nine digits: what is written and read again may differ in the last.
    _, first, inverse = np.unique(np.round(weights, 9), axis=0, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)]


def joined(tables: Sequence[RunTable]) -> RunTable:
    """Puts the runs of several tables into one, over the units of all: a unit that a run lacks has weight 0 there.

    Names of runs that two tables share get the number of their table. Objectives that a table lacks are NaN there.

    Raises:
        UserError: there is no table, or two disagree about the direction of an objective.
    """
    if not tables:
        raise UserError("There is no table of runs to fit. Give at least one.")
    units = tuple(dict.fromkeys(unit for table in tables for unit in table.units))
    higher: dict[str, bool] = {}
    for table in tables:
        for name, own in table.higher_is_better.items():
            if higher.setdefault(name, own) != own:
                raise UserError(f"One table says that a higher {name!r} is better, another that a lower one is.")
    names = [run for table in tables for run in table.runs]
    shared = {name for name in names if names.count(name) > 1}
    widened = [table.with_units(units) for table in tables]
    scores = {
        name: np.concatenate([table.scores.get(name, np.full(len(table.runs), math.nan)) for table in tables])
        for name in higher
    }
    return RunTable(
        tuple(f"{at}/{run}" if run in shared else run for at, table in enumerate(tables) for run in table.runs),
        units,
        np.concatenate([table.weights for table in widened]),
        scores,
        higher,
    )


def _check_simplex(weights: np.ndarray, runs: Sequence[str], units: Sequence[str]) -> None:
    for row, run in zip(weights, runs, strict=True):
        wrong = np.flatnonzero(~np.isfinite(row) | (row < 0) | (row > 1 + SUM_TOLERANCE))
        if len(wrong):
            place = int(wrong[0])
            raise UserError(
                f"Run {run!r}, unit {units[place]!r}: the weight {row[place]:g} is no share from 0 to 1. "
                "Weights are shares that sum to 1."
            )
        if abs(row.sum() - 1) > SUM_TOLERANCE:
            raise UserError(
                f"Run {run!r}: its weights sum to {row.sum():.4g}, not to 1 (within {SUM_TOLERANCE:g}). "
                "Name the columns of all units, as shares."
            )


def _listed(names: Mapping[str, np.ndarray]) -> str:
    return ", ".join(repr(name) for name, own in names.items() if np.isfinite(own).any()) or "none"
