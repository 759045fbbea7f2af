"""Counts how often 95% intervals cover the truth, in worlds where the truth is known.

    python tools/statistics/check_intervals.py --json docs/benchmarks/intervals.json

Every world draws a suite (or a task) anew, with examples, templates, tasks and clusters as its levels say, asks
``flan_jax.eval.statistics`` for the interval, and looks whether the truth lies in it. The worlds are seeded: the same
command gives the same counts. ``--draws`` sets how many suites a world draws; 1,000 leave a standard error of 0.7
points on a coverage of 95%.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from flan_jax.eval.metrics.metric import Metric, mean_of
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics.intervals import suite_intervals
from flan_jax.eval.statistics.sample import TaskSample

MEAN = mean_of("mean", lambda prediction, reference: 0.0)
DIFFERENCE = dataclasses.replace(MEAN, name="difference", lowest=-1.0)


@dataclasses.dataclass(frozen=True)
class World:
    """A model of results: ``draw(rng)`` gives a suite's samples, ``truth`` is what its interval should cover."""

    name: str
    levels: str
    truth: float
    draw: Callable[[np.random.Generator], list[TaskSample]]


def _task(rows: np.ndarray, metric: Metric = MEAN, name: str = "t", cluster: str = "c", **more: Any) -> TaskSample:
    rows = np.asarray(rows, np.float64)
    return TaskSample(name, cluster, metric, rows[:, None] if rows.ndim == 1 else rows, **more)


def shares() -> Iterator[World]:
    """Accuracy of one task: n examples, each right with probability p."""
    for n in (20, 50, 100, 500):
        for p in (0.5, 0.8, 0.95):
            yield World(f"share p={p} n={n}", "example", p, lambda rng, n=n, p=p: [_task(rng.random(n) < p)])


def graded() -> Iterator[World]:
    """Scores such as F1 of answers: some 0, some 1, others between."""
    for n in (20, 50, 100, 500):

        def draw(rng: np.random.Generator, n: int = n) -> list[TaskSample]:
            kind, middle = rng.random(n), rng.beta(2, 2, n)
            return [_task(np.where(kind < 0.2, 0.0, np.where(kind < 0.6, 1.0, middle)))]

        yield World(f"graded scores n={n}", "example", 0.6, draw)


def _classes(rng: np.random.Generator, n: int) -> tuple[list[str], list[list[str]]]:
    truth = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    answers = np.where(rng.random(n) < 0.7, truth, rng.choice(3, n))
    return [str(answer) for answer in answers], [[str(label)] for label in truth]


def _words(rng: np.random.Generator, n: int) -> tuple[list[str], list[list[str]]]:
    words = np.asarray([f"w{number}" for number in range(200)])
    texts = words[rng.integers(200, size=(n, 12))]
    # Some examples are easier than others.
    answers = np.where(rng.random((n, 12)) < rng.beta(6, 2, (n, 1)), texts, words[rng.integers(200, size=(n, 12))])
    return [" ".join(row) for row in answers], [[" ".join(row)] for row in texts]


def corpus_metrics() -> Iterator[World]:
    """Metrics that are no means over examples."""
    named: dict[str, Callable[..., tuple[list[str], list[list[str]]]]] = {
        "f1_of:1": _classes, "macro_f1:0|1|2": _classes, "mcc:1": _classes, "pearson": _classes, "spearman": _classes,
        "bleu": _words,
    }  # fmt: skip
    for name, texts in named.items():
        metric = METRICS.get(name)
        pool = metric.statistics(*texts(np.random.default_rng(7), 20_000 if texts is _words else 200_000))
        # Ranks are counted anew in every resample, which takes long.
        for n in (20, 50, 100, 500) if metric.of_rows is None else (20, 50, 100):
            draw = lambda rng, n=n, metric=metric, pool=pool: [_task(pool[rng.integers(len(pool), size=n)], metric)]  # noqa: E731
            yield World(f"{name} n={n}", "example", metric.of(pool), draw)


def suites() -> Iterator[World]:
    """The mean over given tasks, of which some are nearly solved."""
    for count, n in ((2, 20), (5, 20), (25, 20), (25, 100)):
        truths = np.tile([0.98, 0.9, 0.7, 0.5, 0.3], 5)[:count]

        def draw(rng: np.random.Generator, truths: np.ndarray = truths, n: int = n) -> list[TaskSample]:
            return [_task(rng.random(n) < truth, name=str(number)) for number, truth in enumerate(truths)]

        yield World(f"suite of {count} tasks, n={n}", "example", float(truths.mean()), draw)


