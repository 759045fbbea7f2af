"""Reads promptsource's templates (P3, T0) from a user's copy of its ``templates.yaml`` files (``promptsource_task``).

A file holds the templates of one data set or subset. A template is Jinja with one ``|||`` between
prompt and target; its answer choices are Jinja too, joined by ``|||``. Nothing of theirs is
carried here: ``DATA_DIR/promptsource/templates/DATASET[/SUBSET]/templates.yaml`` is read when a
task is built.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.collections.t0_datasets import T0_SETS, T0Set, hub_source, task_name
from flan_jax.data.sources.base import missing_data, resolve
from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.tasks.spec import Fields, Parts, Predict, Record, Source, TaskSpec

FOLDER = "promptsource/templates"
FILE_NAME = "templates.yaml"
MAX_FILE_BYTES = 4_000_000
NO_LABEL = "<NO LABEL>"
"""What T0 writes as the target of a record without a label."""
TRUNCATE = 2048
"""How much of one value T0 shows, in characters."""

_SEPARATOR = "|||"
# Stands for a separator that is part of the data. Three characters that Unicode keeps out of texts, so that lengths stay.
_PROTECTED = "\ufdd0\ufdd1\ufdd2"
_METRICS = {
    "Accuracy": "accuracy",
    "ROUGE": "rougeL",
    "BLEU": "bleu",
    "Squad": "squad_f1",
    "COQA F1": "squad_f1",
    "Trivia QA": "trivia_qa_f1",
    "Edit Distance": "edit_similarity",
    "Pearson Correlation": "pearson",
}


@dataclasses.dataclass(frozen=True)
class JinjaTemplate:
    """A template of promptsource; a ``flan_jax.tasks.spec.Rendering``.

    Attributes:
        dataset: the data set that it is written for.
        subset: its configuration, or ``None``.
        id: the identifier in the file.
        name: the name, unique in its file.
        jinja: prompt, ``|||``, target.
        answer_choices: Jinja of the closed set of targets, joined by ``|||``; ``None`` for free text.
        original_task: the target is what the data set was made to ask for.
        scored: it is measured; one that asks for something else is trained on only.
        choices_in_prompt: the prompt lists the choices in its own words.
        metrics: the names of its metrics in promptsource.
        languages: the languages of its words.
        seed: changes what the filter ``choice`` draws.
        truncate: how much of one value is shown, in characters; 0 for all.
        no_label: the target of a record that the template gives none; ``""`` leaves it out.
    """

    dataset: str
    subset: str | None
    id: str
    name: str
    jinja: str
    answer_choices: str | None = None
    original_task: bool = False
    scored: bool = False
    choices_in_prompt: bool = False
    metrics: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    seed: int = 0
    truncate: int = TRUNCATE
    no_label: str = ""

    @property
    def inverted(self) -> bool:
        """True where it is never scored."""
        return not self.scored

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a record that the template needs.

        Raises:
            UserError: its Jinja cannot be compiled.
        """
        return tuple(sorted({name for program in self._programs() if program for name in program.needs}))

    def _programs(self) -> tuple[Any, Any]:
        # Jinja is imported where a template is rendered, not where tasks are listed.
        from flan_jax.data.templates.jinja_sandbox import compiled

        try:
            choices = compiled(self.answer_choices) if self.answer_choices is not None else None
            return compiled(self.jinja, self.truncate), choices
        except UserError as error:
            raise UserError(f"{self.describe()} {error}. Leave it out.") from error

    def describe(self) -> str:
        """Names the template and its data set."""
        of = f"{self.dataset}/{self.subset}" if self.subset else self.dataset
        return f"promptsource template {self.name!r} of {of}"

    def render(self, record: Record) -> Parts | None:
        """Renders prompt and target for ``record``.

        Args:
            record: as the data set's source yields it.

        Returns:
            ``None`` where the template gives the record no prompt, no target (see ``no_label``), or
            not two parts, as T0 leaves it out.

        Raises:
            UserError: a field is missing, or the template fails or is stopped.
        """
        from flan_jax.data.templates.jinja_budget import RenderBudget, draws, plain

        program, choices = self._programs()
        shown = {str(name).replace("-", "_"): plain(value, _protect) for name, value in record.items()}
        self._check_fields(shown)
        options: list[str] | None = None
        if choices is not None:
            listed = self._run(choices, plain(shown, str), RenderBudget(draws(self.seed, f"{self.id} choices", shown)))
            options = [choice.strip() for choice in listed.split(_SEPARATOR)]
        # The choices read a copy: a template may empty the lists that it reads.
        text = self._run(program, {**shown, "answer_choices": options}, RenderBudget(draws(self.seed, self.id, shown)))
        parts = [_release(part).strip() for part in text.split(_SEPARATOR)]
        if len(parts) != 2 or not parts[0]:
            return None
        inputs, targets = parts
        if not targets:
            return Parts(inputs, self.no_label, lists_options=self.choices_in_prompt) if self.no_label else None
        found = tuple(dict.fromkeys(_release(option) for option in options or () if option))
        return Parts(inputs, targets, found, (targets,), self.choices_in_prompt)

    def _check_fields(self, shown: Mapping[str, Any]) -> None:
        if "answer_choices" in shown:
            raise UserError(f"{self.describe()} keeps the name 'answer_choices' for itself. Rename the record's field.")
        for name in self.fields:
            if name not in shown:
                have = ", ".join(sorted(shown)) or "none"
                raise UserError(
                    f"{self.describe()} shows the field {name!r}, which the record does not have "
                    f"(its fields: {have}).{did_you_mean(name, shown)}"
                )

    def _run(self, program: Any, fields: Mapping[str, Any], run: Any) -> str:
        try:
            return program(fields, run)
        except RecursionError as error:
            raise UserError(f"{self.describe()} is stopped: it calls itself without end.") from error
        except Exception as error:  # whatever a stranger's program may raise
            from flan_jax.data.templates.jinja_budget import Refused

            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            if isinstance(error, Refused):
                raise UserError(f"{self.describe()} is stopped: {reason}.") from error
            raise UserError(f"{self.describe()} fails on the record ({type(error).__name__}: {reason}).") from error


