"""FLAN's published templates, out of a user's checkout of google-research/FLAN, for tasks of ours.

The files are read as data (``literal_tables``). Their templates name slots as FLAN's preprocessing
does; each is mapped to the slot of ours that holds the same thing, and a template for which ours
has none is left out and reported.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.literal_tables import read_tables
from flan_jax.data.sources import file_digest
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.spec import ANSWER_SLOT, OPTIONS_SLOT, TaskSpec, Template

Pair = tuple[str, str]
Tables = dict[str, list[Pair]]

_FLAN_2021 = "flan/templates.py"
_FLAN_2022 = "flan/v2/templates.py"
_BRANCHED = "flan/v2/flan_templates_branched.py"
_ZERO_SHOT, _FEW_SHOT, _RECORD = "PATTERNS", "FEWSHOT_PATTERNS", "FewShotPattern"


@dataclasses.dataclass(frozen=True)
class Published:
    """One of the sets of templates that FLAN publishes.

    Attributes:
        tables: (file, name of the table in it); a key of a later one takes the place of an earlier.
        options: whether it is for prompts that list the options.
    """

    tables: tuple[tuple[str, str], ...]
    options: bool = True


SETS = {
    "flan2021": Published(((_FLAN_2021, _ZERO_SHOT),)),
    "flan2022_zs_opt": Published(((_FLAN_2022, _ZERO_SHOT),)),
    "flan2022_zs_noopt": Published(((_FLAN_2022, _ZERO_SHOT), (_BRANCHED, _ZERO_SHOT)), options=False),
    "flan2022_fs_opt": Published(((_FLAN_2022, _FEW_SHOT),)),
    "flan2022_fs_noopt": Published(((_FLAN_2022, _FEW_SHOT),), options=False),
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

# What FLAN's processing calls a task's answer; other slots may be asked for more often.
_ANSWERS = (
    "answer",
    "summary",
    "highlights",
    "subject",
    "target",
    "sent2",
    "claim",
    "critic_consensus",
    "numbered_answers",
)
# A slot of theirs → what a task of ours may call the same thing, the best first. Its own name comes before all.
_SLOTS: dict[str, tuple[str, ...]] = {
    "text": ("article", "document", "passage", "documents", "review", "source", "story", "sentence"),
    "context": ("passage", "premise", "paragraph", "story", "sentence", "text"),
    "passage": ("context", "paragraph", "text"),
    "paragraph": ("passage", "context", "text"),
    "premise": ("context", "sentence1", "text"),
    "sentence": ("text", "passage", "context", "sentence1"),
    "sentence1": ("first", "premise", "question1", "text1"),
    "sentence2": ("second", "hypothesis", "question2", "text2"),
    "question1": ("sentence1", "first"),
    "question2": ("sentence2", "second"),
    "text1": ("noun", "span1", "phrase", "first"),
    "text2": ("pronoun", "span2", "second"),
    "hypothesis": ("sentence2", "statement", "claim"),
    "query": ("statement", "question"),
    "body": ("email", "message", "text"),
    "dialogue": ("dialog", "conversation", "text"),
    "dialog_": ("dialog", "dialogue", "conversation", "history"),
    "title": ("headline", "topic"),
    "background": ("section", "introduction"),
    "sent1": ("source", "source_text", "text", "sentence"),
    "lang1": ("source_language", "from_language"),
    "lang2": ("target_language", "to_language", "language"),
    "lower": ("lowercase", "text"),
    "no_punct": ("unpunctuated", "text"),
    "no_space": ("joined", "text", "unspaced"),
    "source": ("article", "document", "text"),
    "numbered_reviews": ("reviews",),
    "first_review": ("review",),
    "argument_sentences": ("arguments",),
    "debate_name": ("debate", "topic"),
    "movie": ("title", "film"),
    "concepts": ("concept_list", "words"),
    "concepts_newline": ("concept_lines", "concepts", "words"),
    "tripleset": ("triples", "facts"),
    "tripleset_newline": ("triple_lines", "triples", "facts"),
    "meaning_representation": ("attributes", "facts", "meaning"),
    "input_string": ("triples", "facts", "input"),
    "numbered_questions": ("questions",),
    "response": ("candidate", "candidate_answer"),
    "goal": ("question", "task"),
    "fact": ("science_fact",),
    "question": ("stem",),
    "word": ("target_word", "target"),
    "pronoun": ("word",),
}
# Where that table does not know better: key → slot of theirs → slot of ours.
_EXCEPTIONS: dict[str, dict[str, str]] = {
    # Theirs stop where the options go on.
    "record": {"query": "lead"},
    "winogrande": {"context": "lead"},
    "wsc273": {"context": "lead"},
    "copa": {"question": "relation"},
    "wsc": {"text1": "mention"},
    "fix_punct": {"no_punct": "bare"},
}

_REASONING = re.compile(r"\{(?:chain_of_thought|cot)\}")
_SLOT = re.compile(r"\{(\w+)\}")
_STRAY_N = re.compile(r"(?<=\})n(?=\n|$)")
_OPTIONS = re.compile(r"(?:\n\n|\n| \| | \(| )?\{options_(?:str)?\}\)?")
_OPTION_WORDS = re.compile(r"\b(?:options?|choices?)\b", re.IGNORECASE)
STRAY_N = "an n in the place of a line end"
NAMES_OPTIONS = "speaks of options that are not shown"
# Few-shot patterns differ in delimiters too, which are a prompt style's here and not a template's.
REPEATED = "the same as another, delimiters aside"


@dataclasses.dataclass(frozen=True)
class Imported:
    """What was made of a published set.

    Attributes:
        content: of the JSON file.
        slips: (kind, key, index of the template) of every slip found.
        left_out: (task, index, why) of templates that ours cannot render.
        no_task: keys for which there is no task of ours.
    """

    content: dict[str, Any]
    slips: tuple[tuple[str, str, int], ...]
    left_out: tuple[tuple[str, int, str], ...]
    no_task: tuple[str, ...]


def read_published(checkout: Path, name: str) -> Tables:
    """FLAN's key → its (input, target) templates, as published.

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
    """The tasks of ours, among ``tasks``, that the templates of a FLAN key are for.

    >>> tasks_of("anli", ["anli_r1", "anli_r2", "rte"])
    ('anli_r1', 'anli_r2')
    """
    names = set(tasks)
    if key in _SHARED:
        return tuple(sorted(name for name in names if name.startswith(_SHARED[key])))
    bare = next((key[len(prefix) :] for prefix in _PREFIXES if key.startswith(prefix)), key)
    found = [
        name
        for name in (key, f"cot_{bare}" if key != bare and not key.startswith("glue_") else key, bare)
        if name in names
    ]
    return tuple(found[:1])


