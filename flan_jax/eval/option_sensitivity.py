"""Sensitivity of a score to the order in which options are listed: the score in each, its spread, and agreement."""

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.metrics.metric import Metric


class Sensitivity(NamedTuple):
    """The sensitivity of a task's score to the order of options.

    Attributes:
        metrics: ``order_spread``, the standard deviation over orders of the score; ``order_lowest`` and
            ``order_highest``; and where options are ranked ``order_agreement``, the share of prompts for which the same
            option is chosen in every order. ``{}`` where there is one order.
        notes: what a reader must know of them, a sentence each.
    """

    metrics: Mapping[str, float] = {}
    notes: tuple[str, ...] = ()


def option_sensitivity(
    metric: Metric, rows: np.ndarray, examples: Sequence[EvalExample], answers: Sequence[str], *, ranked: bool
) -> Sensitivity:
    """Computes the sensitivity of a task's score to the order of options.

    Prompts that are asked in fewer orders than others, as they have fewer options or list none, are left out and counted.

    Args:
        metric: of the task.
        rows: ``[n, k]``, its statistics of each example.
        examples: of the task.
        answers: to each.
        ranked: an answer is one of the example's options.
    """
    prompts: dict[tuple[int, int], dict[int, int]] = collections.defaultdict(dict)
    pairs = {(example.example_id, example.template_id) for example in examples}
    # Where no template is asked twice of a record, orders stand in the place of templates, as in MMLU.
    templates = len(pairs) < len(examples)
    for row, example in enumerate(examples):
        if example.option_order is not None:
            prompt = (example.example_id, example.template_id if templates else 0)
            prompts[prompt][example.option_order.number] = row
    count = max(map(len, prompts.values()), default=0)
    if count < 2:
        return Sensitivity()
    whole = [own for own in prompts.values() if len(own) == count]
    scores = []
    for number in range(count):
        own = [orders[number] for orders in whole]
        scores.append(metric.of(metric.units(rows[own], [examples[row].group for row in own])))
    metrics = {
        "order_spread": float(np.std(scores, ddof=1)),
        "order_lowest": min(scores),
        "order_highest": max(scores),
    }
    agreed = ""
    if ranked:
        chosen = [{_published(examples[row], answers[row]) for row in orders.values()} for orders in whole]
        metrics["order_agreement"] = float(np.mean([len(own) == 1 and None not in own for own in chosen]))
        agreed = f"; the same option is chosen in every order for {100 * metrics['order_agreement']:.1f}%"
    fewer = len(prompts) - len(whole)
    note = (
        f"{len(whole):,} prompts are asked in {count} orders of the options, of which order 0 is the published one: from "
        f"{100 * min(scores):.1f} to {100 * max(scores):.1f}, standard deviation {100 * metrics['order_spread']:.1f}{agreed}. "
        "The score is the mean over all that is asked."
        + (
            f" {fewer:,} prompts list fewer options than have so many orders, or none, and are left out here."
            * (fewer > 0)
        )
    )
    return Sensitivity(metrics, (note,))


def _published(example: EvalExample, answer: str) -> int | None:
    """Index in the published order of the option that was chosen; ``None`` where none was."""
    order = example.option_order
    return order.published[example.options.index(answer)] if order and answer in example.options else None
