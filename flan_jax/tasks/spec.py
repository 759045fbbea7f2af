"""What a task is: one declaration that validates itself when it is built.

A record of a source becomes slots (``fields``), slots become text (``templates``), and the
closed set of answers, where there is one, travels along as ``options``.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.published import PublishedFields
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
    "Task",
    "TaskSpec",
    "Template",
    "Unreadable",
    "VerbatimTemplate",
    "slots_of",
]

Record = Mapping[str, Any]
Fields = Callable[[Record], Mapping[str, Any] | None]
"""Record → slots; ``None`` for a record that is no example of the task (without a label, say) and is left out."""
GROUP, ENDING = "group", "ending"
"""What is kept of a record beside its tokens where its task declares it: see ``TaskSpec``."""
RecordText = Callable[[Record], str]
"""Record → a text that is kept beside its tokens, for metrics to read."""
Predict = Literal["rank", "generate"]
Unreadable = Callable[[UserError], None]
"""Told of each record that is left out because it cannot be read."""


@runtime_checkable
class Source(Protocol):
    """Where the records of a task come from. A handle: building one reads nothing."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that can be read, among ``train``, ``validation``, ``test``."""

    def records(self, split: str, unreadable: "Unreadable | None" = None) -> Iterator[Record]:
        """Yields the records of ``split`` in a fixed order.

        A record that cannot be read is handed to ``unreadable``, at its place in the order, as an
        error that names the place; without ``unreadable`` the error is raised.
        """

    def fingerprint(self, split: str) -> str:
        """Hexadecimal digest that changes when the records of ``split`` may have changed."""

    def describe(self) -> str:
        """One line for people."""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task, whole: its source, its fields, its options, its templates, its metric, its cluster.

    Attributes:
        name: unique in the catalogue; letters, digits and underscores.
        cluster: what is held out together.
        source: where records come from.
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
        if not isinstance(self.source, Source):
            raise UserError(
                f"{where}: source is {type(self.source).__name__}, which has no records(), splits, fingerprint() "
                "and describe(). Use one of flan_jax.data.sources."
            )
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
        """Whether the templates read the whole record instead of slots."""
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
            _check_options(where, self.options)
        if self.predict == "rank" and not self.options:
            raise UserError(
                f"{where}: predict='rank' scores a closed set, but the task has no options. Give options or use predict='generate'."
            )
        self._check_templates(where, self.templates)
        if bool(self.rationale) != bool(self.cot_templates):
            raise UserError(f"{where}: rationale and cot_templates go together. Give both, or neither.")
        if self.rationale and self.rationale not in self.slots:
            raise UserError(
                f"{where}: rationale={self.rationale!r} is not one of its slots {sorted(self.slots)}."
                f"{did_you_mean(self.rationale, self.slots)}"
            )
        self._check_templates(f"{where}, reasoning", self.cot_templates, reasons=True)

    def _check_templates(self, where: str, templates: Sequence[Any], *, reasons: bool = False) -> None:
        for index, template in enumerate(templates):
            if not isinstance(template, Template):
                raise UserError(f"{where}, template {index} is a {type(template).__name__}. Use one kind for all.")
            self._check_template(f"{where}, template {index}", template, reasons)
        # Published sets repeat some of theirs, which are then drawn more often.
        texts = [(one.inputs, one.targets) for one in templates if not isinstance(one, VerbatimTemplate)]
        if len(set(texts)) < len(texts):
            twice = next(index for index, text in enumerate(texts) if text in texts[:index])
            raise UserError(
                f"{where}: template {twice} repeats template {texts.index(texts[twice])}. Change or remove one."
            )

    def _check_template(self, where: str, template: Template, reasons: bool) -> None:
        known = set(self.slots) | {ANSWER_SLOT} | ({OPTIONS_SLOT} if self.options else set())
        asks = (template.asks,) if isinstance(template, VerbatimTemplate) and template.asks else ()
        for slot in (*template.slots, *asks):
            if slot not in known:
                raise UserError(
                    f"{where} uses the unknown slot {{{slot}}}.{did_you_mean(slot, known)} Slots of this task: {', '.join(sorted(known))}."
                )
        # A text may be asked for without a word about it: one that is in French, a question for a school book.
        if not slots_of(template.inputs) and not template.inverted:
            raise UserError(
                f"{where} renders the same input for every record: {template.inputs!r}. Use at least one slot."
            )
        if not slots_of(template.targets):
            raise UserError(
                f"{where} renders the same target for every record: {template.targets!r}. Use at least one slot, {{answer}} as a rule."
            )
        if template.inverted:
            return
        if reasons:
            wanted = (self.rationale, ANSWER_SLOT)
            if slots_of(template.targets) != wanted or not template.targets.rstrip(" .!\"”'").endswith("{answer}"):
                raise UserError(
                    f"{where} has the target {template.targets!r}. Reason first and end with the answer: "
                    f"'{{{self.rationale}}} … {{answer}}'."
                )
            if {ANSWER_SLOT, self.answer, self.rationale} & set(slots_of(template.inputs)):
                raise UserError(f"{where} shows the answer or its reasoning in its input. Remove the slot.")
            return
        # A scored answer must be the answer itself: options and references are compared with it.
        asked, alone = {self.answer, ANSWER_SLOT}, template.targets.strip().startswith("{")
        if isinstance(template, VerbatimTemplate):
            # Its references have the words that stand around the answer; "answer" may be a slot like any other.
            asked = {template.asks or self.answer, *({ANSWER_SLOT} - set(self.slots))}
            alone = alone or not self.options
        if slots_of(template.targets) not in {(slot,) for slot in asked} or not alone:
            raise UserError(
                f"{where} has the target {template.targets!r}. Use '{{answer}}', or mark the template inverted=True."
            )
        if asked & set(slots_of(template.inputs)):
            raise UserError(f"{where} shows the answer in its input. Mark it inverted=True or remove the slot.")

    @property
    def extras(self) -> dict[str, RecordText]:
        """What is kept of each record beside its tokens: name → function."""
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


def _check_options(where: str, options: Sequence[str]) -> None:
    if len(options) < 2:
        raise UserError(f"{where} has {len(options)} option(s). A closed set needs at least two.")
    if len(set(options)) < len(options):
        raise UserError(f"{where} lists an option twice: {list(options)}.")
    for option in options:
        if not isinstance(option, str) or not option.strip():
            raise UserError(f"{where} has the option {option!r}. An option is a string that is not empty.")


@runtime_checkable
class Task(Protocol):
    """What mixtures, stores and results know of a task. ``Prompted`` is ours; a seqio task can be one too."""

    @property
    def name(self) -> str:
        """Unique among the tasks of a run."""

    @property
    def cluster(self) -> str:
        """What it is held out with."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that can be prepared."""


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

    Raises:
        UserError: a template that is not there, or a mode that reasons for a task without reasoning.
    """

    spec: TaskSpec
    mode: PromptMode = PromptMode.ZS_OPT
    template_ids: tuple[int, ...] | None = None
    variant: str = ""
    style: PromptStyle = FLAN_2021
    few_shot: FewShot = dataclasses.field(default_factory=FewShot)

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
    def cluster(self) -> str:
        """The spec's cluster."""
        return self.spec.cluster

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
        """How an answer is got: reasoning is always generated."""
        return "generate" if self.mode.reasons else self.spec.predict

    @property
    def metric(self) -> str:
        """The metric: of reasoning, that of the answer it ends with."""
        return "final_answer" if self.mode.reasons else self.spec.metric