def differences() -> Iterator[World]:
    """A paired difference of accuracies: won, lost, else tied."""
    for n in (20, 50, 100, 500):
        for won, lost in ((0.1, 0.05), (0.3, 0.1), (0.02, 0.02)):

            def draw(rng: np.random.Generator, n: int = n, won: float = won, lost: float = lost) -> list[TaskSample]:
                kind = rng.random(n)
                return [_task(np.where(kind < won, 1.0, np.where(kind < won + lost, -1.0, 0.0)), DIFFERENCE)]

            yield World(f"difference +{won} -{lost} n={n}", "example", won - lost, draw)


def templates() -> Iterator[World]:
    """One task whose templates are drawn from many: their logits differ by a normal of deviation ``spread``."""
    for count, n, spread in ((5, 100, 0.0), (5, 100, 0.5), (10, 100, 0.5), (10, 500, 0.5), (10, 500, 1.0)):
        truth = _mean_of_logits(0.8, spread)

        def draw(rng: np.random.Generator, count: int = count, n: int = n, spread: float = spread) -> list[TaskSample]:
            logits, which = rng.normal(0.8, spread, count), rng.integers(count, size=n)
            right = rng.random(n) < 1 / (1 + np.exp(-logits[which]))
            return [_task(right, templates=which)]

        yield World(f"{count} templates spread {spread}, n={n}", "example+template", truth, draw)


def tasks() -> Iterator[World]:
    """Tasks drawn from many, whose truths are Beta(4, 2), with n examples each."""
    for count, n in ((5, 50), (10, 20), (10, 200), (20, 50)):

        def draw(rng: np.random.Generator, count: int = count, n: int = n) -> list[TaskSample]:
            return [_task(rng.random(n) < rng.beta(4, 2), name=str(number)) for number in range(count)]

        yield World(f"{count} tasks drawn, n={n}", "example+task", 2 / 3, draw)


def clusters() -> Iterator[World]:
    """Clusters drawn from many, with tasks of them: normal logits between clusters and between tasks of one."""
    for count in (5, 10, 20):
        for sizes in ("equal", "unequal"):
            for between, within in ((0.0, 0.5), (0.7, 0.3)):

                def draw(
                    rng: np.random.Generator,
                    count: int = count,
                    sizes: str = sizes,
                    between: float = between,
                    within: float = within,
                ) -> list[TaskSample]:
                    found = []
                    for number in range(count):
                        center = rng.normal(0.5, between)
                        for task in range(3 if sizes == "equal" else 1 + number % 5):
                            right = rng.random(100) < 1 / (1 + np.exp(-rng.normal(center, within)))
                            found.append(_task(right, name=f"{number}/{task}", cluster=str(number)))
                    return found

                name = f"{count} clusters, {sizes} sizes, between {between}, within {within}"
                yield World(name, "example+task+cluster", _mean_of_logits(0.5, np.hypot(between, within)), draw)


def _mean_of_logits(center: float, spread: float) -> float:
    """The mean of the logistic function of a normal."""
    at = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    return float(np.mean(1 / (1 + np.exp(-(center + spread * at)))))


KINDS = (shares, graded, corpus_metrics, suites, differences, templates, tasks, clusters)


def coverage(world: World, draws: int, *, seed: int = 0) -> dict[str, Any]:
    """Counts the intervals that hold the truth, those that lie above and below it, and their mean width."""
    above = below = 0
    widths = []
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        low, high = suite_intervals(world.draw(rng), seed=number)[world.levels]
        above, below = above + (low > world.truth), below + (high < world.truth)
        widths.append(high - low)
    return {
        "world": world.name,
        "levels": world.levels,
        "coverage": 1 - (above + below) / draws,
        "above": above / draws,
        "below": below / draws,
        "width": round(float(np.mean(widths)), 4),
    }


def speed(count: int, examples: int, *, graded_scores: bool) -> float:
    """Seconds to all intervals of a suite."""
    rng = np.random.default_rng(0)
    made = [
        _task(rng.random(examples) if graded_scores else rng.random(examples) < 0.7, name=str(number),
              cluster=str(number % 10), templates=rng.integers(10, size=examples))
        for number in range(count)
    ]  # fmt: skip
    begun = time.perf_counter()
    suite_intervals(made)
    return time.perf_counter() - begun


def main() -> None:
    """Runs every world, or those whose name has ``--only`` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for kind in KINDS:
        for world in kind():
            if arguments.only in world.name or arguments.only == kind.__name__:
                rows.append(coverage(world, arguments.draws))
                row = rows[-1]
                print(f"{row['coverage']:7.1%}  -{row['below']:.1%} +{row['above']:.1%}  width {row['width']:.3f}  {world.name}", flush=True)  # fmt: skip
    seconds = {kind: round(speed(100, 500, graded_scores=kind == "graded"), 2) for kind in ("right or wrong", "graded")}
    print(f"100 tasks of 500 examples: {seconds} s")
    if arguments.json:
        content = {"draws": arguments.draws, "seed": 0, "seconds_100_tasks_of_500": seconds, "worlds": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
