"""Labels the questions of benchmarks by their overlap with what a run was trained on."""

import dataclasses
from collections.abc import Callable, Sequence

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalTask
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data
from flan_jax.experiments.evaluation.overlap import overlap_labels
from flan_jax.experiments.suites.benchmark_suite import BenchmarkSuite


def label_benchmarks(
    suites: Sequence[BenchmarkSuite], config: RunConfig, *, log: Callable[[str], None] = lambda line: None
) -> list[BenchmarkSuite]:
    """Labels each question by whether it, or one of its options, stands in the training tasks of the run's store.

    Where the run's training data are not at hand any more, each task has a note that nobody looked.

    Args:
        suites: of benchmarks.
        config: of the run.
        log: told before the training data are read.
    """
    if not config.evaluation.overlap_ngram:
        return list(suites)
    try:
        data = open_data(config)
    except UserError as error:
        log(f"questions are not looked for in the training data, which are not at hand: {error}")
        note = "Nobody looked whether its questions stand in the training data, which were not at hand."
        return [_changed(suite, lambda task: dataclasses.replace(task, notes=(*task.notes, note))) for suite in suites]
    if not data.train:
        return list(suites)
    places = [(name, example) for suite in suites for name, own in suite.texts.items() for example in own]
    texts = [own for suite in suites for questions in suite.texts.values() for own in questions.values()]
    log(f"looking for {len(texts)} questions in {len(data.train)} training tasks")
    labels = dict(zip(places, overlap_labels(texts, data, config), strict=True))

    def labeled(task: EvalTask) -> EvalTask:
        examples = [
            dataclasses.replace(example, overlap=labels[task.name, example.example_id]) for example in task.examples
        ]
        return dataclasses.replace(task, examples=examples)

    return [_changed(suite, labeled) for suite in suites]


def _changed(suite: BenchmarkSuite, change: Callable[[EvalTask], EvalTask]) -> BenchmarkSuite:
    return dataclasses.replace(suite, tasks=tuple(map(change, suite.tasks)))
