"""Sensitivity of a score to the order in which options are listed: the score in each, its spread, and agreement."""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from flan_jax.eval.examples import Prediction, TaskResult

Places = Mapping[tuple[int, int], tuple[int, ...]]
"""(example, order) → index in the file of the option at each place."""


def with_sensitivity(result: TaskResult, places: Places) -> TaskResult:
    """Adds to a result what its orders of options say; the result as it is where there is one order.

    Further metrics: ``order_spread``, the standard deviation over orders of the score; ``order_lowest`` and
    ``order_highest``; and, where options are ranked, ``order_agreement``: the share of questions for which the same
    option is chosen in every order.

    Args:
        result: its ``per_template`` has the score of each order.
        places: of the task's questions.
    """
    scores = list(result.per_template.values())
    if len(scores) < 2:
        return result
    metrics = {
        "order_spread": float(np.std(scores, ddof=1)),
        "order_lowest": min(scores),
        "order_highest": max(scores),
    }
    agreement = _agreement(result, places)
    agreed = ""
    if agreement is not None:
        metrics["order_agreement"] = agreement
        agreed = f"; the same option is chosen in every order for {100 * agreement:.1f}% of questions"
    note = (
        f"Asked in {len(scores)} orders of the options, of which order 0 is the published one: from {100 * min(scores):.1f} to "
        f"{100 * max(scores):.1f}, standard deviation {100 * metrics['order_spread']:.1f}{agreed}. The score is the mean "
        "over orders, which stand where templates do."
    )
    return dataclasses.replace(result, metrics={**result.metrics, **metrics}, notes=(*result.notes, note))


def _agreement(result: TaskResult, places: Places) -> float | None:
    if result.predict != "rank":
        return None
    chosen: dict[int, set[int | None]] = collections.defaultdict(set)
    for prediction in result.predictions:
        chosen[prediction.example_id].add(_option(prediction, places))
    return float(np.mean([len(options) == 1 and None not in options for options in chosen.values()]))


def _option(prediction: Prediction, places: Places) -> int | None:
    """Index in the file of the option that was chosen; ``None`` where none was."""
    order = places[prediction.example_id, prediction.template_id]
    return (
        order[prediction.options.index(prediction.prediction)] if prediction.prediction in prediction.options else None
    )
