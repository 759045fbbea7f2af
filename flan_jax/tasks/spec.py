"""Tasks: a ``TaskSpec`` declares one and validates itself, a ``Prompted`` is one as a model sees it.

A record of a source becomes slots (``fields``), slots become text (``templates``), and the
closed set of answers, where there is one, travels along as ``options``.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.published_fields import PublishedFields
from flan_jax.tasks.repeats import Repeats
from flan_jax.tasks.source import Record, Source, as_source
from flan_jax.tasks.spec_checks import check_options, check_templates
from flan_jax.tasks.style import FLAN_2021, FewShot, PromptStyle
from flan_jax.tasks.template import (
    ANSWER_SLOT,
    OPTIONS_SLOT,
    Parts,
    Rendered,
    Rendering,
    Template,
    VerbatimTemplate,
    slots_of,
)

__all__ = [
    "ANSWER_SLOT",
    "ENDING",
    "GROUP",
    "OPTIONS_SLOT",
    "Fields",
    "Parts",
    "Predict",
    "PromptMode",
    "Prompted",
    "PublishedFields",
    "Record",
    "RecordText",
    "Rendered",
    "Rendering",
    "Source",
    "TaskSpec",
    "Template",
    "VerbatimTemplate",
    "slots_of",
]

Fields = Callable[[Record], Mapping[str, Any] | None]
"""Record → slots; ``None`` for a record that is no example of the task (without a label, say) and is left out."""
GROUP, ENDING = "group", "ending"
"""What is kept of a record beside its tokens where its task declares it: see ``TaskSpec``."""
ORDER = "option_order"
"""What is kept of an example beside its tokens where its options are listed in several orders: an ``OptionOrder`` as text."""
RecordText = Callable[[Record], str]
"""Record → a text that is kept beside its tokens, for metrics to read."""
Predict = Literal["rank", "generate"]


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """Declaration of a task: source, fields, options, templates, metric and cluster.

    Attributes:
        name: unique in the catalogue; letters, digits and underscores.
        cluster: what is held out together.
        source: where records come from; an object that is no ``Source`` becomes a ``PlainSource``.
        fields: record → slots. Values are strings, except the answer (a string or a sequence of
            accepted strings) and per-record options (a sequence of strings).
        templates: at least one; ten is the custom. Either all are ``Template``s, or all render by
            themselves (``Rendering``) and read the record as ``fields`` returns it.
        answer: the slot that holds the answer.
        options: the closed set of answers: a tuple of strings, or the name of the field that
            holds each record's own options, or ``()`` for free text.
        metric: a name known to ``flan_jax.eval.metrics.registry``.
        predict: ``rank`` scores the options, ``generate`` decodes freely.
        slots: the slot names that ``fields`` returns, where they are known before a record is
            read. Declared, so that a template is checked when the task is built.
        collection: the published collection that it belongs to (``flan2021``, ``cot``, …), or ``""``.
        title: what people call the data set, shown to the model where a prompt is the data set's
            name; ``""`` for the task's name.
        rationale: the slot that holds the reasoning that leads to the answer, or ``""``.
        cot_templates: used in their place where the target is to reason first: ``{rationale}`` (by
            whatever name the slot has) and then ``{answer}``, at the end.
        other_metrics: metrics reported beside ``metric``, as data sets with two official ones have.
        published: what templates that others published are filled with in the place of ``fields``.
        group: record → what it is scored together with, such as the question of which it is one answer:
            metrics of groups (``f1a:yes``, ``group_em``) read it, and their intervals resample groups.
        ending: record → the words that stand behind each of its answers and are no part of what is
            compared, such as the rest of a sentence with a gap; ``""`` for none.
    """

    name: str
    cluster: str
    source: Source
    fields: Fields
    templates: tuple[Template | Rendering, ...]
    slots: tuple[str, ...]
    answer: str = ANSWER_SLOT
    options: tuple[str, ...] | str = ()
    metric: str = "accuracy"
    predict: Predict = "rank"
    collection: str = ""
    title: str = ""
    rationale: str = ""
    cot_templates: tuple[Template, ...] = ()
    other_metrics: tuple[str, ...] = ()
    published: tuple[PublishedFields, ...] = ()
    group: RecordText | None = None
    ending: RecordText | None = None

    def __post_init__(self) -> None:
        where = f"Task {self.name!r}"
        if not self.name.isidentifier():
            raise UserError(f"{where}: a task's name takes letters, digits and underscores only. Rename it.")
        if not self.cluster:
            raise UserError(f"{where} has no cluster. Name the cluster that it is held out with.")
        object.__setattr__(self, "source", as_source(self.source, where))
        if not self.templates:
            raise UserError(f"{where} has no templates. Give at least one.")
        if self.predict not in ("rank", "generate"):
            raise UserError(f"{where}: predict={self.predict!r} must be 'rank' or 'generate'.")
        if all(template.inverted for template in self.templates):
            raise UserError(
                f"{where} has inverted templates only, so nothing can be scored. Add one whose target is the answer."
            )
        if not self.renders_itself:
            self._check_slots(where)

    @property
    def renders_itself(self) -> bool:
        """True where the templates read the whole record instead of slots."""
        return not isinstance(self.templates[0], Template)

    def _check_slots(self, where: str) -> None:
        if self.answer not in self.slots:
            raise UserError(
                f"{where}: answer={self.answer!r} is not one of its slots {sorted(self.slots)}."
                f"{did_you_mean(self.answer, self.slots)}"
            )
        if isinstance(self.options, str):
            if self.options not in self.slots:
                raise UserError(
                    f"{where}: options={self.options!r} names no slot of {sorted(self.slots)}."
                    f"{did_you_mean(self.options, self.slots)} A fixed set is written as a tuple."
                )
        elif self.options:
            check_options(where, self.options)
        if self.predict == "rank" and not self.options:
            raise UserError(
                f"{where}: predict='rank' scores a closed set, but the task has no options. Give options or use predict='generate'."
            )
        check_templates(where, self, self.templates)
        if bool(self.rationale) != bool(self.cot_templates):
            raise UserError(f"{where}: rationale and cot_templates go together. Give both, or neither.")
        if self.rationale and self.rationale not in self.slots:
            raise UserError(
                f"{where}: rationale={self.rationale!r} is not one of its slots {sorted(self.slots)}."
                f"{did_you_mean(self.rationale, self.slots)}"
            )
        check_templates(f"{where}, reasoning", self, self.cot_templates, reasons=True)

    @property
    def extras(self) -> dict[str, RecordText]:
        """The functions whose values are kept of each record beside its tokens, by name."""
        declared = {GROUP: self.group, ENDING: self.ending}
        return {name: function for name, function in declared.items() if function is not None}

    @property
    def modes(self) -> tuple[PromptMode, ...]:
        """The prompt modes that the task has: solved examples and reasoning must be there to be shown."""
        can_show = "train" in self.source.splits
        return tuple(
            mode
            for mode in PromptMode
            if (can_show or not mode.few_shot)
            and (self.cot_templates or not mode.reasons)
            and (mode.instructs or not self.renders_itself)
        )

    @property
    def scored_templates(self) -> tuple[int, ...]:
        """Indices of the templates whose target is the answer."""
        return tuple(index for index, template in enumerate(self.templates) if not template.inverted)


@dataclasses.dataclass(frozen=True)
class Prompted:
    """A task as a model sees it: a spec, a prompt mode, and the templates in use.

    Attributes:
        spec: the task.
        mode: how the prompt is built.
        template_ids: the templates that may be drawn; ``None`` for all.
        variant: tells apart two views of one spec and mode; part of the name.
        style: how options are listed and how solved examples are set.
        few_shot: how many solved examples, in the few-shot modes.
        repeats: in how many ways each record is asked.

    Raises:
        UserError: a template that is not there, or a mode that reasons for a task without reasoning.
    """

    spec: TaskSpec
    mode: PromptMode = PromptMode.ZS_OPT
    template_ids: tuple[int, ...] | None = None
    variant: str = ""
    style: PromptStyle = FLAN_2021
    few_shot: FewShot = dataclasses.field(default_factory=FewShot)
    repeats: Repeats = dataclasses.field(default_factory=Repeats)

    def __post_init__(self) -> None:
        if self.mode.reasons and not self.spec.cot_templates:
            raise UserError(
                f"Task {self.spec.name!r} has no reasoning to learn from, so it has no mode {str(self.mode)!r}. "
                "Give the spec a rationale and cot_templates, or choose another mode."
            )
        if self.template_ids is None:
            return
        count = len(self.templates)
        bad = [index for index in self.template_ids if not 0 <= index < count]
        if bad or not self.template_ids:
            raise UserError(
                f"Task {self.spec.name!r}: template_ids={self.template_ids} must be a non-empty choice from 0 to {count - 1}."
            )

    @property
    def name(self) -> str:
        """``SPEC_MODE`` or ``SPEC_MODE_VARIANT``: made from the parts, never parsed back."""
        parts = [self.spec.name, str(self.mode), self.variant]
        return "_".join(part for part in parts if part)

    @property
    def spec_name(self) -> str:
        """The spec's name."""
        return self.spec.name

    @property
    def cluster(self) -> str:
        """The spec's cluster."""
        return self.spec.cluster

    @property
    def collection(self) -> str:
        """The spec's collection."""
        return self.spec.collection

    @property
    def source(self) -> Source:
        """The spec's source."""
        return self.spec.source

    @property
    def origins(self) -> frozenset[str]:
        """Those of the spec's source."""
        return self.spec.source.origins()

    @property
    def extras(self) -> Mapping[str, RecordText]:
        """The spec's."""
        return self.spec.extras

    @property
    def tokenized_elsewhere(self) -> bool:
        """No: a run's vocabulary tokenizes it."""
        return False

    def own_vocabulary(self) -> None:
        """None: a run chooses it."""

    def own_metrics(self, stored: Any, rows: Sequence[int]) -> None:
        """None: ``metric`` and ``predict`` say how it is measured."""

    def count(self, split: str) -> int:
        """The number of records of ``split``, read for that.

        Raises:
            UserError: its data are not here, or a record cannot be read.
        """
        return sum(1 for _ in self.spec.source.records(split))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the spec's source."""
        return self.spec.source.splits

    @property
    def templates(self) -> tuple[Template | Rendering, ...]:
        """The spec's templates for this mode."""
        return self.spec.cot_templates if self.mode.reasons else self.spec.templates

    @property
    def drawn_templates(self) -> tuple[int, ...]:
        """Indices of the templates that examples are drawn from."""
        if self.template_ids is not None:
            return self.template_ids
        # Without words of its own, a prompt cannot say that another field than the answer is wanted.
        return tuple(range(len(self.templates))) if self.mode.instructs else self.spec.scored_templates

    @property
    def scored_templates(self) -> tuple[int, ...]:
        """Indices, among this mode's templates, of those whose target is the answer."""
        return tuple(index for index, template in enumerate(self.templates) if not template.inverted)

    @property
    def predict(self) -> Predict:
        """The kind of prediction: reasoning is always generated."""
        return "generate" if self.mode.reasons else self.spec.predict

    @property
    def metric(self) -> str:
        """The metric: of reasoning, that of the answer it ends with."""
        return "final_answer" if self.mode.reasons else self.spec.metric
