"""Evaluation's data types: examples, tasks, predictions and results. No model."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.metrics.task_metrics import TaskMetrics, Value
from flan_jax.eval.overlap import PartScore
from flan_jax.eval.statistics.sample import TaskSample
from flan_jax.tasks.rendering.option_orders import OptionOrder
from flan_jax.tasks.spec import Predict


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EvalExample:
    """One example to predict.

    Attributes:
        inputs: token ids of the prompt, EOS included, no padding; ``[length]``. Empty only where the task's own
            ``task_metrics`` score targets that follow nothing.
        options: the closed set to choose from, or ``()``.
        references: every accepted answer; at least one.
        example_id: index of the record in its split.
        template_id: index of the template that made the prompt.
        inputs_text: the prompt as text, for people.
        targets: token ids of the target, EOS included, ``[length]``; read by ``task_metrics`` of scores.
        group: names what it is scored together with, for metrics of groups; ``""`` where nobody said.
        ending: words behind every one of its answers that are no part of what metrics compare.
        overlap: the narrowest definition (``flan_jax.eval.overlap``) by which its record stands in what was trained on,
            ``clean`` or ``short``; ``""`` where nobody looked.
        option_order: the order in which the prompt lists the options, where it is asked in several.
    """

    inputs: np.ndarray
    options: tuple[str, ...]
    references: tuple[str, ...]
    example_id: int
    template_id: int
    inputs_text: str = ""
    targets: np.ndarray | None = None
    group: str = ""
    ending: str = ""
    overlap: str = ""
    option_order: OptionOrder | None = None

    def strip_ending(self, answer: str) -> str:
        """Returns an answer without the ``ending``, which metrics do not compare."""
        return answer.rstrip().removesuffix(self.ending) if self.ending else answer


@dataclasses.dataclass(frozen=True)
class EvalTask:
    """Examples that are scored together by one metric.

    Attributes:
        name: what results call it.
        cluster: the task's cluster.
        metric: a name in ``flan_jax.eval.metrics.registry.METRICS``; ``""`` where the task has ``task_metrics``.
        predict: ``rank`` chooses among the options, ``generate`` decodes freely.
        examples: at least one.
        task_metrics: the task's own metric functions, bound to these examples, in the place of ``metric``;
            their ``outputs`` take the place of ``predict``.
        other_metrics: names of metrics of the same answers that are reported beside ``metric``.
        data: fingerprint of what the examples were prepared from; ``""`` where nobody knows it.
        notes: what a reader of the result must know of the examples, a sentence each.
        asked: how prompts are made, JSON values: ``task``, the name that all ways of asking it share, ``mode``, and
            ``shots`` where there are solved examples. ``{}`` where nobody says.

    Raises:
        UserError: no examples, an example without tokens or references, or one to rank that has
            fewer than two options.
    """

    name: str
    cluster: str
    metric: str
    predict: Predict
    examples: Sequence[EvalExample]
    task_metrics: TaskMetrics | None = None
    other_metrics: tuple[str, ...] = ()
    data: str = ""
    notes: tuple[str, ...] = ()
    asked: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"Task {self.name!r}"
        if not len(self.examples):
            raise UserError(f"{where} has no examples to evaluate. Give it a split that is not empty or leave it out.")
        if self.task_metrics is not None:
            self._check_task_metrics(where, self.task_metrics)
            return
        for example in self.examples:
            if not len(example.inputs) or not example.references:
                lacking = "input tokens" if not len(example.inputs) else "references"
                raise UserError(f"{where}, example {example.example_id} has no {lacking}, so it cannot be scored.")
            if self.predict == "rank" and len(example.options) < 2:
                raise UserError(
                    f"{where}, example {example.example_id} has {len(example.options)} option(s), and ranking needs "
                    "at least two. Give options or use predict='generate'."
                )

    def _check_task_metrics(self, where: str, task_metrics: TaskMetrics) -> None:
        for example in self.examples:
            if "text" in task_metrics.outputs and not len(example.inputs):
                raise UserError(
                    f"{where}, example {example.example_id} has no input, so there is nothing to answer. Give its metric "
                    "scores to read."
                )
            if "score" in task_metrics.outputs and (example.targets is None or not len(example.targets)):
                raise UserError(f"{where}, example {example.example_id} has no target tokens, so it cannot be scored.")


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer to one example, and its score.

    Attributes:
        example_id, template_id, inputs, options, references: as in ``EvalExample``.
        prediction: the chosen option or the generated text; ``""`` where only the target is scored.
        option_scores: one log-likelihood (nats) an option, summed over its tokens whatever decides; ``()`` where text
            was generated.
        score: the metric on this example alone, from 0 to 1. A task's own metrics have no score for one example:
            there it is 1 where the answer equals the target, else 0.
        log_likelihood: of the target, in nats, where ``task_metrics`` read it.
        group, overlap, option_order: as in ``EvalExample``.
        option_tokens: of each option, the tokens that were scored; ``()`` where they are not known.
        prior_scores: of each option, the log-likelihood (nats) behind no prompt; ``()`` where not computed.
    """

    example_id: int
    template_id: int
    inputs: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    prediction: str
    option_scores: tuple[float, ...]
    score: float
    log_likelihood: float | None = None
    group: str = ""
    overlap: str = ""
    option_tokens: tuple[int, ...] = ()
    prior_scores: tuple[float, ...] = ()
    option_order: OptionOrder | None = None


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """One task's scores. They run from 0 to 1, but for ``native_scale``.

    Attributes:
        name, cluster, metric, predict: as in ``EvalTask``; with ``task_metrics``, ``metric`` names their first value.
        value: the metric over all examples. NaN where the task's own metrics return no number.
        chance: what guessing uniformly among the options gives; 0 where text is generated.
        majority: what always answering the most frequent reference gives. It looks at the
            labels, so it is a yardstick for label balance and no competitor.
        interval: 95% interval of ``value`` over examples, (low, high): that of ``DEFAULT_LEVELS``; ``None`` where
            the task's own metrics cannot be resampled.
        n: number of examples.
        per_template: the metric over the examples of each template.
        predictions: one an example, in the task's order; ``()`` when read back from a file.
        sample: what ``value`` was computed from, for resampling; ``None`` when read back from a file.
        notes: what a reader of the value must know, a sentence each.
        metrics: by name, the task's other metrics over all examples, and of ranked tasks ``option_scores.RANK_METRICS``;
            with ``task_metrics``, all their values.
        native_scale: the value is on the scale of the task's own metric functions, often 0 to 100: it is shown
            as it is and averaged with no other. Chance, majority and spread are not known then, and 0.
        by_overlap: definition of overlap with the training data → ``clean``, ``overlapping`` and ``short`` → the score of these
            examples (``flan_jax.eval.overlap.overlap_scores``); ``{}`` where nobody looked.
        intervals: names of the levels taken for chance (``example+template``) → 95% interval of ``value``
            (``flan_jax.eval.statistics.intervals``); ``{}`` in files of older versions.
        template_quantiles: ``5``, ``50`` and ``95`` → that quantile of the score over templates, estimated with the
            noise of examples taken out (``flan_jax.eval.statistics.template_distribution``); ``{}`` with one template,
            and for metrics that are no means over examples.
        template_summary: of the same distribution, ``mean``, ``deviation``, ``worst``, ``best``,
            ``best_by_validation`` (where both halves have every template), ``5_low`` to ``95_high`` (95% credible
            intervals of the quantiles) and ``cost``, the templates that an example was asked under.
    """

    name: str
    cluster: str
    metric: str
    predict: Predict
    value: float
    chance: float
    majority: float
    interval: tuple[float, float] | None
    n: int
    per_template: dict[int, float]
    predictions: tuple[Prediction, ...] = dataclasses.field(default=(), repr=False)
    sample: TaskSample | None = dataclasses.field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    native_scale: bool = False
    by_overlap: Mapping[str, Mapping[str, PartScore]] = dataclasses.field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    template_quantiles: Mapping[str, float] = dataclasses.field(default_factory=dict)
    template_summary: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def template_mean(self) -> float:
        """The unweighted mean of the per-template scores."""
        return float(np.mean(list(self.per_template.values())))

    @property
    def template_spread(self) -> float:
        """The sample standard deviation of the per-template scores; 0 for one template."""
        values = list(self.per_template.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
