"""Template sets: JSON files of other templates for existing tasks (``load_template_set``, ``with_templates``).

    {"name": "flan2021", "tasks": {"rte": [{"inputs": "{premise} …", "targets": "{answer}", "inverted": false}, …]}}

A template that reasons before it answers has ``"reasons": true``.

A published set names the code whose slots it is filled with, ``"fields": "flan2021"``. Its templates are
FLAN's, byte for byte: braces that hold no slot are braces, ``{options_}`` is the block of options, and
``"asks"`` names the slot of an answer other than the task's own. With ``"lists_options": false`` a block
that is left in them is text like any other. Whatever else the file holds (where the templates come from,
what was left out) is for people.
"""

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from flan_jax.data.sources.json_files import load_json
from flan_jax.errors import UserError, did_you_mean
from flan_jax.files import atomic_write_text
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.spec import OPTIONS_SLOT, Prompted, PublishedFields, TaskSpec, Template, VerbatimTemplate
from flan_jax.tasks.task import Task, as_prompted, prompted

_log = logging.getLogger(__name__)
_KEYS = ("inputs", "targets", "inverted", "reasons")
_PUBLISHED_KEYS = (*_KEYS, "asks")
_SLOT = re.compile(r"\{(\w+)\}")
_BLOCK = re.compile(r"\{options_(?:str)?\}")


@dataclasses.dataclass(frozen=True)
class TemplateSet:
    """Templates by the name of their task.

    Attributes:
        name: what results call it.
        templates: task → templates whose target is the answer, and inverted ones.
        cot_templates: task → templates whose target reasons first.
        fields: the published code that fills its slots, by ``PublishedFields.name``; ``""`` for a task's own fields.
        path: the file that it was read from, for messages.
    """

    name: str
    templates: Mapping[str, tuple[Template, ...]]
    cot_templates: Mapping[str, tuple[Template, ...]] = dataclasses.field(default_factory=dict)
    fields: str = ""
    path: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it has templates for, sorted."""
        return tuple(sorted({*self.templates, *self.cot_templates}))


def load_template_set(path: Path | str) -> TemplateSet:
    """Reads a template set.

    Raises:
        UserError: no such file, no JSON, or something in it that is no template, named by its place.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"The template set {path} does not exist. `tools/import_flan.py` makes one.")
    content = load_json(path)
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not tasks or not isinstance(content.get("name"), str):
        raise UserError(f'{path} is no template set. It must be an object with a text "name" and an object "tasks".')
    fields, lists = content.get("fields", ""), content.get("lists_options", True)
    if not isinstance(fields, str) or not isinstance(lists, bool):
        raise UserError(f"{path}: 'fields' must be a text and 'lists_options' true or false.")
    plain: dict[str, tuple[Template, ...]] = {}
    reasoned: dict[str, tuple[Template, ...]] = {}
    for task, given in tasks.items():
        if not isinstance(given, list) or not given:
            raise UserError(f"{path}, tasks.{task}: must be a list of templates that is not empty.")
        made = [
            _template(item, f"{path}, tasks.{task}[{index}]", published=bool(fields), options=lists)
            for index, item in enumerate(given)
        ]
        for kept, wanted in ((plain, False), (reasoned, True)):
            chosen = tuple(template for template, reasons in made if reasons == wanted)
            if chosen:
                kept[task] = chosen
    return TemplateSet(content["name"], plain, reasoned, fields, str(path))


def _template(item: Any, where: str, *, published: bool, options: bool) -> tuple[Template, bool]:
    texts = ("inputs", "targets")
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in texts):
        raise UserError(f"{where}: must be an object with the texts 'inputs' and 'targets'.")
    keys = _PUBLISHED_KEYS if published else _KEYS
    stray = next((key for key in item if key not in keys), None)
    if stray is not None:
        raise UserError(f"{where} has the unknown key {stray!r}.{did_you_mean(stray, keys)} Known: {', '.join(keys)}.")
    inverted, reasons = item.get("inverted", False), item.get("reasons", False)
    if not isinstance(inverted, bool) or not isinstance(reasons, bool):
        raise UserError(f"{where}: 'inverted' and 'reasons' must be true or false.")
    if not isinstance(item.get("asks", ""), str):
        raise UserError(f"{where}: 'asks' must be the name of a slot.")
    if published:
        return published_template(item, options=options), reasons
    template = Template(item["inputs"], item["targets"], inverted)
    try:
        template.slots  # noqa: B018  reading them checks the braces
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return template, reasons


def published_template(item: Mapping[str, Any], *, options: bool) -> VerbatimTemplate:
    """Makes a template of a published set.

    Args:
        item: ``inputs`` and ``targets`` as published, and ``inverted`` and ``asks`` where they are not the default.
        options: whether ``{options_}`` is the block that the renderer sets, or text like any other slot.
    """
    inputs, targets = (_escaped(item[side], options) for side in ("inputs", "targets"))
    return VerbatimTemplate(inputs, targets, item.get("inverted", False), item.get("asks", ""))


