"""Makes tasks of instruction data: instructions, conversations, and rendered prompts (``instruction_task``, ``tasks_in``)."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.chat.replies import dialog_task, told_before
from flan_jax.data.instructions.origin import HubPart
from flan_jax.data.instructions.source import InstructionSource, instruction_source
from flan_jax.data.sources.base import resolve
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record, Source, TaskSpec, Template
from flan_jax.tasks.unicode_check import block

CLUSTER = "instructions"

# An input follows its instruction behind words of its own, and where there is none, so are there no words.
_STYLES = {
    "request": ("{instruction}", "{instruction}\n\nInput: {input}"),
    "request_text": ("{instruction}", "{instruction}\n\nText: {input}"),
    "request_given": ("{instruction}", "{instruction}\n\nThis is what you are given: {input}"),
    "request_context": ("{instruction}", "{instruction}\n\nContext: {input}"),
    "request_last": ("{instruction}", "Material: {input}\n\nWhat to do with it: {instruction}"),
}
SLOTS = ("instruction", "input", *_STYLES, "answer")

TEMPLATES = (
    Template("{request}\n\nAnswer:"),
    Template("Instruction: {request}\n\nResponse:"),
    Template("Someone asks you the following. {request_given}\n\nWrite what you would reply."),
    Template("Carry out this task and give the result only.\n\nTask: {request_text}\n\nResult:"),
    Template("{request_last}\n\nOutput:"),
    Template("You are a careful assistant. Do what the user wants.\n\nUser: {request_context}\n\nAssistant:"),
    Template("Please help with this request: {request}\n\nHelpful answer:"),
    Template("Below is a task, with everything needed to do it. {request_given}\n\nThe finished work:"),
    Template("Q: {request_context}\nA:"),
    Template("Write a reply that completes the request.\n\nThe request: {request_text}\n\nThe reply:"),
)
"""Ten ways to put an instruction; each reads well with an input and without."""

RENDERED_TEMPLATES = (Template("{inputs}", "{targets}"),)
"""A prompt that is in words already is shown as it is."""


def instruction_fields(record: Record) -> Mapping[str, Any]:
    """Instruction record → slots.

    Raises:
        UserError: no instruction, or no answer that is not blank.
    """
    parts = {"instruction": block(record["instruction"]), "input": block(record["input"])}
    if not parts["instruction"]:  # an input alone says what is wanted, as chat logs have it
        parts = {"instruction": parts["input"], "input": ""}
    if not parts["instruction"]:
        raise UserError("the instruction is empty. Fill it, or clean with the step 'empty'.")
    with_input = bool(parts["input"])
    before = _before(record)
    requests = {slot: before + _set(style[with_input], parts) for slot, style in _STYLES.items()}
    return {**parts, **requests, "answer": _answers(record["output"])}


def _before(record: Record) -> str:
    """What a system prompt and a history that stand beside the record's words put before them."""
    if "system" not in record and "history" not in record:
        return ""
    return told_before(record.get("system", ""), record.get("history", ()))


def _set(style: str, parts: Mapping[str, str]) -> str:
    """Braces in the parts stay what they are: a text is filled in once."""
    return style.format_map(parts)


def _answers(output: str | list[str]) -> tuple[str, ...]:
    answers = tuple(block(text) for text in ([output] if isinstance(output, str) else output) if text.strip())
    if not answers:
        raise UserError("the output is empty. Fill it, or clean with the step 'empty'.")
    return answers


def rendered_fields(record: Record) -> Mapping[str, Any]:
    """Rendered record → slots.

    Raises:
        UserError: an empty side.
    """
    inputs = block(record["inputs"])
    if not inputs:
        raise UserError("the inputs are empty. Fill them, or clean with the step 'empty'.")
    return {"inputs": _before(record) + inputs, "targets": _answers(record["targets"])}


