"""Evaluates a seqio task with its own ``postprocess_fn`` and metric functions (``SeqioTaskMetrics``).

What seqio's ``Evaluator`` does after the model has answered, over examples read back from the
store. Numbers equal its numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.seqio_bridge.registry import first_line, metric_objects
from flan_jax.errors import UserError

TARGETS = "targets"


class SeqioTaskMetrics:
    """A seqio task's metric functions over given examples: a ``flan_jax.eval.metrics.task_metrics.TaskMetrics``."""

    def __init__(self, task: seqio.Task, examples: Sequence[dict[str, Any]]) -> None:
        self._task = task
        kinds = _ragged_kinds(examples)
        self._examples = [{key: _to_ragged(value, kinds.get(key)) for key, value in e.items()} for e in examples]
        self._of_texts = [*task.predict_metric_fns, *metric_objects(task, seqio.metrics.ModelOutputType.PREDICTION)]
        self._of_scores = [*task.score_metric_fns, *metric_objects(task, seqio.metrics.ModelOutputType.SCORE)]
        if not self._of_texts and not self._of_scores:
            raise UserError(
                f"Task {task.name!r} has no metric function of (targets, predictions) or (targets, scores), so it cannot be "
                "measured. Leave it out of the suite."
            )
        self._vocabulary = task.output_features[TARGETS].vocabulary
        self._targets = [self._postprocess(self._target(example), row, True) for row, example in enumerate(examples)]
        self._answers: dict[tuple[int, str], Any] = {}

    @property
    def outputs(self) -> frozenset[Any]:
        """The outputs that the metrics read: texts for those of predictions, scores for those of scores."""
        return frozenset([*["text"] * bool(self._of_texts), *["score"] * bool(self._of_scores)])

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the metrics that are left out."""
        own = self._task._metric_objs_constructor_args
        left_out = [*self._task.predict_with_aux_metric_fns]
        left_out += [
            metric for metric in own if not any(metric is used for used in [*self._of_texts, *self._of_scores])
        ]
        return tuple(
            f"The metric {_name(metric)} is left out: it reads outputs that are not computed here."
            for metric in left_out
        )

    def __call__(self, rows: np.ndarray, texts: Sequence[str], scores: np.ndarray) -> dict[str, float | str]:
        """Computes all values of all metrics, those of predictions first.

        Raises:
            UserError: a metric fails, or two of them return values of one name.
        """
        targets = [self._targets[row] for row in rows]
        values: dict[str, float | str] = {}
        if self._of_texts:
            answers = [self._answer(int(row), text) for row, text in zip(rows, texts, strict=True)]
            for metric in self._of_texts:
                output = np.array(texts, dtype=object)
                self._add(values, metric, rows, output, {"targets": targets, "predictions": answers})
        for metric in self._of_scores:
            self._add(values, metric, rows, np.asarray(scores), {"targets": targets, "scores": np.asarray(scores)})
        return values

    def is_correct(self, row: int, text: str) -> bool:
        """Tells whether the postprocessed answer equals the postprocessed target."""
        try:
            return bool(np.all(self._answer(row, text) == self._targets[row]))
        except ValueError:  # arrays of different shapes
            return False

    def _answer(self, row: int, text: str) -> Any:
        # Resampling asks for the same answers many times.
        if (row, text) not in self._answers:
            self._answers[row, text] = self._postprocess(text, row, False)
        return self._answers[row, text]

    def _target(self, example: Mapping[str, Any]) -> str:
        written = example.get(f"{TARGETS}_pretokenized")
        if written is None:
            written = self._vocabulary.decode([int(index) for index in example[TARGETS]])
        return written.decode("utf-8") if isinstance(written, bytes) else written

    def _postprocess(self, text: str, row: int, is_target: bool) -> Any:
        example = self._examples[row]
        try:
            return self._task.postprocess_fn(text, example=example, is_target=is_target)
        except Exception as error:  # whatever somebody's function raises
            what = "target" if is_target else "answer"
            raise UserError(
                f"Task {self._task.name!r}: its postprocess_fn fails on the {what} {text[:60]!r} of example {row}: {first_line(error)}. "
                f"It was given the features {', '.join(sorted(example))}."
            ) from error

    def _add(
        self,
        values: dict[str, float | str],
        metric: Any,
        rows: np.ndarray,
        output: np.ndarray,
        arguments: dict[str, Any],
    ) -> None:
        """Adds the values of one metric: a function of ``arguments``, or an object that reads the model's output."""
        try:
            is_object = hasattr(metric, "from_model_output")
            found = dict(_flatten(self._compute(metric, rows, output) if is_object else metric(**arguments)))
        except Exception as error:  # whatever somebody's function raises
            raise UserError(
                f"Task {self._task.name!r}: its metric {_name(metric)} fails: {first_line(error)}."
            ) from error
        twice = sorted(set(found) & set(values))
        if twice:
            raise UserError(f"Task {self._task.name!r}: two of its metrics return the value {twice[0]!r}. Rename one.")
        values.update(found)

    def _compute(self, metric: Any, rows: np.ndarray, output: np.ndarray) -> Mapping[str, Any]:
        examples, features = [self._examples[row] for row in rows], self._task.output_features
        count = np.arange(len(rows))
        # NumPy's mask and indices, as seqio's own would be put on a device and fetched again.
        places = {"mask": np.ones(len(rows), np.int32), "indices_2d": np.stack([np.zeros_like(count), count], axis=-1)}
        made = metric.from_model_output(examples, output, features, TARGETS, **places)
        if isinstance(made, seqio.metrics.CollectingMetric):
            return made.actual_compute(examples, features, TARGETS)[0]
        return made.compute()


def _ragged_kinds(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.dtype]:
    """Returns the value type of each ragged feature; one that is empty everywhere has none."""
    ragged = ((key, value[0].dtype) for e in examples for key, value in e.items() if isinstance(value, list) and value)
    return dict(ragged)


def _to_ragged(value: Any, kind: np.dtype | None) -> Any:
    """Converts a feature as seqio's evaluator does: ragged rows to a ``tf.RaggedTensor``."""
    if not isinstance(value, list):
        return value
    values = np.concatenate(value) if value else np.zeros(0, kind or np.int32)
    return tf.RaggedTensor.from_row_lengths(tf.convert_to_tensor(values), [len(row) for row in value])


def _name(metric: Any) -> str:
    return seqio.utils.function_name(metric) or type(metric).__name__


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Any:
    """Yields (name, number or text) pairs; what is neither, such as an image or a histogram, is left out."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, seqio.metrics.Scalar):
            value = value.value
        elif isinstance(value, seqio.metrics.Text):
            value = value.textdata
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}/")
        elif isinstance(value, str | bytes):
            yield name, value.decode(errors="replace") if isinstance(value, bytes) else value
        elif np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf":
            yield name, float(value)
