"""Reading the predictions of an evaluation for the page: a sample of fixed size, the confusion matrix, the scores.

A run may have hundreds of thousands of predictions. Each file is read once, line by line; what is kept of it has a
limit, and says how many there are.
"""

import dataclasses
import heapq
from collections.abc import Iterable, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.eval.examples import Prediction
from flan_jax.eval.results import read_predictions
from flan_jax.eval.suites import StepResults
from flan_jax.report.run import Run
from flan_jax.tasks.hashing import counter_hash

Key = tuple[int, int]
"""Example and template."""

MOST_LABELS = 16
"""With more different options than this a matrix is no overview, and options are texts of their own for each example."""


@dataclasses.dataclass
class TaskPredictions:
    """The predictions of one task in one evaluation, as far as the page needs them.

    Attributes:
        total: how many there are.
        sample: those with the smallest hashes of (task, example, template): the same in every evaluation of the same
            examples, in the order of the hashes.
        scores: score by example and template; ``{}`` where an example occurs twice.
        confusion: as ``confusion_matrix`` has it, or ``None``.
    """

    total: int
    sample: list[Prediction]
    scores: dict[Key, float]
    confusion: dict[str, Any] | None


def read_task_predictions(run: Run, step: int, task: str, most: int) -> TaskPredictions:
    """Reads the predictions of a task, and keeps ``most`` of them.

    Raises:
        UserError: the file is missing, or a line of it is damaged.
    """
    sample: list[tuple[int, int, Prediction]] = []
    scores: dict[Key, float] = {}
    pairs: dict[tuple[str, str], int] = {}
    labels: dict[str, None] | None = {}
    total = 0
    for prediction in read_predictions(run.folder, step, task):
        scores[prediction.example_id, prediction.template_id] = prediction.score
        # A heap of the largest hash, to be driven out: negative. The number decides between equal ones.
        item = (-_hash(task, prediction), -total, prediction)
        if len(sample) < most:
            heapq.heappush(sample, item)
        elif most:
            heapq.heappushpop(sample, item)
        total += 1
        if labels is not None:
            labels.update(dict.fromkeys(prediction.options))
            wanted = _label(prediction)
            if wanted is None or len(labels) > MOST_LABELS:
                labels = None
            else:
                pair = (wanted, prediction.prediction)
                pairs[pair] = pairs.get(pair, 0) + 1
    return TaskPredictions(
        total,
        [prediction for _, _, prediction in sorted(sample, key=lambda item: (-item[0], -item[1]))],
        scores if len(scores) == total else {},
        confusion_matrix(labels, pairs) if labels and total else None,
    )


def confusion_matrix(labels: Iterable[str], pairs: dict[tuple[str, str], int]) -> dict[str, Any]:
    """Arranges counts of (wanted, answered) as JSON values: ``labels``, and ``counts`` with a row a wanted label."""
    names = list(labels)
    return {"labels": names, "counts": [[pairs.get((wanted, given), 0) for given in names] for wanted in names]}


def predictions_of(run: Run, results: StepResults | None, most: int, missing: list[str]) -> dict[str, TaskPredictions]:
    """Reads the predictions of every task of an evaluation; a file that cannot be read is named in ``missing``."""
    found: dict[str, TaskPredictions] = {}
    tasks = [] if results is None else dict.fromkeys(r.name for members in results.suites.values() for r in members)
    for task in tasks:
        assert results is not None
        try:
            found[task] = read_task_predictions(run, results.step, task, most)
        except UserError as error:
            missing.append(str(error))
        except (OSError, UnicodeDecodeError) as error:
            missing.append(f"The predictions of {task!r} at step {results.step} cannot be read ({error}).")
    return found


def _hash(task: str, prediction: Prediction) -> int:
    return counter_hash("report", 0, task, prediction.example_id, prediction.template_id)


def _label(prediction: Prediction) -> str | None:
    """The wanted option of a ranked example; ``None`` where the matrix has no row or column for it."""
    options: Sequence[str] = prediction.options
    if prediction.prediction not in options:
        return None
    return next((option for option in options if option in prediction.references), None)
