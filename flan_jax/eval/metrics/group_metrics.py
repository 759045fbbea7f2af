"""Metrics of groups of examples, such as all answers to one question: MultiRC's official two.

Their rows are those of groups, so that an interval resamples whole groups: the answers to one question rise
and fall together.
"""

import dataclasses

import numpy as np

from flan_jax.eval.metrics import corpus_metrics
from flan_jax.eval.metrics.metric import Metric, mean_of
from flan_jax.eval.metrics.string_metrics import exact_match


def sums(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums rows ``[n, k]`` by group, ``[groups, k]``."""
    found = np.zeros((int(groups.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(found, groups, rows)
    return found


def products(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Multiplies rows ``[n, k]`` by group, ``[groups, k]``: of zeros and ones, whether all are 1; of chances, that of all."""
    found = np.ones((int(groups.max(initial=-1)) + 1, rows.shape[1]))
    np.multiply.at(found, groups, rows)
    return found


def f1a(name: str, text: str) -> Metric:
    """The F1 of the class whose answer is ``text`` over all answers pooled (F1a, Khashabi et al. 2018).

    It is the number of ``f1_of``; its interval resamples groups.
    """
    return dataclasses.replace(corpus_metrics.f1_of(name, text), by_group=sums)


GROUP_EM = dataclasses.replace(mean_of("group_em", exact_match), by_group=products)
"""The share of groups whose answers are all right, as ``exact_match`` compares them: the EM of MultiRC."""