def slot_of(slot: str, key: str, spec: TaskSpec, main: str) -> str:
    """The slot of ours that holds what a slot of theirs does; ``""`` where there is none.

    Args:
        slot: theirs.
        key: the FLAN key, for exceptions.
        spec: our task.
        main: the slot that FLAN's targets are made of, as a rule.
    """
    if slot in ("options_", "options_str"):
        return OPTIONS_SLOT if spec.options else ""
    if slot in (main, "answer", "answer_str"):
        return ANSWER_SLOT
    if slot in ("chain_of_thought", "cot"):
        return spec.rationale
    special = _EXCEPTIONS.get(key, {}).get(slot)
    if special in spec.slots:
        return str(special)
    choices = spec.options if isinstance(spec.options, str) else ""
    return next(
        (name for name in (slot, *_SLOTS.get(slot, ())) if name in spec.slots and name not in (spec.answer, choices)),
        "",
    )


def import_templates(
    checkout: Path, name: str, tasks: Mapping[str, TaskSpec], *, fix_slips: bool = True, commit: str = ""
) -> Imported:
    """Makes the content of a template set out of a published one.

    Args:
        checkout: the folder that holds ``flan/``.
        name: one of ``SETS``.
        tasks: our tasks by name.
        fix_slips: put right what is plainly a slip; otherwise keep it as published. A template
            that repeats another is left out in either case: tasks do not take it.
        commit: of the checkout, to be written down.

    Raises:
        UserError: as ``read_published``, or no template fits a task.
    """
    published = read_published(checkout, name)
    slips: list[tuple[str, str, int]] = []
    left_out: list[tuple[str, int, str]] = []
    made: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, dict[str, str]] = {}
    no_task = []
    for key, pairs in published.items():
        sound, found = _mend(pairs, options=SETS[name].options, fix=fix_slips)
        slips += [(kind, key, index) for kind, index in found]
        reasoned = any(_reasons(target) for _, target in pairs)
        of_key = [
            task
            for task in tasks_of(key, tasks)
            if not tasks[task].renders_itself and (tasks[task].rationale or not reasoned)
        ]
        if not of_key:
            no_task.append(key)
        for task in of_key:
            spec, main = tasks[task], _main(pairs)
            slots = sorted({slot for pair in sound.values() for text in pair for slot in _SLOT.findall(text)})
            ours = {slot: slot_of(slot, key, spec, main) for slot in slots}
            names[task] = {**names.get(task, {}), **ours}
            for index, pair in sound.items():
                template = _template(pair, ours, spec)
                if isinstance(template, str):
                    left_out.append((task, index, template))
                else:
                    made.setdefault(task, []).append(template)
    for task, given in list(made.items()):
        plain = [template for template in given if "reasons" not in template]
        if plain and all(template["inverted"] for template in plain):
            left_out.append((task, -1, "inverted templates alone make no task"))
            given[:] = [template for template in given if "reasons" in template]
        if not given:
            del made[task]
    if not made:
        raise UserError(f"No template of {name!r} in {checkout} fits a task of ours. Known tasks: {len(tasks)}.")
    files = {file: file_digest(Path(checkout) / file) for file, _ in SETS[name].tables}
    content = {
        "name": name,
        "source": {"repository": "google-research/FLAN", "commit": commit, "sha256": files},
        "slips": "fixed" if fix_slips else "kept",
        "tasks": made,
        "slots": names,
        "left_out": [{"task": task, "template": index, "why": why} for task, index, why in left_out],
    }
    return Imported(content, tuple(slips), tuple(left_out), tuple(no_task))


