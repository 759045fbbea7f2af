"""Rendering: from a record to the text of an example.

Nothing here draws from a global generator: the template of example *i* is a hash of
(seed, task, i), so it is the same on every machine, in any order, in every process. So are the
solved examples before it and the way options are listed.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import PlacedError, RecordError, UserError
from flan_jax.tasks.hashing import counter_hash, finish_hash, hash_prefix
from flan_jax.tasks.rendering.by_itself import render_by_itself
from flan_jax.tasks.rendering.fewshot import TRAIN_SPLIT, Exemplars, Slots, count_that_fit
from flan_jax.tasks.rendering.fill import PromptAndTarget, check_unicode, content_of, fill_template, list_options
from flan_jax.tasks.rendering.option_orders import OptionOrder, option_orders
from flan_jax.tasks.rendering.slots import accepted_references, read_extras, read_slots, record_options
from flan_jax.tasks.rendering.verbatim import can_fill, no_fillable_template, render_verbatim
from flan_jax.tasks.repeats import templates_in_turn
from flan_jax.tasks.spec import ORDER, Prompted, Record, TaskSpec
from flan_jax.tasks.style import OptionStyle
from flan_jax.tasks.template import (
    ANSWER_SLOT,
    OPTIONS_SLOT,
    Rendered,
    Template,
    VerbatimTemplate,
    slots_of,
)

Length = Callable[[str], int]
"""Text → tokens, the end of sequence counted."""
Mark = Callable[[str, str], str]
"""(kind, text) → the text between marks, by which ``inspect`` colors it."""

_JOINT = "\n"
_VISIBLE_JOINT = " | "  # where line ends are dropped


def choose_template(task: Prompted, *, index: int, seed: int) -> int:
    """Draws the template of example ``index``: a pure function of (seed, task name, index)."""
    drawn = task.drawn_templates
    return drawn[finish_hash(_template_hash(seed, task.spec.name), index) % len(drawn)]


@functools.lru_cache(maxsize=64)
def _template_hash(seed: int, name: str) -> Any:
    return hash_prefix("template", seed, name)


@dataclasses.dataclass(frozen=True)
class Renderer:
    """Renders the records of one task.

    Attributes:
        task: the spec with its prompt mode and templates.
        seed: changes which example gets which template, solved examples and style.
        newlines: whether the vocabulary keeps line ends. Where it drops them, what separates the
            parts of a prompt is something that stays.
        length: counts tokens, so that solved examples stay within their budget; ``None`` for no limit.
        max_length: of an input, in tokens; the budget is a part of it where the task gives none.
        mark: puts marks around slots, options and solved examples.
    """

    task: Prompted
    seed: int = 0
    newlines: bool = True
    length: Length | None = None
    max_length: int = 0
    mark: Mark | None = None

    def __call__(
        self, record: Record, *, index: int, split: str = TRAIN_SPLIT, template_id: int | None = None
    ) -> Rendered | None:
        """Renders one record.

        Args:
            record: as the source yields it.
            index: the record's position in its split.
            split: the record's split.
            template_id: overrides the choice of template.

        Returns:
            The example; ``None`` for a record that is no example of the task: its ``fields`` left
            it out, or its template does not apply, or no solved example fits before it.

        Raises:
            UserError: a missing slot, an answer outside the options, an empty side.
        """
        try:
            slots = read_slots(self.task.spec, record)
            return None if slots is None else next(self._in_orders(record, slots, index, split, template_id, 1), None)
        except UserError as error:
            raise UserError(f"Task {self.task.spec.name!r}, record {index}: {error}") from error

    def in_all_ways(self, record: Record, *, index: int, split: str = TRAIN_SPLIT) -> list[Rendered]:
        """Renders one record in each of the ways of ``task.repeats``: its templates in turn, each in its orders of options.

        Returns:
            The examples; none for a record that is no example of the task in any of these ways.

        Raises:
            UserError: as above.
        """
        orders = self.task.repeats.option_orders
        try:
            slots = read_slots(self.task.spec, record)
            return [
                made
                for template_id in (() if slots is None else self._repeated(slots, index))
                for made in self._in_orders(record, slots or {}, index, split, template_id, orders)
            ]
        except UserError as error:
            raise UserError(f"Task {self.task.spec.name!r}, record {index}: {error}") from error

    def _repeated(self, slots: Slots, index: int) -> Sequence[int | None]:
        """Chooses the templates that a record is asked under; one ``None`` for the one that is drawn."""
        task, count = self.task, self.task.repeats.templates
        if count == 1:
            return [None]
        scored = tuple(one for one in task.drawn_templates if not task.templates[one].inverted)
        turns = templates_in_turn(scored, index=index, seed=self.seed, task=task.spec.name)
        # Where the record lacks a slot of each, drawing one says so.
        return [one for one in turns if can_fill(task.templates[one], slots)][:count] or [None]

    def _in_orders(
        self, record: Record, slots: Slots, index: int, split: str, template_id: int | None, orders: int
    ) -> Iterator[Rendered]:
        """Yields the record under a template in so many orders of the options that it lists, or in as many as there are."""
        task = self.task
        if template_id is None:
            template_id = self._chosen(slots, index)
        if template_id is None:
            raise no_fillable_template([task.templates[one] for one in task.drawn_templates], slots)
        style = self._option_style(split, index)
        query = self._single(slots, template_id, style)
        if query is None:
            return
        exemplars: tuple[int, ...] = ()
        surround: Callable[[str], str] = str
        if task.mode.few_shot:
            found = self._few_shot(query, slots, index, split, template_id, style)
            if found is None:
                return
            surround, exemplars = found
        extras = read_extras(task.spec, record)
        wanted = min(orders, math.factorial(query.listed))
        drawn = option_orders(query.listed, wanted, seed=self.seed, task=task.spec.name, example_id=index)
        for number, places in enumerate(drawn):
            single = query if not number else self._single(slots, template_id, style, places)
            assert single is not None
            order = {ORDER: OptionOrder(number, single.published).as_text()} if task.repeats.option_orders > 1 else {}
            yield Rendered(
                surround(single.inputs), single.targets, single.options, single.references, index, template_id, exemplars,
                {**extras, **order},
            )  # fmt: skip

    def _chosen(self, slots: Slots, index: int) -> int | None:
        """Draws the template of example ``index``, or the next that the record has every slot of; ``None`` for none."""
        first, drawn = choose_template(self.task, index=index, seed=self.seed), self.task.drawn_templates
        if can_fill(self.task.templates[first], slots):
            return first
        place = drawn.index(first)
        return next(
            (one for one in (*drawn[place:], *drawn[:place]) if can_fill(self.task.templates[one], slots)), None
        )

    def _option_style(self, split: str, index: int) -> OptionStyle:
        styles = self.task.style.options
        if len(styles) == 1:
            return styles[0]
        return styles[counter_hash("options", self.seed, self.task.spec.name, split, index) % len(styles)]

    def _single(
        self, slots: Slots, template_id: int, style: OptionStyle, places: Sequence[int] = ()
    ) -> PromptAndTarget | None:
        template = self.task.templates[template_id]
        single: PromptAndTarget | None
        if isinstance(template, VerbatimTemplate) and self.task.mode.instructs:
            single = self._verbatim(slots, template, style, places)
        elif isinstance(template, Template):
            single = self._from_slots(slots, template, style, places)
        else:
            single = render_by_itself(template, slots, style, self.task.mode, places=places, mark=self.mark)
        if single is not None and not (single.inputs.strip() and single.targets.strip()):
            side = "target" if single.inputs.strip() else "input"
            raise UserError(
                f"template {template_id} renders an empty {side}. Filter such records out or correct the template."
            )
        if single is not None:
            check_unicode(single)
        return single

    def _verbatim(
        self, slots: Slots, template: VerbatimTemplate, style: OptionStyle, places: Sequence[int]
    ) -> PromptAndTarget:
        task, shows = self.task, self.task.mode.shows_options
        words = render_verbatim(task.spec, template, slots, style, shows_options=shows, places=places, mark=self.mark)
        return words._replace(options=()) if task.mode.reasons else words

    def _from_slots(
        self, slots: Slots, template: Template, style: OptionStyle, places: Sequence[int]
    ) -> PromptAndTarget:
        task, spec = self.task, self.task.spec
        options = record_options(spec, slots)
        references = accepted_references(slots[spec.answer], options)
        if options and not all(reference in options for reference in references):
            stray = next(reference for reference in references if reference not in options)
            raise UserError(
                f"the answer {stray!r:.80} is not one of its options {list(options)!s:.300}. Correct the record, `fields` or `options`."
            )
        text: dict[str, str] = {name: value for name, value in slots.items() if isinstance(value, str)}
        listed = bool(options) and task.mode.shows_options and not template.inverted
        count, listing, published = len(options) if listed else 0, "", tuple[int, ...]()
        if listed:
            listing, options, references, published = list_options(style, options, references, places)
        text[ANSWER_SLOT] = text[spec.answer] = references[0]
        if task.mode.instructs:
            inputs = template.inputs
            # A template need not place the block itself; it then stands at the end.
            if options and not template.inverted and OPTIONS_SLOT not in slots_of(inputs):
                inputs += "\n\n{options}"
        else:
            inputs = self._without_words(text, spec)
        targets = fill_template(template.targets, {**text, OPTIONS_SLOT: listing})
        if self.mark:
            text = {name: self.mark(name, value) for name, value in text.items()}
            listing = self.mark(OPTIONS_SLOT, listing) if listing else ""
        text[OPTIONS_SLOT] = listing
        inputs = fill_template(inputs, text)
        if template.inverted:
            options, references = (), (targets,)
        return PromptAndTarget(inputs, targets, () if task.mode.reasons else options, references, count, published)

    def _without_words(self, text: Mapping[str, str], spec: TaskSpec) -> str:
        """Joins the fields alone, in the order of the first scored template that names any beside the options."""
        named = (slots_of(getattr(spec.templates[one], "inputs", "")) for one in spec.scored_templates)
        fields_of = ([name for name in names if name != OPTIONS_SLOT and name in text] for names in named)
        names = next(filter(None, fields_of), [])
        fields = (_JOINT if self.newlines else _VISIBLE_JOINT).join(f"{{{name}}}" for name in names)
        if self.task.mode == "dataset_name":
            title = (spec.title or spec.name).replace("{", "{{").replace("}", "}}")
            return f"[Task: {title}] {fields}"
        return fields

    @functools.cached_property
    def _exemplars(self) -> Exemplars:
        """The training records to choose from, read once. What cannot be read or is no example is passed over."""
        spec = self.task.spec
        if TRAIN_SPLIT not in spec.source.splits:
            raise UserError(
                f"its source has no split {TRAIN_SPLIT!r} to take solved examples from, so it has no few-shot mode."
            )
        options = (spec.options,) if isinstance(spec.options, str) else ()
        answers = (
            frozenset() if spec.renders_itself else frozenset((spec.answer, spec.rationale, ANSWER_SLOT, *options))
        )
        return Exemplars.of(spec.name, self.seed, self._training_slots(), answers=answers)

    def _training_slots(self) -> Iterator[tuple[int, Slots]]:
        for index, record in self.task.spec.source.read(TRAIN_SPLIT):
            if isinstance(record, RecordError):
                continue
            try:
                slots = read_slots(self.task.spec, record)
            except UserError:
                continue
            if slots is not None:
                yield index, slots

    def _few_shot(
        self, asked: PromptAndTarget, slots: Slots, index: int, split: str, template_id: int, style: OptionStyle
    ) -> tuple[Callable[[str], str], tuple[int, ...]] | None:
        """Chooses solved examples; returns what puts them before a prompt, and their training indices; ``None`` where none fits."""
        task, pool, query = self.task, self._exemplars, asked.inputs
        # A record that templates read whole may differ from the query in a number of its own alone, so text is compared.
        seen = {content_of(asked)} if task.spec.renders_itself else None
        solved: list[tuple[str, str]] = []
        places: list[int] = []
        draws = 0
        for position in pool.candidates(task.spec.name, self.seed, split, index, slots):
            if len(solved) == task.few_shot.shots or draws == task.few_shot.shots:
                break
            own: int | None = template_id
            if task.few_shot.templates != "same":
                own = self._chosen(pool.slots[position], pool.indices[position])
            draws += task.few_shot.templates == "matching"
            if own is None:
                continue
            if task.few_shot.templates == "matching" and own != template_id:
                continue
            try:
                single = self._single(pool.slots[position], own, style)
                alike = single
                if seen is not None and own != template_id:
                    alike = self._single(pool.slots[position], template_id, style)
            except UserError:  # a broken training record is reported where it is a query
                continue
            if seen is not None and alike is not None:
                if content_of(alike) in seen:
                    continue
                seen.add(content_of(alike))
            if single is not None:
                solved.append((single.inputs, single.targets))
                places.append(pool.indices[position])
        styles = task.style.exemplar_styles(self.newlines)
        setting = styles[counter_hash("exemplar style", self.seed, task.spec.name, split, index) % len(styles)]
        kept = len(solved)
        budget = task.few_shot.budget or self.max_length * 15 // 16
        if self.length is not None and budget:
            count = self.length
            kept = count_that_fit(solved, lambda some: setting.prompt(some, query), lambda text: count(text) <= budget)
        if not kept:
            return None

        def surround(text: str) -> str:
            prompt = setting.prompt(solved[:kept], text)
            if self.mark:
                whole, last = prompt, setting.prompt([], text)
                before = whole[: len(whole) - len(last)]
                prompt = self.mark("exemplars", before) + last
            return prompt

        return surround, tuple(places[:kept])


def render(
    task: Prompted, record: Record, *, index: int, seed: int = 0, template_id: int | None = None
) -> Rendered | None:
    """Renders one training record; see ``Renderer``."""
    return Renderer(task, seed)(record, index=index, template_id=template_id)


def render_stream(
    task: Prompted,
    split: str,
    *,
    seed: int = 0,
    newlines: bool = True,
    length: Length | None = None,
    max_length: int = 0,
) -> Iterator[Rendered | RecordError | None]:
    """Yields what becomes of every record of ``split``, in the source's order; several examples where ``task.repeats`` says so.

    Args:
        task: the spec with its prompt mode and templates.
        split: the split.
        seed: as for ``Renderer``. So are:
        newlines, length, max_length: what the vocabulary does to a prompt.

    Returns:
        An example; or a ``RecordError`` for a record that cannot be read or rendered, which names its place where
        the source knows it; or ``None`` for one that is no example of the task.
    """
    renderer = Renderer(task, seed, newlines, length, max_length)
    source, once = task.spec.source, task.repeats.once
    for index, record in source.read(split):
        if isinstance(record, RecordError):
            yield record
            continue
        made: Sequence[Rendered | None]
        try:
            made = (
                [renderer(record, index=index, split=split)]
                if once
                else renderer.in_all_ways(record, index=index, split=split) or [None]
            )
        except UserError as error:
            yield PlacedError(functools.partial(source.place, split, index), error)
        else:
            yield from made


def render_split(
    task: Prompted,
    split: str,
    *,
    seed: int = 0,
    newlines: bool = True,
    length: Length | None = None,
    max_length: int = 0,
) -> Iterator[Rendered]:
    """Yields the examples of ``split`` alone; arguments as for ``render_stream``.

    Raises:
        RecordError: a record that cannot be read or rendered.
    """
    for made in render_stream(task, split, seed=seed, newlines=newlines, length=length, max_length=max_length):
        if isinstance(made, RecordError):
            raise made
        if made is not None:
            yield made