def instruction_task(
    name: str, source: InstructionSource | Source | str | Path, cluster: str = "", **options: Any
) -> TaskSpec:
    """Makes the task of instruction data, of any kind of records.

    Records of instructions get ten templates of ours; conversations become replies
    (``flan_jax.data.chat.replies``); rendered records are shown as they are, all as one task: ``tasks_in``
    makes a task of each that a dump names.

    Args:
        name: the task's name.
        source: an ``instruction_source``, or what one takes; another source of instruction records
            serves too.
        cluster: what it is held out with; ``instructions``, ``dialogue`` or ``rendered`` unless given.
        **options: in place of ``TaskSpec``'s or ``dialog_task``'s own arguments.

    Raises:
        UserError: no such file, or one of no known format.
    """
    if isinstance(source, str | Path):
        source = instruction_source(source)
    kind = source.known_format.kind if isinstance(source, InstructionSource) else "instruction"
    if kind == "chat":
        return dialog_task(name, source, cluster or "dialogue", **options)
    if kind == "rendered":
        arguments: dict[str, Any] = {
            "cluster": cluster or "rendered",
            "fields": rendered_fields,
            "slots": ("inputs", "targets"),
            "answer": "targets",
            "templates": RENDERED_TEMPLATES,
        }
    else:
        arguments = {
            "cluster": cluster or CLUSTER,
            "fields": instruction_fields,
            "slots": SLOTS,
            "templates": TEMPLATES,
        }
    return TaskSpec(name=name, source=source, **{"metric": "rougeL", "predict": "generate", **arguments, **options})


def tasks_in(source: InstructionSource | str | Path, name: str = "", **options: Any) -> tuple[TaskSpec, ...]:
    """Makes every task in a file, folder or data set: one, or as many as a rendered dump names.

    Args:
        source: an ``instruction_source``, or what one takes. A dump is read once for the names.
        name: of the task, where the data names none; the file's own name unless given.
        **options: as for ``instruction_task``.

    Raises:
        UserError: as ``instruction_task``.
    """
    if isinstance(source, str | Path):
        source = instruction_source(source)
    name = name or task_name(source)
    if source.known_format.kind != "rendered":
        return (instruction_task(name, source, **options),)
    profiles = [source.profile(split) for split in source.splits]
    found = {
        task: (assignment, one.sources[task]) for one in reversed(profiles) for task, assignment in one.tasks.items()
    }
    found = {task: found[task] for one in profiles for task in one.tasks}  # in the order of the first split
    if list(found) in ([""], []):
        return (instruction_task(name, source, **options),)
    specs: list[TaskSpec] = []
    taken: set[str] = set()
    for index, (task, (assignment, where)) in enumerate(found.items()):
        own = dataclasses.replace(source, task=task, reports_unreadable=index == 0)
        types = ", ".join(assignment.types)
        specs.append(
            instruction_task(
                unique_name(to_identifier(task) if task else name, taken),
                own,
                to_identifier(where).lower() if where else "rendered",
                title=f"{task} ({types})" if types else task,
                **options,
            )
        )
    return tuple(specs)


def task_name(source: InstructionSource) -> str:
    """Names the one task of a source after its file, its folder or its data set."""
    path = resolve(source.name)
    if path.is_dir():
        return to_identifier(source.part or path.resolve().name)
    origin = source.origin("train")[0]
    return to_identifier(origin.name) if isinstance(origin, HubPart) or origin.name else to_identifier(path.stem)


def to_identifier(text: str) -> str:
    """Turns a text into an identifier: letters, digits and underscores.

    >>> to_identifier("glue/mrpc:2.0.0"), to_identifier("3k")
    ('glue_mrpc_2_0_0', '_3k')
    """
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "data"
    return name if name.isidentifier() else f"_{name}"


def unique_name(name: str, taken: set[str]) -> str:
    """Numbers a name that is taken, and adds the result to ``taken``: two files may hold tasks of one name.

    >>> taken = {"a", "a_2"}
    >>> unique_name("b", taken), unique_name("a", taken), unique_name("a", taken)
    ('b', 'a_3', 'a_4')
    """
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