def _main(pairs: Sequence[Pair]) -> str:
    """The slot that holds the answer: of that name, or most often the whole target."""
    whole = [match[1] for _, target in pairs if (match := _SLOT.fullmatch(target.strip()))]
    known = next((slot for slot in _ANSWERS if slot in whole), "")
    if known:
        return known
    return collections.Counter(whole).most_common(1)[0][0] if whole else ""


def count_inverted(pairs: Sequence[Pair]) -> int:
    """How many of a key's templates have a target without the task's answer, or with more than it."""
    main = _main(pairs)
    whole = {f"{{{main}}}", "{answer_str}"}
    return sum(target.strip() not in whole and not _reasons(target) for _, target in pairs)


def _reasons(target: str) -> bool:
    return bool(_REASONING.search(target)) and "{answer}" in target


def _mend(pairs: Sequence[Pair], *, options: bool, fix: bool) -> tuple[dict[int, Pair], list[tuple[str, int]]]:
    """The templates to be used, by index, and the slips found."""
    kept: dict[int, Pair] = {}
    slips = []
    for index, (inputs, targets) in enumerate(pairs):
        if _STRAY_N.search(inputs) or _STRAY_N.search(targets):
            slips.append((STRAY_N, index))
            if fix:
                inputs, targets = _STRAY_N.sub("\n", inputs), _STRAY_N.sub("\n", targets)
        if not options:
            shown = _OPTIONS.search(inputs)
            inputs = _OPTIONS.sub("", inputs)
            if shown and _OPTION_WORDS.search(_SLOT.sub("", inputs)):
                slips.append((NAMES_OPTIONS, index))
                if fix:  # its words cannot be put right without writing others
                    continue
        if (inputs, targets) in kept.values():
            slips.append((REPEATED, index))
            continue
        kept[index] = (inputs, targets)
    return kept, slips


def _template(pair: Pair, names: Mapping[str, str], spec: TaskSpec) -> dict[str, Any] | str:
    """The template in our slots, or why there is none."""
    missing = [slot for text in pair for slot in _SLOT.findall(text) if not names[slot]]
    if missing:
        return f"{spec.name} has no slot for {{{missing[0]}}}"
    inputs, targets = (_renamed(text, names) for text in pair)
    reasons = _reasons(pair[1])
    template = Template(inputs, targets, inverted=not reasons and targets.strip() != "{answer}")
    try:
        if reasons:
            dataclasses.replace(spec, cot_templates=(template,))
        else:  # beside one of its own, as inverted templates alone make no task
            own = () if not template.inverted else (spec.templates[spec.scored_templates[0]],)
            dataclasses.replace(spec, templates=(*own, template))
    except UserError as error:
        return "its target does not reason first and end with the answer" if reasons else str(error)
    return {
        "inputs": inputs,
        "targets": targets,
        "inverted": template.inverted,
        **({"reasons": True} if reasons else {}),
    }


def _renamed(text: str, names: Mapping[str, str]) -> str:
    parts = _SLOT.split(text)
    # Every second part is the name of a slot; braces elsewhere are the text's own.
    return "".join(
        f"{{{names[part]}}}" if index % 2 else part.replace("{", "{{").replace("}", "}}")
        for index, part in enumerate(parts)
    )
