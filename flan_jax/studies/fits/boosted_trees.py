"""Boosted trees as RegMix fits them (Liu et al. 2024, arXiv:2407.01492): LightGBM, rate 0.01, at most 1,000 trees.

RegMix's repository stops where its *test* runs get no better for three trees. Here a fifth of the runs that are fitted
decides how many trees, and all of them are then fitted with so many; ``validation`` gives others to decide it.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from flan_jax.studies.fits.family import PredictedLosses

Runs = tuple[np.ndarray, np.ndarray]
"""Weights, [n, K], and losses, [n]."""

LEARNING_RATE = 0.01
TREES = 1000
PATIENCE = 3
"""Trees without a better error after which RegMix stops."""
VALIDATION_SHARE = 0.2
LEAST_IN_LEAF = 20
"""LightGBM's own default: a tree needs twice as many runs to split at all."""


@dataclasses.dataclass(frozen=True)
class FittedTrees:
    """A fitted booster and what it was made with."""

    trees: int
    seed: int
    booster: Any

    def predict(self, weights: np.ndarray) -> PredictedLosses:
        """Predicts losses, [m]."""
        return PredictedLosses(np.asarray(self.booster.predict(weights, num_iteration=self.trees, num_threads=1)))

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "FittedTrees":
        """Fits other runs with as many trees."""
        return dataclasses.replace(self, booster=_boosted(self.trees, self.seed, (weights, losses)))


class BoostedTrees:
    """Boosted trees."""

    name = "boosted_trees"
    packages = {"lightgbm": "lightgbm"}  # noqa: RUF012
    smooth = False
    about = "LightGBM as RegMix: rate 0.01, at most 1,000 trees, stopped early"

    def runs_needed(self, units: int) -> int:
        """Enough that four fifths of them can be split once."""
        return math.ceil(2 * LEAST_IN_LEAF / (1 - VALIDATION_SHARE))

    def fit(
        self,
        weights: np.ndarray,
        losses: np.ndarray,
        *,
        seed: int,
        validation: Runs | None = None,
    ) -> FittedTrees:
        """Fits as many trees as the held-back runs ask for.

        Args:
            weights: [n, K].
            losses: [n].
            seed: of the runs held back, and of LightGBM.
            validation: weights and losses of runs that decide how many trees, as RegMix gives its test runs; then all
                of the first are fitted once. Without it a fifth is held back.
        """
        if validation is not None:
            booster = _boosted(TREES, seed, (weights, losses), validation)
            return FittedTrees(booster.best_iteration, seed, booster)
        order = np.random.default_rng(np.random.SeedSequence((seed, 2))).permutation(len(losses))
        held, kept = np.split(order, [max(1, round(VALIDATION_SHARE * len(order)))])
        stopped = _boosted(TREES, seed, (weights[kept], losses[kept]), (weights[held], losses[held]))
        trees = max(1, stopped.best_iteration)
        return FittedTrees(trees, seed, _boosted(trees, seed, (weights, losses)))


def _boosted(trees: int, seed: int, runs: Runs, held: Runs | None = None) -> Any:
    """Fits a booster; with ``held`` runs it stops where neither their absolute nor their squared error falls."""
    import lightgbm

    settings = {
        "objective": "regression",
        "metric": ["l1", "l2"],
        "learning_rate": LEARNING_RATE,
        "min_data_in_leaf": LEAST_IN_LEAF,
        "seed": seed,
        "num_threads": 1,  # a few hundred runs keep LightGBM's own threads waiting for each other most of the time
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(*runs)
    if held is None:
        return lightgbm.train(
            settings, data, trees, keep_training_booster=True
        )  # else it is written and read once more
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    held_data = data.create_valid(*held)
    return lightgbm.train(settings, data, trees, valid_sets=[held_data], callbacks=[stop], keep_training_booster=True)
