"""Compares estimates of a score's distribution over templates with the full cross of templates and examples.

    python tools/statistics/check_templates.py --json docs/benchmarks/templates.json

In each world every example is answered under every template, so that the quantiles are known; an estimator sees one or
two templates an example. Three estimators: the mean score of each template's own examples, PromptEval's as published (a
Rasch model with a ridge of 1/100, its best fit in the cells that were not measured), and ours. Worlds that are not
Rasch's are among them: effects of template and example that do not add up. ``--predictions FOLDER`` takes the full cross
of real predictions in the place of made worlds: files of predictions in which every record is answered under each template.
"""

import argparse
import collections
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.eval.results import read_prediction_file
from flan_jax.eval.statistics.rasch import newton, sigmoid
from flan_jax.eval.statistics.template_distribution import QUANTILES, balanced_cells, template_distribution

Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], np.ndarray]


def raw_means(scores: np.ndarray, templates: np.ndarray, examples: np.ndarray, count: int, size: int) -> np.ndarray:
    """Quantiles of the mean of each template's own examples."""
    means = np.bincount(templates, scores, count) / np.bincount(templates, minlength=count)
    return np.quantile(means, np.asarray(QUANTILES) / 100)


def published(scores: np.ndarray, templates: np.ndarray, examples: np.ndarray, count: int, size: int) -> np.ndarray:
    """PromptEval's estimator: a ridge of 1/100, one-hot effects, measured cells as they are and others as fitted."""
    columns = np.hstack([np.ones((len(scores), 1)), np.eye(count)[templates]])
    penalty = np.full(count + 1, 0.01)
    dense, effects, _, _ = newton(scores, columns, examples, np.zeros(count + 1), np.zeros(size), penalty, 0.01)
    cells = sigmoid(dense[0] + dense[1:, None] + effects)
    cells[templates, examples] = scores
    return np.quantile(cells.mean(axis=1), np.asarray(QUANTILES) / 100)


def ours(scores: np.ndarray, templates: np.ndarray, examples: np.ndarray, count: int, size: int) -> np.ndarray:
    """Quantiles averaged over the posterior."""
    found = template_distribution(scores, templates, examples)
    assert found is not None
    return np.asarray([found.quantiles[str(quantile)] for quantile in QUANTILES])


ESTIMATORS: dict[str, tuple[Estimator, int]] = {
    "means, 1 template an example": (raw_means, 1),
    "means, 2": (raw_means, 2),
    "PromptEval as published, 2": (published, 2),
    "ours, 1": (ours, 1),
    "ours, 2": (ours, 2),
}


def made(kind: str, seed: int, *, templates: int = 10, examples: int = 200) -> np.ndarray:
    """Draws right and wrong answers ``[templates, examples]``."""
    rng = np.random.default_rng([seed, len(kind)])
    spread, difficulty, mixed = {
        "alike": (0.1, 1.5, 0.0),
        "middling": (0.4, 1.5, 0.0),
        "wide": (1.0, 1.5, 0.0),
        "middling, hard examples": (0.4, 3.0, 0.0),
        "middling, effects that do not add up": (0.4, 1.5, 1.5),
    }[kind]
    logits = rng.normal(0.7, spread, (templates, 1)) + rng.normal(0, difficulty, examples)
    logits = logits + rng.normal(0, mixed, (templates, examples))
    return (rng.random((templates, examples)) < sigmoid(logits)).astype(np.float64)


KINDS = ("alike", "middling", "wide", "middling, hard examples", "middling, effects that do not add up")


def errors(cells: np.ndarray, estimator: Estimator, each: int, *, seed: int) -> np.ndarray:
    """The estimator's quantiles less those of the full cross, ``[quantiles]``."""
    count, size = cells.shape
    chosen = balanced_cells(size, count, each=each, seed=seed)
    examples, templates = np.repeat(np.arange(size), each), chosen.reshape(-1)
    truth = np.quantile(cells.mean(axis=1), np.asarray(QUANTILES) / 100)
    return estimator(cells[templates, examples], templates, examples, count, size) - truth


def summary(found: np.ndarray) -> dict[str, Any]:
    """Mean absolute error and bias of each quantile, in points, with a 95% interval of the mean error over seeds."""
    absolute = 100 * np.abs(found)
    half = 1.96 * absolute.mean(axis=1).std(ddof=1) / np.sqrt(len(found))
    return {
        "mean_error": round(float(absolute.mean()), 2),
        "interval": [round(float(absolute.mean() + sign * half), 2) for sign in (-1, 1)],
        "error": dict(zip(map(str, QUANTILES), absolute.mean(axis=0).round(2).tolist(), strict=True)),
        "bias": dict(zip(map(str, QUANTILES), (100 * found).mean(axis=0).round(2).tolist(), strict=True)),
    }


def crosses(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Full crosses of real predictions: of each file, the records that were answered under every template."""
    for path in sorted(folder.glob("*.jsonl")):
        records: dict[int, dict[int, float]] = collections.defaultdict(dict)
        for prediction in read_prediction_file(path):
            records[prediction.example_id][prediction.template_id] = prediction.score
        templates = sorted({template for own in records.values() for template in own})
        whole = [[own[template] for template in templates] for own in records.values() if len(own) == len(templates)]
        if len(templates) > 1 and len(whole) > 1:
            yield path.stem, np.asarray(whole).T


def main() -> None:
    """Prints a row for each world and estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    worlds: dict[str, Callable[[int], np.ndarray]] = {
        kind: (lambda seed, kind=kind: made(kind, seed)) for kind in KINDS
    }
    if arguments.predictions:
        worlds = {name: (lambda seed, cells=cells: cells) for name, cells in crosses(arguments.predictions)}
    for world, cells in worlds.items():
        for name, (estimator, each) in ESTIMATORS.items():
            found = [errors(cells(seed), estimator, each, seed=seed) for seed in range(arguments.seeds)]
            size = dict(zip(("templates", "examples"), cells(0).shape, strict=True))
            rows.append({"world": world, **size, "estimator": name, **summary(np.asarray(found))})
            print(f"{rows[-1]['mean_error']:6.2f} {rows[-1]['interval']}  {rows[-1]['error']}  bias {rows[-1]['bias']}  {world}: {name}", flush=True)  # fmt: skip
    if arguments.json:
        content = {"seeds": arguments.seeds, "worlds": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
