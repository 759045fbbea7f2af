"""The formats of instructions with several instances each: self-instruct and Unnatural Instructions."""

from collections.abc import Iterator, Mapping

from flan_jax.data.formats.record_format import (
    Format,
    LeftOut,
    list_at,
    objects_of,
    provenance,
    text_of,
    texts_at,
    within,
)
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import block

_NO_CONSTRAINTS = frozenset(("", "none", "none.", "n/a"))
_PROVENANCE = ("id", "name", "is_classification", "motivation_app")


def _instances(record: Record, key: str) -> Iterator[tuple[str, Mapping]]:
    for index, instance in enumerate(objects_of(record, key)):
        yield f"{key}[{index}]", instance


def _is_self_instruct(record: Record) -> bool:
    return texts_at(record, "instruction") and list_at(record, "instances", "input", "output")


def _read_self_instruct(record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
    instruction = text_of(record, "instruction")
    for where, instance in _instances(record, "instances"):
        try:
            given, output = text_of(instance, "input", optional=True), text_of(instance, "output")
        except UserError as error:
            yield within(where, error)
            continue
        yield {"instruction": instruction, "input": given, "output": output, **provenance(record, *_PROVENANCE)}


def _is_unnatural(record: Record) -> bool:
    return texts_at(record, "instruction") and list_at(record, "instances", "instruction_with_input", "output")


def _read_unnatural(record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
    """Constraints on the output are part of the instruction; a reformulation is whole, its input within it."""
    instruction = block(text_of(record, "instruction"))
    for where, instance in _instances(record, "instances"):
        try:
            constraints = text_of(instance, "constraints", optional=True).strip()
            given, output = text_of(instance, "input", optional=True), text_of(instance, "output")
        except UserError as error:
            yield within(where, error)
            continue
        bound = "" if constraints.lower() in _NO_CONSTRAINTS else f"\nConstraints: {constraints}"
        yield {"instruction": instruction + bound, "input": given, "output": output, "source": "core"}
    if not record.get("reformulations"):
        return
    for where, instance in _instances(record, "reformulations"):
        try:
            whole, output = text_of(instance, "instruction_with_input"), text_of(instance, "output")
        except UserError as error:
            yield within(where, error)
            continue
        yield {"instruction": whole, "input": "", "output": output, "source": "reformulation"}


SELF_INSTRUCT = Format(
    name="self_instruct",
    nested=(("instances", ("input", "output")),),
    about="instruction, instances: a list of objects with input and output; id, name, is_classification",
    kind="instruction",
    keys=("instruction", "instances"),
    detect=_is_self_instruct,
    read=_read_self_instruct,
    together=True,
)
UNNATURAL = Format(
    name="unnatural_instructions",
    reads=("reformulations",),
    nested=(
        ("instances", ("input", "output", "constraints", "instruction_with_input")),
        ("reformulations", ("input", "output", "instruction", "instruction_with_input")),
    ),
    about="instruction, instances: a list of objects with instruction_with_input, input, constraints, output; maybe reformulations",
    kind="instruction",
    keys=("instruction", "instances"),
    detect=_is_unnatural,
    read=_read_unnatural,
    together=True,
    refines=("self_instruct",),
)