def _escaped(text: str, options: bool) -> str:
    """Escapes a published text for ``str.format``: only a plain name in braces is a slot."""
    if options:
        text = _BLOCK.sub(f"{{{OPTIONS_SLOT}}}", text)
    parts = _SLOT.split(text)
    return "".join(
        f"{{{part}}}" if index % 2 else part.replace("{", "{{").replace("}", "}}") for index, part in enumerate(parts)
    )


def with_fields(
    spec: TaskSpec,
    fields: PublishedFields,
    *,
    templates: tuple[Template, ...] = (),
    cot_templates: tuple[Template, ...] = (),
) -> TaskSpec:
    """Replaces a task's fields by published ones, with templates for them.

    Args:
        spec: the task.
        fields: one of its ``published``.
        templates: in the place of its own, which stay where there are none.
        cot_templates: the same of those that reason first.

    Raises:
        UserError: as ``TaskSpec``.
    """
    return dataclasses.replace(
        spec,
        fields=fields.fields,
        slots=fields.slots,
        answer=fields.answer,
        options=fields.options,
        rationale=fields.rationale if cot_templates else "",
        templates=templates or spec.templates,
        cot_templates=cot_templates,
    )


@overload
def with_templates(of: TaskSpec, templates: TemplateSet) -> TaskSpec: ...
@overload
def with_templates(of: Mixture, templates: TemplateSet) -> Mixture: ...
def with_templates(of: TaskSpec | Mixture, templates: TemplateSet) -> TaskSpec | Mixture:
    """Replaces the templates of a task, or of a mixture's tasks, by those of a set.

    A task that the set does not know keeps its own, and a log line names it. Prepared stores of the others no longer fit:
    templates are part of a fingerprint.

    Args:
        of: a task, or a mixture with its nested mixtures and suites.
        templates: the set.

    Raises:
        UserError: a template with a slot that its task has not, or that does not suit it; or no
            task at all in common.
    """
    specs = {of.name} if isinstance(of, TaskSpec) else {task.spec.name for task in _prompted(of)}
    if not specs & set(templates.tasks):
        some = min(specs, default="")
        raise UserError(
            f"Template set {templates.name!r} has no templates for {_kind(of)} {of.name!r}."
            f"{did_you_mean(some, templates.tasks)} It has templates for {len(templates.tasks)} tasks, such as "
            f"{', '.join(templates.tasks[:3])}."
        )
    own = sorted(specs - set(templates.tasks))
    if own:
        shown = ", ".join(own[:5]) + (", …" if len(own) > 5 else "")
        _log.warning(
            "Template set %r has templates for %d of %d tasks; the others keep their own: %s",
            templates.name,
            len(specs) - len(own),
            len(specs),
            shown,
        )
    return _spec(of, templates) if isinstance(of, TaskSpec) else _mixture(of, templates)


def _kind(of: TaskSpec | Mixture) -> str:
    if isinstance(of, TaskSpec):
        return "task"
    # A task that is asked for by its name comes as a mixture of that name.
    return "task" if [task.spec.name for task in _prompted(of)] == [of.name] else "mixture"


def _prompted(mixture: Mixture) -> list[Prompted]:
    return prompted(mixture.all_tasks)


def _spec(spec: TaskSpec, templates: TemplateSet) -> TaskSpec:
    plain, reasoned = templates.templates.get(spec.name, ()), templates.cot_templates.get(spec.name, ())
    if not plain and not reasoned:
        return spec
    try:
        if templates.fields:
            fields = next((one for one in spec.published if one.name == templates.fields), None)
            if fields is None:
                raise UserError(
                    f"task {spec.name!r} has no published fields {templates.fields!r} to fill its templates."
                )
            return with_fields(spec, fields, templates=plain, cot_templates=reasoned)
        return dataclasses.replace(
            spec, templates=plain or spec.templates, cot_templates=reasoned or spec.cot_templates
        )
    except UserError as error:
        raise UserError(f"Template set {templates.path or templates.name!r}: {error}") from error


def _task(task: Task, templates: TemplateSet) -> Task:
    own = as_prompted(task)
    if own is None:
        return task
    changed = dataclasses.replace(own, spec=_spec(own.spec, templates), template_ids=None)
    if own.template_ids is None:
        return changed
    # Those that can be scored stay those that can be scored; any other choice goes by number.
    chosen = changed.scored_templates if own.template_ids == own.scored_templates else own.template_ids
    return dataclasses.replace(changed, template_ids=chosen)


def _mixture(mixture: Mixture, templates: TemplateSet) -> Mixture:
    def entry(one: Entry) -> Entry:
        task = _mixture(one.task, templates) if isinstance(one.task, Mixture) else _task(one.task, templates)
        return dataclasses.replace(one, task=task)

    def suite(one: Suite) -> Suite:
        return dataclasses.replace(one, tasks=tuple(_task(task, templates) for task in one.tasks))

    return dataclasses.replace(
        mixture, entries=tuple(map(entry, mixture.entries)), suites=tuple(map(suite, mixture.suites))
    )


def write_template_set(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a template set atomically."""
    atomic_write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