def _protect(text: str) -> str:
    return text.replace(_SEPARATOR, _PROTECTED)


def _release(text: str) -> str:
    return text.replace(_PROTECTED, _SEPARATOR)


@dataclasses.dataclass(frozen=True)
class TemplateFile:
    """The content of one ``templates.yaml``.

    Attributes:
        dataset: the data set.
        subset: its configuration, or ``None``.
        templates: in the order of their names.
    """

    dataset: str
    subset: str | None
    templates: tuple[JinjaTemplate, ...]


def read_templates(path: str | Path) -> TemplateFile:
    """Reads the templates in a file.

    Args:
        path: a ``templates.yaml``; a relative one starts at the data folder.

    Raises:
        UserError: no such file, no YAML, a tag that is not promptsource's, or an entry that lacks something.
    """
    path = resolve(path)
    if not path.is_file():
        raise missing_data("promptsource's templates", path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes, so it is no file of promptsource's.")
    content = _load_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("templates"), dict):
        raise UserError(f"{path} has no mapping 'templates', so it is no file of promptsource's.")
    dataset, subset = content.get("dataset"), content.get("subset")
    if not isinstance(dataset, str) or not isinstance(subset, str | None):
        raise UserError(f"{path}: 'dataset' is {dataset!r} and 'subset' {subset!r}, which must be names.")
    templates = [_template(path, dataset, subset, key, entry) for key, entry in content["templates"].items()]
    return TemplateFile(dataset, subset, tuple(sorted(templates, key=lambda template: template.name)))


def template_files(folder: str | Path = FOLDER) -> Iterator[Path]:
    """Yields the whole paths of the ``templates.yaml`` files below ``folder``, in order.

    Args:
        folder: a relative one starts at the data folder.

    Raises:
        UserError: no such folder.
    """
    root = resolve(folder).absolute()
    if not root.is_dir():
        raise missing_data("promptsource's templates", root)
    yield from sorted(root.rglob(FILE_NAME))


