"""Template sets: other templates for tasks that are there, in a JSON file.

    {"name": "flan2021", "tasks": {"rte": [{"inputs": "{premise} …", "targets": "{answer}", "inverted": false}, …]}}

A template that reasons before it answers has ``"reasons": true``. Whatever else the file holds
(where the templates come from, what was left out) is for people.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from flan_jax.data.sources import load_json
from flan_jax.errors import UserError, did_you_mean
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.spec import Prompted, Task, TaskSpec, Template

_log = logging.getLogger(__name__)
_KEYS = ("inputs", "targets", "inverted", "reasons")


@dataclasses.dataclass(frozen=True)
class TemplateSet:
    """Templates by the name of their task.

    Attributes:
        name: what results call it.
        templates: task → templates whose target is the answer, and inverted ones.
        cot_templates: task → templates whose target reasons first.
        path: the file that it was read from, for messages.
    """

    name: str
    templates: Mapping[str, tuple[Template, ...]]
    cot_templates: Mapping[str, tuple[Template, ...]] = dataclasses.field(default_factory=dict)
    path: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it has templates for, sorted."""
        return tuple(sorted({*self.templates, *self.cot_templates}))


def load_template_set(path: Path | str) -> TemplateSet:
    """Reads a template set.

    Raises:
        UserError: no such file, no JSON, or something in it that is no template, named by its place.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The template set {path} does not exist. `tools/import_flan.py` makes one.")
    content = load_json(path)
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not tasks or not isinstance(content.get("name"), str):
        raise UserError(f'{path} is no template set. It must be an object with a text "name" and an object "tasks".')
    plain: dict[str, tuple[Template, ...]] = {}
    reasoned: dict[str, tuple[Template, ...]] = {}
    for task, given in tasks.items():
        if not isinstance(given, list) or not given:
            raise UserError(f"{path}, tasks.{task}: must be a list of templates that is not empty.")
        made = [_template(item, f"{path}, tasks.{task}[{index}]") for index, item in enumerate(given)]
        for kept, wanted in ((plain, False), (reasoned, True)):
            chosen = tuple(template for template, reasons in made if reasons == wanted)
            if chosen:
                kept[task] = chosen
    return TemplateSet(content["name"], plain, reasoned, str(path))


def _template(item: Any, where: str) -> tuple[Template, bool]:
    texts = ("inputs", "targets")
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in texts):
        raise UserError(f"{where}: must be an object with the texts 'inputs' and 'targets'.")
    stray = next((key for key in item if key not in _KEYS), None)
    if stray is not None:
        raise UserError(
            f"{where} has the unknown key {stray!r}.{did_you_mean(stray, _KEYS)} Known: {', '.join(_KEYS)}."
        )
    inverted, reasons = item.get("inverted", False), item.get("reasons", False)
    if not isinstance(inverted, bool) or not isinstance(reasons, bool):
        raise UserError(f"{where}: 'inverted' and 'reasons' must be true or false.")
    template = Template(item["inputs"], item["targets"], inverted)
    try:
        template.slots  # noqa: B018  reading them checks the braces
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return template, reasons


@overload
def with_templates(of: TaskSpec, templates: TemplateSet) -> TaskSpec: ...
@overload
def with_templates(of: Mixture, templates: TemplateSet) -> Mixture: ...
def with_templates(of: TaskSpec | Mixture, templates: TemplateSet) -> TaskSpec | Mixture:
    """The same task, or a mixture of the same tasks, with the templates of a set.

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
    return "task" if isinstance(of, TaskSpec) else "mixture"


def _prompted(mixture: Mixture) -> list[Prompted]:
    return [task for task in mixture.all_tasks if isinstance(task, Prompted)]


def _spec(spec: TaskSpec, templates: TemplateSet) -> TaskSpec:
    changes: dict[str, Any] = {}
    if spec.name in templates.templates:
        changes["templates"] = templates.templates[spec.name]
    if spec.name in templates.cot_templates:
        changes["cot_templates"] = templates.cot_templates[spec.name]
    try:
        return dataclasses.replace(spec, **changes)
    except UserError as error:
        raise UserError(f"Template set {templates.path or templates.name!r}: {error}") from error


def _task(task: Task, templates: TemplateSet) -> Task:
    if not isinstance(task, Prompted):
        return task
    changed = dataclasses.replace(task, spec=_spec(task.spec, templates), template_ids=None)
    if task.template_ids is None:
        return changed
    # Those that can be scored stay those that can be scored; any other choice goes by number.
    chosen = changed.scored_templates if task.template_ids == task.scored_templates else task.template_ids
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
    """Writes a template set with what is said about it, whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
