"""The formats of Natural Instructions, one JSON file a task: version 1, and the instances of version 2 (Super-NaturalInstructions).

As a task of its own with worked examples in its prompts, a file of version 2 is read by
``flan_jax.data.collections.superni``.
"""

from collections.abc import Iterator
from typing import Any

from flan_jax.data.formats.record_format import (
    Format,
    LeftOut,
    list_at,
    objects_of,
    provenance,
    text_of,
    texts_of,
    within,
)
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import block

_NOTHING = frozenset(("", "-", "none", "none.", "n/a"))


def _is_v1(record: Record) -> bool:
    return (
        isinstance(record.get("Definition"), str)
        and isinstance(record.get("Examples"), dict)
        and _has_instances(record)
    )


def _is_v2(record: Record) -> bool:
    return "Definition" in record and "Positive Examples" in record and _has_instances(record)


def _has_instances(record: Record) -> bool:
    return list_at(record, "Instances", "input", "output")


def _read_v1(record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
    """What to do, then what to stress and what to avoid, where the task says so."""
    parts = [block(text_of(record, "Definition"))]
    for key, words in (("Emphasis & Caution", "Take care"), ("Things to Avoid", "Avoid")):
        said = block(text_of(record, key, optional=True))
        if said.strip().lower() not in _NOTHING:
            parts.append(f"{words}: {said}")
    yield from _read_instances(record, "\n".join(parts), **provenance(record, "Title"))


def _read_v2(record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
    definitions = texts_of(record, "Definition")
    definition = definitions if isinstance(definitions, str) else next(iter(definitions), "")
    categories: Any = record.get("Categories")
    known = isinstance(categories, list) and bool(categories) and isinstance(categories[0], str)
    yield from _read_instances(record, block(definition), **({"category": categories[0]} if known else {}))


def _read_instances(record: Record, instruction: str, **rest: str) -> Iterator[Record | UserError]:
    if not instruction:
        raise UserError("'Definition' is empty. Correct the file.")
    for index, instance in enumerate(objects_of(record, "Instances")):
        try:
            given, output = text_of(instance, "input"), texts_of(instance, "output")
        except UserError as error:
            yield within(f"Instances[{index}]", error)
            continue
        yield {"instruction": instruction, "input": given, "output": output, **rest, **provenance(instance, "id")}


NATURAL_INSTRUCTIONS = Format(
    name="natural_instructions",
    reads=("Title", "Emphasis & Caution", "Things to Avoid"),
    nested=(("Instances", ("input", "output")),),
    about="one JSON file a task: Title, Definition, Examples: {Positive Examples, Negative Examples}, Instances: [{input, output}]",
    kind="instruction",
    keys=("Definition", "Examples", "Instances"),
    detect=_is_v1,
    read=_read_v1,
    whole_file=True,
)
SUPER_NI = Format(
    name="super_natural_instructions",
    reads=("Categories",),
    nested=(("Instances", ("input", "output")),),
    about="one JSON file a task: Definition, Positive Examples, Instances: [{id, input, output}], Categories",
    kind="instruction",
    keys=("Definition", "Positive Examples", "Instances"),
    detect=_is_v2,
    read=_read_v2,
    whole_file=True,
)