def _load_yaml(path: Path) -> Any:
    import yaml

    # The C parser where there is one; both know plain data only, and no tag that makes an object.
    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def flatten_mapping(self, node: Any) -> None:
            # A merge of merges doubles at every step; promptsource's files have none.
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(None, None, "'<<' merges a mapping", key.start_mark)

    for tag in ("!Template", "!TemplateMetadata"):
        Loader.add_constructor(tag, lambda loader, node: loader.construct_mapping(node, deep=True))
    try:
        with path.open("rb") as file:
            return yaml.load(file, Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise UserError(f"{path}{where}: cannot be read as YAML ({problem}).") from error
    except (RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({type(error).__name__}).") from error


def _template(path: Path, dataset: str, subset: str | None, key: Any, entry: Any) -> JinjaTemplate:
    where = f"{path}, template {key!r}"
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {type(entry).__name__}, not a mapping.")
    name, jinja, choices = entry.get("name"), entry.get("jinja"), entry.get("answer_choices")
    if not isinstance(name, str) or not isinstance(jinja, str) or not isinstance(choices, str | None):
        raise UserError(f"{where}: 'name' and 'jinja' must be texts, and 'answer_choices' a text or nothing.")
    metadata = entry.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise UserError(f"{where}: 'metadata' is {type(metadata).__name__}, not a mapping.")
    return JinjaTemplate(
        dataset,
        subset,
        str(key),
        name,
        jinja,
        choices,
        original_task=bool(metadata.get("original_task")),
        scored=bool(metadata.get("original_task")),
        choices_in_prompt=bool(metadata.get("choices_in_prompt")),
        metrics=_names(metadata.get("metrics")),
        languages=_names(metadata.get("languages")),
    )


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def whole_record(record: Record) -> Record:
    """The record itself: promptsource's templates read it, and no slots."""
    return record


def promptsource_task(
    dataset: str,
    subset: str | None = None,
    *,
    templates: Iterable[str] | Callable[[JinjaTemplate], bool] | None = None,
    cluster: str | None = None,
    source: Source | None = None,
    fields: Fields | None = None,
    folder: str | Path = FOLDER,
    name: str | None = None,
    collection: str = "p3",
    predict: Predict | None = None,
    metric: str | None = None,
    seed: int = 0,
    truncate: int = TRUNCATE,
    no_label: str = "",
) -> TaskSpec:
    """Makes a task of a data set or subset, with promptsource's templates for it.

    Args:
        dataset: its name in promptsource.
        subset: its configuration there.
        templates: names or identifiers of the templates, or which of them; all when not given.
        cluster: what it is held out with; T0's task family of it when not given.
        source: its records, with the columns that the templates name; the hub's data set when not given.
        fields: record → record, where a source's columns have to be changed first.
        folder: promptsource's folder ``templates``; a relative one starts at the data folder.
        name: the task's name.
        collection: the collection that it belongs to.
        predict: ``rank`` or ``generate``; ``rank`` where every scored template has answer choices
            when not given.
        metric: the metric; that of the templates' metadata when not given.
        seed: see ``JinjaTemplate``.
        truncate: see ``JinjaTemplate``.
        no_label: see ``JinjaTemplate``.

    Raises:
        UserError: no such file, no such template, or no cluster for a data set that T0 does not use.
    """
    known = T0_SETS.get((dataset, subset))
    # Relative to the data folder still, as what it is read by resolves it.
    file = Path(folder).expanduser().joinpath(*[dataset, *([subset] if subset else [])]) / FILE_NAME
    chosen = tuple(
        dataclasses.replace(template, seed=seed, truncate=truncate, no_label=no_label)
        for template in _chosen(file, read_templates(file).templates, templates)
    )
    name = name or task_name(dataset, subset)
    if cluster is None and known is None:
        raise UserError(f"Task {name!r}: T0 does not use {dataset!r}, so its family is not known. Give cluster=.")
    if not any(template.scored for template in chosen):
        # No template asks for what the data set was made for: here, what they ask is the task.
        chosen = tuple(dataclasses.replace(template, scored=True) for template in chosen)
    scored = [template for template in chosen if template.scored]
    ranked = all(template.answer_choices is not None for template in scored)
    predict = predict or ("rank" if ranked else "generate")
    metrics = _metrics(scored, predict)
    return TaskSpec(
        name=name,
        cluster=cluster or known.cluster if known else str(cluster),
        source=source or hub_source(known or T0Set(dataset, subset, dataset), name),
        fields=fields or (known.fields if known and known.fields else whole_record),
        templates=chosen,
        slots=(),
        metric=metric or metrics[0],
        predict=predict,
        collection=collection,
        title=f"{dataset} {subset}" if subset else dataset,
        other_metrics=tuple(other for other in metrics if other != (metric or metrics[0])),
    )


def _chosen(
    file: Path,
    templates: tuple[JinjaTemplate, ...],
    wanted: Iterable[str] | Callable[[JinjaTemplate], bool] | None,
) -> tuple[JinjaTemplate, ...]:
    if wanted is None:
        return templates
    if callable(wanted):
        found = tuple(template for template in templates if wanted(template))
        if not found:
            raise UserError(f"{file}: none of its {len(templates)} templates is wanted.")
        return found
    by_name = {template.id: template for template in templates} | {template.name: template for template in templates}
    names = tuple(wanted)
    for wanted_name in names:
        if wanted_name not in by_name:
            raise unknown(f"template in {file}", wanted_name, {template.name for template in templates})
    return tuple(by_name[wanted_name] for wanted_name in names)


def _metrics(scored: Iterable[JinjaTemplate], predict: Predict) -> tuple[str, ...]:
    """Orders metrics by the number of templates that name them; ranked answers have accuracy first."""
    counts: dict[str, int] = {}
    for template in scored:
        for metric in template.metrics:
            if metric in _METRICS:
                counts[_METRICS[metric]] = counts.get(_METRICS[metric], 0) + 1
    if predict == "rank":
        return ("accuracy",)
    return tuple(sorted(counts, key=lambda metric: -counts[metric])) or ("rougeL",)
