"""Runs with known laws, for tests."""

import numpy as np

from flan_jax.studies.fits.table import RunTable

SLOPES = np.array([-0.4, 0.1, 0.5, -1.0])


def mixtures(count: int, units: int = 4, *, seed: int = 0) -> np.ndarray:
    """Draws mixtures."""
    return np.random.default_rng(seed).dirichlet(np.ones(units), count)


def log_linear(weights: np.ndarray) -> np.ndarray:
    """A mixing law: 2 + exp(t·p)."""
    return 2 + np.exp(weights @ SLOPES)


def table(weights: np.ndarray, losses: np.ndarray) -> RunTable:
    """Makes a table of a loss, and of an accuracy that is better where the loss is lower."""
    return RunTable(
        tuple(f"run_{at:04d}" for at in range(len(losses))),
        tuple("abcdefgh"[: weights.shape[1]]),
        weights,
        {"loss": losses, "accuracy": 1 - losses / 10},
        {"loss": False, "accuracy": True},
    )
