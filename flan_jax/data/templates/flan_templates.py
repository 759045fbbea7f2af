"""Imports FLAN's published templates from a user's checkout of google-research/FLAN (``import_templates``).

The files are read as data (``literal_tables``), and their templates are kept byte for byte. A task
declares what FLAN's code fills their slots with (``TaskSpec.published``); a template that shows
something else is left out and reported.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.sources.base import file_digest
from flan_jax.data.templates.literal_tables import read_tables
from flan_jax.data.templates.template_set import published_template, with_fields
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.spec import PublishedFields, TaskSpec

Pair = tuple[str, str]
Tables = dict[str, list[Pair]]

_FLAN_2021 = "flan/templates.py"
_FLAN_2022 = "flan/v2/templates.py"
_BRANCHED = "flan/v2/flan_templates_branched.py"
_BLOCKS = ("options_", "options_str")
_ZERO_SHOT, _FEW_SHOT, _RECORD = "PATTERNS", "FEWSHOT_PATTERNS", "FewShotPattern"


@dataclasses.dataclass(frozen=True)
class Published:
    """A set of templates that FLAN publishes.

    Attributes:
        tables: (file, name of the table in it); a key of a later one takes the place of an earlier.
        removed: for prompts that list no options, what FLAN's code takes out of an input, one after the
            other; ``()`` for prompts that list them.
        fields: which code fills the templates, by ``PublishedFields.name``.
    """

    tables: tuple[tuple[str, str], ...]
    removed: tuple[str, ...] = ()
    fields: str = "flan2022"

    @property
    def options(self) -> bool:
        """True where it is for prompts that list the options."""
        return not self.removed


# What is left of a block of options otherwise stays: those texts are published so.
_ZERO_SHOT_OPTIONS = ("\n\n{options_}", "\n{options_}", "{options_}", "\n\n{options_str}")
_FEW_SHOT_OPTIONS = (
    *("\n\n{options_}", "\n{options_}", " | {options_}", " {options_}", " ({options_})", "{options_}"),
    *("\n\n{options_str}", "\n{options_str}"),
)
SETS = {
    "flan2021": Published(((_FLAN_2021, _ZERO_SHOT),), fields="flan2021"),
    "flan2022_zs_opt": Published(((_FLAN_2022, _ZERO_SHOT),)),
    "flan2022_zs_noopt": Published(((_FLAN_2022, _ZERO_SHOT), (_BRANCHED, _ZERO_SHOT)), _ZERO_SHOT_OPTIONS),
    "flan2022_fs_opt": Published(((_FLAN_2022, _FEW_SHOT),)),
    "flan2022_fs_noopt": Published(((_FLAN_2022, _FEW_SHOT),), _FEW_SHOT_OPTIONS),
}

# Tasks of ours that share the templates of one key, by how their names begin; every other key is its task's name.
_SHARED = {
    "arc": "arc_",
    "anli": "anli_r",
    "mnli": "mnli_",
    "para_crawl": "para_crawl",
    "wmt16_translate": "wmt16_translate",
}
_PREFIXES = ("cot_", "stream_", "glue_")

_INVERSION, _SUFFIX = "_input_inversion", "_inverted"
_SLOT = re.compile(r"\{(\w+)\}")
_STRAY_N = re.compile(r"(?<=\})n(?=\n|$)")
_OPTION_WORDS = re.compile(r"\b(?:options?|choices?)\b", re.IGNORECASE)
STRAY_N = "an n in the place of a line end"
NAMES_OPTIONS = "speaks of options that are not shown"
REPEATED = "the same as another"


@dataclasses.dataclass(frozen=True)
class ImportedTemplates:
    """A published set, imported.

    Attributes:
        content: the content of the template set's JSON file.
        slips: (kind, key, index of the template) of every slip found.
        unsupported: (task, index, reason) of templates that the task cannot render.
        no_task: keys for which there is no task here.
    """

    content: dict[str, Any]
    slips: tuple[tuple[str, str, int], ...]
    unsupported: tuple[tuple[str, int, str], ...]
    no_task: tuple[str, ...]


def read_published(checkout: Path, name: str) -> Tables:
    """Reads FLAN's (input, target) templates by key, as published.

    Args:
        checkout: the folder that holds ``flan/``.
        name: one of ``SETS``.

    Raises:
        UserError: an unknown set, a missing file, or a table that is not as it should be, with file and line.
    """
    if name not in SETS:
        raise unknown("published template set", name, SETS)
    found: Tables = {}
    for file, table in SETS[name].tables:
        path = Path(checkout) / file
        if not path.is_file():
            raise UserError(f"{path} does not exist. Name a checkout of google-research/FLAN, the folder above flan/.")
        value = read_tables(path, table, records=(_RECORD,))[table]
        if not isinstance(value, dict) or not all(isinstance(patterns, list) for patterns in value.values()):
            raise UserError(f"{path}: {table} must be a dictionary of lists of templates.")
        for key, patterns in value.items():
            found[key] = [_pair(pattern, f"{path}: {table}[{key!r}][{i}]") for i, pattern in enumerate(patterns)]
    return found


def _pair(pattern: Any, where: str) -> Pair:
    pair = (pattern.get("inputs"), pattern.get("targets")) if isinstance(pattern, dict) else pattern
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
        raise UserError(f"{where} must be two texts, an input and a target.")
    return pair


def tasks_of(key: str, tasks: Iterable[str]) -> tuple[str, ...]:
    """Finds the tasks, among ``tasks``, that the templates of a FLAN key are for.

    >>> tasks_of("anli", ["anli_r1", "anli_r2", "rte"]), tasks_of("cot_input_inversion_qasc", ["cot_qasc_inverted"])
    (('anli_r1', 'anli_r2'), ('cot_qasc_inverted',))
    """
    names = set(tasks)
    if _INVERSION in key:
        upright = tasks_of(key.replace(_INVERSION, ""), [name.removesuffix(_SUFFIX) for name in names])
        return tuple(task + _SUFFIX for task in upright if task + _SUFFIX in names)
    if key in _SHARED:
        return tuple(sorted(name for name in names if name.startswith(_SHARED[key])))
    bare = next((key[len(prefix) :] for prefix in _PREFIXES if key.startswith(prefix)), key)
    found = [
        name
        for name in (key, f"cot_{bare}" if key != bare and not key.startswith("glue_") else key, bare)
        if name in names
    ]
    return tuple(found[:1])


def import_templates(
    checkout: Path, name: str, tasks: Mapping[str, TaskSpec], *, fix_slips: bool = False, commit: str = ""
) -> ImportedTemplates:
    """Imports a published template set.

    Args:
        checkout: the folder that holds ``flan/``.
        name: one of ``SETS``.
        tasks: the tasks here by name.
        fix_slips: put right what is plainly a slip, leave out what speaks of options that are not
            shown, and what repeats another; otherwise keep all of it as published.
        commit: of the checkout, to be written down.

    Raises:
        UserError: as ``read_published``, or no template fits a task.
    """
    published, which = read_published(checkout, name), SETS[name]
    slips: list[tuple[str, str, int]] = []
    unsupported: list[tuple[str, int, str]] = []
    made: dict[str, list[dict[str, Any]]] = {}
    no_task = []
    for key, pairs in published.items():
        sound, found = _mend(pairs, which.removed, fix=fix_slips)
        slips += [(kind, key, index) for kind, index in found]
        of_key = [
            (tasks[task], fields)
            for task in tasks_of(key, tasks)
            for fields in tasks[task].published
            if fields.name == which.fields
        ]
        if not of_key:
            no_task.append(key)
        for spec, fields in of_key:
            for index, pair in sound.items():
                template = _template(pair, spec, fields, which.options)
                if isinstance(template, str):
                    unsupported.append((spec.name, index, template))
                else:
                    made.setdefault(spec.name, []).append(template)
    for task, given in list(made.items()):
        if all(template["inverted"] for template in given):
            unsupported += [(task, index, "inverted templates alone make no task") for index in range(len(given))]
            del made[task]
    if not made:
        raise UserError(f"No template of {name!r} in {checkout} fits a task of ours. Known tasks: {len(tasks)}.")
    files = {file: file_digest(Path(checkout) / file) for file, _ in which.tables}
    content = {
        "name": name,
        "source": {"repository": "google-research/FLAN", "commit": commit, "sha256": files},
        "slips": "fixed" if fix_slips else "kept",
        "fields": which.fields,
        "lists_options": which.options,
        "tasks": made,
        "left_out": [{"task": task, "template": index, "why": why} for task, index, why in unsupported],
    }
    return ImportedTemplates(content, tuple(slips), tuple(unsupported), tuple(no_task))


def _mend(pairs: Sequence[Pair], removed: Sequence[str], *, fix: bool) -> tuple[dict[int, Pair], list[tuple[str, int]]]:
    """Returns the templates to use, by index, and the slips found; mended if ``fix``."""
    kept: dict[int, Pair] = {}
    slips = []
    for index, (inputs, targets) in enumerate(pairs):
        if _STRAY_N.search(inputs) or _STRAY_N.search(targets):
            slips.append((STRAY_N, index))
            if fix:
                inputs, targets = _STRAY_N.sub("\n", inputs), _STRAY_N.sub("\n", targets)
        shown = inputs
        for block in removed:
            inputs = inputs.replace(block, "")
        if inputs != shown and _OPTION_WORDS.search(_SLOT.sub("", inputs)):
            slips.append((NAMES_OPTIONS, index))
            if fix:  # its words cannot be put right without writing others
                continue
        if (inputs, targets) in kept.values():
            slips.append((REPEATED, index))
            if fix:
                continue
        kept[index] = (inputs, targets)
    return kept, slips


def _template(pair: Pair, spec: TaskSpec, fields: PublishedFields, options: bool) -> dict[str, Any] | str:
    """Describes a template as a template set holds it, or returns why the task cannot render it."""
    inputs, targets = pair
    missing = [slot for text in pair for slot in _SLOT.findall(text) if slot not in (*fields.slots, *_BLOCKS)]
    if missing:
        return f"FLAN's code gives {spec.name} no {{{missing[0]}}}"
    reasons, answer_slot = bool(fields.rationale), _answer_slot(targets, fields)
    # What shows the answer cannot ask for it.
    asks = _ends_with_answer(targets, fields) if reasons else answer_slot and answer_slot not in _SLOT.findall(inputs)
    inverted = not asks
    described: dict[str, Any] = {"inputs": inputs, "targets": targets, "inverted": inverted}
    if not inverted and answer_slot not in ("", fields.answer):
        described["asks"] = answer_slot
    if reasons:
        described["reasons"] = True
    template = published_template(described, options=options)
    shown = next(slot for slot in fields.slots if slot != fields.answer)
    # Inverted templates alone make no task, so that one stands beside another.
    beside = published_template({"inputs": f"{{{shown}}}", "targets": f"{{{fields.answer}}}"}, options=options)
    try:
        if reasons:
            with_fields(spec, fields, cot_templates=(template,))
        else:
            with_fields(spec, fields, templates=(template, beside))
    except UserError as error:
        return str(error)
    return described


def _answer_slot(target: str, fields: PublishedFields) -> str:
    """Returns the slot of the answer that a target gives; ``""`` for none. One of a closed set must stand alone."""
    found = _SLOT.findall(target)
    if len(found) != 1 or found[0] not in (fields.answer, *fields.scored):
        return ""
    return str(found[0]) if not fields.options or _SLOT.fullmatch(target.strip()) else ""


def _ends_with_answer(target: str, fields: PublishedFields) -> bool:
    """Tells whether a target reasons first and ends with the answer."""
    return _SLOT.findall(target) == [fields.rationale, fields.answer] and target.rstrip(" .!\"”'").endswith("{answer}")
