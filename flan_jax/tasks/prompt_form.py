"""A template to be filled by hand: which slots it shows, and the prompt that values for them make (``PromptForm``)."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, TaskSpec
from flan_jax.tasks.template import ANSWER_SLOT, OPTIONS_SLOT, Template, slots_of

_UNKNOWN = "?"


@dataclasses.dataclass(frozen=True)
class PromptForm:
    """One template of a task in a prompt mode.

    Attributes:
        task: the spec with its prompt mode.
        template_id: index of the template.

    Raises:
        UserError: a template that is not there or shows the answer, or a task that renders its records itself.
    """

    task: Prompted
    template_id: int

    def __post_init__(self) -> None:
        spec, scored = self.task.spec, self.task.scored_templates
        if spec.renders_itself or self.task.mode.few_shot:
            why = "needs solved examples" if self.task.mode.few_shot else "renders its records itself"
            raise UserError(
                f"Task {self.task.name!r} {why}, so no template of it can be filled by hand. Choose another."
            )
        fillable = [one for one in scored if type(self.task.templates[one]) is Template]
        if self.template_id not in fillable:
            known = ", ".join(map(str, fillable)) or "another task: its templates are filled from published records"
            raise UserError(
                f"Task {self.task.name!r} has no template {self.template_id} that asks for the answer. Choose one of {known}."
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots to fill, in the template's order; the one of the options last, where each record has its own."""
        spec = self.task.spec
        template = self.task.templates[self.template_id]
        assert isinstance(template, Template)
        shown = [name for name in slots_of(template.inputs) if name not in (OPTIONS_SLOT, ANSWER_SLOT, spec.answer)]
        own = [spec.options] if isinstance(spec.options, str) else []
        return tuple(dict.fromkeys([*(name for name in shown if name not in own), *own]))

    def prompt(self, values: Mapping[str, str]) -> str:
        """Fills the template; options of a record's own are a JSON list or texts with ``|`` between them.

        Raises:
            UserError: a slot without a value, a value for no slot, or what the task refuses.
        """
        for name in values:
            if name not in self.slots:
                raise UserError(
                    f"Task {self.task.name!r} has no slot {name!r} to fill.{did_you_mean(name, self.slots)}"
                )
        missing = [name for name in self.slots if not values.get(name, "").strip()]
        if missing:
            raise UserError(f"Task {self.task.name!r} needs a value for {', '.join(missing)}.")
        spec = self.task.spec
        # What the template does not show is nobody's to know.
        filled: dict[str, Any] = dict.fromkeys(spec.slots, _UNKNOWN) | dict(values)
        options: Any = spec.options
        if isinstance(options, str):
            filled[options] = _list_of(filled[options])
            options = filled[options]
        filled[spec.answer] = options[0] if options else _UNKNOWN
        rendered = Renderer(dataclasses.replace(self.task, spec=_by_hand(spec)))(
            filled, index=0, template_id=self.template_id
        )
        if rendered is None:
            raise UserError(f"Task {self.task.name!r}: template {self.template_id} does not apply to these values.")
        return rendered.inputs


def _by_hand(spec: TaskSpec) -> TaskSpec:
    """The task with slots for records: nothing is read from columns."""
    return dataclasses.replace(spec, fields=dict, group=None, ending=None)


def _list_of(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError:
        found = text.split("|")
    found = [str(one).strip() for one in found] if isinstance(found, list) else []
    if len(found) < 2:
        raise UserError(f"Options {text!r} are fewer than two. Write them with | between: yes | no.")
    return tuple(found)
